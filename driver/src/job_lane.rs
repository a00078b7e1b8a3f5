//! The job lane: a thread that runs the node's disk jobs beside the log — recovery, snapshots, spare segments — one after the
//! other, and drops what is too large to be dropped by the event loop.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use quorate::node::{Garbage, Job};
use quorate::replica::StateMachine;
use quorate::storage::DiskJob;

use crate::bell::Bell;
use crate::disk::Disk;

/// What the lane is given.
enum Work<S: StateMachine> {
    Job(Box<Job<S>>),
    Drop(Garbage<S>),
}

/// The event loop's end of the job lane.
#[derive(Debug)]
pub struct JobLane<S: StateMachine> {
    submit: Option<Sender<Work<S>>>,
    finished: Receiver<Box<Job<S>>>,
    thread: JoinHandle<()>,
}

impl<S: StateMachine> JobLane<S> {
    /// Starts the thread. `bell` rings after each job.
    pub fn start(disk: Disk, bell: Arc<Bell>) -> io::Result<Self>
    where
        Job<S>: Send,
        Garbage<S>: Send,
    {
        let (submit, work) = channel();
        let (report, finished) = channel();
        let thread =
            thread::Builder::new().name("jobs".into()).spawn(move || run(&disk, &work, &report, &bell))?;
        Ok(Self { submit: Some(submit), finished, thread })
    }

    /// Hands a job over. It comes back by [`try_next`](Self::try_next).
    pub fn submit(&self, job: Job<S>) {
        self.send(Work::Job(Box::new(job)));
    }

    /// Drops something after the jobs before it.
    pub fn discard(&self, garbage: Garbage<S>) {
        self.send(Work::Drop(garbage));
    }

    /// The next finished job, in the order in which they were handed over, if there is one.
    pub fn try_next(&self) -> Option<Job<S>> {
        self.finished.try_recv().ok().map(|job| *job)
    }

    /// Whether the thread runs.
    pub fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }

    fn send(&self, work: Work<S>) {
        if let Some(submit) = &self.submit {
            // The thread ends only when this sender is dropped, or by a panic; `is_alive` tells.
            let _ = submit.send(work);
        }
    }
}

impl<S: StateMachine> Drop for JobLane<S> {
    fn drop(&mut self) {
        // Not waited for: saving a snapshot may take long, and an unfinished one is worth nothing and does no harm.
        self.submit = None;
    }
}

fn run<S: StateMachine>(disk: &Disk, work: &Receiver<Work<S>>, report: &Sender<Box<Job<S>>>, bell: &Bell) {
    for work in work {
        match work {
            Work::Job(mut job) => {
                run_job(disk, &mut *job);
                // A loop that is gone needs no report.
                let _ = report.send(job);
                bell.ring();
            }
            Work::Drop(garbage) => drop(garbage),
        }
    }
}

/// Performs a job's operations until it has no more.
pub fn run_job(disk: &Disk, job: &mut impl DiskJob) {
    let mut last = None;
    while let Some(op) = job.next(last) {
        last = Some(disk.perform(&op));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate::storage::{DiskError, DiskOp, DiskReply, DiskResult, FileName};

    /// Makes a file, then reads one that is missing.
    #[derive(Default)]
    struct Script(Vec<DiskResult>);

    impl DiskJob for Script {
        fn next(&mut self, last: Option<DiskResult>) -> Option<DiskOp> {
            self.0.extend(last);
            match self.0.len() {
                0 => Some(DiskOp::Create { file: FileName::Vote }),
                1 => Some(DiskOp::Sync { file: FileName::Identity }),
                _ => None,
            }
        }
    }

    #[test]
    fn a_job_gets_the_result_of_each_operation_and_decides_what_follows() {
        let dir = tempfile::tempdir().unwrap();
        let mut job = Script::default();
        run_job(&Disk::open(dir.path()).unwrap(), &mut job);
        assert_eq!(job.0, [Ok(DiskReply::Done), Err(DiskError::NotFound(FileName::Identity))]);
    }
}
