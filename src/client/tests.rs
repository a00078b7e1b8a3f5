//! The clerk against scripted servers.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Action, CallId, CallKind, Clerk, ClerkError, Config, Event, LinkId};
use crate::codec::resp::Value;
use crate::rng::Rng;
use crate::time::Micros;

/// A clerk and what it has asked for.
struct Script {
    clerk: Clerk,
    now: Micros,
    actions: Vec<Action>,
    link: LinkId,
    wake: Option<Micros>,
    ends: Vec<(CallId, Result<Value, ClerkError>)>,
}

impl Script {
    fn new(session: bool) -> Self {
        let endpoints = vec!["a:1".to_string(), "b:2".to_string(), "c:3".to_string()];
        Self::with(Config { session, ..Config::new(endpoints, 7) })
    }

    fn with(config: Config) -> Self {
        let clerk = Clerk::new(config);
        Self { clerk, now: 1_000, actions: Vec::new(), link: 0, wake: None, ends: Vec::new() }
    }

    fn write(&mut self, text: &str) -> CallId {
        let arguments: Vec<&str> = text.split(' ').collect();
        self.clerk.call(self.now, CallKind::Write, &arguments, &mut self.actions)
    }

    fn read(&mut self, text: &str) -> CallId {
        let arguments: Vec<&str> = text.split(' ').collect();
        self.clerk.call(self.now, CallKind::Read, &arguments, &mut self.actions)
    }

    fn step(&mut self, event: Event) {
        self.clerk.step(self.now, event, &mut self.actions);
    }

    /// Takes the actions: what is sent and asked for, each in a line.
    fn asked(&mut self) -> String {
        let mut lines = Vec::new();
        for action in core::mem::take(&mut self.actions) {
            match action {
                Action::Connect { link, endpoint } => {
                    assert!(link > self.link, "names are never reused");
                    self.link = link;
                    lines.push(format!("connect {}", &endpoint[..1]));
                }
                Action::Send { link, bytes } => {
                    assert_eq!(link, self.link);
                    lines.push(words(&bytes));
                }
                Action::Close { link } => {
                    assert_eq!(link, self.link);
                    lines.push("close".into());
                }
                Action::Done { call, result } => self.ends.push((call, result)),
                Action::WakeAt(at) => self.wake = Some(at),
            }
        }
        lines.join("; ")
    }

    fn connect(&mut self) {
        assert!(self.asked().starts_with("connect "));
        self.step(Event::Connected { link: self.link });
    }

    fn lose(&mut self) {
        self.step(Event::Disconnected { link: self.link });
    }

    fn reply(&mut self, text: &str) {
        let (link, bytes) = (self.link, Bytes::from(format!("{text}\r\n")));
        self.step(Event::Received { link, bytes });
    }

    /// Lets the time of the next wake-up come.
    fn sleep(&mut self) {
        let asked = self.asked();
        assert_eq!(asked, "", "something was asked for before the sleep");
        self.now = self.wake.expect("a wake-up is set");
        self.step(Event::Wake);
    }

    /// Connects and opens session 70.
    fn open_session(&mut self) {
        self.connect();
        assert!(self.asked().starts_with("SESSION OPEN "));
        self.reply(":70");
    }

    /// The calls that have ended since the last look.
    fn ended(&mut self) -> Vec<(CallId, Result<Value, ClerkError>)> {
        let asked = self.asked();
        assert_eq!(asked, "", "something was asked for");
        core::mem::take(&mut self.ends)
    }
}

/// The arguments of requests, without lengths.
fn words(bytes: &[u8]) -> String {
    let text = core::str::from_utf8(bytes).unwrap();
    let arguments: Vec<&str> =
        text.split("\r\n").filter(|w| !w.is_empty() && !w.starts_with(['*', '$'])).collect();
    arguments.join(" ")
}

fn ok(text: &'static str) -> Result<Value, ClerkError> {
    Ok(Value::Simple(Bytes::from_static(text.as_bytes())))
}

#[test]
fn a_write_opens_a_session_and_runs_in_it() {
    let mut s = Script::new(true);
    let call = s.write("SET k v");
    s.connect();
    assert_eq!(s.asked(), "SESSION OPEN 00000000000000000000000000000007-0");
    s.reply(":70");
    assert_eq!(s.asked(), "ONCE 70 1 1 SET k v");
    s.reply("+OK");
    assert_eq!(s.ended(), [(call, ok("OK"))]);
    let second = s.write("SET k w");
    assert_eq!(s.asked(), "ONCE 70 2 2 SET k w", "the connection and the session are kept");
    s.reply("-ERR no");
    assert_eq!(s.ended(), [(second, Err(ClerkError::Command(Bytes::from_static(b"ERR no"))))]);
}

#[test]
fn a_lost_reply_is_asked_for_again_under_the_same_number() {
    let mut s = Script::new(true);
    let call = s.write("INCR n");
    s.open_session();
    assert_eq!(s.asked(), "ONCE 70 1 1 INCR n");
    s.lose();
    s.sleep();
    s.connect();
    assert_eq!(s.asked(), "ONCE 70 1 1 INCR n", "the session outlives the connection");
    s.reply("-UNDETERMINED who knows");
    s.sleep();
    assert_eq!(s.asked(), "ONCE 70 1 1 INCR n");
    s.reply(":1");
    assert_eq!(s.ended(), [(call, Ok(Value::Integer(1)))]);
}

#[test]
fn a_refusal_does_not_say_that_an_earlier_sending_was_not_done() {
    // Counterexample: the first sending was appended and its reply lost; the second found the disk full, and the clerk reported
    // that nothing was done.
    let mut s = Script::new(true);
    let call = s.write("INCR n");
    s.open_session();
    assert_eq!(s.asked(), "ONCE 70 1 1 INCR n");
    s.reply("-UNDETERMINED who knows");
    s.sleep();
    assert_eq!(s.asked(), "ONCE 70 1 1 INCR n");
    s.reply("-MISCONF the disk has no room; nothing was done");
    assert_eq!(s.ended(), []);
    s.sleep();
    assert_eq!(s.asked(), "ONCE 70 1 1 INCR n");
    s.reply(":1");
    assert_eq!(s.ended(), [(call, Ok(Value::Integer(1)))]);
    // A call that was never sent before is certainly not done.
    let call = s.write("INCR n");
    assert_eq!(s.asked(), "ONCE 70 2 2 INCR n");
    s.reply("-MISCONF the disk has no room; nothing was done");
    let text = Bytes::from_static(b"MISCONF the disk has no room; nothing was done");
    assert_eq!(s.ended(), [(call, Err(ClerkError::Command(text)))]);
}

#[test]
fn a_lost_reply_to_the_opening_gives_the_same_session() {
    let mut s = Script::new(true);
    s.write("INCR n");
    s.connect();
    let opening = s.asked();
    s.lose();
    s.sleep();
    s.connect();
    assert_eq!(s.asked(), opening, "the same nonce");
    s.reply("-SESSIONLIMIT full");
    s.sleep();
    assert_eq!(s.asked(), opening);
    s.reply(":70");
    assert_eq!(s.asked(), "ONCE 70 1 1 INCR n");
}

#[test]
fn without_a_session_a_lost_write_is_never_sent_again() {
    let mut s = Script::new(false);
    let (write, read) = (s.write("INCR n"), s.read("GET n"));
    s.connect();
    assert_eq!(s.asked(), "INCR n; GET n");
    s.lose();
    assert_eq!(s.ended(), [(write, Err(ClerkError::Undetermined))]);
    s.sleep();
    s.connect();
    assert_eq!(s.asked(), "GET n");
    s.reply("$1\r\n7");
    assert_eq!(s.ended(), [(read, Ok(Value::Bulk(Bytes::from_static(b"7"))))]);
    let write = s.write("INCR n");
    assert_eq!(s.asked(), "INCR n");
    s.reply("-UNDETERMINED who knows");
    assert_eq!(s.ended(), [(write, Err(ClerkError::Undetermined))]);
}

#[test]
fn without_a_session_a_refused_write_is_sent_again() {
    let mut s = Script::new(false);
    let call = s.write("INCR n");
    s.connect();
    assert_eq!(s.asked(), "INCR n");
    s.reply("-TRYAGAIN busy");
    s.sleep();
    assert_eq!(s.asked(), "INCR n", "here again, after a pause");
    s.reply("-CLUSTERDOWN no leader");
    assert_eq!(s.asked(), "close");
    s.sleep();
    s.connect();
    assert_eq!(s.asked(), "INCR n", "elsewhere, after a pause");
    s.reply(":1");
    assert_eq!(s.ended(), [(call, Ok(Value::Integer(1)))]);
}

/// Found by the simulator: a member that cannot send on to the leader said so for ever, and was asked for ever.
#[test]
fn a_member_that_says_try_again_without_end_is_left_for_another() {
    let mut s = Script::new(false);
    s.read("GET n");
    s.connect();
    for _ in 0..4 {
        assert_eq!(s.asked(), "GET n");
        s.reply("-TRYAGAIN node 5 leads and the command could not be sent on to it");
        s.sleep();
    }
    assert_eq!(s.asked(), "GET n");
    s.reply("-TRYAGAIN node 5 leads and the command could not be sent on to it");
    assert_eq!(s.asked(), "close");
    s.sleep();
    assert!(s.asked().starts_with("connect "));
}

#[test]
fn a_redirect_is_followed_at_once_when_everything_sent_is_answered() {
    let mut s = Script::new(false);
    let (first, second) = (s.write("INCR n"), s.write("INCR m"));
    s.connect();
    assert_eq!(s.asked(), "INCR n; INCR m");
    s.reply("-MOVED 5 d:4");
    assert_eq!(s.asked(), "", "the second write is still under way here");
    s.reply(":9");
    assert_eq!(s.asked(), "close; connect d");
    assert_eq!(s.ends, [(second, Ok(Value::Integer(9)))]);
    s.ends.clear();
    s.step(Event::Connected { link: s.link });
    assert_eq!(s.asked(), "INCR n");
    s.reply(":1");
    assert_eq!(s.ended(), [(first, Ok(Value::Integer(1)))]);
}

#[test]
fn redirects_in_a_circle_are_slowed_down() {
    let mut s = Script::new(false);
    s.read("GET n");
    for _ in 0..3 {
        s.connect();
        assert_eq!(s.asked(), "GET n");
        s.reply("-MOVED 5 d:4");
        assert!(s.actions.iter().any(|a| matches!(a, Action::Connect { .. })));
        s.actions.retain(|a| matches!(a, Action::Connect { .. } | Action::WakeAt(_)));
    }
    s.connect();
    assert_eq!(s.asked(), "GET n");
    s.reply("-MOVED 5 d:4");
    assert_eq!(s.asked(), "close");
    s.sleep();
    assert_eq!(s.asked(), "connect d");
}

#[test]
fn an_expired_session_ends_what_was_sent_and_nothing_else() {
    let mut s = Script::new(true);
    let (first, second) = (s.write("INCR n"), s.write("INCR m"));
    s.open_session();
    assert_eq!(s.asked(), "ONCE 70 1 1 INCR n; ONCE 70 2 1 INCR m");
    s.lose();
    s.sleep();
    let third = s.write("INCR o");
    let read = s.read("GET n");
    s.connect();
    assert_eq!(s.asked(), "ONCE 70 1 1 INCR n; ONCE 70 2 1 INCR m; ONCE 70 3 1 INCR o; GET n");
    s.reply("-SESSIONEXPIRED gone");
    let undetermined = |call| (call, Err(ClerkError::Undetermined));
    assert_eq!(s.ended(), [undetermined(first), undetermined(second), undetermined(third)]);
    s.reply(":1");
    s.reply(":1");
    s.reply("$1\r\n7");
    assert_eq!(s.ended(), [(read, Ok(Value::Bulk(Bytes::from_static(b"7"))))], "late replies are nobody's");
    s.now += 2_000_000;
    let fourth = s.write("INCR p");
    assert_eq!(s.asked(), "SESSION OPEN 00000000000000000000000000000007-1");
    s.reply(":90");
    assert_eq!(s.asked(), "ONCE 90 1 1 INCR p", "a new session, with its own numbers");
    s.reply(":1");
    assert_eq!(s.ended(), [(fourth, Ok(Value::Integer(1)))]);
}

#[test]
fn writes_that_are_not_under_way_survive_an_expired_session() {
    let mut s = Script::new(true);
    let (refused, sent) = (s.write("INCR n"), s.write("INCR m"));
    s.open_session();
    assert_eq!(s.asked(), "ONCE 70 1 1 INCR n; ONCE 70 2 1 INCR m");
    s.reply("-TRYAGAIN busy");
    let unsent = s.write("INCR o");
    s.reply("-SESSIONEXPIRED gone");
    assert_eq!(s.ended(), [(sent, Err(ClerkError::Undetermined))]);
    s.sleep();
    assert!(s.asked().starts_with("SESSION OPEN "));
    s.reply(":90");
    assert_eq!(s.asked(), "ONCE 90 1 1 INCR n; ONCE 90 2 1 INCR o");
    s.reply(":1");
    s.reply(":1");
    assert_eq!(s.ended(), [(refused, Ok(Value::Integer(1))), (unsent, Ok(Value::Integer(1)))]);
}

#[test]
fn a_session_that_was_long_idle_is_not_used_again() {
    let mut s = Script::new(true);
    s.write("INCR n");
    s.open_session();
    assert_eq!(s.asked(), "ONCE 70 1 1 INCR n");
    s.reply(":1");
    s.now += 1_199_999_999;
    s.write("INCR n");
    assert_eq!(s.asked(), "ONCE 70 2 2 INCR n");
    s.reply(":2");
    s.now += 1_200_000_000;
    s.write("INCR n");
    assert_eq!(s.asked(), "SESSION OPEN 00000000000000000000000000000007-1");
    s.reply(":90");
    assert_eq!(s.asked(), "ONCE 90 1 1 INCR n");
}

#[test]
fn a_session_is_closed_when_nothing_is_under_way_in_it() {
    let mut s = Script::new(true);
    assert_eq!(s.clerk.close_session(s.now, &mut s.actions), None);
    s.write("INCR n");
    s.open_session();
    assert_eq!(s.asked(), "ONCE 70 1 1 INCR n");
    assert_eq!(s.clerk.close_session(s.now, &mut s.actions), None, "a write is under way");
    s.reply(":1");
    let call = s.clerk.close_session(s.now, &mut s.actions).expect("a session is open");
    assert_eq!(s.asked(), "SESSION CLOSE 70");
    s.ends.clear();
    s.reply("+OK");
    assert_eq!(s.ended(), [(call, ok("OK"))]);
    s.write("INCR n");
    assert_eq!(s.asked(), "SESSION OPEN 00000000000000000000000000000007-1");
}

#[test]
fn a_deadline_tells_the_truth() {
    for (sent, replies, expected) in [
        (false, None, ClerkError::TimedOut),
        (true, None, ClerkError::Undetermined),
        (true, Some("-CLUSTERDOWN no"), ClerkError::TimedOut),
        (true, Some("-UNDETERMINED"), ClerkError::Undetermined),
    ] {
        for session in [true, false] {
            let mut s = Script::new(session);
            let call = s.write("INCR n");
            let until = s.now + 15_000_000;
            let _ = s.asked();
            let mut ends = Vec::new();
            for _ in 0..10_000 {
                if sent && s.clerk.calls() > 0 {
                    s.step(Event::Connected { link: s.link });
                }
                let asked = s.asked();
                if asked.contains("SESSION") {
                    s.reply(":70");
                    continue;
                }
                if let (true, Some(text)) = (asked.contains("INCR"), replies) {
                    s.reply(text);
                }
                let _ = s.asked();
                ends.append(&mut s.ends);
                if !ends.is_empty() {
                    break;
                }
                let wake = s.wake.unwrap();
                assert!(wake > s.now && wake <= until, "a wake-up is set in {:?}", s.clerk);
                s.now = wake;
                s.step(Event::Wake);
            }
            assert_eq!(ends, [(call, Err(expected.clone()))], "sent {sent}, {replies:?}, session {session}");
        }
    }
}

#[test]
fn a_write_that_was_given_up_is_not_waited_for() {
    let endpoints = vec!["a:1".to_string()];
    let mut s = Script::with(Config { call_timeout: 1_000, ..Config::new(endpoints, 7) });
    s.write("INCR n");
    s.open_session();
    assert_eq!(s.asked(), "ONCE 70 1 1 INCR n");
    s.sleep();
    assert_eq!(s.ended().len(), 1);
    let second = s.write("INCR m");
    assert_eq!(s.asked(), "ONCE 70 2 2 INCR m", "number 1 can never run once number 2 has");
    s.reply(":5");
    assert_eq!(s.ended(), [], "the reply to number 1 is nobody's");
    s.reply(":6");
    assert_eq!(s.ended(), [(second, Ok(Value::Integer(6)))]);
}

#[test]
fn an_early_wake_is_harmless() {
    let mut s = Script::new(true);
    s.write("INCR n");
    s.connect();
    let _ = s.asked();
    let wake = s.wake.take();
    s.step(Event::Wake);
    assert_eq!((s.asked().as_str(), s.wake), ("", wake), "the timer that was taken down is set again");
}

#[test]
fn a_silent_server_is_left() {
    let mut s = Script::new(true);
    let call = s.write("INCR n");
    assert_eq!(s.asked().split(' ').next(), Some("connect"));
    let first = s.link;
    s.sleep();
    assert_eq!(s.asked(), "close", "the connection did not open in time");
    s.sleep();
    s.connect();
    assert!(s.link > first);
    assert!(s.asked().starts_with("SESSION"));
    s.sleep();
    assert_eq!(s.asked(), "close", "the reply did not come in time");
    s.sleep();
    s.open_session();
    assert!(s.asked().starts_with("ONCE 70 1 1"));
    s.step(Event::Received { link: first, bytes: Bytes::from_static(b":666\r\n") });
    s.step(Event::Disconnected { link: first });
    s.step(Event::Connected { link: first });
    assert_eq!(s.ended(), [], "a connection that was left has no say");
    s.reply(":1");
    assert_eq!(s.ended(), [(call, Ok(Value::Integer(1)))]);
}

/// Found by the simulator: calls with less patience than a member that was cut off asked it for ever.
#[test]
fn a_member_that_refuses_later_than_calls_wait_is_left_for_another() {
    let endpoints = vec!["a:1".to_string(), "b:2".to_string()];
    for (reply, next) in [("-CLUSTERDOWN no leader", "close"), ("-MOVED 0 b:2", "close; connect b")] {
        let mut s = Script::with(Config { call_timeout: 1_000, ..Config::new(endpoints.clone(), 1) });
        let call = s.read("GET k");
        s.connect();
        assert_eq!(s.asked(), "GET k");
        s.sleep();
        assert_eq!(s.ended(), [(call, Err(ClerkError::TimedOut))]);
        let call = s.read("GET k");
        assert_eq!(s.asked(), "GET k");
        s.sleep();
        assert_eq!(s.ended(), [(call, Err(ClerkError::TimedOut))]);
        s.reply(reply);
        assert_eq!(s.asked(), "", "what was sent is still to be answered");
        s.reply(reply);
        s.read("GET k");
        assert_eq!(s.asked(), next);
    }
}

#[test]
fn bytes_that_are_no_reply_end_the_connection() {
    for (bytes, is_asked) in
        [("what?", true), (":1\r\n:2\r\n:3", true), ("-ERR max number of clients reached", false)]
    {
        let mut s = Script::new(false);
        s.read("GET n");
        s.connect();
        if is_asked {
            assert_eq!(s.asked(), "GET n");
        }
        s.actions.clear();
        s.reply(bytes);
        assert!(s.asked().contains("close"), "{bytes}");
    }
}

#[test]
fn too_many_calls_and_no_endpoints_are_refused_at_once() {
    let mut s = Script::with(Config { max_calls: 1, ..Config::new(vec!["a:1".into()], 1) });
    s.read("GET a");
    let second = s.read("GET b");
    assert!(s.asked().starts_with("connect"));
    assert_eq!(s.ended(), [(second, Err(ClerkError::TooMany))]);
    let mut s = Script::with(Config::new(Vec::new(), 1));
    let call = s.read("GET a");
    assert_eq!(s.ended(), [(call, Err(ClerkError::NoEndpoint))]);
}

/// A server that keeps sessions, loses replies and refuses at will: each write runs once or, if it is reported
/// undetermined, at most once.
#[test]
fn whatever_the_servers_do_each_write_runs_at_most_once() {
    use alloc::collections::BTreeMap;
    let mut lost = 0;
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let endpoints = vec!["a:1".to_string(), "b:2".to_string()];
        let mut s = Script::with(Config::new(endpoints, u128::from(seed)));
        let (mut runs, mut replies) = (BTreeMap::<String, u32>::new(), BTreeMap::<(String, u64), u32>::new());
        let mut results = BTreeMap::new();
        let mut made = BTreeMap::new();
        let mut session = 70;
        for round in 0..400 {
            if round < 100 && rng.chance(1, 2) {
                let key = format!("k{round}");
                made.insert(s.write(&format!("INCR {key}")), key);
            }
            let asked = s.asked();
            for line in asked.split("; ") {
                if line.starts_with("connect") {
                    let link = s.link;
                    s.step(if rng.chance(4, 5) {
                        Event::Connected { link }
                    } else {
                        Event::Disconnected { link }
                    });
                }
                let words: Vec<&str> = line.split(' ').collect();
                if let ["SESSION", ..] = words[..] {
                    s.reply(&format!(":{session}"));
                } else if let ["ONCE", id, seq, _, _, key] = words[..] {
                    if rng.chance(1, 60) {
                        session += 1;
                    }
                    let alive = id == session.to_string();
                    let number = (id.to_string(), seq.parse().unwrap());
                    match rng.below(6) {
                        0 => s.reply("-TRYAGAIN"),
                        1 => s.reply("-MOVED 1 b:2"),
                        _ if !alive => s.reply("-SESSIONEXPIRED"),
                        fate => {
                            let runs = runs.entry(key.to_string()).or_default();
                            let reply = *replies.entry(number).or_insert_with(|| {
                                *runs += 1;
                                *runs
                            });
                            match fate {
                                2 => s.lose(),
                                3 => s.reply("-UNDETERMINED"),
                                _ => s.reply(&format!(":{reply}")),
                            }
                        }
                    }
                }
            }
            results.extend(s.ends.drain(..));
            s.now += rng.below(100_000);
            s.step(Event::Wake);
        }
        let _ = s.asked();
        results.extend(s.ends.drain(..));
        for (call, key) in made {
            let ran = runs.get(&key).copied().unwrap_or_default();
            match results.get(&call) {
                Some(Ok(reply)) => assert_eq!((reply, ran), (&Value::Integer(1), 1), "seed {seed} {key}"),
                Some(Err(ClerkError::TimedOut)) => assert_eq!(ran, 0, "seed {seed} {key}"),
                _ => assert!(ran <= 1, "seed {seed} {key} ran {ran} times"),
            }
            lost += u32::from(!matches!(results.get(&call), Some(Ok(_))));
        }
    }
    assert!(lost > 0, "the servers did nothing bad");
}
