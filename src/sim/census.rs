//! What a series of runs has to have met before its silence means anything: every fault, every row of the table of storage
//! faults that a run can reach, and what a cluster does about them.
//!
//! Nothing is expected of one run. A thousand runs of ten minutes are to meet each of these at least [`ENOUGH`] times.

use std::collections::BTreeSet;

use super::disk::Counts;
use super::faults::{self, Profile, Quirk};
use super::network::Shape;

/// How often each of them is to be met.
pub const ENOUGH: u64 = 20;

/// Names of what a cluster meets and does, as a [`Tally`](super::Tally) counts them. Rows are those of
/// [the table of storage faults](crate::docs::storage_rows).
pub mod met {
    macro_rules! names {
        ($($name:ident = $words:literal,)+) => {
            $(#[allow(missing_docs, reason = "the words say it")] pub const $name: &str = $words;)+
            /// All of them.
            pub const ALL: &[&str] = &[$($name),+];
        };
    }

    names! {
        TORN_TAIL = "row 1: torn tail cut and kept aside",
        LOST_RECORD = "row 2: bad record refused, with its place",
        QUIET_TAIL = "row 3: started with a log that is proven to its end",
        FAILED_SYNC = "row 4: halted by a failed sync or write",
        CACHE_ONLY = "row 5: started over bytes that only the cache had",
        SLOW_SYNC = "row 6: sync of more than 10 ms",
        NO_ROOM = "row 7: write refused for want of room",
        NO_ROOM_TO_START = "row 7: halted at the start for want of room",
        FAILED_READ = "row 8: halted by a failed read",
        RECYCLED = "row 9: segment recycled",
        WILD_LENGTH = "row 10: wild length refused",
        ASTRAY = "row 11: stale or misdirected write refused",
        LOST_NAMES = "row 12: names lost by a power failure",
        UNNAMED_SNAPSHOT = "row 13: started with a snapshot that the log did not name",
        BAD_SNAPSHOT = "row 14: corrupt or short snapshot refused",
        FROM_SNAPSHOT = "row 15: state and sessions loaded from a snapshot",
        ONE_VOTE_COPY = "row 16: started with one copy of the vote",
        NO_VOTE = "row 16: lost vote refused",
        WRONG_DIRECTORY = "row 18: another node's directory refused",
        NO_IDENTITY = "row 18: lost identity refused",
        WIPED = "row 19: wiped disk fenced",
        ROLLED_BACK = "row 19: rolled-back disk fenced",
        SINGLE_COMMIT = "row 20: single node committed after its own sync",
        SINGLE_START = "row 20: single node started again",
        DIGESTS = "row 21: states of two nodes compared at one index",
        VERSION = "row 22: unknown version refused",
        LEADER = "raft: leader elected",
        DEPOSED = "raft: leader stepped down",
        TRUNCATED = "raft: entries of another leader cut off",
        SNAPSHOT_TAKEN = "raft: snapshot taken",
        SNAPSHOT_INSTALLED = "raft: snapshot of the leader installed",
        CHANGED = "membership: change committed",
        CHANGE_UNDER_WAY = "membership: refused, another change is under way",
        NOT_CAUGHT_UP = "membership: refused, not caught up",
        UNREACHABLE = "membership: refused, learner not there",
        COULD_NOT_COMMIT = "membership: refused, could not commit",
        NO_CHANGE = "membership: refused, makes no sense",
        REMOVED = "membership: removed node stopped",
        JOINT = "membership: joint configuration entered",
        JOINT_LEFT = "membership: joint configuration left by another leader",
        JOINT_START = "membership: started in a joint configuration",
        JOINT_SNAPSHOT = "membership: snapshot during a joint configuration",
        LEARNER_START = "membership: started as a learner",
        CHANGE_CUT = "membership: change rolled back",
        HANDED_OVER = "leadership: handed over",
        NOT_HANDED_OVER = "leadership: transfer aborted",
        NO_HANDOVER = "leadership: transfer refused",
        STOPPED = "process stopped in good order",
        UNDETERMINED = "answer: not known whether it was done",
        BUSY = "answer: refused, too much waits",
        NO_LEADER = "answer: refused, no leader",
        EXPIRED = "answer: session expired",
        REPLY_LOST = "clients: reply lost with its connection",
        CONNECTION_BROKEN = "clients: connection broken",
        JOINED = "clients: commands joined to one entry",
        EXECUTED = "clients: EXEC executed what MULTI began",
        GIVEN_UP = "clients: EXEC given up, a watched key has changed",
        ABORTED = "clients: EXEC aborted, a command was not queued",
        DISCARDED = "clients: DISCARD",
        STARTED_AGAIN = "process started again",
        KILLED = "process killed",
        POWER_FAILED = "power failed",
        WITHIN_OPERATION = "crash within a disk operation",
        HEALED = "partition healed",
        REPLAYED = "history: replayed",
        LINEARIZABLE = "history: found linearizable",
    }
}

/// Everything that many runs have to meet.
pub fn expected() -> BTreeSet<&'static str> {
    let disks = Counts::default();
    let disks = disks.each().map(|(what, _)| what);
    let quirks = Quirk::ALL.into_iter().map(Quirk::name);
    let profiles = Profile::ALL.into_iter().map(Profile::of_runs);
    let network = super::network::Counts::default();
    let network: BTreeSet<_> = network.faults().map(|(what, _)| what).collect();
    let named = met::ALL.iter().copied().chain(quirks).chain(profiles).chain(Shape::NAMES);
    named.chain(faults::names()).chain(disks).chain(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_shape_quirk_and_row_is_expected_under_one_name() {
        let expected = expected();
        let has = |prefix: &str| expected.iter().filter(|name| name.starts_with(prefix)).count();
        assert_eq!((has("partition: "), has("quirk: "), has("runs: ")), (7, Quirk::ALL.len(), 5));
        assert!(has("fault: ") >= 35, "{}", has("fault: "));
        let rows: BTreeSet<u64> = expected
            .iter()
            .filter_map(|name| name.strip_prefix("row ")?.split(':').next()?.parse().ok())
            .collect();
        let all: BTreeSet<u64> = (1..=22).filter(|row| *row != 17).collect();
        assert_eq!(rows, all, "a simulated directory has no lock, and every other row is reached");
    }
}
