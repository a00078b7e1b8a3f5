//! The follower's half of replication (§5.3).

use alloc::vec::Vec;

use super::{
    Actions, Configuration, Entries, Entry, EntryKind, Fault, LogId, LogIndex, Message, NodeId, Raft, Round,
    Stamp,
};

impl Raft {
    /// The leader's log after `previous`. Acknowledged when it is on disk; see `pay`.
    pub(super) fn on_append(
        &mut self,
        from: NodeId,
        previous: LogId,
        entries: Entries,
        commit: LogIndex,
        out: &mut Actions,
    ) -> Result<(), Fault> {
        if !self.hear_leader(from, out) || !self.has_room_for(&entries) {
            return Ok(());
        }
        let Some(configurations) = self.check_run(previous, &entries) else { return Ok(()) };
        let ours = self.log.term(previous.index);
        let differs = ours.is_some_and(|term| term != previous.term && !planted!("previous-is-not-compared"));
        if previous.index > self.log.last().index || differs {
            return self.reject(from, previous, out);
        }
        // So many of the entries may be in the log already: what is past its end conflicts with nothing.
        let held = self.log.last().index - previous.index;
        let overlap = usize::try_from(held).unwrap_or(usize::MAX).min(entries.len());
        // What is before our log's base is committed, and committed entries are in every leader's log.
        let conflicts = |id: &LogId| {
            let cuts = id.index > self.commit && planted!("append-always-truncates");
            self.log.term(id.index).is_some_and(|term| term != id.term || cuts)
        };
        if let Some(theirs) = entries.iter().take(overlap).map(|e| e.id).find(conflicts)
            && !planted!("conflict-is-kept")
        {
            self.cut(from, theirs)?;
        }
        let next = self.log.last().index + 1;
        let reach = previous.index + entries.len() as u64;
        let before = self.log.bytes();
        self.log.extend(entries);
        self.staged_bytes += self.log.bytes() - before;
        if !configurations.is_empty() {
            self.follow_configurations(configurations.into_iter().filter(|c| c.0 >= next));
        }
        // Not the leader's commit index alone: our log may go on past `reach` with what the leader has not (trap 10).
        let known = if planted!("append-commits-past-its-end") { self.log.last().index } else { reach };
        self.commit_to(commit.min(known));
        let reach = if planted!("append-agrees-past-its-end") { self.log.last().index } else { reach };
        self.owed.agreed = self.owed.agreed.max(reach).max(self.commit);
        // One answer for all of it, when the last of it is on disk; on the way there each write that completes is news.
        self.owed.acknowledged = self.owed.acknowledged.max(self.owed.agreed.min(self.writes.persisted()));
        self.owed.acknowledge = true;
        Ok(())
    }

    fn follow_configurations(&mut self, came: impl Iterator<Item = (LogIndex, Configuration)>) {
        for (index, configuration) in came {
            self.was_member |= configuration.names(self.config.id, self.disk);
            self.membership.push(index, configuration);
        }
    }

    /// The leader is alive, and `commit` is committed, which this node has acknowledged.
    pub(super) fn on_heartbeat(
        &mut self,
        from: NodeId,
        round: Round,
        commit: LogIndex,
        out: &mut Actions,
    ) -> Result<(), Fault> {
        if !self.hear_leader(from, out) {
            return Ok(());
        }
        let last = self.log.last().index;
        if commit > last {
            return Err(Fault::CommitBeyondLog { leader: from, commit, last });
        }
        self.commit_to(commit);
        // Round 0 asks for no answer.
        self.owed.beat = self.owed.beat.max(Some(round).filter(|round| *round > 0));
        self.repeat_query(from, out);
        Ok(())
    }

    /// Refuses an append whose `previous` is not in the log, and says where the logs may agree: the last position of ours
    /// of a term not past `previous`'s, so that one answer skips a whole term.
    fn reject(&mut self, leader: NodeId, previous: LogId, out: &mut Actions) -> Result<(), Fault> {
        if previous.index <= self.commit {
            return Err(self.conflict(leader, previous));
        }
        let before = LogId::new(previous.term, previous.index - 1);
        // At the base at the earliest: `previous` is past the commit index, and so past the base.
        let index = self.log.agreement(before);
        let hint = LogId::new(self.log.term(index).unwrap_or(0), index);
        let reply = Message::AppendRejected { term: self.hard.term, probed: previous.index, hint };
        self.send(leader, reply, out);
        Ok(())
    }

    /// Removes our entries from `theirs.index` on, where the leader has another (trap 11: only there, and never what is
    /// committed).
    fn cut(&mut self, leader: NodeId, theirs: LogId) -> Result<(), Fault> {
        if theirs.index <= self.commit && !planted!("committed-conflict-is-cut") {
            return Err(self.conflict(leader, theirs));
        }
        self.log.truncate(theirs.index);
        self.membership.truncate(theirs.index);
        self.writes.clamp(theirs.index - 1);
        Ok(())
    }

    fn conflict(&self, leader: NodeId, theirs: LogId) -> Fault {
        let ours = LogId::new(self.log.term(theirs.index).unwrap_or(0), theirs.index);
        Fault::CommittedConflict { leader, ours, theirs }
    }

    /// Whether `entries` follow `previous` as a leader's log does, in order and of no later term than the leader's; and
    /// the configurations among them. `None` if the peer erred: then the message is not read.
    fn check_run(&self, previous: LogId, entries: &Entries) -> Option<Vec<(LogIndex, Configuration)>> {
        let mut configurations = Vec::new();
        let mut last = previous;
        let mut stamp = self.log.stamp(previous.index).unwrap_or_default();
        let end = self.log.last().index;
        for entry in entries.iter() {
            let follows = last.index.checked_add(1) == Some(entry.id.index) && entry.id.term >= last.term;
            let later = entry.stamp.unix_ms >= stamp.unix_ms && entry.stamp.cluster_ms >= stamp.cluster_ms;
            if !follows || !later {
                return None;
            }
            if entry.kind == EntryKind::Configuration {
                configurations.push((entry.id.index, Configuration::from_cbor(&entry.data).ok()?));
            }
            stamp = if entry.id.index <= end { self.held_stamp(entry) } else { entry.stamp };
            last = entry.id;
        }
        (last.term <= self.hard.term && last.index < LogIndex::MAX).then_some(configurations)
    }

    /// Where the log has the entry already, what it has goes on, not what this peer says of it.
    #[inline(never)]
    fn held_stamp(&self, entry: &Entry) -> Stamp {
        let held = self.log.stamp(entry.id.index).filter(|_| self.log.holds(entry.id));
        held.unwrap_or(entry.stamp)
    }

    /// Whether the disk keeps up: what waits for it is bounded here too, whatever window the leader believes in. An append
    /// that is not taken is as good as lost, and comes again.
    fn has_room_for(&self, entries: &Entries) -> bool {
        let waiting = self.unwritten_bytes();
        waiting == 0 || waiting.saturating_add(entries.packed_len()) <= self.config.max_uncommitted_bytes
    }
}
