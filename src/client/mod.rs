//! The clerk: a client that finds the leader, tries again, and runs each write exactly once. A step machine over RESP
//! bytes, without I/O: the command line, the simulator and the tests all drive the same one.
//!
//! ```text
//!  call ──► waiting ──► sent ──► reply ──► Done(Ok)
//!              ▲          │
//!              │          ├─ MOVED, CLUSTERDOWN, TRYAGAIN: certainly not done ──► wait, go elsewhere, send again
//!              │          ├─ connection lost, UNDETERMINED ──► read, or write of a session: send again
//!              └──────────┘                                    write without a session:   Done(Err(Undetermined))
//! ```
//!
//! # Exactly once
//!
//! With [`Config::session`] every write is sent as `ONCE session seq ack …`. Its number is given to it when it is first
//! sent and never changes, however often it is sent and to whom; the state machine runs it the first time and answers the
//! same ever after. `ack` is the lowest number whose reply is still wanted, so that older replies need not be kept; a write
//! that was given up at its deadline is not wanted any more, and if it has not run by then it never will once a later
//! write has.
//!
//! When the session has expired, nobody can tell any more whether a write that was sent has run: it ends as
//! [`ClerkError::Undetermined`] and is *never* sent under another session. Writes that were not sent yet, or were refused
//! each time, get numbers of the next session.
//!
//! Sessions are few: whoever is done with a clerk closes its session by [`Clerk::close_session`].
//!
//! # Order
//!
//! Calls made while others are under way are concurrent with them: they are sent in the order of the calls, but one that
//! is refused is sent again behind the others. Who needs an order waits for the result.

mod calls;
mod clerk;
mod endpoints;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

pub use clerk::Clerk;

use crate::codec::resp::Value;
use crate::time::Micros;

/// Names a call; never reused by one clerk.
pub type CallId = u64;

/// Names a connection of one clerk; never reused by it.
pub type LinkId = u64;

/// Settings of a clerk. Times in microseconds.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port` of the members that are known, in any order; they are tried in an order drawn from `seed`.
    pub endpoints: Vec<String>,
    /// Random. It names the clerk's sessions too, so no two clerks ever, not even a process and its restart, may have the
    /// same one.
    pub seed: u128,
    /// Send writes as commands of a session: exactly once.
    pub session: bool,
    /// A session that was not used for so long is not used again, because it may have expired, and a write sent to an
    /// expired session ends undetermined. Less than the servers' time (an hour by default).
    pub session_idle: Micros,
    /// How long a call may take before it ends by the truth.
    pub call_timeout: Micros,
    /// How long a connection may take to open.
    pub connect_timeout: Micros,
    /// How long a reply may take before the connection is given up. Longer than the servers' own deadline, so that they
    /// can still say `UNDETERMINED`.
    pub reply_timeout: Micros,
    /// The first pause before trying again; it doubles each time.
    pub backoff_min: Micros,
    /// The longest pause.
    pub backoff_max: Micros,
    /// Most calls at once, waiting ones included. With a session at most 256 are sent at once.
    pub max_calls: usize,
    /// Longest reply, in bytes.
    pub max_reply: usize,
}

impl Config {
    /// The defaults for a person or a program on the same network.
    pub fn new(endpoints: Vec<String>, seed: u128) -> Self {
        Self {
            endpoints,
            seed,
            session: true,
            session_idle: 1_200_000_000,
            call_timeout: 15_000_000,
            connect_timeout: 1_000_000,
            reply_timeout: 6_000_000,
            backoff_min: 10_000,
            backoff_max: 1_000_000,
            max_calls: 1024,
            max_reply: 64 << 20,
        }
    }
}

/// Something that happened to a clerk.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connection is open.
    Connected {
        /// Which one.
        link: LinkId,
    },
    /// Bytes came. Those of a connection that the clerk has left are ignored.
    Received {
        /// On which connection.
        link: LinkId,
        /// What came, in any division.
        bytes: Bytes,
    },
    /// A connection could not be opened, or has ended.
    Disconnected {
        /// Which one.
        link: LinkId,
    },
    /// The time of the last `WakeAt` has come. An early one is harmless.
    Wake,
}

/// Something a clerk asks for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Open a connection; then step `Event::Connected` or `Event::Disconnected`.
    Connect {
        /// Its name.
        link: LinkId,
        /// `host:port`.
        endpoint: String,
    },
    /// Write to a connection, after what was sent on it before.
    Send {
        /// Which one.
        link: LinkId,
        /// The bytes.
        bytes: Bytes,
    },
    /// Close a connection, open or not yet. Nothing needs to be reported.
    Close {
        /// Which one.
        link: LinkId,
    },
    /// A call has ended. Exactly one for each call.
    Done {
        /// Which one.
        call: CallId,
        /// How: an `Ok` is never a [`Value::Error`].
        result: Result<Value, ClerkError>,
    },
    /// Step `Event::Wake` at this time. Replaces every earlier one.
    WakeAt(Micros),
}

/// What a command does, which decides what a lost reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// It changes nothing (or not the data): it may be sent again as it is.
    Read,
    /// It may change something.
    Write,
}

/// How a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClerkError {
    /// The server answered by this error (its code and sentence), and would again: it was not done.
    Command(Bytes),
    /// Certainly not done: the deadline came before anyone took it.
    TimedOut,
    /// Not known: it may have been done once, or not.
    Undetermined,
    /// Not begun: [`Config::max_calls`] are under way.
    TooMany,
    /// Not begun: there is no endpoint to ask.
    NoEndpoint,
}

impl fmt::Display for ClerkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(text) => f.write_str(&String::from_utf8_lossy(text)),
            Self::TimedOut => {
                f.write_str("the deadline came before any member took the command; it was not done")
            }
            Self::Undetermined => {
                f.write_str("not known: the command may have been done once, or not at all")
            }
            Self::TooMany => f.write_str("too many calls are under way"),
            Self::NoEndpoint => f.write_str("there is no endpoint to ask"),
        }
    }
}

impl core::error::Error for ClerkError {}
