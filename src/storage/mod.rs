//! The log, the term/vote record and snapshots as bytes and disk operations. Pure: it plans operations and judges bytes.

mod chunk;
mod error;
mod formation;
mod identity;
mod op;
mod recovery;
mod snapshot_load;
mod snapshot_save;
mod steps;
mod upkeep;
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
