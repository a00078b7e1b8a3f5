//! The roles and what each of them keeps.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use super::lease::Lease;
use super::peers::Peers;
use super::quorum::{self, Verdict};
use super::reads::PendingReads;
use super::stamp::{self, Clock, Report};
use super::transfer::Handover;
use super::{Configuration, LogIndex, NodeId, PersistId, Role, Round, SnapshotId, SnapshotMeta, Stamp};
use crate::time::{Micros, Millis, Now};

/// The role of a core, with what only that role has.
#[derive(Debug, Clone)]
pub(super) enum State {
    Follower,
    PreCandidate(Votes),
    Candidate(Votes),
    Leader(Box<Leading>),
}

impl State {
    pub(super) fn role(&self) -> Role {
        match self {
            Self::Follower => Role::Follower,
            Self::PreCandidate(_) => Role::PreCandidate,
            Self::Candidate(_) => Role::Candidate,
            Self::Leader(_) => Role::Leader,
        }
    }
}

/// The votes of one campaign, and the wall clocks that came with them.
#[derive(Debug, Clone, Default)]
pub(super) struct Votes {
    pub(super) given: BTreeMap<NodeId, bool>,
    pub(super) clocks: BTreeMap<NodeId, Report>,
    /// The leader makes way for this campaign.
    pub(super) by_transfer: bool,
}

impl Votes {
    /// Takes a vote; a voter's first word in a campaign counts.
    pub(super) fn take(&mut self, from: NodeId, granted: bool) {
        self.given.entry(from).or_insert(granted);
    }

    pub(super) fn verdict(&self, configuration: &Configuration) -> Verdict {
        quorum::verdict(configuration, |id| self.given.get(&id).copied())
    }

    pub(super) fn has(&self, id: NodeId) -> bool {
        self.given.contains_key(&id)
    }
}

/// What a leader keeps.
#[derive(Debug, Clone)]
pub(super) struct Leading {
    /// Every other member, and whoever is one until its removal is committed.
    pub(super) peers: Peers,
    /// The last round of heartbeats that left.
    pub(super) round: Round,
    /// When the next heartbeat is due.
    pub(super) beat_at: Micros,
    /// When those who have all entries are told the commit index, if no append has told them by then.
    pub(super) tell_at: Option<Micros>,
    /// When everybody is asked for reads' sake, if the few who were asked have answered none by then.
    pub(super) widen_at: Option<Micros>,
    /// The source of stamps.
    pub(super) clock: Clock,
    /// The stamp at this time, until a peer's report changes it.
    pub(super) stamp: Option<(Now, Stamp)>,
    /// Packed bytes of the entries after the commit index.
    pub(super) uncommitted: usize,
    /// Reads that wait.
    pub(super) reads: PendingReads,
    /// The index of this term's first entry: nothing is known to be committed before it is (§8).
    pub(super) first: LogIndex,
    /// The index of the last configuration of which it was seen that it is committed.
    pub(super) settled: Option<LogIndex>,
    /// On its way to another leader.
    pub(super) handover: Option<Handover>,
    /// Until when reads need no round.
    pub(super) lease: Lease,
}

impl Leading {
    /// The stamp of an entry that is appended now.
    pub(super) fn stamp(&mut self, me: NodeId, now: Now, configuration: &Configuration) -> Stamp {
        if let Some((_, stamp)) = self.stamp.filter(|(at, _)| *at == now) {
            return stamp;
        }
        let stamp = self.clock.stamp(now, self.median(me, now, configuration));
        self.stamp = Some((now, stamp));
        stamp
    }

    /// What the stamp of an entry would be now.
    pub(super) fn reading(&self, me: NodeId, now: Now, configuration: &Configuration) -> Stamp {
        self.clock.reading(now, self.median(me, now, configuration))
    }

    /// The wall clock of a majority: the median of those known, if a majority of the voters is known.
    fn median(&self, me: NodeId, now: Now, configuration: &Configuration) -> Option<Millis> {
        let own = Report { wall: now.wall, at: now.mono };
        let report = |id: NodeId| if id == me { Some(own) } else { self.peers.get(id).and_then(|p| p.clock) };
        if quorum::agreed(configuration, |id| u64::from(report(id).is_some())) == 0 {
            return None;
        }
        // During a change a voter of both halves counts twice: good enough for a clock.
        let voters = configuration.voters.iter().chain(&configuration.outgoing);
        stamp::median(voters.filter_map(|&id| report(id)), now)
    }
}

/// Answers that wait for the disk. At most one of each kind, so that a stalled disk cannot make them pile up.
#[derive(Debug, Clone, Default)]
pub(super) struct Owed {
    /// A granted vote, to this candidate.
    pub(super) vote: Option<NodeId>,
    /// An answer to the leader's latest heartbeat.
    pub(super) beat: Option<Round>,
    /// A snapshot that is switched to, and the write that says so.
    pub(super) installed: Option<(PersistId, SnapshotId)>,
    /// Our log agrees with the leader's up to here, durably or not.
    pub(super) agreed: LogIndex,
    /// Up to here an acknowledgement would be no news.
    pub(super) acknowledged: LogIndex,
    /// An append waits for an acknowledgement, even if that is no news.
    pub(super) acknowledge: bool,
}

/// A snapshot being received.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    pub(super) meta: SnapshotMeta,
    /// Bytes handed to the embedder.
    pub(super) received: u64,
    /// Bytes written by it.
    pub(super) written: u64,
    /// All are written, and the embedder is verifying and loading them.
    pub(super) installing: bool,
}
