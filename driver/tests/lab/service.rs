//! The servers of one test as real processes behind the lab's network, and the clerks that call them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use quorate_driver::blocking_client::Client;
use quorate_driver::fleet::{Fleet, Logs, Place};
use quorate_driver::node_info::NodeInfo;
use tempfile::TempDir;

use crate::history::{Book, Clerk};
use crate::network::Network;
use crate::network::fate::Party;
use crate::pace::Pace;
use crate::support::{PATIENCE, QUORATE, places};

/// A call that takes longer has failed: the lab gives a whole test no more.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// Servers, with ids from 1, and what lies between them and the clerks.
pub(crate) struct Service {
    pub(crate) network: Arc<Network>,
    pub(crate) book: Arc<Book>,
    pub(crate) pace: &'static Pace,
    fleet: Fleet,
    doors: BTreeMap<(u64, u64), String>,
    _directory: TempDir,
}

impl Service {
    /// Servers that run and have formed a cluster. `max_state` is the lab's `maxraftstate`: the bytes of log at which a
    /// server takes a snapshot; `None` for never.
    pub(crate) fn start(servers: u64, max_state: Option<u64>, seed: u64) -> Self {
        let pace = Pace::chosen();
        let directory = tempfile::tempdir().unwrap();
        let network = Network::start(seed);
        let real = places(directory.path(), servers);
        let door = |place: &Place| network.door_for_peers(place.id, &place.peer);
        let behind_doors = real.iter().map(|place| Place { peer: door(place), ..place.clone() }).collect();
        let mut fleet = Fleet::new(Path::new(QUORATE), behind_doors, flags(max_state, pace), Logs::Files);
        for place in &real {
            fleet.set_flags(place.id, vec![format!("--listen-peer={}", place.peer)]);
        }
        fleet.start_all(Instant::now() + PATIENCE).unwrap();
        let (network, book, doors) = (Arc::new(network), Arc::new(Book::new()), BTreeMap::new());
        Self { network, book, pace, fleet, doors, _directory: directory }
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.fleet.places().iter().map(|place| place.id).collect()
    }

    /// A clerk that reaches all servers as far as its links live. Two clerks of one number share their links.
    pub(crate) fn clerk(&mut self, number: u64) -> Clerk {
        let mut endpoints = Vec::new();
        for place in self.fleet.places() {
            let open = || self.network.door(Party::Clerk(number), place.id, &place.client);
            endpoints.push(self.doors.entry((number, place.id)).or_insert_with(open).clone());
        }
        let client = Client::new(endpoints, CALL_TIMEOUT).unwrap();
        Clerk::new(client, number, Arc::clone(&self.book))
    }

    /// Kills all servers at once.
    pub(crate) fn kill_all(&mut self) {
        for id in self.ids() {
            self.fleet.kill(id);
        }
    }

    /// Starts all servers again on what their directories hold.
    pub(crate) fn restart_all(&mut self) {
        self.fleet.start_all(Instant::now() + PATIENCE).unwrap();
    }

    /// What a server says of itself, past the network.
    pub(crate) fn info(&self, id: u64) -> Option<NodeInfo> {
        let address = &self.fleet.place(id)?.client;
        NodeInfo::fetch(address, Instant::now() + Duration::from_secs(2)).ok()
    }

    /// The server that leads in the latest term.
    pub(crate) fn leader(&self) -> u64 {
        self.wait_for("a leader", || {
            let leaders = self.ids().into_iter().filter_map(|id| {
                let info = self.info(id).filter(NodeInfo::leads)?;
                Some((info.number("term")?, id))
            });
            leaders.max().map(|(_, id)| id)
        })
    }

    /// Waits until `find` finds something; fails with what the servers have written after long.
    pub(crate) fn wait_for<T>(&self, what: &str, find: impl Fn() -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = find() {
                return found;
            }
            if Instant::now() > until {
                panic!("waited too long for {what}\n{}", self.logs());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the servers have written for people.
    pub(crate) fn logs(&self) -> String {
        let log = |id| fs::read_to_string(self.fleet.log_file(id)?).ok();
        self.ids().into_iter().filter_map(log).collect()
    }

    /// Checks that no server keeps more than 8 times `max_state` bytes beside its state, or any snapshot where it may take
    /// none. A snapshot is saved beside the requests; the last one may still be on its way.
    pub(crate) fn check_sizes(&self, max_state: Option<u64>) {
        for id in self.ids() {
            match max_state {
                Some(max) => {
                    let what = format!("server {id} to keep at most 8 times {max} bytes of log");
                    self.wait_for(&what, || self.log_bytes(id).filter(|bytes| *bytes <= 8 * max));
                }
                None => assert_eq!(self.snapshot(id), None, "server {id} may take no snapshot"),
            };
        }
    }

    /// What the lab calls raft state: the entries behind the snapshot, and what else has to be known of the ones before.
    /// Segments are allocated ahead; this is what they hold, not their length.
    fn log_bytes(&self, id: u64) -> Option<u64> {
        let envelope = self.snapshot(id).map_or(0, |snapshot| snapshot.envelope);
        Some(self.info(id)?.number("log_held_bytes")? + envelope)
    }

    /// A server's latest snapshot, by its file.
    pub(crate) fn snapshot(&self, id: u64) -> Option<Snapshot> {
        let directory = &self.fleet.place(id)?.directory;
        let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let is_snapshot = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"snapshot-"))
        };
        // Names are in the order of the log. A file that is removed before it is read was an older one.
        let bytes = fs::read(paths.filter(is_snapshot).max()?).ok()?;
        Some(Snapshot::of(&bytes))
    }
}

/// The two parts of a snapshot's file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The state and the clerks' sessions: what the lab's servers hand to their raft.
    pub(crate) state: u64,
    /// Position, clocks, members with their addresses, checksums: what the lab keeps in its raft state.
    pub(crate) envelope: u64,
}

impl Snapshot {
    /// A file begins with a block that has the length of the CBOR behind it at a fixed place, and ends with a block.
    fn of(file: &[u8]) -> Self {
        const BLOCK: u64 = 128;
        let cbor = file.get(24..32).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
        let envelope = 2 * BLOCK + cbor;
        let state = (file.len() as u64).checked_sub(envelope).expect("a whole snapshot");
        Self { state, envelope }
    }
}

fn flags(max_state: Option<u64>, pace: &Pace) -> Vec<String> {
    let compact = max_state.map_or("none".to_owned(), |bytes| bytes.to_string());
    vec![
        "--segment-bytes=1MiB".to_owned(),
        format!("--snapshot-log-bytes={compact}"),
        "--snapshot-growth-percent=0".to_owned(),
        "--trailing-log-bytes=0".to_owned(),
        format!("--election-timeout-ms={}", pace.election_ms),
        format!("--heartbeat-ms={}", pace.heartbeat_ms),
    ]
}
