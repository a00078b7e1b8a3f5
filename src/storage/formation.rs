//! Formation: an unformed directory becomes a member's.

use alloc::collections::VecDeque;

use super::block::Owner;
use super::identity::{CopyOf, Stored};
use super::segments::{Segments, Spare};
use super::steps::Steps;
use super::upkeep;
use super::vote::{VOTE_LEN, VoteRecord, VoteSlots};
use super::writer::{LogEnd, LogWriter};
use super::{ClusterId, DiskError, DiskJob, DiskOp, DiskResult, FileName, Identity, Settings};
use crate::raft::Recovered;

/// The number of the first spare.
const FIRST_SPARE: u64 = 1;

/// Job: writes the vote record, a spare, the first segment with the founding entries, and last the identity with the
/// cluster's id, each synced before the next. A crash before the identity leaves an unformed directory, whose next
/// formation goes over the remains; a crash after it, a member's.
#[derive(Debug)]
pub struct Formation {
    steps: Steps,
    finished: bool,
    identity: Identity,
    log: LogWriter,
}

impl Formation {
    /// Formation of `cluster` in the directory of `identity`, which [`Recovery`](super::Recovery) found unformed.
    /// `recovered` is [`Recovered::formed`]; or an empty log, if the node joins a cluster that is formed already; or an empty log
    /// after a snapshot whose file is there, durable.
    pub fn new(settings: Settings, identity: Identity, cluster: ClusterId, recovered: &Recovered) -> Self {
        let owner = Owner { cluster, node: identity.node, disk: identity.disk };
        let formed = Identity { cluster: Some(cluster), ..identity };
        let mut steps = Steps::default();
        let vote = VoteRecord { state: recovered.vote, generation: 1, synced: 0 };
        allocate(
            &mut steps,
            FileName::Temporary(0),
            VOTE_LEN,
            vote.writes(&owner, FileName::Temporary(0), 0),
        );
        steps.push(DiskOp::Rename { from: FileName::Temporary(0), to: FileName::Vote });
        let spare = Spare { number: FIRST_SPARE, len: settings.segment_len() };
        upkeep::new_spare(spare).into_iter().for_each(|op| steps.push(op));
        let mut log = LogWriter::new(&settings, owner, identity.boots, nothing());
        let first = log.found(recovered, spare);
        let first = DiskOp::WriteAt { file: FileName::Temporary(0), offset: 0, data: first };
        allocate(&mut steps, FileName::Temporary(0), settings.segment_len(), [first]);
        steps.push(DiskOp::Rename { from: FileName::Temporary(0), to: FileName::Segment(1) });
        steps.push(DiskOp::SyncDirectory);
        // The generation of an unformed directory's identity is its boot count: each recovery writes it once.
        let mut stored = Stored { identity, generation: identity.boots, sound: CopyOf::First };
        stored.replace(formed).into_iter().for_each(|op| steps.push(op));
        Self { steps, finished: false, identity: formed, log }
    }

    /// The outcome, when the job is done.
    pub fn take(self) -> Result<(Identity, LogWriter), DiskError> {
        self.steps.outcome()?;
        if self.finished { Ok((self.identity, self.log)) } else { Err(DiskError::Io(None, 0)) }
    }
}

/// Plans a file of `len` bytes with `writes` in it, synced.
fn allocate(steps: &mut Steps, file: FileName, len: u64, writes: impl IntoIterator<Item = DiskOp>) {
    steps.push(DiskOp::Create { file });
    steps.push(DiskOp::Zero { file, offset: 0, len });
    writes.into_iter().for_each(|op| steps.push(op));
    steps.push(DiskOp::Sync { file });
}

/// The end of a log that has no segment yet.
fn nothing() -> LogEnd {
    LogEnd {
        sequence: 0,
        marked: true,
        last_index: 0,
        segments: Segments::default(),
        spares: VecDeque::new(),
        next_spare: FIRST_SPARE,
        snapshot: None,
        votes: VoteSlots::new(1, 0),
    }
}

impl DiskJob for Formation {
    fn next(&mut self, last: Option<DiskResult>) -> Option<DiskOp> {
        let next = self.steps.next(last);
        self.finished = next.is_none();
        next
    }
}
