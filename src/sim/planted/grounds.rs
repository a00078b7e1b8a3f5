//! Where bugs are hunted: runs in which much goes wrong in little time.

use std::vec::Vec;

use super::{Outcome, Profile};
use crate::rng::Rng;
use crate::sim::cluster::Crash;
use crate::sim::faults::{Fault, Manner, Plan, Population, Quirk, Who};
use crate::sim::{KvWorkload, run};
use crate::time::Micros;

const MS: Micros = 1_000;
const SECOND: Micros = 1_000_000;

/// So many seconds' faults befall a cluster in one.
const HURRY: u64 = 8;

/// All of them.
pub fn grounds() -> [Profile<'static>; 3] {
    [
        Profile { name: "any", run: &|seed| outcome(&any(seed)) },
        Profile { name: "duel", run: &|seed| outcome(&duel(seed)) },
        Profile { name: "readers", run: &|seed| outcome(&readers(seed)) },
    ]
}

fn outcome(plan: &Plan) -> Outcome {
    let report = run(plan, KvWorkload::draw(plan.seed));
    Outcome { violation: report.violation.map(|violation| violation.what), simulated: report.simulated }
}

/// A run of any profile, with its faults in an eighth of the time.
fn any(seed: u64) -> Plan {
    let mut plan = Plan::draw(seed, None, None, 15 * HURRY);
    plan.faults.iter_mut().for_each(|(at, _)| *at /= HURRY);
    plan.faults_end /= HURRY;
    plan.end /= HURRY;
    plan
}

/// Leaders that come and go: logs that part, votes and appends of terms that are over.
fn duel(seed: u64) -> Plan {
    let mut rng = Rng::stream(seed, 400);
    let faults = often(&mut rng, |rng| match rng.below(10) {
        0..=2 => Fault::Partition { shape: rng.next_u64(), lasts: soon(rng) },
        3 | 4 => Fault::Kill { who: who(rng), crash: crash(rng), down: soon(rng) },
        5 => Fault::KillAll { crash: crash(rng), down: soon(rng) / 4 },
        6 => Fault::Clog { from: who(rng), to: who(rng), lasts: soon(rng) },
        7 | 8 => Fault::Slow { who: who(rng), percent: 200 << rng.below(8), lasts: soon(rng) },
        _ => Fault::Weather { draw: rng.next_u64(), lasts: soon(rng) },
    });
    let quirks = [
        Quirk::NoPreVote,
        Quirk::NoCheckQuorum,
        Quirk::HastyElections,
        Quirk::OneEntryAppends,
        Quirk::EarlySnapshots,
        Quirk::NoTrailing,
    ];
    plan(seed, &mut rng, &quirks, faults)
}

/// Leaders that do not know that they are none, and clients that ask them.
fn readers(seed: u64) -> Plan {
    let mut rng = Rng::stream(seed, 401);
    let faults = often(&mut rng, |rng| match rng.below(6) {
        0..=1 => Fault::Pause { who: Who::Leader, lasts: soon(rng) },
        2 => Fault::BreakConnections { count: 1 + rng.below(4) },
        _ => Fault::Partition { shape: rng.next_u64(), lasts: soon(rng) },
    });
    let quirks = [Quirk::NoCheckQuorum, Quirk::HastyElections, Quirk::NoForwarding, Quirk::LittleUncommitted];
    plan(seed, &mut rng, &quirks, faults)
}

fn plan(seed: u64, rng: &mut Rng, quirks: &[Quirk], faults: Vec<(Micros, Fault)>) -> Plan {
    let nodes = [3, 3, 4, 5][rng.below(4) as usize];
    let client = |number| Population {
        number,
        thinks: (5 + rng.below(60)) * MS,
        burst: [1, 1, 4, 12][rng.below(4) as usize],
        manner: Manner::draw(rng),
        patience: Population::draw_patience(rng),
    };
    let clients = (0..6).map(client).collect();
    let quirks = quirks.iter().copied().filter(|_| rng.chance(1, 2)).collect();
    let (faults_end, end) = (9 * SECOND, 10 * SECOND);
    Plan { faults_end, end, quirks, faults, clients, ..Plan::draw(seed, None, Some(nodes), 10) }
}

fn often(rng: &mut Rng, mut fault: impl FnMut(&mut Rng) -> Fault) -> Vec<(Micros, Fault)> {
    let mut at = SECOND;
    let mut faults = Vec::new();
    while at < 9 * SECOND {
        faults.push((at, fault(rng)));
        at += soon(rng);
    }
    faults
}

/// From a fraction of an election timeout to several.
fn soon(rng: &mut Rng) -> Micros {
    ((20 * MS) << rng.below(6)) + rng.below(40 * MS)
}

fn who(rng: &mut Rng) -> Who {
    if rng.chance(1, 2) { Who::Leader } else { Who::Node(rng.below(64)) }
}

fn crash(rng: &mut Rng) -> Crash {
    if rng.chance(1, 2) { Crash::Process } else { Crash::Power }
}
