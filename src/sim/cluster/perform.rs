//! What a driver does: batches of events in, actions out, disk operations and frames on their way.

use std::string::String;
use std::vec::Vec;

use super::clients::Wire;
use super::{Answer, Checked, Cluster, Happening, counting};
use crate::codec::frame::{FRAME_HEADER, Frame};
use crate::node::{Action, Actions, Event, LinkId};
use crate::raft::NodeId;
use crate::replica::StateMachine;
use crate::sim::network::{Delivery, Kind, Parcel};
use crate::sim::trace::What;
use crate::storage::{DiskOp, DiskReply};
use crate::time::Micros;

impl<S: StateMachine> Cluster<S> {
    pub(super) fn happen(&mut self, happening: Happening<S>) -> Checked<()> {
        let Some(happening) = self.unless_stopped(happening) else { return Ok(()) };
        match happening {
            Happening::Resumes { node } => self.go_on(node),
            Happening::Turn { node, life } => return self.turn(node, life),
            Happening::Wake { node, life } => self.wake(node, life),
            Happening::LogOp { node, life } => self.log_op(node, life),
            Happening::JobOp { node, life } => self.job_op(node, life),
            Happening::CrashWithin { node, life, crash } => {
                if self.machine(node).alive(life).is_some() {
                    self.crash(node, crash);
                }
            }
            Happening::Wire(wire) => self.wire(wire),
            Happening::Outside { node, life, event } => self.deliver(node, life, event),
            Happening::Opened { link, dialled } => self.deliver_on(link, Event::LinkOpened { link, dialled }),
            Happening::Frame { link, payload, message } => {
                self.observe_arrival(link, message, &payload);
                self.deliver_on(link, Event::LinkFrame { link, frame: payload });
            }
            Happening::Closed { link } => {
                self.deliver_on(link, Event::LinkClosed { link, error: None });
                self.network.forget(link);
            }
        }
        Ok(())
    }

    /// What a stopped process would have to do waits until it goes on.
    fn unless_stopped(&mut self, happening: Happening<S>) -> Option<Happening<S>> {
        let node = match &happening {
            Happening::Turn { node, .. } | Happening::LogOp { node, .. } | Happening::JobOp { node, .. } => {
                *node
            }
            // It first reads what came before the end: a command that its client has asked elsewhere since.
            Happening::Wire(Wire::Asks { connection } | Wire::Ends { connection }) => {
                self.gateways.get(connection)?.node
            }
            _ => return Some(happening),
        };
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&node) else { return Some(happening) };
        let Some(at) = machine.resumes_at(now) else { return Some(happening) };
        if machine.postponed.is_empty() {
            self.queue.push(at, Happening::Resumes { node });
        }
        machine.postponed.push(happening);
        None
    }

    /// The time of a stopped process to go on has come; later, if it was stopped for longer meanwhile.
    fn go_on(&mut self, node: NodeId) {
        let now = self.now;
        let machine = self.machine(node);
        if let Some(at) = machine.resumes_at(now) {
            return self.queue.push(at, Happening::Resumes { node });
        }
        for happening in core::mem::take(&mut machine.postponed) {
            self.queue.push(now, happening);
        }
    }

    /// A node takes all that waits, its wake last, and what it asks for is done.
    fn turn(&mut self, node: NodeId, life: u64) -> Checked<()> {
        let now = self.now;
        let machine = self.machine(node);
        let local = machine.clock.read(now);
        let Some(process) = machine.alive(life) else { return Ok(()) };
        process.turn_planned = false;
        let mut events = core::mem::take(&mut process.inbox);
        if process.wake.is_some_and(|wake| wake <= local.mono) {
            process.wake = None;
            events.push(Event::Wake);
        }
        let mut actions = Actions::new();
        process.step(local, events, &mut actions);
        self.observe_step(node);
        self.watch_step(node)?;
        self.perform(node, &mut actions)
    }

    pub(super) fn perform(&mut self, node: NodeId, actions: &mut Actions<S>) -> Checked<()> {
        for action in actions.drain() {
            self.perform_one(node, action)?;
        }
        self.start_lanes(node);
        Ok(())
    }

    fn perform_one(&mut self, node: NodeId, action: Action<S>) -> Checked<()> {
        if let Action::Log(batch) = &action {
            self.observe_batch(node, batch);
        }
        let Some(process) = &mut self.machine(node).process else { return Ok(()) };
        match action {
            Action::Log(batch) => process.log.push(batch),
            Action::Job(job) => process.jobs.push(job),
            Action::WakeAt(at) => {
                process.wake = Some(at);
                self.plan_wake(node);
            }
            Action::Dial { peer, .. } => self.dial(node, peer),
            Action::Send { link, frame } => return self.send(node, link, frame),
            Action::CloseLink { link } => {
                if let Some((other, at)) = self.network.close(self.now, link) {
                    self.queue.push(at, Happening::Closed { link: other });
                }
                let life = self.machine(node).lives;
                self.deliver(node, life, Event::LinkClosed { link, error: None });
            }
            Action::Reply { request, outcome } => {
                self.count_outcome(&outcome);
                self.trace.record(self.now, node, "reply", &[&request.number.to_le_bytes()], || {
                    std::format!("{request:?} {outcome:?}")
                });
                match self.answer_gateway(request, &outcome) {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    Err(what) => return Err(self.violation(node, what)),
                }
                if self.pending.remove(&request).is_none() {
                    return Err(self.violation(node, std::format!("{request:?} is answered twice")));
                }
                let answer = Answer::Outcome(outcome);
                self.observe_answer(request, &answer);
                self.answers.insert(request, answer);
            }
            Action::Note(note) => {
                self.trace.record(self.now, node, "note", &[note.0.as_bytes()], || note.0.clone());
                self.trace.event(self.now, node, || What::Note { text: note.0.clone() });
                self.machine(node).note(note.0);
            }
            Action::Discard(garbage) => drop(garbage),
            Action::Stopped => self.end(node, super::Crash::Process),
            Action::Halt(fault) => {
                let words = std::format!("halted: {fault}");
                self.trace.record(self.now, node, "halt", &[words.as_bytes()], || words.clone());
                self.trace.event(self.now, node, || What::Halt { fault: std::format!("{fault}") });
                let is_so = self.count_halt(node, &fault);
                self.crash(node, super::Crash::Process);
                let machine = self.machine(node);
                let tolerated = machine.provoked.contains(&fault.exit_code())
                    || (self.settings.tolerated)(&fault)
                    || !super::watch::counts(&fault);
                self.machine(node).fault = Some(fault);
                if !tolerated || !is_so {
                    return Err(self.violation(node, words));
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, node: NodeId, link: LinkId, frame: Frame) -> Checked<()> {
        self.trace.record_frame(self.now, node, link, &frame);
        frame.0.iter().for_each(|piece| self.frames.push(piece));
        let payload = match self.frames.next_frame() {
            Ok(Some(payload)) if self.frames.unfinished() == 0 => payload,
            other => return Err(self.violation(node, std::format!("sends no frame: {other:?}"))),
        };
        let (kind, care) = (Kind::of(&payload), (self.settings.care)(&payload));
        let parcel = Parcel { kind, care, bytes: FRAME_HEADER + payload.len() };
        let to = self.network.ends_of(link).map(|(_, peer)| peer);
        self.watch_frame(node, to, parcel, &payload)?;
        let message = self.trace.name_message();
        let delivery = self.network.send(self.now, link, parcel);
        self.observe_send(node, to, message, &payload, &delivery);
        match delivery {
            Delivery::Arrives { to, at } => {
                for at in at {
                    self.queue.push(at, Happening::Frame { link: to, payload: payload.clone(), message });
                }
            }
            Delivery::Breaks { to, at } => {
                self.queue.push(at, Happening::Closed { link });
                self.queue.push(at, Happening::Closed { link: to });
            }
            Delivery::Closed => {}
        }
        Ok(())
    }

    /// An event for the process at this end of a connection, if the end is still there.
    fn deliver_on(&mut self, link: LinkId, event: Event<S>) {
        if let Some((node, _)) = self.network.ends_of(link) {
            let life = self.machine(node).lives;
            self.deliver(node, life, event);
        }
    }

    pub(super) fn deliver(&mut self, node: NodeId, life: u64, event: Event<S>) {
        if let Some(process) = self.machine(node).alive(life) {
            process.inbox.push(event);
            self.plan_turn(node);
        }
    }

    /// The process looks at its inbox soon; what arrives until then is in the same batch.
    fn plan_turn(&mut self, node: NodeId) {
        let (now, takes) = (self.now, 1 + self.rng.below(30));
        let machine = self.machine(node);
        let at = now + takes * machine.slowness / 100;
        let life = machine.lives;
        if let Some(process) = machine.alive(life).filter(|process| !process.turn_planned) {
            process.turn_planned = true;
            self.queue.push(at, Happening::Turn { node, life });
        }
    }

    fn plan_wake(&mut self, node: NodeId) {
        let now = self.now;
        let machine = self.machine(node);
        let (clock, life) = (machine.clock, machine.lives);
        let Some(process) = machine.alive(life) else { return };
        let Some(at) = process.wake.map(|wake| clock.when(wake).max(now)) else { return };
        if process.wake_planned.is_none_or(|planned| at < planned) {
            process.wake_planned = Some(at);
            self.queue.push(at, Happening::Wake { node, life });
        }
    }

    fn wake(&mut self, node: NodeId, life: u64) {
        let now = self.now;
        let machine = self.machine(node);
        let clock = machine.clock;
        let Some(process) = machine.alive(life) else { return };
        if process.wake_planned.is_some_and(|planned| planned <= now) {
            process.wake_planned = None;
        }
        match process.wake {
            Some(wake) if wake <= clock.read(now).mono => self.plan_turn(node),
            Some(_) => self.plan_wake(node),
            None => {}
        }
    }

    /// Lets idle lanes begin on what waits for them.
    fn start_lanes(&mut self, node: NodeId) {
        let machine = self.machine(node);
        let life = machine.lives;
        let Some(process) = &mut machine.process else { return };
        if !process.log_busy && process.log.start(&mut machine.rng) {
            process.log_busy = true;
            let takes = self.duration(node, |process| process.log.op());
            self.queue.push(self.now + takes, Happening::LogOp { node, life });
        }
        let Some(process) = &mut self.machine(node).process else { return };
        if !process.jobs_busy {
            self.advance_jobs(node, life, None);
        }
    }

    fn log_op(&mut self, node: NodeId, life: u64) {
        let now = self.now;
        let machine = self.machines.get_mut(&node);
        let Some(machine) = machine.filter(|machine| machine.lives == life) else { return };
        let Some(process) = &mut machine.process else { return };
        let result = match process.log.op() {
            Some(op) => {
                let result = machine.disk.perform(op, &mut machine.rng);
                self.trace.record_disk(now, node, op, &result);
                counting::operation(op, &result, &mut self.tally);
                result
            }
            None => Ok(DiskReply::Done),
        };
        let reports = process.log.ended(result);
        process.log_busy = process.log.op().is_some();
        if process.log_busy {
            let takes = self.duration(node, |process| process.log.op());
            self.queue.push(now + takes, Happening::LogOp { node, life });
        }
        for (batch, result) in reports {
            let error = result.as_ref().err();
            self.trace
                .event(now, node, || What::Persisted { batch, error: error.map(|e| std::format!("{e}")) });
            self.deliver(node, life, Event::DiskDone { batch, result });
        }
        self.start_lanes(node);
    }

    fn job_op(&mut self, node: NodeId, life: u64) {
        let now = self.now;
        let machine = self.machines.get_mut(&node);
        let Some(machine) = machine.filter(|machine| machine.lives == life) else { return };
        let Some(op) = machine.process.as_ref().and_then(|process| process.jobs.op()) else { return };
        let result = machine.disk.perform(op, &mut machine.rng);
        self.trace.record_disk(now, node, op, &result);
        counting::operation(op, &result, &mut self.tally);
        self.advance_jobs(node, life, Some(result));
    }

    fn advance_jobs(&mut self, node: NodeId, life: u64, last: Option<crate::storage::DiskResult>) {
        let Some(process) = self.machine(node).alive(life) else { return };
        let mut done = Vec::new();
        process.jobs_busy = process.jobs.advance(last, &mut done);
        if process.jobs_busy {
            let takes = self.duration(node, |process| process.jobs.op());
            self.queue.push(self.now + takes, Happening::JobOp { node, life });
        }
        for job in done {
            self.trace.record(self.now, node, "job", &[], String::new);
            self.deliver(node, life, Event::JobDone(job));
        }
    }

    /// How long the operation takes that a lane of the node performs next; whether the process ends within it.
    fn duration(
        &mut self,
        node: NodeId,
        op: impl Fn(&super::machine::Process<S>) -> Option<&DiskOp>,
    ) -> Micros {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&node) else { return 0 };
        let op = machine.process.as_ref().and_then(op);
        let is_sync = matches!(op, Some(DiskOp::Sync { .. } | DiskOp::SyncDirectory));
        let takes = machine.disk.duration(op, &mut self.rng) * machine.slowness / 100;
        if let Some(crash) = machine.begins_op() {
            let life = machine.lives;
            let at = now + self.rng.below(takes.max(1));
            self.queue.push(at, Happening::CrashWithin { node, life, crash });
        }
        self.count_duration(is_sync, takes);
        takes
    }
}
