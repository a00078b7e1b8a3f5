//! The bytes of one connection that were read and not yet taken: filled by a socket, taken without copying.

use alloc::vec::Vec;
use core::mem;

use bytes::{Buf, Bytes, BytesMut};

/// A buffer between a socket and a parser.
///
/// What is taken shares the buffer's allocation. An allocation longer than two chunks is made only for a message that
/// needs it, grows in step with the bytes that arrive (so that a length field alone costs nothing), and is let go as
/// soon as its bytes are taken.
#[derive(Debug)]
pub struct Input {
    /// Initialised bytes: the first `filled` are the connection's, the rest is space.
    buffer: BytesMut,
    filled: usize,
    chunk: usize,
    /// Whether the allocation is longer than two chunks.
    large: bool,
}

impl Input {
    /// An empty buffer that allocates `chunk` bytes at a time; nothing yet.
    pub fn new(chunk: usize) -> Self {
        Self { buffer: BytesMut::new(), filled: 0, chunk: chunk.max(1), large: false }
    }

    /// Space to read into: at least `min` bytes (and never none). `needed` is how many bytes the parser wants to see in
    /// all, if it knows: space for them is made in steps of four times what has arrived, so that a message of a few chunks
    /// is copied once.
    pub fn space(&mut self, min: usize, needed: usize) -> &mut [u8] {
        let step = self.filled.saturating_mul(4).max(self.chunk);
        let whole = self.filled.saturating_add(min.max(1)).max(needed.min(step));
        if self.buffer.len() < whole {
            self.reserve(whole);
            let usable = if self.large { whole } else { self.buffer.capacity().min(self.chunk) };
            self.buffer.resize(usable.max(whole), 0);
        }
        self.buffer.get_mut(self.filled..).unwrap_or_default()
    }

    /// Adds bytes that are in memory already, behind those that wait.
    pub fn push(&mut self, bytes: &[u8]) {
        let whole = self.filled.saturating_add(bytes.len());
        if let Some(space) = self.buffer.get_mut(self.filled..whole) {
            space.copy_from_slice(bytes);
        } else {
            // Not through `space`, which would clear what is written next.
            self.buffer.truncate(self.filled);
            self.reserve(whole);
            self.buffer.extend_from_slice(bytes);
        }
        self.filled = whole;
    }

    /// Adds bytes behind those that wait; where none wait and nobody else has the bytes, without copying them.
    pub fn give(&mut self, bytes: Bytes) {
        match bytes.try_into_mut() {
            Ok(bytes) if self.filled == 0 => {
                self.filled = bytes.len();
                self.large = bytes.capacity() > self.chunk.saturating_mul(2);
                self.buffer = bytes;
            }
            Ok(bytes) => self.push(&bytes),
            Err(bytes) => self.push(&bytes),
        }
    }

    /// Makes the allocation long enough for `whole` bytes.
    fn reserve(&mut self, whole: usize) {
        if self.buffer.capacity() >= whole {
            return;
        }
        let more = whole.saturating_sub(self.buffer.len());
        let large = whole > self.chunk.saturating_mul(2);
        if !self.large && !large && self.buffer.try_reclaim(more) {
            return;
        }
        // Doubling keeps the cost of copying in proportion to what arrives, whatever the pieces.
        let room = if large { self.filled.saturating_mul(2) } else { self.chunk };
        let mut fresh = BytesMut::with_capacity(whole.max(room));
        fresh.extend_from_slice(self.filled());
        self.large = large;
        self.buffer = fresh;
    }

    /// The first `n` bytes of the last [`space`](Self::space) are filled; more than there was space is taken as all.
    pub fn advance(&mut self, n: usize) {
        self.filled = self.filled.saturating_add(n).min(self.buffer.len());
    }

    /// The bytes that wait.
    pub fn filled(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// Takes the first `n` waiting bytes (all of them, if fewer wait) without copying.
    pub fn take(&mut self, n: usize) -> Bytes {
        let n = n.min(self.filled);
        let taken = self.buffer.split_to(n).freeze();
        self.filled -= n;
        self.shrink();
        taken
    }

    /// Forgets the first `n` waiting bytes (all of them, if fewer wait).
    pub fn skip(&mut self, n: usize) {
        let n = n.min(self.filled);
        self.buffer.advance(n);
        self.filled -= n;
        self.shrink();
    }

    /// Lets a large allocation go once little waits in it.
    fn shrink(&mut self) {
        if self.large && self.filled <= self.chunk {
            let mut fresh = BytesMut::with_capacity(if self.filled == 0 { 0 } else { self.chunk });
            fresh.extend_from_slice(self.filled());
            self.buffer = fresh;
            self.large = false;
        }
    }

    /// Takes an allocation from `spares` if it has none, in place of making one.
    pub fn lend(&mut self, spares: &mut Vec<BytesMut>) {
        if self.buffer.capacity() == 0
            && let Some(spare) = spares.pop()
        {
            self.buffer = spare;
        }
    }

    /// Puts the allocation into `spares`, of which at most `most` are kept, if no byte waits in it: what was read before and
    /// is still in use is not touched.
    pub fn give_back(&mut self, spares: &mut Vec<BytesMut>, most: usize) {
        if self.filled == 0 && self.buffer.capacity() > 0 {
            let spare = mem::take(&mut self.buffer);
            if !mem::take(&mut self.large) && spares.len() < most {
                spares.push(spare);
            }
        }
    }

    /// Lets the allocation go if no byte waits in it.
    pub fn release(&mut self) {
        if self.filled == 0 {
            self.buffer = BytesMut::new();
            self.large = false;
        }
    }

    /// Bytes of memory that this buffer itself holds.
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_goes_from_one_buffer_to_another_and_what_was_taken_stays() {
        let (mut one, mut other) = (Input::new(64), Input::new(64));
        let mut spares = Vec::new();
        fill(&mut one, b"helloyou");
        let hello = one.take(5);
        one.give_back(&mut spares, 1);
        assert!(spares.is_empty(), "bytes wait");
        one.skip(3);
        one.give_back(&mut spares, 1);
        assert_eq!((spares.len(), one.capacity()), (1, 0));
        other.lend(&mut spares);
        fill(&mut other, b"WORLD");
        assert_eq!((&hello[..], other.filled()), (&b"hello"[..], &b"WORLD"[..]));
        // Who has one takes no other, and who waits for none gives none.
        spares.push(BytesMut::with_capacity(8));
        other.lend(&mut spares);
        assert_eq!((other.filled(), spares.len()), (&b"WORLD"[..], 1));
        other.skip(5);
        other.give_back(&mut spares, 1);
        other.give_back(&mut spares, 1);
        assert_eq!((spares.len(), other.capacity()), (1, 0), "no more than are wanted are kept");
    }

    #[test]
    fn a_large_allocation_is_not_kept() {
        let (mut input, mut spares) = (Input::new(64), Vec::new());
        input.space(1000, 0);
        input.give_back(&mut spares, 1);
        assert_eq!((spares.len(), input.capacity()), (0, 0));
    }

    fn fill(input: &mut Input, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = input.space(1, 0);
            let n = space.len().min(rest.len());
            space[..n].copy_from_slice(&rest[..n]);
            input.advance(n);
            rest = &rest[n..];
        }
    }

    #[test]
    fn what_was_filled_is_taken_in_order() {
        let mut input = Input::new(8);
        fill(&mut input, b"hello, ");
        fill(&mut input, b"world");
        assert_eq!(input.take(2), b"he"[..]);
        input.skip(3);
        assert_eq!(input.filled(), b", world");
        fill(&mut input, b"!");
        assert_eq!(input.take(100), b", world!"[..]);
        assert!(input.filled().is_empty());
    }

    #[test]
    fn what_is_pushed_comes_behind_what_was_filled() {
        let mut input = Input::new(8);
        fill(&mut input, b"he");
        input.push(b"llo");
        input.push(b", everybody out there");
        fill(&mut input, b"!");
        assert_eq!(input.take(5), b"hello"[..]);
        assert_eq!(input.take(100), b", everybody out there!"[..]);
        input.push(b"");
        assert!(input.filled().is_empty());
    }

    #[test]
    fn what_is_given_is_taken_over_where_that_can_be() {
        let mut input = Input::new(8);
        input.give(Bytes::from(b"alone".to_vec()));
        input.give(Bytes::from_static(b", shared"));
        assert_eq!(input.take(100), b"alone, shared"[..]);
        let long = Bytes::from(alloc::vec![b'x'; 100]);
        let at = long.as_ptr();
        input.give(long);
        assert_eq!(input.take(99).as_ptr(), at);
        assert!(input.capacity() <= 8, "one byte keeps the whole allocation alive");
        assert_eq!(input.take(100), b"x"[..]);
        input.give(Bytes::from(b"again".to_vec()));
        assert_eq!(input.filled(), b"again");
    }

    #[test]
    fn taking_does_not_copy_and_a_chunk_is_used_again() {
        let mut input = Input::new(64);
        fill(&mut input, b"abcdef");
        let at = input.filled().as_ptr();
        assert_eq!(input.take(3).as_ptr(), at);
        drop(input.take(3));
        fill(&mut input, &[b'x'; 64]);
        assert!(input.capacity() <= 128);
    }

    #[test]
    fn space_grows_with_what_has_arrived_and_not_with_what_was_promised() {
        let mut input = Input::new(64);
        assert!(input.space(1, 1 << 30).len() <= 64);
        fill(&mut input, &[b'x'; 1000]);
        assert!(input.space(1, 1 << 30).len() <= 3000);
        assert!(input.capacity() <= 4000);
    }

    #[test]
    fn a_message_of_a_few_chunks_is_copied_once() {
        let mut input = Input::new(64);
        fill(&mut input, &[b'x'; 64]);
        input.space(1, 200);
        let at = input.filled().as_ptr();
        while input.filled().len() < 200 {
            input.space(1, 200)[0] = b'y';
            input.advance(1);
        }
        assert_eq!(input.filled().as_ptr(), at);
    }

    #[test]
    fn a_message_of_unknown_length_is_copied_a_few_times_only() {
        let mut input = Input::new(64);
        let mut capacities = alloc::collections::BTreeSet::new();
        for _ in 0..10_000 {
            input.space(100, 0)[..100].fill(b'x');
            input.advance(100);
            capacities.insert(input.capacity());
        }
        assert_eq!(input.filled().len(), 1_000_000);
        assert!(capacities.len() < 20, "{capacities:?}");
        assert!(input.capacity() <= 2_000_200);
    }

    #[test]
    fn a_large_allocation_is_let_go_once_its_bytes_are_taken() {
        let mut input = Input::new(64);
        fill(&mut input, &[b'x'; 100_000]);
        assert!(input.capacity() >= 100_000);
        let large = input.take(99_990);
        assert!(input.capacity() <= 64, "{}", input.capacity());
        assert_eq!(input.filled(), [b'x'; 10]);
        let behind = large.as_ptr().wrapping_add(large.len());
        assert_ne!(input.filled().as_ptr(), behind, "ten bytes keep the whole allocation alive");
        drop(large);
        fill(&mut input, b"y");
        assert!(input.capacity() <= 64);
    }

    #[test]
    fn advance_past_the_space_is_held_to_the_space() {
        let mut input = Input::new(8);
        let n = input.space(1, 0).len();
        input.advance(n + 100);
        assert_eq!(input.filled().len(), n);
    }
}
