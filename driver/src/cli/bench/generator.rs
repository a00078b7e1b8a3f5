//! The run itself: one thread that keeps all connections busy.
//!
//! A closed loop sends the next command of a connection when a reply has come. An open loop sends a command when it is due, on
//! the connection that has been free the longest; if none is free it waits, and counts from when it was due: a server that
//! stalls is charged for every command that it held up (no coordinated omission).
//!
//! A turn of the loop first reads what all ready connections have, and then sends: a server that is woken by each single
//! command answers half as many.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mio::event::Event;
use mio::{Events, Poll, Token};

use super::clock::{Alarm, Clock};
use super::connection::{Connection, Lost};
use super::load::{Load, SECOND, Schedule};
use super::measurement::Measurement;
use super::{Nanos, Options, Until};
use crate::cli::flags::Usage;
use crate::cli::interrupt::Interrupt;
use crate::cli::{Failure, NOT_DONE, NOT_KNOWN};

/// How long replies are waited for that do not come, once nothing more is sent.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The longest sleep: how often the clock and the keyboard are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Bytes that are read at a time.
const CHUNK: usize = 64 << 10;

/// Most events of a turn.
const EVENTS: usize = 1024;

/// Not a connection.
const ALARM: Token = Token(usize::MAX - 1);

/// What a run has shown.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) measurement: Measurement,
    /// Commands whose reply had not come when nobody waited any more.
    pub(super) unanswered: u64,
    /// Commands of an open loop that were due and never sent.
    pub(super) behind: u64,
    /// Whether it was stopped before its end.
    pub(super) interrupted: bool,
}

/// Makes the connections, runs the load and waits for the last replies.
pub(super) fn run(options: &Options) -> Result<Outcome, Failure> {
    let broken = |error: io::Error| Failure::Failed { code: NOT_DONE, text: error.to_string() };
    let interrupt = Interrupt::watch().map_err(broken)?;
    let mut generator = Generator::connect(options)?;
    let mut events = Events::with_capacity(EVENTS);
    let mut progress = Progress::new(options);
    while !generator.is_over() {
        let timeout = generator.prepare()?;
        match generator.poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled.map_err(broken)?,
        }
        for event in &events {
            generator.take(event)?;
        }
        let now = generator.clock.now();
        if progress.is_due(now) {
            progress.show(now, &generator);
            if interrupt.wait(Duration::ZERO) {
                generator.interrupted = true;
                generator.measurement.end(now);
                break;
            }
        }
    }
    progress.bar.finish_and_clear();
    Ok(generator.finish())
}

struct Generator<'a> {
    options: &'a Options,
    clock: Clock,
    poll: Poll,
    alarm: Alarm,
    connections: Vec<Connection>,
    load: Load,
    /// Connections that have something to send in this turn.
    ready: Vec<usize>,
    /// Of an open loop.
    open: Option<OpenLoop>,
    measurement: Measurement,
    chunk: Vec<u8>,
    in_flight: usize,
    /// Commands that count, so far.
    begun: u64,
    /// When sending ended.
    ended: Option<Nanos>,
    interrupted: bool,
}

struct OpenLoop {
    schedule: Schedule,
    /// For each command that may be sent now the connection that takes it.
    free: VecDeque<usize>,
}

impl<'a> Generator<'a> {
    fn connect(options: &'a Options) -> Result<Self, Failure> {
        let broken = |error: io::Error| Failure::Failed { code: NOT_DONE, text: error.to_string() };
        let targets: Vec<Vec<SocketAddr>> =
            options.addresses.iter().map(|address| resolve(address)).collect::<Result<_, _>>()?;
        let poll = Poll::new().map_err(broken)?;
        let alarm = Alarm::new(poll.registry(), ALARM).map_err(broken)?;
        let mut connections = Vec::with_capacity(options.connections);
        for number in 0..options.connections {
            let place = number % targets.len();
            let connection = Connection::open(&targets[place], poll.registry(), Token(number));
            connections.push(connection.map_err(|error| Failure::Failed {
                code: NOT_DONE,
                text: format!(
                    "{} cannot be reached: {error}; is --address right, and does the server run?",
                    options.addresses[place]
                ),
            })?);
        }
        let open = options.rate.map(|rate| OpenLoop {
            schedule: Schedule::new(rate),
            free: (0..options.pipeline).flat_map(|_| 0..options.connections).collect(),
        });
        let from = options.warm_up * SECOND;
        let until = match options.until {
            Until::Seconds(seconds) => from + seconds * SECOND,
            Until::Requests(_) => Nanos::MAX,
        };
        Ok(Self {
            options,
            poll,
            alarm,
            connections,
            load: options.load(),
            ready: if open.is_none() { (0..options.connections).collect() } else { Vec::new() },
            open,
            measurement: Measurement::new(from, until),
            chunk: vec![0; CHUNK],
            in_flight: 0,
            begun: 0,
            ended: None,
            interrupted: false,
            // From here on.
            clock: Clock::start(),
        })
    }

    /// Sends what is due, and says how long may be slept then.
    fn prepare(&mut self) -> Result<Duration, Failure> {
        let now = self.clock.now();
        if self.has_sent_all(now) {
            self.ended.get_or_insert(now);
        }
        let next = self.take_due(now);
        self.send_all()?;
        let Some(due) = next else { return Ok(TICK) };
        let left = Duration::from_nanos(due.saturating_sub(self.clock.now()));
        self.alarm
            .set(left, TICK)
            .map_err(|error| Failure::Failed { code: NOT_DONE, text: error.to_string() })
    }

    /// Whether the time is over, and what was due in it was sent or has waited too long.
    fn has_sent_all(&self, now: Nanos) -> bool {
        let until = self.measurement.until();
        let late = now.saturating_sub(until) > PATIENCE.as_nanos() as Nanos;
        now >= until && (late || self.open.as_ref().is_none_or(|open| open.schedule.next() >= until))
    }

    /// Gives the commands of an open loop that are due to connections, and says when the next is that could be given then.
    fn take_due(&mut self, now: Nanos) -> Option<Nanos> {
        let mut open = self.open.take()?;
        if now >= self.options.warm_up * SECOND {
            // What the warm-up leaves would say more about how long it was than about the server.
            open.schedule.skip_to(self.options.warm_up * SECOND);
        }
        let mut next = None;
        while self.ended.is_none() {
            let Some(number) = open.next_free(&self.connections) else { break };
            let Some(due) = open.schedule.take(now.min(self.measurement.until() - 1)) else {
                open.free.push_front(number);
                next = Some(open.schedule.next());
                break;
            };
            if !self.connections[number].has_output() {
                self.ready.push(number);
            }
            self.send(number, due, now);
        }
        self.open = Some(open);
        next
    }

    /// Writes what is to be sent in this turn; the commands of a closed loop are made here.
    fn send_all(&mut self) -> Result<(), Failure> {
        let mut ready = std::mem::take(&mut self.ready);
        for number in ready.drain(..) {
            if self.open.is_none() {
                self.refill(number, self.clock.now());
            }
            self.connections[number].flush().map_err(|lost| self.lost(number, &lost))?;
        }
        self.ready = ready;
        Ok(())
    }

    /// Takes commands of a closed loop until as many are in flight as may be.
    fn refill(&mut self, number: usize, now: Nanos) {
        while self.ended.is_none()
            && !self.connections[number].is_moving()
            && self.connections[number].in_flight() < self.options.pipeline
        {
            self.send(number, now, now);
        }
    }

    fn send(&mut self, number: usize, since: Nanos, now: Nanos) {
        self.connections[number].send(&mut self.load, since);
        self.in_flight += 1;
        if self.measurement.counts(since) {
            self.begun += 1;
            if self.options.until == Until::Requests(self.begun) {
                self.ended = Some(now);
            }
        }
    }

    /// A socket has become ready.
    fn take(&mut self, event: &Event) -> Result<(), Failure> {
        let Token(number) = event.token();
        let Some(connection) = self.connections.get_mut(number) else { return Ok(()) };
        if event.is_writable() {
            connection.writable().map_err(|lost| self.lost(number, &lost))?;
        }
        if event.is_readable() || event.is_read_closed() {
            self.receive(number, event.is_read_closed())?;
        }
        Ok(())
    }

    fn receive(&mut self, number: usize, ends: bool) -> Result<(), Failure> {
        let (connection, measurement) = (&mut self.connections[number], &mut self.measurement);
        let before = connection.in_flight();
        let received = connection.receive(&mut self.chunk, &self.clock, ends, |flight, now, reply| {
            measurement.answered(flight, now, reply);
        });
        self.in_flight -= before - connection.in_flight();
        let answered = match received {
            // Whoever has answered everything may go once nothing more is sent.
            Err(Lost::Closed) if self.ended.is_some() && connection.in_flight() == 0 => return Ok(()),
            received => received.map_err(|lost| self.lost(number, &lost))?,
        };
        let followed = self.connections[number].follow(self.poll.registry(), Token(number));
        followed.map_err(|lost| self.lost(number, &lost))?;
        match &mut self.open {
            Some(open) => open.free.extend(std::iter::repeat_n(number, answered)),
            None => self.ready.push(number),
        }
        Ok(())
    }

    /// Whether there is nothing more to wait for.
    fn is_over(&self) -> bool {
        let quiet_since = match (self.ended, self.options.until) {
            (Some(_), _) if self.in_flight == 0 => return true,
            (Some(ended), _) => ended.max(self.measurement.last_reply),
            // The end of a number of requests may never come.
            (None, Until::Requests(_)) if self.in_flight > 0 => self.measurement.last_reply,
            (None, _) => return false,
        };
        self.clock.now().saturating_sub(quiet_since) > PATIENCE.as_nanos() as Nanos
    }

    fn finish(mut self) -> Outcome {
        if let (Until::Requests(_), false) = (self.options.until, self.interrupted) {
            // They have taken until the last reply.
            self.measurement.end(self.measurement.last_reply);
        }
        // What a free connection would take next is not behind.
        let behind = match (&self.open, self.options.until) {
            (Some(open), Until::Seconds(_)) if open.free.is_empty() => {
                open.schedule.behind(self.measurement.until())
            }
            _ => 0,
        };
        let unanswered = if self.interrupted { 0 } else { self.in_flight as u64 };
        Outcome { measurement: self.measurement, unanswered, behind, interrupted: self.interrupted }
    }

    /// A connection that breaks ends the run: what it measured would not be what was asked for.
    fn lost(&self, number: usize, lost: &Lost) -> Failure {
        let address = self.connections[number].address();
        let unanswered = self.connections[number].in_flight();
        let what = match lost {
            Lost::Closed => "closed a connection".to_owned(),
            Lost::Io(error) => format!("a connection failed: {error}"),
            Lost::Malformed(error) => format!("this is not RESP: {error}"),
            Lost::Unasked => "a reply came that nothing had asked for".to_owned(),
        };
        let seconds = self.clock.now() as f64 / SECOND as f64;
        let said =
            self.measurement.errors.iter().map(|(_, error)| format!("; it has said '{}'", error.example));
        Failure::Failed {
            code: if unanswered > 0 { NOT_KNOWN } else { NOT_DONE },
            text: format!(
                "{address}: {what} after {seconds:.3} s, with {unanswered} commands unanswered{}",
                said.collect::<String>()
            ),
        }
    }
}

impl OpenLoop {
    /// Takes the connection that has been free the longest. Those that are about to move wait.
    fn next_free(&mut self, connections: &[Connection]) -> Option<usize> {
        for _ in 0..self.free.len() {
            let number = self.free.pop_front()?;
            if !connections[number].is_moving() {
                return Some(number);
            }
            self.free.push_back(number);
        }
        None
    }
}

fn resolve(address: &str) -> Result<Vec<SocketAddr>, Usage> {
    let resolved = address
        .to_socket_addrs()
        .map_err(|error| Usage::flag("address", format_args!("'{address}' cannot be resolved: {error}")))?;
    Ok(resolved.collect())
}

/// A bar on standard error, if that is a terminal.
struct Progress {
    bar: ProgressBar,
    next: Nanos,
    shown: Nanos,
    replies: u64,
}

impl Progress {
    fn new(options: &Options) -> Self {
        let length = match options.until {
            Until::Seconds(seconds) => (options.warm_up + seconds) * 1000,
            Until::Requests(requests) => requests,
        };
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(4));
        let bar = match ProgressStyle::with_template("{bar:32} {msg}") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        Self { bar, next: 0, shown: 0, replies: 0 }
    }

    fn is_due(&self, now: Nanos) -> bool {
        now >= self.next
    }

    fn show(&mut self, now: Nanos, generator: &Generator<'_>) {
        let replies = generator.measurement.replies;
        let rate = (replies - self.replies) as f64 * SECOND as f64 / (now - self.shown).max(1) as f64;
        let (options, seconds) = (generator.options, now / SECOND);
        let doing = match (generator.ended, seconds < options.warm_up) {
            (Some(_), _) => format!("waiting for {} replies", generator.in_flight),
            (None, true) => format!("{seconds} s, warming up"),
            (None, false) => format!("{seconds} s"),
        };
        self.bar.set_message(format!("{doing}, {rate:.0} commands/s"));
        self.bar.set_position(match options.until {
            Until::Seconds(_) => now / 1_000_000,
            Until::Requests(_) => generator.begun,
        });
        (self.shown, self.replies) = (now, replies);
        self.next = now + 250_000_000;
    }
}
