//! Pipelines: short commands in a row, which go to the node as one request.
//!
//! What a client sends without waiting for replies is mostly many short commands. Those that were read together, follow each
//! other, and all write or all read are [one command](kv::pipeline) for the node, and its reply is theirs, one after the
//! other. None waits for others to come: what was gathered leaves at the end of the step.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::reply::Reply;
use super::{Connection, Step};
use crate::codec::resp::reply_length;
use crate::kv;
use crate::replica::{Outcome, Request};

/// Most commands of a pipeline.
const MAX_COMMANDS: usize = 64;

/// A longer command goes by itself: it pays for itself.
const SHORT: usize = 2 << 10;

/// What is asked by a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Write,
    Read,
    ReadLocal,
}

impl Asks {
    /// What a request asks, and its command, if it is one that may be one of several.
    fn of(request: &Request) -> Option<(Self, &Bytes)> {
        let (asks, command) = match request {
            Request::Write(command) => (Self::Write, command),
            Request::Read(query) => (Self::Read, query),
            Request::ReadLocal(query) => (Self::ReadLocal, query),
            _ => return None,
        };
        (command.len() <= SHORT && kv::may_join(command)).then_some((asks, command))
    }

    fn request(self, command: Bytes) -> Request {
        match self {
            Self::Write => Request::Write(command),
            Self::Read => Request::Read(command),
            Self::ReadLocal => Request::ReadLocal(command),
        }
    }
}

/// Commands of one kind, with consecutive numbers, that leave at the end of the step.
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
    /// Takes a command if it goes on what is here, with which it has no more than `most` bytes; if not, nothing is done.
    fn take(&mut self, asks: Asks, number: u64, command: &Bytes, most: usize) -> bool {
        let together = self.bytes.saturating_add(command.len());
        let len = self.commands.len();
        if len == 0 {
            (self.asks, self.first) = (asks, number);
        } else if self.asks != asks
            || self.first.wrapping_add(len as u64) != number
            || len >= MAX_COMMANDS
            || together > most
        {
            return false;
        }
        self.bytes = together;
        self.commands.push(command.clone());
        true
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
        self.bytes = 0;
        Some(sent)
    }
}

/// What was gathered, as one command.
#[derive(Debug)]
struct Sent {
    /// The number of the first of its commands, and of the request.
    first: u64,
    /// How many they are.
    len: usize,
    asks: Asks,
    command: Bytes,
}

/// The pipelines of a connection that are under way, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pipelines(VecDeque<Sent>);

impl Pipelines {
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

impl Connection {
    /// Gathers a request with the ones before it, if it is short. False if it has to go by itself.
    pub(super) fn gather(&mut self, number: u64, request: &Request, step: &mut Step<'_>) -> bool {
        let most = self.settings.max_joined;
        let Some((asks, command)) = Asks::of(request).filter(|_| most > 0) else { return false };
        if !step.out.gathered.take(asks, number, command, most) {
            self.send_gathered(step);
            step.out.gathered.take(asks, number, command, most);
        }
        true
    }

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

    /// The node has answered a request, which may be one of several.
    pub(super) fn on_outcome(&mut self, number: u64, outcome: Outcome, step: &mut Step<'_>) {
        match (self.pipelines.remove(number), outcome) {
            (None, outcome) => self.on_reply(number, outcome, step.context.node),
            (Some(sent), Outcome::Reply(replies)) => self.on_replies(sent, replies, step),
            (Some(sent), outcome) => {
                for number in sent.first..sent.first + sent.len as u64 {
                    self.on_reply(number, outcome.clone(), step.context.node);
                }
            }
        }
    }

    /// Each command gets its own. Reads that are not answered with the others, as they would be too long together, are asked
    /// again: by themselves they would have waited for their turn, too.
    fn on_replies(&mut self, mut sent: Sent, mut replies: Bytes, step: &mut Step<'_>) {
        let mut answered = 0;
        while answered < sent.len
            && let Ok(Some(length)) = reply_length(&replies)
        {
            self.queue.answer(sent.first + answered as u64, Reply::Canonical(replies.split_to(length)));
            answered += 1;
        }
        sent.first += answered as u64;
        sent.len -= answered;
        let may_go_on = answered > 0 && sent.asks != Asks::Write;
        match kv::unanswered(&sent.command, answered).filter(|_| may_go_on) {
            _ if sent.len == 0 => {}
            Some(command) => self.send(Sent { command, ..sent }, step),
            None => {
                for number in sent.first..sent.first + sent.len as u64 {
                    let text = "ERR the command ran, and the state machine's reply to it is missing";
                    self.queue.answer(number, Reply::error(text));
                }
            }
        }
    }
}
