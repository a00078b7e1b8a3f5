//! The job lanes: threads that run the node's disk jobs beside the log — recovery, snapshots, spare segments — one after the
//! other, and drop what is too large to be dropped by the event loop. What is short does not wait behind what is long.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use quorate::node::{Garbage, Job, Pace};
use quorate::replica::StateMachine;
use quorate::storage::{DiskJob, DiskOp};

use crate::bell::Bell;
use crate::disk::Disk;

/// How long a job that nobody waits for rests after each of its syncs, in multiples of the time that it worked since the last:
/// it takes a tenth of a processor and of the disk at the most.
const REST: u32 = 9;

/// The longest rest.
const MAX_REST: Duration = Duration::from_millis(200);

/// The rest is taken in naps, to see early that somebody waits for the lane.
const NAP: Duration = Duration::from_millis(5);

/// What a lane is given.
enum Work<S: StateMachine> {
    Job(Box<Job<S>>),
    Drop(Garbage<S>),
}

/// The event loop's end of both lanes.
#[derive(Debug)]
pub struct JobLanes<S: StateMachine> {
    short: JobLane<S>,
    long: JobLane<S>,
}

impl<S: StateMachine> JobLanes<S> {
    /// Starts the threads. `bell` rings after each job.
    pub fn start(disk: &Disk, bell: &Arc<Bell>) -> io::Result<Self>
    where
        Job<S>: Send,
        Garbage<S>: Send,
    {
        Ok(Self {
            short: JobLane::start("jobs", disk.clone(), Arc::clone(bell))?,
            long: JobLane::start("snapshots", disk.clone(), Arc::clone(bell))?,
        })
    }

    /// Hands a job over. It comes back by [`try_next`](Self::try_next).
    pub fn submit(&self, job: Job<S>) {
        match job.pace() {
            Pace::Short => self.short.submit(job),
            _ => self.long.submit(job),
        }
    }

    /// Drops something after the long jobs before it.
    pub fn discard(&self, garbage: Garbage<S>) {
        self.long.send(Work::Drop(garbage));
    }

    /// Whether a job that was to be done at leisure is to be done soon.
    pub fn press(&self, pressed: bool) {
        self.long.pressed.store(pressed, Relaxed);
    }

    /// The next finished job, if there is one; those of one lane in the order in which they were handed over.
    pub fn try_next(&self) -> Option<Job<S>> {
        self.short.try_next().or_else(|| self.long.try_next())
    }

    /// Whether the threads run.
    pub fn are_alive(&self) -> bool {
        self.short.is_alive() && self.long.is_alive()
    }
}

/// The event loop's end of one lane.
#[derive(Debug)]
struct JobLane<S: StateMachine> {
    submit: Option<Sender<Work<S>>>,
    waiting: Arc<AtomicUsize>,
    pressed: Arc<AtomicBool>,
    finished: Receiver<Box<Job<S>>>,
    thread: JoinHandle<()>,
}

impl<S: StateMachine> JobLane<S> {
    fn start(name: &str, disk: Disk, bell: Arc<Bell>) -> io::Result<Self>
    where
        Job<S>: Send,
        Garbage<S>: Send,
    {
        let (submit, work) = channel();
        let (report, finished) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let pressed = Arc::new(AtomicBool::new(false));
        let lane =
            Lane { disk, work, waiting: Arc::clone(&waiting), pressed: Arc::clone(&pressed), report, bell };
        let thread = thread::Builder::new().name(name.into()).spawn(move || lane.run())?;
        Ok(Self { submit: Some(submit), waiting, pressed, finished, thread })
    }

    fn submit(&self, job: Job<S>) {
        self.send(Work::Job(Box::new(job)));
    }

    fn try_next(&self) -> Option<Job<S>> {
        self.finished.try_recv().ok().map(|job| *job)
    }

    fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }

    fn send(&self, work: Work<S>) {
        if let Some(submit) = &self.submit {
            self.waiting.fetch_add(1, Relaxed);
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

/// A lane's thread.
struct Lane<S: StateMachine> {
    disk: Disk,
    work: Receiver<Work<S>>,
    /// How much was handed over and is not begun.
    waiting: Arc<AtomicUsize>,
    /// Whether a job that nobody waited for has become urgent.
    pressed: Arc<AtomicBool>,
    report: Sender<Box<Job<S>>>,
    bell: Arc<Bell>,
}

impl<S: StateMachine> Lane<S> {
    fn run(self) {
        for work in &self.work {
            self.waiting.fetch_sub(1, Relaxed);
            match work {
                Work::Job(mut job) => {
                    match job.pace() {
                        Pace::Leisure => self.run_at_leisure(&mut *job),
                        _ => run_job(&self.disk, &mut *job),
                    }
                    // A loop that is gone needs no report.
                    let _ = self.report.send(job);
                    self.bell.ring();
                }
                Work::Drop(garbage) => drop(garbage),
            }
        }
    }

    fn has_time(&self) -> bool {
        self.waiting.load(Relaxed) == 0 && !self.pressed.load(Relaxed)
    }

    /// Runs a job that nobody waits for, with rests; without them as soon as something waits behind it, or it is pressed for.
    fn run_at_leisure(&self, job: &mut impl DiskJob) {
        let mut last = None;
        let mut begun = Instant::now();
        while let Some(op) = job.next(last) {
            last = Some(self.disk.perform(&op));
            if matches!(op, DiskOp::Sync { .. }) {
                let rested = Instant::now() + (begun.elapsed() * REST).min(MAX_REST);
                while self.has_time() && Instant::now() < rested {
                    thread::sleep(NAP.min(rested.saturating_duration_since(Instant::now())));
                }
                begun = Instant::now();
            }
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
    use quorate::storage::{DiskError, DiskReply, DiskResult, FileName};

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
