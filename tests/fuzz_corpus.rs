//! Replays the fuzzers' corpus, so that what a fuzzer once found stays mended and everyone can run it.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use quorate::sim::fuzz;

/// Runs a target over its corpus; a failure names the file.
fn replay(target: &str, run: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("a directory entry").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 10, "the corpus of {target} is missing");
    let failed: Vec<_> = paths
        .iter()
        .filter(|path| {
            let data = fs::read(path).expect("a file of the corpus");
            panic::catch_unwind(AssertUnwindSafe(|| run(&data))).is_err()
        })
        .collect();
    assert!(failed.is_empty(), "{target} fails on {failed:#?}");
}

#[test]
fn cluster() {
    replay("cluster", fuzz::cluster);
}

#[test]
fn core_messages() {
    replay("core_messages", fuzz::core_messages);
}

#[test]
fn decoders() {
    replay("decoders", fuzz::decoders);
}

#[test]
fn recovery() {
    replay("recovery", fuzz::recovery);
}
