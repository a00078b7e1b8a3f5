//! Short commands in a row are one request, and nobody can tell.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::{Event, Settings};
use super::Harness;
use crate::codec::forward::payload;
use crate::replica::{Outcome, Refused};
use crate::rng::Rng;

/// The numbers of the requests that wait.
fn numbers(h: &Harness) -> Vec<u64> {
    h.requests.iter().map(|(number, ..)| *number).collect()
}

#[test]
fn short_commands_in_a_row_are_one_request_and_each_has_its_reply() {
    let mut h = Harness::new();
    h.feed(b"SET a 1\r\nINCR a\r\nINCR a\r\n");
    assert_eq!((h.waiting().as_str(), numbers(&h)), ("W", [0].into()));
    h.settle();
    assert_eq!(h.text(), "+OK\r\n:2\r\n:3\r\n");
    h.feed(b"GET a\r\nGET b\r\nHELLO 3\r\nGET b\r\nTTL a\r\n");
    assert_eq!(
        (h.waiting().as_str(), numbers(&h)),
        ("R", [3].into()),
        "what is answered here is in nobody's way"
    );
    h.settle();
    let text = h.text();
    assert!(text.starts_with("$1\r\n3\r\n$-1\r\n%7\r\n") && text.ends_with("\r\n_\r\n:-1\r\n"), "{text}");
}

#[test]
fn one_alone_is_the_request_that_it_would_be_without_pipelines() {
    let [apart, joined] = [0, 1 << 20].map(|max_joined| {
        let mut h = Harness::with(&Settings { max_joined, ..Settings::default() });
        h.feed(b"SET a 1\r\n");
        h.feed(b"SET b 1\r\n");
        h.requests
    });
    assert_eq!(apart.len(), 2);
    assert_eq!(apart, joined);
}

#[test]
fn what_is_of_another_kind_or_long_or_slow_goes_by_itself() {
    let mut h = Harness::new();
    let long = "x".repeat(3000);
    h.feed(
        format!("SET a 1\r\nSET b 1\r\nDEL a\r\nSET c {long}\r\nSET d 1\r\nPING\r\nSET e 1\r\n").as_bytes(),
    );
    assert_eq!((h.waiting().as_str(), numbers(&h)), ("WWWW", [0, 2, 3, 4].into()));
    assert_eq!(h.say(""), "+OK\r\n+OK\r\n:1\r\n+OK\r\n+OK\r\n+PONG\r\n+OK\r\n");
    h.feed(b"GET a\r\nGET b\r\nREADONLY\r\nGET a\r\nGET b\r\n");
    assert_eq!(h.waiting(), "R");
    h.answer(Outcome::Reply(Bytes::from_static(b"$1\r\n1\r\n_\r\n")));
    assert_eq!(h.waiting(), "L");
    h.settle();
    h.text();
    h.feed(b"SET a 1\r\nSET b 1\r\nGET a\r\nGET b\r\nSET a 2\r\n");
    assert_eq!(h.waiting(), "W", "reads wait for the writes before them");
    h.answer(Outcome::Reply(Bytes::from_static(b"+OK\r\n+OK\r\n")));
    assert_eq!(h.waiting(), "L");
    h.answer(Outcome::Reply(Bytes::from_static(b"$1\r\n1\r\n$1\r\n1\r\n")));
    assert_eq!(h.waiting(), "W");
}

#[test]
fn a_request_has_so_many_commands_and_bytes_and_no_more() {
    let mut h = Harness::new();
    h.feed("INCR n\r\n".repeat(150).as_bytes());
    assert_eq!(numbers(&h), [0, 64, 128]);
    assert_eq!(h.say("").lines().last(), Some(":150"));
    let mut h = Harness::with(&Settings { max_joined: 1000, ..Settings::default() });
    h.feed(format!("SET k {}\r\n", "x".repeat(300)).repeat(7).as_bytes());
    assert_eq!(numbers(&h), [0, 3, 6]);
    assert!(h.requests.iter().all(|(.., request)| payload(request).len() < 1020));
    assert_eq!(h.say(""), "+OK\r\n".repeat(7));
}

#[test]
fn what_happens_to_the_request_happens_to_each_of_its_commands() {
    let mut h = Harness::new();
    h.feed(b"SET a 1\r\nSET b 1\r\nGET a\r\n");
    h.answer(Outcome::Undetermined);
    assert_eq!(h.text().matches("-UNDETERMINED ").count(), 2);
    assert_eq!(h.waiting(), "R");
    h.settle();
    h.text();
    h.feed(b"SET a 1\r\nSET b 1\r\nGET a\r\nSET c 1\r\n");
    h.answer(Outcome::Refused(Refused::NoLeader));
    let output = h.text();
    let codes: Vec<&str> = output.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(codes, ["-CLUSTERDOWN", "-CLUSTERDOWN", "-TRYAGAIN", "-TRYAGAIN"]);
    h.feed(b"SET d 1\r\nSET e 1\r\n");
    assert_eq!(h.requests.iter().map(|(_, epoch, _)| *epoch).collect::<Vec<_>>(), [1]);
    h.feed(b"");
    h.answer(Outcome::Reply(Bytes::from_static(b"+OK\r\n-ERR x\r\n")));
    assert_eq!(h.text(), "+OK\r\n-ERR x\r\n");
}

#[test]
fn reads_that_are_too_long_together_are_asked_in_pieces_and_nothing_overtakes_them() {
    let mut h = Harness::new();
    for key in ["a", "b", "c"] {
        let value = key.repeat(600 << 10);
        let set = format!("*3\r\n$3\r\nSET\r\n$1\r\n{key}\r\n${}\r\n{value}\r\n", value.len());
        assert_eq!(h.say(set), "+OK\r\n");
    }
    h.feed(b"GET a\r\nPING\r\nGET b\r\nGET c\r\nGET nothing\r\nSCAN 0\r\nSET d 1\r\n");
    let mut asked = String::new();
    let mut text = String::new();
    while !h.requests.is_empty() {
        assert_eq!(h.waiting().len(), 1, "one after the other");
        asked += &h.waiting();
        let request = h.requests[0].2.clone();
        let outcome = h.outcome(&request);
        h.answer(outcome);
        text += &h.text();
    }
    assert_eq!(asked, "RRRW");
    let mut rest = text.as_str();
    for expected in ["a", "PONG", "b", "c"] {
        let value = if expected == "PONG" {
            "+PONG\r\n".into()
        } else {
            format!("${}\r\n{}\r\n", 600 << 10, expected.repeat(600 << 10))
        };
        rest = rest.strip_prefix(value.as_str()).expect("in order");
    }
    assert!(rest.starts_with("$-1\r\n*2\r\n") && rest.ends_with("+OK\r\n"), "{rest}");
}

#[test]
fn the_rest_of_reads_ends_as_its_request_does() {
    let first = || Outcome::Reply(Bytes::from_static(b"$1\r\n1\r\n"));
    let mut h = Harness::new();
    h.feed(b"GET a\r\nGET b\r\nGET c\r\nGET d\r\n");
    h.answer(first());
    h.feed(b"QUIT\r\n");
    assert_eq!((h.waiting().as_str(), numbers(&h), h.closed), ("R", [1].into(), false));
    h.answer(first());
    h.answer(Outcome::Refused(Refused::TimedOut));
    assert!(h.closed);
    let output = h.text();
    assert_eq!(output.lines().map(|line| &line[..1]).collect::<String>(), "$1$1--+");
    let mut h = Harness::new();
    h.feed(b"READONLY\r\nGET a\r\nGET b\r\nGET c\r\nWATCH a\r\n");
    assert_eq!(h.waiting(), "L");
    h.answer(first());
    assert_eq!(h.waiting(), "L", "WATCH waits as a read does");
    h.answer(Outcome::Reply(Bytes::from_static(b"$1\r\n2\r\n_\r\n")));
    assert_eq!((h.waiting().as_str(), h.text().as_str()), ("R", "+OK\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n"));
    let mut h = Harness::new();
    h.feed(b"GET a\r\nGET b\r\n");
    h.answer(first());
    h.feed(b"*1\r\n$x\r\n");
    h.answer(Outcome::Reply(Bytes::from_static(b"_\r\n")));
    assert!(h.closed && h.text().starts_with("$1\r\n1\r\n$-1\r\n-ERR Protocol error"));
}

/// A state machine's reply is not to be trusted with the connection.
#[test]
fn what_becomes_of_commands_without_a_reply_is_not_known_and_nothing_is_asked_for_ever() {
    let missing = |text: &str| text.matches("-UNDETERMINED ").count();
    let mut h = Harness::new();
    h.feed(b"INCR n\r\nINCR n\r\nINCR n\r\n");
    h.answer(Outcome::Reply(Bytes::from_static(b":1\r\n")));
    let text = h.text();
    assert!(text.starts_with(":1\r\n-UNDETERMINED ") && missing(&text) == 2, "{text}");
    for nothing in [&b""[..], b"$5\r\nab", b"?"] {
        h.feed(b"GET n\r\nGET n\r\n");
        h.answer(Outcome::Reply(nothing.into()));
        assert_eq!((h.waiting().as_str(), missing(&h.text())), ("", 2));
    }
    h.feed(b"GET n\r\nGET n\r\n");
    h.answer(Outcome::Reply(Bytes::from_static(b":1\r\n:2\r\n:3\r\n")));
    assert_eq!(h.text(), ":1\r\n:2\r\n", "nobody waits for a third");
}

/// What one connection gathered is not for another one to send.
#[test]
fn a_step_leaves_nothing_gathered() {
    let mut h = Harness::new();
    let scripts = [
        "SET a 1\r\nSET b 1\r\n",
        "SET a 1\r\nSET b 1\r\nQUIT\r\n",
        "SET a 1\r\nSET b 1\r\n*1\r\n$x\r\n",
        "SET a 1\r\nSET b 1\r\nGET a\r\n",
        "SET a 1\r\nSET b 1\r\nWAIT 1 0\r\n",
        "SET a 1\r\nSET b 1\r\nMULTI\r\nSET a 1\r\n",
        "GET a\r\nGET b\r\nWATCH a\r\n",
        "GET a\r\nGET b\r\nPOST / HTTP/1.1\r\n",
    ];
    for script in scripts {
        h.connection = super::super::Connection::new(5, "p:1", h.now, &Settings::default());
        (h.closed, h.requests) = (false, Default::default());
        h.feed(script.as_bytes());
        assert_eq!(numbers(&h), [0], "{script}");
    }
}

#[test]
fn replies_come_in_any_order_and_to_who_is_gone_they_mean_nothing() {
    let mut h = Harness::new();
    h.feed("INCR n\r\n".repeat(130).as_bytes());
    let requests: Vec<_> = h.requests.drain(..).collect();
    let mut outcomes: Vec<_> =
        requests.iter().map(|(number, _, request)| (*number, h.outcome(request))).collect();
    outcomes.rotate_left(1);
    for (number, outcome) in outcomes {
        h.step(Event::Reply { number, outcome });
    }
    assert_eq!(h.text(), (1..=130).map(|n| format!(":{n}\r\n")).collect::<String>());
    h.feed(b"INCR n\r\nINCR n\r\nQUIT\r\n");
    let number = numbers(&h)[0];
    h.settle();
    assert!(h.closed);
    h.step(Event::Reply { number, outcome: Outcome::Reply(Bytes::from_static(b":1\r\n:2\r\n")) });
    assert_eq!(h.text(), ":131\r\n:132\r\n+OK\r\n");
}

#[test]
fn nobody_can_tell_whether_commands_were_joined() {
    let mut rng = Rng::new(4);
    for _ in 0..200 {
        let script: String = (0..1 + rng.below(60))
            .map(|_| match (rng.below(12), rng.below(6)) {
                (0, key) => format!("DEL k{key}\r\n"),
                (1, key) => format!("APPEND k{key} 1\r\n"),
                (2, _) => "PING\r\n".into(),
                (3, key) => format!("MULTI\r\nINCR k{key}\r\nGET k{key}\r\nEXEC\r\n"),
                (4, key) => format!("WATCH k{key}\r\n"),
                (5, key) => format!("SET k{key} word GET\r\n"),
                (6 | 7, key) => format!("GET k{key}\r\n"),
                (8, key) => format!("SET k{key} {}\r\n", "7".repeat(rng.below(2500) as usize)),
                (9, key) => format!("SET k{key} 5 NX\r\n"),
                (_, key) => format!("INCR k{key}\r\n"),
            })
            .collect();
        let replies = [0, 300, 16 << 10].map(|max_joined| {
            let mut h = Harness::with(&Settings { max_joined, ..Settings::default() });
            let mut text = String::new();
            for piece in script.as_bytes().chunks(1 + rng.below(900) as usize) {
                h.feed(piece);
                if rng.chance(1, 2) {
                    h.settle();
                }
                text += &h.text();
            }
            h.settle();
            text + &h.text()
        });
        assert_eq!(replies[0], replies[1], "{script}");
        assert_eq!(replies[0], replies[2], "{script}");
    }
}
