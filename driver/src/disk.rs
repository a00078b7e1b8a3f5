//! Performs [`DiskOp`]s in one data directory.
//!
//! A [`Disk`] is shared by the log lane and the job lane. Open files are kept in one common table, so that a rename or a
//! removal by one lane is seen by the other: no lane can go on writing to a file that has lost its name.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quorate::storage::{DiskError, DiskOp, DiskReply, DiskResult, FileName};

use crate::directory_lock::{DirectoryLock, LockError};

/// The length of a segment of the log where nobody asks for another.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;

/// Most files kept open at once.
const MAX_OPEN: usize = 64;

/// Bytes of one write of zeros.
const ZERO_PIECE: usize = 256 << 10;

/// Zeros are made durable each time so many of them are written: a large flush would stand in the way of the log's syncs.
const ZERO_SYNC: u64 = 4 << 20;

/// Most slices that one vectored write takes (the least that POSIX systems in use allow is 1,024).
const MAX_SLICES: usize = 64;

static ZEROS: [u8; ZERO_PIECE] = [0; ZERO_PIECE];

/// A data directory, locked as long as any clone lives.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    directory: File,
    open: Mutex<BTreeMap<FileName, Arc<File>>>,
    /// Whether anything but lists and reads may be asked for.
    writable: bool,
    lock: Option<DirectoryLock>,
}

impl Disk {
    /// Opens a data directory, makes it if it is missing, and locks it for this process.
    pub fn open(path: &Path) -> Result<Self, LockError> {
        let failed = |error| LockError::Directory { path: path.to_owned(), error };
        make_directory(path).map_err(failed)?;
        let lock = DirectoryLock::take(path)?;
        Self::locked(path, Some(lock), true).map_err(failed)
    }

    /// Opens a data directory that is there, to be read only: nothing of it is written, not even its lock. If that
    /// [is there](Self::is_locked), no node can run in the directory as long as any clone lives.
    pub fn open_to_read(path: &Path) -> Result<Self, LockError> {
        let failed = |error| LockError::Directory { path: path.to_owned(), error };
        // A file in its place is no directory, whatever its name.
        fs::read_dir(path).map_err(failed)?;
        let lock = DirectoryLock::share(path)?;
        Self::locked(path, lock, false).map_err(failed)
    }

    fn locked(path: &Path, lock: Option<DirectoryLock>, writable: bool) -> io::Result<Self> {
        let (path, directory) = (path.to_owned(), File::open(path)?);
        let open = Mutex::new(BTreeMap::new());
        Ok(Self(Arc::new(Shared { path, directory, open, writable, lock })))
    }

    /// Whether nodes are kept out of the directory. Not if it is only read and has no file that could carry the lock.
    pub fn is_locked(&self) -> bool {
        self.0.lock.is_some()
    }

    /// Performs one operation.
    pub fn perform(&self, op: &DiskOp) -> DiskResult {
        let done = |()| DiskReply::Done;
        if !self.0.writable && !matches!(op, DiskOp::List | DiskOp::ReadAt { .. }) {
            return Err(DiskError::Io(None, rustix::io::Errno::ROFS.raw_os_error()));
        }
        match op {
            DiskOp::List => self.list().map(DiskReply::Files).map_err(|e| classify(None, &e)),
            DiskOp::ReadAt { file, offset, len } => self
                .read_at(*file, *offset, *len)
                .map(DiskReply::Bytes)
                .map_err(|e| classify(Some(*file), &e)),
            DiskOp::Create { file } => self.create(*file).map(done).map_err(|e| classify(Some(*file), &e)),
            DiskOp::WriteAt { file, offset, data } => {
                self.write_at(*file, *offset, data).map(done).map_err(|e| classify(Some(*file), &e))
            }
            DiskOp::Zero { file, offset, len } => {
                self.zero(*file, *offset, *len).map(done).map_err(|e| classify(Some(*file), &e))
            }
            DiskOp::Sync { file } => {
                self.file(*file).and_then(|f| f.sync_data()).map(done).map_err(|e| classify(Some(*file), &e))
            }
            DiskOp::Rename { from, to } => {
                self.rename(*from, *to).map(done).map_err(|e| classify(Some(*from), &e))
            }
            DiskOp::Remove { file } => self.remove(*file).map(done).map_err(|e| classify(Some(*file), &e)),
            DiskOp::SyncDirectory => self.0.directory.sync_all().map(done).map_err(|e| classify(None, &e)),
            // A kind of operation that a newer library knows and this driver does not: never taken for done.
            _ => Err(DiskError::Io(None, rustix::io::Errno::NOSYS.raw_os_error())),
        }
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<FileName, Arc<File>>> {
        // Each critical section leaves the table whole, whatever panicked elsewhere.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, file: FileName) -> PathBuf {
        self.0.path.join(file.to_string())
    }

    /// The open file of that name.
    fn file(&self, name: FileName) -> io::Result<Arc<File>> {
        let mut open = self.table();
        if let Some(file) = open.get(&name) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(OpenOptions::new().read(true).write(self.0.writable).open(self.path(name))?);
        keep(&mut open, name, &file);
        Ok(file)
    }

    fn list(&self) -> io::Result<Vec<(FileName, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.0.path)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().and_then(FileName::parse) else { continue };
            match entry.metadata() {
                Ok(data) if data.is_file() => files.push((name, data.len())),
                Ok(_) => {}
                // Removed by the other lane since the name was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    fn read_at(&self, name: FileName, offset: u64, len: u64) -> io::Result<Bytes> {
        let file = self.file(name)?;
        // What is there bounds what is allocated, whatever length was asked for.
        let there = file.metadata()?.len().saturating_sub(offset).min(len);
        let there = usize::try_from(there).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let mut bytes = vec![0; there];
        let mut filled = 0;
        while filled < there {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes.into())
    }

    fn create(&self, name: FileName) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = Arc::new(options.open(self.path(name))?);
        keep(&mut self.table(), name, &file);
        Ok(())
    }

    fn write_at(&self, name: FileName, offset: u64, data: &[Bytes]) -> io::Result<()> {
        let file = self.file(name)?;
        match data {
            [one] => file.write_all_at(one, offset),
            pieces => write_pieces(&file, offset, pieces),
        }
    }

    fn zero(&self, name: FileName, offset: u64, len: u64) -> io::Result<()> {
        let file = self.file(name)?;
        let end = offset.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
        let (mut at, mut unsynced) = (offset, 0);
        while at < end {
            let piece = (end - at).min(ZERO_PIECE as u64);
            file.write_all_at(&ZEROS[..piece as usize], at)?;
            at += piece;
            unsynced += piece;
            if unsynced >= ZERO_SYNC {
                file.sync_data()?;
                unsynced = 0;
            }
        }
        Ok(())
    }

    fn rename(&self, from: FileName, to: FileName) -> io::Result<()> {
        let replaced = {
            let mut open = self.table();
            fs::rename(self.path(from), self.path(to))?;
            let moved = open.remove(&from);
            let replaced = open.remove(&to);
            if let Some(file) = moved {
                keep(&mut open, to, &file);
            }
            replaced
        };
        // Closing the last handle of a replaced file frees its blocks, which may be slow: not under the lock.
        drop(replaced);
        Ok(())
    }

    fn remove(&self, name: FileName) -> io::Result<()> {
        // An open handle lets the unlink return at once; the blocks are freed when it is closed, outside the lock.
        let handle = self.file(name);
        let removed = {
            let mut open = self.table();
            open.remove(&name);
            fs::remove_file(self.path(name))
        };
        drop(handle);
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// Puts a file into the table; a full table is emptied first, as opening a file again is cheap and rare.
fn keep(open: &mut BTreeMap<FileName, Arc<File>>, name: FileName, file: &Arc<File>) {
    if open.len() >= MAX_OPEN {
        open.clear();
    }
    open.insert(name, Arc::clone(file));
}

/// Makes a directory and those above it; each new name is made durable in its parent.
fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        make_directory(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(parent)?.sync_all(),
    }
}

/// Writes all pieces one after the other. The rest of a short write is tried again: either it goes through, or it yields
/// the error that cut the first one short.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn write_pieces(file: &File, mut offset: u64, pieces: &[Bytes]) -> io::Result<()> {
    let slices: Vec<IoSlice<'_>> = pieces.iter().filter(|p| !p.is_empty()).map(|p| IoSlice::new(p)).collect();
    let mut slices = slices;
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        let n = left.len().min(MAX_SLICES);
        match rustix::io::pwritev(file, &left[..n], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn write_pieces(file: &File, mut offset: u64, pieces: &[Bytes]) -> io::Result<()> {
    for piece in pieces {
        file.write_all_at(piece, offset)?;
        offset += piece.len() as u64;
    }
    Ok(())
}

/// What the library calls an error of the operating system.
fn classify(file: Option<FileName>, error: &io::Error) -> DiskError {
    match (error.kind(), file) {
        (io::ErrorKind::NotFound, Some(file)) => DiskError::NotFound(file),
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, Some(file)) => DiskError::NoSpace(file),
        _ => DiskError::Io(file, error.raw_os_error().unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const FILE: FileName = FileName::Segment(1);

    fn disk() -> (TempDir, Disk) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        (dir, disk)
    }

    fn write(offset: u64, pieces: &[&'static [u8]]) -> DiskOp {
        DiskOp::WriteAt { file: FILE, offset, data: pieces.iter().map(|p| Bytes::from_static(p)).collect() }
    }

    fn read(disk: &Disk, file: FileName, offset: u64, len: u64) -> DiskResult {
        disk.perform(&DiskOp::ReadAt { file, offset, len })
    }

    fn bytes(bytes: &'static [u8]) -> DiskResult {
        Ok(DiskReply::Bytes(Bytes::from_static(bytes)))
    }

    #[test]
    fn what_is_opened_to_be_read_is_not_written() {
        let (dir, disk) = disk();
        disk.perform(&DiskOp::Create { file: FILE }).unwrap();
        disk.perform(&write(0, &[b"abc"])).unwrap();
        drop(disk);
        let disk = Disk::open_to_read(dir.path()).unwrap();
        assert_eq!(read(&disk, FILE, 0, 3), bytes(b"abc"));
        for op in [write(0, &[b"x"]), DiskOp::Create { file: FILE }, DiskOp::Remove { file: FILE }] {
            assert!(matches!(disk.perform(&op), Err(DiskError::Io(..))), "{op:?}");
        }
        assert_eq!(read(&disk, FILE, 0, 3), bytes(b"abc"));
        let missing = dir.path().join("missing");
        assert!(Disk::open_to_read(&missing).is_err() && !missing.exists());
    }

    #[test]
    fn pieces_are_written_one_after_the_other() {
        let (_dir, disk) = disk();
        disk.perform(&DiskOp::Create { file: FILE }).unwrap();
        disk.perform(&write(0, &[b"ab", b"", b"cde"])).unwrap();
        disk.perform(&write(3, &[b"XY"])).unwrap();
        disk.perform(&DiskOp::Sync { file: FILE }).unwrap();
        assert_eq!(read(&disk, FILE, 0, 100), bytes(b"abcXY"));
        assert_eq!(read(&disk, FILE, 2, 2), bytes(b"cX"));
    }

    #[test]
    fn more_pieces_than_one_vectored_write_takes() {
        let (_dir, disk) = disk();
        disk.perform(&DiskOp::Create { file: FILE }).unwrap();
        let data = (0..MAX_SLICES * 3).map(|i| Bytes::from(vec![i as u8])).collect();
        disk.perform(&DiskOp::WriteAt { file: FILE, offset: 0, data }).unwrap();
        let expected: Vec<u8> = (0..MAX_SLICES * 3).map(|i| i as u8).collect();
        assert_eq!(read(&disk, FILE, 0, 1 << 20), Ok(DiskReply::Bytes(expected.into())));
    }

    #[test]
    fn a_read_past_the_end_is_short_and_allocates_only_what_is_there() {
        let (_dir, disk) = disk();
        disk.perform(&DiskOp::Create { file: FILE }).unwrap();
        disk.perform(&write(0, &[b"abc"])).unwrap();
        assert_eq!(read(&disk, FILE, 1, u64::MAX), bytes(b"bc"));
        assert_eq!(read(&disk, FILE, 3, 5), bytes(b""));
        assert_eq!(read(&disk, FILE, u64::MAX, 5), bytes(b""));
    }

    #[test]
    fn zeros_cover_exactly_their_range() {
        let (_dir, disk) = disk();
        disk.perform(&DiskOp::Create { file: FILE }).unwrap();
        disk.perform(&write(0, &[b"abcd"])).unwrap();
        let len = ZERO_SYNC + ZERO_PIECE as u64 + 7;
        disk.perform(&DiskOp::Zero { file: FILE, offset: 2, len }).unwrap();
        let Ok(DiskReply::Bytes(all)) = read(&disk, FILE, 0, u64::MAX) else { panic!() };
        assert_eq!(all.len() as u64, 2 + len);
        assert_eq!(&all[..2], b"ab");
        assert!(all[2..].iter().all(|b| *b == 0));
        disk.perform(&write(len, &[b"ef"])).unwrap();
        disk.perform(&DiskOp::Zero { file: FILE, offset: 0, len }).unwrap();
        assert_eq!(read(&disk, FILE, len, 10), bytes(b"ef"), "bytes after the range stay");
    }

    #[test]
    fn a_missing_file_is_named() {
        let (_dir, disk) = disk();
        assert_eq!(read(&disk, FILE, 0, 1), Err(DiskError::NotFound(FILE)));
        assert_eq!(disk.perform(&write(0, &[b"x"])), Err(DiskError::NotFound(FILE)));
        assert_eq!(disk.perform(&DiskOp::Sync { file: FILE }), Err(DiskError::NotFound(FILE)));
        let rename = DiskOp::Rename { from: FILE, to: FileName::Vote };
        assert_eq!(disk.perform(&rename), Err(DiskError::NotFound(FILE)));
        assert_eq!(disk.perform(&DiskOp::Remove { file: FILE }), Ok(DiskReply::Done));
    }

    #[test]
    fn a_rename_replaces_and_takes_its_open_file_along() {
        let (_dir, disk) = disk();
        let spare = FileName::Spare(2);
        disk.perform(&DiskOp::Create { file: FILE }).unwrap();
        disk.perform(&write(0, &[b"old"])).unwrap();
        disk.perform(&DiskOp::Create { file: spare }).unwrap();
        disk.perform(&DiskOp::WriteAt {
            file: spare,
            offset: 0,
            data: [Bytes::from_static(b"new")].into_iter().collect(),
        })
        .unwrap();
        let other_lane = disk.clone();
        assert_eq!(read(&other_lane, FILE, 0, 3), bytes(b"old"));
        disk.perform(&DiskOp::Rename { from: spare, to: FILE }).unwrap();
        disk.perform(&DiskOp::SyncDirectory).unwrap();
        assert_eq!(read(&other_lane, FILE, 0, 3), bytes(b"new"));
        assert_eq!(read(&other_lane, spare, 0, 3), Err(DiskError::NotFound(spare)));
    }

    #[test]
    fn the_list_is_ascending_and_leaves_foreign_names_out() {
        let (dir, disk) = disk();
        for file in [FileName::Segment(3), FileName::Identity, FileName::Segment(1)] {
            disk.perform(&DiskOp::Create { file }).unwrap();
        }
        disk.perform(&write(0, &[b"abc"])).unwrap();
        fs::write(dir.path().join("segment-xyz"), "foreign").unwrap();
        fs::create_dir(dir.path().join("vote")).unwrap();
        disk.perform(&DiskOp::Remove { file: FileName::Segment(3) }).unwrap();
        let expected = vec![(FileName::Identity, 0), (FILE, 3)];
        assert_eq!(disk.perform(&DiskOp::List), Ok(DiskReply::Files(expected)));
    }

    #[test]
    fn a_full_table_of_open_files_loses_nothing() {
        let (_dir, disk) = disk();
        for n in 0..MAX_OPEN as u64 * 2 {
            disk.perform(&DiskOp::Create { file: FileName::Segment(n) }).unwrap();
        }
        disk.perform(&write(0, &[b"abc"])).unwrap();
        assert_eq!(read(&disk, FILE, 0, 3), bytes(b"abc"));
        assert!(disk.table().len() <= MAX_OPEN);
    }

    #[test]
    fn errors_keep_their_number_and_a_full_disk_its_name() {
        let full = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
        assert_eq!(classify(Some(FILE), &full), DiskError::NoSpace(FILE));
        let io = io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error());
        assert_eq!(classify(Some(FILE), &io), DiskError::Io(Some(FILE), 5));
        assert_eq!(classify(None, &io::ErrorKind::WriteZero.into()), DiskError::Io(None, 0));
    }

    #[test]
    fn a_new_directory_is_made_with_its_parents() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        let disk = Disk::open(&deep).unwrap();
        assert_eq!(disk.perform(&DiskOp::List), Ok(DiskReply::Files(Vec::new())));
    }

    #[test]
    fn a_file_in_place_of_the_directory_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let text = Disk::open(&file).unwrap_err().to_string();
        assert!(text.contains(file.to_str().unwrap()), "{text}");
    }
}
