//! MULTI, EXEC, DISCARD, WATCH.

use alloc::string::String;

use bytes::Bytes;

use super::super::Settings;
use super::Harness;
use crate::raft::{NodeId, Role};
use crate::replica::{Outcome, Refused, Request};

#[test]
fn commands_are_queued_and_sent_as_one_request() {
    let mut h = Harness::new();
    h.feed(b"MULTI\r\nSET a 1\r\nINCR a\r\nGET a\r\nEXEC\r\nGET a\r\n");
    assert_eq!(h.waiting(), "W", "the read behind it waits for it");
    h.settle();
    let queued = "+QUEUED\r\n".repeat(3);
    let text = h.text();
    assert_eq!(text, alloc::format!("+OK\r\n{queued}*3\r\n+OK\r\n:2\r\n$1\r\n2\r\n$1\r\n2\r\n"));
    h.feed(b"MULTI\r\nGET a\r\nTTL a\r\nEXEC\r\n");
    assert_eq!(h.waiting(), "R", "reads alone need no entry");
    h.settle();
    assert!(h.output().ends_with(b"*2\r\n$1\r\n2\r\n:-1\r\n"));
    assert_eq!(h.say("MULTI\r\nEXEC\r\n"), "+OK\r\n*0\r\n");
}

#[test]
fn exec_and_discard_want_a_multi_and_multis_do_not_nest() {
    let mut h = Harness::new();
    assert_eq!(h.say("EXEC\r\n"), "-ERR EXEC without MULTI\r\n");
    assert_eq!(h.say("DISCARD\r\n"), "-ERR DISCARD without MULTI\r\n");
    assert_eq!(h.say("MULTI\r\nMULTI\r\n"), "+OK\r\n-ERR MULTI calls can not be nested\r\n");
    assert_eq!(h.say("WATCH a\r\n"), "-ERR WATCH inside MULTI is not allowed\r\n");
    assert_eq!(h.say("SET a 1\r\nEXEC\r\n"), "+QUEUED\r\n*1\r\n+OK\r\n", "neither spoils it");
    let abort =
        "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n";
    assert_eq!(h.say("EXEC x\r\n"), abort);
    let said = h.say("MULTI\r\nSET a 2\r\nEXEC x\r\nEXEC\r\n");
    assert_eq!(said, alloc::format!("+OK\r\n+QUEUED\r\n{abort}-ERR EXEC without MULTI\r\n"));
    assert_eq!(h.say("MULTI\r\nSET a 2\r\nDISCARD\r\nGET a\r\n"), "+OK\r\n+QUEUED\r\n+OK\r\n$1\r\n1\r\n");
    assert_eq!(
        h.say("MULTI\r\nSET a 3\r\nRESET\r\nGET a\r\nEXEC\r\n"),
        "+OK\r\n+QUEUED\r\n+RESET\r\n$1\r\n1\r\n-ERR EXEC without MULTI\r\n"
    );
}

#[test]
fn what_redis_refuses_when_it_is_queued_spoils_all_and_what_it_refuses_when_it_runs_spoils_itself() {
    let mut h = Harness::new();
    for bad in ["GET", "NONE a", "SESSION OPEN", "HELLO 3", "CLIENT LIST", "TRANSFER", "MEMBER LIST"] {
        let said = h.say(alloc::format!("MULTI\r\nSET a 1\r\n{bad}\r\nEXEC\r\n"));
        let lines: alloc::vec::Vec<&str> = said.lines().collect();
        assert_eq!(&lines[..2], ["+OK", "+QUEUED"], "{bad}");
        assert!(lines[2].starts_with("-ERR "), "{bad}: {said}");
        assert_eq!(lines[3], "-EXECABORT Transaction discarded because of previous errors.", "{bad}");
        assert_eq!(h.say("EXISTS a\r\n"), ":0\r\n");
    }
    let said = h.say("MULTI\r\nSET a 1\r\nSET a 2 EX 0\r\nMSET a\r\nMSET a 1 b\r\nINCR a\r\nEXEC\r\n");
    assert!(
        said.ends_with("-EXECABORT Transaction discarded because of previous errors.\r\n"),
        "MSET has an arity"
    );
    let said =
        h.say("MULTI\r\nSET a 1\r\nSET a 2 EX 0\r\nMSET a 1 b\r\nMSET a 1 b 2 c\r\nINCR a\r\nEXEC\r\n");
    assert_eq!(
        said.split("QUEUED\r\n").last().unwrap(),
        "*5\r\n+OK\r\n-ERR invalid expire time in 'set' command\r\n-ERR wrong number of arguments for 'mset' command\r\n\
         -ERR wrong number of arguments for 'mset' command\r\n:2\r\n"
    );
}

#[test]
fn commands_about_the_connection_are_answered_in_their_places() {
    let mut h = Harness::new();
    let said = h.say(
        "MULTI\r\nPING\r\nSET a 1\r\nECHO x\r\nCLIENT SETNAME me\r\nMGET a none\r\nWAIT 1 0\r\nCLIENT GETNAME\r\nEXEC\r\n",
    );
    let last = said.split("QUEUED\r\n").last().unwrap();
    assert_eq!(last, "*7\r\n+PONG\r\n+OK\r\n$1\r\nx\r\n+OK\r\n*2\r\n$1\r\n1\r\n$-1\r\n:1\r\n$2\r\nme\r\n");
    assert!(h.say("MULTI\r\nPING\r\nEXEC\r\n").ends_with("*1\r\n+PONG\r\n"), "nobody is asked");
    h.say("HELLO 3\r\n");
    assert!(h.say("MULTI\r\nPING\r\nGET none\r\nEXEC\r\n").ends_with("*2\r\n+PONG\r\n_\r\n"));
}

#[test]
fn what_is_answered_here_takes_no_more_than_a_bounded_reply() {
    let mut h = Harness::new();
    let all = alloc::format!("MULTI\r\n{}SET a 1\r\nEXEC\r\n", "COMMAND DOCS\r\nGET a\r\n".repeat(1_000));
    let said = h.say(all);
    let replies = said.split("QUEUED\r\n").last().unwrap();
    assert!(replies.starts_with("*2001\r\n") && replies.ends_with("$-1\r\n+OK\r\n"));
    assert!(replies.len() < 2 << 20, "{}", replies.len());
    let refused =
        "-ERR the replies before this one are too long together, and the command was not done\r\n$-1\r\n";
    assert!((900..1_000).contains(&replies.matches(refused).count()));
    assert!(h.say("MULTI\r\nCOMMAND DOCS\r\nPING\r\nEXEC\r\n").ends_with("+PONG\r\n"), "one is no harm");
}

#[test]
fn a_watched_key_that_changes_makes_exec_null_in_either_protocol() {
    let mut h = Harness::new();
    for (hello, null) in [("", "*-1\r\n"), ("HELLO 3\r\n", "_\r\n")] {
        h.say(hello);
        assert_eq!(h.say("SET a 1\r\nWATCH a b\r\n"), "+OK\r\n+OK\r\n");
        h.store_runs("SET b 1");
        let said = h.say("MULTI\r\nSET a 2\r\nPING\r\nEXEC\r\n");
        assert!(said.ends_with(null), "{said}");
        let said = h.say("MULTI\r\nGET a\r\nEXEC\r\n");
        assert!(said.ends_with("*1\r\n$1\r\n1\r\n"), "EXEC forgets what was watched: {said}");
        h.say("DEL b\r\nWATCH a b\r\n");
        assert!(h.say("MULTI\r\nSET a 2\r\nEXEC\r\n").ends_with("*1\r\n+OK\r\n"));
        h.say("WATCH a\r\nSET a 3\r\n");
        assert!(h.say("MULTI\r\nGET a\r\nEXEC\r\n").ends_with(null), "its own writes count, too");
        h.say("WATCH a\r\nSET a 3\r\nUNWATCH\r\n");
        assert!(h.say("MULTI\r\nGET a\r\nEXEC\r\n").ends_with("*1\r\n$1\r\n3\r\n"));
        h.say("WATCH a\r\nMULTI\r\nDISCARD\r\nSET a 4\r\n");
        assert!(
            h.say("MULTI\r\nGET a\r\nEXEC\r\n").ends_with("*1\r\n$1\r\n4\r\n"),
            "DISCARD forgets it as well"
        );
        h.say("WATCH a\r\nSET a 5\r\nWATCH a\r\n");
        assert!(h.say("MULTI\r\nGET a\r\nEXEC\r\n").ends_with(null), "it is watched since the first time");
        h.say("WATCH a\r\n");
        h.store_runs("SET a 6");
        assert!(h.say("MULTI\r\nPING\r\nEXEC\r\n").ends_with(null), "though no command needs the node");
        h.say("DEL a b\r\n");
    }
}

#[test]
fn nothing_is_done_between_watch_and_its_answer() {
    let mut h = Harness::new();
    h.feed(b"SET a 1\r\nWATCH a\r\nMULTI\r\nSET a 2\r\nEXEC\r\nPING\r\n");
    assert_eq!(h.waiting(), "W", "WATCH waits for the earlier writes");
    h.answer(Outcome::Reply(Bytes::from_static(b"+OK\r\n")));
    assert_eq!(h.waiting(), "R");
    h.answer(Outcome::Reply(Bytes::from_static(b"*1\r\n:77\r\n")));
    assert_eq!(h.waiting(), "W", "and EXEC has the version");
    let (_, _, request) = &h.requests[0];
    let Request::Write(packed) = request else { panic!("it writes") };
    assert!(packed.windows(3).any(|bytes| bytes == b"\x01a\x4d"));
}

#[test]
fn a_watch_that_is_refused_watches_nothing_and_the_connection_goes_on() {
    let mut h = Harness::new();
    h.feed(b"WATCH a\r\nPING\r\n");
    h.answer(Outcome::Refused(Refused::NoLeader));
    let text = h.text();
    assert!(text.starts_with("-CLUSTERDOWN") && text.ends_with("+PONG\r\n"), "{text}");
    assert!(h.say("MULTI\r\nSET a 1\r\nEXEC\r\n").ends_with("*1\r\n+OK\r\n"));
}

#[test]
fn an_exec_does_not_run_behind_a_watch_of_its_pipeline_that_was_refused() {
    for outcome in [Outcome::Refused(Refused::TimedOut), Outcome::Undetermined] {
        let mut h = Harness::new();
        h.feed(b"WATCH a\r\nMULTI\r\nSET a 1\r\nEXEC\r\nSET b 1\r\n");
        h.answer(outcome);
        assert_eq!(h.waiting(), "", "what it was to watch may have changed");
        let text = String::from_utf8(h.output().to_vec()).unwrap();
        let lines: alloc::vec::Vec<&str> = text.lines().skip(1).collect();
        let refused = "-TRYAGAIN an earlier command of this pipeline was refused; this one was not done";
        assert_eq!(lines, ["+OK", "+QUEUED", refused, refused]);
        assert!(h.say("MULTI\r\nSET a 1\r\nEXEC\r\n").ends_with("*1\r\n+OK\r\n"), "who knows goes on");
    }
}

#[test]
fn reads_are_linearizable_while_something_is_watched() {
    let mut h = Harness::new();
    h.say("READONLY\r\n");
    h.feed(b"GET a\r\n");
    assert_eq!(h.waiting(), "L");
    h.settle();
    h.feed(b"WATCH a\r\n");
    assert_eq!(h.waiting(), "R");
    h.settle();
    h.feed(b"GET a\r\n");
    assert_eq!(h.waiting(), "R", "what it reads is no older than what it watches");
    h.settle();
    h.feed(b"MULTI\r\nGET a\r\nEXEC\r\n");
    assert_eq!(h.waiting(), "R");
    h.settle();
    h.feed(b"MULTI\r\nGET a\r\nEXEC\r\n");
    assert_eq!(h.waiting(), "L");
    h.settle();
}

#[test]
fn an_exec_that_was_refused_has_not_run_and_is_forgotten() {
    let mut h = Harness::new();
    h.feed(b"MULTI\r\nSET a 1\r\nEXEC\r\nEXEC\r\n");
    h.answer(Outcome::Refused(Refused::NoLeader));
    let text = h.text();
    assert!(
        text.ends_with("-CLUSTERDOWN no leader is known; nothing was done\r\n-ERR EXEC without MULTI\r\n"),
        "{text}"
    );
    h.feed(b"MULTI\r\nSET a 1\r\nPING\r\nEXEC\r\n");
    h.answer(Outcome::Undetermined);
    assert!(h.output().windows(14).any(|bytes| bytes == b"-UNDETERMINED "));
}

#[test]
fn once_runs_a_transaction_once() {
    let mut h = Harness::new();
    h.feed(b"MULTI\r\nSET a 1\r\nGET a\r\nONCE 100 7 6 EXEC\r\n");
    assert_eq!(h.waiting(), "O");
    let Request::Once { session, seq, ack, .. } = &h.requests[0].2 else { panic!("it is once") };
    assert_eq!((*session, *seq, *ack), (100, 7, 6));
    h.settle();
    assert!(h.output().ends_with(b"*2\r\n+OK\r\n$1\r\n1\r\n"));
    assert_eq!(h.say("ONCE 100 8 6 EXEC\r\n"), "-ERR EXEC without MULTI\r\n");
    let said = h.say("MULTI\r\nSET a 2\r\nONCE x 8 6 EXEC\r\nEXEC\r\n");
    assert!(said.contains("-ERR value is not an integer or out of range\r\n"), "{said}");
}

#[test]
fn where_clients_are_sent_on_a_command_is_when_it_is_queued() {
    let mut h = Harness::with(&Settings { redirect: true, ..Settings::default() });
    if let Some(raft) = &mut h.status.raft {
        (raft.role, raft.leader) = (Role::Follower, Some(NodeId(2)));
    }
    let said = h.say("MULTI\r\nSET foo 1\r\nEXEC\r\n");
    assert_eq!(
        said,
        "+OK\r\n-MOVED 12182 10.0.0.2:7102\r\n-EXECABORT Transaction discarded because of previous \
        errors.\r\n"
    );
    h.say("READONLY\r\n");
    assert!(h.say("MULTI\r\nGET foo\r\nEXEC\r\n").ends_with("*1\r\n$-1\r\n"));
}

#[test]
fn a_transaction_and_a_watch_are_bounded() {
    let mut h = Harness::with(&Settings { max_command: 1 << 20, ..Settings::default() });
    let set = alloc::format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$400000\r\n{}\r\n", "x".repeat(400_000));
    let said = h.say(alloc::format!("MULTI\r\n{set}{set}{set}GET a\r\nEXEC\r\n"));
    assert_eq!(said.matches("+QUEUED").count(), 3, "{said}");
    assert!(said.contains("-ERR transaction is too long") && said.ends_with("errors.\r\n"), "{said}");
    h.say("MULTI\r\n");
    let said = h.say("PING\r\n".repeat(16_385));
    assert_eq!(said.matches("+QUEUED").count(), 16_384);
    assert!(h.say("EXEC\r\n").starts_with("-EXECABORT"));
    let keys = |from: usize, to: usize| {
        (from..to).fold(String::from("WATCH"), |line, n| alloc::format!("{line} k{n}")) + "\r\n"
    };
    assert_eq!(h.say(keys(0, 1_000)), "+OK\r\n");
    assert!(h.say(keys(1_000, 1_025)).starts_with("-ERR too many keys are watched"));
    assert_eq!(h.say(keys(1_000, 1_024)), "+OK\r\n");
}

#[test]
fn clients_of_a_cluster_find_the_keys_of_watch() {
    let mut h = Harness::new();
    assert_eq!(h.say("COMMAND GETKEYS WATCH a b\r\n"), "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    assert!(h.say("COMMAND INFO WATCH\r\n").contains(":1\r\n:-1\r\n:1\r\n"));
}
