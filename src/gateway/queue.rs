//! Replies in the order of their requests, whatever the order in which they come.

use alloc::collections::VecDeque;

use super::command_stats::{CommandId, CommandStats};
use super::reply::Reply;
use super::{Kind, Protocol};
use crate::time::Micros;

/// Which command a place is of, for the statistics.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stamp {
    /// `None` if no command has that name, or the bytes were no command.
    pub(super) command: Option<CommandId>,
    /// When it was parsed.
    pub(super) parsed: Micros,
    /// Whether it was refused before the node was asked.
    pub(super) rejected: bool,
}

impl Stamp {
    /// Counts the command, whose reply may be written now.
    pub(super) fn count(&self, now: Micros, failed: bool, stats: &CommandStats) {
        match self.command {
            Some(command) if self.rejected => stats.rejected(command),
            Some(command) => stats.answered(command, now.saturating_sub(self.parsed), failed),
            None => {}
        }
    }
}

/// A request's place in the order of replies.
#[derive(Debug)]
struct Place {
    kind: Kind,
    protocol: Protocol,
    stamp: Stamp,
    /// Bytes of the request while it is under way.
    bytes: usize,
    /// The slot of its first key.
    slot: u16,
    reply: Option<Reply>,
}

/// The requests of one connection that are not answered on the wire yet.
#[derive(Debug, Default)]
pub(super) struct Queue {
    places: VecDeque<Place>,
    /// The number of the first place.
    first: u64,
    under_way: UnderWay,
    /// Bytes of replies that wait for an earlier one.
    reply_bytes: usize,
}

/// What waits for the node.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnderWay {
    pub(super) writes: usize,
    pub(super) reads: usize,
    pub(super) lists: usize,
    /// Bytes of their commands.
    pub(super) bytes: usize,
}

impl UnderWay {
    pub(super) fn is_empty(&self) -> bool {
        self.writes == 0 && self.reads == 0 && self.lists == 0
    }

    fn count(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Write => &mut self.writes,
            Kind::Read => &mut self.reads,
            Kind::List => &mut self.lists,
        }
    }
}

/// A place whose reply has come, for the one who words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) kind: Kind,
    pub(super) slot: u16,
}

impl Queue {
    /// The number that the next place gets.
    fn next(&self) -> u64 {
        self.first.wrapping_add(self.places.len() as u64)
    }

    /// A place for a request that goes to the node; its number.
    pub(super) fn wait(
        &mut self,
        kind: Kind,
        protocol: Protocol,
        stamp: Stamp,
        bytes: usize,
        slot: u16,
    ) -> u64 {
        let number = self.next();
        *self.under_way.count(kind) += 1;
        self.under_way.bytes = self.under_way.bytes.saturating_add(bytes);
        self.places.push_back(Place { kind, protocol, stamp, bytes, slot, reply: None });
        number
    }

    /// A place for a reply that is there already.
    pub(super) fn answered(&mut self, protocol: Protocol, stamp: Stamp, reply: Reply) {
        self.reply_bytes = self.reply_bytes.saturating_add(reply.len());
        let kind = Kind::Read;
        self.places.push_back(Place { kind, protocol, stamp, bytes: 0, slot: 0, reply: Some(reply) });
    }

    /// What waits under `number`; `None` if nothing does.
    pub(super) fn waiting(&self, number: u64) -> Option<Waiting> {
        let place = self.places.get(self.index(number)?)?;
        place.reply.is_none().then_some(Waiting { kind: place.kind, slot: place.slot })
    }

    /// The number of the first place from `number` on that waits for a reply of this kind.
    pub(super) fn next_waiting(&self, number: u64, kind: Kind) -> Option<u64> {
        let from = self.index(number).unwrap_or(0);
        let waits = |place: &Place| place.kind == kind && place.reply.is_none();
        let at = self.places.range(from.min(self.places.len())..).position(waits)?;
        Some(self.first.wrapping_add((from + at) as u64))
    }

    /// The number of the first CLIENT LIST that waits.
    pub(super) fn first_list(&self) -> Option<u64> {
        let waits = |place: &Place| place.kind == Kind::List && place.reply.is_none();
        self.places.iter().position(waits).map(|index| self.first.wrapping_add(index as u64))
    }

    /// Puts the reply to `number` into its place; nothing happens if it is not waited for.
    pub(super) fn answer(&mut self, number: u64, reply: Reply) {
        let Some(mut index) = self.index(number) else { return };
        if planted!("replies-in-order-of-arrival") {
            index = self.places.iter().position(|place| place.reply.is_none()).unwrap_or(index);
        }
        let Some(place) = self.places.get_mut(index) else { return };
        if place.reply.is_some() {
            return;
        }
        let count = self.under_way.count(place.kind);
        *count = count.saturating_sub(1);
        self.under_way.bytes = self.under_way.bytes.saturating_sub(place.bytes);
        self.reply_bytes = self.reply_bytes.saturating_add(reply.len());
        place.reply = Some(reply);
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    /// Takes the first reply, if it has come.
    pub(super) fn pop(&mut self) -> Option<(Protocol, Stamp, Reply)> {
        self.places.front()?.reply.as_ref()?;
        let Place { protocol, stamp, reply, .. } = self.places.pop_front()?;
        let reply = reply?;
        self.first = self.first.wrapping_add(1);
        self.reply_bytes = self.reply_bytes.saturating_sub(reply.len());
        Some((protocol, stamp, reply))
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn under_way(&self) -> UnderWay {
        self.under_way
    }

    pub(super) fn reply_bytes(&self) -> usize {
        self.reply_bytes
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn reply(text: &'static str) -> Reply {
        Reply::Canonical(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn replies_leave_in_the_order_of_their_requests() {
        let mut queue = Queue::default();
        let a = queue.wait(Kind::Write, Protocol::Resp2, Stamp::default(), 10, 7);
        queue.answered(Protocol::Resp2, Stamp::default(), reply("+PONG\r\n"));
        let b = queue.wait(Kind::Write, Protocol::Resp3, Stamp::default(), 5, 0);
        assert_eq!(queue.under_way(), UnderWay { writes: 2, reads: 0, lists: 0, bytes: 15 });
        assert_eq!(queue.waiting(a), Some(Waiting { kind: Kind::Write, slot: 7 }));
        queue.answer(b, reply(":2\r\n"));
        assert!(queue.pop().is_none(), "the second reply waits for the first");
        assert_eq!(queue.reply_bytes(), 11);
        queue.answer(a, reply(":1\r\n"));
        let order: alloc::vec::Vec<_> =
            core::iter::from_fn(|| queue.pop()).map(|(p, _, r)| (p, r.len())).collect();
        assert_eq!(order, [(Protocol::Resp2, 4), (Protocol::Resp2, 7), (Protocol::Resp3, 4)]);
        assert!(queue.is_empty() && queue.under_way().is_empty() && queue.reply_bytes() == 0);
    }

    #[test]
    fn a_reply_nobody_waits_for_changes_nothing() {
        let mut queue = Queue::default();
        let a = queue.wait(Kind::Read, Protocol::Resp2, Stamp::default(), 1, 0);
        queue.answer(a + 1, reply("+x\r\n"));
        queue.answer(a, reply("+first\r\n"));
        queue.answer(a, reply("+second\r\n"));
        assert_eq!(queue.pop().map(|(_, _, r)| r.len()), Some(8));
        queue.answer(a, reply("+third\r\n"));
        assert_eq!(queue.waiting(a), None);
        assert!(queue.pop().is_none());
        assert_eq!(
            queue.wait(Kind::Read, Protocol::Resp2, Stamp::default(), 1, 0),
            a + 1,
            "numbers only grow"
        );
    }
}
