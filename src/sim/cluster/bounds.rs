//! What a node holds in memory is bounded.

use std::format;
use std::string::String;

use super::Cluster;
use crate::raft::{EntryKind, NodeId, Role, Status};
use crate::replica::StateMachine;

/// What may come while a snapshot is saved, in bytes.
const WHILE_SAVING: u64 = 64 << 10;

impl<S: StateMachine> Cluster<S> {
    /// After a step: no more sessions than there may be, and no more of a leader's own entries that wait to be committed.
    pub(super) fn check_bounds(&self, node: NodeId, status: &Status) -> Result<(), String> {
        let Some(machine) = self.machines.get(&node) else { return Ok(()) };
        let Some(replica) = machine.node().and_then(|node| node.replica()) else { return Ok(()) };
        let (sessions, _) = replica.load();
        if sessions > machine.config.max_sessions {
            return Err(format!("bounds: {sessions} sessions of {}", machine.config.max_sessions));
        }
        if status.role != Role::Leader || status.commit >= status.last.index {
            return Ok(());
        }
        let waiting = replica.raft().entries(status.commit + 1, status.last.index);
        let own = waiting.filter(|entry| entry.id.term == status.term && entry.kind == EntryKind::Command);
        let (bytes, count) =
            own.fold((0, 0), |(bytes, count), entry| (bytes + entry.packed_len(), count + 1));
        let most = machine.config.raft.max_uncommitted_bytes;
        // A single one may be longer.
        if bytes > most && count > 1 {
            return Err(format!("bounds: {bytes} bytes of {most} wait to be committed"));
        }
        Ok(())
    }

    /// Most bytes of its log that a healthy node keeps in memory for long: what makes a snapshot due, a quarter of that in case
    /// that one failed, what is kept before a snapshot, and what comes while one is saved. `None` for a node that takes none.
    pub fn log_bound(&self, node: NodeId) -> Option<u64> {
        let machine = self.machines.get(&node)?;
        let snapshot = machine.disk.survey()?.snapshot.map_or(0, |snapshot| snapshot.len);
        let config = &machine.config;
        let share = snapshot.saturating_mul(config.snapshot_growth_percent.into()) / 100;
        let due = config.snapshot_log_bytes?.max(share);
        Some((due + due / 4).saturating_add(config.raft.trailing_bytes as u64 + WHILE_SAVING))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Checked, Settings};
    use super::*;
    use crate::kv::KvStore;
    use crate::replica::Request;

    fn opens_sessions(most: usize) -> Checked<()> {
        let mut cluster: Cluster<KvStore> = Cluster::new(Settings::new(1, 1));
        cluster.start_all()?;
        cluster.settle(5_000_000)?;
        // The checker is told less than the node.
        cluster.machine(NodeId(1)).config.max_sessions = most;
        for nonce in ["a", "b"] {
            let request = cluster.request(NodeId(1), Request::OpenSession { nonce: nonce.into() });
            cluster.answer(request)?;
        }
        Ok(())
    }

    #[test]
    fn more_sessions_than_there_may_be_are_caught() {
        assert_eq!(opens_sessions(2), Ok(()));
        assert_eq!(opens_sessions(1).expect_err("one too many").checker(), "bounds");
    }

    #[test]
    fn a_log_has_a_bound_where_snapshots_are_taken() {
        let mut settings = Settings::new(1, 1);
        settings.node.snapshot_log_bytes = Some(1 << 20);
        settings.node.raft.trailing_bytes = 5;
        let mut cluster: Cluster<KvStore> = Cluster::new(settings);
        cluster.start_all().expect("starts");
        cluster.settle(5_000_000).expect("leads");
        assert_eq!(cluster.log_bound(NodeId(1)), Some((1 << 20) + (1 << 18) + 5 + WHILE_SAVING));
        cluster.machine(NodeId(1)).config.snapshot_log_bytes = None;
        assert_eq!(cluster.log_bound(NodeId(1)), None);
    }
}
