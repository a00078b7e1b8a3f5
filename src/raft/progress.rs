//! What a leader knows of one peer, and what is on its way to it (dissertation §10.2.1).
//!
//! ```text
//!            accepted                      the log it needs is compacted
//!  Probe ────────────────► Replicate        Probe ─────────────► Snapshot
//!    ▲                         │              ▲                      │
//!    └── rejected, silent, ────┘              └── installed, or the ─┘
//!        unreachable                              log suffices after all
//! ```

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::stamp::Report;
use super::{Config, LogIndex, Round, SnapshotMeta};
use crate::time::Micros;

/// Round trips below this are alike: what they differ by is chance. Microseconds.
const NEAR: Micros = 256;

/// Longer round trips count as so long.
pub(super) const LONGEST_TRIP: Micros = 1_000_000;

/// A peer as its leader sees it. `next > matched`, always.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    /// The peer's log durably agrees up to here.
    pub(super) matched: LogIndex,
    /// The next entry to send.
    pub(super) next: LogIndex,
    /// How entries are sent.
    pub(super) sending: Sending,
    /// The highest commit index that the peer was sent.
    pub(super) told: LogIndex,
    /// When the peer was last heard in this term.
    pub(super) contact: Micros,
    /// When the first round after that left for it; of no meaning while it is not later.
    pub(super) asked: Micros,
    /// The last round of heartbeats that the peer answered.
    pub(super) round: Round,
    /// A round on its way to it and back, and when it left; one at a time is measured.
    pub(super) timed: Option<(Round, Micros)>,
    /// How long a round takes there and back: a moving average. 0 before the first answer.
    pub(super) trip: Micros,
    /// The peer's wall clock, once reported.
    pub(super) clock: Option<Report>,
}

/// How entries are sent to a peer.
#[derive(Debug, Clone)]
pub(super) enum Sending {
    /// One append at a time, until its answer tells where the logs agree.
    Probe {
        /// When the probe under way left; `None` if there is none.
        sent: Option<Micros>,
        /// Without entries: the last one was lost, perhaps because of its size, perhaps nobody is there.
        bare: bool,
    },
    /// Appends one after the other, without waiting for answers.
    Replicate(Window),
    /// A snapshot, in chunks.
    Snapshot(Box<Transfer>),
}

/// Appends on their way to a peer: the last index and the bytes of each.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) appends: VecDeque<(LogIndex, usize)>,
    bytes: usize,
    /// When an answer was last of use, or the first of these appends left.
    pub(super) since: Micros,
}

/// A snapshot on its way to a peer.
#[derive(Debug, Clone)]
pub(super) struct Transfer {
    /// Which one.
    pub(super) meta: SnapshotMeta,
    /// The peer has written up to here.
    pub(super) written: u64,
    /// Chunks up to here were asked for.
    pub(super) asked: u64,
    /// When to ask again, if nothing is heard.
    pub(super) deadline: Micros,
    /// Nothing is asked for before the deadline.
    pub(super) paused: bool,
}

impl Window {
    fn new(now: Micros) -> Self {
        Self { appends: VecDeque::new(), bytes: 0, since: now }
    }

    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.appends.is_empty()
    }

    /// Whether one more append of `bytes` may leave: by count, and by bytes unless it would be alone.
    pub(super) fn admits(&self, bytes: usize, config: &Config) -> bool {
        self.appends.is_empty()
            || (self.appends.len() < config.max_inflight_appends
                && self.bytes.saturating_add(bytes) <= config.max_inflight_bytes)
    }

    /// An append up to `last` leaves.
    pub(super) fn push(&mut self, last: LogIndex, bytes: usize, now: Micros) {
        if self.appends.is_empty() {
            self.since = now;
        }
        self.appends.push_back((last, bytes));
        self.bytes += bytes;
    }

    fn answered(&mut self, matched: LogIndex, now: Micros) {
        while let Some((_, bytes)) = self.appends.front().copied().filter(|a| a.0 <= matched) {
            self.appends.pop_front();
            self.bytes -= bytes;
        }
        self.since = now;
    }
}

impl Progress {
    /// A peer of which a new leader, whose log's next index is `next`, knows nothing (§5.3).
    pub(super) fn new(next: LogIndex, now: Micros) -> Self {
        Self {
            matched: 0,
            next,
            sending: Sending::Probe { sent: None, bare: false },
            told: 0,
            contact: now,
            asked: now,
            round: 0,
            timed: None,
            trip: 0,
            clock: None,
        }
    }

    /// `round` leaves for it.
    pub(super) fn ask(&mut self, round: Round, now: Micros) {
        if self.asked <= self.contact {
            self.asked = now;
        }
        self.timed = self.timed.or(Some((round, now)));
    }

    /// It has answered `round`.
    pub(super) fn answered(&mut self, round: Round, now: Micros) {
        self.round = self.round.max(round);
        if let Some((_, left)) = self.timed.take_if(|(timed, _)| *timed <= round) {
            let trip = now.saturating_sub(left).min(LONGEST_TRIP);
            self.trip = if self.trip == 0 { trip } else { (7 * self.trip + trip) / 8 };
        }
    }

    /// How far away it is, in powers of two, if it can be relied on to answer a round within `patience`: that is how long it
    /// takes, it owes no answer for longer, and it has no entry to write, as the leader's last one is at `last`.
    pub(super) fn distance(&self, last: LogIndex, patience: Micros, now: Micros) -> Option<u32> {
        let is_late = self.timed.is_some_and(|(_, left)| now.saturating_sub(left) >= patience);
        (!is_late && self.matched >= last && self.trip < patience).then(|| self.trip.max(NEAR).ilog2())
    }

    /// Since when it owes an answer; `None` if it owes none.
    pub(super) fn silent_since(&self) -> Option<Micros> {
        Some(self.asked).filter(|asked| *asked > self.contact)
    }

    /// The peer's log durably agrees up to `matched`. True if that is news.
    pub(super) fn accepted(&mut self, matched: LogIndex, base: LogIndex, now: Micros) -> bool {
        let news = matched > self.matched;
        self.matched = self.matched.max(matched);
        match &mut self.sending {
            Sending::Replicate(window) => {
                if news {
                    window.answered(matched, now);
                }
                self.next = self.next.max(self.matched + 1);
            }
            // An acknowledgement from before the probe says nothing about it.
            Sending::Probe { .. } if matched.saturating_add(1) < self.next => {}
            Sending::Probe { .. } => self.replicate(now),
            // What follows is in our log: no need of a snapshot any more.
            Sending::Snapshot(_) if self.matched >= base => self.replicate(now),
            Sending::Snapshot(_) => self.next = self.next.max(self.matched + 1),
        }
        news
    }

    /// Whether a rejection of an append after `probed` says something new (trap 12): when replicating, those at or below
    /// `matched` are stale; when probing, only the answer to the last probe counts.
    pub(super) fn minds_rejection(&self, probed: LogIndex) -> bool {
        match &self.sending {
            Sending::Replicate(_) => probed > self.matched || planted!("stale-rejection-is-minded"),
            Sending::Probe { sent, .. } => sent.is_some() && probed == self.next - 1,
            Sending::Snapshot(transfer) => probed == transfer.meta.id.last.index,
        }
    }

    /// Probes from `next` on, or from after `matched` if that is later.
    pub(super) fn probe(&mut self, next: LogIndex) {
        self.next = next.max(self.matched + 1);
        self.sending = Sending::Probe { sent: None, bare: false };
        self.told = 0;
    }

    /// What was in flight is probably lost: the connection broke.
    pub(super) fn unreachable(&mut self) {
        match &mut self.sending {
            Sending::Replicate(_) => self.probe(self.matched + 1),
            Sending::Probe { sent, bare } => (*sent, *bare) = (None, true),
            Sending::Snapshot(transfer) => transfer.asked = transfer.written,
        }
    }

    /// The peer is alive, and answers what was sent later: what was sent long before and is not answered is lost.
    pub(super) fn alive(&mut self, now: Micros, config: &Config) {
        match &mut self.sending {
            Sending::Replicate(window) => {
                // The peer's disk may take its time: only after a while is silence taken for loss.
                if !window.is_empty() && now.saturating_sub(window.since) >= config.election_timeout {
                    self.probe(self.matched + 1);
                }
            }
            Sending::Probe { sent, bare } => {
                if sent.is_some_and(|at| now.saturating_sub(at) >= config.heartbeat_interval) {
                    (*sent, *bare) = (None, true);
                }
            }
            Sending::Snapshot(_) => {}
        }
    }

    /// Sends `meta` from its beginning.
    pub(super) fn snapshot(&mut self, meta: SnapshotMeta, now: Micros, config: &Config) {
        let deadline = now.saturating_add(config.election_timeout);
        self.sending =
            Sending::Snapshot(Box::new(Transfer { meta, written: 0, asked: 0, deadline, paused: false }));
    }

    fn replicate(&mut self, now: Micros) {
        self.next = self.matched + 1;
        self.sending = Sending::Replicate(Window::new(now));
    }
}

impl Transfer {
    /// The next chunk to ask for, as offset and length, if the window allows one.
    pub(super) fn ask(&mut self, config: &Config) -> Option<(u64, u64)> {
        let window = config.snapshot_chunk_bytes.saturating_mul(config.max_inflight_chunks as u64);
        let (offset, end) = (self.asked, self.meta.len);
        if self.paused || offset >= end || offset.saturating_sub(self.written) >= window {
            return None;
        }
        let len = config.snapshot_chunk_bytes.min(end - offset);
        self.asked = offset + len;
        Some((offset, len))
    }

    /// The peer has written up to `written`: less than before if it starts again.
    pub(super) fn wrote(&mut self, written: u64, now: Micros, config: &Config) {
        let forgets = written < self.written;
        if written > self.meta.len
            || written == self.written
            || (forgets && planted!("transfer-never-starts-over"))
        {
            return;
        }
        // A receiver that goes back has forgotten; a chunk that is on its way to it will be refused.
        self.asked = if written < self.written { written } else { self.asked.max(written) };
        self.written = written;
        self.deadline = now.saturating_add(config.election_timeout);
        self.paused = false;
    }

    /// The peer's bytes did not verify: start again, but not at once, since our own file may be at fault.
    pub(super) fn start_again(&mut self, now: Micros, config: &Config) {
        (self.written, self.asked, self.paused) = (0, 0, true);
        self.deadline = now.saturating_add(config.election_timeout);
    }

    /// The deadline passed: ask again for what is not written, or, if all is, for the last chunk: the answer tells whether
    /// the receiver still has the others.
    pub(super) fn retry(&mut self, now: Micros, config: &Config) {
        self.paused = false;
        self.asked = if self.written < self.meta.len {
            self.written
        } else {
            self.meta.len.saturating_sub(config.snapshot_chunk_bytes)
        };
        self.deadline = now.saturating_add(config.election_timeout);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LogId, NodeId, SnapshotId};
    use super::*;

    fn config() -> Config {
        Config {
            max_inflight_appends: 2,
            max_inflight_bytes: 100,
            snapshot_chunk_bytes: 10,
            max_inflight_chunks: 2,
            ..Config::new(NodeId(1), 1)
        }
    }

    fn replicating(matched: LogIndex) -> Progress {
        let mut peer = Progress::new(matched + 1, 0);
        peer.sending = Sending::Probe { sent: Some(0), bare: false };
        peer.accepted(matched, 0, 0);
        assert!(matches!(peer.sending, Sending::Replicate(_)));
        peer
    }

    #[test]
    fn who_is_late_or_has_to_write_is_at_no_distance() {
        let mut peer = replicating(10);
        assert_eq!(peer.distance(10, 100, 0), Some(8), "nothing is known against it");
        assert_eq!(peer.distance(11, 100, 0), None, "it has an entry to write");
        peer.ask(1, 1000);
        peer.ask(2, 1050);
        assert_eq!(peer.distance(10, 100, 1099), Some(8));
        assert_eq!(peer.distance(10, 100, 1100), None, "the first question counts");
        peer.answered(1, 1100);
        assert_eq!(peer.distance(10, 200, 1100), Some(8));
    }

    #[test]
    fn round_trips_are_measured_one_at_a_time_and_averaged() {
        let mut peer = replicating(10);
        peer.ask(1, 1000);
        peer.ask(2, 1900);
        peer.answered(0, 1950);
        assert_eq!(peer.trip, 0, "an answer to what left before");
        peer.answered(2, 2000);
        assert_eq!((peer.trip, peer.round, peer.timed), (1000, 2, None));
        assert_eq!(peer.distance(10, 1001, 2000), Some(9));
        assert_eq!(peer.distance(10, 1000, 2000), None, "it takes longer");
        for round in 3..40 {
            peer.ask(round, 2000);
            peer.answered(round, 6000);
        }
        assert_eq!(peer.distance(10, 5000, 2000), Some(11));
    }

    fn window(peer: &mut Progress) -> &mut Window {
        match &mut peer.sending {
            Sending::Replicate(window) => window,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_window_is_bounded_by_count_and_by_bytes() {
        let config = config();
        let mut peer = replicating(10);
        let window = window(&mut peer);
        assert!(window.admits(1000, &config), "a single message may be larger");
        window.push(11, 60, 5);
        assert!(window.admits(40, &config) && !window.admits(41, &config));
        window.push(12, 10, 6);
        assert!(!window.admits(1, &config));
        peer.accepted(11, 0, 7);
        assert!(super::tests::window(&mut peer).admits(90, &config));
    }

    #[test]
    fn trap_12_stale_rejections_are_not_minded() {
        let mut peer = replicating(10);
        assert!(!peer.minds_rejection(10) && peer.minds_rejection(11));
        peer.probe(5);
        assert_eq!(peer.next, 11, "next stays above matched");
        assert!(!peer.minds_rejection(10), "no probe has left");
        peer.sending = Sending::Probe { sent: Some(1), bare: false };
        assert!(peer.minds_rejection(10) && !peer.minds_rejection(12));
    }

    #[test]
    fn an_acknowledgement_from_before_the_probe_does_not_end_it() {
        let mut peer = Progress::new(20, 0);
        peer.accepted(7, 0, 0);
        assert!(matches!(peer.sending, Sending::Probe { .. }));
        assert_eq!((peer.matched, peer.next), (7, 20));
    }

    #[test]
    fn silence_in_flight_becomes_a_probe() {
        let config = config();
        let mut peer = replicating(10);
        window(&mut peer).push(11, 1, 1000);
        peer.alive(1000 + config.election_timeout - 1, &config);
        assert!(matches!(peer.sending, Sending::Replicate(_)));
        peer.alive(1000 + config.election_timeout, &config);
        assert!(matches!(peer.sending, Sending::Probe { sent: None, .. }));
        assert_eq!(peer.next, 11);
    }

    fn transfer() -> Transfer {
        let id = SnapshotId { last: LogId::new(1, 50), checksum: 0 };
        let meta = SnapshotMeta { id, len: 35, stamp: Default::default(), configuration: Default::default() };
        Transfer { meta, written: 0, asked: 0, deadline: 0, paused: false }
    }

    #[test]
    fn chunks_fill_the_window_and_end_with_the_file() {
        let (config, mut t) = (config(), transfer());
        assert_eq!([t.ask(&config), t.ask(&config), t.ask(&config)], [Some((0, 10)), Some((10, 10)), None]);
        t.wrote(10, 1, &config);
        assert_eq!([t.ask(&config), t.ask(&config)], [Some((20, 10)), None]);
        t.wrote(30, 1, &config);
        assert_eq!([t.ask(&config), t.ask(&config)], [Some((30, 5)), None]);
        t.wrote(35, 1, &config);
        assert_eq!(t.ask(&config), None);
    }

    #[test]
    fn a_transfer_resumes_where_the_receiver_is() {
        let (config, mut t) = (config(), transfer());
        t.wrote(20, 1, &config);
        assert_eq!(t.ask(&config), Some((20, 10)));
        t.wrote(5, 2, &config);
        assert_eq!(t.ask(&config), Some((5, 10)));
        t.wrote(99, 3, &config);
        assert_eq!(t.written, 5, "more than there is was not written");
        t.start_again(4, &config);
        assert_eq!(t.ask(&config), None);
        t.retry(5, &config);
        assert_eq!(t.ask(&config), Some((0, 10)));
        t.wrote(35, 6, &config);
        t.retry(7, &config);
        assert_eq!(t.ask(&config), Some((25, 10)), "the last chunk asks whether the rest is there");
    }
}
