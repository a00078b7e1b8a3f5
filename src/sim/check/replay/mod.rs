//! Every reply, replayed in the order of the log: linear in the run, and blind to no kind of command.
//!
//! The search for a linearization has to find an order. Here the cluster has told it: the committed log. What is left to
//! find is a place for each read, and that is no search either.
//!
//! # What is shown
//!
//! A *placement* puts each operation that took effect into one order: the writes as the log has them, each read behind
//! some entry. It is right if every reply is the specification's at its place and if what returned before something else
//! was asked is before it. A run has a right placement exactly when its replies are linearizable with the writes in the
//! order of the log.
//!
//! The sweep goes through the log once and knows one rule: *an operation may be placed when everything that returned
//! before it was asked has been placed.* After each entry it places every read that may be placed and whose reply is true
//! of the state; a read that does not fit is tried again after the next entry. An entry that may not be placed shows that
//! something which returned before it was asked has no place before it; the one that returned first is reported.
//!
//! **What the sweep ends with is right.** Places are given in the order of the log and, by the rule, in real time.
//!
//! An operation that is known to be done after another one of its own connection ([`History::behind`](super::history::History::behind))
//! may be placed when that one has been, besides.
//!
//! **If there is a right placement, the sweep finds one.** It places each read no later than any right placement does: by
//! induction over the order in which reads were asked. Whatever returned before read R was asked is either a write, whose place
//! is given, or a read that was asked before R, which the sweep places no later than the right placement. So R may be
//! placed as soon as it stands in the right placement, where its reply is true. (Which entry is which write is given
//! too, or a matter of no consequence: see `writes.rs`.) Now let the sweep refuse entry W because X, which returned before W
//! was asked, has no place. In a right placement X is before W. If X is a write, it would have been met. If X is a read, the
//! sweep has placed it by then. So there is none.
//!
//! # What is not
//!
//! The committed order is taken as given: that all nodes agree on it is the invariants' matter. Replies to reads of unknown outcome
//! do not exist, and reads of a node's own state ([`Request::ReadLocal`]) promise nothing that could be judged here. With
//! [`Committed::applied`] the sweep demands more than its clients could see: nothing is answered before a node has applied
//! it, and nothing applied before it was asked.

mod blame;
mod sessions;
mod sweep;
#[cfg(test)]
mod tests;
mod writes;

pub use sessions::SessionLimits;

use std::vec::Vec;

use super::contradiction::Contradiction;
use super::history::{HistoryOf, OpId};
use super::model::Model;
use crate::raft::{LogIndex, Stamp};
use crate::replica::{Context, Request};
use crate::time::Micros;

/// One committed entry, of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its index: one more than that of the entry before it.
    pub index: LogIndex,
    /// The log's clocks at it.
    pub stamp: Stamp,
    /// When the first node applied it, by the clock of the history; `None` if nobody looked.
    pub applied: Option<Micros>,
    /// What it asks for, as [`request_of`](crate::replica::request_of) has it; `None` for what is no command.
    pub request: Option<Request>,
}

/// The placement that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// For each operation the index that it is placed at: a write's own, and for a read that of the entry behind which it stands.
    /// `None` for what did not take effect or was not judged.
    pub placed: Vec<Option<LogIndex>>,
    /// The writes in their order.
    pub executed: Vec<(Context, OpId)>,
}

/// Holds a history against the committed log, from its first entry to its last. `model` is the state before the log.
///
/// Every write of the log must be in the history; a run whose clients are not all recorded cannot be judged.
///
/// # Errors
///
/// The first rule that is found broken.
pub fn replay<M: Model>(
    model: M,
    limits: SessionLimits,
    log: &[Committed],
    history: &HistoryOf<M>,
) -> Result<Replayed, Contradiction> {
    sweep::Sweep::new(model, limits, log, history).run()
}
