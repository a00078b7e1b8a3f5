//! A cluster of real nodes: every event, disk operation, frame and tick of the clock in one queue, decided by one seed.
//!
//! The cluster does for each node what a driver does: it hands it batches of events, performs its actions, and wakes it
//! at the time it asked for. It decides nothing for a node; it decides everything for the world: how long an operation
//! takes, which frames arrive, what a power failure leaves on a disk.

mod bounds;
mod clients;
mod counting;
mod lanes;
mod ledger;
mod machine;
mod majority;
mod observe;
mod perform;
mod pipeline;
mod promises;
mod safety;
mod settings;
mod watch;

pub use clients::{ClerkId, Finished};
pub use ledger::Committed;
pub use machine::{Crash, Machine, Moment};
pub(crate) use majority::short_half;
pub use pipeline::Ask;
pub use settings::Settings;

use std::collections::{BTreeMap, BTreeSet};
use std::string::String;
use std::vec::Vec;

use bytes::Bytes;

use self::clients::{Client, Gateway, Wire};
use self::promises::Promises;
use self::safety::Safety;
use super::census::met;
use super::disk::Counts;
use super::network::{Network, Opened};
use super::queue::Queue;
use super::tally::Tally;
use super::trace::{MessageId, Trace, What};
use crate::codec::frame::Decoder;
use crate::gateway;
use crate::node::{Event, Fault, LinkId, Node, RequestId, Status};
use crate::raft::{Configuration, Member, NodeId, Role};
use crate::replica::{Outcome, Replica, Request, StateMachine};
use crate::rng::Rng;
use crate::time::Micros;

/// Longest frame that nodes exchange; they never make longer ones themselves.
const MAX_FRAME: usize = 64 << 20;

/// Something that is going to happen.
#[derive(Debug)]
enum Happening<S: StateMachine> {
    /// A node looks at its inbox.
    Turn { node: NodeId, life: u64 },
    /// The time of a node's wake may have come.
    Wake { node: NodeId, life: u64 },
    /// A process that was stopped goes on, if it is not stopped again.
    Resumes { node: NodeId },
    /// The operation under way in the log lane ends.
    LogOp { node: NodeId, life: u64 },
    /// The operation under way in the job lane ends.
    JobOp { node: NodeId, life: u64 },
    /// A connection is open at this end.
    Opened { link: LinkId, dialled: Option<NodeId> },
    /// A frame's payload reaches this end.
    Frame { link: LinkId, payload: Bytes, message: MessageId },
    /// This end hears that its connection is closed.
    Closed { link: LinkId },
    /// A process ends within the disk operation that is under way.
    CrashWithin { node: NodeId, life: u64, crash: Crash },
    /// Something happens between a clerk and a gateway.
    Wire(Wire),
    /// Something reaches a node from outside the network of nodes.
    Outside { node: NodeId, life: u64, event: Event<S> },
}

/// How a request ended, as its client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The node answered.
    Outcome(Outcome),
    /// The node went down: the client knows nothing.
    ConnectionLost,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The run.
    pub seed: u64,
    /// When, in microseconds of the run.
    pub at: Micros,
    /// By which node.
    pub node: NodeId,
    /// What was promised, and what happened.
    pub what: String,
}

impl Violation {
    /// The name of the checker that fired: what stands before the first colon.
    pub fn checker(&self) -> &str {
        self.what.split(':').next().unwrap_or_default()
    }
}

impl core::fmt::Display for Violation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "seed {}, at {} us, {:?}: {}", self.seed, self.at, self.node, self.what)
    }
}

impl core::error::Error for Violation {}

/// What a step of the simulation may end in.
pub type Checked<T> = Result<T, Violation>;

/// Nodes, their machines, and the world between them.
#[derive(Debug)]
pub struct Cluster<S: StateMachine> {
    settings: Settings,
    now: Micros,
    queue: Queue<Happening<S>>,
    /// The weather and the cuts are set here.
    pub network: Network,
    machines: BTreeMap<NodeId, Machine<S>>,
    tally: Tally,
    safety: Safety,
    promises: Promises,
    /// Everything that happened.
    pub trace: Trace,
    /// Takes every frame that is sent. One for all of them: each has space of its own to fill.
    frames: Decoder,
    pending: BTreeMap<RequestId, NodeId>,
    answers: BTreeMap<RequestId, Answer>,
    last_request: u64,
    clients: Vec<Client>,
    finished: Vec<Finished>,
    gateways: BTreeMap<u64, Gateway>,
    /// What all gateways take for their process. Nobody asks for its statistics.
    process: gateway::Process,
    /// Connections that may still be answered by a node that has not heard of their end.
    ended_gateways: BTreeSet<u64>,
    /// For what the world decides; nodes and disks have their own.
    rng: Rng,
}

impl<S: StateMachine> Cluster<S> {
    /// A cluster of empty machines; [`start`](Self::start) them.
    pub fn new(settings: Settings) -> Self {
        let seed = settings.seed;
        let mut rng = Rng::stream(seed, 1);
        let machines = settings.configs().map(|config| {
            let clock = settings.clock(&mut rng);
            let mut machine = Machine::new(config, clock, seed);
            machine.disk.set_weather(settings.usual_disk());
            (machine.config.raft.id, machine)
        });
        let machines = machines.collect();
        Self {
            settings,
            now: 0,
            queue: Queue::default(),
            network: Network::new(Rng::stream(seed, 2).next_u64()),
            machines,
            tally: Tally::default(),
            safety: Safety::default(),
            promises: Promises::default(),
            trace: Trace::default(),
            frames: Decoder::new(MAX_FRAME),
            pending: BTreeMap::new(),
            answers: BTreeMap::new(),
            last_request: 0,
            clients: Vec::new(),
            finished: Vec::new(),
            gateways: BTreeMap::new(),
            process: gateway::Process::default(),
            ended_gateways: BTreeSet::new(),
            rng,
        }
    }

    /// The time, in microseconds since the beginning.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// All nodes, ascending: machines that belong to the cluster, or did and were left running.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.machines.iter().filter(|(_, machine)| machine.is_enrolled).map(|(&id, _)| id).collect()
    }

    /// All machines, spare ones too.
    pub fn machines(&self) -> Vec<NodeId> {
        self.machines.keys().copied().collect()
    }

    /// How many nodes have founded the cluster.
    pub fn founders(&self) -> u64 {
        self.settings.nodes
    }

    /// A machine that is no member is started to join those that are, with an empty disk or the one that it has. What it is to
    /// be added as.
    pub fn enrol(&mut self, node: NodeId, members: &Configuration, keeps_its_disk: bool) -> Checked<Member> {
        let was_member = self.machine(node).lives > 0;
        let keeps = keeps_its_disk
            && self.machine(node).fault.as_ref().is_none_or(|fault| fault.exit_code() == Fault::FENCED);
        if was_member && !keeps {
            self.wipe(node);
        } else {
            self.crash(node, Crash::Process);
        }
        let others = members.members.keys().filter(|id| **id != node);
        let founders = others.map(|&id| (id, settings::addresses(id))).collect();
        let machine = self.machine(node);
        let disk = machine.config.fresh_disk;
        machine.config.founders = founders;
        machine.is_enrolled = true;
        machine.fault = None;
        self.start(node)?;
        let crate::node::Addresses { peer, client } = settings::addresses(node);
        Ok(Member { disk, peer_address: peer, client_address: client })
    }

    /// A machine is taken away from the cluster; its process has ended.
    pub fn dismiss(&mut self, node: NodeId) {
        let machine = self.machine(node);
        machine.is_enrolled = false;
        machine.crash_within = None;
        machine.crash_at = None;
        machine.paused_until = 0;
    }

    /// One machine, for faults of its disk and clocks.
    ///
    /// # Panics
    /// When there is no such machine: the scenario is wrong.
    pub fn machine(&mut self, node: NodeId) -> &mut Machine<S> {
        self.machines.get_mut(&node).expect("a machine of this cluster")
    }

    /// What a running node says of itself.
    pub fn status(&self, node: NodeId) -> Option<Status> {
        Some(self.machines.get(&node)?.node()?.status())
    }

    /// Whether a node's process runs.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.machines.get(&node).is_some_and(Machine::is_up)
    }

    /// The replica of a running node, once its directory is a member's.
    pub fn replica(&self, node: NodeId) -> Option<&Replica<S>> {
        self.machines.get(&node)?.node()?.replica()
    }

    /// The leader of the greatest term, if a running node leads.
    pub fn leader(&self) -> Option<NodeId> {
        let terms = self.machines.keys().filter_map(|&node| {
            let raft = self.replica(node)?.raft().status();
            (raft.role == Role::Leader).then_some((raft.term, node))
        });
        terms.max().map(|(_, node)| node)
    }

    /// The configuration as of what is known to be committed; `None` before anything is.
    pub fn committed_configuration(&self) -> Option<&Configuration> {
        self.safety.configuration()
    }

    /// The configurations that may decide: the committed one, and later ones that some node has held.
    pub fn configurations(&self) -> impl Iterator<Item = &Configuration> {
        self.safety.configurations()
    }

    /// Why a node's last process halted, if it did.
    pub fn fault(&self, node: NodeId) -> Option<&Fault> {
        self.machines.get(&node)?.fault.as_ref()
    }

    /// The nodes that the settings of a machine name.
    pub fn told(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        let machine = self.machines.get(&node);
        machine.into_iter().flat_map(|machine| machine.config.founders.keys().copied())
    }

    /// Starts the process of a machine that is down, with what its disk holds. One that was taken away stays away.
    pub fn start(&mut self, node: NodeId) -> Checked<()> {
        if self.is_up(node) || !self.machine(node).is_enrolled {
            return Ok(());
        }
        self.count_start(node);
        let (now, machine) = (self.now, self.machine(node));
        machine.begin_life();
        let mut actions = crate::node::Actions::new();
        let started = Node::new(machine.config.clone(), machine.clock.read(now), &mut actions);
        let started = started.map_err(|error| self.violation(node, std::format!("settings: {error}")))?;
        let life = self.machine(node).lives;
        self.machine(node).process = Some(machine::Process::new(started));
        self.trace.event(now, node, || What::Start { life });
        self.trace.record(now, node, "start", &[], String::new);
        self.perform(node, &mut actions)
    }

    /// Starts every machine that is down.
    pub fn start_all(&mut self) -> Checked<()> {
        self.nodes().into_iter().try_for_each(|node| self.start(node))
    }

    /// A process that is stopped goes on now.
    pub fn resume(&mut self, node: NodeId) {
        self.machine(node).paused_until = 0;
        self.queue.push(self.now, Happening::Resumes { node });
    }

    /// Ends a process at this very moment, wherever its operations are. Its connections break, and so do those of its
    /// clients.
    pub fn crash(&mut self, node: NodeId, crash: Crash) {
        if !self.machine(node).is_up() {
            return;
        }
        self.tally.add(match crash {
            Crash::Process => met::KILLED,
            Crash::Power => met::POWER_FAILED,
        });
        self.end(node, crash);
    }

    /// A process is no more, whatever ended it.
    pub(super) fn end(&mut self, node: NodeId, crash: Crash) {
        self.trace.record(self.now, node, "crash", &[], || std::format!("{crash:?}"));
        self.trace.event(self.now, node, || What::Crash(crash));
        let machine = self.machine(node);
        machine.paused_until = 0;
        machine.postponed.clear();
        if machine.is_busy() {
            self.tally.add(met::WITHIN_OPERATION);
        }
        self.machine(node).crash(crash);
        self.process_ended(node);
    }

    /// Replaces the disk of a machine by an empty one; its process, if it runs, is killed before.
    pub fn wipe(&mut self, node: NodeId) {
        self.crash(node, Crash::Process);
        let name =
            crate::raft::DiskId(u128::from(self.rng.next_u64()) << 64 | u128::from(self.rng.next_u64()));
        let machine = self.machine(node);
        machine.disk.erase();
        machine.config.fresh_disk = name;
        self.trace.event(self.now, node, || What::Wipe);
        self.disk_changed(node);
    }

    /// Replaces the disk of a machine by an older image of it; its process, if it runs, is killed before.
    pub fn roll_back(&mut self, node: NodeId, image: super::disk::Disk) {
        self.crash(node, Crash::Process);
        self.machine(node).disk.restore(image);
        self.trace.event(self.now, node, || What::RollBack);
        self.disk_changed(node);
    }

    /// Sends a request of a connection of its own to a node.
    pub fn request(&mut self, node: NodeId, request: Request) -> RequestId {
        let connection = self.last_request + 1;
        self.request_on(node, connection, 0, request)
    }

    /// Sends a request of this connection, which must always lead to the same process of the same node.
    pub fn request_on(&mut self, node: NodeId, connection: u64, epoch: u32, request: Request) -> RequestId {
        let delay = 20 + self.rng.below(100);
        self.ask(node, connection, epoch, delay, None, request)
    }

    /// Hands a request to a node at this moment, to be answered within so many microseconds.
    pub fn request_within(&mut self, node: NodeId, within: Micros, request: Request) -> RequestId {
        let clock = self.machine(node).clock;
        let deadline = clock.read(self.now).mono + within;
        let connection = self.last_request + 1;
        self.ask(node, connection, 0, 0, Some(deadline), request)
    }

    fn ask(
        &mut self,
        node: NodeId,
        connection: u64,
        epoch: u32,
        delay: Micros,
        deadline: Option<Micros>,
        request: Request,
    ) -> RequestId {
        self.last_request += 1;
        let id = RequestId { connection, number: self.last_request };
        self.observe_request(node, id, &request);
        let machine = self.machine(node);
        if !machine.is_up() {
            self.observe_answer(id, &Answer::ConnectionLost);
            self.answers.insert(id, Answer::ConnectionLost);
            return id;
        }
        let life = machine.lives;
        self.pending.insert(id, node);
        let event = Event::Request { id, epoch, deadline, request };
        self.queue.push(self.now + delay, Happening::Outside { node, life, event });
        id
    }

    /// Hands an event to a running node, such as [`Event::Stop`] or [`Event::ConnectionClosed`].
    pub fn tell(&mut self, node: NodeId, event: Event<S>) {
        let life = self.machine(node).lives;
        self.queue.push(self.now, Happening::Outside { node, life, event });
    }

    /// The answer to a request, once it is there.
    pub fn take_answer(&mut self, request: RequestId) -> Option<Answer> {
        self.answers.remove(&request)
    }

    /// When the next thing happens, if anything does.
    pub fn next_at(&self) -> Option<Micros> {
        self.queue.next_at()
    }

    /// Lets time pass in which nothing happens.
    pub fn pass_to(&mut self, at: Micros) {
        debug_assert!(self.queue.next_at().is_none_or(|next| next >= at));
        self.now = self.now.max(at);
    }

    /// Counts something that a scenario did.
    pub fn count(&mut self, what: &'static str) {
        self.tally.add(what);
    }

    /// Counts a fault that befell a machine and that may leave no other trace.
    pub fn befell(&mut self, node: NodeId, what: &'static str) {
        self.tally.add(what);
        let text = what.strip_prefix("fault: ").unwrap_or(what);
        self.trace.event(self.now, node, || What::Fault { text: text.into() });
    }

    /// A machine's disk has room again, and is as good as at the beginning.
    pub fn relieve_disk(&mut self, node: NodeId) {
        let usual = self.settings.usual_disk();
        let disk = &mut self.machine(node).disk;
        disk.set_capacity(None);
        disk.set_weather(usual);
    }

    /// What befell all disks together.
    pub fn disk_counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.machines.values().for_each(|machine| sum.add(machine.disk.counts()));
        sum
    }

    /// Exchanges the disks of two machines; their processes, if they run, are killed before.
    pub fn swap_disks(&mut self, one: NodeId, other: NodeId) {
        self.crash(one, Crash::Process);
        self.crash(other, Crash::Process);
        let disk = core::mem::take(&mut self.machine(one).disk);
        let disk = core::mem::replace(&mut self.machine(other).disk, disk);
        self.machine(one).disk = disk;
    }

    /// Whether answers wait to be taken.
    pub(super) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// How often what happened, by name.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Lets the next thing happen; `false` when nothing will.
    pub fn step(&mut self) -> Checked<bool> {
        self.observe_world();
        let Some((at, happening)) = self.queue.pop() else { return Ok(false) };
        self.now = at;
        self.happen(happening)?;
        Ok(true)
    }

    /// Lets things happen until `predicate` holds (`true`) or `bound` microseconds have passed (`false`).
    pub fn run_until(
        &mut self,
        bound: Micros,
        mut predicate: impl FnMut(&mut Self) -> bool,
    ) -> Checked<bool> {
        let end = self.now.saturating_add(bound);
        loop {
            if predicate(self) {
                return Ok(true);
            }
            if self.queue.next_at().is_none_or(|next| next > end) {
                self.now = end;
                return Ok(false);
            }
            self.step()?;
        }
    }

    /// Lets things happen for so many microseconds.
    pub fn run_for(&mut self, micros: Micros) -> Checked<()> {
        self.run_until(micros, |_| false).map(|_| ())
    }

    /// Runs until the request is answered. A request without an answer within a minute is a broken promise.
    pub fn answer(&mut self, request: RequestId) -> Checked<Answer> {
        let node = self.pending.get(&request).copied();
        if !self.run_until(60_000_000, |cluster| cluster.answers.contains_key(&request))? {
            let node = node.unwrap_or(NodeId(0));
            return Err(self.violation(node, std::format!("{request:?} waits for ever")));
        }
        Ok(self.take_answer(request).unwrap_or(Answer::ConnectionLost))
    }

    /// Runs until some node leads and all running nodes follow it.
    pub fn settle(&mut self, bound: Micros) -> Checked<Option<NodeId>> {
        let agreed = |cluster: &Self| {
            let leader = cluster.leader()?;
            let follows = |machine: &Machine<S>| {
                let replica = machine.node().map(|node| node.replica());
                replica.is_none_or(|replica| {
                    replica.and_then(|replica| replica.raft().status().leader) == Some(leader)
                })
            };
            cluster.machines.values().all(follows).then_some(leader)
        };
        // Asking every node after every event would cost more than the events.
        let end = self.now + bound;
        while self.now < end {
            if let Some(leader) = agreed(self) {
                return Ok(Some(leader));
            }
            self.run_for(5_000)?;
        }
        Ok(agreed(self))
    }

    pub(super) fn violation(&self, node: NodeId, what: String) -> Violation {
        Violation { seed: self.settings.seed, at: self.now, node, what }
    }

    /// Whatever led to the process of `node` breaks.
    fn process_ended(&mut self, node: NodeId) {
        self.safety.process_ended(node);
        self.observe_end(node);
        let links: Vec<LinkId> = self.network.links_of(node).collect();
        for link in links {
            if let Some((other, at)) = self.network.close(self.now, link) {
                self.queue.push(at, Happening::Closed { link: other });
            }
        }
        let lost: Vec<RequestId> =
            self.pending.iter().filter(|(_, at)| **at == node).map(|(&id, _)| id).collect();
        for id in lost {
            self.pending.remove(&id);
            self.observe_answer(id, &Answer::ConnectionLost);
            self.answers.insert(id, Answer::ConnectionLost);
        }
        self.gateways_lost(node);
    }

    fn dial(&mut self, from: NodeId, to: NodeId) {
        let life = self.machine(from).lives;
        let up = self.machines.get(&to).is_some_and(Machine::is_up);
        match up.then(|| self.network.open(self.now, from, to)).flatten() {
            Some(Opened { dialler, dialler_at, dialled, dialled_at }) => {
                self.queue.push(dialled_at, Happening::Opened { link: dialled, dialled: None });
                self.queue.push(dialler_at, Happening::Opened { link: dialler, dialled: Some(to) });
            }
            None => {
                let at = self.now + self.network.delay(from, to);
                let event = Event::DialFailed { peer: to };
                self.queue.push(at, Happening::Outside { node: from, life, event });
            }
        }
    }
}
