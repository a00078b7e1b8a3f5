//! `quorate serve`: one node of a cluster.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use lexopt::{Arg, Parser};
use quorate::gateway;
use quorate::kv::KvStore;
use quorate::node::{self, Addresses, Fault};
use quorate::raft::{self, DiskId, NodeId};

use super::address;
use super::flags::{self, Usage};
use super::{Failure, NOT_DONE};
use crate::disk::{Disk, SEGMENT_BYTES};
use crate::event_loop::{End, EventLoop, Setup, StartError};
use crate::peer::PeerLimits;
use crate::process;
use crate::signals::StopSignal;
use crate::stderr::Stderr;
use crate::timed::Timed;

const COMMAND: &str = "serve";

/// Connections that may wait to be taken, if the system allows so many.
const BACKLOG: i32 = 4096;

const HELP: &str = "\
usage: quorate serve --id N --data-dir DIR --cluster 1=PEER/CLIENT,2=PEER/CLIENT,… [FLAGS]
       quorate serve --id N --data-dir DIR --join 1=PEER/CLIENT,… --listen-client … --listen-peer … [FLAGS]

Runs one node. The first start of a cluster needs every listed node; from then on a majority is enough.
Prints 'ready id=… client=… peer=…' when it accepts connections; its log goes to standard error.

  --id N                    this node, from 1 on; one of --cluster
  --data-dir DIR            where its log and snapshots are kept; used by one process at a time
  --cluster LIST            every founder: ID=PEER/CLIENT, each host:port, as others reach it. Once the cluster is
                            formed, the membership in the log wins over this flag. With an empty directory, and no
                            other founder left to tell, a founder forms a new cluster: a node of --join never does
  --join LIST               instead of --cluster: members of a running cluster that this node is no founder of. It says
                            hello to them and waits until 'quorate member add' adds it
  --listen-client HOST:PORT where to accept clients (this node's CLIENT of --cluster)
  --listen-peer HOST:PORT   where to accept peers (this node's PEER of --cluster)
  --insecure                accept connections from other machines: nothing is encrypted or authenticated
  --redirect moved|forward  what a follower does with a command: answer MOVED, or send it on to the leader (forward)
  --election-timeout-ms N   a follower that hears nothing for one to two of these campaigns (150)
  --heartbeat-ms N          how often an idle leader speaks; less than half of the above (30)
  --lease-ms N              lease reads: for so long after a majority has answered, the leader answers reads without
                            asking again; less than --election-timeout-ms. Reads then trust clocks: no node's may run
                            faster than the leader's by the ratio of the two, nor the leader be suspended for their
                            difference between reading its clock and answering (off)
  --request-timeout-ms N    when a command that cannot be finished is answered by the truth (5000)
  --snapshot-log-bytes N    compact the log when it has grown by so much, or 'none' (64MiB)
  --snapshot-growth-percent N  ... and at least by this share of the last snapshot's length: snapshots cost in
                            proportion to what is written, and a restart applies little more log than that (50)
  --trailing-log-bytes N    entries that are kept behind a snapshot, for followers that are a little late (4MiB)
  --segment-bytes N         length of a file of the log (64MiB)
  --max-clients N           most clients at once (10000)

Exit codes: 0 stopped by SIGTERM or SIGINT; 2 a flag or the data directory cannot be used; 3 the disk failed; 4 the
cluster refuses this node; 5 a broken invariant.
";

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Options {
    id: NodeId,
    data_dir: PathBuf,
    cluster: BTreeMap<NodeId, Addresses>,
    listen_client: SocketAddr,
    listen_peer: SocketAddr,
    forward: bool,
    election_timeout_ms: u64,
    heartbeat_ms: u64,
    lease_ms: Option<u64>,
    request_timeout_ms: u64,
    snapshot_log_bytes: Option<u64>,
    snapshot_growth_percent: u32,
    trailing_log_bytes: usize,
    segment_bytes: u64,
    max_clients: usize,
    exit_with_parent: bool,
}

/// The flags as they come, before it is known whether they fit together.
#[derive(Default)]
struct Given {
    id: Option<u64>,
    data_dir: Option<PathBuf>,
    cluster: Option<String>,
    join: Option<String>,
    listen_client: Option<String>,
    listen_peer: Option<String>,
    insecure: bool,
    moved: bool,
    election_timeout_ms: Option<u64>,
    heartbeat_ms: Option<u64>,
    lease_ms: Option<u64>,
    request_timeout_ms: Option<u64>,
    /// `Some(None)` for 'none'.
    snapshot_log_bytes: Option<Option<u64>>,
    snapshot_growth_percent: Option<u64>,
    trailing_log_bytes: Option<u64>,
    segment_bytes: Option<u64>,
    max_clients: Option<u64>,
    exit_with_parent: bool,
}

pub(crate) fn run(parser: Parser) -> Result<(), Failure> {
    match parse(parser)? {
        Some(options) => serve(options),
        None => {
            print!("{HELP}");
            Ok(())
        }
    }
}

/// Reads the command line; `None` if it asks for help. Touches nothing but names of hosts.
fn parse(mut parser: Parser) -> Result<Option<Options>, Usage> {
    let refused = |error: lexopt::Error| Usage::refused(COMMAND, &error);
    let mut given = Given::default();
    while let Some(argument) = parser.next().map_err(refused)? {
        let name = match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("insecure") => {
                given.insecure = true;
                continue;
            }
            Arg::Long("exit-with-parent") => {
                given.exit_with_parent = true;
                continue;
            }
            Arg::Long(name) if TAKING_VALUES.contains(&name) => name.to_owned(),
            other => return Err(refused(other.unexpected())),
        };
        let value = parser.value().map_err(refused)?;
        given.set(&name, value)?;
    }
    given.finish().map(Some)
}

/// The flags that take a value.
const TAKING_VALUES: &[&str] = &[
    "id",
    "data-dir",
    "cluster",
    "join",
    "listen-client",
    "listen-peer",
    "redirect",
    "election-timeout-ms",
    "heartbeat-ms",
    "lease-ms",
    "request-timeout-ms",
    "snapshot-log-bytes",
    "snapshot-growth-percent",
    "trailing-log-bytes",
    "segment-bytes",
    "max-clients",
];

impl Given {
    fn set(&mut self, flag: &str, value: std::ffi::OsString) -> Result<(), Usage> {
        match flag {
            "id" => self.id = Some(flags::number(flag, &value, 1..=u64::MAX)?),
            "data-dir" if value.is_empty() => return Err(Usage::flag(flag, "names no directory")),
            "data-dir" => self.data_dir = Some(value.into()),
            "cluster" => self.cluster = Some(flags::text(flag, value)?),
            "join" => self.join = Some(flags::text(flag, value)?),
            "listen-client" => self.listen_client = Some(flags::text(flag, value)?),
            "listen-peer" => self.listen_peer = Some(flags::text(flag, value)?),
            "redirect" => {
                self.moved = match flags::text(flag, value)?.as_str() {
                    "moved" => true,
                    "forward" => false,
                    other => {
                        return Err(Usage::flag(flag, format_args!("'{other}' is not moved or forward")));
                    }
                }
            }
            "election-timeout-ms" => {
                self.election_timeout_ms = Some(flags::number(flag, &value, 10..=600_000)?);
            }
            "heartbeat-ms" => self.heartbeat_ms = Some(flags::number(flag, &value, 1..=300_000)?),
            "lease-ms" => self.lease_ms = Some(flags::number(flag, &value, 1..=600_000)?),
            "request-timeout-ms" => {
                self.request_timeout_ms = Some(flags::number(flag, &value, 1..=3_600_000)?);
            }
            "snapshot-log-bytes" if value == "none" => self.snapshot_log_bytes = Some(None),
            "snapshot-log-bytes" => {
                self.snapshot_log_bytes = Some(Some(flags::bytes(flag, &value, 512..=1 << 44)?));
            }
            "snapshot-growth-percent" => {
                self.snapshot_growth_percent = Some(flags::number(flag, &value, 0..=10_000)?);
            }
            "trailing-log-bytes" => {
                self.trailing_log_bytes = Some(flags::bytes(flag, &value, 0..=1 << 30)?);
            }
            "segment-bytes" => self.segment_bytes = Some(flags::bytes(flag, &value, 1 << 16..=1 << 32)?),
            _ => self.max_clients = Some(flags::number(flag, &value, 1..=60_000)?),
        }
        Ok(())
    }

    /// Checks that the flags fit together.
    fn finish(self) -> Result<Options, Usage> {
        let missing = |flag| move || Usage::missing(COMMAND, flag);
        let id = NodeId(self.id.ok_or_else(missing("id"))?);
        let data_dir = self.data_dir.ok_or_else(missing("data-dir"))?;
        let (cluster, own) = match (&self.cluster, &self.join) {
            (Some(_), Some(_)) => {
                return Err(Usage::flag("join", "and --cluster are two ways to begin: give one"));
            }
            (None, Some(join)) => {
                let members = address::cluster("join", join)?;
                if members.contains_key(&id) {
                    return Err(Usage::flag("join", format_args!("names node {id} itself: name the others")));
                }
                (members, None)
            }
            (cluster, None) => {
                let cluster = address::cluster("cluster", cluster.as_ref().ok_or_else(missing("cluster"))?)?;
                let own = cluster.get(&id).cloned().ok_or_else(|| {
                    let ids: Vec<_> = cluster.keys().map(|id| id.0.to_string()).collect();
                    let ids = ids.join(", ");
                    let what = format_args!("{} is not in --cluster, which has {ids}; add it there", id.0);
                    Usage::flag("id", what)
                })?;
                (cluster, Some(own))
            }
        };
        let listen = |flag, given: Option<String>, own: Option<&String>| match (given, own) {
            (Some(given), _) => address::listen(flag, &given, self.insecure),
            (None, Some(own)) => address::listen("cluster", own, self.insecure),
            // Whoever joins is in no list that says where it is.
            (None, None) => Err(Usage::missing(COMMAND, flag)),
        };
        let options = Options {
            id,
            data_dir,
            listen_client: listen("listen-client", self.listen_client, own.as_ref().map(|own| &own.client))?,
            listen_peer: listen("listen-peer", self.listen_peer, own.as_ref().map(|own| &own.peer))?,
            cluster,
            forward: !self.moved,
            election_timeout_ms: self.election_timeout_ms.unwrap_or(150),
            heartbeat_ms: self.heartbeat_ms.unwrap_or(30),
            lease_ms: self.lease_ms,
            request_timeout_ms: self.request_timeout_ms.unwrap_or(5000),
            snapshot_log_bytes: self.snapshot_log_bytes.unwrap_or(Some(64 << 20)),
            snapshot_growth_percent: u32::try_from(self.snapshot_growth_percent.unwrap_or(50))
                .unwrap_or(u32::MAX),
            trailing_log_bytes: usize::try_from(self.trailing_log_bytes.unwrap_or(4 << 20))
                .unwrap_or(usize::MAX),
            segment_bytes: self.segment_bytes.unwrap_or(SEGMENT_BYTES),
            max_clients: usize::try_from(self.max_clients.unwrap_or(10_000)).unwrap_or(usize::MAX),
            exit_with_parent: self.exit_with_parent,
        };
        if options.listen_client == options.listen_peer {
            let address = options.listen_peer;
            return Err(Usage::flag("listen-peer", format_args!("{address} is where clients connect, too")));
        }
        if options.heartbeat_ms >= options.election_timeout_ms / 2 {
            let (heartbeat, election) = (options.heartbeat_ms, options.election_timeout_ms);
            return Err(Usage::flag(
                "heartbeat-ms",
                format_args!(
                    "{heartbeat} must be less than half of --election-timeout-ms, which is {election}"
                ),
            ));
        }
        if let Some(lease) = options.lease_ms.filter(|lease| *lease >= options.election_timeout_ms) {
            let election = options.election_timeout_ms;
            let what = format_args!("{lease} must be less than --election-timeout-ms, which is {election}");
            return Err(Usage::flag("lease-ms", what));
        }
        Ok(options)
    }
}

impl Options {
    fn node(&self, seed: u64, fresh_disk: DiskId) -> node::Config {
        let mut raft = raft::Config::new(self.id, seed);
        raft.election_timeout = self.election_timeout_ms * 1000;
        raft.heartbeat_interval = self.heartbeat_ms * 1000;
        raft.lease = self.lease_ms.map(|lease| lease * 1000);
        raft.trailing_bytes = self.trailing_log_bytes;
        node::Config {
            raft,
            founders: self.cluster.clone(),
            fresh_disk,
            request_timeout: self.request_timeout_ms * 1000,
            forward: self.forward,
            segment_bytes: self.segment_bytes,
            snapshot_log_bytes: self.snapshot_log_bytes,
            snapshot_growth_percent: self.snapshot_growth_percent,
            max_sessions: 10_000,
            ..node::Config::new(self.id, BTreeMap::new(), fresh_disk, seed)
        }
    }

    fn gateway(&self) -> gateway::Settings {
        gateway::Settings {
            max_value: 8 << 20,
            max_key: 64 << 10,
            max_command: 16 << 20,
            max_joined: 16 << 10,
            max_pipeline: 1024,
            output_soft_limit: 1 << 20,
            output_hard_limit: 64 << 20,
            redirect: !self.forward,
        }
    }
}

/// Runs the node until it ends.
fn serve(options: Options) -> Result<(), Failure> {
    let system = |error: io::Error| Failure::Failed { code: NOT_DONE, text: error.to_string() };
    let stop = StopSignal::install().map_err(system)?;
    if options.exit_with_parent {
        stop.watch_stdin().map_err(system)?;
    }
    // Listening comes first: an address that cannot be used leaves nothing behind on the disk.
    let client_listener = bind("listen-client", options.listen_client)?;
    let peer_listener = bind("listen-peer", options.listen_peer)?;
    let disk = Disk::open(&options.data_dir).map_err(|error| Usage::flag("data-dir", error))?;
    let seed = process::random_u128().map_err(system)? as u64;
    let fresh_disk = DiskId(process::random_u128().map_err(system)?);
    let node = options.node(seed, fresh_disk);
    let (stderr, writer) = Stderr::start(&format!("node {}:", options.id.0)).map_err(system)?;
    let setup = Setup {
        peers: PeerLimits::new(node.max_frame_bytes()),
        gateway: options.gateway(),
        node,
        max_clients: process::room_for_clients(options.max_clients),
        disk,
        client_listener,
        peer_listener,
        stderr: stderr.clone(),
        stop,
    };
    let ended = drive(setup, &options, &stderr);
    stderr.finish(writer);
    ended
}

fn drive(setup: Setup, options: &Options, stderr: &Stderr) -> Result<(), Failure> {
    let failed = |error: StartError| match error {
        StartError::Config(error) => Failure::Usage(Usage(error.to_string())),
        system => Failure::Failed { code: NOT_DONE, text: system.to_string() },
    };
    let mut server: EventLoop<Timed<KvStore>> = EventLoop::start(setup).map_err(failed)?;
    let end = server.run(|| announce(options)).map_err(failed)?;
    match end {
        End::Stopped => {
            stderr.note("stopped");
            Ok(())
        }
        End::Halted(fault) => Err(Failure::Failed { code: fault.exit_code(), text: halted(&fault, options) }),
    }
}

/// Why the node stopped. It knows its files by their names; a person with several nodes also needs to know where they are.
fn halted(fault: &Fault, options: &Options) -> String {
    match fault {
        Fault::Directory(_) | Fault::Disk(_) => {
            format!("data directory {}: {fault}", options.data_dir.display())
        }
        _ => fault.to_string(),
    }
}

fn announce(options: &Options) {
    let (id, client, peer) = (options.id.0, options.listen_client, options.listen_peer);
    let mut stdout = io::stdout().lock();
    // A parent that has closed our standard output does not wait for this line.
    let _ = writeln!(stdout, "ready id={id} client={client} peer={peer}").and_then(|()| stdout.flush());
}

fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, Usage> {
    let listener = TcpListener::bind(address).and_then(|listener| {
        // The standard library lets 128 wait. Whoever comes to a full queue is dropped and tries again after a second: when
        // thousands of clients come at once, as they do after a failover, some would be kept out for many.
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(listener)
    });
    listener.map_err(|error| {
        Usage::flag(
            flag,
            format_args!("cannot listen on {address}: {error}; choose another port, or stop what uses it"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "1=127.0.0.1:7201/127.0.0.1:7101,2=127.0.0.1:7202/127.0.0.1:7102";

    fn parsed(line: &str) -> Result<Option<Options>, Usage> {
        parse(Parser::from_args(line.split(' ').map(|word| word.replace("CLUSTER", CLUSTER))))
    }

    #[test]
    fn the_addresses_of_the_cluster_are_listened_on_unless_others_are_given() {
        let options = parsed("--id 2 --data-dir d --cluster CLUSTER").unwrap().unwrap();
        assert_eq!(options.listen_client.to_string(), "127.0.0.1:7102");
        assert_eq!(options.listen_peer.to_string(), "127.0.0.1:7202");
        let line =
            "--id 2 --data-dir d --cluster CLUSTER --listen-client 127.0.0.1:9 --snapshot-log-bytes none";
        let options = parsed(line).unwrap().unwrap();
        assert_eq!(options.listen_client.to_string(), "127.0.0.1:9");
        assert_eq!(options.snapshot_log_bytes, None);
    }

    #[test]
    fn a_node_that_joins_says_where_it_listens_and_is_none_of_those_it_joins() {
        let line = "--id 4 --data-dir d --join CLUSTER --listen-client 127.0.0.1:9 --listen-peer 127.0.0.1:8";
        let options = parsed(line).unwrap().unwrap();
        assert_eq!(options.cluster.len(), 2);
        for (line, expected) in [
            ("--id 4 --data-dir d --join CLUSTER", "--listen-client is missing"),
            ("--id 4 --data-dir d --join CLUSTER --listen-client 127.0.0.1:9", "--listen-peer is missing"),
            ("--id 4 --data-dir d --join CLUSTER --cluster CLUSTER", "give one"),
            ("--id 2 --data-dir d --join CLUSTER --listen-client a:9 --listen-peer a:8", "name the others"),
        ] {
            let refused = parsed(line).unwrap_err();
            assert!(refused.0.contains(expected), "{}", refused.0);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn more_clients_can_wait_than_the_standard_library_lets() {
        let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let clients = allowed.trim().parse().map_or(0, |allowed: usize| allowed.min(300));
        let listener = bind("listen-client", "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        // Nobody takes them. One that the queue has no room for is answered only when it has.
        let patience = std::time::Duration::from_secs(5);
        let connect = |_| std::net::TcpStream::connect_timeout(&address, patience);
        let waiting: Result<Vec<_>, _> = (0..clients).map(connect).collect();
        assert_eq!(waiting.map(|streams| streams.len()).ok(), Some(clients));
    }

    #[test]
    fn the_settings_make_a_valid_core() {
        let options =
            parsed("--id 1 --data-dir d --cluster CLUSTER --heartbeat-ms 10 --election-timeout-ms 100");
        let config = options.unwrap().unwrap().node(1, DiskId(2));
        assert_eq!(config.raft.validate(), Ok(()));
        assert_eq!(config.raft.election_timeout, 100_000);
        let soon = parsed("--id 1 --data-dir d --cluster CLUSTER --heartbeat-ms 1").unwrap().unwrap();
        assert_eq!(soon.node(1, DiskId(2)).raft.validate(), Ok(()), "whatever the flag takes");
        let leased = parsed("--id 1 --data-dir d --cluster CLUSTER --lease-ms 149").unwrap().unwrap();
        let config = leased.node(1, DiskId(2));
        assert_eq!((config.raft.validate(), config.raft.lease), (Ok(()), Some(149_000)));
        let refused = parsed("--id 1 --data-dir d --cluster CLUSTER --lease-ms 150").unwrap_err();
        assert!(refused.0.starts_with("--lease-ms: 150 must be less than"), "{}", refused.0);
        let line =
            "--id 1 --data-dir d --cluster CLUSTER --snapshot-growth-percent 0 --trailing-log-bytes 1k";
        let config = parsed(line).unwrap().unwrap().node(1, DiskId(2));
        assert_eq!((config.snapshot_growth_percent, config.raft.trailing_bytes), (0, 1024));
        let refused = parsed("--id 1 --data-dir d --cluster CLUSTER --trailing-log-bytes 2g").unwrap_err();
        assert!(
            refused.0.starts_with("--trailing-log-bytes: '2g' is not a number of bytes"),
            "{}",
            refused.0
        );
    }
}
