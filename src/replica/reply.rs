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
        // A long reply that nobody waited for must not stay in the space's capacity.
        self.space.shrink_to(2 * SHARED);
        if self.drafts.is_empty() {
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

#[cfg(test)]
mod tests {
    use super::super::testing::Tape;
    use super::*;
    use alloc::vec;

    fn ends(out: &mut Actions<Tape>) -> Vec<(Tag, Outcome)> {
        let reply = |action| match action {
            Action::Reply { tag, outcome } => (tag, outcome),
            other => panic!("{other:?} is no reply"),
        };
        out.drain().map(reply).collect()
    }

    fn write(replies: &mut Replies, tag: Tag, reply: &[u8], out: &mut Actions<Tape>) {
        let start = replies.mark();
        replies.space().extend_from_slice(reply);
        replies.written(tag, start, out);
    }

    #[test]
    fn replies_keep_their_order_and_share_one_allocation() {
        let (mut replies, mut out) = (Replies::default(), Actions::new());
        write(&mut replies, 1, b"one", &mut out);
        replies.ended(2, Outcome::SessionClosed);
        let start = replies.mark();
        replies.space().extend_from_slice(b"nobody waits");
        replies.forget(start);
        write(&mut replies, 3, b"", &mut out);
        write(&mut replies, 4, b"four", &mut out);
        assert!(out.is_empty());
        replies.flush(&mut out);
        let ends = ends(&mut out);
        let expected = [
            (1, Outcome::Reply(Bytes::from_static(b"one"))),
            (2, Outcome::SessionClosed),
            (3, Outcome::Reply(Bytes::new())),
            (4, Outcome::Reply(Bytes::from_static(b"four"))),
        ];
        assert_eq!(ends, expected);
        let (Outcome::Reply(one), Outcome::Reply(four)) = (&ends[0].1, &ends[3].1) else { panic!() };
        assert_eq!(one.as_ptr().wrapping_add(3), four.as_ptr());
        replies.flush(&mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn a_long_reply_keeps_its_place_and_pins_no_short_one() {
        let (mut replies, mut out) = (Replies::default(), Actions::new());
        let long = vec![7; SHARED];
        write(&mut replies, 1, b"short", &mut out);
        write(&mut replies, 2, &long, &mut out);
        write(&mut replies, 3, b"after", &mut out);
        replies.flush(&mut out);
        let ends = ends(&mut out);
        assert_eq!(ends.iter().map(|&(tag, _)| tag).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(ends[1].1, Outcome::Reply(Bytes::from(long)));
        assert_eq!(ends[2].1, Outcome::Reply(Bytes::from_static(b"after")));
    }

    #[test]
    fn shared_space_is_handed_out_before_it_grows_past_its_bound() {
        let (mut replies, mut out) = (Replies::default(), Actions::new());
        for tag in 0..3 {
            write(&mut replies, tag, &vec![1; SHARED / 2], &mut out);
        }
        assert_eq!(ends(&mut out).len(), 2);
        replies.flush(&mut out);
        assert_eq!(ends(&mut out).len(), 1);
    }
}
