//! Nodes as real processes on this machine: for `quorate dev`, `quorate demo` and the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Where one node of a fleet is reached and where it keeps its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub id: u64,
    /// Where clients connect.
    pub client: String,
    /// Where peers connect.
    pub peer: String,
    /// Its data directory.
    pub directory: PathBuf,
}

/// Where the nodes' standard error goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logs {
    /// To this process's own.
    Inherit,
    /// To a file beside each data directory, `node-N.log`.
    Files,
}

/// Why a node did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum FleetError {
    /// The process could not be started.
    Spawn(io::Error),
    /// The process ended before it was ready.
    Ended(u64, Option<ExitStatus>),
    /// The process was not ready in time.
    Late(u64),
}

impl fmt::Display for FleetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawn(error) => write!(f, "a node's process could not be started: {error}"),
            Self::Ended(id, Some(status)) => write!(f, "node {id} ended before it was ready: {status}"),
            Self::Ended(id, None) => write!(f, "node {id} ended before it was ready"),
            Self::Late(id) => write!(f, "node {id} was not ready in time"),
        }
    }
}

impl std::error::Error for FleetError {}

/// A process of a fleet.
#[derive(Debug)]
struct Running {
    child: Child,
    /// The lines of its standard output.
    lines: Receiver<String>,
}

/// Nodes of one cluster. All processes that still run are killed when this is dropped.
#[derive(Debug)]
pub struct Fleet {
    executable: PathBuf,
    places: Vec<Place>,
    flags: Vec<String>,
    own_flags: BTreeMap<u64, Vec<String>>,
    /// Nodes that are no founders, with those whom they are told of; `None` for all others.
    joining: BTreeMap<u64, Option<BTreeSet<u64>>>,
    logs: Logs,
    running: BTreeMap<u64, Running>,
}

impl Fleet {
    /// A cluster with nodes at `places`, whose processes are `executable serve`; nothing is started. `flags` are given to
    /// each node.
    pub fn new(executable: &Path, places: Vec<Place>, flags: Vec<String>, logs: Logs) -> Self {
        let (own_flags, joining, running) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { executable: executable.to_owned(), places, flags, own_flags, joining, logs, running }
    }

    /// From now on node `id` alone is given these flags too, behind those of all.
    pub fn set_flags(&mut self, id: u64, flags: Vec<String>) {
        self.own_flags.insert(id, flags);
    }

    /// From now on the node at `place`, which may be a new one, is started to join the others.
    pub fn join(&mut self, place: Place) {
        self.add(place, None);
    }

    /// The same, by these of the others.
    pub fn join_by(&mut self, place: Place, others: &[u64]) {
        self.add(place, Some(others.iter().copied().collect()));
    }

    fn add(&mut self, place: Place, told: Option<BTreeSet<u64>>) {
        self.joining.insert(place.id, told);
        if self.place(place.id).is_none() {
            self.places.push(place);
        }
    }

    /// From now on the node of this number is at `place`; what it keeps is there already.
    pub fn relocate(&mut self, place: Place) {
        self.places.retain(|old| old.id != place.id);
        self.places.push(place);
        self.places.sort_by_key(|place| place.id);
    }

    /// The nodes' places.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The place of node `id`.
    pub fn place(&self, id: u64) -> Option<&Place> {
        self.places.iter().find(|place| place.id == id)
    }

    /// The nodes' client addresses.
    pub fn clients(&self) -> Vec<String> {
        self.places.iter().map(|place| place.client.clone()).collect()
    }

    /// The file into which node `id` writes its log, with [`Logs::Files`].
    pub fn log_file(&self, id: u64) -> Option<PathBuf> {
        self.place(id).map(|place| place.directory.with_extension("log"))
    }

    /// The command that runs node `id`, for a person or for [`start`](Self::start).
    pub fn command(&self, place: &Place) -> Command {
        let told = self.joining.get(&place.id);
        let joins = told.is_some();
        let is_told = |p: &Place| told.and_then(Option::as_ref).is_none_or(|told| told.contains(&p.id));
        let founds = |p: &&Place| {
            if joins { p.id != place.id && is_told(p) } else { !self.joining.contains_key(&p.id) }
        };
        let member = |p: &Place| format!("{}={}/{}", p.id, p.peer, p.client);
        let cluster: Vec<_> = self.places.iter().filter(founds).map(member).collect();
        let mut command = Command::new(&self.executable);
        command.arg("serve").args(["--id", &place.id.to_string()]);
        command.arg("--data-dir").arg(&place.directory);
        command.args([if joins { "--join" } else { "--cluster" }, &cluster.join(",")]);
        if joins {
            command.args(["--listen-client", &place.client, "--listen-peer", &place.peer]);
        }
        command.args(&self.flags);
        command.args(self.own_flags.get(&place.id).into_iter().flatten());
        command
    }

    /// Starts node `id`; does nothing if it runs.
    pub fn start(&mut self, id: u64) -> Result<(), FleetError> {
        if self.running.contains_key(&id) {
            return Ok(());
        }
        let missing = || FleetError::Spawn(io::ErrorKind::NotFound.into());
        let place = self.place(id).ok_or_else(missing)?;
        let mut command = self.command(place);
        command.arg("--exit-with-parent").stdin(Stdio::piped()).stdout(Stdio::piped());
        // A Ctrl-C at the terminal is for the parent, which stops its nodes in its own way.
        command.process_group(0);
        if self.logs == Logs::Files {
            let file = self.log_file(id).ok_or_else(missing)?;
            command.stderr(append(&file).map_err(FleetError::Spawn)?);
        }
        let mut child = command.spawn().map_err(FleetError::Spawn)?;
        let stdout = child.stdout.take();
        let (line, lines) = channel();
        thread::spawn(move || {
            // The pipe is read to its end, so that the node never waits for a reader.
            for text in stdout.into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok) {
                let _ = line.send(text);
            }
        });
        self.running.insert(id, Running { child, lines });
        Ok(())
    }

    /// Waits until node `id` has said that it accepts connections.
    pub fn wait_ready(&mut self, id: u64, until: Instant) -> Result<(), FleetError> {
        let Some(running) = self.running.get_mut(&id) else { return Err(FleetError::Ended(id, None)) };
        loop {
            match running.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with("ready ") => return Ok(()),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Err(FleetError::Late(id)),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = running.child.wait().ok();
                    self.running.remove(&id);
                    return Err(FleetError::Ended(id, status));
                }
            }
        }
    }

    /// Starts all nodes and waits until each accepts connections.
    pub fn start_all(&mut self, until: Instant) -> Result<(), FleetError> {
        let ids: Vec<_> = self.places.iter().map(|place| place.id).collect();
        ids.iter().try_for_each(|id| self.start(*id))?;
        ids.iter().try_for_each(|id| self.wait_ready(*id, until))
    }

    /// Kills node `id` at once, as `kill -9` does.
    pub fn kill(&mut self, id: u64) {
        if let Some(mut running) = self.running.remove(&id) {
            // It fails only if the process has ended by itself.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }

    /// Stops node `id` by SIGTERM and says how it ended; kills it if it takes longer than `patience`.
    pub fn stop(&mut self, id: u64, patience: Duration) -> Option<ExitStatus> {
        self.signal(id, Signal::TERM);
        let status = self.wait(id, patience);
        self.kill(id);
        status
    }

    /// Sends a signal to node `id`.
    pub fn signal(&self, id: u64, signal: Signal) {
        let pid = self.running.get(&id).and_then(|r| Pid::from_raw(i32::try_from(r.child.id()).ok()?));
        if let Some(pid) = pid {
            // The child has not been waited for, so its id is still its own.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until node `id` has ended by itself.
    pub fn wait(&mut self, id: u64, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended(id) {
                return Some(status);
            }
            if Instant::now() >= until || !self.running.contains_key(&id) {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How node `id` ended, if it has since the last call.
    pub fn ended(&mut self, id: u64) -> Option<ExitStatus> {
        let status = self.running.get_mut(&id)?.child.try_wait().ok().flatten()?;
        self.running.remove(&id);
        Some(status)
    }

    /// The process id of node `id`, while it runs.
    pub fn pid(&self, id: u64) -> Option<u32> {
        self.running.get(&id).map(|running| running.child.id())
    }

    /// Stops all nodes by SIGTERM, all at once; kills those that take longer than `patience`.
    pub fn stop_all(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        let ids: Vec<_> = self.running.keys().copied().collect();
        for id in &ids {
            self.signal(*id, Signal::TERM);
        }
        for id in ids {
            self.wait(id, until.saturating_duration_since(Instant::now()));
            self.kill(id);
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let ids: Vec<_> = self.running.keys().copied().collect();
        for id in ids {
            self.kill(id);
        }
    }
}

/// Places for `nodes` nodes on loopback below `root`: clients' ports from `base` on, peers' ports 100 above them.
pub fn local_places(root: &Path, nodes: u64, base: u16) -> Vec<Place> {
    let port = |n: u64| u16::try_from(n).ok().and_then(|n| base.checked_add(n)).unwrap_or(0);
    let place = |n: u64| Place {
        id: n + 1,
        client: format!("127.0.0.1:{}", port(n)),
        peer: format!("127.0.0.1:{}", port(n + 100)),
        directory: root.join(format!("node-{}", n + 1)),
    };
    (0..nodes).map(place).collect()
}

/// The first base from `first` on, in steps of `nodes`, at which all ports of [`local_places`] are free just now.
pub fn free_base(nodes: u64, first: u16) -> Option<u16> {
    let step = u16::try_from(nodes).ok()?.max(1);
    let free = |base: &u16| {
        let places = local_places(Path::new(""), nodes, *base);
        places.iter().flat_map(|p| [&p.client, &p.peer]).all(|address| TcpListener::bind(address).is_ok())
    };
    (0..100).map_while(|i| first.checked_add(step.checked_mul(i)?)).find(free)
}

fn append(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::OpenOptions::new().create(true).append(true).open(path)
}
