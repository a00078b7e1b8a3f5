//! The lab's tests, in its order.

use super::{Figures, LabReport, LabTest, compaction, election, persistence, replication};
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
    Some(Figures { seconds, rpcs, bytes, operations })
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
];

/// All tests, in the lab's order.
pub const fn catalogue() -> &'static [LabTest] {
    CATALOGUE
}
