//! A few random runs of the simulator, as `quorate sim` makes them by the thousand, and their hashes: another build, another
//! process and another machine must do the same, to the byte.
//!
//! When a change of the code changes what it does, `QUORATE_UPDATE=1 cargo test --test runs` writes the new hashes.

use std::fmt::Write;
use std::{env, fs};

use quorate::sim::{KvWorkload, Plan, run, run_recorded};

/// Beside this file, so that a release build of the command can be held against it, too.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runs.txt");

const SECONDS: u64 = 20;

#[test]
fn runs_keep_every_promise_and_have_the_known_hashes() {
    let mut lines = String::new();
    for seed in 1..=12 {
        let report = run(&Plan::draw(seed, None, None, SECONDS), KvWorkload::draw(seed));
        assert_eq!(report.violation, None, "to replay: quorate sim --seed {seed} --seconds {SECONDS}");
        writeln!(lines, "seed {seed}: hash {:016x} of {} events", report.hash, report.events)
            .expect("a string");
    }
    if env::var_os("QUORATE_UPDATE").is_some() {
        fs::write(GOLDEN, &lines).expect("the golden file can be written");
    }
    let golden = fs::read_to_string(GOLDEN).expect("the golden file is there");
    assert_eq!(lines, golden, "QUORATE_UPDATE=1 writes the new hashes");
}

#[test]
fn a_run_that_is_recorded_is_the_same_run() {
    let plan = Plan::draw(3, None, None, 5);
    let (plain, recorded) = (run(&plan, KvWorkload::draw(3)), run_recorded(&plan, KvWorkload::draw(3)));
    assert_eq!((plain.hash, plain.events), (recorded.hash, recorded.events));
    assert!(plain.trace.is_empty() && !recorded.trace.is_empty());
}
