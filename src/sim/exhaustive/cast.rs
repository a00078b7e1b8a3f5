//! Everybody who ever appears: each different state of a node, message and entry once, with a number.
//!
//! A cluster is a few numbers, and a step of it changes one of them. How a node in one state answers one stimulus is asked of
//! its core once and remembered, since a core decides alike in every cluster in which it stands: among millions of
//! steps of clusters there are only thousands of different steps of nodes.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::string::String;
use std::vec::Vec;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::bounds::Bounds;
use super::member::{Applied, BEAT, Effects, Flight, LAPSE, Member, SILENCE};
use crate::raft::{self, Configuration, DiskId, Entry, LogId, LogIndex, NodeId, Recovered, Role, Term};

pub(super) type MemberId = u32;
pub(super) type FlightId = u32;
pub(super) type EntryId = u32;
pub(super) type OutcomeId = u32;

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stimulus {
    Hear(FlightId),
    Synced,
    JobDone,
    /// Nothing is heard for two election timeouts.
    Silence,
    /// Nothing is heard for one, and no timer fires yet: the leader before is not waited for any more.
    Lapse,
    Beat,
    Propose,
    Read(u8),
    Save,
    /// A crash that so many unfinished pieces on the way to the disk survive, and a restart.
    Crash(u8),
}

/// What the others need to know of a node's state.
#[derive(Debug)]
pub(super) struct View {
    pub(super) role: Role,
    pub(super) term: Term,
    /// The index before the log in memory, and the log.
    pub(super) base: LogIndex,
    pub(super) log: Vec<EntryId>,
    /// The same of the log on disk.
    pub(super) disk_base: LogIndex,
    pub(super) disk: Vec<EntryId>,
    /// Writes under way, and the pieces that they are in.
    pub(super) writes: usize,
    pub(super) pieces: u8,
    pub(super) jobs: usize,
    /// Follows a leader, or waits for one, and elects no other.
    pub(super) sticky: bool,
    pub(super) can_save: bool,
}

/// How a node answers a stimulus.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) member: MemberId,
    pub(super) sent: Vec<FlightId>,
    pub(super) applied: Vec<Progressed>,
    pub(super) reads: Vec<(u8, Option<LogIndex>)>,
    pub(super) broken: Option<String>,
}

/// How a state machine went on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Progressed {
    Entry(EntryId),
    /// To a snapshot of what led to this position.
    Snapshot(LogId),
}

#[derive(Debug)]
struct Part {
    member: Member,
    view: View,
    answers: BTreeMap<Stimulus, OutcomeId>,
}

#[derive(Debug)]
pub(super) struct Cast {
    /// Ways to rename the nodes, each a name for each node; the first leaves them as they are.
    permutations: Vec<Vec<u64>>,
    parts: Vec<Part>,
    flights: Vec<Flight>,
    entries: Vec<(Entry, u128)>,
    outcomes: Vec<Outcome>,
    /// Fingerprints under each permutation, in rows.
    name_prints: Vec<u128>,
    member_prints: Vec<u128>,
    flight_prints: Vec<u128>,
    member_ids: BTreeMap<u128, MemberId>,
    flight_ids: BTreeMap<u128, FlightId>,
    entry_ids: BTreeMap<u128, EntryId>,
    pub(super) reached: BTreeMap<&'static str, u64>,
}

impl Cast {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let nodes = bounds.nodes as u64;
        let permutations = if bounds.symmetry { permutations(nodes) } else { [(1..=nodes).collect()].into() };
        let names = (0..bounds.nodes).flat_map(|node| permutations.iter().map(move |names| names[node]));
        let name_prints = names.map(|name| xxh3_128(&name.to_le_bytes())).collect();
        Self {
            permutations,
            name_prints,
            parts: Vec::new(),
            flights: Vec::new(),
            entries: Vec::new(),
            outcomes: Vec::new(),
            member_prints: Vec::new(),
            flight_prints: Vec::new(),
            member_ids: BTreeMap::new(),
            flight_ids: BTreeMap::new(),
            entry_ids: BTreeMap::new(),
            reached: BTreeMap::new(),
        }
    }

    /// The members of a cluster that has just been founded, and its first entry.
    pub(super) fn found(&mut self, bounds: &Bounds) -> (Vec<Member>, EntryId) {
        let address = |id: u64| raft::Member {
            disk: DiskId(id.into()),
            peer_address: String::new(),
            client_address: String::new(),
        };
        let ids = 1..=bounds.nodes as u64;
        let configuration = Configuration::of_voters(ids.map(|id| (NodeId(id), address(id))).collect());
        let recovered = |member: &raft::Member| Recovered::formed(member.disk, &configuration);
        let founding =
            |(&id, member)| Member::founded(id, recovered(member), bounds.pre_vote, bounds.check_quorum);
        let entry = self.entry_id(&Recovered::formed(DiskId(1), &configuration).entries[0]);
        (configuration.members.iter().map(founding).collect(), entry)
    }

    /// How `member` answers `stimulus`.
    pub(super) fn answer(&mut self, member: MemberId, stimulus: Stimulus) -> OutcomeId {
        let part = &self.parts[member as usize];
        if let Some(&outcome) = part.answers.get(&stimulus) {
            return outcome;
        }
        let mut next = part.member.clone();
        let effects = self.put(&mut next, stimulus);
        let outcome = self.outcome(next, effects);
        let id = self.outcomes.len() as OutcomeId;
        self.outcomes.push(outcome);
        self.parts[member as usize].answers.insert(stimulus, id);
        id
    }

    /// Steps `member` itself.
    pub(super) fn put(&self, member: &mut Member, stimulus: Stimulus) -> Effects {
        match stimulus {
            Stimulus::Hear(flight) => member.hear(&self.flights[flight as usize]),
            Stimulus::Synced => member.synced(),
            Stimulus::JobDone => member.job_done(),
            Stimulus::Silence => member.wake_after(SILENCE),
            Stimulus::Lapse => member.wait(LAPSE),
            Stimulus::Beat => member.wake_after(BEAT),
            Stimulus::Propose => member.propose(),
            Stimulus::Read(read) => member.read(read.into()),
            Stimulus::Save => member.save(),
            Stimulus::Crash(surviving) => member.restart(surviving.into()),
        }
    }

    fn outcome(&mut self, next: Member, effects: Effects) -> Outcome {
        let Effects { sent, applied, reads, reached, broken } = effects;
        for what in reached {
            *self.reached.entry(what).or_default() += 1;
        }
        Outcome {
            member: self.member_id(next),
            sent: sent.into_iter().map(|flight| self.flight_id(flight)).collect(),
            applied: applied
                .into_iter()
                .map(|applied| match applied {
                    Applied::Entry(entry) => Progressed::Entry(self.entry_id(&entry)),
                    Applied::Switch(snapshot) => Progressed::Snapshot(snapshot.last),
                })
                .collect(),
            reads: reads.into_iter().map(|(read, index)| (read as u8, index)).collect(),
            broken,
        }
    }

    /// The number of `member`'s state. Of two that go on alike the first one stands for both.
    pub(super) fn member_id(&mut self, member: Member) -> MemberId {
        let print = |permutation: &Vec<u64>| {
            let mut hasher = Xxh3::new();
            member.fingerprint(&renaming(permutation), &mut hasher);
            hasher.digest128()
        };
        let plain = print(&self.permutations[0]);
        if let Some(&id) = self.member_ids.get(&plain) {
            return id;
        }
        let id = self.parts.len() as MemberId;
        self.member_prints.extend(self.permutations.iter().map(print));
        self.member_ids.insert(plain, id);
        let view = self.view(&member);
        self.parts.push(Part { member, view, answers: BTreeMap::new() });
        id
    }

    pub(super) fn flight_id(&mut self, flight: Flight) -> FlightId {
        let print = |permutation: &Vec<u64>| {
            let name = renaming(permutation);
            let mut hasher = Xxh3::new();
            // What a message says names no node, but for configurations, which follow from the entries that they cover.
            (name(flight.from), name(flight.to), &flight.message).hash(&mut hasher);
            hasher.digest128()
        };
        let plain = print(&self.permutations[0]);
        if let Some(&id) = self.flight_ids.get(&plain) {
            return id;
        }
        let id = self.flights.len() as FlightId;
        self.flight_prints.extend(self.permutations.iter().map(print));
        self.flight_ids.insert(plain, id);
        self.flights.push(flight);
        id
    }

    fn entry_id(&mut self, entry: &Entry) -> EntryId {
        let mut hasher = Xxh3::new();
        entry.hash(&mut hasher);
        let print = hasher.digest128();
        if let Some(&id) = self.entry_ids.get(&print) {
            return id;
        }
        let id = self.entries.len() as EntryId;
        self.entry_ids.insert(print, id);
        self.entries.push((entry.clone(), print));
        id
    }

    fn view(&mut self, member: &Member) -> View {
        let status = member.raft.status();
        let (first, last) = (status.first_index, status.last.index);
        View {
            role: status.role,
            term: status.term,
            base: first - 1,
            log: member.raft.entries(first, last).map(|entry| self.entry_id(entry)).collect(),
            disk_base: member.disk.base().index,
            disk: member.disk.entries.iter().map(|entry| self.entry_id(entry)).collect(),
            writes: member.disk.writes(),
            pieces: member.disk.pieces() as u8,
            jobs: member.jobs.len(),
            sticky: status.role != Role::Leader && member.raft.is_sticky(),
            can_save: member.can_save(),
        }
    }

    pub(super) fn view_of(&self, member: MemberId) -> &View {
        &self.parts[member as usize].view
    }

    pub(super) fn member(&self, member: MemberId) -> &Member {
        &self.parts[member as usize].member
    }

    pub(super) fn flight(&self, flight: FlightId) -> &Flight {
        &self.flights[flight as usize]
    }

    pub(super) fn entry(&self, entry: EntryId) -> &Entry {
        &self.entries[entry as usize].0
    }

    pub(super) fn entry_print(&self, entry: EntryId) -> u128 {
        self.entries[entry as usize].1
    }

    pub(super) fn outcome_of(&self, outcome: OutcomeId) -> &Outcome {
        &self.outcomes[outcome as usize]
    }

    /// How many ways there are to rename the nodes.
    pub(super) fn permutations(&self) -> usize {
        self.permutations.len()
    }

    /// The fingerprints of a node's name, under each permutation.
    pub(super) fn name_prints(&self, node: u8) -> &[u128] {
        row(&self.name_prints, node.into(), self.permutations.len())
    }

    /// The fingerprints of a node's state, under each permutation.
    pub(super) fn member_prints(&self, member: MemberId) -> &[u128] {
        row(&self.member_prints, member, self.permutations.len())
    }

    /// The fingerprints of a message, under each permutation.
    pub(super) fn flight_prints(&self, flight: FlightId) -> &[u128] {
        row(&self.flight_prints, flight, self.permutations.len())
    }

    pub(super) fn node_states(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn node_steps(&self) -> usize {
        self.outcomes.len()
    }
}

fn row(prints: &[u128], at: u32, len: usize) -> &[u128] {
    &prints[at as usize * len..][..len]
}

fn renaming(permutation: &[u64]) -> impl Fn(NodeId) -> NodeId + '_ {
    |id| NodeId(id.0.checked_sub(1).and_then(|at| permutation.get(at as usize)).copied().unwrap_or(0))
}

/// All orders of the numbers from 1 to `n`, the ascending one first.
fn permutations(n: u64) -> Vec<Vec<u64>> {
    let mut all: Vec<Vec<u64>> = [Vec::new()].into();
    for next in 1..=n {
        let longer = |shorter: &Vec<u64>| {
            let shorter = shorter.clone();
            (0..=shorter.len()).rev().map(move |at| {
                let mut longer = shorter.clone();
                longer.insert(at, next);
                longer
            })
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::bounds::Budget;
    use super::super::world::World;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn permutations_are_all_and_begin_with_none() {
        let all = permutations(4);
        assert_eq!(all[0], [1, 2, 3, 4]);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 24);
    }

    /// Everybody who appears within `bounds`, with all their answers.
    fn explored(bounds: &Bounds) -> Cast {
        let mut cast = Cast::new(bounds);
        let start = World::founded(&mut cast, bounds, |_| {});
        let (mut seen, mut waiting, mut moves) = (BTreeSet::new(), Vec::from([start]), Vec::new());
        while let Some(world) = waiting.pop() {
            if seen.insert(world.fingerprint(&cast)) {
                world.moves(&cast, &mut moves);
                waiting.extend(moves.iter().map(|&step| world.after(step, &mut cast).expect("no violation")));
            }
        }
        cast
    }

    /// Wherever one state of a node was taken for another, each answers alike whatever the other was ever asked.
    fn exchanges(bounds: &Bounds) -> usize {
        let mut cast = explored(bounds);
        let mut compared = 0;
        for from in 0..cast.parts.len() {
            let answers: Vec<_> = cast.parts[from].answers.clone().into_iter().collect();
            for (stimulus, outcome) in answers {
                let mut own = cast.parts[from].member.clone();
                cast.put(&mut own, stimulus);
                let other = cast.outcomes[outcome as usize].member;
                let asked: Vec<_> = cast.parts[other as usize].answers.clone().into_iter().collect();
                for (stimulus, outcome) in asked {
                    let mut own = own.clone();
                    let effects = cast.put(&mut own, stimulus);
                    let (steps, known) = (cast.outcome(own, effects), &cast.outcomes[outcome as usize]);
                    assert_eq!(steps.member, known.member, "{stimulus:?}");
                    assert_eq!((&steps.sent, &steps.reads), (&known.sent, &known.reads), "{stimulus:?}");
                    compared += 1;
                }
            }
        }
        compared
    }

    #[test]
    fn nobody_can_tell_a_node_from_the_one_that_stands_for_it() {
        let once = Budget { timeouts: 1, ..Budget::NONE };
        let bounds =
            |nodes, guarded, budget| Bounds { budget, ..Bounds::new(nodes).with_elections(guarded, guarded) };
        let compared = [
            bounds(2, false, Budget { timeouts: 2, crashes: 1, ..Budget::NONE }),
            bounds(2, true, Budget { timeouts: 2, ..Budget::NONE }),
            bounds(2, false, Budget { beats: 1, reads: 1, ..once }),
            bounds(3, false, Budget { snapshots: 1, ..once }),
        ]
        .map(|bounds| exchanges(&bounds));
        assert!(compared.iter().all(|&compared| compared > 300), "{compared:?}");
    }
}
