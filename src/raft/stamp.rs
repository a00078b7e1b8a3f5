//! Log time: the two clocks that a leader stamps its entries with.

use smallvec::SmallVec;

use super::Stamp;
use crate::time::{Micros, Millis, Now};

/// How far a leader's wall clock may lead or trail the majority's, in milliseconds.
pub(super) const TOLERANCE: Millis = 10_000;

/// A wall clock as its owner reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    /// Milliseconds of Unix time by that clock.
    pub(super) wall: Millis,
    /// When the report came in, on our monotonic clock.
    pub(super) at: Micros,
}

impl Report {
    /// What that clock shows by now, if it goes as ours does.
    fn now(self, now: Now) -> Millis {
        self.wall.saturating_add(now.mono.saturating_sub(self.at) / 1000)
    }
}

/// The lower median of the clocks reported: with an even number the lower of the middle two, because log time that lags
/// can catch up and log time that leads cannot go back.
pub(super) fn median(reports: impl IntoIterator<Item = Report>, now: Now) -> Option<Millis> {
    let mut clocks: SmallVec<[Millis; 8]> = reports.into_iter().map(|r| r.now(now)).collect();
    clocks.sort_unstable();
    clocks.get(clocks.len().checked_sub(1)? / 2).copied()
}

/// A leader's source of stamps.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    /// The stamp of the log's end when this leader began.
    base: Stamp,
    /// When it began.
    since: Micros,
    /// The last stamp given.
    last: Stamp,
}

impl Clock {
    /// The clock of a leader that begins now, with a log that ends in `base`.
    pub(super) fn new(base: Stamp, now: Now) -> Self {
        Self { base, since: now.mono, last: base }
    }

    /// The next stamp.
    pub(super) fn stamp(&mut self, now: Now, median: Option<Millis>) -> Stamp {
        self.last = self.reading(now, median);
        self.last
    }

    /// What the next stamp would be. `median` is a majority's wall clock: without one, log time only goes on from where it was,
    /// since our own clock may be the wild one.
    pub(super) fn reading(&self, now: Now, median: Option<Millis>) -> Stamp {
        let elapsed = now.mono.saturating_sub(self.since) / 1000;
        let unix_ms = match median {
            Some(median) => {
                now.wall.clamp(median.saturating_sub(TOLERANCE), median.saturating_add(TOLERANCE))
            }
            None => self.base.unix_ms.saturating_add(elapsed),
        };
        Stamp {
            unix_ms: unix_ms.max(self.last.unix_ms),
            cluster_ms: if planted!("cluster-clock-restarts") {
                elapsed
            } else {
                self.base.cluster_ms.saturating_add(elapsed).max(self.last.cluster_ms)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Stamp = Stamp { unix_ms: 1_000_000, cluster_ms: 500 };

    fn at(mono_ms: u64, wall: Millis) -> Now {
        Now::new(mono_ms * 1000, wall)
    }

    #[test]
    fn a_sane_clock_is_taken_as_it_is() {
        let mut clock = Clock::new(BASE, at(0, 0));
        assert_eq!(
            clock.stamp(at(20, 2_000_000), Some(2_003_000)),
            Stamp { unix_ms: 2_000_000, cluster_ms: 520 }
        );
    }

    #[test]
    fn a_wild_clock_is_held_near_the_majority() {
        let mut clock = Clock::new(BASE, at(0, 0));
        assert_eq!(clock.stamp(at(1, u64::MAX), Some(2_000_000)).unix_ms, 2_000_000 + TOLERANCE);
        let mut clock = Clock::new(BASE, at(0, 0));
        assert_eq!(clock.stamp(at(1, 0), Some(2_000_000)).unix_ms, 2_000_000 - TOLERANCE);
    }

    #[test]
    fn time_never_goes_backwards() {
        let mut clock = Clock::new(BASE, at(10, 0));
        let first = clock.stamp(at(30, 2_000_000), Some(2_000_000));
        assert_eq!(clock.stamp(at(20, 1), Some(1)), first);
        assert_eq!(Clock::new(BASE, at(0, 0)).stamp(at(0, 5), Some(5)), BASE);
    }

    #[test]
    fn without_a_majority_time_goes_on_from_the_log() {
        let mut clock = Clock::new(BASE, at(0, 0));
        assert_eq!(clock.stamp(at(7, u64::MAX), None), Stamp { unix_ms: 1_000_007, cluster_ms: 507 });
    }

    #[test]
    fn the_median_is_the_lower_one_and_reports_age() {
        let report = |wall, at| Report { wall, at };
        let now = at(10, 0);
        assert_eq!(median([], now), None);
        assert_eq!(median([report(100, 10_000), report(50, 10_000)], now), Some(50));
        assert_eq!(median([report(100, 0), report(50, 10_000), report(999, 10_000)], now), Some(110));
        assert_eq!(median([report(u64::MAX, 0)], now), Some(u64::MAX));
    }
}
