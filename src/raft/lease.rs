//! Read leases (dissertation §6.4.1): a leader whose round a majority has answered is not replaced for a while, because who
//! answered is loyal to it for an election timeout. For so long it may answer reads without asking again.
//!
//! This is the one feature whose safety trusts clocks, and it is off by default ([`Config::lease`](super::Config::lease)).

use alloc::collections::VecDeque;

use super::Round;
use crate::time::Micros;

/// Rounds that are remembered until they are answered. With more under way the later ones extend nothing.
const ROUNDS: usize = 64;

/// Until when a leader is certainly not replaced.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Lease {
    /// Rounds that are not answered by a majority, and when each left: a follower is loyal from later than that on.
    pub(super) departed: VecDeque<(Round, Micros)>,
    pub(super) until: Micros,
    /// This leader has told somebody to replace it, or may have.
    pub(super) revoked: bool,
}

impl Lease {
    /// A round leaves.
    pub(super) fn depart(&mut self, round: Round, now: Micros) {
        if self.departed.len() < ROUNDS {
            self.departed.push_back((round, now));
        }
    }

    /// A majority has answered `round` and all before it: for `length` from when it left nobody else is elected.
    pub(super) fn confirm(&mut self, round: Round, length: Micros) {
        while let Some((_, left)) = self.departed.front().copied().filter(|(departed, _)| *departed <= round)
        {
            self.departed.pop_front();
            self.until = self.until.max(left.saturating_add(length));
        }
    }

    /// Whether a read may be answered now.
    pub(super) fn holds(&self, now: Micros) -> bool {
        now < self.until && !self.revoked
    }

    /// Another configuration is in force: its majority has to answer.
    pub(super) fn lose(&mut self) {
        self.until = 0;
    }

    /// No lease holds any more in this leader's term.
    pub(super) fn revoke(&mut self) {
        self.revoked = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_counts_from_when_the_round_left() {
        let mut lease = Lease::default();
        lease.depart(1, 100);
        lease.depart(2, 150);
        assert!(!lease.holds(101));
        lease.confirm(1, 50);
        assert!(lease.holds(149) && !lease.holds(150));
        lease.confirm(2, 50);
        assert!(lease.holds(199) && !lease.holds(200));
        lease.lose();
        assert!(!lease.holds(151));
    }

    #[test]
    fn a_revoked_lease_never_comes_back() {
        let mut lease = Lease::default();
        lease.revoke();
        lease.depart(1, 100);
        lease.confirm(1, 50);
        assert!(!lease.holds(101));
    }

    #[test]
    fn memory_is_bounded() {
        let mut lease = Lease::default();
        (1..1000).for_each(|round| lease.depart(round, round));
        assert_eq!(lease.departed.len(), ROUNDS);
        lease.confirm(999, 50);
        assert!(lease.holds(ROUNDS as u64) && lease.departed.is_empty());
    }
}
