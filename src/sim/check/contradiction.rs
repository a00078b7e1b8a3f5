//! What a check says when replies and log cannot both be true.

use std::fmt::{self, Debug};
use std::format;
use std::string::String;
use std::vec::Vec;

use super::history::{End, History, OpId};
use crate::raft::LogIndex;

/// What was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// A write that was answered is in the log.
    Kept,
    /// The reply to a write is the specification's at the write's place in the log.
    Reply,
    /// A write takes effect at most as often as it was asked.
    Once,
    /// What takes effect was asked by somebody.
    Asked,
    /// What was reported as certainly not done is not in the log.
    NotDone,
    /// What returned before something else was asked is before it in the log.
    Order,
    /// A reply to a read is true of a state between the asking and the reply.
    Read,
    /// A write is applied after it was asked, and before it is answered.
    Applied,
    /// An iteration of SCAN returns each key that was there from its first call to its last.
    Scan,
    /// The log that was handed in has no gap.
    Log,
}

impl Rule {
    /// What broke it, in two or three words.
    pub const fn broken(self) -> &'static str {
        match self {
            Self::Kept => "lost write",
            Self::Reply => "wrong reply",
            Self::Once => "done twice",
            Self::Asked => "asked by nobody",
            Self::NotDone => "done after all",
            Self::Order => "out of order",
            Self::Read => "impossible read",
            Self::Applied => "too early",
            Self::Scan => "missed key",
            Self::Log => "gap in the log",
        }
    }
}

/// A broken rule, and who shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// Which.
    pub rule: Rule,
    /// The operations that show it, the one that cannot be explained first.
    pub operations: Vec<OpId>,
    /// Where in the log it shows.
    pub index: LogIndex,
    /// It, in words.
    pub text: String,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replay: {} at index {}: {}", self.rule.broken(), self.index, self.text)
    }
}

impl core::error::Error for Contradiction {}

/// Most characters of an operation or a reply that are shown.
const SHOWN: usize = 160;

/// A thing in words, cut where it gets long.
pub(super) fn brief(thing: &impl Debug) -> String {
    let mut text = format!("{thing:?}");
    if let Some((at, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(at);
        text.push('…');
    }
    text
}

/// An operation in words.
pub(super) fn describe<O: Debug, R: Debug>(history: &History<O, R>, id: OpId) -> String {
    let Some(operation) = history.operations().get(id) else { return format!("#{id}") };
    let end = match &operation.end {
        End::Unknown => String::from("of unknown outcome"),
        End::NotDone => String::from("reported as certainly not done"),
        End::Replied { when, reply } => format!("answered {} at {} us", brief(reply), when.at),
    };
    let (client, at) = (operation.client, operation.asked.at);
    format!("#{id} {} of client {client}, asked at {at} us, {end}", brief(&operation.op))
}
