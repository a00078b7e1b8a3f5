//! SESSION and ONCE: exactly once, however often a command is sent.
//!
//! ```text
//! SESSION OPEN [nonce]                         :id    the same nonce, of at most 64 bytes, gives the same session
//! SESSION CLOSE id                             +OK
//! ONCE session seq ack EXEC                    the same for the transaction that MULTI began
//! ONCE session seq ack COMMAND [argument …]    the command's reply, now and whenever the same number is sent again
//! ```
//!
//! `seq` numbers the session's commands from 1; `ack` says that the client has the replies to all numbers below it.

use bytes::{Bytes, BytesMut};

use super::command::{Data, pack};
use super::reply::{Reply, of_error};
use super::transaction::{OnceNumbers, Then};
use super::{Kind, Settings};
use crate::kv::{self, CommandError, CommandInfo};
use crate::replica::{MAX_NONCE, Request};

/// The request that a SESSION asks for.
pub(super) fn session(arguments: &[Bytes]) -> Result<Data, Reply> {
    let is = |name: &[u8]| arguments.get(1).is_some_and(|verb| verb.eq_ignore_ascii_case(name));
    let request = match (is(b"open"), is(b"close"), arguments.get(2), arguments.len()) {
        (true, _, nonce, 2 | 3) => {
            let nonce = nonce.cloned().unwrap_or_default();
            if nonce.len() > MAX_NONCE {
                return Err(Reply::error("ERR a session's nonce has at most 64 bytes"));
            }
            // A copy: the request may outlive the buffer that the client's bytes were read into.
            Request::OpenSession { nonce: Bytes::copy_from_slice(&nonce) }
        }
        (_, true, Some(session), 3) => Request::CloseSession { session: number(session)? },
        (true, ..) => return Err(of_error(&CommandError::Arity("session|open"))),
        (_, true, ..) => return Err(of_error(&CommandError::Arity("session|close"))),
        _ => {
            return Err(match arguments.get(1) {
                Some(other) => super::help::other_subcommand("SESSION", other),
                None => of_error(&CommandError::Arity("session")),
            });
        }
    };
    Ok(Data { kind: Kind::Write, request, slot: 0, bytes: MAX_NONCE, then: Then::Pass })
}

/// Whether a ONCE is about EXEC.
pub(super) fn is_exec(arguments: &[Bytes]) -> bool {
    matches!(arguments, [_, _, _, _, inner] if inner.eq_ignore_ascii_case(b"exec"))
}

/// The numbers of a ONCE that is about EXEC.
pub(super) fn exec(arguments: &[Bytes]) -> Result<OnceNumbers, Reply> {
    let Some([session, seq, ack]) = arguments.get(1..4) else {
        return Err(of_error(&CommandError::Arity("once")));
    };
    Ok(OnceNumbers { session: number(session)?, seq: number(seq)?, ack: number(ack)? })
}

/// The request that a ONCE asks for.
pub(super) fn once(arguments: &[Bytes], settings: &Settings, space: &mut BytesMut) -> Result<Data, Reply> {
    let (Some([session, seq, ack]), Some(inner @ [_, ..])) = (arguments.get(1..4), arguments.get(4..)) else {
        return Err(of_error(&CommandError::Arity("once")));
    };
    let (session, seq, ack) = (number(session)?, number(seq)?, number(ack)?);
    let info = inner.first().and_then(|name| CommandInfo::find(name));
    let (call, slot) = pack(inner, info, settings, space)?;
    match call {
        kv::Call::Write(command) => {
            let bytes = command.len();
            Ok(Data {
                kind: Kind::Write,
                request: Request::Once { session, seq, ack, command },
                slot,
                bytes,
                then: Then::Pass,
            })
        }
        kv::Call::Read(_) => Err(Reply::error(
            "ERR a command that changes nothing may be sent again as it is: send it without ONCE",
        )),
    }
}

/// An argument that is a number of 64 bits without a sign.
fn number(argument: &[u8]) -> Result<u64, Reply> {
    let digits = core::str::from_utf8(argument).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or_else(|| of_error(&CommandError::NotInteger))
}
