//! The log, the term/vote record and snapshots as bytes and disk operations. Pure: it plans operations and judges bytes;
//! a driver performs them, and a simulator performs them on a disk that crashes.
//!
//! # The directory
//!
//! | file | what it holds |
//! | --- | --- |
//! | `identity` | node, disk, cluster, boot counter: two copies, written and synced one after the other |
//! | `vote` | term and vote: two copies of each writing, in slots that rotate |
//! | `segment-…` | the log: a header, then records |
//! | `spare-…` | a segment that is allocated ahead |
//! | `snapshot-…` | a state with its position, clocks and configuration |
//! | `incoming-…`, `temporary-…` | unfinished; worth nothing after a crash |
//! | `cut-…` | what recovery cut off the log's end, for a person |
//!
//! A [`LogWriter`] turns each [`Persist`](crate::raft::Persist) into one [`DiskBatch`]: the vote record and its sync first,
//! then one record (group commit) and its sync. A record has a header of 128 bytes with a checksum of its own, the snapshot
//! switch if there is one, and the packed entries as they came, uncopied. Records begin at multiples of 128 bytes; the gap
//! between is neither written nor read. Truncation is a record whose first index the log has already.
//!
//! # Invariants
//!
//! 1. *Records are numbered*, one after the other, across segments and boots. The log is the longest run of sound records
//!    without a gap in these numbers, from the oldest segment on. What is not in the run was never reported durable, or
//!    the disk lost it.
//! 2. *Each record says which record was synced before it was made* (`synced`), and so do segment headers, vote records and
//!    the idle mark that follows a quiet tail. If any sound block says that a record past the end of the run was synced,
//!    the directory is refused; otherwise the rest is a torn tail, is kept aside, and is cleared. A driver may write several
//!    batches before it syncs, so a tear may lie in a segment that is not the last; later ones then hold nothing that was
//!    reported durable, and are kept aside whole.
//! 3. *A record verifies in one place only.* Its checksums are seeded with cluster, node, disk and segment number; its
//!    header repeats the segment, and its *life*, the boot that wrote it. Lives never fall along the log, so a leftover of
//!    an older life never follows a newer record, whether or not its clearing reached the disk. Segment numbers are never
//!    used by two lives, so a recycled file or an adopted spare holds nothing that verifies, and needs no zeros.
//! 4. *Each record names the last vote that was planned before it.* While that vote is not on the disk the record does not
//!    count, whatever order the two reached the disk in.
//! 5. *The first record of each segment repeats the snapshot that the log goes on from.* Hence the newest segments are
//!    enough: the oldest one goes when its entries are all covered by the snapshot of a durable switch **and** the next
//!    one's first record is durable; one at a time, each removal synced, so that a crash leaves no gap. Entries between the
//!    first repeated snapshot and the oldest segment that is left are covered by a later switch, or there is a
//!    [`Gap`](OpenError::Gap).
//! 6. *A snapshot's file* is durable under its name before a switch names it, and stays until a switch to a later one is
//!    durable and nothing pins it.
//! 7. *A vote's slot is reused* only when a later vote is known to be durable, however many are on their way.
//! 8. *All is read and judged before anything is written*: [`Recovery`] judges the directory, [`LoadSnapshot`] the snapshot that
//!    it names (or [`EarlyLoad`] has, beside it), and only then [`Mend`] writes. What it writes may be interrupted anywhere and done again. Everything that nothing proves to be synced is written again, the same bytes in the same place, and synced
//!    before anything rests on it: after a failed sync it may have come from memory only.
//!
//! # Assumptions about the disk
//!
//! A sync that succeeds makes the file's bytes durable, and a directory's sync its names. A crash may tear an unsynced write
//! anywhere and keep any subset of such writes and names. Writing bytes leaves the synced bytes next to them alone, even
//! within a sector (as SQLite's "powersafe overwrite"): records of one segment may share a sector, though not a block of
//! 128 bytes. A failed sync is never retried; the process ends, and recovery writes again (invariant 8).
//!
//! # What cannot be told
//!
//! Rot in the last record before anything says that it was synced looks exactly like a tear, and is cut. The window is
//! short: the next record, the next vote or the idle mark closes it. The mark itself proves nothing about itself, and needs
//! not: it holds no entries. Likewise, rot in both copies of the newest vote is noticed only if a record that was written
//! after it is left in the log; with nothing written since, the vote before it is taken for the newest.

mod block;
mod chunk;
#[cfg(test)]
mod crash_tests;
mod early_load;
mod error;
mod formation;
#[cfg(any(test, feature = "sim"))]
pub mod fuzz;
mod identity;
mod log_reader;
mod op;
mod record;
mod recovery;
mod refounding;
mod repair;
mod replay;
mod segments;
mod snapshot_format;
mod snapshot_load;
mod snapshot_save;
mod steps;
#[cfg(any(test, feature = "sim"))]
pub mod survey;
#[cfg(any(test, feature = "sim"))]
mod test_disk;
#[cfg(test)]
mod tests;
mod upkeep;
mod vote;
mod writer;

pub use chunk::{ReadChunk, RemoveFile, WriteChunk};
pub use early_load::EarlyLoad;
pub use error::{LoadError, OpenError};
pub use formation::Formation;
pub use identity::{ClusterId, Identity, Settings};
pub use op::{BatchId, DiskBatch, DiskError, DiskJob, DiskOp, DiskReply, DiskResult, FileName};
pub use recovery::{Mend, Opened, Recovery};
pub use refounding::{Refounding, Remains};
pub use snapshot_load::LoadSnapshot;
pub use snapshot_save::SaveSnapshot;
pub use upkeep::Upkeep;
pub use writer::LogWriter;
