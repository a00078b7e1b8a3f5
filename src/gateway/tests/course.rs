//! Order, barriers, refusals, limits, ends.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::{Deadlines, Event, Settings};
use super::Harness;
use crate::codec::forward::payload;
use crate::raft::NodeId;
use crate::replica::{Outcome, Refused, SessionError};

/// Each command is a request of its own.
fn apart() -> Settings {
    Settings { max_joined: 0, ..Settings::default() }
}

#[test]
fn a_pipeline_is_dispatched_kind_by_kind_and_answered_in_order() {
    let mut h = Harness::with(&apart());
    h.feed(b"SET a 1\r\nSET b 2\r\nPING\r\nGET a\r\nGET b\r\nSET a 3\r\nGET a\r\n");
    assert_eq!(h.waiting(), "WW", "reads wait for the earlier writes");
    assert_eq!(h.connection.output(), b"", "PING's reply waits for those before it");
    h.answer(Outcome::Reply(Bytes::from_static(b"+OK\r\n")));
    assert_eq!((h.waiting().as_str(), h.text().as_str()), ("W", "+OK\r\n"));
    h.answer(Outcome::Reply(Bytes::from_static(b"+OK\r\n")));
    assert_eq!((h.waiting().as_str(), h.text().as_str()), ("RR", "+OK\r\n+PONG\r\n"));
    h.answer(Outcome::Reply(Bytes::from_static(b"$1\r\n1\r\n")));
    assert_eq!(h.waiting(), "R", "a write waits for every earlier read");
    h.answer(Outcome::Reply(Bytes::from_static(b"$1\r\n2\r\n")));
    assert_eq!(h.waiting(), "W");
    h.answer(Outcome::Undetermined);
    assert_eq!(h.waiting(), "R", "an undetermined write refuses nothing");
    assert!(h.text().contains("-UNDETERMINED "));
    assert!(!h.closed);
}

#[test]
fn replies_that_come_in_another_order_leave_in_order() {
    let mut h = Harness::with(&apart());
    h.feed(b"INCR n\r\nINCR n\r\nINCR n\r\n");
    let numbers: Vec<u64> = h.requests.iter().map(|r| r.0).collect();
    for (at, expected) in [(2, ""), (0, ":0\r\n"), (1, ":1\r\n:2\r\n")] {
        let outcome = Outcome::Reply(alloc::format!(":{at}\r\n").into());
        h.step(Event::Reply { number: numbers[at], outcome });
        assert_eq!(h.text(), expected);
    }
    h.step(Event::Reply { number: numbers[0], outcome: Outcome::Undetermined });
    h.step(Event::Reply { number: 999, outcome: Outcome::Undetermined });
    assert_eq!(h.connection.output(), b"", "a reply that nobody waits for is not written");
}

#[test]
fn short_commands_share_memory_and_what_is_long_or_waits_for_exec_keeps_none_of_it() {
    let mut h = Harness::with(&apart());
    let long = "x".repeat(3000);
    h.feed(format!("GET a\r\nGET {long}\r\nGET b\r\n").as_bytes());
    let at: Vec<_> = h.requests.iter().map(|(.., request)| payload(request).as_ptr_range()).collect();
    assert_eq!(at[0].end, at[2].start);
    assert!(!(at[0].start..at[0].start.wrapping_add(16 << 10)).contains(&at[1].start));
    let room = h.actions.space.capacity();
    let empty = "$0\r\n\r\n".repeat(3000);
    h.feed(format!("*3001\r\n$4\r\nMGET\r\n{empty}").as_bytes());
    assert_eq!(h.actions.space.capacity(), room, "what is packed counts, not what it says");
    h.feed(b"MULTI\r\nSET a 1\r\n");
    assert_eq!(h.actions.space.capacity(), room);
    h.feed(b"DISCARD\r\nGET c\r\n");
    assert!(h.actions.space.capacity() < room);
}

#[test]
fn after_a_refusal_the_rest_of_the_pipeline_is_refused_and_then_a_new_epoch_begins() {
    let mut h = Harness::with(&apart());
    h.feed(b"SET a 1\r\nSET b 1\r\nGET a\r\nSET c 1\r\nPING\r\nSET d");
    assert_eq!(h.waiting(), "WW");
    h.answer(Outcome::Refused(Refused::NoLeader));
    assert_eq!(h.waiting(), "W", "nothing new is sent while the refusal is in force");
    h.feed(b" 1\r\nSET e 1\r\n");
    h.answer(Outcome::Refused(Refused::AfterRefusal));
    let output = h.text();
    let codes: Vec<&str> = output.lines().map(|line| line.split(' ').next().unwrap()).collect();
    let refused = "-TRYAGAIN";
    assert_eq!(codes, ["-CLUSTERDOWN", refused, refused, refused, "+PONG", refused, refused]);
    h.feed(b"SET f 1\r\n");
    assert_eq!(h.requests.iter().map(|r| r.1).collect::<Vec<_>>(), [1], "the next pipeline has a new epoch");
    h.settle();
    assert_eq!(h.text(), "+OK\r\n");
    assert_eq!(h.say("GET f\r\nGET e\r\nGET a\r\n"), "$1\r\n1\r\n$-1\r\n$-1\r\n");
}

#[test]
fn a_refused_command_that_was_half_received_is_refused_to_its_end() {
    let mut h = Harness::new();
    h.feed(b"SET a 1\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1");
    h.answer(Outcome::Refused(Refused::Busy));
    h.feed(b"\r\n1\r\n");
    assert_eq!(h.waiting(), "");
    assert_eq!(h.text().matches("-TRYAGAIN").count(), 2);
    h.feed(b"SET c 1\r\n");
    assert_eq!(h.waiting(), "W");
}

#[test]
fn a_refused_read_refuses_nothing_else() {
    let mut h = Harness::new();
    h.feed(b"GET a\r\nSET a 1\r\n");
    h.answer(Outcome::Refused(Refused::TimedOut));
    assert_eq!(h.waiting(), "W");
    assert_eq!(h.requests[0].1, 0);
}

#[test]
fn wait_comes_after_the_writes_before_it() {
    let mut h = Harness::new();
    h.feed(b"SET a 1\r\nWAIT 1 0\r\nSET b 1\r\n");
    assert_eq!(h.waiting(), "W");
    h.answer(Outcome::Reply(Bytes::from_static(b"+OK\r\n")));
    assert_eq!((h.text().as_str(), h.waiting().as_str()), ("+OK\r\n:1\r\n", "W"));
}

#[test]
fn each_reply_is_in_the_protocol_of_its_command() {
    let mut h = Harness::new();
    h.feed(b"SET a 1\r\nGETDEL b\r\nHELLO 3\r\nGETDEL b\r\nRESET\r\nGETDEL b\r\n");
    h.settle();
    let output = h.text();
    assert!(output.starts_with("+OK\r\n$-1\r\n%7\r\n"), "{output}");
    assert!(output.ends_with("_\r\n+RESET\r\n$-1\r\n"), "{output}");
}

#[test]
fn every_outcome_has_its_words() {
    let mut h = Harness::with(&Settings { redirect: true, ..Settings::default() });
    let refused = [
        (Refused::NotLeader(NodeId(2)), "-MOVED 12182 10.0.0.2:7102\r\n"),
        (Refused::NotLeader(NodeId(9)), "-TRYAGAIN "),
        (Refused::NoLeader, "-CLUSTERDOWN "),
        (Refused::Busy, "-TRYAGAIN "),
        (Refused::TooLarge, "-ERR "),
        (Refused::DiskFull, "-MISCONF "),
        (Refused::Stopping, "-CLUSTERDOWN "),
        (Refused::TimedOut, "-TRYAGAIN "),
    ];
    let session = [
        (SessionError::Expired, "-SESSIONEXPIRED "),
        (SessionError::Stale, "-STALESEQ "),
        (SessionError::BeyondWindow, "-SESSIONWINDOW "),
        (SessionError::RepliesFull, "-SESSIONFULL "),
        (SessionError::TooMany, "-SESSIONLIMIT "),
    ];
    let refused = refused.map(|(r, text)| (Outcome::Refused(r), text));
    let session = session.map(|(s, text)| (Outcome::Session(s), text));
    let done = [
        (Outcome::SessionOpened(12), ":12\r\n"),
        (Outcome::SessionClosed, "+OK\r\n"),
        (Outcome::Undetermined, "-UNDETERMINED "),
        (Outcome::Reply(Bytes::from_static(b"%1\r\n+a\r\n,1.5\r\n")), "*2\r\n+a\r\n$3\r\n1.5\r\n"),
        (Outcome::Reply(Bytes::from_static(b"what?")), "-ERR "),
    ];
    for (outcome, expected) in refused.into_iter().chain(session).chain(done) {
        h.feed(b"SET {foo}bar 1\r\n");
        let shown = alloc::format!("{outcome:?}");
        h.answer(outcome);
        let output = h.text();
        assert!(output.starts_with(expected), "{shown}: {output}");
        assert_eq!(output.matches('\n').count(), expected.matches('\n').count().max(1));
        assert!(!h.closed, "the connection stays open");
    }
    let mut forwards = Harness::new();
    forwards.feed(b"SET a 1\r\n");
    forwards.answer(Outcome::Refused(Refused::NotLeader(NodeId(2))));
    assert!(forwards.text().starts_with("-TRYAGAIN "), "a client that is not to be redirected is not");
}

#[test]
fn the_byte_in_place_of_a_dollar_is_shown_as_it_is() {
    let mut h = Harness::new();
    h.feed(b"*1\r\n\x80\r\n");
    assert_eq!(h.output(), &b"-ERR Protocol error: expected '$', got '\x80'\r\n"[..]);
}

#[test]
fn malformed_bytes_are_answered_and_the_connection_closed() {
    let mut h = Harness::new();
    h.feed(b"SET a 1\r\n*1\r\n@4\r\nPING\r\n");
    assert!(!h.closed, "what is under way is answered first");
    h.settle();
    assert!(h.closed);
    assert_eq!(h.text(), "+OK\r\n-ERR Protocol error: expected '$', got '@'\r\n");
    h.feed(b"PING\r\n");
    assert_eq!(h.connection.output(), b"");
    assert!(!h.connection.wants_input());
}

#[test]
fn quit_and_the_end_of_input_answer_what_is_under_way() {
    let mut h = Harness::new();
    h.feed(b"SET a 1\r\nQUIT\r\nPING\r\n");
    assert!(!h.closed);
    h.settle();
    assert_eq!((h.text().as_str(), h.closed), ("+OK\r\n+OK\r\n", true));
    let mut h = Harness::new();
    h.feed(b"SET a 1\r\nGET a\r\nPIN");
    h.step(Event::InputEnded);
    assert!(!h.closed && !h.connection.wants_input());
    h.settle();
    assert_eq!((h.text().as_str(), h.closed), ("+OK\r\n$1\r\n1\r\n", true));
    let mut h = Harness::new();
    h.step(Event::InputEnded);
    assert!(h.closed);
}

#[test]
fn a_pipeline_has_a_limit_in_commands_and_in_bytes() {
    let mut h = Harness::with(&Settings { max_pipeline: 2, ..apart() });
    h.feed(b"INCR n\r\nINCR n\r\nINCR n\r\nINCR n\r\n");
    assert_eq!(h.waiting(), "WW");
    assert_eq!(h.say(""), ":1\r\n:2\r\n:3\r\n:4\r\n");
    let mut h = Harness::with(&Settings { max_command: 1000, ..apart() });
    let set = alloc::format!("SET a {}\r\n", "x".repeat(600));
    h.feed(set.repeat(3).as_bytes());
    assert_eq!(h.waiting(), "WW");
    h.feed(&[b'x'; 20_000]);
    assert!(!h.connection.wants_input(), "what cannot be taken is not read");
}

#[test]
fn above_the_soft_limit_no_more_is_taken_until_the_client_reads() {
    let mut h = Harness::with(&Settings { output_soft_limit: 100, ..Settings::default() });
    let echo = alloc::format!("ECHO {}\r\n", "x".repeat(60));
    h.feed(echo.repeat(5).as_bytes());
    assert_eq!(h.connection.output().len(), 2 * 67);
    assert!(!h.connection.wants_input());
    let seen = h.output().len();
    assert_eq!(h.connection.wake_at(), Some(0), "the rest is taken up at once");
    h.step(Event::Wake);
    let seen = seen + h.output().len();
    h.step(Event::Wake);
    assert_eq!(seen + h.output().len(), 5 * 67);
    assert!(h.connection.wants_input());
    assert_ne!(h.connection.wake_at(), Some(0));
}

/// A page in a browser on the same machine must not write to a store that listens on loopback.
#[test]
fn what_a_browser_is_made_to_send_runs_nothing() {
    for request in ["POST / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nhost: 127.0.0.1:7101\r\n"] {
        let mut h = Harness::new();
        h.feed(alloc::format!("{request}\r\nSET a 1\r\n").as_bytes());
        assert!(h.closed && h.requests.is_empty(), "{request}");
    }
}

#[test]
fn above_the_hard_limit_the_connection_is_closed_and_its_output_dropped() {
    let mut h = Harness::with(&Settings { output_hard_limit: 1000, ..apart() });
    h.feed(b"GET a\r\nGET a\r\n");
    let value = alloc::format!("$900\r\n{}\r\n", "x".repeat(900));
    h.answer(Outcome::Reply(value.clone().into()));
    assert!(!h.closed);
    h.answer(Outcome::Reply(value.into()));
    assert!(h.closed);
    assert_eq!(h.connection.output(), b"");
}

#[test]
fn replies_that_wait_for_an_earlier_one_count_too() {
    let mut h = Harness::with(&Settings { output_hard_limit: 1000, ..apart() });
    h.feed(b"GET a\r\nGET a\r\n");
    h.requests.pop_front();
    h.answer(Outcome::Reply(alloc::format!("$1100\r\n{}\r\n", "x".repeat(1100)).into()));
    assert!(h.closed);
}

#[test]
fn deadlines_close_who_says_nothing_and_nobody_else() {
    let deadlines = Deadlines { first_command: Some(1_000), stalled_command: Some(2_000), idle: Some(5_000) };
    let start = || {
        let mut h = Harness::new();
        let fresh = super::super::Connection::new(5, "p:1", h.now, &Settings::default());
        h.connection = fresh.with_deadlines(deadlines);
        h
    };
    let mut h = start();
    assert_eq!(h.connection.wake_at(), Some(h.now.mono + 1_000));
    h.now.mono += 999;
    h.step(Event::Wake);
    assert!(!h.closed, "an early wake is harmless");
    h.now.mono += 1;
    h.step(Event::Wake);
    assert!(h.closed);

    let mut h = start();
    h.say("PING\r\n*1\r\n$4\r\nPI");
    assert_eq!(h.connection.wake_at(), Some(h.now.mono + 2_000));
    h.say("NG\r\n");
    assert_eq!(h.connection.wake_at(), Some(h.now.mono + 5_000));
    h.feed(b"SET a 1\r\n");
    assert_eq!(h.connection.wake_at(), None, "the node answers what is under way");
    h.settle();
    h.now.mono += 4_000;
    assert_eq!(h.text(), "+OK\r\n");
    h.now.mono += 1_000;
    h.step(Event::Wake);
    assert!(!h.closed, "who reads is alive");
    h.now.mono += 5_000;
    h.step(Event::Wake);
    assert!(h.closed);
}

#[test]
fn keys_and_values_have_limits() {
    let mut h = Harness::with(&Settings { max_key: 10, max_value: 100, ..Settings::default() });
    let (key, value) = ("k".repeat(11), "v".repeat(101));
    assert!(h.say(alloc::format!("SET {key} v\r\n")).starts_with("-ERR key exceeds"));
    assert!(h.say(alloc::format!("MGET a {key}\r\n")).starts_with("-ERR key exceeds"));
    assert!(h.say(alloc::format!("SET k {value}\r\n")).starts_with("-ERR string exceeds"));
    assert!(h.say(alloc::format!("ONCE 1 1 1 SET {key} v\r\n")).starts_with("-ERR key exceeds"));
    assert_eq!(h.say(alloc::format!("SET {} {}\r\n", &key[1..], &value[1..])), "+OK\r\n");
}

#[test]
fn local_reads_are_asked_for() {
    let mut h = Harness::new();
    h.feed(b"GET a\r\nREADONLY\r\nGET a\r\nREADWRITE\r\nGET a\r\n");
    assert_eq!(h.waiting(), "RLR");
}

#[test]
fn a_connection_answers_again_after_its_numbers_have_grown() {
    let mut h = Harness::new();
    let mut expected = vec![];
    for n in 1..=1000 {
        expected.push(h.say("INCR n\r\n") == alloc::format!(":{n}\r\n"));
    }
    assert!(expected.iter().all(|&ok| ok));
    assert_eq!(h.connection.commands_answered().to_string(), "1000");
}

#[test]
fn every_random_key_is_drawn_anew() {
    let pipeline = "RANDOMKEY\r\n".repeat(200);
    let keys = |h: &mut Harness| {
        let replies = h.say(&pipeline);
        replies.lines().skip(1).step_by(2).map(String::from).collect::<Vec<_>>()
    };
    let mut h = Harness::new();
    h.say("MSET a 1 b 2 c 3 d 4\r\n");
    let (first, second) = (keys(&mut h), keys(&mut h));
    assert_eq!(first.len(), 200);
    for key in ["a", "b", "c", "d"] {
        let times = first.iter().filter(|drawn| *drawn == key).count();
        assert!((20..=80).contains(&times), "{key}: {times} of 200");
    }
    assert_ne!(first, second);
    // The same bytes at another time, on a connection of the same name.
    let mut again = Harness::new();
    again.now.mono += 1;
    again.say("MSET a 1 b 2 c 3 d 4\r\n");
    assert_ne!(keys(&mut again), first);
}
