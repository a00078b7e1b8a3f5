//! How often a disk fails, and how slow it is.

use super::OpKind;
use crate::rng::Rng;
use crate::storage::DiskOp;
use crate::time::Micros;

/// How often which fault befalls a disk, as shares of a million operations of its kind. None of them is drawn for while its
/// share is 0, so that a calm disk decides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskWeather {
    /// Reads and lists that end with EIO: the node halts.
    pub failed_reads: u32,
    /// Writes and zeroings that end with EIO, done in part: the node halts.
    pub failed_writes: u32,
    /// Syncs that end with EIO; what they were to sync is on the medium or not: the node halts.
    pub failed_syncs: u32,
    /// Creations, renames, removals and directory syncs that end with EIO: the node halts.
    pub failed_names: u32,
    /// Writes to the log that are acknowledged and never reach the medium. It shows after a power failure, and only where
    /// something else on the disk proves that the write was synced: the next start is refused.
    pub stale_writes: u32,
    /// The same for writes that land in another place of the log, where they take the place of what was there.
    pub misdirected_writes: u32,
    /// How long operations take.
    pub pace: Pace,
}

impl DiskWeather {
    /// A disk that only forgets what was not synced.
    pub const CALM: Self = Self {
        failed_reads: 0,
        failed_writes: 0,
        failed_syncs: 0,
        failed_names: 0,
        stale_writes: 0,
        misdirected_writes: 0,
        pace: Pace::BRISK,
    };

    /// About as bad as a disk can be that still does some work between two faults.
    pub const WILD: Self = Self {
        failed_reads: 2000,
        failed_writes: 200,
        failed_syncs: 200,
        failed_names: 500,
        stale_writes: 500,
        misdirected_writes: 500,
        pace: Pace { percent: 400, stalls: 10, hangs: 100, ..Pace::BRISK },
    };

    /// How many of a million operations of this kind fail.
    pub(super) fn failing(&self, kind: OpKind) -> u32 {
        match kind {
            OpKind::Read => self.failed_reads,
            OpKind::Write => self.failed_writes,
            OpKind::Sync => self.failed_syncs,
            OpKind::Names => self.failed_names,
        }
    }

    /// A weather between calm and `self`: each share drawn by `rng`, half of them none at all.
    pub fn draw(&self, rng: &mut Rng) -> Self {
        let mut share = |most: u32| if rng.chance(1, 2) { rng.below(u64::from(most) + 1) as u32 } else { 0 };
        let [failed_reads, failed_writes, failed_syncs, failed_names] =
            [self.failed_reads, self.failed_writes, self.failed_syncs, self.failed_names].map(&mut share);
        let [stale_writes, misdirected_writes, stalls] =
            [self.stale_writes, self.misdirected_writes, self.pace.stalls].map(&mut share);
        let hangs = share(self.pace.hangs);
        let spare = self.pace.percent.saturating_sub(Pace::BRISK.percent);
        let percent = Pace::BRISK.percent + share(spare);
        let pace = Pace { percent, stalls, hangs, ..self.pace };
        Self {
            failed_reads,
            failed_writes,
            failed_syncs,
            failed_names,
            stale_writes,
            misdirected_writes,
            pace,
        }
    }
}

/// How long a disk's operations take: a sync a tenth of a millisecond or three, anything else some microseconds, and now
/// and then much longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Of the usual time, in percent: 100 for a disk in order, 1000 for a slow one.
    pub percent: u32,
    /// Of a thousand operations, how many stall.
    pub stalls: u32,
    /// Longest stall, in microseconds; shorter ones are as likely.
    pub longest_stall: Micros,
    /// Of a million operations, how many hang.
    pub hangs: u32,
    /// Longest hang, in microseconds: a long tail, in which half as long is twice as likely.
    pub longest_hang: Micros,
}

impl Pace {
    /// A disk in order.
    pub const BRISK: Self =
        Self { percent: 100, stalls: 0, longest_stall: 30_000, hangs: 0, longest_hang: 4_000_000 };

    /// How long the operation takes, and whether it stalls on the way. `None` is a turn of the lane without an operation.
    pub(super) fn draw(&self, op: Option<&DiskOp>, rng: &mut Rng) -> (Micros, bool) {
        let (least, spread) = match op {
            Some(DiskOp::Sync { .. } | DiskOp::SyncDirectory) => (100, 200),
            _ => (2, 10),
        };
        let mut stall = 0;
        if rng.chance(u64::from(self.stalls), 1000) {
            stall = rng.below(self.longest_stall);
        }
        if self.hangs > 0 && rng.chance(u64::from(self.hangs), 1_000_000) {
            // The magnitude is drawn first, then the length within it.
            let most = self.longest_hang >> rng.below(12);
            stall += most / 2 + rng.below(most / 2 + 1);
        }
        let usual = (least + rng.below(spread)) * u64::from(self.percent) / 100;
        (usual + stall, stall > 0)
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::BRISK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::FileName;
    use std::vec::Vec;

    const SYNC: DiskOp = DiskOp::Sync { file: FileName::Vote };

    fn durations(pace: Pace) -> Vec<Micros> {
        let mut rng = Rng::new(1);
        let mut all: Vec<_> = (0..20_000).map(|_| pace.draw(Some(&SYNC), &mut rng).0).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_slow_disk_takes_longer_and_a_hanging_one_has_a_long_tail() {
        let brisk = durations(Pace::BRISK);
        assert!((100..300).contains(&brisk[0]) && brisk[19_999] < 300);
        let slow = durations(Pace { percent: 1000, ..Pace::BRISK });
        assert!((1000..3000).contains(&slow[0]) && slow[10_000] > 1500);
        let hanging = durations(Pace { hangs: 10_000, ..Pace::BRISK });
        assert!(hanging[10_000] < 300, "most are as ever");
        assert!(hanging[19_999] > 1_000_000 && hanging[19_999] <= 4_000_300, "{}", hanging[19_999]);
        assert!(hanging.iter().any(|d| (2_000..100_000).contains(d)), "and everything between");
    }

    #[test]
    fn a_drawn_weather_lies_between_calm_and_the_worst() {
        let worst = DiskWeather {
            failed_syncs: 100,
            stale_writes: 7,
            pace: Pace { percent: 500, stalls: 9, ..Pace::BRISK },
            ..DiskWeather::CALM
        };
        let drawn: Vec<_> = (0..100).map(|seed| worst.draw(&mut Rng::new(seed))).collect();
        assert!(drawn.iter().any(|w| w.failed_syncs == 0) && drawn.iter().any(|w| w.failed_syncs > 80));
        for weather in drawn {
            assert!(weather.failed_reads == 0 && weather.failed_syncs <= 100 && weather.stale_writes <= 7);
            assert!((100..=500).contains(&weather.pace.percent) && weather.pace.stalls <= 9);
        }
    }
}
