//! Tests of the tests: each trap of RAFT.md with its guard taken out of the code. Its test has to fail.

use super::{membership as m, traps as t};
use crate::sim::planted::not_felt_by;

/// What fails without which guard; found are the tests that do not.
macro_rules! felt {
    ($($guard:literal: $($module:ident::$test:ident)+;)*) => {
        [$(($guard, not_felt_by($guard, &[$((stringify!($test), $module::$test as fn())),+]))),*]
    };
}

#[test]
fn every_trap_is_felt_without_its_guard() {
    let felt = felt! {
        "vote-leaves-before-sync":
            t::trap_01_a_vote_leaves_only_when_it_is_on_disk
            t::trap_01_an_earlier_write_says_nothing_of_the_vote
            t::trap_01_an_acknowledgement_waits_for_the_term_too;
        "own-disk-is-not-awaited": t::trap_01_a_single_node_leads_and_commits_only_after_its_own_disk;
        "learner-refuses-its-vote": t::trap_02_a_learner_votes_when_asked_and_never_asks;
        "pre-vote-takes-its-term": t::trap_03_a_pre_vote_changes_no_term_and_is_refused_explicitly;
        "pre-vote-is-refused-by-silence": t::trap_03_a_pre_vote_changes_no_term_and_is_refused_explicitly;
        "stale-leader-is-unanswered": t::trap_04_a_leader_of_an_earlier_term_is_answered_and_gives_way;
        "installing-node-campaigns": t::trap_05_no_campaign_while_a_snapshot_is_being_installed;
        "restart-forgets-loyalty": t::trap_06_stickiness_survives_a_restart;
        "cut-off-leader-stays": t::trap_07_a_leader_without_a_majority_goes_quiet;
        "election-timeout-is-drawn-once": t::trap_08_the_election_timeout_is_drawn_anew_for_each_campaign;
        "earlier-term-is-counted": t::trap_09_only_an_entry_of_the_own_term_commits_by_counting;
        "append-commits-past-its-end": t::trap_10_a_follower_commits_only_what_agrees;
        "heartbeat-commits-too-far": t::trap_10_a_heartbeat_tells_no_more_than_the_peer_has;
        "append-always-truncates": t::trap_11_only_what_conflicts_is_cut;
        "committed-conflict-is-cut": t::trap_11_a_conflict_with_what_is_committed_is_a_fault;
        "stale-rejection-is-minded": t::trap_12_a_stale_rejection_is_not_minded;
        "overtaken-write-counts": t::trap_13_a_write_that_a_truncation_overtook_acknowledges_nothing_past_it;
        "recovered-commit-lags-the-snapshot": t::trap_14_a_lagging_commit_index_is_tolerated;
        "change-before-an-own-entry": m::trap_15_no_change_before_an_entry_of_the_own_term_is_committed;
        "changes-overlap": m::trap_15_one_change_at_a_time;
        "cut-configuration-stays": t::trap_16_a_cut_restores_the_earlier_configuration;
        "joint-is-not-left": m::trap_17_a_new_leader_leaves_the_joint_configuration_that_it_finds;
        "switch-counts-nothing-anew": m::trap_18_a_switch_counts_what_is_acknowledged_anew;
        "removed-node-never-campaigns": m::trap_19_a_removed_node_campaigns_while_its_removal_may_be_undone;
        "hopeless-change-is-made": m::trap_20_a_change_that_could_never_commit_is_refused_unless_forced;
        "read-before-the-no-op": t::trap_21_no_read_before_the_first_commit_of_the_term;
        "read-outlives-its-leader": t::trap_21_reads_pending_at_a_role_change_are_aborted;
        "stale-round": t::trap_21_an_answer_to_a_heartbeat_of_an_earlier_term_confirms_no_round_of_this_one;
        "query-of-another-life-is-answered": m::trap_21_an_answer_to_an_earlier_lifes_query_answers_nothing;
        "snapshot-sets-state-back": t::trap_22_a_log_that_caught_up_meanwhile_keeps_its_suffix;
        "install-drops-the-suffix": t::trap_22_a_log_that_caught_up_meanwhile_keeps_its_suffix;
        "snapshot-acked-before-sync": t::trap_22_a_snapshot_replaces_a_log_that_lacks_it;
        "fresh-disk-inherits-a-vote": m::trap_25_a_fresh_disk_has_no_vote_of_its_predecessors;
        "lease-outlives-a-transfer": m::a_lease_is_lost_when_a_transfer_begins_and_does_not_come_back;
        "successor-lacks-entries": m::leadership_is_handed_over_when_the_successor_has_the_whole_log;
    };
    let dull: std::vec::Vec<_> = felt.iter().filter(|(_, tests)| !tests.is_empty()).collect();
    assert!(dull.is_empty(), "these tests pass without the guard: {dull:#?}");
}
