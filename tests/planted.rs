//! Tests of the tests: bugs that any good simulation finds within a few seeds, one or two of each room. All of them, with
//! more seeds: `cargo run --release --features planted-bugs -- sim --planted`.

use quorate::sim::planted::{Profile, find, grounds, hunt};

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
        println!("{hunted}");
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
