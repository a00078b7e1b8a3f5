//! The numbered traps, each against one core.

use std::vec;
use std::vec::Vec;

use bytes::Bytes;

use super::super::*;
use super::cluster::{WALL, configuration};
use super::one::*;

#[test]
pub(super) fn trap_01_a_vote_leaves_only_when_it_is_on_disk() {
    let mut one = One::of(&[1, 2, 3], &[], 0, &[]);
    one.now = ET;
    let out = one.hear(N2, Message::Vote { term: 1, last: at(0, 1), transfer: false });
    assert_eq!(sent(&out), []);
    let vote = Some(HardState { term: 1, vote: Some(N2) });
    assert!(out.iter().any(|a| matches!(a, Action::Persist(p) if p.vote == vote)));
    let wall = WALL + ET / 1000;
    assert_eq!(sent(&one.sync()), [(N2, Message::VoteReply { term: 1, granted: true, wall })]);
    // In the same term nobody else gets it, and the same candidate gets it again.
    let refused = Message::VoteReply { term: 1, granted: false, wall };
    assert_eq!(
        sent(&one.hear(N3, Message::Vote { term: 1, last: at(0, 1), transfer: false })),
        [(N3, refused)]
    );
    let granted = Message::VoteReply { term: 1, granted: true, wall };
    assert_eq!(
        sent(&one.hear(N2, Message::Vote { term: 1, last: at(0, 1), transfer: false })),
        [(N2, granted)]
    );
}

#[test]
pub(super) fn trap_01_a_candidate_asks_and_counts_itself_only_when_its_vote_is_on_disk() {
    let mut one = One::of(&[1, 2, 3], &[], 0, &[]);
    one.pass(2 * ET);
    let out = one.hear(N2, Message::PreVoteReply { term: 1, granted: true });
    assert_eq!((sent(&out), one.raft.status().role), (vec![], Role::Candidate));
    // A vote that comes before our own counts, but is no majority without it.
    one.hear(N2, Message::VoteReply { term: 1, granted: true, wall: WALL });
    assert_eq!(one.raft.status().role, Role::Candidate);
    one.sync();
    assert_eq!(one.raft.status().role, Role::Leader);
}

#[test]
pub(super) fn trap_01_an_earlier_write_says_nothing_of_the_vote() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    one.hear(N2, append(1, at(0, 1), &[1], 1));
    one.pass(2 * ET);
    one.hear(N2, Message::PreVoteReply { term: 2, granted: true });
    assert_eq!(sent(&one.step(Event::Persisted { id: 1 })), []);
    let request = Message::Vote { term: 2, last: at(1, 2), transfer: false };
    assert_eq!(sent(&one.step(Event::Persisted { id: 2 })), [(N2, request.clone()), (N3, request)]);
}

#[test]
pub(super) fn trap_01_a_single_node_leads_and_commits_only_after_its_own_disk() {
    let mut one = One::of(&[1], &[], 0, &[]);
    one.pass(2 * ET);
    assert_eq!(one.raft.status().role, Role::Candidate);
    one.sync();
    assert_eq!((one.raft.status().role, one.raft.status().commit), (Role::Leader, 1));
    one.sync();
    assert_eq!(one.raft.status().commit, 2);
}

#[test]
pub(super) fn trap_01_an_acknowledgement_waits_for_the_term_too() {
    // The entries are on disk already; the term in which they are acknowledged is not.
    let mut one = One::of(&[1, 2, 3], &[], 1, &[1]);
    let out = one.hear(N2, append(2, at(1, 2), &[], 0));
    assert_eq!(sent(&out), []);
    let out = one.hear(N2, Message::Heartbeat { term: 2, round: 1, commit: 0 });
    assert_eq!(sent(&out), []);
    let out = sent(&one.sync());
    assert!(out.contains(&(N2, Message::AppendAccepted { term: 2, matched: 2 })));
    assert!(out.contains(&(N2, Message::HeartbeatReply { term: 2, round: 1, wall: WALL })));
}

#[test]
pub(super) fn trap_02_a_learner_votes_when_asked_and_never_asks() {
    let mut one = One::of(&[2, 3], &[1], 0, &[]);
    assert_eq!(sent(&one.pass(2 * ET)), []);
    assert_eq!(one.raft.status().role, Role::Follower);
    let out = one.hear(N2, Message::PreVote { term: 1, last: at(0, 1) });
    assert_eq!(sent(&out), [(N2, Message::PreVoteReply { term: 1, granted: true })]);
    one.hear(N2, Message::Vote { term: 1, last: at(0, 1), transfer: false });
    let out = sent(&one.sync());
    assert!(matches!(out[..], [(N2, Message::VoteReply { term: 1, granted: true, .. })]));
}

#[test]
pub(super) fn trap_03_a_pre_vote_changes_no_term_and_is_refused_explicitly() {
    let mut one = One::of(&[1, 2, 3], &[], 5, &[5]);
    one.now = ET;
    let ask = |one: &mut One, term, last| {
        let out = one.hear(N2, Message::PreVote { term, last });
        assert!(!out.iter().any(|a| matches!(a, Action::Persist(_))));
        assert_eq!(one.raft.hard, HardState { term: 5, vote: None });
        sent(&out).pop().unwrap().1
    };
    let reply = |term, granted| Message::PreVoteReply { term, granted };
    assert_eq!(ask(&mut one, 9, at(5, 2)), reply(9, true));
    assert_eq!(ask(&mut one, 9, at(4, 99)), reply(5, false));
    assert_eq!(ask(&mut one, 5, at(5, 2)), reply(5, false));
    assert_eq!(ask(&mut one, 3, at(5, 9)), reply(5, false));
}

#[test]
pub(super) fn trap_04_a_leader_of_an_earlier_term_is_answered_and_gives_way() {
    let mut stuck = One::of(&[1, 2, 3], &[], 7, &[]);
    let snapshot = meta(at(1, 9), &[1, 2, 3]);
    for message in [
        Message::Heartbeat { term: 6, round: 3, commit: 1 },
        append(6, at(0, 1), &[6], 1),
        chunk(6, &snapshot, 0, b"abcd"),
        Message::Vote { term: 6, last: at(9, 9), transfer: false },
    ] {
        let out = sent(&stuck.hear(N2, message.clone()));
        assert_eq!(out.iter().map(|(to, m)| (*to, m.term())).collect::<Vec<_>>(), [(N2, 7)], "{message:?}");
    }
    let mut leader = One::of(&[1, 2, 3], &[], 0, &[]);
    leader.lead();
    leader.hear(N2, Message::HeartbeatReply { term: 7, round: 3, wall: WALL });
    assert_eq!((leader.raft.status().role, leader.raft.status().term), (Role::Follower, 7));
}

#[test]
pub(super) fn trap_05_no_campaign_while_a_snapshot_is_being_installed() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    let snapshot = meta(at(1, 9), &[1, 2, 3]);
    installing(&mut one, 1, &snapshot);
    one.hear(N2, Message::TimeoutNow { term: 1 });
    assert_eq!(one.raft.status().role, Role::Follower, "not even when it is made way for");
    assert_eq!(sent(&one.pass(2 * ET)), []);
    assert_eq!(one.raft.status().role, Role::Follower);
    one.step(Event::SnapshotFailed { snapshot: snapshot.id });
    one.pass(2 * ET);
    assert_eq!(one.raft.status().role, Role::PreCandidate);
}

#[test]
pub(super) fn trap_06_stickiness_survives_a_restart() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    one.now = ET - 1;
    let out = one.hear(N2, Message::PreVote { term: 2, last: at(9, 9) });
    assert_eq!(sent(&out), [(N2, Message::PreVoteReply { term: 1, granted: false })]);
    assert_eq!(one.hear(N2, Message::Vote { term: 2, last: at(9, 9), transfer: false }), []);
    assert_eq!(one.raft.status().term, 1);
    one.now = ET;
    let out = one.hear(N2, Message::PreVote { term: 2, last: at(9, 9) });
    assert_eq!(sent(&out), [(N2, Message::PreVoteReply { term: 2, granted: true })]);
}

#[test]
pub(super) fn trap_06_who_hears_a_leader_elects_no_other() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    one.now = 5 * ET;
    one.hear(N2, Message::Heartbeat { term: 1, round: 1, commit: 0 });
    one.now += ET - 1;
    assert_eq!(one.hear(N3, Message::Vote { term: 2, last: at(9, 9), transfer: false }), []);
    one.now += 1;
    one.hear(N3, Message::Vote { term: 2, last: at(9, 9), transfer: false });
    assert_eq!(one.raft.hard, HardState { term: 2, vote: Some(N3) });
}

#[test]
pub(super) fn trap_07_a_leader_without_a_majority_goes_quiet() {
    let mut one = One::of(&[1, 2, 3], &[], 0, &[]);
    one.lead();
    one.now += ET / 2;
    one.hear(N2, Message::HeartbeatReply { term: 1, round: 0, wall: WALL });
    assert!(!sent(&one.pass(50_000)).is_empty(), "n2 was heard, and is asked again");
    for _ in 1..ET / 50_000 {
        assert!(!sent(&one.pass(50_000)).is_empty(), "it may answer yet");
    }
    let out = one.pass(50_000);
    assert_eq!(sent(&out), []);
    assert_eq!((one.raft.status().role, one.raft.status().leader), (Role::Follower, None));
}

#[test]
pub(super) fn trap_07_the_time_in_which_a_leader_was_held_up_is_not_the_others_silence() {
    let mut one = One::of(&[1, 2, 3], &[], 0, &[]);
    one.lead();
    one.pass(50_000);
    one.hear(N2, Message::HeartbeatReply { term: 1, round: 1, wall: WALL });
    assert!(!sent(&one.pass(10 * ET)).is_empty(), "nobody was asked meanwhile");
    one.hear(N2, Message::HeartbeatReply { term: 1, round: 2, wall: WALL });
    assert!(!sent(&one.pass(50_000)).is_empty());
    // Who was asked before has had the time to answer: its answer would have been taken before this wake-up.
    assert_eq!(sent(&one.pass(ET)), []);
    assert_eq!(one.raft.status().role, Role::Follower);
}

#[test]
pub(super) fn trap_08_the_election_timeout_is_drawn_anew_for_each_campaign() {
    let mut one = One::of(&[1, 2, 3], &[], 0, &[]);
    let mut draws = vec![];
    for _ in 0..8 {
        one.pass(2 * ET);
        draws.push(one.raft.election_after);
    }
    assert!(draws.iter().all(|d| (ET..2 * ET).contains(d)));
    draws.sort();
    draws.dedup();
    assert_eq!(draws.len(), 8);
    let mut other = One::with(Config::new(N2, 1), &[1, 2, 3], &[], 0, &[]);
    other.pass(2 * ET);
    assert_ne!(other.raft.election_after, draws[0], "the node's id is part of the draw");
}

#[test]
pub(super) fn trap_08_the_election_timeout_is_drawn_anew_for_each_leader() {
    let mut one = One::of(&[1, 2, 3], &[], 0, &[]);
    let mut draws = vec![];
    for term in 1..=8 {
        let heartbeat = Message::Heartbeat { term, round: 1, commit: 0 };
        one.hear(N2, heartbeat.clone());
        let draw = one.raft.election_after;
        one.hear(N2, heartbeat);
        assert_eq!(one.raft.election_after, draw, "a leader that is known changes nothing");
        draws.push(draw);
    }
    assert!(draws.iter().all(|d| (ET..2 * ET).contains(d)));
    draws.sort();
    draws.dedup();
    assert_eq!(draws.len(), 8);
}

#[test]
pub(super) fn trap_09_only_an_entry_of_the_own_term_commits_by_counting() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[1]);
    one.lead();
    one.hear(N2, Message::AppendAccepted { term: 2, matched: 2 });
    assert_eq!(one.raft.status().commit, 1, "2@1 is on a majority, and may be replaced all the same");
    one.hear(N2, Message::AppendAccepted { term: 2, matched: 3 });
    assert_eq!(one.raft.status().commit, 3);
}

#[test]
pub(super) fn trap_10_a_follower_commits_only_what_agrees() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[1, 1, 1]);
    // Our log goes on with 3@1 and 4@1, which this leader may not have.
    one.hear(N2, append(2, at(1, 2), &[], 4));
    assert_eq!(one.raft.status().commit, 2);
}

#[test]
pub(super) fn trap_10_a_heartbeat_tells_no_more_than_the_peer_has() {
    let mut one = One::of(&[1, 2, 3], &[], 0, &[]);
    one.lead();
    one.hear(N2, Message::AppendAccepted { term: 1, matched: 2 });
    assert_eq!(one.raft.status().commit, 2);
    let beats: Vec<_> = sent(&one.pass(50_000))
        .into_iter()
        .filter_map(|(to, m)| match m {
            Message::Heartbeat { commit, .. } => Some((to, commit)),
            _ => None,
        })
        .collect();
    assert_eq!(beats, [(N2, 2), (N3, 0)]);
}

#[test]
pub(super) fn trap_10_a_heartbeat_past_the_log_is_a_disk_that_forgot() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    let out = one.hear(N2, Message::Heartbeat { term: 1, round: 1, commit: 5 });
    assert!(out.contains(&Action::Halt(Fault::CommitBeyondLog { leader: N2, commit: 5, last: 1 })));
}

#[test]
pub(super) fn trap_11_only_what_conflicts_is_cut() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[1, 1, 1]);
    // A delayed, shorter append of the same entries cuts nothing.
    one.hear(N2, append(1, at(0, 1), &[1], 1));
    assert_eq!(one.raft.status().last, at(1, 4));
    one.hear(N2, append(2, at(1, 2), &[2], 1));
    assert_eq!(one.raft.status().last, at(2, 3));
}

#[test]
pub(super) fn trap_11_a_conflict_with_what_is_committed_is_a_fault() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[1, 1]);
    one.hear(N2, append(1, at(1, 3), &[], 3));
    let fault = Fault::CommittedConflict { leader: N3, ours: at(1, 3), theirs: at(2, 3) };
    let out = one.hear(N3, append(2, at(1, 2), &[2], 1));
    assert!(out.contains(&Action::Halt(fault.clone())));
    // Also when it is the position before the entries that contradicts.
    let mut one = One::of(&[1, 2, 3], &[], 1, &[1, 1]);
    one.hear(N2, append(1, at(1, 3), &[], 3));
    let out = one.hear(N3, append(2, at(2, 3), &[2], 1));
    assert!(out.contains(&Action::Halt(fault)));
    // From then on everybody is told so, and nothing else is done.
    let refused = Action::ProposalRefused { proposal: 9, reason: Refusal::Halted };
    assert_eq!(one.step(Event::Propose { proposal: 9, data: Bytes::new() }), [refused]);
    let aborted = Action::ReadAborted { read: 9, reason: Refusal::Halted };
    assert_eq!(one.step(Event::Read { read: 9 }), [aborted]);
    assert_eq!(one.pass(9 * ET), []);
}

#[test]
pub(super) fn trap_12_a_stale_rejection_is_not_minded() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[1, 1, 1]);
    one.lead();
    one.hear(N2, Message::AppendAccepted { term: 2, matched: 5 });
    // An entry is on its way to n2: were it set back, it would be sent again.
    one.step(Event::Propose { proposal: 1, data: Bytes::new() });
    let stale = Message::AppendRejected { term: 2, probed: 4, hint: at(0, 1) };
    assert_eq!(sent(&one.hear(N2, stale)), []);
    // Probing n3: an answer to another probe than the last does not count.
    let other = Message::AppendRejected { term: 2, probed: 3, hint: at(0, 1) };
    assert_eq!(sent(&one.hear(N3, other)), []);
    let answer = Message::AppendRejected { term: 2, probed: 4, hint: at(0, 1) };
    assert_eq!(sent(&one.hear(N3, answer.clone())).len(), 1);
    assert_eq!(sent(&one.hear(N3, answer)), []);
}

#[test]
pub(super) fn trap_13_a_write_that_a_truncation_overtook_acknowledges_nothing_past_it() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    one.hear(N2, append(1, at(0, 1), &[1, 1], 1));
    one.hear(N3, Message::Heartbeat { term: 2, round: 1, commit: 0 });
    one.hear(N3, append(2, at(0, 1), &[2, 2], 1));
    // The term is on disk, and so is what was cut off.
    let beat = Message::HeartbeatReply { term: 2, round: 1, wall: WALL };
    assert_eq!(sent(&one.step(Event::Persisted { id: 2 })), [(N3, beat)]);
    let out = sent(&one.step(Event::Persisted { id: 3 }));
    assert_eq!(out, [(N3, Message::AppendAccepted { term: 2, matched: 3 })]);
}

#[test]
pub(super) fn trap_14_a_lagging_commit_index_is_tolerated() {
    let recovered = |commit| Recovered {
        disk: DiskId(1),
        life: 1,
        vote: HardState { term: 2, vote: None },
        snapshot: Some(meta(at(1, 9), &[1, 2, 3])),
        entries: run(10, &[2, 2]),
        commit,
    };
    for (commit, expected) in [(0, 9), (10, 10), (99, 11)] {
        let raft = Raft::new(Config::new(ME, 1), recovered(commit), Now::default()).unwrap();
        assert_eq!((raft.status().commit, raft.status().applied), (expected, 9));
    }
}

#[test]
pub(super) fn trap_16_a_cut_restores_the_earlier_configuration() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    let grown = configuration(&[1, 2, 3, 4], &[]);
    let change = Entry { kind: EntryKind::Configuration, data: grown.to_cbor(), ..entry(2, 1) };
    let entries = [change].into_iter().collect();
    one.hear(N2, Message::Append { term: 1, previous: at(0, 1), entries, commit: 1 });
    assert_eq!(one.raft.configuration(), &grown);
    assert_eq!(one.raft.snapshot_point(1).unwrap().configuration, configuration(&[1, 2, 3], &[]));
    one.hear(N3, append(2, at(0, 1), &[2], 1));
    assert_eq!(one.raft.configuration(), &configuration(&[1, 2, 3], &[]));
}

#[test]
pub(super) fn trap_21_no_read_before_the_first_commit_of_the_term() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[1]);
    one.lead();
    assert_eq!(sent(&one.step(Event::Read { read: 1 })), []);
    // A round of heartbeats that leaves meanwhile proves leadership, but the commit index is not known yet.
    one.pass(50_000);
    let reply = |round| Message::HeartbeatReply { term: 2, round, wall: WALL };
    let out = one.hear(N2, reply(1));
    assert!(!out.iter().any(|a| matches!(a, Action::ReadReady { .. })));
    let out = one.hear(N2, Message::AppendAccepted { term: 2, matched: 3 });
    assert!(!out.iter().any(|a| matches!(a, Action::ReadReady { .. })));
    assert_eq!(one.hear(N2, reply(1)), []);
    assert_eq!(one.hear(N2, reply(2)), [Action::ReadReady { read: 1, index: 3 }]);
}

#[test]
pub(super) fn trap_21_reads_pending_at_a_role_change_are_aborted() {
    let mut one = One::of(&[1, 2, 3], &[], 0, &[]);
    one.lead();
    one.batch(vec![Event::Read { read: 1 }, Event::Read { read: 2 }]);
    let out = one.hear(N3, Message::Heartbeat { term: 9, round: 1, commit: 0 });
    let aborted: Vec<_> = out.iter().filter(|a| matches!(a, Action::ReadAborted { .. })).collect();
    assert_eq!(aborted.len(), 2);
    // An answer to the old term's round is nothing to the follower that it is now.
    assert_eq!(one.hear(N2, Message::HeartbeatReply { term: 1, round: 1, wall: WALL }), []);
}

#[test]
pub(super) fn trap_22_a_snapshot_at_or_below_the_commit_index_is_not_needed() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[1, 1, 1]);
    one.hear(N2, append(1, at(1, 4), &[], 3));
    let snapshot = meta(at(1, 3), &[1, 2, 3]);
    let out = one.hear(N2, chunk(1, &snapshot, 0, b"abcd"));
    let progress = SnapshotProgress::Installed(3);
    assert_eq!(
        out,
        [Action::Send {
            to: N2,
            message: Message::SnapshotReply { term: 1, snapshot: snapshot.id, progress }
        }]
    );
    // In the log, but not known to be committed: now it is.
    let snapshot = meta(at(1, 4), &[1, 2, 3]);
    let out = one.hear(N2, chunk(1, &snapshot, 0, b"abcd"));
    assert!(out.contains(&Action::Apply(run(4, &[1]))));
    assert!(!out.iter().any(|a| matches!(a, Action::WriteSnapshotChunk { .. })));
}

#[test]
pub(super) fn trap_22_a_snapshot_without_this_node_is_installed_and_means_no_removal() {
    // The design notes say to reject it. Counterexample: {2} adds this node and gives it a vote in one change. The change
    // commits only with this node's acknowledgement, and no snapshot can name this node before the change is committed.
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    let snapshot = meta(at(1, 9), &[2, 3]);
    installing(&mut one, 1, &snapshot);
    one.step(Event::SnapshotInstalled { snapshot: snapshot.id });
    assert_eq!((one.raft.status().commit, one.raft.configuration().voters.len()), (9, 2));
    assert!(!one.raft.is_removed());
    one.sync();
    assert_eq!(sent(&one.pass(2 * ET)), [], "it does not campaign");
    one.hear(N2, Message::Append { term: 1, previous: at(1, 9), entries: added(10, 1), commit: 10 });
    assert!(one.raft.configuration().is_voter(ME));
}

/// An entry that makes nodes 1 to 3 voters.
fn added(index: LogIndex, term: Term) -> Entries {
    let data = configuration(&[1, 2, 3], &[]).to_cbor();
    [Entry { kind: EntryKind::Configuration, data, ..entry(index, term) }].into_iter().collect()
}

#[test]
pub(super) fn trap_22_a_snapshot_replaces_a_log_that_lacks_it() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[1, 1]);
    let snapshot = meta(at(2, 3), &[1, 2, 3]);
    installing(&mut one, 2, &snapshot);
    one.sync();
    let out = one.step(Event::SnapshotInstalled { snapshot: snapshot.id });
    let switch = SnapshotSwitch { snapshot: snapshot.clone(), keeps_suffix: false };
    assert!(out.contains(&Action::SwitchSnapshot { snapshot: Box::new(snapshot.clone()) }));
    assert!(
        out.iter().any(|a| matches!(a, Action::Persist(p) if p.snapshot == Some(Box::new(switch.clone()))))
    );
    assert!(!out.iter().any(|a| matches!(a, Action::Apply(_))));
    assert_eq!(sent(&out), [], "not before it is on disk");
    assert_eq!((one.raft.status().last, one.raft.status().applied), (at(2, 3), 3));
    let progress = SnapshotProgress::Installed(3);
    let reply = Message::SnapshotReply { term: 2, snapshot: snapshot.id, progress };
    assert!(sent(&one.sync()).contains(&(N2, reply)));
}

#[test]
pub(super) fn trap_22_a_log_that_caught_up_meanwhile_keeps_its_suffix() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    let snapshot = meta(at(1, 3), &[1, 2, 3]);
    installing(&mut one, 1, &snapshot);
    one.hear(N2, append(1, at(0, 1), &[1, 1, 1], 1));
    let out = one.step(Event::SnapshotInstalled { snapshot: snapshot.id });
    let switch = SnapshotSwitch { snapshot: snapshot.clone(), keeps_suffix: true };
    assert!(
        out.iter().any(|a| matches!(a, Action::Persist(p) if p.snapshot == Some(Box::new(switch.clone()))))
    );
    assert_eq!((one.raft.status().last, one.raft.status().applied), (at(1, 4), 3));
    // Or it is not needed at all.
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    installing(&mut one, 1, &snapshot);
    one.hear(N2, append(1, at(0, 1), &[1, 1, 1], 4));
    let out = one.step(Event::SnapshotInstalled { snapshot: snapshot.id });
    assert_eq!(out, [Action::DropSnapshot { snapshot: snapshot.id }]);
}

#[test]
pub(super) fn trap_22_a_second_snapshot_during_the_first() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    let (first, second) = (meta(at(1, 5), &[1, 2, 3]), meta(at(1, 9), &[1, 2, 3]));
    one.hear(N2, chunk(1, &first, 0, b"ab"));
    let out = one.hear(N2, chunk(1, &second, 0, b"ab"));
    assert!(out.contains(&Action::DropSnapshot { snapshot: first.id }));
    // Delayed chunks and completions of the first change nothing.
    assert_eq!(one.hear(N2, chunk(1, &first, 0, b"ab")), []);
    assert_eq!(one.step(Event::SnapshotChunkWritten { snapshot: first.id, written: 2 }), []);
    // One that is being installed is not given up for another.
    one.hear(N2, chunk(1, &second, 2, b"cd"));
    one.step(Event::SnapshotChunkWritten { snapshot: second.id, written: 4 });
    assert_eq!(one.hear(N2, chunk(1, &meta(at(1, 12), &[1, 2, 3]), 0, b"ab")), []);
    let out = one.step(Event::SnapshotInstalled { snapshot: second.id });
    assert!(out.contains(&Action::SwitchSnapshot { snapshot: Box::new(second) }));
}

#[test]
pub(super) fn trap_22_chunks_are_taken_in_order() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    let snapshot = meta(at(1, 5), &[1, 2, 3]);
    let reply = |offset| {
        let progress = SnapshotProgress::Written(offset);
        let message = Message::SnapshotReply { term: 1, snapshot: snapshot.id, progress };
        Action::Send { to: N2, message }
    };
    assert!(one.hear(N2, chunk(1, &snapshot, 2, b"cd")).contains(&reply(0)));
    one.hear(N2, chunk(1, &snapshot, 0, b"ab"));
    assert_eq!(one.hear(N2, chunk(1, &snapshot, 0, b"ab")), [reply(0)]);
    assert_eq!(one.step(Event::SnapshotChunkWritten { snapshot: snapshot.id, written: 2 }), [reply(2)]);
    assert_eq!(one.hear(N2, chunk(1, &snapshot, 2, b"cdefg")), [reply(2)], "longer than the file");
}

#[test]
pub(super) fn trap_24_a_snapshot_is_taken_of_what_is_applied_and_never_twice() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[1, 1, 1]);
    one.hear(N2, append(1, at(1, 4), &[], 3));
    let out = one.step(Event::Snapshotted { snapshot: Box::new(meta(at(1, 3), &[1, 2, 3])) });
    assert!(matches!(&out[..], [Action::Persist(p)] if p.snapshot.as_ref().is_some_and(|s| s.keeps_suffix)));
    assert_eq!(one.step(Event::Snapshotted { snapshot: Box::new(meta(at(1, 3), &[1, 2, 3])) }), []);
    assert_eq!(one.step(Event::Snapshotted { snapshot: Box::new(meta(at(1, 2), &[1, 2, 3])) }), []);
    let out = one.step(Event::Snapshotted { snapshot: Box::new(meta(at(1, 4), &[1, 2, 3])) });
    assert!(matches!(out[..], [Action::Halt(Fault::Contract(_))]));
}

#[test]
pub(super) fn trap_22_what_precedes_a_switch_is_a_write_of_its_own() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    let snapshot = meta(at(1, 3), &[1, 2, 3]);
    installing(&mut one, 1, &snapshot);
    one.out.clear();
    let append = Event::Receive { from: N2, message: append(1, at(0, 1), &[1, 1, 1], 1) };
    one.batch(vec![append, Event::SnapshotInstalled { snapshot: snapshot.id }]);
    let write = |action: &Action| match action {
        Action::Persist(p) => Some((p.snapshot.is_some(), p.entries.len())),
        _ => None,
    };
    assert!(one.out.iter().filter_map(write).eq([(false, 3), (true, 0)]));
}

#[test]
pub(super) fn trap_22_a_new_leader_needs_nobodys_snapshot() {
    let mut one = One::of(&[1, 2, 3], &[], 0, &[]);
    let snapshot = meta(at(0, 9), &[1, 2, 3]);
    one.hear(N2, chunk(0, &snapshot, 0, b"ab"));
    one.pass(2 * ET);
    one.hear(N2, Message::PreVoteReply { term: 1, granted: true });
    one.sync();
    let out = one.hear(N2, Message::VoteReply { term: 1, granted: true, wall: WALL });
    assert!(out.contains(&Action::DropSnapshot { snapshot: snapshot.id }));
    // Also one that is being installed is no leader's business.
    let mut one = One::of(&[1, 2, 3], &[], 0, &[]);
    one.hear(N2, chunk(0, &snapshot, 0, b"abcd"));
    one.pass(2 * ET);
    one.hear(N2, Message::PreVoteReply { term: 1, granted: true });
    one.step(Event::SnapshotChunkWritten { snapshot: snapshot.id, written: 4 });
    one.sync();
    one.hear(N2, Message::VoteReply { term: 1, granted: true, wall: WALL });
    let out = one.step(Event::SnapshotInstalled { snapshot: snapshot.id });
    assert_eq!(out, [Action::DropSnapshot { snapshot: snapshot.id }]);
}

#[test]
pub(super) fn trap_21_an_answer_to_a_round_that_never_left_confirms_nothing() {
    let mut one = One::of(&[1, 2, 3], &[], 0, &[]);
    one.lead();
    one.hear(N2, Message::AppendAccepted { term: 1, matched: 2 });
    one.hear(N2, Message::HeartbeatReply { term: 1, round: 99, wall: WALL });
    let out = one.step(Event::Read { read: 1 });
    assert!(!out.iter().any(|a| matches!(a, Action::ReadReady { .. })));
}

/// A member leads term 1, sends round 1, leads again in term 2. Its first heartbeat was on its way all the time: the answer
/// carries term 2, but says nothing of the round 1 of that term, which leaves later.
#[test]
pub(super) fn trap_21_an_answer_to_a_heartbeat_of_an_earlier_term_confirms_no_round_of_this_one() {
    let mut follower = One::of(&[1, 2, 3], &[], 2, &[1]);
    let answers = sent(&follower.hear(N2, Message::Heartbeat { term: 1, round: 1, commit: 1 }));
    let [(N2, answer)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(answer.term(), 2);

    let mut leader = One::of(&[1, 2, 3], &[], 1, &[1]);
    leader.lead();
    leader.hear(N2, Message::AppendAccepted { term: 2, matched: 3 });
    leader.step(Event::Read { read: 1 });
    assert_eq!(leader.hear(N2, answer.clone()), []);
    let out = leader.hear(N3, Message::HeartbeatReply { term: 2, round: 1, wall: WALL });
    assert_eq!(out, [Action::ReadReady { read: 1, index: 3 }]);
}
