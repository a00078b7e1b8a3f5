//! What a snapshot holds besides the user's state: the sessions with their replies (STORAGE row 15).

use alloc::vec::Vec;

use super::{RestoreError, Restorer, StateMachine, View};

/// The picture of a replica: its sessions, then its state machine's view.
#[derive(Debug)]
pub struct ReplicaView<S: StateMachine> {
    _kind: core::marker::PhantomData<fn() -> S>,
}

impl<S: StateMachine> View for ReplicaView<S> {
    fn read(&mut self, _target: usize, _out: &mut Vec<u8>) -> bool {
        todo!("replica helper")
    }
}

/// Builds what a [`ReplicaView`] wrote.
#[derive(Debug)]
pub struct ReplicaRestorer<S: StateMachine> {
    _kind: core::marker::PhantomData<fn() -> S>,
}

/// A restored replica: sessions and state, ready to be switched to.
#[derive(Debug)]
pub struct Restored<S: StateMachine> {
    /// The user's state.
    pub state: S,
}

impl<S: StateMachine> Restorer for ReplicaRestorer<S> {
    type State = Restored<S>;

    fn push(&mut self, _chunk: &[u8]) -> Result<(), RestoreError> {
        todo!("replica helper")
    }

    fn finish(self) -> Result<Restored<S>, RestoreError> {
        todo!("replica helper")
    }
}
