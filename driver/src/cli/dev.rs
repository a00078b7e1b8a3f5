//! `quorate dev`: a local cluster that stays up until Ctrl-C.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lexopt::{Arg, Parser};

use super::flags::{self, Usage};
use super::interrupt::Interrupt;
use super::temporary::TemporaryDirectory;
use super::{Failure, NOT_DONE, say};
use crate::fleet::{Fleet, FleetError, Logs, free_base, local_places};
use crate::node_info::NodeInfo;

const COMMAND: &str = "dev";

const HELP: &str = "\
usage: quorate dev [--nodes N] [--data-dir DIR] [--base-port PORT]

Starts a cluster of N nodes on this machine, each a process of its own, and stops it on Ctrl-C.

  --nodes N         how many (3)
  --data-dir DIR    where they keep their data; used again by the next start. Without it: a temporary directory that is
                    removed at the end
  --base-port PORT  clients connect to PORT, PORT+1, …, peers to PORT+100, … (7101, or the next that are free)

Exit codes: 0 stopped; 2 a flag cannot be used; 3 a node did not start, no leader was elected, or all have ended.
";

/// How long the nodes may take until they accept connections and one of them leads.
const START: Duration = Duration::from_secs(30);

/// How long they may take to stop.
const STOP: Duration = Duration::from_secs(5);

/// How often to look whether a node has ended.
const LOOK: Duration = Duration::from_millis(200);

/// How often to look whether there is a leader, and how long each node may take to say so.
const LOOK_FOR_LEADER: Duration = Duration::from_millis(20);
const ANSWER: Duration = Duration::from_millis(500);

const FIRST_PORT: u16 = 7101;

struct Options {
    nodes: u64,
    data_dir: Option<PathBuf>,
    base_port: Option<u16>,
}

pub(crate) fn run(parser: Parser) -> Result<(), Failure> {
    match parse(parser)? {
        Some(options) => dev(&options),
        None => {
            print!("{HELP}");
            Ok(())
        }
    }
}

fn parse(mut parser: Parser) -> Result<Option<Options>, Usage> {
    let refused = |error: lexopt::Error| Usage::refused(COMMAND, &error);
    let mut options = Options { nodes: 3, data_dir: None, base_port: None };
    while let Some(argument) = parser.next().map_err(refused)? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("nodes") => {
                options.nodes = flags::number("nodes", &parser.value().map_err(refused)?, 1..=9)?;
            }
            Arg::Long("data-dir") => {
                let value = parser.value().map_err(refused)?;
                if value.is_empty() {
                    return Err(Usage::flag("data-dir", "names no directory"));
                }
                options.data_dir = Some(value.into());
            }
            Arg::Long("base-port") => {
                let port = flags::number("base-port", &parser.value().map_err(refused)?, 1..=65_400)?;
                options.base_port = u16::try_from(port).ok();
            }
            other => return Err(refused(other.unexpected())),
        }
    }
    Ok(Some(options))
}

fn dev(options: &Options) -> Result<(), Failure> {
    let failed = |text: String| Failure::Failed { code: NOT_DONE, text };
    let base = base_port(options)?;
    let executable = std::env::current_exe().map_err(|e| failed(format!("cannot find this program: {e}")))?;
    // Before the first node: from here on a signal ends the nodes, too.
    let interrupt = Interrupt::watch().map_err(|e| failed(format!("cannot watch for signals: {e}")))?;
    let temporary = match &options.data_dir {
        Some(_) => None,
        None => Some(TemporaryDirectory::new("quorate-dev").map_err(|e| failed(e.to_string()))?),
    };
    let root = options.data_dir.as_deref().or(temporary.as_ref().map(TemporaryDirectory::path));
    let places = local_places(root.unwrap_or(Path::new(".")), options.nodes, base);
    let mut fleet = Fleet::new(&executable, places, vec!["--segment-bytes=16MiB".into()], Logs::Inherit);
    let until = Instant::now() + START;
    fleet.start_all(until).map_err(|e| failed(e.to_string()))?;
    match wait_for_leader(&mut fleet, &interrupt, until).map_err(|e| failed(e.to_string()))? {
        Some(leader) => explain(&fleet, leader, temporary.is_some()),
        None if interrupt.wait(Duration::ZERO) => {}
        None => return Err(failed(no_leader(options))),
    }
    let mut alive: BTreeSet<u64> = fleet.places().iter().map(|place| place.id).collect();
    while !interrupt.wait(LOOK) {
        alive.retain(|id| match fleet.ended(*id) {
            Some(status) => {
                let line = fleet.place(*id).map(|place| shell_line(&fleet, place)).unwrap_or_default();
                say(format_args!("\nnode {id} has ended ({status}); to start it again:\n  {line}"));
                false
            }
            None => true,
        });
        if alive.is_empty() {
            return Err(failed("all nodes have ended".into()));
        }
    }
    say("\nstopping");
    fleet.stop_all(STOP);
    Ok(())
}

/// The port asked for, if it and its neighbours are free, or the first that is.
fn base_port(options: &Options) -> Result<u16, Usage> {
    let first = options.base_port.unwrap_or(FIRST_PORT);
    match free_base(options.nodes, first) {
        Some(base) if options.base_port.is_none_or(|asked| asked == base) => Ok(base),
        Some(base) => {
            Err(Usage::flag("base-port", format_args!("ports from {first} on are in use; {base} is free")))
        }
        None => {
            Err(Usage::flag("base-port", format_args!("no ports from {first} on are free; choose another")))
        }
    }
}

/// Waits until all nodes follow the same leader: only then is a first command answered at once by any of them. `None`: it took
/// too long, or a signal came.
fn wait_for_leader(
    fleet: &mut Fleet,
    interrupt: &Interrupt,
    until: Instant,
) -> Result<Option<u64>, FleetError> {
    let places = fleet.places().to_vec();
    while Instant::now() < until && !interrupt.wait(LOOK_FOR_LEADER) {
        if let Some((id, status)) = places.iter().find_map(|p| Some((p.id, fleet.ended(p.id)?))) {
            return Err(FleetError::Ended(id, Some(status)));
        }
        let ask = |client: &String| NodeInfo::fetch(client, Instant::now() + ANSWER).ok();
        let infos: Vec<_> = places.iter().map_while(|place| ask(&place.client)).collect();
        if infos.len() == places.len()
            && let Some(leader) = agreed_leader(&infos)
        {
            return Ok(Some(leader));
        }
    }
    Ok(None)
}

/// The node that leads and that all nodes, itself among them, name as their leader.
fn agreed_leader(infos: &[NodeInfo]) -> Option<u64> {
    let leader = infos.iter().find(|info| info.leads())?.number("node_id")?;
    infos.iter().all(|info| info.leader() == Some(leader)).then_some(leader)
}

fn no_leader(options: &Options) -> String {
    let (nodes, seconds) = (options.nodes, START.as_secs());
    let cure = match &options.data_dir {
        Some(directory) => format!(
            "if the cluster in {} was formed with another --nodes or --base-port, give the same again",
            directory.display()
        ),
        None => "the lines above say what each node waits for".into(),
    };
    format!("the {nodes} nodes do not all follow one leader after {seconds} s; {cure}")
}

fn explain(fleet: &Fleet, leader: u64, temporary: bool) {
    say(format_args!("{} nodes are up, and node {leader} leads:", fleet.places().len()));
    for place in fleet.places() {
        let pid = fleet.pid(place.id).unwrap_or(0);
        say(format_args!(
            "  node {}  clients {}  process {pid}  data {}",
            place.id,
            place.client,
            place.directory.display()
        ));
    }
    let clients = fleet.clients().join(",");
    let quorate = std::env::args().next().unwrap_or_else(|| "quorate".into());
    let port = fleet.places().first().and_then(|p| p.client.rsplit(':').next()).unwrap_or("7101");
    say(format_args!("\nTalk to any of them:"));
    say(format_args!("  redis-cli -p {port} set greeting hello"));
    say(format_args!("  {quorate} get greeting --connect {clients}"));
    say(format_args!("  {quorate} status --connect {clients}"));
    say(format_args!("\nKill one and see that nothing is lost; nothing is restarted by itself."));
    let end = if temporary {
        "Ctrl-C stops the cluster and removes its data."
    } else {
        "Ctrl-C stops the cluster; its data stays."
    };
    say(end);
}

/// The command that starts a node by hand.
fn shell_line(fleet: &Fleet, place: &crate::fleet::Place) -> String {
    let command = fleet.command(place);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(id: u64, role: &str, leader: u64) -> NodeInfo {
        NodeInfo::parse(&format!("node_id:{id}\r\nraft_role:{role}\r\nleader_id:{leader}\r\n"))
    }

    #[test]
    fn a_cluster_is_up_when_all_its_nodes_follow_one_leader() {
        let (leads, follows) = (info(2, "leader", 2), info(1, "follower", 2));
        let waits = info(3, "follower", 0);
        assert_eq!(agreed_leader(&[waits.clone(), waits.clone()]), None);
        assert_eq!(agreed_leader(&[leads.clone(), follows.clone(), waits]), None);
        assert_eq!(
            agreed_leader(&[follows.clone(), follows.clone()]),
            None,
            "it is named, and does not lead"
        );
        assert_eq!(agreed_leader(&[info(3, "follower", 3), leads.clone()]), None, "of another term");
        assert_eq!(agreed_leader(&[follows, leads.clone()]), Some(2));
        assert_eq!(agreed_leader(&[leads]), Some(2));
    }
}
