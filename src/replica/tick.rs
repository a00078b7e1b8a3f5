//! Ticks: entries that a leader appends for their stamps alone, when the state has something to do and no client's entry
//! has told it the time.
//!
//! One is under way at a time. Those who do not lead append none: the entry of whoever leads does the same on all nodes.

use super::envelope::Envelope;
use super::{Life, Replica, StateMachine};
use crate::raft::{self, LogIndex, ProposalId, Term};
use crate::time::{Micros, Now};

/// From one tick to the next, at least, in microseconds: also after one that was refused.
const PAUSE: Micros = 1_000;

/// The tick that is under way, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tick {
    proposal: Option<ProposalId>,
    appended: Option<(LogIndex, Term)>,
    /// No other one is proposed before this.
    rests_until: Micros,
    /// For when a wake was asked.
    asked: Option<Micros>,
}

impl Tick {
    /// The core appended a proposal.
    pub(super) fn appended(&mut self, proposal: ProposalId, index: LogIndex, term: Term) {
        if self.proposal == Some(proposal) {
            (self.proposal, self.appended) = (None, Some((index, term)));
        }
    }

    /// The core refused a proposal.
    pub(super) fn refused(&mut self, proposal: ProposalId) {
        self.proposal = self.proposal.filter(|own| *own != proposal);
    }
}

impl<S: StateMachine> Replica<S> {
    /// Proposes a tick if one is due. Only when the timer has fired, like all that time alone brings about.
    pub(super) fn propose_tick(&mut self, now: Now) {
        self.tick.asked = None;
        if self.tick_at(now).is_none_or(|at| at > self.mono) {
            return;
        }
        let proposal = self.pending.fresh_id();
        let rests_until = self.mono.saturating_add(PAUSE);
        self.tick = Tick { proposal: Some(proposal), appended: None, rests_until, asked: None };
        let data = Envelope::Tick.encode(&mut self.entries);
        self.inbox.push(raft::Event::Propose { proposal, data });
    }

    /// When to be woken for the next tick. Between two wakes it only comes nearer: the two clocks do not count in step, and
    /// not every step should ask for another time.
    pub(super) fn wake_for_tick(&mut self, now: Now) -> Option<Micros> {
        let at = self.tick_at(now);
        let asked = self.tick.asked.filter(|_| at.is_some());
        self.tick.asked = asked.into_iter().chain(at).min();
        self.tick.asked
    }

    /// When to propose the next tick, on the monotonic clock; `None` if nothing is to come, at who does not lead, while one is
    /// under way, and while the disk is full.
    fn tick_at(&self, now: Now) -> Option<Micros> {
        let deadline = self.machine.state.next_deadline()?;
        let (term, stamp) =
            self.raft.reading(now).filter(|_| self.life == Life::Running && self.disk_room)?;
        let is_under_way = |(index, of): (LogIndex, Term)| of == term && index > self.machine.applied.index;
        if self.tick.proposal.is_some() || self.tick.appended.is_some_and(is_under_way) {
            return None;
        }
        let until = deadline.saturating_sub(stamp.unix_ms).saturating_mul(1_000);
        Some(self.mono.saturating_add(until).max(self.tick.rests_until))
    }
}
