//! The two clocks of a process.

use std::time::{Duration, Instant, SystemTime};

use quorate::time::{Micros, Millis, Now};

/// Reads both clocks; the monotonic one counts from this clock's making.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        Now::new(self.mono(), unix_ms())
    }

    /// The monotonic clock alone.
    pub(crate) fn mono(&self) -> Micros {
        micros(self.origin.elapsed())
    }
}

/// Milliseconds of Unix time by this machine; 0 before 1970.
pub(crate) fn unix_ms() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
