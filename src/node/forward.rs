//! Writes on their way to the leader and the replies on their way back.
//!
//! The writes of one step travel in one frame, and so do the replies. The link keeps their order. A request names the term
//! in which its sender takes the receiver to lead, and is refused in any other: none can be carried out after its sender
//! has given it up and gone on at another leader.

use alloc::vec::Vec;

use super::requests::{Held, Sent};
use super::{Actions, LinkId, Node, Phase};
use crate::codec::forward::{Answered, Forwarded};
use crate::codec::peer::PeerMessage;
use crate::raft::{NodeId, Role, Term};
use crate::replica::{Outcome, Refused, Request, StateMachine};
use crate::time::Micros;

/// Packed bytes of requests or replies in one frame, unless its only one is longer.
pub(super) const BATCH_BYTES: usize = 1 << 20;

/// The longest that a peer's request may take here, whatever it says.
const MAX_BUDGET: Micros = 3_600_000_000;

impl<S: StateMachine> Node<S> {
    /// Takes note of a request that goes to the leader, and gives its form for the way.
    pub(super) fn forward(&mut self, sent: Sent, request: Request) -> Forwarded {
        self.counters.forwarded += 1;
        let id = self.requests.tag();
        let budget = sent.deadline.saturating_sub(self.now.mono);
        // The leader answers at the deadline; its answer has a moment to arrive.
        self.requests.wake_by(self.grace(sent.deadline));
        let (connection, epoch) = (sent.id.connection, sent.epoch);
        if planted!("forward-is-sent-twice") {
            self.requests.asking.insert(id, (sent.deadline, request.clone()));
        }
        self.requests.sent.insert(id, sent);
        Forwarded { id, connection, epoch, budget, request }
    }

    fn grace(&self, deadline: Micros) -> Micros {
        deadline.saturating_add(self.config.raft.heartbeat_interval)
    }

    /// Sends requests, in order, in as few frames as their bound allows.
    pub(super) fn send_forwards(
        &mut self,
        link: LinkId,
        term: Term,
        forwards: Vec<Forwarded>,
        out: &mut Actions<S>,
    ) {
        for requests in batches(forwards, Forwarded::packed_len) {
            self.say(link, &PeerMessage::Forward { term, requests }, out);
        }
    }

    /// A peer's clients' requests.
    pub(super) fn forwarded(&mut self, link: LinkId, term: Term, requests: Vec<Forwarded>) {
        let refused = if self.phase == Phase::Stopping {
            Some(Refused::Stopping)
        } else if self.role == Role::Leader
            && (self.term == term || planted!("forward-of-an-earlier-term-is-taken"))
        {
            None
        } else {
            let other = self.leader.filter(|leader| *leader != self.config.raft.id);
            Some(other.map_or(Refused::NoLeader, Refused::NotLeader))
        };
        for Forwarded { id, connection, epoch, budget, request } in requests {
            match refused {
                Some(refused) => {
                    let answer = Answered { id, outcome: Outcome::Refused(refused) };
                    self.requests.answers.entry(link).or_default().push(answer);
                }
                None => {
                    let deadline = self.now.mono.saturating_add(budget.min(MAX_BUDGET));
                    self.peer_request((link, connection, id), epoch, deadline, request);
                }
            }
        }
    }

    /// Sends the replies of this step.
    pub(super) fn flush_answers(&mut self, out: &mut Actions<S>) {
        let limit = self.config.max_frame_bytes().saturating_sub(crate::codec::peer::MAX_HEADER);
        while let Some((link, mut answers)) = self.requests.answers.pop_first() {
            if self.links.peer_of(link).is_none() {
                continue;
            }
            for answer in &mut answers {
                // A reply that no frame holds: of a write it is only known that it was applied.
                if answer.packed_len() > limit {
                    answer.outcome = Outcome::Undetermined;
                }
            }
            for answers in batches(answers, Answered::packed_len) {
                self.say(link, &PeerMessage::ForwardReply(answers), out);
            }
        }
    }

    /// The leader's answers. An answer to what was given up, or from another connection, is not for anybody.
    pub(super) fn answered(&mut self, link: LinkId, answers: Vec<Answered>, out: &mut Actions<S>) {
        for Answered { id, outcome } in answers {
            if self.requests.sent.get(&id).is_none_or(|sent| sent.link != link) {
                continue;
            }
            let Some(sent) = self.requests.sent.remove(&id) else { continue };
            self.answer(sent.id, sent.epoch, true, outcome, out);
        }
    }

    /// The connection to whoever leads is lost: a write may or may not have arrived.
    pub(super) fn forwards_lost(&mut self, link: LinkId, out: &mut Actions<S>) {
        self.requests.forget_link(link);
        self.give_up(|sent| sent.link == link, out);
    }

    /// Another leader, or another term of the same: what was sent before is not waited for. It cannot take effect after
    /// what is sent from here on: either it is in a log that the new leader has, or it never will be.
    pub(super) fn leader_changed(&mut self, leader: NodeId, term: Term, out: &mut Actions<S>) {
        if self.requests.sent.is_empty() {
            return;
        }
        let link = self.links.link_of(leader);
        self.give_up(|sent| Some(sent.link) != link || sent.term != term, out);
    }

    /// Answers what was sent as undetermined.
    fn give_up(&mut self, which: impl Fn(&Sent) -> bool, out: &mut Actions<S>) {
        for (tag, sent) in core::mem::take(&mut self.requests.sent) {
            if !which(&sent) {
                self.requests.sent.insert(tag, sent);
                continue;
            }
            let Sent { id, epoch, .. } = sent;
            match self.requests.asking.remove(&tag) {
                // Never there, but for a planted bug.
                Some((deadline, request)) => {
                    self.hold(Held { id, epoch, deadline, until: deadline, request })
                }
                None if planted!("lost-forward-is-refused") => {
                    self.answer(id, epoch, true, Outcome::Refused(Refused::NoLeader), out);
                }
                None => self.answer(id, epoch, true, Outcome::Undetermined, out),
            }
        }
    }

    /// Ends what the leader has not answered in time.
    pub(super) fn expire_forwards(&mut self, out: &mut Actions<S>) {
        let now = self.now.mono;
        for (id, sent) in core::mem::take(&mut self.requests.sent) {
            let end = self.grace(sent.deadline);
            if end > now {
                self.requests.wake_by(end);
                self.requests.sent.insert(id, sent);
                continue;
            }
            self.answer(sent.id, sent.epoch, true, Outcome::Undetermined, out);
        }
    }

    /// Ends everything that was sent: this node stops.
    pub(super) fn end_forwards(&mut self, out: &mut Actions<S>) {
        for (_, sent) in core::mem::take(&mut self.requests.sent) {
            self.answer(sent.id, sent.epoch, true, Outcome::Undetermined, out);
        }
    }
}

/// `items` in runs of at most [`BATCH_BYTES`], in order.
fn batches<T>(items: Vec<T>, len: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    let mut bytes = 0;
    for item in items {
        let more = len(&item);
        if !batch.is_empty() && bytes + more > BATCH_BYTES {
            batches.push(core::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += more;
        batch.push(item);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_order_and_bounds_and_a_long_one_is_alone() {
        let sizes = alloc::vec![10, BATCH_BYTES - 10, 1, BATCH_BYTES * 3, 5];
        let got = batches(sizes, |size| *size);
        let expected: [&[usize]; 4] = [&[10, BATCH_BYTES - 10], &[1], &[BATCH_BYTES * 3], &[5]];
        assert_eq!(got, expected);
    }
}
