//! Kinds of runs: how often what befalls a cluster.

use std::collections::BTreeSet;

use super::{Errand, Fault, Who, duration};
use crate::rng::Rng;
use crate::sim::cluster::{Crash, Moment};
use crate::sim::disk::DiskFault;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;

/// A kind of run. Each seed draws its own rates around those of its profile, some of them none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Hardly anything happens.
    Calm,
    /// What the tests of the MIT lab do: losses, partitions, restarts.
    Lab,
    /// Everything, often.
    Wild,
    /// Disks that fail, fill up, stall, rot and are exchanged.
    Disk,
    /// Processes and connections that come and go, pause and are slow.
    Churn,
}

/// A row of the table: how often in ten minutes of each profile (calm, lab, wild, disk, churn), in tenths; and what.
type Row = ([u64; 5], fn(&mut Rng) -> Fault);

const TABLE: [Row; 25] = [
    ([5, 200, 300, 100, 400], |rng| Fault::Kill { who: who(rng), crash: Crash::Process, down: down(rng) }),
    ([5, 50, 300, 300, 200], |rng| Fault::Kill { who: who(rng), crash: Crash::Power, down: down(rng) }),
    ([2, 50, 300, 400, 200], |rng| Fault::KillWithin {
        who: who(rng),
        crash: if rng.chance(1, 4) { Crash::Process } else { Crash::Power },
        operations: rng.below(40),
        down: down(rng),
    }),
    ([1, 20, 100, 100, 60], |rng| Fault::KillAt {
        who: who(rng),
        moment: if rng.chance(1, 2) { Moment::Cut } else { Moment::Install },
        crash: if rng.chance(1, 4) { Crash::Process } else { Crash::Power },
        operations: rng.below(8),
        down: down(rng),
    }),
    ([0, 20, 30, 40, 40], |rng| Fault::KillAll {
        crash: if rng.chance(1, 2) { Crash::Process } else { Crash::Power },
        down: duration(rng, 10 * MS, 4 * SECOND),
    }),
    ([2, 10, 150, 20, 300], |rng| Fault::Pause { who: who(rng), lasts: duration(rng, 20 * MS, 20 * SECOND) }),
    ([2, 10, 60, 20, 100], |rng| Fault::Slow {
        who: who(rng),
        percent: duration(rng, 200, 20_000),
        lasts: duration(rng, SECOND, 20 * SECOND),
    }),
    ([5, 300, 400, 40, 150], |rng| Fault::Partition {
        shape: rng.next_u64(),
        lasts: duration(rng, 50 * MS, 20 * SECOND),
    }),
    ([5, 100, 200, 40, 100], |rng| Fault::Weather {
        draw: rng.next_u64(),
        lasts: duration(rng, 500 * MS, 30 * SECOND),
    }),
    ([2, 40, 200, 20, 50], |rng| Fault::Clog {
        from: who(rng),
        to: who(rng),
        lasts: duration(rng, 20 * MS, 4 * SECOND),
    }),
    ([5, 100, 300, 50, 400], |rng| Fault::BreakConnections { count: 1 + rng.below(4) }),
    ([1, 20, 50, 20, 50], |rng| Fault::BareMajority {
        leaves_out: rng.next_u64(),
        lasts: duration(rng, SECOND, 30 * SECOND),
    }),
    ([1, 10, 80, 10, 80], |rng| Fault::WallJump { who: who(rng), by_ms: jump(rng) }),
    ([1, 10, 30, 10, 30], |rng| Fault::Drift { who: who(rng), ppm: rng.below(200_001) as i32 - 100_000 }),
    ([0, 0, 20, 60, 10], |rng| Fault::Disk {
        who: who(rng),
        fault: DiskFault::Full,
        // There is a segment ahead: it takes a while to miss the next one.
        lasts: duration(rng, 4 * SECOND, 100 * SECOND),
    }),
    ([1, 10, 60, 150, 30], |rng| disk(rng, &[DiskFault::Slow])),
    ([0, 0, 10, 40, 3], |rng| disk(rng, &[DiskFault::FailedSync])),
    ([0, 0, 20, 60, 6], |rng| {
        disk(rng, &[DiskFault::FailedRead, DiskFault::FailedWrite, DiskFault::FailedNames])
    }),
    ([0, 0, 10, 20, 2], |rng| disk(rng, &[DiskFault::RottenVoteCopy, DiskFault::RottenIdentityCopy])),
    ([0, 0, 35, 80, 12], |rng| disk(rng, &LOSSES)),
    ([0, 0, 15, 30, 15], |rng| {
        if rng.chance(1, 2) { Fault::Wipe { who: who(rng) } } else { Fault::RollBack { who: who(rng) } }
    }),
    ([0, 0, 15, 40, 8], |rng| Fault::SwapDisks {
        one: who(rng),
        other: who(rng),
        lasts: duration(rng, 500 * MS, 4 * SECOND),
    }),
    ([0, 5, 30, 60, 10], |rng| Fault::DiskWeather {
        who: who(rng),
        draw: rng.next_u64(),
        lasts: duration(rng, SECOND, 30 * SECOND),
    }),
    ([2, 50, 60, 10, 150], |rng| Fault::ClientWeather {
        draw: rng.next_u64(),
        lasts: duration(rng, 500 * MS, 30 * SECOND),
    }),
    ([0, 5, 20, 3, 20], |rng| Fault::WildClock {
        who: who(rng),
        draw: rng.next_u64(),
        lasts: duration(rng, 500 * MS, 20 * SECOND),
    }),
];

/// The names of all faults that runs meet, as they are counted.
pub fn names() -> BTreeSet<&'static str> {
    let mut rng = Rng::new(0);
    // Some rows are of several faults: enough draws have them all.
    let draws = TABLE.iter().flat_map(|(_, fault)| core::iter::repeat_n(fault, 100));
    draws.map(|fault| fault(&mut rng).name()).collect()
}

/// A fault of one kind, all else drawn by `rng`; kinds are counted around.
pub(super) fn of_kind(kind: usize, rng: &mut Rng) -> Fault {
    TABLE[kind % TABLE.len()].1(rng)
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Calm, Self::Lab, Self::Wild, Self::Disk, Self::Churn];

    /// Its name on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Lab => "lab",
            Self::Wild => "wild",
            Self::Disk => "disk",
            Self::Churn => "churn",
        }
    }

    /// What its runs are counted by.
    pub const fn of_runs(self) -> &'static str {
        match self {
            Self::Calm => "runs: calm",
            Self::Lab => "runs: lab",
            Self::Wild => "runs: wild",
            Self::Disk => "runs: disk",
            Self::Churn => "runs: churn",
        }
    }

    /// The profile of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// One of them; calm ones seldom, because they find little.
    pub(super) fn draw(rng: &mut Rng) -> Self {
        [
            Self::Calm,
            Self::Lab,
            Self::Lab,
            Self::Wild,
            Self::Wild,
            Self::Wild,
            Self::Disk,
            Self::Disk,
            Self::Churn,
            Self::Churn,
        ][rng.below(10) as usize]
    }

    /// Faults between `from` and `to`, in order of time.
    pub(super) fn faults(self, rng: &mut Rng, from: u64, to: u64) -> std::vec::Vec<(u64, Fault)> {
        let mut faults = std::vec::Vec::new();
        for (rates, fault) in TABLE {
            // Of four kinds of faults one does not happen in this run, and one happens often.
            let share = [0, 10, 10, 30][rng.below(4) as usize];
            let tenths = rates[self as usize] * share / 10 * (to - from) / (600 * SECOND);
            let count = tenths / 10 + u64::from(rng.below(10) < tenths % 10);
            for _ in 0..count {
                faults.push((from + rng.below(to - from), fault(rng)));
            }
        }
        faults.sort_by_key(|(at, _)| *at);
        faults
    }
}

/// How often in ten minutes of each profile (calm, lab, wild, disk, churn) the operator does something.
const ERRANDS: [u64; 5] = [6, 30, 150, 60, 300];

impl Profile {
    /// What the operator does between `from` and `to`, in order of time. In every third run nobody touches the membership.
    pub(super) fn errands(self, rng: &mut Rng, from: u64, to: u64) -> std::vec::Vec<(u64, Errand)> {
        let share = [0, 10, 30][rng.below(3) as usize];
        let count = ERRANDS[self as usize] * share / 10 * (to - from) / (600 * SECOND);
        let mut errands: std::vec::Vec<_> = (0..count)
            .map(|_| {
                let errand = Errand::draw(rng);
                (from + rng.below(to - from), errand)
            })
            .collect();
        errands.sort_by_key(|(at, _)| *at);
        errands
    }
}

fn who(rng: &mut Rng) -> Who {
    if rng.chance(1, 3) { Who::Leader } else { Who::Node(rng.below(64)) }
}

fn down(rng: &mut Rng) -> u64 {
    duration(rng, 5 * MS, 10 * SECOND)
}

/// Faults after which a node refuses to start.
const LOSSES: [DiskFault; 12] = [
    DiskFault::RottenRecord,
    DiskFault::RottenSegmentHeader,
    DiskFault::WildLength,
    // Twice, because there is not always a snapshot to strike.
    DiskFault::RottenSnapshot,
    DiskFault::RottenSnapshot,
    DiskFault::ShortSnapshot,
    DiskFault::ShortSnapshot,
    DiskFault::RottenVote,
    DiskFault::RottenIdentity,
    DiskFault::UnknownVersion,
    DiskFault::StaleWrite,
    DiskFault::MisdirectedWrite,
];

fn disk(rng: &mut Rng, faults: &[DiskFault]) -> Fault {
    let fault = faults[rng.below(faults.len() as u64) as usize];
    Fault::Disk { who: who(rng), fault, lasts: duration(rng, 100 * MS, 20 * SECOND) }
}

/// A wall clock is set: mostly by seconds, sometimes by years.
fn jump(rng: &mut Rng) -> i64 {
    let most = if rng.chance(1, 8) { 100_000_000_000 } else { 10_000_000 };
    let by = duration(rng, 10, most) as i64;
    if rng.chance(1, 2) { by } else { -by }
}
