//! A driver in memory: nodes on disks of vectors, connections that are queues, a clock that jumps to the next wake-up.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::codec::frame::{Decoder, Frame};
use crate::codec::peer::PeerMessage;
use crate::node::{Action, Actions, Addresses, Config, Event, Fault, Job, LinkId, Node, Phase, RequestId};
use crate::raft::{self, DiskId, NodeId, Role};
use crate::replica::testing::Tape;
use crate::replica::{Outcome, Request};
use crate::rng::Rng;
use crate::storage::{DiskBatch, DiskError, DiskJob, DiskOp, DiskReply, DiskResult, FileName};
use crate::time::{Micros, Now};

/// A disk on which everything is durable at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    pub(super) files: BTreeMap<FileName, Vec<u8>>,
    /// There is no space for anything that is not allocated.
    pub(super) full: bool,
}

impl Disk {
    fn perform(&mut self, op: DiskOp) -> DiskResult {
        match op {
            DiskOp::List => {
                let files = self.files.iter().map(|(name, bytes)| (*name, bytes.len() as u64));
                return Ok(DiskReply::Files(files.collect()));
            }
            DiskOp::ReadAt { file, offset, len } => {
                let bytes = self.files.get(&file).ok_or(DiskError::NotFound(file))?;
                let start = (offset as usize).min(bytes.len());
                let end = (offset + len).min(bytes.len() as u64) as usize;
                return Ok(DiskReply::Bytes(Bytes::copy_from_slice(&bytes[start..end])));
            }
            DiskOp::Create { file } => drop(self.files.insert(file, Vec::new())),
            DiskOp::WriteAt { file, offset, ref data }
                if self.full && self.grows(file, offset, data.iter().map(Bytes::len).sum()) =>
            {
                return Err(DiskError::NoSpace(file));
            }
            DiskOp::Zero { file, .. } if self.full => return Err(DiskError::NoSpace(file)),
            DiskOp::WriteAt { file, offset, data } => {
                let data: Vec<u8> = data.iter().flatten().copied().collect();
                self.write(file, offset as usize, &data)?;
            }
            DiskOp::Zero { file, offset, len } => {
                self.write(file, offset as usize, &alloc::vec![0; len as usize])?;
            }
            DiskOp::Rename { from, to } => {
                let bytes = self.files.remove(&from).ok_or(DiskError::NotFound(from))?;
                self.files.insert(to, bytes);
            }
            DiskOp::Remove { file } => drop(self.files.remove(&file)),
            DiskOp::Sync { .. } | DiskOp::SyncDirectory => {}
        }
        Ok(DiskReply::Done)
    }

    fn grows(&self, file: FileName, offset: u64, len: usize) -> bool {
        self.files.get(&file).is_some_and(|bytes| offset as usize + len > bytes.len())
    }

    fn write(&mut self, file: FileName, offset: usize, data: &[u8]) -> Result<(), DiskError> {
        let bytes = self.files.get_mut(&file).ok_or(DiskError::NotFound(file))?;
        if bytes.len() < offset + data.len() {
            bytes.resize(offset + data.len(), 0);
        }
        bytes[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// One machine: its disk stays, its process comes and goes.
pub(super) struct Machine {
    pub(super) node: Option<Node<Tape>>,
    pub(super) disk: Disk,
    pub(super) config: Config,
    pub(super) replies: BTreeMap<RequestId, Vec<Outcome>>,
    pub(super) halted: Option<Fault>,
    pub(super) stopped: bool,
    pub(super) notes: Vec<String>,
    /// The log lane does not move while this is set.
    pub(super) disk_stalls: bool,
    /// Nor do jobs while this is set.
    pub(super) jobs_stall: bool,
    /// The last job is done first.
    pub(super) jobs_from_the_end: bool,
    /// The names of the jobs that were done.
    pub(super) jobs_done: Vec<&'static str>,
    log: VecDeque<DiskBatch>,
    jobs: VecDeque<Job<Tape>>,
    inbox: Vec<Event<Tape>>,
    wake: Option<Micros>,
}

/// One end of a connection.
struct End {
    owner: u64,
    other: LinkId,
    decoder: Decoder,
}

pub(super) struct World {
    pub(super) now: Micros,
    pub(super) machines: BTreeMap<u64, Machine>,
    ends: BTreeMap<LinkId, End>,
    next_link: LinkId,
    /// Pairs that cannot reach each other: dials fail, frames vanish.
    pub(super) cut: BTreeSet<(u64, u64)>,
    next_request: u64,
    /// Delivers in another order when set.
    pub(super) rng: Option<Rng>,
    /// A hash of everything that any node decided, when it is wanted.
    pub(super) trace: Option<u64>,
}

pub(super) fn addresses(id: u64) -> Addresses {
    Addresses { peer: format!("peer:{id}"), client: format!("client:{id}") }
}

pub(super) fn config(id: u64, members: u64) -> Config {
    Config {
        raft: raft::Config::new(NodeId(id), 42),
        founders: (1..=members).map(|id| (NodeId(id), addresses(id))).collect(),
        fresh_disk: DiskId(1000 + u128::from(id)),
        segment_bytes: 256 << 10,
        snapshot_log_bytes: None,
        snapshot_growth_percent: 0,
        max_sessions: 16,
        session_ttl_ms: 60_000,
        ..Config::new(NodeId(id), BTreeMap::new(), DiskId(0), 42)
    }
}

impl World {
    /// Machines that are all off.
    pub(super) fn new(members: u64) -> Self {
        let machines = (1..=members).map(|id| (id, Machine::new(config(id, members)))).collect();
        let (ends, cut) = (BTreeMap::new(), BTreeSet::new());
        Self { now: 1_000_000, machines, ends, next_link: 1, cut, next_request: 1, rng: None, trace: None }
    }

    /// One more machine, off.
    pub(super) fn add(&mut self, id: u64, config: Config) {
        self.machines.insert(id, Machine::new(config));
    }

    /// A formed cluster with a leader.
    pub(super) fn running(members: u64) -> Self {
        let mut world = Self::new(members);
        (1..=members).for_each(|id| world.start(id));
        world.settle();
        world
    }

    /// Runs until there is a leader that every running node knows.
    pub(super) fn settle(&mut self) {
        self.run_until(30_000_000, |world| {
            let running = || world.machines.values().filter_map(|m| m.node.as_ref());
            let leader =
                running().find(|node| node.role == Role::Leader).map(|node| (node.term, node.config.raft.id));
            leader.is_some_and(|(term, id)| running().all(|n| n.term == term && n.leader == Some(id)))
        });
    }

    fn clock(&self) -> Now {
        Now::new(self.now, 1_700_000_000_000 + self.now / 1000)
    }

    pub(super) fn start(&mut self, id: u64) {
        let now = self.clock();
        let machine = self.machines.get_mut(&id).expect("it exists");
        assert!(machine.node.is_none(), "it runs already");
        let mut out = Actions::new();
        machine.node = Some(Node::new(machine.config.clone(), now, &mut out).expect("the settings work"));
        self.perform(id, out);
    }

    /// The process dies: what the disk has not been told is lost.
    pub(super) fn crash(&mut self, id: u64) {
        let machine = self.machines.get_mut(&id).expect("it exists");
        let config = machine.config.clone();
        let disk = core::mem::take(&mut machine.disk);
        let replies = core::mem::take(&mut machine.replies);
        *machine = Machine { disk, replies, ..Machine::new(config) };
        let ends: Vec<LinkId> =
            self.ends.iter().filter(|(_, end)| end.owner == id).map(|(link, _)| *link).collect();
        ends.into_iter().for_each(|link| self.close(link));
    }

    pub(super) fn node(&self, id: u64) -> &Node<Tape> {
        self.machines[&id].node.as_ref().expect("it runs")
    }

    pub(super) fn machine(&mut self, id: u64) -> &mut Machine {
        self.machines.get_mut(&id).expect("it exists")
    }

    pub(super) fn leader(&self) -> u64 {
        let leads = |m: &&Machine| m.node.as_ref().is_some_and(|node| node.role == Role::Leader);
        let node = |m: &Machine| m.node.as_ref().map(|node| (node.term, node.config.raft.id.0));
        self.machines.values().filter(leads).filter_map(node).max().expect("somebody leads").1
    }

    pub(super) fn follower(&self) -> u64 {
        let leader = self.leader();
        *self.machines.keys().find(|id| **id != leader).expect("there are others")
    }

    pub(super) fn tell(&mut self, id: u64, event: Event<Tape>) {
        self.machine(id).inbox.push(event);
    }

    /// A request of connection 1; its name.
    pub(super) fn ask(&mut self, id: u64, request: Request) -> RequestId {
        self.ask_in(id, 1, 0, request)
    }

    pub(super) fn ask_in(&mut self, id: u64, connection: u64, epoch: u32, request: Request) -> RequestId {
        let name = RequestId { connection, number: self.next_request };
        self.next_request += 1;
        self.tell(id, Event::Request { id: name, epoch, deadline: None, request });
        name
    }

    pub(super) fn write(&mut self, id: u64, command: &'static [u8]) -> RequestId {
        self.ask(id, Request::Write(Bytes::from_static(command)))
    }

    /// Writes and waits for the answer.
    pub(super) fn write_through(&mut self, id: u64, command: &'static [u8]) -> Outcome {
        let name = self.write(id, command);
        self.answer(id, name)
    }

    /// Runs until the request is answered.
    pub(super) fn answer(&mut self, id: u64, name: RequestId) -> Outcome {
        self.run_until(20_000_000, |world| world.machines[&id].replies.contains_key(&name));
        self.machines[&id].replies[&name][0].clone()
    }

    pub(super) fn query(&mut self, id: u64, query: &'static [u8]) -> Outcome {
        let name = self.ask(id, Request::Read(Bytes::from_static(query)));
        self.answer(id, name)
    }

    /// Breaks all connections between two machines.
    pub(super) fn break_links(&mut self, a: u64, b: u64) {
        let between =
            |end: &End| end.owner == a && self.ends.get(&end.other).is_some_and(|other| other.owner == b);
        let links: Vec<LinkId> =
            self.ends.iter().filter(|(_, end)| between(end)).map(|(link, _)| *link).collect();
        links.into_iter().for_each(|link| self.close(link));
    }

    /// Cuts a machine off from all others, or joins it again.
    pub(super) fn isolate(&mut self, id: u64, cut: bool) {
        for other in self.machines.keys().copied().filter(|other| *other != id).collect::<Vec<_>>() {
            for pair in [(id, other), (other, id)] {
                if cut {
                    self.cut.insert(pair)
                } else {
                    self.cut.remove(&pair)
                };
            }
            if cut {
                self.break_links(id, other);
            }
        }
    }

    /// A connection from outside to `id`; its name there.
    pub(super) fn connect(&mut self, id: u64) -> LinkId {
        let link = self.next_link;
        self.next_link += 1;
        self.tell(id, Event::LinkOpened { link, dialled: None });
        link
    }

    /// A frame of `message` arrives at `id` on `link`.
    pub(super) fn inject(&mut self, id: u64, link: LinkId, message: &PeerMessage) {
        let frame = message.seal(|_| Bytes::new());
        let bytes: Vec<u8> = frame.0.iter().flatten().copied().skip(8).collect();
        self.tell(id, Event::LinkFrame { link, frame: Bytes::from(bytes) });
    }

    /// The link that `id` has to `peer`.
    pub(super) fn link(&self, id: u64, peer: u64) -> LinkId {
        self.node(id).links.link_of(NodeId(peer)).expect("they are connected")
    }

    fn close(&mut self, link: LinkId) {
        let Some(end) = self.ends.remove(&link) else { return };
        self.tell(end.owner, Event::LinkClosed { link, error: None });
        self.close(end.other);
    }

    fn dial(&mut self, from: u64, peer: NodeId) {
        let up = self.machines.get(&peer.0).is_some_and(|m| m.node.is_some() && m.halted.is_none());
        if !up || self.cut.contains(&(from, peer.0)) {
            return self.tell(from, Event::DialFailed { peer });
        }
        let (ours, theirs) = (self.next_link, self.next_link + 1);
        self.next_link += 2;
        let limit = self.machines[&from].config.max_frame_bytes();
        self.ends.insert(ours, End { owner: from, other: theirs, decoder: Decoder::new(limit) });
        self.ends.insert(theirs, End { owner: peer.0, other: ours, decoder: Decoder::new(limit) });
        self.tell(peer.0, Event::LinkOpened { link: theirs, dialled: None });
        self.tell(from, Event::LinkOpened { link: ours, dialled: Some(peer) });
    }

    fn send(&mut self, from: u64, link: LinkId, frame: &Frame) {
        let Some(other) = self.ends.get(&link).map(|end| end.other) else { return };
        let Some(end) = self.ends.get_mut(&other) else { return };
        if self.cut.contains(&(from, end.owner)) {
            return;
        }
        for piece in &frame.0 {
            end.decoder.space(piece.len())[..piece.len()].copy_from_slice(piece);
            end.decoder.advance(piece.len());
        }
        let owner = end.owner;
        while let Some(frame) = end.decoder.next_frame().expect("our own frames are whole") {
            self.machines
                .get_mut(&owner)
                .expect("it exists")
                .inbox
                .push(Event::LinkFrame { link: other, frame });
        }
    }

    fn perform(&mut self, id: u64, mut actions: Actions<Tape>) {
        for action in actions.drain().collect::<Vec<_>>() {
            if let Some(trace) = &mut self.trace {
                *trace = xxh3_64_with_seed(format!("{id} {action:?}").as_bytes(), *trace);
            }
            match action {
                Action::Log(batch) => self.machine(id).log.push_back(batch),
                Action::Job(job) => self.machine(id).jobs.push_back(job),
                Action::Dial { peer, .. } => self.dial(id, peer),
                Action::Send { link, frame } => self.send(id, link, &frame),
                Action::CloseLink { link } => self.close(link),
                Action::Reply { request, outcome } => {
                    self.machine(id).replies.entry(request).or_default().push(outcome);
                }
                Action::WakeAt(at) => self.machine(id).wake = Some(at),
                Action::Note(note) => self.machine(id).notes.push(note.0),
                Action::Stopped => self.machine(id).stopped = true,
                Action::Halt(fault) => self.machine(id).halted = Some(fault),
                Action::Discard(_) => {}
            }
        }
    }

    /// One turn of one machine; whether anything happened.
    fn turn(&mut self, id: u64) -> bool {
        let clock = self.clock();
        let machine = self.machine(id);
        if machine.node.is_none() {
            machine.inbox.clear();
            return false;
        }
        while let Some(batch) = machine.log.front().filter(|_| !machine.disk_stalls) {
            let result = batch.ops.iter().cloned().try_for_each(|op| machine.disk.perform(op).map(drop));
            machine.inbox.push(Event::DiskDone { batch: batch.id, result });
            machine.log.pop_front();
        }
        if !machine.jobs_stall
            && let Some(mut job) =
                if machine.jobs_from_the_end { machine.jobs.pop_back() } else { machine.jobs.pop_front() }
        {
            machine.jobs_done.push(job.name());
            let mut last = None;
            while let Some(op) = job.next(last.take()) {
                last = Some(machine.disk.perform(op));
            }
            machine.inbox.push(Event::JobDone(job));
        }
        if machine.wake.is_some_and(|at| at <= clock.mono) {
            machine.wake = None;
            machine.inbox.push(Event::Wake);
        }
        let Some(node) = machine.node.as_mut().filter(|_| !machine.inbox.is_empty()) else { return false };
        let mut out = Actions::new();
        node.step_into(clock, machine.inbox.drain(..), &mut out);
        if let Some(member) = &node.member {
            member.replica.raft().check_invariants().expect("the core's invariants hold");
        }
        self.perform(id, out);
        true
    }

    /// One turn of every machine. Time passes a little, or jumps to the next wake-up when nothing else happens.
    pub(super) fn round(&mut self) {
        let mut ids: Vec<u64> = self.machines.keys().copied().collect();
        if let Some(rng) = &mut self.rng {
            let by = rng.below(ids.len() as u64) as usize;
            ids.rotate_left(by);
        }
        let mut busy = false;
        for id in ids {
            busy |= self.turn(id);
        }
        let wake = self.machines.values().filter(|m| m.node.is_some()).filter_map(|m| m.wake).min();
        self.now = match wake {
            Some(at) if !busy => self.now.max(at),
            _ => self.now + 20,
        };
    }

    pub(super) fn run_for(&mut self, time: Micros) {
        let end = self.now + time;
        while self.now < end {
            self.round();
        }
    }

    #[track_caller]
    pub(super) fn run_until(&mut self, time: Micros, done: impl Fn(&Self) -> bool) {
        let end = self.now + time;
        while !done(self) {
            assert!(self.now < end, "it did not happen in {time} µs:\n{}", self.report());
            self.round();
        }
    }

    fn report(&self) -> String {
        let mut report = String::new();
        for (id, machine) in &self.machines {
            let phase = machine.node.as_ref().map(|node| (node.phase, node.role, node.term, node.leader));
            report += &format!("node {id}: {phase:?} {:?}\n", machine.halted);
            for note in machine.notes.iter().rev().take(8).rev() {
                report += &format!("    {note}\n");
            }
        }
        report
    }
}

impl Machine {
    fn new(config: Config) -> Self {
        Self {
            node: None,
            disk: Disk::default(),
            config,
            replies: BTreeMap::new(),
            halted: None,
            stopped: false,
            notes: Vec::new(),
            disk_stalls: false,
            jobs_stall: false,
            jobs_from_the_end: false,
            jobs_done: Vec::new(),
            log: VecDeque::new(),
            jobs: VecDeque::new(),
            inbox: Vec::new(),
            wake: None,
        }
    }

    pub(super) fn phase(&self) -> Option<Phase> {
        self.node.as_ref().map(|node| node.phase)
    }
}
