//! One machine's clocks: an origin of their own, a rate that is a little wrong, and a wall clock that may jump.

use crate::time::{Micros, Millis, Now};

/// Unix time at the beginning of every simulation: 2023-11-14.
const BEGINNING: Millis = 1_700_000_000_000;

/// How a machine's clocks relate to the simulation's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    /// What the monotonic clock shows at the beginning, in microseconds.
    pub origin: Micros,
    /// The simulation's time since which the clocks run at this rate.
    pub since: Micros,
    /// What had passed by these clocks before, in microseconds.
    pub before: Micros,
    /// How much faster than true time both clocks run, in millionths; above -1,000,000.
    pub drift_ppm: i32,
    /// How far the wall clock is ahead, in milliseconds.
    pub wall_ahead_ms: i64,
}

impl Clock {
    /// What the clocks show at the simulation's time `at`.
    pub fn read(&self, at: Micros) -> Now {
        let passed = self.passed(at);
        let wall = (BEGINNING + passed / 1000).saturating_add_signed(self.wall_ahead_ms);
        Now::new(self.origin + passed, wall)
    }

    /// The same clocks, at another rate from the simulation's time `at` on.
    #[must_use]
    pub fn at_another_rate(&self, at: Micros, drift_ppm: i32) -> Self {
        Self { since: at, before: self.passed(at), drift_ppm, ..*self }
    }

    /// The first time of the simulation at which the monotonic clock shows `mono` or more.
    pub fn when(&self, mono: Micros) -> Micros {
        let passed = mono.saturating_sub(self.origin);
        let left = u128::from(passed.saturating_sub(self.before));
        let at = (left * 1_000_000).div_ceil(self.millionths().into());
        let mut at = Micros::try_from(at).unwrap_or(Micros::MAX).saturating_add(self.since);
        // Two roundings may leave it a step short.
        while self.passed(at) < passed && at < Micros::MAX {
            at += 1;
        }
        at
    }

    fn passed(&self, at: Micros) -> Micros {
        let since = at.saturating_sub(self.since);
        self.before + (u128::from(since) * u128::from(self.millionths()) / 1_000_000) as Micros
    }

    fn millionths(&self) -> u64 {
        1_000_000_u64.saturating_add_signed(self.drift_ppm.into()).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planned_wake_has_come_when_it_comes_and_not_before() {
        for drift_ppm in [-500, 0, 1, 200, 333_333] {
            let clock = Clock { origin: 77, drift_ppm, ..Clock::default() };
            for mono in [0, 77, 78, 1_000, 999_999, 123_456_789] {
                let at = clock.when(mono);
                assert!(clock.read(at).mono >= mono, "{drift_ppm} {mono}");
                assert!(at == 0 || clock.read(at - 1).mono < mono, "{drift_ppm} {mono}");
            }
        }
    }

    #[test]
    fn another_rate_holds_from_its_time_on_and_nothing_jumps() {
        let clock = Clock { origin: 77, drift_ppm: 100_000, ..Clock::default() };
        let slower = clock.at_another_rate(1_000_000, -100_000);
        assert_eq!(slower.read(1_000_000), clock.read(1_000_000));
        assert_eq!(slower.read(2_000_000).mono, 77 + 1_100_000 + 900_000);
        let at = slower.when(77 + 1_500_000);
        assert!(slower.read(at).mono >= 77 + 1_500_000 && slower.read(at - 1).mono < 77 + 1_500_000);
    }

    #[test]
    fn clocks_differ_as_told() {
        let clock = Clock { origin: 5, drift_ppm: 1000, wall_ahead_ms: -60_000, ..Clock::default() };
        assert_eq!(clock.read(10_000_000), Now::new(5 + 10_010_000, BEGINNING + 10_010 - 60_000));
    }
}
