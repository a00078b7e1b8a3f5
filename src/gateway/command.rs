//! What a command is: a request for the node, a control command, or an error.

use bytes::{Bytes, BytesMut};

use super::command_stats::Row;
use super::control::{Control, Verb};
use super::reply::{Reply, of_error};
use super::transaction::{OnceNumbers, Then};
use super::{Kind, Look, Settings, membership, session, slot};
use crate::kv::{self, CommandInfo};
use crate::replica::Request;

/// A request for the node.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) kind: Kind,
    pub(super) request: Request,
    /// The slot of its first key, if it is needed.
    pub(super) slot: u16,
    /// Bytes that it keeps while it is under way.
    pub(super) bytes: usize,
    /// What to do with the reply.
    pub(super) then: Then,
}

/// A command that waits for those before it.
#[derive(Debug)]
pub(super) enum Held {
    /// For the node.
    Data(Data),
    /// WAIT.
    Wait,
}

/// What a client's command is.
#[derive(Debug)]
pub(super) enum Command {
    Data(Data),
    Control(&'static Control),
    /// EXEC, with the numbers of a ONCE before it.
    Exec(Option<OnceNumbers>),
    /// Answered here and now: an error, or what is known without asking anybody.
    Answer(Reply),
    /// A line of an HTTP request. A web page can make its reader's browser send one to an address that only that machine
    /// reaches, with commands in its body: nothing behind it may run (Redis does the same).
    Http,
}

/// Decides what `arguments` are; the first of them is the name of `row`. `reads_local` is set by READONLY; `draw` is for a
/// command that chooses; in `space` it is packed.
pub(super) fn classify(
    arguments: &[Bytes],
    row: Row,
    settings: &Settings,
    reads_local: bool,
    draw: impl FnOnce() -> u64,
    node: &Look<'_>,
    space: &mut BytesMut,
) -> Command {
    let data = match row {
        Row::None if is_http(arguments) => return Command::Http,
        Row::Control(Control { verb: Verb::Exec, .. }) if arguments.len() == 1 => return Command::Exec(None),
        Row::Control(Control { verb: Verb::Once, .. }) if session::is_exec(arguments) => {
            return session::exec(arguments).map_or_else(Command::Answer, |once| Command::Exec(Some(once)));
        }
        Row::None => plain(arguments, None, settings, reads_local, draw, space),
        Row::Data(info) => plain(arguments, Some(info), settings, reads_local, draw, space),
        Row::Control(control) if !control.takes(arguments.len()) => {
            Err(of_error(&kv::CommandError::Arity(control.name)))
        }
        Row::Control(control) => match control.verb {
            Verb::Once => session::once(arguments, settings, space),
            Verb::Session => session::session(arguments),
            Verb::Member => membership::member(arguments, node),
            Verb::Transfer => membership::transfer(arguments),
            _ => return Command::Control(control),
        },
    };
    data.map_or_else(Command::Answer, Command::Data)
}

/// Whether it is a line of HTTP that says so.
fn is_http(arguments: &[Bytes]) -> bool {
    let is = |name: &[u8]| arguments.first().is_some_and(|first| first.eq_ignore_ascii_case(name));
    is(b"POST") || is(b"Host:")
}

/// A command of the state machine, outside any session.
fn plain(
    arguments: &[Bytes],
    info: Option<&CommandInfo>,
    settings: &Settings,
    reads_local: bool,
    draw: impl FnOnce() -> u64,
    space: &mut BytesMut,
) -> Result<Data, Reply> {
    let (call, slot) = pack(arguments, info, settings, space)?;
    let call = call.drawing(draw);
    let (kv::Call::Write(packed) | kv::Call::Read(packed)) = &call;
    let bytes = packed.len();
    let (kind, request) = match call {
        kv::Call::Write(command) => (Kind::Write, Request::Write(command)),
        kv::Call::Read(query) if reads_local => (Kind::Read, Request::ReadLocal(query)),
        kv::Call::Read(query) => (Kind::Read, Request::Read(query)),
    };
    Ok(Data { kind, request, slot, bytes, then: Then::Pass })
}

/// A command of the state machine, packed; `info` is what is known of its name. And the slot of its first key, if redirects need
/// it.
pub(super) fn pack(
    arguments: &[Bytes],
    info: Option<&CommandInfo>,
    settings: &Settings,
    space: &mut BytesMut,
) -> Result<(kv::Call, u16), Reply> {
    let slot = check_limits(arguments, info, settings)?;
    let info = info.ok_or_else(|| of_error(&kv::CommandError::unknown(arguments)))?;
    Ok((info.call(arguments, space).map_err(|error| of_error(&error))?, slot))
}

/// Checks keys and values against the connection's own limits; the slot of the first key if redirects need it.
fn check_limits(arguments: &[Bytes], info: Option<&CommandInfo>, settings: &Settings) -> Result<u16, Reply> {
    if arguments.iter().any(|argument| argument.len() > settings.max_value) {
        return Err(of_error(&kv::CommandError::ValueTooLong));
    }
    let long_key = |key: &Bytes| key.len() > settings.max_key;
    if !settings.redirect && !arguments.iter().any(long_key) {
        return Ok(0);
    }
    let Some(info) = info else { return Ok(0) };
    if info.keys.among(arguments).any(long_key) {
        return Err(of_error(&kv::CommandError::KeyTooLong));
    }
    Ok(info.keys.among(arguments).next().map_or(0, |key| slot::of_key(key)))
}
