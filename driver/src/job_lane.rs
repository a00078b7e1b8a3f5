//! The job lanes: threads that run the node's disk jobs beside the log — recovery, snapshots, spare segments — one after the
//! other, and drop what is too large to be dropped by the event loop. What is short does not wait behind what is long, and
//! what nobody waits for makes way for those who do.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
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

/// After so long a rest in which nobody was served the job goes on without. Much longer than a disk under such jobs lets
/// clients wait: with 5 ms, three nodes that saved on one disk took each other's stalls for peace, and a write took seconds.
const PEACE: Duration = Duration::from_secs(1);

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
        self.long.news.pressed.store(pressed, Relaxed);
    }

    /// Somebody is being served: a client who waits, or a leader whose entries are written.
    pub fn served(&self) {
        self.long.news.served.fetch_add(1, Relaxed);
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

/// What the event loop lets a lane know besides its work.
#[derive(Debug, Default)]
struct News {
    /// How much was handed over and is not begun.
    waiting: AtomicUsize,
    /// Whether a job that nobody waited for has become urgent.
    pressed: AtomicBool,
    /// How often somebody was seen being served: where nobody is, nobody is disturbed.
    served: AtomicU64,
}

/// The event loop's end of one lane.
#[derive(Debug)]
struct JobLane<S: StateMachine> {
    submit: Option<Sender<Work<S>>>,
    news: Arc<News>,
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
        let news = Arc::new(News::default());
        let lane = Lane { disk, work, news: Arc::clone(&news), report, bell };
        let thread = thread::Builder::new().name(name.into()).spawn(move || lane.run())?;
        Ok(Self { submit: Some(submit), news, finished, thread })
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
            self.news.waiting.fetch_add(1, Relaxed);
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

/// How long nobody has been served. Only rests count: while the lane works, clients may wait for the disk that it uses.
#[derive(Debug, Default)]
struct Quiet {
    /// How often somebody had been when it was looked at last.
    served: u64,
    /// How long was rested since.
    time: Duration,
}

impl Quiet {
    /// Whether that is long enough, when somebody was served so often.
    fn is_it(&mut self, served: u64) -> bool {
        if served != self.served {
            *self = Self { served, time: Duration::ZERO };
        }
        self.time >= PEACE
    }
}

/// A lane's thread.
struct Lane<S: StateMachine> {
    disk: Disk,
    work: Receiver<Work<S>>,
    news: Arc<News>,
    report: Sender<Box<Job<S>>>,
    bell: Arc<Bell>,
}

impl<S: StateMachine> Lane<S> {
    fn run(self) {
        for work in &self.work {
            self.news.waiting.fetch_sub(1, Relaxed);
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

    /// Runs a job that nobody waits for, with rests while others are served.
    fn run_at_leisure(&self, job: &mut impl DiskJob) {
        let mut last = None;
        let mut begun = Instant::now();
        let mut quiet = Quiet::default();
        while let Some(op) = job.next(last) {
            last = Some(self.disk.perform(&op));
            if matches!(op, DiskOp::Sync { .. }) {
                self.rest((begun.elapsed() * REST).min(MAX_REST), &mut quiet);
                begun = Instant::now();
            }
        }
    }

    /// Rests for so long, or until something waits behind the job, or it is pressed for, or nobody is there who would gain by
    /// it.
    fn rest(&self, time: Duration, quiet: &mut Quiet) {
        let begun = Instant::now();
        while self.news.waiting.load(Relaxed) == 0 && !self.news.pressed.load(Relaxed) {
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() || quiet.is_it(self.news.served.load(Relaxed)) {
                break;
            }
            let nap = NAP.min(left);
            thread::sleep(nap);
            quiet.time += nap;
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
    fn who_disturbs_nobody_does_not_rest() {
        let dir = tempfile::tempdir().unwrap();
        let (_submit, work) = channel();
        let (report, _finished) = channel();
        let bell = Arc::new(Bell::new(&mio::Poll::new().unwrap(), mio::Token(0)).unwrap());
        let news = Arc::new(News::default());
        let disk = Disk::open(dir.path()).unwrap();
        let lane: Lane<quorate::kv::KvStore> = Lane { disk, work, news: Arc::clone(&news), report, bell };
        const HOUR: Duration = Duration::from_secs(3600);
        // One nap is missing.
        let mut quiet = Quiet { served: 0, time: PEACE - NAP };
        lane.rest(HOUR, &mut quiet);
        assert!(quiet.is_it(0) && !quiet.is_it(1), "that is over as soon as somebody is");
        // Neither does one that is waited for.
        news.pressed.store(true, Relaxed);
        lane.rest(HOUR, &mut quiet);
        news.pressed.store(false, Relaxed);
        news.waiting.fetch_add(1, Relaxed);
        lane.rest(HOUR, &mut quiet);
        assert_eq!(quiet.time, Duration::ZERO, "it has not rested");
    }

    #[test]
    fn a_job_gets_the_result_of_each_operation_and_decides_what_follows() {
        let dir = tempfile::tempdir().unwrap();
        let mut job = Script::default();
        run_job(&Disk::open(dir.path()).unwrap(), &mut job);
        assert_eq!(job.0, [Ok(DiskReply::Done), Err(DiskError::NotFound(FileName::Identity))]);
    }
}
