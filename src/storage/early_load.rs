//! Loading a snapshot before the log says which one.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::{DiskJob, DiskOp, DiskReply, DiskResult, FileName, Identity, LoadSnapshot};
use crate::raft::SnapshotMeta;
use crate::replica::Restorer;

/// Job: builds the state of the newest snapshot that lies in the directory, which hardly ever is another one than the log
/// names. It can so run beside the [`Recovery`](super::Recovery) that reads the log, and is worth nothing without that one's
/// verdict. It writes nothing, and has no errors: what it could not load is loaded again by name, and that one tells.
pub struct EarlyLoad<R: Restorer> {
    phase: Phase<R>,
}

enum Phase<R: Restorer> {
    List(R),
    Load { file: FileName, load: Box<LoadSnapshot<R>> },
    Nothing,
}

impl<R: Restorer> fmt::Debug for EarlyLoad<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EarlyLoad").finish_non_exhaustive()
    }
}

impl<R: Restorer> EarlyLoad<R> {
    /// Fills `restorer` from whatever snapshot is the newest.
    pub fn new(restorer: R) -> Self {
        Self { phase: Phase::List(restorer) }
    }

    /// The state, when the job is done, if it is that of `snapshot` and was in its file.
    pub fn take(self, identity: &Identity, snapshot: &SnapshotMeta) -> Option<R::State> {
        let Phase::Load { file, load } = self.phase else { return None };
        let (cluster, found, state) = load.take_found()?;
        let same = file == FileName::snapshot(snapshot.id.last)
            && Some(cluster) == identity.cluster
            && found == *snapshot;
        same.then_some(state)
    }

    /// The newest snapshot among these.
    fn open(files: Vec<(FileName, u64)>, restorer: R) -> Phase<R> {
        let snapshots = files.into_iter().filter(|(file, _)| matches!(file, FileName::Snapshot { .. }));
        match snapshots.max() {
            Some((file, len)) => Phase::Load { file, load: Box::new(LoadSnapshot::any(file, len, restorer)) },
            None => Phase::Nothing,
        }
    }
}

impl<R: Restorer> DiskJob for EarlyLoad<R> {
    fn next(&mut self, last: Option<DiskResult>) -> Option<DiskOp> {
        let Some(result) = last else { return Some(DiskOp::List) };
        if let Phase::Load { load, .. } = &mut self.phase {
            return load.next(Some(result));
        }
        let Phase::List(restorer) = core::mem::replace(&mut self.phase, Phase::Nothing) else { return None };
        let Ok(DiskReply::Files(files)) = result else { return None };
        self.phase = Self::open(files, restorer);
        match &mut self.phase {
            Phase::Load { load, .. } => load.next(None),
            Phase::List(_) | Phase::Nothing => None,
        }
    }
}
