//! Explorations small enough for every run of the tests, and broken worlds that must be found out.

use core::ops::ControlFlow;
use std::collections::{BTreeMap, BTreeSet};
use std::string::String;
use std::vec::Vec;

use super::bounds::{Bounds, Budget, Exploration, Start};
use super::cast::{Cast, Stimulus};
use super::explore::Search;
use super::member::{Effects, Flight, Member};
use super::world::World;
use crate::raft::{Event, Message};
use crate::rng::Rng;

/// What is wrong with a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The disk reports a write before it is durable.
    DiskReportsEarly,
    /// A restart finds the term, but not the vote in it.
    VoteIsForgotten,
    /// A refused vote is heard as a granted one.
    RefusalIsMisheard,
}

impl Member {
    /// What a flaw of the world makes of a message.
    pub(super) fn mishear(&mut self, flight: &Flight) -> Option<Effects> {
        let Message::VoteReply { term, granted: false, wall } = flight.message else { return None };
        if self.flaw != Some(Flaw::RefusalIsMisheard) {
            return None;
        }
        let message = Message::VoteReply { term, granted: true, wall };
        Some(self.step([Event::Receive { from: flight.from, message }]))
    }
}

fn explore(bounds: &Bounds, flaw: Option<Flaw>) -> Exploration {
    let search = Search::with(bounds, |member| member.flaw = flaw);
    search.run(&mut |_| ControlFlow::Continue(()))
}

fn bounds(nodes: usize, elections: (bool, bool), budget: Budget) -> Bounds {
    Bounds { budget, ..Bounds::new(nodes).with_elections(elections.0, elections.1) }
}

/// The sizes of an exploration: states, transitions, depth, states of a node.
fn sizes(bounds: &Bounds) -> (usize, u64, u32, usize) {
    let found = explore(bounds, None);
    assert_eq!(found.violation, None);
    assert!(found.complete);
    (found.states, found.transitions, found.depth, found.node_states)
}

const NONE: Budget = Budget::NONE;
const GUARDED: (bool, bool) = (true, true);
const PLAIN: (bool, bool) = (false, false);

/// Exact numbers: a way that is not visited any more shows. Whoever changes what a core does, or the order in which it does
/// it, changes them too, and looks whether the change is what was meant.
#[test]
fn small_clusters_are_explored_whole() {
    let explored = [
        (
            1,
            GUARDED,
            Budget { timeouts: 1, beats: 1, proposals: 1, reads: 1, crashes: 1, snapshots: 1, ..NONE },
        ),
        (2, GUARDED, Budget { timeouts: 1, proposals: 1, crashes: 1, ..NONE }),
        (2, (true, false), Budget { timeouts: 2, ..NONE }),
        (2, (false, true), Budget { timeouts: 2, ..NONE }),
        (2, PLAIN, Budget { timeouts: 1, proposals: 1, reads: 1, ..NONE }),
        (3, PLAIN, Budget { timeouts: 1, repeats: 1, ..NONE }),
        (3, PLAIN, Budget { timeouts: 1, crashes: 1, ..NONE }),
        (3, (true, false), Budget { timeouts: 1, ..NONE }),
    ]
    .map(|(nodes, elections, budget)| sizes(&bounds(nodes, elections, budget)));
    let expected = [
        (763, 1454, 11, 159),
        (782, 1816, 22, 74),
        (463, 875, 25, 106),
        (387, 834, 24, 99),
        (322, 732, 19, 65),
        (1823, 6297, 18, 30),
        (1211, 3603, 18, 39),
        (1419, 4923, 21, 34),
    ];
    assert_eq!(explored, expected);
}

/// A snapshot goes to a node that knows nothing of what it covers, and is installed there.
#[test]
fn what_is_rare_is_reached() {
    let bounds = bounds(3, PLAIN, Budget { timeouts: 1, snapshots: 1, ..NONE });
    let found = explore(&bounds, None);
    assert_eq!((found.states, found.violation), (4836, None));
    for what in ["leader", "commit", "snapshot saved", "snapshot sent", "snapshot installed"] {
        assert!(found.reached.contains_key(what), "{what}");
    }
}

/// Who is who does not matter: with symmetry there is one state for each class of those without.
#[test]
fn symmetry_merges_only_what_differs_in_names() {
    let symmetric = bounds(3, PLAIN, Budget { timeouts: 1, ..NONE });
    let mut cast = Cast::new(&symmetric);
    let start = World::founded(&mut cast, &symmetric, |_| {});
    let (mut plain, mut classes) = (BTreeSet::new(), BTreeSet::new());
    let (mut waiting, mut moves) = (Vec::from([start]), Vec::new());
    while let Some(world) = waiting.pop() {
        // The first permutation leaves the names as they are.
        if !plain.insert(world.fingerprints(&cast)[0]) {
            continue;
        }
        classes.insert(world.fingerprint(&cast));
        world.moves(&cast, &mut moves);
        waiting.extend(moves.iter().map(|&step| world.after(step, &mut cast).expect("nothing is broken")));
    }
    assert_eq!(explore(&symmetric, None).states, classes.len());
    assert_eq!(explore(&Bounds { symmetry: false, ..symmetric }, None).states, plain.len());
    assert!(plain.len() > 2 * classes.len(), "{} and {}", plain.len(), classes.len());
}

#[test]
fn limits_end_an_exploration_and_it_says_so() {
    let whole = bounds(2, PLAIN, Budget { timeouts: 1, proposals: 1, ..NONE });
    let ends = |bounds: &Bounds| {
        let found = explore(bounds, None);
        (found.complete, found.states, found.depth)
    };
    let (complete, states, depth) = ends(&whole);
    assert!(complete);
    assert_eq!(ends(&Bounds { depth: depth + 1, ..whole }), (true, states, depth));
    let (complete, fewer, reached) = ends(&Bounds { depth: 9, ..whole });
    assert!(!complete && fewer < states && reached == 9);
    assert_eq!(ends(&Bounds { states: 50, ..whole }).1, 50);
    let ended = super::explore(&whole, &mut |_| ControlFlow::Break(()));
    assert!(!ended.complete && ended.states == 1);
}

/// The broken invariant, and a shortest way there.
fn found_out(flaw: Flaw, budget: Budget) -> (String, Vec<String>) {
    let found = explore(&bounds(3, PLAIN, budget), Some(flaw));
    let example = found.violation.expect("the flaw is found out");
    (example.broken, example.path)
}

#[test]
fn a_disk_that_reports_early_is_found_out() {
    let (broken, path) = found_out(Flaw::DiskReportsEarly, Budget { timeouts: 1, ..NONE });
    assert_eq!(broken, "persistence: n1 asks for votes before its own is on its disk");
    let expected = [
        "n1 hears nothing for two election timeouts; candidate@1 vote=n1 log=1@0 on disk=1 commit=1",
        "n1's oldest write is on disk; candidate@1 vote=n1 log=1@0 on disk=1 commit=1; → n2 Vote@1 last=1@0; \
         → n3 Vote@1 last=1@0",
    ];
    assert_eq!(path, expected);
}

#[test]
fn a_refusal_that_is_heard_as_a_vote_is_found_out() {
    let (broken, path) = found_out(Flaw::RefusalIsMisheard, Budget { timeouts: 2, ..NONE });
    assert_eq!(broken, "election safety: n1 and n2 led term 1");
    // Two candidates, each with its vote on its disk, and each asks the other.
    assert_eq!(path.len(), 8, "{path:#?}");
}

#[test]
fn a_vote_that_a_crash_forgets_is_found_out() {
    let (broken, path) = found_out(Flaw::VoteIsForgotten, Budget { timeouts: 2, crashes: 1, ..NONE });
    assert!(broken.starts_with("election safety"), "{broken}");
    assert_eq!(path.len(), 11, "{path:#?}");
}

/// Known mistakes in the core, each with bounds that are just wide enough for it: its last step, by the name of what it
/// breaks, and how many it takes.
#[test]
fn planted_bugs_are_found() {
    let two = |budget| bounds(2, GUARDED, budget);
    let led = |budget| Bounds { start: Start::Established, ..bounds(3, PLAIN, budget) };
    let write = Budget { timeouts: 1, proposals: 1, ..NONE };
    let bugs = [
        ("vote-twice", bounds(3, PLAIN, Budget { timeouts: 2, ..NONE }), "persistence", 5),
        ("vote-is-forgotten", two(Budget { timeouts: 1, ..NONE }), "persistence", 5),
        ("vote-leaves-before-sync", two(Budget { timeouts: 1, ..NONE }), "persistence", 6),
        ("any-log-is-elected", bounds(3, PLAIN, Budget { timeouts: 2, ..NONE }), "leader completeness", 14),
        ("half-is-a-majority", two(Budget { timeouts: 1, ..NONE }), "durability", 9),
        ("own-disk-is-not-awaited", two(Budget { timeouts: 1, ..NONE }), "durability", 11),
        ("ack-before-sync", two(Budget { timeouts: 1, ..NONE }), "persistence", 9),
        ("overtaken-write-counts", led(write), "persistence", 10),
        ("conflict-is-kept", led(write), "durability", 11),
        ("snapshot-matches-by-index", led(Budget { snapshots: 1, ..write }), "state machine safety", 12),
        ("snapshot-acked-before-sync", led(Budget { timeouts: 1, snapshots: 1, ..NONE }), "persistence", 13),
        ("read-without-a-round", led(Budget { timeouts: 1, reads: 1, ..NONE }), "reads", 10),
        ("stale-round", led(Budget { timeouts: 1, reads: 1, repeats: 1, ..NONE }), "reads", 3),
        ("read-outlives-its-leader", led(Budget { timeouts: 1, reads: 1, ..NONE }), "reads", 11),
        ("older-round-confirms-read", led(Budget { timeouts: 1, reads: 1, ..NONE }), "reads", 10),
    ];
    let found = bugs.map(|(name, bounds, ..)| {
        let bug = crate::sim::planted::find(name).expect("the catalogue has it");
        let (found, _) = crate::sim::planted::with(bug, || explore(&bounds, None));
        let example = found.violation.unwrap_or_else(|| panic!("{name} is not found"));
        let broken: String = example.broken.split(':').next().unwrap_or_default().into();
        (name, broken, example.path.len())
    });
    assert_eq!(found, bugs.map(|(name, _, broken, steps)| (name, String::from(broken), steps)));
}

const PLENTY: Budget =
    Budget { timeouts: 20, beats: 20, proposals: 20, reads: 20, crashes: 3, repeats: 20, snapshots: 9 };

/// The heart of the method: a node's state is exchanged for another one of the same fingerprint, and nothing may tell.
#[test]
fn a_node_that_is_never_exchanged_goes_the_same_way() {
    let mut reached: BTreeMap<&str, u64> = BTreeMap::new();
    for elections in [GUARDED, PLAIN, (false, true), (true, false)] {
        for nodes in [2, 3] {
            let bounds = bounds(nodes, elections, PLENTY);
            let mut cast = Cast::new(&Bounds { symmetry: false, ..bounds });
            for seed in 0..10 {
                walk(&bounds, &mut cast, &mut Rng::new(seed));
            }
            for (what, times) in cast.reached {
                *reached.entry(what).or_default() += times;
            }
        }
    }
    for what in ["commit", "leader steps down", "read served", "restart", "snapshot sent", "truncation"] {
        assert!(reached.contains_key(what), "{what} in {reached:?}");
    }
}

/// Any way through the cluster, taken by its members themselves beside those that stand for them.
fn walk(bounds: &Bounds, cast: &mut Cast, rng: &mut Rng) {
    let (mut members, _) = cast.found(bounds);
    let mut world = World::founded(cast, bounds, |_| {});
    let mut moves = Vec::new();
    for _ in 0..150 {
        world.moves(cast, &mut moves);
        if rng.chance(3, 4) {
            // Mostly what is under way goes on, so that something comes of it.
            moves.retain(|step| {
                matches!(step.stimulus, Stimulus::Hear(_) | Stimulus::Synced | Stimulus::JobDone)
            });
        }
        let Some(&step) = moves.get(rng.below(moves.len() as u64) as usize) else { continue };
        let own = &mut members[usize::from(step.node)];
        let effects = cast.put(own, step.stimulus);
        assert_eq!(effects.broken, None);
        let sent: BTreeSet<_> = effects.sent.into_iter().map(|flight| cast.flight_id(flight)).collect();
        let answer = cast.answer(world.members[usize::from(step.node)], step.stimulus);
        world = world.after(step, cast).expect("nothing is broken");
        let outcome = cast.outcome_of(answer);
        assert_eq!(outcome.sent.iter().copied().collect::<BTreeSet<_>>(), sent, "{step:?}");
        let (own, other) = (own.clone(), outcome.member);
        assert_eq!(cast.member_id(own), other, "{step:?}");
    }
}

/// The next leader knows nothing of a snapshot that waits to be installed.
const SNAPSHOT_COMES: Bounds = Bounds {
    start: Start::SnapshotComes,
    budget: Budget { timeouts: 1, ..NONE },
    ..Bounds::new(3).with_elections(false, false)
};

/// A snapshot is installed below entries that its node has acknowledged to a leader that knows nothing of it: they stay.
#[test]
fn a_snapshot_comes_below_what_was_acknowledged_since() {
    let found = explore(&SNAPSHOT_COMES, None);
    assert_eq!((found.states, found.violation), (10_526, None));
    assert!(found.reached.contains_key("snapshot below the end of the log"));
}

#[test]
fn an_install_that_drops_what_follows_is_found() {
    use crate::sim::planted;
    let bug = planted::find("install-drops-the-suffix").expect("in the catalogue");
    let (found, _) = planted::with(bug, || explore(&SNAPSHOT_COMES, None));
    let example = found.violation.expect("it is found");
    assert!(example.broken.starts_with("durability"), "{}", example.broken);
}
