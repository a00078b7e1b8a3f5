//! Recovery: what a data directory holds, judged; and its mending where a crash left it.
//!
//! Two jobs, so that all is read and judged before anything is written, the state of the snapshot included, which is loaded
//! between them: a refusal leaves the directory as it was.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use super::block::Owner;
use super::identity::{CopyOf, IDENTITY_LEN, Stored};
use super::log_reader::{LogReader, ReadLog};
use super::repair::Repair;
use super::segments::Spare;
use super::steps::Steps;
use super::vote::{VoteReader, VoteRecord, VoteSlots};
use super::writer::LogEnd;
use super::{
    DiskError, DiskJob, DiskOp, DiskReply, DiskResult, FileName, Identity, LogWriter, OpenError, Settings,
};
use crate::raft::{DiskId, NodeId, Recovered, SnapshotMeta};

/// What a data directory turned out to be.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of it in the life of a process")]
pub enum Opened {
    /// It belongs to no cluster yet.
    Unformed(Identity),
    /// It is a member's. Nothing of it was written.
    Formed {
        /// Whose, from its mending on.
        identity: Identity,
        /// What the core starts from. The state of its snapshot is to be loaded first.
        recovered: Recovered,
        /// Is to be run then, and yields the log.
        mend: Mend,
        /// What a person should know of: cuts, copies that were unreadable.
        notes: Vec<String>,
    },
}

#[derive(Debug)]
enum Phase {
    Start,
    Listed,
    Identity,
    Create(Steps, Identity),
    Boot(Repair, Identity),
    Vote { owner: Owner, reader: VoteReader, offset: u64, asked: u64 },
    Log { owner: Owner, vote: VoteRecord, slot: u64, reader: Box<LogReader> },
    Done(Box<Result<Opened, OpenError>>),
}

/// Job: reads a data directory and judges it. Memory is bounded by the log and one record.
///
/// It writes only to a directory that belongs to no cluster yet: an empty one gets an identity, another one's boot is counted.
/// The caller holds the directory's lock (STORAGE row 17).
#[derive(Debug)]
pub struct Recovery {
    settings: Settings,
    /// It only looks, at whoever's directory this is.
    inspects: bool,
    phase: Phase,
    files: Vec<(FileName, u64)>,
    stored: Option<Stored>,
    notes: Vec<String>,
}

type Next = Result<(Phase, Option<DiskOp>), OpenError>;

impl Recovery {
    /// Recovery of the directory that `settings` are for.
    pub fn new(settings: Settings) -> Self {
        let (files, notes) = (Vec::new(), Vec::new());
        Self { settings, inspects: false, phase: Phase::Start, files, stored: None, notes }
    }

    /// A look at the directory of any node, for whom it will not run. It writes nothing whatever it finds, and a directory that
    /// belongs to no cluster is a [refusal](OpenError::Unformed).
    pub fn inspecting() -> Self {
        // Nothing of this is used for a directory that is not written to: the mending that comes with it is not to be run.
        let settings =
            Settings { node: NodeId(0), fresh_disk: DiskId(0), segment_bytes: 0, max_record_bytes: 0 };
        Self { inspects: true, ..Self::new(settings) }
    }

    /// The outcome, when the job is done.
    pub fn take(self) -> Result<Opened, OpenError> {
        match self.phase {
            Phase::Done(outcome) => *outcome,
            _ => Err(OpenError::Unfinished),
        }
    }

    fn advance(&mut self, phase: Phase, last: Option<DiskResult>) -> Next {
        match phase {
            Phase::Start => Ok((Phase::Listed, Some(DiskOp::List))),
            Phase::Listed => self.listed(reply(last)?),
            Phase::Identity => self.identity(&bytes(last, FileName::Identity)?),
            Phase::Create(mut steps, identity) => match steps.next(last) {
                Some(op) => Ok((Phase::Create(steps, identity), Some(op))),
                None => steps.outcome().map_err(OpenError::Disk).map(|()| done(Opened::Unformed(identity))),
            },
            Phase::Boot(mut repair, identity) => match repair.next(last)? {
                Some(op) => Ok((Phase::Boot(repair, identity), Some(op))),
                None => Ok(done(Opened::Unformed(identity))),
            },
            Phase::Vote { owner, reader, offset, asked } => {
                self.vote(owner, reader, offset, asked, &bytes(last, FileName::Vote)?)
            }
            Phase::Log { owner, vote, slot, reader } => {
                let read = last.map(|last| bytes(Some(last), FileName::Segment(0))).transpose()?;
                self.log(owner, vote, slot, reader, read)
            }
            Phase::Done(outcome) => Ok((Phase::Done(outcome), None)),
        }
    }

    fn listed(&mut self, reply: DiskReply) -> Next {
        let DiskReply::Files(files) = reply else { return Err(DiskError::Io(None, 0).into()) };
        self.files = files;
        self.files.sort_unstable();
        if let Some(&(file, len)) = self.files.iter().find(|f| f.0 == FileName::Identity) {
            let len = len.min(IDENTITY_LEN);
            return Ok((Phase::Identity, Some(DiskOp::ReadAt { file, offset: 0, len })));
        }
        // An unfinished identity leaves nothing but its temporary file. A log without an identity is another matter.
        if self.files.iter().any(|f| !matches!(f.0, FileName::Temporary(_))) {
            return Err(OpenError::IdentityLost);
        }
        if self.inspects {
            return Err(OpenError::Unformed);
        }
        let identity =
            Identity { node: self.settings.node, disk: self.settings.fresh_disk, cluster: None, boots: 1 };
        let file = FileName::Temporary(0);
        let [first, second] = Stored { identity, generation: 1, sound: CopyOf::First }.writes(file);
        let create = [
            DiskOp::Create { file },
            first,
            second,
            DiskOp::Sync { file },
            DiskOp::Rename { from: file, to: FileName::Identity },
            DiskOp::SyncDirectory,
        ];
        self.advance(Phase::Create(create.into_iter().collect(), identity), None)
    }

    fn identity(&mut self, file: &Bytes) -> Next {
        let mut stored = Stored::read(file, &mut self.notes)?;
        let identity = stored.identity;
        if identity.node != self.settings.node && !self.inspects {
            let (found, expected) = (identity.node, self.settings.node);
            return Err(OpenError::WrongNode { file: FileName::Identity, found, expected });
        }
        if let Some(owner) = identity.owner() {
            self.stored = Some(stored);
            let Some(&(_, len)) = self.files.iter().find(|f| f.0 == FileName::Vote) else {
                return Err(OpenError::VoteLost);
            };
            return Ok(read_vote(owner, VoteReader::default(), 0, len));
        }
        // A formation that was interrupted left at most a vote record, the first segment and a spare, and goes over them
        // again. Anything else means that this is an old copy of the identity of a member.
        let formed = self.files.iter().any(|f| match f.0 {
            FileName::Segment(number) => number > 1,
            FileName::Snapshot { .. } | FileName::Incoming { .. } | FileName::Cut { .. } => true,
            FileName::Identity | FileName::Vote | FileName::Spare(_) | FileName::Temporary(_) => false,
        });
        if formed {
            return Err(OpenError::IdentityLost);
        }
        if self.inspects {
            return Err(OpenError::Unformed);
        }
        let mut repair = Repair::default();
        repair.count_boot(&mut stored);
        self.advance(Phase::Boot(repair, stored.identity), None)
    }

    fn vote(&mut self, owner: Owner, mut reader: VoteReader, offset: u64, asked: u64, piece: &Bytes) -> Next {
        if piece.len() as u64 != asked {
            return Err(DiskError::Io(Some(FileName::Vote), 0).into());
        }
        reader.push(&owner, offset, piece)?;
        let len = self.files.iter().find(|f| f.0 == FileName::Vote).map_or(0, |f| f.1);
        let offset = offset.saturating_add(asked);
        if asked > 0 && offset < len {
            return Ok(read_vote(owner, reader, offset, len));
        }
        let (vote, slot) = reader.finish(&mut self.notes)?;
        let segments = self.files.iter().filter_map(|&(file, len)| match file {
            FileName::Segment(number) => Some((number, len)),
            _ => None,
        });
        let boots = self.stored.map_or(0, |s| s.identity.boots);
        let reader = LogReader::new(owner, boots, vote.generation, vote.synced, segments.collect());
        self.log(owner, vote, slot, Box::new(reader), None)
    }

    fn log(
        &mut self,
        owner: Owner,
        vote: VoteRecord,
        slot: u64,
        mut reader: Box<LogReader>,
        read: Option<Bytes>,
    ) -> Next {
        match reader.next(read)? {
            Some(op) => Ok((Phase::Log { owner, vote, slot, reader }, Some(op))),
            None => self.judged(owner, vote, slot, reader.finish()?),
        }
    }

    /// The directory is sound: plans its mending and what it yields.
    fn judged(&mut self, owner: Owner, vote: VoteRecord, slot: u64, log: ReadLog) -> Next {
        let Some(mut stored) = self.stored else { return Err(OpenError::IdentityLost) };
        let snapshot = log.replay.snapshot().map(|s| self.check_snapshot(s)).transpose()?;
        let mut repair = Repair::default();
        repair.count_boot(&mut stored);
        repair.cut(&log, &self.files, &mut self.notes);
        repair.rewrite(&log);
        let mut votes = VoteSlots::new(vote.generation, slot);
        let (generation, slot) = votes.plan();
        votes.done(generation);
        // The log is synced before the vote is written, so the vote can vouch for all of it.
        let vote = VoteRecord { generation, synced: log.sequence, ..vote };
        repair.vote(&owner, &vote, slot);
        repair.clean(&self.files, snapshot, self.settings.segment_len());

        let last_index = log.replay.next_index().saturating_sub(1);
        let (snapshot, entries, commit) = log.replay.finish().map_err(|gap| OpenError::Gap {
            file: FileName::Segment(log.oldest),
            offset: 0,
            expected: gap.expected,
            found: gap.found,
        })?;
        let end = LogEnd {
            sequence: log.sequence,
            marked: log.marked,
            last_index,
            segments: log.segments,
            spares: self.spares().filter(|s| s.len == self.settings.segment_len()).collect(),
            next_spare: self.spares().map(|s| s.number).max().unwrap_or(0).saturating_add(1),
            snapshot: snapshot.clone(),
            votes,
        };
        let log = LogWriter::new(&self.settings, owner, stored.identity.boots, end);
        let mend = Mend { repair, log: Box::new(log), outcome: None };
        let (disk, life) = (stored.identity.disk, stored.identity.boots);
        let recovered = Recovered { disk, vote: vote.state, snapshot, entries, commit, life };
        let notes = mem::take(&mut self.notes);
        Ok(done(Opened::Formed { identity: stored.identity, recovered, mend, notes }))
    }

    fn spares(&self) -> impl Iterator<Item = Spare> {
        self.files.iter().filter_map(|&(file, len)| match file {
            FileName::Spare(number) => Some(Spare { number, len }),
            _ => None,
        })
    }

    /// The snapshot that the log names is there. Its bytes are judged when it is loaded.
    fn check_snapshot(&self, snapshot: &SnapshotMeta) -> Result<FileName, OpenError> {
        let file = FileName::snapshot(snapshot.id.last);
        let found = self.files.iter().find(|f| f.0 == file).map(|f| f.1);
        if found == Some(snapshot.len) {
            Ok(file)
        } else {
            Err(OpenError::SnapshotLost { file, found, expected: snapshot.len })
        }
    }
}

fn done(opened: Opened) -> (Phase, Option<DiskOp>) {
    (Phase::Done(Box::new(Ok(opened))), None)
}

fn read_vote(owner: Owner, reader: VoteReader, offset: u64, len: u64) -> (Phase, Option<DiskOp>) {
    let asked = len.saturating_sub(offset).min(VoteReader::PIECE);
    let op = DiskOp::ReadAt { file: FileName::Vote, offset, len: asked };
    (Phase::Vote { owner, reader, offset, asked }, Some(op))
}

fn reply(last: Option<DiskResult>) -> Result<DiskReply, OpenError> {
    Ok(last.unwrap_or(Err(DiskError::Io(None, 0)))?)
}

fn bytes(last: Option<DiskResult>, file: FileName) -> Result<Bytes, OpenError> {
    match reply(last)? {
        DiskReply::Bytes(bytes) => Ok(bytes),
        DiskReply::Done | DiskReply::Files(_) => Err(DiskError::Io(Some(file), 0).into()),
    }
}

impl DiskJob for Recovery {
    fn next(&mut self, last: Option<DiskResult>) -> Option<DiskOp> {
        let phase = mem::replace(&mut self.phase, Phase::Start);
        match self.advance(phase, last) {
            Ok((phase, op)) => {
                self.phase = phase;
                op
            }
            Err(error) => {
                self.phase = Phase::Done(Box::new(Err(error)));
                None
            }
        }
    }
}

/// Job: counts the boot of a member's directory that [`Recovery`] has judged, and mends what the end of its last life left. It
/// may be cut anywhere and begun again by the next recovery.
#[derive(Debug)]
pub struct Mend {
    repair: Repair,
    log: Box<LogWriter>,
    outcome: Option<Result<(), DiskError>>,
}

impl Mend {
    /// The log, which goes on where it ends, when the job is done.
    pub fn take(self) -> Result<LogWriter, DiskError> {
        self.outcome.unwrap_or(Err(DiskError::Io(None, 0))).map(|()| *self.log)
    }
}

impl DiskJob for Mend {
    fn next(&mut self, last: Option<DiskResult>) -> Option<DiskOp> {
        if self.outcome.is_some() {
            return None;
        }
        match self.repair.next(last) {
            Ok(Some(op)) => Some(op),
            Ok(None) => {
                self.outcome = Some(Ok(()));
                None
            }
            Err(error) => {
                self.outcome = Some(Err(error));
                None
            }
        }
    }
}
