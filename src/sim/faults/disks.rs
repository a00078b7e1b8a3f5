//! Whose disk counts: disks that are struck, lost, set back and exchanged, within what a majority can spare, and whether each
//! node without a disk of its own has said so.

use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::String;
use std::vec::Vec;

use super::nemesis::Deed;
use super::{Fault, Nemesis, Who};
use crate::node::Fault as Halt;
use crate::raft::{Configuration, NodeId};
use crate::replica::StateMachine;
use crate::sim::census::met;
use crate::sim::cluster::{Checked, Cluster, Crash, short_half};
use crate::sim::disk::{Disk, DiskFault, Expectation};
use crate::storage::FileName;
use crate::time::Micros;

const SECOND: Micros = 1_000_000;

/// How long a node that has to refuse may take to do so after all faults have ended: it has to hear from a majority first.
const REFUSAL: Micros = 10 * SECOND;

/// Nodes without a disk of their own.
#[derive(Debug)]
pub struct Disks {
    lost: BTreeMap<NodeId, Loss>,
    /// Nodes whose disks are exchanged: they refuse to start.
    strangers: BTreeSet<NodeId>,
    /// Whether more disks than a minority may be lost.
    reckless: bool,
}

/// A node that is lost for the rest of the run, with what it must say.
#[derive(Debug)]
struct Loss {
    fault: DiskFault,
    expected: Expectation,
}

impl Disks {
    pub(super) fn new(reckless: bool) -> Self {
        Self { lost: BTreeMap::new(), strangers: BTreeSet::new(), reckless }
    }

    /// Whether a node's disk is its own, and counts.
    pub fn is_own(&self, node: NodeId) -> bool {
        !self.lost.contains_key(&node) && !self.strangers.contains(&node)
    }

    /// Nodes that no longer have a disk that counts.
    pub fn lost(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.lost.keys().copied()
    }

    /// Nodes that have no disk of their own.
    fn away(&self) -> BTreeSet<NodeId> {
        self.lost.keys().chain(&self.strangers).copied().collect()
    }

    /// Whether a majority of a configuration still has its disks.
    pub fn leave_a_majority(&self, configuration: &Configuration) -> bool {
        can_spare(configuration, &self.lost().collect())
    }

    /// After the end: whether each node that was lost has said what it had to say.
    ///
    /// # Errors
    ///
    /// The first one that did not, and what it did instead.
    pub fn judge<S: StateMachine>(&self, cluster: &Cluster<S>) -> Result<(), (NodeId, String)> {
        let committed = cluster.committed_configuration();
        let is_member =
            |node: NodeId| committed.is_none_or(|committed| committed.members.contains_key(&node));
        let is_majority_left = committed.is_none_or(|committed| self.leave_a_majority(committed));
        for (&node, loss) in &self.lost {
            let fault = cluster.fault(node).cloned();
            // Whose machine was taken away had one start to refuse in, which another failure may have ended.
            if !cluster.nodes().contains(&node)
                && fault.as_ref().is_none_or(|fault| fault.exit_code() == Halt::DISK)
            {
                continue;
            }
            // It takes peers to say that a disk is not the one they know, or was set back: a majority of those whom it was told
            // of, or one who remembers. Where they are gone a wiped disk still is no member's.
            let may_be_silent = match loss.fault {
                DiskFault::Wiped if cluster.replica(node).is_none() => {
                    let told: Vec<NodeId> = cluster.told(node).filter(|other| *other != node).collect();
                    let tell = told.iter().filter(|other| self.is_own(**other) && is_member(**other)).count();
                    !is_member(node) || 2 * tell <= told.len()
                }
                DiskFault::RolledBack => !is_member(node) || !is_majority_left,
                _ => false,
            };
            if fault.is_none() && may_be_silent {
                continue;
            }
            loss.expected.met_by(fault.as_ref()).map_err(|what| (node, format!("refusal: {what}")))?;
        }
        Ok(())
    }

    /// What was met, for each node that was lost.
    pub fn refused(&self) -> impl Iterator<Item = &'static str> {
        self.lost.values().filter_map(|loss| loss.fault.refusal())
    }

    /// How long the refusals may take.
    pub const fn patience(&self) -> Micros {
        REFUSAL
    }
}

/// Whether a majority of each half is left without these.
pub(super) fn can_spare(configuration: &Configuration, out: &BTreeSet<NodeId>) -> bool {
    short_half(configuration, |id| !out.contains(&id)).is_none()
}

impl Nemesis {
    /// The victim, if the cluster can do without its disk: once it is complete, a minority of disks may be lost.
    pub(super) fn expendable<S: StateMachine>(&self, who: Who, cluster: &Cluster<S>) -> Option<NodeId> {
        self.pick(who, cluster).filter(|node| self.can_do_without(*node, cluster))
    }

    fn can_do_without<S: StateMachine>(&self, node: NodeId, cluster: &Cluster<S>) -> bool {
        let mut out = self.disks.away();
        out.insert(node);
        let spare = cluster.configurations().all(|configuration| can_spare(configuration, &out));
        let several = cluster.committed_configuration().is_some_and(|c| c.voters.len() > 2);
        // Nobody campaigns before every founder has the founding entry on its disk.
        let is_formed = cluster.committed().len() > 1;
        is_formed && (spare || (self.disks.reckless && several))
    }

    pub(super) fn strike<S: StateMachine>(
        &mut self,
        fault: DiskFault,
        who: Who,
        lasts: Micros,
        cluster: &mut Cluster<S>,
    ) -> Checked<()> {
        let name = Fault::Disk { who, fault, lasts }.name();
        let is_loss = matches!(fault.expected(), Expectation::Refuses { .. });
        let node = if is_loss { self.expendable(who, cluster) } else { self.pick(who, cluster) };
        let Some(node) = node else { return Ok(()) };
        if fault.while_down() {
            cluster.crash(node, Crash::Process);
        }
        let rng = &mut self.rng;
        let Some(expected) = cluster.machine(node).disk.strike(fault, rng) else {
            return Ok(());
        };
        cluster.befell(node, name);
        match &expected {
            Expectation::Survives => {
                if fault == DiskFault::Full {
                    // A start that cuts a torn tail needs room to keep it aside, and halts without.
                    cluster.machine(node).provoked.insert(Halt::DISK);
                }
                self.agenda.push(cluster.now() + lasts, Deed::EndDisk(node));
            }
            Expectation::Halts { exit_code, .. } => {
                cluster.machine(node).provoked.insert(*exit_code);
            }
            Expectation::Refuses { exit_code, .. } => {
                // It must be refused for this, and not for an error that was to come later.
                cluster.machine(node).disk.disarm();
                cluster.machine(node).provoked.insert(*exit_code);
                cluster.start(node)?;
                self.disks.lost.insert(node, Loss { fault, expected });
            }
        }
        Ok(())
    }

    pub(super) fn wipe<S: StateMachine>(&mut self, who: Who, cluster: &mut Cluster<S>) -> Checked<()> {
        let Some(node) = self.expendable(who, cluster) else { return Ok(()) };
        if self.would_found_anew(node, cluster) {
            return Ok(());
        }
        cluster.wipe(node);
        cluster.machine(node).disk.disarm();
        cluster.machine(node).provoked.insert(Halt::FENCED);
        cluster.start(node)?;
        let fault = DiskFault::Wiped;
        self.disks.lost.insert(node, Loss { fault, expected: fault.expected() });
        cluster.count(Fault::Wipe { who }.name());
        Ok(())
    }

    /// Whether nobody is left who knows of the cluster among those with whom a founder founded it: with an empty disk, and
    /// told to found, it does so again, and cannot know better.
    fn would_found_anew<S: StateMachine>(&self, node: NodeId, cluster: &Cluster<S>) -> bool {
        let is_founder = |id: NodeId| cluster.told(id).any(|founder| founder == id);
        let knows = |id: NodeId| id != node && self.disks.is_own(id) && is_founder(id);
        is_founder(node) && !cluster.told(node).any(knows)
    }

    /// Three lives, and then the disk of the first: each life counts one boot, and peers remember the last.
    pub(super) fn roll_back<S: StateMachine>(
        &mut self,
        node: NodeId,
        step: u8,
        image: Option<Box<Disk>>,
        cluster: &mut Cluster<S>,
    ) -> Checked<()> {
        if self.disks.lost.contains_key(&node) {
            return Ok(());
        }
        cluster.crash(node, Crash::Process);
        let image = image.unwrap_or_else(|| Box::new(cluster.machine(node).disk.clone()));
        // Meanwhile the others may have been removed, and with the last of them nobody is left who could tell.
        if step == 2 && self.can_do_without(node, cluster) {
            cluster.roll_back(node, *image);
            cluster.machine(node).provoked.insert(Halt::FENCED);
            let fault = DiskFault::RolledBack;
            self.disks.lost.insert(node, Loss { fault, expected: fault.expected() });
            cluster.count("fault: rolled-back disk");
        } else if step < 2 && self.quiet_until > cluster.now() {
            self.agenda.push(cluster.now() + SECOND, Deed::RollBack(node, step + 1, Some(image)));
        }
        cluster.start(node)
    }

    /// Two directories change places: each node finds another's, and refuses by name (STORAGE row 18).
    pub(super) fn swap<S: StateMachine>(
        &mut self,
        one: Who,
        other: Who,
        lasts: Micros,
        cluster: &mut Cluster<S>,
    ) -> Checked<()> {
        let (Some(a), Some(b)) = (self.expendable(one, cluster), self.expendable(other, cluster)) else {
            return Ok(());
        };
        // A directory that was only just emptied says nothing of whose it is.
        let mut is_named = |node| cluster.machine(node).disk.is_synced(FileName::Identity);
        if a == b || !is_named(a) || !is_named(b) {
            return Ok(());
        }
        cluster.swap_disks(a, b);
        for node in [a, b] {
            self.disks.strangers.insert(node);
            let machine = cluster.machine(node);
            machine.disk.disarm();
            machine.provoked.insert(Halt::DIRECTORY);
            // A process that is stopped could not refuse.
            cluster.resume(node);
            cluster.start(node)?;
        }
        self.agenda.push(cluster.now() + lasts, Deed::SwapBack(a, b));
        cluster.count("fault: exchanged disks");
        Ok(())
    }

    pub(super) fn swap_back<S: StateMachine>(
        &mut self,
        a: NodeId,
        b: NodeId,
        cluster: &mut Cluster<S>,
    ) -> Checked<()> {
        for node in [a, b] {
            let fault = cluster.fault(node).cloned();
            let says = [String::from("node")].into();
            let expected = Expectation::Refuses { exit_code: Halt::DIRECTORY, says };
            if let Err(what) = expected.met_by(fault.as_ref()) {
                return Err(cluster.violation(node, format!("refusal: another node's directory: {what}")));
            }
            cluster.count(met::WRONG_DIRECTORY);
            cluster.crash(node, Crash::Process);
            self.disks.strangers.remove(&node);
            cluster.machine(node).provoked.remove(&Halt::DIRECTORY);
        }
        cluster.swap_disks(a, b);
        for node in [a, b] {
            self.start(node, cluster)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::nemesis::tests::{befalls, formed};
    use super::*;

    const MS: Micros = 1_000;

    #[test]
    fn no_more_disks_than_a_minority_are_lost() {
        for (nodes, most) in [(1, 0), (3, 1), (5, 2)] {
            let mut cluster = formed(nodes);
            let faults: Vec<_> = (0..nodes).map(|n| Fault::Wipe { who: Who::Node(n) }).collect();
            // Of this seed they are not dealt more.
            let nemesis = befalls(&mut cluster, 2, &faults);
            assert!(!nemesis.disks.reckless);
            assert_eq!(nemesis.disks.lost().count(), most, "of {nodes}");
        }
    }

    #[test]
    fn a_disk_goes_back_in_time_only_when_its_peers_can_tell() {
        let mut cluster = formed(3);
        let mut nemesis = befalls(&mut cluster, 1, &[Fault::RollBack { who: Who::Node(1) }]);
        nemesis.end(&mut cluster).expect("keeps its promises");
        assert_eq!(nemesis.disks.lost().count(), 0, "the faults ended before");
        let mut nemesis = befalls(&mut cluster, 1, &[Fault::RollBack { who: Who::Node(1) }]);
        for _ in 0..80 {
            cluster.run_for(100 * MS).expect("keeps its promises");
            nemesis.act(&mut cluster).expect("keeps its promises");
        }
        assert_eq!(nemesis.disks.lost().collect::<Vec<_>>(), [NodeId(2)]);
        cluster.run_for(nemesis.disks.patience()).expect("keeps its promises");
        assert_eq!(nemesis.disks.judge(&cluster), Ok(()));
        assert_eq!(nemesis.disks.refused().collect::<Vec<_>>(), [met::ROLLED_BACK]);
    }
}
