//! Snapshots (§7; dissertation §5): the log is compacted behind our own, and a follower that needs what is compacted gets
//! ours in chunks. The core decides; the embedder has the bytes.

use alloc::boxed::Box;

use super::progress::Sending;
use super::role::{Incoming, State};
use super::{
    Action, Actions, Entries, Fault, LogId, LogIndex, Message, NodeId, Raft, SnapshotId, SnapshotMeta,
    SnapshotPoint, SnapshotProgress, SnapshotSwitch,
};

/// Entries that a compaction drops in the step itself: more take longer than a heartbeat may wait.
const DROPPED_AT_ONCE: u64 = 1024;

impl Raft {
    /// The embedder saved a snapshot of its own state: the log up to there may go, in memory and on disk.
    pub(super) fn on_snapshotted(&mut self, meta: &SnapshotMeta, out: &mut Actions) -> Result<(), Fault> {
        let last = meta.id.last;
        if self.snapshot.as_ref().is_some_and(|s| s.id.last.index >= last.index) || last.index == 0 {
            return Ok(());
        }
        if last.index > self.applied {
            return Err(Fault::Contract("a snapshot was saved past what is applied"));
        }
        // Entries between the snapshot before and what is applied are in the log, whatever else was compacted.
        if !self.log.holds(last) {
            return Err(Fault::Contract("a snapshot was saved at a position that the log does not have"));
        }
        if meta.len == 0 {
            return Err(Fault::Contract("a snapshot was saved without a byte"));
        }
        self.stage_switch(meta.clone(), true, out);
        self.restart_overtaken_transfers();
        Ok(())
    }

    /// What a snapshot of the state at `index` carries.
    pub(super) fn point_at(&self, index: LogIndex) -> Option<SnapshotPoint> {
        if index == 0 || index > self.applied {
            return None;
        }
        Some(SnapshotPoint {
            last: LogId::new(self.log.term(index)?, index),
            stamp: self.log.stamp(index)?,
            configuration: self.membership.at(index)?.clone(),
        })
    }

    /// The log begins after `meta` from now on: in memory (with some entries kept for followers that are a little behind),
    /// and on disk with the next write.
    fn stage_switch(&mut self, meta: SnapshotMeta, keeps_suffix: bool, out: &mut Actions) {
        // In one write the switch precedes the entries; what has to precede the switch needs a write of its own.
        if self.switch.is_some() || self.writes.handed() < self.log.last().index {
            self.write(out);
        }
        let last = meta.id.last;
        let gone;
        if keeps_suffix {
            gone = self.log.compact(last.index, self.config.trailing_bytes);
            self.membership.compact(self.log.base().index);
        } else {
            self.writes.replace(last.index, self.commit);
            gone = self.log.reset(last, meta.stamp);
            self.membership.reset(last.index, meta.configuration.clone());
        }
        if !keeps_suffix {
            // A snapshot without this node says nothing of its removal.
            self.was_member = meta.configuration.names(self.config.id, self.disk);
        }
        self.snapshot = Some(meta.clone());
        self.switch = Some(Box::new(SnapshotSwitch { snapshot: meta, keeps_suffix }));
        if gone.len() > DROPPED_AT_ONCE {
            out.push(Action::Discard(gone));
        }
    }

    // --- sending ---

    /// A transfer after which the log would not go on is started anew with the newest snapshot.
    fn restart_overtaken_transfers(&mut self) {
        let (base, now) = (self.log.base().index, self.now.mono);
        let State::Leader(lead) = &mut self.state else { return };
        let Some(meta) = &self.snapshot else { return };
        for (_, peer) in lead.peers.iter_mut() {
            if let Sending::Snapshot(transfer) = &peer.sending
                && transfer.meta.id.last.index < base
            {
                peer.snapshot(meta.clone(), now, &self.config);
            }
        }
    }

    /// Asks again where nothing was heard of a transfer for a while, and probes whether the peer has what it needs by now.
    pub(super) fn retry_snapshots(&mut self, out: &mut Actions) {
        let now = self.now.mono;
        let State::Leader(lead) = &mut self.state else { return };
        for (to, peer) in lead.peers.iter_mut() {
            let silent = now.saturating_sub(peer.contact) > self.config.election_timeout;
            let Sending::Snapshot(transfer) = &mut peer.sending else { continue };
            // To a peer that is not there a chunk is only a read of our disk.
            if silent || now < transfer.deadline {
                continue;
            }
            // The peer has nothing of it yet: a newer snapshot serves it better, and the older one's file may be gone, as
            // nobody has kept it for a peer that was not connected.
            if transfer.written == 0
                && let Some(newest) = self.snapshot.as_ref().filter(|newest| newest.id != transfer.meta.id)
            {
                transfer.meta = newest.clone();
            }
            transfer.retry(now, &self.config);
            let message = Message::Append {
                term: self.hard.term,
                previous: transfer.meta.id.last,
                entries: Entries::empty(),
                commit: self.commit,
            };
            out.push(Action::Send { to, message });
        }
    }

    /// A receiver says how far it is.
    pub(super) fn on_snapshot_reply(
        &mut self,
        from: NodeId,
        snapshot: SnapshotId,
        progress: SnapshotProgress,
    ) -> Result<(), Fault> {
        let now = self.now.mono;
        let State::Leader(lead) = &mut self.state else { return Ok(()) };
        let Some(peer) = lead.peers.get_mut(from) else { return Ok(()) };
        peer.contact = now;
        if let SnapshotProgress::Installed(matched) = progress {
            return self.on_append_accepted(from, matched);
        }
        let Sending::Snapshot(transfer) = &mut peer.sending else { return Ok(()) };
        if transfer.meta.id != snapshot {
            return Ok(());
        }
        match progress {
            SnapshotProgress::Written(offset) => transfer.wrote(offset, now, &self.config),
            SnapshotProgress::Corrupt => transfer.start_again(now, &self.config),
            SnapshotProgress::Installed(_) => {}
        }
        Ok(())
    }

    // --- receiving ---

    /// A piece of the leader's snapshot.
    pub(super) fn on_snapshot_chunk(
        &mut self,
        from: NodeId,
        meta: &SnapshotMeta,
        offset: u64,
        data: bytes::Bytes,
        out: &mut Actions,
    ) {
        if !self.hear_leader(from, out) {
            return;
        }
        // It may be from before this node was added, and need not name it: the entry that does follows. Until then this node
        // campaigns for nothing.
        if meta.configuration.validate().is_err()
            || meta.id.last.term > self.hard.term
            || meta.id.last.index > LogIndex::MAX / 2
        {
            return;
        }
        let reaches = self.log.last().index >= meta.id.last.index;
        if self.log.holds(meta.id.last) || (reaches && planted!("snapshot-matches-by-index")) {
            // A snapshot holds only what is committed, and we have all of it as entries.
            self.commit_to(meta.id.last.index);
        }
        if meta.id.last.index <= self.commit {
            return self.decline(from, meta.id, out);
        }
        self.expect(meta, out);
        let Some(incoming) = &mut self.incoming else { return };
        let end = offset.saturating_add(data.len() as u64);
        let ahead = incoming.received - incoming.written;
        let room = self.config.snapshot_chunk_bytes.saturating_mul(self.config.max_inflight_chunks as u64);
        let takes = incoming.meta == *meta
            && offset == incoming.received
            && !data.is_empty()
            && end <= meta.len
            && (ahead == 0 || ahead + data.len() as u64 <= room);
        if takes {
            incoming.received = end;
            out.push(Action::WriteSnapshotChunk { snapshot: Box::new(meta.clone()), offset, data });
        } else if incoming.meta.id == meta.id {
            let progress = SnapshotProgress::Written(incoming.written);
            let reply = Message::SnapshotReply { term: self.hard.term, snapshot: meta.id, progress };
            self.send(from, reply, out);
        }
    }

    /// Makes `meta` the snapshot being received, unless another one goes on: one that is being installed, or a later one.
    fn expect(&mut self, meta: &SnapshotMeta, out: &mut Actions) {
        match &self.incoming {
            Some(current) if current.meta.id == meta.id || current.installing => return,
            // Delayed chunks of an earlier snapshot must not undo a later one; only a new leader begins with less.
            Some(current) if meta.id.last <= current.meta.id.last && self.incoming_term == self.hard.term => {
                return;
            }
            Some(_) => self.forget_incoming(out),
            None => {}
        }
        self.incoming_term = self.hard.term;
        self.incoming = Some(Incoming { meta: meta.clone(), received: 0, written: 0, installing: false });
    }

    /// Tells the leader that its snapshot is not needed, once that is durably so.
    fn decline(&mut self, leader: NodeId, snapshot: SnapshotId, out: &mut Actions) {
        if self.is_vote_durable() {
            let progress = SnapshotProgress::Installed(self.commit.min(self.writes.persisted()));
            self.send(leader, Message::SnapshotReply { term: self.hard.term, snapshot, progress }, out);
        }
    }

    /// A snapshot that the log has caught up with is not waited for.
    #[inline]
    pub(super) fn forget_overtaken(&mut self, out: &mut Actions) {
        if self.incoming.as_ref().is_some_and(|i| i.meta.id.last.index <= self.commit) {
            self.forget_incoming(out);
        }
    }

    /// The snapshot being received is not needed any more. One that is being installed is dropped when its job is done.
    pub(super) fn forget_incoming(&mut self, out: &mut Actions) {
        if let Some(incoming) = self.incoming.take_if(|i| !i.installing) {
            out.push(Action::DropSnapshot { snapshot: incoming.meta.id });
        }
    }

    /// The embedder wrote bytes of the snapshot being received.
    pub(super) fn on_chunk_written(&mut self, snapshot: SnapshotId, written: u64, out: &mut Actions) {
        let Some(incoming) = self.incoming.as_mut().filter(|i| i.meta.id == snapshot) else { return };
        // More than was handed out was handed out before this snapshot was forgotten and begun anew.
        if written > incoming.received || written <= incoming.written {
            return;
        }
        incoming.written = written;
        if written == incoming.meta.len {
            incoming.installing = true;
            out.push(Action::InstallSnapshot { snapshot: Box::new(incoming.meta.clone()) });
        }
        self.report_incoming(snapshot, SnapshotProgress::Written(written), out);
    }

    /// The snapshot is loaded beside the running state: switch to it if it is still ahead of it.
    pub(super) fn on_snapshot_installed(&mut self, snapshot: SnapshotId, out: &mut Actions) {
        let Some(incoming) = self.incoming.take_if(|i| i.meta.id == snapshot && i.installing) else {
            return out.push(Action::DropSnapshot { snapshot });
        };
        let meta = incoming.meta;
        let ahead = (meta.id.last.index > self.commit || planted!("snapshot-sets-state-back"))
            && !matches!(self.state, State::Leader(_));
        if !ahead {
            return out.push(Action::DropSnapshot { snapshot });
        }
        // With (index, term) in the log, what follows it may be the leader's too, and acknowledged: it stays (trap 22).
        let keeps_suffix = self.log.holds(meta.id.last) && !planted!("install-drops-the-suffix");
        self.stage_switch(meta.clone(), keeps_suffix, out);
        self.commit = meta.id.last.index;
        self.applied = self.commit;
        // The write that names the snapshot is the next one: nothing is acknowledged before it is on disk.
        let write = self.writes.issued() + u64::from(!planted!("snapshot-acked-before-sync"));
        self.owed.installed = Some((write, snapshot));
        out.push(Action::SwitchSnapshot { snapshot: Box::new(meta) });
    }

    /// The bytes did not verify, or a piece of them was not written: that one is taken when it comes again.
    pub(super) fn on_snapshot_failed(&mut self, snapshot: SnapshotId, out: &mut Actions) {
        if let Some(incoming) = self.incoming.as_mut().filter(|i| i.meta.id == snapshot && !i.installing) {
            incoming.received = incoming.written;
            return;
        }
        if self.incoming.take_if(|i| i.meta.id == snapshot && i.installing).is_some() {
            self.report_incoming(snapshot, SnapshotProgress::Corrupt, out);
        }
    }

    fn report_incoming(&self, snapshot: SnapshotId, progress: SnapshotProgress, out: &mut Actions) {
        if let (State::Follower, Some(leader)) = (&self.state, self.leader) {
            self.send(leader, Message::SnapshotReply { term: self.hard.term, snapshot, progress }, out);
        }
    }
}
