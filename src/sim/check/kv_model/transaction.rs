//! What clients ask: commands, and what is made of MULTI, EXEC and WATCH.
//!
//! This is where it is said how a transaction reaches the log: [`request`] alone knows.

use std::fmt::{self, Debug};
use std::vec::Vec;

use bytes::Bytes;

use super::command::{Command, unfit};
use super::keys::Keys;
use super::replies::{array_head_len, encoded_len, error};
use crate::codec::resp::Value;
use crate::kv::{Call, MAX_REPLY, parse, transaction, versions};
use crate::raft::LogIndex;
use crate::replica::Request;

const DONE_AND_TOO_LONG: &str = "ERR the command ran, and its reply exceeds maximum allowed size";

/// The version of a watched key that the client has not seen. No entry has this index.
pub const UNSEEN: LogIndex = LogIndex::MAX;

/// An operation of the key-value store.
#[derive(Clone, PartialEq, Eq)]
pub enum KvOp {
    /// A command's words.
    Command(Vec<Bytes>),
    /// The versions of keys, which WATCH keeps until EXEC: the index of the entry that changed a key last, and 0 for a key
    /// that is not there.
    Versions(Vec<Bytes>),
    /// WATCH on a connection, which keeps the versions for itself: its client is answered OK. What it saw is known when the
    /// entry of the EXEC behind it is; until then, and for ever if there is none, nothing is demanded of it.
    Watch(Vec<Bytes>),
    /// EXEC: all of its commands at one place, or none.
    Transaction {
        /// Keys and the versions that they must still have: [`UNSEEN`] while only the connection knows which.
        watched: Vec<(Bytes, LogIndex)>,
        /// The words of each command that was queued.
        commands: Vec<Vec<Bytes>>,
    },
}

impl Debug for KvOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(words) => words.fmt(f),
            Self::Versions(keys) => write!(f, "versions of {keys:?}"),
            Self::Watch(keys) => write!(f, "WATCH {keys:?}"),
            Self::Transaction { watched, commands } => write!(f, "EXEC {commands:?}, watching {watched:?}"),
        }
    }
}

impl From<Vec<Bytes>> for KvOp {
    fn from(words: Vec<Bytes>) -> Self {
        Self::Command(words)
    }
}

impl KvOp {
    /// The words, if it is a single command.
    pub fn words(&self) -> Option<&[Bytes]> {
        if let Self::Command(words) = self { Some(words) } else { None }
    }

    /// Whether it leaves every state as it is. Words that mean nothing do.
    pub(super) fn is_read(&self) -> bool {
        match self {
            Self::Command(words) => is_read(words),
            Self::Versions(_) | Self::Watch(_) => true,
            Self::Transaction { commands, .. } => {
                refusal(commands).is_some() || commands.iter().all(|words| is_read(words))
            }
        }
    }
}

fn is_read(words: &[Bytes]) -> bool {
    Command::of(words).map_or(true, |command| command.is_read())
}

/// What is asked of the cluster.
pub(super) fn request(op: &KvOp) -> Option<Request> {
    let call = match op {
        KvOp::Command(words) => parse(words),
        KvOp::Versions(keys) | KvOp::Watch(keys) => versions(keys),
        KvOp::Transaction { commands, .. } if refusal(commands).is_some() => return None,
        KvOp::Transaction { watched, commands } => {
            let calls: Result<Vec<Call>, _> = commands.iter().map(|words| parse(words)).collect();
            calls.map(|calls| transaction(watched, &calls))
        }
    };
    match call {
        Ok(Call::Write(command)) => Some(Request::Write(command)),
        Ok(Call::Read(query)) => Some(Request::Read(query)),
        Err(_) => None,
    }
}

/// EXEC's error where a command could not be queued: its name or the number of its arguments is wrong.
pub(super) fn refusal(commands: &[Vec<Bytes>]) -> Option<Value> {
    let is_unfit = commands.iter().any(|words| unfit(words).is_some());
    is_unfit.then(|| error("EXECABORT Transaction discarded because of previous errors."))
}

impl Keys<'_> {
    pub(super) fn versions(&self, keys: &[Bytes]) -> Value {
        let version = |key: &Bytes| Value::Integer(self.version(key) as i64);
        Value::Array(keys.iter().map(version).collect())
    }

    /// One after the other; a command that fails has its error among the replies, as has one whose reply is too long with
    /// those before it. That of SCAN and of RANDOMKEY counts with all keys that it may have: simulated ones are few.
    pub(super) fn exec(&mut self, watched: &[(Bytes, LogIndex)], commands: &[Vec<Bytes>]) -> Value {
        if let Some(refusal) = refusal(commands) {
            return refusal;
        }
        if watched.iter().any(|(key, version)| self.version(key) != *version) {
            return Value::Null;
        }
        let mut len = array_head_len(commands.len());
        let reply = |words: &Vec<Bytes>| {
            let said = self.say(words);
            let is_too_long = len + encoded_len(&said) > MAX_REPLY;
            let reply = if is_too_long { error(DONE_AND_TOO_LONG) } else { said };
            len += encoded_len(&reply);
            reply
        };
        Value::Array(commands.iter().map(reply).collect())
    }

    /// Does a command and answers it, or says what is wrong with its words.
    pub(super) fn say(&mut self, words: &[Bytes]) -> Value {
        match Command::of(words) {
            Ok(command) => self.run(&command),
            Err(text) => Value::Error(text),
        }
    }
}
