//! Which operation of the history an entry of the log is.
//!
//! A named operation is the entry of its session and number. The others are told by their bytes; where several were asked
//! alike, an entry is the one of them that must be placed first: of those that may be placed and whose reply fits, the one
//! that returned first, and only when there is none, one of unknown outcome. No choice is better. Suppose that in some
//! right placement this entry is B, and A, which returned before B and may be placed here too, stands later. Exchange
//! them. A may stand here. What was asked after A returned stood behind A's old place, so it is behind this one as well;
//! what was asked after B returned was asked after A returned too, so it stands behind A's old place, where B is now.

use std::collections::BTreeMap;
use std::vec::Vec;

use xxhash_rust::xxh3::xxh3_128;

use super::super::history::{End, HistoryOf, OpId, Operation};
use super::super::model::Model;
use crate::raft::LogIndex;
use crate::replica::{Request, SessionId};

/// The bytes of a write in the log, as a number.
pub(super) type Print = u128;

/// The writes of a history, by name and by bytes.
#[derive(Debug, Default)]
pub(super) struct Writes {
    named: Vec<((SessionId, u64), OpId)>,
    /// In each group of equal bytes in the order in which they were asked.
    unnamed: Vec<(Print, OpId)>,
    /// Of the groups that the log has come to, those that are not used up.
    groups: BTreeMap<Print, Group>,
}

/// Unnamed writes of equal bytes that were not placed yet.
#[derive(Debug)]
pub(super) struct Group {
    /// Places in `unnamed` of those that may not be placed yet.
    next: usize,
    end: usize,
    /// Those that may be placed: answered, of unknown outcome, and reported as not done.
    pub(super) answered: Vec<OpId>,
    pub(super) unknown: Vec<OpId>,
    pub(super) not_done: Vec<OpId>,
}

/// The bytes of a request in the log, as a number.
pub(super) fn print(command: &[u8]) -> Print {
    xxh3_128(command)
}

/// The name of an operation in the log, and its bytes there.
pub(super) fn identity<M: Model>(
    operation: &Operation<M::Op, M::Reply>,
) -> Option<(Option<(SessionId, u64)>, Print)> {
    match M::request(&operation.op)? {
        Request::Write(command) => Some((operation.name, print(&command))),
        Request::Once { session, seq, command, .. } => {
            Some((operation.name.or(Some((session, seq))), print(&command)))
        }
        _ => None,
    }
}

impl Writes {
    /// Takes in a write.
    pub(super) fn add<M: Model>(&mut self, id: OpId, operation: &Operation<M::Op, M::Reply>) {
        match identity::<M>(operation) {
            Some((Some(name), _)) => self.named.push((name, id)),
            Some((None, print)) => self.unnamed.push((print, id)),
            None => {}
        }
    }

    /// All writes are in.
    pub(super) fn seal(&mut self) {
        self.named.sort_unstable();
        self.unnamed.sort_unstable();
    }

    /// The first operation asked of a name.
    pub(super) fn named(&self, name: (SessionId, u64)) -> Option<OpId> {
        let at = self.named.partition_point(|&(other, _)| other < name);
        self.named.get(at).filter(|&&(other, _)| other == name).map(|&(_, id)| id)
    }

    /// The first operation asked of those with these bytes: all of them mean the same.
    pub(super) fn like(&self, print: Print) -> Option<OpId> {
        let at = self.unnamed.partition_point(|&(other, _)| other < print);
        self.unnamed.get(at).filter(|&&(other, _)| other == print).map(|&(_, id)| id)
    }

    /// Whether only one operation was asked with these bytes.
    pub(super) fn is_only(&self, print: Print) -> bool {
        let at = self.unnamed.partition_point(|&(other, _)| other < print);
        self.unnamed.get(at + 1).is_none_or(|&(other, _)| other != print)
    }

    /// The operations with these bytes that are not placed, those that `may_be_placed` by now sorted by their ends.
    pub(super) fn group<M: Model>(
        &mut self,
        print: Print,
        history: &HistoryOf<M>,
        placed: &[Option<LogIndex>],
        may_be_placed: impl Fn(OpId) -> bool,
    ) -> &mut Group {
        let unnamed = &self.unnamed;
        let group = self.groups.entry(print).or_insert_with(|| Group::of(print, unnamed));
        while group.next < group.end {
            let id = unnamed[group.next].1;
            if !may_be_placed(id) {
                break;
            }
            group.next += 1;
            if placed[id].is_some() {
                continue;
            }
            match history.operations()[id].end {
                End::Replied { .. } => group.answered.push(id),
                End::Unknown => group.unknown.push(id),
                End::NotDone => group.not_done.push(id),
            }
        }
        group
    }

    /// The group's next operation, which may not be placed yet.
    pub(super) fn next_of(&self, print: Print) -> Option<OpId> {
        let group = self.groups.get(&print)?;
        (group.next < group.end).then(|| self.unnamed[group.next].1)
    }

    /// Forgets a group that is used up: most are of one operation.
    pub(super) fn tidy(&mut self, print: Print) {
        if self.groups.get(&print).is_some_and(Group::is_used_up) {
            self.groups.remove(&print);
        }
    }
}

impl Group {
    fn of(print: Print, unnamed: &[(Print, OpId)]) -> Self {
        let next = unnamed.partition_point(|&(other, _)| other < print);
        let end = next + unnamed[next..].partition_point(|&(other, _)| other == print);
        Self { next, end, answered: Vec::new(), unknown: Vec::new(), not_done: Vec::new() }
    }

    fn is_used_up(&self) -> bool {
        let Self { next, end, answered, unknown, not_done } = self;
        next == end && answered.is_empty() && unknown.is_empty() && not_done.is_empty()
    }
}
