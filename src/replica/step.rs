//! The step: what each event asks of the core, and what each of the core's actions means for requests and states.

use alloc::boxed::Box;
use core::mem;

use super::envelope::Envelope;
use super::pending::{Applied, Waiter};
use super::session::Limits;
use super::{
    Action, Actions, Done, Event, Garbage, Life, Outcome, Refused, Replica, ReplicaRestorer, Request,
    Restored, StateMachine, Tag,
};
use crate::raft::{self, Entry, Fault, LogId, Refusal, SnapshotId, SnapshotMeta, TransferFailed};
use crate::replica::apply::{Effect, Machine};
use crate::time::{Micros, Now};

/// So many commands the state machine is told of before they are applied, or queries before they are answered.
const AHEAD: usize = 32;

impl<S: StateMachine> Replica<S> {
    /// Steps a batch of events and adds the actions to `out`.
    pub fn step_into(&mut self, now: Now, events: impl IntoIterator<Item = Event<S>>, out: &mut Actions<S>) {
        self.mono = self.mono.max(now.mono);
        self.wall = now.wall;
        self.done = Done::default();
        if self.life == Life::Running {
            // Those that earlier steps had no time or no more bytes for come before what asks now.
            self.answer_reads(out);
        }
        let mut woken = false;
        for event in events {
            woken |= matches!(event, Event::Wake);
            self.take(event, out);
        }
        self.round = self.round.filter(|_| planted!("round-outlives-its-batch"));
        if self.life == Life::Halted {
            self.replies.flush(out);
            return;
        }
        if woken {
            // Used up: the core asks again if it has another timer.
            self.core_wake = self.core_wake.filter(|&at| at > self.mono);
            self.propose_tick(now);
            self.inbox.push(raft::Event::Wake);
        }
        // What earlier steps had no time for goes on when the core has had its say: others wait for its messages.
        let fault = self.step_core(now, out).or_else(|| self.apply_backlog(out).err());
        self.backlog.stand();
        if fault.is_some() {
            self.life = Life::Halted;
        }
        if woken {
            self.pending.expire(self.mono, &mut self.ended);
        }
        if self.life != Life::Running {
            self.pending.stop(&mut self.ended);
        }
        for (tag, outcome) in self.ended.drain(..) {
            self.replies.ended(tag, outcome);
        }
        self.replies.flush(out);
        if let Some(fault) = fault {
            out.push(Action::Halt(fault));
            return;
        }
        self.discard_leftovers(out);
        self.take_snapshot(out);
        self.report_configuration(out);
        self.ask_for_wake(now, woken, out);
    }

    fn report_configuration(&mut self, out: &mut Actions<S>) {
        let changes = self.raft.configuration_changes();
        if mem::replace(&mut self.configuration_changes, changes) != changes {
            out.push(Action::ConfigurationChanged);
        }
    }

    /// Takes one event: what is the core's is put into its inbox.
    pub(super) fn take(&mut self, event: Event<S>, out: &mut Actions<S>) {
        match event {
            Event::Receive { from, message } => self.tell(raft::Event::Receive { from, message }),
            Event::Persisted { id } => self.tell(raft::Event::Persisted { id }),
            Event::Request { tag, client, deadline, request } => {
                if let Err(refused) = self.admit(Waiter { tag, client, deadline }, request, out) {
                    self.replies.ended(tag, Outcome::Refused(refused));
                }
            }
            Event::SnapshotSaved { snapshot } => {
                self.policy.saved(snapshot.len);
                self.tell(raft::Event::Snapshotted { snapshot });
            }
            Event::SnapshotNotSaved => self.policy.not_saved(),
            Event::SnapshotInstalled { snapshot, restored } => self.installed(snapshot, restored, out),
            Event::SnapshotFailed { snapshot } => self.tell(raft::Event::SnapshotFailed { snapshot }),
            Event::SnapshotChunkWritten { snapshot, written } => {
                self.tell(raft::Event::SnapshotChunkWritten { snapshot, written });
            }
            Event::Unreachable { peer } => self.tell(raft::Event::Unreachable { peer }),
            Event::Contact { peer } => self.tell(raft::Event::Contact { peer }),
            Event::TakeSnapshot => self.snapshot_asked = true,
            Event::DiskRoom(room) => self.disk_room = room,
            Event::Stop => self.life = if self.life == Life::Halted { Life::Halted } else { Life::Stopping },
            // The caller puts it last.
            Event::Wake => {}
        }
    }

    /// Hands the core an event that may move its commit index: later reads need a round of their own.
    fn tell(&mut self, event: raft::Event) {
        if self.life != Life::Halted {
            self.round = None;
            self.inbox.push(event);
        }
    }

    /// Takes a request, or says why not.
    fn admit(&mut self, waiter: Waiter, request: Request, out: &mut Actions<S>) -> Result<(), Refused> {
        if self.life != Life::Running {
            return Err(Refused::Stopping);
        }
        let deadline = waiter.deadline;
        match request {
            Request::ReadLocal(query) => {
                if self.may_answer() {
                    self.answer(waiter.tag, &query, out);
                } else {
                    self.check_admission(deadline)?;
                    self.pending.read_local(waiter, query);
                }
                Ok(())
            }
            Request::Read(query) => {
                self.check_admission(deadline)?;
                let round = self.round.unwrap_or_else(|| self.pending.open_round());
                if self.round.replace(round).is_none() {
                    self.inbox.push(raft::Event::Read { read: round });
                }
                self.pending.read(round, waiter, query);
                Ok(())
            }
            Request::Reconfigure(change) => {
                self.check_admission(deadline)?;
                self.check_room()?;
                let proposal = self.pending.propose(waiter);
                self.inbox.push(raft::Event::Reconfigure { proposal, change });
                Ok(())
            }
            Request::Transfer(to) => {
                self.check_admission(deadline)?;
                let transfer = self.pending.transfer(waiter);
                self.inbox.push(raft::Event::Transfer { transfer, to });
                Ok(())
            }
            request => self.propose(waiter, &request),
        }
    }

    fn check_admission(&self, deadline: Micros) -> Result<(), Refused> {
        if deadline <= self.mono {
            return Err(Refused::TimedOut);
        }
        if self.pending.len().max(self.backlog.len()) >= self.config.max_pending {
            return Err(Refused::Busy);
        }
        Ok(())
    }

    fn check_room(&self) -> Result<(), Refused> {
        if self.disk_room {
            return Ok(());
        }
        let elsewhere = self.leader.filter(|&leader| leader != self.config.raft.id);
        Err(elsewhere.map_or(Refused::DiskFull, Refused::NotLeader))
    }

    fn propose(&mut self, waiter: Waiter, request: &Request) -> Result<(), Refused> {
        self.check_admission(waiter.deadline)?;
        let limits = Limits {
            window: self.config.session_window,
            reply_bytes: self.config.session_reply_bytes as u64,
            ttl_ms: self.config.session_ttl_ms,
        };
        let Some(envelope) = Envelope::of(request, self.config.max_sessions as u64, limits) else {
            return Err(Refused::Busy);
        };
        if !envelope.is_well_formed() || envelope.len() > self.config.raft.max_entry_bytes {
            return Err(Refused::TooLarge);
        }
        self.check_room()?;
        let data = envelope.encode(&mut self.entries);
        let proposal = self.pending.propose(waiter);
        self.inbox.push(raft::Event::Propose { proposal, data });
        Ok(())
    }

    /// A received snapshot is loaded: it is kept aside until the core has decided about it.
    fn installed(&mut self, snapshot: SnapshotId, restored: Box<Restored<S>>, out: &mut Actions<S>) {
        if self.life == Life::Halted {
            out.push(Action::Discard(Garbage::State(restored)));
        } else if restored.applied != snapshot.last {
            // The file's name and its contents disagree.
            out.push(Action::Discard(Garbage::State(restored)));
            self.tell(raft::Event::SnapshotFailed { snapshot });
        } else {
            if let Some(older) = self.aside.insert(snapshot, restored) {
                out.push(Action::Discard(Garbage::State(older)));
            }
            self.tell(raft::Event::SnapshotInstalled { snapshot });
        }
    }

    /// One step of the core for the whole batch, and what it decides. After a fault only its refusals count.
    fn step_core(&mut self, now: Now, out: &mut Actions<S>) -> Option<Fault> {
        let mut outbox = self.outbox.take().unwrap_or_default();
        self.raft.step_into(now, &mut self.inbox, &mut outbox);
        self.inbox.clear();
        let mut fault = None;
        for action in outbox.drain() {
            let refuses =
                matches!(action, raft::Action::ProposalRefused { .. } | raft::Action::ReadAborted { .. });
            if (fault.is_none() || refuses)
                && let Err(found) = self.perform(action, out)
            {
                fault = Some(found);
            }
        }
        self.outbox = Some(outbox);
        // Each proposal is answered within its step; if one was not, nothing is known of it.
        while let Some(tag) = self.pending.take_unanswered() {
            self.replies.ended(tag, Outcome::Undetermined);
        }
        fault
    }

    /// Performs an action of the core, or passes it on.
    pub(super) fn perform(&mut self, action: raft::Action, out: &mut Actions<S>) -> Result<(), Fault> {
        match action {
            raft::Action::Persist(persist) => out.push(Action::Persist(persist)),
            raft::Action::Send { to, message } => out.push(Action::Send { to, message }),
            raft::Action::Apply(entries) => {
                self.backlog.push(entries);
                self.apply_backlog(out)?;
            }
            raft::Action::Proposed { proposal, index, term } => {
                self.tick.appended(proposal, index, term);
                self.pending.appended(proposal, index, term);
            }
            raft::Action::ProposalRefused { proposal, reason } => {
                self.tick.refused(proposal);
                if let Some(waiter) = self.pending.take_proposed(proposal) {
                    self.replies.ended(waiter.tag, Outcome::Refused(self.refused(reason)));
                }
            }
            raft::Action::ReadReady { read, index } => {
                self.pending.round_ready(read, index);
                self.answer_reads(out);
            }
            raft::Action::ReadAborted { read, reason } => {
                while let Some(tag) = self.pending.round_aborted(read) {
                    self.replies.ended(tag, Outcome::Refused(self.refused(reason)));
                }
            }
            raft::Action::TransferEnded { transfer, outcome } => {
                if let Some(tag) = self.pending.transfer_ended(transfer) {
                    let failed = |reason| Outcome::Refused(self.transfer_failed(reason));
                    self.replies.ended(tag, outcome.map_or_else(failed, |()| Outcome::Transferred));
                }
            }
            raft::Action::SendSnapshotChunk { to, term, snapshot, offset, len } => {
                out.push(Action::SendSnapshotChunk { to, term, snapshot, offset, len });
            }
            raft::Action::WriteSnapshotChunk { snapshot, offset, data } => {
                out.push(Action::WriteSnapshotChunk { snapshot, offset, data });
            }
            raft::Action::InstallSnapshot { snapshot } => {
                out.push(Action::InstallSnapshot { snapshot, restorer: Box::new(ReplicaRestorer::new()) });
            }
            raft::Action::SwitchSnapshot { snapshot } => self.switch(&snapshot, out)?,
            raft::Action::DropSnapshot { snapshot } => {
                if let Some(restored) = self.aside.remove(&snapshot) {
                    out.push(Action::Discard(Garbage::State(restored)));
                }
                out.push(Action::DropSnapshot { snapshot });
            }
            raft::Action::Discard(entries) => out.push(Action::Discard(Garbage::Entries(entries))),
            raft::Action::RoleChanged(change) => {
                self.leader = change.leader;
                out.push(Action::RoleChanged(change));
            }
            raft::Action::WakeAt(at) => self.core_wake = Some(at),
            raft::Action::Halt(fault) => return Err(fault),
        }
        Ok(())
    }

    /// Applies committed entries, as far as this step's work goes, and answers who waited for them.
    fn apply_backlog(&mut self, out: &mut Actions<S>) -> Result<(), Fault> {
        while self.may_apply()
            && let Some((run, first)) = self.backlog.first_run()
        {
            for (at, entry) in run.iter().enumerate().skip(first) {
                if !self.may_apply() {
                    break;
                }
                if (at - first) % AHEAD == 0 {
                    self.machine.prefetch(run.iter().skip(at).take(AHEAD));
                }
                self.backlog.take_one();
                self.apply(entry, out)?;
            }
        }
        self.answer_reads(out);
        Ok(())
    }

    /// Whether this step has work left for another entry. A node that falls far behind does no other work first: its peers
    /// are to notice that it is slow, and send no more than it can take. What was committed before it was started does not
    /// count: it is there to vote, to store entries and to send requests on while it applies that.
    fn may_apply(&self) -> bool {
        self.done.applying < self.config.step_work || self.backlog.has_outgrown(self.config.max_pending)
    }

    /// Applies the next entry and answers who waited for it.
    fn apply(&mut self, entry: &Entry, out: &mut Actions<S>) -> Result<(), Fault> {
        self.done.applying = self.done.applying.saturating_add(self.machine.work(entry));
        let start = self.replies.mark();
        let effect = self.machine.apply(entry, self.replies.space())?;
        self.policy.applied(entry.packed_len());
        self.resolve(entry.id, start, effect, out);
        Ok(())
    }

    /// Answers who waited at the position of an applied entry. Its reply, if it wrote one, begins at `start`.
    fn resolve(&mut self, id: LogId, start: usize, effect: Effect, out: &mut Actions<S>) {
        let mut own = None;
        while let Some(applied) = self.pending.applied(id.index, id.term) {
            match applied {
                Applied::Own(tag) => own = Some(tag),
                Applied::Replaced(tag) => {
                    let refused = self.refused(Refusal::NotLeader(self.leader));
                    self.replies.ended(tag, Outcome::Refused(refused));
                }
                Applied::Passed(tag) => self.replies.ended(tag, Outcome::Undetermined),
            }
        }
        match (own, effect) {
            (Some(tag), Effect::Written) => self.replies.written(tag, start, out),
            (Some(tag), Effect::Outcome(outcome)) => self.replies.ended(tag, outcome),
            (Some(tag), Effect::Nothing) => self.replies.ended(tag, Outcome::Undetermined),
            (None, _) => self.replies.forget(start),
        }
    }

    /// Whether this step has work and bytes left for another query.
    fn may_answer(&self) -> bool {
        self.done.read_bytes < self.config.read_reply_bytes && self.done.reading < self.config.step_work
    }

    /// Answers the reads whose index is applied, as far as this step's work and bytes go. A later state serves the others
    /// as well.
    fn answer_reads(&mut self, out: &mut Actions<S>) {
        let applied = self.machine.applied.index;
        let mut untold = 0;
        while self.may_answer()
            && let Some((waiter, query)) = self.pending.answerable(applied)
        {
            if untold == 0 {
                untold = AHEAD;
                // One alone waits for its memory anyway.
                if self.pending.has_answerable(applied) {
                    let ahead = self.pending.queries(applied).take(AHEAD - 1);
                    self.machine.state.prefetch(core::iter::once(&query[..]).chain(ahead));
                }
            }
            untold -= 1;
            self.answer(waiter.tag, &query, out);
            if !self.may_answer() {
                self.pending.give_way(waiter.client, applied);
            }
        }
    }

    fn answer(&mut self, tag: Tag, query: &[u8], out: &mut Actions<S>) {
        self.done.reading = self.done.reading.saturating_add(self.machine.state.work(query));
        let start = self.replies.mark();
        self.machine.query(query, self.wall, self.replies.space());
        let bytes = self.replies.mark().saturating_sub(start);
        self.done.read_bytes = self.done.read_bytes.saturating_add(bytes);
        self.replies.written(tag, start, out);
    }

    /// Replaces the running state by a leader's.
    fn switch(&mut self, snapshot: &SnapshotMeta, out: &mut Actions<S>) -> Result<(), Fault> {
        let restored = self.aside.remove(&snapshot.id);
        let restored = restored.ok_or(Fault::Invariant("a snapshot to switch to was never loaded"))?;
        let old = core::mem::replace(&mut self.machine, Machine::restored(*restored));
        out.push(Action::Discard(Garbage::State(Box::new(old.into_restored()))));
        self.backlog.clear();
        self.policy.switched(snapshot.len);
        while let Some(tag) = self.pending.passed(snapshot.id.last.index) {
            if planted!("passed-write-is-refused") {
                self.replies.ended(tag, Outcome::Refused(Refused::NoLeader));
                continue;
            }
            self.replies.ended(tag, Outcome::Undetermined);
        }
        self.answer_reads(out);
        Ok(())
    }

    /// Hands on what the commands of this step left behind.
    fn discard_leftovers(&mut self, out: &mut Actions<S>) {
        if let Some(leftovers) = self.machine.state.take_garbage() {
            out.push(Action::Discard(Garbage::Leftovers(leftovers)));
        }
    }

    /// Takes a picture of the state if the policy, or the embedder, wants one.
    fn take_snapshot(&mut self, out: &mut Actions<S>) {
        let asked = core::mem::take(&mut self.snapshot_asked) && self.policy.could_take();
        // Clients wait for a node that starts: what its disk knows is applied before a picture makes each write copy.
        let is_due = self.policy.is_due() && self.machine.applied.index >= self.recovered_commit;
        if !(asked || is_due) || self.life != Life::Running {
            return;
        }
        if let Some(point) = self.raft.snapshot_point(self.machine.applied.index) {
            self.policy.taken();
            let (point, view) = (Box::new(point), Box::new(self.machine.view()));
            out.push(Action::SaveSnapshot { point, view });
        }
    }

    /// Asks to be woken when the core or a deadline needs it, if that is another time than was asked for.
    pub(super) fn ask_for_wake(&mut self, now: Now, woken: bool, out: &mut Actions<S>) {
        let left = self.life == Life::Running
            && (self.backlog.len() > 0 || self.pending.has_answerable(self.machine.applied.index));
        let times =
            [self.core_wake, self.pending.wake_at(), left.then_some(self.mono), self.wake_for_tick(now)];
        let at = times.into_iter().flatten().min();
        if (woken || at != self.wake)
            && let Some(at) = at
        {
            out.push(Action::WakeAt(at));
        }
        self.wake = at;
    }

    /// Why the core refused, in a client's terms.
    fn refused(&self, reason: Refusal) -> Refused {
        match reason {
            // Who leads and yet refuses is no one to be sent to.
            Refusal::NotLeader(Some(leader)) if leader != self.config.raft.id => Refused::NotLeader(leader),
            Refusal::NotLeader(_) => Refused::NoLeader,
            Refusal::UncommittedFull | Refusal::ReadsFull => Refused::Busy,
            Refusal::Transferring(_) => Refused::Transferring,
            Refusal::Change(reason) => Refused::Change(reason),
            Refusal::TooLarge => Refused::TooLarge,
            Refusal::Halted => Refused::Stopping,
        }
    }

    /// Why leadership was not handed over, in a client's terms.
    fn transfer_failed(&self, reason: TransferFailed) -> Refused {
        match reason {
            TransferFailed::NotLeader(leader) => self.refused(Refusal::NotLeader(leader)),
            TransferFailed::Halted => Refused::Stopping,
            reason => Refused::Transfer(reason),
        }
    }
}
