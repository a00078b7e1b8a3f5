//! The vote record: term and vote, in a small file of their own (STORAGE row 16).
//!
//! A writing (a *generation*) is two copies of one block in different 4 KiB blocks, so that rot in one leaves the other.
//! Generations rotate through slots. A slot is free when a later generation is known to be durable: the newest durable
//! vote is never overwritten, and neither is one that may become durable next, however many are on their way.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use smallvec::smallvec;

use super::block::{self, BLOCK, Owner, Sealer, Unreadable};
use super::{DiskOp, FileName, OpenError};
use crate::raft::{HardState, NodeId};

const MAGIC: [u8; 4] = *b"QVOT";
const PAGE: u64 = 4096;
const SLOT: u64 = 2 * PAGE;
/// Slots that a fresh vote file has space for.
const SLOTS: u64 = 4;
/// Length of a fresh vote file in bytes; allocated ahead, so that a full disk cannot refuse a vote (STORAGE row 7).
pub(super) const VOTE_LEN: u64 = SLOTS * SLOT;

/// One vote record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VoteRecord {
    pub(super) state: HardState,
    /// Counts the writings.
    pub(super) generation: u64,
    /// The last record of the log that was known to be synced.
    pub(super) synced: u64,
}

impl VoteRecord {
    /// The writes of both copies.
    pub(super) fn writes(&self, owner: &Owner, file: FileName, slot: u64) -> [DiskOp; 2] {
        let block = Sealer::new(MAGIC)
            .owner(owner)
            .u64(self.generation)
            .u64(self.state.term)
            .u64(self.state.vote.map_or(0, |n| n.0))
            .u64(self.synced)
            .seal_bytes(0);
        let at = slot.saturating_mul(SLOT);
        [at, at.saturating_add(PAGE)].map(|offset| DiskOp::WriteAt {
            file,
            offset,
            data: smallvec![block.clone()],
        })
    }
}

/// Which slots are free, and which are on their way.
#[derive(Debug, Clone)]
pub(super) struct VoteSlots {
    durable: (u64, u64),
    pending: VecDeque<(u64, u64)>,
    free: Vec<u64>,
    slots: u64,
}

impl VoteSlots {
    /// Slots of a file in which `generation` is durable in `slot`.
    pub(super) fn new(generation: u64, slot: u64) -> Self {
        let slots = SLOTS.max(slot.saturating_add(1));
        let free = (0..slots).rev().filter(|&s| s != slot).collect();
        Self { durable: (generation, slot), pending: VecDeque::new(), free, slots }
    }

    /// The newest generation, durable or not.
    pub(super) fn newest(&self) -> u64 {
        self.pending.back().unwrap_or(&self.durable).0
    }

    /// The generation and the slot of the next writing. Without a free slot the file grows.
    pub(super) fn plan(&mut self) -> (u64, u64) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots = self.slots.saturating_add(1);
            self.slots - 1
        });
        let planned = (self.newest().saturating_add(1), slot);
        self.pending.push_back(planned);
        planned
    }

    /// Everything up to `generation` is durable.
    pub(super) fn done(&mut self, generation: u64) {
        while let Some(&next) = self.pending.front().filter(|next| next.0 <= generation) {
            self.pending.pop_front();
            self.free.push(self.durable.1);
            self.durable = next;
        }
    }
}

/// What a vote file turned out to hold: the newest record and its slot. Pieces of the file are read in order.
#[derive(Debug, Default)]
pub(super) struct VoteReader {
    newest: Option<(VoteRecord, u64)>,
    copies: u32,
}

impl VoteReader {
    /// Bytes of the file that are best read at once.
    pub(super) const PIECE: u64 = 64 * PAGE;

    /// Takes the piece at `offset`, a multiple of [`PIECE`](Self::PIECE).
    pub(super) fn push(&mut self, owner: &Owner, offset: u64, piece: &[u8]) -> Result<(), OpenError> {
        for (page, bytes) in (offset / PAGE..).zip(piece.chunks(PAGE as usize)) {
            let mut fields = match block::open(bytes, MAGIC, 0) {
                Ok(fields) => fields,
                Err(Unreadable::Version(found)) => {
                    return Err(OpenError::Version { file: FileName::Vote, found });
                }
                Err(Unreadable::Absent | Unreadable::Checksum) => continue,
            };
            OpenError::check_owner(FileName::Vote, owner, &fields.owner())?;
            let generation = fields.u64();
            let term = fields.u64();
            let vote = Some(NodeId(fields.u64())).filter(|n| n.0 != 0);
            let record = VoteRecord { state: HardState { term, vote }, generation, synced: fields.u64() };
            match &self.newest {
                Some((newest, _)) if newest.generation > generation && !planted!("vote-of-the-last-slot") => {
                }
                Some((newest, _)) if newest.generation == generation => self.copies += 1,
                _ => {
                    self.newest = Some((record, page / 2));
                    self.copies = 1;
                }
            }
        }
        Ok(())
    }

    /// The newest record and its slot; a refusal when there is none.
    pub(super) fn finish(self, notes: &mut Vec<String>) -> Result<(VoteRecord, u64), OpenError> {
        if self.newest.is_some() && self.copies < 2 {
            notes.push("vote: one of the two copies was unreadable; both are written anew".into());
        }
        self.newest.ok_or(OpenError::VoteLost)
    }
}

const _: () = assert!(BLOCK <= PAGE as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::DiskId;

    #[test]
    fn row_16_a_slot_is_reused_only_when_a_later_vote_is_durable() {
        let mut slots = VoteSlots::new(1, 0);
        let mut used = alloc::collections::BTreeSet::from([0]);
        for generation in 2..20 {
            let (g, slot) = slots.plan();
            assert_eq!(g, generation);
            assert!(used.insert(slot), "slot {slot} is still needed");
        }
        slots.done(18);
        let (_, slot) = slots.plan();
        assert!(slot != slots.durable.1 && !slots.pending.iter().rev().skip(1).any(|p| p.1 == slot));
        slots.done(20);
        assert_eq!(slots.durable.0, 20);
        assert_eq!(slots.free.len() as u64, slots.slots - 1);
    }

    #[test]
    fn row_16_either_copy_of_the_newest_is_enough_and_the_loss_of_all_is_a_refusal() {
        let owner = Owner { cluster: 1, node: NodeId(1), disk: DiskId(3) };
        let mut file = alloc::vec![0u8; VOTE_LEN as usize];
        let put = |file: &mut Vec<u8>, generation: u64, slot| {
            let state = HardState { term: generation, vote: Some(NodeId(2)) };
            for op in (VoteRecord { state, generation, synced: 0 }).writes(&owner, FileName::Vote, slot) {
                if let DiskOp::WriteAt { offset, data, .. } = op {
                    file[offset as usize..][..128].copy_from_slice(&data[0]);
                }
            }
        };
        let read = |file: &[u8]| {
            let mut reader = VoteReader::default();
            reader.push(&owner, 0, file)?;
            reader.finish(&mut Vec::new()).map(|(r, slot)| (r.state.term, slot))
        };
        assert_eq!(read(&file), Err(OpenError::VoteLost));
        put(&mut file, 1, 0);
        put(&mut file, 2, 1);
        assert_eq!(read(&file), Ok((2, 1)));
        file[SLOT as usize + 9] ^= 1;
        assert_eq!(read(&file), Ok((2, 1)));
        file[(SLOT + PAGE) as usize + 9] ^= 1;
        assert_eq!(read(&file), Ok((1, 0)));
    }
}
