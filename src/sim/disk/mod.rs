//! A simulated disk with one data directory: it performs [`DiskOp`]s, and forgets what the contract lets it forget.
//!
//! Bytes are durable after a [`Sync`](DiskOp::Sync) of their file, names after a [`SyncDirectory`](DiskOp::SyncDirectory).
//! When the power fails ([`Disk::crash`]) any subset of the rest survives, torn at any byte; when only the process
//! dies ([`Disk::interrupt`]) everything stays, as it does in an operating system's cache.
//!
//! Beyond the contract a disk fails as its [`DiskWeather`] says, or where a scenario sets a [`DiskFault`]. Every fault has an
//! [`Expectation`]: what the node must then do. A disk never loses what nothing can tell from a tear (STORAGE row 3), for a
//! node that then goes on is not at fault.

mod astray;
mod contents;
mod counts;
mod directory;
mod fault;
mod strike;
#[cfg(test)]
mod tests;
mod weather;

pub use counts::Counts;
pub use fault::{DiskFault, Expectation, Wound};
pub use weather::{DiskWeather, Pace};

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::vec::Vec;

use bytes::Bytes;

use self::contents::Contents;
use self::directory::{Directory, Inode};
use crate::rng::Rng;
use crate::storage::{DiskError, DiskJob, DiskOp, DiskReply, DiskResult, FileName};
use crate::time::Micros;

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

/// A fault that is set to strike once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trap {
    /// An operation of the kind ends with EIO.
    Fails(OpKind),
    /// A write to the log never reaches the medium.
    Stale,
    /// A write to the log lands in another place.
    Misdirected,
}

/// One disk. A clone is an image of it, for going back in time.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    names: Directory,
    files: BTreeMap<Inode, Contents>,
    last_inode: Inode,
    /// What of the files was lost although it was synced.
    wounds: Vec<Wound>,
    /// Most bytes of all files together.
    capacity: Option<u64>,
    weather: DiskWeather,
    /// For each trap, how many more operations it lets pass.
    traps: BTreeMap<Trap, u64>,
    counts: Counts,
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

    /// Leaves so many bytes free.
    pub fn fill_up(&mut self, free: u64) {
        self.capacity = Some(self.used().saturating_add(free));
    }

    /// How often which fault befalls it from now on, and how slow it is.
    pub fn set_weather(&mut self, weather: DiskWeather) {
        self.weather = weather;
    }

    /// How often which fault befalls it, and how slow it is.
    pub fn weather(&self) -> &DiskWeather {
        &self.weather
    }

    /// What it did and what befell it so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Lets one operation of `kind` fail with EIO, after `skip` more that succeed.
    pub fn fail_after(&mut self, kind: OpKind, skip: u64) {
        self.traps.insert(Trap::Fails(kind), skip);
    }

    /// Takes down all traps: only the weather lets operations fail from now on.
    pub fn disarm(&mut self) {
        self.traps.clear();
    }

    /// Lets one write to the log be acknowledged and never reach the medium, after `skip` more that do.
    pub fn go_stale_after(&mut self, skip: u64) {
        self.traps.insert(Trap::Stale, skip);
    }

    /// Lets one write to the log land in another place, after `skip` more that do not.
    pub fn misdirect_after(&mut self, skip: u64) {
        self.traps.insert(Trap::Misdirected, skip);
    }

    /// Flips the bits of `mask` in one byte of the medium; nothing happens past the file's end.
    pub fn rot(&mut self, file: FileName, offset: u64, mask: u8) {
        if let Some(&byte) = self.read(file).and_then(|bytes| bytes.get(offset as usize)) {
            self.counts.rotten_bytes += 1;
            self.spoil(file, offset, &[byte ^ mask]);
        }
    }

    /// What a reader finds in `file`, if it is there.
    pub fn read(&self, file: FileName) -> Option<&[u8]> {
        Some(self.files.get(&self.names.find(file)?)?.seen())
    }

    /// All files with their lengths, ascending.
    pub fn list(&self) -> Vec<(FileName, u64)> {
        self.contents_by_name().map(|(name, contents)| (name, contents.seen().len() as u64)).collect()
    }

    /// Bytes of all files together.
    pub fn used(&self) -> u64 {
        self.contents_by_name().map(|(_, contents)| contents.seen().len() as u64).sum()
    }

    /// Whether nothing would be lost if the power failed now and every write were lost that can be.
    pub fn is_synced(&self, file: FileName) -> bool {
        self.names.find(file).and_then(|inode| self.files.get(&inode)).is_some_and(Contents::is_synced)
    }

    /// Whether some file reads as if it were whole although a failed sync left parts of it behind.
    pub fn has_cache_only(&self) -> bool {
        self.contents_by_name().any(|(_, contents)| contents.is_cache_only())
    }

    /// The disk as it is found after a power failure in which everything is lost that can be, and no fault to come.
    pub fn without_unsynced(&self) -> Self {
        let files = self.files.iter().map(|(&inode, contents)| (inode, contents.without_unsynced()));
        let (names, last_inode) = (self.names.without_unsynced(), self.last_inode);
        Self { names, files: files.collect(), last_inode, ..Self::new() }
    }

    /// Runs a job on what is found after a power failure in which everything is lost that can be. The disk itself does not
    /// change, and what the job only reads is not copied for it.
    pub fn run_on_durable(&self, job: &mut impl DiskJob) {
        let named = self.names.durable_names();
        let files: BTreeMap<FileName, Cow<'_, [u8]>> =
            named.filter_map(|(name, inode)| Some((name, self.files.get(&inode)?.durable_bytes()))).collect();
        let mut written: Option<Self> = None;
        let mut last = None;
        while let Some(op) = job.next(last.take()) {
            last = Some(match (&mut written, &op) {
                (None, DiskOp::List) => {
                    let lengths = files.iter().map(|(&name, bytes)| (name, bytes.len() as u64));
                    Ok(DiskReply::Files(lengths.collect()))
                }
                (None, DiskOp::ReadAt { file, offset, len }) => match files.get(file) {
                    Some(bytes) => Ok(DiskReply::Bytes(piece(bytes, *offset, *len))),
                    None => Err(DiskError::NotFound(*file)),
                },
                (written, op) => {
                    let disk = written.get_or_insert_with(|| self.without_unsynced());
                    disk.perform(op, &mut Rng::new(0))
                }
            });
        }
    }

    /// Everything on it is gone; the disk itself, with its weather and its counts, is the same.
    pub fn erase(&mut self) {
        self.restore(Self::new());
    }

    /// It holds what `image` held; the disk itself, with its weather and its counts, is the same.
    pub fn restore(&mut self, image: Self) {
        let Self { names, files, last_inode, wounds, .. } = image;
        (self.names, self.files, self.last_inode, self.wounds) = (names, files, last_inode, wounds);
    }

    /// How long the operation takes that is to be performed next; `None` for none.
    pub fn duration(&mut self, op: Option<&DiskOp>, rng: &mut Rng) -> Micros {
        let (takes, stalls) = self.weather.pace.draw(op, rng);
        self.counts.stalls += u64::from(stalls);
        takes
    }

    /// Performs one operation. `rng` decides whether it fails, and how much of a failing one reaches the medium.
    pub fn perform(&mut self, op: &DiskOp, rng: &mut Rng) -> DiskResult {
        let kind = OpKind::of(op);
        *self.counts.performed(kind) += 1;
        if self.fails(kind, rng) {
            *self.counts.failed(kind) += 1;
            return Err(self.fail(op, rng));
        }
        self.do_it(op, rng)
    }

    fn do_it(&mut self, op: &DiskOp, rng: &mut Rng) -> DiskResult {
        match op {
            DiskOp::List => return Ok(DiskReply::Files(self.list())),
            DiskOp::ReadAt { file, offset, len } => {
                let bytes = self.read(*file).ok_or(DiskError::NotFound(*file))?;
                return Ok(DiskReply::Bytes(piece(bytes, *offset, *len)));
            }
            DiskOp::Create { file } => match self.names.find(*file) {
                Some(_) => self.contents(*file)?.empty(),
                None => {
                    self.make(*file);
                }
            },
            DiskOp::WriteAt { file, offset, data } => self.write_or_stray(*file, *offset, data, rng)?,
            DiskOp::Zero { file, offset, len } => {
                if *len > MAX_FILE {
                    return Err(DiskError::NoSpace(*file));
                }
                self.write(*file, *offset, zeros(*len as usize))?;
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
        self.counts.interrupted += 1;
        self.do_in_part(op, rng);
    }

    fn do_in_part(&mut self, op: &DiskOp, rng: &mut Rng) {
        let part = |len: usize, rng: &mut Rng| rng.below(len as u64 + 1) as usize;
        // Whether it would have succeeded does not matter any more.
        let _ = match op {
            DiskOp::WriteAt { file, offset, data } => {
                let mut data = whole(data);
                data.truncate(part(data.len(), rng));
                self.write(*file, *offset, data)
            }
            DiskOp::Zero { file, offset, len } => {
                let len = part((*len).min(MAX_FILE) as usize, rng);
                self.write(*file, *offset, zeros(len))
            }
            DiskOp::Create { .. } | DiskOp::Rename { .. } | DiskOp::Remove { .. } if rng.chance(1, 2) => {
                self.do_it(op, rng).map(|_| ())
            }
            // A sync that is cut off has written some of what it was to write: that is what `crash` decides anyway.
            _ => Ok(()),
        };
    }

    /// The power fails: what is not synced survives or not, as `rng` decides, and what went astray shows.
    pub fn crash(&mut self, rng: &mut Rng) {
        self.counts.power_failures += 1;
        for contents in self.files.values_mut() {
            contents.crash(rng, &mut self.counts);
        }
        self.counts.lost_names += self.names.crash(rng);
        self.forget_nameless();
        self.show_astray();
    }

    /// Runs a job from its start to its end.
    pub fn run(&mut self, job: &mut impl DiskJob, rng: &mut Rng) {
        let mut last = None;
        while let Some(op) = job.next(last.take()) {
            last = Some(self.perform(&op, rng));
        }
    }

    fn fails(&mut self, kind: OpKind, rng: &mut Rng) -> bool {
        self.springs(Trap::Fails(kind), self.weather.failing(kind), rng)
    }

    /// Whether a fault strikes now: because a trap was set, or by chance, `share` times in a million.
    fn springs(&mut self, trap: Trap, share: u32, rng: &mut Rng) -> bool {
        if self.traps.is_empty() && share == 0 {
            return false;
        }
        match self.traps.get_mut(&trap) {
            Some(0) => return self.traps.remove(&trap).is_some(),
            Some(skip) => *skip -= 1,
            None => {}
        }
        share > 0 && rng.chance(u64::from(share), 1_000_000)
    }

    fn fail(&mut self, op: &DiskOp, rng: &mut Rng) -> DiskError {
        let file = match op {
            DiskOp::List | DiskOp::SyncDirectory => None,
            DiskOp::ReadAt { file, .. } | DiskOp::Create { file } | DiskOp::Remove { file } => Some(*file),
            DiskOp::Rename { from, .. } => Some(*from),
            DiskOp::WriteAt { file, .. } | DiskOp::Zero { file, .. } => {
                self.do_in_part(op, rng);
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

    fn write(&mut self, file: FileName, offset: u64, mut data: Bytes) -> Result<(), DiskError> {
        let room = self.room(file)?;
        let start = usize::try_from(offset).ok().filter(|&start| start as u64 <= MAX_FILE);
        let start = start.ok_or(DiskError::NoSpace(file))?;
        let fits = usize::try_from(room.saturating_sub(offset)).unwrap_or(usize::MAX);
        let short = data.len() > fits;
        data.truncate(fits);
        self.counts.full += u64::from(short);
        self.counts.short_writes += u64::from(short && fits > 0);
        // A short write has happened as far as it went.
        let contents = self.contents(file)?;
        if !data.is_empty() {
            contents.write(start, data);
        }
        if short { Err(DiskError::NoSpace(file)) } else { Ok(()) }
    }

    /// The greatest length that `file` may have.
    fn room(&mut self, file: FileName) -> Result<u64, DiskError> {
        let Some(capacity) = self.capacity else { return Ok(MAX_FILE) };
        let own = self.contents(file)?.seen().len() as u64;
        Ok(MAX_FILE.min(own + capacity.saturating_sub(self.used())))
    }

    fn contents(&mut self, file: FileName) -> Result<&mut Contents, DiskError> {
        let inode = self.names.find(file).ok_or(DiskError::NotFound(file))?;
        Ok(self.files.entry(inode).or_default())
    }

    fn contents_by_name(&self) -> impl Iterator<Item = (FileName, &Contents)> {
        self.names.names().filter_map(|(name, inode)| Some((name, self.files.get(&inode)?)))
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

/// What a read finds: fewer bytes than it asked for at the end of the file.
fn piece(bytes: &[u8], offset: u64, len: u64) -> Bytes {
    let start = bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
    let end = bytes.len().min(start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX)));
    Bytes::copy_from_slice(&bytes[start..end])
}

/// The pieces of a write as one.
fn whole(data: &[Bytes]) -> Bytes {
    match data {
        [only] => only.clone(),
        pieces => pieces.concat().into(),
    }
}

/// Zeros without memory of their own, unless they are very many.
fn zeros(len: usize) -> Bytes {
    static ZEROS: [u8; 1 << 17] = [0; 1 << 17];
    ZEROS.get(..len).map_or_else(|| std::vec![0; len].into(), Bytes::from_static)
}
