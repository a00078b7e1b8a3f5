//! Where the checkers look: after each step of a node, and at each frame that leaves it.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;

use super::majority::{short_half, short_of_all};
use super::promises::PROMISING;
use super::safety::Step;
use super::{Checked, Cluster, Committed};
use crate::codec::peer::PeerMessage;
use crate::node::Fault;
use crate::raft::{Configuration, DiskId, LogIndex, NodeId, Recovered};
use crate::replica::StateMachine;
use crate::sim::network::{Care, Parcel};
use crate::sim::own_alarms_count;
use crate::storage::{Opened, Recovery};

/// Whether a halt for this reason is a violation where it is not expected.
pub(super) fn counts(fault: &Fault) -> bool {
    own_alarms_count() || !matches!(fault, Fault::Raft(_) | Fault::Diverged { .. })
}

/// The core goes through its whole log to check itself. Where that is longer than this ...
const LONG_LOG: u64 = 256;

/// ... it does so after about one in so many steps: a run may not cost the square of what it writes.
const LONG_LOG_STEPS: u64 = 64;

impl<S: StateMachine> Cluster<S> {
    /// All entries that are committed, in order from index 1.
    pub fn committed(&self) -> &[Committed] {
        self.safety.committed()
    }

    /// How often the states of two nodes were compared at one index (STORAGE row 21).
    pub fn states_compared(&self) -> u64 {
        self.safety.compared
    }

    /// Everything that is promised about the old disk of this machine is void.
    pub(super) fn disk_changed(&mut self, node: NodeId) {
        self.safety.disk_changed(node);
        self.promises.disk_changed(node);
    }

    /// A node has taken a batch.
    pub(super) fn watch_step(&mut self, node: NodeId) -> Checked<()> {
        if !self.settings.watched {
            return Ok(());
        }
        let now = self.now;
        let Some(replica) = self.machines.get(&node).and_then(|machine| machine.node()?.replica()) else {
            return Ok(());
        };
        let (raft, digest) = (replica.raft(), replica.state().digest());
        let status = replica.status();
        let (is_new, committed) = (self.safety.is_new(node), self.safety.last_committed());
        let step = Step { node, raft, status: &status, digest, now };
        let mut checked = self.safety.check(&step);
        if let (Ok(()), Some(log)) = (&checked, self.safety.log(node)) {
            let ledger = &self.safety.ledger;
            if is_new {
                checked = self.promises.started(node, &status, log, ledger);
            } else if let Some(from) = log.cut {
                self.promises.cut(node, from, log, ledger);
            }
        }
        let is_long = status.last.index - status.first_index.min(status.last.index) > LONG_LOG;
        let is_due = !is_long || self.trace.events().is_multiple_of(LONG_LOG_STEPS);
        if checked.is_ok() && is_due && own_alarms_count() {
            checked = raft.check_invariants().map_err(|fault| std::format!("core: {fault}"));
        }
        for what in self.safety.seldom.drain(..) {
            self.tally.add(what);
        }
        if checked.is_ok() {
            checked = self.check_bounds(node, &status);
        }
        let index = self.safety.last_committed();
        if checked.is_ok() && index > committed && self.rng.chance(self.settings.probed, 1000) {
            let deciding: Vec<_> = raft.configurations(index).cloned().collect();
            checked = self.watch_disks(index, &deciding);
        }
        let is_cut = self.safety.log(node).is_some_and(|log| log.cut.is_some());
        let moment = self.count_step(node, &status, is_cut);
        if let Some((moment, machine)) = moment.zip(self.machines.get_mut(&node))
            && machine.meets(moment)
        {
            self.tally.add(moment.name());
        }
        checked.map_err(|what| self.violation(node, what))
    }

    /// What was just committed is on a majority of disks (promise 7), whatever nodes say of theirs. Disks that recovery
    /// refuses were struck since, and those that are gone or were set back tell nothing; for these their nodes' word must do.
    fn watch_disks(&mut self, index: LogIndex, deciding: &[Configuration]) -> Result<(), String> {
        let voters = deciding.iter().flat_map(|c| c.voters.iter().chain(&c.outgoing));
        let found: BTreeMap<NodeId, _> = voters.map(|&id| (id, self.worst_case(id))).collect();
        let has_it = |id: NodeId, disk: DiskId| match found.get(&id) {
            Some(Ok(found)) if found.disk == disk && !self.safety.was_set_back(disk) => {
                self.safety.ledger.keeps_committed(found, index)
            }
            _ => self.safety.says_it_has(disk, index),
        };
        let short = |configuration: &Configuration| {
            short_half(configuration, |id| has_it(id, configuration.members[&id].disk))
        };
        match short_of_all(deciding.iter(), short) {
            None => Ok(()),
            Some((on_disk, all)) => Err(std::format!(
                "durability: {index} is committed, and a power failure now would leave it on {on_disk} of {all} disks"
            )),
        }
    }

    /// A frame leaves a node.
    pub(super) fn watch_frame(
        &mut self,
        node: NodeId,
        to: Option<NodeId>,
        parcel: Parcel,
        payload: &Bytes,
    ) -> Checked<()> {
        // Most frames promise nothing, and need not be read for it.
        if !self.settings.watched || parcel.care == Care::Ordered || !PROMISING.contains(parcel.kind) {
            return Ok(());
        }
        let (Ok((message, _)), Some(to)) = (PeerMessage::open(payload), to) else { return Ok(()) };
        let Some(log) = self.safety.log(node) else { return Ok(()) };
        let from = (node, self.safety.disk(node));
        let claim = self.promises.leaves(from, to, &message, log, &self.safety.ledger);
        let claim = claim.map_err(|what| self.violation(node, what))?;
        let Some(claim) = claim.filter(|_| self.rng.chance(self.settings.probed, 1000)) else {
            return Ok(());
        };
        let held = match self.worst_case(node) {
            Ok(found) => claim.is_held_by(&found, &self.safety.ledger),
            Err(text) => Err(std::format!("persistence: after a power failure now, {text}")),
        };
        held.map_err(|what| self.violation(node, what))
    }

    /// What recovery would find on the disk of `node` if the power failed now and everything unsynced were lost.
    fn worst_case(&mut self, node: NodeId) -> Result<Recovered, String> {
        let machine = self.machine(node);
        let mut recovery = Recovery::new(machine.config.storage());
        machine.disk.run_on_durable(&mut recovery);
        match recovery.take() {
            Ok(Opened::Formed { recovered, .. }) => Ok(recovered),
            Ok(Opened::Unformed(_)) => Err("the directory belongs to no cluster".into()),
            Err(error) => Err(std::format!("{error}")),
        }
    }
}
