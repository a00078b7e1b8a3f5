//! Events of a whole run, held against what the nodes say of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::string::ToString;
use std::vec::Vec;

use bytes::Bytes;

use super::*;
use crate::client::CallKind;
use crate::kv::KvStore;
use crate::raft::LogIndex;
use crate::replica::Request;
use crate::sim::network::{Kind, Kinds, Region};
use crate::sim::{Cluster, Crash, Settings, Weather};

const SECOND: u64 = 1_000_000;

/// A short run with everything in it: foul weather, crashes, a partition, and with an odd seed snapshots. (With an even one
/// a node that was cut off gets the log, and may have to truncate its own.)
fn eventful(seed: u64, limit: Option<usize>) -> Cluster<KvStore> {
    let mut settings = Settings::new(seed, 3);
    settings.node.snapshot_log_bytes = (seed % 2 == 1).then_some(2 << 10);
    settings.node.raft.trailing_bytes = 0;
    let mut sim = Cluster::new(settings);
    if let Some(limit) = limit {
        sim.trace.keep_events(limit);
    }
    sim.start_all().expect("starts");
    let leader = sim.settle(20 * SECOND).expect("no violation").expect("a leader");
    sim.network.set_weather(Weather::FOUL);
    let clerks = [sim.clerk(), sim.clerk()];
    for round in 0..8u64 {
        for clerk in clerks {
            let value = [b'x'; 300];
            sim.call(clerk, CallKind::Write, &[b"SET", round.to_string().as_bytes(), &value]);
        }
        match round {
            2 => {
                sim.network.partition(&[leader], sim.nodes());
                sim.request(leader, Request::Write(Bytes::from_static(b"in vain")));
            }
            3 => {
                let (now, leader) = (sim.now(), sim.machine(leader));
                leader.paused_until = now + SECOND / 4;
                leader.slowness = 150;
                leader.clock.wall_ahead_ms += 5000;
            }
            4 => sim.network.heal(),
            5 => sim.crash(leader, Crash::Power),
            6 => sim.start(leader).expect("starts"),
            _ => {}
        }
        sim.run_for(SECOND / 2).expect("no violation");
    }
    sim.network.set_weather(Weather::FAIR);
    sim.run_for(3 * SECOND).expect("no violation");
    sim
}

fn names(sim: &Cluster<KvStore>) -> BTreeSet<&'static str> {
    sim.trace.kept().map(|event| event.what.name()).collect()
}

#[test]
fn keeping_events_does_not_change_the_run() {
    let (kept, plain) = (eventful(1, Some(usize::MAX)), eventful(1, None));
    assert_eq!(kept.trace.hash(), plain.trace.hash());
    assert_eq!((plain.trace.kept().count(), plain.trace.forgotten()), (0, 0));
    let all = kept.trace.kept().count();
    let mut some = eventful(1, Some(100));
    assert_eq!((some.trace.kept().count(), some.trace.forgotten()), (100, all as u64 - 100));
    assert!(some.trace.kept().eq(kept.trace.kept().skip(all - 100)));
    assert_eq!((some.trace.take_kept().len(), some.trace.kept().count()), (100, 0));
}

/// What a specification needs to follow a run: whoever reads the steps has each node's log and state.
#[test]
fn logs_and_states_can_be_rebuilt_from_steps() {
    let mut truncated = false;
    for seed in 0..2 {
        let mut sim = eventful(seed, Some(usize::MAX));
        truncated |= names(&sim).contains("TruncateLog");
        let mut logs: BTreeMap<NodeId, BTreeMap<LogIndex, EntryMark>> = BTreeMap::new();
        let mut states = BTreeMap::new();
        let mut started = BTreeSet::new();
        for event in sim.trace.kept() {
            if let (Some(node), What::Start { .. }) = (event.node, &event.what) {
                logs.remove(&node);
                started.insert(node);
            }
            let (Some(node), What::Step(step)) = (event.node, &event.what) else { continue };
            assert_eq!(step.changes.contains(&Change::Recover), started.remove(&node), "{event:?}");
            let log = logs.entry(node).or_default();
            if let Some(change) = &step.log {
                let first = change.entries.first();
                assert!(first.is_none_or(|first| log.get(&(change.after + 1)) != Some(first)), "{event:?}");
                log.split_off(&(change.after + 1));
                log.extend((change.after + 1..).zip(change.entries.iter().copied()));
            }
            *log = log.split_off(&step.state.first);
            assert_eq!(
                log.last_key_value().map_or(step.state.first - 1, |(&at, _)| at),
                step.state.last.index
            );
            states.insert(node, step.state.clone());
        }
        for node in sim.nodes() {
            let status = sim.status(node).expect("runs");
            let raft = status.raft.expect("has a core");
            let state = &states[&node];
            assert_eq!((state.role, state.term, state.vote), (raft.role, raft.term, raft.vote));
            assert_eq!((state.commit, state.applied, state.last), (raft.commit, raft.applied, raft.last));
            assert_eq!((state.digest, state.voters.len()), (status.digest, 3));
            let running = sim.machine(node).node().expect("runs");
            let core = running.replica().expect("has a core").raft();
            let entries = core.entries(raft.first_index, raft.last.index);
            assert!(entries.map(|entry| (entry.id.index, EntryMark::of(entry))).eq(logs[&node].clone()));
        }
    }
    assert!(truncated, "no run truncates a log");
}

#[test]
fn each_arrival_has_its_sending_and_each_kind_of_event_occurs() {
    let sim = eventful(3, Some(usize::MAX));
    let mut sent = BTreeMap::new();
    let mut received: BTreeMap<MessageId, usize> = BTreeMap::new();
    for event in sim.trace.kept() {
        match &event.what {
            What::Send { message, to, fate, said } => {
                sent.insert(*message, (event.node, *to, fate.clone(), said.clone()));
            }
            What::Receive { message, from, arrived, said } => {
                let (sender, to, fate, was_said) = &sent[message];
                assert_eq!((*sender, Some(*to), was_said), (Some(*from), event.node, said));
                assert!(matches!(fate, Fate::Arrives(at) if at.contains(arrived)), "{fate:?}");
                assert!(*arrived <= event.at);
                *received.entry(*message).or_default() += 1;
            }
            _ => {}
        }
    }
    assert!(received.values().any(|&copies| copies == 2), "none is doubled");
    assert!(sent.values().any(|(_, _, fate, _)| *fate == Fate::Lost), "none is lost");
    let names = names(&sim);
    for name in [
        "Start",
        "Restart",
        "PowerFailure",
        "Persist",
        "Persisted",
        "SendHello",
        "ReceiveAppend",
        "SendVote",
        "ReceiveHeartbeatReply",
        "Recover",
        "Timeout",
        "BecomeLeader",
        "StepDown",
        "AdvanceCommit",
        "TakeSnapshot",
        "SendSnapshotChunk",
        "InstallSnapshot",
        "Partition",
        "Heal",
        "Weather",
        "Invoke",
        "Pause",
        "Resume",
        "Slow",
        "SetClock",
        "Return",
        "Note",
    ] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
}

#[test]
fn any_difference_shows_and_lines_do_not_change_the_hash() {
    let run = |at, kind, bytes: &[&[u8]], lines: bool| {
        let mut trace = Trace::default();
        if lines {
            trace.keep_lines();
        }
        trace.record(at, NodeId(1), kind, bytes, String::new);
        trace.hash()
    };
    let base = run(1, "send", &[b"ab"], false);
    assert_eq!(base, run(1, "send", &[b"ab"], true));
    for other in [
        run(2, "send", &[b"ab"], false),
        run(1, "reply", &[b"ab"], false),
        run(1, "send", &[b"a", b"b"], false),
    ] {
        assert_ne!(base, other);
    }
}

#[test]
fn weather_is_told_when_it_changes_and_where_it_ends() {
    let mut sim: Cluster<KvStore> = Cluster::new(Settings::new(1, 3));
    sim.trace.keep_events(usize::MAX);
    sim.start_all().expect("starts");
    sim.network.set_weather_in(Region::kinds(Kinds::of(&[Kind::Vote, Kind::Append])), Weather::FOUL);
    sim.run_for(1000).expect("no violation");
    sim.network.set_weather(Weather::FAIR);
    sim.run_for(1000).expect("no violation");
    let weathers = sim.trace.kept().filter(|event| matches!(event.what, What::Weather { .. }));
    let words: Vec<_> = weathers.map(|event| event.what.to_string()).collect();
    let foul = "weather any→any Vote Append: 100 to 10000 µs, 100 ‰ lost, 100 ‰ doubled, 333 ‰ overtaken";
    assert_eq!(words, [foul, "weather: 50 to 150 µs"]);
}
