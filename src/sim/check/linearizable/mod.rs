//! Linearizability of each part of the state by itself: is there *any* order that explains the replies?
//!
//! A history is linearizable if its operations can be put into one order in which each has the answer it got, and which
//! keeps what returned before something else was asked before it (Herlihy and Wing, 1990). It is so exactly when the part that
//! concerns each object is, which is what makes the question answerable: the search is exponential only in what is under way
//! at once on one object.
//!
//! The search is that of Wing and Gong (1993) with Lowe's memory and his placing just in time (2017); Porcupine and Knossos
//! have its like. It goes from return to return. Before an operation may return it must be placed; it is tried alone, then behind
//! one operation that is under way, then behind two, and so on. When none of these leads on, the search goes back to the return
//! before. What it has reached it keeps as fingerprints of 128 bits of what is placed and the state it led to; a
//! collision, which could hide an order, is less likely than a fault of the machine. Three cuts lose no order:
//!
//! * A **read** is placed as soon as it may be and its answer fits. In any order in which it stands later it may be moved here: it
//!   changes nothing for anybody.
//! * An operation of **unknown outcome** may stand anywhere after its call, or nowhere. The search is over when all answered ones
//!   are placed, so "nowhere" costs nothing; and it is placed only for the sake of the one behind it, which without it would be
//!   answered otherwise or lead elsewhere. In an order with the fewest of them none is there for nothing. A read of unknown
//!   outcome is not looked at.
//! * Of **equal** operations of unknown outcome the first asked goes first: whatever stands in place of a later one may be the
//!   earlier one.
//!
//! **When there is no order**, what is reported is the return that no order reaches, the end of the longest order up to there,
//! and what else was under way. What was asked up to that return has no order, whatever came later.
//!
//! A model whose answers depend on the log's clock or its indexes ([`Context`]) cannot be asked here, where there is no log: it is
//! asked as of the time and the index 0. Keys of which only the log tells what becomes of them ([`Part::needs_log`](super::Part::needs_log))
//! are left out, with all that stand together with them.

mod objects;
mod rules;
mod search;
#[cfg(test)]
mod tests;
mod timeline;
mod window;

use std::fmt::{self, Debug};
use std::format;
use std::hash::Hash;
use std::string::String;
use std::vec::Vec;

use bytes::Bytes;

use super::contradiction::{brief, describe};
use super::history::{HistoryOf, OpId};
use super::model::Model;
use crate::replica::Context;
use objects::{Object, objects};
use search::{Found, search};

/// What a search has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order for each object.
    Ok {
        /// How many objects there are.
        objects: usize,
        /// How many placings were tried.
        steps: u64,
    },
    /// There is none.
    Illegal(std::boxed::Box<Illegal>),
    /// No object is without an order, as far as the budget reached; it did not reach for the object of these keys, the
    /// first of its kind.
    Undecided {
        /// Its keys.
        keys: Vec<Bytes>,
    },
}

/// A history without an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Illegal {
    /// The keys of the object.
    pub keys: Vec<Bytes>,
    /// The operation whose return no order reaches.
    pub unexplained: OpId,
    /// The end of the longest order up to there.
    pub order: Vec<OpId>,
    /// What else was under way behind it.
    pub concurrent: Vec<OpId>,
    /// All of it, in words.
    pub text: String,
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linearizable: {}", self.text)
    }
}

impl core::error::Error for Illegal {}

/// Where the model is asked: there is no log.
const NOWHERE: Context = Context::at(0, 0);

/// Looks for an order of each object of a history. `initial` is the state before it; `budget` the most placings tried for
/// one object, of which a run without trouble needs about one for each operation.
pub fn linearizable<M: Model + Clone + Hash + Debug>(
    initial: &M,
    history: &HistoryOf<M>,
    budget: u64,
) -> Verdict {
    let (mut steps, mut undecided) = (0, None);
    let objects = objects::<M>(history);
    let count = objects.len();
    for Object { keys, calls } in objects {
        match search(initial, &calls, budget) {
            Found::Order { steps: used } => steps += used,
            Found::None(dead_end) => {
                let text = explain(&keys, &dead_end, history);
                let search::DeadEnd { unexplained, order, concurrent, .. } = dead_end;
                return Verdict::Illegal(Illegal { keys, unexplained, order, concurrent, text }.into());
            }
            Found::Nothing => undecided = undecided.or(Some(keys)),
        }
    }
    match undecided {
        Some(keys) => Verdict::Undecided { keys },
        None => Verdict::Ok { objects: count, steps },
    }
}

fn explain<M: Model + Debug>(
    keys: &[Bytes],
    dead_end: &search::DeadEnd<M>,
    history: &HistoryOf<M>,
) -> String {
    let mut text = format!("no order of the operations on {keys:?} explains {}", {
        describe(history, dead_end.unexplained)
    });
    for id in &dead_end.order {
        text += &format!("\n    done          {}", describe(history, *id));
    }
    for id in &dead_end.concurrent {
        text += &format!("\n    under way     {}", describe(history, *id));
    }
    text + &format!("\n    the state     {}", brief(&dead_end.state))
}
