//! Are the replies that clients got true? Histories, specifications, and two checks that hold one against the other.
//!
//! Everything here is data in and a verdict out: a check knows no cluster, no network and no fault. A [`History`] is what
//! clients asked and were told, a [`Model`] what a correct system would have said. Two checks look at them, because each
//! is blind where the other sees.
//!
//! | | [`linearizable()`] | [`replay()`] |
//! | --- | --- | --- |
//! | asks | is there *any* order that explains the replies? | does *the log's* order explain them? |
//! | needs | the history alone: it can judge a cluster of processes from outside | the committed log, and every client of it recorded |
//! | costs | exponential in what is under way at once on one key; gives up at a budget | sorting the operations, and one pass |
//! | commands of one key | exactly | exactly |
//! | commands of several keys | key by key, where none decides about another: a torn MSET passes, no torn RENAME or EXEC | exactly, and SCAN and DBSIZE with them |
//! | deadlines and WATCH | leaves out the keys that ever got a deadline, and takes it that EXEC was right to run or not | exactly, by the log's clock and indexes |
//! | an order that no client could have noticed | passes | is held against the log |
//! | exactly once | as far as replies show it | every entry of the log is somebody's, and one's only once |
//! | sessions | does not know them | repeats their rules, to know which entries ran |
//! | a wrong log | does not care: it would see another order's replies | believes it |
//!
//! The last row is why the second check does not make the first one needless. The log that a run hands to the replay is what
//! some node has applied; if the nodes are wrong together, or the harness reads the wrong entries, a replay may pass that no client
//! would call right. The search believes only the clients. And the other way round: the search accepts whatever a legal
//! system *might* have answered, while the log says what this one did: a command that ran twice and was overwritten before
//! anybody looked is seen by the replay alone.
//!
//! What neither sees:
//!
//! * **What nobody reads.** A state that is wrong where no reply shows it is for the digests to find.
//! * **What was never answered.** A cluster that answers nothing passes: liveness has bounds of its own.
//! * **What the workload does not do.** Operations whose replies tell little (SET of the same value) hide much; APPEND and
//!   INCR, whose every reply depends on all that came before, hide next to nothing.
//! * **Replies that the model leaves open**, as it does the order and the number of the keys that one SCAN returns.
//!   That an iteration misses no key which was there all the time is a promise of several replies together;
//!   [`check_scans`] judges it, from the states that the replay found.
//! * **A node's own reads** ([`ReadLocal`](crate::replica::Request::ReadLocal)), which may be of any age.
//!
//! A history is written by whoever drives the clients, the log by whoever steps the nodes: after each step, the entries that
//! some node has applied and no node had before, by [`Raft::entries`](crate::raft::Raft::entries), before a snapshot takes them away.
//!
//! ```
//! use bytes::Bytes;
//! use quorate::codec::resp::Value;
//! use quorate::sim::check::{HistoryOf, KvModel, KvOp, Verdict, linearizable};
//!
//! let words = |line: &'static str| {
//!     KvOp::Command(line.split(' ').map(|word| Bytes::from_static(word.as_bytes())).collect())
//! };
//! let mut history = HistoryOf::<KvModel>::new();
//! let set = history.ask(1, 100, words("SET x 1")); // client 1, at 100 us
//! history.replied(set, 200, Value::Simple("OK".into()));
//! let _lost = history.ask(1, 300, words("SET x 2")); // never answered
//! let get = history.ask(2, 400, words("GET x"));
//! history.replied(get, 500, Value::Bulk("3".into()));
//!
//! let Verdict::Illegal(illegal) = linearizable(&KvModel::default(), &history, 1000) else { panic!() };
//! assert_eq!(illegal.unexplained, get);
//! ```
//!
//! Both are strict about real time, in the order in which the history was written down, and about outcomes: *not done* means
//! never, *unknown* means once at most, at any time after the asking or never.

pub mod contradiction;
pub mod history;
pub mod kv_model;
pub mod linearizable;
pub mod model;
pub mod replay;
#[cfg(test)]
mod testing;

pub use contradiction::{Contradiction, Rule};
pub use history::{End, History, HistoryOf, Moment, OpId, Operation};
pub use kv_model::{KvModel, KvOp, UNSEEN, check_scans};
pub use linearizable::{Illegal, Verdict, linearizable};
pub use model::{Itself, Model, Part};
pub use replay::{Committed, Replayed, SessionLimits, replay};
