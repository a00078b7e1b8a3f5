//! Who a data directory belongs to.

use crate::raft::{DiskId, NodeId};

/// The name of a cluster: a hash over its founders.
pub type ClusterId = u128;

/// Who a data directory belongs to, as its identity file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// The name of this disk, drawn when the directory was made.
    pub disk: DiskId,
    /// The cluster; `None` until it is formed.
    pub cluster: Option<ClusterId>,
    /// How often this directory was recovered, this time included. Synced before anything else is written, so that a
    /// peer that remembers a higher number knows this disk to be rolled back.
    pub boots: u64,
}

/// What storage has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Whose directory it should be.
    pub node: NodeId,
    /// A fresh random name for the disk, used only when the directory is empty.
    pub fresh_disk: DiskId,
    /// Length of a segment, in bytes.
    pub segment_bytes: u64,
    /// Longest packed entries of one record, in bytes; a longer length field is not believed.
    pub max_record_bytes: usize,
}
