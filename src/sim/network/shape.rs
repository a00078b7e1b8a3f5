//! The shapes in which a network comes apart: from a list of nodes to the directions that are cut.

use std::collections::BTreeSet;

use crate::raft::NodeId;
use crate::rng::Rng;

/// Directions, from one node to another.
pub type Cuts = BTreeSet<(NodeId, NodeId)>;

/// A way in which a network comes apart. Where it matters who is where, the order of the nodes says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// The first so many nodes and the others do not hear each other.
    Split(usize),
    /// Every node hears a majority, and no two hear the same one: each hears its neighbours in a ring.
    MajorityRing,
    /// Two halves that have only the node in the middle in common.
    Bridge,
    /// This node neither hears nor is heard.
    Isolated(NodeId),
    /// This node is heard and does not hear.
    Deaf(NodeId),
    /// This node hears and is not heard.
    Mute(NodeId),
    /// One direction between the first two nodes is cut.
    OneWay,
}

impl Shape {
    /// The names of all shapes.
    pub const NAMES: [&'static str; 7] = [
        "partition: random split",
        "partition: majority ring",
        "partition: bridge",
        "partition: one isolated",
        "partition: one deaf",
        "partition: one mute",
        "partition: one way",
    ];

    /// Its name in counts.
    pub const fn name(self) -> &'static str {
        let place = match self {
            Self::Split(_) => 0,
            Self::MajorityRing => 1,
            Self::Bridge => 2,
            Self::Isolated(_) => 3,
            Self::Deaf(_) => 4,
            Self::Mute(_) => 5,
            Self::OneWay => 6,
        };
        Self::NAMES[place]
    }

    /// What this shape cuts between these nodes.
    pub fn cuts(self, nodes: &[NodeId]) -> Cuts {
        let place = |node| nodes.iter().position(|&other| other == node).unwrap_or(usize::MAX);
        let hears = |listener: NodeId, speaker: NodeId| match self {
            Self::Split(first) => (place(listener) < first) == (place(speaker) < first),
            Self::MajorityRing => {
                // As many before it as make a majority with it and half of them behind it, rounded down.
                let (n, others) = (nodes.len(), nodes.len() / 2);
                let ahead = (place(speaker) + n - place(listener)) % n;
                ahead <= others / 2 || ahead >= n - others.div_ceil(2)
            }
            Self::Bridge => {
                let middle = nodes.len() / 2;
                let side = |node| place(node).cmp(&middle);
                side(listener) == side(speaker) || place(listener) == middle || place(speaker) == middle
            }
            Self::Isolated(one) => listener != one && speaker != one,
            Self::Deaf(one) => listener != one,
            Self::Mute(one) => speaker != one,
            Self::OneWay => place(speaker) != 0 || place(listener) != 1,
        };
        let pairs = nodes.iter().flat_map(|&from| nodes.iter().map(move |&to| (from, to)));
        pairs.filter(|&(from, to)| from != to && !hears(to, from)).collect()
    }

    /// A shape drawn by `rng` for these nodes, and what it cuts. Of the shapes of one node half are aimed at the leader, if
    /// somebody leads.
    pub fn draw(rng: &mut Rng, nodes: &[NodeId], leader: Option<NodeId>) -> (Self, Cuts) {
        let mut nodes = nodes.to_vec();
        for last in (1..nodes.len()).rev() {
            nodes.swap(last, rng.below(last as u64 + 1) as usize);
        }
        let Some(&first) = nodes.first() else { return (Self::OneWay, Cuts::new()) };
        let one = leader.filter(|_| rng.chance(1, 2)).unwrap_or(first);
        let shape = match rng.below(7) {
            0 => Self::Split(1 + rng.below((nodes.len() as u64).saturating_sub(1)) as usize),
            1 => Self::MajorityRing,
            2 => Self::Bridge,
            3 => Self::Isolated(one),
            4 => Self::Deaf(one),
            5 => Self::Mute(one),
            _ => Self::OneWay,
        };
        let cuts = shape.cuts(&nodes);
        (shape, cuts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn nodes(n: u64) -> Vec<NodeId> {
        (1..=n).map(NodeId).collect()
    }

    /// Whom each node hears beside itself, by their numbers.
    fn heard(shape: Shape, n: u64) -> Vec<Vec<u64>> {
        let (nodes, cuts) = (nodes(n), shape.cuts(&nodes(n)));
        let hears = |to: NodeId| nodes.iter().filter(move |&&from| from != to).copied();
        let open =
            |to: NodeId| hears(to).filter(|&from| !cuts.contains(&(from, to))).map(|from| from.0).collect();
        nodes.iter().map(|&to| open(to)).collect()
    }

    #[test]
    fn each_shape_cuts_what_its_name_says() {
        assert_eq!(
            heard(Shape::Split(2), 5),
            [[2].to_vec(), [1].into(), [4, 5].into(), [3, 5].into(), [3, 4].into()]
        );
        assert_eq!(
            heard(Shape::Bridge, 5),
            [[2, 3].to_vec(), [1, 3].into(), [1, 2, 4, 5].into(), [3, 5].into(), [3, 4].into()]
        );
        assert_eq!(heard(Shape::Isolated(NodeId(2)), 3), [[3].to_vec(), [].into(), [1].into()]);
        assert_eq!(heard(Shape::Deaf(NodeId(2)), 3), [[2, 3].to_vec(), [].into(), [1, 2].into()]);
        assert_eq!(heard(Shape::Mute(NodeId(2)), 3), [[3].to_vec(), [1, 3].into(), [1].into()]);
        assert_eq!(heard(Shape::OneWay, 3), [[2, 3].to_vec(), [3].into(), [1, 2].into()]);
    }

    #[test]
    fn in_a_ring_every_node_hears_a_majority_and_no_two_the_same() {
        for n in 3..=9 {
            let mut majorities = BTreeSet::new();
            for (listener, mut heard) in (1..).zip(heard(Shape::MajorityRing, n)) {
                heard.push(listener);
                heard.sort_unstable();
                assert_eq!(heard.len() as u64, n / 2 + 1, "{listener} of {n} hears {heard:?}");
                majorities.insert(heard);
            }
            assert_eq!(majorities.len() as u64, n);
        }
    }

    #[test]
    fn every_shape_is_drawn_and_cuts_something() {
        let (mut rng, mut drawn) = (Rng::new(1), BTreeSet::new());
        let leader = NodeId(4);
        for _ in 0..500 {
            let (shape, cuts) = Shape::draw(&mut rng, &nodes(5), Some(leader));
            assert!(!cuts.is_empty(), "{shape:?}");
            drawn.insert(shape);
        }
        // Four splits, the ring, the bridge, one direction, and three shapes of each node.
        assert_eq!(drawn.len(), 4 + 3 + 15);
        assert!(Shape::draw(&mut rng, &[], None).1.is_empty());
        assert!(Shape::draw(&mut rng, &nodes(1), None).1.is_empty());
    }
}
