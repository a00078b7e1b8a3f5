//! Elections (§5.2, §5.4.1), with PreVote (dissertation §9.6) and stickiness (§4.2.3).

use alloc::boxed::Box;
use core::mem;

use super::lease::Lease;
use super::progress::Progress;
use super::quorum::Verdict;
use super::reads::PendingReads;
use super::role::{Leading, Owed, State, Votes};
use super::stamp::{Clock, Report};
use super::{Action, Actions, EntryKind, HardState, LogId, Message, NodeId, Raft, Refusal, Term};
use crate::time::Millis;

impl Raft {
    /// Nothing was heard of a leader, or nothing came of a campaign, for long enough.
    pub(super) fn on_election_timeout(&mut self, out: &mut Actions) {
        // A timeout of its own for each campaign: two nodes that collided once must not collide for ever (trap 8).
        self.draw_election_timeout();
        self.leader = None;
        if !self.may_campaign() {
            self.state = State::Follower;
        } else if self.config.pre_vote {
            self.pre_campaign(out);
        } else {
            self.campaign(false);
        }
    }

    /// Asks whether a campaign would be won, at no cost to anybody's term (trap 3).
    fn pre_campaign(&mut self, out: &mut Actions) {
        let Some(term) = self.hard.term.checked_add(1) else { return };
        let mut votes = Votes::default();
        votes.take(self.config.id, true);
        let verdict = votes.verdict(self.membership.latest());
        self.state = State::PreCandidate(votes);
        if verdict == Verdict::Won {
            return self.campaign(false);
        }
        let last = self.log.last();
        self.send_to_voters(Message::PreVote { term, last }, out);
    }

    /// Begins a new term. Nobody is asked, and the own vote does not count, before it is on disk (trap 1).
    pub(super) fn campaign(&mut self, by_transfer: bool) {
        let Some(term) = self.hard.term.checked_add(1) else { return };
        self.draw_election_timeout();
        let vote = Some(self.config.id).filter(|_| !planted!("own-vote-is-not-recorded"));
        self.adopt(HardState { term, vote });
        self.leader = None;
        self.state = State::Candidate(Votes { by_transfer, ..Votes::default() });
    }

    /// The disk answered: a candidate whose vote for itself is on it counts that vote, and asks the others.
    #[inline]
    pub(super) fn count_own_vote(&mut self, out: &mut Actions) {
        if matches!(self.state, State::Candidate(_)) && self.is_vote_durable() {
            self.open_campaign(out);
        }
    }

    fn open_campaign(&mut self, out: &mut Actions) {
        let State::Candidate(votes) = &mut self.state else { return };
        if votes.has(self.config.id) {
            return;
        }
        votes.take(self.config.id, true);
        let transfer = votes.by_transfer;
        if votes.verdict(self.membership.latest()) == Verdict::Won {
            return self.become_leader(out);
        }
        let request = Message::Vote { term: self.hard.term, last: self.log.last(), transfer };
        self.send_to_voters(request, out);
    }

    /// A candidate asks how it would fare. Whether this node believes that it has a vote is no matter: the candidate may
    /// know a newer configuration (trap 2).
    pub(super) fn on_pre_vote(&mut self, from: NodeId, term: Term, last: LogId, out: &mut Actions) {
        let granted = term > self.hard.term && self.is_up_to_date(last) && !self.is_sticky();
        if term > self.hard.term && planted!("pre-vote-takes-its-term") {
            self.become_follower(term, None, out);
        }
        if !granted && planted!("pre-vote-is-refused-by-silence") {
            return;
        }
        // Refused explicitly, so that a candidate at a lower term learns ours (trap 3).
        let term = if granted { term } else { self.hard.term };
        self.send(from, Message::PreVoteReply { term, granted }, out);
    }

    /// An answer to our question, in our term (refusals) or in the one we asked for (grants).
    pub(super) fn on_pre_vote_reply(&mut self, from: NodeId, granted: bool) {
        let State::PreCandidate(votes) = &mut self.state else { return };
        if !self.membership.latest().is_voter(from) {
            return;
        }
        votes.take(from, granted);
        match votes.verdict(self.membership.latest()) {
            Verdict::Won => self.campaign(false),
            Verdict::Lost => self.state = State::Follower,
            Verdict::Open => {}
        }
    }

    /// A candidate of this term asks for our vote (§5.2, §5.4.1).
    pub(super) fn on_vote(&mut self, from: NodeId, last: LogId, transfer: bool, out: &mut Actions) {
        let free = match self.hard.vote {
            Some(vote) => vote == from || planted!("vote-twice"),
            None => self.leader.is_none(),
        };
        let granted = free && self.is_up_to_date(last) && (transfer || !self.is_sticky());
        if !granted {
            let reply = Message::VoteReply { term: self.hard.term, granted, wall: self.now.wall };
            return self.send(from, reply, out);
        }
        if self.hard.vote.is_none() {
            self.adopt(HardState { term: self.hard.term, vote: Some(from) });
            self.state = State::Follower;
        }
        self.election_at = self.now.mono.saturating_add(self.election_after);
        self.owed.vote = Some(from);
    }

    /// A voter answered.
    pub(super) fn on_vote_reply(&mut self, from: NodeId, granted: bool, wall: Millis, out: &mut Actions) {
        let at = self.now.mono;
        let State::Candidate(votes) = &mut self.state else { return };
        if !self.membership.latest().is_voter(from) {
            return;
        }
        votes.take(from, granted);
        votes.clocks.insert(from, Report { wall, at });
        match votes.verdict(self.membership.latest()) {
            Verdict::Won => self.become_leader(out),
            Verdict::Lost => self.state = State::Follower,
            Verdict::Open => {}
        }
    }

    /// Leads the current term: its vote is on disk, and a majority's with it.
    fn become_leader(&mut self, out: &mut Actions) {
        let State::Candidate(votes) = mem::replace(&mut self.state, State::Follower) else { return };
        let (me, now, last) = (self.config.id, self.now, self.log.last());
        let peer = |id: NodeId| {
            let mut peer = Progress::new(last.index + 1, now.mono);
            peer.clock = votes.clocks.get(&id).copied();
            (id, peer)
        };
        self.state = State::Leader(Box::new(Leading {
            peers: self.acquaintances().into_keys().filter(|&id| id != me).map(peer).collect(),
            round: 0,
            beat_at: now.mono.saturating_add(self.config.heartbeat_interval),
            tell_at: None,
            widen_at: None,
            clock: Clock::new(self.log.last_stamp(), now),
            stamp: None,
            // What earlier leaders left uncommitted counts on: the bound survives a change of term.
            uncommitted: self.log.bytes_between(self.commit + 1, last.index),
            reads: PendingReads::default(),
            first: last.index + 1,
            settled: None,
            handover: None,
            lease: Lease::default(),
        }));
        self.leader = Some(me);
        self.forget_incoming(out);
        // Earlier terms' entries commit only under an entry of this one (§5.4.2, §8).
        self.append(EntryKind::NoOp, bytes::Bytes::new());
    }

    /// Follows, in `term` (this one or a later one), and tells whoever waits for this node as a leader.
    pub(super) fn become_follower(&mut self, term: Term, leader: Option<NodeId>, out: &mut Actions) {
        if term > self.hard.term {
            self.adopt(HardState { term, vote: None });
        }
        self.leader = leader;
        if let State::Leader(mut lead) = mem::replace(&mut self.state, State::Follower) {
            for read in lead.reads.drain() {
                out.push(if planted!("read-outlives-its-leader") {
                    Action::ReadReady { read, index: self.applied }
                } else {
                    Action::ReadAborted { read, reason: Refusal::NotLeader(leader) }
                });
            }
            if let Some(transfer) = lead.handover.and_then(|handover| handover.transfer) {
                out.push(Action::TransferEnded { transfer, outcome: Ok(()) });
            }
            self.owed = Owed::default();
            self.election_at = self.now.mono.saturating_add(self.election_after);
        }
    }

    /// A message that only this term's leader sends. False if `from` cannot be it: then the message is not read.
    #[inline]
    pub(super) fn hear_leader(&mut self, from: NodeId, out: &mut Actions) -> bool {
        match (&self.state, self.leader) {
            // Nobody else leads in our term.
            (State::Leader(_), _) => false,
            (State::Follower, Some(leader)) => {
                if leader == from {
                    self.note_leader();
                }
                leader == from
            }
            (State::Follower | State::PreCandidate(_) | State::Candidate(_), _) => {
                self.find_leader(from, out);
                true
            }
        }
    }

    /// Who leads this term is heard for the first time, or again.
    fn find_leader(&mut self, from: NodeId, out: &mut Actions) {
        let is_new = self.leader != Some(from);
        self.become_follower(self.hard.term, Some(from), out);
        if is_new {
            // Counterexample: with a draw for each campaign only, who once drew a long time never campaigned, as others did so
            // first, and kept it for ever: of three nodes one was no help, and the median failover was half as long again as
            // the timeout instead of 1.3 times.
            self.draw_election_timeout();
        }
        self.note_leader();
    }

    /// The leader is alive.
    pub(super) fn note_leader(&mut self) {
        self.sticky_until = self.now.mono.saturating_add(self.config.election_timeout);
        self.election_at = self.now.mono.saturating_add(self.election_after);
    }

    /// Whether a log that ends in `last` holds all that may be committed here: a later term wins, and of two logs of one
    /// term the longer one (§5.4.1).
    fn is_up_to_date(&self, last: LogId) -> bool {
        let ours = self.log.last();
        let ours = if planted!("longest-log-is-elected") { LogId::new(last.term, ours.index) } else { ours };
        let barred = !self.may_campaign() && planted!("learner-refuses-its-vote");
        (last >= ours && !barred) || planted!("any-log-is-elected")
    }

    /// Whether this node has heard of a leader within an election timeout, or may have just before it was restarted
    /// (trap 6): then it elects no other.
    pub(crate) fn is_sticky(&self) -> bool {
        self.config.check_quorum
            && (matches!(self.state, State::Leader(_)) || self.now.mono < self.sticky_until)
    }

    /// Takes a new term or vote. What was promised in an earlier term is of no use to anybody.
    fn adopt(&mut self, hard: HardState) {
        if hard.term != self.hard.term {
            let agreed = if planted!("agreement-outlives-its-term") { self.owed.agreed } else { 0 };
            self.owed = Owed { agreed, ..Owed::default() };
        }
        self.hard = hard;
        self.hard_is_new = true;
    }

    fn draw_election_timeout(&mut self) {
        let timeout = self.config.election_timeout;
        if !planted!("election-timeout-is-drawn-once") {
            self.election_after = timeout.saturating_add(self.rng.below(timeout));
        }
        self.election_at = self.now.mono.saturating_add(self.election_after);
    }

    fn send_to_voters(&self, message: Message, out: &mut Actions) {
        let configuration = self.membership.latest();
        for &to in configuration.members.keys() {
            if to != self.config.id && configuration.is_voter(to) {
                self.send(to, message.clone(), out);
            }
        }
    }
}
