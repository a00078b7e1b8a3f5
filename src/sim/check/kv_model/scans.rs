//! Whole iterations of SCAN: a key that is there from the first call to the last must be returned.
//!
//! That is a promise of several replies together, so no place of a single call can show it broken. The first call stands no
//! earlier than the replay has placed it, and the last one before the first write that was asked after it returned. A key
//! that is there through all of these states was there through the iteration, wherever in them its calls saw the state.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::vec::Vec;

use bytes::Bytes;

use super::super::contradiction::{Contradiction, Rule, describe};
use super::super::history::{HistoryOf, OpId};
use super::super::model::Model;
use super::super::replay::Replayed;
use super::KvModel;
use super::command::Command;
use super::keyspace::Scan;
use super::replies::scanned;
use crate::raft::LogIndex;
use crate::replica::Context;

/// An iteration, from a call with cursor 0 to a reply with cursor 0.
#[derive(Debug)]
struct Iteration {
    calls: Vec<OpId>,
    returned: BTreeSet<Bytes>,
    cursor: u64,
}

/// Holds the iterations of SCAN in a history against the states that the replay found.
///
/// # Errors
///
/// A key that an iteration missed.
pub fn check_scans(history: &HistoryOf<KvModel>, replayed: &Replayed) -> Result<(), Contradiction> {
    let iterations = ended(history);
    let mut spans = spans(&iterations, history, replayed);
    if spans.is_empty() {
        return Ok(());
    }
    spans.sort_unstable_by_key(|span| span.until);
    let mut spans = spans.into_iter().peekable();
    let (mut model, mut since) = (KvModel::default(), BTreeMap::new());
    for done in 0..=replayed.executed.len() {
        while let Some(span) = spans.next_if(|span| span.until == done) {
            if let Some(key) = span.missed(history, &since) {
                let index = done.checked_sub(1).map_or(0, |last| replayed.executed[last].0.index);
                return Err(span.contradiction(history, index, &key));
            }
        }
        let Some(&(at, id)) = replayed.executed.get(done) else { break };
        model.step(at, &history.operations()[id].op);
        // Time takes a key that has a deadline, at any entry: nobody is told which of them SCAN must return.
        let endless = model.entries.iter().filter(|(_, entry)| entry.deadline.is_none());
        let endless: BTreeSet<&Bytes> = endless.map(|(key, _)| key).collect();
        since.retain(|key, _| endless.contains(key));
        for key in endless {
            since.entry(key.clone()).or_insert(done + 1);
        }
    }
    Ok(())
}

/// The states that an iteration may have seen, counted by the writes that made them.
struct Span<'a> {
    iteration: &'a Iteration,
    from: usize,
    until: usize,
}

impl Span<'_> {
    /// A key that was not returned, and is there `since` a state no later than the first.
    fn missed(&self, history: &HistoryOf<KvModel>, since: &BTreeMap<Bytes, usize>) -> Option<Bytes> {
        let first = &history.operations()[self.iteration.calls[0]].op;
        let Ok(Command::Scan(scan)) = Command::of(first.words()?) else { return None };
        let stayed = since.iter().filter(|&(_, &since)| since <= self.from).map(|(key, _)| key);
        scan.select(stayed).find(|key| !self.iteration.returned.contains(*key)).cloned()
    }

    fn contradiction(&self, history: &HistoryOf<KvModel>, index: LogIndex, key: &Bytes) -> Contradiction {
        let Iteration { calls, returned, .. } = self.iteration;
        let text = format!(
            "{key:?} was there all the time, and is not among the {} keys of the {} calls from {} to {}",
            returned.len(),
            calls.len(),
            describe(history, calls[0]),
            calls.last().map_or_else(Default::default, |&last| describe(history, last)),
        );
        Contradiction { rule: Rule::Scan, operations: calls.clone(), index, text }
    }
}

fn spans<'a>(
    iterations: &'a [Iteration],
    history: &HistoryOf<KvModel>,
    replayed: &Replayed,
) -> Vec<Span<'a>> {
    let mut latest = 0;
    let latest_asked = |&(_, id): &(Context, OpId)| {
        latest = history.operations()[id].asked.order.max(latest);
        latest
    };
    let latest_asked: Vec<u64> = replayed.executed.iter().map(latest_asked).collect();
    let span = |iteration: &'a Iteration| {
        let first = replayed.placed[iteration.calls[0]]?;
        let (returned, _) = history.operations()[*iteration.calls.last()?].reply()?;
        let from = replayed.executed.partition_point(|&(at, _)| at.index <= first);
        let until = latest_asked.partition_point(|&asked| asked < returned.order);
        Some(Span { iteration, from, until })
    };
    iterations.iter().filter_map(span).collect()
}

/// All iterations that came to their end.
fn ended(history: &HistoryOf<KvModel>) -> Vec<Iteration> {
    let (mut open, mut ended) = (BTreeMap::new(), Vec::new());
    for (id, operation) in history.operations().iter().enumerate() {
        let Some((_, reply)) = operation.reply() else { continue };
        let words = operation.op.words().unwrap_or_default();
        let Ok(Command::Scan(Scan { cursor, pattern, only_type })) = Command::of(words) else { continue };
        let Some((next, keys)) = scanned(reply) else { continue };
        let Some(next) = core::str::from_utf8(next).ok().and_then(|text| text.parse().ok()) else { continue };
        let who = (operation.client, pattern, only_type);
        let follows = |iteration: &Iteration| {
            let last = iteration.calls.last().and_then(|&last| history.operations()[last].reply());
            iteration.cursor == cursor && last.is_some_and(|(at, _)| at.order < operation.asked.order)
        };
        let mut iteration = match open.remove(&who) {
            _ if cursor == 0 => Iteration { calls: Vec::new(), returned: BTreeSet::new(), cursor },
            Some(iteration) if follows(&iteration) => iteration,
            _ => continue,
        };
        iteration.calls.push(id);
        iteration.returned.extend(keys.into_iter().cloned());
        iteration.cursor = next;
        if next == 0 {
            ended.push(iteration);
        } else {
            open.insert(who, iteration);
        }
    }
    ended
}
