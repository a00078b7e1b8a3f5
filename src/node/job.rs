//! The disk jobs of a node, behind one type, so that a driver runs them all alike.

use alloc::boxed::Box;
use core::fmt;

use crate::raft::{NodeId, SnapshotId, SnapshotMeta, Term};
use crate::replica::{ReplicaRestorer, ReplicaView, StateMachine};
use crate::storage::{
    DiskJob, DiskOp, DiskResult, EarlyLoad, FileName, Formation, LoadSnapshot, Mend, ReadChunk, Recovery,
    RemoveFile, SaveSnapshot, Upkeep, WriteChunk,
};

/// A job for the driver's disk thread: `while let Some(op) = job.next(last) { last = Some(perform(op)) }`, then
/// `Event::JobDone(job)`. A job may be cut at any operation by the end of the process.
pub struct Job<S: StateMachine> {
    pub(super) work: Box<Work<S>>,
}

/// What a job is for. What has to be known when it is done travels with it.
pub(super) enum Work<S: StateMachine> {
    /// Reads the data directory.
    Recover(Recovery),
    /// Loads the state that recovery will most likely ask for.
    LoadEarly(EarlyLoad<ReplicaRestorer<S>>),
    /// Makes an unformed directory a member's.
    Form(Formation),
    /// Loads the state of the snapshot that recovery found, where it was not loaded early.
    Load(LoadSnapshot<ReplicaRestorer<S>>),
    /// Mends the directory that recovery found sound.
    Mend(Mend),
    /// Loads of a snapshot that a leader sends what is written of it.
    LoadOn { reception: u64, load: Box<LoadSnapshot<ReplicaRestorer<S>>> },
    /// Loads a snapshot that a leader sent.
    Install { snapshot: SnapshotId, load: LoadSnapshot<ReplicaRestorer<S>> },
    /// Saves a picture of the state.
    Save(SaveSnapshot<ReplicaView<S>>),
    /// Reads a piece of a snapshot for a follower.
    ReadChunk { to: NodeId, term: Term, snapshot: Box<SnapshotMeta>, offset: u64, read: ReadChunk },
    /// Writes a piece of a snapshot from a leader.
    WriteChunk { snapshot: SnapshotId, reception: u64, write: WriteChunk },
    /// Removes a file that is not needed any more.
    Remove { file: FileName, remove: RemoveFile },
    /// Makes spares, removes what no recovery needs.
    Upkeep(Upkeep),
}

impl<S: StateMachine> Job<S> {
    pub(super) fn new(work: Work<S>) -> Self {
        Self { work: Box::new(work) }
    }

    /// What the job is for, for logs and tests.
    pub fn name(&self) -> &'static str {
        match &*self.work {
            Work::Recover(_) => "recovery",
            Work::LoadEarly(_) => "early load",
            Work::Form(_) => "formation",
            Work::Load(_) => "load snapshot",
            Work::Mend(_) => "mending",
            Work::LoadOn { .. } => "load on",
            Work::Install { .. } => "install snapshot",
            Work::Save(_) => "save snapshot",
            Work::ReadChunk { .. } => "read chunk",
            Work::WriteChunk { .. } => "write chunk",
            Work::Remove { .. } => "remove file",
            Work::Upkeep(_) => "upkeep",
        }
    }

    /// How a driver that has threads to spare runs it.
    pub fn pace(&self) -> Pace {
        match &*self.work {
            Work::Recover(_)
            | Work::Form(_)
            | Work::Load(_)
            | Work::Mend(_)
            | Work::LoadOn { .. }
            | Work::Install { .. } => Pace::Long,
            Work::Save(_) => Pace::Leisure,
            // Nothing else of this pace is there before it is done, and recovery goes on beside it.
            Work::LoadEarly(_) => Pace::Short,
            Work::ReadChunk { .. } | Work::WriteChunk { .. } | Work::Remove { .. } | Work::Upkeep(_) => {
                Pace::Short
            }
        }
    }
}

/// How long a job takes, and who waits for it. Jobs of different pace may run beside each other; those of one pace run one
/// after the other, in their order. Running all of them one after the other is right, too, only slower: a spare segment
/// then waits behind a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pace {
    /// A few operations that somebody waits for.
    Short,
    /// All of a state, and somebody waits for it.
    Long,
    /// All of a state, and nobody waits for it: best done a little at a time, so that the disk and the processor are free for
    /// those who wait; without rests while [`Node::is_snapshot_pressing`](super::Node::is_snapshot_pressing), or when nobody has
    /// been served for a while.
    Leisure,
}

impl<S: StateMachine> fmt::Debug for Job<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Job").field(&self.name()).finish()
    }
}

impl<S: StateMachine> DiskJob for Job<S> {
    fn next(&mut self, last: Option<DiskResult>) -> Option<DiskOp> {
        match &mut *self.work {
            Work::Recover(job) => job.next(last),
            Work::LoadEarly(job) => job.next(last),
            Work::Form(job) => job.next(last),
            Work::Load(job) | Work::Install { load: job, .. } => job.next(last),
            Work::Mend(job) => job.next(last),
            Work::LoadOn { load, .. } => load.next(last),
            Work::Save(job) => job.next(last),
            Work::ReadChunk { read, .. } => read.next(last),
            Work::WriteChunk { write, .. } => write.next(last),
            Work::Remove { remove, .. } => remove.next(last),
            Work::Upkeep(job) => job.next(last),
        }
    }
}

/// Jobs and garbage are for another thread.
const fn _travels<S: StateMachine>() {
    const fn is_send<T: Send>() {}
    is_send::<Job<S>>();
    is_send::<super::Garbage<S>>();
}
