//! Where bugs are hunted: runs in which much goes wrong in little time.

use core::ops::ControlFlow;
use std::vec::Vec;

use super::{Bug, Outcome, Profile, Room};
use crate::raft::NodeId;
use crate::rng::Rng;
use crate::sim::cluster::{Crash, Moment};
use crate::sim::disk::DiskFault;
use crate::sim::exhaustive::{Bounds, explore};
use crate::sim::faults::{Errand, Fault, Manner, Plan, Population, Quirk, Who};
use crate::sim::network::{Cuts, Shape};
use crate::sim::{KvWorkload, run};
use crate::time::Micros;

const MS: Micros = 1_000;
const SECOND: Micros = 1_000_000;

/// So many seconds' faults befall a cluster in one.
const HURRY: u64 = 8;

/// Where a bug is hunted: random runs first, since most bugs need one or two of them, and for the core every interleaving
/// of a few nodes besides. All of them without a bug, which must find nothing.
pub fn grounds(bug: Option<&Bug>) -> &'static [Profile<'static>] {
    let all = &[
        Profile { name: "any", run: &|seed| outcome(&any(seed)) },
        Profile { name: "duel", run: &|seed| outcome(&duel(seed)) },
        Profile { name: "readers", run: &|seed| outcome(&readers(seed)) },
        Profile { name: "disks", run: &|seed| outcome(&disks(seed)) },
        Profile { name: "laggards", run: &|seed| outcome(&laggards(seed)) },
        Profile { name: "reigns", run: &|seed| outcome(&reigns(seed)) },
        Profile { name: "transfers", run: &|seed| outcome(&transfers(seed)) },
        Profile { name: "installs", run: &|seed| outcome(&installs(seed)) },
        Profile { name: "minorities", run: &|seed| outcome(&minorities(seed)) },
        Profile { name: "drops", run: &|seed| outcome(&drops(seed)) },
        Profile { name: "echoes", run: &|seed| outcome(&echoes(seed)) },
        Profile { name: "returns", run: &|seed| outcome(&returns(seed)) },
        Profile { name: "members", run: &|seed| outcome(&members(seed)) },
        Profile { name: "exhaustive", run: &exhaustive },
    ];
    let explores = bug.is_none_or(|bug| bug.room == Room::Raft);
    if explores { all } else { &all[..all.len() - 1] }
}

/// An exploration of the suite, by its number.
fn exhaustive(seed: u64) -> Outcome {
    let mut explorations = Bounds::suite().into_iter().map(|(_, bounds)| bounds);
    let Some(bounds) = explorations.nth(usize::try_from(seed).unwrap_or(usize::MAX)) else {
        return Outcome::default();
    };
    let found = explore(&bounds, &mut |_| ControlFlow::Continue(()));
    Outcome { violation: found.violation.map(|example| example.broken), simulated: 0 }
}

fn outcome(plan: &Plan) -> Outcome {
    let report = run(plan, KvWorkload::draw(plan.seed));
    Outcome { violation: report.violation.map(|violation| violation.what), simulated: report.simulated }
}

/// A run of any profile, with its faults in an eighth of the time.
fn any(seed: u64) -> Plan {
    let mut plan = Plan::draw(seed, None, None, 15 * HURRY);
    plan.faults.iter_mut().for_each(|(at, _)| *at /= HURRY);
    plan.errands.iter_mut().for_each(|(at, _)| *at /= HURRY);
    plan.faults_end /= HURRY;
    plan.end /= HURRY;
    plan
}

/// Leaders that come and go: logs that part, votes and appends of terms that are over. Sometimes the last that happens is a
/// long partition, of which a term may be left that is ahead of the leader's.
fn duel(seed: u64) -> Plan {
    let mut rng = Rng::stream(seed, 400);
    let mut faults = often(&mut rng, |rng| match rng.below(10) {
        0..=2 => Fault::Partition { shape: rng.next_u64(), lasts: soon(rng) },
        3 | 4 => Fault::Kill { who: who(rng), crash: crash(rng), down: soon(rng) },
        5 => Fault::KillAll { crash: crash(rng), down: soon(rng) / 4 },
        6 => Fault::Clog { from: who(rng), to: who(rng), lasts: soon(rng) },
        7 | 8 => Fault::Slow { who: who(rng), percent: 200 << rng.below(8), lasts: soon(rng) },
        _ => Fault::Weather { draw: rng.next_u64(), lasts: soon(rng) },
    });
    if rng.chance(1, 2) {
        faults.retain(|(at, _)| *at < 6 * SECOND);
        faults.push((7 * SECOND, Fault::Partition { shape: rng.next_u64(), lasts: 2 * SECOND }));
    }
    let quirks = [
        Quirk::NoPreVote,
        Quirk::NoCheckQuorum,
        Quirk::HastyElections,
        Quirk::OneEntryAppends,
        Quirk::NarrowWindow,
        Quirk::EarlySnapshots,
        Quirk::NoTrailing,
    ];
    plan(seed, &mut rng, &quirks, faults)
}

/// Leaders that do not know that they are none, and clients that ask them, and ask again elsewhere.
fn readers(seed: u64) -> Plan {
    let mut rng = Rng::stream(seed, 401);
    let faults = often(&mut rng, |rng| match rng.below(10) {
        0..=1 => Fault::Pause { who: Who::Leader, lasts: soon(rng) },
        2 => Fault::Pause { who: who(rng), lasts: soon(rng) },
        3 => Fault::Clog { from: who(rng), to: who(rng), lasts: soon(rng) },
        4 => Fault::BreakConnections { count: 1 + rng.below(4) },
        _ => Fault::Partition { shape: rng.next_u64(), lasts: soon(rng) },
    });
    let quirks = [Quirk::NoCheckQuorum, Quirk::HastyElections, Quirk::NoForwarding, Quirk::LittleUncommitted];
    plan(seed, &mut rng, &quirks, faults)
}

/// Disks that are struck, exchanged, lost and set back, and machines that lose power while they write.
fn disks(seed: u64) -> Plan {
    let mut rng = Rng::stream(seed, 402);
    let mut faults = often(&mut rng, |rng| match rng.below(12) {
        0..=4 => {
            Fault::KillWithin { who: who(rng), crash: crash(rng), operations: rng.below(20), down: soon(rng) }
        }
        5 | 6 => Fault::Kill { who: who(rng), crash: Crash::Power, down: soon(rng) },
        7 => Fault::KillAll { crash: Crash::Power, down: soon(rng) },
        8 => Fault::Disk { who: who(rng), fault: DiskFault::FailedSync, lasts: SECOND },
        9 => Fault::Disk { who: who(rng), fault: DiskFault::RottenVoteCopy, lasts: SECOND },
        10 => Fault::Partition { shape: rng.next_u64(), lasts: soon(rng) },
        _ => Fault::Disk { who: who(rng), fault: DiskFault::Slow, lasts: soon(rng) },
    });
    // One disk is lost for good.
    let loss = match rng.below(6) {
        0 | 1 => Fault::Wipe { who: who(&mut rng) },
        2 | 3 => Fault::RollBack { who: who(&mut rng) },
        4 => Fault::SwapDisks { one: who(&mut rng), other: who(&mut rng), lasts: SECOND },
        _ => Fault::Disk { who: who(&mut rng), fault: DiskFault::RottenRecord, lasts: SECOND },
    };
    let at = (1 + rng.below(3)) * SECOND;
    faults.insert(faults.partition_point(|(earlier, _)| *earlier < at), (at, loss));
    let quirks = [Quirk::TinySegments, Quirk::EarlySnapshots, Quirk::NoTrailing, Quirk::HastyElections];
    plan(seed, &mut rng, &quirks, faults)
}

/// Followers that are behind when a snapshot comes, and leaders that change while it does.
fn laggards(seed: u64) -> Plan {
    let mut rng = Rng::stream(seed, 403);
    let faults = often(&mut rng, |rng| match rng.below(8) {
        0..=2 => Fault::Partition { shape: rng.next_u64(), lasts: 3 * soon(rng) },
        3 | 4 => Fault::Slow { who: who(rng), percent: 1000 << rng.below(5), lasts: soon(rng) },
        5 => Fault::Kill { who: who(rng), crash: crash(rng), down: 2 * soon(rng) },
        6 => Fault::Disk { who: who(rng), fault: DiskFault::Slow, lasts: soon(rng) },
        _ => Fault::Clog { from: who(rng), to: who(rng), lasts: soon(rng) },
    });
    let quirks = [Quirk::NoTrailing, Quirk::TinyChunks, Quirk::HastyElections, Quirk::NoCheckQuorum];
    let mut plan = plan(seed, &mut rng, &quirks, faults);
    plan.quirks.push(Quirk::EarlySnapshots);
    plan
}

/// Reigns so short that hardly an entry leaves its leader, and entries that travel one by one: logs that end in many terms
/// (figure 8 of the paper).
fn reigns(seed: u64) -> Plan {
    let mut rng = Rng::stream(seed, 404);
    let short = |rng: &mut Rng| (20 + rng.below(200)) * MS;
    let mut at = SECOND;
    let mut faults = Vec::new();
    while at < 9 * SECOND {
        let fault = match rng.below(6) {
            0..=2 => Fault::Clog { from: Who::Leader, to: Who::Node(rng.below(64)), lasts: short(&mut rng) },
            3 => Fault::Kill { who: Who::Leader, crash: Crash::Process, down: short(&mut rng) },
            4 => Fault::Pause { who: Who::Leader, lasts: short(&mut rng) },
            _ => Fault::Partition { shape: rng.next_u64(), lasts: short(&mut rng) },
        };
        faults.push((at, fault));
        at += short(&mut rng) / 4;
    }
    let mut plan = plan(seed, &mut rng, &[Quirk::NoPreVote, Quirk::NoSnapshots], faults);
    plan.quirks.extend([
        Quirk::OneEntryAppends,
        Quirk::NarrowWindow,
        Quirk::NoCheckQuorum,
        Quirk::HastyElections,
    ]);
    plan
}

/// Followers that are slow, far behind, and go down again and again while a snapshot comes; their leader stays.
fn transfers(seed: u64) -> Plan {
    let mut rng = Rng::stream(seed, 405);
    let (mut at, mut faults) = (SECOND, Vec::new());
    while at < 25 * SECOND {
        let who = Who::Node(rng.below(64));
        faults.push((at, Fault::Slow { who, percent: 500 << rng.below(5), lasts: 5 * SECOND }));
        faults.push((at, Fault::Kill { who, crash: crash(&mut rng), down: 3 * SECOND }));
        at += 3 * SECOND;
        for _ in 0..5 {
            at += (100 + rng.below(300)) * MS;
            faults.push((at, Fault::Kill { who, crash: crash(&mut rng), down: 20 * MS }));
        }
        at += rng.below(SECOND);
    }
    let mut plan = plan(seed, &mut rng, &[Quirk::SlowElections], faults);
    plan.quirks.extend([Quirk::EarlySnapshots, Quirk::NoTrailing, Quirk::TinyChunks]);
    // Little is asked, so that no later snapshot helps.
    plan.clients.truncate(2);
    plan.clients.iter_mut().for_each(|client| client.thinks *= 10);
    Plan { faults_end: at, end: at + SECOND, ..plan }
}

/// A slow follower that is sent a snapshot by a leader who then falls silent and dies: the next leader does not know that
/// it is committed, and sends what is behind it before it is installed.
fn installs(seed: u64) -> Plan {
    let mut rng = Rng::stream(seed, 408);
    let (mut at, mut faults) = (SECOND, Vec::new());
    if rng.chance(1, 2) {
        faults.push((at, Fault::Weather { draw: rng.next_u64(), lasts: 15 * SECOND }));
    }
    while at < 15 * SECOND {
        let slow = rng.below(3);
        let (down, silent) = ((200 + rng.below(500)) * MS, rng.below(80) * MS);
        let who = Who::Node(slow);
        faults.push((at, Fault::Slow { who, percent: 1000 << rng.below(4), lasts: 2 * SECOND }));
        faults.push((at, Fault::Kill { who, crash: Crash::Process, down }));
        at += down + silent;
        for other in (0..3).filter(|node| *node != slow).map(Who::Node) {
            faults.push((at, Fault::Clog { from: Who::Leader, to: other, lasts: 300 * MS }));
        }
        at += rng.below(200) * MS;
        faults.push((at, Fault::Kill { who: Who::Leader, crash: Crash::Process, down: SECOND }));
        at += (1_200 + rng.below(500)) * MS;
    }
    let mut plan = plan(seed, &mut rng, &[Quirk::NoPreVote, Quirk::OneEntryAppends], faults);
    plan.quirks.extend([
        Quirk::EarlySnapshots,
        Quirk::NoTrailing,
        Quirk::HastyElections,
        Quirk::NoCheckQuorum,
    ]);
    Plan { nodes: 3, faults_end: at, end: at + SECOND, ..plan }
}

/// Two of five that are cut off, perhaps with the leader, who takes what it cannot commit. When they are back they have to
/// drop it, and restart soon.
fn minorities(seed: u64) -> Plan {
    let mut rng = Rng::stream(seed, 406);
    let (mut at, mut faults) = (SECOND, Vec::new());
    while at < 7 * SECOND {
        let (shape, minority) = minority(&mut rng);
        let lasts = (1_050 + rng.below(800)) * MS;
        faults.push((at, Fault::Partition { shape, lasts }));
        at += lasts + (20 + rng.below(400)) * MS;
        for who in minority {
            let (crash, down) = (crash(&mut rng), (20 + rng.below(80)) * MS);
            faults.push(match rng.below(2) {
                0 => (at, Fault::Kill { who, crash, down }),
                _ => (at, Fault::KillWithin { who, crash, operations: rng.below(20), down }),
            });
            at += rng.below(200) * MS;
        }
        at += 200 * MS;
    }
    let quirks = [Quirk::EarlySnapshots, Quirk::NoTrailing, Quirk::NoCheckQuorum, Quirk::HastyElections];
    Plan { nodes: 5, ..plan(seed, &mut rng, &quirks, faults) }
}

/// The same, where much is dropped and little comes instead: everybody waits for the leader that is cut off while the others
/// are slow to elect one. One of the two is away for longer, and crashes when it drops its entries.
fn drops(seed: u64) -> Plan {
    let mut rng = Rng::stream(seed, 410);
    let (mut at, mut faults) = (4 * SECOND, Vec::new());
    while at < 16 * SECOND {
        let (shape, minority) = minority(&mut rng);
        let lasts = (1_500 + rng.below(2_000)) * MS;
        faults.push((at, Fault::Partition { shape, lasts }));
        let healed = at + lasts;
        let who = minority[rng.below(2) as usize];
        let shape = partition(
            &mut rng,
            |shape, _| matches!((shape, who), (Shape::Isolated(node), Who::Node(n)) if node.0 == n + 1),
        );
        let longer = (100 << rng.below(4)) * MS;
        faults.push((healed - 50 * MS, Fault::Partition { shape, lasts: longer }));
        let moment = if rng.chance(1, 2) { Moment::Install } else { Moment::Cut };
        let (crash, operations, down) = (crash(&mut rng), rng.below(6), (10 + rng.below(40)) * MS);
        faults.push((healed, Fault::KillAt { who, moment, crash, operations, down }));
        at = healed + 2 * SECOND;
    }
    let quirks = [Quirk::NoTrailing, Quirk::NoForwarding, Quirk::NoPreVote];
    let mut plan = plan(seed, &mut rng, &quirks, faults);
    plan.quirks.extend([Quirk::EarlySnapshots, Quirk::NoCheckQuorum, Quirk::SlowElections]);
    // Many, because a write is not sent behind a read that waits.
    let client = |number| Population {
        number,
        thinks: (20 + rng.below(100)) * MS,
        burst: 12,
        manner: if rng.chance(1, 2) { Manner::Plain } else { Manner::Pipeline },
        patience: Population::PATIENCE,
    };
    plan.clients = (0..30).map(client).collect();
    Plan { nodes: 5, faults_end: at, end: at + SECOND, ..plan }
}

/// A partition that cuts off two of five, and who they are.
fn minority(rng: &mut Rng) -> (u64, [Who; 2]) {
    let mut minority = [Who::Leader; 2];
    let shape = partition(rng, |shape, cuts| {
        // Whoever is in the smaller part does not speak to three others.
        let is_cut_off = |node: &u64| cuts.iter().filter(|(from, _)| from.0 == node + 1).count() == 3;
        let cut_off: Vec<Who> = (0..5).filter(is_cut_off).map(Who::Node).collect();
        matches!(shape, Shape::Split(_)) && cut_off.try_into().map(|both| minority = both).is_ok()
    });
    (shape, minority)
}

/// A partition of five nodes as it is wanted, provided that somebody leads when it comes.
fn partition(rng: &mut Rng, mut is_wanted: impl FnMut(Shape, &Cuts) -> bool) -> u64 {
    let nodes: Vec<NodeId> = (1..=5).map(NodeId).collect();
    loop {
        let shape = rng.next_u64();
        let (drawn, cuts) = Shape::draw(&mut Rng::new(shape), &nodes, Some(NodeId(0)));
        if is_wanted(drawn, &cuts) {
            return shape;
        }
    }
}

/// Leaders whose followers' answers are held until another one leads, and then come all at once.
fn echoes(seed: u64) -> Plan {
    let mut rng = Rng::stream(seed, 407);
    let (mut at, mut faults) = (SECOND, Vec::new());
    while at < 8 * SECOND {
        let held = (300 + rng.below(700)) * MS;
        let later = rng.below(60) * MS;
        for node in (0..5).map(Who::Node) {
            faults.push((at, Fault::Clog { from: node, to: Who::Leader, lasts: held }));
        }
        for node in (0..5).map(Who::Node) {
            faults.push((at + later, Fault::Clog { from: Who::Leader, to: node, lasts: held + 100 * MS }));
        }
        at += held + later + (200 + rng.below(600)) * MS;
    }
    let mut plan = plan(seed, &mut rng, &[Quirk::HastyElections, Quirk::NoForwarding], faults);
    plan.quirks.push(Quirk::NoCheckQuorum);
    plan
}

/// Leaders that lose their office and soon get it again, while a follower's requests to them are held: its clients go on
/// at the leader in between.
fn returns(seed: u64) -> Plan {
    let mut rng = Rng::stream(seed, 409);
    let (mut at, mut faults) = (SECOND, Vec::new());
    while at < 12 * SECOND {
        let lasts = (700 + rng.below(1_000)) * MS;
        faults.push((at, Fault::Clog { from: Who::Node(rng.below(5)), to: Who::Leader, lasts }));
        let mut pause = at + (20 + rng.below(100)) * MS;
        for _ in 0..3 {
            faults.push((pause, Fault::Pause { who: Who::Leader, lasts: (90 + rng.below(60)) * MS }));
            pause += (170 + rng.below(120)) * MS;
        }
        at += lasts + 200 * MS;
    }
    let mut plan = plan(seed, &mut rng, &[Quirk::NoPreVote, Quirk::NoCheckQuorum], faults);
    plan.quirks.push(Quirk::HastyElections);
    for client in &mut plan.clients {
        client.manner = Manner::Pipeline;
    }
    Plan { nodes: 5, faults_end: at, end: at + SECOND, ..plan }
}

/// Members that come and go in haste, while leaders are cut off and die.
fn members(seed: u64) -> Plan {
    let mut rng = Rng::stream(seed, 411);
    let (mut at, mut faults, mut errands) = (SECOND, Vec::new(), Vec::new());
    while at < 14 * SECOND {
        errands.push((at, Errand::draw(&mut rng)));
        if rng.chance(1, 3) {
            let soon_after = at + rng.below(20) * MS;
            let fault = match rng.below(4) {
                0 => Fault::Kill { who: Who::Leader, crash: crash(&mut rng), down: soon(&mut rng) },
                1 => Fault::Clog { from: Who::Leader, to: who(&mut rng), lasts: soon(&mut rng) },
                _ => Fault::Partition { shape: rng.next_u64(), lasts: soon(&mut rng) },
            };
            faults.push((soon_after, fault));
        }
        at += (20 + rng.below(300)) * MS;
    }
    faults.sort_by_key(|(at, _)| *at);
    let quirks = [Quirk::NoPreVote, Quirk::NoCheckQuorum, Quirk::EarlySnapshots, Quirk::NoTrailing];
    let mut plan = plan(seed, &mut rng, &quirks, faults);
    plan.quirks.push(Quirk::HastyElections);
    let nodes = 1 + rng.below(5);
    Plan { nodes, errands, faults_end: at, end: at + SECOND, ..plan }
}

fn plan(seed: u64, rng: &mut Rng, quirks: &[Quirk], faults: Vec<(Micros, Fault)>) -> Plan {
    let nodes = [3, 3, 4, 5][rng.below(4) as usize];
    let client = |number| Population {
        number,
        thinks: (5 + rng.below(60)) * MS,
        burst: [1, 1, 4, 12][rng.below(4) as usize],
        manner: Manner::draw(rng),
        patience: [Population::PATIENCE, 2 * SECOND, SECOND / 2][rng.below(3) as usize],
    };
    let clients = (0..6).map(client).collect();
    let quirks = quirks.iter().copied().filter(|_| rng.chance(1, 2)).collect();
    let (faults_end, end) = (9 * SECOND, 10 * SECOND);
    let errands = Vec::new();
    Plan { faults_end, end, quirks, faults, errands, clients, ..Plan::draw(seed, None, Some(nodes), 10) }
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
