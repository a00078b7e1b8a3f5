//! The one place where role meets event: exhaustive, and it only dispatches. No arm takes what is not named: a new role or
//! event does not compile before its place here is decided (`_` stands for the role where every role does the same).

use core::mem;

use super::reads::Asker;
use super::role::State;
use super::{Actions, Event, Fault, LogId, Message, NodeId, Raft, SnapshotProgress, Term};

impl Raft {
    /// Takes one event, and out of it what is kept.
    // The event is matched alone, and the role inside: a pair of the two would be a copy of the event.
    #[inline]
    pub(super) fn dispatch(&mut self, event: &mut Event, out: &mut Actions) -> Result<(), Fault> {
        use State::{Candidate, Follower, Leader, PreCandidate};
        match event {
            Event::Receive { from, message } => return self.receive(*from, message, out),
            Event::Persisted { id } => return self.on_persisted(*id, out),
            Event::Snapshotted { snapshot } => return self.on_snapshotted(snapshot, out),
            Event::SnapshotChunkWritten { snapshot, written } => {
                self.on_chunk_written(*snapshot, *written, out);
            }
            Event::SnapshotInstalled { snapshot } => self.on_snapshot_installed(*snapshot, out),
            Event::SnapshotFailed { snapshot } => self.on_snapshot_failed(*snapshot, out),

            Event::Propose { proposal, data } => match &self.state {
                Leader(_) => self.on_propose(*proposal, mem::take(data), out),
                Follower | PreCandidate(_) | Candidate(_) => self.refuse_proposal(*proposal, out),
            },
            Event::Reconfigure { proposal, change } => match &self.state {
                Leader(_) => self.on_reconfigure(*proposal, change, out),
                Follower | PreCandidate(_) | Candidate(_) => self.refuse_proposal(*proposal, out),
            },
            Event::Transfer { transfer, to } => match &self.state {
                Leader(_) => self.on_transfer(*transfer, *to, out),
                Follower | PreCandidate(_) | Candidate(_) => self.refuse_transfer(*transfer, out),
            },
            Event::Read { read } => match &self.state {
                Leader(_) => self.on_read(Asker::Own(*read), out),
                Follower | PreCandidate(_) | Candidate(_) => self.on_read_elsewhere(*read, out),
            },
            Event::Unreachable { peer } => match &self.state {
                Leader(_) => self.on_unreachable(*peer),
                Follower | PreCandidate(_) | Candidate(_) => {}
            },
            Event::Contact { peer } => match &self.state {
                Follower if self.leader == Some(*peer) => self.note_leader(),
                Follower | PreCandidate(_) | Candidate(_) | Leader(_) => {}
            },
            Event::Wake => match &self.state {
                Leader(lead) if self.now.mono >= lead.beat_at => self.on_beat(out),
                Leader(lead) if lead.widen_at.is_some_and(|at| self.now.mono >= at) => self.send_round(out),
                Follower | PreCandidate(_) | Candidate(_) if self.now.mono >= self.election_at => {
                    self.on_election_timeout(out);
                }
                // An early wake is harmless.
                Follower | PreCandidate(_) | Candidate(_) | Leader(_) => {}
            },
        }
        Ok(())
    }

    /// Takes a message: first its term (§5.1), then what it says.
    #[inline]
    fn receive(&mut self, from: NodeId, message: &mut Message, out: &mut Actions) -> Result<(), Fault> {
        if from == self.config.id || from == NodeId(0) {
            return Ok(());
        }
        let term = message.term();
        match &*message {
            // These two speak of a term that nobody is in yet.
            &Message::PreVote { last, .. } => {
                self.on_pre_vote(from, term, last, out);
                return Ok(());
            }
            Message::PreVoteReply { granted: true, .. } => {
                if self.hard.term.checked_add(1) == Some(term) {
                    self.on_pre_vote_reply(from, true);
                }
                return Ok(());
            }
            // Who hears a leader lets nobody disturb it, also not its term (dissertation §4.2.3).
            Message::Vote { transfer: false, .. } if term > self.hard.term && self.is_sticky() => {
                return Ok(());
            }
            Message::PreVoteReply { granted: false, .. }
            | Message::Vote { .. }
            | Message::VoteReply { .. }
            | Message::Append { .. }
            | Message::AppendAccepted { .. }
            | Message::AppendRejected { .. }
            | Message::Heartbeat { .. }
            | Message::HeartbeatReply { .. }
            | Message::TimeoutNow { .. }
            | Message::ReadIndex { .. }
            | Message::ReadIndexReply { .. }
            | Message::SnapshotChunk { .. }
            | Message::SnapshotReply { .. } => {}
        }
        if term < self.hard.term && !planted!("earlier-term-is-heard") {
            self.answer_stale(from, message, out);
            return Ok(());
        }
        if term > self.hard.term {
            self.become_follower(term, None, out);
        }
        self.receive_current(from, message, out)
    }

    /// A message of the current term. What a role has no use for it ignores in its first line.
    #[inline]
    fn receive_current(
        &mut self,
        from: NodeId,
        message: &mut Message,
        out: &mut Actions,
    ) -> Result<(), Fault> {
        match message {
            Message::PreVote { .. } | Message::PreVoteReply { granted: true, .. } => {}
            Message::PreVoteReply { granted: false, .. } => self.on_pre_vote_reply(from, false),
            &mut Message::Vote { last, transfer, .. } => self.on_vote(from, last, transfer, out),
            &mut Message::VoteReply { granted, wall, .. } => self.on_vote_reply(from, granted, wall, out),
            Message::Append { previous, entries, commit, .. } => {
                return self.on_append(from, *previous, mem::take(entries), *commit, out);
            }
            &mut Message::AppendAccepted { matched, .. } => return self.on_append_accepted(from, matched),
            &mut Message::AppendRejected { probed, hint, .. } => self.on_append_rejected(from, probed, hint),
            &mut Message::Heartbeat { round, commit, .. } => {
                return self.on_heartbeat(from, round, commit, out);
            }
            &mut Message::HeartbeatReply { round, wall, .. } => {
                self.on_heartbeat_reply(from, round, wall, out);
            }
            Message::TimeoutNow { .. } => self.on_timeout_now(from, out),
            &mut Message::ReadIndex { query, .. } => self.on_read(Asker::Peer(from, query), out),
            &mut Message::ReadIndexReply { query, index, .. } => self.on_read_index_reply(query, index, out),
            Message::SnapshotChunk { snapshot, offset, data, .. } => {
                self.on_snapshot_chunk(from, snapshot, *offset, mem::take(data), out);
            }
            &mut Message::SnapshotReply { snapshot, progress, .. } => {
                return self.on_snapshot_reply(from, snapshot, progress);
            }
        }
        Ok(())
    }

    /// A message of an earlier term. A leader or candidate of that term learns ours and gives way: without the answer a
    /// node that is stuck at a higher term would refuse its leader, and be refused, for ever (trap 4).
    #[cold]
    fn answer_stale(&mut self, from: NodeId, message: &Message, out: &mut Actions) {
        if planted!("stale-leader-is-unanswered") {
            return;
        }
        let (term, wall): (Term, _) = (self.hard.term, self.now.wall);
        let reply = match message {
            Message::Vote { .. } => Message::VoteReply { term, granted: false, wall },
            Message::Append { previous, .. } => {
                Message::AppendRejected { term, probed: previous.index, hint: LogId::ZERO }
            }
            // Rounds begin anew in each term: in this one the number would confirm a round that did not leave yet, and
            // with it a read that nobody has asked for yet (trap 21).
            Message::Heartbeat { round, .. } => {
                let round = if planted!("stale-round") { *round } else { 0 };
                Message::HeartbeatReply { term, round, wall }
            }
            Message::SnapshotChunk { snapshot, .. } => {
                Message::SnapshotReply { term, snapshot: snapshot.id, progress: SnapshotProgress::Written(0) }
            }
            Message::PreVote { .. }
            | Message::PreVoteReply { .. }
            | Message::VoteReply { .. }
            | Message::AppendAccepted { .. }
            | Message::AppendRejected { .. }
            | Message::HeartbeatReply { .. }
            | Message::TimeoutNow { .. }
            | Message::ReadIndex { .. }
            | Message::ReadIndexReply { .. }
            | Message::SnapshotReply { .. } => return,
        };
        self.send(from, reply, out);
    }
}
