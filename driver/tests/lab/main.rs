//! The key-value tests of the lab, over real sockets and processes: the same servers, clients, schedules and assertions
//! under the same titles.
//!
//! `cargo test` runs them for a shorter time; `QUORATE_LAB=full cargo test --release -p quorate-driver --test lab` runs the lab's
//! own durations and prints what each has cost. With `TMPDIR` on a file system in memory nothing waits for a disk.
//!
//! A clerk's calls may take as long as they need: what is judged is what they return, never how soon. The speed test has
//! the lab's own bound, which is far away.

mod history;
mod network;
mod pace;
mod report;
mod service;
mod special;
#[path = "../support/mod.rs"]
mod support;
mod workload;

use workload::Row;

/// The lab's `maxraftstate` of its tests with snapshots.
const MAX_STATE: u64 = 1000;

/// Rows without snapshots.
const A: Row = Row::CALM;

/// Rows with snapshots.
const B: Row = Row { max_state: Some(MAX_STATE), ..Row::CALM };

#[test]
fn one_client_3a() {
    Row { title: "one client (3A)", ..A }.run();
}

#[test]
fn ops_complete_fast_enough_3a() {
    special::speed("ops complete fast enough (3A)", None);
}

#[test]
fn many_clients_3a() {
    Row { title: "many clients (3A)", clients: 5, ..A }.run();
}

#[test]
fn unreliable_net_many_clients_3a() {
    Row { title: "unreliable net, many clients (3A)", clients: 5, unreliable: true, ..A }.run();
}

#[test]
fn concurrent_append_to_same_key_unreliable_3a() {
    special::unreliable_one_key("concurrent append to same key, unreliable (3A)");
}

/// Three of the lab's tests, which share one cluster.
#[test]
fn progress_in_majority_no_progress_in_minority_completion_after_heal_3a() {
    special::one_partition([
        "progress in majority (3A)",
        "no progress in minority (3A)",
        "completion after heal (3A)",
    ]);
}

#[test]
fn partitions_one_client_3a() {
    Row { title: "partitions, one client (3A)", partitions: true, ..A }.run();
}

#[test]
fn partitions_many_clients_3a() {
    Row { title: "partitions, many clients (3A)", clients: 5, partitions: true, ..A }.run();
}

#[test]
fn restarts_one_client_3a() {
    Row { title: "restarts, one client (3A)", crash: true, ..A }.run();
}

#[test]
fn restarts_many_clients_3a() {
    Row { title: "restarts, many clients (3A)", clients: 5, crash: true, ..A }.run();
}

#[test]
fn unreliable_net_restarts_many_clients_3a() {
    let title = "unreliable net, restarts, many clients (3A)";
    Row { title, clients: 5, unreliable: true, crash: true, ..A }.run();
}

#[test]
fn restarts_partitions_many_clients_3a() {
    Row { title: "restarts, partitions, many clients (3A)", clients: 5, crash: true, partitions: true, ..A }
        .run();
}

#[test]
fn unreliable_net_restarts_partitions_many_clients_3a() {
    let title = "unreliable net, restarts, partitions, many clients (3A)";
    Row { title, clients: 5, unreliable: true, crash: true, partitions: true, ..A }.run();
}

#[test]
fn unreliable_net_restarts_partitions_random_keys_many_clients_3a() {
    let title = "unreliable net, restarts, partitions, random keys, many clients (3A)";
    let (unreliable, crash, partitions, random_keys) = (true, true, true, true);
    Row { title, clients: 15, servers: 7, unreliable, crash, partitions, random_keys, ..A }.run();
}

#[test]
fn install_snapshot_rpc_3b() {
    special::snapshot_rpc("InstallSnapshot RPC (3B)", MAX_STATE);
}

#[test]
fn snapshot_size_is_reasonable_3b() {
    special::snapshot_size("snapshot size is reasonable (3B)", MAX_STATE);
}

#[test]
fn ops_complete_fast_enough_3b() {
    special::speed("ops complete fast enough (3B)", Some(MAX_STATE));
}

#[test]
fn restarts_snapshots_one_client_3b() {
    Row { title: "restarts, snapshots, one client (3B)", crash: true, ..B }.run();
}

#[test]
fn restarts_snapshots_many_clients_3b() {
    Row { title: "restarts, snapshots, many clients (3B)", clients: 20, crash: true, ..B }.run();
}

#[test]
fn unreliable_net_snapshots_many_clients_3b() {
    Row { title: "unreliable net, snapshots, many clients (3B)", clients: 5, unreliable: true, ..B }.run();
}

#[test]
fn unreliable_net_restarts_snapshots_many_clients_3b() {
    let title = "unreliable net, restarts, snapshots, many clients (3B)";
    Row { title, clients: 5, unreliable: true, crash: true, ..B }.run();
}

#[test]
fn unreliable_net_restarts_partitions_snapshots_many_clients_3b() {
    let title = "unreliable net, restarts, partitions, snapshots, many clients (3B)";
    Row { title, clients: 5, unreliable: true, crash: true, partitions: true, ..B }.run();
}

#[test]
fn unreliable_net_restarts_partitions_snapshots_random_keys_many_clients_3b() {
    let title = "unreliable net, restarts, partitions, snapshots, random keys, many clients (3B)";
    let (unreliable, crash, partitions, random_keys) = (true, true, true, true);
    Row { title, clients: 15, servers: 7, unreliable, crash, partitions, random_keys, ..B }.run();
}
