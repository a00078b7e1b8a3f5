//! The end that was asked for: a leader hands over first, what is under way comes to its end, then the node stops.
//!
//! From the first moment on new requests are refused: whoever asks goes to another node, which finds the next leader. What
//! was taken before is answered by the truth, or after two election timeouts as undetermined.

use super::{Action, Actions, Node, Phase};
use crate::raft::Role;
use crate::replica::{self, Request, StateMachine, Tag};
use crate::time::Micros;

/// How many election timeouts what is under way has to come to its end: one for the handover, one for what waits for the
/// next leader.
const PATIENCE: u64 = 2;

/// A stop under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopping {
    /// When it does not wait any longer.
    until: Micros,
    /// The handover under way.
    transfer: Option<Tag>,
    /// The replica is told.
    told: bool,
}

impl<S: StateMachine> Node<S> {
    /// The node is to stop.
    pub(super) fn stop(&mut self, out: &mut Actions<S>) {
        if self.phase == Phase::Stopping {
            return;
        }
        // What came before in this batch was taken.
        self.release(out);
        self.phase = Phase::Stopping;
        self.refuse_held(out);
        let patience = self.config.raft.election_timeout.saturating_mul(PATIENCE);
        let until = self.now.mono.saturating_add(patience);
        let leads = self.role == Role::Leader && self.member.is_some();
        let transfer = (leads && !planted!("stopping-leader-keeps-its-office")).then(|| self.requests.tag());
        if let Some(tag) = transfer {
            let request = Request::Transfer(None);
            self.inbox.push(replica::Event::Request { tag, client: 0, deadline: until, request });
        }
        self.stopping = Some(Stopping { until, transfer, told: false });
    }

    /// Whether this was the answer to the handover of a stop.
    pub(super) fn is_handed_over(&mut self, tag: Tag) -> bool {
        let Some(stopping) = self.stopping.as_mut().filter(|stopping| stopping.transfer == Some(tag)) else {
            return false;
        };
        // If nobody could take over, nobody can.
        stopping.transfer = None;
        true
    }

    /// Tells the replica to stop, once nothing is under way that could still come to a better end.
    pub(super) fn go_on_stopping(&mut self, out: &mut Actions<S>) {
        let Some(stopping) = self.stopping.filter(|stopping| !stopping.told) else { return };
        let done = stopping.transfer.is_none() && self.requests.is_idle();
        if !done && self.now.mono < stopping.until {
            return;
        }
        self.stopping = Some(Stopping { told: true, ..stopping });
        self.end_requests(false, out);
        if self.member.is_some() {
            self.inbox.push(replica::Event::Stop);
        }
    }

    /// When the node does not wait any longer.
    pub(super) fn stops_at(&self) -> Option<Micros> {
        self.stopping.filter(|stopping| !stopping.told).map(|stopping| stopping.until)
    }

    /// Nothing that matters is under way any more: requests are answered, the log lane is quiet. A job may be cut at any
    /// operation, so that none needs to be waited for.
    pub(super) fn finish_stop(&mut self, out: &mut Actions<S>) {
        let told = self.stopping.is_some_and(|stopping| stopping.told);
        if told && !self.stopped && self.lane.is_quiet() && self.requests.is_idle() {
            self.stopped = true;
            out.push(Action::Stopped);
        }
    }
}
