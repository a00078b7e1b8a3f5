//! Tests of the tests: bugs that any good simulation finds within a few seeds, one or two of each room. All of them, with
//! more seeds: `cargo run --release --features planted-bugs -- sim --planted`.

use super::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::string::String;
use std::vec::Vec;
use std::{format, fs};

fn sources(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("the sources are there") {
        let path = entry.expect("an entry").path();
        if path.ends_with("sim/planted") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(path).expect("a source file"));
        }
    }
}

#[test]
fn every_bug_has_one_place_in_the_code() {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let places: BTreeMap<&str, usize> = all()
        .iter()
        .chain(catalogue::GUARDS)
        .map(|bug| {
            let macro_call = format!("planted!(\"{}\")", bug.name);
            (bug.name, found.iter().map(|source| source.matches(&macro_call).count()).sum())
        })
        .collect();
    let odd: Vec<_> = places.iter().filter(|(_, count)| **count != 1).collect();
    assert!(odd.is_empty(), "not at one place: {odd:?}");
    assert_eq!(places.len(), all().len() + catalogue::GUARDS.len(), "two bugs have one name");
    assert!(all().len() >= 30);
}

#[test]
fn a_bug_is_on_only_within_its_run_and_its_thread() {
    let bug = find("vote-twice").expect("is planted");
    let elsewhere = || std::thread::spawn(|| planted!("vote-twice")).join().expect("no panic");
    assert!(!planted!("vote-twice") && !is_any_active());
    let (seen, reached) = with(bug, || (planted!("vote-twice"), planted!("ack-before-sync"), elsewhere()));
    assert_eq!((seen, reached), ((true, false, false), 1));
    assert!(!planted!("vote-twice") && !is_any_active());
    let panics = || with(bug, || panic!("as a debug assertion does"));
    assert!(std::panic::catch_unwind(panics).is_err() && !is_any_active());
}

/// Any of these takes one seed or a few; with so many a change of what a seed means does not matter.
const SEEDS: u64 = 40;

/// Where bugs are hunted, but for the exhaustive search: it takes its time, and has a test of its own.
fn random() -> &'static [Profile<'static>] {
    let (last, others) = grounds(None).split_last().expect("there are grounds");
    assert_eq!(last.name, "exhaustive");
    others
}

/// The bugs of these names are found, by checkers of these names.
fn are_found(expected: &[(&str, &[&str])]) {
    for (name, checkers) in expected {
        let bug = find(name).expect("is in the catalogue");
        let hunted = hunt(bug, random(), SEEDS, || true);
        std::println!("{hunted}");
        let found = hunted.found.unwrap_or_else(|| panic!("{name} survived"));
        assert!(checkers.contains(&found.checker()), "{name}: {}", found.violation);
    }
}

#[test]
fn promises_that_cores_do_not_keep_are_found() {
    are_found(&[
        ("vote-twice", &["one vote", "election safety"]),
        ("vote-is-forgotten", &["promise", "persistence"]),
        ("ack-before-sync", &["majority persistence", "persistence", "promise"]),
        ("append-always-truncates", &["majority persistence", "promise", "log matching"]),
    ]);
}

#[test]
fn disks_that_are_not_synced_are_found() {
    let lost: &[&str] = &["persistence", "promise", "durability", "majority persistence"];
    are_found(&[
        ("log-is-not-synced", lost),
        ("directory-is-not-synced", lost),
        ("vote-is-not-synced", lost),
    ]);
}

#[test]
fn wrong_answers_are_found() {
    are_found(&[
        ("mset-stops-half-way", &["replay"]),
        ("reply-of-another", &["replay"]),
        ("number-is-reused", &["replay"]),
        ("snapshot-without-sessions", &["state digest", "replay"]),
        ("exec-runs-after-a-failed-queue", &["transactions", "replay"]),
        ("multi-forgets-a-command", &["replay"]),
    ]);
}

/// Bugs of which random runs of the usual kinds see little.
#[test]
fn bugs_are_found_where_they_are_hunted() {
    are_found(&[
        ("rolled-back-disk-is-welcome", &["refusal"]),
        ("timeout-is-failure", &["replay"]),
        ("vote-file-is-emptied", &["halted", "refusal"]),
    ]);
}

#[test]
fn without_a_bug_nothing_is_found() {
    for ground in random() {
        for seed in 0..2 {
            assert_eq!((ground.run)(seed).violation, None, "seed {seed} of {}", ground.name);
        }
    }
}
