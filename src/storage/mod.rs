//! The log, the term/vote record and snapshots as bytes and disk operations. Pure: it plans operations and judges bytes.

mod block;
mod chunk;
#[cfg(test)]
mod crash_tests;
mod error;
mod formation;
#[cfg(any(test, feature = "sim"))]
pub mod fuzz;
mod identity;
mod log_reader;
mod op;
mod record;
mod recovery;
mod repair;
mod replay;
mod segments;
mod snapshot_format;
mod snapshot_load;
mod snapshot_save;
mod steps;
#[cfg(any(test, feature = "sim"))]
mod test_disk;
#[cfg(test)]
mod tests;
mod upkeep;
mod vote;
mod writer;

pub use chunk::{ReadChunk, RemoveFile, WriteChunk};
pub use error::{LoadError, OpenError};
pub use formation::Formation;
pub use identity::{ClusterId, Identity, Settings};
pub use op::{BatchId, DiskBatch, DiskError, DiskJob, DiskOp, DiskReply, DiskResult, FileName};
pub use recovery::{Opened, Recovery};
pub use snapshot_load::LoadSnapshot;
pub use snapshot_save::SaveSnapshot;
pub use upkeep::Upkeep;
pub use writer::LogWriter;
