//! The leader's half of replication (§5.3; dissertation §10.2.1).

use alloc::boxed::Box;

use super::log::Log;
use super::progress::{Progress, Sending};
use super::role::State;
use super::stamp::Report;
use super::{
    Action, Actions, Config, Entries, Entry, EntryKind, Fault, LogId, LogIndex, Message, NodeId, ProposalId,
    Raft, Refusal, Round, SnapshotMeta, Term, quorum,
};
use crate::time::{Micros, Millis};

impl Raft {
    /// A proposal at a leader: appended or refused, in this step.
    pub(super) fn on_propose(&mut self, proposal: ProposalId, data: bytes::Bytes, out: &mut Actions) {
        let State::Leader(lead) = &self.state else { return };
        if let Some(handover) = &lead.handover {
            let reason = Refusal::Transferring(handover.to);
            return out.push(Action::ProposalRefused { proposal, reason });
        }
        let bytes = super::PACKED_HEADER.saturating_add(data.len());
        let full = lead.uncommitted.saturating_add(bytes) > self.config.max_uncommitted_bytes;
        // A majority may commit without this node's disk: what waits for it is bounded here, as at a follower.
        let waiting = self.unwritten_bytes();
        let behind = waiting.saturating_add(bytes) > self.config.max_uncommitted_bytes;
        let refusal = if data.len() > self.config.max_entry_bytes {
            Some(Refusal::TooLarge)
        } else if (full && lead.uncommitted > 0) || (behind && waiting > 0) {
            Some(Refusal::UncommittedFull)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return out.push(Action::ProposalRefused { proposal, reason });
        }
        let id = self.append(EntryKind::Command, data);
        out.add(|| Action::Proposed { proposal, index: id.index, term: id.term });
    }

    /// A proposal at anybody else.
    pub(super) fn refuse_proposal(&self, proposal: ProposalId, out: &mut Actions) {
        out.push(Action::ProposalRefused { proposal, reason: Refusal::NotLeader(self.leader) });
    }

    /// Adds an entry to a leader's log.
    pub(super) fn append(&mut self, kind: EntryKind, data: bytes::Bytes) -> LogId {
        let id = LogId::new(self.hard.term, self.log.last().index + 1);
        let State::Leader(lead) = &mut self.state else { return id };
        let stamp = lead.stamp(self.config.id, self.now, self.membership.latest());
        let entry = Entry { id, kind, stamp, data };
        lead.uncommitted += entry.packed_len();
        self.staged_bytes += entry.packed_len();
        self.log.push(entry);
        id
    }

    /// The leader's regular beat: goes quiet if it has lost its majority, otherwise says that it is there.
    pub(super) fn on_beat(&mut self, out: &mut Actions) {
        let (me, now) = (self.config.id, self.now.mono);
        let State::Leader(lead) = &mut self.state else { return };
        // Counterexample: a leader that was held up for a while, and had asked nobody meanwhile, took the time for the others'
        // silence. Silence is what follows a question.
        let silent = |peer: &Progress| peer.silent_since().unwrap_or(Micros::MAX);
        let silent = quorum::agreed(self.membership.latest(), |id| {
            if id == me { Micros::MAX } else { lead.peers.get(id).map_or(0, silent) }
        });
        // Before any heartbeat leaves: one that still gets through must not keep others from electing (trap 7).
        if self.config.check_quorum
            && silent.saturating_add(self.config.election_timeout) <= now
            && !planted!("cut-off-leader-stays")
        {
            return self.become_follower(self.hard.term, None, out);
        }
        lead.beat_at = now.saturating_add(self.config.heartbeat_interval);
        if self.tend_handover(out) {
            self.retry_snapshots(out);
            self.send_round(out);
        }
    }

    /// Sends a round of heartbeats to everybody, which speaks for every read that has come so far.
    pub(super) fn send_round(&mut self, out: &mut Actions) {
        if let State::Leader(lead) = &mut self.state {
            lead.widen_at = None;
        }
        self.send_round_to(|_| true, out);
    }

    /// Sends one to some peers.
    pub(super) fn send_round_to(&mut self, whom: impl Fn(NodeId) -> bool, out: &mut Actions) {
        let State::Leader(lead) = &mut self.state else { return };
        lead.round += 1;
        lead.reads.depart(lead.round);
        if self.config.lease.is_some() {
            lead.lease.depart(lead.round, self.now.mono);
        }
        for (to, peer) in lead.peers.iter_mut().filter(|(id, _)| whom(*id)) {
            // Only what the peer certainly has (trap 10).
            let matched = if planted!("heartbeat-commits-too-far") { self.commit } else { peer.matched };
            let commit = self.commit.min(matched);
            peer.told = peer.told.max(commit);
            peer.ask(lead.round, self.now.mono);
            let message = Message::Heartbeat { term: self.hard.term, round: lead.round, commit };
            out.push(Action::Send { to, message });
        }
    }

    /// A peer's log durably agrees up to `matched`.
    pub(super) fn on_append_accepted(&mut self, from: NodeId, matched: LogIndex) -> Result<(), Fault> {
        let (now, base, last) = (self.now.mono, self.log.base().index, self.log.last().index);
        let State::Leader(lead) = &mut self.state else { return Ok(()) };
        let Some(peer) = lead.peers.get_mut(from) else { return Ok(()) };
        if matched > last {
            return Err(Fault::MatchBeyondLog { peer: from, matched, last });
        }
        peer.contact = now;
        // What is committed already helps no other entry to a majority.
        if peer.accepted(matched, base, now) && matched > self.commit {
            self.advance_commit();
        }
        Ok(())
    }

    /// A peer's log has no entry at `probed`; `hint` is the last position of it that may agree.
    pub(super) fn on_append_rejected(&mut self, from: NodeId, probed: LogIndex, hint: LogId) {
        let (now, base) = (self.now.mono, self.log.base().index);
        let State::Leader(lead) = &mut self.state else { return };
        let Some(peer) = lead.peers.get_mut(from) else { return };
        peer.contact = now;
        if !peer.minds_rejection(probed) {
            return;
        }
        // Whatever the hint says, the probed position itself does not agree.
        let hint = LogId::new(hint.term, hint.index.min(probed.saturating_sub(1)));
        let agreement = self.log.agreement(hint);
        match &peer.sending {
            Sending::Probe { .. } | Sending::Replicate(_) => peer.probe(agreement + 1),
            // A snapshot on its way is given up only if the log suffices after all.
            Sending::Snapshot(_) if agreement >= base && hint.index >= base => peer.probe(agreement + 1),
            Sending::Snapshot(_) => {}
        }
    }

    /// A peer answers a heartbeat: it is alive, its clock shows `wall`, and it knew no later leader when it answered.
    pub(super) fn on_heartbeat_reply(&mut self, from: NodeId, round: Round, wall: Millis, out: &mut Actions) {
        let now = self.now.mono;
        let State::Leader(lead) = &mut self.state else { return };
        let Some(peer) = lead.peers.get_mut(from) else { return };
        peer.contact = now;
        peer.clock = Some(Report { wall, at: now });
        peer.alive(now, &self.config);
        lead.stamp = None;
        self.note_round(from, round);
        self.answer_reads(out);
    }

    /// The connection to a peer broke.
    pub(super) fn on_unreachable(&mut self, peer: NodeId) {
        let State::Leader(lead) = &mut self.state else { return };
        if let Some(peer) = lead.peers.get_mut(peer) {
            peer.unreachable();
        }
    }

    /// Sends every peer what it lacks and what its window admits.
    pub(super) fn replicate(&mut self, out: &mut Actions) {
        let (now, delay) = (self.now.mono, self.config.commit_delay);
        let State::Leader(lead) = &mut self.state else { return };
        let tells = delay == 0 || lead.tell_at.is_some_and(|at| at <= now);
        let mut source = Source {
            tells,
            term: self.hard.term,
            commit: self.commit,
            now: self.now.mono,
            log: &mut self.log,
            snapshot: self.snapshot.as_ref(),
            config: &self.config,
        };
        let mut waits = false;
        for (to, peer) in lead.peers.iter_mut() {
            source.feed(to, peer, out);
            waits |= source.may_tell(peer);
        }
        lead.tell_at = waits.then(|| lead.tell_at.unwrap_or(now.saturating_add(delay)));
    }
}

/// What a leader sends from.
struct Source<'a> {
    /// Whether those who have all entries are told the commit index by messages of its own.
    tells: bool,
    term: Term,
    commit: LogIndex,
    now: Micros,
    log: &'a mut Log,
    snapshot: Option<&'a SnapshotMeta>,
    config: &'a Config,
}

impl Source<'_> {
    fn feed(&mut self, to: NodeId, peer: &mut Progress, out: &mut Actions) {
        if !matches!(peer.sending, Sending::Snapshot(_)) && peer.next <= self.log.base().index {
            // What the peer needs next is compacted away (§7).
            let Some(meta) = self.snapshot else { return };
            peer.snapshot(meta.clone(), self.now, self.config);
        }
        match peer.sending {
            Sending::Probe { .. } => self.feed_probe(to, peer, out),
            Sending::Replicate(_) => self.feed_window(to, peer, out),
            Sending::Snapshot(_) => self.feed_snapshot(to, peer, out),
        }
    }

    fn feed_probe(&mut self, to: NodeId, peer: &mut Progress, out: &mut Actions) {
        let Sending::Probe { sent, bare } = &mut peer.sending else { return };
        if sent.is_some() || peer.matched >= self.log.last().index {
            return;
        }
        *sent = Some(self.now);
        let entries = if *bare || peer.next > self.log.last().index {
            Entries::empty()
        } else {
            let last = self.log.last().index;
            self.log.fitting_run(peer.next, last, self.config.max_append_bytes)
        };
        let reach = peer.next - 1 + entries.len() as u64;
        self.append(to, peer, reach, |_| entries, out);
    }

    fn feed_window(&mut self, to: NodeId, peer: &mut Progress, out: &mut Actions) {
        let last = self.log.last().index;
        while peer.next <= last {
            let (end, bytes) = self.log.fitting(peer.next, last, self.config.max_append_bytes);
            let Sending::Replicate(window) = &mut peer.sending else { return };
            if !window.admits(bytes, self.config) {
                break;
            }
            window.push(end, bytes, self.now);
            let from = peer.next;
            self.append(to, peer, end, |log| log.run(from, end), out);
            peer.next = end + 1;
        }
        if self.tells && self.may_tell(peer) {
            // It asks for no answer: there would be one for each, and it would say nothing that is not known.
            let (term, round, commit) = (self.term, 0, self.commit.min(peer.matched));
            peer.told = commit;
            out.add(|| Action::Send { to, message: Message::Heartbeat { term, round, commit } });
        }
    }

    /// Whether a peer would learn of the commit index by a message of its own. With appends under way the next one, or the
    /// next heartbeat, tells it soon enough.
    fn may_tell(&self, peer: &Progress) -> bool {
        matches!(&peer.sending, Sending::Replicate(window) if window.is_empty())
            && peer.told < self.commit.min(peer.matched)
    }

    fn feed_snapshot(&mut self, to: NodeId, peer: &mut Progress, out: &mut Actions) {
        let Sending::Snapshot(transfer) = &mut peer.sending else { return };
        while let Some((offset, len)) = transfer.ask(self.config) {
            let snapshot = Box::new(transfer.meta.clone());
            out.push(Action::SendSnapshotChunk { to, term: self.term, snapshot, offset, len });
        }
    }

    /// Sends `entries`, which follow `peer.next - 1` and end at `reach`.
    #[inline]
    fn append(
        &mut self,
        to: NodeId,
        peer: &mut Progress,
        reach: LogIndex,
        entries: impl FnOnce(&mut Log) -> Entries,
        out: &mut Actions,
    ) {
        let index = peer.next - 1;
        // The position before an entry of the log is in the log, or its base.
        let Some(before) = self.log.term(index) else { return };
        peer.told = peer.told.max(self.commit.min(reach));
        let (term, previous, commit) = (self.term, LogId::new(before, index), self.commit);
        out.add(|| {
            let message = Message::Append { term, previous, entries: entries(self.log), commit };
            Action::Send { to, message }
        });
    }
}
