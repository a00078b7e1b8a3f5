//! Proposal to commit across three cores in one thread: messages are handed over directly, disks answer at once. Entries of
//! 100 bytes, alone and in batches of 64; the figure is the time of one entry on all three cores together.

use std::collections::BTreeMap;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quorate::raft::{
    Action, Actions, Config, Configuration, DiskId, Event, LogIndex, Member, NodeId, Raft, Recovered, Role,
    SnapshotId, SnapshotMeta,
};
use quorate::time::Now;

/// Entries between snapshots, so that the logs stay short.
const COMPACT_EVERY: LogIndex = 4096;

struct Trio {
    cores: Vec<Core>,
    now: Now,
}

struct Core {
    id: NodeId,
    raft: Raft,
    inbox: Vec<Event>,
    applied: LogIndex,
    compacted: LogIndex,
}

impl Trio {
    /// Three cores, the first of which leads.
    fn new() -> Self {
        let member = |id: u64| Member {
            disk: DiskId(id.into()),
            peer_address: String::new(),
            client_address: String::new(),
        };
        let members: BTreeMap<_, _> = (1..=3).map(|id| (NodeId(id), member(id))).collect();
        let configuration = Configuration::of_voters(members);
        let now = Now::new(0, 1_700_000_000_000);
        let core = |id| {
            let config = Config { trailing_bytes: 0, ..Config::new(NodeId(id), 1) };
            let raft = Raft::new(config, Recovered::formed(DiskId(id.into()), &configuration), now)
                .expect("valid settings");
            Core { id: NodeId(id), raft, inbox: Vec::new(), applied: 0, compacted: 0 }
        };
        let mut trio = Self { cores: (1..=3).map(core).collect(), now };
        while trio.cores[0].raft.status().role != Role::Leader {
            trio.now.mono += 100_000;
            trio.cores[0].inbox.push(Event::Wake);
            trio.run();
        }
        trio
    }

    /// Appends `batch` entries and runs until all three cores have applied them.
    fn propose(&mut self, batch: usize, data: &Bytes) {
        let target = self.cores[0].applied + batch as LogIndex;
        let propose = |proposal| Event::Propose { proposal, data: data.clone() };
        self.cores[0].inbox.extend((0..batch as u64).map(propose));
        self.run();
        // Followers learn of the commit with the next append or heartbeat.
        let applied = self.cores[0].applied;
        assert!(applied >= target, "applied {applied} of {target}: {:?}", self.cores[0].raft.status());
        for core in &mut self.cores {
            if core.applied >= core.compacted + COMPACT_EVERY {
                core.compact();
            }
        }
        self.run();
    }

    /// Hands events over until nobody has any.
    fn run(&mut self) {
        let mut actions = Actions::new();
        let mut sent = Vec::new();
        while self.cores.iter().any(|core| !core.inbox.is_empty()) {
            for core in &mut self.cores {
                if core.inbox.is_empty() {
                    continue;
                }
                core.raft.step_into(self.now, core.inbox.drain(..), &mut actions);
                let from = core.id;
                for action in actions.drain() {
                    match action {
                        Action::Persist(persist) => core.inbox.push(Event::Persisted { id: persist.id }),
                        Action::Send { to, message } => sent.push((to, Event::Receive { from, message })),
                        Action::Apply(entries) => {
                            core.applied = entries.last_id().map_or(core.applied, |last| last.index);
                            black_box(entries);
                        }
                        Action::Halt(fault) => panic!("{fault}"),
                        _ => {}
                    }
                }
            }
            for (to, event) in sent.drain(..) {
                self.cores[to.0 as usize - 1].inbox.push(event);
            }
        }
    }
}

impl Core {
    fn compact(&mut self) {
        let point = self.raft.snapshot_point(self.applied).expect("applied and in the log");
        let snapshot = SnapshotMeta {
            id: SnapshotId { last: point.last, checksum: 0 },
            len: 1,
            stamp: point.stamp,
            configuration: point.configuration,
        };
        self.compacted = self.applied;
        self.inbox.push(Event::Snapshotted { snapshot: Box::new(snapshot) });
    }
}

fn commit(c: &mut Criterion) {
    let data = Bytes::from(vec![7; 100]);
    let mut group = c.benchmark_group("commit");
    for batch in [1, 64] {
        let mut trio = Trio::new();
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(BenchmarkId::from_parameter(batch), |b| b.iter(|| trio.propose(batch, &data)));
    }
    group.finish();
}

criterion_group!(benches, commit);
criterion_main!(benches);
