//! Any bytes as a data directory.

use std::vec::Vec;

use super::Source;
use crate::raft::{DiskId, NodeId};
use crate::rng::Rng;
use crate::sim::disk::Disk;
use crate::storage::{FileName, Opened, Recovery, Settings};

/// Opens a directory made from `data`: by edits of a sound one, or of nothing but these bytes.
///
/// # Panics
/// When recovery panics, does not end, or opens a directory that it then cannot open again.
pub fn recovery(data: &[u8]) {
    let mut source = Source(data);
    if source.byte().is_some_and(|choice| choice % 4 != 0) {
        crate::storage::fuzz::recover_arbitrary(source.0);
        return;
    }
    let mut disk = directory(source);
    let Some(first) = open(&mut disk) else { return };
    let second = open(&mut disk).expect("what was opened once can be opened again");
    assert_eq!(first, second, "and holds the same");
}

fn directory(mut source: Source<'_>) -> Disk {
    let mut files = Vec::new();
    while let Some(choice) = source.byte() {
        let n = u64::from(choice / 8 % 4);
        let name = match choice % 8 {
            0 => FileName::Identity,
            1 => FileName::Vote,
            2 | 3 => FileName::Segment(n),
            4 => FileName::Spare(n),
            5 => FileName::Snapshot { index: n, term: 1 },
            6 => FileName::Incoming { index: n, term: 1 },
            _ => FileName::Temporary(n),
        };
        let len = source.word().unwrap_or(0).min(source.0.len() as u64) as usize;
        let (bytes, rest) = source.0.split_at(len);
        source.0 = rest;
        files.push((name, bytes.to_vec()));
    }
    Disk::with_files(files)
}

/// The last index, term and vote that the directory holds, or `None` when it is refused or unformed.
fn open(disk: &mut Disk) -> Option<(u64, u64, Option<NodeId>)> {
    let settings = Settings {
        node: NodeId(1),
        fresh_disk: DiskId(1),
        segment_bytes: 64 << 10,
        max_record_bytes: 32 << 10,
    };
    let mut job = Recovery::new(settings);
    disk.run(&mut job, &mut Rng::new(0));
    match job.take() {
        Ok(Opened::Formed { recovered, mut mend, .. }) => {
            disk.run(&mut mend, &mut Rng::new(0));
            mend.take().expect("a disk in order");
            let last = recovered.entries.last_id().map_or(0, |last| last.index);
            Some((last, recovered.vote.term, recovered.vote.vote))
        }
        Ok(Opened::Unformed(_)) => None,
        Err(error) => {
            assert!(!std::format!("{error}").is_empty());
            None
        }
    }
}
