//! The founding of a cluster: every founder's disk is named before anyone votes, and each knows that all have it in
//! writing before it campaigns. A pure noun: what was learned, and what follows from it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use xxhash_rust::xxh3::xxh3_128;

use super::Addresses;
use crate::raft::{Configuration, DiskId, MAX_MEMBERS, Member, NodeId};
use crate::storage::ClusterId;

/// Most nodes of which one that joins a cluster remembers where they belong.
const ACQUAINTANCES: usize = MAX_MEMBERS;

/// What is known of the founders.
#[derive(Debug)]
pub(super) struct Founding {
    /// This node is none of them: it waits to be added by whoever has become a member of their cluster.
    joins: bool,
    founders: BTreeMap<NodeId, Addresses>,
    hash: u128,
    disks: BTreeMap<NodeId, DiskId>,
    formed: BTreeMap<NodeId, ClusterId>,
}

impl Founding {
    pub(super) fn new(own: NodeId, founders: &BTreeMap<NodeId, Addresses>) -> Self {
        let joins = !founders.contains_key(&own);
        let mut image = Vec::new();
        for (id, addresses) in founders {
            member(&mut image, *id, addresses);
        }
        let (disks, formed) = (BTreeMap::new(), BTreeMap::new());
        Self { joins, founders: founders.clone(), hash: xxh3_128(&image), disks, formed }
    }

    /// A hash of ids and addresses: founders that were started with different lists must not found one cluster.
    pub(super) fn hash(&self) -> u128 {
        self.hash
    }

    /// Whether this node is no founder.
    pub(super) fn joins(&self) -> bool {
        self.joins
    }

    /// Takes note of a founder's disk, and of the cluster that it belongs to. Who joins takes note of everybody's.
    pub(super) fn learn(&mut self, node: NodeId, disk: DiskId, cluster: Option<ClusterId>) {
        let is_known = self.founders.contains_key(&node) || self.disks.contains_key(&node);
        let has_room = self.joins && self.disks.len() < ACQUAINTANCES;
        if !is_known && !has_room {
            return;
        }
        self.disks.insert(node, disk);
        match cluster {
            Some(cluster) => self.formed.insert(node, cluster),
            None => self.formed.remove(&node),
        };
    }

    /// A founder says that its disk is formed.
    pub(super) fn formed(&mut self, node: NodeId, cluster: ClusterId) {
        if self.disks.contains_key(&node) {
            self.formed.insert(node, cluster);
        }
    }

    /// The cluster that a founder's disk is known to belong to.
    pub(super) fn cluster_of(&self, node: NodeId) -> Option<ClusterId> {
        self.formed.get(&node).copied()
    }

    /// The cluster and its first configuration, once every founder's disk is known; `None` also while a founder already
    /// belongs to another cluster than these disks make.
    pub(super) fn charter(&self) -> Option<(ClusterId, Configuration)> {
        let mut image = Vec::from(*b"quorate");
        let mut members = BTreeMap::new();
        for (id, addresses) in &self.founders {
            let disk = *self.disks.get(id)?;
            member(&mut image, *id, addresses);
            image.extend_from_slice(&disk.0.to_le_bytes());
            let Addresses { peer: peer_address, client: client_address } = addresses.clone();
            members.insert(*id, Member { disk, peer_address, client_address });
        }
        let cluster = xxh3_128(&image);
        let alike = |formed: &ClusterId| *formed == cluster || planted!("founding-ignores-another-cluster");
        let agreed = self.formed.values().all(alike);
        (agreed && !members.is_empty()).then(|| (cluster, Configuration::of_voters(members)))
    }

    /// Whether every founder has said that its disk is formed into `cluster`.
    pub(super) fn complete(&self, cluster: ClusterId) -> bool {
        let is_formed = |id: &NodeId| {
            self.formed.get(id) == Some(&cluster) || planted!("unformed-founder-counts-as-formed")
        };
        !self.founders.is_empty() && self.founders.keys().all(is_formed)
    }

    /// Founders that have not been heard of, for the log that people read.
    pub(super) fn missing(&self) -> Vec<NodeId> {
        self.founders.keys().filter(|id| !self.disks.contains_key(id)).copied().collect()
    }
}

/// One founder as bytes; lengths keep neighbours apart.
fn member(image: &mut Vec<u8>, id: NodeId, addresses: &Addresses) {
    image.extend_from_slice(&id.0.to_le_bytes());
    for address in [&addresses.peer, &addresses.client] {
        image.extend_from_slice(&(address.len() as u64).to_le_bytes());
        image.extend_from_slice(address.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn founders(n: u64) -> BTreeMap<NodeId, Addresses> {
        (1..=n)
            .map(|i| {
                let (peer, client) = (format!("h:{}", 7200 + i), format!("h:{}", 7100 + i));
                (NodeId(i), Addresses { peer, client })
            })
            .collect()
    }

    #[test]
    fn every_founder_draws_the_same_charter_in_whatever_order_it_learns() {
        let (mut a, mut b) = (Founding::new(NodeId(1), &founders(3)), Founding::new(NodeId(1), &founders(3)));
        for i in [1, 2, 3] {
            assert_eq!(a.charter(), None);
            a.learn(NodeId(i), DiskId(u128::from(i) * 7), None);
            b.learn(NodeId(4 - i), DiskId(u128::from(4 - i) * 7), None);
        }
        assert!(a.charter().is_some());
        assert_eq!(a.charter(), b.charter());
        assert_eq!(a.hash(), b.hash());
    }

    #[test]
    fn another_disk_or_address_is_another_cluster() {
        let charter = |n: &BTreeMap<NodeId, Addresses>, last: u128| {
            let mut f = Founding::new(NodeId(1), n);
            (1..=3).for_each(|i| f.learn(NodeId(i), DiskId(if i == 3 { last } else { 1 }), None));
            f.charter().map(|(cluster, _)| cluster)
        };
        let mut moved = founders(3);
        moved.get_mut(&NodeId(2)).expect("it is there").peer = "h:9".into();
        assert_ne!(charter(&founders(3), 5), charter(&founders(3), 6));
        assert_ne!(charter(&founders(3), 5), charter(&moved, 5));
        assert_ne!(Founding::new(NodeId(1), &founders(3)).hash(), Founding::new(NodeId(1), &moved).hash());
    }

    /// RAFT.md, trap 25: a founder that was formed with other disks stops a second founding.
    #[test]
    fn trap_25_a_disk_that_forgot_founds_nothing() {
        let mut f = Founding::new(NodeId(1), &founders(3));
        f.learn(NodeId(1), DiskId(1), Some(99));
        f.learn(NodeId(2), DiskId(2), None);
        f.learn(NodeId(3), DiskId(3), None);
        assert_eq!(f.charter(), None);
    }

    #[test]
    fn complete_only_when_every_founder_is_formed_alike() {
        let mut f = Founding::new(NodeId(1), &founders(2));
        f.learn(NodeId(1), DiskId(1), None);
        f.learn(NodeId(2), DiskId(2), None);
        let (cluster, _) = f.charter().expect("all are known");
        f.learn(NodeId(1), DiskId(1), Some(cluster));
        assert!(!f.complete(cluster));
        f.learn(NodeId(2), DiskId(2), Some(cluster));
        assert!(f.complete(cluster));
        assert_eq!(f.missing(), []);
    }

    #[test]
    fn trap_25_is_felt_without_its_guards() {
        let founds: fn() = trap_25_a_disk_that_forgot_founds_nothing;
        let campaigns: fn() = super::super::tests::trap_25_nobody_campaigns_before_every_founder_is_formed;
        for (guard, test) in
            [("founding-ignores-another-cluster", founds), ("unformed-founder-counts-as-formed", campaigns)]
        {
            assert!(crate::sim::planted::not_felt_by(guard, &[(guard, test)]).is_empty(), "{guard}");
        }
    }
}
