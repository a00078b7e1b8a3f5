//! The lab's tests, in its order.

use super::{Figures, LabReport, LabTest, compaction, election, kv, persistence, replication, workload};
use crate::sim::cluster::Checked;

/// What a test of the lab is unless its row says otherwise.
const fn row(
    part: &'static str,
    name: &'static str,
    title: &'static str,
    servers: u64,
    script: fn(&LabTest, u64) -> Checked<LabReport>,
) -> LabTest {
    LabTest {
        name,
        title,
        part,
        servers,
        clients: 0,
        unreliable: false,
        crash: false,
        partitions: false,
        random_keys: false,
        max_state: None,
        snapshots: false,
        delay: 1_000,
        seed_figures: None,
        script,
    }
}

const fn figures(seconds: f64, rpcs: u64, bytes: Option<u64>, operations: u64) -> Option<Figures> {
    Some(Figures { seconds: Some(seconds), rpcs, bytes, operations })
}

/// Of a row whose time is cut off in the seeds.
const fn timeless(rpcs: u64, operations: u64) -> Option<Figures> {
    Some(Figures { seconds: None, rpcs, bytes: None, operations })
}

#[rustfmt::skip]
const CATALOGUE: &[LabTest] = &[
    row("2A", "initial_election_2a", "initial election", 3, election::initial_election),
    row("2A", "re_election_2a", "election after network failure", 3, election::re_election),
    row("2A", "many_elections_2a", "multiple elections", 7, election::many_elections),
    row("2B", "basic_agree_2b", "basic agreement", 3, replication::basic_agree),
    row("2B", "rpc_bytes_2b", "RPC byte count", 3, replication::rpc_bytes),
    row("2B", "follower_failure_2b", "test progressive failure of followers", 3, replication::follower_failure),
    row("2B", "leader_failure_2b", "test failure of leaders", 3, replication::leader_failure),
    row("2B", "fail_agree_2b", "agreement after follower reconnects", 3, replication::fail_agree),
    row("2B", "fail_no_agree_2b", "no agreement if too many followers disconnect", 5, replication::fail_no_agree),
    row("2B", "concurrent_starts_2b", "concurrent Start()s", 3, replication::concurrent_starts),
    row("2B", "rejoin_2b", "rejoin of partitioned leader", 3, replication::rejoin),
    row("2B", "backup_2b", "leader backs up quickly over incorrect follower logs", 5, replication::backup),
    row("2B", "count_2b", "RPC counts aren't too high", 3, replication::count),
    LabTest { crash: true, ..row("2C", "persist_1_2c", "basic persistence", 3, persistence::persist_1) },
    LabTest { crash: true, ..row("2C", "persist_2_2c", "more persistence", 5, persistence::persist_2) },
    LabTest { crash: true, ..row("2C", "persist_3_2c", "partitioned leader and one follower crash, leader restarts", 3, persistence::persist_3) },
    LabTest { crash: true, ..row("2C", "figure_8_2c", "Figure 8", 5, persistence::figure_8) },
    LabTest { unreliable: true, ..row("2C", "unreliable_agree_2c", "unreliable agreement", 5, persistence::unreliable_agree) },
    LabTest { unreliable: true, ..row("2C", "figure_8_unreliable_2c", "Figure 8 (unreliable)", 5, persistence::figure_8_unreliable) },
    LabTest { crash: true, ..row("2C", "reliable_churn_2c", "churn", 5, persistence::churn) },
    LabTest { unreliable: true, crash: true, ..row("2C", "unreliable_churn_2c", "unreliable churn", 5, persistence::churn) },
    LabTest { snapshots: true, seed_figures: figures(30.0, 734, Some(249_406), 235), ..row("2D", "snapshot_basic_2d", "snapshots basic", 3, compaction::snapshots) },
    LabTest { snapshots: true, seed_figures: figures(48.7, 1379, Some(481_118), 328), ..row("2D", "snapshot_install_2d", "install snapshots (disconnect)", 3, compaction::snapshots_disconnected) },
    LabTest { unreliable: true, snapshots: true, seed_figures: figures(63.1, 1754, Some(557_942), 313), ..row("2D", "snapshot_install_unreliable_2d", "install snapshots (disconnect+unreliable)", 3, compaction::snapshots_disconnected) },
    LabTest { crash: true, snapshots: true, seed_figures: figures(33.1, 997, Some(376_236), 328), ..row("2D", "snapshot_install_crash_2d", "install snapshots (crash)", 3, compaction::snapshots) },
    LabTest { unreliable: true, crash: true, snapshots: true, seed_figures: figures(39.4, 1146, Some(382_572), 316), ..row("2D", "snapshot_install_un_crash_2d", "install snapshots (unreliable+crash)", 3, compaction::snapshots) },
    LabTest { crash: true, snapshots: true, seed_figures: figures(7.7, 262, Some(79_254), 59), ..row("2D", "snapshot_all_crash_2d", "crash and restart all servers", 3, compaction::all_crash) },
    LabTest { crash: true, snapshots: true, ..row("2D", "snapshot_init_2d", "snapshot initialization after crash", 3, compaction::init) },
    LabTest { clients: 1, delay: 1430, seed_figures: figures(15.0, 22311, None, 3068), ..row("3A", "basic_3a", "one client", 5, workload::generic) },
    LabTest { clients: 1, delay: 300, seed_figures: figures(1.6, 8919, None, 0), ..row("3A", "speed_3a", "ops complete fast enough", 3, kv::speed) },
    LabTest { clients: 5, delay: 6000, seed_figures: figures(15.1, 30833, None, 3553), ..row("3A", "concurrent_3a", "many clients", 5, workload::generic) },
    LabTest { clients: 5, unreliable: true, delay: 4000, seed_figures: figures(15.6, 13495, None, 1344), ..row("3A", "unreliable_3a", "unreliable net, many clients", 5, workload::generic) },
    LabTest { clients: 5, unreliable: true, seed_figures: figures(0.9, 306, None, 52), ..row("3A", "unreliable_one_key_3a", "concurrent append to same key, unreliable", 3, kv::one_key) },
    LabTest { seed_figures: figures(0.3, 48, None, 2), ..row("3A", "one_partition_progress_in_majority_3a", "progress in majority", 5, kv::progress_in_majority) },
    LabTest { seed_figures: figures(1.0, 182, None, 3), ..row("3A", "one_partition_no_progress_in_minority_3a", "no progress in minority", 5, kv::no_progress_in_minority) },
    LabTest { seed_figures: figures(1.0, 67, None, 3), ..row("3A", "one_partition_completion_after_heal_3a", "completion after heal", 5, kv::completion_after_heal) },
    LabTest { clients: 1, partitions: true, delay: 1000, seed_figures: figures(22.6, 84756, None, 3666), ..row("3A", "many_partitions_one_client_3a", "partitions, one client", 5, workload::generic) },
    LabTest { clients: 5, partitions: true, delay: 5700, seed_figures: figures(22.4, 81353, None, 3265), ..row("3A", "many_partitions_many_clients_3a", "partitions, many clients", 5, workload::generic) },
    LabTest { clients: 1, crash: true, delay: 1250, seed_figures: figures(19.7, 46178, None, 3489), ..row("3A", "persist_one_client_3a", "restarts, one client", 5, workload::generic) },
    LabTest { clients: 5, crash: true, delay: 5700, seed_figures: figures(19.2, 66865, None, 3854), ..row("3A", "persist_concurrent_3a", "restarts, many clients", 5, workload::generic) },
    LabTest { clients: 5, unreliable: true, crash: true, delay: 4000, seed_figures: figures(21.2, 14432, None, 1302), ..row("3A", "persist_concurrent_unreliable_3a", "unreliable net, restarts, many clients", 5, workload::generic) },
    LabTest { clients: 5, crash: true, partitions: true, delay: 5600, seed_figures: figures(26.3, 169377, None, 3491), ..row("3A", "persist_partition_3a", "restarts, partitions, many clients", 5, workload::generic) },
    LabTest { clients: 5, unreliable: true, crash: true, partitions: true, seed_figures: figures(26.8, 13617, None, 909), ..row("3A", "persist_partition_unreliable_3a", "unreliable net, restarts, partitions, many clients", 5, workload::generic) },
    LabTest { clients: 15, unreliable: true, crash: true, partitions: true, random_keys: true, delay: 3500, seed_figures: figures(28.9, 44677, None, 2213), ..row("3A", "persist_partition_unreliable_linearizable_3a", "unreliable net, restarts, partitions, random keys, many clients", 7, workload::generic) },
    LabTest { clients: 1, max_state: Some(1000), seed_figures: figures(2.0, 3974, None, 63), ..row("3B", "snapshot_rpc_3b", "InstallSnapshot RPC", 3, kv::snapshot_rpc) },
    LabTest { clients: 1, max_state: Some(1000), delay: 200, seed_figures: timeless(6719, 800), ..row("3B", "snapshot_size_3b", "snapshot size is reasonable", 3, kv::snapshot_size) },
    LabTest { clients: 1, max_state: Some(1000), delay: 80, seed_figures: figures(0.7, 5877, None, 0), ..row("3B", "speed_3b", "ops complete fast enough", 3, kv::speed) },
    LabTest { clients: 1, crash: true, max_state: Some(1000), delay: 155, seed_figures: figures(20.6, 159599, None, 25177), ..row("3B", "snapshot_recover_3b", "restarts, snapshots, one client", 5, workload::generic) },
    LabTest { clients: 20, crash: true, max_state: Some(1000), delay: 3700, seed_figures: figures(18.9, 83870, None, 22762), ..row("3B", "snapshot_recover_many_clients_3b", "restarts, snapshots, many clients", 5, workload::generic) },
    LabTest { clients: 5, unreliable: true, max_state: Some(1000), delay: 4000, seed_figures: figures(15.7, 13730, None, 1310), ..row("3B", "snapshot_unreliable_3b", "unreliable net, snapshots, many clients", 5, workload::generic) },
    LabTest { clients: 5, unreliable: true, crash: true, max_state: Some(1000), delay: 4000, seed_figures: figures(19.8, 14526, None, 1305), ..row("3B", "snapshot_unreliable_recover_3b", "unreliable net, restarts, snapshots, many clients", 5, workload::generic) },
    LabTest { clients: 5, unreliable: true, crash: true, partitions: true, max_state: Some(1000), delay: 2500, seed_figures: timeless(13473, 844), ..row("3B", "snapshot_unreliable_recover_concurrent_partition_3b", "unreliable net, restarts, partitions, snapshots, many clients", 5, workload::generic) },
    LabTest { clients: 15, unreliable: true, crash: true, partitions: true, random_keys: true, max_state: Some(1000), delay: 8500, seed_figures: figures(28.7, 41475, None, 1668), ..row("3B", "snapshot_unreliable_recover_concurrent_partition_linearizable_3b", "unreliable net, restarts, partitions, snapshots, random keys, many clients", 7, workload::generic) },
];

/// All tests, in the lab's order.
pub const fn catalogue() -> &'static [LabTest] {
    CATALOGUE
}
