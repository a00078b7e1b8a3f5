//! Reads the segments of a log in order, finds where it ends, and looks behind the end for proof that something that was
//! synced is lost.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::block::{BLOCK, Owner, Unreadable, align};
use super::record::{self, RECORD_MAGIC, RecordHeader, SegmentHeader};
use super::replay::Replay;
use super::segments::{Segment, Segments};
use super::{DiskError, DiskOp, FileName, OpenError};
use crate::raft::Entries;

/// Bytes that are read at once, unless a record is longer.
const PIECE: u64 = 256 << 10;
const HEADER: u64 = BLOCK as u64;

/// Where a log ends and what lies behind.
#[derive(Debug, Clone, Copy)]
struct End {
    /// Position of the segment in the list.
    at: usize,
    offset: u64,
    /// What is wrong with the bytes there.
    what: &'static str,
    /// The vote of the record there is missing.
    vote: bool,
}

/// Bytes of the log that nothing proves to be synced: they are written again (STORAGE row 5).
#[derive(Debug, Clone)]
pub(super) struct Unproven {
    sequence: u64,
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
}

/// A log that was read, and what has to be repaired before anything rests on it.
#[derive(Debug)]
pub(super) struct ReadLog {
    pub(super) replay: Replay,
    pub(super) segments: Segments,
    /// The last record.
    pub(super) sequence: u64,
    /// Whether the last record says that all before it is synced.
    pub(super) marked: bool,
    pub(super) unproven: VecDeque<Unproven>,
    /// The segment in which the log ends, the end, and the length of the file.
    pub(super) end: (u64, u64, u64),
    /// Bytes behind the end that were written there and are no part of the log; 0 for none.
    pub(super) torn: u64,
    /// Segments behind the end; whether they hold records that may be of use to a person.
    pub(super) behind: Vec<(u64, bool)>,
    /// The oldest segment.
    pub(super) oldest: u64,
}

#[derive(Debug)]
enum Mode {
    /// Whether the segment at this position goes on with the log.
    Header(usize),
    Records,
    Scan(usize, u64),
}

/// Reads a log: [`next`](Self::next) until there is no operation, then [`finish`](Self::finish).
#[derive(Debug)]
pub(super) struct LogReader {
    owner: Owner,
    /// No life is later.
    boots: u64,
    /// The newest vote on the disk.
    vote: u64,
    /// Numbers and lengths, ascending.
    files: Vec<(u64, u64)>,
    mode: Mode,
    at: usize,
    offset: u64,
    /// The bytes read last: position of the segment, offset, bytes.
    window: (usize, u64, Bytes),
    asked: u64,
    end: Option<End>,
    life: u64,
    /// The last record that a sound block says is synced.
    proven: u64,
    torn: u64,
    behind: Vec<(u64, bool)>,
    replay: Replay,
    segments: Segments,
    sequence: u64,
    records: u64,
    marked: bool,
    unproven: VecDeque<Unproven>,
}

impl LogReader {
    /// A reader of the segments `files`, which are ascending. `proven` is what the vote record says is synced.
    pub(super) fn new(owner: Owner, boots: u64, vote: u64, proven: u64, files: Vec<(u64, u64)>) -> Self {
        Self {
            owner,
            boots,
            vote,
            files,
            mode: Mode::Header(0),
            at: 0,
            offset: 0,
            window: (usize::MAX, 0, Bytes::new()),
            asked: 0,
            end: None,
            life: 0,
            proven,
            torn: 0,
            behind: Vec::new(),
            replay: Replay::new(),
            segments: Segments::default(),
            sequence: 0,
            records: 0,
            marked: false,
            unproven: VecDeque::new(),
        }
    }

    /// The next read, given the bytes of the last one; `None` when everything was read.
    pub(super) fn next(&mut self, read: Option<Bytes>) -> Result<Option<DiskOp>, OpenError> {
        if let Some(bytes) = read {
            if bytes.len() as u64 != self.asked {
                let file = self.name(self.window.0);
                return Err(OpenError::Disk(DiskError::Io(Some(file), 0)));
            }
            self.window.2 = bytes;
        }
        loop {
            let step = match self.mode {
                Mode::Header(at) => self.header(at)?,
                Mode::Records => self.record()?,
                Mode::Scan(at, _) if at >= self.files.len() => return Ok(None),
                Mode::Scan(at, offset) => self.scan(at, offset)?,
            };
            if let Err(op) = step {
                return Ok(Some(op));
            }
        }
    }

    fn file(&self, at: usize) -> (u64, u64) {
        self.files.get(at).copied().unwrap_or((0, 0))
    }

    fn name(&self, at: usize) -> FileName {
        FileName::Segment(self.file(at).0)
    }

    /// `len` bytes at `offset`, which the file has; or the operation that reads them.
    fn want(&mut self, at: usize, offset: u64, len: u64) -> Result<Bytes, DiskOp> {
        let (window_at, start, bytes) = &self.window;
        let from = offset.checked_sub(*start).and_then(|from| usize::try_from(from).ok());
        if let (true, Some(from), Ok(len)) = (*window_at == at, from, usize::try_from(len))
            && from.checked_add(len).is_some_and(|end| end <= bytes.len())
        {
            return Ok(bytes.slice(from..from + len));
        }
        let left = self.file(at).1.saturating_sub(offset);
        self.asked = len.max(PIECE).min(left);
        self.window = (at, offset, Bytes::new());
        Err(DiskOp::ReadAt { file: self.name(at), offset, len: self.asked })
    }

    fn next_sequence(&self) -> u64 {
        self.sequence.saturating_add(1)
    }

    fn ends(&mut self, what: &'static str, vote: bool) {
        self.end = Some(End { at: self.at, offset: self.offset, what, vote });
        self.mode = Mode::Header(self.at + 1);
    }

    /// Judges the header of the segment at `at`: the log goes on in it, or has ended before it.
    fn header(&mut self, at: usize) -> Result<Result<(), DiskOp>, OpenError> {
        let (number, len) = self.file(at);
        let scan = self.end.map_or(Mode::Scan(at, 0), |end| Mode::Scan(end.at, end.offset));
        if at >= self.files.len() || len < HEADER {
            self.mode = scan;
            return Ok(Ok(()));
        }
        let bytes = match self.want(at, 0, HEADER) {
            Ok(bytes) => bytes,
            Err(op) => return Ok(Err(op)),
        };
        let Some(header) = self.open_segment(at, &bytes)? else {
            self.mode = scan;
            return Ok(Ok(()));
        };
        if at > 0 && header.first != self.next_sequence() {
            self.mode = scan;
            return Ok(Ok(()));
        }
        self.sequence = header.first.saturating_sub(1);
        self.life = header.life;
        self.proven = self.proven.max(header.synced);
        self.end = None;
        (self.at, self.offset, self.mode) = (at, HEADER, Mode::Records);
        let first = header.first;
        self.segments.push(Segment { number, len, allocated: true, used: HEADER, first, last_index: 0 });
        self.unproven.push_back(Unproven { sequence: first, segment: number, offset: 0, bytes });
        Ok(Ok(()))
    }

    /// The header of the segment at `at`, if it is one of this log's present lives.
    fn open_segment(&self, at: usize, bytes: &[u8]) -> Result<Option<SegmentHeader>, OpenError> {
        let file = self.name(at);
        match SegmentHeader::open(bytes) {
            Ok(header) => {
                OpenError::check_owner(file, &self.owner, &header.owner)?;
                let (number, found) = self.file(at);
                if header.number != number || !(self.life..=self.boots).contains(&header.life) {
                    return Ok(None);
                }
                // A tear leaves the length alone: it was synced before the header was written.
                let expected = header.allocated;
                if found < expected {
                    return Err(OpenError::SegmentShortened { file, found, expected });
                }
                Ok(Some(header))
            }
            Err(Unreadable::Version(found)) => Err(OpenError::Version { file, found }),
            Err(Unreadable::Absent | Unreadable::Checksum) => Ok(None),
        }
    }

    /// Judges the next record of the current segment.
    fn record(&mut self) -> Result<Result<(), DiskOp>, OpenError> {
        let (number, len) = self.file(self.at);
        let left = len.saturating_sub(self.offset);
        if left < HEADER {
            self.ends("the segment is full and the next one does not follow", false);
            return Ok(Ok(()));
        }
        let bytes = match self.want(self.at, self.offset, HEADER) {
            Ok(bytes) => bytes,
            Err(op) => return Ok(Err(op)),
        };
        let seed = self.owner.seed(number);
        let header = match RecordHeader::open(&bytes, seed) {
            Ok(header) => header,
            Err(Unreadable::Version(found)) => {
                return Err(OpenError::Version { file: self.name(self.at), found });
            }
            Err(Unreadable::Absent | Unreadable::Checksum) => {
                self.ends("the record's header cannot be read", false);
                return Ok(Ok(()));
            }
        };
        if !(self.life..=self.boots).contains(&header.life) || header.sequence != self.next_sequence() {
            self.ends("another record should be here", false);
            return Ok(Ok(()));
        }
        if header.vote > self.vote {
            self.ends("the vote that the record was written after is missing", true);
            return Ok(Ok(()));
        }
        // A length is believed only as far as the file goes, before anything is allocated (STORAGE row 10).
        let total =
            header.body_len().and_then(|body| body.checked_add(HEADER)).filter(|&total| total <= left);
        let Some(total) = total else {
            self.ends("the record is longer than its file", false);
            return Ok(Ok(()));
        };
        let bytes = match self.want(self.at, self.offset, total) {
            Ok(bytes) => bytes,
            Err(op) => return Ok(Err(op)),
        };
        let body = bytes.slice(BLOCK..);
        if record::checksum(&[], &body, seed) != header.body && !planted!("torn-record-is-whole") {
            self.ends("the record's checksum does not fit", false);
            return Ok(Ok(()));
        }
        self.accept(&header, &bytes, &body)?;
        Ok(Ok(()))
    }

    fn malformed(&self, what: &'static str) -> OpenError {
        let index = self.replay.next_index();
        OpenError::Malformed { file: self.name(self.at), offset: self.offset, index, what }
    }

    /// Takes a sound record into the log.
    fn accept(&mut self, header: &RecordHeader, bytes: &Bytes, body: &Bytes) -> Result<(), OpenError> {
        let switch_len = usize::try_from(header.switch_len).unwrap_or(usize::MAX).min(body.len());
        let packed = body.slice(switch_len..);
        let entries = Entries::unpack(header.first, &packed)
            .map_err(|_| self.malformed("its entries are of a form that this build does not know"))?;
        if entries.len() as u64 != header.count {
            return Err(self.malformed("its entries are not as many as its header says"));
        }
        if switch_len > 0 {
            let switch = record::unpack_switch(body.get(..switch_len).unwrap_or(&[]));
            let switch = switch
                .ok_or_else(|| self.malformed("its snapshot is of a form that this build does not know"))?;
            if !switch.keeps_suffix {
                self.cut(header.sequence, switch.snapshot.id.last.index);
            }
            self.replay.switch(switch);
        }
        if header.count > 0 && header.first < self.replay.next_index() {
            self.cut(header.sequence, header.first.saturating_sub(1));
        }
        self.replay.append(&entries).map_err(|gap| OpenError::Gap {
            file: self.name(self.at),
            offset: self.offset,
            expected: gap.expected,
            found: gap.found,
        })?;
        self.replay.commit(header.commit);
        self.sequence = header.sequence;
        self.life = header.life;
        self.records += 1;
        self.marked = header.count == 0 && header.switch_len == 0;
        self.prove(header, bytes);
        self.offset = align(self.offset.saturating_add(bytes.len() as u64));
        if let Some(current) = self.segments.current_mut() {
            current.used = self.offset;
            if let Some(last) = entries.last_id() {
                current.last_index = current.last_index.max(last.index);
            }
        }
        Ok(())
    }

    fn cut(&mut self, sequence: u64, index: u64) {
        self.segments.cut(sequence, index);
        if let Some(current) = self.segments.current_mut() {
            current.last_index = current.last_index.min(index);
        }
    }

    /// The record says what is synced; all later ones, and itself, remain unproven.
    fn prove(&mut self, header: &RecordHeader, bytes: &Bytes) {
        self.proven = self.proven.max(header.synced);
        let (segment, offset) = (self.file(self.at).0, self.offset);
        let record = Unproven { sequence: header.sequence, segment, offset, bytes: bytes.clone() };
        self.unproven.push_back(record);
        while self.unproven.front().is_some_and(|front| front.sequence <= header.synced) {
            self.unproven.pop_front();
        }
    }

    /// Looks at one block behind the end of the log, and goes on to the next.
    fn scan(&mut self, at: usize, offset: u64) -> Result<Result<(), DiskOp>, OpenError> {
        let (number, len) = self.file(at);
        let behind = self.end.is_none_or(|end| at > end.at);
        if offset == 0 && behind && self.behind.last().is_none_or(|last| last.0 != number) {
            self.behind.push((number, false));
        }
        if len.saturating_sub(offset) < HEADER {
            self.mode = Mode::Scan(at + 1, 0);
            return Ok(Ok(()));
        }
        let bytes = match self.want(at, offset, HEADER) {
            Ok(bytes) => bytes,
            Err(op) => return Ok(Err(op)),
        };
        self.mode = Mode::Scan(at, offset.saturating_add(HEADER));
        let mut reach = None;
        if offset == 0 {
            if let Some(header) = self.open_segment(at, &bytes)? {
                self.proven = self.proven.max(header.synced);
                reach = Some(HEADER);
            }
        } else if bytes.starts_with(&RECORD_MAGIC) {
            reach = self.judge_behind(at, offset, &bytes)?;
        }
        if let Some(reach) = reach {
            match self.behind.last_mut().filter(|_| behind) {
                Some(segment) => segment.1 = true,
                None => {
                    let start = self.end.map_or(0, |end| end.offset);
                    let torn = offset.saturating_add(reach).min(len).saturating_sub(start);
                    self.torn = self.torn.max(torn);
                }
            }
        }
        Ok(Ok(()))
    }

    /// How far a block behind the end reaches, if it was written there in this life or is the torn record itself.
    fn judge_behind(&mut self, at: usize, offset: u64, bytes: &[u8]) -> Result<Option<u64>, OpenError> {
        let number = self.file(at).0;
        match RecordHeader::open(bytes, self.owner.seed(number)) {
            Ok(header) => {
                let ours = header.segment == number && (self.life..=self.boots).contains(&header.life);
                if !ours || header.sequence < self.next_sequence() {
                    return Ok(None);
                }
                self.proven = self.proven.max(header.synced);
                Ok(Some(HEADER.saturating_add(header.body_len().unwrap_or(0))))
            }
            Err(Unreadable::Version(found)) => Err(OpenError::Version { file: self.name(at), found }),
            Err(Unreadable::Absent | Unreadable::Checksum) => {
                let here = self.end.is_some_and(|end| end.at == at && end.offset == offset);
                Ok((here && record::looks_torn(bytes, number)).then_some(HEADER))
            }
        }
    }

    /// The verdict, when everything was read.
    pub(super) fn finish(self) -> Result<ReadLog, OpenError> {
        let index = self.replay.next_index();
        let end = self.end.unwrap_or(End { at: 0, offset: 0, what: "the oldest segment", vote: false });
        // The oldest segment's first record is always synced: before the founding entry was, there was no cluster, and
        // an older segment goes only when the next one's first record is synced.
        if self.records == 0 || self.proven > self.sequence {
            if end.vote {
                return Err(OpenError::VoteLost);
            }
            let (file, offset) = (self.name(end.at), end.offset);
            let what = if self.files.is_empty() { "there is no segment" } else { end.what };
            return Err(OpenError::SyncedRecordLost { file, offset, index, what });
        }
        let (number, len) = self.file(end.at);
        Ok(ReadLog {
            end: (number, end.offset, len),
            oldest: self.file(0).0,
            replay: self.replay,
            segments: self.segments,
            sequence: self.sequence,
            marked: self.marked,
            unproven: self.unproven,
            torn: self.torn,
            behind: self.behind,
        })
    }
}
