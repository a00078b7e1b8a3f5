//! What to say when an operation has no place.

use std::format;
use std::string::ToString;

use super::super::contradiction::{Contradiction, Rule, brief, describe};
use super::super::history::OpId;
use super::super::model::Model;
use super::Committed;
use super::sweep::{Part, Sweep, Waiting};
use super::writes::{identity, print};
use crate::replica::Request;

impl<M: Model> Sweep<'_, M> {
    pub(super) fn contradiction(&self, rule: Rule, id: Option<OpId>, text: &str) -> Contradiction {
        let what = id.map(|id| describe(self.history, id) + ": ").unwrap_or_default();
        Contradiction { rule, operations: id.into_iter().collect(), index: self.at.index, text: what + text }
    }

    pub(super) fn has_a_gap(&self, entry: &Committed) -> Contradiction {
        self.contradiction(Rule::Log, None, &format!("{} comes behind {}", entry.index, self.at.index))
    }

    pub(super) fn was_not_asked(&self, command: &[u8]) -> Contradiction {
        let command = brief(&command.escape_ascii().to_string());
        self.contradiction(Rule::Asked, None, &format!("no client asked for the command {command}"))
    }

    /// The entry is operation `id`, which may not be placed yet.
    pub(super) fn comes_too_early(&mut self, entry: &Committed, id: OpId) -> Contradiction {
        let asked = self.history.operations()[id].asked;
        match self.oldest() {
            Some((first, when)) if when.order < asked.order => {
                let mut contradiction = self.has_no_place(first);
                contradiction.operations.push(id);
                contradiction.text +=
                    &format!("; yet it returned before this was asked: {}", describe(self.history, id));
                contradiction
            }
            _ => {
                let at = entry.applied.unwrap_or_default();
                self.contradiction(Rule::Applied, Some(id), &format!("a node applied it at {at} us"))
            }
        }
    }

    /// Operation `id` returned, and its place is not where it must be.
    pub(super) fn has_no_place(&self, id: OpId) -> Contradiction {
        if self.parts[id] == Part::Read {
            return self.fits_nowhere(id);
        }
        let Some(entry) = self.entry_ahead(id) else {
            return self.contradiction(Rule::Kept, Some(id), "it is not in the log");
        };
        let returned = self.history.operations()[id].reply().map(|(when, _)| when.at);
        let unapplied = returned.zip(entry.applied).is_some_and(|(returned, applied)| returned < applied);
        let rule = if unapplied { Rule::Applied } else { Rule::Order };
        self.contradiction(rule, Some(id), &format!("its place in the log is {}", entry.index))
    }

    /// The read `id` returned, and no state that it may have seen explains its reply.
    fn fits_nowhere(&self, id: OpId) -> Contradiction {
        // What returned first of all that have no place was held back by nothing, so it has been tried.
        let tried = self.waiting.iter().find(|waiting| waiting.id == id);
        let right = tried.map(|Waiting { from, until, expected, .. }| {
            format!(
                "no state from index {from} to {until} has this answer; at {from} it is {}",
                brief(expected)
            )
        });
        self.contradiction(Rule::Read, Some(id), &right.unwrap_or_default())
    }

    /// The first entry ahead that has the name, or else the bytes, of a write.
    fn entry_ahead(&self, id: OpId) -> Option<&Committed> {
        let (name, asked) = identity::<M>(&self.history.operations()[id])?;
        let is_it = |entry: &&Committed| match &entry.request {
            Some(Request::Write(command)) => {
                name.is_none() && M::commands(command).iter().any(|command| print(command) == asked)
            }
            Some(Request::Once { session, seq, command, .. }) => {
                name.map_or(print(command) == asked, |name| name == (*session, *seq))
            }
            _ => false,
        };
        self.log.iter().skip_while(|entry| entry.index <= self.at.index).find(is_it)
    }
}
