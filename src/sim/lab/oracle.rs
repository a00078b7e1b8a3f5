//! What every server must have applied: the committed commands, in order, without a gap.

use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use bytes::Bytes;

use super::tester::Tester;
use crate::raft::{LogIndex, NodeId};
use crate::replica::{Replica, Request, request_of};
use crate::sim::cluster::Committed;

/// The committed commands of clients, numbered from 1 as the lab numbers its log: a leader's no-op has no number.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    commands: Vec<(LogIndex, Bytes)>,
    /// How many committed entries were read.
    read: usize,
    /// How many commands each server has applied, as of the last look; those of a server that is down are its last ones.
    applied: BTreeMap<NodeId, usize>,
}

/// What an entry asks to be applied, if it is a client's command.
pub(super) fn command_of(data: &[u8]) -> Option<Bytes> {
    match request_of(data) {
        Some(Request::Write(command)) => Some(command),
        _ => None,
    }
}

impl Oracle {
    /// Takes note of what was committed since the last time.
    pub(super) fn learn(&mut self, committed: &[Committed]) {
        for entry in committed.iter().skip(self.read) {
            if let Some(command) = entry.command.as_deref().and_then(command_of) {
                self.commands.push((entry.id.index, command));
            }
        }
        self.read = committed.len();
    }

    /// Holds what a server has applied against what it should have.
    pub(super) fn check(&mut self, node: NodeId, replica: &Replica<Tester>) -> Result<(), String> {
        let (applied, upto) = (replica.state().applied(), replica.context().index);
        let looked_at = self.applied.entry(node).or_default();
        if applied.len() == *looked_at {
            return Ok(());
        }
        // In a new life, and after a leader's snapshot, everything is looked at again.
        let from = if applied.len() < *looked_at { 0 } else { *looked_at };
        for (number, command) in (from + 1..).zip(&applied[from..]) {
            match self.commands.get(number - 1) {
                Some((_, committed)) if committed == command => {}
                Some(_) => return Err(format!("apply: another command than elsewhere at index {number}")),
                None => return Err(format!("apply: index {number} is not committed")),
            }
        }
        *looked_at = applied.len();
        // Neither a gap nor a command too many: a snapshot is of the index that it says it is of.
        let due = self.count_upto(upto);
        if due == applied.len() {
            return Ok(());
        }
        Err(format!("apply: {} commands are applied at log index {upto}, where {due} are due", applied.len()))
    }

    /// The server begins a new life with whatever its disk holds.
    pub(super) fn restarted(&mut self, node: NodeId) {
        self.applied.remove(&node);
    }

    /// How many servers have applied the command of this number.
    pub(super) fn appliers(&self, number: usize) -> usize {
        self.applied.values().filter(|applied| **applied >= number).count()
    }

    /// How many commands this server has applied.
    pub(super) fn applied(&self, node: NodeId) -> usize {
        self.applied.get(&node).copied().unwrap_or(0)
    }

    /// How many commands are committed up to this log index.
    pub(super) fn count_upto(&self, index: LogIndex) -> usize {
        self.commands.partition_point(|(at, _)| *at <= index)
    }

    /// The committed command of this number.
    pub(super) fn command(&self, number: usize) -> Option<&Bytes> {
        self.commands.get(number.checked_sub(1)?).map(|(_, command)| command)
    }

    /// How many commands are committed.
    pub(super) fn count(&self) -> usize {
        self.commands.len()
    }
}
