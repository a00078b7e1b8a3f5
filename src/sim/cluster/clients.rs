//! Clients of a cluster as they are in production: clerks that speak RESP with the gateways of the nodes, over connections
//! that divide the bytes as they like and break with the node's process.

use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::string::String;
use std::vec::Vec;

use bytes::Bytes;

use super::pipeline::{Ask, Ended, Pipeline};
use super::settings::addresses;
use super::{Cluster, Happening};
use crate::client::{self, CallId, CallKind, Clerk, ClerkError};
use crate::codec::resp::Value;
use crate::gateway::{self, Connection, Context};
use crate::node::{Event, RequestId};
use crate::raft::NodeId;
use crate::replica::{Outcome, SessionError, SessionId, StateMachine};
use crate::sim::census::met;
use crate::time::Micros;

/// Names a clerk of a cluster.
pub type ClerkId = usize;

/// What happens between a clerk and a gateway.
#[derive(Debug)]
pub(super) enum Wire {
    /// A clerk's connection reaches whom it was meant for.
    Connects { clerk: ClerkId, link: client::LinkId, endpoint: String },
    /// Bytes of a clerk reach the gateway.
    Asks { connection: u64 },
    /// A clerk has closed its end.
    Ends { connection: u64 },
    /// Something reaches a clerk.
    Clerk { clerk: ClerkId, event: client::Event },
    /// The time of a gateway's wake may have come.
    GatewayWakes { connection: u64 },
}

/// One clerk, its connections and what its calls came to.
#[derive(Debug)]
pub(super) struct Client {
    caller: Caller,
    links: BTreeMap<client::LinkId, u64>,
    /// Connections that broke: what is still on its way to the clerk is lost.
    broken: BTreeSet<client::LinkId>,
    /// The only nodes that it reaches; `None` for all.
    reach: Option<BTreeSet<NodeId>>,
    /// Calls that have not ended, with their names in the log once they have one.
    open: BTreeMap<CallId, Option<(SessionId, u64)>>,
    done: BTreeMap<CallId, Result<Value, ClerkError>>,
}

/// Who carries a client's calls.
#[derive(Debug)]
enum Caller {
    Clerk(Box<Clerk>),
    Pipeline(Box<Pipeline>),
}

/// A call that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Whose.
    pub clerk: ClerkId,
    /// Which one.
    pub call: CallId,
    /// The session and the number under which it is in the log, if it is there.
    pub name: Option<(SessionId, u64)>,
    /// How it ended.
    pub result: Result<Value, ClerkError>,
    /// The call of the same connection that it was certainly done behind, if the client knows.
    pub behind: Option<CallId>,
    /// Calls of the same connection that were not known to be done and, if they are not done by now, never will be.
    pub settles: Vec<CallId>,
    /// What the server must not have done.
    pub broken: Option<&'static str>,
}

/// The node's end of a connection.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) node: NodeId,
    connection: Connection,
    clerk: ClerkId,
    link: client::LinkId,
    /// What the clerk has written and the gateway has not read, in order: a stopped process reads it later.
    pipe: VecDeque<Bytes>,
    /// When the last bytes arrive, in each direction: later ones come later.
    asked: Micros,
    answered: Micros,
}

impl Client {
    fn new(caller: Caller) -> Self {
        Self {
            caller,
            links: BTreeMap::new(),
            broken: BTreeSet::new(),
            reach: None,
            open: BTreeMap::new(),
            done: BTreeMap::new(),
        }
    }

    /// A call gets its name when it is sent, and another one if it is sent in another session.
    fn learn_names(&mut self) {
        if let Caller::Clerk(clerk) = &self.caller {
            for (call, name) in &mut self.open {
                *name = clerk.name_of(*call).or(*name);
            }
        }
    }
}

impl<S: StateMachine> Cluster<S> {
    /// A new clerk that knows all nodes.
    pub fn clerk(&mut self) -> ClerkId {
        let config = self.clerk_config();
        self.clerk_with(config)
    }

    /// A new clerk with these settings.
    pub fn clerk_with(&mut self, config: client::Config) -> ClerkId {
        self.clients.push(Client::new(Caller::Clerk(Box::new(Clerk::new(config)))));
        self.clients.len() - 1
    }

    /// A new client without a clerk, which sends commands in batches on one connection, once, as most Redis libraries do.
    pub fn pipeline(&mut self) -> ClerkId {
        let config = self.clerk_config();
        let pipeline = Pipeline::new(config.endpoints, config.seed as u64);
        self.clients.push(Client::new(Caller::Pipeline(Box::new(pipeline))));
        self.clients.len() - 1
    }

    /// The settings of a clerk that knows all nodes.
    pub fn clerk_config(&mut self) -> client::Config {
        let endpoints = self.machines.keys().map(|&id| addresses(id).client).collect();
        client::Config::new(endpoints, self.rng.next_u64().into())
    }

    /// Breaks one of the clients' connections, drawn by the cluster: both ends hear of it, and what was on its way is lost.
    /// `false` when there is none.
    pub fn break_a_connection(&mut self) -> bool {
        let count = self.gateways.len() as u64;
        let chosen = self.rng.below(count) as usize;
        let Some((&connection, _)) = self.gateways.iter().nth(chosen) else { return false };
        self.break_connection(connection);
        true
    }

    /// From now on this clerk reaches only these nodes, or all of them again. Its connections to others break.
    pub fn confine(&mut self, clerk: ClerkId, nodes: Option<BTreeSet<NodeId>>) {
        let outside = |gateway: &Gateway| nodes.as_ref().is_some_and(|nodes| !nodes.contains(&gateway.node));
        let lost = self.gateways.iter().filter(|(_, gateway)| gateway.clerk == clerk && outside(gateway));
        let lost: Vec<u64> = lost.map(|(&connection, _)| connection).collect();
        self.clients[clerk].reach = nodes;
        lost.into_iter().for_each(|connection| self.break_connection(connection));
    }

    fn break_connection(&mut self, connection: u64) {
        let Some(gateway) = self.gateways.get(&connection) else { return };
        let (clerk, link) = (gateway.clerk, gateway.link);
        let client = &mut self.clients[clerk];
        client.links.remove(&link);
        client.broken.insert(link);
        self.tally.add(met::CONNECTION_BROKEN);
        self.end_gateway(connection);
    }

    /// The calls that have ended since this was last asked.
    pub fn take_finished(&mut self) -> Vec<Finished> {
        core::mem::take(&mut self.finished)
    }

    /// Whether there are any.
    pub fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// What the log names a call of a clerk by, once it was sent.
    pub fn name_of(&self, clerk: ClerkId, call: CallId) -> Option<(SessionId, u64)> {
        self.clients[clerk].open.get(&call).copied().flatten()
    }

    /// Begins a call of a command by a clerk.
    pub fn call(&mut self, clerk: ClerkId, kind: CallKind, arguments: &[&[u8]]) -> CallId {
        let words = arguments.iter().map(|word| Bytes::copy_from_slice(word)).collect();
        self.call_all(clerk, &[Ask::Command(kind, words)])[0]
    }

    /// Begins a call of each, in order: a pipeline sends them in one piece. A clerk does not say MULTI: others' commands are
    /// on its connection too.
    pub fn call_all(&mut self, clerk: ClerkId, asks: &[Ask]) -> Vec<CallId> {
        let mut out = Vec::new();
        let now = self.now;
        let calls: Vec<CallId> = match &mut self.clients[clerk].caller {
            Caller::Pipeline(pipeline) => pipeline.send(now, asks, &mut out),
            Caller::Clerk(caller) => {
                let call = |ask: &Ask| {
                    let Ask::Command(kind, words) = ask else { panic!("a clerk has no MULTI: {ask:?}") };
                    let words: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
                    caller.call(now, *kind, &words, &mut out)
                };
                asks.iter().map(call).collect()
            }
        };
        for (&call, ask) in calls.iter().zip(asks) {
            self.clients[clerk].open.insert(call, None);
            self.observe_call(clerk, call, ask);
        }
        self.perform_for_clerk(clerk, out);
        calls
    }

    /// How a call ended, once it has.
    pub fn take_result(&mut self, clerk: ClerkId, call: CallId) -> Option<Result<Value, ClerkError>> {
        self.clients[clerk].done.remove(&call)
    }

    pub(super) fn wire(&mut self, wire: Wire) {
        match wire {
            Wire::Connects { clerk, link, endpoint } => self.accept(clerk, link, &endpoint),
            Wire::Asks { connection } => {
                if let Some(gateway) = self.gateways.get_mut(&connection)
                    && let Some(bytes) = gateway.pipe.pop_front()
                {
                    gateway.connection.space(bytes.len())[..bytes.len()].copy_from_slice(&bytes);
                    gateway.connection.advance(bytes.len());
                    self.step_gateway(connection, gateway::Event::Input);
                }
            }
            Wire::Ends { connection } => {
                self.end_gateway(connection);
            }
            Wire::Clerk { clerk, event: client::Event::Received { link, .. } }
                if self.clients[clerk].broken.contains(&link) =>
            {
                self.tally.add(met::REPLY_LOST);
            }
            Wire::Clerk { clerk, event } => {
                let mut out = Vec::new();
                match &mut self.clients[clerk].caller {
                    Caller::Clerk(caller) => caller.step(self.now, event, &mut out),
                    Caller::Pipeline(pipeline) => {
                        for ended in pipeline.step(self.now, event, &mut out) {
                            self.call_ended(clerk, ended);
                        }
                    }
                }
                self.perform_for_clerk(clerk, out);
            }
            Wire::GatewayWakes { connection } => {
                let Some(gateway) = self.gateways.get(&connection) else { return };
                let clock = self.machines.get(&gateway.node).map(|machine| machine.clock);
                let local = clock.unwrap_or_default().read(self.now).mono;
                if gateway.connection.wake_at().is_some_and(|at| at <= local) {
                    self.step_gateway(connection, gateway::Event::Wake);
                }
            }
        }
    }

    /// The node's answer to a request of a gateway's; `false` when it is not a gateway's.
    ///
    /// # Errors
    ///
    /// When the clerk at the other end still waits for what this answer says that it has acknowledged.
    pub(super) fn answer_gateway(&mut self, request: RequestId, outcome: &Outcome) -> Result<bool, String> {
        let known = self.gateways.contains_key(&request.connection);
        if let (Some(gateway), Outcome::Session(SessionError::Stale)) =
            (self.gateways.get(&request.connection), outcome)
            && self.clients[gateway.clerk].links.contains_key(&gateway.link)
        {
            return Err("sessions: a reply that the client waits for counts as acknowledged".into());
        }
        if known {
            let (number, outcome) = (request.number, outcome.clone());
            self.step_gateway(request.connection, gateway::Event::Reply { number, outcome });
        }
        Ok(known || self.ended_gateways.contains(&request.connection))
    }

    /// The process of `node` ended, and its connections with it.
    pub(super) fn gateways_lost(&mut self, node: NodeId) {
        let lost: Vec<u64> =
            self.gateways.iter().filter(|(_, gateway)| gateway.node == node).map(|(&id, _)| id).collect();
        for connection in lost {
            self.end_gateway(connection);
        }
    }

    fn accept(&mut self, clerk: ClerkId, link: client::LinkId, endpoint: &str) {
        let reach = &self.clients[clerk].reach;
        let found = self.machines.iter().find(|(id, machine)| {
            machine.is_up()
                && addresses(**id).client == endpoint
                && reach.as_ref().is_none_or(|nodes| nodes.contains(id))
        });
        let Some((&node, machine)) = found else {
            self.tell_clerk(self.now, clerk, client::Event::Disconnected { link });
            return;
        };
        self.last_request += 1;
        let id = self.last_request;
        let local = machine.clock.read(self.now);
        // As the command has it: who does not forward, redirects.
        let settings =
            gateway::Settings { redirect: !machine.config.forward, ..gateway::Settings::default() };
        let connection = Connection::new(id, "clerk:1", local, &settings);
        self.clients[clerk].links.insert(link, id);
        self.gateways.insert(
            id,
            Gateway {
                node,
                connection,
                clerk,
                link,
                pipe: VecDeque::new(),
                asked: self.now,
                answered: self.now,
            },
        );
        self.tell_clerk(self.now, clerk, client::Event::Connected { link });
    }

    fn step_gateway(&mut self, connection: u64, event: gateway::Event) {
        let Some(gateway) = self.gateways.get_mut(&connection) else { return };
        let node = gateway.node;
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let (clock, life) = (machine.clock, machine.lives);
        let Some(running) = &mut machine.process else { return };
        let context = Context { node: &running.status(), process: &self.process };
        let mut out = gateway::Actions::new();
        gateway.connection.step(clock.read(self.now), event, &context, &mut out);
        let wake = gateway.connection.wake_at();
        let written = gateway.connection.take_output();
        self.answer_clerk(connection, written.into());
        if !self.gateways.contains_key(&connection) {
            return;
        }
        if let Some(at) = wake {
            let at = clock.when(at).max(self.now);
            self.queue.push(at, Happening::Wire(Wire::GatewayWakes { connection }));
        }
        while let Some(action) = out.pop() {
            match action {
                gateway::Action::Request { id, epoch, request } => {
                    self.deliver(node, life, Event::Request { id, epoch, deadline: None, request });
                }
                gateway::Action::ListClients => {
                    self.step_gateway(connection, gateway::Event::Clients(Vec::new()));
                }
                gateway::Action::TakeSnapshot => self.deliver(node, life, Event::TakeSnapshot),
                gateway::Action::Close => self.end_gateway(connection),
            }
        }
    }

    /// Sends bytes to the clerk, in one piece or two.
    fn answer_clerk(&mut self, connection: u64, mut bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.network.count_reply(bytes.len());
        if self.network.loses_reply() {
            let at = self.now + self.network.reply_delay();
            return self.lose_with_connection(connection, at);
        }
        while !bytes.is_empty() {
            let piece = if self.rng.chance(1, 4) {
                self.rng.below(bytes.len() as u64) + 1
            } else {
                bytes.len() as u64
            };
            let piece = bytes.split_to(piece as usize);
            let at = self.now + self.network.reply_delay();
            let Some(gateway) = self.gateways.get_mut(&connection) else { return };
            gateway.answered = gateway.answered.max(at);
            let (at, clerk, link) = (gateway.answered, gateway.clerk, gateway.link);
            self.tell_clerk(at, clerk, client::Event::Received { link, bytes: piece });
        }
    }

    /// What was on its way is lost, and the connection with it: the clerk hears of that when it would have arrived.
    fn lose_with_connection(&mut self, connection: u64, at: Micros) {
        if let Some(gateway) = self.gateways.get_mut(&connection) {
            gateway.answered = gateway.answered.max(at);
        }
        self.break_connection(connection);
    }

    /// The gateway's end is gone; its node, if it still runs, and the clerk hear of it.
    fn end_gateway(&mut self, connection: u64) {
        let Some(gateway) = self.gateways.remove(&connection) else { return };
        self.ended_gateways.insert(connection);
        let life = self.machines.get(&gateway.node).map_or(0, |machine| machine.lives);
        self.deliver(gateway.node, life, Event::ConnectionClosed { connection });
        self.tell_clerk(gateway.answered, gateway.clerk, client::Event::Disconnected { link: gateway.link });
    }

    fn tell_clerk(&mut self, at: Micros, clerk: ClerkId, event: client::Event) {
        self.queue.push(at.max(self.now), Happening::Wire(Wire::Clerk { clerk, event }));
    }

    fn perform_for_clerk(&mut self, clerk: ClerkId, actions: Vec<client::Action>) {
        self.clients[clerk].learn_names();
        for action in actions {
            match action {
                client::Action::Connect { link, endpoint } => {
                    let at = self.now + 50 + self.rng.below(200);
                    self.queue.push(at, Happening::Wire(Wire::Connects { clerk, link, endpoint }));
                }
                client::Action::Send { link, bytes } => self.ask_gateway(clerk, link, bytes),
                client::Action::Close { link } => {
                    let connection = self.clients[clerk].links.remove(&link);
                    let asked = connection.and_then(|id| self.gateways.get(&id)).map(|gateway| gateway.asked);
                    if let (Some(connection), Some(asked)) = (connection, asked) {
                        self.queue.push(asked.max(self.now), Happening::Wire(Wire::Ends { connection }));
                    }
                }
                client::Action::Done { call, result } => {
                    self.call_ended(clerk, Ended::alone(call, result));
                }
                client::Action::WakeAt(at) => self.tell_clerk(at, clerk, client::Event::Wake),
            }
        }
    }

    fn call_ended(&mut self, clerk: ClerkId, ended: Ended) {
        let Ended { call, result, behind, settles, broken, met } = ended;
        met.into_iter().for_each(|what| self.tally.add(what));
        self.observe_result(clerk, call, &result);
        let client = &mut self.clients[clerk];
        let name = client.open.remove(&call).flatten();
        client.done.insert(call, result.clone());
        self.finished.push(Finished { clerk, call, name, result, behind, settles, broken });
    }

    fn ask_gateway(&mut self, clerk: ClerkId, link: client::LinkId, bytes: Bytes) {
        let Some(&connection) = self.clients[clerk].links.get(&link) else { return };
        self.network.count_request(bytes.len());
        let at = self.now + self.network.request_delay();
        if self.network.loses_request() {
            return self.lose_with_connection(connection, at);
        }
        let Some(gateway) = self.gateways.get_mut(&connection) else { return };
        gateway.asked = gateway.asked.max(at);
        let at = gateway.asked;
        gateway.pipe.push_back(bytes);
        self.queue.push(at, Happening::Wire(Wire::Asks { connection }));
    }
}
