//! A log applied without a core, for whoever reads a disk whose node does not run.

use alloc::vec::Vec;

use super::apply::Machine;
use super::snapshot::{ReplicaView, Restored};
use super::{Context, StateMachine};
use crate::raft::{Entries, Fault, LogId, Stamp};

/// A replicated machine, sessions and clocks included, that follows a log and answers nobody.
///
/// It knows nothing of commitment: it applies what it is given, so what it is given decides what the state is worth.
#[derive(Debug)]
pub struct Replay<S: StateMachine> {
    machine: Machine<S>,
    /// Replies that nobody waits for.
    replies: Vec<u8>,
}

impl<S: StateMachine> Replay<S> {
    /// From the state of the snapshot before the log, or from nothing.
    pub fn new(restored: Option<Restored<S>>) -> Self {
        Self { machine: restored.map_or_else(Machine::empty, Machine::restored), replies: Vec::new() }
    }

    /// Applies entries, which follow those before.
    ///
    /// # Errors
    ///
    /// They do not follow, or the founding entry is none.
    pub fn apply(&mut self, entries: &Entries) -> Result<(), Fault> {
        for entry in entries.iter() {
            self.machine.apply(entry, &mut self.replies)?;
            self.replies.clear();
        }
        Ok(())
    }

    /// The last entry that was applied.
    pub fn applied(&self) -> LogId {
        self.machine.applied
    }

    /// The log's clocks there.
    pub fn stamp(&self) -> Stamp {
        self.machine.stamp
    }

    /// The state machine.
    pub fn state(&self) -> &S {
        &self.machine.state
    }

    /// Where the last applied entry is: the context of queries of [`state`](Self::state).
    pub fn context(&self) -> Context {
        self.machine.context()
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.machine.sessions.len()
    }

    /// A picture of all of it, as a snapshot holds it.
    pub fn view(&self) -> ReplicaView<S> {
        self.machine.view()
    }
}
