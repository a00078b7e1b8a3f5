//! Every log entry that any node ever held, and what of it is committed: what logs are held against.

use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use smallvec::SmallVec;
use xxhash_rust::xxh3::Xxh3;

use crate::raft::{
    Configuration, Entry, EntryKind, LogId, LogIndex, NodeId, Raft, Recovered, Role, Stamp, Status, Term,
};
use crate::sim::census::met;
use crate::time::Micros;

/// A hash of an entry and of all before it: equal chains are equal logs.
type Chain = u64;

/// A committed entry, as the checkers of histories read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its position.
    pub id: LogId,
    /// The log's clocks at it.
    pub stamp: Stamp,
    /// The data of a command; `None` for entries of the core's own.
    pub command: Option<bytes::Bytes>,
    /// When some node first showed it as committed.
    pub at: Micros,
    chain: Chain,
}

/// What is known about logs, over all nodes and all their lives.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By index from 1: the terms in which an entry was seen there, each with its chain.
    seen: Vec<SmallVec<[(Term, Chain); 1]>>,
    committed: Vec<Committed>,
    configurations: BTreeMap<LogId, Configuration>,
    /// The last index that was committed by leaders of each term, ascending.
    by_term: Vec<(Term, LogIndex)>,
}

/// What one node's log was at the last look.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The last position; [`LogId::ZERO`] before the first look of a life.
    pub(super) last: LogId,
    /// Terms by index from 1; below the log's base those of what a snapshot replaced, or 0.
    terms: Vec<Term>,
    /// The first index whose entry changed at the last look, if it was known before: the log was cut there.
    pub(super) cut: Option<LogIndex>,
}

fn place(index: LogIndex) -> Option<usize> {
    usize::try_from(index.checked_sub(1)?).ok()
}

fn link(before: Chain, entry: &Entry) -> Chain {
    let mut hash = Xxh3::new();
    hash.update(&before.to_le_bytes());
    hash.update(&entry.id.term.to_le_bytes());
    hash.update(&entry.stamp.unix_ms.to_le_bytes());
    hash.update(&entry.stamp.cluster_ms.to_le_bytes());
    hash.update(&[entry.kind as u8]);
    hash.update(&entry.data);
    hash.digest()
}

impl Log {
    /// The chain at `index`, as far as the log was looked at.
    pub(super) fn chain(&self, ledger: &Ledger, index: LogIndex) -> Option<Chain> {
        let term = *self.terms.get(place(index)?)?;
        ledger.chain(LogId::new(term, index))
    }

    /// The position at `index`.
    pub(super) fn position(&self, index: LogIndex) -> LogId {
        let term = place(index).and_then(|place| self.terms.get(place)).copied();
        term.map_or(LogId::ZERO, |term| LogId::new(term, index))
    }
}

impl Ledger {
    /// All committed entries, from index 1.
    pub(super) fn committed(&self) -> &[Committed] {
        &self.committed
    }

    /// The last committed index.
    pub(super) fn last_committed(&self) -> LogIndex {
        self.committed.len() as LogIndex
    }

    fn chain(&self, id: LogId) -> Option<Chain> {
        self.seen.get(place(id.index)?)?.iter().find(|(term, _)| *term == id.term).map(|&(_, chain)| chain)
    }

    fn committed_at(&self, index: LogIndex) -> Option<&Committed> {
        self.committed.get(place(index)?)
    }

    /// Whether another entry is committed in the place of this one. What a log no longer holds has no term in it.
    fn contradicts(&self, held: LogId) -> bool {
        held.term != 0 && self.committed_at(held.index).is_some_and(|committed| committed.id != held)
    }

    /// Looks at what is new in a node's log. Log Matching (§5.3): an entry of one index and term is the same everywhere, and
    /// so is everything before it.
    pub(super) fn look(
        &mut self,
        log: &mut Log,
        raft: &Raft,
        first: LogIndex,
        last: LogId,
    ) -> Result<(), String> {
        log.cut = None;
        if log.last == last {
            return Ok(());
        }
        let is_known = |entry: &Entry| log.position(entry.id.index) == entry.id;
        let new = raft.entries(first, last.index).rev().take_while(|entry| !is_known(entry)).count() as u64;
        let from = last.index + 1 - new;
        if new == 0 && last.index < log.last.index && log.position(last.index) == last {
            return Err(format!("log matching: what follows {last:?} is gone, and nothing contradicts it"));
        }
        let before = from - 1;
        // A snapshot of the leader may contradict what it covers.
        let covered = if before < first { before.min(log.last.index) } else { 0 };
        let contradicted =
            (1..=covered).rev().take_while(|&index| self.contradicts(log.position(index))).count();
        log.cut = match contradicted as u64 {
            0 => (from <= log.last.index).then_some(from),
            contradicted => Some(covered + 1 - contradicted),
        };
        let mut chain = if before >= first {
            log.chain(self, before)
        } else {
            // What a log no longer holds is committed.
            self.committed_at(before).map(|committed| committed.chain)
        };
        if before == 0 {
            chain = Some(0);
        }
        let Some(mut chain) = chain else {
            return Err(format!("log matching: the log begins after {before}, which was never committed"));
        };
        log.terms.resize(before as usize, 0);
        if before < first
            && let (Some(term), Some(committed)) = (log.terms.last_mut(), self.committed_at(before))
        {
            *term = committed.id.term;
        }
        for entry in raft.entries(from, last.index) {
            chain = link(chain, entry);
            self.enter(entry, chain)?;
            log.terms.push(entry.id.term);
        }
        log.last = last;
        Ok(())
    }

    fn enter(&mut self, entry: &Entry, chain: Chain) -> Result<(), String> {
        let place = place(entry.id.index).unwrap_or(0);
        if self.seen.len() <= place {
            self.seen.resize(place + 1, SmallVec::new());
        }
        let known = self.chain(entry.id);
        if known.is_some_and(|known| known != chain) {
            return Err(format!("log matching: two logs hold {:?} and differ there or before", entry.id));
        }
        if known.is_none() {
            self.seen[place].push((entry.id.term, chain));
            if entry.kind == EntryKind::Configuration
                && let Ok(configuration) = Configuration::from_cbor(&entry.data)
            {
                self.configurations.insert(entry.id, configuration);
            }
        }
        Ok(())
    }

    /// A node's configuration is a function of its log (dissertation §4.1): the last one in it, committed or not. Which one that
    /// is.
    pub(super) fn configured(
        &self,
        log: &Log,
        raft: &Raft,
        first: LogIndex,
    ) -> Result<Option<LogId>, String> {
        let is_in = |id: &LogId| {
            let committed = || self.committed_at(id.index).is_some_and(|committed| committed.id == *id);
            id.index <= log.last.index
                && if id.index < first { committed() } else { log.position(id.index) == *id }
        };
        let last = self.configurations.iter().filter(|(id, _)| is_in(id)).max_by_key(|(id, _)| id.index);
        match last {
            Some((id, configuration)) if configuration != raft.configuration() => Err(format!(
                "configuration agreement: the log says {configuration:?} at {id:?}, the node otherwise"
            )),
            last => Ok(last.map(|(id, _)| *id)),
        }
    }

    /// The configuration of this entry.
    pub(super) fn configuration(&self, id: LogId) -> Option<&Configuration> {
        self.configurations.get(&id)
    }

    /// Another configuration is in force at a node: what seldom comes with that.
    pub(super) fn switched(
        &self,
        before: Option<LogId>,
        now: Option<LogId>,
        cut: Option<LogIndex>,
        status: &Status,
    ) -> Vec<&'static str> {
        let mut seldom = Vec::new();
        if before == now {
            return seldom;
        }
        if before.is_some_and(|before| cut.is_some_and(|cut| before.index >= cut)) {
            seldom.push(met::CHANGE_CUT);
        }
        let is_joint = |id: LogId| self.configuration(id).is_some_and(Configuration::is_joint);
        if let Some(now) = now.filter(|now| status.role == Role::Leader && now.term == status.term) {
            match before {
                Some(before) if is_joint(before) && before.term < now.term => seldom.push(met::JOINT_LEFT),
                _ if is_joint(now) => seldom.push(met::JOINT),
                _ => {}
            }
        }
        seldom
    }

    /// A node's core begins with this configuration in its log.
    pub(super) fn begun_in(&self, now: Option<LogId>, node: NodeId) -> Vec<&'static str> {
        let Some(configuration) = now.and_then(|now| self.configuration(now)) else { return Vec::new() };
        let mut seldom = Vec::new();
        if configuration.is_joint() {
            seldom.push(met::JOINT_START);
        }
        if configuration.members.contains_key(&node) && !configuration.is_voter(node) {
            seldom.push(met::LEARNER_START);
        }
        seldom
    }

    /// Configurations of entries past `index`, wherever they were seen.
    pub(super) fn configurations_after(&self, index: LogIndex) -> impl Iterator<Item = &Configuration> {
        self.configurations
            .iter()
            .filter(move |(id, _)| id.index > index)
            .map(|(_, configuration)| configuration)
    }

    /// Holds a node's commit index against what is committed. State Machine Safety (§5.4.3): what is committed at an index is
    /// one entry for ever.
    pub(super) fn commit(
        &mut self,
        log: &Log,
        raft: &Raft,
        commit: LogIndex,
        now: Micros,
    ) -> Result<(), String> {
        for index in self.last_committed() + 1..=commit {
            let entry = raft.entries(index, index).next();
            let (Some(entry), Some(chain)) = (entry, log.chain(self, index)) else {
                return Err(format!("commitment: {index} is committed and in no log"));
            };
            let command = (entry.kind == EntryKind::Command).then(|| entry.data.clone());
            self.committed.push(Committed { id: entry.id, stamp: entry.stamp, command, at: now, chain });
        }
        let (Some(committed), Some(chain)) = (self.committed_at(commit), log.chain(self, commit)) else {
            return Ok(());
        };
        if committed.chain != chain {
            let (ours, theirs) = (log.position(commit), committed.id);
            return Err(format!(
                "state machine safety: {ours:?} is committed here, and {theirs:?} elsewhere, or what is before them differs"
            ));
        }
        Ok(())
    }

    /// A leader of `term` has shown `commit`.
    pub(super) fn committed_by(&mut self, term: Term, commit: LogIndex) {
        match self.by_term.last_mut() {
            Some((last, index)) if *last >= term => *index = commit.max(*index),
            _ => self.by_term.push((term, commit)),
        }
    }

    /// Leader Completeness (§5.4): what earlier terms have committed is in the log of a new leader.
    pub(super) fn complete(&self, log: &Log, term: Term, first: LogIndex) -> Result<(), String> {
        let before = self.by_term.iter().rev().find(|(earlier, _)| *earlier < term);
        let Some(&(earlier, index)) = before else { return Ok(()) };
        let expected = self.committed_at(index).map(|committed| committed.chain);
        let is_there = index < first || log.chain(self, index) == expected;
        if is_there {
            return Ok(());
        }
        Err(format!(
            "leader completeness: the leader of term {term} lacks {index}, which was committed in term {earlier}"
        ))
    }

    /// Whether a log has what is committed at `index`.
    pub(super) fn has_committed(&self, log: &Log, index: LogIndex) -> bool {
        self.committed_at(index).is_some_and(|committed| log.chain(self, index) == Some(committed.chain))
    }

    /// Whether a disk has what is committed at `index`.
    pub(super) fn keeps_committed(&self, disk: &Recovered, index: LogIndex) -> bool {
        self.committed_at(index).is_some_and(|committed| self.holds(disk, index, committed.chain))
    }

    /// Whether a disk holds what this chain says at `index`.
    pub(super) fn holds(&self, disk: &Recovered, index: LogIndex, chain: Chain) -> bool {
        if disk.snapshot.as_ref().is_some_and(|snapshot| index <= snapshot.id.last.index) {
            return true;
        }
        let found = disk.entries.iter().find(|entry| entry.id.index == index);
        found.is_some_and(|entry| self.chain(entry.id) == Some(chain))
    }
}
