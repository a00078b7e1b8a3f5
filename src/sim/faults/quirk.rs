//! Rare but legal choices in our own settings, which a run makes by its seed: code that an ordinary cluster hardly ever runs.

use crate::rng::Rng;
use crate::sim::cluster::Settings;

/// A setting at one of its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quirk {
    /// Each append message carries one entry.
    OneEntryAppends,
    /// One append message on its way to a peer at a time.
    NarrowWindow,
    /// A snapshot every two KiB of log.
    EarlySnapshots,
    /// No snapshot at all.
    NoSnapshots,
    /// Log segments that hold a few records.
    TinySegments,
    /// Nothing stays in the log before a snapshot.
    NoTrailing,
    /// Snapshots travel in pieces of 512 bytes, one at a time.
    TinyChunks,
    /// Followers refuse what they would forward.
    NoForwarding,
    /// Fewer sessions than clients would like.
    FewSessions,
    /// Sessions that expire while their clients think.
    ShortSessions,
    /// Little may wait to be committed.
    LittleUncommitted,
    /// Requests give up soon.
    ShortRequests,
    /// No questions before campaigns.
    NoPreVote,
    /// Leaders that do not step down without a majority, and followers that are not loyal.
    NoCheckQuorum,
    /// Elections after a short silence, with timeouts as short as that.
    HastyElections,
    /// Elections after a long silence.
    SlowElections,
    /// Room for hardly any replies in each session.
    LittleReplySpace,
    /// Steps that apply, and answer, a command or two and leave the rest to the next.
    LittleWork,
}

impl Quirk {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::OneEntryAppends,
        Self::NarrowWindow,
        Self::EarlySnapshots,
        Self::NoSnapshots,
        Self::TinySegments,
        Self::NoTrailing,
        Self::TinyChunks,
        Self::NoForwarding,
        Self::FewSessions,
        Self::ShortSessions,
        Self::LittleUncommitted,
        Self::ShortRequests,
        Self::NoPreVote,
        Self::NoCheckQuorum,
        Self::HastyElections,
        Self::SlowElections,
        Self::LittleReplySpace,
        Self::LittleWork,
    ];

    /// Its name in counts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneEntryAppends => "quirk: one-entry appends",
            Self::NarrowWindow => "quirk: narrow window",
            Self::EarlySnapshots => "quirk: early snapshots",
            Self::NoSnapshots => "quirk: no snapshots",
            Self::TinySegments => "quirk: tiny segments",
            Self::NoTrailing => "quirk: no trailing entries",
            Self::TinyChunks => "quirk: tiny chunks",
            Self::NoForwarding => "quirk: no forwarding",
            Self::FewSessions => "quirk: few sessions",
            Self::ShortSessions => "quirk: short sessions",
            Self::LittleUncommitted => "quirk: little uncommitted",
            Self::ShortRequests => "quirk: short requests",
            Self::NoPreVote => "quirk: no pre-vote",
            Self::NoCheckQuorum => "quirk: no check-quorum",
            Self::HastyElections => "quirk: hasty elections",
            Self::SlowElections => "quirk: slow elections",
            Self::LittleReplySpace => "quirk: little space for replies",
            Self::LittleWork => "quirk: little work in a step",
        }
    }

    /// Some of them: each with a chance of one in `of`.
    pub(super) fn draw(rng: &mut Rng, of: u64) -> std::vec::Vec<Self> {
        Self::ALL.into_iter().filter(|_| rng.chance(1, of)).collect()
    }

    /// Makes the choice.
    pub fn apply(self, settings: &mut Settings) {
        let node = &mut settings.node;
        match self {
            Self::OneEntryAppends => node.raft.max_append_bytes = 1,
            Self::NarrowWindow => node.raft.max_inflight_appends = 1,
            Self::EarlySnapshots => {
                node.snapshot_log_bytes = Some(2 << 10);
                node.snapshot_growth_percent = 0;
            }
            Self::NoSnapshots => node.snapshot_log_bytes = None,
            Self::TinySegments => node.segment_bytes = 16 << 10,
            Self::NoTrailing => node.raft.trailing_bytes = 0,
            Self::TinyChunks => {
                node.raft.snapshot_chunk_bytes = 512;
                node.raft.max_inflight_chunks = 1;
            }
            Self::NoForwarding => node.forward = false,
            Self::FewSessions => node.max_sessions = 3,
            Self::ShortSessions => node.session_ttl_ms = 500,
            Self::LittleUncommitted => node.raft.max_uncommitted_bytes = 2 << 10,
            Self::ShortRequests => node.request_timeout = 200_000,
            Self::NoPreVote => node.raft.pre_vote = false,
            Self::NoCheckQuorum => node.raft.check_quorum = false,
            Self::HastyElections => {
                node.raft.election_timeout = 60_000;
                node.raft.heartbeat_interval = 15_000;
            }
            Self::LittleReplySpace => {
                node.session_window = 3;
                node.session_reply_bytes = 40;
            }
            Self::LittleWork => node.step_work = 1_500,
            Self::SlowElections => {
                node.raft.election_timeout = 1_500_000;
                node.raft.heartbeat_interval = 200_000;
            }
        }
    }
}
