//! A small state machine for tests: a tape to which every command is appended.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use xxhash_rust::xxh3::xxh3_128;

use super::{Context, RestoreError, Restorer, StateMachine, View};
use crate::time::Millis;

/// A tape. A command is appended and answered with its position; a query of `all` yields the items, each followed by a
/// comma, and any other query the items' count. The command `alarm N` has `rang N` appended when the log's clock is at `N`;
/// `toil N`, as a command or a query, is so much work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tape {
    seed: u128,
    digest: u128,
    items: Vec<Vec<u8>>,
    /// Those that have not rung.
    alarms: BTreeSet<Millis>,
}

impl Tape {
    /// What was appended, in order.
    pub fn items(&self) -> &[Vec<u8>] {
        &self.items
    }

    /// What [`empty`](StateMachine::empty) was given.
    pub fn seed(&self) -> u128 {
        self.seed
    }

    fn append(&mut self, item: &[u8]) {
        let mut bytes = self.digest.to_le_bytes().to_vec();
        bytes.extend_from_slice(item);
        self.digest = xxh3_128(&bytes);
        let number = |word: &str| core::str::from_utf8(item).ok()?.strip_prefix(word)?.parse::<Millis>().ok();
        self.alarms.extend(number("alarm "));
        number("rang ").map(|at| self.alarms.remove(&at));
        self.items.push(item.to_vec());
    }
}

impl StateMachine for Tape {
    type View = TapeView;
    type Restorer = TapeRestorer;

    fn empty(seed: u128) -> Self {
        Self { seed, digest: seed, items: Vec::new(), alarms: BTreeSet::new() }
    }

    fn apply(&mut self, _context: Context, command: &[u8], out: &mut Vec<u8>) {
        self.append(command);
        out.extend_from_slice(format!("{}", self.items.len()).as_bytes());
    }

    fn next_deadline(&self) -> Option<Millis> {
        self.alarms.first().copied()
    }

    fn expire(&mut self, context: Context, most: usize) {
        for _ in 0..most {
            let Some(at) = self.next_deadline().filter(|at| *at <= context.unix_ms) else { return };
            self.append(format!("rang {at}").as_bytes());
        }
    }

    fn work(&self, command: &[u8]) -> u64 {
        let toil = core::str::from_utf8(command).ok().and_then(|word| word.strip_prefix("toil "));
        toil.and_then(|work| work.parse().ok()).unwrap_or_default()
    }

    fn query(&self, _context: Context, query: &[u8], out: &mut Vec<u8>) {
        if query != b"all" {
            out.extend_from_slice(format!("{}", self.items.len()).as_bytes());
            return;
        }
        for item in &self.items {
            out.extend_from_slice(item);
            out.push(b',');
        }
    }

    fn view(&self) -> TapeView {
        TapeView { tape: self.clone(), next: None }
    }

    fn restorer() -> TapeRestorer {
        TapeRestorer(Vec::new())
    }

    fn digest(&self) -> u128 {
        self.digest
    }
}

/// The picture of a [`Tape`].
#[derive(Debug)]
pub struct TapeView {
    tape: Tape,
    next: Option<usize>,
}

impl View for TapeView {
    fn read(&mut self, target: usize, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let mut next = self.next.unwrap_or_else(|| {
            out.extend_from_slice(&self.tape.seed.to_le_bytes());
            0
        });
        while out.len() - start < target.max(1) {
            let Some(item) = self.tape.items.get(next) else { break };
            out.extend_from_slice(&(item.len() as u32).to_le_bytes());
            out.extend_from_slice(item);
            next += 1;
        }
        self.next = Some(next);
        out.len() > start
    }
}

/// Builds a [`Tape`].
#[derive(Debug)]
pub struct TapeRestorer(Vec<u8>);

impl Restorer for TapeRestorer {
    type State = Tape;

    fn push(&mut self, chunk: &[u8]) -> Result<(), RestoreError> {
        self.0.extend_from_slice(chunk);
        Ok(())
    }

    fn finish(self) -> Result<Tape, RestoreError> {
        let (seed, mut rest) = self.0.split_first_chunk().ok_or(RestoreError::Length)?;
        let mut tape = Tape::empty(u128::from_le_bytes(*seed));
        while !rest.is_empty() {
            let (len, after) = rest.split_first_chunk().ok_or(RestoreError::Length)?;
            let len = u32::from_le_bytes(*len) as usize;
            let (item, after) = after.split_at_checked(len).ok_or(RestoreError::Length)?;
            tape.append(item);
            rest = after;
        }
        Ok(tape)
    }
}
