//! How requests end, in the words of the protocol.
//!
//! | the command was | the client reads | and then |
//! | --- | --- | --- |
//! | certainly not done | `MOVED`, `CLUSTERDOWN`, `TRYAGAIN` | follows or tries again by itself |
//! | certainly not done, and trying again helps only after somebody acts | `ERR`, `MISCONF` | reports it |
//! | not known | `UNDETERMINED` | reports it; the connection stays open, because clients resend after a lost one |
//! | refused by its session | `SESSIONEXPIRED`, `STALESEQ`, `SESSIONWINDOW`, `SESSIONFULL`, `SESSIONLIMIT` | the clerk knows what to do |

use alloc::vec::Vec;

use bytes::Bytes;

use super::{Look, Protocol};
use crate::codec::resp::{ProtocolError, downgrade, write};
use crate::kv::CommandError;
use crate::raft::ChangeRefused;
use crate::replica::{Outcome, Refused, SessionError};

/// A reply in canonical RESP3.
#[derive(Debug)]
pub(super) enum Reply {
    /// The state machine's own bytes.
    Canonical(Bytes),
    /// Text written here.
    Own(Vec<u8>),
}

impl Reply {
    /// A reply that `write` writes.
    pub(super) fn of(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut out = Vec::new();
        write(&mut out);
        Self::Own(out)
    }

    /// An error.
    pub(super) fn error(text: &str) -> Self {
        Self::of(|out| write::error(out, text))
    }

    /// `+OK`.
    pub(super) fn ok() -> Self {
        Self::of(|out| write::simple(out, "OK"))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Canonical(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether it is an error.
    pub(super) fn is_error(&self) -> bool {
        self.bytes().first() == Some(&b'-')
    }

    /// Appends it as `protocol` has it.
    pub(super) fn render(&self, protocol: Protocol, out: &mut Vec<u8>) {
        match protocol {
            Protocol::Resp3 => out.extend_from_slice(self.bytes()),
            Protocol::Resp2 => {
                if downgrade(self.bytes(), out).is_err() {
                    write::error(
                        out,
                        "ERR the command ran, and the state machine's reply to it is not RESP3",
                    );
                }
            }
        }
    }
}

/// A number; what is above RESP's largest is told as that.
pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    write::integer(out, i64::try_from(number).unwrap_or(i64::MAX));
}

/// Pairs of a map, both of them text.
pub(super) fn fields<'a>(out: &mut Vec<u8>, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
    for (key, value) in pairs {
        write::bulk(out, key.as_bytes());
        write::bulk(out, value.as_bytes());
    }
}

/// The reply to a request that ended with `outcome`. `slot` is that of its first key, for `MOVED`.
pub(super) fn of_outcome(outcome: Outcome, slot: u16, redirect: bool, node: &Look<'_>) -> Reply {
    match outcome {
        Outcome::Reply(bytes) => Reply::Canonical(bytes),
        Outcome::SessionOpened(session) => Reply::of(|out| number(out, session)),
        Outcome::SessionClosed | Outcome::Transferred => Reply::ok(),
        Outcome::Reconfigured(index) => Reply::of(|out| number(out, index)),
        Outcome::Session(error) => Reply::error(session_error(error)),
        Outcome::Refused(Refused::NotLeader(leader)) => match node.members.get(&leader) {
            Some(member) if redirect => moved(slot, &member.client),
            _ => Reply::of(|out| {
                let text =
                    alloc::format!("TRYAGAIN node {leader} leads and the command could not be sent on to it");
                write::error(out, &text);
            }),
        },
        Outcome::Refused(Refused::Change(reason)) => refused_because(change_code(&reason), &reason),
        Outcome::Refused(Refused::Transfer(reason)) => refused_because("ERR", &reason),
        Outcome::Refused(refused) => Reply::error(refusal(refused)),
        Outcome::Undetermined if planted!("undetermined-is-try-again") => {
            Reply::error(refusal(Refused::Busy))
        }
        Outcome::Undetermined => Reply::error(
            "UNDETERMINED the command may have been done or not: the leader or the time was lost while it was under way",
        ),
    }
}

/// Sends the client to the leader.
pub(super) fn moved(slot: u16, address: &str) -> Reply {
    Reply::of(|out| write::error(out, &alloc::format!("MOVED {slot} {address}")))
}

fn refused_because(code: &str, reason: &impl core::fmt::Display) -> Reply {
    Reply::of(|out| write::error(out, &alloc::format!("{code} {reason}; nothing was done")))
}

/// Whether it may help to ask again, in the first word of an error.
fn change_code(reason: &ChangeRefused) -> &'static str {
    match reason {
        ChangeRefused::UnderWay { .. } | ChangeRefused::TooEarly => "TRYAGAIN",
        ChangeRefused::NotCaughtUp { .. } => "BEHIND",
        ChangeRefused::Unreachable(_) | ChangeRefused::CouldNotCommit { .. } => "UNREACHABLE",
        _ => "ERR",
    }
}

/// Refuses what came behind a refused write in the same pipeline.
pub(super) fn after_refusal() -> Reply {
    Reply::error(refusal(Refused::AfterRefusal))
}

fn refusal(refused: Refused) -> &'static str {
    match refused {
        Refused::NotLeader(_) => "TRYAGAIN another node leads",
        Refused::NoLeader => "CLUSTERDOWN no leader is known; nothing was done",
        Refused::Busy => "TRYAGAIN too many commands wait already; nothing was done",
        Refused::TooLarge => "ERR the command is longer than a log entry may be; nothing was done",
        Refused::DiskFull => {
            "MISCONF the disk has no room for the log: make room, then write again; nothing was done, and reads go on"
        }
        Refused::AfterRefusal => {
            "TRYAGAIN an earlier command of this pipeline was refused; this one was not done"
        }
        Refused::Stopping => "CLUSTERDOWN this node is stopping; nothing was done",
        Refused::TimedOut => "TRYAGAIN the read did not get its answer in time",
        Refused::Transferring => "TRYAGAIN the leader is handing over; nothing was done",
        Refused::Change(_) => "ERR the membership cannot be changed like this; nothing was done",
        Refused::Transfer(_) => "ERR leadership cannot be handed over; nothing was done",
    }
}

fn session_error(error: SessionError) -> &'static str {
    match error {
        SessionError::Expired => {
            "SESSIONEXPIRED no such session: it was never opened, was closed, or was idle for too long; this time the \
             command was not done"
        }
        SessionError::Stale => {
            "STALESEQ the client has acknowledged the reply to this number; this time the command was not done"
        }
        SessionError::BeyondWindow => {
            "SESSIONWINDOW the number is too far above the acknowledged ones; the command was not done"
        }
        SessionError::RepliesFull => {
            "SESSIONFULL the replies kept for the session take all its space: acknowledge some; the command was not done"
        }
        SessionError::TooMany => "SESSIONLIMIT all sessions are taken; no session was opened",
    }
}

/// The reply to malformed bytes.
pub(super) fn of_protocol_error(error: ProtocolError) -> Reply {
    Reply::of(|out| match error {
        // Redis sends the byte itself, which need not be text.
        ProtocolError::ExpectedDollar(got) => {
            write::error_bytes(out, &[b"ERR Protocol error: expected '$', got '", &[got], b"'"]);
        }
        other => write::error(out, &alloc::format!("ERR {other}")),
    })
}

/// As much of `text` as Redis shows of it: it formats errors as C does, where a NUL is the end.
pub(super) fn c_string(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Redis's text of what the state machine's parser refuses.
pub(super) fn of_error(error: &CommandError) -> Reply {
    Reply::of(|out| error.reply(out))
}
