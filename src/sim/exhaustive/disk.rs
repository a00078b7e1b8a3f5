//! A disk as the contract of the core's door describes it: what is asked for becomes durable in order, piece by piece, and
//! a crash may come between any two pieces.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::vec::Vec;

use crate::raft::{
    DiskId, Entries, Entry, HardState, LogId, LogIndex, NodeId, Persist, PersistId, Recovered, SnapshotMeta,
    SnapshotSwitch,
};

/// What is durable, and what is not yet.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    name: DiskId,
    pub(super) vote: HardState,
    pub(super) snapshot: Option<SnapshotMeta>,
    /// The log after the snapshot, without a gap.
    pub(super) entries: Vec<Entry>,
    commit: LogIndex,
    /// How often a core was started from it.
    life: u64,
    pending: VecDeque<Piece>,
}

/// A part of a write that is on disk whole or not at all.
#[derive(Debug, Clone)]
enum Piece {
    Vote(HardState),
    Switch(SnapshotSwitch),
    /// Entries and the hint where they are committed up to: one record of the log.
    Record(Entries, LogIndex),
    /// All pieces before this one belong to writes up to this one.
    End(PersistId),
}

impl Disk {
    /// The disk of a member that has just been founded.
    pub(super) fn founded(recovered: Recovered) -> Self {
        let Recovered { disk, vote, snapshot, entries, commit, life } = recovered;
        Self { name: disk, vote, snapshot, entries: entries.to_vec(), commit, life, pending: VecDeque::new() }
    }

    /// What a core starts from.
    pub(super) fn recover(&mut self) -> Recovered {
        self.life += 1;
        Recovered {
            disk: self.name,
            life: self.life,
            vote: self.vote,
            snapshot: self.snapshot.clone(),
            entries: self.entries.iter().cloned().collect(),
            commit: self.commit,
        }
    }

    /// Takes a write, durable later.
    pub(super) fn ask(&mut self, persist: Persist) {
        let Persist { id, vote, snapshot, entries, commit } = persist;
        self.pending.extend(vote.map(Piece::Vote));
        self.pending.extend(snapshot.map(|switch| Piece::Switch(*switch)));
        if !entries.is_empty() {
            self.pending.push_back(Piece::Record(entries, commit));
        }
        self.pending.push_back(Piece::End(id));
    }

    /// How many writes are not reported yet.
    pub(super) fn writes(&self) -> usize {
        self.pending.iter().filter(|piece| matches!(piece, Piece::End(_))).count()
    }

    /// In how many pieces a crash may come.
    pub(super) fn pieces(&self) -> usize {
        self.pending.len() - self.writes()
    }

    /// Makes the oldest write durable. The error says how it contradicts what is there.
    pub(super) fn complete(&mut self) -> Result<Option<PersistId>, &'static str> {
        while let Some(piece) = self.pending.pop_front() {
            if let Some(id) = self.write(piece)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Reports the oldest write and leaves it as it was: a disk that lies.
    #[cfg(test)]
    pub(super) fn promise(&mut self) -> Option<PersistId> {
        let at = self.pending.iter().position(|piece| matches!(piece, Piece::End(_)))?;
        match self.pending.remove(at) {
            Some(Piece::End(id)) => Some(id),
            _ => None,
        }
    }

    /// Ends with the process: the first `surviving` pieces are durable, the others never were.
    pub(super) fn crash(&mut self, surviving: usize) -> Result<(), &'static str> {
        let mut left = surviving;
        while let Some(piece) = self.pending.pop_front() {
            if matches!(piece, Piece::End(_)) {
                continue;
            }
            if left == 0 {
                break;
            }
            left -= 1;
            self.write(piece)?;
        }
        self.pending.clear();
        Ok(())
    }

    fn write(&mut self, piece: Piece) -> Result<Option<PersistId>, &'static str> {
        match piece {
            Piece::Vote(vote) => {
                if vote.term < self.vote.term {
                    return Err("the term on disk falls");
                }
                let changed =
                    vote.term == self.vote.term && self.vote.vote.is_some_and(|v| vote.vote != Some(v));
                if changed {
                    return Err("a second vote in one term is written to disk");
                }
                self.vote = vote;
            }
            Piece::Switch(SnapshotSwitch { snapshot, keeps_suffix }) => {
                let index = snapshot.id.last.index;
                if index <= self.base().index {
                    return Err("the snapshot on disk goes back");
                }
                self.entries.retain(|entry| keeps_suffix && entry.id.index > index);
                self.commit = self.commit.max(index);
                self.snapshot = Some(snapshot);
            }
            Piece::Record(entries, commit) => {
                let first = entries.first().map_or(0, |entry| entry.id.index);
                self.entries.retain(|entry| entry.id.index < first);
                if first != self.last().index + 1 {
                    return Err("entries are written to disk with a gap before them");
                }
                self.entries.extend(entries.iter().cloned());
                self.commit = self.commit.max(commit);
            }
            Piece::End(id) => return Ok(Some(id)),
        }
        Ok(None)
    }

    /// The position before the first entry.
    pub(super) fn base(&self) -> LogId {
        self.snapshot.as_ref().map_or(LogId::ZERO, |snapshot| snapshot.id.last)
    }

    /// The position of the last entry, or the base.
    pub(super) fn last(&self) -> LogId {
        self.entries.last().map_or(self.base(), |entry| entry.id)
    }

    /// Whether `entry` is durable, in the log or in the snapshot before it.
    pub(super) fn holds(&self, entry: &Entry) -> bool {
        let index = entry.id.index;
        index <= self.base().index || self.entries.iter().any(|own| own == entry)
    }

    /// Whether `vote`'s term is durable, and if it is the latest, the vote in it.
    pub(super) fn remembers(&self, vote: HardState) -> bool {
        self.vote.term > vote.term || self.vote == vote
    }

    /// Feeds `hasher` what decides how this disk goes on.
    pub(super) fn fingerprint(&self, names: &dyn Fn(NodeId) -> NodeId, hasher: &mut impl Hasher) {
        let vote = |hard: &HardState| (hard.term, hard.vote.map(names));
        // Which life it is decides something only for a core that asks its leader, and is in its fingerprint then.
        let Self { vote: hard, snapshot, entries, commit, life: _, pending, name: _ } = self;
        (vote(hard), snapshot.as_ref().map(|s| s.id), entries, commit, pending.len()).hash(hasher);
        for piece in pending {
            std::mem::discriminant(piece).hash(hasher);
            match piece {
                Piece::Vote(hard) => vote(hard).hash(hasher),
                Piece::Switch(switch) => (switch.snapshot.id, switch.keeps_suffix).hash(hasher),
                Piece::Record(entries, commit) => (entries, commit).hash(hasher),
                // Its place among the others is its name.
                Piece::End(_) => {}
            }
        }
    }
}
