//! One core alone, told what its peers and its disk would say: a leader or a follower of a cluster of three.

use bytes::Bytes;
use quorate::raft::{
    Action, Actions, Config, DiskId, Entries, Entry, EntryKind, Event, LogId, LogIndex, Message, NodeId,
    PersistId, Raft, Recovered, Role, Round, SnapshotId, SnapshotMeta, Stamp, Term,
};
use quorate::time::Now;

use crate::trio::three_voters;

/// Events of one step: made before it is measured.
pub type Events = Vec<Event>;

const OWN: NodeId = NodeId(1);
const PEERS: [NodeId; 2] = [NodeId(2), NodeId(3)];

/// Entries between snapshots. Compaction is not in any measured step.
const COMPACT_EVERY: LogIndex = 4096;

/// 100 bytes, with a reference count as those have that are cut from a socket's buffer.
pub fn payload() -> Bytes {
    let payload = Bytes::from(vec![7; 100]);
    drop(payload.clone());
    payload
}

/// A core, its clock, and what it asked for last.
struct Core {
    raft: Raft,
    now: Now,
    out: Actions,
    /// The last write that it asked for.
    write: PersistId,
    round: Round,
    compacted: LogIndex,
}

impl Core {
    fn new() -> Self {
        let recovered = Recovered::formed(DiskId(1), &three_voters());
        let config = Config { trailing_bytes: 0, ..Config::new(OWN, 1) };
        let now = Now::new(0, 1_700_000_000_000);
        let raft = Raft::new(config, recovered, now).expect("valid settings");
        let mut core = Self { raft, now, out: Actions::new(), write: 0, round: 0, compacted: 0 };
        core.tell(Events::new());
        core
    }

    fn step(&mut self, events: &mut Events) {
        self.raft.step_into(self.now, &mut *events, &mut self.out);
        events.clear();
    }

    /// Reads what the last step asked for, outside of what is measured.
    fn note(&mut self) {
        for action in self.out.drain() {
            match action {
                Action::Persist(persist) => self.write = persist.id,
                Action::Send { message: Message::Heartbeat { round, .. }, .. } => self.round = round,
                Action::Halt(fault) => panic!("{fault}"),
                _ => {}
            }
        }
    }

    fn tell(&mut self, mut events: Events) {
        self.step(&mut events);
        self.note();
    }

    fn persisted(&mut self) -> Events {
        self.note();
        vec![Event::Persisted { id: self.write }]
    }

    fn persist(&mut self) {
        let events = self.persisted();
        self.tell(events);
        let applied = self.raft.status().applied;
        if applied >= self.compacted + COMPACT_EVERY {
            self.compacted = applied;
            let point = self.raft.snapshot_point(applied).expect("applied and in the log");
            let snapshot = SnapshotMeta {
                id: SnapshotId { last: point.last, checksum: 0 },
                len: 1,
                stamp: point.stamp,
                configuration: point.configuration,
            };
            self.tell(vec![Event::Snapshotted { snapshot: Box::new(snapshot) }]);
            self.persist();
        }
    }

    fn term(&self) -> Term {
        self.raft.status().term
    }
}

/// A core that leads, and two peers that answer what it sends.
pub struct Leader(Core);

impl Leader {
    /// Has won its election, and committed its first entry.
    pub fn new() -> Self {
        let mut leader = Self(Core::new());
        leader.0.now.mono = 10_000_000;
        leader.0.tell(vec![Event::Wake]);
        let term = leader.0.term() + 1;
        leader.answer(|_| Message::PreVoteReply { term, granted: true });
        leader.0.persist();
        let wall = leader.0.now.wall;
        leader.answer(|_| Message::VoteReply { term, granted: true, wall });
        leader.commit();
        let status = leader.0.raft.status();
        assert_eq!((status.role, status.commit), (Role::Leader, status.last.index));
        leader
    }

    /// Takes events, measured or not. What it asked for is looked at later.
    pub fn step(&mut self, events: &mut Events) {
        self.0.step(events);
    }

    pub fn proposals(&mut self, count: u64) -> Events {
        (0..count).map(|proposal| Event::Propose { proposal, data: payload() }).collect()
    }

    pub fn propose(&mut self, count: u64) {
        let events = self.proposals(count);
        self.0.tell(events);
    }

    pub fn persisted(&mut self) -> Events {
        self.0.persisted()
    }

    pub fn persist(&mut self) {
        self.0.persist();
    }

    /// The one that makes a majority.
    pub fn acknowledgement(&mut self) -> Events {
        let status = self.0.raft.status();
        let message = Message::AppendAccepted { term: status.term, matched: status.last.index };
        vec![Event::Receive { from: PEERS[0], message }]
    }

    /// Lets the disk and both peers confirm all that it has.
    pub fn commit(&mut self) {
        self.0.persist();
        let status = self.0.raft.status();
        self.answer(|_| Message::AppendAccepted { term: status.term, matched: status.last.index });
        self.0.persist();
        let status = self.0.raft.status();
        assert_eq!((status.role, status.commit), (Role::Leader, status.last.index));
    }

    pub fn reads(&mut self, count: u64) -> Events {
        (0..count).map(|read| Event::Read { read }).collect()
    }

    pub fn read(&mut self, count: u64) {
        let events = self.reads(count);
        self.0.tell(events);
    }

    /// The answer to the last round that makes a majority.
    pub fn confirmation(&mut self) -> Events {
        self.0.note();
        let (term, round, wall) = (self.0.term(), self.0.round, self.0.now.wall);
        vec![Event::Receive { from: PEERS[0], message: Message::HeartbeatReply { term, round, wall } }]
    }

    /// Lets both peers answer the last round.
    pub fn confirm(&mut self) {
        self.0.note();
        let (term, round, wall) = (self.0.term(), self.0.round, self.0.now.wall);
        self.answer(|_| Message::HeartbeatReply { term, round, wall });
    }

    /// A heartbeat's interval goes by.
    pub fn beat(&mut self) -> Events {
        self.0.now.mono += 50_000;
        self.0.now.wall += 50;
        vec![Event::Wake]
    }

    fn answer(&mut self, message: impl Fn(NodeId) -> Message) {
        let events = PEERS.map(|from| Event::Receive { from, message: message(from) });
        self.0.tell(events.into());
    }
}

/// A core that follows [`PEERS`]' first.
pub struct Follower {
    core: Core,
    last: LogId,
    commit: LogIndex,
    round: Round,
}

impl Follower {
    /// Has heard its leader.
    pub fn new() -> Self {
        let core = Core::new();
        let status = core.raft.status();
        let mut follower = Self { last: status.last, commit: status.commit, round: 0, core };
        let mut events = follower.append(1);
        follower.step(&mut events);
        follower.persist();
        assert_eq!(follower.core.raft.status().leader, Some(PEERS[0]));
        follower
    }

    /// Takes events, measured or not. What it asked for is looked at later.
    pub fn step(&mut self, events: &mut Events) {
        self.core.step(events);
    }

    /// An append of so many entries, by which those before it are committed.
    pub fn append(&mut self, count: u64) -> Events {
        self.core.note();
        let previous = self.last;
        self.commit = previous.index;
        let entry = |index| Entry {
            id: LogId::new(1, index),
            kind: EntryKind::Command,
            stamp: Stamp { unix_ms: self.core.now.wall, cluster_ms: 1 },
            data: payload(),
        };
        let entries: Entries = (previous.index + 1..=previous.index + count).map(entry).collect();
        self.last = LogId::new(1, previous.index + count);
        let message = Message::Append { term: 1, previous, entries, commit: self.commit };
        vec![Event::Receive { from: PEERS[0], message }]
    }

    pub fn persisted(&mut self) -> Events {
        self.core.persisted()
    }

    pub fn persist(&mut self) {
        self.core.persist();
        let status = self.core.raft.status();
        assert_eq!((status.last, status.commit), (self.last, self.commit));
    }

    pub fn heartbeat(&mut self) -> Events {
        self.core.note();
        self.round += 1;
        let message = Message::Heartbeat { term: 1, round: self.round, commit: self.commit };
        vec![Event::Receive { from: PEERS[0], message }]
    }

    pub fn wake(&mut self) -> Events {
        self.core.note();
        vec![Event::Wake]
    }
}
