//! A replica's settings.

use crate::raft::{self, ConfigError};

/// Most that `session_reply_bytes` may be.
const MAX_REPLY_BYTES: usize = 1 << 30;

/// Settings of a replica. Those of sessions are the ones that a leader gives to the sessions it opens: nodes with different
/// settings still decide alike.
#[derive(Debug, Clone)]
pub struct Config {
    /// The core's.
    pub raft: raft::Config,
    /// Take a snapshot when the log since the last one has this many packed bytes; `None` for never.
    pub snapshot_log_bytes: Option<u64>,
    /// ... and at least this share of the last snapshot's length, in percent.
    pub snapshot_growth_percent: u32,
    /// Most sessions at once.
    pub max_sessions: usize,
    /// Most replies kept for one session: the window of numbers from its floor on.
    pub session_window: u64,
    /// Most bytes of replies kept for one session; the one that passes it is still kept. At most 1 GiB.
    pub session_reply_bytes: usize,
    /// A session that is idle for so long, in milliseconds of time with a leader, expires.
    pub session_ttl_ms: u64,
    /// Most requests under way.
    pub max_pending: usize,
    /// Most bytes of replies to reads that one step makes; the one that passes it is still made, the others follow in steps
    /// of their own. Without it, few bytes of queries could ask for more memory at once than there is.
    pub read_reply_bytes: usize,
    /// Most [work](super::StateMachine::work) that one step does on commands, and as much on queries, in about nanoseconds;
    /// what passes it is still done, the rest follows in steps of its own. Without it, a batch of costly commands would keep
    /// a node from its heartbeats.
    pub step_work: u64,
}

impl Config {
    /// The defaults over those of a core: a snapshot every 64 MiB of log and half of the last one's length; 16,384
    /// sessions of 256 replies or 256 KiB that expire after an hour; 65,536 requests under way; 8 MiB of replies to reads
    /// and 2 ms of work in a step.
    pub const fn new(raft: raft::Config) -> Self {
        Self {
            raft,
            snapshot_log_bytes: Some(64 << 20),
            snapshot_growth_percent: 50,
            max_sessions: 16 << 10,
            session_window: 256,
            session_reply_bytes: 256 << 10,
            session_ttl_ms: 3_600_000,
            max_pending: 64 << 10,
            read_reply_bytes: 8 << 20,
            step_work: 2_000_000,
        }
    }

    /// Whether the settings can work, and if not, which one cannot.
    ///
    /// # Errors
    ///
    /// The setting that cannot work. Those of the core are looked at by the core.
    pub const fn validate(&self) -> Result<(), ConfigError> {
        if self.session_window == 0 {
            return Err(ConfigError("session_window must not be 0"));
        }
        if self.session_reply_bytes == 0 || self.session_reply_bytes > MAX_REPLY_BYTES {
            return Err(ConfigError("session_reply_bytes must be from 1 to 1 GiB"));
        }
        if self.read_reply_bytes == 0 {
            return Err(ConfigError("read_reply_bytes must not be 0"));
        }
        if self.step_work == 0 {
            return Err(ConfigError("step_work must not be 0"));
        }
        if self.max_pending == 0 {
            return Err(ConfigError("max_pending must not be 0"));
        }
        Ok(())
    }
}
