//! The log lane and the jobs beside it: what is written, what is done, what has room.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;

use super::job::Work;
use super::{Action, Actions, Fault, Job, Member, Node, Note};
use crate::raft::{Entries, Message, Persist, PersistId};
use crate::replica::{self, StateMachine};
use crate::storage::{BatchId, DiskBatch, DiskError};

/// What is under way at the disk.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Batches that were not reported done, with the write of the core that each is.
    in_flight: VecDeque<(BatchId, Option<PersistId>)>,
    /// Whether a batch went out since the last look.
    busy: bool,
    upkeep: Upkeeping,
    /// What the replica was told about room for the log.
    full: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Upkeeping {
    #[default]
    Idle,
    UnderWay,
    /// The disk was full: to be tried again at the next housekeeping.
    Failed,
}

impl Lane {
    /// Whether every batch is done.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight.is_empty()
    }
}

impl<S: StateMachine> Node<S> {
    /// Hands a write of the core to the log lane.
    pub(super) fn persist(&mut self, persist: &Persist, out: &mut Actions<S>) {
        let Some(member) = &mut self.member else { return };
        let packed = self.packing.pack(&persist.entries);
        self.counters.log_batches += 1;
        self.counters.log_entries += persist.entries.len() as u64;
        self.counters.log_bytes += packed.len() as u64;
        let batch = member.log.persist(persist, packed);
        self.write(batch, Some(persist.id), out);
    }

    fn write(&mut self, batch: DiskBatch, persist: Option<PersistId>, out: &mut Actions<S>) {
        self.lane.in_flight.push_back((batch.id, persist));
        self.lane.busy = true;
        out.push(Action::Log(batch));
    }

    /// A batch of the log lane is done. A failed one is never tried again (STORAGE row 4): what waited on it is not
    /// acknowledged.
    pub(super) fn disk_done(&mut self, batch: BatchId, result: Result<(), DiskError>) {
        if let Err(error) = result
            && !planted!("failed-sync-is-ignored")
        {
            self.fault = Some(Fault::Disk(error));
            return;
        }
        let Some(member) = &mut self.member else { return };
        let mut persisted = None;
        while let Some((_, persist)) = self.lane.in_flight.front().filter(|(id, _)| *id <= batch) {
            persisted = persist.or(persisted);
            self.lane.in_flight.pop_front();
        }
        member.log.done(batch);
        if let Some(id) = persisted {
            self.inbox.push(replica::Event::Persisted { id });
        }
    }

    /// Tells the replica whether the log has room for the writes of its inbox (STORAGE row 7).
    pub(super) fn check_room(&mut self) {
        let Some(member) = &self.member else { return };
        let bytes = self.requests.write_bytes(&self.inbox);
        if bytes == 0 {
            return;
        }
        let full = !member.log.has_room(bytes);
        if full != self.lane.full {
            self.lane.full = full;
            self.inbox.insert(0, replica::Event::DiskRoom(!full));
        }
    }

    /// Whether the log of a follower has no room for the entries that came in this batch and for these (STORAGE row 7): a full
    /// disk is no failed disk.
    pub(super) fn has_no_room_for(&self, entries: &Entries) -> bool {
        let log = self.member.as_ref().map(|member| &member.log);
        let Some(log) = log.filter(|log| log.is_starved() && !entries.is_empty()) else { return false };
        let bytes = |event: &replica::Event<S>| match event {
            replica::Event::Receive { message: Message::Append { entries, .. }, .. } => entries.packed_len(),
            _ => 0,
        };
        !log.has_room(self.inbox.iter().map(bytes).sum::<usize>() + entries.packed_len())
    }

    /// Starts the next upkeep, if one is due.
    pub(super) fn tend(&mut self, out: &mut Actions<S>) {
        if self.lane.upkeep != Upkeeping::Idle {
            return;
        }
        let Some(upkeep) = self.member.as_mut().and_then(|member| member.log.upkeep()) else { return };
        self.lane.upkeep = Upkeeping::UnderWay;
        out.push(Action::Job(Job::new(Work::Upkeep(upkeep))));
    }

    /// A quiet tail is marked as synced (STORAGE row 3); what failed for want of space is tried again.
    pub(super) fn housekeep_disk(&mut self, out: &mut Actions<S>) {
        if self.lane.upkeep == Upkeeping::Failed {
            self.lane.upkeep = Upkeeping::Idle;
        }
        let quiet = !core::mem::take(&mut self.lane.busy) && self.lane.is_quiet();
        if let Some(batch) = self.member.as_mut().filter(|_| quiet).and_then(|member| member.log.idle_mark())
        {
            self.write(batch, None, out);
            self.lane.busy = false;
        }
    }

    /// A job came to its end.
    pub(super) fn job_done(&mut self, job: Job<S>, out: &mut Actions<S>) {
        match *job.work {
            Work::Recover(recovery) => self.recovered(recovery.take(), out),
            Work::LoadEarly(early) => self.loaded_early(early, out),
            Work::Form(formation) => self.formed(formation.take(), out),
            Work::Load(load) => self.loaded(load.take(), out),
            Work::Mend(mend) => self.mended(mend.take(), out),
            Work::LoadOn { reception, load } => self.loaded_on(reception, load, out),
            Work::Install { snapshot, load } => self.installed(snapshot, load.take(), out),
            Work::Save(save) => match save.take() {
                Ok(snapshot) => {
                    self.counters.snapshots_saved += 1;
                    self.keep_track(snapshot.id);
                    self.inbox.push(replica::Event::SnapshotSaved { snapshot: Box::new(snapshot) });
                }
                Err(error) => {
                    self.inbox.push(replica::Event::SnapshotNotSaved);
                    self.disk_trouble("a snapshot was not saved", error, out);
                }
            },
            Work::ReadChunk { to, term, snapshot, offset, read } => {
                self.chunk_read(to, term, snapshot, offset, read.take(), out);
            }
            Work::WriteChunk { snapshot, reception, write } => match write.take() {
                Ok(written) => {
                    self.chunk_written(reception, written, out);
                    self.inbox.push(replica::Event::SnapshotChunkWritten { snapshot, written });
                }
                // The leader sends it again after a while.
                Err(error) => {
                    self.chunk_not_written(reception, out);
                    self.inbox.push(replica::Event::SnapshotFailed { snapshot });
                    self.disk_trouble("a piece of a snapshot was not written", error, out);
                }
            },
            Work::Remove { file, remove } => {
                if let Err(error) = remove.take() {
                    self.disk_trouble(&format!("{file} was not removed"), error, out);
                }
            }
            Work::Upkeep(upkeep) => {
                let Some(Member { log, .. }) = &mut self.member else { return };
                self.lane.upkeep = Upkeeping::Idle;
                if let Some(error) = log.upkeep_done(upkeep) {
                    self.lane.upkeep = Upkeeping::Failed;
                    self.disk_trouble("the log's next segment was not made", error, out);
                }
            }
        }
    }

    /// A full disk may get room again, a missing file was not needed: a line for people. Anything else is a failed disk.
    pub(super) fn disk_trouble(&mut self, what: &str, error: DiskError, out: &mut Actions<S>) {
        match error {
            DiskError::NoSpace(_) | DiskError::NotFound(_) => {
                out.push(Action::Note(Note(format!("{what}: {}", error))));
            }
            DiskError::Io(..) => self.fault = Some(Fault::Disk(error)),
        }
    }
}
