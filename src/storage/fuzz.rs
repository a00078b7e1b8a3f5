//! What a fuzzer throws at storage: a directory in which any bytes may be anything.

use alloc::vec::Vec;

use bytes::Bytes;

use super::test_disk::TestDisk;
use super::{
    DiskOp, EarlyLoad, FileName, Formation, Identity, LoadSnapshot, OpenError, Opened, Recovery, Settings,
};
use crate::raft::{
    Configuration, DiskId, Entries, Entry, EntryKind, HardState, LogId, NodeId, Persist, Recovered,
    SnapshotId, SnapshotMeta, Stamp,
};
use crate::replica::{RestoreError, Restorer};

const SETTINGS: Settings =
    Settings { node: NodeId(1), fresh_disk: DiskId(7), segment_bytes: 4096, max_record_bytes: 1 << 16 };

fn entry(index: u64) -> Entry {
    let data = Bytes::from(alloc::vec![index as u8; 200]);
    Entry { id: LogId::new(1, index), kind: EntryKind::Command, stamp: Stamp::default(), data }
}

/// A member's directory with a log of a few segments.
fn directory() -> Option<TestDisk> {
    let mut disk = TestDisk::default();
    let Ok(Opened::Unformed(identity)) = disk.finish(Recovery::new(SETTINGS)).take() else { return None };
    let entries: Entries = [Entry { id: LogId::new(0, 1), ..entry(1) }].into_iter().collect();
    let (disk_id, vote) = (identity.disk, HardState::default());
    let founding = Recovered { disk: disk_id, vote, snapshot: None, entries, commit: 1, life: 1 };
    let (_, mut log) = disk.finish(Formation::new(SETTINGS, identity, 3, &founding)).take().ok()?;
    for index in 2..30 {
        let entries: Entries = [entry(index)].into_iter().collect();
        let mut packed = bytes::BytesMut::new();
        entries.pack(&mut packed);
        let vote = (index % 9 == 0).then_some(HardState { term: index, vote: None });
        let persist = Persist { id: index, vote, snapshot: None, entries, commit: index - 1 };
        let batch = log.persist(&persist, packed.freeze());
        for op in batch.ops {
            disk.perform(op).ok()?;
        }
        log.done(batch.id);
    }
    Some(disk)
}

/// Opens a directory that `input` describes: a sequence of edits of a sound one, each a file, an offset, a length and
/// bytes; a file is also cut short, removed, or made of nothing but the input. Recovery may refuse it; it must end, and
/// not panic. Yields whether the directory opened.
pub fn recover_arbitrary(input: &[u8]) -> bool {
    let Some(mut disk) = directory() else { return false };
    let mut rest = input;
    while let Some((&[what, file, high, low, len], tail)) = rest.split_first_chunk::<5>() {
        let names: Vec<FileName> = disk.names().collect();
        let Some(&name) = names.get(usize::from(file) % names.len().max(1)) else { break };
        let offset = usize::from(u16::from_be_bytes([high, low]));
        let (bytes, tail) = tail.split_at(usize::from(len).min(tail.len()));
        rest = tail;
        match what % 8 {
            0 => disk.spoil(name, |file| file.truncate(offset)),
            1 => drop(disk.perform(DiskOp::Remove { file: name })),
            2 => disk.spoil(name, |file| *file = bytes.to_vec()),
            3 => {
                let number = u64::from(len) % 12;
                let to = if what > 127 { FileName::Spare(number) } else { FileName::Segment(number) };
                drop(disk.perform(DiskOp::Rename { from: name, to }));
            }
            // Edits that keep the checksum right reach what lies behind it.
            4 => disk.spoil(name, |file| edit(file, offset, bytes, true)),
            _ => disk.spoil(name, |file| edit(file, offset, bytes, false)),
        }
    }
    match disk.finish(Recovery::new(SETTINGS)).take() {
        Ok(Opened::Formed { mend, .. }) => disk.finish(mend).take().is_ok(),
        Ok(Opened::Unformed(_)) => true,
        Err(error) => {
            debug_assert_ne!(error, OpenError::Unfinished, "a recovery that ended has an outcome");
            false
        }
    }
}

fn edit(file: &mut [u8], offset: usize, bytes: &[u8], seal: bool) {
    use super::block::{BLOCK, Owner};
    use super::record::RECORD_MAGIC;
    let offset = offset % file.len().max(1);
    for (to, from) in file.iter_mut().skip(offset).zip(bytes) {
        *to = *from;
    }
    let block = offset / BLOCK * BLOCK;
    let Some(block) = file.get_mut(block..block + BLOCK).filter(|_| seal) else { return };
    let number = block.get(8..16).and_then(|n| n.try_into().ok()).map_or(0, u64::from_le_bytes);
    let owner = Owner { cluster: 3, node: SETTINGS.node, disk: SETTINGS.fresh_disk };
    let seed = if block.starts_with(&RECORD_MAGIC) { owner.seed(number) } else { 0 };
    if let Some((checked, checksum)) = block.split_last_chunk_mut::<8>() {
        *checksum = xxhash_rust::xxh3::xxh3_64_with_seed(checked, seed).to_le_bytes();
    }
}

/// Takes any bytes and yields nothing.
struct Sink;

impl Restorer for Sink {
    type State = ();
    fn push(&mut self, _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }
    fn finish(self) -> Result<(), RestoreError> {
        Ok(())
    }
}

/// Loads a snapshot file that `input` describes: the CBOR of its header is `input` up to the first of two equal bytes, its
/// state the rest; its blocks are sound, so that the bytes reach the decoders. Yields whether it loaded, which it cannot
/// unless the CBOR says what was asked for.
pub fn load_arbitrary(input: &[u8]) -> bool {
    use super::snapshot_format as format;
    let split = input.windows(2).position(|pair| pair[0] == pair[1]).unwrap_or(input.len());
    let (cbor, state) = input.split_at(split);
    let mut bytes = format::seal_head(3, cbor);
    bytes.extend_from_slice(state);
    let len = (bytes.len() + super::block::BLOCK) as u64;
    let tail = format::tail(len, xxhash_rust::xxh3::xxh3_64(&bytes));
    bytes.extend_from_slice(&tail);
    let id = SnapshotId { last: LogId::new(1, 5), checksum: xxhash_rust::xxh3::xxh3_64(&bytes) };
    let meta = SnapshotMeta { id, len, stamp: Stamp::default(), configuration: Configuration::default() };
    let mut disk = TestDisk::default();
    let file = FileName::snapshot(id.last);
    drop(disk.perform(DiskOp::Create { file }));
    disk.spoil(file, |file| *file = bytes);
    let identity = Identity { node: NodeId(1), disk: DiskId(7), cluster: Some(3), boots: 1 };
    let early = disk.finish(EarlyLoad::new(Sink)).take(&identity, &meta).is_some();
    let named = disk.finish(LoadSnapshot::new(&identity, meta, file, Sink)).take().is_ok();
    assert_eq!(early, named, "what is loaded early is what would be loaded by name");
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn arbitrary_directories_are_opened_or_refused_and_never_panic() {
        assert!(recover_arbitrary(&[]), "the directory itself is sound");
        let mut opened = 0;
        for seed in 0..1500 {
            let mut rng = Rng::stream(seed, 9);
            let len = rng.below(120) as usize;
            let input: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            opened += usize::from(recover_arbitrary(&input));
        }
        assert!((50..1450).contains(&opened), "both ways are taken: {opened}");
    }

    #[test]
    fn arbitrary_snapshots_are_loaded_or_refused_and_never_panic() {
        let sound = [
            0x83, 0xa2, 0x64, b't', b'e', b'r', b'm', 1, 0x65, b'i', b'n', b'd', b'e', b'x', 5, 0xa2, 0x67,
            b'u', b'n', b'i', b'x', b'_', b'm', b's', 0, 0x6a, b'c', b'l', b'u', b's', b't', b'e', b'r',
            b'_', b'm', b's', 0, 0xa5, 0x67, b'm', b'e', b'm', b'b', b'e', b'r', b's', 0xa0,
        ];
        for seed in 0..3000 {
            let mut rng = Rng::stream(seed, 10);
            let mut input = sound[..rng.below(sound.len() as u64 + 1) as usize].to_vec();
            input.extend((0..rng.below(60)).map(|_| rng.next_u64() as u8));
            if let Some(byte) = input.get_mut(rng.below(60) as usize) {
                *byte = rng.next_u64() as u8;
            }
            assert!(!load_arbitrary(&input), "seed {seed}: nothing of this is the configuration asked for");
        }
    }
}
