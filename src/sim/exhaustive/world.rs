//! One situation of the whole cluster, what may happen in it, and what comes of that.

use std::format;
use std::string::String;
use std::vec::Vec;

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128;

use super::bounds::{Bounds, Budget};
use super::cast::{Cast, EntryId, FlightId, MemberId, Stimulus};
use super::check;
use super::member::Member;
use crate::raft::{LogIndex, Role, Term};

/// Nodes are counted from 0 here.
pub(super) type Node = u8;

/// A step of the cluster: something happens to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) node: Node,
    pub(super) stimulus: Stimulus,
    /// The message that is heard stays on its way.
    pub(super) repeats: bool,
}

/// A situation.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) members: SmallVec<[MemberId; 3]>,
    /// What is on its way, ascending. A message that is never taken is lost: loss needs no step of its own.
    pub(super) flights: SmallVec<[FlightId; 16]>,
    /// What may still happen.
    pub(super) left: Budget,
    /// Who led which term, ever; ascending.
    pub(super) leaders: SmallVec<[(Term, Node); 4]>,
    /// What is committed, as somebody applied it first.
    pub(super) committed: SmallVec<[EntryId; 6]>,
    pub(super) reads: SmallVec<[OpenRead; 1]>,
}

/// A read that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenRead {
    node: Node,
    read: u8,
    /// What was committed when it was asked for.
    committed: LogIndex,
}

impl World {
    /// The cluster just after its foundation.
    pub(super) fn founded(cast: &mut Cast, bounds: &Bounds, change: impl Fn(&mut Member)) -> Self {
        let (mut members, founding) = cast.found(bounds);
        members.iter_mut().for_each(change);
        Self {
            members: members.into_iter().map(|member| cast.member_id(member)).collect(),
            flights: SmallVec::new(),
            left: bounds.budget,
            leaders: SmallVec::new(),
            committed: [founding].into_iter().collect(),
            reads: SmallVec::new(),
        }
    }

    /// Everything that may happen now, in a fixed order.
    pub(super) fn moves(&self, cast: &Cast, moves: &mut Vec<Move>) {
        moves.clear();
        let mut before = None;
        for &flight in &self.flights {
            if before == Some(flight) {
                continue;
            }
            before = Some(flight);
            let node = (cast.flight(flight).to.0 - 1) as Node;
            moves.push(Move { node, stimulus: Stimulus::Hear(flight), repeats: false });
            if self.left.repeats > 0 {
                moves.push(Move { node, stimulus: Stimulus::Hear(flight), repeats: true });
            }
        }
        for (node, &member) in (0..).zip(&self.members) {
            let stimuli = self.stimuli(cast, member);
            moves.extend(stimuli.into_iter().map(|stimulus| Move { node, stimulus, repeats: false }));
        }
    }

    /// What may happen to a node apart from messages.
    fn stimuli(&self, cast: &Cast, member: MemberId) -> SmallVec<[Stimulus; 16]> {
        let (view, left) = (cast.view_of(member), &self.left);
        let leads = view.role == Role::Leader;
        // Each read has a name of its own.
        let read = Stimulus::Read(left.reads);
        let offers = [
            (view.writes > 0, Stimulus::Synced),
            (view.jobs > 0, Stimulus::JobDone),
            (view.sticky, Stimulus::Lapse),
            (left.timeouts > 0, Stimulus::Silence),
            (leads && left.beats > 0, Stimulus::Beat),
            (leads && left.proposals > 0, Stimulus::Propose),
            (leads && left.reads > 0, read),
            (view.can_save && left.snapshots > 0, Stimulus::Save),
        ];
        let crashes = if left.crashes > 0 { view.pieces + 1 } else { 0 };
        let offered = offers.into_iter().filter(|(may, _)| *may).map(|(_, stimulus)| stimulus);
        offered.chain((0..crashes).map(Stimulus::Crash)).collect()
    }

    /// The situation after `step`, or what it breaks.
    pub(super) fn after(&self, step: Move, cast: &mut Cast) -> Result<Self, String> {
        let node = usize::from(step.node);
        let member = self.members[node];
        let outcome = cast.answer(member, step.stimulus);
        let (cast, outcome) = (&*cast, cast.outcome_of(outcome));
        if let Some(broken) = &outcome.broken {
            return Err(broken.clone());
        }
        let mut world = self.clone();
        world.spend(step);
        world.members[node] = outcome.member;
        for &flight in &outcome.sent {
            let at = world.flights.partition_point(|&other| other < flight);
            world.flights.insert(at, flight);
        }
        for &progressed in &outcome.applied {
            check::applied(&mut world.committed, progressed, cast)?;
        }
        for &(read, index) in &outcome.reads {
            world.end_read(step.node, read, index)?;
        }
        check::world(&mut world, self, step.node, cast)?;
        Ok(world)
    }

    fn spend(&mut self, step: Move) {
        let Budget { timeouts, beats, proposals, reads, crashes, repeats, snapshots } = &mut self.left;
        match step.stimulus {
            Stimulus::Hear(_) if step.repeats => *repeats -= 1,
            Stimulus::Hear(flight) => {
                if let Ok(at) = self.flights.binary_search(&flight) {
                    self.flights.remove(at);
                }
            }
            Stimulus::Synced | Stimulus::JobDone | Stimulus::Lapse => {}
            Stimulus::Silence => *timeouts -= 1,
            Stimulus::Beat => *beats -= 1,
            Stimulus::Propose => *proposals -= 1,
            Stimulus::Read(read) => {
                *reads -= 1;
                let committed = self.committed.len() as LogIndex;
                self.reads.push(OpenRead { node: step.node, read, committed });
            }
            Stimulus::Save => *snapshots -= 1,
            Stimulus::Crash(_) => {
                *crashes -= 1;
                self.reads.retain(|open| open.node != step.node);
            }
        }
    }

    fn end_read(&mut self, node: Node, read: u8, index: Option<LogIndex>) -> Result<(), String> {
        let Some(at) = self.reads.iter().position(|open| open.node == node && open.read == read) else {
            return Err(format!("reads: n{} answers read {read} a second time", node + 1));
        };
        let open = self.reads.remove(at);
        match index {
            Some(index) if index < open.committed => Err(format!(
                "reads: n{} serves a read at index {index}, but {} was committed before it was asked for",
                node + 1,
                open.committed
            )),
            _ => Ok(()),
        }
    }

    /// What tells this situation from others, whoever is who in it: the least of its fingerprints.
    pub(super) fn fingerprint(&self, cast: &Cast) -> u128 {
        self.fingerprints(cast).into_iter().min().unwrap_or(0)
    }

    /// The fingerprint under each permutation of the nodes: a sum over the parts, so that the order of what is on its way does
    /// not matter.
    pub(super) fn fingerprints(&self, cast: &Cast) -> SmallVec<[u128; 6]> {
        let Budget { timeouts, beats, proposals, reads, crashes, repeats, snapshots } = self.left;
        let left = xxh3_128(&[timeouts, beats, proposals, reads, crashes, repeats, snapshots]);
        let committed = self.committed.iter().map(|&entry| cast.entry_print(entry));
        let common = committed.fold(left, u128::wrapping_add);
        let mut sums = SmallVec::from_elem(common, cast.permutations());
        let members = self.members.iter().map(|&member| cast.member_prints(member));
        let flights = self.flights.iter().map(|&flight| cast.flight_prints(flight));
        for prints in members.chain(flights) {
            for (sum, print) in sums.iter_mut().zip(prints) {
                *sum = u128::wrapping_add(*sum, *print);
            }
        }
        let leaders = self.leaders.iter().map(|&(term, node)| (node, term));
        let reads =
            self.reads.iter().map(|open| (open.node, READS | u64::from(open.read) << 32 | open.committed));
        for (node, what) in leaders.chain(reads) {
            for (sum, name) in sums.iter_mut().zip(cast.name_prints(node)) {
                // Names are as good as random: a sum of different multiples of them is another number.
                *sum = sum.wrapping_add(name.wrapping_mul(u128::from(what) * 2 + 1));
            }
        }
        sums
    }
}

/// Sets reads apart from terms.
const READS: u64 = 1 << 63;
