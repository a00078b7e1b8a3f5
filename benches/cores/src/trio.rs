//! Three cores of Quorate in one thread: messages are handed over directly, and disks answer at once. Shared by whatever
//! measures the core, so that all of it measures the same.

use std::hint::black_box;

use bytes::Bytes;
use quorate::raft::{
    Action, Actions, Config, Configuration, DiskId, Event, LogIndex, Member, NodeId, Raft, Recovered, Role,
    SnapshotId, SnapshotMeta,
};
use quorate::time::{Micros, Now};

/// Entries between snapshots, so that the logs stay short.
pub const COMPACT_EVERY: LogIndex = 4096;

/// The cores, the first of which leads.
pub struct Trio {
    cores: [Core; 3],
    now: Now,
    // Reused, as a driver does.
    actions: Actions,
}

struct Core {
    id: NodeId,
    raft: Raft,
    inbox: Vec<Event>,
    applied: LogIndex,
    compacted: LogIndex,
}

/// Nodes 1 to 3, each with a vote, on disks of the same numbers.
pub fn three_voters() -> Configuration {
    let member = |id: u64| Member {
        disk: DiskId(id.into()),
        peer_address: String::new(),
        client_address: String::new(),
    };
    Configuration::of_voters((1..=3).map(|id| (NodeId(id), member(id))).collect())
}

impl Trio {
    /// Cores whose leader tells the commit index after `commit_delay`, if no append has told it before. Time stands still
    /// here, so that any but 0 is for the next append.
    pub fn new(commit_delay: Micros) -> Self {
        let configuration = three_voters();
        let now = Now::new(0, 1_700_000_000_000);
        let core = |id| {
            let config = Config { trailing_bytes: 0, commit_delay, ..Config::new(NodeId(id), 1) };
            let raft = Raft::new(config, Recovered::formed(DiskId(id.into()), &configuration), now)
                .expect("valid settings");
            Core { id: NodeId(id), raft, inbox: Vec::new(), applied: 0, compacted: 0 }
        };
        let mut trio = Self { cores: [1, 2, 3].map(core), now, actions: Actions::new() };
        while trio.cores[0].raft.status().role != Role::Leader {
            trio.now.mono += 100_000;
            trio.cores[0].inbox.push(Event::Wake);
            trio.run();
        }
        trio
    }

    /// Appends these and runs until nobody has anything to do; the leader has applied them then.
    pub fn propose(&mut self, payloads: impl IntoIterator<Item = Bytes>) {
        let leader = &mut self.cores[0];
        let propose = |(proposal, data)| Event::Propose { proposal, data };
        leader.inbox.extend((0..).zip(payloads).map(propose));
        let target = leader.applied + leader.inbox.len() as LogIndex;
        self.run();
        let applied = self.applied();
        assert!(applied[0] >= target, "applied {applied:?} of {target}");
        for core in &mut self.cores {
            if core.applied >= core.compacted + COMPACT_EVERY {
                core.compact();
            }
        }
        self.run();
    }

    /// The last index that each core has applied.
    pub fn applied(&self) -> [LogIndex; 3] {
        core::array::from_fn(|i| self.cores[i].applied)
    }

    /// Hands events over until nobody has any.
    fn run(&mut self) {
        let mut idle = false;
        while !idle {
            idle = true;
            for at in 0..self.cores.len() {
                if !self.cores[at].inbox.is_empty() {
                    idle = false;
                    self.step(at);
                }
            }
        }
    }

    fn step(&mut self, at: usize) {
        let core = &mut self.cores[at];
        core.raft.step_into(self.now, &mut core.inbox, &mut self.actions);
        core.inbox.clear();
        let from = core.id;
        for action in self.actions.drain() {
            match action {
                Action::Persist(persist) => self.cores[at].inbox.push(Event::Persisted { id: persist.id }),
                Action::Send { to, message } => {
                    self.cores[to.0 as usize - 1].inbox.push(Event::Receive { from, message });
                }
                Action::Apply(entries) => {
                    let entries = black_box(entries);
                    self.cores[at].applied = entries.last_id().map_or(0, |last| last.index);
                }
                Action::Halt(fault) => panic!("{fault}"),
                _ => {}
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
