//! How long things take: as in the lab, or shorter.

use std::time::Duration;

/// Durations of a test.
#[derive(Debug)]
pub(crate) struct Pace {
    /// How long clients run in one iteration. Milliseconds, as all below.
    pub(crate) run_ms: u64,
    /// How long the lab waits for something to show: before the first partition, after healing, while all servers are down.
    pub(crate) pause_ms: u64,
    /// How long a partition lasts at least.
    pub(crate) partition_ms: u64,
    /// ... and how much longer at most.
    pub(crate) partition_more_ms: u64,
    /// The servers' election timeout.
    pub(crate) election_ms: u64,
    /// Their heartbeat.
    pub(crate) heartbeat_ms: u64,
}

/// The lab's own.
const FULL: Pace = Pace {
    run_ms: 5000,
    pause_ms: 1000,
    partition_ms: 1000,
    partition_more_ms: 199,
    election_ms: 300,
    heartbeat_ms: 100,
};

/// Shorter; elections too, so that a partition still leaves time for one.
const SHORT: Pace = Pace {
    run_ms: 900,
    pause_ms: 250,
    partition_ms: 350,
    partition_more_ms: 69,
    election_ms: 120,
    heartbeat_ms: 40,
};

impl Pace {
    /// The lab's own with `QUORATE_LAB=full` in the environment, otherwise the shorter one.
    pub(crate) fn chosen() -> &'static Self {
        if Self::is_full() { &FULL } else { &SHORT }
    }

    pub(crate) fn is_full() -> bool {
        std::env::var("QUORATE_LAB").is_ok_and(|pace| pace == "full")
    }

    pub(crate) fn run(&self) -> Duration {
        Duration::from_millis(self.run_ms)
    }

    pub(crate) fn pause(&self) -> Duration {
        Duration::from_millis(self.pause_ms)
    }
}
