//! What must hold after every step of every node, whatever happened.

use std::collections::BTreeMap;
use std::format;
use std::string::String;

use crate::node::Status;
use crate::raft::{LogIndex, NodeId, Role, Term};

/// Digests are compared at this many of the latest applied indexes.
const DIGESTS: usize = 1 << 16;

/// The index of the founding entry.
const FOUNDING: LogIndex = 1;

/// What earlier steps have shown, to hold later ones against.
#[derive(Debug, Default)]
pub(super) struct Invariants {
    leaders: BTreeMap<Term, NodeId>,
    digests: BTreeMap<LogIndex, (u128, NodeId)>,
    known: BTreeMap<NodeId, Known>,
    /// The greatest commit index that any node has shown.
    committed: LogIndex,
}

/// What one node has shown.
#[derive(Debug, Default)]
struct Known {
    /// In this life.
    term: Term,
    commit: LogIndex,
    applied: LogIndex,
    /// On this disk, whichever life put it there.
    persisted: LogIndex,
    /// Whether this life's core has shown itself.
    seen: bool,
    /// Whether the disk was replaced by another one: `persisted` is what the best of them held.
    replaced: bool,
}

impl Invariants {
    /// The node's process ended: what it had only in memory may be less in its next life.
    pub(super) fn process_ended(&mut self, node: NodeId) {
        let known = self.known.entry(node).or_default();
        *known = Known { persisted: known.persisted, replaced: known.replaced, ..Known::default() };
    }

    /// The node's disk is another one: nothing is promised about what it holds. What the old one held still counts
    /// in majorities: it was acknowledged, perhaps to a leader that is slower to say so than the new disk is to start.
    pub(super) fn disk_changed(&mut self, node: NodeId) {
        self.known.entry(node).or_default().replaced = true;
    }

    /// Holds a node's state against all that was seen. `voters` is how many members vote.
    pub(super) fn check(&mut self, node: NodeId, status: &Status, voters: usize) -> Result<(), String> {
        let Some(raft) = &status.raft else { return Ok(()) };
        if raft.role == Role::Leader {
            let first = *self.leaders.entry(raft.term).or_insert(node);
            if first != node {
                return Err(format!("election safety: {first:?} led term {} too", raft.term));
            }
        }
        let known = self.known.entry(node).or_default();
        if !known.seen && !known.replaced && raft.persisted < known.persisted {
            return Err(format!(
                "durability: the log was on disk up to {}, and came back up to {}",
                known.persisted, raft.persisted
            ));
        }
        for (what, before, now) in [
            ("term", known.term, raft.term),
            ("commit index", known.commit, raft.commit),
            ("applied index", known.applied, raft.applied),
        ] {
            if now < before {
                return Err(format!("monotony: the {what} went from {before} to {now}"));
            }
        }
        if raft.applied > raft.commit || raft.commit > raft.last.index {
            return Err(format!(
                "order: applied {}, committed {}, last {:?}",
                raft.applied, raft.commit, raft.last
            ));
        }
        *known = Known {
            term: raft.term,
            commit: raft.commit,
            applied: raft.applied,
            persisted: if known.replaced { known.persisted.max(raft.persisted) } else { raft.persisted },
            seen: true,
            replaced: known.replaced,
        };
        self.check_majority(raft.commit, voters)?;
        self.check_digest(node, raft.applied, status.digest)
    }

    /// A commit index is on a majority of disks by the time that anyone shows it. The founding entry is agreed on before
    /// there is a core that could show it.
    fn check_majority(&mut self, commit: LogIndex, voters: usize) -> Result<(), String> {
        if commit <= self.committed.max(FOUNDING) {
            return Ok(());
        }
        self.committed = commit;
        let on_disk = self.known.values().filter(|known| known.persisted >= commit).count();
        if on_disk <= voters / 2 {
            return Err(format!(
                "majority persistence: {commit} is committed and on {on_disk} of {voters} disks"
            ));
        }
        Ok(())
    }

    /// State machine safety: two nodes that applied the same index have the same state (STORAGE row 21).
    fn check_digest(&mut self, node: NodeId, applied: LogIndex, digest: u128) -> Result<(), String> {
        let (first, by) = *self.digests.entry(applied).or_insert((digest, node));
        if self.digests.len() > DIGESTS {
            self.digests.pop_first();
        }
        if first == digest {
            return Ok(());
        }
        Err(format!("state machine safety: at index {applied} the state differs from that of {by:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Counters, Phase};
    use crate::raft::{self, LogId};
    use std::collections::BTreeSet;

    fn status(id: u64, term: Term, applied: LogIndex, persisted: LogIndex) -> Status {
        Status {
            id: NodeId(id),
            phase: Phase::Running,
            cluster: Some(1),
            raft: Some(raft::Status {
                id: NodeId(id),
                role: Role::Follower,
                term,
                vote: None,
                leader: None,
                first_index: 1,
                last: LogId::new(term, applied.max(persisted)),
                commit: applied,
                applied,
                persisted,
                snapshot: None,
                log_bytes: 0,
                matched: BTreeMap::new(),
            }),
            members: BTreeMap::new(),
            connected: BTreeSet::new(),
            digest: u128::from(applied),
            sessions: 0,
            pending: 0,
            counters: Counters::default(),
        }
    }

    /// Checks them in order; the last one must break the invariant that is named so.
    fn broken(invariant: &str, steps: impl IntoIterator<Item = Status>) {
        let mut invariants = Invariants::default();
        let results: std::vec::Vec<_> =
            steps.into_iter().map(|status| invariants.check(status.id, &status, 3)).collect();
        let (last, earlier) = results.split_last().expect("at least one step");
        assert!(earlier.iter().all(Result::is_ok), "{earlier:?}");
        let error = last.as_ref().expect_err("the last step breaks an invariant");
        assert!(error.starts_with(invariant), "{error}");
    }

    fn leading(mut status: Status) -> Status {
        if let Some(raft) = &mut status.raft {
            raft.role = Role::Leader;
        }
        status
    }

    #[test]
    fn two_leaders_of_one_term_are_caught() {
        broken("election safety", [leading(status(1, 2, 0, 0)), leading(status(2, 2, 0, 0))]);
    }

    #[test]
    fn a_commit_index_that_falls_is_caught() {
        broken("monotony", [status(1, 1, 0, 5), status(2, 1, 4, 5), status(2, 1, 3, 5)]);
    }

    #[test]
    fn a_commit_on_a_minority_of_disks_is_caught() {
        broken("majority", [status(1, 1, 0, 4), status(2, 1, 0, 3), status(1, 1, 4, 4)]);
    }

    #[test]
    fn states_that_differ_at_one_index_are_caught() {
        let mut odd = status(2, 1, 2, 3);
        odd.digest += 1;
        broken("state machine safety", [status(2, 1, 0, 3), status(1, 1, 2, 3), odd]);
    }

    #[test]
    fn a_disk_that_forgot_is_caught_unless_it_is_another_one() {
        let mut invariants = Invariants::default();
        let mut check = |status: Status, f: fn(&mut Invariants, NodeId)| {
            f(&mut invariants, status.id);
            invariants.check(status.id, &status, 3)
        };
        assert!(check(status(1, 1, 0, 9), |_, _| ()).is_ok());
        assert!(check(status(1, 1, 0, 9), Invariants::process_ended).is_ok());
        assert!(check(status(1, 1, 0, 8), Invariants::process_ended).is_err());
        let replace = |invariants: &mut Invariants, node| {
            invariants.process_ended(node);
            invariants.disk_changed(node);
        };
        assert!(check(status(1, 1, 0, 8), replace).is_ok());
    }
}
