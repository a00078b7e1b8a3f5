//! The core's settings, each with a finite default.

use core::fmt;

use super::NodeId;
use crate::time::Micros;

/// Settings of one core.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node. Not 0.
    pub id: NodeId,
    /// Decides every random choice, together with `id`.
    pub seed: u64,
    /// A follower that hears nothing for a time between this and twice this campaigns (§5.2). The time is drawn anew for each
    /// campaign and for each leader. Microseconds.
    pub election_timeout: Micros,
    /// A leader with nothing to say says so this often. Microseconds; less than half of `election_timeout`.
    pub heartbeat_interval: Micros,
    /// A peer that has all entries is told the commit index by the next append, or, if there is none for so long, by a
    /// heartbeat that asks for no answer: who writes one thing after the other saves a message for each write. The regular
    /// heartbeat tells it, too. Microseconds; 0 for at once.
    pub commit_delay: Micros,
    /// Ask before campaigning (dissertation §9.6). On by default.
    pub pre_vote: bool,
    /// A leader that a majority owes an answer for an election timeout steps down, and followers that hear a leader refuse
    /// to elect another (dissertation §6.2, §4.2.3). On by default.
    pub check_quorum: bool,
    /// Longest data of one entry, in bytes.
    pub max_entry_bytes: usize,
    /// Most packed bytes of entries in one append message, unless its only entry is longer.
    pub max_append_bytes: usize,
    /// Most append messages on their way to one peer.
    pub max_inflight_appends: usize,
    /// Most packed bytes of entries on their way to one peer, unless a single message is larger.
    pub max_inflight_bytes: usize,
    /// Most packed bytes of the leader's log that wait to be committed, and of any node's log that wait for its own disk; more is
    /// refused.
    pub max_uncommitted_bytes: usize,
    /// Most reads that wait for a round.
    pub max_pending_reads: usize,
    /// Longest piece of a snapshot in one message, in bytes.
    pub snapshot_chunk_bytes: u64,
    /// Most snapshot chunks on their way to one peer.
    pub max_inflight_chunks: usize,
    /// For so long after a majority has answered a leader's round, counted from when the round left, the leader answers reads
    /// without asking again (dissertation §6.4.1). Microseconds, less than `election_timeout`; `None`, the default, for never.
    ///
    /// **This is the only setting whose safety trusts clocks.** While a lease holds, no voter's monotonic clock may run faster
    /// than the leader's by the ratio of `election_timeout` to `lease` or more, and no more time than the difference of the two
    /// may pass between a leader's reading of its clock and its step; otherwise another leader may have been elected and
    /// a read may miss its writes. A lease is lost with the majority, with the term, by a restart and, for the rest of the
    /// term, when a transfer of leadership begins.
    pub lease: Option<Micros>,
    /// A learner that lacks more packed bytes of the log than this gets no vote, unless that is forced (dissertation §4.2.1).
    pub max_promotion_lag_bytes: usize,
    /// Packed bytes of entries kept before a snapshot, for followers that are a little behind.
    pub trailing_bytes: usize,
}

impl Config {
    /// The defaults for node `id`: an election timeout of 300 ms, a heartbeat every 50 ms, the commit index told
    /// within 2 ms.
    pub const fn new(id: NodeId, seed: u64) -> Self {
        Self {
            id,
            seed,
            election_timeout: 300_000,
            heartbeat_interval: 50_000,
            commit_delay: 2_000,
            pre_vote: true,
            check_quorum: true,
            max_entry_bytes: 16 << 20,
            max_append_bytes: 256 << 10,
            max_inflight_appends: 64,
            max_inflight_bytes: 8 << 20,
            max_uncommitted_bytes: 64 << 20,
            max_pending_reads: 1 << 16,
            snapshot_chunk_bytes: 128 << 10,
            max_inflight_chunks: 4,
            lease: None,
            max_promotion_lag_bytes: 1 << 20,
            trailing_bytes: 4 << 20,
        }
    }

    /// For so long a read waits for the few who were asked whether this node still leads, until everybody is. Where messages
    /// take longer than that, everybody is asked from the start.
    pub(super) const fn read_patience(&self) -> Micros {
        self.heartbeat_interval / 8
    }

    /// Whether the settings can work, and if not, which one cannot.
    pub const fn validate(&self) -> Result<(), ConfigError> {
        if self.id.0 == 0 {
            return Err(ConfigError("id must not be 0"));
        }
        if self.heartbeat_interval == 0 {
            return Err(ConfigError("heartbeat_interval must not be 0"));
        }
        if self.heartbeat_interval >= self.election_timeout / 2 {
            return Err(ConfigError("heartbeat_interval must be less than half of election_timeout"));
        }
        if let Some(lease) = self.lease {
            if lease == 0 || lease >= self.election_timeout {
                return Err(ConfigError("lease must be from 1 us to less than election_timeout"));
            }
            if !self.check_quorum {
                return Err(ConfigError(
                    "lease needs check_quorum: followers that are not loyal give no lease",
                ));
            }
        }
        if self.max_entry_bytes == 0 || self.max_entry_bytes > 1 << 30 {
            return Err(ConfigError("max_entry_bytes must be from 1 to 1 GiB"));
        }
        if self.max_append_bytes == 0 || self.max_inflight_appends == 0 || self.max_inflight_bytes == 0 {
            return Err(ConfigError(
                "max_append_bytes, max_inflight_appends and max_inflight_bytes must not be 0",
            ));
        }
        if self.max_uncommitted_bytes == 0 || self.max_pending_reads == 0 {
            return Err(ConfigError("max_uncommitted_bytes and max_pending_reads must not be 0"));
        }
        if self.snapshot_chunk_bytes == 0
            || self.snapshot_chunk_bytes > 256 << 10
            || self.max_inflight_chunks == 0
        {
            return Err(ConfigError(
                "snapshot_chunk_bytes must be from 1 to 256 KiB, and max_inflight_chunks not 0",
            ));
        }
        Ok(())
    }
}

/// The setting that cannot work, and what would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigError(pub &'static str);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for ConfigError {}
