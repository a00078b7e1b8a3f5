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
use alloc::vec::Vec;

use bytes::Bytes;

use super::command::{Command, Data, Held};
use super::control::Control;
use super::reply::{self, Reply};
use super::{Action, Connection, Context, Kind, Protocol, cluster, help};
use crate::codec::resp::{parse_integer, reply_length, write};
use crate::kv::{self, Call, CommandInfo};
use crate::replica::{Outcome, Request};
use crate::time::Now;

/// Most commands of a transaction: what runs as one entry delays all others.
const MAX_COMMANDS: usize = 16 << 10;

/// Most keys that one connection watches.
const MAX_WATCHED: usize = 1 << 10;

/// What MULTI began.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    queued: Vec<Queued>,
    /// Bytes of the commands.
    bytes: usize,
    /// The slot of the first key.
    slot: Option<u16>,
    /// A command could not be queued: EXEC will do nothing.
    failed: bool,
}

/// A command that waits for EXEC.
#[derive(Debug)]
enum Queued {
    /// For the node.
    Call(Call),
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

    fn has_room(&self, bytes: usize, most: usize) -> bool {
        self.queued.len() < MAX_COMMANDS && self.bytes.saturating_add(bytes) <= most
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
    pub(super) fn watch(
        &mut self,
        arguments: &[Bytes],
        context: &Context<'_>,
        out: &mut Vec<Action>,
    ) -> Option<Reply> {
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
        self.hold(Data { kind: Kind::Read, request: Request::Read(query), slot, bytes, then }, context, out);
        None
    }

    /// What a command is while MULTI is open: most are queued, which is answered here. `None` when it was.
    pub(super) fn queue_up(
        &mut self,
        command: Command,
        arguments: &[Bytes],
        node: &Context<'_>,
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
        let most = self.settings.max_command;
        let reads_local = self.reads_local;
        let redirect = self.settings.redirect.then(|| cluster::elsewhere(node.node)).flatten();
        let Some(transaction) = &mut self.transaction else { return Some(command) };
        let bytes = arguments.iter().map(Bytes::len).sum::<usize>();
        let (queued, slot) = match command {
            Command::Control(control) if control.ends_or_begins_transaction() => return Some(command),
            Command::Exec(_) | Command::Http => return Some(command),
            Command::Control(control) if is_other_subcommand(control, arguments) => {
                let subcommand = arguments.get(1).map_or(&b""[..], |name| name);
                (Err(help::other_subcommand(&control.name.to_uppercase(), subcommand)), None)
            }
            Command::Control(control) if control.may_be_queued(arguments) => {
                // A copy: it may wait for long, and shares the bytes of the whole input otherwise.
                let arguments = arguments.iter().map(|argument| Bytes::copy_from_slice(argument)).collect();
                (Ok(Queued::Control(control, arguments)), None)
            }
            Command::Data(data) => {
                let call = match data.request {
                    Request::Write(command) => Ok(Call::Write(command)),
                    Request::Read(query) | Request::ReadLocal(query) => Ok(Call::Read(query)),
                    _ => Err(not_allowed()),
                };
                let is_here = reads_local && matches!(call, Ok(Call::Read(_)));
                match redirect.filter(|_| !is_here) {
                    Some(address) => (Err(reply::moved(data.slot, &address)), None),
                    None => (call.map(Queued::Call), Some(data.slot)),
                }
            }
            Command::Control(_) => (Err(not_allowed()), None),
            // Redis finds out about an argument when it runs the command, and about name and number of arguments before.
            Command::Answer(error) if is_known(arguments) => (Ok(Queued::Answer(error)), None),
            Command::Answer(error) => (Err(error), None),
        };
        let queued =
            queued.and_then(
                |queued| {
                    if transaction.has_room(bytes, most) { Ok(queued) } else { Err(too_long(most)) }
                },
            );
        let reply = match queued {
            Ok(queued) => {
                transaction.queued.push(queued);
                transaction.bytes = transaction.bytes.saturating_add(bytes);
                transaction.slot = transaction.slot.or(slot);
                Reply::of(|out| write::simple(out, "QUEUED"))
            }
            Err(error) => {
                transaction.failed = true;
                error
            }
        };
        self.answer_now(reply);
        None
    }

    /// EXEC.
    pub(super) fn exec(
        &mut self,
        once: Option<OnceNumbers>,
        now: Now,
        context: &Context<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(transaction) = self.transaction.take() else {
            return self.answer_now(Reply::error("ERR EXEC without MULTI"));
        };
        let watched: Vec<_> = core::mem::take(&mut self.watched).into_iter().collect();
        if transaction.failed {
            let text = "EXECABORT Transaction discarded because of previous errors.";
            return self.answer_now(Reply::error(text));
        }
        let (mut calls, mut parts) = (Vec::new(), Vec::new());
        for queued in transaction.queued {
            parts.push(match queued {
                Queued::Call(call) => {
                    calls.push(call);
                    None
                }
                Queued::Control(control, arguments) => {
                    Some(self.control_in_transaction(control, &arguments, now, context, out))
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
        let slot = transaction.slot.unwrap_or(0);
        let bytes = transaction.bytes;
        self.hold(Data { kind, request, slot, bytes, then: Then::Exec(assembly) }, context, out);
    }

    /// The reply to a request that the node has answered.
    pub(super) fn reply_of(
        &mut self,
        then: Then,
        outcome: Outcome,
        slot: u16,
        context: &Context<'_>,
    ) -> Reply {
        match (then, outcome) {
            (Then::Watch(keys), Outcome::Reply(told)) => self.watch_told(keys, told),
            (Then::Exec(assembly), Outcome::Reply(reply)) => assembly.assemble(&reply),
            (_, outcome) => reply::of_outcome(outcome, slot, self.settings.redirect, context.node),
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

    /// Takes a request to the node, now or when those before it allow.
    fn hold(&mut self, data: Data, context: &Context<'_>, out: &mut Vec<Action>) {
        self.held = self.try_held(Held::Data(data), context, out);
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

fn not_allowed() -> Reply {
    Reply::error("ERR Command not allowed inside a transaction")
}

/// Whether a command that has subcommands has none of this name.
fn is_other_subcommand(control: &Control, arguments: &[Bytes]) -> bool {
    let known = help::subcommands(control.name);
    let is = |known: &str, name: &[u8]| name.eq_ignore_ascii_case(known.as_bytes());
    arguments.get(1).is_some_and(|name| {
        !known.is_empty() && !is("help", name) && !known.iter().any(|(known, _)| is(known, name))
    })
}

/// Whether there is a command of this name that takes so many arguments.
fn is_known(arguments: &[Bytes]) -> bool {
    let Some(name) = arguments.first() else { return false };
    CommandInfo::find(name).is_some_and(|info| info.takes(arguments.len()))
        || Control::find(name).is_some_and(|control| control.takes(arguments.len()))
}
