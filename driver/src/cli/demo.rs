//! `quorate demo`: three real processes; the leader is killed in the midst of writes; nothing that was acknowledged is lost.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lexopt::{Arg, Parser};
use quorate::client::ClerkError;
use quorate::codec::resp::Value;

use super::flags::Usage;
use super::interrupt::Interrupt;
use super::temporary::TemporaryDirectory;
use super::{Failure, NOT_DONE, say};
use crate::blocking_client::Client;
use crate::fleet::{Fleet, Logs, Place, free_base, local_places};
use crate::node_info::NodeInfo;

const COMMAND: &str = "demo";

const HELP: &str = "\
usage: quorate demo

Starts a cluster of three nodes on this machine, each a process of its own with a directory of its own. Clients write
without a pause; the leader is killed as by kill -9; the others elect a new one, and the clients go on. Then every
acknowledged write is read back, the killed node is started again, and it catches up. All data is removed at the end.

Exit codes: 0 nothing was lost; 1 something was, or the cluster did not go on (the data and the logs are then kept).
";

/// The whole demo is over by then, one way or the other.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long one command may take: longer than any election.
const CALL: Duration = Duration::from_secs(15);

/// Clients that write at the same time.
const CLIENTS: usize = 4;

/// Acknowledged writes before the leader is killed, and after.
const WRITES: u64 = 400;

/// How often something is looked at that has no way to say that it has changed.
const LOOK: Duration = Duration::from_millis(10);

pub(crate) fn run(mut parser: Parser) -> Result<(), Failure> {
    match parser.next() {
        Ok(None) => {}
        Ok(Some(Arg::Long("help") | Arg::Short('h'))) => {
            print!("{HELP}");
            return Ok(());
        }
        Ok(Some(other)) => return Err(Usage::refused(COMMAND, &other.unexpected()).into()),
        Err(error) => return Err(Usage::refused(COMMAND, &error).into()),
    }
    let system = |error: std::io::Error| Failure::Failed { code: NOT_DONE, text: error.to_string() };
    // Before there is anything to clean up.
    let interrupt = Interrupt::watch().map_err(system)?;
    let mut directory = TemporaryDirectory::new("quorate-demo").map_err(system)?;
    let executable = std::env::current_exe().map_err(system)?;
    // Above the ports of `dev`, so that both can run beside each other.
    let base = free_base(3, 17_101).ok_or_else(|| Usage("there are no free ports from 17101 on".into()))?;
    let places = local_places(directory.path(), 3, base);
    let flags = vec!["--segment-bytes=8MiB".into()];
    let fleet = Fleet::new(&executable, places, flags, Logs::Files);
    let mut demo = Demo { fleet, interrupt, start: Instant::now(), until: Instant::now() + DEADLINE };
    let done = demo.play();
    let interrupted = demo.interrupt.wait(Duration::ZERO);
    drop(demo);
    done.map_err(|text| {
        if interrupted {
            return Failure::Failed { code: 1, text: "the demo was interrupted".into() };
        }
        directory.keep();
        let kept = directory.path().display();
        Failure::Failed { code: 1, text: format!("the demo failed: {text} (data and logs are in {kept})") }
    })
}

struct Demo {
    fleet: Fleet,
    interrupt: Interrupt,
    start: Instant,
    until: Instant,
}

impl Demo {
    fn tell(&self, line: impl Display) {
        let elapsed = self.start.elapsed();
        say(format_args!("{:3}.{:03} s  {line}", elapsed.as_secs(), elapsed.subsec_millis()));
    }

    fn play(&mut self) -> Result<(), String> {
        self.tell("starting three nodes, each a process with a directory of its own");
        self.fleet.start_all(self.until).map_err(|error| error.to_string())?;
        let (leader, term) = self.leader(None)?;
        self.tell(format_args!("they have formed a cluster and elected node {leader} in term {term}"));

        let mut writers = Writers::start(&self.fleet.clients());
        self.tell(format_args!("{CLIENTS} clients write one key after the other, each command exactly once"));
        self.wait_for("the first writes", || writers.acknowledged() >= WRITES)?;
        let before = writers.acknowledged();
        self.tell(format_args!("{before} writes are acknowledged: each is synced on two disks or three"));

        let pid = self.fleet.pid(leader).unwrap_or(0);
        let killed = Instant::now();
        self.fleet.kill(leader);
        self.tell(format_args!("kill -9 {pid}: the leader, node {leader}, is gone in the midst of writes"));
        let (successor, term) = self.leader(Some(leader))?;
        let ms = killed.elapsed().as_millis();
        self.tell(format_args!("node {successor} leads in term {term}, {ms} ms after the kill"));
        let resumed = writers.acknowledged();
        self.wait_for("writes after the kill", || writers.acknowledged() >= resumed + WRITES)?;
        let written = writers.finish()?;
        let total = written.iter().map(|w| w.acknowledged).sum::<u64>();
        self.tell(format_args!("the clients went on by themselves: {total} writes are acknowledged now"));

        self.read_back(&written)?;
        self.tell(format_args!(
            "read back from the two that are left: all {total} are there, none ran twice"
        ));

        self.fleet.start(leader).map_err(|error| error.to_string())?;
        self.fleet.wait_ready(leader, self.until).map_err(|error| error.to_string())?;
        self.tell(format_args!("node {leader} is started again with what its disk holds"));
        let index = self.caught_up()?;
        self.tell(format_args!(
            "node {leader} has caught up: all three hold the same state at log index {index}"
        ));
        self.read_back(&written)?;
        self.tell("read back once more: nothing is lost");
        self.fleet.stop_all(Duration::from_secs(5));
        Ok(())
    }

    /// Waits until a node other than `except` leads, and another one follows it.
    fn leader(&self, except: Option<u64>) -> Result<(u64, u64), String> {
        loop {
            self.check_time("a leader")?;
            let infos = self.infos();
            let leader = infos.iter().find(|(id, info)| Some(**id) != except && info.leads());
            if let Some((id, info)) = leader {
                let term = info.number("term").unwrap_or(0);
                let follows = |(other, info): (&u64, &NodeInfo)| other != id && info.leader() == Some(*id);
                if infos.iter().any(follows) {
                    return Ok((*id, term));
                }
            }
            thread::sleep(LOOK);
        }
    }

    /// What the nodes that answer say of themselves.
    fn infos(&self) -> BTreeMap<u64, NodeInfo> {
        let soon = Instant::now() + Duration::from_millis(500);
        let ask = |place: &Place| Some((place.id, NodeInfo::fetch(&place.client, soon).ok()?));
        self.fleet.places().iter().filter_map(ask).collect()
    }

    /// Waits until all nodes hold the same state at the same log index.
    fn caught_up(&self) -> Result<u64, String> {
        loop {
            self.check_time("equal states on all nodes")?;
            let infos = self.infos();
            let mut states = infos.values().map(NodeInfo::state);
            if infos.len() == self.fleet.places().len()
                && let Some(Some(first)) = states.next()
                && states.all(|other| other == Some(first))
            {
                return Ok(first.0);
            }
            thread::sleep(LOOK);
        }
    }

    fn wait_for(&self, what: &str, done: impl Fn() -> bool) -> Result<(), String> {
        while !done() {
            self.check_time(what)?;
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn check_time(&self, what: &str) -> Result<(), String> {
        if self.interrupt.wait(Duration::ZERO) {
            return Err("interrupted".into());
        }
        if Instant::now() < self.until { Ok(()) } else { Err(format!("waited too long for {what}")) }
    }

    /// Reads every acknowledged write back, and finds out whether any ran twice.
    fn read_back(&self, written: &[Written]) -> Result<(), String> {
        let mut client = Client::new(self.fleet.clients(), CALL).map_err(|error| error.to_string())?;
        let mut read = |key: String| match client.read(&["GET", &key]) {
            Ok(Value::Bulk(value)) => Ok(String::from_utf8_lossy(&value).into_owned()),
            Ok(other) => Err(format!("{key} was acknowledged and is lost: {other:?}")),
            Err(error) => Err(format!("{key} could not be read: {error}")),
        };
        for writer in written {
            for n in 0..writer.acknowledged {
                self.check_time("reading back")?;
                let value = read(key(writer.client, n))?;
                if value != n.to_string() {
                    return Err(format!("{} holds '{value}' instead of '{n}'", key(writer.client, n)));
                }
            }
            // An APPEND that ran twice, or not at all, shows.
            let expected: String = (0..writer.acknowledged).map(|n| format!("{n},")).collect();
            let found = read(diary(writer.client))?;
            if found != expected {
                return Err(format!("the appends of client {} did not run exactly once each", writer.client));
            }
        }
        Ok(())
    }
}

/// What one client has written.
struct Written {
    client: usize,
    acknowledged: u64,
}

/// Clients that write until they are told to stop.
struct Writers {
    threads: Vec<JoinHandle<Result<Written, String>>>,
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Writers {
    fn start(nodes: &[String]) -> Self {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let start = |client| {
            let (nodes, acknowledged, stop) = (nodes.to_vec(), Arc::clone(&acknowledged), Arc::clone(&stop));
            thread::spawn(move || write(client, nodes, &acknowledged, &stop))
        };
        let threads = (0..CLIENTS).map(start).collect();
        Self { threads, acknowledged, stop }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets each client finish its command.
    fn finish(&mut self) -> Result<Vec<Written>, String> {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.threads.drain(..).map(|thread| thread.join());
        joined.map(|result| result.unwrap_or_else(|_| Err("a client panicked".into()))).collect()
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn write(
    client: usize,
    nodes: Vec<String>,
    acknowledged: &AtomicU64,
    stop: &AtomicBool,
) -> Result<Written, String> {
    let mut clerk = Client::new(nodes, CALL).map_err(|error| error.to_string())?;
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let failed = |error: ClerkError| format!("client {client}, write {n}: {error}");
        clerk.write(&["SET", &key(client, n), &n.to_string()]).map_err(failed)?;
        clerk.write(&["APPEND", &diary(client), &format!("{n},")]).map_err(failed)?;
        n += 1;
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    clerk.finish();
    Ok(Written { client, acknowledged: n })
}

fn key(client: usize, n: u64) -> String {
    format!("demo:{client}:{n}")
}

fn diary(client: usize) -> String {
    format!("demo:{client}:appends")
}
