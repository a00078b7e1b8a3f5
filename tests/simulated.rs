//! Golden runs of whole clusters on the simulator: real nodes, disks that forget, networks that lose, one seed each.
//!
//! A failure names its seed. To run that one alone, with the last lines of what happened:
//!
//! ```text
//! QUORATE_SEED=17 cargo test --test simulated <name of the test> -- --nocapture
//! ```
//!
//! `QUORATE_SEEDS=1000` runs so many seeds of each test instead of the few that everyone runs.

mod support;

use std::cell::Cell;

use quorate::client::{CallKind, ClerkError};
use quorate::codec::resp::Value;
use quorate::replica::{Outcome, Request};
use quorate::rng::Rng;
use quorate::sim::{Answer, Checked, Cluster, Crash, Settings, Weather};
use support::{
    SECOND, appenders, ask, check_end, equal_states, formed, read, total, value, with_seeds, work, write,
};

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
