//! A cluster of real processes for the tests of this directory.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use quorate::client::ClerkError;
use quorate::codec::resp::Value;
use quorate_driver::blocking_client::{BlockingConnection, Client};
use quorate_driver::fleet::{Fleet, Logs, Place, free_base, local_places};
use quorate_driver::node_info::NodeInfo;
use tempfile::TempDir;

/// How long anything may take that a test waits for: reached only when the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Clusters run one after the other: the tests share one machine.
static GATE: Mutex<()> = Mutex::new(());

/// Ports below those that systems give to outgoing connections.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

pub(crate) const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");

/// Places of nodes below `directory`, at ports that are free.
pub(crate) fn places(directory: &Path, nodes: u64) -> Vec<Place> {
    let offset = NEXT_PORT.fetch_add(10, Ordering::Relaxed) % 90;
    let process = u16::try_from(std::process::id() % 40).unwrap();
    let base = free_base(nodes, 20_000 + 200 * process + offset).expect("free ports");
    local_places(directory, nodes, base)
}

/// A cluster in a temporary directory. Its processes end with it.
pub(crate) struct Cluster {
    pub(crate) fleet: Fleet,
    pub(crate) directory: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Nodes that are not started yet.
    pub(crate) fn planned(nodes: u64, flags: &[&str]) -> Self {
        let turn = GATE.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = tempfile::tempdir().unwrap();
        let places = places(directory.path(), nodes);
        let mut all = vec!["--segment-bytes=1MiB".to_owned()];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        Self { fleet: Fleet::new(Path::new(QUORATE), places, all, Logs::Files), directory, _turn: turn }
    }

    /// Running nodes, one of which leads.
    pub(crate) fn start(nodes: u64, flags: &[&str]) -> Self {
        let mut cluster = Self::planned(nodes, flags);
        cluster.fleet.start_all(Instant::now() + PATIENCE).unwrap();
        cluster.leader();
        cluster
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.fleet.places().iter().map(|place| place.id).collect()
    }

    pub(crate) fn address(&self, id: u64) -> &str {
        &self.fleet.place(id).unwrap().client
    }

    pub(crate) fn data(&self, id: u64) -> PathBuf {
        self.fleet.place(id).unwrap().directory.clone()
    }

    /// What a node has written to its log for people.
    pub(crate) fn log(&self, id: u64) -> String {
        std::fs::read_to_string(self.fleet.log_file(id).unwrap()).unwrap_or_default()
    }

    pub(crate) fn info(&self, id: u64) -> Option<NodeInfo> {
        NodeInfo::fetch(self.address(id), Instant::now() + Duration::from_secs(2)).ok()
    }

    /// Waits until `find` finds something.
    pub(crate) fn wait_for<T>(&self, what: &str, mut find: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = find() {
                return found;
            }
            if Instant::now() > until {
                let logs: Vec<_> = self.ids().iter().map(|id| self.log(*id)).collect();
                panic!("waited too long for {what}\n{}", logs.join("\n"));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until a running node leads and all others that run follow it.
    pub(crate) fn leader(&self) -> u64 {
        self.wait_for("a leader that all follow", || {
            let running: Vec<_> = self.ids().into_iter().filter(|id| self.fleet.pid(*id).is_some()).collect();
            let infos: Vec<_> = running.iter().map(|id| self.info(*id)).collect::<Option<_>>()?;
            let leader = infos.first()?.leader()?;
            let agreed = infos.iter().all(|info| info.leader() == Some(leader));
            let leads = infos.iter().any(|info| info.leads() && info.number("node_id") == Some(leader));
            (agreed && leads).then_some(leader)
        })
    }

    /// Any running node that does not lead.
    pub(crate) fn follower(&self) -> u64 {
        let leader = self.leader();
        self.ids().into_iter().find(|id| *id != leader && self.fleet.pid(*id).is_some()).unwrap()
    }

    /// Waits until all nodes hold the same state at the same index, which is returned.
    pub(crate) fn converged(&self) -> u64 {
        self.wait_for("equal states", || {
            let states: Vec<_> = self.ids().iter().map(|id| self.info(*id)).collect::<Option<_>>()?;
            let states: Vec<_> = states.iter().map(|info| info.state()).collect::<Option<_>>()?;
            states.iter().all(|state| Some(state) == states.first()).then(|| states[0].0)
        })
    }

    /// A client of the whole cluster.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.fleet.clients(), PATIENCE).unwrap()
    }

    /// A connection to one node.
    pub(crate) fn connection(&self, id: u64) -> BlockingConnection {
        BlockingConnection::connect(self.address(id), Instant::now() + PATIENCE).unwrap()
    }

    /// A connection of the library that applications use.
    pub(crate) fn redis(&self, id: u64) -> redis::Connection {
        redis::Client::open(format!("redis://{}/", self.address(id))).unwrap().get_connection().unwrap()
    }

    /// Starts a node and waits until it accepts connections.
    pub(crate) fn restart(&mut self, id: u64) {
        self.fleet.start(id).unwrap();
        self.fleet.wait_ready(id, Instant::now() + PATIENCE).unwrap();
    }

    /// Starts a node that has to refuse, and says with which exit code it ends and what it has said.
    pub(crate) fn refused(&mut self, id: u64) -> (Option<i32>, String) {
        self.fleet.start(id).unwrap();
        let status = self.fleet.wait(id, PATIENCE).expect("the node should have ended");
        (status.code(), self.log(id))
    }

    /// Runs a `quorate` command that connects to this cluster.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        let clients = self.fleet.clients().join(",");
        Command::new(QUORATE).args(words).args(["--connect", &clients]).output().unwrap()
    }
}

/// Asks, and takes any error for a failed test.
pub(crate) fn ask(connection: &mut BlockingConnection, command: &[&str]) -> Value {
    connection.ask(command, Instant::now() + PATIENCE).unwrap()
}

/// Reads a key as text; `None` if there is none.
pub(crate) fn get(client: &mut Client, key: &str) -> Result<Option<String>, ClerkError> {
    Ok(match client.read(&["GET", key])? {
        Value::Null => None,
        other => other.text().map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
    })
}

/// Runs a command that has to succeed.
pub(crate) fn done(cluster: &Cluster, words: &[&str]) {
    let output = cluster.run(words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{words:?}: {said}");
}

/// A place as the command line names it.
pub(crate) fn at(place: &Place) -> String {
    format!("{}={}/{}", place.id, place.peer, place.client)
}
