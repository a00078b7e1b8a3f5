//! The log lane: a thread that writes and syncs the log, so that a stalled disk never stalls the event loop.
//!
//! Batches are performed in the order of their ids. All that wait when the lane becomes free are performed as one group,
//! and the equal syncs at their ends once (group commit). A batch is reported only after the syncs that it asked for.
//!
//! While the disk is quick, waking a thread and being woken by it costs more than the sync itself. A caller that can bear to
//! be held up may then perform a group [on its own thread](LogLane::perform_here).

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use quorate::storage::{BatchId, DiskBatch, DiskError, DiskOp};

use crate::bell::Bell;
use crate::disk::Disk;

/// Most batches of one group: a report must not wait for an endless stream of later batches.
const MAX_GROUP: usize = 1024;

/// A disk is quick while its syncs take less than this on average. Microseconds.
const QUICK: u64 = 1_000;

/// What is assumed of a disk before it has shown how quick it is. Microseconds.
const ASSUMED: u64 = 4 * QUICK;

/// How one batch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Which one.
    pub batch: BatchId,
    /// All done, or the first error.
    pub result: Result<(), DiskError>,
}

/// How often and how long the log was synced. Each number only grows.
#[derive(Debug)]
pub struct SyncTimes {
    count: AtomicU64,
    total_us: AtomicU64,
    max_us: AtomicU64,
    /// The longest since somebody asked.
    recent_max_us: AtomicU64,
    /// An average in which each sync weighs an eighth.
    average_us: AtomicU64,
}

impl Default for SyncTimes {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        let average_us = AtomicU64::new(ASSUMED);
        Self { count: zero(), total_us: zero(), max_us: zero(), recent_max_us: zero(), average_us }
    }
}

impl SyncTimes {
    /// Calls of fdatasync so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Microseconds spent in them.
    pub fn total_us(&self) -> u64 {
        self.total_us.load(Ordering::Relaxed)
    }

    /// The longest of them, in microseconds.
    pub fn max_us(&self) -> u64 {
        self.max_us.load(Ordering::Relaxed)
    }

    /// The longest since the last call of this, in microseconds.
    pub fn take_recent_max_us(&self) -> u64 {
        self.recent_max_us.swap(0, Ordering::Relaxed)
    }

    /// Whether syncs have been quick lately.
    pub fn are_quick(&self) -> bool {
        self.average_us.load(Ordering::Relaxed) < QUICK
    }

    fn add(&self, us: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(us, Ordering::Relaxed);
        self.max_us.fetch_max(us, Ordering::Relaxed);
        self.recent_max_us.fetch_max(us, Ordering::Relaxed);
        // Only one thread syncs at a time: nothing is lost between the load and the store.
        let average = self.average_us.load(Ordering::Relaxed);
        self.average_us.store(average - average / 8 + us / 8, Ordering::Relaxed);
    }
}

/// The event loop's end of the log lane.
#[derive(Debug)]
pub struct LogLane {
    submit: Option<Sender<DiskBatch>>,
    /// Batches that were handed to the thread and have not come back.
    outstanding: usize,
    /// The thread has it while it performs a group.
    writer: Arc<Mutex<Writer>>,
    completions: Receiver<Completion>,
    thread: Option<JoinHandle<()>>,
    times: Arc<SyncTimes>,
}

impl LogLane {
    /// Starts the thread. `bell` rings after each group.
    pub fn start(disk: Disk, bell: Arc<Bell>) -> io::Result<Self> {
        let (submit, batches) = channel();
        let (report, completions) = channel();
        let times = Arc::new(SyncTimes::default());
        let writer = Arc::new(Mutex::new(Writer { disk, times: Arc::clone(&times), failed: None }));
        let shared = Arc::clone(&writer);
        let thread = thread::Builder::new()
            .name("log".into())
            .spawn(move || run(&shared, &batches, &report, &bell))?;
        Ok(Self { submit: Some(submit), outstanding: 0, writer, completions, thread: Some(thread), times })
    }

    /// Hands a batch over. Its completion comes by [`try_next`](Self::try_next).
    pub fn submit(&mut self, batch: DiskBatch) {
        self.outstanding += 1;
        if let Some(submit) = &self.submit {
            // The thread ends only when this sender is dropped, or by a panic, after which no write is ever reported
            // done; `is_alive` tells.
            let _ = submit.send(batch);
        }
    }

    /// The next completion, in the order of batches, if there is one.
    pub fn try_next(&mut self) -> Option<Completion> {
        let done = self.completions.try_recv().ok()?;
        self.outstanding = self.outstanding.saturating_sub(1);
        Some(done)
    }

    /// Whether a group may be performed [here](Self::perform_here), and is likely to be done soon: the thread has nothing to
    /// do, and the disk is quick.
    pub fn is_quick(&self) -> bool {
        self.outstanding == 0 && self.times.are_quick()
    }

    /// Performs a group on the caller's thread, if the other one has nothing to do; otherwise hands the batches over to it,
    /// so that their order is kept, and yields no completion yet.
    pub fn perform_here(&mut self, group: &mut Vec<DiskBatch>) -> Vec<Completion> {
        if self.outstanding > 0 {
            group.drain(..).for_each(|batch| self.submit(batch));
            return Vec::new();
        }
        let done = self.writer.lock().unwrap_or_else(PoisonError::into_inner).perform(group).collect();
        group.clear();
        done
    }

    /// Whether the thread runs.
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// How often and how long the log was synced.
    pub fn times(&self) -> &SyncTimes {
        &self.times
    }
}

impl Drop for LogLane {
    fn drop(&mut self) {
        // The thread performs what it has and ends. It is not waited for: a stalled disk must not hold up the process's
        // end, and nothing that was not reported is relied upon.
        self.submit = None;
    }
}

fn run(writer: &Mutex<Writer>, batches: &Receiver<DiskBatch>, report: &Sender<Completion>, bell: &Bell) {
    let mut group = Vec::new();
    while let Ok(first) = batches.recv() {
        group.push(first);
        while group.len() < MAX_GROUP {
            match batches.try_recv() {
                Ok(next) => group.push(next),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        // A group that panicked is never reported; the loop notices that the thread is gone.
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        for completion in writer.perform(&group) {
            // A loop that is gone needs no report.
            let _ = report.send(completion);
        }
        drop(writer);
        group.clear();
        bell.ring();
    }
}

/// Performs groups of batches.
#[derive(Debug)]
struct Writer {
    disk: Disk,
    times: Arc<SyncTimes>,
    /// The first error. What comes after it in the log must not become durable before it: nothing is performed any more.
    failed: Option<DiskError>,
}

impl Writer {
    /// Performs a group in order and says how each batch ended, in order.
    fn perform(&mut self, group: &[DiskBatch]) -> impl Iterator<Item = Completion> {
        let mut durable = 0;
        if self.failed.is_none() {
            self.failed = self.write_and_sync(group, &mut durable).err();
        }
        let failed = self.failed.clone();
        group.iter().enumerate().map(move |(i, batch)| {
            let result = match &failed {
                Some(error) if i >= durable => Err(error.clone()),
                _ => Ok(()),
            };
            Completion { batch: batch.id, result }
        })
    }

    /// Performs a group; `durable` counts the batches, from the first on, that have had all their syncs.
    ///
    /// A sync is owed until the group's end, so that an equal one of a later batch makes it unnecessary. Only plain writes of
    /// later batches may overtake it: whatever follows a sync in its own batch, and whatever changes names, waits for it.
    fn write_and_sync(&self, group: &[DiskBatch], durable: &mut usize) -> Result<(), DiskError> {
        let mut owed: Vec<&DiskOp> = Vec::new();
        for (i, batch) in group.iter().enumerate() {
            let mut after_sync = false;
            for op in &batch.ops {
                if matches!(op, DiskOp::Sync { .. } | DiskOp::SyncDirectory) {
                    after_sync = true;
                    if !owed.contains(&op) {
                        owed.push(op);
                    }
                    continue;
                }
                if after_sync || !matches!(op, DiskOp::WriteAt { .. }) {
                    self.settle(&mut owed)?;
                    after_sync = false;
                    *durable = i;
                }
                self.disk.perform(op)?;
            }
        }
        self.settle(&mut owed)?;
        *durable = group.len();
        Ok(())
    }

    /// Performs all owed syncs.
    fn settle(&self, owed: &mut Vec<&DiskOp>) -> Result<(), DiskError> {
        for op in owed.drain(..) {
            let start = Instant::now();
            self.disk.perform(op)?;
            if matches!(op, DiskOp::Sync { .. }) {
                self.times.add(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quorate::storage::{DiskReply, FileName};
    use tempfile::TempDir;

    const LOG: FileName = FileName::Segment(1);

    fn write(file: FileName, offset: u64, text: &'static str) -> DiskOp {
        let data = [Bytes::from_static(text.as_bytes())].into_iter().collect();
        DiskOp::WriteAt { file, offset, data }
    }

    fn sync(file: FileName) -> DiskOp {
        DiskOp::Sync { file }
    }

    fn batch(id: BatchId, ops: impl IntoIterator<Item = DiskOp>) -> DiskBatch {
        DiskBatch { id, ops: ops.into_iter().collect() }
    }

    fn writer() -> (TempDir, Writer) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        for file in [LOG, FileName::Vote] {
            disk.perform(&DiskOp::Create { file }).unwrap();
        }
        (dir, Writer { disk, times: Arc::default(), failed: None })
    }

    fn perform(writer: &mut Writer, group: &[DiskBatch]) -> Vec<Result<(), DiskError>> {
        let completions: Vec<_> = writer.perform(group).collect();
        let ids: Vec<_> = completions.iter().map(|c| c.batch).collect();
        assert_eq!(ids, group.iter().map(|b| b.id).collect::<Vec<_>>());
        completions.into_iter().map(|c| c.result).collect()
    }

    #[test]
    fn a_group_is_synced_once() {
        let (_dir, mut writer) = writer();
        let group: Vec<_> = (0..10).map(|i| batch(i + 1, [write(LOG, i, "x"), sync(LOG)])).collect();
        assert_eq!(perform(&mut writer, &group), vec![Ok(()); 10]);
        assert_eq!(writer.times.count(), 1);
        let all = writer.disk.perform(&DiskOp::ReadAt { file: LOG, offset: 0, len: 99 });
        assert_eq!(all, Ok(DiskReply::Bytes("xxxxxxxxxx".into())));
    }

    #[test]
    fn each_file_of_a_group_is_synced_once() {
        let (_dir, mut writer) = writer();
        let both = [write(FileName::Vote, 0, "v"), write(LOG, 0, "x"), sync(FileName::Vote), sync(LOG)];
        let group = [batch(1, [write(LOG, 0, "x"), sync(LOG)]), batch(2, both), batch(3, [sync(LOG)])];
        assert_eq!(perform(&mut writer, &group), vec![Ok(()); 3]);
        assert_eq!(writer.times.count(), 2);
    }

    #[test]
    fn a_sync_is_not_overtaken_by_what_follows_it_in_its_batch() {
        let (_dir, mut writer) = writer();
        let ordered = [write(LOG, 0, "a"), sync(LOG), write(LOG, 1, "b"), sync(LOG)];
        assert_eq!(perform(&mut writer, &[batch(1, ordered)]), vec![Ok(())]);
        assert_eq!(writer.times.count(), 2);
    }

    #[test]
    fn a_rename_waits_for_the_syncs_before_it() {
        let (_dir, mut writer) = writer();
        let rename = DiskOp::Rename { from: FileName::Vote, to: FileName::Temporary(1) };
        let group = [
            batch(1, [write(LOG, 0, "a"), sync(LOG)]),
            batch(2, [rename, DiskOp::SyncDirectory, write(LOG, 1, "b"), sync(LOG)]),
        ];
        assert_eq!(perform(&mut writer, &group), vec![Ok(()); 2]);
        assert_eq!(writer.times.count(), 2);
    }

    #[test]
    fn row_04_after_an_error_nothing_is_performed_any_more() {
        let (_dir, mut writer) = writer();
        let missing = FileName::Segment(9);
        let error = Err(DiskError::NotFound(missing));
        let group = [
            batch(1, [write(LOG, 0, "a"), sync(LOG)]),
            batch(2, [DiskOp::Create { file: FileName::Spare(1) }, write(missing, 0, "b"), sync(missing)]),
            batch(3, [write(LOG, 1, "c"), sync(LOG)]),
        ];
        assert_eq!(perform(&mut writer, &group), vec![Ok(()), error.clone(), error.clone()]);
        assert_eq!(perform(&mut writer, &[batch(4, [write(LOG, 1, "d"), sync(LOG)])]), vec![error]);
        let all = writer.disk.perform(&DiskOp::ReadAt { file: LOG, offset: 0, len: 99 });
        assert_eq!(all, Ok(DiskReply::Bytes("a".into())));
    }

    #[test]
    fn row_04_a_failed_sync_leaves_no_batch_of_its_group_reported_done() {
        let (_dir, mut writer) = writer();
        let missing = FileName::Segment(9);
        let group = [batch(1, [write(LOG, 0, "a"), sync(LOG)]), batch(2, [sync(missing)])];
        let error = Err(DiskError::NotFound(missing));
        assert_eq!(perform(&mut writer, &group), vec![error.clone(), error]);
    }

    #[test]
    fn the_thread_takes_all_that_waits_as_one_group_and_reports_in_order() {
        let (_dir, writer) = writer();
        let (submit, batches) = channel();
        let (report, completions) = channel();
        for id in 1..=20 {
            submit.send(batch(id, [write(LOG, id, "x"), sync(LOG)])).unwrap();
        }
        drop(submit);
        let times = Arc::clone(&writer.times);
        let poll = mio::Poll::new().unwrap();
        let bell = Bell::new(&poll, mio::Token(0)).unwrap();
        let writer = Mutex::new(writer);
        thread::spawn(move || run(&writer, &batches, &report, &bell)).join().unwrap();
        let ids: Vec<_> = completions.iter().map(|c| (c.batch, c.result)).collect();
        assert_eq!(ids, (1..=20).map(|id| (id, Ok(()))).collect::<Vec<_>>());
        assert_eq!(times.count(), 1);
    }

    #[test]
    fn a_group_that_is_performed_here_does_not_overtake_one_that_was_handed_over() {
        let (_dir, Writer { disk, .. }) = writer();
        let poll = mio::Poll::new().unwrap();
        let bell = Arc::new(Bell::new(&poll, mio::Token(0)).unwrap());
        let mut lane = LogLane::start(disk.clone(), bell).unwrap();
        let here = lane.perform_here(&mut vec![batch(1, [write(LOG, 0, "a"), sync(LOG)])]);
        assert_eq!(here, [Completion { batch: 1, result: Ok(()) }]);
        lane.submit(batch(2, [write(LOG, 0, "b"), sync(LOG)]));
        assert!(lane.perform_here(&mut vec![batch(3, [write(LOG, 0, "c"), sync(LOG)])]).is_empty());
        let ids: Vec<_> = (0..2).map(|_| lane.completions.recv().unwrap().batch).collect();
        assert_eq!(ids, [2, 3]);
        let all = disk.perform(&DiskOp::ReadAt { file: LOG, offset: 0, len: 9 });
        assert_eq!(all, Ok(DiskReply::Bytes("c".into())));
    }

    #[test]
    fn a_disk_has_to_show_that_it_is_quick_and_one_stall_counts() {
        let times = SyncTimes::default();
        assert!(!times.are_quick());
        (0..20).for_each(|_| times.add(100));
        assert!(times.are_quick());
        times.add(50_000);
        assert!(!times.are_quick());
        (0..40).for_each(|_| times.add(100));
        assert!(times.are_quick());
    }
}
