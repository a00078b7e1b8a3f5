//! Who may speak: the judgement of what a peer says of itself. A pure function of that and of what this node knows.
//!
//! | a peer says | it is answered |
//! | --- | --- |
//! | another cluster | refused by name (STORAGE row 18) |
//! | an id that this node knows with another disk | refused, with the cure (STORAGE row 19) |
//! | fewer boots, or a shorter log, than it proved to have | refused: its disk was rolled back (STORAGE row 19) |
//! | another list of founders, before formation | refused |
//! | an id that is no member, or has another disk, in this cluster and not behind this node | heard, and not counted |
//! | an id that is no member | refused; it may become one |
//!
//! A member may be behind and know an old configuration: its word about disks and clusters alone does not stop a node,
//! only a majority's does, or that of one which is not behind what the node knows of itself. That a disk was rolled back is
//! proof from any one peer, because what it remembers only grows.

use alloc::format;
use alloc::string::String;

use crate::codec::peer::{Facts, Severity};
use crate::raft::{DiskId, LogIndex, NodeId};
use crate::storage::ClusterId;

/// What a peer has proved to have on its disk, as long as this process remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Memory {
    /// The disk that this is about.
    pub(super) disk: Option<DiskId>,
    /// The highest boot count seen.
    pub(super) boots: u64,
    /// The highest committed index that it acknowledged.
    pub(super) last: LogIndex,
}

impl Memory {
    /// Takes note of an accepted handshake.
    pub(super) fn greet(&mut self, facts: &Facts) {
        if self.disk != Some(facts.disk) {
            *self = Self { disk: Some(facts.disk), boots: 0, last: 0 };
        }
        self.boots = self.boots.max(facts.boots);
    }

    /// Takes note that the peer has everything up to the committed index `last` on its disk.
    pub(super) fn acknowledge(&mut self, last: LogIndex) {
        self.last = self.last.max(last);
    }
}

/// What this node knows, for judging a peer.
#[derive(Debug)]
pub(super) struct Known {
    /// This node.
    pub(super) own: NodeId,
    /// Its cluster.
    pub(super) cluster: Option<ClusterId>,
    /// It waits to be added to a cluster: whoever has been a member before it may tell it that it is.
    pub(super) joins: bool,
    /// Its founders' hash.
    pub(super) founders: u128,
    /// The index up to which its log is committed for certain.
    pub(super) commit: LogIndex,
    /// Whether the peer is a member; with which disk, if that is settled.
    pub(super) member: Option<Option<DiskId>>,
    /// What the peer has proved.
    pub(super) memory: Memory,
}

/// A refusal of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) text: String,
    pub(super) severity: Severity,
}

/// Judges a peer by what it says of itself.
pub(super) fn judge(known: &Known, facts: &Facts) -> Result<(), Refusal> {
    let refuse = |severity, text| Err(Refusal { text, severity });
    let id = facts.node;
    if id == known.own {
        return refuse(Severity::Retry, format!("node id {id} is used twice: give each node its own --id"));
    }
    if let Some(text) = foreign(known.own, known.cluster, facts) {
        return refuse(Severity::Identity, text);
    }
    // Who belongs to this cluster and is not behind this node may have been added where this node has not come to: it is
    // heard. Its word counts for nothing until this node knows it, with its disk.
    let is_of_cluster = facts.cluster.is_some()
        && (facts.cluster == known.cluster || (known.joins && known.cluster.is_none()));
    let may_be_newer = is_of_cluster && facts.last >= known.commit;
    let Some(disk) = known.member else {
        if may_be_newer {
            return Ok(());
        }
        return refuse(
            Severity::Stranger(known.commit),
            format!(
                "node {id} is not a member of this cluster as node {} knows it; to add it: quorate member add \
                 {id}=PEER/CLIENT",
                known.own
            ),
        );
    };
    let is_other = |disk: &DiskId| *disk != facts.disk && !planted!("wiped-disk-is-welcome");
    if let Some(disk) = disk.filter(is_other) {
        if may_be_newer && known.commit > 0 {
            return Ok(());
        }
        return refuse(
            // Before there is a log, founders know each other's disks by their word alone.
            if known.commit > 0 { Severity::Replaced(known.commit) } else { Severity::Identity },
            format!(
                "node {id} is known with disk {disk}, this directory has disk {}: its data was lost or replaced; \
                 restore its directory, or remove node {id} and add it again with its new disk: quorate member remove \
                 {id}; start it with --join; quorate member add {id}=PEER/CLIENT; quorate member promote {id}",
                facts.disk
            ),
        );
    }
    if known.cluster.is_none() && facts.cluster.is_none() && facts.founders != known.founders {
        return refuse(
            Severity::Retry,
            format!(
                "node {id} and node {} were started with different lists of founders (--cluster): start each with the same",
                known.own
            ),
        );
    }
    rolled_back(known, facts).map_or(Ok(()), |text| refuse(Severity::Proof, text))
}

/// What is to be said when two nodes belong to two clusters (STORAGE row 18). Which of them is in the wrong place is for
/// the majority of their peers to say, so that whoever called counts the other's word against itself.
pub(super) fn foreign(own: NodeId, cluster: Option<ClusterId>, facts: &Facts) -> Option<String> {
    let (theirs, ours) = (facts.cluster?, cluster?);
    (theirs != ours).then(|| {
        format!(
            "node {} belongs to cluster {theirs:032x}, node {own} to cluster {ours:032x}: the data directory or the address \
             of one of them is another cluster's; start each with its own",
            facts.node
        )
    })
}

/// STORAGE row 19: a directory that was set back to an earlier state has forgotten votes and entries that counted.
fn rolled_back(known: &Known, facts: &Facts) -> Option<String> {
    let memory = known.memory;
    let back = !planted!("rolled-back-disk-is-welcome")
        && memory.disk == Some(facts.disk)
        && (facts.boots < memory.boots || facts.last < memory.last);
    back.then(|| {
        format!(
            "the directory of node {id} was set back to an earlier state: it says boot {}, last index {}, and node {} \
             remembers boot {}, index {}; remove node {id} and add it again with an empty directory",
            facts.boots,
            facts.last,
            known.own,
            memory.boots,
            memory.last,
            id = facts.node,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            node: NodeId(3),
            disk: DiskId(33),
            cluster: Some(7),
            boots: 2,
            last: 50,
            founders: 1,
            complete: true,
        }
    }

    fn known() -> Known {
        let memory = Memory { disk: Some(DiskId(33)), boots: 2, last: 50 };
        let member = Some(Some(DiskId(33)));
        Known { own: NodeId(1), cluster: Some(7), joins: false, founders: 1, commit: 60, member, memory }
    }

    fn refused(known: &Known, facts: &Facts) -> (Severity, String) {
        let refusal = judge(known, facts).expect_err("it is to be refused");
        (refusal.severity, refusal.text)
    }

    #[test]
    fn a_member_with_its_disk_is_welcome() {
        assert_eq!(judge(&known(), &facts()), Ok(()));
        let unformed = Known { cluster: None, member: Some(None), ..known() };
        assert_eq!(judge(&unformed, &facts()), Ok(()));
    }

    #[test]
    fn row_18_a_foreign_cluster_is_refused_by_name() {
        let (severity, text) = refused(&known(), &Facts { cluster: Some(0xabc), ..facts() });
        assert_eq!(severity, Severity::Identity);
        assert!(text.contains("cluster 00000000000000000000000000000abc"), "{text}");
    }

    #[test]
    fn row_19_a_wiped_disk_is_refused_with_the_cure() {
        let (severity, text) =
            refused(&known(), &Facts { disk: DiskId(34), cluster: None, last: 0, ..facts() });
        assert_eq!(severity, Severity::Replaced(60));
        assert!(text.starts_with(
            "node 3 is known with disk 00000000000000000000000000000021, this directory has disk"
        ));
        assert!(
            text.contains("quorate member remove 3; start it with --join; quorate member add 3=PEER/CLIENT")
        );
    }

    #[test]
    fn row_19_a_rolled_back_disk_is_caught_by_boots_and_by_index() {
        for back in [Facts { boots: 1, ..facts() }, Facts { last: 49, ..facts() }] {
            let (severity, text) = refused(&known(), &back);
            assert_eq!(severity, Severity::Proof);
            assert!(text.contains("set back"), "{text}");
        }
        let other_disk = Memory { disk: Some(DiskId(1)), ..known().memory };
        assert_eq!(judge(&Known { memory: other_disk, ..known() }, &Facts { boots: 1, ..facts() }), Ok(()));
    }

    #[test]
    fn a_stranger_a_twin_and_another_list_of_founders_may_try_again() {
        let stranger = Known { member: None, ..known() };
        assert_eq!(refused(&stranger, &facts()).0, Severity::Stranger(60));
        assert_eq!(refused(&Known { own: NodeId(3), ..known() }, &facts()).0, Severity::Retry);
        let unformed = Known { cluster: None, member: Some(None), ..known() };
        assert_eq!(refused(&unformed, &Facts { cluster: None, founders: 2, ..facts() }).0, Severity::Retry);
    }

    /// Found by the simulator: a member that was away while all others were replaced refused its new leader.
    #[test]
    fn who_may_have_been_added_meanwhile_is_heard() {
        let stranger = Known { member: None, ..known() };
        assert_eq!(judge(&stranger, &Facts { last: 60, ..facts() }), Ok(()));
        assert_eq!(judge(&known(), &Facts { disk: DiskId(34), last: 60, ..facts() }), Ok(()));
        // Found by the simulator: one that waited to be added refused a leader that had become a member after it had begun to
        // wait.
        let joins = Known { cluster: None, joins: true, commit: 0, member: None, ..known() };
        assert_eq!(judge(&joins, &facts()), Ok(()));
        assert!(judge(&joins, &Facts { cluster: None, ..facts() }).is_err());
        assert!(judge(&Known { joins: false, ..joins }, &facts()).is_err());
        // One that is behind could know no better.
        assert!(judge(&stranger, &Facts { last: 59, ..facts() }).is_err());
        assert!(judge(&known(), &Facts { disk: DiskId(34), last: 59, ..facts() }).is_err());
    }

    #[test]
    fn memory_only_grows_for_one_disk_and_starts_anew_for_another() {
        let mut memory = known().memory;
        memory.acknowledge(40);
        memory.greet(&Facts { boots: 1, ..facts() });
        assert_eq!(memory, known().memory);
        memory.greet(&Facts { disk: DiskId(9), boots: 1, ..facts() });
        assert_eq!(memory, Memory { disk: Some(DiskId(9)), boots: 1, last: 0 });
    }
}
