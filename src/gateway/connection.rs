//! The course of a connection: parse, classify, dispatch or hold, answer in order, close.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::mem;

use bytes::{Bytes, BytesMut};

use super::command::{Command, Data, Held, classify};
use super::command_stats::{CommandId, Row};
use super::pipeline::{self, Pipelines};
use super::queue::{Queue, Stamp};
use super::reply::{self, Reply};
use super::transaction::Then;
use super::{
    Action, Connection, Deadlines, Event, Kind, Look, Output, Protocol, Settings, Step, client, cluster,
};
use crate::codec::input::Input;
use crate::codec::resp::{RequestLimits, RequestParser, write};
use crate::node::RequestId;
use crate::replica::{Outcome, Request};
use crate::rng::Rng;
use crate::time::{Micros, Now};

/// Bytes that are read at a time.
const CHUNK: usize = 16 * 1024;

/// Room for so many arguments is kept between commands.
const ARGUMENTS_KEPT: usize = 64;

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Commands are taken.
    Open,
    /// No more commands are taken (QUIT, malformed bytes, the client's end); what is under way is answered.
    Closing,
    /// `Action::Close` was given.
    Closed,
}

impl Connection {
    pub(super) fn open(id: u64, peer: &str, now: Now, settings: &Settings) -> Self {
        let limits = RequestLimits { bytes: settings.max_command, ..RequestLimits::default() };
        Self {
            id,
            about: client::About::new(peer, now),
            settings: settings.clone(),
            deadlines: Deadlines::default(),
            protocol: Protocol::Resp2,
            reads_local: false,
            input: Input::new(CHUNK),
            parser: RequestParser::new(limits),
            arguments: Vec::new(),
            held: None,
            queue: Queue::default(),
            current: Stamp::default(),
            output: Output::default(),
            transaction: None,
            watched: BTreeMap::new(),
            then: BTreeMap::new(),
            asks_versions: false,
            epoch: 0,
            consumed: 0,
            command_start: 0,
            refused_up_to: None,
            phase: Phase::Open,
            input_ended: false,
            has_spoken: false,
            stopped_by_output: false,
            has_written: false,
            lists: VecDeque::new(),
            answered: 0,
            pipelines: Pipelines::default(),
        }
    }

    pub(super) fn on_event(&mut self, event: Event, step: &mut Step<'_>) {
        if mem::take(&mut self.has_written) {
            self.about.heard(step.now);
        }
        match event {
            Event::Input => self.about.heard(step.now),
            Event::InputEnded => self.end_input(),
            Event::Reply { number, outcome } => self.on_outcome(number, outcome, step),
            Event::Clients(lines) => self.on_clients(&lines),
            Event::Wake => self.on_wake(step.now),
        }
        self.pump(step);
        self.send_gathered(step);
        if self.phase == Phase::Closed {
            return;
        }
        if self.output.len().saturating_add(self.queue.reply_bytes()) > self.settings.output_hard_limit {
            // Nobody reads: what waits would never be written.
            self.output.clear();
            self.close(step);
        } else if self.phase == Phase::Closing && self.queue.is_empty() && self.held.is_none() {
            self.close(step);
        }
    }

    fn close(&mut self, step: &mut Step<'_>) {
        self.phase = Phase::Closed;
        self.held = None;
        self.queue = Queue::default();
        self.pipelines = Pipelines::default();
        step.out.push(Action::Close);
    }

    /// Takes no more commands than those that were received whole.
    fn end_input(&mut self) {
        if self.phase == Phase::Open {
            self.input_ended = true;
        }
    }

    /// Answers, dispatches and parses until nothing more can be done.
    fn pump(&mut self, step: &mut Step<'_>) {
        self.stopped_by_output = false;
        loop {
            self.flush(step);
            self.lift_refusal();
            if self.phase == Phase::Closed {
                return;
            }
            if self.held.is_some() {
                if self.release(step) {
                    continue;
                }
                return;
            }
            if self.phase != Phase::Open || self.asks_versions {
                return;
            }
            if self.is_full() {
                self.stopped_by_output = self.has_much_output() && !self.input.filled().is_empty();
                return;
            }
            match self.parse() {
                Ok(true) => self.on_command(step),
                Ok(false) => {
                    if self.input_ended {
                        self.phase = Phase::Closing;
                    }
                    return;
                }
                Err(error) => {
                    self.current = Stamp::default();
                    self.answer_now(reply::of_protocol_error(error));
                    self.phase = Phase::Closing;
                }
            }
        }
    }

    fn parse(&mut self) -> Result<bool, crate::codec::resp::ProtocolError> {
        if self.input.filled().is_empty() {
            return Ok(false);
        }
        if !self.parser.is_in_array() {
            self.command_start = self.consumed;
        }
        let before = self.input.filled().len();
        let result = self.parser.parse(&mut self.input, &mut self.arguments);
        let taken = before.saturating_sub(self.input.filled().len());
        self.consumed = self.consumed.wrapping_add(taken as u64);
        result
    }

    fn on_command(&mut self, step: &mut Step<'_>) {
        let mut arguments = mem::take(&mut self.arguments);
        self.has_spoken = true;
        let command = arguments.first().and_then(|name| self.about.runs(name));
        self.current = Stamp { command, parsed: step.now.mono, rejected: false };
        let reads_local = self.reads_local && (self.watched.is_empty() || self.transaction.is_some());
        let node = step.context.node;
        let row = command.map_or(Row::None, CommandId::row);
        let draw = || self.draw(step.now);
        // What waits for EXEC may do so for long: it keeps no others' memory alive.
        let shared = if self.transaction.is_none() { step.out.space_for(&arguments) } else { None };
        let mut own = BytesMut::new();
        let space = shared.unwrap_or(&mut own);
        let command = classify(&arguments, row, &self.settings, reads_local, draw, node, space);
        match command {
            Command::Data(data) if self.transaction.is_none() => self.hold(data, step),
            command => self.queue_up_or_run(command, &arguments, step),
        }
        arguments.clear();
        arguments.shrink_to(ARGUMENTS_KEPT);
        self.arguments = arguments;
    }

    /// Queues a command if MULTI is open, and runs it if not.
    fn queue_up_or_run(&mut self, command: Command, arguments: &[Bytes], step: &mut Step<'_>) {
        match self.queue_up(command, arguments, step.context.node) {
            Some(Command::Data(data)) => self.hold(data, step),
            Some(Command::Control(control)) => {
                if let Some(reply) = self.control(control, arguments, step) {
                    self.answer_now(reply);
                }
            }
            Some(Command::Exec(once)) => self.exec(once, step),
            Some(Command::Answer(reply)) => {
                self.current.rejected = reply.is_error();
                self.answer_now(reply);
            }
            Some(Command::Http) => self.phase = Phase::Closing,
            None => {}
        }
    }

    /// A number for a command that chooses: another one for each command of each connection.
    fn draw(&self, now: Now) -> u64 {
        Rng::stream(now.mono ^ self.id.rotate_left(32), self.consumed).next_u64()
    }

    /// Takes a request to the node, now or when those before it allow.
    pub(super) fn hold(&mut self, data: Data, step: &mut Step<'_>) {
        if self.refused_up_to.is_some() {
            self.current.rejected = true;
            return self.answer_now(reply::after_refusal());
        }
        let joins = pipeline::may_join(&data);
        if !joins || !step.out.gathered.admits(&data.request, self.settings.max_joined) {
            self.send_gathered(step);
        }
        if self.has_to_wait(data.kind) {
            self.held = Some(Held::Data(data));
        } else {
            self.dispatch(data, joins, step);
        }
    }

    /// Whether a request may not be under way beside those that are.
    fn has_to_wait(&self, kind: Kind) -> bool {
        let under_way = self.queue.under_way();
        match kind {
            Kind::Write => under_way.reads > 0 && !planted!("write-overtakes-read"),
            Kind::Read | Kind::List => {
                (under_way.writes > 0 && !planted!("read-overtakes-write")) || self.pipelines.has_reads()
            }
        }
    }

    /// Does what is held if that may be done now; whether nothing is held any more.
    fn release(&mut self, step: &mut Step<'_>) -> bool {
        match self.held.take() {
            Some(Held::Data(data)) => self.hold(data, step),
            Some(Held::Wait) if self.queue.under_way().is_empty() => {
                self.answer_now(cluster::wait(step.context.node));
            }
            held => self.held = held,
        }
        self.held.is_none()
    }

    /// With what was gathered, if it `joins` that; otherwise at once.
    fn dispatch(&mut self, data: Data, joins: bool, step: &mut Step<'_>) {
        let number = self.queue.wait(data.kind, self.protocol, self.current, data.bytes, data.slot);
        if joins {
            return step.out.gathered.add(number, &data.request);
        }
        if !matches!(data.then, Then::Pass) {
            self.asks_versions |= matches!(data.then, Then::Watch(_));
            self.then.insert(number, data.then);
        }
        self.send_request(number, data.request, step);
    }

    pub(super) fn send_request(&self, number: u64, request: Request, step: &mut Step<'_>) {
        let id = RequestId { connection: self.id, number };
        step.out.push(Action::Request { id, epoch: self.epoch, request });
    }

    /// Gives the reply of a command that needs nobody.
    pub(super) fn answer_now(&mut self, reply: Reply) {
        self.queue.answered(self.protocol, self.current, reply);
    }

    pub(super) fn list_clients(&mut self, filter: client::Filter, step: &mut Step<'_>) {
        self.queue.wait(Kind::List, self.protocol, self.current, 0, 0);
        self.lists.push_back(filter);
        step.out.push(Action::ListClients);
    }

    pub(super) fn hold_wait(&mut self) {
        self.held = Some(Held::Wait);
    }

    pub(super) fn quit(&mut self) {
        self.phase = Phase::Closing;
    }

    pub(super) fn on_reply(&mut self, number: u64, outcome: Outcome, node: &Look<'_>) {
        let Some(waiting) = self.queue.waiting(number) else { return };
        let then = if self.then.is_empty() { None } else { self.then.remove(&number) }.unwrap_or_default();
        let is_watch = matches!(then, Then::Watch(_));
        if is_watch {
            self.asks_versions = false;
        }
        // An EXEC that was sent behind a WATCH relies on it as on a write.
        let is_refusal = match outcome {
            Outcome::Refused(_) => waiting.kind == Kind::Write || is_watch,
            Outcome::Undetermined => is_watch,
            _ => false,
        };
        if is_refusal
            && self.refused_up_to.is_none()
            && !(is_watch && planted!("refused-watch-is-no-refusal"))
        {
            let received = self.consumed.wrapping_add(self.input.filled().len() as u64);
            self.refused_up_to = Some(received);
        }
        let reply = self.reply_of(then, outcome, waiting.slot, node);
        self.queue.answer(number, reply);
    }

    fn on_clients(&mut self, lines: &[u8]) {
        let Some(number) = self.queue.first_list() else { return };
        let filter = self.lists.pop_front().unwrap_or_default();
        let reply = Reply::of(|out| write::verbatim(out, &filter.apply(lines)));
        self.queue.answer(number, reply);
    }

    /// Ends a refusal when everything it covers is answered, and begins a new epoch.
    fn lift_refusal(&mut self) {
        let Some(mark) = self.refused_up_to else { return };
        let next = if self.parser.is_in_array() { self.command_start } else { self.consumed };
        if next >= mark && self.held.is_none() && self.queue.under_way().is_empty() {
            self.refused_up_to = None;
            self.epoch = self.epoch.wrapping_add(u32::from(!planted!("refusal-never-ends")));
        }
    }

    /// Moves the replies whose turn has come to the output.
    fn flush(&mut self, step: &Step<'_>) {
        while let Some((protocol, stamp, reply)) = self.queue.pop() {
            stamp.count(step.now.mono, reply.is_error(), &step.context.process.command_stats);
            reply.render(protocol, self.output.end());
            self.answered = self.answered.wrapping_add(1);
        }
    }

    /// Whether too much waits for another command to be taken.
    fn is_full(&self) -> bool {
        self.queue.len() >= self.settings.max_pipeline.max(1)
            || self.queue.under_way().bytes >= self.settings.max_command
            || self.has_much_output()
    }

    fn has_much_output(&self) -> bool {
        self.output.len().saturating_add(self.queue.reply_bytes()) >= self.settings.output_soft_limit.max(1)
    }

    pub(super) fn takes_input(&self) -> bool {
        if self.phase != Phase::Open || self.input_ended || self.has_much_output() {
            return false;
        }
        let waits = self.held.is_some() || self.asks_versions || self.is_full();
        !waits || self.input.filled().len() < CHUNK
    }

    pub(super) fn deadline(&self) -> Option<Micros> {
        match self.phase {
            Phase::Closed => return None,
            Phase::Closing => {}
            // What was left because of the output is taken up again without waiting for anything else.
            Phase::Open if self.is_runnable() => return Some(0),
            Phase::Open => {}
        }
        if !self.queue.under_way().is_empty() {
            return None;
        }
        self.patience().map(|patience| self.about.last_heard.saturating_add(patience))
    }

    /// Whether input waits that could be parsed now and was not, because too much output waited when it was stepped.
    fn is_runnable(&self) -> bool {
        self.stopped_by_output && !self.has_much_output()
    }

    fn patience(&self) -> Option<Micros> {
        if !self.has_spoken {
            self.deadlines.first_command
        } else if self.parser.is_midway(&self.input) {
            self.deadlines.stalled_command
        } else {
            self.deadlines.idle
        }
    }

    fn on_wake(&mut self, now: Now) {
        let late = self.deadline().is_some_and(|at| at > 0 && at <= now.mono);
        if late && self.phase == Phase::Open {
            self.phase = Phase::Closing;
        }
        self.input.release();
    }
}
