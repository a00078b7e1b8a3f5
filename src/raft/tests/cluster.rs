//! A cluster of cores in memory: a network that holds every message until it is told what to do with it, disks that are
//! durable when they are told to be, and the properties of figure 3 checked after every step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::format;
use std::string::String;
use std::vec::Vec;

use bytes::Bytes;

use super::super::*;
use super::text;
use crate::time::{Micros, Now};

/// What a write to the log stream leaves behind.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    name: DiskId,
    pub(super) vote: HardState,
    pub(super) snapshot: Option<SnapshotMeta>,
    pub(super) entries: Vec<Entry>,
    pub(super) commit: LogIndex,
    life: u64,
}

impl Disk {
    fn of(recovered: &Recovered) -> Self {
        Self {
            name: recovered.disk,
            vote: recovered.vote,
            snapshot: recovered.snapshot.clone(),
            entries: recovered.entries.to_vec(),
            commit: recovered.commit,
            life: 0,
        }
    }

    pub(super) fn recover(&mut self) -> Recovered {
        self.life += 1;
        Recovered {
            disk: self.name,
            life: self.life,
            vote: self.vote,
            snapshot: self.snapshot.clone(),
            entries: self.entries.iter().cloned().collect(),
            commit: self.commit,
        }
    }

    fn base(&self) -> LogIndex {
        self.snapshot.as_ref().map_or(0, |s| s.id.last.index)
    }

    fn write(&mut self, persist: &Persist) {
        if let Some(vote) = persist.vote {
            assert!(vote.term >= self.vote.term, "the term on disk falls");
            self.vote = vote;
        }
        if let Some(switch) = &persist.snapshot {
            let index = switch.snapshot.id.last.index;
            assert!(index > self.base(), "the snapshot on disk falls");
            self.entries.retain(|e| switch.keeps_suffix && e.id.index > index);
            self.snapshot = Some(switch.snapshot.clone());
        }
        if let Some(first) = persist.entries.first() {
            self.entries.retain(|e| e.id.index < first.id.index);
            let next = self.entries.last().map_or(self.base(), |e| e.id.index) + 1;
            assert!(first.id.index <= next, "a gap before {first:?} on disk");
            self.entries.extend(persist.entries.iter().filter(|e| e.id.index >= next).cloned());
        }
        self.commit = self.commit.max(persist.commit);
    }

    fn holds(&self, id: LogId) -> bool {
        id.index <= self.base() || self.entries.iter().any(|e| e.id == id)
    }
}

/// One member with its disk, its files and its state machine: a hash of everything applied.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) config: Config,
    pub(super) raft: Option<Raft>,
    pub(super) disk: Disk,
    /// Writes not yet durable.
    pub(super) writes: VecDeque<Persist>,
    /// Completions of snapshot jobs not yet reported.
    pub(super) jobs: VecDeque<Event>,
    pub(super) files: BTreeMap<SnapshotId, SnapshotMeta>,
    temporary: BTreeMap<SnapshotId, Vec<u8>>,
    state: (LogIndex, u64),
    pub(super) wake: Option<Micros>,
    shadow: Option<Shadow>,
    reads: BTreeMap<ReadId, LogIndex>,
    /// The last write of each step: the others of a step complete with it, so that the shadow's writes can be matched.
    ends: BTreeSet<PersistId>,
    pub(super) halted: Option<Fault>,
}

/// The same core, stepped one event at a time (promise 1). Its writes and rounds have other numbers.
#[derive(Debug)]
struct Shadow {
    raft: Raft,
    writes: BTreeMap<PersistId, PersistId>,
    rounds: BTreeMap<(Term, Round), Round>,
    queries: BTreeMap<u64, u64>,
}

/// A message on its way.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) message: Message,
}

pub(super) struct Cluster {
    pub(super) now: Micros,
    pub(super) members: BTreeMap<NodeId, Member>,
    pub(super) flights: Vec<Flight>,
    /// Links that lose everything.
    pub(super) cut: Vec<(NodeId, NodeId)>,
    /// Bytes of a snapshot file.
    pub(super) snapshot_len: u64,
    pub(super) shadows: bool,
    pub(super) next_proposal: ProposalId,
    next_read: ReadId,
    next_transfer: TransferId,
    transfers: BTreeSet<TransferId>,
    /// What is committed, as somebody applied it first, and the state after it.
    pub(super) history: Vec<(Entry, u64)>,
    leaders: BTreeMap<Term, NodeId>,
    /// How often what happened, so that a test can tell that it tests something.
    pub(super) counts: BTreeMap<&'static str, usize>,
    /// What happened, one line an action.
    pub(super) trace: Vec<String>,
    pub(super) tracing: bool,
}

pub(super) const WALL: u64 = 1_000_000;

fn mix(state: u64, entry: &Entry) -> u64 {
    let mut hash = state ^ 0x9e37_79b9_7f4a_7c15;
    for part in [entry.id.index, entry.id.term, entry.stamp.unix_ms, entry.stamp.cluster_ms] {
        hash = (hash ^ part).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
    entry.data.iter().fold(hash, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

pub(super) fn member(id: u64) -> Member_ {
    Member_ { disk: DiskId(id.into()), peer_address: "".into(), client_address: "".into() }
}

pub(super) fn configuration(voters: &[u64], learners: &[u64]) -> Configuration {
    let ids = || voters.iter().chain(learners).copied();
    let mut configuration = Configuration::of_voters(ids().map(|id| (NodeId(id), member(id))).collect());
    configuration.voters = voters.iter().map(|&id| NodeId(id)).collect();
    configuration
}

use super::super::Member as Member_;

impl Cluster {
    pub(super) fn new(configuration: &Configuration, configure: impl Fn(NodeId) -> Config) -> Self {
        let mut cluster = Self {
            now: 0,
            members: BTreeMap::new(),
            flights: Vec::new(),
            cut: Vec::new(),
            snapshot_len: 40,
            shadows: false,
            next_proposal: 1,
            next_read: 1,
            next_transfer: 1,
            transfers: BTreeSet::new(),
            history: Vec::new(),
            leaders: BTreeMap::new(),
            counts: BTreeMap::new(),
            trace: Vec::new(),
            tracing: false,
        };
        for &id in configuration.members.keys() {
            cluster.put(configure(id), &Recovered::formed(DiskId(id.0.into()), configuration));
        }
        cluster
    }

    /// A node that nobody has told anything: its log is empty.
    pub(super) fn join(&mut self, config: Config) {
        let (vote, entries) = (HardState::default(), Entries::empty());
        let disk = DiskId(config.id.0.into());
        self.put(config, &Recovered { disk, vote, snapshot: None, entries, commit: 0, life: 0 });
    }

    fn put(&mut self, config: Config, recovered: &Recovered) {
        let member = Member {
            config,
            raft: None,
            disk: Disk::of(recovered),
            writes: VecDeque::new(),
            jobs: VecDeque::new(),
            files: BTreeMap::new(),
            temporary: BTreeMap::new(),
            state: (0, 0),
            wake: None,
            shadow: None,
            reads: BTreeMap::new(),
            ends: BTreeSet::new(),
            halted: None,
        };
        self.members.insert(member.config.id, member);
    }

    /// A change of the membership is asked for.
    pub(super) fn reconfigure(&mut self, change: Change) -> Event {
        let proposal = self.next_proposal;
        self.next_proposal += 1;
        Event::Reconfigure { proposal, change }
    }

    /// A transfer of leadership is asked for.
    pub(super) fn transfer(&mut self, to: Option<NodeId>) -> Event {
        let transfer = self.next_transfer;
        self.next_transfer += 1;
        self.transfers.insert(transfer);
        Event::Transfer { transfer, to }
    }

    pub(super) fn start(&mut self, id: NodeId) {
        let now = self.clock();
        let shadows = self.shadows;
        let member = self.members.get_mut(&id).unwrap();
        let recovered = member.disk.recover();
        member.state = match &recovered.snapshot {
            Some(meta) => (meta.id.last.index, meta.id.checksum),
            None => (0, 0),
        };
        let core = || Raft::new(member.config.clone(), recovered.clone(), now).unwrap();
        member.raft = Some(core());
        member.shadow = shadows.then(|| Shadow {
            raft: core(),
            writes: [(0, 0)].into(),
            rounds: BTreeMap::new(),
            queries: BTreeMap::new(),
        });
        self.step(id, Vec::new());
    }

    /// Loses what is not on disk; of the writes under way the first `surviving` happen to be.
    pub(super) fn crash(&mut self, id: NodeId, surviving: usize) {
        let member = self.members.get_mut(&id).unwrap();
        for persist in member.writes.drain(..).take(surviving) {
            member.disk.write(&persist);
        }
        if let Some(State::Leader(lead)) = member.raft.as_ref().map(|raft| &raft.state)
            && let Some(transfer) = lead.handover.as_ref().and_then(|handover| handover.transfer)
        {
            self.transfers.remove(&transfer);
        }
        (member.raft, member.shadow, member.wake) = (None, None, None);
        member.jobs.clear();
        member.temporary.clear();
        member.reads.clear();
        member.ends.clear();
    }

    pub(super) fn clock(&self) -> Now {
        Now::new(self.now, WALL + self.now / 1000)
    }

    pub(super) fn raft(&self, id: NodeId) -> &Raft {
        self.members[&id].raft.as_ref().unwrap()
    }

    pub(super) fn leader(&self) -> Option<NodeId> {
        let leads = |m: &&Member| m.raft.as_ref().is_some_and(|r| matches!(r.state, State::Leader(_)));
        self.members
            .values()
            .filter(leads)
            .max_by_key(|m| m.raft.as_ref().map(|r| r.hard.term))
            .map(|m| m.config.id)
    }

    pub(super) fn propose(&mut self, id: NodeId, data: Bytes) -> Event {
        let proposal = self.next_proposal;
        self.next_proposal += 1;
        let _ = id;
        Event::Propose { proposal, data }
    }

    pub(super) fn read(&mut self, id: NodeId) -> Event {
        let read = self.next_read;
        self.next_read += 1;
        let committed = self.history.len() as LogIndex;
        self.members.get_mut(&id).unwrap().reads.insert(read, committed);
        Event::Read { read }
    }

    /// The first `count` writes of `id` become durable; the completion, not yet stepped.
    pub(super) fn sync(&mut self, id: NodeId, count: usize) -> Option<Event> {
        let member = self.members.get_mut(&id).unwrap();
        let mut last = None;
        for done in 0.. {
            if done >= count && last.is_none_or(|id| member.ends.contains(&id)) {
                break;
            }
            let Some(persist) = member.writes.pop_front() else { break };
            member.disk.write(&persist);
            last = Some(persist.id);
        }
        last.map(|id| Event::Persisted { id })
    }

    /// The embedder has saved its state at `index`; the event, not yet stepped.
    pub(super) fn save(&mut self, id: NodeId, index: LogIndex) -> Option<Event> {
        let point = self.raft(id).snapshot_point(index)?;
        let checksum = self.history[index as usize - 1].1;
        *self.counts.entry("own snapshot").or_default() += 1;
        let snapshot = SnapshotMeta {
            id: SnapshotId { last: point.last, checksum },
            len: self.snapshot_len,
            stamp: point.stamp,
            configuration: point.configuration,
        };
        self.members.get_mut(&id).unwrap().files.insert(snapshot.id, snapshot.clone());
        Some(Event::Snapshotted { snapshot: Box::new(snapshot) })
    }

    /// What `id` has received of a snapshot is not what was sent.
    pub(super) fn spoil(&mut self, id: NodeId) {
        for file in self.members.get_mut(&id).unwrap().temporary.values_mut() {
            file.iter_mut().for_each(|byte| *byte ^= 1);
        }
    }

    /// Steps a batch and carries out what comes of it.
    pub(super) fn step(&mut self, id: NodeId, events: Vec<Event>) {
        let now = self.clock();
        let member = self.members.get_mut(&id).unwrap();
        let Some(raft) = &mut member.raft else { return };
        let mut out = Actions::new();
        raft.step_into(now, events.iter().cloned(), &mut out);
        if let Err(fault) = raft.check_invariants() {
            panic!("{id:?} after {events:?}: {fault}\n{raft:#?}");
        }
        if let Some(shadow) = &mut member.shadow {
            shadow.follow(raft, now, &events, &out);
        }
        if let State::Leader(_) = raft.state {
            let term = raft.hard.term;
            let first = *self.leaders.entry(term).or_insert(id);
            assert_eq!(first, id, "election safety: two leaders in term {term}");
        }
        member.ends.insert(raft.writes.issued());
        let actions: Vec<Action> = out.into_iter().collect();
        if self.tracing {
            let lines = actions.iter().filter_map(text::action).map(|line| format!("{id:?} {line}"));
            self.trace.extend(lines);
        }
        for action in actions {
            if let Some(kind) = kind(&action) {
                *self.counts.entry(kind).or_default() += 1;
            }
            self.perform(id, action);
        }
        self.check_leader(id);
    }

    fn perform(&mut self, id: NodeId, action: Action) {
        let member = self.members.get_mut(&id).unwrap();
        match action {
            Action::Persist(persist) => {
                let disk = member.disk.entries.last().map_or(0, |e| e.id.index);
                let end =
                    member.writes.iter().rev().find_map(|w| w.entries.last_id()).map_or(disk, |id| id.index);
                if persist.entries.first().is_some_and(|e| e.id.index <= end) {
                    *self.counts.entry("truncation").or_default() += 1;
                }
                member.writes.push_back(persist);
            }
            Action::Send { to, message } => self.flights.push(Flight { from: id, to, message }),
            Action::Apply(entries) => entries.iter().for_each(|entry| self.apply(id, entry)),
            Action::SendSnapshotChunk { to, term, snapshot, offset, len } => {
                assert!(offset + len <= snapshot.len && len > 0);
                assert!(member.files.contains_key(&snapshot.id), "an unknown file is sent");
                let bytes = contents(&snapshot);
                let data = Bytes::copy_from_slice(&bytes[offset as usize..(offset + len) as usize]);
                let message = Message::SnapshotChunk { term, snapshot, offset, data };
                self.flights.push(Flight { from: id, to, message });
            }
            Action::WriteSnapshotChunk { snapshot, offset, data } => {
                let snapshot = snapshot.id;
                let file = member.temporary.entry(snapshot).or_default();
                if offset == 0 {
                    file.clear();
                }
                assert_eq!(file.len() as u64, offset, "chunks are written in order");
                file.extend_from_slice(&data);
                let written = file.len() as u64;
                member.jobs.push_back(Event::SnapshotChunkWritten { snapshot, written });
            }
            Action::InstallSnapshot { snapshot } => {
                let good = member.temporary.remove(&snapshot.id) == Some(contents(&snapshot));
                let id = snapshot.id;
                if good {
                    member.files.insert(id, *snapshot);
                }
                member.jobs.push_back(match good {
                    true => Event::SnapshotInstalled { snapshot: id },
                    false => Event::SnapshotFailed { snapshot: id },
                });
            }
            Action::SwitchSnapshot { snapshot } => {
                let index = snapshot.id.last.index;
                assert!(index > member.state.0, "a switch backwards");
                assert_eq!(
                    snapshot.id.checksum,
                    self.history[index as usize - 1].1,
                    "a switch to another state"
                );
                member.state = (index, snapshot.id.checksum);
            }
            Action::DropSnapshot { snapshot } => {
                member.temporary.remove(&snapshot);
            }
            Action::ReadReady { read, index } => {
                let committed = member.reads.remove(&read).expect("a read is answered once");
                assert!(index >= committed, "a stale read: {index} before {committed}");
            }
            Action::ReadAborted { read, .. } => {
                member.reads.remove(&read).expect("a read is answered once");
            }
            Action::WakeAt(at) => member.wake = Some(at),
            Action::Halt(fault) => member.halted = Some(fault),
            Action::TransferEnded { transfer, .. } => {
                assert!(self.transfers.remove(&transfer), "a transfer ends once");
            }
            Action::Proposed { .. }
            | Action::ProposalRefused { .. }
            | Action::RoleChanged(_)
            | Action::Discard(_) => {}
        }
    }

    /// State machine safety, and promise 7: what is applied anywhere is on a majority of disks, synced.
    fn apply(&mut self, id: NodeId, entry: &Entry) {
        let index = entry.id.index;
        let member = self.members.get_mut(&id).unwrap();
        assert_eq!(index, member.state.0 + 1, "{id:?} applies with a gap");
        member.state = (index, mix(member.state.1, entry));
        let state = member.state.1;
        if let Some((first, hash)) = self.history.get(index as usize - 1) {
            assert_eq!((first, *hash), (entry, state), "state machine safety: {id:?} at {index}");
            return;
        }
        assert_eq!(self.history.len() as LogIndex + 1, index);
        self.history.push((entry.clone(), state));
        // A later configuration is in force as well: it may have decided.
        let decides = |configuration: &Configuration| {
            quorum::agreed(configuration, |id| {
                self.members.get(&id).map_or(0, |m| u64::from(m.disk.holds(entry.id)))
            }) == 1
        };
        let on_disk = self.raft(id).membership.since(index).any(decides);
        assert!(on_disk, "{entry:?} is committed, but not on a majority of disks");
    }

    /// Leader completeness: whoever leads the latest term has all that is committed.
    fn check_leader(&self, id: NodeId) {
        let Some(raft) = &self.members[&id].raft else { return };
        let latest = self.leaders.keys().next_back().copied();
        if !matches!(raft.state, State::Leader(_)) || latest != Some(raft.hard.term) {
            return;
        }
        let kept = self.history.iter().map(|(e, _)| e.id).filter(|id| id.index >= raft.log.base().index);
        for committed in kept {
            assert!(raft.log.holds(committed), "leader completeness: {id:?} lacks {committed:?}");
        }
    }

    /// Log matching (§5.3): where two logs have the same term at an index, they are the same up to there.
    pub(super) fn check_log_matching(&self) {
        let logs: Vec<&Raft> = self.members.values().filter_map(|m| m.raft.as_ref()).collect();
        for (i, a) in logs.iter().enumerate() {
            for b in &logs[i + 1..] {
                let first = a.log.base().index.max(b.log.base().index) + 1;
                let last = a.log.last().index.min(b.log.last().index);
                let mut agreed = false;
                for index in (first..=last).rev() {
                    let (x, y) = (a.log.entry(index).unwrap(), b.log.entry(index).unwrap());
                    agreed |= x.id == y.id;
                    assert!(!agreed || x == y, "log matching: {x:?} and {y:?}");
                }
            }
        }
    }

    pub(super) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cut.contains(&(from, to))
    }

    /// Delivers and syncs, without letting time pass, until nothing moves. Members in `held` keep their disks waiting.
    pub(super) fn settle(&mut self, held: &[NodeId]) {
        for _ in 0..10_000 {
            if !self.flights.is_empty() {
                let flight = self.flights.remove(0);
                if !self.is_cut(flight.from, flight.to) {
                    let event = Event::Receive { from: flight.from, message: flight.message };
                    self.step(flight.to, [event].into());
                }
                continue;
            }
            let ids: Vec<NodeId> = self.members.keys().copied().collect();
            let mut moved = false;
            for id in ids {
                if held.contains(&id) {
                    continue;
                }
                let mut events: Vec<Event> = self.sync(id, usize::MAX).into_iter().collect();
                events.extend(self.members.get_mut(&id).unwrap().jobs.drain(..));
                if !events.is_empty() && self.members[&id].raft.is_some() {
                    moved = true;
                    self.step(id, events);
                }
            }
            if !moved {
                return;
            }
        }
        panic!("the cluster does not come to rest");
    }

    /// Lets `micros` pass, every timer firing at its time, everything delivered and synced at once.
    pub(super) fn run_for(&mut self, micros: Micros, held: &[NodeId]) {
        let end = self.now + micros;
        loop {
            self.settle(held);
            let live = self.members.values().filter(|m| m.raft.is_some());
            let next = live.filter_map(|m| Some((m.wake?, m.config.id))).min();
            match next {
                Some((at, id)) if at <= end => {
                    self.now = self.now.max(at);
                    self.members.get_mut(&id).unwrap().wake = None;
                    self.step(id, [Event::Wake].into());
                }
                _ => break,
            }
        }
        self.now = end;
    }
}

/// The bytes of a snapshot file: its checksum, over and over.
fn contents(snapshot: &SnapshotMeta) -> Vec<u8> {
    snapshot.id.checksum.to_le_bytes().into_iter().cycle().take(snapshot.len as usize).collect()
}

/// The kinds of action that a random run is meant to reach.
pub(super) const KINDS: [&str; 25] = [
    "leader",
    "rejection",
    "chunk",
    "resumed",
    "corrupt",
    "switch, log replaced",
    "own snapshot",
    "dropped",
    "read ready",
    "read aborted",
    "reads full",
    "uncommitted full",
    "refused",
    "truncation",
    "joint",
    "simple change",
    "not caught up",
    "could not commit",
    "unreachable",
    "change under way",
    "handed over",
    "not handed over",
    "refused by transfer",
    "vote by transfer",
    "asked the leader",
];

fn kind(action: &Action) -> Option<&'static str> {
    Some(match action {
        Action::RoleChanged(change) if change.role == Role::Leader => "leader",
        Action::Send { message: Message::AppendRejected { .. }, .. } => "rejection",
        Action::Send {
            message: Message::SnapshotReply { progress: SnapshotProgress::Corrupt, .. }, ..
        } => "corrupt",
        Action::SendSnapshotChunk { offset: 0, .. } => "chunk",
        Action::SendSnapshotChunk { .. } => "resumed",
        Action::DropSnapshot { .. } => "dropped",
        Action::ReadReady { .. } => "read ready",
        Action::ReadAborted { reason: Refusal::ReadsFull, .. } => "reads full",
        Action::ReadAborted { .. } => "read aborted",
        Action::ProposalRefused { reason: Refusal::UncommittedFull, .. } => "uncommitted full",
        Action::ProposalRefused { reason: Refusal::Transferring(_), .. } => "refused by transfer",
        Action::ProposalRefused { reason: Refusal::Change(reason), .. } => match reason {
            ChangeRefused::NotCaughtUp { .. } => "not caught up",
            ChangeRefused::Unreachable(_) => "unreachable",
            ChangeRefused::CouldNotCommit { .. } => "could not commit",
            ChangeRefused::UnderWay { .. } => "change under way",
            _ => return None,
        },
        Action::ProposalRefused { .. } => "refused",
        Action::TransferEnded { outcome: Ok(()), .. } => "handed over",
        Action::TransferEnded { outcome: Err(TransferFailed::NotLeader(_)), .. } => return None,
        Action::TransferEnded { .. } => "not handed over",
        Action::Send { message: Message::Vote { transfer: true, .. }, .. } => "vote by transfer",
        Action::Send { message: Message::ReadIndex { .. }, .. } => "asked the leader",
        Action::Apply(entries) => {
            let last = entries.iter().rev().find(|entry| entry.kind == EntryKind::Configuration)?;
            match Configuration::from_cbor(&last.data) {
                Ok(configuration) if configuration.is_joint() => "joint",
                Ok(_) => "simple change",
                Err(_) => return None,
            }
        }
        Action::Persist(Persist { snapshot: Some(switch), .. }) if !switch.keeps_suffix => {
            "switch, log replaced"
        }
        _ => return None,
    })
}

impl Shadow {
    fn follow(&mut self, main: &Raft, now: Now, events: &[Event], out: &Actions) {
        let mut answers = Vec::new();
        let step = |raft: &mut Raft, event: Option<Event>, answers: &mut Vec<String>| {
            let mut out = Actions::new();
            raft.step_into(now, event, &mut out);
            answers.extend(out.iter().filter_map(answer));
        };
        if events.is_empty() {
            step(&mut self.raft, None, &mut answers);
        }
        for event in events {
            let event = match event.clone() {
                Event::Persisted { id } => Event::Persisted { id: self.writes[&id] },
                Event::Receive { from, message: Message::HeartbeatReply { term, round, wall } } => {
                    // Of rounds that leave within a batch the last is known; before it the two count alike.
                    let known =
                        self.rounds.range(..=(term, round)).next_back().filter(|(key, _)| key.0 == term);
                    let round = known.map_or(round, |(&(_, main), &shadow)| shadow + (round - main));
                    Event::Receive { from, message: Message::HeartbeatReply { term, round, wall } }
                }
                Event::Receive { from, message: Message::ReadIndexReply { term, mut query, index } } => {
                    if query.life == self.raft.life {
                        query.number = self.queries.get(&query.number).copied().unwrap_or(query.number);
                    }
                    Event::Receive { from, message: Message::ReadIndexReply { term, query, index } }
                }
                event => event,
            };
            step(&mut self.raft, Some(event), &mut answers);
        }
        self.writes.insert(main.writes.issued(), self.raft.writes.issued());
        if let (State::Leader(main_lead), State::Leader(lead)) = (&main.state, &self.raft.state) {
            self.rounds.insert((main.hard.term, main_lead.round), lead.round);
        }
        self.queries.insert(main.queries.last, self.raft.queries.last);
        let mut batch: Vec<String> = out.iter().filter_map(answer).collect();
        batch.sort();
        answers.sort();
        assert_eq!(batch, answers, "promise 1: answers to {events:?}");
        assert_eq!(main.hard, self.raft.hard, "promise 1: term and vote after {events:?}");
        assert_eq!(main.status(), self.raft.status(), "promise 1: state after {events:?}");
        assert_eq!(main.configuration(), self.raft.configuration());
        let entries = |raft: &Raft| raft.log.between(0, LogIndex::MAX - 1).cloned().collect::<Vec<_>>();
        assert_eq!(entries(main), entries(&self.raft), "promise 1: log after {events:?}");
    }
}

/// What a caller is told, apart from entries.
fn answer(action: &Action) -> Option<String> {
    match action {
        Action::Proposed { .. }
        | Action::ProposalRefused { .. }
        | Action::ReadReady { .. }
        | Action::ReadAborted { .. }
        | Action::TransferEnded { .. }
        | Action::Halt(_)
        | Action::WriteSnapshotChunk { .. }
        | Action::InstallSnapshot { .. }
        | Action::SwitchSnapshot { .. }
        | Action::DropSnapshot { .. } => Some(format!("{action:?}")),
        _ => None,
    }
}
