//! The log, the term/vote record and snapshots as bytes and disk operations. Pure: it plans operations and judges bytes.

mod op;

pub use op::{BatchId, DiskBatch, DiskError, DiskJob, DiskOp, DiskReply, DiskResult, FileName};
