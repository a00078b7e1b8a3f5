//! The disk jobs of a node, behind one type, so that a driver runs them all alike.

use crate::replica::StateMachine;
use crate::storage::{DiskJob, DiskOp, DiskResult};

/// A job for the driver's disk thread: `while let Some(op) = job.next(last) { last = Some(perform(op)) }`, then
/// `Event::JobDone(job)`.
#[derive(Debug)]
pub struct Job<S: StateMachine> {
    _kind: core::marker::PhantomData<fn() -> S>,
}

impl<S: StateMachine> DiskJob for Job<S> {
    fn next(&mut self, _last: Option<DiskResult>) -> Option<DiskOp> {
        todo!("node helper")
    }
}

/// Something large that nobody needs any more.
#[derive(Debug)]
pub struct Garbage<S: StateMachine> {
    _state: Option<S>,
}
