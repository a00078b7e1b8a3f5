//! Any messages, in any order, into one core whose embedder keeps its side of the contract.

use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::string::String;
use std::vec::Vec;

use bytes::Bytes;

use super::Source;
use crate::raft::{
    Action, Actions, Change, Config, Configuration, DiskId, Entries, Entry, EntryKind, Event, Fault, LogId,
    LogIndex, Member, MemberChange, Message, NodeId, PersistId, ProposalId, QueryId, Raft, ReadId, Recovered,
    SnapshotId, SnapshotMeta, SnapshotProgress, Stamp, Status, TransferId,
};
use crate::time::Now;

/// The core under test.
const SELF: NodeId = NodeId(1);

/// Steps one core of three with events made from `data`.
///
/// # Panics
/// When the core panics, breaks an invariant, takes a peer's word for a defect of its own, acts after it has halted, skips
/// or repeats an entry, or answers a request not exactly once.
pub fn core_messages(data: &[u8]) {
    let mut bench = Bench::new();
    let mut source = Source(data);
    while !bench.halted {
        let Some(event) = bench.event(&mut source) else { return };
        bench.step(event);
    }
}

struct Bench {
    raft: Raft,
    now: Now,
    /// As an entry holds it.
    configuration: Bytes,
    members: Configuration,
    unpersisted: VecDeque<PersistId>,
    unwritten: VecDeque<(SnapshotId, u64)>,
    installing: VecDeque<SnapshotMeta>,
    last_persist: PersistId,
    applied: LogIndex,
    last_request: u64,
    reads: BTreeSet<ReadId>,
    transfers: BTreeSet<TransferId>,
    halted: bool,
}

impl Bench {
    fn new() -> Self {
        let member = |id: u64| Member {
            disk: DiskId(id.into()),
            peer_address: String::new(),
            client_address: String::new(),
        };
        let members: BTreeMap<_, _> = (1..=3).map(|id| (NodeId(id), member(id))).collect();
        let members = Configuration::of_voters(members);
        let recovered = Recovered::formed(DiskId(1), &members);
        // Limits that a few events reach.
        let config = Config {
            max_entry_bytes: 64,
            max_append_bytes: 128,
            max_inflight_appends: 3,
            max_inflight_bytes: 256,
            max_uncommitted_bytes: 512,
            max_pending_reads: 3,
            snapshot_chunk_bytes: 16,
            trailing_bytes: 64,
            ..Config::new(SELF, 1)
        };
        let configuration = recovered.entries.first().map(|entry| entry.data.clone()).unwrap_or_default();
        let now = Now::new(0, 1_700_000_000_000);
        let raft = Raft::new(config, recovered, now).expect("the settings are valid");
        Self {
            raft,
            now,
            configuration,
            members,
            unpersisted: VecDeque::new(),
            unwritten: VecDeque::new(),
            installing: VecDeque::new(),
            last_persist: 0,
            applied: 0,
            last_request: 0,
            reads: BTreeSet::new(),
            transfers: BTreeSet::new(),
            halted: false,
        }
    }

    fn event(&mut self, source: &mut Source<'_>) -> Option<Event> {
        let status = self.raft.status();
        Some(match source.byte()? % 18 {
            0..7 => {
                let from = NodeId(u64::from(source.byte()? % 5));
                Event::Receive { from, message: self.message(source, &status)? }
            }
            7 => {
                self.last_request += 1;
                let data = Bytes::copy_from_slice(source.bytes(80)?);
                Event::Propose { proposal: self.last_request, data }
            }
            8 => {
                self.last_request += 1;
                self.reads.insert(self.last_request);
                Event::Read { read: self.last_request }
            }
            9 | 10 => {
                let id = self.unpersisted.pop_front().unwrap_or(self.last_persist);
                Event::Persisted { id }
            }
            11 => Event::Snapshotted { snapshot: Box::new(self.own_snapshot(source, &status)?) },
            12 => match self.unwritten.pop_front() {
                Some((snapshot, written)) => Event::SnapshotChunkWritten { snapshot, written },
                None => Event::Contact { peer: NodeId(2) },
            },
            13 => match (self.installing.pop_front(), source.byte()? % 4) {
                (Some(snapshot), 0) => Event::SnapshotFailed { snapshot: snapshot.id },
                (Some(snapshot), _) => Event::SnapshotInstalled { snapshot: snapshot.id },
                (None, peer) => Event::Unreachable { peer: NodeId(peer.into()) },
            },
            16 => {
                self.last_request += 1;
                Event::Reconfigure { proposal: self.last_request, change: self.change(source)? }
            }
            17 => {
                self.last_request += 1;
                self.transfers.insert(self.last_request);
                let to = Some(NodeId(u64::from(source.byte()? % 6))).filter(|id| id.0 < 5);
                Event::Transfer { transfer: self.last_request, to }
            }
            _ => {
                self.now.mono += u64::from(source.byte()?) * 5_000;
                self.now.wall += u64::from(source.byte()?);
                Event::Wake
            }
        })
    }

    fn message(&self, source: &mut Source<'_>, status: &Status) -> Option<Message> {
        let kind = source.byte()? % 14;
        let term = source.near(status.term)?;
        Some(match kind {
            0 => Message::PreVote { term, last: source.position(status.last.term, status.last.index)? },
            1 => Message::PreVoteReply { term, granted: source.byte()? % 2 == 0 },
            2 => {
                let last = source.position(status.last.term, status.last.index)?;
                Message::Vote { term, last, transfer: source.byte()? % 4 == 0 }
            }
            3 => Message::VoteReply {
                term,
                granted: source.byte()? % 2 == 0,
                wall: source.near(self.now.wall)?,
            },
            4 => {
                let previous = source.position(status.last.term, status.last.index)?;
                let entries = self.entries(source, previous)?;
                Message::Append { term, previous, entries, commit: source.near(status.last.index)? }
            }
            5 => Message::AppendAccepted { term, matched: source.near(status.last.index)? },
            6 => {
                let probed = source.near(status.last.index)?;
                Message::AppendRejected { term, probed, hint: source.position(status.term, probed)? }
            }
            7 => Message::Heartbeat { term, round: source.near(2)?, commit: source.near(status.last.index)? },
            8 => Message::HeartbeatReply { term, round: source.near(2)?, wall: source.near(self.now.wall)? },
            9 => {
                let snapshot = Box::new(self.snapshot(source, status)?);
                let offset = source.near(0)?;
                let data = Bytes::copy_from_slice(source.bytes(16)?);
                Message::SnapshotChunk { term, snapshot, offset, data }
            }
            10 => Message::TimeoutNow { term },
            11 => Message::ReadIndex { term, query: self.query(source)? },
            12 => {
                let query = self.query(source)?;
                Message::ReadIndexReply { term, query, index: source.near(status.last.index)? }
            }
            _ => {
                let snapshot = self.snapshot(source, status)?.id;
                let progress = match source.byte()? % 3 {
                    0 => SnapshotProgress::Written(source.near(0)?),
                    1 => SnapshotProgress::Installed(source.near(status.last.index)?),
                    _ => SnapshotProgress::Corrupt,
                };
                Message::SnapshotReply { term, snapshot, progress }
            }
        })
    }

    fn query(&self, source: &mut Source<'_>) -> Option<QueryId> {
        Some(QueryId { life: u64::from(source.byte()? % 2), number: source.near(1)? })
    }

    fn change(&self, source: &mut Source<'_>) -> Option<Change> {
        let choice = source.byte()?;
        let mut steps = Vec::new();
        for _ in 0..choice % 4 {
            let kind = source.byte()?;
            let id = NodeId(u64::from(kind / 5 % 6));
            let address = || std::format!("h:{kind}");
            let disk = DiskId(u128::from(kind / 30));
            steps.push(match kind % 5 {
                0 => {
                    let member = Member { disk, peer_address: address(), client_address: address() };
                    MemberChange::AddLearner { id, member }
                }
                1 => MemberChange::Promote(id),
                2 => MemberChange::Demote(id),
                3 => MemberChange::Remove(id),
                _ => MemberChange::Readdress { id, peer_address: address(), client_address: address() },
            });
        }
        Some(Change { steps, auto_leave: choice & 4 == 0, force: choice & 8 == 0 })
    }

    fn entries(&self, source: &mut Source<'_>, previous: LogId) -> Option<Entries> {
        let mut entries = Vec::new();
        let mut term = previous.term;
        for i in 0..u64::from(source.byte()? % 5) {
            let choice = source.byte()?;
            // A term that rises now and then, and sometimes one that falls, which no honest leader sends.
            term = if choice >= 250 {
                source.near(term)?
            } else {
                term.saturating_add(u64::from(choice % 8 == 0))
            };
            let (kind, data) = match choice / 8 % 8 {
                0 => (EntryKind::NoOp, Bytes::new()),
                1 => (EntryKind::Configuration, self.configuration.clone()),
                2 => (EntryKind::Configuration, Bytes::copy_from_slice(source.bytes(32)?)),
                _ => (EntryKind::Command, Bytes::copy_from_slice(source.bytes(16)?)),
            };
            let stamp = Stamp { unix_ms: u64::from(choice), cluster_ms: i };
            let index = previous.index.saturating_add(1).saturating_add(i);
            entries.push(Entry { id: LogId::new(term, index), kind, stamp, data });
        }
        Some(entries.into())
    }

    fn snapshot(&self, source: &mut Source<'_>, status: &Status) -> Option<SnapshotMeta> {
        let last = source.position(status.term, status.commit.saturating_add(4))?;
        let choice = source.byte()?;
        let configuration = if choice % 8 == 0 { Configuration::default() } else { self.members.clone() };
        let id = SnapshotId { last, checksum: u64::from(choice % 2) };
        Some(SnapshotMeta { id, len: source.near(8)?, stamp: Stamp::default(), configuration })
    }

    /// The embedder's own snapshot: at an applied index, as the contract asks; else the current one again.
    fn own_snapshot(&self, source: &mut Source<'_>, status: &Status) -> Option<SnapshotMeta> {
        let back = u64::from(source.byte()? % 8);
        let point = self
            .raft
            .snapshot_point(self.applied.saturating_sub(back))
            .or_else(|| self.raft.snapshot_point(status.applied))?;
        let id = SnapshotId { last: point.last, checksum: 7 };
        Some(SnapshotMeta { id, len: 20, stamp: point.stamp, configuration: point.configuration })
    }

    fn step(&mut self, event: Event) {
        let proposal = match &event {
            Event::Propose { proposal, .. } | Event::Reconfigure { proposal, .. } => Some(*proposal),
            _ => None,
        };
        let actions = self.raft.step(self.now, event);
        let answers = actions.iter().filter(|action| is_answer(action, proposal)).count();
        assert_eq!(answers, usize::from(proposal.is_some()), "a proposal is answered once, in its step");
        self.perform(actions);
        if let Err(fault) = self.raft.check_invariants() {
            panic!("{fault}");
        }
    }

    fn perform(&mut self, actions: Actions) {
        for action in actions {
            assert!(!self.halted, "nothing follows a halt: {action:?}");
            match action {
                Action::Persist(persist) => {
                    assert!(persist.id > self.last_persist, "ids grow");
                    self.last_persist = persist.id;
                    self.unpersisted.push_back(persist.id);
                }
                Action::Send { to, .. } | Action::SendSnapshotChunk { to, .. } => {
                    assert_ne!(to, SELF, "a core does not talk to itself");
                }
                Action::Apply(entries) => {
                    for entry in entries.iter() {
                        assert_eq!(entry.id.index, self.applied + 1, "no gap and no repetition");
                        self.applied = entry.id.index;
                    }
                }
                Action::ReadReady { read, .. } | Action::ReadAborted { read, .. } => {
                    assert!(self.reads.remove(&read), "a read is answered once");
                }
                Action::WriteSnapshotChunk { snapshot, offset, data } => {
                    self.unwritten.push_back((snapshot.id, offset + data.len() as u64));
                }
                Action::InstallSnapshot { snapshot } => self.installing.push_back(*snapshot),
                Action::SwitchSnapshot { snapshot } => {
                    assert!(snapshot.id.last.index > self.applied, "the state does not go back");
                    self.applied = snapshot.id.last.index;
                }
                Action::DropSnapshot { snapshot } => {
                    self.unwritten.retain(|(id, _)| *id != snapshot);
                    self.installing.retain(|meta| meta.id != snapshot);
                }
                Action::Discard(_) => {}
                Action::Halt(fault) => {
                    assert!(!matches!(fault, Fault::Contract(_) | Fault::Invariant(_)), "{fault}");
                    self.halted = true;
                }
                Action::TransferEnded { transfer, .. } => {
                    assert!(self.transfers.remove(&transfer), "a transfer ends once");
                }
                Action::Proposed { .. }
                | Action::ProposalRefused { .. }
                | Action::RoleChanged(_)
                | Action::WakeAt(_) => {}
            }
        }
    }
}

fn is_answer(action: &Action, to: Option<ProposalId>) -> bool {
    match action {
        Action::Proposed { proposal, .. } | Action::ProposalRefused { proposal, .. } => Some(*proposal) == to,
        _ => false,
    }
}
