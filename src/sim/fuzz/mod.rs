//! What the fuzzers run, as plain functions, so that `cargo test` replays their corpus without a fuzzer.
//!
//! Each takes any bytes and panics when a promise is broken: that no byte from a peer, a client or a disk can panic the
//! process or break an invariant of the core.

mod cluster;
mod core_messages;
mod decoders;
mod recovery;

pub use cluster::cluster;
pub use core_messages::core_messages;
pub use decoders::decoders;
pub use recovery::recovery;

use crate::raft::{LogIndex, Term};

/// Choices made by bytes. When they run out, the run is over.
struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn word(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*head))
    }

    /// Up to `most` bytes, as many as the next byte says.
    fn bytes(&mut self, most: usize) -> Option<&'a [u8]> {
        let len = usize::from(self.byte()?).min(most).min(self.0.len());
        let (head, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(head)
    }

    /// A number near `center`, or sometimes any number.
    fn near(&mut self, center: u64) -> Option<u64> {
        match self.byte()? {
            255 => self.word(),
            byte => Some(center.saturating_add(u64::from(byte % 9)).saturating_sub(4)),
        }
    }

    /// A position near one.
    fn position(&mut self, term: Term, index: LogIndex) -> Option<crate::raft::LogId> {
        Some(crate::raft::LogId::new(self.near(term)?, self.near(index)?))
    }
}
