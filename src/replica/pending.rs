//! Requests under way. Each that is put in comes out exactly once, with what is known to be true of it.
//!
//! ```text
//! propose ─► appended (index, term) ─► applied with this term ........ its reply
//!                                   ├► another term applied there .... certainly not done
//!                                   ├► a snapshot passes the index ... not known
//!                                   └► deadline ...................... not known
//! read ────► waits for its round ───► ready at an index ─► applied ... its answer
//!                                   └► aborted, or deadline .......... certainly not done
//! ```
//!
//! A lost leadership by itself resolves nothing: the entry may still commit, and is then answered by the truth.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Outcome, Refused, Tag};
use crate::raft::{LogIndex, ProposalId, ReadId, Term};
use crate::time::Micros;

/// Deadlines are looked at no more often than this, so that many different ones cost no more than equal ones.
const SWEEP_PAUSE: Micros = 1_000;

/// Who waits, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) tag: Tag,
    pub(super) deadline: Micros,
}

/// An appended write.
#[derive(Debug)]
struct Write {
    index: LogIndex,
    term: Term,
    waiter: Waiter,
}

/// A read; `at` is its round's id until the round is over, and the index to wait for from then on.
#[derive(Debug)]
struct Read {
    at: u64,
    waiter: Waiter,
    query: Bytes,
}

/// What an applied entry means to those who waited at its index.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// This one waits for the entry's reply.
    Own(Tag),
    /// This one's entry was replaced: it was certainly not done.
    Replaced(Tag),
    /// A snapshot took the place of this one's entry.
    Passed(Tag),
}

/// Requests under way.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Handed to the core and not yet appended or refused; answered within the step. In order of their ids.
    proposed: VecDeque<(ProposalId, Waiter)>,
    /// In order of (index, term).
    writes: VecDeque<Write>,
    /// Waiting for their round, in order of the rounds' ids; those of one batch share one.
    reads: VecDeque<Read>,
    /// Waiting for an index to be applied, in its order.
    ready: VecDeque<Read>,
    /// No deadline is earlier than this. It is exact after a sweep, and only ever too early.
    soonest: Option<Micros>,
    swept: Micros,
    last_id: u64,
}

impl Pending {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.proposed.len() + self.writes.len() + self.reads.len() + self.ready.len()
    }

    /// When [`expire`](Self::expire) should be called.
    pub(super) fn wake_at(&self) -> Option<Micros> {
        self.soonest.map(|at| at.max(self.swept.saturating_add(SWEEP_PAUSE)))
    }

    /// A write that is about to be proposed under the returned id.
    pub(super) fn propose(&mut self, waiter: Waiter) -> ProposalId {
        let id = self.fresh_id();
        self.note(waiter.deadline);
        self.proposed.push_back((id, waiter));
        id
    }

    /// The core appended a proposal.
    pub(super) fn appended(&mut self, id: ProposalId, index: LogIndex, term: Term) {
        let Some(waiter) = self.take_proposed(id) else { return };
        let write = Write { index, term, waiter };
        // Indexes grow while a leader leads; only after a truncation do they start again lower.
        let at = match self.writes.back() {
            Some(last) if (last.index, last.term) > (index, term) => {
                self.writes.partition_point(|w| (w.index, w.term) < (index, term))
            }
            _ => self.writes.len(),
        };
        self.writes.insert(at, write);
    }

    /// The core refused a proposal: who waited for it.
    pub(super) fn take_proposed(&mut self, id: ProposalId) -> Option<Waiter> {
        // Answers come in the order of the proposals, so the first is nearly always the one.
        let at = self.proposed.iter().position(|&(other, _)| other == id)?;
        self.proposed.remove(at).map(|(_, waiter)| waiter)
    }

    /// Proposals that the core did not answer within their step.
    pub(super) fn take_unanswered(&mut self) -> Option<Tag> {
        self.proposed.pop_front().map(|(_, waiter)| waiter.tag)
    }

    /// The next of those whose wait ends when the entry (`index`, `term`) is applied; to be called until `None`.
    pub(super) fn applied(&mut self, index: LogIndex, term: Term) -> Option<Applied> {
        if self.writes.front()?.index > index {
            return None;
        }
        let write = self.writes.pop_front()?;
        let tag = write.waiter.tag;
        Some(match (write.index == index, write.term == term) {
            (true, true) => Applied::Own(tag),
            (true, false) => Applied::Replaced(tag),
            (false, _) => Applied::Passed(tag),
        })
    }

    /// The next of those whose index a snapshot up to `index` has passed; to be called until `None`.
    pub(super) fn passed(&mut self, index: LogIndex) -> Option<Tag> {
        if self.writes.front()?.index > index {
            return None;
        }
        self.writes.pop_front().map(|write| write.waiter.tag)
    }

    /// A new round for reads: its id, for the core.
    pub(super) fn open_round(&mut self) -> ReadId {
        self.fresh_id()
    }

    /// A read that shares `round`, the last one opened.
    pub(super) fn read(&mut self, round: ReadId, waiter: Waiter, query: Bytes) {
        self.note(waiter.deadline);
        self.reads.push_back(Read { at: round, waiter, query });
    }

    /// The round is over: its reads may be answered once `index` is applied.
    pub(super) fn round_ready(&mut self, round: ReadId, index: LogIndex) {
        let start = self.reads.partition_point(|read| read.at < round);
        let end = self.reads.partition_point(|read| read.at <= round);
        let at = self.ready.partition_point(|read| read.at <= index);
        for (offset, mut read) in self.reads.drain(start..end).enumerate() {
            read.at = index;
            self.ready.insert(at + offset, read);
        }
    }

    /// The next read of a round that the core gave up; to be called until `None`.
    pub(super) fn round_aborted(&mut self, round: ReadId) -> Option<Tag> {
        let at = self.reads.binary_search_by_key(&round, |read| read.at).ok()?;
        self.reads.remove(at).map(|read| read.waiter.tag)
    }

    /// The next read that may be answered from a state in which `applied` is applied; to be called until `None`.
    pub(super) fn answerable(&mut self, applied: LogIndex) -> Option<(Tag, Bytes)> {
        if self.ready.front()?.at > applied {
            return None;
        }
        self.ready.pop_front().map(|read| (read.waiter.tag, read.query))
    }

    /// Takes out all whose deadline has come, with what is true of them.
    pub(super) fn expire(&mut self, now: Micros, ended: &mut Vec<(Tag, Outcome)>) {
        if self.wake_at().is_none_or(|at| at > now) {
            return;
        }
        let mut soonest = None;
        let mut stays = |waiter: &Waiter, outcome: Outcome| {
            if waiter.deadline <= now {
                ended.push((waiter.tag, outcome));
                return false;
            }
            soonest = Some(soonest.map_or(waiter.deadline, |at: Micros| at.min(waiter.deadline)));
            true
        };
        self.writes.retain(|write| stays(&write.waiter, Outcome::Undetermined));
        self.reads.retain(|read| stays(&read.waiter, Outcome::Refused(Refused::TimedOut)));
        self.ready.retain(|read| stays(&read.waiter, Outcome::Refused(Refused::TimedOut)));
        self.proposed.retain(|(_, waiter)| stays(waiter, Outcome::Undetermined));
        self.soonest = soonest;
        self.swept = now;
    }

    /// Takes out all of them, with what is true of them when nothing more will be learnt.
    pub(super) fn stop(&mut self, ended: &mut Vec<(Tag, Outcome)>) {
        let unknown = self.proposed.drain(..).map(|(_, waiter)| waiter);
        let unknown = unknown.chain(self.writes.drain(..).map(|write| write.waiter));
        ended.extend(unknown.map(|waiter| (waiter.tag, Outcome::Undetermined)));
        let reads = self.reads.drain(..).chain(self.ready.drain(..));
        ended.extend(reads.map(|read| (read.waiter.tag, Outcome::Refused(Refused::Stopping))));
        self.soonest = None;
    }

    fn fresh_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn note(&mut self, deadline: Micros) {
        self.soonest = Some(self.soonest.map_or(deadline, |at| at.min(deadline)));
    }
}
