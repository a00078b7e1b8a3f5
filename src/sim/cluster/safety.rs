//! What must hold after every step of every node, whatever happened.

use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::ledger::{Committed, Ledger, Log};
use super::majority::{short_half, short_of_all};
use crate::raft::{Configuration, DiskId, LogId, LogIndex, NodeId, Raft, Role, Status, Term};
use crate::time::Micros;

/// Digests are compared at this many of the latest applied indexes.
const DIGESTS: usize = 1 << 16;

/// The index of the founding entry.
const FOUNDING: LogIndex = 1;

/// What earlier steps have shown, to hold later ones against.
#[derive(Debug, Default)]
pub(super) struct Safety {
    pub(super) ledger: Ledger,
    leaders: BTreeMap<Term, NodeId>,
    digests: BTreeMap<LogIndex, (u128, NodeId)>,
    known: BTreeMap<NodeId, Known>,
    disks: BTreeMap<DiskId, Held>,
    /// What happened that seldom does, since this was last emptied.
    pub(super) seldom: Vec<&'static str>,
    /// How often two nodes were seen at one index, and their states compared.
    pub(super) compared: u64,
    /// The greatest commit index that any node has shown.
    committed: LogIndex,
    /// The configuration as of it.
    configuration: Option<Configuration>,
}

/// What one node has shown.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// In this life.
    term: Term,
    commit: LogIndex,
    applied: LogIndex,
    digest: u128,
    pub(super) log: Log,
    /// The entry of the configuration in force.
    configuration: Option<LogId>,
    /// Its disk, in this life or the last one that has shown it.
    disk: Option<DiskId>,
    /// Whether this life's core has shown itself.
    pub(super) seen: bool,
}

/// What a disk has been seen to hold.
#[derive(Debug, Default)]
struct Held {
    /// The log up to here, whichever life put it there.
    persisted: LogIndex,
    /// It may have been set back since: `persisted` is the most that it ever held. What was acknowledged counts in
    /// majorities, perhaps for a leader that is slower to say so than the disk is to forget.
    set_back: bool,
}

/// One step's end, as it is checked.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) node: NodeId,
    pub(super) raft: &'a Raft,
    pub(super) status: &'a Status,
    /// The state machine's.
    pub(super) digest: u128,
    pub(super) now: Micros,
}

impl Safety {
    /// The node's process ended: what it had only in memory may be less in its next life.
    pub(super) fn process_ended(&mut self, node: NodeId) {
        let known = self.known.entry(node).or_default();
        *known = Known { disk: known.disk, ..Known::default() };
    }

    /// The node's disk is another one, or what it was before: nothing is promised about what it holds.
    pub(super) fn disk_changed(&mut self, node: NodeId) {
        if let Some(disk) = self.known.get(&node).and_then(|known| known.disk) {
            self.disks.entry(disk).or_default().set_back = true;
        }
    }

    /// Whether this life of the node has not shown its core yet.
    pub(super) fn is_new(&self, node: NodeId) -> bool {
        self.known.get(&node).is_none_or(|known| !known.seen)
    }

    /// What is committed, in order.
    pub(super) fn committed(&self) -> &[Committed] {
        self.ledger.committed()
    }

    /// What this life of a node has shown of its log.
    pub(super) fn log(&self, node: NodeId) -> Option<&Log> {
        self.known.get(&node).map(|known| &known.log)
    }

    /// Holds a node's state against all that was seen.
    pub(super) fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        let Step { node, raft, status, digest, now } = *step;
        let known = self.known.entry(node).or_default();
        known.goes_on(status)?;
        known.disk = Some(raft.disk());
        let held = self.disks.entry(raft.disk()).or_default();
        held.goes_on(status.persisted, known.seen)?;
        let has_grown = known.log.last != status.last;
        self.ledger.look(&mut known.log, raft, status.first_index, status.last)?;
        if has_grown || !known.seen {
            let configured = self.ledger.configured(&known.log, raft, status.first_index)?;
            let before = core::mem::replace(&mut known.configuration, configured);
            let seldom = if known.seen {
                self.ledger.switched(before, configured, known.log.cut, status)
            } else {
                self.ledger.begun_in(configured, node)
            };
            self.seldom.extend(seldom);
        }
        if status.role == Role::Leader {
            let is_new = !self.leaders.contains_key(&status.term);
            let first = *self.leaders.entry(status.term).or_insert(node);
            if first != node {
                return Err(format!("election safety: {first:?} led term {} too", status.term));
            }
            if is_new {
                self.ledger.complete(&known.log, status.term, status.first_index)?;
            }
        }
        if known.commit != status.commit || !known.seen {
            self.ledger.commit(&known.log, raft, status.commit, now)?;
            if status.role == Role::Leader {
                self.ledger.committed_by(status.term, status.commit);
            }
        }
        let has_applied = known.applied != status.applied || !known.seen;
        let is_compared = !has_applied && known.digest == digest;
        known.now_is(status, digest);
        self.check_committed(status.commit, raft)?;
        if is_compared { Ok(()) } else { self.check_digest(node, status.applied, digest, has_applied) }
    }

    /// What no node has shown as committed before is so for ever. The founding entry is agreed on before there is a core that
    /// could show it.
    fn check_committed(&mut self, commit: LogIndex, raft: &Raft) -> Result<(), String> {
        if commit <= self.committed.max(FOUNDING) {
            return Ok(());
        }
        self.committed = commit;
        if let Some(configuration) = raft.configurations(commit).next() {
            self.configuration = Some(configuration.clone());
        }
        // Of several configurations in a log each may have been in force when this was decided.
        let short = |configuration: &Configuration| {
            short_half(configuration, |id| self.says_it_has(configuration.members[&id].disk, commit))
        };
        if let Some((on_disk, all)) = short_of_all(raft.configurations(commit), short) {
            return Err(format!(
                "majority persistence: {commit} is committed and on {on_disk} of {all} disks"
            ));
        }
        self.check_candidates(commit)
    }

    /// Leader Completeness (§5.4), before anybody campaigns: whose log lacks what is committed could not win an election
    /// now, and so never will. A commitment by counting alone, of an entry of an earlier term, breaks this at once (figure
    /// 8), long before the election that would lose the entry. Each campaigns by the configuration of its own log. Who is
    /// down, or has a disk that was set back, is taken to vote for nobody.
    fn check_candidates(&self, commit: LogIndex) -> Result<(), String> {
        let is_sound = |disk: &DiskId| self.disks.get(disk).is_some_and(|held| !held.set_back);
        for (id, known) in &self.known {
            let candidate = &known.log;
            let Some(configuration) = known.configuration.and_then(|id| self.ledger.configuration(id)) else {
                continue;
            };
            if !known.disk.as_ref().is_some_and(is_sound) || self.ledger.has_committed(candidate, commit) {
                continue;
            }
            let grants = |id: NodeId| {
                let disk = configuration.members[&id].disk;
                let voter = self.known.get(&id).filter(|voter| voter.seen && voter.disk == Some(disk));
                is_sound(&disk) && voter.is_some_and(|voter| voter.log.last <= candidate.last)
            };
            let wins = short_half(configuration, grants).is_none();
            if wins {
                return Err(format!(
                    "leader completeness: {commit} is committed, and {id:?} could be elected without it, with {:?} as its last",
                    candidate.last
                ));
            }
        }
        Ok(())
    }

    /// The disk of a node, once its core has shown it.
    pub(super) fn disk(&self, node: NodeId) -> Option<DiskId> {
        self.known.get(&node)?.disk
    }

    /// Whether a node has said that this disk of its has the log up to `index`.
    pub(super) fn says_it_has(&self, disk: DiskId, index: LogIndex) -> bool {
        self.disks.get(&disk).is_some_and(|held| held.persisted >= index)
    }

    /// Whether a disk may have been set back, so that what was said of it may no longer hold.
    pub(super) fn was_set_back(&self, disk: DiskId) -> bool {
        self.disks.get(&disk).is_some_and(|held| held.set_back)
    }

    /// The configuration as of what is committed; `None` before the first commit.
    pub(super) fn configuration(&self) -> Option<&Configuration> {
        self.configuration.as_ref()
    }

    /// All configurations that count: the committed one, and later ones that some node has held.
    pub(super) fn configurations(&self) -> impl Iterator<Item = &Configuration> {
        self.configuration.iter().chain(self.ledger.configurations_after(self.committed))
    }

    /// The greatest commit index that any node has shown.
    pub(super) fn last_committed(&self) -> LogIndex {
        self.committed
    }

    /// State machine safety: two nodes that applied the same index have the same state (STORAGE row 21).
    fn check_digest(
        &mut self,
        node: NodeId,
        applied: LogIndex,
        digest: u128,
        has_applied: bool,
    ) -> Result<(), String> {
        let (first, by) = *self.digests.entry(applied).or_insert((digest, node));
        self.compared += u64::from(has_applied && by != node);
        if self.digests.len() > DIGESTS {
            self.digests.pop_first();
        }
        if first == digest {
            return Ok(());
        }
        Err(format!("state digest: at index {applied} the state differs from that of {by:?}"))
    }
}

impl Known {
    /// What a life has shown does not go back.
    fn goes_on(&self, status: &Status) -> Result<(), String> {
        for (what, before, now) in [
            ("term", self.term, status.term),
            ("commit index", self.commit, status.commit),
            ("applied index", self.applied, status.applied),
        ] {
            if now < before {
                return Err(format!("monotony: the {what} went from {before} to {now}"));
            }
        }
        if status.applied > status.commit || status.commit > status.last.index {
            return Err(format!(
                "order: applied {}, committed {}, last {:?}",
                status.applied, status.commit, status.last
            ));
        }
        Ok(())
    }

    fn now_is(&mut self, status: &Status, digest: u128) {
        self.term = status.term;
        self.commit = status.commit;
        self.applied = status.applied;
        self.digest = digest;
        self.seen = true;
    }
}

impl Held {
    /// The disk has the log up to `persisted`. What it held is there in the next life.
    fn goes_on(&mut self, persisted: LogIndex, is_seen: bool) -> Result<(), String> {
        if !is_seen && !self.set_back && persisted < self.persisted {
            return Err(format!(
                "durability: the log was on disk up to {}, and came back up to {persisted}",
                self.persisted
            ));
        }
        self.persisted = if self.set_back { self.persisted.max(persisted) } else { persisted };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{Config, Entry, EntryKind, Member, Recovered, Stamp};
    use crate::time::Now;
    use std::vec::Vec;

    /// A core whose log holds, after the founding entry, entries of these terms with this data.
    fn core(id: u64, entries: &[(Term, &'static str)]) -> Raft {
        let member = |id: u64| {
            let member =
                Member { disk: DiskId(id.into()), peer_address: "p".into(), client_address: "c".into() };
            (NodeId(id), member)
        };
        let mut recovered = Recovered::formed(
            DiskId(u128::from(id)),
            &Configuration::of_voters((1..=3).map(member).collect()),
        );
        let more = entries.iter().zip(2..).map(|(&(term, data), index)| Entry {
            id: LogId::new(term, index),
            kind: EntryKind::Command,
            stamp: Stamp::default(),
            data: data.as_bytes().into(),
        });
        recovered.entries = recovered.entries.iter().cloned().chain(more).collect();
        recovered.vote.term = 9;
        Raft::new(Config::new(NodeId(id), 1), recovered, Now::default()).expect("a sound core")
    }

    /// One step of such a core, as edited.
    struct Shown(Raft, Status, u128);

    fn shown(id: u64, entries: &[(Term, &'static str)], edit: impl FnOnce(&mut Status)) -> Shown {
        let raft = core(id, entries);
        let mut status = raft.status();
        edit(&mut status);
        let digest = status.applied.into();
        Shown(raft, status, digest)
    }

    fn check(safety: &mut Safety, step: &Shown) -> Result<(), String> {
        let Shown(raft, status, digest) = step;
        safety.check(&Step { node: status.id, raft, status, digest: *digest, now: 0 })
    }

    /// Checks them in order; the last one must break the invariant that is named so.
    fn broken(invariant: &str, steps: impl IntoIterator<Item = Shown>) {
        let mut safety = Safety::default();
        let results: Vec<_> = steps.into_iter().map(|step| check(&mut safety, &step)).collect();
        let (last, earlier) = results.split_last().expect("at least one step");
        assert!(earlier.iter().all(Result::is_ok), "{earlier:?}");
        let error = last.as_ref().expect_err("the last step breaks an invariant");
        assert!(error.starts_with(invariant), "{error}");
    }

    fn leads(term: Term) -> impl Fn(&mut Status) {
        move |status| (status.role, status.term) = (Role::Leader, term)
    }

    fn committed(index: LogIndex) -> impl Fn(&mut Status) {
        move |status| status.commit = index
    }

    const LOG: [(Term, &str); 3] = [(1, "a"), (1, "b"), (2, "c")];

    #[test]
    fn two_leaders_of_one_term_are_caught() {
        broken("election safety", [shown(1, &LOG, leads(9)), shown(2, &LOG, leads(9))]);
    }

    #[test]
    fn logs_that_differ_in_or_before_one_position_are_caught() {
        broken("log matching", [shown(1, &LOG, |_| ()), shown(2, &[(1, "a"), (1, "B")], |_| ())]);
        broken("log matching", [shown(1, &LOG, |_| ()), shown(2, &[(1, "a"), (1, "B"), (2, "c")], |_| ())]);
    }

    #[test]
    fn a_commit_index_that_falls_is_caught() {
        broken(
            "monotony",
            [shown(1, &LOG, |_| ()), shown(2, &LOG, committed(3)), shown(2, &LOG, committed(2))],
        );
    }

    #[test]
    fn another_entry_committed_at_an_index_is_caught() {
        let other = [(1, "a"), (3, "x"), (3, "y")];
        let steps = [
            shown(1, &LOG, |_| ()),
            shown(2, &LOG, |_| ()),
            shown(1, &LOG, committed(3)),
            shown(3, &other, committed(3)),
        ];
        broken("state machine safety", steps);
    }

    #[test]
    fn a_leader_without_what_was_committed_is_caught() {
        let by_2 = |status: &mut Status| {
            leads(2)(status);
            status.commit = 4;
        };
        let steps = [shown(2, &LOG, |_| ()), shown(1, &LOG, by_2), shown(3, &LOG[..2], leads(3))];
        broken("leader completeness", steps);
    }

    /// Figure 8: an entry of term 2 is on a majority, and the third node's later term would win an election without it.
    #[test]
    fn a_commitment_that_an_election_could_undo_is_caught() {
        let steps = |third| {
            let first = [(1, "a"), (2, "b")];
            let commits = shown(1, &first, committed(3));
            [shown(1, &first, |_| ()), shown(2, &first, |_| ()), shown(3, third, |_| ()), commits]
        };
        broken("leader completeness", steps(&[(1, "a"), (3, "x")]));
        let mut safety = Safety::default();
        assert!(steps(&[(1, "a"), (1, "x")]).iter().all(|step| check(&mut safety, step).is_ok()));
    }

    #[test]
    fn a_log_that_shrinks_for_nothing_is_caught() {
        broken("log matching", [shown(1, &LOG, |_| ()), shown(1, &LOG[..2], |_| ())]);
        let mut safety = Safety::default();
        let contradicted = [shown(1, &LOG, |_| ()), shown(1, &[(1, "a"), (3, "x")], |_| ())];
        assert!(
            contradicted.iter().all(|step| check(&mut safety, step).is_ok()),
            "a later leader's is another"
        );
    }

    #[test]
    fn a_commit_on_a_minority_of_disks_is_caught() {
        broken("majority", [shown(2, &LOG[..1], |_| ()), shown(1, &LOG, committed(4))]);
    }

    #[test]
    fn states_that_differ_at_one_index_are_caught() {
        let mut odd = shown(2, &LOG, |_| ());
        odd.2 += 1;
        broken("state digest", [shown(1, &LOG, |_| ()), odd]);
    }

    #[test]
    fn a_disk_that_forgot_is_caught_unless_it_is_another_one() {
        let mut safety = Safety::default();
        let mut check = |entries, before: fn(&mut Safety, NodeId)| {
            before(&mut safety, NodeId(1));
            check(&mut safety, &shown(1, entries, |_| ()))
        };
        assert!(check(&LOG, |_, _| ()).is_ok());
        assert!(check(&LOG, Safety::process_ended).is_ok());
        assert!(check(&LOG[..2], Safety::process_ended).is_err());
        let replace = |safety: &mut Safety, node| {
            safety.process_ended(node);
            safety.disk_changed(node);
        };
        assert!(check(&LOG[..2], replace).is_ok());
    }

    /// Found by seed 284 of the ground of entries that are dropped: entries below a leader's snapshot counted as kept.
    #[test]
    fn a_snapshot_cuts_off_what_it_contradicts_below_its_end() {
        let mut safety = Safety::default();
        let from_snapshot = |status: &mut Status| {
            (status.first_index, status.last) = (5, LogId::new(2, 4));
            (status.commit, status.applied) = (4, 4);
        };
        let steps = [
            shown(3, &LOG, |_| {}),
            shown(1, &LOG, committed(4)),
            shown(2, &[(1, "a"), (1, "b"), (1, "x"), (1, "y")], |_| {}),
            shown(2, &LOG, from_snapshot),
        ];
        for step in &steps {
            check(&mut safety, step).expect("nothing is broken");
        }
        assert_eq!(safety.log(NodeId(2)).and_then(|log| log.cut), Some(4));
    }
}
