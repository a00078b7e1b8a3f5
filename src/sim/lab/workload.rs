//! The clients of the lab's generic key-value test, and the test.

use std::collections::BTreeSet;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::servers::{ET, MS};
use super::service::{Call, Ended, PATIENCE, Service};
use super::{LabReport, LabTest};
use crate::codec::resp::Value;
use crate::raft::NodeId;
use crate::rng::Rng;
use crate::sim::cluster::{Checked, ClerkId};
use crate::time::Micros;

/// A client: a clerk, and what it expects.
#[derive(Debug)]
struct Client {
    number: u64,
    clerk: ClerkId,
    rng: Rng,
    /// How many keys there are, if clients share them.
    shared_keys: Option<u64>,
    /// Pieces appended so far.
    pieces: u64,
    /// What its own key holds.
    value: String,
    /// What it waits for; `None` when it has stopped.
    waits_for: Option<Call>,
}

impl Client {
    fn new(test: &LabTest, service: &mut Service, number: u64) -> Self {
        Self {
            number,
            clerk: service.clerk(),
            rng: Rng::new(service.rng.next_u64()),
            shared_keys: test.random_keys.then_some(test.clients),
            pieces: 0,
            value: String::new(),
            waits_for: None,
        }
    }

    /// Its own key.
    fn key(&self) -> String {
        format!("{}", self.number)
    }

    fn begin(&mut self, service: &mut Service) {
        let call = match self.shared_keys {
            Some(_) => self.next_call(),
            None => Call::Put(self.key(), String::new()),
        };
        self.ask(service, call);
    }

    fn ask(&mut self, service: &mut Service, call: Call) {
        service.begin(self.clerk, &call, self.shared_keys.is_some());
        self.waits_for = Some(call);
    }

    fn next_call(&mut self) -> Call {
        let key = match self.shared_keys {
            Some(keys) => format!("{}", self.rng.below(keys)),
            None => self.key(),
        };
        if self.rng.chance(500, 1000) {
            let piece = format!("x {} {} y", self.number, self.pieces);
            self.pieces += 1;
            Call::Append(key, piece)
        } else if self.shared_keys.is_some() && self.rng.chance(100, 1000) {
            let value = format!("x {} {} y", self.number, self.pieces);
            self.pieces += 1;
            Call::Put(key, value)
        } else {
            Call::Get(key)
        }
    }

    /// Takes the answer, and goes on unless it is to stop.
    ///
    /// A key of its own sees one call at a time, so that what is expected of each reply is the whole of linearizability.
    fn take(&mut self, service: &mut Service, ended: &Ended, is_stopping: bool) -> Checked<()> {
        let Some(call) = self.waits_for.take() else { return Ok(()) };
        if self.shared_keys.is_none() {
            let is_right = match &call {
                Call::Put(_, value) => {
                    self.value = value.clone();
                    true
                }
                Call::Append(_, piece) => {
                    self.value += piece;
                    ended.reply == Value::Integer(self.value.len() as i64)
                }
                Call::Get(_) => ended.is(&self.value),
            };
            service.require(is_right, || {
                format!(
                    "client {}: {call:?} was answered by {:?} instead of {:?}",
                    self.number, ended, self.value
                )
            })?;
        }
        if !is_stopping {
            let call = self.next_call();
            self.ask(service, call);
        }
        Ok(())
    }
}

/// Lets the clients work until then. Those that are to stop finish the call that is under way.
fn work(service: &mut Service, clients: &mut [Client], until: Micros, is_stopping: bool) -> Checked<()> {
    while service.sim.now() < until {
        if is_stopping && clients.iter().all(|client| client.waits_for.is_none()) {
            return Ok(());
        }
        for ended in service.next_ended(until - service.sim.now())? {
            if let Some(client) = clients.iter_mut().find(|client| client.clerk == ended.clerk) {
                client.take(service, &ended, is_stopping)?;
            }
        }
    }
    Ok(())
}

/// Has the clients work for five seconds, while the servers are divided anew every second or so, and then heals.
fn work_in_partitions(service: &mut Service, clients: &mut [Client]) -> Checked<()> {
    let start = service.sim.now() + 1_000 * MS;
    work(service, clients, start, false)?;
    let end = start + 5_000 * MS;
    while service.sim.now() < end {
        let side: BTreeSet<NodeId> =
            service.sim.nodes().into_iter().filter(|_| service.rng.chance(1, 2)).collect();
        service.partition(&side);
        let next = service.sim.now() + (1_000 + service.rng.below(200)) * MS;
        work(service, clients, next.min(end), false)?;
        work_for_the_rest(service, clients, next)?;
    }
    service.sim.network.heal();
    let healed = service.sim.now() + ET;
    work_for_the_rest(service, clients, healed)
}

/// The clients are to stop, but time passes until then all the same.
fn work_for_the_rest(service: &mut Service, clients: &mut [Client], until: Micros) -> Checked<()> {
    work(service, clients, until, true)?;
    let now = service.sim.now();
    if now < until { service.sleep(until - now) } else { Ok(()) }
}

/// The lab's generic test, of every row of the tables of its parts 3A and 3B.
pub(super) fn generic(test: &LabTest, seed: u64) -> Checked<LabReport> {
    let mut service = Service::new(test, seed)?;
    let clerk = service.clerk();
    for _ in 0..3 {
        let mut clients: Vec<Client> =
            (0..test.clients).map(|number| Client::new(test, &mut service, number)).collect();
        clients.iter_mut().for_each(|client| client.begin(&mut service));
        if test.partitions {
            work_in_partitions(&mut service, &mut clients)?;
        } else {
            let end = service.sim.now() + 5_000 * MS;
            work(&mut service, &mut clients, end, false)?;
        }
        if test.crash {
            service.shut_down_all();
            let then = service.sim.now() + ET;
            work_for_the_rest(&mut service, &mut clients, then)?;
            service.sim.start_all()?;
        }
        let end = service.sim.now() + PATIENCE;
        work(&mut service, &mut clients, end, true)?;
        for client in &clients {
            let done = client.waits_for.is_none();
            service.require(done, || format!("client {} does not come to an end", client.number))?;
            let ended = service.call_beside(clerk, &Call::Get(client.key()), test.random_keys)?;
            // What it has appended is there once and in order, and nothing else is.
            service.require(test.random_keys || ended.is(&client.value), || {
                format!("client {}'s key holds {ended:?} instead of {:?}", client.number, client.value)
            })?;
        }
        service.check_sizes()?;
    }
    service.check_history()?;
    Ok(service.report())
}
