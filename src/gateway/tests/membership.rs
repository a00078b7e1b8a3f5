//! MEMBER and TRANSFER: what is asked of the node, and what is said of its answer.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;

use super::Harness;
use crate::node::Roster;
use crate::raft::{
    Change, ChangeRefused, Configuration, DiskId, Member, MemberChange, NodeId, TransferFailed,
};
use crate::replica::{Outcome, Refused, Request};

fn member(id: u64) -> Member {
    Member {
        disk: DiskId(id.into()),
        peer_address: alloc::format!("10.0.0.{id}:720{id}"),
        client_address: alloc::format!("10.0.0.{id}:710{id}"),
    }
}

/// Nodes 1 to 3 vote, 4 learns, and 5 has said hello.
fn harness() -> Harness {
    let mut harness = Harness::new();
    let mut configuration = Configuration::of_voters((1..=3).map(|id| (NodeId(id), member(id))).collect());
    configuration.members.insert(NodeId(4), member(4));
    let applicants = BTreeMap::from([(NodeId(5), DiskId(0x5d))]);
    harness.status.roster = Arc::new(Roster { configuration, applicants });
    harness
}

/// The request that a line becomes.
fn asked(line: &str) -> Request {
    let mut harness = harness();
    harness.feed(alloc::format!("{line}\r\n").as_bytes());
    let (_, _, request) = harness.requests.pop_front().expect("it asks the node");
    request
}

/// What is said of an outcome.
fn said(outcome: Outcome) -> String {
    let mut harness = harness();
    harness.feed(b"member promote 4\r\n");
    harness.answer(outcome);
    harness.text()
}

#[test]
fn each_line_becomes_one_change() {
    let added = |id, disk| MemberChange::AddLearner {
        id: NodeId(id),
        member: Member { disk: DiskId(disk), peer_address: "h:1".into(), client_address: "h:2".into() },
    };
    let moved =
        MemberChange::Readdress { id: NodeId(2), peer_address: "h:1".into(), client_address: "h:2".into() };
    for (line, step) in [
        ("member add 5 h:1 h:2", added(5, 0x5d)),
        ("MEMBER ADD 6 h:1 h:2 DISK 0fF", added(6, 0xff)),
        ("member promote 4", MemberChange::Promote(NodeId(4))),
        ("member demote 3", MemberChange::Demote(NodeId(3))),
        ("member remove 3", MemberChange::Remove(NodeId(3))),
        ("member move 2 h:1 h:2", moved),
    ] {
        assert_eq!(asked(line), Request::Reconfigure(Change::one(step)), "{line}");
    }
    let forced = Change { force: true, ..Change::one(MemberChange::Remove(NodeId(3))) };
    assert_eq!(asked("member remove 3 force"), Request::Reconfigure(forced));
    assert_eq!(asked("member leave"), Request::Reconfigure(Change::leave()));
    assert_eq!(asked("transfer"), Request::Transfer(None));
    assert_eq!(asked("transfer 2"), Request::Transfer(Some(NodeId(2))));
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_asked() {
    for (line, error) in [
        ("member", "-ERR wrong number of arguments for 'member' command"),
        ("member add 5 h:1", "-ERR wrong number of arguments for 'member|add' command"),
        ("member promote", "-ERR wrong number of arguments for 'member|promote' command"),
        ("member list 1", "-ERR wrong number of arguments for 'member|list' command"),
        ("member dance 1", "-ERR unknown subcommand 'dance'. Try MEMBER HELP."),
        ("member remove 0", "-ERR a node's id is a number from 1"),
        ("member remove -1", "-ERR a node's id is a number from 1"),
        ("member add 6 h:1 h:2", "-TRYAGAIN node 6 has not said hello to this node: start it with --join"),
        ("member add 5 h h:2", "-ERR an address is HOST:PORT"),
        ("member add 5 h:1 h:2 disk xyz", "-ERR a disk's name is up to 32 hexadecimal digits"),
        ("member add 5 h:1 h:2 disk +5", "-ERR a disk's name is up to 32 hexadecimal digits"),
        ("member add 5 h:1 h:2 dusk 5", "-ERR syntax error"),
        ("transfer 1 2", "-ERR wrong number of arguments for 'transfer' command"),
        ("transfer x", "-ERR a node's id is a number from 1"),
    ] {
        let mut harness = harness();
        harness.feed(alloc::format!("{line}\r\n").as_bytes());
        assert_eq!(harness.waiting(), "", "{line}");
        let text = harness.text();
        assert!(text.starts_with(error), "{line}: {text}");
    }
}

#[test]
fn an_address_that_is_too_long_is_refused_by_the_core() {
    let long = alloc::format!("member add 5 {}:1 h:2", "h".repeat(300));
    let Request::Reconfigure(change) = asked(&long) else { panic!("it is a change") };
    let refused = change.apply(&harness().status.roster.configuration);
    assert!(matches!(refused, Err(ChangeRefused::Invalid(_))), "{refused:?}");
}

#[test]
fn the_first_word_of_an_error_says_whether_to_ask_again() {
    let refused = |reason| said(Outcome::Refused(Refused::Change(reason)));
    assert_eq!(said(Outcome::Reconfigured(77)), ":77\r\n");
    for (reason, start) in [
        (ChangeRefused::UnderWay { index: 5 }, "-TRYAGAIN the change at index 5"),
        (ChangeRefused::TooEarly, "-TRYAGAIN the leader was elected just now"),
        (
            ChangeRefused::NotCaughtUp { node: NodeId(4), matched: 3, last: 9, bytes: 600 },
            "-BEHIND node 4 has the log up to index 3 of 9, 600 bytes behind",
        ),
        (ChangeRefused::Unreachable(NodeId(4)), "-UNREACHABLE node 4 cannot be reached"),
        (ChangeRefused::CouldNotCommit { reachable: 1, needed: 2 }, "-UNREACHABLE it could not commit"),
        (ChangeRefused::NotMember(NodeId(4)), "-ERR node 4 is not a member"),
    ] {
        let text = refused(reason);
        assert!(text.starts_with(start) && text.ends_with("; nothing was done\r\n"), "{text}");
    }
    let elsewhere = said(Outcome::Refused(Refused::NotLeader(NodeId(2))));
    assert_eq!(elsewhere, "-TRYAGAIN node 2 leads and the command could not be sent on to it\r\n");
    let failed = said(Outcome::Refused(Refused::Transfer(TransferFailed::TimedOut(NodeId(2)))));
    assert_eq!(failed, "-ERR node 2 did not take over in time; try again; nothing was done\r\n");
    assert!(said(Outcome::Undetermined).starts_with("-UNDETERMINED "));
}

#[test]
fn the_list_names_members_and_who_waits_to_be_one() {
    let mut harness = harness();
    let text = harness.say("member list\r\n");
    let roles: vec::Vec<&str> =
        text.split("$4\r\nrole\r\n").skip(1).filter_map(|rest| rest.split("\r\n").nth(1)).collect();
    assert_eq!(roles, ["voter", "voter", "voter", "learner", "applicant"]);
    assert!(text.contains("0000000000000000000000000000005d"), "{text}");
    assert!(text.starts_with("*5\r\n*10\r\n$2\r\nid\r\n:1\r\n"), "{text}");
    harness.say("hello 3\r\n");
    assert!(harness.say("member list\r\n").starts_with("*5\r\n%5\r\n"));
}
