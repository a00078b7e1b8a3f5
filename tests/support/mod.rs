//! A simulated cluster and its clients for the tests of this directory.
//!
//! A failure names its seed. `QUORATE_SEED=17` runs that one alone, with the last lines of what happened;
//! `QUORATE_SEEDS=1000` runs so many seeds of each test instead of the few that everyone runs.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};

use bytes::Bytes;
use quorate::kv::{Call, KvStore, parse};
use quorate::raft::NodeId;
use quorate::replica::{Outcome, Request, SessionId};
use quorate::rng::Rng;
use quorate::sim::{Answer, Checked, Cluster, Settings, Weather};

pub(crate) type Sim = Cluster<KvStore>;

pub(crate) const SECOND: u64 = 1_000_000;

/// Runs a scenario for each seed, or for the one that `QUORATE_SEED` names.
pub(crate) fn with_seeds(
    seeds: std::ops::Range<u64>,
    scenario: impl Fn(u64, &mut Option<Sim>) -> Checked<()>,
) {
    let only = std::env::var("QUORATE_SEED").ok().map(|seed| seed.parse().expect("QUORATE_SEED is a number"));
    let count = std::env::var("QUORATE_SEEDS").map(|count| count.parse().expect("QUORATE_SEEDS is a number"));
    let end = count.map_or(seeds.end, |count: u64| seeds.start + count);
    let seeds = only.map_or(seeds.start..end, |seed| seed..seed + 1);
    for seed in seeds {
        let mut sim = None;
        let run = panic::catch_unwind(AssertUnwindSafe(|| scenario(seed, &mut sim)));
        let failed = match &run {
            Ok(Ok(())) => None,
            Ok(Err(violation)) => Some(violation.to_string()),
            Err(_) => Some("a panic, see above".into()),
        };
        if let Some(what) = failed {
            if only.is_some() {
                sim.iter().flat_map(|sim| sim.trace.lines()).for_each(|line| println!("{line}"));
            }
            let test = env!("CARGO_CRATE_NAME");
            panic!("{what}\nto replay: QUORATE_SEED={seed} cargo test --test {test} -- --nocapture");
        }
    }
}

/// A cluster of three that has a leader.
pub(crate) fn formed(settings: Settings, slot: &mut Option<Sim>) -> Checked<&mut Sim> {
    let sim = slot.insert(Cluster::new(settings));
    if std::env::var("QUORATE_SEED").is_ok() {
        sim.trace.keep_lines();
    }
    sim.start_all()?;
    assert!(sim.settle(20 * SECOND)?.is_some(), "no leader after formation");
    Ok(sim)
}

pub(crate) fn words(words: &[&[u8]]) -> Vec<Bytes> {
    words.iter().map(|word| Bytes::copy_from_slice(word)).collect()
}

pub(crate) fn write(command: &[&[u8]]) -> Bytes {
    match parse(&words(command)) {
        Ok(Call::Write(command)) => command,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn read(query: &[&[u8]]) -> Request {
    match parse(&words(query)) {
        Ok(Call::Read(query)) => Request::Read(query),
        other => panic!("{other:?}"),
    }
}

/// A client with a session: one APPEND at a time to a key of its own, the same one again until it knows how it ended.
pub(crate) struct Appender {
    pub(crate) key: String,
    session: Option<SessionId>,
    seq: u64,
    /// Pieces whose append was acknowledged, and the one under way.
    pub(crate) acknowledged: Vec<String>,
    under_way: Option<quorate::node::RequestId>,
    rng: Rng,
}

impl Appender {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        Self {
            key: format!("key-{number}"),
            session: None,
            seq: 1,
            acknowledged: Vec::new(),
            under_way: None,
            rng: Rng::stream(seed, 1000 + number),
        }
    }

    fn piece(&self) -> String {
        format!("[{}:{:0>width$}]", self.key, self.seq, width = 4 + (self.seq % 40) as usize)
    }

    /// Takes the answer to what is under way, if there is one, and asks the next thing, of a node at random.
    pub(crate) fn step(&mut self, sim: &mut Sim) {
        if let Some(id) = self.under_way {
            let Some(answer) = sim.take_answer(id) else { return };
            self.under_way = None;
            self.take(answer);
        }
        let nodes = sim.nodes();
        let node = nodes[self.rng.below(nodes.len() as u64) as usize];
        let request = match self.session {
            None => Request::OpenSession { nonce: Bytes::from(self.key.clone().into_bytes()) },
            Some(session) => {
                let command = write(&[b"APPEND", self.key.as_bytes(), self.piece().as_bytes()]);
                Request::Once { session, seq: self.seq, ack: self.seq, command }
            }
        };
        self.under_way = Some(sim.request(node, request));
    }

    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Outcome(Outcome::SessionOpened(session)) => self.session = Some(session),
            Answer::Outcome(Outcome::Reply(reply)) => {
                assert!(reply.starts_with(b":"), "APPEND answers a length: {reply:?}");
                self.acknowledged.push(self.piece());
                self.seq += 1;
            }
            // Neither done nor certainly not done, or certainly not: the session lets it be asked again.
            Answer::ConnectionLost | Answer::Outcome(Outcome::Undetermined | Outcome::Refused(_)) => {}
            other => panic!("{} at {}: {other:?}", self.key, self.seq),
        }
    }

    /// Every acknowledged append is there exactly once, in order; the one under way at most once.
    pub(crate) fn check(&self, value: &[u8]) {
        let value = String::from_utf8_lossy(value);
        let expected = self.acknowledged.concat();
        let rest = value.strip_prefix(&expected);
        let rest = rest.unwrap_or_else(|| panic!("{}: {value:?} should begin with {expected:?}", self.key));
        assert!(rest.is_empty() || rest == self.piece(), "{}: {rest:?} too much", self.key);
    }
}

/// Lets the clients work for so long.
pub(crate) fn work(sim: &mut Sim, clients: &mut [Appender], micros: u64) -> Checked<()> {
    let end = sim.now() + micros;
    while sim.now() < end {
        clients.iter_mut().for_each(|client| client.step(sim));
        sim.run_for(500)?;
    }
    Ok(())
}

/// Asks until it is answered.
pub(crate) fn ask(sim: &mut Sim, request: &Request) -> Checked<Bytes> {
    for _ in 0..200 {
        let nodes = sim.nodes();
        let node = sim.leader().unwrap_or(nodes[0]);
        let id = sim.request(node, request.clone());
        if let Answer::Outcome(Outcome::Reply(reply)) = sim.answer(id)? {
            return Ok(reply);
        }
        sim.run_for(50_000)?;
    }
    panic!("no answer: the cluster does not recover");
}

/// The value in a reply to GET; empty when there is none.
pub(crate) fn value(reply: &[u8]) -> &[u8] {
    match reply.strip_prefix(b"$") {
        Some(rest) => {
            let start = rest.iter().position(|&b| b == b'\n').expect("a bulk string") + 1;
            &rest[start..rest.len() - 2]
        }
        None => b"",
    }
}

/// Everyone is up, the network is fair: writes go on, all acknowledged ones are there, and all states are equal.
pub(crate) fn check_end(sim: &mut Sim, clients: &mut [Appender]) -> Checked<()> {
    sim.network.heal();
    sim.network.set_weather(Weather::FAIR);
    sim.start_all()?;
    assert!(sim.settle(30 * SECOND)?.is_some(), "no leader although all is well");
    // What was sent into a cut is answered after its deadline of 5 s at the latest; only then does its client go on.
    let (before, end) = (total(clients), sim.now() + 6 * SECOND);
    while total(clients) == before {
        assert!(sim.now() < end, "no writes although all is well");
        work(sim, clients, SECOND / 10)?;
    }
    for client in clients.iter() {
        let reply = ask(sim, &read(&[b"GET", client.key.as_bytes()]))?;
        client.check(value(&reply));
    }
    equal_states(sim, 20 * SECOND)
}

/// All running nodes reach one applied index with one digest.
pub(crate) fn equal_states(sim: &mut Sim, bound: u64) -> Checked<()> {
    let states = |sim: &mut Sim| -> BTreeMap<NodeId, Option<(u64, u128)>> {
        let state = |status: quorate::node::Status| status.raft.map(|raft| (raft.applied, status.digest));
        sim.nodes().into_iter().map(|node| (node, sim.status(node).and_then(state))).collect()
    };
    let end = sim.now() + bound;
    loop {
        let now = states(sim);
        let mut distinct: Vec<_> = now.values().collect();
        distinct.dedup();
        if distinct.len() == 1 && distinct[0].is_some() {
            return Ok(());
        }
        assert!(sim.now() < end, "states stay apart: {now:?}");
        sim.run_for(20_000)?;
    }
}

pub(crate) fn total(clients: &[Appender]) -> usize {
    clients.iter().map(|client| client.acknowledged.len()).sum()
}

pub(crate) fn appenders(seed: u64) -> Vec<Appender> {
    (0..4).map(|number| Appender::new(seed, number)).collect()
}
