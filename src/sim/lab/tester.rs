//! The state machine of the Raft tests: commands are opaque to it, and it keeps every one that it applied, in order.

use std::vec::Vec;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use crate::replica::{Context, RestoreError, Restorer, StateMachine, View};

/// Every command that was applied.
#[derive(Debug, Clone)]
pub(super) struct Tester {
    seed: u128,
    digest: u128,
    applied: Vec<Bytes>,
}

impl Tester {
    /// The commands, the first at command index 1.
    pub(super) fn applied(&self) -> &[Bytes] {
        &self.applied
    }

    fn add(&mut self, command: Bytes) {
        let mut bytes = self.digest.to_le_bytes().to_vec();
        bytes.extend_from_slice(&command);
        self.digest = xxh3_128(&bytes);
        self.applied.push(command);
    }
}

impl StateMachine for Tester {
    type View = Picture;
    type Restorer = Rebuilt;

    fn empty(seed: u128) -> Self {
        Self { seed, digest: seed, applied: Vec::new() }
    }

    fn apply(&mut self, _: Context, command: &[u8], _: &mut Vec<u8>) {
        self.add(Bytes::copy_from_slice(command));
    }

    fn query(&self, _: Context, _: &[u8], _: &mut Vec<u8>) {}

    fn view(&self) -> Picture {
        Picture { state: self.clone(), next: None }
    }

    fn restorer() -> Rebuilt {
        Rebuilt(Vec::new())
    }

    fn digest(&self) -> u128 {
        self.digest
    }
}

/// A picture of a [`Tester`], which is written as its seed and every command behind its length.
#[derive(Debug)]
pub(super) struct Picture {
    state: Tester,
    /// The command to write next; `None` before the seed is written.
    next: Option<usize>,
}

impl View for Picture {
    fn read(&mut self, target: usize, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let mut next = self.next.unwrap_or_else(|| {
            out.extend_from_slice(&self.state.seed.to_le_bytes());
            0
        });
        while out.len() - start < target.max(1) {
            let Some(command) = self.state.applied.get(next) else { break };
            out.extend_from_slice(&(command.len() as u32).to_le_bytes());
            out.extend_from_slice(command);
            next += 1;
        }
        self.next = Some(next);
        out.len() > start
    }
}

/// Builds a [`Tester`].
#[derive(Debug)]
pub(super) struct Rebuilt(Vec<u8>);

impl Restorer for Rebuilt {
    type State = Tester;

    fn push(&mut self, chunk: &[u8]) -> Result<(), RestoreError> {
        self.0.extend_from_slice(chunk);
        Ok(())
    }

    fn finish(self) -> Result<Tester, RestoreError> {
        let (seed, mut rest) = self.0.split_first_chunk().ok_or(RestoreError::Length)?;
        let mut state = Tester::empty(u128::from_le_bytes(*seed));
        while !rest.is_empty() {
            let (len, after) = rest.split_first_chunk().ok_or(RestoreError::Length)?;
            let len = u32::from_le_bytes(*len) as usize;
            let (command, after) = after.split_at_checked(len).ok_or(RestoreError::Length)?;
            state.add(Bytes::copy_from_slice(command));
            rest = after;
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_in_any_division_gives_the_same_state() {
        let mut state = Tester::empty(7);
        for command in [&b"one"[..], b"", b"three"] {
            state.apply(Context::at(1, 1), command, &mut Vec::new());
        }
        for target in [1, 16, 1000] {
            let (mut view, mut rebuilt) = (state.view(), Tester::restorer());
            let mut chunk = Vec::new();
            while view.read(target, &mut chunk) {
                rebuilt.push(&chunk).expect("bytes are only kept");
                chunk.clear();
            }
            let rebuilt = rebuilt.finish().expect("whole");
            assert_eq!((rebuilt.digest(), rebuilt.applied()), (state.digest(), state.applied()));
        }
    }

    #[test]
    fn a_picture_that_ends_too_early_is_refused() {
        let mut whole = Vec::new();
        let mut state = Tester::empty(7);
        state.add(Bytes::from_static(b"command"));
        assert!(state.view().read(1000, &mut whole));
        for len in 0..whole.len() {
            let mut rebuilt = Tester::restorer();
            rebuilt.push(&whole[..len]).expect("bytes are only kept");
            assert_eq!(
                rebuilt.finish().is_ok(),
                len == 16,
                "{len}: only a picture without commands is whole"
            );
        }
    }
}
