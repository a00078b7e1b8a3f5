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
use core::mem;

use bytes::Bytes;

use super::{Outcome, Refused, Tag};
use crate::raft::{LogIndex, ProposalId, ReadId, Term, TransferId};
use crate::time::Micros;

/// Deadlines are looked at no more often than this, so that many different ones cost no more than equal ones.
const SWEEP_PAUSE: Micros = 1_000;

/// Who waits, whose it is, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) tag: Tag,
    pub(super) client: u64,
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
    /// Transfers of leadership under way: few, each ended by the core within an election timeout or so.
    transfers: VecDeque<(TransferId, Waiter)>,
    /// No deadline is earlier than this. It is exact after a sweep, and only ever too early.
    soonest: Option<Micros>,
    swept: Micros,
    last_id: u64,
}

impl Pending {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.proposed.len() + self.writes.len() + self.reads.len() + self.ready.len() + self.transfers.len()
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
        Some(match (write.index == index, write.term == term || planted!("reply-by-index-alone")) {
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

    /// A transfer of leadership that is about to be asked for under the returned id.
    pub(super) fn transfer(&mut self, waiter: Waiter) -> TransferId {
        let id = self.fresh_id();
        self.note(waiter.deadline);
        self.transfers.push_back((id, waiter));
        id
    }

    /// A transfer has ended: who waited for it.
    pub(super) fn transfer_ended(&mut self, id: TransferId) -> Option<Tag> {
        let at = self.transfers.iter().position(|&(other, _)| other == id)?;
        self.transfers.remove(at).map(|(_, waiter)| waiter.tag)
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

    /// A read of whatever is applied.
    pub(super) fn read_local(&mut self, waiter: Waiter, query: Bytes) {
        self.note(waiter.deadline);
        let at = self.ready.partition_point(|read| read.at == 0);
        self.ready.insert(at, Read { at: 0, waiter, query });
    }

    /// The round is over: its reads may be answered once `index` is applied.
    pub(super) fn round_ready(&mut self, round: ReadId, index: LogIndex) {
        let start = self.reads.partition_point(|read| read.at < round);
        let end = self.reads.partition_point(|read| read.at <= round);
        if self.ready.is_empty() && end - start == self.reads.len() {
            // Mostly all that wait share one round.
            mem::swap(&mut self.ready, &mut self.reads);
            self.ready.iter_mut().for_each(|read| read.at = index);
            return;
        }
        let at = self.ready.partition_point(|read| read.at <= index);
        let mut later = self.ready.split_off(at);
        self.ready.extend(self.reads.drain(start..end).map(|read| Read { at: index, ..read }));
        self.ready.append(&mut later);
    }

    /// The next read of a round that the core gave up; to be called until `None`.
    pub(super) fn round_aborted(&mut self, round: ReadId) -> Option<Tag> {
        let at = self.reads.binary_search_by_key(&round, |read| read.at).ok()?;
        self.reads.remove(at).map(|read| read.waiter.tag)
    }

    /// The next read that may be answered from a state in which `applied` is applied; to be called until `None`.
    pub(super) fn answerable(&mut self, applied: LogIndex) -> Option<(Waiter, Bytes)> {
        if self.ready.front()?.at > applied {
            return None;
        }
        self.ready.pop_front().map(|read| (read.waiter, read.query))
    }

    /// The queries that [`answerable`](Self::answerable) will give, in their order.
    pub(super) fn queries(&self, applied: LogIndex) -> impl Iterator<Item = &[u8]> {
        self.ready.iter().take_while(move |read| read.at <= applied).map(|read| &read.query[..])
    }

    /// Puts the answerable reads of `client` behind those of all others: it has had a step's worth of them.
    pub(super) fn give_way(&mut self, client: u64, applied: LogIndex) {
        let end = self.ready.partition_point(|read| read.at <= applied);
        let answerable = self.ready.make_contiguous().get_mut(..end).unwrap_or_default();
        // What may be answered now may be answered from any later state.
        answerable.iter_mut().for_each(|read| read.at = 0);
        answerable.sort_by_key(|read| read.waiter.client == client);
    }

    /// Whether there is an [`answerable`](Self::answerable) read.
    pub(super) fn has_answerable(&self, applied: LogIndex) -> bool {
        self.ready.front().is_some_and(|read| read.at <= applied)
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
        self.transfers.retain(|(_, waiter)| stays(waiter, Outcome::Undetermined));
        self.soonest = soonest;
        self.swept = now;
    }

    /// Takes out all of them, with what is true of them when nothing more will be learnt.
    pub(super) fn stop(&mut self, ended: &mut Vec<(Tag, Outcome)>) {
        let unknown = self.proposed.drain(..).map(|(_, waiter)| waiter);
        let unknown = unknown.chain(self.writes.drain(..).map(|write| write.waiter));
        let unknown = unknown.chain(self.transfers.drain(..).map(|(_, waiter)| waiter));
        ended.extend(unknown.map(|waiter| (waiter.tag, Outcome::Undetermined)));
        let reads = self.reads.drain(..).chain(self.ready.drain(..));
        ended.extend(reads.map(|read| (read.waiter.tag, Outcome::Refused(Refused::Stopping))));
        self.soonest = None;
    }

    /// A name for a proposal that nobody waits for.
    pub(super) fn fresh_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn note(&mut self, deadline: Micros) {
        self.soonest = Some(self.soonest.map_or(deadline, |at| at.min(deadline)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use alloc::collections::BTreeMap;
    use alloc::vec;

    fn waiter(tag: Tag, deadline: Micros) -> Waiter {
        Waiter { tag, client: tag % 3, deadline }
    }

    fn append(pending: &mut Pending, tag: Tag, deadline: Micros, index: LogIndex, term: Term) {
        let id = pending.propose(waiter(tag, deadline));
        pending.appended(id, index, term);
    }

    fn apply(pending: &mut Pending, index: LogIndex, term: Term) -> Vec<Applied> {
        core::iter::from_fn(|| pending.applied(index, term)).collect()
    }

    fn answered(pending: &mut Pending, applied: LogIndex) -> Option<(Tag, Bytes)> {
        pending.answerable(applied).map(|(waiter, query)| (waiter.tag, query))
    }

    fn expired(pending: &mut Pending, now: Micros) -> Vec<(Tag, Outcome)> {
        let mut ended = Vec::new();
        pending.expire(now, &mut ended);
        ended
    }

    const TIMED_OUT: Outcome = Outcome::Refused(Refused::TimedOut);

    #[test]
    fn a_write_gets_the_reply_of_its_own_index_and_term() {
        let mut pending = Pending::default();
        append(&mut pending, 1, 100, 5, 2);
        append(&mut pending, 2, 100, 6, 2);
        assert_eq!(apply(&mut pending, 4, 2), []);
        assert_eq!(apply(&mut pending, 5, 2), [Applied::Own(1)]);
        assert_eq!(apply(&mut pending, 5, 2), [], "once");
        assert_eq!(apply(&mut pending, 6, 3), [Applied::Replaced(2)]);
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn two_leaderships_of_one_node_may_wait_at_one_index() {
        let mut pending = Pending::default();
        append(&mut pending, 1, 100, 5, 2);
        append(&mut pending, 2, 100, 6, 2);
        append(&mut pending, 3, 100, 5, 4);
        append(&mut pending, 4, 100, 6, 4);
        assert_eq!(apply(&mut pending, 5, 4), [Applied::Replaced(1), Applied::Own(3)]);
        assert_eq!(apply(&mut pending, 6, 4), [Applied::Replaced(2), Applied::Own(4)]);
    }

    #[test]
    fn a_snapshot_that_passes_an_index_leaves_it_unknown() {
        let mut pending = Pending::default();
        append(&mut pending, 1, 100, 5, 2);
        append(&mut pending, 2, 100, 6, 2);
        assert_eq!(pending.passed(5), Some(1));
        assert_eq!(pending.passed(5), None);
        assert_eq!(apply(&mut pending, 7, 2), [Applied::Passed(2)]);
    }

    #[test]
    fn a_refused_proposal_is_given_back_once() {
        let mut pending = Pending::default();
        let (first, second) = (pending.propose(waiter(1, 100)), pending.propose(waiter(2, 100)));
        assert_eq!(pending.take_proposed(second).map(|w| w.tag), Some(2));
        assert_eq!(pending.take_proposed(second), None);
        pending.appended(second, 9, 9);
        pending.appended(first, 9, 9);
        assert_eq!(pending.len(), 1);
        let _ = pending.propose(waiter(3, 100));
        assert_eq!(pending.take_unanswered(), Some(3));
        assert_eq!(pending.take_unanswered(), None);
    }

    #[test]
    fn reads_of_a_round_wait_for_its_index() {
        let mut pending = Pending::default();
        let early = pending.open_round();
        pending.read(early, waiter(1, 100), Bytes::from_static(b"a"));
        let late = pending.open_round();
        pending.read(late, waiter(2, 100), Bytes::from_static(b"b"));
        pending.read(late, waiter(3, 100), Bytes::from_static(b"c"));
        // Rounds need not end in order.
        pending.round_ready(late, 9);
        assert_eq!(answered(&mut pending, 8), None);
        pending.round_ready(early, 7);
        assert_eq!(answered(&mut pending, 8), Some((1, Bytes::from_static(b"a"))));
        assert_eq!(answered(&mut pending, 8), None);
        assert_eq!(answered(&mut pending, 10), Some((2, Bytes::from_static(b"b"))));
        assert_eq!(answered(&mut pending, 10), Some((3, Bytes::from_static(b"c"))));
        assert_eq!(answered(&mut pending, 10), None);
        pending.round_ready(late, 9);
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn queries_are_told_in_the_order_in_which_they_are_answered() {
        let mut pending = Pending::default();
        for (tag, index) in [(1, 7), (2, 9), (3, 7)] {
            let round = pending.open_round();
            pending.read(round, waiter(tag, 100), Bytes::from(vec![tag as u8]));
            pending.round_ready(round, index);
        }
        for applied in [6, 7, 8, 9] {
            let told: Vec<Vec<u8>> = pending.queries(applied).map(<[u8]>::to_vec).collect();
            let given: Vec<Vec<u8>> = core::iter::from_fn(|| answered(&mut pending, applied))
                .map(|(_, query)| query.to_vec())
                .collect();
            assert_eq!(told, given);
            assert_eq!(given.len(), [0, 2, 0, 1][applied as usize - 6]);
        }
    }

    #[test]
    fn an_aborted_round_gives_all_its_reads_back_and_no_other() {
        let mut pending = Pending::default();
        let (first, second) = (pending.open_round(), pending.open_round());
        pending.read(first, waiter(1, 100), Bytes::new());
        pending.read(first, waiter(2, 100), Bytes::new());
        pending.read(second, waiter(3, 100), Bytes::new());
        let mut aborted: Vec<_> = core::iter::from_fn(|| pending.round_aborted(first)).collect();
        aborted.sort_unstable();
        assert_eq!(aborted, [1, 2]);
        assert_eq!(pending.len(), 1);
    }

    #[test]
    fn deadlines_end_each_kind_with_what_is_true_of_it() {
        let mut pending = Pending::default();
        assert_eq!(pending.wake_at(), None);
        append(&mut pending, 1, 5_000, 5, 2);
        let round = pending.open_round();
        pending.read(round, waiter(2, 6_000), Bytes::new());
        let round = pending.open_round();
        pending.read(round, waiter(3, 7_000), Bytes::new());
        pending.round_ready(round, 5);
        append(&mut pending, 4, 9_000, 6, 2);
        assert_eq!(pending.wake_at(), Some(5_000));
        assert_eq!(expired(&mut pending, 4_999), []);
        assert_eq!(expired(&mut pending, 6_000), [(1, Outcome::Undetermined), (2, TIMED_OUT)]);
        assert_eq!(pending.wake_at(), Some(7_000));
        assert_eq!(expired(&mut pending, 8_000), [(3, TIMED_OUT)]);
        assert_eq!(apply(&mut pending, 5, 2), [], "an ended one is not answered again");
        assert_eq!(apply(&mut pending, 6, 2), [Applied::Own(4)]);
        assert_eq!(expired(&mut pending, 9_000), []);
        assert_eq!(pending.wake_at(), None);
    }

    #[test]
    fn many_different_deadlines_do_not_wake_more_often_than_the_pause() {
        let mut pending = Pending::default();
        for tag in 0..1000 {
            append(&mut pending, tag, 10_000 + tag, tag, 1);
        }
        assert_eq!(expired(&mut pending, 10_000).len(), 1);
        assert_eq!(pending.wake_at(), Some(10_000 + SWEEP_PAUSE));
        assert_eq!(expired(&mut pending, 10_500), []);
        assert_eq!(expired(&mut pending, 11_000).len(), 999);
    }

    #[test]
    fn stopping_ends_all_with_what_is_true_of_them() {
        let mut pending = Pending::default();
        append(&mut pending, 1, 100, 5, 2);
        let round = pending.open_round();
        pending.read(round, waiter(2, 100), Bytes::new());
        let _ = pending.propose(waiter(3, 100));
        let mut ended = Vec::new();
        pending.stop(&mut ended);
        let stopping = Outcome::Refused(Refused::Stopping);
        let expected = vec![(3, Outcome::Undetermined), (1, Outcome::Undetermined), (2, stopping)];
        assert_eq!(ended, expected);
        assert_eq!((pending.len(), pending.wake_at()), (0, None));
    }

    /// Random histories: whatever happens, each request ends exactly once.
    #[test]
    fn no_request_is_forgotten_and_none_ends_twice() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut pending = Pending::default();
            let mut ends: BTreeMap<Tag, usize> = BTreeMap::new();
            let (mut now, mut tags, mut term, mut last, mut done) = (0, 0, 1, 0, 0);
            let mut rounds = Vec::new();
            for _ in 0..300 {
                now += rng.below(400);
                let deadline = now + 1 + rng.below(3_000);
                let mut ended: Vec<Tag> = Vec::new();
                match rng.below(9) {
                    0..=2 => {
                        tags += 1;
                        last += 1;
                        append(&mut pending, tags, deadline, last, term);
                    }
                    3 => {
                        tags += 1;
                        let round = match rounds.last() {
                            Some(&round) if rng.chance(1, 2) => round,
                            _ => pending.open_round(),
                        };
                        if rounds.last() != Some(&round) {
                            rounds.push(round);
                        }
                        pending.read(round, waiter(tags, deadline), Bytes::new());
                    }
                    4 if !rounds.is_empty() => {
                        let round = rounds.remove(rng.below(rounds.len() as u64) as usize);
                        if rng.chance(1, 3) {
                            ended.extend(core::iter::from_fn(|| pending.round_aborted(round)));
                        } else {
                            pending.round_ready(round, last);
                        }
                    }
                    5 | 6 if done < last => {
                        done += 1;
                        let applied = core::iter::from_fn(|| pending.applied(done, term - rng.below(2)));
                        ended.extend(applied.map(|applied| match applied {
                            Applied::Own(tag) | Applied::Replaced(tag) | Applied::Passed(tag) => tag,
                        }));
                        let answered = core::iter::from_fn(|| pending.answerable(done));
                        ended.extend(answered.map(|(waiter, _)| waiter.tag));
                    }
                    7 => ended.extend(expired(&mut pending, now).into_iter().map(|(tag, _)| tag)),
                    // A new leadership over a log that was cut.
                    8 => {
                        term += 2;
                        last = done + rng.below(last - done + 1);
                    }
                    _ => {}
                }
                for tag in ended {
                    *ends.entry(tag).or_default() += 1;
                }
                assert_eq!(ends.len() + pending.len(), tags as usize);
            }
            let rest = expired(&mut pending, now + 10_000);
            for (tag, _) in rest {
                *ends.entry(tag).or_default() += 1;
            }
            assert_eq!((ends.len(), pending.len()), (tags as usize, 0), "seed {seed}");
            assert!(ends.values().all(|&times| times == 1), "seed {seed}");
        }
    }
}
