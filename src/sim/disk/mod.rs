//! A simulated disk with one data directory: it performs [`DiskOp`]s, and forgets what the contract lets it forget.
//!
//! Bytes are durable after a [`Sync`](DiskOp::Sync) of their file, names after a [`SyncDirectory`](DiskOp::SyncDirectory).
//! When the power fails ([`Disk::crash`]) any subset of the rest survives, torn at any byte; when only the process
//! dies ([`Disk::interrupt`]) everything stays, as it does in an operating system's cache.

mod contents;
mod directory;

use std::collections::BTreeMap;
use std::vec::Vec;

use bytes::Bytes;

use self::contents::Contents;
use self::directory::{Directory, Inode};
use crate::rng::Rng;
use crate::storage::{DiskError, DiskJob, DiskOp, DiskReply, DiskResult, FileName};

/// The operating system's number for an input/output error.
const EIO: i32 = 5;

/// Longer files are refused, so that a wild offset cannot exhaust the simulator's memory.
const MAX_FILE: u64 = 1 << 28;

/// Kinds of operations, as faults tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpKind {
    /// `List` and `ReadAt`.
    Read,
    /// `WriteAt` and `Zero`.
    Write,
    /// `Sync`.
    Sync,
    /// `Create`, `Rename`, `Remove` and `SyncDirectory`.
    Names,
}

impl OpKind {
    /// The kind of `op`.
    pub fn of(op: &DiskOp) -> Self {
        match op {
            DiskOp::List | DiskOp::ReadAt { .. } => Self::Read,
            DiskOp::WriteAt { .. } | DiskOp::Zero { .. } => Self::Write,
            DiskOp::Sync { .. } => Self::Sync,
            DiskOp::Create { .. } | DiskOp::Rename { .. } | DiskOp::Remove { .. } | DiskOp::SyncDirectory => {
                Self::Names
            }
        }
    }
}

/// One disk. A clone is an image of it, for going back in time.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    names: Directory,
    files: BTreeMap<Inode, Contents>,
    last_inode: Inode,
    /// Most bytes of all files together.
    capacity: Option<u64>,
    /// For each kind, after how many more operations one fails.
    failing: BTreeMap<OpKind, u64>,
}

impl Disk {
    /// An empty disk without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that already holds these files, durably.
    pub fn with_files(files: impl IntoIterator<Item = (FileName, Vec<u8>)>) -> Self {
        let mut disk = Self::new();
        for (name, bytes) in files {
            let inode = disk.make(name);
            disk.files.insert(inode, Contents::durable(bytes));
        }
        disk.names.sync();
        disk
    }

    /// Bounds the bytes of all files together; `None` for no bound. What is there already stays.
    pub fn set_capacity(&mut self, capacity: Option<u64>) {
        self.capacity = capacity;
    }

    /// Lets one operation of `kind` fail with EIO, after `skip` more that succeed.
    pub fn fail_after(&mut self, kind: OpKind, skip: u64) {
        self.failing.insert(kind, skip);
    }

    /// Flips the bits of `mask` in one byte of the medium; nothing happens past the file's end.
    pub fn rot(&mut self, file: FileName, offset: u64, mask: u8) {
        if let Some(contents) = self.names.find(file).and_then(|inode| self.files.get_mut(&inode)) {
            contents.rot(offset as usize, mask);
        }
    }

    /// What a reader finds in `file`, if it is there.
    pub fn read(&self, file: FileName) -> Option<&[u8]> {
        Some(self.files.get(&self.names.find(file)?)?.seen())
    }

    /// All files with their lengths, ascending.
    pub fn list(&self) -> Vec<(FileName, u64)> {
        let len = |inode| self.files.get(&inode).map_or(0, |c| c.seen().len() as u64);
        self.names.names().map(|(name, inode)| (name, len(inode))).collect()
    }

    /// Whether nothing would be lost if the power failed now and every write were lost that can be.
    pub fn is_synced(&self, file: FileName) -> bool {
        self.names.find(file).and_then(|inode| self.files.get(&inode)).is_some_and(Contents::is_synced)
    }

    /// Performs one operation. `rng` decides how much of a failing write or sync reaches the medium.
    pub fn perform(&mut self, op: &DiskOp, rng: &mut Rng) -> DiskResult {
        if self.fails(OpKind::of(op)) {
            return Err(self.fail(op, rng));
        }
        match op {
            DiskOp::List => return Ok(DiskReply::Files(self.list())),
            DiskOp::ReadAt { file, offset, len } => {
                let bytes = self.read(*file).ok_or(DiskError::NotFound(*file))?;
                let start = bytes.len().min(usize::try_from(*offset).unwrap_or(usize::MAX));
                let end = bytes.len().min(start.saturating_add(usize::try_from(*len).unwrap_or(usize::MAX)));
                return Ok(DiskReply::Bytes(Bytes::copy_from_slice(&bytes[start..end])));
            }
            DiskOp::Create { file } => match self.names.find(*file) {
                Some(_) => self.contents(*file)?.empty(),
                None => {
                    self.make(*file);
                }
            },
            DiskOp::WriteAt { file, offset, data } => self.write(*file, *offset, data.concat())?,
            DiskOp::Zero { file, offset, len } => {
                if *len > MAX_FILE {
                    return Err(DiskError::NoSpace(*file));
                }
                self.write(*file, *offset, std::vec![0; *len as usize])?;
            }
            DiskOp::Sync { file } => self.contents(*file)?.sync(),
            DiskOp::Rename { from, to } => {
                if !self.names.rename(*from, *to) {
                    return Err(DiskError::NotFound(*from));
                }
            }
            DiskOp::Remove { file } => self.names.unlink(*file),
            DiskOp::SyncDirectory => {
                self.names.sync();
                self.forget_nameless();
            }
        }
        Ok(DiskReply::Done)
    }

    /// The process dies while `op` is under way: a part of it has happened, and no one hears of it.
    pub fn interrupt(&mut self, op: &DiskOp, rng: &mut Rng) {
        let part = |len: usize, rng: &mut Rng| rng.below(len as u64 + 1) as usize;
        // Whether it would have succeeded does not matter any more.
        let _ = match op {
            DiskOp::WriteAt { file, offset, data } => {
                let mut data = data.concat();
                data.truncate(part(data.len(), rng));
                self.write(*file, *offset, data)
            }
            DiskOp::Zero { file, offset, len } => {
                let len = part((*len).min(MAX_FILE) as usize, rng);
                self.write(*file, *offset, std::vec![0; len])
            }
            DiskOp::Create { .. } | DiskOp::Rename { .. } | DiskOp::Remove { .. } if rng.chance(1, 2) => {
                self.perform(op, rng).map(|_| ())
            }
            // A sync that is cut off has written some of what it was to write: that is what `crash` decides anyway.
            _ => Ok(()),
        };
    }

    /// The power fails: what is not synced survives or not, as `rng` decides.
    pub fn crash(&mut self, rng: &mut Rng) {
        for contents in self.files.values_mut() {
            contents.crash(rng);
        }
        self.names.crash(rng);
        self.forget_nameless();
    }

    /// The disk as it is found after a power failure in which everything is lost that can be, and no fault to come.
    pub fn without_unsynced(&self) -> Self {
        let files = self.files.iter().map(|(&inode, contents)| (inode, contents.without_unsynced()));
        let mut disk = Self { names: self.names.without_unsynced(), files: files.collect(), ..Self::new() };
        disk.last_inode = self.last_inode;
        disk
    }

    /// Runs a job from its start to its end.
    pub fn run(&mut self, job: &mut impl DiskJob, rng: &mut Rng) {
        let mut last = None;
        while let Some(op) = job.next(last.take()) {
            last = Some(self.perform(&op, rng));
        }
    }

    fn fails(&mut self, kind: OpKind) -> bool {
        match self.failing.get_mut(&kind) {
            Some(0) => self.failing.remove(&kind).is_some(),
            Some(skip) => {
                *skip -= 1;
                false
            }
            None => false,
        }
    }

    fn fail(&mut self, op: &DiskOp, rng: &mut Rng) -> DiskError {
        let file = match op {
            DiskOp::List | DiskOp::SyncDirectory => None,
            DiskOp::ReadAt { file, .. } | DiskOp::Create { file } | DiskOp::Remove { file } => Some(*file),
            DiskOp::Rename { from, .. } => Some(*from),
            DiskOp::WriteAt { file, .. } | DiskOp::Zero { file, .. } => {
                self.interrupt(op, rng);
                Some(*file)
            }
            DiskOp::Sync { file } => {
                if let Ok(contents) = self.contents(*file) {
                    contents.sync_failed(rng);
                }
                Some(*file)
            }
        };
        DiskError::Io(file, EIO)
    }

    fn write(&mut self, file: FileName, offset: u64, mut data: Vec<u8>) -> Result<(), DiskError> {
        let room = self.room(file)?;
        let start = usize::try_from(offset).ok().filter(|&start| start as u64 <= MAX_FILE);
        let start = start.ok_or(DiskError::NoSpace(file))?;
        let fits = usize::try_from(room.saturating_sub(offset)).unwrap_or(usize::MAX);
        let short = data.len() > fits;
        data.truncate(fits);
        // A short write has happened as far as it went.
        self.contents(file)?.write(start, data);
        if short { Err(DiskError::NoSpace(file)) } else { Ok(()) }
    }

    /// The greatest length that `file` may have.
    fn room(&mut self, file: FileName) -> Result<u64, DiskError> {
        let own = self.contents(file)?.seen().len() as u64;
        let Some(capacity) = self.capacity else { return Ok(MAX_FILE) };
        let used: u64 = self.list().iter().map(|(_, len)| len).sum();
        Ok(MAX_FILE.min(own + capacity.saturating_sub(used)))
    }

    fn contents(&mut self, file: FileName) -> Result<&mut Contents, DiskError> {
        let inode = self.names.find(file).ok_or(DiskError::NotFound(file))?;
        Ok(self.files.entry(inode).or_default())
    }

    fn make(&mut self, name: FileName) -> Inode {
        self.last_inode += 1;
        self.files.insert(self.last_inode, Contents::default());
        self.names.link(name, self.last_inode);
        self.last_inode
    }

    fn forget_nameless(&mut self) {
        let names = &self.names;
        self.files.retain(|&inode, _| names.keeps(inode));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::smallvec;

    const FILE: FileName = FileName::Vote;
    const TEMPORARY: FileName = FileName::Temporary(1);

    fn write(file: FileName, offset: u64, data: &'static [u8]) -> DiskOp {
        DiskOp::WriteAt { file, offset, data: smallvec![Bytes::from_static(data)] }
    }

    /// Performs all of them; none may fail.
    fn perform(disk: &mut Disk, ops: &[DiskOp]) {
        for op in ops {
            disk.perform(op, &mut Rng::new(0)).expect("performs");
        }
    }

    /// Temporary name, write, sync, rename, sync of the directory (STORAGE row 12), in ten steps and more.
    fn replacement(data: &'static [u8]) -> [DiskOp; 5] {
        [
            DiskOp::Create { file: TEMPORARY },
            write(TEMPORARY, 0, data),
            DiskOp::Sync { file: TEMPORARY },
            DiskOp::Rename { from: TEMPORARY, to: FILE },
            DiskOp::SyncDirectory,
        ]
    }

    #[test]
    fn reads_are_short_only_at_the_end() {
        let mut disk = Disk::with_files([(FILE, b"hello".to_vec())]);
        let mut read =
            |offset, len| disk.perform(&DiskOp::ReadAt { file: FILE, offset, len }, &mut Rng::new(0));
        assert_eq!(read(1, 3), Ok(DiskReply::Bytes(Bytes::from_static(b"ell"))));
        assert_eq!(read(3, 9), Ok(DiskReply::Bytes(Bytes::from_static(b"lo"))));
        assert_eq!(read(u64::MAX, u64::MAX), Ok(DiskReply::Bytes(Bytes::new())));
        let missing = disk.perform(&DiskOp::ReadAt { file: TEMPORARY, offset: 0, len: 1 }, &mut Rng::new(0));
        assert_eq!(missing, Err(DiskError::NotFound(TEMPORARY)));
    }

    #[test]
    fn row_12_a_replaced_file_is_the_old_or_the_new_one_after_a_crash_anywhere() {
        let ops = replacement(b"new");
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let mut disk = Disk::new();
            perform(&mut disk, &replacement(b"old"));
            let done = rng.below(ops.len() as u64 + 1) as usize;
            perform(&mut disk, &ops[..done]);
            if let Some(op) = ops.get(done) {
                disk.interrupt(op, &mut rng);
            }
            disk.crash(&mut rng);
            let found = disk.read(FILE).expect("never missing");
            let expected: &[&[u8]] = if done == ops.len() { &[b"new"] } else { &[b"old", b"new"] };
            assert!(expected.contains(&found), "seed {seed}: {found:?} after {done} operations");
        }
    }

    #[test]
    fn a_rename_without_the_sync_before_it_loses_the_bytes() {
        let ops = replacement(b"new");
        let careless = [ops[0].clone(), ops[1].clone(), ops[3].clone(), ops[4].clone()];
        let torn = |seed| {
            let mut disk = Disk::new();
            perform(&mut disk, &careless);
            disk.crash(&mut Rng::new(seed));
            disk.read(FILE) != Some(b"new")
        };
        assert!((0..20).any(torn), "the disk forgives what a real one does not");
    }

    #[test]
    fn a_killed_process_loses_nothing_that_was_written() {
        let mut disk = Disk::new();
        perform(&mut disk, &replacement(b"old")[..2]);
        disk.interrupt(&write(TEMPORARY, 3, b"more"), &mut Rng::new(3));
        let found = disk.read(TEMPORARY).expect("is there");
        assert!(found.starts_with(b"old") && b"oldmore".starts_with(found));
    }

    #[test]
    fn a_full_disk_writes_short_and_says_so() {
        let mut disk = Disk::with_files([(FILE, b"0123456789".to_vec())]);
        perform(&mut disk, &[DiskOp::Create { file: TEMPORARY }]);
        disk.set_capacity(Some(12));
        let full = disk.perform(&write(TEMPORARY, 0, b"abcd"), &mut Rng::new(0));
        assert_eq!(full, Err(DiskError::NoSpace(TEMPORARY)));
        assert_eq!(disk.read(TEMPORARY), Some(&b"ab"[..]));
        perform(&mut disk, &[write(FILE, 0, b"overwrites")]);
        perform(&mut disk, &[DiskOp::Remove { file: FILE }, write(TEMPORARY, 2, b"cd")]);
        assert_eq!(disk.read(TEMPORARY), Some(&b"abcd"[..]));
    }

    #[test]
    fn a_fault_strikes_once_at_its_place() {
        let mut disk = Disk::with_files([(FILE, b"x".to_vec())]);
        disk.fail_after(OpKind::Read, 1);
        let results: Vec<bool> =
            (0..3).map(|_| disk.perform(&DiskOp::List, &mut Rng::new(0)).is_ok()).collect();
        assert_eq!(results, [true, false, true]);
    }

    #[test]
    fn row_04_after_a_failed_sync_the_next_one_promises_nothing_about_old_bytes() {
        let lost = |seed| {
            let mut rng = Rng::new(seed);
            let mut disk = Disk::with_files([(FILE, Vec::new())]);
            perform(&mut disk, &[write(FILE, 0, b"bytes")]);
            disk.fail_after(OpKind::Sync, 0);
            let failed = disk.perform(&DiskOp::Sync { file: FILE }, &mut rng);
            assert_eq!(failed, Err(DiskError::Io(Some(FILE), EIO)));
            assert_eq!(disk.perform(&DiskOp::Sync { file: FILE }, &mut rng), Ok(DiskReply::Done));
            disk.crash(&mut rng);
            disk.read(FILE) != Some(b"bytes")
        };
        assert!((0..20).any(lost));
    }

    #[test]
    fn wild_offsets_are_refused() {
        let mut disk = Disk::with_files([(FILE, Vec::new())]);
        let far = DiskOp::WriteAt { file: FILE, offset: u64::MAX, data: smallvec![Bytes::from_static(b"x")] };
        assert!(disk.perform(&far, &mut Rng::new(0)).is_err());
        let long = DiskOp::Zero { file: FILE, offset: 1, len: u64::MAX };
        assert!(disk.perform(&long, &mut Rng::new(0)).is_err());
        assert_eq!(disk.read(FILE), Some(&b""[..]));
    }

    #[test]
    fn same_seed_same_disk() {
        let after = |seed| {
            let mut disk = Disk::new();
            perform(&mut disk, &replacement(b"bytes that may be torn")[..4]);
            disk.crash(&mut Rng::new(seed));
            disk.list()
        };
        assert!((0..20).all(|seed| after(seed) == after(seed)));
    }

    #[test]
    fn files_without_a_name_are_forgotten() {
        let mut disk = Disk::new();
        perform(&mut disk, &replacement(b"one"));
        perform(&mut disk, &replacement(b"two"));
        perform(&mut disk, &[DiskOp::Remove { file: FILE }, DiskOp::SyncDirectory]);
        assert!(disk.files.is_empty());
    }
}
