//! What clients asked, when, and what came of it.
//!
//! A history is written while it happens: [`ask`](History::ask) just before a request leaves a client, and
//! [`replied`](History::replied) just after its reply reached it. The order of these calls is the real-time order that the
//! checks hold the replies against: an operation comes before another if its reply was written down before the other was
//! asked. Times are for people and for the comparison with the log's; two things that happen in one microsecond still have
//! an order, so that a client which asks again at once is held to its own order.
//!
//! An operation that nothing more is said about has an unknown outcome: it may take effect once, at any time after it was
//! asked, or never. That is what a lost reply, a broken connection and `UNDETERMINED` mean, so none of them needs a call.

use std::vec::Vec;

use super::model::Model;
use crate::replica::SessionId;
use crate::time::Micros;

/// Names an operation of one history: its place among all that were asked.
pub type OpId = usize;

/// The operations and replies of a model.
pub type HistoryOf<M> = History<<M as Model>::Op, <M as Model>::Reply>;

/// A moment of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Its time.
    pub at: Micros,
    /// Its place among all moments of the history.
    pub order: u64,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End<R> {
    /// Not known: it may take effect once, at any time after it was asked, or never.
    Unknown,
    /// Certainly not done, now and for ever.
    NotDone,
    /// Done.
    Replied {
        /// When the reply reached the client.
        when: Moment,
        /// What it said.
        reply: R,
    },
}

/// One operation of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<O, R> {
    /// Who asked; of one client several operations may be under way.
    pub client: u64,
    /// When it was asked.
    pub asked: Moment,
    /// What was asked.
    pub op: O,
    /// How it ended.
    pub end: End<R>,
    /// The session and the number under which it is in the log, where that is known.
    pub name: Option<(SessionId, u64)>,
    /// An operation that was answered and that it certainly was done after, although it was asked before that one's reply came.
    pub behind: Option<OpId>,
    /// A write that was done behind it on one connection: whatever became of this one, it is not done after that.
    pub settled_by: Option<OpId>,
}

impl<O, R> Operation<O, R> {
    /// When the reply came, and the reply.
    pub fn reply(&self) -> Option<(Moment, &R)> {
        match &self.end {
            End::Replied { when, reply } => Some((*when, reply)),
            End::Unknown | End::NotDone => None,
        }
    }
}

/// All operations of a run, in the order in which they were asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History<O, R> {
    operations: Vec<Operation<O, R>>,
    moments: u64,
}

impl<O, R> Default for History<O, R> {
    fn default() -> Self {
        Self { operations: Vec::new(), moments: 0 }
    }
}

impl<O, R> History<O, R> {
    /// A history of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A client asks, at the time `at`.
    pub fn ask(&mut self, client: u64, at: Micros, op: O) -> OpId {
        let asked = self.moment(at);
        self.operations.push(Operation {
            client,
            asked,
            op,
            end: End::Unknown,
            name: None,
            behind: None,
            settled_by: None,
        });
        self.operations.len() - 1
    }

    /// The operation travels under number `seq` of a session.
    pub fn name(&mut self, id: OpId, session: SessionId, seq: u64) {
        self.operations[id].name = Some((session, seq));
    }

    /// An operation was asked behind another one, `before`, on one connection, whose replies come in order and whose reads
    /// and writes wait for each other; `before` was answered before it. Real time alone would let it see the state before.
    pub fn behind(&mut self, id: OpId, before: OpId) {
        self.operations[id].behind = Some(before);
    }

    /// Of an operation nobody could tell whether it was done; then `write` was done, which was asked behind it on one
    /// connection. What is not done by then is not done later: a client that goes on may rely on it.
    pub fn settled(&mut self, id: OpId, write: OpId) {
        self.operations[id].settled_by = Some(write);
    }

    /// The operation's reply reaches its client at the time `at`.
    pub fn replied(&mut self, id: OpId, at: Micros, reply: R) {
        let when = self.moment(at);
        self.operations[id].end = End::Replied { when, reply };
    }

    /// The client is told that the operation was certainly not done.
    pub fn not_done(&mut self, id: OpId) {
        self.operations[id].end = End::NotDone;
    }

    /// More is known of what was asked than its client could see.
    pub fn learn_op(&mut self, id: OpId, op: O) {
        self.operations[id].op = op;
    }

    /// More is known of an answer than its client could see. When it came stays, and what was not answered stays that.
    pub fn learn_reply(&mut self, id: OpId, reply: R) {
        if let End::Replied { reply: known, .. } = &mut self.operations[id].end {
            *known = reply;
        }
    }

    /// All operations; the place of each is its name.
    pub fn operations(&self) -> &[Operation<O, R>] {
        &self.operations
    }

    fn moment(&mut self, at: Micros) -> Moment {
        self.moments += 1;
        Moment { at, order: self.moments }
    }
}
