//! One machine of a cluster: its disk and clocks, which outlive a crash, and its process, which does not.

use std::collections::BTreeSet;
use std::string::String;
use std::vec::Vec;

use super::Happening;
use super::counting::{Failures, Shown};
use super::lanes::{JobLane, LogLane};
use crate::node::{self, Actions, Event, Fault, Node, Status};
use crate::replica::StateMachine;
use crate::rng::Rng;
use crate::sim::clock::Clock;
use crate::sim::disk::Disk;
use crate::time::{Micros, Now};

/// Notes of a machine that are kept.
const NOTES: usize = 200;

/// How a process ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed: what it wrote stays written, synced or not.
    Process,
    /// The power fails: what was not synced survives or not.
    Power,
}

/// What seldom happens to a node, and is seldom crashed into by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It cuts entries off its log that a leader contradicts.
    Cut,
    /// It switches to a snapshot of its leader.
    Install,
}

impl Moment {
    /// The name, in counts, of a crash soon after it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cut => "fault: crash as entries are cut off",
            Self::Install => "fault: crash as a snapshot is installed",
        }
    }
}

/// One machine.
#[derive(Debug)]
pub struct Machine<S: StateMachine> {
    /// The disk. Its faults are set here.
    pub disk: Disk,
    /// The clocks. A change holds from the next step on; the monotonic one may not go backwards while a process lives.
    pub clock: Clock,
    /// The settings of the next process.
    pub config: node::Config,
    /// Whether it belongs to the cluster's nodes: a spare one does not.
    pub(super) is_enrolled: bool,
    /// Its process is stopped until then: what reaches it waits.
    pub paused_until: Micros,
    /// What waits until it goes on, in order.
    pub(super) postponed: Vec<Happening<S>>,
    /// How much longer than usual everything takes here, in percent: 100 is usual.
    pub slowness: u64,
    /// Ends its process within one of its next disk operations: after how many more, and how.
    pub crash_within: Option<(u64, Crash)>,
    /// The same, counted from the next moment of this kind.
    pub crash_at: Option<(Moment, u64, Crash)>,
    /// Exit codes of halts that were provoked here; any other halt is a violation.
    pub provoked: BTreeSet<u8>,
    /// Why its last process halted, if it did.
    pub fault: Option<Fault>,
    /// The last lines it logged.
    pub notes: Vec<String>,
    /// What of the disk had failed before this life.
    pub(super) failures_before: Failures,
    pub(super) process: Option<Process<S>>,
    /// Processes started.
    pub(super) lives: u64,
    pub(super) rng: Rng,
}

/// A running node with what its driver keeps for it.
#[derive(Debug)]
pub(super) struct Process<S: StateMachine> {
    pub(super) node: Node<S>,
    pub(super) inbox: Vec<Event<S>>,
    pub(super) log: LogLane,
    pub(super) log_busy: bool,
    pub(super) jobs: JobLane<S>,
    pub(super) jobs_busy: bool,
    /// By its own clock.
    pub(super) wake: Option<Micros>,
    /// The earliest planned look at `wake`, by the simulation's.
    pub(super) wake_planned: Option<Micros>,
    pub(super) turn_planned: bool,
    /// What its core has shown last.
    pub(super) shown: Option<Shown>,
    /// What the node says of itself, once a gateway has looked since the last step.
    status: Option<Status>,
}

impl<S: StateMachine> Process<S> {
    pub(super) fn new(node: Node<S>) -> Self {
        Self {
            node,
            inbox: Vec::new(),
            log: LogLane::default(),
            log_busy: false,
            jobs: JobLane::default(),
            jobs_busy: false,
            wake: None,
            wake_planned: None,
            turn_planned: false,
            shown: None,
            status: None,
        }
    }

    /// The node takes all these events in one step.
    pub(super) fn step(&mut self, now: Now, events: Vec<Event<S>>, actions: &mut Actions<S>) {
        self.status = None;
        self.node.step_into(now, events, actions);
    }

    /// What the node says of itself: it changes in a step, and at no other time.
    pub(super) fn status(&mut self) -> &Status {
        self.status.get_or_insert_with(|| self.node.status())
    }
}

impl<S: StateMachine> Machine<S> {
    pub(super) fn new(config: node::Config, clock: Clock, seed: u64) -> Self {
        let is_enrolled = config.founders.contains_key(&config.raft.id);
        let rng = Rng::stream(seed, 100 + config.raft.id.0);
        Self {
            disk: Disk::new(),
            clock,
            config,
            is_enrolled,
            paused_until: 0,
            postponed: Vec::new(),
            slowness: 100,
            crash_within: None,
            crash_at: None,
            provoked: BTreeSet::new(),
            fault: None,
            notes: Vec::new(),
            failures_before: Failures::default(),
            process: None,
            lives: 0,
            rng,
        }
    }

    /// Whether its process runs.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// The running node.
    pub fn node(&self) -> Option<&Node<S>> {
        self.process.as_ref().map(|process| &process.node)
    }

    /// Whether a disk operation is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.log.op().is_some() || process.jobs.op().is_some())
    }

    /// Stopped now: when it goes on.
    pub(super) fn resumes_at(&self, now: Micros) -> Option<Micros> {
        (self.paused_until > now).then_some(self.paused_until)
    }

    /// Something seldom happens now. Whether the process is to end by it.
    pub(super) fn meets(&mut self, now: Moment) -> bool {
        let Some((_, operations, crash)) = self.crash_at.take_if(|(moment, ..)| *moment == now) else {
            return false;
        };
        self.crash_within = Some((operations, crash));
        true
    }

    /// Counts a disk operation that begins; how the process ends within it, if it is to.
    pub(super) fn begins_op(&mut self) -> Option<Crash> {
        match &mut self.crash_within {
            Some((0, crash)) => {
                let crash = *crash;
                self.crash_within = None;
                Some(crash)
            }
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }

    /// Whether the process of this life still runs.
    pub(super) fn alive(&mut self, life: u64) -> Option<&mut Process<S>> {
        if self.lives == life { self.process.as_mut() } else { None }
    }

    /// Ends the process. The operations under way have happened in part.
    pub(super) fn crash(&mut self, crash: Crash) {
        let Some(process) = self.process.take() else { return };
        for op in [process.log.op(), process.jobs.op()].into_iter().flatten() {
            self.disk.interrupt(op, &mut self.rng);
        }
        if crash == Crash::Power {
            self.disk.crash(&mut self.rng);
        }
    }

    pub(super) fn note(&mut self, text: String) {
        if self.notes.len() == NOTES {
            self.notes.remove(0);
        }
        self.notes.push(text);
    }
}
