//! The one pass over the log.

use std::vec::Vec;

use super::super::contradiction::{Contradiction, Rule, brief};
use super::super::history::{End, HistoryOf, Moment, OpId};
use super::super::model::Model;
use super::sessions::{SessionLimits, Sessions};
use super::writes::{Print, Writes, identity, print};
use super::{Committed, Replayed};
use crate::raft::LogIndex;
use crate::replica::{Context, Request, SessionId};

/// How an operation takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Write,
    /// A read that was answered.
    Read,
    /// Nothing to judge.
    None,
}

/// A read that may be placed and whose reply did not fit so far.
#[derive(Debug)]
pub(super) struct Waiting<R> {
    pub(super) id: OpId,
    /// The first index behind which it might have stood, and what would have been right there.
    pub(super) from: LogIndex,
    pub(super) expected: R,
    /// The last index behind which it was tried.
    pub(super) until: LogIndex,
}

/// A pass under way.
pub(super) struct Sweep<'a, M: Model> {
    model: M,
    pub(super) history: &'a HistoryOf<M>,
    pub(super) log: &'a [Committed],
    sessions: Sessions,
    pub(super) writes: Writes,
    pub(super) parts: Vec<Part>,
    /// The last entry that was met.
    pub(super) at: Context,
    /// What was answered and is to be placed, by when it returned.
    returned: Vec<OpId>,
    /// How many of these, from the first on, have been placed.
    settled: usize,
    placed: Vec<Option<LogIndex>>,
    executed: Vec<(Context, OpId)>,
    /// No read from here on has been tried.
    next_read: OpId,
    pub(super) waiting: Vec<Waiting<M::Reply>>,
}

impl<'a, M: Model> Sweep<'a, M> {
    pub(super) fn new(
        model: M,
        limits: SessionLimits,
        log: &'a [Committed],
        history: &'a HistoryOf<M>,
    ) -> Self {
        let operations = history.operations();
        let (mut writes, mut returned) = (Writes::default(), Vec::new());
        let mut parts = Vec::with_capacity(operations.len());
        for (id, operation) in operations.iter().enumerate() {
            let reply = operation.reply();
            let part = match (M::is_read(&operation.op), reply) {
                (false, _) => Part::Write,
                (true, Some(_)) if !is_local::<M>(&operation.op) => Part::Read,
                (true, _) => Part::None,
            };
            if part == Part::Write {
                writes.add::<M>(id, operation);
            }
            if let Some((when, _)) = reply.filter(|_| part != Part::None) {
                returned.push((when.order, id));
            }
            parts.push(part);
        }
        writes.seal();
        returned.sort_unstable();
        Self {
            model,
            history,
            log,
            sessions: Sessions::new(limits),
            writes,
            parts,
            at: Context::at(log.first().map_or(0, |entry| entry.index.saturating_sub(1)), 0),
            returned: returned.into_iter().map(|(_, id)| id).collect(),
            settled: 0,
            placed: std::vec![None; operations.len()],
            executed: Vec::new(),
            next_read: 0,
            waiting: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<Replayed, Contradiction> {
        self.place_reads();
        for entry in self.log {
            self.check_time(entry)?;
            self.take(entry)?;
            self.place_reads();
        }
        match self.oldest() {
            Some((id, _)) => Err(self.has_no_place(id)),
            None => Ok(Replayed { placed: self.placed, executed: self.executed }),
        }
    }

    /// What returned before the entry was applied anywhere has its place before the entry.
    fn check_time(&mut self, entry: &Committed) -> Result<(), Contradiction> {
        if entry.index != self.at.index + 1 {
            return Err(self.has_a_gap(entry));
        }
        match self.oldest() {
            Some((id, when)) if entry.applied.is_some_and(|applied| when.at < applied) => {
                Err(self.has_no_place(id))
            }
            _ => Ok(()),
        }
    }

    /// Does what an entry asks for.
    fn take(&mut self, entry: &Committed) -> Result<(), Contradiction> {
        let now = entry.stamp.cluster_ms;
        self.at = Context::at(entry.index, entry.stamp.unix_ms);
        self.sessions.pass(now);
        match &entry.request {
            Some(Request::Write(command)) => {
                for command in M::commands(command) {
                    self.execute(entry, None, &command)?;
                }
            }
            Some(Request::Once { session, seq, ack, command }) => {
                if self.sessions.admits(*session, *seq, *ack, now) {
                    let kept = self.execute(entry, Some((*session, *seq)), command)?;
                    self.sessions.ran(*session, *seq, *ack, kept);
                }
            }
            Some(Request::OpenSession { nonce }) => self.sessions.open(entry.index, nonce, now),
            Some(Request::CloseSession { session }) => self.sessions.close(*session),
            Some(
                Request::Read(_) | Request::ReadLocal(_) | Request::Reconfigure(_) | Request::Transfer(_),
            )
            | None => {}
        }
        Ok(())
    }

    /// Executes the entry's command, as the operation that it is. Yields the bytes that its reply takes.
    fn execute(
        &mut self,
        entry: &Committed,
        name: Option<(SessionId, u64)>,
        command: &[u8],
    ) -> Result<u64, Contradiction> {
        let print = print(command);
        let named = name.and_then(|name| self.writes.named(name));
        let Some(like) = named.or_else(|| self.writes.like(print)) else {
            return Err(self.was_not_asked(command));
        };
        let expected = self.model.step(self.at, &self.history.operations()[like].op);
        let id = match named {
            Some(id) => self.judge_named(entry, id, print, &expected)?,
            None => self.choose(entry, print, &expected)?,
        };
        if let Some(before) = self.must_follow(id) {
            return Err(self.has_no_place(before));
        }
        if let Some(write) = self.comes_after(id) {
            let text = std::format!("it is done after #{write}, which was done behind it on its connection");
            return Err(self.contradiction(Rule::Order, Some(id), &text));
        }
        self.placed[id] = Some(entry.index);
        self.executed.push((self.at, id));
        Ok(M::kept_bytes(&expected))
    }

    /// The entry has the name of operation `id`.
    fn judge_named(
        &mut self,
        entry: &Committed,
        id: OpId,
        print: Print,
        expected: &M::Reply,
    ) -> Result<OpId, Contradiction> {
        let operation = &self.history.operations()[id];
        if identity::<M>(operation).is_none_or(|(_, asked)| asked != print) {
            return Err(self.contradiction(
                Rule::Asked,
                Some(id),
                "the entry of its name is another command",
            ));
        }
        if !may_be_placed(operation.asked, self.barrier(), entry) {
            return Err(self.comes_too_early(entry, id));
        }
        match &operation.end {
            End::Replied { reply, .. } if !M::admits(&operation.op, expected, reply) => {
                Err(self.is_answered_wrong(id, expected))
            }
            End::NotDone => Err(self.contradiction(Rule::NotDone, Some(id), "it is in the log")),
            End::Replied { .. } | End::Unknown => Ok(id),
        }
    }

    /// What must have been placed before operation `id` and was not.
    fn must_follow(&self, id: OpId) -> Option<OpId> {
        let behind = self.history.operations()[id].behind;
        let before = behind.filter(|&before| self.placed[before].is_none())?;
        (self.is_sure(id) && self.is_sure(before)).then_some(before)
    }

    /// The write that was done already, and that says that `id` is not done any more.
    fn comes_after(&self, id: OpId) -> Option<OpId> {
        let settled_by = self.history.operations()[id].settled_by;
        let write = settled_by.filter(|&write| self.placed[write].is_some())?;
        (self.is_sure(id) && self.is_sure(write)).then_some(write)
    }

    /// Whether it is known which entry the operation is. Of several writes that were asked alike another one may be meant.
    fn is_sure(&self, id: OpId) -> bool {
        match identity::<M>(&self.history.operations()[id]) {
            Some((None, print)) => self.writes.is_only(print),
            _ => true,
        }
    }

    /// Chooses which of the unnamed operations with these bytes the entry is.
    fn choose(
        &mut self,
        entry: &Committed,
        print: Print,
        expected: &M::Reply,
    ) -> Result<OpId, Contradiction> {
        let (barrier, history) = (self.barrier(), self.history);
        let may = |id: OpId| may_be_placed(history.operations()[id].asked, barrier, entry);
        let group = self.writes.group::<M>(print, history, &self.placed, may);
        let reply = |id: OpId| history.operations()[id].reply();
        let fits =
            |id: OpId| reply(id).is_some_and(|(_, r)| M::admits(&history.operations()[id].op, expected, r));
        let returned = |id: OpId| reply(id).map(|(when, _)| when.order);
        let answered = group.answered.iter().copied().filter(|&id| fits(id)).min_by_key(|&id| returned(id));
        if let Some(id) = answered {
            group.answered.retain(|&other| other != id);
        }
        let chosen = answered.or_else(|| group.unknown.pop());
        let wrong = group.answered.iter().copied().min_by_key(|&id| returned(id));
        let not_done = group.not_done.first().copied();
        if let Some(id) = chosen {
            self.writes.tidy(print);
            return Ok(id);
        }
        Err(if let Some(id) = wrong {
            self.is_answered_wrong(id, expected)
        } else if let Some(id) = not_done {
            self.contradiction(Rule::NotDone, Some(id), "it is in the log")
        } else if let Some(id) = self.writes.next_of(print) {
            self.comes_too_early(entry, id)
        } else {
            let like = self.writes.like(print);
            self.contradiction(Rule::Once, like, "the log has it more often than it was asked")
        })
    }

    /// Places each read that may be placed and fits the state.
    fn place_reads(&mut self) {
        let mut waiting = core::mem::take(&mut self.waiting);
        waiting.retain_mut(|read| {
            read.until = self.at.index;
            self.place_read(read.id).is_err()
        });
        self.waiting = waiting;
        while let Some(id) = self.next_read() {
            if let Err(expected) = self.place_read(id) {
                self.waiting.push(Waiting { id, from: self.at.index, expected, until: self.at.index });
            }
        }
    }

    /// The next read asked, if it may be placed.
    fn next_read(&mut self) -> Option<OpId> {
        while *self.parts.get(self.next_read)? != Part::Read {
            self.next_read += 1;
        }
        let (id, barrier) = (self.next_read, self.barrier());
        if self.history.operations()[id].asked.order >= barrier {
            return None;
        }
        self.next_read += 1;
        Some(id)
    }

    /// Places a read behind the last entry, or says what would be right there.
    fn place_read(&mut self, id: OpId) -> Result<(), M::Reply> {
        let operation = &self.history.operations()[id];
        let is_early = self.must_follow(id).is_some();
        let expected = self.model.step(self.at, &operation.op);
        match operation.reply() {
            Some((_, reply)) if M::admits(&operation.op, &expected, reply) && !is_early => {
                self.placed[id] = Some(self.at.index);
                Ok(())
            }
            _ => Err(expected),
        }
    }

    /// The operation that returned first of those that are not placed, and when it did.
    pub(super) fn oldest(&mut self) -> Option<(OpId, Moment)> {
        loop {
            let &id = self.returned.get(self.settled)?;
            if self.placed[id].is_none() {
                return self.history.operations()[id].reply().map(|(when, _)| (id, when));
            }
            self.settled += 1;
        }
    }

    /// What was asked before this moment may be placed.
    fn barrier(&mut self) -> u64 {
        self.oldest().map_or(u64::MAX, |(_, when)| when.order)
    }

    fn is_answered_wrong(&self, id: OpId, expected: &M::Reply) -> Contradiction {
        self.contradiction(Rule::Reply, Some(id), &std::format!("right is {}", brief(expected)))
    }
}

fn is_local<M: Model>(op: &M::Op) -> bool {
    matches!(M::request(op), Some(Request::ReadLocal(_)))
}

fn may_be_placed(asked: Moment, barrier: u64, entry: &Committed) -> bool {
    asked.order < barrier && entry.applied.is_none_or(|applied| asked.at <= applied)
}
