//! The comparison of state machines (STORAGE row 21): nodes that have applied the same entries have the same digest.
//!
//! A node samples its digest after each step that applied something. Followers apply up to the commit indexes that the
//! leader tells, so that they pass through the same indexes as the leader does. Now and then the leader announces a
//! sample; whoever has one of the same index announces it too; and who differs from a majority there stops.

use alloc::collections::{BTreeMap, VecDeque};

use crate::raft::{Configuration, LogIndex, NodeId};

/// Own samples kept: enough for an announcement to find its index.
const SAMPLES: usize = 256;

/// Indexes of which announcements are kept.
const CLAIMS: usize = 8;

/// The leader announces when it has applied so many entries since it last did ...
pub(super) const EVERY: LogIndex = 4096;

/// Own samples, and what was announced.
#[derive(Debug, Default)]
pub(super) struct Digests {
    samples: VecDeque<(LogIndex, u128)>,
    claims: BTreeMap<LogIndex, BTreeMap<NodeId, u128>>,
    announced: LogIndex,
}

impl Digests {
    /// The digest at `index`, which was just reached. What is returned is to be announced: others have claimed this index.
    pub(super) fn sample(&mut self, index: LogIndex, digest: u128) -> Option<(LogIndex, u128)> {
        match self.samples.back() {
            Some((last, _)) if *last == index => return None,
            // A snapshot can only take a state forwards, a restart begins anew.
            Some((last, _)) if *last > index => self.samples.clear(),
            _ => {}
        }
        self.samples.push_back((index, digest));
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        (!self.claims.is_empty() && self.claims.contains_key(&index)).then_some((index, digest))
    }

    /// The index of the last sample.
    pub(super) fn last_index(&self) -> LogIndex {
        self.samples.back().map_or(0, |(index, _)| *index)
    }

    /// A leader's next announcement, if it is time: [`EVERY`] entries after the last one, or at rest (`quiet`).
    pub(super) fn due(&mut self, quiet: bool) -> Option<(LogIndex, u128)> {
        let (index, digest) = *self.samples.back()?;
        let passed = index.saturating_sub(self.announced);
        let due = passed >= EVERY || (quiet && passed > 0);
        due.then(|| {
            self.announced = index;
            (index, digest)
        })
    }

    /// `node`, perhaps this one, has `digest` at `index`. What is returned is this node's own digest there, to be announced
    /// when it was not yet. An index before those that are kept is nobody's concern any more.
    pub(super) fn claim(&mut self, node: NodeId, index: LogIndex, digest: u128) -> Option<(LogIndex, u128)> {
        let first = !self.claims.contains_key(&index);
        let oldest = self.claims.first_key_value().map(|(&oldest, _)| oldest);
        if first && self.claims.len() >= CLAIMS && oldest.is_some_and(|oldest| index < oldest) {
            return None;
        }
        self.claims.entry(index).or_default().insert(node, digest);
        if self.claims.len() > CLAIMS {
            self.claims.pop_first();
        }
        let own = self.samples.iter().rev().find(|(at, _)| *at == index)?;
        first.then_some(*own)
    }

    /// Whether a majority of the voters agree on another digest at `index` than `own` announced there.
    pub(super) fn diverged(&self, own: NodeId, index: LogIndex, configuration: &Configuration) -> bool {
        let Some(claims) = self.claims.get(&index) else { return false };
        let Some(ours) = claims.get(&own) else { return false };
        let voters = &configuration.voters;
        let others = voters.iter().filter_map(|id| claims.get(id)).filter(|digest| *digest != ours);
        others.clone().any(|digest| {
            let agree = voters.iter().filter(|id| claims.get(id) == Some(digest)).count();
            2 * agree > voters.len()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Configuration {
        let voters = alloc::vec![NodeId(1), NodeId(2), NodeId(3)];
        Configuration { voters, ..Configuration::default() }
    }

    #[test]
    fn row_21_who_differs_from_a_majority_at_the_same_index_has_diverged() {
        let mut digests = Digests::default();
        digests.sample(10, 7);
        assert_eq!(digests.claim(NodeId(1), 10, 8), Some((10, 7)));
        digests.claim(NodeId(3), 10, 7);
        assert!(!digests.diverged(NodeId(3), 10, &three()), "one against one");
        digests.claim(NodeId(2), 10, 8);
        assert!(digests.diverged(NodeId(3), 10, &three()));
        assert!(!digests.diverged(NodeId(1), 10, &three()));
    }

    #[test]
    fn a_claim_waits_until_its_index_is_reached() {
        let mut digests = Digests::default();
        digests.sample(9, 1);
        assert_eq!(digests.claim(NodeId(1), 10, 5), None);
        assert_eq!(digests.sample(10, 5), Some((10, 5)));
        assert_eq!(digests.sample(10, 5), None);
    }

    #[test]
    fn the_leader_announces_now_and_then_and_at_rest() {
        let mut digests = Digests::default();
        digests.sample(5, 1);
        assert_eq!(digests.due(false), None);
        assert_eq!(digests.due(true), Some((5, 1)));
        assert_eq!(digests.due(true), None);
        digests.sample(5 + EVERY, 2);
        assert_eq!(digests.due(false), Some((5 + EVERY, 2)));
    }

    /// Counterexample: such a claim was forgotten as soon as it was taken in, so that each seemed to be the first of its index
    /// and was answered to everybody, who answered alike. Three nodes that had just been restarted said nothing else.
    #[test]
    fn a_claim_of_an_index_before_those_kept_is_not_answered() {
        let mut digests = Digests::default();
        for index in 1..=1 + CLAIMS as LogIndex {
            digests.sample(index, 7);
        }
        for index in 2..=1 + CLAIMS as LogIndex {
            assert_eq!(digests.claim(NodeId(1), index, 7), Some((index, 7)));
        }
        assert_eq!(digests.claim(NodeId(1), 1, 7), None);
        assert_eq!(digests.claim(NodeId(2), 2, 7), None, "it was announced");
        digests.sample(99, 7);
        assert_eq!(
            digests.claim(NodeId(1), 99, 7),
            Some((99, 7)),
            "a later one takes the place of the oldest"
        );
        assert_eq!(digests.claim(NodeId(2), 2, 7), None, "which is not answered again");
    }

    #[test]
    fn memory_is_bounded() {
        let mut digests = Digests::default();
        for index in 1..2_000 {
            digests.sample(index, 0);
            digests.claim(NodeId(2), index, 0);
        }
        assert_eq!((digests.samples.len(), digests.claims.len()), (SAMPLES, CLAIMS));
    }
}
