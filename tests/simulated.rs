//! Golden runs of whole clusters on the simulator: real nodes, disks that forget, networks that lose, one seed each.
//!
//! A failure names its seed. To run that one alone, with the last lines of what happened:
//!
//! ```text
//! QUORATE_SEED=17 cargo test --test simulated <name of the test> -- --nocapture
//! ```
//!
//! `QUORATE_SEEDS=1000` runs so many seeds of each test instead of the few that everyone runs.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};

use bytes::Bytes;
use quorate::client::{CallKind, ClerkError};
use quorate::codec::resp::Value;
use quorate::kv::{Call, KvStore, parse};
use quorate::node::{Fault, Phase};
use quorate::raft::NodeId;
use quorate::replica::{Outcome, Request, SessionId};
use quorate::rng::Rng;
use quorate::sim::{Answer, Checked, Cluster, Crash, Disk, OpKind, Settings, Weather};
use quorate::storage::FileName;

type Sim = Cluster<KvStore>;

const SECOND: u64 = 1_000_000;

/// Runs a scenario for each seed, or for the one that `QUORATE_SEED` names.
fn with_seeds(seeds: std::ops::Range<u64>, scenario: impl Fn(u64, &mut Option<Sim>) -> Checked<()>) {
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
            panic!("{what}\nto replay: QUORATE_SEED={seed} cargo test --test simulated -- --nocapture");
        }
    }
}

/// A cluster of three that has a leader.
fn formed(settings: Settings, slot: &mut Option<Sim>) -> Checked<&mut Sim> {
    let sim = slot.insert(Cluster::new(settings));
    if std::env::var("QUORATE_SEED").is_ok() {
        sim.trace.keep_lines();
    }
    sim.start_all()?;
    assert!(sim.settle(20 * SECOND)?.is_some(), "no leader after formation");
    Ok(sim)
}

fn words(words: &[&[u8]]) -> Vec<Bytes> {
    words.iter().map(|word| Bytes::copy_from_slice(word)).collect()
}

fn write(command: &[&[u8]]) -> Bytes {
    match parse(&words(command)) {
        Ok(Call::Write(command)) => command,
        other => panic!("{other:?}"),
    }
}

fn read(query: &[&[u8]]) -> Request {
    match parse(&words(query)) {
        Ok(Call::Read(query)) => Request::Read(query),
        other => panic!("{other:?}"),
    }
}

/// A client with a session: one APPEND at a time to a key of its own, the same one again until it knows how it ended.
struct Appender {
    key: String,
    session: Option<SessionId>,
    seq: u64,
    /// Pieces whose append was acknowledged, and the one under way.
    acknowledged: Vec<String>,
    under_way: Option<quorate::node::RequestId>,
    rng: Rng,
}

impl Appender {
    fn new(seed: u64, number: u64) -> Self {
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
    fn step(&mut self, sim: &mut Sim) {
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
    fn check(&self, value: &[u8]) {
        let value = String::from_utf8_lossy(value);
        let expected = self.acknowledged.concat();
        let rest = value.strip_prefix(&expected);
        let rest = rest.unwrap_or_else(|| panic!("{}: {value:?} should begin with {expected:?}", self.key));
        assert!(rest.is_empty() || rest == self.piece(), "{}: {rest:?} too much", self.key);
    }
}

/// Lets the clients work for so long.
fn work(sim: &mut Sim, clients: &mut [Appender], micros: u64) -> Checked<()> {
    let end = sim.now() + micros;
    while sim.now() < end {
        clients.iter_mut().for_each(|client| client.step(sim));
        sim.run_for(500)?;
    }
    Ok(())
}

/// Asks until it is answered.
fn ask(sim: &mut Sim, request: &Request) -> Checked<Bytes> {
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
fn value(reply: &[u8]) -> &[u8] {
    match reply.strip_prefix(b"$") {
        Some(rest) => {
            let start = rest.iter().position(|&b| b == b'\n').expect("a bulk string") + 1;
            &rest[start..rest.len() - 2]
        }
        None => b"",
    }
}

/// Everyone is up, the network is fair: writes go on, all acknowledged ones are there, and all states are equal.
fn check_end(sim: &mut Sim, clients: &mut [Appender]) -> Checked<()> {
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
fn equal_states(sim: &mut Sim, bound: u64) -> Checked<()> {
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

fn total(clients: &[Appender]) -> usize {
    clients.iter().map(|client| client.acknowledged.len()).sum()
}

fn appenders(seed: u64) -> Vec<Appender> {
    (0..4).map(|number| Appender::new(seed, number)).collect()
}

#[test]
fn a_quiet_cluster_serves_and_agrees() {
    with_seeds(0..3, |seed, slot| {
        let sim = formed(Settings::new(seed, 3), slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND)?;
        assert!(total(&clients) > 400, "only {} writes in a second", total(&clients));
        check_end(sim, &mut clients)
    });
}

#[test]
fn same_seed_same_run_to_the_byte() {
    let run = |seed| {
        let mut slot = None;
        let sim = formed(Settings::new(seed, 3), &mut slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 4)?;
        let node = sim.nodes()[(seed % 3) as usize];
        sim.crash(node, Crash::Power);
        work(sim, &mut clients, SECOND / 4)?;
        check_end(sim, &mut clients)?;
        Checked::Ok((sim.trace.hash(), sim.trace.events()))
    };
    let first = run(5).expect("no promise is broken");
    assert_eq!(run(5), Ok(first));
    assert_ne!(run(6), Ok(first));
}

/// Crashes of any node at any moment, between and within disk operations; whole clusters lose power too.
#[test]
fn acknowledged_writes_survive_any_crashes() {
    let acknowledged = Cell::new(0);
    with_seeds(0..16, |seed, slot| {
        let sim = formed(Settings::new(seed, 3), slot)?;
        let mut clients = appenders(seed);
        let mut rng = Rng::stream(seed, 50);
        for _ in 0..15 {
            // Now and then long enough for an election, mostly not.
            let up = if rng.chance(1, 3) { 800_000 } else { 100_000 };
            work(sim, &mut clients, rng.below(up))?;
            let crash = if rng.chance(2, 3) { Crash::Power } else { Crash::Process };
            for node in sim.nodes() {
                if rng.chance(1, 2) {
                    sim.crash(node, crash);
                }
            }
            work(sim, &mut clients, rng.below(100_000))?;
            for node in sim.nodes() {
                if rng.chance(3, 4) {
                    sim.start(node)?;
                }
            }
        }
        acknowledged.set(acknowledged.get() + total(&clients));
        check_end(sim, &mut clients)
    });
    assert!(acknowledged.get() > 10_000, "only {} writes: the crashes leave no time", acknowledged.get());
}

/// The same under a network that loses, doubles and reorders what cores say, and that is cut at random.
#[test]
fn acknowledged_writes_survive_crashes_in_foul_weather() {
    with_seeds(100..170, |seed, slot| {
        let sim = formed(Settings::new(seed, 3), slot)?;
        let mut clients = appenders(seed);
        let mut rng = Rng::stream(seed, 50);
        sim.network.set_weather(Weather::FOUL);
        for _ in 0..12 {
            let nodes = sim.nodes();
            let one = nodes[rng.below(3) as usize];
            match rng.below(5) {
                0 => sim.crash(one, Crash::Power),
                1 => sim.network.partition(&[one], nodes),
                2 => sim.network.cut(one, nodes[rng.below(3) as usize]),
                3 => sim.start_all()?,
                _ => sim.network.heal(),
            }
            work(sim, &mut clients, rng.below(400_000))?;
        }
        check_end(sim, &mut clients)
    });
}

/// Clerks and gateways, byte for byte: INCR under crashes and cuts counts each call that was reported done once, and those
/// reported as not known at most once.
#[test]
fn clerks_count_exactly_once_through_crashes() {
    with_seeds(600..640, |seed, slot| {
        let sim = formed(Settings::new(seed, 3), slot)?;
        if seed % 2 == 1 {
            sim.network.set_weather(Weather::FOUL);
        }
        let mut rng = Rng::stream(seed, 50);
        let clerks: Vec<_> = (0..3).map(|_| sim.clerk()).collect();
        let (mut done, mut unknown) = (0, 0);
        for round in 0..40 {
            let calls: Vec<_> = clerks
                .iter()
                .flat_map(|&clerk| [clerk; 4])
                .map(|clerk| (clerk, sim.call(clerk, CallKind::Write, &[b"INCR", b"n"])))
                .collect();
            if round % 4 == 0 {
                sim.run_for(rng.below(3_000))?;
                let one = sim.nodes()[rng.below(3) as usize];
                let crash = if rng.chance(1, 2) { Crash::Power } else { Crash::Process };
                sim.crash(one, crash);
                sim.run_for(rng.below(50_000))?;
                sim.start(one)?;
            }
            for (clerk, call) in calls {
                let mut result = None;
                sim.run_until(30 * SECOND, |sim| {
                    result = sim.take_result(clerk, call);
                    result.is_some()
                })?;
                match result {
                    Some(Ok(Value::Integer(_))) => done += 1,
                    Some(Err(ClerkError::Undetermined)) => unknown += 1,
                    Some(Err(ClerkError::TimedOut)) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        let reply = ask(sim, &read(&[b"GET", b"n"]))?;
        let counted: u64 = String::from_utf8_lossy(value(&reply)).parse().expect("a number");
        assert!(
            (done..=done + unknown).contains(&counted),
            "{done} done, {unknown} unknown, counted {counted}"
        );
        assert!(done > 400, "only {done} done");
        equal_states(sim, 10 * SECOND)
    });
}

/// The power fails while the cluster forms: it forms all the same, and only once.
#[test]
fn formation_survives_crashes() {
    with_seeds(200..300, |seed, slot| {
        let sim = slot.insert(Cluster::new(Settings::new(seed, 3)));
        let mut rng = Rng::stream(seed, 50);
        for _ in 0..6 {
            sim.start_all()?;
            sim.run_for(rng.below(20_000))?;
            let one = sim.nodes()[rng.below(3) as usize];
            sim.crash(one, Crash::Power);
        }
        sim.start_all()?;
        assert!(sim.settle(20 * SECOND)?.is_some(), "no cluster");
        let reply = ask(sim, &Request::Write(write(&[b"SET", b"k", b"v"])))?;
        assert_eq!(&reply[..], b"+OK\r\n");
        equal_states(sim, 10 * SECOND)
    });
}

/// A node that was away while the log was cut catches up by a snapshot, and so does one that is cut off during it.
#[test]
fn a_snapshot_brings_a_late_node_up() {
    with_seeds(300..306, |seed, slot| {
        let mut settings = Settings::new(seed, 3);
        settings.node.snapshot_log_bytes = Some(8 << 10);
        settings.node.raft.trailing_bytes = 1 << 10;
        settings.node.raft.snapshot_chunk_bytes = 1 << 10;
        let sim = formed(settings, slot)?;
        let late = sim.nodes()[(seed % 3) as usize];
        sim.crash(late, Crash::Power);
        let mut clients = appenders(seed);
        work(sim, &mut clients, 2 * SECOND)?;
        sim.start(late)?;
        let mut rng = Rng::stream(seed, 50);
        sim.run_for(rng.below(30_000))?;
        sim.crash(late, Crash::Power);
        sim.start(late)?;
        work(sim, &mut clients, SECOND / 2)?;
        check_end(sim, &mut clients)?;
        let installed = sim.status(late).map_or(0, |status| status.counters.snapshots_installed);
        assert!(installed > 0 || seed != 300, "no snapshot was sent");
        Ok(())
    });
}

/// A leader behind a partition acknowledges nothing, and what it took is gone or done, never both.
#[test]
fn a_partitioned_leader_acknowledges_nothing() {
    with_seeds(400..406, |seed, slot| {
        let sim = formed(Settings::new(seed, 3), slot)?;
        let old = sim.settle(10 * SECOND)?.expect("a leader");
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 5)?;
        let nodes = sim.nodes();
        sim.network.partition(&[old], nodes);
        let lost = sim.request(old, Request::Write(write(&[b"SET", b"island", b"v"])));
        work(sim, &mut clients, 3 * SECOND)?;
        let new = sim.leader().expect("the majority elects");
        assert_ne!(new, old);
        match sim.answer(lost)? {
            Answer::Outcome(Outcome::Undetermined | Outcome::Refused(_)) => {}
            other => panic!("a minority acknowledged a write: {other:?}"),
        }
        check_end(sim, &mut clients)
    });
}

/// A node whose disk was replaced under its old id may not vote or count: it is refused by name (STORAGE row 19).
#[test]
fn row_19_a_wiped_disk_is_fenced() {
    with_seeds(500..503, |seed, slot| {
        let mut settings = Settings::new(seed, 3);
        settings.tolerated = |fault| matches!(fault, Fault::Fenced(_));
        let sim = formed(settings, slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 5)?;
        let wiped = sim.nodes()[(seed % 3) as usize];
        sim.wipe(wiped);
        sim.start(wiped)?;
        work(sim, &mut clients, 3 * SECOND)?;
        let running = sim.status(wiped).is_some_and(|status| status.phase == Phase::Running);
        assert!(!running, "a disk that forgot takes part");
        assert!(sim.fault(wiped).is_some_and(|fault| fault.exit_code() == 4), "{:?}", sim.fault(wiped));
        // One more down: the wiped node must not help to a majority.
        let other = sim.nodes().into_iter().find(|&node| node != wiped).expect("three nodes");
        sim.crash(other, Crash::Process);
        sim.start(wiped)?;
        sim.run_for(3 * SECOND)?;
        assert_eq!(sim.leader().filter(|&leader| leader == wiped), None);
        sim.start(other)?;
        assert!(sim.settle(20 * SECOND)?.is_some());
        for client in &clients {
            let reply = ask(sim, &read(&[b"GET", client.key.as_bytes()]))?;
            client.check(value(&reply));
        }
        Ok(())
    });
}

/// A node whose disk went back in time is fenced as far as peers remember (STORAGE row 19): a leader remembers what its
/// followers acknowledged, and everyone how often everyone else has started.
#[test]
fn row_19_a_rolled_back_disk_is_fenced() {
    with_seeds(520..526, |seed, slot| {
        let mut settings = Settings::new(seed, 3);
        settings.tolerated = |fault| matches!(fault, Fault::Fenced(_));
        let sim = formed(settings, slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 5)?;
        let leader = sim.settle(10 * SECOND)?.expect("a leader");
        let by_boots = seed % 2 == 0;
        let node = sim.nodes().into_iter().find(|&node| (node == leader) == by_boots).expect("three nodes");
        sim.crash(node, Crash::Process);
        let image: Disk = sim.machine(node).disk.clone();
        for _ in 0..if by_boots { 2 } else { 1 } {
            sim.start(node)?;
            work(sim, &mut clients, SECOND)?;
            sim.crash(node, Crash::Process);
        }
        sim.roll_back(node, image);
        sim.start(node)?;
        work(sim, &mut clients, 2 * SECOND)?;
        assert!(sim.fault(node).is_some_and(|fault| fault.exit_code() == 4), "{:?}", sim.fault(node));
        Ok(())
    });
}

/// A failed sync halts the node with an exit code of its own; the others go on, and nothing acknowledged is lost (row 4).
#[test]
fn row_04_a_failed_sync_halts_the_node() {
    with_seeds(540..546, |seed, slot| {
        let mut settings = Settings::new(seed, 3);
        settings.tolerated = |fault| matches!(fault, Fault::Disk(_));
        let sim = formed(settings, slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 5)?;
        let node = sim.nodes()[(seed % 3) as usize];
        sim.machine(node).disk.fail_after(OpKind::Sync, seed % 7);
        work(sim, &mut clients, 2 * SECOND)?;
        assert!(sim.fault(node).is_some_and(|fault| fault.exit_code() == 3), "{:?}", sim.fault(node));
        check_end(sim, &mut clients)
    });
}

/// A full disk refuses writes and loses none; when there is room again they go on (row 7).
#[test]
fn row_07_a_full_disk_refuses_and_resumes() {
    full_disks(560..563);
}

/// In this run a leader with room sends entries to a follower without.
#[test]
fn row_07_a_follower_without_room_takes_no_entries() {
    full_disks(578..579);
}

fn full_disks(seeds: std::ops::Range<u64>) {
    with_seeds(seeds, |seed, slot| {
        let sim = formed(Settings::new(seed, 3), slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 5)?;
        for node in sim.nodes() {
            let disk = &mut sim.machine(node).disk;
            let used: u64 = disk.list().iter().map(|(_, len)| len).sum();
            disk.set_capacity(Some(used));
        }
        work(sim, &mut clients, 2 * SECOND)?;
        let full = total(&clients);
        for node in sim.nodes() {
            assert!(sim.fault(node).is_none(), "a full disk is no reason to halt: {:?}", sim.fault(node));
            sim.machine(node).disk.set_capacity(None);
        }
        work(sim, &mut clients, 2 * SECOND)?;
        assert!(total(&clients) > full, "writes do not resume");
        check_end(sim, &mut clients)
    });
}

/// Rot in what was synced long ago is refused by name at the next start, never cut off (row 2).
#[test]
fn row_02_rot_in_the_log_is_refused() {
    with_seeds(580..584, |seed, slot| {
        let mut settings = Settings::new(seed, 3);
        settings.tolerated = |fault| matches!(fault, Fault::Directory(_));
        let sim = formed(settings, slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 5)?;
        let node = sim.nodes()[(seed % 3) as usize];
        sim.crash(node, Crash::Process);
        let disk = &mut sim.machine(node).disk;
        let segment =
            disk.list().into_iter().map(|(name, _)| name).find(|n| matches!(n, FileName::Segment(_)));
        let segment = segment.expect("a segment");
        // In the header of a record that later ones prove to have been synced; what lies between records is not read.
        let bytes = disk.read(segment).expect("is there");
        let mut records = (0..bytes.len()).step_by(128).filter(|&at| bytes[at..].starts_with(b"QREC"));
        let record = records.nth((seed % 20) as usize).expect("a synced record") as u64;
        disk.rot(segment, record + 8 + seed % 64, 0x10);
        sim.start(node)?;
        work(sim, &mut clients, SECOND)?;
        match sim.fault(node) {
            Some(fault @ Fault::Directory(text)) => {
                assert_eq!(fault.exit_code(), 2);
                assert!(text.contains(&segment.to_string()), "names the file: {text}");
            }
            other => {
                let other = other.cloned();
                panic!("rot in {segment} was accepted: {other:?} {:?}", sim.machine(node).notes)
            }
        }
        Ok(())
    });
}
