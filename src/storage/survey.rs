//! A look at a directory from outside: what lies where, and what of it is proven to have been synced. For whoever spoils
//! disks and has to know what a start must then say. It shares the formats with recovery, and not the way in which
//! recovery reads.

use alloc::vec::Vec;

use bytes::Bytes;

use super::FileName;
use super::block::{self, BLOCK, Owner, align};
use super::identity::Stored;
use super::record::{self, RecordHeader, SegmentHeader};
use super::replay::Replay;
use super::vote::{VoteReader, VoteRecord};
use crate::raft::{Entries, LogIndex, SnapshotSwitch};

const HEADER: u64 = BLOCK as u64;
/// Copies of identity and vote lie in pages of their own.
const PAGE: u64 = 4096;

/// Some bytes of a file that mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The file.
    pub file: FileName,
    /// Where they begin.
    pub offset: u64,
    /// How many.
    pub len: u64,
}

impl Part {
    /// Whether any of `len` bytes at `offset` of `file` belong to it.
    pub fn touches(&self, file: FileName, offset: u64, len: u64) -> bool {
        let ends_before = |start: u64, len: u64, next: u64| start.saturating_add(len) <= next;
        self.file == file
            && !ends_before(offset, len, self.offset)
            && !ends_before(self.offset, self.len, offset)
    }
}

/// A record of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPart {
    /// Where it lies.
    pub part: Part,
    /// The log index that a refusal names when this is the first record that is lost.
    pub index: LogIndex,
    /// Whether something else on the disk says that it was synced.
    pub proven: bool,
}

impl RecordPart {
    /// Where its header says how long what follows is: the snapshot switch, and the entries.
    pub fn lengths(&self) -> [Part; 2] {
        record::LENGTHS.map(|at| Part { offset: self.part.offset + at, len: 8, ..self.part })
    }
}

/// Makes the first block of these bytes of `file` one of a later version, soundly sealed, as a newer build would write it. Where
/// it lies; `None` unless there is a block (STORAGE row 22).
pub fn raise_version(file: FileName, bytes: &mut [u8]) -> Option<Part> {
    block::raise_version(bytes.first_chunk_mut()?);
    Some(Part { file, offset: 0, len: HEADER })
}

/// What lies where in a member's directory. Everything is sound; what is not is not told.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// The sound copies of the identity.
    pub identity: Vec<Part>,
    /// The sound copies of the newest vote.
    pub vote: Vec<Part>,
    /// Whether a record that is proven without the newest vote was written after it: then the vote cannot be lost unnoticed.
    pub vote_proven: bool,
    /// The headers of the segments, oldest first.
    pub segments: Vec<Part>,
    /// The records of the log, in order.
    pub records: Vec<RecordPart>,
    /// The snapshot that the log goes on from.
    pub snapshot: Option<Part>,
}

impl Survey {
    /// Looks at the files of a directory; `None` unless it is a member's.
    pub fn of<'a>(files: impl IntoIterator<Item = (FileName, &'a [u8])>) -> Option<Self> {
        let mut files: Vec<(FileName, &[u8])> = files.into_iter().collect();
        files.sort_unstable_by_key(|file| file.0);
        let named = |name: FileName| files.iter().find(|file| file.0 == name).map(|file| file.1);
        let identity = named(FileName::Identity)?;
        let owner =
            Stored::read(&Bytes::copy_from_slice(identity), &mut Vec::new()).ok()?.identity.owner()?;
        let vote = named(FileName::Vote)?;
        let mut reader = VoteReader::default();
        reader.push(&owner, 0, vote).ok()?;
        let (newest, slot) = reader.finish(&mut Vec::new()).ok()?;
        let mut survey = Self {
            identity: copies(FileName::Identity, identity, 0),
            vote: copies(FileName::Vote, vote, slot * 2 * PAGE),
            ..Self::default()
        };
        let mut log = Walk::new(owner, newest);
        for &(file, bytes) in &files {
            if let FileName::Segment(number) = file {
                log.segment(&mut survey, number, bytes);
            }
        }
        survey.vote_proven = log.after_vote.is_some_and(|first| log.proven >= first);
        let proven = log.proven.max(newest.synced);
        for (record, sequence) in survey.records.iter_mut().zip(log.first..) {
            record.proven = sequence <= proven;
        }
        survey.snapshot = log.replay.snapshot().map(|meta| {
            let file = FileName::snapshot(meta.id.last);
            Part { file, offset: 0, len: meta.len }
        });
        Some(survey)
    }

    /// The records that are proven.
    pub fn proven(&self) -> impl Iterator<Item = &RecordPart> {
        self.records.iter().filter(|record| record.proven)
    }
}

/// The two copies at `offset` and a page later, as far as they are the same.
fn copies(file: FileName, bytes: &[u8], offset: u64) -> Vec<Part> {
    let block = |offset: u64| {
        let start = usize::try_from(offset).ok()?;
        bytes.get(start..start.checked_add(BLOCK)?)
    };
    let part = |offset| Part { file, offset, len: HEADER };
    let (first, second) = (block(offset), block(offset + PAGE));
    if first == second { [offset, offset + PAGE].map(part).into() } else { Vec::new() }
}

/// On the way through the segments.
#[derive(Debug)]
struct Walk {
    owner: Owner,
    vote: VoteRecord,
    replay: Replay,
    /// The number of the first record.
    first: u64,
    /// The number of the next.
    next: u64,
    life: u64,
    /// What the log itself says is synced.
    proven: u64,
    /// The first record that was written after the newest vote.
    after_vote: Option<u64>,
}

impl Walk {
    fn new(owner: Owner, vote: VoteRecord) -> Self {
        Self { owner, vote, replay: Replay::new(), first: 0, next: 0, life: 0, proven: 0, after_vote: None }
    }

    fn segment(&mut self, survey: &mut Survey, number: u64, bytes: &[u8]) {
        let Ok(header) = SegmentHeader::open(bytes) else { return };
        let follows = survey.segments.is_empty() || header.first == self.next;
        if !follows || header.owner != self.owner || header.number != number || header.life < self.life {
            return;
        }
        if survey.segments.is_empty() {
            (self.first, self.next) = (header.first, header.first);
        }
        self.life = header.life;
        self.proven = self.proven.max(header.synced);
        let file = FileName::Segment(number);
        survey.segments.push(Part { file, offset: 0, len: HEADER });
        let mut offset = HEADER;
        while let Some(len) = self.record(survey, number, bytes, offset) {
            offset = align(offset.saturating_add(len));
        }
    }

    /// Takes the record at `offset`, if the log goes on there; its length.
    fn record(&mut self, survey: &mut Survey, number: u64, bytes: &[u8], offset: u64) -> Option<u64> {
        let bytes = bytes.get(usize::try_from(offset).ok()?..)?;
        let seed = self.owner.seed(number);
        let header = RecordHeader::open(bytes, seed).ok()?;
        let body = bytes.get(BLOCK..)?.get(..usize::try_from(header.body_len()?).ok()?)?;
        let switch_len = usize::try_from(header.switch_len).ok()?;
        let sound = record::checksum(&[], body, seed) == header.body;
        if !sound || header.sequence != self.next || header.life < self.life {
            return None;
        }
        let (switch, packed) = body.split_at_checked(switch_len)?;
        let switch: Option<SnapshotSwitch> =
            if switch.is_empty() { None } else { Some(record::unpack_switch(switch)?) };
        let entries = Entries::unpack(header.first, &Bytes::copy_from_slice(packed)).ok()?;
        let part =
            Part { file: FileName::Segment(number), offset, len: HEADER.saturating_add(header.body_len()?) };
        survey.records.push(RecordPart { part, index: self.replay.next_index(), proven: false });
        if let Some(switch) = switch {
            self.replay.switch(switch);
        }
        self.replay.append(&entries).ok()?;
        if header.vote >= self.vote.generation {
            self.after_vote = self.after_vote.or(Some(header.sequence));
        }
        self.next = header.sequence.saturating_add(1);
        self.life = header.life;
        self.proven = self.proven.max(header.synced);
        Some(part.len)
    }
}
