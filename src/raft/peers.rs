//! A leader's peers.

use alloc::vec::Vec;

use super::NodeId;
use super::progress::Progress;

/// What a leader knows of each of its peers, ascending by id. They are few, come and go with the membership only, and are
/// looked up with every message and every count of a majority: in a row they are found sooner than in a tree.
#[derive(Debug, Clone)]
pub(super) struct Peers(Vec<(NodeId, Progress)>);

impl Peers {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, id: NodeId) -> bool {
        self.get(id).is_some()
    }

    #[inline]
    pub(super) fn get(&self, id: NodeId) -> Option<&Progress> {
        self.0.iter().find(|(other, _)| *other == id).map(|(_, peer)| peer)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: NodeId) -> Option<&mut Progress> {
        self.0.iter_mut().find(|(other, _)| *other == id).map(|(_, peer)| peer)
    }

    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Progress)> {
        self.0.iter().map(|(id, peer)| (*id, peer))
    }

    #[inline]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (NodeId, &mut Progress)> {
        self.0.iter_mut().map(|(id, peer)| (*id, peer))
    }

    /// Adds `peer`, unless there is one of that id.
    pub(super) fn add(&mut self, id: NodeId, peer: Progress) {
        let place = self.0.partition_point(|(other, _)| *other < id);
        if self.0.get(place).is_none_or(|(other, _)| *other != id) {
            self.0.insert(place, (id, peer));
        }
    }

    /// Lets go of those who do not stay.
    pub(super) fn retain(&mut self, stays: impl Fn(NodeId) -> bool) {
        self.0.retain(|(id, _)| stays(*id));
    }
}

impl FromIterator<(NodeId, Progress)> for Peers {
    fn from_iter<I: IntoIterator<Item = (NodeId, Progress)>>(peers: I) -> Self {
        let mut all = Self(Vec::new());
        peers.into_iter().for_each(|(id, peer)| all.add(id, peer));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(ids: &[u64]) -> Peers {
        ids.iter().map(|&id| (NodeId(id), Progress::new(id, 0))).collect()
    }

    #[test]
    fn whoever_was_added_is_found_in_order() {
        let mut peers = peers(&[7, 2, 9, 2]);
        assert!(peers.iter().map(|(id, peer)| (id.0, peer.next)).eq([(2, 2), (7, 7), (9, 9)]));
        peers.add(NodeId(7), Progress::new(1, 0));
        assert_eq!(peers.get(NodeId(7)).map(|peer| peer.next), Some(7), "who is there already stays");
        assert!(peers.get(NodeId(3)).is_none() && peers.get_mut(NodeId(9)).is_some());
    }

    #[test]
    fn who_does_not_stay_is_gone() {
        let mut peers = peers(&[2, 7, 9]);
        peers.retain(|id| id != NodeId(7));
        assert!(!peers.contains(NodeId(7)) && peers.contains(NodeId(2)) && !peers.is_empty());
    }
}
