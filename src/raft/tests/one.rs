//! One core alone, and short names for what is said to it.

use std::vec;
use std::vec::Vec;

use bytes::Bytes;

use super::super::*;
use super::cluster::{WALL, configuration};
use crate::time::Now;

pub(super) const ET: Micros = 300_000;
pub(super) const ME: NodeId = NodeId(1);
pub(super) const N2: NodeId = NodeId(2);
pub(super) const N3: NodeId = NodeId(3);

/// One core, and what it has asked for.
pub(super) struct One {
    pub(super) raft: Raft,
    pub(super) now: Micros,
    pub(super) out: Vec<Action>,
}

impl One {
    /// Member 1 of `voters` and `learners`; its log holds, after the founding entry, entries of these terms.
    pub(super) fn of(voters: &[u64], learners: &[u64], term: Term, terms: &[Term]) -> Self {
        Self::with(Config::new(ME, 1), voters, learners, term, terms)
    }

    pub(super) fn with(config: Config, voters: &[u64], learners: &[u64], term: Term, terms: &[Term]) -> Self {
        let mut recovered = Recovered::formed(DiskId(1), &configuration(voters, learners));
        recovered.vote.term = term;
        recovered.entries = recovered.entries.iter().cloned().chain(run(2, terms).iter().cloned()).collect();
        let raft = Raft::new(config, recovered, Now::new(0, WALL)).unwrap();
        let mut one = Self { raft, now: 0, out: vec![] };
        one.batch(vec![]);
        one.out.clear();
        one
    }

    pub(super) fn batch(&mut self, events: Vec<Event>) {
        let mut out = Actions::new();
        self.raft.step_into(Now::new(self.now, WALL + self.now / 1000), events, &mut out);
        self.raft.check_invariants().unwrap();
        self.out.extend(out);
    }

    /// Steps one event; what came of it alone.
    pub(super) fn step(&mut self, event: Event) -> Vec<Action> {
        self.out.clear();
        self.batch(vec![event]);
        self.out.clone()
    }

    pub(super) fn hear(&mut self, from: NodeId, message: Message) -> Vec<Action> {
        self.step(Event::Receive { from, message })
    }

    /// Everything asked for is on disk.
    pub(super) fn sync(&mut self) -> Vec<Action> {
        let id = self.raft.writes.issued();
        self.step(Event::Persisted { id })
    }

    pub(super) fn pass(&mut self, micros: Micros) -> Vec<Action> {
        self.now += micros;
        self.step(Event::Wake)
    }

    /// Leads its next term, its first entry on its own disk.
    pub(super) fn lead(&mut self) {
        self.pass(2 * ET);
        let term = self.raft.hard.term + 1;
        for from in [N2, N3] {
            self.hear(from, Message::PreVoteReply { term, granted: true });
        }
        self.sync();
        self.hear(N2, Message::VoteReply { term, granted: true, wall: WALL });
        if self.raft.status().role == Role::Candidate {
            self.hear(N3, Message::VoteReply { term, granted: true, wall: WALL });
        }
        assert_eq!(self.raft.status().role, Role::Leader);
        self.sync();
    }
}

pub(super) fn entry(index: LogIndex, term: Term) -> Entry {
    let data = Bytes::from_static(b"12345678");
    Entry { id: LogId::new(term, index), kind: EntryKind::Command, stamp: Stamp::default(), data }
}

pub(super) fn run(first: LogIndex, terms: &[Term]) -> Entries {
    terms.iter().zip(first..).map(|(&term, index)| entry(index, term)).collect()
}

pub(super) fn append(term: Term, previous: LogId, terms: &[Term], commit: LogIndex) -> Message {
    Message::Append { term, previous, entries: run(previous.index + 1, terms), commit }
}

pub(super) fn sent(actions: &[Action]) -> Vec<(NodeId, Message)> {
    let message = |action: &Action| match action {
        Action::Send { to, message } => Some((*to, message.clone())),
        _ => None,
    };
    actions.iter().filter_map(message).collect()
}

pub(super) fn at(term: Term, index: LogIndex) -> LogId {
    LogId::new(term, index)
}

pub(super) fn meta(last: LogId, members: &[u64]) -> SnapshotMeta {
    let id = SnapshotId { last, checksum: 7 };
    SnapshotMeta { id, len: 4, stamp: Stamp::default(), configuration: configuration(members, &[]) }
}

pub(super) fn chunk(term: Term, meta: &SnapshotMeta, offset: u64, data: &'static [u8]) -> Message {
    Message::SnapshotChunk { term, snapshot: Box::new(meta.clone()), offset, data: Bytes::from_static(data) }
}

/// The snapshot is received and being installed.
pub(super) fn installing(one: &mut One, term: Term, meta: &SnapshotMeta) {
    one.hear(N2, chunk(term, meta, 0, b"abcd"));
    let out = one.step(Event::SnapshotChunkWritten { snapshot: meta.id, written: 4 });
    assert!(out.contains(&Action::InstallSnapshot { snapshot: Box::new(meta.clone()) }));
}
