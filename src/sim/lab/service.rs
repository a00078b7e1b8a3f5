//! The key-value service of the lab's third part, and clerks that call it.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::String;
use std::vec::Vec;

use bytes::Bytes;

use super::servers::MS;
use super::{LabReport, LabTest, pace};
use crate::client::{CallId, CallKind};
use crate::codec::resp::Value;
use crate::kv::KvStore;
use crate::raft::NodeId;
use crate::rng::Rng;
use crate::sim::check::{HistoryOf, KvModel, OpId, Verdict, linearizable};
use crate::sim::cluster::{Checked, ClerkId, Cluster, Crash, Settings, Violation};
use crate::storage::FileName;
use crate::time::Micros;

/// Placings that the search for an order may try for one key: a second of it in the lab.
const BUDGET: u64 = 2_000_000;

/// How long a call may take when nothing is broken any more.
pub(super) const PATIENCE: Micros = 30_000 * MS;

/// What a clerk is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    Get(String),
    Put(String, String),
    Append(String, String),
}

impl Call {
    fn words(&self) -> Vec<Bytes> {
        let words: &[&str] = match self {
            Self::Get(key) => &["GET", key],
            Self::Put(key, value) => &["SET", key, value],
            Self::Append(key, value) => &["APPEND", key, value],
        };
        words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    fn kind(&self) -> CallKind {
        if matches!(self, Self::Get(_)) { CallKind::Read } else { CallKind::Write }
    }
}

/// A call that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) clerk: ClerkId,
    /// What it was answered.
    pub(super) reply: Value,
}

impl Ended {
    /// Whether a `Get` got this value.
    pub(super) fn is(&self, value: &str) -> bool {
        match &self.reply {
            Value::Bulk(bytes) => bytes == value.as_bytes(),
            reply => *reply == Value::Null && value.is_empty(),
        }
    }

    /// The value that a `Get` got: that of a missing key is empty.
    pub(super) fn value(&self) -> String {
        match &self.reply {
            Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }
}

/// Servers of the key-value store and their clerks.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) sim: Cluster<KvStore>,
    /// Decides who is on which side of a partition, and for how long.
    pub(super) rng: Rng,
    seed: u64,
    max_state: Option<u64>,
    /// What clerks asked, where clerks share keys.
    history: HistoryOf<KvModel>,
    open: BTreeMap<(ClerkId, CallId), Option<OpId>>,
    calls: u64,
}

impl Service {
    /// Empty servers, started and connected.
    pub(super) fn new(test: &LabTest, seed: u64) -> Checked<Self> {
        let mut settings = Settings::new(seed, test.servers);
        pace::of_service(test, &mut settings);
        let mut sim = Cluster::new(settings);
        pace::set_weather(test, test.unreliable, &mut sim.network);
        pace::speed_disks(&mut sim);
        sim.start_all()?;
        Ok(Self {
            sim,
            rng: Rng::stream(seed, 300),
            seed,
            max_state: test.max_state,
            history: HistoryOf::<KvModel>::new(),
            open: BTreeMap::new(),
            calls: 0,
        })
    }

    /// A new clerk that reaches every server.
    pub(super) fn clerk(&mut self) -> ClerkId {
        let mut config = self.sim.clerk_config();
        pace::of_clerk(&mut config);
        self.sim.clerk_with(config)
    }

    /// A new clerk that reaches only these servers.
    pub(super) fn clerk_of(&mut self, servers: &[NodeId]) -> ClerkId {
        let clerk = self.clerk();
        self.sim.confine(clerk, Some(servers.iter().copied().collect()));
        clerk
    }

    /// Begins a call. With `shared` it is written down, to be judged with all others at the end.
    pub(super) fn begin(&mut self, clerk: ClerkId, call: &Call, shared: bool) -> CallId {
        let words = call.words();
        let arguments: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
        let id = self.sim.call(clerk, call.kind(), &arguments);
        let now = self.sim.now();
        let written = shared.then(|| self.history.ask(clerk as u64, now, words.into()));
        self.open.insert((clerk, id), written);
        id
    }

    /// Lets time pass until a call ends, or until so much has passed.
    pub(super) fn next_ended(&mut self, bound: Micros) -> Checked<Vec<Ended>> {
        self.sim.run_until(bound, |sim| sim.has_finished())?;
        let finished = self.sim.take_finished();
        let mut ended = Vec::with_capacity(finished.len());
        for call in finished {
            let clerk = call.clerk;
            self.sim.take_result(clerk, call.call);
            let written = self.open.remove(&(clerk, call.call)).flatten();
            let reply =
                call.result.map_err(|error| self.violation(format!("a clerk's call failed: {error}")))?;
            self.calls += 1;
            if let Some(id) = written {
                self.history.replied(id, self.sim.now(), reply.clone());
            }
            ended.push(Ended { clerk, reply });
        }
        Ok(ended)
    }

    /// Lets so much time pass, and has no call end meanwhile.
    pub(super) fn sleep(&mut self, micros: Micros) -> Checked<()> {
        let ended = self.next_ended(micros)?;
        self.require(ended.is_empty(), || format!("calls ended too early: {ended:?}"))
    }

    /// Has a clerk do this, and waits until it is done. No other call is under way.
    pub(super) fn call(&mut self, clerk: ClerkId, call: &Call) -> Checked<Ended> {
        self.call_beside(clerk, call, true)
    }

    /// The same; written down only with `shared`.
    pub(super) fn call_beside(&mut self, clerk: ClerkId, call: &Call, shared: bool) -> Checked<Ended> {
        self.begin(clerk, call, shared);
        self.await_clerk(clerk)
    }

    /// Waits until the call of this clerk is done; others may not end before it.
    pub(super) fn await_clerk(&mut self, clerk: ClerkId) -> Checked<Ended> {
        let ended = self.next_ended(PATIENCE)?.into_iter().find(|ended| ended.clerk == clerk);
        ended.ok_or_else(|| self.violation("a call does not end although nothing is broken".into()))
    }

    pub(super) fn put(&mut self, clerk: ClerkId, key: &str, value: &str) -> Checked<()> {
        self.call(clerk, &Call::Put(key.into(), value.into())).map(drop)
    }

    pub(super) fn get(&mut self, clerk: ClerkId, key: &str) -> Checked<String> {
        Ok(self.call(clerk, &Call::Get(key.into()))?.value())
    }

    /// The lab's `check`: the value that a clerk gets.
    pub(super) fn expect(&mut self, clerk: ClerkId, key: &str, value: &str) -> Checked<()> {
        let got = self.get(clerk, key)?;
        self.require(got == value, || format!("{key} is {got:?} instead of {value:?}"))
    }

    /// Servers that hear each other are those of one side.
    pub(super) fn partition(&mut self, side: &BTreeSet<NodeId>) {
        let side: Vec<NodeId> = side.iter().copied().collect();
        let nodes = self.sim.nodes();
        self.sim.network.heal();
        self.sim.network.partition(&side, nodes);
    }

    /// All processes end, and a second later begin again from their disks.
    pub(super) fn shut_down_all(&mut self) {
        for node in self.sim.nodes() {
            self.sim.crash(node, Crash::Process);
        }
    }

    /// Checks the sizes that the lab checks: of the Raft state on every server, or that there is no snapshot where none may
    /// be taken.
    pub(super) fn check_sizes(&mut self) -> Checked<()> {
        for node in self.sim.nodes() {
            match self.max_state {
                Some(most) => {
                    let bytes = self.state_bytes(node);
                    self.require(bytes <= 8 * most, || {
                        format!("{node:?} keeps {bytes} bytes of Raft state")
                    })?;
                }
                None => {
                    let bytes = self.snapshot_bytes(node);
                    self.require(bytes == 0, || format!("{node:?} has a snapshot of {bytes} bytes"))?;
                }
            }
        }
        Ok(())
    }

    /// As in the Raft tests: term and vote, and the packed entries after the snapshot.
    fn state_bytes(&self, node: NodeId) -> u64 {
        let log = self.sim.replica(node).map_or(0, |replica| replica.raft().status().log_bytes);
        16 + log as u64
    }

    /// What the state and the clerks' sessions take in the longest snapshot: what the lab's servers hand to their Raft. The
    /// rest of the file, which is as long whatever the state is, the lab would keep in its Raft state: position, clocks,
    /// members with their addresses, and checksums.
    pub(super) fn snapshot_bytes(&mut self, node: NodeId) -> u64 {
        /// The file's first and last block; the length of the CBOR between the first and the state is at this place.
        const BLOCK: u64 = 128;
        const CBOR_LEN: core::ops::Range<usize> = 24..32;
        let disk = &self.sim.machine(node).disk;
        let snapshots = disk.list().into_iter().filter(|(name, _)| matches!(name, FileName::Snapshot { .. }));
        let state = |(name, len): (FileName, u64)| {
            let bytes = disk.read(name).unwrap_or_default();
            let cbor = bytes.get(CBOR_LEN).and_then(|bytes| bytes.try_into().ok());
            len.saturating_sub(2 * BLOCK + cbor.map_or(0, u64::from_le_bytes))
        };
        snapshots.map(state).max().unwrap_or(0)
    }

    /// The replies to clerks that share keys have an order on each key. As in the lab, a search that finds nothing
    /// within its budget counts for them.
    pub(super) fn check_history(&self) -> Checked<()> {
        match linearizable(&KvModel::default(), &self.history, BUDGET) {
            Verdict::Ok { .. } | Verdict::Undecided { .. } => Ok(()),
            Verdict::Illegal(illegal) => Err(self.violation(format!("{illegal}"))),
        }
    }

    /// What the test came to so far.
    pub(super) fn report(&self) -> LabReport {
        LabReport::of(&self.sim, self.calls)
    }

    /// A violation of the test's own.
    pub(super) fn violation(&self, what: String) -> Violation {
        Violation { seed: self.seed, at: self.sim.now(), node: NodeId(0), what }
    }

    /// A violation of the test's own, unless `holds`.
    pub(super) fn require(&self, holds: bool, what: impl FnOnce() -> String) -> Checked<()> {
        if holds { Ok(()) } else { Err(self.violation(what())) }
    }
}
