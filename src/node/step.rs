//! The step: what each event means, and what each of the replica's actions means for disk, peers and clients.

use alloc::format;
use core::mem;

use super::job::Work;
use super::{Action, Actions, Event, Fault, Job, Member, Node, Note, Phase};
use crate::codec::peer::PeerMessage;
use crate::raft::{NodeId, Role, RoleChange};
use crate::replica::{self, Outcome, Refused, StateMachine};
use crate::storage::SaveSnapshot;

impl<S: StateMachine> Node<S> {
    /// Takes one event. What is the replica's is put into its inbox.
    pub(super) fn take(&mut self, event: Event<S>, out: &mut Actions<S>) {
        if self.phase == Phase::Halted || self.fault.is_some() {
            if let Event::Request { id, .. } = event {
                out.push(Action::Reply { request: id, outcome: Outcome::Refused(Refused::Stopping) });
            }
            return;
        }
        match event {
            Event::DiskDone { batch, result } => self.disk_done(batch, result),
            Event::JobDone(job) => self.job_done(job, out),
            Event::LinkOpened { link, dialled } => self.link_opened(link, dialled, out),
            Event::DialFailed { peer } => self.links.dial_failed(peer, self.now.mono),
            Event::LinkFrame { link, frame } => self.link_frame(link, &frame, out),
            Event::LinkProgress { link } => {
                if let Some(peer) = self.links.peer_of(link).filter(|_| self.member.is_some()) {
                    self.inbox.push(replica::Event::Contact { peer });
                }
            }
            Event::LinkClosed { link, error } => self.link_closed(link, error, out),
            Event::Request { id, epoch, deadline, request } => {
                self.client_request(id, epoch, deadline, request, out);
            }
            Event::ConnectionClosed { connection } => self.requests.forget(connection),
            Event::TakeSnapshot if self.member.is_some() => self.inbox.push(replica::Event::TakeSnapshot),
            // Before it is a member a node has no state to save.
            Event::TakeSnapshot => {}
            Event::Stop => self.stop(out),
            Event::Wake => self.wake(out),
        }
    }

    /// What follows from all events of a batch.
    pub(super) fn settle(&mut self, out: &mut Actions<S>) {
        loop {
            self.release(out);
            self.go_on_stopping(out);
            if self.fault.is_some() || !self.step_replica(out) {
                break;
            }
        }
        if let Some(fault) = self.fault.take() {
            return self.halt(fault, out);
        }
        if self.phase == Phase::Halted {
            return;
        }
        self.flush_answers(out);
        self.sample_digest(out);
        if let Some(fault) = self.fault.take() {
            return self.halt(fault, out);
        }
        self.dial(out);
        self.tend(out);
        self.finish_stop(out);
        self.ask_for_wake(out);
    }

    /// Steps the replica with what its inbox holds; `false` when that is nothing.
    fn step_replica(&mut self, out: &mut Actions<S>) -> bool {
        let woken = mem::take(&mut self.timers.replica_woken);
        if woken && self.member.is_some() {
            self.inbox.push(replica::Event::Wake);
        }
        // The first step of a core is one without events.
        let begun = mem::take(&mut self.timers.replica_begun);
        if self.member.is_none() || (self.inbox.is_empty() && !begun) {
            self.inbox.clear();
            return false;
        }
        self.check_room();
        let mut inbox = mem::take(&mut self.inbox);
        let bounds = |Member { replica, .. }: &Member<S>| {
            (replica.raft().unwritten_bytes(), replica.config().max_pending)
        };
        let (unwritten, max_pending) = self.member.as_ref().map_or((0, 0), bounds);
        if self.requests.in_doubt(&inbox, &self.config.raft, max_pending, unwritten) {
            for event in inbox.drain(..) {
                if !self.refused_meanwhile(&event, out) {
                    self.step_events([event], out);
                }
            }
        } else {
            self.step_events(inbox.drain(..), out);
        }
        // What was put into the new inbox meanwhile is stepped next.
        inbox.append(&mut self.inbox);
        self.inbox = inbox;
        true
    }

    fn step_events(&mut self, events: impl IntoIterator<Item = replica::Event<S>>, out: &mut Actions<S>) {
        let Some(member) = &mut self.member else { return };
        let mut outbox = self.outbox.take().unwrap_or_default();
        member.replica.step_into(self.now, events, &mut outbox);
        for action in outbox.drain() {
            // After a fault only answers count.
            if self.fault.is_none() || matches!(action, replica::Action::Reply { .. }) {
                self.perform(action, out);
            }
        }
        self.outbox = Some(outbox);
    }

    /// Performs an action of the replica.
    fn perform(&mut self, action: replica::Action<S>, out: &mut Actions<S>) {
        match action {
            replica::Action::Persist(persist) => self.persist(&persist, out),
            replica::Action::Send { to, message } => self.send(to, &PeerMessage::Raft(message), out),
            replica::Action::Reply { tag, outcome } => self.finish(tag, outcome, out),
            replica::Action::SaveSnapshot { point, view } => {
                let Some(identity) = &self.identity else { return };
                out.push(Action::Job(Job::new(Work::Save(SaveSnapshot::new(identity, *point, *view)))));
            }
            replica::Action::SendSnapshotChunk { to, term, snapshot, offset, len } => {
                self.read_chunk(to, term, snapshot, offset, len, out);
            }
            replica::Action::WriteSnapshotChunk { snapshot, offset, data } => {
                self.write_chunk(*snapshot, offset, data, out);
            }
            replica::Action::InstallSnapshot { snapshot, restorer } => {
                self.install(*snapshot, *restorer, out)
            }
            replica::Action::DropSnapshot { snapshot } => self.drop_incoming(snapshot, out),
            replica::Action::RoleChanged(change) => self.role_changed(change, out),
            replica::Action::ConfigurationChanged => self.configuration_changed(out),
            replica::Action::Discard(garbage) => out.push(Action::Discard(garbage)),
            replica::Action::WakeAt(at) => self.timers.replica_at = Some(at),
            replica::Action::Halt(fault) => self.fault = Some(Fault::Raft(fault)),
        }
    }

    /// Sends a message on the peer's working connection; without one it is lost, as any message may be.
    pub(super) fn send(&mut self, to: NodeId, message: &PeerMessage, out: &mut Actions<S>) {
        if let Some(link) = self.links.link_of(to) {
            let frame = message.seal(|entries| self.packing.pack(entries));
            self.counters.frames_out += 1;
            out.push(Action::Send { link, frame });
        }
    }

    fn role_changed(&mut self, change: RoleChange, out: &mut Actions<S>) {
        let RoleChange { role, term, leader } = change;
        if role == Role::Leader && self.role != Role::Leader {
            self.counters.elections_won += 1;
        }
        if role != Role::Leader && self.role == Role::Leader {
            self.requests.leadership_lost();
            self.unpin_all();
        }
        if (leader, role) != (self.leader, self.role) {
            let known =
                leader.map_or_else(|| "no leader known".into(), |leader| format!("leader is node {leader}"));
            out.push(Action::Note(Note(format!("{role:?} in term {term}, {known}"))));
        }
        let former = self.leader.filter(|former| Some(*former) != leader);
        (self.role, self.term, self.leader) = (role, term, leader);
        if former.is_some() {
            // The connection to a leader that is no member any more was kept for its last word.
            self.meet(out);
        }
        if let Some(leader) = leader {
            self.removed_since = None;
            self.leader_changed(leader, term, out);
        }
        self.check_removed();
    }

    /// Who was removed for certain stops: nobody sends it anything, and nobody listens to it.
    pub(super) fn check_removed(&mut self) {
        let Some(raft) = self.member.as_ref().map(|member| member.replica.raft()) else { return };
        if raft.is_removed() {
            self.fault = Some(self.removed());
        }
    }

    /// Why a node that was removed stops.
    pub(super) fn removed(&self) -> Fault {
        Fault::Fenced(format!(
            "node {} was removed from the cluster; to bring it back, start it with an empty directory and --join, then add \
             it again",
            self.config.raft.id
        ))
    }

    /// Answers what waits, and does nothing any more.
    pub(super) fn halt(&mut self, fault: Fault, out: &mut Actions<S>) {
        self.phase = Phase::Halted;
        self.inbox.clear();
        self.end_requests(true, out);
        self.flush_answers(out);
        out.push(Action::Halt(fault));
    }
}
