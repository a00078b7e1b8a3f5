//! What a majority says, in one configuration or in both halves of a joint one (§5.2, §5.3, §6; dissertation §4.3).
//!
//! Every quorum of the core is counted here: elections, commitment, read rounds, contact, clocks, and whether a change could commit.

use alloc::vec::Vec;

use smallvec::SmallVec;

use super::{Configuration, NodeId};

/// So many voters are counted in the simplest way, and without an allocation.
const IN_PLACE: usize = 8;

/// How an election stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The votes given suffice, in each half.
    Won,
    /// In some half too many refused.
    Lost,
    /// Votes that are not yet in will decide.
    Open,
}

/// The largest number that a majority of the voters, in each half, has reached; 0 without voters.
pub(super) fn agreed(configuration: &Configuration, mut value: impl FnMut(NodeId) -> u64) -> u64 {
    let incoming = agreed_half(&configuration.voters, &mut value);
    if configuration.outgoing.is_empty() {
        return incoming;
    }
    incoming.min(agreed_half(&configuration.outgoing, &mut value))
}

/// Whether an election is decided; `vote` says who voted, and how. Nothing is ever won without voters.
pub(super) fn verdict(
    configuration: &Configuration,
    mut vote: impl FnMut(NodeId) -> Option<bool>,
) -> Verdict {
    let incoming = verdict_half(&configuration.voters, &mut vote);
    if configuration.outgoing.is_empty() {
        return incoming;
    }
    match (incoming, verdict_half(&configuration.outgoing, &mut vote)) {
        (Verdict::Won, Verdict::Won) => Verdict::Won,
        (Verdict::Lost, _) | (_, Verdict::Lost) => Verdict::Lost,
        (Verdict::Open, _) | (_, Verdict::Open) => Verdict::Open,
    }
}

/// A few nodes.
pub(super) type Few = SmallVec<[NodeId; 4]>;

/// As few voters as are a majority together with `me`: those at the smallest `distance`, and of equal ones the lowest in
/// number. `None` if too few are at any, and during a change of the membership, which needs two majorities.
pub(super) fn nearest(
    configuration: &Configuration,
    me: NodeId,
    mut distance: impl FnMut(NodeId) -> Option<u32>,
) -> Option<Few> {
    if configuration.is_joint() {
        return None;
    }
    let voters = &configuration.voters;
    let others = voters.iter().filter(|&&id| id != me);
    let mut reached: SmallVec<[(u32, NodeId); 8]> =
        others.filter_map(|&id| distance(id).map(|distance| (distance, id))).collect();
    let needed = majority(voters) - usize::from(voters.contains(&me));
    reached.sort_unstable();
    let nearest = reached.get(..needed)?;
    Some(nearest.iter().map(|&(_, id)| id).collect())
}

/// How many of these voters are a majority.
pub(super) fn majority(voters: &[NodeId]) -> usize {
    voters.len() / 2 + 1
}

fn agreed_half(voters: &[NodeId], value: &mut impl FnMut(NodeId) -> u64) -> u64 {
    let (mut few, mut many) = ([0; IN_PLACE], Vec::new());
    let values = if let Some(few) = few.get_mut(..voters.len()) {
        // In order as they come: a majority is counted for every entry, and it would take longer to begin a general sort.
        for (end, &id) in voters.iter().enumerate() {
            let mut next = value(id);
            for place in few.iter_mut().take(end) {
                (*place, next) = ((*place).min(next), (*place).max(next));
            }
            few[end] = next;
        }
        few
    } else {
        many.extend(voters.iter().map(|&id| value(id)));
        many.sort_unstable();
        &mut many
    };
    // A majority of n is n/2 + 1 voters: those at this place and above.
    let minority = values.len().saturating_sub(if planted!("half-is-a-majority") { 0 } else { 1 }) / 2;
    values.get(minority).copied().unwrap_or(0)
}

fn verdict_half(voters: &[NodeId], vote: &mut impl FnMut(NodeId) -> Option<bool>) -> Verdict {
    let majority = majority(voters);
    let (mut granted, mut refused) = (0, 0);
    for &id in voters {
        match vote(id) {
            Some(true) => granted += 1,
            Some(false) => refused += 1,
            None => {}
        }
    }
    if granted >= majority {
        Verdict::Won
    } else if voters.len() - refused < majority {
        Verdict::Lost
    } else {
        Verdict::Open
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn subsets(n: u64) -> impl Iterator<Item = Vec<NodeId>> {
        (0..1u32 << n).map(move |bits| (1..=n).filter(|i| bits >> (i - 1) & 1 == 1).map(NodeId).collect())
    }

    fn configurations(n: u64) -> impl Iterator<Item = Configuration> {
        subsets(n).flat_map(move |voters| {
            subsets(n).map(move |outgoing| Configuration {
                voters: voters.clone(),
                outgoing,
                ..Configuration::default()
            })
        })
    }

    /// The definition: more than half of each half that is there; an empty first half decides nothing.
    fn is_quorum(configuration: &Configuration, yes: impl Fn(NodeId) -> bool) -> bool {
        let more_than_half = |half: &[NodeId]| half.iter().filter(|&&id| yes(id)).count() * 2 > half.len();
        more_than_half(&configuration.voters)
            && (configuration.outgoing.is_empty() || more_than_half(&configuration.outgoing))
    }

    #[test]
    fn the_nearest_are_a_majority_with_me_and_would_not_be_with_one_less() {
        for voters in subsets(5) {
            let configuration = Configuration { voters, ..Configuration::default() };
            for distances in assignments(5, 3) {
                // 0 is out of reach.
                let distance = |id: NodeId| distances[id.0 as usize - 1];
                let me = NodeId(1);
                let reach = |id: NodeId| Some(distance(id) as u32).filter(|&distance| distance > 0);
                let few = nearest(&configuration, me, reach);
                let reached = |id: NodeId| id == me || distance(id) > 0;
                assert_eq!(
                    few.is_some(),
                    is_quorum(&configuration, reached),
                    "{configuration:?} {distances:?}"
                );
                let Some(few) = few else { continue };
                let asked = |id: NodeId| id == me || few.contains(&id);
                assert!(is_quorum(&configuration, asked));
                assert!(few.iter().all(|&one| !is_quorum(&configuration, |id| id != one && asked(id))));
                let farthest = few.iter().map(|&id| (distance(id), id)).max();
                let others = configuration.voters.iter().filter(|&&id| !asked(id) && reached(id));
                assert!(
                    others.map(|&id| (distance(id), id)).min().is_none_or(|other| Some(other) > farthest)
                );
            }
        }
    }

    /// All ways to give each of `n` nodes one of `kinds` values.
    fn assignments(n: u64, kinds: u64) -> impl Iterator<Item = Vec<u64>> {
        (0..kinds.pow(n as u32)).map(move |mut code| {
            (0..n)
                .map(|_| {
                    let digit = code % kinds;
                    code /= kinds;
                    digit
                })
                .collect()
        })
    }

    fn of(values: &[u64], id: NodeId) -> u64 {
        values[id.0 as usize - 1]
    }

    #[test]
    fn agreed_is_the_largest_value_that_a_quorum_has_reached() {
        for n in 0..=4 {
            for configuration in configurations(n) {
                for values in assignments(n, 4) {
                    let brute = (0..4)
                        .rev()
                        .find(|&v| is_quorum(&configuration, |id| of(&values, id) >= v))
                        .unwrap_or(0);
                    assert_eq!(
                        agreed(&configuration, |id| of(&values, id)),
                        brute,
                        "{configuration:?} {values:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_verdict_is_won_exactly_by_a_quorum_and_lost_when_none_is_left() {
        for n in 0..=4 {
            for configuration in configurations(n) {
                for votes in assignments(n, 3) {
                    let vote = |id| [None, Some(false), Some(true)][of(&votes, id) as usize];
                    let won = is_quorum(&configuration, |id| vote(id) == Some(true));
                    let can_win = is_quorum(&configuration, |id| vote(id) != Some(false));
                    let expected = match (won, can_win) {
                        (true, _) => Verdict::Won,
                        (false, true) => Verdict::Open,
                        (false, false) => Verdict::Lost,
                    };
                    assert_eq!(verdict(&configuration, vote), expected, "{configuration:?} {votes:?}");
                }
            }
        }
    }
}
