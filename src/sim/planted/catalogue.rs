//! The bugs, by room. To add one: a line here, and `planted!("its-name")` at its one place.

use super::Bug;
use super::Room::{self, Clerk, Gateway, Kv, Node, Raft, Replica, Storage};

const fn bug(name: &'static str, room: Room, what: &'static str, expects: &'static str) -> Bug {
    Bug { name, room, what, expects }
}

/// Every planted bug: its name, its room, what goes wrong, and whose alarm is expected first (a hint, no more: another
/// checker may see a consequence earlier).
#[rustfmt::skip]
pub(super) const ALL: &[Bug] = &[
    // Elections.
    bug("vote-twice", Raft, "a voter grants its vote of one term to every candidate that asks", "election safety"),
    bug("vote-is-forgotten", Raft, "the vote record on disk names the term and not who got the vote", "persistence"),
    bug("vote-leaves-before-sync", Raft, "a vote is granted, and asked for, before it is on disk", "persistence"),
    bug("any-log-is-elected", Raft, "a vote is granted whatever the candidate's log lacks", "leader completeness"),
    bug("longest-log-is-elected", Raft, "the longer log wins a vote, also when its last term is older", "leader completeness"),
    bug("earlier-term-is-heard", Raft, "a message of an earlier term counts as one of this term", "election safety"),
    bug("stale-leader-is-unanswered", Raft, "a leader of an earlier term is not told of the later one", "liveness"),
    bug("half-is-a-majority", Raft, "of an even number of voters one half suffices to commit", "majority persistence"),
    bug("own-vote-is-not-recorded", Raft, "a candidate's vote for itself is not in its vote record: restarted it votes again in that term, and acknowledged writes are lost", "election safety"),
    // Replication and commitment.
    bug("earlier-term-is-counted", Raft, "an entry of an earlier term commits by being on a majority (figure 8)", "leader completeness"),
    bug("own-disk-is-not-awaited", Raft, "a leader counts itself for entries that its disk does not have", "majority persistence"),
    bug("ack-before-sync", Raft, "a follower acknowledges entries that are on their way to its disk", "persistence"),
    bug("overtaken-write-counts", Raft, "a write of entries that were cut counts for those that replaced them", "persistence"),
    bug("conflict-is-kept", Raft, "entries that conflict with the leader's are not cut", "log matching"),
    bug("append-always-truncates", Raft, "a late, short append cuts what came after it", "leader completeness"),
    bug("previous-is-not-compared", Raft, "an append is taken whatever term the entry before it has", "log matching"),
    bug("append-agrees-past-its-end", Raft, "a follower acknowledges its whole log, not what the append reached", "log matching"),
    bug("append-commits-past-its-end", Raft, "an append commits what follows its own entries", "state machine safety"),
    bug("heartbeat-commits-too-far", Raft, "a heartbeat tells a commit index that the peer may not have", "state machine safety"),
    bug("cluster-clock-restarts", Raft, "each leader counts the cluster's time from zero", "liveness"),
    bug("agreement-outlives-its-term", Raft, "what agreed with the last leader's log is acknowledged to the next leader: it commits, and loses, what is on no majority", "majority persistence"),
    bug("cut-run-is-remembered", Raft, "a run of entries is handed out of the cache after the log was cut below its end: replicas diverge", "log matching"),
    bug("recovery-commits-the-whole-log", Raft, "a restarted node takes all of its log for committed: it applies what is replaced later", "state machine safety"),
    // Members.
    bug("changes-overlap", Raft, "a second change begins before the first is done", "trap 15"),
    bug("cut-configuration-stays", Raft, "a configuration outlives the entry that it came in", "trap 16"),
    bug("removed-node-never-campaigns", Raft, "who is removed by an uncommitted entry does not campaign: it may have the only log that can commit it", "trap 19"),
    // Reads.
    bug("read-without-a-round", Raft, "a leader answers reads before anybody confirms that it leads", "linearizability"),
    bug("older-round-confirms-read", Raft, "a round that left before the read confirms it (a reused read context)", "linearizability"),
    bug("stale-round", Raft, "the answer to a heartbeat of an earlier term confirms the round of that number in this one", "linearizability"),
    bug("read-before-the-no-op", Raft, "a new leader reads at a commit index that may be too low", "linearizability"),
    bug("round-outlives-its-batch", Replica, "a read joins a round that left in an earlier batch: it misses what another leader committed since", "linearizability"),
    bug("read-outlives-its-leader", Raft, "reads that wait when a leader steps down are answered by what it has", "linearizability"),
    // Snapshots in the core.
    bug("snapshot-matches-by-index", Raft, "a snapshot commits our entries up to its index, whatever their terms", "state machine safety"),
    bug("snapshot-sets-state-back", Raft, "a snapshot that the log has overtaken is switched to", "monotony"),
    bug("snapshot-acked-before-sync", Raft, "a snapshot counts as installed before the log on disk names it", "persistence"),
    bug("transfer-never-starts-over", Raft, "a leader does not hear that a receiver has lost its part of a snapshot: the follower never catches up", "liveness"),
    bug("install-drops-the-suffix", Raft, "an installed snapshot drops acknowledged entries that follow it: an acknowledged write may be lost", "persistence"),
    // Sessions and replies.
    bug("snapshot-without-sessions", Replica, "snapshots hold the state and forget the sessions", "state machine safety"),
    bug("session-is-evicted", Replica, "a new session takes the place of a live one", "sessions"),
    bug("only-last-reply-is-kept", Replica, "a session remembers its last command only", "exactly once"),
    bug("acked-command-runs-again", Replica, "a number below a session's floor is run", "exactly once"),
    bug("reply-of-another", Replica, "a command that comes again gets the session's oldest reply", "linearizability"),
    bug("reply-by-index-alone", Replica, "the reply of the entry that replaced a client's is taken for its own", "linearizability"),
    bug("floor-drops-its-own-reply", Replica, "raising a session's floor drops the reply at the floor too: its command runs twice when it comes again", "exactly once"),
    bug("kept-bytes-never-shrink", Replica, "acknowledged replies count on against the session's space: a long session is refused for ever", "liveness"),
    bug("live-session-expires", Replica, "a session in use keeps its first due time: it expires under its client, on nodes that loaded a snapshot later", "state machine safety"),
    bug("passed-write-is-refused", Replica, "a write whose index a leader's snapshot has passed is answered as not done, and may be done", "linearizability"),
    bug("set-nx-get-overwrites", Kv, "SET NX GET answers the old value of a key and overwrites it all the same", "linearizability"),
    bug("append-digests-from-its-end", Kv, "an APPEND over a block's edge falsifies the digest: snapshots are refused, and sound nodes stop as diverged", "refusal"),
    bug("scan-skips-its-cursor", Kv, "SCAN goes on behind the place of its cursor: a key that was there all the time is not returned", "linearizability"),
    bug("mset-stops-half-way", Kv, "MSET leaves out the rest when it meets a key that is there", "linearizability"),
    bug("dead-keys-are-read", Kv, "a key lives on after its deadline until it is taken out", "linearizability"),
    bug("snapshot-without-deadlines", Kv, "a state that was loaded from a snapshot forgets when its keys die: they stay, and nodes differ", "state machine safety"),
    bug("exec-ignores-watch", Kv, "EXEC runs though a watched key has changed", "linearizability"),
    // The disk.
    bug("vote-is-not-synced", Storage, "the vote record is written and not synced", "persistence"),
    bug("vote-file-is-emptied", Storage, "the vote file is emptied before the next vote is written to it", "refusal"),
    bug("vote-of-the-last-slot", Storage, "recovery takes the last record of the vote file for the newest", "durability"),
    bug("log-is-not-synced", Storage, "a record of the log is reported done and not synced", "durability"),
    bug("directory-is-not-synced", Storage, "a new segment's name is not synced", "durability"),
    bug("snapshot-is-not-synced", Storage, "a snapshot is renamed before its bytes are synced", "refusal"),
    bug("removal-before-the-switch", Storage, "old segments and snapshots go before the new snapshot is durable", "refusal"),
    bug("torn-record-is-whole", Storage, "recovery takes a record whose checksum does not fit", "durability"),
    bug("tail-is-not-rewritten", Storage, "recovery trusts bytes that may be in memory only", "durability"),
    bug("recovery-keeps-what-was-cut", Storage, "recovery keeps entries that a later record replaced", "log matching"),
    bug("snapshot-covers-one-less", Storage, "recovery keeps the entry that the snapshot ends with", "refusal"),
    bug("failed-sync-is-ignored", Node, "a failed sync counts as done", "durability"),
    bug("segment-goes-one-entry-early", Storage, "a segment is removed that still has the first entry after the snapshot: the next start is refused", "refusal"),
    bug("record-vouches-for-itself", Storage, "a record of the log says of itself that it is synced: torn by a power cut it forbids the next start", "refusal"),
    bug("recovery-keeps-the-suffix", Storage, "recovery keeps entries that a snapshot of another history replaced: the start is refused, or the log conflicts", "refusal"),
    // Between nodes.
    bug("wiped-disk-is-welcome", Node, "another disk under a member's id is let in", "fencing"),
    bug("rolled-back-disk-is-welcome", Node, "a directory that was set back is let in", "durability"),
    bug("forward-is-sent-twice", Node, "a write that may have reached a lost leader is sent to the next", "exactly once"),
    bug("lost-forward-is-refused", Node, "a write that may have reached a lost leader is answered as not done", "linearizability"),
    bug("forward-of-an-earlier-term-is-taken", Node, "a forward that its sender has given up is carried out in a later term, after what the client wrote since", "linearizability"),
    bug("pipeline-goes-on-after-a-refusal", Node, "writes behind a refused one of their pipeline are done: it is half applied", "pipelines"),
    bug("uncommitted-ack-is-remembered", Node, "acknowledged entries that never committed count as proved: a node whose log was rightly cut is fenced", "fencing"),
    bug("failed-handshake-is-not-redialled", Node, "a connection that breaks during its handshake is never dialled again: the two nodes stay apart", "liveness"),
    // Between clients and nodes.
    bug("read-overtakes-write", Gateway, "a read does not wait for its connection's writes", "linearizability"),
    bug("replies-in-order-of-arrival", Gateway, "replies leave in the order in which they come", "linearizability"),
    bug("undetermined-is-try-again", Gateway, "a command that may be done is answered as not done", "linearizability"),
    bug("write-overtakes-read", Gateway, "a write does not wait for its connection's reads: a GET answers what was SET after it", "linearizability"),
    bug("refusal-never-ends", Gateway, "the epoch stays the same after a refusal: the connection's writes are refused for ever", "liveness"),
    bug("exec-runs-after-a-failed-queue", Gateway, "EXEC runs the others when a command could not be queued", "transactions"),
    bug("multi-forgets-a-command", Gateway, "the third command behind MULTI is answered QUEUED and forgotten", "linearizability"),
    bug("discard-keeps-watching", Gateway, "DISCARD forgets the commands and goes on watching: the next EXEC is given up for keys of which its client knows nothing", "linearizability"),
    bug("refused-watch-is-no-refusal", Gateway, "an EXEC runs behind a WATCH of its pipeline that was refused: nothing is watched", "pipelines"),
    bug("plain-write-is-sent-again", Clerk, "a write without a session is sent again when its connection breaks", "exactly once"),
    bug("timeout-is-failure", Clerk, "a write that may be done is reported as not done at its deadline", "linearizability"),
    bug("late-reply-to-the-next", Clerk, "the reply of a call that was given up goes to the next one", "linearizability"),
    bug("number-is-reused", Clerk, "a call gets the number of another one that is under way", "linearizability"),
    bug("expired-write-runs-again", Clerk, "a write of an expired session is sent in the next one", "exactly once"),
    bug("refusal-clears-earlier-doubt", Clerk, "a sending that was refused clears the doubt about an earlier one: a write that may be done is reported as not done, or done twice", "exactly once"),
    bug("awaited-reply-is-acknowledged", Clerk, "a write acknowledges all numbers below its own, also those whose replies are awaited: their outcomes are lost", "sessions"),
];

/// Guards of the traps of RAFT.md whose own tests fail without them. The simulator is not asked to find these: most of them
/// cost time and not safety, or something else stands behind them.
#[rustfmt::skip]
pub(super) const GUARDS: &[Bug] = &[
    bug("change-before-an-own-entry", Raft, "a leader changes the membership before it knows what is committed", "trap 15"),
    bug("joint-is-not-left", Raft, "a joint configuration stays for ever", "trap 17"),
    bug("switch-counts-nothing-anew", Raft, "what another majority has agreed on waits for the next message", "trap 18"),
    bug("hopeless-change-is-made", Raft, "a change that could never commit is made", "trap 20"),
    bug("successor-lacks-entries", Raft, "a successor is told to campaign before it has the whole log", "transfer"),
    bug("fresh-disk-inherits-a-vote", Raft, "a node with a new disk has the vote that its old disk had", "trap 25"),
    bug("stranger-counts", Node, "the word of a disk that is no member's counts as that of the member of its id", "trap 25"),
    bug("learner-refuses-its-vote", Raft, "who believes that it has no vote gives none, and the newer configuration that says otherwise cannot elect", "trap 2"),
    bug("pre-vote-takes-its-term", Raft, "a pre-vote takes its receiver into the next term", "trap 3"),
    bug("pre-vote-is-refused-by-silence", Raft, "a refused pre-vote is not answered: a candidate of an earlier term never learns ours", "trap 3"),
    bug("installing-node-campaigns", Raft, "a node that is installing a snapshot campaigns", "trap 5"),
    bug("restart-forgets-loyalty", Raft, "a restarted voter elects another leader at once", "trap 6"),
    bug("cut-off-leader-stays", Raft, "a leader that hears from no majority goes on beating", "trap 7"),
    bug("election-timeout-is-drawn-once", Raft, "two nodes that collide once collide for ever", "trap 8"),
    bug("committed-conflict-is-cut", Raft, "a leader's log cuts what is committed here", "trap 11"),
    bug("stale-rejection-is-minded", Raft, "a late rejection sets a peer back", "trap 12"),
    bug("recovered-commit-lags-the-snapshot", Raft, "a commit index on disk that lags the snapshot is taken as it is", "trap 14"),
    bug("query-of-another-life-is-answered", Raft, "the answer to a query of an earlier life answers one of this life", "trap 21"),
    bug("lease-outlives-a-transfer", Raft, "a lease holds while another node is told to take over", "leases"),
    bug("stopping-leader-keeps-its-office", Node, "a leader that stops leaves the others to an election", "graceful stop"),
    bug("snapshots-ignore-their-size", Replica, "a large state is saved again after every few entries", "trap 24"),
    bug("founding-ignores-another-cluster", Node, "a founder that belongs to a cluster already does not stop a second founding", "trap 25"),
    bug("unformed-founder-counts-as-formed", Node, "a founder campaigns before all of them are known to have the founding in writing", "trap 25"),
];
