//! MULTI, EXEC, DISCARD, WATCH and UNWATCH: commands that are gathered here and sent as one.
//!
//! EXEC becomes one request: an entry of the log, or one query if nothing in it writes. Commands about the connection, which
//! are answered here, may stand among them; their replies are put into their places when the node's reply has come.
//!
//! WATCH asks the node for the versions of its keys, and EXEC carries them: nobody keeps a list of who watches what. Nothing
//! of the connection is done between WATCH and its answer, and reads are linearizable while anything is watched, whatever
//! READONLY says: what the client reads after WATCH is no older than what it watches.
//!
//! `ONCE session seq ack EXEC` runs the transaction once, however often it is sent.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::command::{Command, Data};
use super::control::Control;
use super::reply::{self, Reply};
use super::{Connection, Kind, Look, Protocol, Step, cluster, help};
use crate::codec::resp::{parse_integer, reply_length, write};
use crate::kv::{self, Call, CommandInfo};
use crate::replica::{Outcome, Request};

/// Most commands of a transaction: what runs as one entry delays all others.
const MAX_COMMANDS: usize = 16 << 10;

/// Bytes of replies made here after which EXEC carries out no more of what is answered here: some of it answers a few bytes by
/// half a million, and nobody is served meanwhile.
const MAX_TOLD: usize = 1 << 20;

/// Most keys that one connection watches.
const MAX_WATCHED: usize = 1 << 10;

/// What MULTI began.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    queued: Vec<Queued>,
    /// Bytes of the commands.
    bytes: usize,
    /// A command could not be queued: EXEC will do nothing.
    failed: bool,
}

/// A command that waits for EXEC.
#[derive(Debug)]
enum Queued {
    /// For the node, with the slot of its first key.
    Call(Call, u16),
    /// To be answered here.
    Control(&'static Control, Vec<Bytes>),
    /// Answered: mostly by an error, of the kind that Redis finds when it runs the command.
    Answer(Reply),
}

/// What is to be done with the node's reply to a request, besides passing it on.
#[derive(Debug, Default)]
pub(super) enum Then {
    /// Nothing.
    #[default]
    Pass,
    /// It tells the versions of these keys.
    Watch(Vec<Bytes>),
    /// It is EXEC's.
    Exec(Assembly),
}

/// The parts of EXEC's reply, for a connection that spoke this version of the protocol.
#[derive(Debug)]
pub(super) struct Assembly {
    /// `None` for the node's.
    parts: Vec<Option<Reply>>,
    protocol: Protocol,
}

/// The numbers of a ONCE before an EXEC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OnceNumbers {
    pub(super) session: u64,
    pub(super) seq: u64,
    pub(super) ack: u64,
}

impl Transaction {
    /// How many commands wait.
    pub(super) fn len(&self) -> usize {
        self.queued.len()
    }

    /// Queues a command of so many bytes, if it and those before it have no more than `most` together.
    fn push(&mut self, queued: Queued, bytes: usize, most: usize) -> Result<(), Reply> {
        let together = self.bytes.saturating_add(bytes);
        if self.queued.len() >= MAX_COMMANDS || together > most {
            return Err(too_long(most));
        }
        if self.len() != 2 || !planted!("multi-forgets-a-command") {
            self.queued.push(queued);
        }
        self.bytes = together;
        Ok(())
    }
}

impl Queued {
    fn of_control(control: &'static Control, arguments: &[Bytes]) -> Result<Self, Reply> {
        if let Some(subcommand) = other_subcommand(control, arguments) {
            return Err(help::other_subcommand(&control.name.to_uppercase(), subcommand));
        }
        if !control.may_be_queued(arguments) {
            return Err(not_allowed());
        }
        // A copy: it may wait for long, and shares the bytes of the whole input otherwise.
        let arguments = arguments.iter().map(|argument| Bytes::copy_from_slice(argument)).collect();
        Ok(Self::Control(control, arguments))
    }

    /// `redirect` is where another node leads, if clients are sent there.
    fn of_data(data: Data, reads_local: bool, redirect: Option<String>) -> Result<Self, Reply> {
        let call = match data.request {
            Request::Write(command) => Ok(Call::Write(command)),
            Request::Read(query) | Request::ReadLocal(query) => Ok(Call::Read(query)),
            _ => Err(not_allowed()),
        };
        let is_here = reads_local && matches!(call, Ok(Call::Read(_)));
        match redirect.filter(|_| !is_here) {
            Some(address) => Err(reply::moved(data.slot, &address)),
            None => call.map(|call| Self::Call(call, data.slot)),
        }
    }
}

impl Assembly {
    /// EXEC's reply, of the node's.
    fn assemble(self, node: &Bytes) -> Reply {
        match node.first() {
            // A watched key has changed. Redis's older protocol has a null for arrays, and sends it here alone.
            Some(b'_') if self.protocol == Protocol::Resp2 => {
                Reply::of(|out| out.extend_from_slice(b"*-1\r\n"))
            }
            Some(b'*') if self.parts.iter().any(Option::is_some) => self.interleave(node),
            _ => Reply::Canonical(node.clone()),
        }
    }

    fn interleave(&self, node: &[u8]) -> Reply {
        let head = node.iter().position(|byte| *byte == b'\n').map_or(node.len(), |at| at + 1);
        let mut rest = node.get(head..).unwrap_or_default();
        Reply::of(|out| {
            write::array(out, self.parts.len());
            for part in &self.parts {
                match part {
                    Some(reply) => reply.render(Protocol::Resp3, out),
                    None => {
                        let Some((first, after)) = split_reply(rest) else {
                            write::error(
                                out,
                                "ERR the transaction ran, and the reply to it has too few parts",
                            );
                            continue;
                        };
                        out.extend_from_slice(first);
                        rest = after;
                    }
                }
            }
        })
    }
}

/// The first of several replies, and what follows it; `None` if there is none.
fn split_reply(replies: &[u8]) -> Option<(&[u8], &[u8])> {
    replies.split_at_checked(reply_length(replies).ok()??)
}

impl Connection {
    pub(super) fn multi(&mut self) -> Reply {
        if self.transaction.is_some() {
            return Reply::error("ERR MULTI calls can not be nested");
        }
        self.transaction = Some(Transaction::default());
        Reply::ok()
    }

    pub(super) fn discard(&mut self) -> Reply {
        if self.transaction.is_none() {
            return Reply::error("ERR DISCARD without MULTI");
        }
        if planted!("discard-keeps-watching") {
            self.transaction = None;
            return Reply::ok();
        }
        self.forget_transaction();
        Reply::ok()
    }

    pub(super) fn unwatch(&mut self) -> Reply {
        self.watched = BTreeMap::new();
        Reply::ok()
    }

    pub(super) fn forget_transaction(&mut self) {
        self.transaction = None;
        self.watched = BTreeMap::new();
    }

    /// WATCH: what is wrong with it, or nothing when the node has been asked.
    pub(super) fn watch(&mut self, arguments: &[Bytes], step: &mut Step<'_>) -> Option<Reply> {
        if self.transaction.is_some() {
            return Some(Reply::error("ERR WATCH inside MULTI is not allowed"));
        }
        let keys: Vec<Bytes> = arguments.iter().skip(1).map(|key| Bytes::copy_from_slice(key)).collect();
        if self.watched.len() + keys.len() > MAX_WATCHED {
            return Some(Reply::error("ERR too many keys are watched: at most 1024 by one connection"));
        }
        let query = match kv::versions(&keys) {
            Ok(Call::Read(query) | Call::Write(query)) => query,
            Err(error) => return Some(reply::of_error(&error)),
        };
        let bytes = query.len();
        let slot = keys.first().map_or(0, |key| super::slot::of_key(key));
        let then = Then::Watch(keys);
        self.hold(Data { kind: Kind::Read, request: Request::Read(query), slot, bytes, then }, step);
        None
    }

    /// What a command is while MULTI is open: most are queued, which is answered here. `None` when it was.
    pub(super) fn queue_up(
        &mut self,
        command: Command,
        arguments: &[Bytes],
        node: &Look<'_>,
    ) -> Option<Command> {
        let is_exec = arguments.first().is_some_and(|name| name.eq_ignore_ascii_case(b"exec"));
        if is_exec && matches!(command, Command::Answer(_)) {
            // With an argument it ends what it was to run, and says the same if there is nothing.
            self.forget_transaction();
            let text =
                "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
            self.answer_now(Reply::error(text));
            return None;
        }
        let Some(transaction) = &mut self.transaction else { return Some(command) };
        let queued = match command {
            Command::Exec(_) | Command::Http => return Some(command),
            Command::Control(control) if control.ends_or_begins_transaction() => return Some(command),
            Command::Control(control) => Queued::of_control(control, arguments),
            Command::Data(data) => {
                let redirect = self.settings.redirect.then(|| cluster::elsewhere(node)).flatten();
                Queued::of_data(data, self.reads_local, redirect)
            }
            Command::Answer(reply) if !reply.is_error() => Err(not_allowed()),
            // Redis finds out about an argument when it runs the command, and about name and number of arguments before.
            Command::Answer(error) if is_known(arguments) => Ok(Queued::Answer(error)),
            Command::Answer(error) => Err(error),
        };
        let bytes = arguments.iter().map(Bytes::len).sum();
        let most = self.settings.max_command;
        let reply = match queued.and_then(|queued| transaction.push(queued, bytes, most)) {
            Ok(()) => Reply::of(|out| write::simple(out, "QUEUED")),
            Err(error) => {
                transaction.failed = true;
                error
            }
        };
        self.answer_now(reply);
        None
    }

    /// EXEC.
    pub(super) fn exec(&mut self, once: Option<OnceNumbers>, step: &mut Step<'_>) {
        let Some(transaction) = self.transaction.take() else {
            return self.answer_now(Reply::error("ERR EXEC without MULTI"));
        };
        let watched: Vec<_> = core::mem::take(&mut self.watched).into_iter().collect();
        if transaction.failed && !planted!("exec-runs-after-a-failed-queue") {
            let text = "EXECABORT Transaction discarded because of previous errors.";
            return self.answer_now(Reply::error(text));
        }
        let (mut calls, mut parts, mut slot, mut told) = (Vec::new(), Vec::new(), None, 0);
        for queued in transaction.queued {
            parts.push(match queued {
                Queued::Call(call, of_first_key) => {
                    slot.get_or_insert(of_first_key);
                    calls.push(call);
                    None
                }
                Queued::Control(..) if told > MAX_TOLD => Some(told_too_much()),
                Queued::Control(control, arguments) => {
                    let reply = self.control_in_transaction(control, &arguments, step);
                    told += reply.len();
                    Some(reply)
                }
                Queued::Answer(reply) => Some(reply),
            });
        }
        let assembly = Assembly { parts, protocol: self.protocol };
        if calls.is_empty() && watched.is_empty() && once.is_none() {
            return self.answer_now(assembly.interleave(b""));
        }
        let (kind, request) = match (kv::transaction(&watched, &calls), once) {
            (Call::Write(command) | Call::Read(command), Some(OnceNumbers { session, seq, ack })) => {
                (Kind::Write, Request::Once { session, seq, ack, command })
            }
            (Call::Write(command), None) => (Kind::Write, Request::Write(command)),
            (Call::Read(query), None) if self.reads_local && watched.is_empty() => {
                (Kind::Read, Request::ReadLocal(query))
            }
            (Call::Read(query), None) => (Kind::Read, Request::Read(query)),
        };
        let slot = slot.unwrap_or_default();
        let bytes = transaction.bytes;
        self.hold(Data { kind, request, slot, bytes, then: Then::Exec(assembly) }, step);
    }

    /// The reply to a request that the node has answered.
    pub(super) fn reply_of(&mut self, then: Then, outcome: Outcome, slot: u16, node: &Look<'_>) -> Reply {
        match (then, outcome) {
            (Then::Watch(keys), Outcome::Reply(told)) => self.watch_told(keys, told),
            (Then::Exec(assembly), Outcome::Reply(reply)) => assembly.assemble(&reply),
            (_, outcome) => reply::of_outcome(outcome, slot, self.settings.redirect, node),
        }
    }

    fn watch_told(&mut self, keys: Vec<Bytes>, told: Bytes) -> Reply {
        if told.first() != Some(&b'*') {
            return Reply::Canonical(told);
        }
        let versions = told.split(|byte| *byte == b'\n').filter_map(|line| {
            let digits = line.strip_prefix(b":")?.strip_suffix(b"\r")?;
            parse_integer(digits).and_then(|version| u64::try_from(version).ok())
        });
        for (key, version) in keys.into_iter().zip(versions) {
            // Who watches a key twice has watched it since the first time.
            self.watched.entry(key).or_insert(version);
        }
        Reply::ok()
    }
}

fn too_long(most: usize) -> Reply {
    Reply::of(|out| {
        let text = alloc::format!(
            "ERR transaction is too long: at most {MAX_COMMANDS} commands of {most} bytes together"
        );
        write::error(out, &text);
    })
}

pub(super) fn not_allowed() -> Reply {
    Reply::error("ERR Command not allowed inside a transaction")
}

fn told_too_much() -> Reply {
    Reply::error("ERR the replies before this one are too long together, and the command was not done")
}

/// The subcommand, if a command that has subcommands has none of this name.
fn other_subcommand<'a>(control: &Control, arguments: &'a [Bytes]) -> Option<&'a [u8]> {
    let known = help::subcommands(control.name);
    let name = arguments.get(1).filter(|_| !known.is_empty())?;
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    (!is("help") && !known.iter().any(|(known, _)| is(known))).then_some(name)
}

/// Whether there is a command of this name that takes so many arguments.
fn is_known(arguments: &[Bytes]) -> bool {
    let Some(name) = arguments.first() else { return false };
    CommandInfo::find(name).is_some_and(|info| info.takes(arguments.len()))
        || Control::find(name).is_some_and(|control| control.takes(arguments.len()))
}
