//! Random commands to a real redis-server and to Quorate: the same replies, byte for byte, but for the differences that
//! `src/docs/redis_compatibility.md` lists.
//!
//! `cargo test` compares a few thousand commands with fixed seeds. `QUORATE_COMPARE=100000` compares so many, prints how often
//! each command and each option was done, and fails where that is too seldom; `QUORATE_SEED` gives it other commands.
//! Without a redis-server in `PATH` the comparison is left out, and says so.

mod arguments;
mod commands;
mod cuts;
mod exceptions;
mod generate;
mod redis;
mod run;
#[path = "../support/mod.rs"]
mod support;
mod vectors;
mod verdicts;
mod wire;

use std::collections::BTreeSet;
use std::env;
use std::time::Instant;

use exceptions::{EXCEPTIONS, Exception};
use generate::{Command, Generator, Kind};
use quorate::rng::Rng;
use redis::Redis;
use run::{Count, Servers, Tally, is_covered, labels, play, shrink};
use support::Cluster;
use vectors::{SCRIPTS, Script};
use verdicts::{answer, draw};
use wire::{Wire, elements, shown, text};

/// What lists the differences.
const PAGE: &str = include_str!("../../../src/docs/redis_compatibility.md");

/// Commands of one episode.
const EPISODE: usize = 400;

/// In a full run everything is done at least so often.
const ENOUGH: u64 = 200;

/// Most differences that one run shows.
const SHOWN: usize = 12;

fn number(name: &str) -> Option<u64> {
    Some(env::var(name).ok()?.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Compares `length` commands; what was met, and what differs.
fn compare(servers: &Servers, kind: Kind, length: u64) -> Tally {
    let seed = number("QUORATE_SEED").unwrap_or(1);
    let (mut tally, mut differences) = (Tally::default(), 0);
    let mut seen = BTreeSet::new();
    for seed in seed.. {
        if tally.commands >= length {
            break;
        }
        let commands = Generator::new(seed).episode(kind, EPISODE);
        let Some(difference) =
            play(servers, &commands, &mut tally).unwrap_or_else(|error| panic!("seed {seed}: {error}"))
        else {
            continue;
        };
        differences += 1;
        let label = difference.command.words.first().map(|word| word.to_ascii_lowercase());
        if seen.insert(label) {
            println!("seed {seed}:");
            shrink(servers, &commands, &difference)
                .unwrap()
                .iter()
                .for_each(|command| println!("  {command}"));
            println!("  the replies differ to {difference}");
        }
        if seen.len() >= SHOWN {
            break;
        }
    }
    assert_eq!(differences, 0, "differences that the page does not list");
    tally
}

fn print(tally: &Tally) {
    println!("{:32} {:>8} {:>8} {:>8} {:>8}", "command or option", "done", "resp3", "null", "failed");
    for (label, count) in &tally.counts {
        println!("{label:32} {:>8} {:>8} {:>8} {:>8}", count.done, count.resp3, count.null, count.failed);
    }
    for (name, times) in &tally.exceptions {
        println!("difference of the page: {name:40} {times:>8}");
    }
}

#[test]
fn replies_are_those_of_redis() {
    let Some(redis) = Redis::start(&[]) else { return };
    let cluster = Cluster::start(1, &[]);
    let address = cluster.address(1).to_owned();
    let servers = Servers { redis: redis.address.clone(), ours: [address.clone(), address] };
    let full = number("QUORATE_COMPARE");
    let started = Instant::now();
    let tally = compare(&servers, Kind::Mixed, full.unwrap_or(4000));
    println!("{} commands in {:.1?}", tally.commands, started.elapsed());
    print(&tally);
    if full.is_some() {
        assert_met(&tally, Kind::Mixed, ENOUGH);
    }
}

/// Through a node that forwards, while another connection asks the leader.
#[test]
fn replies_that_are_forwarded_are_those_of_redis() {
    let Some(redis) = Redis::start(&[]) else { return };
    let cluster = Cluster::start(3, &[]);
    let ours = [cluster.follower(), cluster.leader()].map(|id| cluster.address(id).to_owned());
    let servers = Servers { redis: redis.address.clone(), ours };
    let full = number("QUORATE_COMPARE");
    let tally = compare(&servers, Kind::Keys, full.map_or(2000, |full| full / 10));
    print(&tally);
}

/// The tool itself: it finds no difference where there is none, and what it draws succeeds.
#[test]
fn redis_differs_in_nothing_from_redis() {
    let (Some(redis), Some(other)) = (Redis::start(&[]), Redis::start(&[])) else { return };
    let servers =
        Servers { redis: redis.address.clone(), ours: [other.address.clone(), other.address.clone()] };
    let full = number("QUORATE_COMPARE");
    let tally = compare(&servers, Kind::Mixed, full.unwrap_or(20_000));
    print(&tally);
    let enough = if full.is_some() { ENOUGH } else { 1 };
    // CLIENT SETINFO is newer than Redis 7.0.
    let known = labels(Kind::Mixed).into_iter().filter(|label| label != "client setinfo");
    let seldom: Vec<_> =
        known.filter(|label| tally.counts.get(label).is_none_or(|c| c.done < enough)).collect();
    assert!(seldom.is_empty(), "{seldom:?}");
}

#[test]
fn the_page_and_the_exceptions_name_the_same_differences() {
    let row = |line: &'static str| line.strip_prefix("| ")?.split(" | ").next();
    let is_name = |cell: &&str| *cell != "name" && !cell.starts_with("---");
    let rows: Vec<_> = PAGE.lines().filter_map(row).filter(is_name).collect();
    let names: Vec<_> = EXCEPTIONS.iter().map(|exception| exception.name).collect();
    assert_eq!(rows, names);
}

#[test]
fn the_page_names_every_command_that_is_not_there() {
    let Some(redis) = Redis::start(&[]) else { return };
    let cluster = Cluster::start(1, &[]);
    let is_unknown = |words: &[&str]| {
        let reply = Wire::connect(cluster.address(1)).unwrap().ask(words).unwrap();
        reply.starts_with(b"-ERR unknown command") || reply.starts_with(b"-ERR unknown subcommand")
    };
    let list = Wire::connect(&redis.address).unwrap().ask(&["COMMAND", "LIST"]).unwrap();
    let unknown: BTreeSet<_> = elements(&list)
        .into_iter()
        .map(|name| str::from_utf8(text(name)).unwrap().to_ascii_uppercase())
        .map(|name| name.split('|').map(str::to_owned).collect::<Vec<_>>())
        // Whose subcommand it is stands for it.
        .filter(|words| words.len() == 1 || !is_unknown(&[&words[0]]))
        .filter(|words| is_unknown(&words.iter().map(String::as_str).collect::<Vec<_>>()))
        .map(|words| words.join(" "))
        .collect();
    let (_, list) = PAGE.split_once("## Commands that are not there").unwrap();
    let (_, list) = list.split_once("\n* ").unwrap();
    let (list, _) = list.split_once("\n## ").unwrap();
    let words = |name: &str| name.split_whitespace().collect::<Vec<_>>().join(" ");
    let named: BTreeSet<_> = list.split('`').skip(1).step_by(2).map(words).collect();
    assert_eq!(named, unknown);
}

#[test]
fn a_cluster_answers_as_a_cluster_of_redis() {
    let Some(redis) = Redis::start_cluster() else { return };
    let cluster = Cluster::start(1, &[]);
    let address = cluster.address(1).to_owned();
    let servers = Servers { redis: redis.address.clone(), ours: [address.clone(), address] };
    let full = number("QUORATE_COMPARE");
    let tally = compare(&servers, Kind::Cluster, full.map_or(2000, |full| full / 10));
    print(&tally);
    assert_met(&tally, Kind::Cluster, if full.is_some() { ENOUGH } else { 50 });
}

/// The parser of requests: the same bytes are accepted, refused in the same words, and end the connection.
#[test]
fn bytes_are_judged_as_redis_judges_them() {
    let Some(redis) = Redis::start(&[]) else { return };
    let cluster = Cluster::start(1, &[]);
    let ours = cluster.address(1);
    let full = number("QUORATE_COMPARE");
    let mut rng = Rng::stream(number("QUORATE_SEED").unwrap_or(1), 0xb7);
    let (mut tally, mut shown_ones, mut refused) = (Tally::default(), 0, 0);
    let judge = |bytes: &[u8], tally: &mut Tally| {
        let theirs = answer(&redis.address, bytes).unwrap();
        let mine = answer(ours, bytes).unwrap();
        let words = Command { words: vec![bytes.to_vec()], ..Command::plain(&[]) };
        let equal = theirs == mine || is_covered(Kind::Bytes, &words, &theirs, &mine, tally);
        (equal, theirs, mine)
    };
    for _ in 0..full.map_or(3000, |full| full / 2) {
        let bytes = draw(&mut rng);
        let (equal, theirs, _) = judge(&bytes, &mut tally);
        refused += u64::from(theirs.windows(14).any(|text| text == b"Protocol error"));
        if !equal {
            let short = if bytes.len() > 10_000 {
                bytes
            } else {
                verdicts::shrink(&bytes, |bytes| !judge(bytes, &mut Tally::default()).0)
            };
            let (_, theirs, mine) = judge(&short, &mut Tally::default());
            println!("{}\n    redis: {}\n    ours:  {}", shown(&short), shown(&theirs), shown(&mine));
            shown_ones += 1;
            assert!(shown_ones < SHOWN, "differences that the page does not list");
        }
    }
    assert_eq!(shown_ones, 0, "differences that the page does not list");
    assert!(refused > 100, "{refused}");
    print(&tally);
    assert_met(&tally, Kind::Bytes, 0);
}

#[test]
fn a_pipeline_cut_anywhere_is_answered_the_same() {
    let cluster = Cluster::start(1, &[]);
    let commands = cuts::pipeline();
    let bytes: usize = commands.iter().map(Vec::len).sum();
    for protocol in [2, 3] {
        let replies = |cut| shown(&cuts::replies(cluster.address(1), protocol, &commands, cut).unwrap());
        // So that the keys are what the pipeline leaves behind.
        replies(bytes);
        let whole = replies(bytes);
        for cut in 0..bytes {
            assert_eq!(replies(cut), whole, "protocol {protocol}, cut at {cut}");
        }
    }
}

/// The one difference that random transactions do not make: the states would differ behind it.
#[test]
fn a_key_made_and_deleted_under_watch_does_not_end_a_transaction() {
    let Some(redis) = Redis::start(&[]) else { return };
    let cluster = Cluster::start(1, &[]);
    let mut wires = [&redis.address[..], cluster.address(1)].map(|address| Wire::connect(address).unwrap());
    let words = [&["WATCH", "k"][..], &["SET", "k", "v"], &["DEL", "k"], &["MULTI"], &["PING"], &["EXEC"]];
    let [theirs, ours] = wires.each_mut().map(|wire| words.map(|words| wire.ask(words).unwrap()));
    assert_eq!(theirs[..5], ours[..5]);
    let mut tally = Tally::default();
    let covered = is_covered(Kind::Watch, &Command::plain(&["EXEC"]), &theirs[5], &ours[5], &mut tally);
    assert!(covered, "{} {}", shown(&theirs[5]), shown(&ours[5]));
}

/// What is newer than the redis-server that is compared with.
#[test]
fn newer_commands_answer_as_documented() {
    let cluster = Cluster::start(1, &[]);
    let mut wire = Wire::connect(cluster.address(1)).unwrap();
    for Script { name, lines } in SCRIPTS {
        wire.ask(&["DEL", "k", "a", "b", "absent"]).unwrap();
        for (line, expected) in *lines {
            wire.send(format!("{line}\r\n").as_bytes()).unwrap();
            let reply = shown(&wire.reply().unwrap().unwrap());
            let expected = shown(expected.replace('|', "\r\n").as_bytes());
            assert_eq!(reply, expected, "{name}: {line}");
        }
    }
}

/// Everything was done at least `enough` times, a good part of them in each version of the protocol, and every difference
/// that the page lists of this kind of episode was met.
fn assert_met(tally: &Tally, kind: Kind, enough: u64) {
    let is_seldom = |count: &Count| {
        count.done < enough || count.resp3 < enough / 8 || count.done - count.resp3 < enough / 8
    };
    let count = |label: String| (tally.counts.get(&label).copied().unwrap_or_default(), label);
    let seldom: Vec<_> = labels(kind).into_iter().map(count).filter(|(count, _)| is_seldom(count)).collect();
    assert!(seldom.is_empty(), "done too seldom: {seldom:?}");
    let met = |exception: &&Exception| tally.exceptions.contains_key(exception.name);
    let here = EXCEPTIONS.iter().filter(|exception| exception.kind == kind);
    let unmet: Vec<_> = here.filter(|exception| !met(exception)).map(|exception| exception.name).collect();
    assert!(unmet.is_empty(), "differences that were not met: {unmet:?}");
}
