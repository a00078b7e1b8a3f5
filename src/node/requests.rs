//! Requests from their arrival to their one answer.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::refusals::Refusals;
use super::tags::Tagged;
use super::{Action, Actions, LinkId, Node, Phase, RequestId};
use crate::codec::forward::{Answered, payload};
use crate::raft::{self, NodeId, PACKED_HEADER, Role, Term};
use crate::replica::{self, MAX_NONCE, Outcome, Refused, Request, StateMachine, Tag};
use crate::time::Micros;

/// Most requests that wait for a leader.
const HELD: usize = 4096;

/// Most bytes of them.
const HELD_BYTES: usize = 32 << 20;

/// Requests that wait for a leader do so for so many election timeouts: one to notice, one to elect, and as much again.
const HOLD_TIMEOUTS: u64 = 4;

/// Bytes that an entry may have besides the command: its packed header and the replica's envelope, with room.
const OVERHEAD: usize = PACKED_HEADER + 128;

/// All requests under way.
#[derive(Debug, Default)]
pub(super) struct Requests {
    next: Tag,
    /// In this node's replica.
    local: Tagged<Origin>,
    /// Reads among these while another node leads, with their deadlines: they wait for its word, and for the next leader's if
    /// it does not come.
    pub(super) asking: BTreeMap<Tag, (Micros, Request)>,
    /// Waiting for a leader, in order.
    held: VecDeque<Held>,
    held_bytes: usize,
    /// On their way to the leader, by the name that the leader echoes.
    pub(super) sent: BTreeMap<Tag, Sent>,
    /// Ended requests of peers' clients, to leave in one frame a peer.
    pub(super) answers: BTreeMap<LinkId, Vec<Answered>>,
    refusals: Refusals,
    peer_refusals: BTreeMap<LinkId, Refusals>,
    /// Connections with writes in this node's replica from before it lost leadership, and how many: what follows them
    /// must not overtake them at another leader.
    unsettled: BTreeMap<u64, usize>,
    /// Bytes of the writes in this node's replica.
    write_bytes: usize,
    /// A write up to this tag was answered as undetermined: its bytes may still count at the core.
    doubt: Option<Tag>,
    /// No later than the first deadline of what is held or sent.
    expires: Option<Micros>,
}

/// Who is to be answered.
#[derive(Debug, Clone, Copy)]
struct Origin {
    from: From,
    epoch: u32,
    /// Bytes of a write, with what an entry adds; 0 for a read.
    write: usize,
}

#[derive(Debug, Clone, Copy)]
enum From {
    Client(RequestId),
    Peer { link: LinkId, connection: u64, id: u64 },
}

impl From {
    /// A number for the client's connection; those of different nodes may happen to share one.
    const fn client(&self) -> u64 {
        match *self {
            Self::Client(id) => id.connection,
            Self::Peer { link, connection, .. } => link.rotate_right(16) ^ connection,
        }
    }
}

/// A request that waits for a leader.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: RequestId,
    pub(super) epoch: u32,
    pub(super) deadline: Micros,
    /// When it is refused for want of a leader.
    pub(super) until: Micros,
    pub(super) request: Request,
}

/// A write on its way to the leader.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) id: RequestId,
    pub(super) epoch: u32,
    pub(super) deadline: Micros,
    pub(super) link: LinkId,
    pub(super) term: Term,
}

/// Where requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    Here,
    Link {
        link: LinkId,
        term: Term,
    },
    /// There, and this node does not forward.
    Elsewhere(NodeId),
}

pub(super) fn is_write(request: &Request) -> bool {
    match request {
        Request::Write(_)
        | Request::Once { .. }
        | Request::OpenSession { .. }
        | Request::CloseSession { .. } => true,
        Request::Read(_) | Request::ReadLocal(_) | Request::Reconfigure(_) | Request::Transfer(_) => false,
    }
}

/// What is for the leader's own clients to ask: it is not sent on.
fn is_administration(request: &Request) -> bool {
    matches!(request, Request::Reconfigure(_) | Request::Transfer(_))
}

fn write_len(request: &Request) -> usize {
    if is_write(request) { payload(request).len() + OVERHEAD } else { 0 }
}

impl Requests {
    pub(super) fn under_way(&self) -> usize {
        self.local.len() + self.held.len() + self.sent.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way() == 0
    }

    pub(super) fn expires_at(&self) -> Option<Micros> {
        self.expires
    }

    /// The connection is gone: it will not write again.
    pub(super) fn forget(&mut self, connection: u64) {
        self.refusals.forget(connection);
        self.unsettled.remove(&connection);
    }

    pub(super) fn tag(&mut self) -> Tag {
        self.next += 1;
        self.next
    }

    /// Makes sure that there is a wake-up at `at`.
    pub(super) fn wake_by(&mut self, at: Micros) {
        self.expires = Some(self.expires.map_or(at, |earlier| earlier.min(at)));
    }

    /// Leadership is lost: writes that are still in the replica may be answered as not done, even after a later one was
    /// done elsewhere. Those connections wait.
    pub(super) fn leadership_lost(&mut self) {
        // Counted anew: some may be left from a leadership before.
        self.unsettled.clear();
        for origin in self.local.values().filter(|origin| origin.write > 0) {
            if let From::Client(id) = origin.from {
                *self.unsettled.entry(id.connection).or_default() += 1;
            }
        }
        self.doubt = None;
    }

    fn settle(&mut self, connection: u64) {
        if let Some(left) = self.unsettled.get_mut(&connection) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.unsettled.remove(&connection);
            }
        }
    }

    /// Bytes of the writes among these events.
    pub(super) fn write_bytes<S: StateMachine>(&self, events: &[replica::Event<S>]) -> usize {
        let bytes = |event: &replica::Event<S>| match event {
            replica::Event::Request { request, .. } => write_len(request),
            _ => 0,
        };
        events.iter().map(bytes).sum()
    }

    /// Whether the core might take a later write of a batch after it refused an earlier one: when its bound of uncommitted
    /// bytes or of those not yet on the disk (`unwritten`), or the replica's of pending requests is near. Then the batch is stepped one by one.
    pub(super) fn in_doubt<S: StateMachine>(
        &self,
        events: &[replica::Event<S>],
        limits: &raft::Config,
        max_pending: usize,
        unwritten: usize,
    ) -> bool {
        let writes = events
            .iter()
            .filter(|event| matches!(event, replica::Event::Request { request, .. } if is_write(request)));
        if writes.count() < 2 {
            return false;
        }
        self.doubt.is_some()
            || self.write_bytes.saturating_add(unwritten) > limits.max_uncommitted_bytes / 2
            || self.local.len() > max_pending
    }

    fn refuses(&self, origin: &Origin) -> bool {
        let refusals = match origin.from {
            From::Client(_) => Some(&self.refusals),
            From::Peer { link, .. } => self.peer_refusals.get(&link),
        };
        let connection = origin.connection();
        origin.write > 0 && refusals.is_some_and(|refusals| refusals.contain(connection, origin.epoch))
    }

    fn note_refusal(&mut self, from: From, epoch: u32) {
        match from {
            From::Client(id) => self.refusals.note(id.connection, epoch),
            From::Peer { link, connection, .. } => {
                self.peer_refusals.entry(link).or_default().note(connection, epoch);
            }
        }
    }

    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.peer_refusals.remove(&link);
        self.answers.remove(&link);
    }
}

impl Origin {
    fn connection(&self) -> u64 {
        match self.from {
            From::Client(id) => id.connection,
            From::Peer { connection, .. } => connection,
        }
    }
}

impl<S: StateMachine> Node<S> {
    /// A client's request: what cannot be taken is refused here, the rest goes where the leader is when the batch is
    /// settled.
    pub(super) fn client_request(
        &mut self,
        id: RequestId,
        epoch: u32,
        deadline: Option<Micros>,
        request: Request,
        out: &mut Actions<S>,
    ) {
        let now = self.now.mono;
        let deadline = deadline.unwrap_or_else(|| now.saturating_add(self.config.request_timeout));
        let write = is_write(&request);
        let after = write && self.requests.refusals.contain(id.connection, epoch);
        let refused = self.check_request(&request).or(after.then_some(Refused::AfterRefusal));
        if let Some(refused) = refused {
            return self.answer(id, epoch, write, Outcome::Refused(refused), out);
        }
        if matches!(request, Request::ReadLocal(_)) {
            let origin = Origin { from: From::Client(id), epoch, write: 0 };
            self.step_request(origin, deadline, request);
            return;
        }
        let hold = self.config.raft.election_timeout.saturating_mul(HOLD_TIMEOUTS);
        let until = deadline.min(now.saturating_add(hold));
        self.hold(Held { id, epoch, deadline, until, request });
    }

    fn check_request(&self, request: &Request) -> Option<Refused> {
        let long = payload(request).len() + OVERHEAD > self.config.raft.max_entry_bytes;
        match request {
            _ if self.phase == Phase::Stopping => Some(Refused::Stopping),
            Request::ReadLocal(_) => self.member.is_none().then_some(Refused::NoLeader),
            Request::OpenSession { nonce } if nonce.len() > MAX_NONCE => Some(Refused::TooLarge),
            _ => long.then_some(Refused::TooLarge),
        }
    }

    pub(super) fn hold(&mut self, held: Held) {
        self.requests.held_bytes += payload(&held.request).len();
        self.requests.held.push_back(held);
    }

    fn destination(&self) -> Option<Destination> {
        self.member.as_ref()?;
        if self.role == Role::Leader {
            // While leadership is on its way to another node, requests wait for what comes of it.
            let hands_over = self.member.as_ref().is_some_and(|m| m.replica.raft().transferring().is_some());
            return (!hands_over).then_some(Destination::Here);
        }
        let leader = self.leader.filter(|leader| *leader != self.config.raft.id)?;
        if !self.config.forward {
            return Some(Destination::Elsewhere(leader));
        }
        self.links.link_of(leader).map(|link| Destination::Link { link, term: self.term })
    }

    /// Sends what is held to where the leader is, in order, if it can be reached.
    pub(super) fn release(&mut self, out: &mut Actions<S>) {
        if self.requests.held.is_empty() {
            return;
        }
        let Some(destination) = self.destination() else {
            return if self.is_stranger() {
                self.refuse_all_held(Refused::NoLeader, out)
            } else {
                self.bound_held(out)
            };
        };
        let mut forwards = Vec::new();
        // Each once: those that have to wait on go to the back, in their order.
        for _ in 0..self.requests.held.len() {
            let Some(held) = self.requests.held.pop_front() else { break };
            if self.requests.unsettled.contains_key(&held.id.connection) {
                self.requests.held.push_back(held);
                continue;
            }
            self.requests.held_bytes -= payload(&held.request).len().min(self.requests.held_bytes);
            let Held { id, epoch, deadline, request, .. } = held;
            let write = is_write(&request);
            if write && self.requests.refusals.contain(id.connection, epoch) {
                self.answer(id, epoch, write, Outcome::Refused(Refused::AfterRefusal), out);
                continue;
            }
            match destination {
                Destination::Link { .. } if is_administration(&request) => {
                    let leader = self.leader.map_or(Refused::NoLeader, Refused::NotLeader);
                    self.answer(id, epoch, write, Outcome::Refused(leader), out);
                }
                Destination::Here => {
                    let origin = Origin { from: From::Client(id), epoch, write: write_len(&request) };
                    self.step_request(origin, deadline, request);
                }
                Destination::Link { .. } if matches!(request, Request::Read(_)) => {
                    let origin = Origin { from: From::Client(id), epoch, write: 0 };
                    let tag = self.step_request(origin, deadline, request.clone());
                    self.requests.asking.insert(tag, (deadline, request));
                }
                Destination::Link { link, term } => {
                    let sent = Sent { id, epoch, deadline, link, term };
                    forwards.push(self.forward(sent, request));
                }
                Destination::Elsewhere(leader) => {
                    self.answer(id, epoch, write, Outcome::Refused(Refused::NotLeader(leader)), out);
                }
            }
        }
        if let Destination::Link { link, term } = destination {
            self.send_forwards(link, term, forwards, out);
        }
        self.bound_held(out);
    }

    /// Whether this node is no member as far as it or most of its peers know: nobody will tell it who leads.
    fn is_stranger(&self) -> bool {
        let Some(member) = &self.member else { return self.phase == Phase::Forming && self.founding.joins() };
        let known = member.replica.raft().acquaintances();
        let is_none = !known.is_empty() && !known.contains_key(&self.config.raft.id);
        is_none || 2 * self.strange_to.len() > self.links.peers().count()
    }

    /// What waits for a leader is bounded: the newest are refused, so that no stream loses one from its middle.
    fn bound_held(&mut self, out: &mut Actions<S>) {
        while self.requests.held.len() > HELD || self.requests.held_bytes > HELD_BYTES {
            let Some(Held { id, epoch, request, .. }) = self.requests.held.pop_back() else { break };
            self.requests.held_bytes -= payload(&request).len().min(self.requests.held_bytes);
            self.answer(id, epoch, is_write(&request), Outcome::Refused(Refused::Busy), out);
        }
        if let Some(until) = self.requests.held.iter().map(|held| held.until).min() {
            self.requests.wake_by(until);
        }
    }

    /// A request of a peer's client, for this leader.
    pub(super) fn peer_request(
        &mut self,
        (link, connection, id): (LinkId, u64, u64),
        epoch: u32,
        deadline: Micros,
        request: Request,
    ) {
        let origin = Origin { from: From::Peer { link, connection, id }, epoch, write: write_len(&request) };
        match self.check_request(&request) {
            Some(refused) => self.peer_refused(origin, refused),
            None if self.requests.refuses(&origin) => self.peer_refused(origin, Refused::AfterRefusal),
            None => {
                self.step_request(origin, deadline, request);
            }
        }
    }

    fn peer_refused(&mut self, origin: Origin, refused: Refused) {
        let From::Peer { link, id, .. } = origin.from else { return };
        if origin.write > 0 {
            self.requests.note_refusal(origin.from, origin.epoch);
        }
        let answer = Answered { id, outcome: Outcome::Refused(refused) };
        self.requests.answers.entry(link).or_default().push(answer);
    }

    /// Into the replica, with the rest of the batch.
    fn step_request(&mut self, origin: Origin, deadline: Micros, request: Request) -> Tag {
        let tag = self.requests.tag();
        self.requests.write_bytes += origin.write;
        self.requests.local.insert(tag, origin);
        let client = origin.from.client();
        self.inbox.push(replica::Event::Request { tag, client, deadline, request });
        tag
    }

    /// Whether a write has to be refused because an earlier one of this very batch was.
    pub(super) fn refused_meanwhile(&mut self, event: &replica::Event<S>, out: &mut Actions<S>) -> bool {
        let replica::Event::Request { tag, .. } = event else { return false };
        let Some(origin) = self.requests.local.get(*tag) else { return false };
        let refused = self.requests.refuses(origin);
        if refused {
            self.finish(*tag, Outcome::Refused(Refused::AfterRefusal), out);
        }
        refused
    }

    /// The replica has ended a request.
    pub(super) fn finish(&mut self, tag: Tag, outcome: Outcome, out: &mut Actions<S>) {
        if self.is_handed_over(tag) {
            return;
        }
        let Some(origin) = self.requests.local.remove(tag) else { return };
        let Origin { from, epoch, write } = origin;
        if let Some((deadline, request)) = self.requests.asking.remove(&tag)
            && let From::Client(id) = from
            && matches!(outcome, Outcome::Refused(Refused::NoLeader | Refused::NotLeader(_)))
            && self.phase == Phase::Running
        {
            // The leader is gone, and the next one can tell.
            return self.hold(Held { id, epoch, deadline, until: deadline, request });
        }
        if write > 0 {
            self.requests.write_bytes -= write.min(self.requests.write_bytes);
            match outcome {
                Outcome::Undetermined => self.requests.doubt = Some(self.requests.next),
                // A later entry is committed, and with it everything before.
                Outcome::Reply(_) if self.requests.doubt.is_some_and(|doubt| tag > doubt) => {
                    self.requests.doubt = None;
                }
                _ => {}
            }
        }
        match from {
            From::Client(id) => {
                if write > 0 && !self.requests.unsettled.is_empty() {
                    self.requests.settle(id.connection);
                }
                self.answer(id, epoch, write > 0, outcome, out);
            }
            From::Peer { link, id, .. } => {
                if self.links.peer_of(link).is_none() {
                    return;
                }
                if write > 0 && matches!(outcome, Outcome::Refused(_)) {
                    self.requests.note_refusal(from, epoch);
                }
                self.requests.answers.entry(link).or_default().push(Answered { id, outcome });
            }
        }
    }

    /// The one answer to a client's request.
    pub(super) fn answer(
        &mut self,
        id: RequestId,
        epoch: u32,
        write: bool,
        outcome: Outcome,
        out: &mut Actions<S>,
    ) {
        match outcome {
            Outcome::Refused(_) if write => self.requests.refusals.note(id.connection, epoch),
            Outcome::Undetermined => self.counters.undetermined += 1,
            _ => {}
        }
        out.push(Action::Reply { request: id, outcome });
    }

    /// Ends what has waited for too long.
    pub(super) fn expire_requests(&mut self, out: &mut Actions<S>) {
        let now = self.now.mono;
        if self.requests.expires.is_none_or(|at| at > now) {
            return;
        }
        self.requests.expires = None;
        for held in core::mem::take(&mut self.requests.held) {
            if held.until > now {
                self.requests.wake_by(held.until);
                self.requests.held.push_back(held);
                continue;
            }
            self.requests.held_bytes -= payload(&held.request).len().min(self.requests.held_bytes);
            let write = is_write(&held.request);
            let late = !write && held.deadline <= now;
            let refused = if late { Refused::TimedOut } else { Refused::NoLeader };
            self.answer(held.id, held.epoch, write, Outcome::Refused(refused), out);
        }
        self.expire_forwards(out);
    }

    /// Ends what is held: this node stops.
    pub(super) fn refuse_held(&mut self, out: &mut Actions<S>) {
        self.refuse_all_held(Refused::Stopping, out);
    }

    fn refuse_all_held(&mut self, refused: Refused, out: &mut Actions<S>) {
        self.requests.held_bytes = 0;
        for held in core::mem::take(&mut self.requests.held) {
            let write = is_write(&held.request);
            self.answer(held.id, held.epoch, write, Outcome::Refused(refused), out);
        }
    }

    /// Ends what is held or sent, and, when the replica cannot any more, what is in it.
    pub(super) fn end_requests(&mut self, replica_too: bool, out: &mut Actions<S>) {
        self.refuse_held(out);
        self.end_forwards(out);
        while let Some((tag, origin)) = self.requests.local.first().filter(|_| replica_too) {
            let read = origin.write == 0;
            let outcome = if read { Outcome::Refused(Refused::Stopping) } else { Outcome::Undetermined };
            self.finish(tag, outcome, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_outlives_two_leaderships_holds_its_connection_once() {
        // Counterexample: leadership was lost, won and lost again before the write was decided. It was counted twice and
        // settled once, and the connection waited for ever.
        let mut requests = Requests::default();
        let tag = requests.tag();
        let from = From::Client(RequestId { connection: 9, number: 1 });
        requests.local.insert(tag, Origin { from, epoch: 0, write: 100 });
        requests.leadership_lost();
        requests.leadership_lost();
        assert!(requests.unsettled.contains_key(&9));
        requests.local.remove(tag);
        requests.settle(9);
        assert!(!requests.unsettled.contains_key(&9));
    }
}
