//! Consensus over opaque entries: Raft (Ongaro & Ousterhout, *In Search of an Understandable Consensus Algorithm*,
//! extended version; Ongaro's dissertation, 2014). Sections are cited as §n of the former and "dissertation §n" of the
//! latter.
//!
//! A [`Raft`] is one member's core. It decides and performs nothing: an embedder steps it with [`Event`]s and carries out
//! the [`Action`]s that come back. It reads no clock, draws on no randomness but its seed's, and knows neither files nor
//! sockets, so that the same events give the same actions, to the byte.
//!
//! # Roles
//!
//! ```text
//!                 times out                majority would            majority voted,
//!              (is a voter, not             vote for it              own vote on disk
//!               installing)
//!  Follower ───────────────► PreCandidate ────────────► Candidate ─────────────────────► Leader
//!     ▲ ▲                         │                         │                               │
//!     │ └──── refused, or hears ──┘                         │                               │
//!     │       a leader                                      │                               │
//!     ├────────────── refused, or hears a leader ───────────┘                               │
//!     └─────────── hears a later term, or nothing of a majority for an election timeout ────┘
//! ```
//!
//! A member without a vote (a learner) stays a follower, but votes when it is asked: the candidate may know a newer
//! configuration. Whom a leader makes way for ([`Event::Transfer`]) is a candidate at once.
//!
//! # What an embedder does
//!
//! 1. It reads its disk into a [`Recovered`] and calls [`Raft::new`], then steps once, with no event: the actions are the
//!    committed entries to apply and the first wake-up time.
//! 2. It gathers what happened (messages, completions, proposals, reads), then reads its clocks, steps the batch with
//!    [`Raft::step_into`], and adds [`Event::Wake`] at the end if the wake-up time has come. Timers fire on nothing else,
//!    so that a busy loop or a stalled disk cannot let a timer overtake the heartbeat that waits in a socket.
//! 3. It carries out the actions in their order. None has to be waited for: a [`Action::Send`] may leave while the
//!    [`Action::Persist`] before it is still under way, because the core itself withholds what must not leave before.
//!    [`Event::Persisted`] tells that bytes are durable; nothing else may be lost but messages, and those may.
//!
//! There is no other order to be kept, and nothing to be called in between.
//!
//! # What is where
//!
//! Nouns are data with tests of their own: `log`, `quorum`, `membership`, `change` (what is asked of it), `progress` (a
//! leader's view of a peer), `peers` (of all of them), `writes` (the stream to the disk), `stamp` (log time), `lease`,
//! `role`. Verbs are files of `impl Raft`: `election`, `replication` (the leader's half), `following` (the follower's),
//! `commit`, `persist`, `reads` (at a leader) and `queries` (elsewhere), `reconfigure`, `transfer`, `snapshot`. `step` alone
//! matches role and event. The numbered traps in comments and tests are those of [the page on Raft](crate::docs::raft),
//! which names a test for each.
//!
//! # What a batch is worth
//!
//! The events of a batch change term, vote, log and commit index one by one; what leaves is merged at its end: one
//! `Persist`, one append per peer (more where [`Config::max_append_bytes`] says so), one acknowledgement, one round of
//! heartbeats for all its reads.

mod action;
mod change;
mod commit;
mod config;
mod election;
mod entry;
mod event;
mod fault;
#[cfg(feature = "sim")]
mod fingerprint;
mod following;
mod invariants;
mod lease;
mod log;
mod membership;
mod message;
mod peers;
mod persist;
mod progress;
mod queries;
mod quorum;
mod reads;
mod reconfigure;
mod replication;
mod role;
mod snapshot;
mod stamp;
mod step;
#[cfg(test)]
mod tests;
mod transfer;
mod writes;

pub use action::{
    Action, Actions, Discarded, HardState, Persist, PersistId, ProposalId, ReadId, Refusal, Role, RoleChange,
    SnapshotSwitch,
};
pub use change::{Change, ChangeRefused, MemberChange};
pub use config::{Config, ConfigError};
pub use entry::{
    Entries, Entry, EntryKind, LogId, LogIndex, NodeId, PACKED_HEADER, Stamp, Term, UnpackError,
};
pub use event::Event;
pub use fault::Fault;
pub use membership::{Configuration, ConfigurationError, DiskId, MAX_ADDRESS, MAX_MEMBERS, Member};
pub use message::{Message, QueryId, Round, SnapshotId, SnapshotMeta, SnapshotProgress};
pub use transfer::{TransferFailed, TransferId};

use alloc::boxed::Box;
use core::borrow::BorrowMut;

use log::Log;
use membership::Membership;
use peers::Peers;
use queries::Queries;
use role::{Incoming, Owed, State};
use writes::Writes;

use crate::rng::Rng;
use crate::time::{Micros, Now};

/// What a core starts from: all that its disk holds, or [`Recovered::formed`] on a first start.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The name of this disk. A configuration that names this node with another disk names somebody else.
    pub disk: DiskId,
    /// Term and vote.
    pub vote: HardState,
    /// The snapshot before the log, if there is one. Its state is already loaded by the embedder.
    pub snapshot: Option<SnapshotMeta>,
    /// The log after the snapshot (or from index 1), without a gap.
    pub entries: Entries,
    /// The commit index as far as the disk knows; clamped to the log.
    pub commit: LogIndex,
    /// Which life of this disk begins: a number that is given to no other one, such as a counter of starts that is on disk
    /// before a core is. It tells answers to an earlier life's questions apart.
    pub life: u64,
}

impl Recovered {
    /// The start of a newly formed cluster on this disk: one committed entry at index 1, term 0, that holds `configuration`. Every
    /// member has it on disk before any of them votes.
    pub fn formed(disk: DiskId, configuration: &Configuration) -> Self {
        let entry = Entry {
            id: LogId::new(0, 1),
            kind: EntryKind::Configuration,
            stamp: Stamp::default(),
            data: configuration.to_cbor(),
        };
        Self {
            disk,
            vote: HardState::default(),
            snapshot: None,
            entries: [entry].into_iter().collect(),
            commit: 1,
            life: 1,
        }
    }
}

/// One member's core. Generic over nothing: it steps, and the embedder performs.
#[derive(Debug)]
// Two cores of one identity are no cluster: only who explores what a core might do has a use for a copy.
#[cfg_attr(feature = "sim", derive(Clone))]
pub struct Raft {
    config: Config,
    rng: Rng,
    /// The clocks of the current step.
    now: Now,

    /// Term and vote, on disk or on their way.
    hard: HardState,
    /// They are not in a write yet.
    hard_is_new: bool,
    /// The write that they are in.
    hard_write: PersistId,
    log: Log,
    membership: Membership,
    /// The snapshot before the log.
    snapshot: Option<SnapshotMeta>,
    /// It is not in a write yet.
    switch: Option<Box<SnapshotSwitch>>,
    writes: Writes,
    /// Packed bytes of the entries that came since the last write.
    staged_bytes: usize,

    commit: LogIndex,
    applied: LogIndex,

    /// The name of its disk.
    disk: DiskId,
    /// Which life of that disk this is.
    life: u64,
    /// It was a member in this life.
    was_member: bool,
    queries: Queries,
    state: State,
    leader: Option<NodeId>,
    owed: Owed,
    incoming: Option<Incoming>,
    /// The term in which `incoming` began.
    incoming_term: Term,

    /// The draw of the election timeout for this campaign or this leader.
    election_after: Micros,
    /// When to campaign, if nothing is heard.
    election_at: Micros,
    /// Until then no other leader is elected.
    sticky_until: Micros,

    /// The last `RoleChanged`.
    announced: RoleChange,
    /// The last `WakeAt`, until it is used up.
    armed: Option<Micros>,
    halted: bool,
}

/// What a snapshot of the state at an applied index has to carry besides the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPoint {
    /// The last entry covered.
    pub last: LogId,
    /// The clocks there.
    pub stamp: Stamp,
    /// The configuration committed there.
    pub configuration: Configuration,
}

/// A core's state, for people and for who looks at it after every step: numbers only, and cheap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub id: NodeId,
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// Who got its vote in that term; on disk, or on its way there.
    pub vote: Option<NodeId>,
    /// The leader, if known.
    pub leader: Option<NodeId>,
    /// First index still in the log.
    pub first_index: LogIndex,
    /// Last position in the log.
    pub last: LogId,
    /// Commit index.
    pub commit: LogIndex,
    /// Last index handed out by `Apply` or switched to.
    pub applied: LogIndex,
    /// Last index on this node's own disk.
    pub persisted: LogIndex,
    /// The snapshot before the log.
    pub snapshot: Option<SnapshotId>,
    /// Packed bytes of the log in memory.
    pub log_bytes: usize,
}

impl Raft {
    /// A core over what its disk holds. It follows, knows no leader, and grants no vote for one election timeout (it may have
    /// heard a leader just before it was restarted).
    ///
    /// Step it once, with or without events, to get its first actions. The error says which setting cannot work, or that
    /// `recovered` is not what a core wrote.
    pub fn new(config: Config, recovered: Recovered, now: Now) -> Result<Self, ConfigError> {
        config.validate()?;
        let Recovered { disk, vote, snapshot, entries, commit, life } = recovered;
        let (base, stamp) =
            snapshot.as_ref().map_or((LogId::ZERO, Stamp::default()), |s| (s.id.last, s.stamp));
        let configuration = snapshot.as_ref().map(|s| s.configuration.clone()).unwrap_or_default();
        let mut log = Log::new(base, stamp);
        let mut membership = Membership::new(base.index, configuration);
        for entry in entries.iter() {
            let last = log.last();
            if last.index.checked_add(1) != Some(entry.id.index) || entry.id.term < last.term {
                return Err(ConfigError("the recovered log has a gap, or its terms fall"));
            }
            if entry.kind == EntryKind::Configuration {
                let configuration = Configuration::from_cbor(&entry.data).map_err(|_| {
                    ConfigError("the recovered log holds a configuration that cannot be read")
                })?;
                membership.push(entry.id.index, configuration);
            }
            log.push(entry.clone());
        }
        if log.last().term > vote.term {
            return Err(ConfigError("the recovered log is of a later term than the recovered vote"));
        }
        let commit = if planted!("recovery-commits-the-whole-log") { LogIndex::MAX } else { commit };
        // A commit index on disk is a hint, and may lag the snapshot (trap 14).
        let lowest = if planted!("recovered-commit-lags-the-snapshot") { 0 } else { base.index };
        let commit = commit.clamp(lowest, log.last().index);
        let was_member = membership.since(commit).any(|configuration| configuration.names(config.id, disk));
        let mut rng = Rng::stream(config.seed, config.id.0);
        let election_after = config.election_timeout.saturating_add(rng.below(config.election_timeout));
        Ok(Self {
            rng,
            now,
            hard: vote,
            hard_is_new: false,
            hard_write: 0,
            writes: Writes::new(log.last().index),
            commit,
            applied: base.index,
            log,
            membership,
            snapshot,
            switch: None,
            staged_bytes: 0,
            disk,
            life,
            was_member,
            queries: Queries::default(),
            state: State::Follower,
            leader: None,
            owed: Owed::default(),
            incoming: None,
            incoming_term: 0,
            election_after,
            election_at: now.mono.saturating_add(election_after),
            sticky_until: if planted!("restart-forgets-loyalty") { 0 } else { config.election_timeout }
                .saturating_add(now.mono),
            announced: RoleChange { role: Role::Follower, term: vote.term, leader: None },
            armed: None,
            halted: false,
            config,
        })
    }

    /// Steps one event.
    pub fn step(&mut self, now: Now, event: Event) -> Actions {
        let mut out = Actions::new();
        self.step_into(now, [event], &mut out);
        out
    }

    /// Steps a batch of events: the same state and the same answers as one by one, with one `Persist` and one append
    /// per peer. The primitive.
    ///
    /// They may be lent (`&mut inbox`): each is then looked at where it is, what the core keeps of it is taken out, and what is
    /// left is only to be dropped. Those that are handed over are moved for that.
    pub fn step_into(
        &mut self,
        now: Now,
        events: impl IntoIterator<Item: BorrowMut<Event>>,
        out: &mut Actions,
    ) {
        self.now = Now { mono: self.now.mono.max(now.mono), wall: now.wall };
        for mut event in events {
            let event = event.borrow_mut();
            if self.halted {
                refuse_halted(event, out);
                continue;
            }
            if matches!(event, Event::Wake) {
                // Early or not, the embedder's timer may be used up.
                self.armed = None;
            }
            match self.dispatch(event, out) {
                Ok(()) => {
                    self.forget_overtaken(out);
                    self.tend_membership(out);
                    self.settle_reads_alone(out);
                    self.announce(out);
                }
                Err(fault) => self.halt(fault, out),
            }
        }
        if !self.halted {
            self.settle(out);
        }
    }

    /// What a snapshot of the state at `index` carries; `None` unless `index` is applied and still in the log (or is the
    /// current snapshot's).
    pub fn snapshot_point(&self, index: LogIndex) -> Option<SnapshotPoint> {
        self.point_at(index)
    }

    /// The configuration in force: the last one in the log, committed or not.
    pub fn configuration(&self) -> &Configuration {
        self.membership.latest()
    }

    /// The name of this core's disk.
    pub fn disk(&self) -> DiskId {
        self.disk
    }

    /// The configurations that count for `index` and what follows it, oldest first: the one as of `index`, and all later
    /// ones in the log.
    pub fn configurations(&self, index: LogIndex) -> impl DoubleEndedIterator<Item = &Configuration> {
        self.membership.since(index)
    }

    /// A number that grows whenever [`configuration`](Self::configuration) may have become another one: to look at that is
    /// cheaper than to compare addresses after every step.
    pub(crate) fn configuration_changes(&self) -> u64 {
        self.membership.changes()
    }

    /// The entries in memory from index `from` to `to`, ascending; those that are not in the log are left out.
    pub fn entries(&self, from: LogIndex, to: LogIndex) -> impl DoubleEndedIterator<Item = &Entry> {
        self.log.between(from, to)
    }

    /// Packed bytes of entries that are not yet on this node's own disk. With
    /// [`max_uncommitted_bytes`](Config::max_uncommitted_bytes) of them, no more are taken.
    pub fn unwritten_bytes(&self) -> usize {
        self.writes.bytes().saturating_add(self.staged_bytes)
    }

    /// The state, for people.
    pub fn status(&self) -> Status {
        Status {
            id: self.config.id,
            role: self.state.role(),
            term: self.hard.term,
            vote: self.hard.vote,
            leader: self.leader,
            first_index: self.log.base().index + 1,
            last: self.log.last(),
            commit: self.commit,
            applied: self.applied,
            persisted: self.writes.persisted(),
            snapshot: self.snapshot.as_ref().map(|s| s.id),
            log_bytes: self.log.bytes(),
        }
    }

    /// A leader's view of its peers, ascending: the index up to which each one's log agrees with its own, on disk. Nothing
    /// from who does not lead.
    pub fn matched(&self) -> impl Iterator<Item = (NodeId, LogIndex)> + '_ {
        let peers = match &self.state {
            State::Leader(lead) => Some(&lead.peers),
            State::Follower | State::PreCandidate(_) | State::Candidate(_) => None,
        };
        peers.into_iter().flat_map(Peers::iter).map(|(id, peer)| (id, peer.matched))
    }

    /// The stamp that an entry appended at `now` would get, and the leader's term; `None` at who does not lead.
    pub fn reading(&self, now: Now) -> Option<(Term, Stamp)> {
        let State::Leader(lead) = &self.state else { return None };
        Some((self.hard.term, lead.reading(self.config.id, now, self.membership.latest())))
    }

    /// The first broken invariant, for tests and the simulator: called after every step.
    pub fn check_invariants(&self) -> Result<(), Fault> {
        match self.broken_invariant() {
            Some(what) => Err(Fault::Invariant(what)),
            None => Ok(()),
        }
    }

    /// Lets out what the events of a batch have led to, merged.
    fn settle(&mut self, out: &mut Actions) {
        self.write(out);
        self.pay(out);
        self.replicate(out);
        self.hand_over(out);
        self.settle_reads(out);
        self.settle_queries(out);
        self.apply(out);
        self.arm(out);
    }

    /// Reports a change of role, term or leader.
    #[inline]
    fn announce(&mut self, out: &mut Actions) {
        let now = RoleChange { role: self.state.role(), term: self.hard.term, leader: self.leader };
        if now != self.announced {
            self.announce_change(now, out);
        }
    }

    #[cold]
    fn announce_change(&mut self, now: RoleChange, out: &mut Actions) {
        if self.announced.role == Role::Leader {
            // What it committed as leader is known to be done before it is known to lead no more.
            self.apply(out);
        }
        // Whom reads were asked of leads no more, or leads in another term, in which it forgets what it was asked.
        self.abort_queries(Refusal::NotLeader(now.leader), out);
        self.announced = now;
        out.push(Action::RoleChanged(now));
    }

    /// Asks for a wake-up when the next deadline is earlier than the one asked for. Deadlines that move away (each heartbeat
    /// moves a follower's) are caught up with when the earlier wake-up comes.
    fn arm(&mut self, out: &mut Actions) {
        let deadline = match &self.state {
            State::Leader(lead) if lead.peers.is_empty() => return,
            State::Leader(lead) => {
                [lead.tell_at, lead.widen_at].into_iter().flatten().fold(lead.beat_at, Micros::min)
            }
            State::Follower | State::PreCandidate(_) | State::Candidate(_) => self.election_at,
        };
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.armed = Some(deadline);
            out.push(Action::WakeAt(deadline));
        }
    }

    #[inline]
    fn send(&self, to: NodeId, message: Message, out: &mut Actions) {
        out.push(Action::Send { to, message });
    }

    fn halt(&mut self, fault: Fault, out: &mut Actions) {
        if let State::Leader(lead) = &mut self.state {
            for read in lead.reads.drain() {
                out.push(Action::ReadAborted { read, reason: Refusal::Halted });
            }
            if let Some(transfer) = lead.handover.take().and_then(|handover| handover.transfer) {
                out.push(Action::TransferEnded { transfer, outcome: Err(TransferFailed::Halted) });
            }
        }
        self.abort_queries(Refusal::Halted, out);
        self.halted = true;
        out.push(Action::Halt(fault));
    }
}

/// After a halt nothing is done, and whoever asks is told so.
fn refuse_halted(event: &Event, out: &mut Actions) {
    let reason = Refusal::Halted;
    match *event {
        Event::Propose { proposal, .. } | Event::Reconfigure { proposal, .. } => {
            out.push(Action::ProposalRefused { proposal, reason })
        }
        Event::Read { read } => out.push(Action::ReadAborted { read, reason }),
        Event::Transfer { transfer, .. } => {
            out.push(Action::TransferEnded { transfer, outcome: Err(TransferFailed::Halted) });
        }
        Event::Receive { .. }
        | Event::Persisted { .. }
        | Event::Snapshotted { .. }
        | Event::SnapshotChunkWritten { .. }
        | Event::SnapshotInstalled { .. }
        | Event::SnapshotFailed { .. }
        | Event::Unreachable { .. }
        | Event::Contact { .. }
        | Event::Wake => {}
    }
}
