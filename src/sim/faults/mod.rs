//! What befalls a cluster in a run, decided by a seed: a [`Plan`] of faults with their times, and the nemesis that carries it out.
//!
//! A plan is data. It can be drawn from a seed and a [`Profile`], and then be cut down: whoever removes faults from it, or
//! nodes, clients or time, has a smaller run that may still fail. Faults name their victims by role or by number, and what
//! cannot be done when its time has come is left out, so that every part of a plan is a plan.
//!
//! Random faults are kept within what the table of storage faults promises to survive. Those that it does not (rot in what
//! was synced, a wiped or rolled-back disk) are dealt to a minority of nodes, and the refusal that must come of each is
//! checked: a node that takes part after its disk has forgotten is a violation.

mod disks;
mod nemesis;
mod operator;
mod plan;
mod profile;
mod quirk;
mod weather;

pub use disks::Disks;
pub use nemesis::Nemesis;
pub use operator::Operator;
pub use plan::{Manner, Plan, Population};
pub use profile::{Profile, names};
pub use quirk::Quirk;

use crate::rng::Rng;
use crate::sim::cluster::{Crash, Moment};
use crate::sim::disk::DiskFault;
use crate::time::Micros;

/// Whom a fault befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The leader, if somebody leads; otherwise the first node.
    Leader,
    /// The node of this number, counted around.
    Node(u64),
}

/// Something that befalls the cluster. Times are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Fault {
    /// A process is killed, or its machine loses power; it is down for so long.
    Kill { who: Who, crash: Crash, down: Micros },
    /// The same within one of its next disk operations: after so many more.
    KillWithin { who: Who, crash: Crash, operations: u64, down: Micros },
    /// The same soon after the next moment of this kind: what is written then is written seldom.
    KillAt { who: Who, moment: Moment, crash: Crash, operations: u64, down: Micros },
    /// All at once.
    KillAll { crash: Crash, down: Micros },
    /// A process is stopped: what reaches it waits.
    Pause { who: Who, lasts: Micros },
    /// Everything takes so many percent of the usual time at this node.
    Slow { who: Who, percent: u64, lasts: Micros },
    /// The network comes apart in a shape drawn by this seed.
    Partition { shape: u64, lasts: Micros },
    /// The weather of the network, or of a part of it, as drawn by this seed.
    Weather { draw: u64, lasts: Micros },
    /// One direction between two nodes holds everything back, and then lets it through at once.
    Clog { from: Who, to: Who, lasts: Micros },
    /// So many connections of clients break.
    BreakConnections { count: u64 },
    /// No more than a bare majority is up and heard: each quorum is minimal.
    BareMajority { leaves_out: u64, lasts: Micros },
    /// The wall clock of a machine jumps, by so many milliseconds.
    WallJump { who: Who, by_ms: i64 },
    /// The clocks of a machine run so many millionths too fast.
    Drift { who: Who, ppm: i32 },
    /// Something goes wrong with a disk. What strikes what lies on it strikes while the process is down; a full and a slow
    /// disk recover after a while.
    Disk { who: Who, fault: DiskFault, lasts: Micros },
    /// An empty disk takes the place of the machine's.
    Wipe { who: Who },
    /// An older image of the disk takes its place.
    RollBack { who: Who },
    /// A disk is slow, hangs and fails now and then, as drawn by this seed.
    DiskWeather { who: Who, draw: u64, lasts: Micros },
    /// Connections of clients are slow, and break with what is on its way, as drawn by this seed.
    ClientWeather { draw: u64, lasts: Micros },
    /// The clocks of a machine run wild, as drawn by this seed: many times too fast or too slow, and the wall clock is set.
    WildClock { who: Who, draw: u64, lasts: Micros },
    /// Two machines' disks are exchanged for a while.
    SwapDisks { one: Who, other: Who, lasts: Micros },
}

impl Fault {
    /// Its name in counts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kill { crash: Crash::Process, .. } => "fault: kill",
            Self::Kill { crash: Crash::Power, .. } => "fault: power failure",
            Self::KillWithin { .. } => "fault: crash within an operation",
            Self::KillAt { moment, .. } => moment.name(),
            Self::KillAll { .. } => "fault: restart of all at once",
            Self::Pause { .. } => "fault: pause",
            Self::Slow { .. } => "fault: slow node",
            Self::Partition { .. } => "fault: partition",
            Self::Weather { .. } => "fault: weather",
            Self::Clog { .. } => "fault: clogged link",
            Self::BreakConnections { .. } => "fault: client connections broken",
            Self::BareMajority { .. } => "fault: bare majority",
            Self::WallJump { .. } => "fault: wall clock jumps",
            Self::Drift { .. } => "fault: clock drifts",
            Self::Disk { fault, .. } => match fault {
                DiskFault::FailedRead => "fault: EIO on read",
                DiskFault::FailedWrite => "fault: EIO on write",
                DiskFault::FailedSync => "fault: failed sync",
                DiskFault::FailedNames => "fault: EIO on names",
                DiskFault::Full => "fault: full disk",
                DiskFault::Slow => "fault: slow disk",
                DiskFault::RottenRecord => "fault: rot in a record",
                DiskFault::RottenSegmentHeader => "fault: rot in a segment's header",
                DiskFault::WildLength => "fault: wild length in a record",
                DiskFault::RottenSnapshot => "fault: rot in a snapshot",
                DiskFault::ShortSnapshot => "fault: snapshot cut short",
                DiskFault::RottenVoteCopy => "fault: rot in a copy of the vote",
                DiskFault::RottenVote => "fault: rot in both copies of the vote",
                DiskFault::RottenIdentityCopy => "fault: rot in a copy of the identity",
                DiskFault::RottenIdentity => "fault: rot in both copies of the identity",
                DiskFault::UnknownVersion => "fault: unknown version",
                DiskFault::StaleWrite => "fault: stale write",
                DiskFault::MisdirectedWrite => "fault: misdirected write",
                DiskFault::Wiped => "fault: wiped disk",
                DiskFault::RolledBack => "fault: rolled-back disk",
            },
            Self::Wipe { .. } => "fault: wiped disk",
            Self::RollBack { .. } => "fault: rolled-back disk",
            Self::DiskWeather { .. } => "fault: weather of a disk",
            Self::ClientWeather { .. } => "fault: weather of clients",
            Self::WildClock { .. } => "fault: wild clock",
            Self::SwapDisks { .. } => "fault: exchanged disks",
        }
    }
}

/// Something that an operator does with the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// A machine from outside is started and added as a learner.
    Admit,
    /// A learner gets a vote.
    Promote,
    /// A voter becomes a learner.
    Demote,
    /// A member is removed.
    Remove,
    /// Several of these at once.
    Several,
    /// A joint configuration that does not leave by itself is left.
    Leave,
    /// Leadership is handed over.
    Transfer,
    /// A process is stopped in good order, and started again later.
    Stop,
}

impl Errand {
    /// One of them; machines come more often than they go, for some that came are never promoted.
    pub fn draw(rng: &mut Rng) -> Self {
        match rng.below(20) {
            0..5 => Self::Admit,
            5..10 => Self::Promote,
            10..11 => Self::Demote,
            11..14 => Self::Remove,
            14..16 => Self::Several,
            16..17 => Self::Leave,
            17..19 => Self::Transfer,
            _ => Self::Stop,
        }
    }
}

/// A duration between `least` and about `most`: each doubling is as likely as the next, so that short and long ones meet.
fn duration(rng: &mut Rng, least: Micros, most: Micros) -> Micros {
    let doublings = most.checked_div(least).unwrap_or(1).max(1).ilog2();
    let magnitude = least << rng.below(u64::from(doublings) + 1);
    magnitude + rng.below(magnitude)
}

/// The weather of a run between its faults.
pub(super) fn usual_weather(plan: &Plan, rng: &mut Rng) -> crate::sim::network::Weather {
    use crate::sim::network::Weather;
    let is_fair = match plan.profile {
        Profile::Calm | Profile::Disk => true,
        Profile::Lab | Profile::Wild | Profile::Churn => rng.chance(1, 2),
    };
    if is_fair { Weather::FAIR } else { weather::weather(rng) }
}
