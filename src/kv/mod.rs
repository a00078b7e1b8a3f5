//! The key-value state machine: Redis's string commands over an ordered copy-on-write tree.
//!
//! A command passes through this room in three steps, on different machines:
//!
//! 1. [`parse()`], at the node that the client talks to, checks a RESP command as Redis does and packs it into a few bytes.
//!    Everything that can be refused without looking at the data is refused here, before it costs a log entry.
//! 2. [`KvStore::apply`](crate::replica::StateMachine::apply), on every node, runs the packed command of a log entry. It
//!    trusts nothing about the bytes, and answers in canonical RESP3.
//! 3. [`KvStore::query`](crate::replica::StateMachine::query) answers a packed read from the state as it is.
//!
//! The parts: [`COMMANDS`] is the table of what there is; `packed` the bytes between the steps; `record` one key with its
//! value; `tree` all of them, in the order of a keyed hash, so that a SCAN cursor means the same place on every node;
//! `store` the state with its digest; `write` and `read` the commands, of which the larger ones have files of their own:
//! `set`, `strings`, `bits`, `float`, `lcs`, `expire`, `keyspace`, `scan`, `transaction` and `pipeline`; `deadlines` when keys die;
//! `snapshot` the state as a stream of bytes; `words` a packed command as people read it, and `work` how long it takes.

mod bits;
mod command;
mod deadlines;
mod error;
mod expire;
mod float;
mod glob;
mod keyspace;
mod lcs;
mod lifetime;
mod number;
mod packed;
mod parse;
mod pipeline;
mod read;
mod record;
mod reply;
mod scan;
mod set;
mod snapshot;
mod store;
mod strings;
mod transaction;
mod tree;
mod words;
mod work;
mod write;

#[cfg(test)]
mod tests;

pub use command::{COMMANDS, CommandInfo, Group, KeyPositions};
pub(crate) use command::{is_arity, position_by_name};
pub use error::CommandError;
pub use parse::{Call, parse};
#[cfg(feature = "sim")]
pub(crate) use pipeline::pipelined;
pub use pipeline::{MAX_PIPELINE, may_join, pipeline, unanswered};
pub use snapshot::{KvRestorer, KvView};
pub use store::KvStore;
#[cfg(feature = "sim")]
pub(crate) use transaction::unwatched;
pub use transaction::{transaction, versions};
pub use words::words;

/// Longest key, in bytes.
pub const MAX_KEY: usize = 64 << 10;

/// Most keys of one command: one that runs delays all others.
pub const MAX_KEYS: usize = 16 << 10;

/// Longest value, in bytes; also what APPEND may build.
pub const MAX_VALUE: usize = 8 << 20;

/// Longest reply to a command of several keys, in bytes; a reply of one value may be a little longer than
/// [`MAX_VALUE`].
pub const MAX_REPLY: usize = 16 << 20;

/// Most keys that there may be for KEYS to look at them all in one turn, which takes about 10 ms when none is in the
/// processor's cache: what has more is listed by SCAN.
pub const MAX_LISTED_KEYS: usize = 30_000;

/// Most keys that one SCAN looks at, whatever its COUNT.
pub const MAX_SCAN_KEYS: usize = 10_000;
