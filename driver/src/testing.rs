//! A state machine for tests of the plumbing: it holds nothing.

use quorate::replica::{Context, RestoreError, Restorer, StateMachine, View};

#[derive(Debug)]
pub(crate) struct Nothing;

impl StateMachine for Nothing {
    type View = Nothing;
    type Restorer = Nothing;

    fn empty(_seed: u128) -> Self {
        Self
    }

    fn apply(&mut self, _context: Context, _command: &[u8], _out: &mut Vec<u8>) {}

    fn query(&self, _context: Context, _query: &[u8], _out: &mut Vec<u8>) {}

    fn view(&self) -> Nothing {
        Self
    }

    fn restorer() -> Nothing {
        Self
    }

    fn digest(&self) -> u128 {
        0
    }
}

impl View for Nothing {
    fn read(&mut self, _target: usize, _out: &mut Vec<u8>) -> bool {
        false
    }
}

impl Restorer for Nothing {
    type State = Nothing;

    fn push(&mut self, _chunk: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }

    fn finish(self) -> Result<Nothing, RestoreError> {
        Ok(self)
    }
}
