//! Changes of the membership and transfers of leadership, each rule against one core.

use std::vec;
use std::vec::Vec;

use bytes::Bytes;

use super::super::*;
use super::cluster::{WALL, configuration, member};
use super::one::*;

const N4: NodeId = NodeId(4);

fn add(id: NodeId) -> MemberChange {
    MemberChange::AddLearner { id, member: member(id.0) }
}

fn change(steps: Vec<MemberChange>) -> Event {
    Event::Reconfigure { proposal: 1, change: Change::all(steps) }
}

fn forced(steps: Vec<MemberChange>) -> Event {
    Event::Reconfigure { proposal: 1, change: Change { force: true, ..Change::all(steps) } }
}

/// How the change was answered.
fn answer(out: &[Action]) -> Result<LogIndex, Refusal> {
    let answer = |action: &Action| match action {
        Action::Proposed { index, .. } => Some(Ok(*index)),
        Action::ProposalRefused { reason, .. } => Some(Err(*reason)),
        _ => None,
    };
    out.iter().find_map(answer).expect("every change is answered in its step")
}

/// A leader of `voters` and `learners`, nodes 1 to 4, all of whose log is committed and acknowledged.
fn leader(voters: &[u64], learners: &[u64]) -> One {
    let mut one = One::of(voters, learners, 0, &[]);
    one.lead();
    acknowledge(&mut one);
    assert_eq!(one.raft.status().commit, 2);
    one
}

/// Everybody has the leader's whole log, and so has its own disk.
fn acknowledge(one: &mut One) -> Vec<Action> {
    one.sync();
    let (term, matched) = (one.raft.status().term, one.raft.status().last.index);
    let peers = one.raft.matched().map(|(id, _)| id).collect::<Vec<_>>();
    peers.into_iter().flat_map(|id| one.hear(id, Message::AppendAccepted { term, matched })).collect()
}

fn voters(one: &One) -> Vec<u64> {
    one.raft.configuration().voters.iter().map(|id| id.0).collect()
}

/// Follows n2 in term 1; after the founding entry its log holds `changed`, which is on disk and not known to be committed.
fn with_uncommitted(founders: &[u64], changed: &Configuration) -> One {
    let mut one = One::of(founders, &[], 1, &[]);
    let entry = Entry { kind: EntryKind::Configuration, data: changed.to_cbor(), ..entry(2, 1) };
    let entries = [entry].into_iter().collect();
    one.hear(N2, Message::Append { term: 1, previous: at(0, 1), entries, commit: 1 });
    one.sync();
    one
}

#[test]
pub(super) fn trap_15_no_change_before_an_entry_of_the_own_term_is_committed() {
    let mut one = One::of(&[1, 2, 3], &[], 0, &[]);
    one.lead();
    assert_eq!(answer(&one.step(change(vec![add(N4)]))), Err(Refusal::Change(ChangeRefused::TooEarly)));
    acknowledge(&mut one);
    assert_eq!(answer(&one.step(change(vec![add(N4)]))), Ok(3));
}

#[test]
pub(super) fn trap_15_one_change_at_a_time() {
    let mut one = leader(&[1, 2, 3], &[]);
    assert_eq!(answer(&one.step(change(vec![add(N4)]))), Ok(3));
    let under_way = |index| Err(Refusal::Change(ChangeRefused::UnderWay { index }));
    assert_eq!(answer(&one.step(change(vec![MemberChange::Remove(N3)]))), under_way(3));
    acknowledge(&mut one);
    // Promoted and removed at once: both halves decide until the change is left, and that is a second entry.
    let steps = vec![MemberChange::Promote(N4), MemberChange::Remove(N3)];
    assert_eq!(answer(&one.step(change(steps))), Ok(4));
    assert!(one.raft.configuration().is_joint());
    assert_eq!(answer(&one.step(change(vec![MemberChange::Remove(N2)]))), under_way(4));
    acknowledge(&mut one);
    assert!(!one.raft.configuration().is_joint());
    assert_eq!(answer(&one.step(change(vec![MemberChange::Remove(N2)]))), under_way(5));
    acknowledge(&mut one);
    assert_eq!(answer(&one.step(change(vec![MemberChange::Remove(N2)]))), Ok(6));
}

#[test]
fn who_does_not_lead_changes_nothing_and_hands_nothing_over() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    one.hear(N2, append(1, at(0, 1), &[], 1));
    assert_eq!(answer(&one.step(change(vec![add(N4)]))), Err(Refusal::NotLeader(Some(N2))));
    let outcome = Err(TransferFailed::NotLeader(Some(N2)));
    let out = one.step(Event::Transfer { transfer: 7, to: None });
    assert_eq!(out, [Action::TransferEnded { transfer: 7, outcome }]);
}

#[test]
pub(super) fn trap_16_a_new_member_gets_the_log_from_where_it_is_appended() {
    let mut one = leader(&[1, 2, 3], &[]);
    let out = sent(&one.step(change(vec![add(N4)])));
    assert!(out.iter().any(|(to, message)| *to == N4 && matches!(message, Message::Append { .. })));
}

#[test]
pub(super) fn trap_16_snapshots_hold_only_what_is_committed() {
    let mut one = leader(&[1, 2, 3], &[]);
    one.step(change(vec![add(N4)]));
    assert_eq!(one.raft.snapshot_point(2).unwrap().configuration, configuration(&[1, 2, 3], &[]));
    assert_eq!(one.raft.snapshot_point(3), None);
    acknowledge(&mut one);
    assert_eq!(one.raft.snapshot_point(3).unwrap().configuration, configuration(&[1, 2, 3], &[4]));
}

#[test]
pub(super) fn trap_17_a_new_leader_leaves_the_joint_configuration_that_it_finds() {
    let mut joint = configuration(&[1, 2, 3], &[4]);
    joint.voters = [1, 2, 4].map(NodeId).into();
    joint.outgoing = [1, 2, 3].map(NodeId).into();
    joint.learners_next = [N3].into();
    joint.auto_leave = true;
    let mut recovered = Recovered::formed(DiskId(1), &configuration(&[1, 2, 3], &[4]));
    recovered.vote.term = 1;
    let entry = Entry { kind: EntryKind::Configuration, data: joint.to_cbor(), ..entry(2, 1) };
    recovered.entries = recovered.entries.iter().cloned().chain([entry]).collect();
    let raft = Raft::new(Config::new(ME, 1), recovered, crate::time::Now::new(0, WALL)).unwrap();
    let mut one = One { raft, now: 0, out: vec![] };
    assert_eq!(one.raft.configuration(), &joint);
    one.lead();
    // A majority of the new half alone decides nothing.
    one.hear(N4, Message::AppendAccepted { term: 2, matched: 3 });
    assert_eq!(one.raft.status().commit, 1);
    one.hear(N2, Message::AppendAccepted { term: 2, matched: 3 });
    assert_eq!((one.raft.status().commit, one.raft.status().last.index), (3, 4));
    assert_eq!(one.raft.configuration(), &configuration(&[1, 2, 4], &[3]));
}

#[test]
fn an_explicit_joint_configuration_is_left_when_told() {
    let mut one = leader(&[1, 2, 3], &[4]);
    let steps = vec![MemberChange::Promote(N4), MemberChange::Remove(N3)];
    acknowledge(&mut one);
    let change = Change { auto_leave: false, ..Change::all(steps) };
    one.step(Event::Reconfigure { proposal: 1, change });
    acknowledge(&mut one);
    assert!(one.raft.configuration().is_joint());
    let leave = Event::Reconfigure { proposal: 2, change: Change::leave() };
    assert_eq!(answer(&one.step(leave.clone())), Ok(4));
    assert_eq!(voters(&one), [1, 2, 4]);
    acknowledge(&mut one);
    assert_eq!(answer(&one.step(leave)), Err(Refusal::Change(ChangeRefused::NoChange)));
}

#[test]
pub(super) fn trap_18_a_switch_counts_what_is_acknowledged_anew() {
    let mut one = leader(&[1, 2, 3, 4], &[]);
    one.step(Event::Propose { proposal: 1, data: Bytes::new() });
    one.sync();
    one.hear(N2, Message::AppendAccepted { term: 1, matched: 3 });
    assert_eq!(one.raft.status().commit, 2, "two of four");
    assert_eq!(answer(&one.step(change(vec![MemberChange::Remove(N4)]))), Ok(4));
    assert_eq!(one.raft.status().commit, 3, "two of three");
}

#[test]
pub(super) fn trap_18_a_switch_confirms_reads_anew() {
    let mut one = leader(&[1, 2, 3, 4], &[]);
    one.step(Event::Read { read: 9 });
    let round = match &one.raft.state {
        State::Leader(lead) => lead.round,
        _ => 0,
    };
    one.hear(N2, Message::HeartbeatReply { term: 1, round, wall: WALL });
    let out = one.step(change(vec![MemberChange::Remove(N4)]));
    assert!(out.contains(&Action::ReadReady { read: 9, index: 2 }), "two of three have answered");
}

#[test]
pub(super) fn trap_18_leadership_goes_to_nobody_who_is_on_his_way_out() {
    let mut one = leader(&[1, 2, 3], &[4]);
    let steps = vec![MemberChange::Promote(N4), MemberChange::Remove(N3)];
    one.step(change(steps));
    let out = one.step(Event::Transfer { transfer: 7, to: Some(N3) });
    assert!(out.contains(&Action::TransferEnded { transfer: 7, outcome: Err(TransferFailed::NotVoter(N3)) }));
    // And while it is on its way to somebody, nobody is removed.
    one.step(Event::Transfer { transfer: 8, to: Some(N2) });
    assert_eq!(answer(&one.step(change(vec![MemberChange::Remove(N2)]))), Err(Refusal::Transferring(N2)));
}

#[test]
pub(super) fn trap_19_a_removed_node_campaigns_while_its_removal_may_be_undone() {
    let mut one = with_uncommitted(&[1, 2, 3], &configuration(&[2, 3], &[]));
    let out = sent(&one.pass(2 * ET));
    assert_eq!(out.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [N2, N3]);
    // It does not count itself: one of the two is no majority of them.
    one.hear(N2, Message::PreVoteReply { term: 2, granted: true });
    assert_eq!(one.raft.status().role, Role::PreCandidate);
    one.hear(N3, Message::PreVoteReply { term: 2, granted: true });
    assert_eq!(one.raft.status().role, Role::Candidate);
}

#[test]
pub(super) fn trap_19_a_node_whose_removal_is_committed_campaigns_for_nothing() {
    let mut one = with_uncommitted(&[1, 2, 3], &configuration(&[2, 3], &[]));
    assert!(!one.raft.is_removed());
    one.hear(N2, Message::Append { term: 1, previous: at(1, 2), entries: Entries::empty(), commit: 2 });
    one.sync();
    assert!(!one.raft.is_removed(), "whoever still speaks to it may have added it again");
    assert_eq!(sent(&one.pass(9 * ET)), []);
    assert!(one.raft.is_removed());
}

/// Found by the simulator: a node that was removed while it was away, and added again with the disk that it had, learnt of its
/// removal first, and stopped for good.
#[test]
fn a_node_that_is_added_again_with_its_old_disk_is_not_removed_by_what_was_before() {
    let mut one = with_uncommitted(&[1, 2, 3], &configuration(&[2, 3], &[]));
    one.hear(N2, Message::Append { term: 1, previous: at(1, 2), entries: run(3, &[1]), commit: 3 });
    assert!(!one.raft.is_removed(), "the entry that adds it again is on its way");
    let again =
        Entry { kind: EntryKind::Configuration, data: configuration(&[2, 3], &[1]).to_cbor(), ..entry(4, 1) };
    let entries = [again].into_iter().collect();
    one.hear(N2, Message::Append { term: 1, previous: at(1, 3), entries, commit: 4 });
    one.pass(9 * ET);
    assert!(!one.raft.is_removed());
}

#[test]
fn a_node_that_starts_with_its_removal_committed_waits_to_be_added_again() {
    let mut recovered = Recovered::formed(DiskId(1), &configuration(&[1, 2, 3], &[]));
    let removal =
        Entry { kind: EntryKind::Configuration, data: configuration(&[2, 3], &[]).to_cbor(), ..entry(2, 1) };
    recovered.entries = recovered.entries.iter().cloned().chain([removal]).collect();
    recovered.vote.term = 1;
    recovered.commit = 2;
    let mut raft = Raft::new(Config::new(ME, 1), recovered, Now::new(0, WALL)).unwrap();
    raft.step(Now::new(9 * ET, WALL), Event::Wake);
    assert!(!raft.is_removed(), "it was no member in this life");
}

/// Found by the simulator: on its way to the entry that adds it, a node with a new disk read how its old disk had been the only
/// voter, lost its leader there, and elected itself.
#[test]
pub(super) fn trap_25_a_fresh_disk_has_no_vote_of_its_predecessors() {
    let history = |disk, length| {
        let alone = configuration(&[1], &[]);
        let mut again = configuration(&[1, 2], &[]);
        again.members.insert(ME, Member { disk: DiskId(77), ..member(1) });
        let changed = |index, configuration: &Configuration| Entry {
            kind: EntryKind::Configuration,
            data: configuration.to_cbor(),
            ..entry(index, 1)
        };
        let entries = [changed(2, &configuration(&[2], &[])), changed(3, &again)];
        let mut recovered = Recovered::formed(disk, &alone);
        recovered.entries = recovered.entries.iter().cloned().chain(entries).take(length).collect();
        recovered.vote.term = 1;
        let raft = Raft::new(Config::new(ME, 1), recovered, Now::new(0, WALL)).unwrap();
        One { raft, now: 0, out: vec![] }
    };
    // The new disk, whose log has come to where the old one was the only voter, or was removed by an entry that is not
    // known to be committed; and the old one, which has seen all.
    for (disk, length) in [(DiskId(77), 1), (DiskId(77), 2), (DiskId(1), 3)] {
        let mut one = history(disk, length);
        one.pass(9 * ET);
        assert_eq!(one.raft.status().role, Role::Follower, "{disk}");
        assert!(!one.raft.is_removed() || disk == DiskId(1));
    }
    for (disk, length) in [(DiskId(1), 1), (DiskId(1), 2), (DiskId(77), 3)] {
        let mut one = history(disk, length);
        one.pass(9 * ET);
        assert_ne!(one.raft.status().role, Role::Follower, "{disk} has a vote");
    }
}

#[test]
pub(super) fn trap_19_a_leader_that_removes_itself_leads_on_without_its_own_vote_and_hands_over() {
    let mut one = leader(&[1, 2, 3], &[]);
    assert_eq!(answer(&one.step(change(vec![MemberChange::Remove(ME)]))), Ok(3));
    one.sync();
    one.hear(N2, Message::AppendAccepted { term: 1, matched: 3 });
    assert_eq!(one.raft.status().commit, 2, "its own disk counts for nothing any more");
    let out = sent(&one.hear(N3, Message::AppendAccepted { term: 1, matched: 3 }));
    assert_eq!(one.raft.status().commit, 3);
    assert!(out.contains(&(N2, Message::TimeoutNow { term: 1 })), "{out:?}");
    let refused = one.step(Event::Propose { proposal: 5, data: Bytes::new() });
    assert_eq!(answer(&refused), Err(Refusal::Transferring(N2)));
    one.hear(N2, Message::Vote { term: 2, last: at(1, 3), transfer: true });
    assert!(one.raft.is_removed());
}

#[test]
fn a_removed_leader_whose_successor_does_not_take_over_follows() {
    let mut one = leader(&[1, 2, 3], &[]);
    one.step(change(vec![MemberChange::Remove(ME)]));
    acknowledge(&mut one);
    for _ in 0..7 {
        one.pass(50_000);
        for peer in [N2, N3] {
            one.hear(peer, Message::HeartbeatReply { term: 1, round: 1, wall: WALL });
        }
    }
    assert_eq!(one.raft.status().role, Role::Follower);
    assert!(one.raft.is_removed());
}

#[test]
pub(super) fn who_is_removed_hears_that_it_is_committed() {
    let mut one = leader(&[1, 2, 3], &[]);
    one.step(change(vec![MemberChange::Remove(N3)]));
    one.sync();
    let out = sent(&one.hear(N2, Message::AppendAccepted { term: 1, matched: 3 }));
    let last = Message::Append { term: 1, previous: at(1, 3), entries: Entries::empty(), commit: 3 };
    assert!(out.contains(&(N3, last)), "{out:?}");
    assert!(one.raft.matched().all(|(id, _)| id == N2));
}

#[test]
pub(super) fn trap_20_a_change_that_could_never_commit_is_refused_unless_forced() {
    let mut one = leader(&[1, 2, 3], &[]);
    one.now += ET;
    one.hear(N2, Message::AppendAccepted { term: 1, matched: 2 });
    // Nothing was heard of node 3 for long: without node 2, nothing would commit.
    let refused = Err(Refusal::Change(ChangeRefused::CouldNotCommit { reachable: 1, needed: 2 }));
    assert_eq!(answer(&one.step(change(vec![MemberChange::Remove(N2)]))), refused);
    assert_eq!(voters(&one), [1, 2, 3]);
    assert_eq!(answer(&one.step(forced(vec![MemberChange::Remove(N2)]))), Ok(3));
    assert_eq!(voters(&one), [1, 3]);
}

#[test]
fn a_new_member_gets_a_vote_when_it_has_answered() {
    let mut one = leader(&[1, 2, 3], &[]);
    one.step(change(vec![add(N4)]));
    acknowledge(&mut one);
    one.now += ET;
    one.hear(N2, Message::AppendAccepted { term: 1, matched: 3 });
    let promote = || change(vec![MemberChange::Promote(N4)]);
    let refused = Err(Refusal::Change(ChangeRefused::Unreachable(N4)));
    assert_eq!(answer(&one.step(promote())), refused);
    one.hear(N4, Message::AppendAccepted { term: 1, matched: 3 });
    assert_eq!(answer(&one.step(promote())), Ok(4));
}

/// Found by the simulator: a leader that was alone had just been elected, and gave a vote to a learner that had never been
/// there: nothing was ever committed again.
#[test]
fn who_was_not_heard_since_the_election_is_not_there() {
    let mut one = One::of(&[1], &[2, 3], 0, &[]);
    one.pass(2 * ET);
    one.sync();
    one.sync();
    assert_eq!(one.raft.status().commit, 2);
    let refused = Err(Refusal::Change(ChangeRefused::Unreachable(N2)));
    assert_eq!(answer(&one.step(change(vec![MemberChange::Promote(N2)]))), refused);
    one.hear(N2, Message::AppendAccepted { term: 1, matched: 1 });
    assert_eq!(answer(&one.step(change(vec![MemberChange::Promote(N2)]))), Ok(3));
}

#[test]
pub(super) fn a_learner_gets_a_vote_when_it_has_caught_up_and_the_refusal_says_how_far_it_is() {
    let config = Config { max_promotion_lag_bytes: 2 * (PACKED_HEADER + 8), ..Config::new(ME, 1) };
    let mut one = One::with(config, &[1, 2, 3], &[4], 0, &[]);
    one.lead();
    for proposal in 1..=3 {
        one.step(Event::Propose { proposal, data: Bytes::from_static(b"12345678") });
    }
    one.sync();
    for (peer, matched) in [(N2, 5), (N3, 5), (N4, 2)] {
        one.hear(peer, Message::AppendAccepted { term: 1, matched });
    }
    let bytes = 3 * (PACKED_HEADER + 8);
    let behind = ChangeRefused::NotCaughtUp { node: N4, matched: 2, last: 5, bytes };
    let promote = vec![MemberChange::Promote(N4)];
    assert_eq!(answer(&one.step(change(promote.clone()))), Err(Refusal::Change(behind)));
    one.hear(N4, Message::AppendAccepted { term: 1, matched: 3 });
    assert_eq!(answer(&one.step(change(promote))), Ok(6));
    assert_eq!(voters(&one), [1, 2, 3, 4]);
}

#[test]
pub(super) fn leadership_is_handed_over_when_the_successor_has_the_whole_log() {
    let mut one = leader(&[1, 2, 3], &[]);
    one.step(Event::Propose { proposal: 1, data: Bytes::new() });
    let out = one.step(Event::Transfer { transfer: 7, to: Some(N3) });
    assert_eq!(sent(&out), []);
    let refused = one.step(Event::Propose { proposal: 2, data: Bytes::new() });
    assert_eq!(answer(&refused), Err(Refusal::Transferring(N3)));
    let out = sent(&one.hear(N3, Message::AppendAccepted { term: 1, matched: 3 }));
    assert_eq!(out, [(N3, Message::TimeoutNow { term: 1 })]);
    let out = one.hear(N3, Message::Vote { term: 2, last: at(1, 3), transfer: true });
    assert!(out.contains(&Action::TransferEnded { transfer: 7, outcome: Ok(()) }));
    let granted = Message::VoteReply { term: 2, granted: true, wall: WALL + one.now / 1000 };
    assert_eq!(sent(&one.sync()), [(N3, granted)]);
}

#[test]
pub(super) fn a_transfer_that_takes_an_election_timeout_is_given_up() {
    let mut one = leader(&[1, 2, 3], &[]);
    one.step(Event::Transfer { transfer: 7, to: None });
    let mut ended = vec![];
    for beat in 0..7 {
        ended.extend(one.pass(50_000).into_iter().filter(|a| matches!(a, Action::TransferEnded { .. })));
        assert_eq!(ended.is_empty(), beat < 5);
        one.hear(N3, Message::HeartbeatReply { term: 1, round: 1, wall: WALL });
    }
    assert_eq!(ended, [Action::TransferEnded { transfer: 7, outcome: Err(TransferFailed::TimedOut(N2)) }]);
    assert!(answer(&one.step(Event::Propose { proposal: 2, data: Bytes::new() })).is_ok());
}

#[test]
fn a_word_to_the_successor_that_is_lost_is_repeated() {
    let mut one = leader(&[1, 2, 3], &[]);
    let now = (N2, Message::TimeoutNow { term: 1 });
    assert_eq!(sent(&one.step(Event::Transfer { transfer: 7, to: Some(N2) })), std::slice::from_ref(&now));
    assert!(sent(&one.pass(50_000)).contains(&now));
}

#[test]
fn a_transfer_that_cannot_succeed_is_refused_at_once() {
    let mut one = leader(&[1, 2, 3], &[4]);
    let mut ask = |to, passed: Micros| {
        one.now += passed;
        match &one.step(Event::Transfer { transfer: 7, to })[..] {
            [Action::TransferEnded { outcome: Err(reason), .. }, ..] => Some(*reason),
            _ => None,
        }
    };
    assert_eq!(ask(Some(ME), 0), Some(TransferFailed::AlreadyLeads));
    assert_eq!(ask(Some(N4), 0), Some(TransferFailed::NotVoter(N4)));
    assert_eq!(ask(Some(N2), ET), Some(TransferFailed::Unreachable(N2)));
    assert_eq!(ask(None, 0), Some(TransferFailed::NoSuccessor));
    one.hear(N3, Message::HeartbeatReply { term: 1, round: 1, wall: WALL });
    assert!(!sent(&one.step(Event::Transfer { transfer: 8, to: None })).is_empty());
    let under_way = Action::TransferEnded { transfer: 9, outcome: Err(TransferFailed::UnderWay(N3)) };
    assert_eq!(one.step(Event::Transfer { transfer: 9, to: None }), [under_way]);
}

#[test]
pub(super) fn whom_the_leader_makes_way_for_campaigns_at_once_and_is_voted_for_by_the_loyal() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    one.hear(N2, append(1, at(0, 1), &[], 1));
    assert_eq!(sent(&one.hear(N3, Message::TimeoutNow { term: 1 })), [], "n3 does not lead");
    one.hear(N2, Message::TimeoutNow { term: 1 });
    let request = Message::Vote { term: 2, last: at(0, 1), transfer: true };
    assert_eq!(sent(&one.sync()), [(N2, request.clone()), (N3, request.clone())]);
    let mut other = One::of(&[1, 2, 3], &[], 1, &[]);
    other.hear(N2, append(1, at(0, 1), &[], 1));
    other.hear(N3, request);
    assert_eq!(other.raft.hard, HardState { term: 2, vote: Some(N3) });
}

#[test]
pub(super) fn a_learner_is_made_way_for_in_vain() {
    let mut one = One::of(&[2, 3], &[1], 1, &[]);
    one.hear(N2, append(1, at(0, 1), &[], 1));
    one.hear(N2, Message::TimeoutNow { term: 1 });
    assert_eq!((one.raft.status().role, one.raft.status().term), (Role::Follower, 1));
}

/// A leader with a lease of 200 ms, whose round has left now and is answered.
fn leased() -> One {
    let mut one = One::with(Config { lease: Some(200_000), ..Config::new(ME, 1) }, &[1, 2, 3], &[], 0, &[]);
    one.lead();
    acknowledge(&mut one);
    one.pass(50_000);
    let State::Leader(lead) = &one.raft.state else { panic!() };
    let round = lead.round;
    one.hear(N2, Message::HeartbeatReply { term: 1, round, wall: WALL });
    one
}

fn is_served_at_once(one: &mut One) -> bool {
    one.step(Event::Read { read: 9 }).contains(&Action::ReadReady { read: 9, index: 2 })
}

#[test]
pub(super) fn a_lease_answers_reads_until_it_ends() {
    let mut one = leased();
    one.now += 199_999;
    assert!(is_served_at_once(&mut one));
    one.now += 1;
    assert!(!is_served_at_once(&mut one));
    let mut off = leader(&[1, 2, 3], &[]);
    off.pass(50_000);
    off.hear(N2, Message::HeartbeatReply { term: 1, round: 1, wall: WALL });
    assert!(!is_served_at_once(&mut off), "it is off by default");
}

#[test]
pub(super) fn a_lease_is_lost_when_a_transfer_begins_and_does_not_come_back() {
    let mut one = leased();
    one.step(Event::Transfer { transfer: 7, to: Some(N2) });
    assert!(!is_served_at_once(&mut one));
    for _ in 0..8 {
        one.pass(50_000);
        let State::Leader(lead) = &one.raft.state else { panic!() };
        let round = lead.round;
        one.hear(N3, Message::HeartbeatReply { term: 1, round, wall: WALL });
    }
    // The transfer is given up, but the word that n2 may campaign can still come.
    assert!(!is_served_at_once(&mut one));
}

#[test]
pub(super) fn a_lease_is_lost_when_another_majority_decides() {
    let mut one = leased();
    one.step(change(vec![add(N4)]));
    assert!(!is_served_at_once(&mut one));
}

#[test]
fn a_lease_that_clocks_cannot_bear_is_no_setting() {
    for (lease, check_quorum) in [(0, true), (300_000, true), (200_000, false)] {
        let config = Config { lease: Some(lease), check_quorum, ..Config::new(ME, 1) };
        assert!(config.validate().is_err());
    }
}

#[test]
pub(super) fn a_follower_asks_the_leader_from_where_it_may_read() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    one.hear(N2, append(1, at(0, 1), &[], 1));
    one.batch(vec![Event::Read { read: 5 }, Event::Read { read: 6 }]);
    let query = QueryId { life: 1, number: 1 };
    let asked = (N2, Message::ReadIndex { term: 1, query });
    assert_eq!(sent(&one.out).into_iter().filter(|sent| *sent == asked).count(), 1);
    let out = one.hear(N2, Message::ReadIndexReply { term: 1, query, index: 4 });
    assert_eq!(out, [5, 6].map(|read| Action::ReadReady { read, index: 4 }));
}

#[test]
pub(super) fn trap_21_an_answer_to_an_earlier_lifes_query_answers_nothing() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    one.hear(N2, append(1, at(0, 1), &[], 1));
    one.step(Event::Read { read: 5 });
    let query = QueryId { life: 0, number: 1 };
    assert_eq!(one.hear(N2, Message::ReadIndexReply { term: 1, query, index: 1 }), []);
}

#[test]
pub(super) fn trap_21_a_query_whose_leader_is_gone_is_aborted() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    one.hear(N2, append(1, at(0, 1), &[], 1));
    one.step(Event::Read { read: 5 });
    let out = one.hear(N3, Message::Heartbeat { term: 2, round: 1, commit: 0 });
    assert!(out.contains(&Action::ReadAborted { read: 5, reason: Refusal::NotLeader(Some(N3)) }));
    one.step(Event::Read { read: 6 });
    let out = one.pass(2 * ET);
    assert!(out.contains(&Action::ReadAborted { read: 6, reason: Refusal::NotLeader(None) }));
    let out = one.step(Event::Read { read: 7 });
    assert!(out.contains(&Action::ReadAborted { read: 7, reason: Refusal::NotLeader(None) }));
}

#[test]
fn a_query_that_is_lost_is_asked_again_with_a_heartbeat() {
    let mut one = One::of(&[1, 2, 3], &[], 1, &[]);
    one.hear(N2, append(1, at(0, 1), &[], 1));
    let asks = |out: &[Action]| sent(out).iter().any(|(_, m)| matches!(m, Message::ReadIndex { .. }));
    assert!(asks(&one.step(Event::Read { read: 5 })));
    let beat = |round| Message::Heartbeat { term: 1, round, commit: 0 };
    assert!(!asks(&one.hear(N2, beat(1))), "it is on its way");
    one.now += 50_000;
    assert!(asks(&one.hear(N2, beat(2))));
    let config = Config { max_pending_reads: 1, ..Config::new(ME, 1) };
    let mut one = One::with(config, &[1, 2, 3], &[], 1, &[]);
    one.hear(N2, append(1, at(0, 1), &[], 1));
    one.batch(vec![Event::Read { read: 5 }, Event::Read { read: 6 }]);
    assert!(one.out.contains(&Action::ReadAborted { read: 6, reason: Refusal::ReadsFull }));
}

#[test]
fn a_leader_answers_a_followers_query_like_a_read_of_its_own() {
    let mut one = One::of(&[1, 2, 3], &[], 0, &[]);
    one.lead();
    let query = QueryId { life: 3, number: 8 };
    assert_eq!(sent(&one.hear(N3, Message::ReadIndex { term: 1, query })), [], "not before its first commit");
    let out = acknowledge(&mut one);
    let round = sent(&out).iter().find_map(|(_, message)| match message {
        Message::Heartbeat { round, .. } => Some(*round),
        _ => None,
    });
    let out = one.hear(N2, Message::HeartbeatReply { term: 1, round: round.unwrap(), wall: WALL });
    // It can answer its clients when it knows that so much is committed, and is told at once.
    let told = Message::Heartbeat { term: 1, round: 0, commit: 2 };
    assert_eq!(sent(&out), [(N3, Message::ReadIndexReply { term: 1, query, index: 2 }), (N3, told)]);
}

#[test]
fn a_read_has_the_room_that_its_batch_has_made() {
    let config = Config { max_pending_reads: 1, ..Config::new(ME, 1) };
    let mut one = One::with(config, &[1, 2, 3, 4], &[], 0, &[]);
    one.lead();
    acknowledge(&mut one);
    one.step(Event::Read { read: 5 });
    let State::Leader(lead) = &one.raft.state else { panic!() };
    let round = lead.round;
    one.hear(N2, Message::HeartbeatReply { term: 1, round, wall: WALL });
    one.out.clear();
    one.batch(vec![change(vec![MemberChange::Remove(N4)]), Event::Read { read: 6 }]);
    assert!(one.out.contains(&Action::ReadReady { read: 5, index: 2 }), "two of three have answered");
    assert!(!one.out.iter().any(|action| matches!(action, Action::ReadAborted { .. })));
}
