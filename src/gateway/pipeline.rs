//! Pipelines: short commands in a row, which go to the node as one request.
//!
//! What a client sends without waiting for replies is mostly many short commands. Those that were read together, follow each
//! other, and all write or all read are [one command](kv::pipeline) for the node, and its reply is theirs, one after the
//! other. None waits for others to come: what was gathered leaves at the end of the step.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::command::Data;
use super::reply::Reply;
use super::transaction::Then;
use super::{Connection, Kind, Step};
use crate::codec::resp::reply_length;
use crate::kv;
use crate::replica::{Outcome, Request};

/// Most writes that go together: one entry is one piece of work.
const MAX_WRITES: usize = 64;

/// A longer command goes by itself: it pays for itself.
const SHORT: usize = 2 << 10;

/// Bytes that say how long a short command is.
const LENGTH: usize = 2;

/// What is asked by a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Write,
    Read,
    ReadLocal,
}

impl Asks {
    /// What a request asks, and its command, if it has one.
    fn of(request: &Request) -> Option<(Self, &Bytes)> {
        match request {
            Request::Write(command) => Some((Self::Write, command)),
            Request::Read(query) => Some((Self::Read, query)),
            Request::ReadLocal(query) => Some((Self::ReadLocal, query)),
            _ => None,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Write => Kind::Write,
            Self::Read | Self::ReadLocal => Kind::Read,
        }
    }

    fn request(self, command: Bytes) -> Request {
        match self {
            Self::Write => Request::Write(command),
            Self::Read => Request::Read(command),
            Self::ReadLocal => Request::ReadLocal(command),
        }
    }
}

/// Commands of one kind that leave at the end of the step. Between them is nothing that waits for the node.
#[derive(Debug)]
pub(super) struct Gathered {
    asks: Asks,
    first: u64,
    commands: Vec<Bytes>,
    bytes: usize,
}

impl Default for Gathered {
    fn default() -> Self {
        Self { asks: Asks::Read, first: 0, commands: Vec::new(), bytes: 0 }
    }
}

impl Gathered {
    /// Whether the command of a request goes on what is here, with which it has no more than `most` bytes.
    pub(super) fn admits(&self, request: &Request, most: usize) -> bool {
        let Some((asks, command)) = Asks::of(request) else { return false };
        let len = match asks {
            Asks::Write => MAX_WRITES,
            Asks::Read | Asks::ReadLocal => kv::MAX_PIPELINE,
        };
        self.is_empty()
            || (self.asks == asks && self.commands.len() < len && self.bytes + LENGTH + command.len() <= most)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Adds the command of a request.
    pub(super) fn add(&mut self, number: u64, request: &Request) {
        let Some((asks, command)) = Asks::of(request) else { return };
        if self.is_empty() {
            (self.asks, self.first, self.bytes) = (asks, number, 1);
        }
        self.bytes += LENGTH + command.len();
        self.commands.push(command.clone());
    }

    /// Empties it: what leaves, if anything was here.
    fn leave(&mut self, space: &mut BytesMut) -> Option<Sent> {
        let command = match &self.commands[..] {
            [] => return None,
            [one] => one.clone(),
            several => kv::pipeline(several, space),
        };
        let sent = Sent { first: self.first, len: self.commands.len(), asks: self.asks, command };
        self.commands.clear();
        Some(sent)
    }
}

/// What was gathered, as one command.
#[derive(Debug)]
struct Sent {
    /// The number of the first of its commands, and of the request.
    first: u64,
    /// How many they are: the first ones from there on that wait for a reply of this kind.
    len: usize,
    asks: Asks,
    command: Bytes,
}

/// The pipelines of a connection that are under way, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pipelines(VecDeque<Sent>);

impl Pipelines {
    /// Whether reads are under way together. Those whose turn does not come with the first answer are asked again, and what
    /// was asked behind them must not have seen an older state by then: there is nothing behind them.
    pub(super) fn has_reads(&self) -> bool {
        self.0.front().is_some_and(|sent| sent.asks != Asks::Write)
    }

    fn remove(&mut self, first: u64) -> Option<Sent> {
        let at = self.0.iter().position(|sent| sent.first == first)?;
        let sent = self.0.remove(at);
        if self.0.is_empty() {
            // Most connections are idle most of the time, and there may be many.
            self.0 = VecDeque::new();
        }
        sent
    }
}

/// Whether a request may be one of several.
pub(super) fn may_join(data: &Data) -> bool {
    let is_short = |command: &Bytes| command.len() <= SHORT && kv::may_join(command);
    matches!(data.then, Then::Pass) && Asks::of(&data.request).is_some_and(|(_, command)| is_short(command))
}

impl Connection {
    /// Sends what was gathered.
    pub(super) fn send_gathered(&mut self, step: &mut Step<'_>) {
        if let Some(sent) = step.out.gathered.leave(&mut step.out.space) {
            self.send(sent, step);
        }
    }

    fn send(&mut self, sent: Sent, step: &mut Step<'_>) {
        let (number, request) = (sent.first, sent.asks.request(sent.command.clone()));
        if sent.len > 1 {
            self.pipelines.0.push_back(sent);
        }
        self.send_request(number, request, step);
    }

    /// The node has answered a request, which may be several commands.
    pub(super) fn on_outcome(&mut self, number: u64, outcome: Outcome, step: &mut Step<'_>) {
        match (self.pipelines.remove(number), outcome) {
            (None, outcome) => self.on_reply(number, outcome, step.context.node),
            (Some(sent), Outcome::Reply(replies)) => self.on_replies(sent, replies, step),
            (Some(sent), outcome) => self.on_end(&sent, &outcome, step),
        }
    }

    /// Each command gets its own. Reads that are not answered with the others, as they would be too long together, are asked
    /// again, and have the time of a request from then on.
    fn on_replies(&mut self, mut sent: Sent, mut replies: Bytes, step: &mut Step<'_>) {
        let mut answered = 0;
        while answered < sent.len
            && let Some(number) = self.next_of(&sent)
            && let Ok(Some(length)) = reply_length(&replies)
        {
            self.queue.answer(number, Reply::Canonical(replies.split_to(length)));
            sent.first = number.wrapping_add(1);
            answered += 1;
        }
        sent.len -= answered;
        let Some(first) = self.next_of(&sent).filter(|_| sent.len > 0) else { return };
        let may_go_on = answered > 0 && sent.asks != Asks::Write;
        match kv::unanswered(&sent.command, answered).filter(|_| may_go_on) {
            Some(command) => self.send(Sent { first, command, ..sent }, step),
            // No state machine of ours answers so: nothing is known of what became of these.
            None => self.on_end(&sent, &Outcome::Undetermined, step),
        }
    }

    /// All that wait end alike.
    fn on_end(&mut self, sent: &Sent, outcome: &Outcome, step: &mut Step<'_>) {
        let mut from = sent.first;
        for _ in 0..sent.len {
            let Some(number) = self.queue.next_waiting(from, sent.asks.kind()) else { return };
            self.on_reply(number, outcome.clone(), step.context.node);
            from = number.wrapping_add(1);
        }
    }

    /// The number of the next of them that waits.
    fn next_of(&self, sent: &Sent) -> Option<u64> {
        self.queue.next_waiting(sent.first, sent.asks.kind())
    }
}
