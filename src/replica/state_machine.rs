//! The state machine that a cluster replicates: the users' own code, or [`kv`](crate::kv).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;

use crate::raft::LogIndex;
use crate::time::Millis;

/// Where in the log a command is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The entry's index: the version of everything that it writes.
    pub index: LogIndex,
    /// The log's clock at the entry, in milliseconds of Unix time; never backwards along the log.
    pub unix_ms: Millis,
    /// For a query, the clock of the node that is asked, never below `unix_ms`: how long something still lasts may be told
    /// by it, and nothing may be decided by it, since no two nodes' clocks agree. For a command, `unix_ms`.
    pub now_ms: Millis,
}

impl Context {
    /// Where a command is applied.
    pub const fn at(index: LogIndex, unix_ms: Millis) -> Self {
        Self { index, unix_ms, now_ms: unix_ms }
    }
}

/// How much a state machine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateSize {
    /// Keys.
    pub keys: u64,
    /// Those among them that have a deadline.
    pub mortal: u64,
}

/// A deterministic state machine: the same commands in the same order give the same state and the same replies on every
/// node. It reads no clock and draws no random number.
pub trait StateMachine: Sized + Send + 'static {
    /// An immutable picture of the state at one index.
    type View: View;
    /// Builds a state from the chunks of a view.
    type Restorer: Restorer<State = Self>;

    /// The empty state of a cluster whose formation drew `seed` (the same on every node; for keyed hashes).
    fn empty(seed: u128) -> Self;

    /// Applies `command` and appends the reply to `out`. A command that cannot be understood gets a reply that says so: it
    /// is in the log, so it must not panic and must do the same on every node.
    fn apply(&mut self, context: Context, command: &[u8], out: &mut Vec<u8>);

    /// When, by the log's clock, the state has something to do that no client asks for; `None` for never. When the time has
    /// come, a leader appends an entry for it if no client's entry comes before.
    fn next_deadline(&self) -> Option<Millis> {
        None
    }

    /// Does what is due at `context`, which is the next entry's, before its command is applied: `most` pieces of it at most,
    /// so that a step stays short. What is left is done at later entries.
    fn expire(&mut self, context: Context, most: usize) {
        let _ = (context, most);
    }

    /// Answers `query` from the state as it is, and appends the reply to `out`. `context` is the last applied entry's.
    fn query(&self, context: Context, query: &[u8], out: &mut Vec<u8>);

    /// About how many nanoseconds it would take to apply `command`, or to answer it as a query, beyond what its bytes and its
    /// reply cost: a step that has done [much](super::Config::step_work) leaves the rest to the next ones. The order of
    /// magnitude is enough. Asked right before each command and query. A machine all of whose commands are quick need not
    /// know of this.
    fn work(&self, command: &[u8]) -> u64 {
        let _ = command;
        0
    }

    /// These commands are to be applied next, or these queries to be answered. A machine whose state is larger than the
    /// processor's caches can look for what they touch all at once, where one after the other each would wait for memory;
    /// it must do nothing else, and need not do that.
    fn prefetch<'a>(&self, commands: impl Iterator<Item = &'a [u8]>) {
        let _ = commands;
    }

    /// A picture of the state now, at a cost that does not grow (much) with the state. It is read elsewhere, on another
    /// thread, while commands go on.
    fn view(&self) -> Self::View;

    /// An empty builder. What [`empty`](Self::empty) was given is part of what a view writes.
    fn restorer() -> Self::Restorer;

    /// A digest of the whole state, kept incrementally: equal states have equal digests, and nodes compare them.
    fn digest(&self) -> u128;

    /// Takes all that commands left behind and that takes long to drop: it will be dropped where it delays nobody. Asked
    /// after every batch of commands. A machine that leaves nothing behind need not know of this.
    fn take_garbage(&mut self) -> Option<Box<dyn Any + Send>> {
        None
    }

    /// How much it holds, for people; nothing for what has no keys.
    fn size(&self) -> StateSize {
        StateSize::default()
    }
}

/// An immutable picture of a state. Dropping one may be slow and happens where it was read.
pub trait View: Send + 'static {
    /// Appends the next piece, about `target` bytes, to `out`; `false` when there was nothing more. The pieces, in any
    /// division, are what [`Restorer::push`] gets.
    fn read(&mut self, target: usize, out: &mut Vec<u8>) -> bool;
}

/// Builds a state from pieces of any length.
pub trait Restorer: Send + 'static {
    /// The state that is built.
    type State;

    /// Takes the next bytes. They come from a verified file, but are checked all the same.
    fn push(&mut self, chunk: &[u8]) -> Result<(), RestoreError>;

    /// The whole state, when all bytes were pushed.
    fn finish(self) -> Result<Self::State, RestoreError>;
}

/// A state that is small enough to be written at once, as a view.
impl View for Vec<u8> {
    fn read(&mut self, target: usize, out: &mut Vec<u8>) -> bool {
        let rest = self.split_off(target.max(1).min(self.len()));
        let is_more = !self.is_empty();
        out.append(self);
        *self = rest;
        is_more
    }
}

/// Builds a small state from all its bytes at once: the restorer beside a view that is a `Vec<u8>`.
#[derive(Debug)]
pub struct Whole<S> {
    bytes: Vec<u8>,
    state: core::marker::PhantomData<fn() -> S>,
}

impl<S> Default for Whole<S> {
    fn default() -> Self {
        Self { bytes: Vec::new(), state: core::marker::PhantomData }
    }
}

impl<S: TryFrom<Vec<u8>, Error = RestoreError> + 'static> Restorer for Whole<S> {
    type State = S;

    fn push(&mut self, chunk: &[u8]) -> Result<(), RestoreError> {
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    fn finish(self) -> Result<S, RestoreError> {
        self.bytes.try_into()
    }
}

/// Why a snapshot's bytes are not a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes end too early or go on too long.
    Length,
    /// The bytes are of a version that this build does not know.
    Version(u32),
    /// The bytes are not what a view of this state machine writes.
    Malformed(&'static str),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => f.write_str("the snapshot ends too early or goes on too long"),
            Self::Version(v) => write!(f, "the snapshot is of version {v}, which this build does not know"),
            Self::Malformed(what) => write!(f, "the snapshot is malformed: {what}"),
        }
    }
}

impl core::error::Error for RestoreError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_small_state_comes_back_from_pieces_of_any_length() {
        #[derive(Debug, PartialEq)]
        struct Three([u8; 3]);
        impl TryFrom<Vec<u8>> for Three {
            type Error = RestoreError;
            fn try_from(bytes: Vec<u8>) -> Result<Self, RestoreError> {
                bytes.try_into().map(Self).map_err(|_| RestoreError::Length)
            }
        }
        for target in [0, 1, 2, 3, 100] {
            let (mut view, mut restorer) = (vec![1, 2, 3], Whole::<Three>::default());
            let mut piece = Vec::new();
            while view.read(target, &mut piece) {
                restorer.push(&piece).expect("takes all");
                piece.clear();
            }
            assert!(piece.is_empty());
            assert_eq!(restorer.finish(), Ok(Three([1, 2, 3])));
        }
        assert_eq!(Whole::<Three>::default().finish(), Err(RestoreError::Length));
    }
}
