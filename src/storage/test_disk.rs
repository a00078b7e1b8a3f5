//! A disk in memory that keeps synced and unsynced bytes apart, for tests.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{DiskError, DiskJob, DiskOp, DiskReply, DiskResult, FileName};
#[cfg(test)]
use crate::rng::Rng;

#[derive(Debug, Clone, Default)]
struct Inode {
    /// What a read yields.
    cached: Vec<u8>,
    /// What a power failure leaves for certain.
    durable: Vec<u8>,
    /// Writes since the last sync.
    writes: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Clone, Copy)]
enum Name {
    Link(FileName, usize),
    Rename(FileName, FileName, usize),
    Remove(FileName),
}

/// A directory on a disk that tells the truth about nothing but what was synced.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestDisk {
    inodes: Vec<Inode>,
    names: BTreeMap<FileName, usize>,
    durable_names: BTreeMap<FileName, usize>,
    changes: Vec<Name>,
    /// The next syncs fail, and what they should have synced is lost with the memory.
    pub(crate) fail_syncs: bool,
    /// Zeroing fails for want of space.
    pub(crate) full: bool,
    /// Reads of this file fail.
    pub(crate) unreadable: Option<FileName>,
    /// Operations performed.
    pub(crate) performed: usize,
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

fn apply(names: &mut BTreeMap<FileName, usize>, change: Name) {
    match change {
        Name::Link(name, inode) => {
            names.insert(name, inode);
        }
        Name::Rename(from, to, inode) => {
            if names.get(&from) == Some(&inode) {
                names.remove(&from);
            }
            names.insert(to, inode);
        }
        Name::Remove(name) => {
            names.remove(&name);
        }
    }
}

impl TestDisk {
    fn inode(&mut self, file: FileName) -> Result<&mut Inode, DiskError> {
        let inode = *self.names.get(&file).ok_or(DiskError::NotFound(file))?;
        Ok(&mut self.inodes[inode])
    }

    fn change(&mut self, change: Name) {
        apply(&mut self.names, change);
        self.changes.push(change);
    }

    fn write(&mut self, file: FileName, offset: u64, data: Vec<u8>) -> Result<(), DiskError> {
        let inode = self.inode(file)?;
        put(&mut inode.cached, offset as usize, &data);
        inode.writes.push((offset as usize, data));
        Ok(())
    }

    /// Performs one operation.
    pub(crate) fn perform(&mut self, op: DiskOp) -> DiskResult {
        self.performed += 1;
        match op {
            DiskOp::List => {
                let len = |inode: &usize| self.inodes[*inode].cached.len() as u64;
                return Ok(DiskReply::Files(self.names.iter().map(|(&n, i)| (n, len(i))).collect()));
            }
            DiskOp::ReadAt { file, .. } if self.unreadable == Some(file) => {
                return Err(DiskError::Io(Some(file), 5));
            }
            DiskOp::ReadAt { file, offset, len } => {
                let bytes = &self.inode(file)?.cached;
                let start = (offset as usize).min(bytes.len());
                let end = start.saturating_add(len as usize).min(bytes.len());
                return Ok(DiskReply::Bytes(Bytes::copy_from_slice(&bytes[start..end])));
            }
            DiskOp::Create { file } => {
                self.inodes.push(Inode::default());
                self.change(Name::Link(file, self.inodes.len() - 1));
            }
            DiskOp::WriteAt { file, offset, data } => self.write(file, offset, data.concat())?,
            DiskOp::Zero { file, .. } if self.full => return Err(DiskError::NoSpace(file)),
            DiskOp::Zero { file, offset, len } => self.write(file, offset, alloc::vec![0; len as usize])?,
            DiskOp::Sync { file } if self.fail_syncs => {
                self.inode(file)?.writes.clear();
                return Err(DiskError::Io(Some(file), 5));
            }
            DiskOp::Sync { file } => {
                let inode = self.inode(file)?;
                for (offset, data) in inode.writes.drain(..) {
                    put(&mut inode.durable, offset, &data);
                }
            }
            DiskOp::Rename { from, to } => {
                let inode = *self.names.get(&from).ok_or(DiskError::NotFound(from))?;
                self.change(Name::Rename(from, to, inode));
            }
            DiskOp::Remove { file } => {
                if self.names.contains_key(&file) {
                    self.change(Name::Remove(file));
                }
            }
            DiskOp::SyncDirectory => {
                self.durable_names = self.names.clone();
                self.changes.clear();
            }
        }
        Ok(DiskReply::Done)
    }

    /// The power fails: of what was not synced any subset of the changes survives, each torn anywhere.
    #[cfg(test)]
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        let mut names = self.durable_names.clone();
        for change in self.changes.drain(..) {
            if rng.chance(1, 2) {
                apply(&mut names, change);
            }
        }
        for inode in &mut self.inodes {
            let mut bytes = core::mem::take(&mut inode.durable);
            for (offset, data) in inode.writes.drain(..) {
                let len = data.len() as u64;
                let (from, to) = match rng.below(4) {
                    0 => (0, 0),
                    1 => (0, len),
                    2 => (0, rng.below(len + 1)),
                    _ => {
                        let from = rng.below(len + 1);
                        (from, from + rng.below(len - from + 1))
                    }
                };
                put(&mut bytes, offset + from as usize, &data[from as usize..to as usize]);
            }
            inode.cached = bytes.clone();
            inode.durable = bytes;
        }
        self.names = names.clone();
        self.durable_names = names;
    }

    /// The power fails and nothing survives but what was synced.
    #[cfg(test)]
    pub(crate) fn lose_unsynced(&mut self) {
        self.changes.clear();
        self.names = self.durable_names.clone();
        for inode in &mut self.inodes {
            inode.writes.clear();
            inode.cached = inode.durable.clone();
        }
    }

    /// Runs a job to its end, or until `fuel` operations are performed; whether it came to its end.
    pub(crate) fn run(&mut self, job: &mut impl DiskJob, fuel: &mut usize) -> bool {
        let mut last = None;
        while let Some(op) = job.next(last) {
            if *fuel == 0 {
                return false;
            }
            *fuel -= 1;
            last = Some(self.perform(op));
        }
        true
    }

    /// Runs a job to its end.
    pub(crate) fn finish<J: DiskJob>(&mut self, mut job: J) -> J {
        self.run(&mut job, &mut usize::MAX.clone());
        job
    }

    /// The names that are there.
    pub(crate) fn names(&self) -> impl Iterator<Item = FileName> {
        self.names.keys().copied()
    }

    /// A file's bytes, to be spoilt: durable and cached at once.
    pub(crate) fn spoil(&mut self, file: FileName, spoil: impl FnOnce(&mut Vec<u8>)) {
        if let Ok(inode) = self.inode(file) {
            spoil(&mut inode.cached);
            inode.durable = inode.cached.clone();
        }
    }

    /// A file's bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&mut self, file: FileName) -> Vec<u8> {
        self.inode(file).map(|inode| inode.cached.clone()).unwrap_or_default()
    }
}
