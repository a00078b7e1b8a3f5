//! What became of everything that was sent.

use super::kind::{Kind, Kinds};

/// How many frames, or pieces of a stream that were written at once, and bytes with their framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Frames.
    pub frames: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Tally {
    pub(super) fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }
}

/// Counts of what a network did to what was given to it. Each only grows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    sent: [Tally; Kind::ALL.len()],
    /// Frames that the weather lost.
    pub lost: u64,
    /// Frames that arrived twice.
    pub doubled: u64,
    /// Frames that arrived before one that was sent earlier on their connection.
    pub overtook: u64,
    /// Frames that were late: those of the long tail.
    pub late: u64,
    /// Times that a direction was clogged.
    pub clogs: u64,
    /// Frames that were held by a clogged direction.
    pub clogged: u64,
    /// Frames that went into a cut.
    pub cut: u64,
    /// Connections that broke, by the weather or in a cut.
    pub broken: u64,
    /// Connections that could not be opened through a cut.
    pub refused: u64,
    /// What clients wrote.
    pub requests: Tally,
    /// What nodes wrote to clients.
    pub replies: Tally,
    /// Requests of clients that were lost with their connection.
    pub lost_requests: u64,
    /// Replies to clients that were lost with their connection.
    pub lost_replies: u64,
}

impl Counts {
    pub(super) fn count(&mut self, kind: Kind, bytes: usize) {
        self.sent[kind as usize].add(bytes);
    }

    /// What befell what was sent, by name.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("network: frames lost", self.lost),
            ("network: frames doubled", self.doubled),
            ("network: frames overtaken", self.overtook),
            ("network: frames late", self.late),
            ("network: links clogged", self.clogs),
            ("network: frames held by a clogged link", self.clogged),
            ("network: frames cut off", self.cut),
            ("network: connections broken", self.broken),
            ("network: connections refused", self.refused),
            ("clients: request lost by the network", self.lost_requests),
            ("clients: reply lost by the network", self.lost_replies),
        ]
        .into_iter()
    }

    /// What was sent of these kinds, whatever became of it.
    pub fn sent(&self, kinds: Kinds) -> Tally {
        let of_kind = Kind::ALL.iter().filter(|kind| kinds.contains(**kind));
        of_kind.fold(Tally::default(), |sum, &kind| {
            let Tally { frames, bytes } = self.sent[kind as usize];
            Tally { frames: sum.frames + frames, bytes: sum.bytes + bytes }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_bytes_are_counted_by_kind() {
        let mut counts = Counts::default();
        counts.count(Kind::Append, 100);
        counts.count(Kind::Append, 20);
        counts.count(Kind::AppendAccepted, 3);
        assert_eq!(counts.sent(Kinds::of(&[Kind::Append])), Tally { frames: 2, bytes: 120 });
        assert_eq!(counts.sent(Kinds::CORE_REPLIES), Tally { frames: 1, bytes: 3 });
        assert_eq!(counts.sent(Kinds::ALL), Tally { frames: 3, bytes: 123 });
    }
}
