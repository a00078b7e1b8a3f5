//! Time: one wake-up for everything that waits for it.

use super::{Action, Actions, Fault, Node, Phase};
use crate::codec::peer::PeerMessage;
use crate::raft::{LogIndex, NodeId, Role};
use crate::replica::StateMachine;
use crate::time::Micros;

/// How often slow work is looked at: idle marks, digests, what peers have proved, upkeep that failed.
const HOUSEKEEPING: Micros = 1_000_000;

/// When something has to happen.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// When the replica wants to be woken.
    pub(super) replica_at: Option<Micros>,
    /// The replica is to be woken in this step.
    pub(super) replica_woken: bool,
    /// The replica has just begun.
    pub(super) replica_begun: bool,
    housekeeping_at: Option<Micros>,
    /// The last `WakeAt` that was asked for and has not come.
    asked: Option<Micros>,
    /// The applied index at the last housekeeping: at rest it does not move.
    applied: LogIndex,
}

impl Timers {
    /// Housekeeping begins.
    pub(super) fn housekeep_from(&mut self, now: Micros) {
        self.housekeeping_at = Some(now.saturating_add(HOUSEKEEPING));
    }
}

impl<S: StateMachine> Node<S> {
    /// The wake-up that was asked for, or an earlier one.
    pub(super) fn wake(&mut self, out: &mut Actions<S>) {
        let now = self.now.mono;
        self.timers.asked = None;
        for link in self.links.overdue(now) {
            self.close_link(link, out);
        }
        self.expire_requests(out);
        if self.timers.housekeeping_at.is_some_and(|at| at <= now) {
            self.timers.housekeep_from(now);
            self.housekeep(out);
        }
        if self.complete && self.timers.replica_at.is_some_and(|at| at <= now) {
            self.timers.replica_at = None;
            self.timers.replica_woken = true;
        }
    }

    fn housekeep(&mut self, out: &mut Actions<S>) {
        self.housekeep_disk(out);
        if self.role != Role::Leader {
            return;
        }
        let peers: alloc::vec::Vec<NodeId> = self.links.peers().collect();
        for peer in peers {
            self.remember(peer);
        }
        let applied = self.member.as_ref().map_or(0, |member| member.replica.context().index);
        let quiet = core::mem::replace(&mut self.timers.applied, applied) == applied;
        if let Some((index, digest)) = self.digests.due(quiet) {
            self.announce(index, digest, out);
        }
    }

    /// Takes note of the state's digest when the step applied something (STORAGE row 21).
    pub(super) fn sample_digest(&mut self, out: &mut Actions<S>) {
        let Some(member) = &self.member else { return };
        let index = member.replica.context().index;
        if index == self.digests.last_index() {
            return;
        }
        let asked = self.digests.sample(index, member.replica.state().digest());
        if let Some((index, digest)) = asked {
            self.announce(index, digest, out);
        } else if self.role == Role::Leader
            && let Some((index, digest)) = self.digests.due(false)
        {
            self.announce(index, digest, out);
        }
    }

    fn announce(&mut self, index: LogIndex, digest: u128, out: &mut Actions<S>) {
        self.digests.claim(self.config.raft.id, index, digest);
        self.broadcast(&PeerMessage::Digest { index, digest }, out);
        self.compare(index);
    }

    /// A peer announces its digest.
    pub(super) fn digest_claimed(
        &mut self,
        peer: NodeId,
        index: LogIndex,
        digest: u128,
        out: &mut Actions<S>,
    ) {
        match self.digests.claim(peer, index, digest) {
            Some((index, digest)) => self.announce(index, digest, out),
            None => self.compare(index),
        }
    }

    fn compare(&mut self, index: LogIndex) {
        let Some(member) = &self.member else { return };
        if self.digests.diverged(self.config.raft.id, index, member.replica.raft().configuration()) {
            self.fault = Some(Fault::Diverged { index });
        }
    }

    /// Asks for the earliest time at which anything has to happen, if that is another than was asked for.
    pub(super) fn ask_for_wake(&mut self, out: &mut Actions<S>) {
        if self.phase == Phase::Halted {
            return;
        }
        let replica = self.timers.replica_at.filter(|_| self.complete);
        let times = [
            self.links.wake_at(),
            replica,
            self.timers.housekeeping_at,
            self.requests.expires_at(),
            self.stops_at(),
        ];
        let at = times.into_iter().flatten().min();
        if let Some(at) = at.filter(|_| at != self.timers.asked) {
            self.timers.asked = Some(at);
            out.push(Action::WakeAt(at));
        }
    }
}
