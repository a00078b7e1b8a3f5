//! A cluster in memory: messages in a queue, disks and snapshot files as values, time as a number.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::raft::{
    self, Configuration, DiskId, Entries, Entry, HardState, LogIndex, Member, Message, NodeId, Persist,
    Recovered, Role, SnapshotId, SnapshotMeta,
};
use crate::replica::testing::Tape;
use crate::replica::{
    Action, Actions, Config, Event, Outcome, Replica, ReplicaRestorer, Request, Restored, Restorer, Tag, View,
};
use crate::rng::Rng;
use crate::time::{Micros, Now};

/// How long a request may take.
pub(super) const TIMEOUT: Micros = 5_000_000;

/// What is durable on one node.
#[derive(Debug)]
struct Disk {
    name: DiskId,
    vote: HardState,
    snapshot: Option<SnapshotMeta>,
    entries: Vec<Entry>,
    commit: LogIndex,
    files: BTreeMap<SnapshotId, Bytes>,
    life: u64,
}

impl Disk {
    fn persist(&mut self, persist: &Persist) {
        self.vote = persist.vote.unwrap_or(self.vote);
        if let Some(switch) = &persist.snapshot {
            let last = switch.snapshot.id.last.index;
            self.entries.retain(|entry| switch.keeps_suffix && entry.id.index > last);
            self.snapshot = Some(switch.snapshot.clone());
        }
        if let Some(first) = persist.entries.first() {
            self.entries.retain(|entry| entry.id.index < first.id.index);
            self.entries.extend(persist.entries.iter().cloned());
        }
        self.commit = self.commit.max(persist.commit);
    }

    fn recovered(&mut self) -> (Recovered, Option<Restored<Tape>>) {
        // Counterexample: all starts were one life, and the late answer to a query of before a restart answered one of after.
        self.life += 1;
        let restored = self.snapshot.as_ref().map(|meta| {
            let mut restorer = ReplicaRestorer::new();
            restorer.push(&self.files[&meta.id]).expect("own snapshot");
            restorer.finish().expect("own snapshot")
        });
        let recovered = Recovered {
            disk: self.name,
            life: self.life,
            vote: self.vote,
            snapshot: self.snapshot.clone(),
            entries: Entries::from(self.entries.clone()),
            commit: self.commit,
        };
        (recovered, restored)
    }
}

/// One node: its disk outlives its replica.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) replica: Option<Replica<Tape>>,
    disk: Disk,
    inbox: Vec<Event<Tape>>,
    incoming: BTreeMap<SnapshotId, Vec<u8>>,
    wake: Option<Micros>,
    /// While `false`, writes stay unconfirmed.
    pub(super) disk_answers: bool,
    /// Names of the actions of interest, in order.
    pub(super) seen: Vec<&'static str>,
}

pub(super) struct Cluster {
    config: fn(u64) -> Config,
    pub(super) nodes: BTreeMap<u64, Machine>,
    pub(super) now: Micros,
    queue: VecDeque<(u64, u64, Message)>,
    /// Copies that arrive a second time, when time has passed.
    late: Vec<(u64, u64, Message)>,
    cut: BTreeSet<u64>,
    /// Loses, doubles and delays messages.
    pub(super) chaos: Option<Rng>,
    pub(super) ends: BTreeMap<Tag, Vec<Outcome>>,
    last_tag: Tag,
}

/// The default settings of a test.
pub(super) fn config(id: u64) -> Config {
    let mut raft = raft::Config::new(NodeId(id), 7);
    raft.trailing_bytes = 0;
    Config { snapshot_log_bytes: None, ..Config::new(raft) }
}

impl Cluster {
    pub(super) fn new(size: u64, config: fn(u64) -> Config) -> Self {
        let member = |id: u64| Member {
            disk: DiskId(u128::from(id) << 64 | 5),
            peer_address: format!("peer-{id}"),
            client_address: format!("client-{id}"),
        };
        let founders = (1..=size).map(|id| (NodeId(id), member(id))).collect();
        let founding = Configuration::of_voters(founders);
        let mut cluster = Self {
            config,
            nodes: BTreeMap::new(),
            now: 1_000_000,
            queue: VecDeque::new(),
            late: Vec::new(),
            cut: BTreeSet::new(),
            chaos: None,
            ends: BTreeMap::new(),
            last_tag: 0,
        };
        for id in 1..=size {
            let formed = Recovered::formed(member(id).disk, &founding);
            let disk = Disk {
                name: formed.disk,
                vote: formed.vote,
                snapshot: None,
                entries: formed.entries.to_vec(),
                commit: formed.commit,
                files: BTreeMap::new(),
                life: 0,
            };
            let machine = Machine {
                replica: None,
                disk,
                inbox: Vec::new(),
                incoming: BTreeMap::new(),
                wake: None,
                disk_answers: true,
                seen: Vec::new(),
            };
            cluster.nodes.insert(id, machine);
            cluster.start(id);
        }
        cluster
    }

    /// Starts a node from its disk.
    pub(super) fn start(&mut self, id: u64) {
        let now = Now::new(self.now, self.now / 1_000);
        let node = self.nodes.get_mut(&id).expect("a node");
        let (recovered, restored) = node.disk.recovered();
        let replica = Replica::new((self.config)(id), recovered, restored, now).expect("good settings");
        node.replica = Some(replica);
        node.inbox.clear();
        node.incoming.clear();
        self.step(id, Vec::new());
    }

    /// Ends a node's process; requests that wait there never end.
    pub(super) fn kill(&mut self, id: u64) {
        self.nodes.get_mut(&id).expect("a node").replica = None;
    }

    /// Cuts a node off from the others.
    pub(super) fn isolate(&mut self, id: u64) {
        self.cut.insert(id);
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(super) fn replica(&self, id: u64) -> &Replica<Tape> {
        self.nodes[&id].replica.as_ref().expect("running")
    }

    pub(super) fn entries_on_disk(&self, id: u64) -> usize {
        self.nodes[&id].disk.entries.len()
    }

    /// Steps one node with a batch and performs what it asks for.
    pub(super) fn step(&mut self, id: u64, events: Vec<Event<Tape>>) {
        let now = Now::new(self.now, self.now / 1_000);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(replica) = &mut node.replica else { return };
        let mut out = Actions::new();
        replica.step_into(now, events, &mut out);
        replica.raft().check_invariants().expect("invariants hold");
        for action in out.drain() {
            self.perform(id, action);
        }
    }

    fn perform(&mut self, id: u64, action: Action<Tape>) {
        let node = self.nodes.get_mut(&id).expect("a node");
        match action {
            Action::Persist(persist) => {
                node.seen.push("persist");
                if node.disk_answers {
                    node.disk.persist(&persist);
                    node.inbox.push(Event::Persisted { id: persist.id });
                }
            }
            Action::Send { to, message } => self.queue.push_back((id, to.0, message)),
            Action::Reply { tag, outcome } => self.ends.entry(tag).or_default().push(outcome),
            Action::SaveSnapshot { point, mut view } => {
                node.seen.push("save");
                let mut bytes = Vec::new();
                while view.read(100, &mut bytes) {}
                let meta = SnapshotMeta {
                    id: SnapshotId { last: point.last, checksum: xxh3_64(&bytes) },
                    len: bytes.len() as u64,
                    stamp: point.stamp,
                    configuration: point.configuration,
                };
                node.disk.files.insert(meta.id, bytes.into());
                node.inbox.push(Event::SnapshotSaved { snapshot: Box::new(meta) });
            }
            Action::SendSnapshotChunk { to, term, snapshot, offset, len } => {
                if let Some(file) = node.disk.files.get(&snapshot.id) {
                    let end = (offset + len).min(file.len() as u64);
                    let data = file.slice(offset as usize..end as usize);
                    let message = Message::SnapshotChunk { term, snapshot, offset, data };
                    self.queue.push_back((id, to.0, message));
                }
            }
            Action::WriteSnapshotChunk { snapshot, offset, data } => {
                let snapshot = snapshot.id;
                let file = node.incoming.entry(snapshot).or_default();
                file.truncate(offset as usize);
                file.extend_from_slice(&data);
                node.inbox.push(Event::SnapshotChunkWritten { snapshot, written: file.len() as u64 });
            }
            Action::InstallSnapshot { snapshot, mut restorer } => {
                let file = node.incoming.remove(&snapshot.id).expect("received");
                assert_eq!((xxh3_64(&file), file.len() as u64), (snapshot.id.checksum, snapshot.len));
                file.chunks(33).for_each(|piece| restorer.push(piece).expect("a leader's snapshot"));
                let restored = restorer.finish().expect("a leader's snapshot");
                node.disk.files.insert(snapshot.id, file.into());
                node.inbox
                    .push(Event::SnapshotInstalled { snapshot: snapshot.id, restored: restored.into() });
                node.seen.push("install");
            }
            Action::DropSnapshot { snapshot } => {
                node.incoming.remove(&snapshot);
            }
            Action::WakeAt(at) => node.wake = Some(at),
            Action::Discard(_) => node.seen.push("discard"),
            Action::ConfigurationChanged => node.seen.push("configuration"),
            Action::RoleChanged(_) => {}
            Action::Halt(fault) => panic!("node {id} halted: {fault}"),
        }
    }

    /// Delivers all that is under way, without time passing.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            while let Some((from, to, message)) = self.queue.pop_front() {
                if self.cut.contains(&from) || self.cut.contains(&to) {
                    continue;
                }
                match self.chaos.as_mut().map_or(9, |rng| rng.below(10)) {
                    0 => continue,
                    1 => self.late.push((from, to, message.clone())),
                    _ => {}
                }
                if let Some(node) = self.nodes.get_mut(&to) {
                    node.inbox.push(Event::Receive { from: NodeId(from), message });
                }
            }
            let busy: Vec<u64> =
                self.nodes.iter().filter(|(_, node)| !node.inbox.is_empty()).map(|(&id, _)| id).collect();
            if busy.is_empty() {
                return;
            }
            for id in busy {
                let events = core::mem::take(&mut self.nodes.get_mut(&id).expect("a node").inbox);
                self.step(id, events);
            }
        }
        panic!("the cluster never comes to rest");
    }

    /// Lets time pass; each node is woken when it asked for it.
    pub(super) fn advance(&mut self, time: Micros) {
        let end = self.now + time;
        self.queue.extend(self.late.drain(..));
        self.settle();
        loop {
            let running = self.nodes.iter().filter(|(_, node)| node.replica.is_some());
            let next = running.filter_map(|(&id, node)| Some((node.wake?, id))).min();
            let Some((at, id)) = next.filter(|&(at, _)| at <= end) else { break };
            self.now = self.now.max(at);
            self.nodes.get_mut(&id).expect("a node").wake = None;
            self.step(id, [Event::Wake].into());
            self.settle();
        }
        self.now = end;
    }

    /// Who leads in the highest term and is not cut off.
    pub(super) fn leader(&self) -> Option<u64> {
        let status = |id: u64| self.nodes[&id].replica.as_ref().map(|replica| replica.raft().status());
        let reached = self.nodes.keys().copied().filter(|id| !self.cut.contains(id));
        let leaders = reached.filter_map(|id| status(id).filter(|s| s.role == Role::Leader));
        leaders.max_by_key(|s| s.term).map(|s| s.id.0)
    }

    /// Lets time pass until somebody leads and has committed in its term.
    pub(super) fn elect(&mut self) -> u64 {
        for _ in 0..1_000 {
            self.advance(10_000);
            if let Some(leader) = self.leader() {
                self.advance(100_000);
                if self.leader() == Some(leader) {
                    return leader;
                }
            }
        }
        panic!("nobody was elected");
    }

    pub(super) fn event(&mut self, request: Request) -> (Tag, Event<Tape>) {
        self.last_tag += 1;
        let tag = self.last_tag;
        (tag, Event::Request { tag, client: 1, deadline: self.now + TIMEOUT, request })
    }

    /// Steps a request at a node, and delivers nothing.
    pub(super) fn request(&mut self, id: u64, request: Request) -> Tag {
        let (tag, event) = self.event(request);
        self.step(id, [event].into());
        tag
    }

    /// How a request ended, if it did; it may not have ended twice.
    pub(super) fn end(&self, tag: Tag) -> Option<&Outcome> {
        let ends = self.ends.get(&tag)?;
        assert_eq!(ends.len(), 1, "request {tag} ended {ends:?}");
        ends.first()
    }

    /// A request at a node and its end, all messages delivered.
    pub(super) fn ask(&mut self, id: u64, request: Request) -> Outcome {
        let tag = self.request(id, request);
        self.settle();
        self.end(tag).cloned().unwrap_or_else(|| panic!("request {tag} has not ended"))
    }
}

pub(super) fn write(command: &'static str) -> Request {
    Request::Write(Bytes::from_static(command.as_bytes()))
}

pub(super) fn once(session: u64, seq: u64, ack: u64, command: &str) -> Request {
    Request::Once { session, seq, ack, command: Bytes::copy_from_slice(command.as_bytes()) }
}

pub(super) fn open(nonce: &'static str) -> Request {
    Request::OpenSession { nonce: Bytes::from_static(nonce.as_bytes()) }
}

pub(super) fn read() -> Request {
    Request::Read(Bytes::from_static(b"all"))
}

pub(super) fn reply(bytes: &str) -> Outcome {
    Outcome::Reply(Bytes::copy_from_slice(bytes.as_bytes()))
}
