//! A snapshot file: a block (magic, version, cluster, lengths), the position, clocks and configuration as CBOR, the
//! state's bytes, and a last block with the length of the whole file and the checksum of all before it.
//!
//! The file says nothing about the node that wrote it: it travels, and the same state gives the same bytes anywhere.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::ClusterId;
use super::block::{self, BLOCK, Sealer, Unreadable};
use crate::raft::{Configuration, LogId, SnapshotPoint, Stamp};

const HEAD_MAGIC: [u8; 4] = *b"QSNP";
const TAIL_MAGIC: [u8; 4] = *b"QEND";
/// Most bytes of the CBOR that are believed.
pub(super) const MAX_POINT: u64 = 16 << 20;

#[derive(Serialize)]
struct PointRef<'a>(&'a LogId, &'a Stamp, &'a Configuration);

#[derive(Deserialize)]
struct Point(LogId, Stamp, Configuration);

/// The first bytes of the file.
pub(super) fn head(cluster: ClusterId, point: &SnapshotPoint) -> Vec<u8> {
    let mut cbor = Vec::new();
    let fields = PointRef(&point.last, &point.stamp, &point.configuration);
    // Writing to memory does not fail; an empty form would be refused when the file is loaded.
    if ciborium::into_writer(&fields, &mut cbor).is_err() {
        cbor.clear();
    }
    seal_head(cluster, &cbor)
}

/// The first block, and the CBOR after it.
pub(super) fn seal_head(cluster: ClusterId, cbor: &[u8]) -> Vec<u8> {
    let mut out = Sealer::new(HEAD_MAGIC).u128(cluster).u64(cbor.len() as u64).seal(0).to_vec();
    out.extend_from_slice(cbor);
    out
}

/// The block at the start of the file: the cluster and the length of the CBOR that follows.
pub(super) fn open_head(bytes: &[u8]) -> Result<(ClusterId, u64), Unreadable> {
    let mut fields = block::open(bytes, HEAD_MAGIC, 0)?;
    Ok((fields.u128(), fields.u64()))
}

/// What the CBOR in the file says that the state is of.
pub(super) fn open_point(mut cbor: &[u8]) -> Option<SnapshotPoint> {
    let Point(last, stamp, configuration) = ciborium::from_reader(&mut cbor).ok()?;
    cbor.is_empty().then_some(SnapshotPoint { last, stamp, configuration })
}

/// The last block of a file of `len` bytes, itself included; `checksum` is that of all before it.
pub(super) fn tail(len: u64, checksum: u64) -> [u8; BLOCK] {
    Sealer::new(TAIL_MAGIC).u64(len).u64(checksum).seal(0)
}

/// Length and checksum from the last block.
pub(super) fn open_tail(bytes: &[u8]) -> Result<(u64, u64), Unreadable> {
    let mut fields = block::open(bytes, TAIL_MAGIC, 0)?;
    Ok((fields.u64(), fields.u64()))
}
