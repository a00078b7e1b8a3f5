//! Bytes that wait to be written to the client.

use alloc::vec::Vec;

/// Memory that is kept when nothing waits.
const KEEP: usize = 4 * 1024;

/// A buffer that is appended to at its end and written from its start.
#[derive(Debug, Default)]
pub(super) struct Output {
    buffer: Vec<u8>,
    written: usize,
}

impl Output {
    /// The end to append to.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// What waits.
    pub(super) fn waiting(&self) -> &[u8] {
        self.buffer.get(self.written..).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len().saturating_sub(self.written)
    }

    /// The first `n` waiting bytes are written. Moving the rest costs no more than writing has.
    pub(super) fn written(&mut self, n: usize) {
        self.written = self.written.saturating_add(n).min(self.buffer.len());
        if self.written == self.buffer.len() {
            self.clear();
        } else if self.written > self.buffer.len() / 2 {
            self.buffer.drain(..self.written);
            self.written = 0;
        }
    }

    /// Takes what waits.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut taken = core::mem::take(&mut self.buffer);
        taken.drain(..core::mem::take(&mut self.written));
        taken
    }

    /// Forgets what waits.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(KEEP);
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_written_in_order_and_memory_is_let_go() {
        let mut output = Output::default();
        let all: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        output.end().extend_from_slice(&all);
        let mut seen = Vec::new();
        while output.len() > 0 {
            let n = output.len().min(777);
            seen.extend_from_slice(&output.waiting()[..n]);
            output.written(n);
        }
        assert_eq!(seen, all);
        assert!(output.end().capacity() <= KEEP);
        output.written(5);
        assert!(output.waiting().is_empty());
        output.end().extend_from_slice(b"hello");
        output.written(2);
        assert_eq!((output.take(), output.len()), (b"llo".to_vec(), 0));
    }
}
