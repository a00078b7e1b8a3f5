//! The replies of one step, written one after the other and sent as slices of few allocations.

use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use bytes::Bytes;

use super::{Action, Actions, Outcome, StateMachine, Tag};

/// Replies share an allocation up to this many bytes, so that a slow client's small reply keeps no more alive. A longer
/// reply has an allocation of its own.
const SHARED: usize = 64 << 10;

/// Replies in the order in which they were decided, not yet handed out.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// Kept from step to step.
    space: Vec<u8>,
    drafts: Vec<(Tag, Draft)>,
}

#[derive(Debug)]
enum Draft {
    Written(Range<usize>),
    Ended(Outcome),
}

impl Replies {
    /// Where the next reply is to be appended.
    pub(super) fn space(&mut self) -> &mut Vec<u8> {
        &mut self.space
    }

    /// The length of the space now: the start of the reply that is appended next.
    pub(super) fn mark(&self) -> usize {
        self.space.len()
    }

    /// Nobody waits for what was appended since `start`.
    pub(super) fn forget(&mut self, start: usize) {
        self.space.truncate(start);
    }

    /// What was appended since `start` is the reply to `tag`.
    pub(super) fn written<S: StateMachine>(&mut self, tag: Tag, start: usize, out: &mut Actions<S>) {
        let end = self.space.len();
        if end - start >= SHARED {
            self.alone(tag, start, out);
            return;
        }
        self.drafts.push((tag, Draft::Written(start..end)));
        if end >= SHARED {
            self.flush(out);
        }
    }

    /// A request's end that needs no space.
    pub(super) fn ended(&mut self, tag: Tag, outcome: Outcome) {
        self.drafts.push((tag, Draft::Ended(outcome)));
    }

    /// Hands out all of them.
    pub(super) fn flush<S: StateMachine>(&mut self, out: &mut Actions<S>) {
        if self.drafts.is_empty() {
            // A long reply that nobody waited for must not stay in the space's capacity.
            self.space.shrink_to(2 * SHARED);
            return;
        }
        let shared = Bytes::copy_from_slice(&self.space);
        self.space.clear();
        for (tag, draft) in self.drafts.drain(..) {
            let outcome = match draft {
                Draft::Written(range) => Outcome::Reply(shared.slice(range)),
                Draft::Ended(outcome) => outcome,
            };
            out.push(Action::Reply { tag, outcome });
        }
    }

    /// A long reply: what is before it is copied, it itself is not.
    fn alone<S: StateMachine>(&mut self, tag: Tag, start: usize, out: &mut Actions<S>) {
        let before = self.space.get(..start).unwrap_or_default().to_vec();
        let whole = mem::replace(&mut self.space, before);
        self.flush(out);
        let outcome = Outcome::Reply(Bytes::from(whole).slice(start..));
        out.push(Action::Reply { tag, outcome });
    }
}
