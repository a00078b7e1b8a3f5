//! A client as most Redis libraries are: commands in batches on one connection, each sent once, replies in order.
//!
//! It tries nothing again. What it is told is what happened, and the order of its connection is a promise: a reply says
//! what was so behind all that was answered before it.
//!
//! Of the transactions that it is asked for it gives some up by DISCARD, and puts among the commands of others one that
//! cannot be queued, so that EXEC must do nothing. Of both it is known that they are not done, however they end. Before it
//! ends one it may wait until all of it is queued; if the connection breaks meanwhile, nothing of it is done either.

use std::collections::VecDeque;
use std::string::String;
use std::vec::Vec;

use bytes::Bytes;

use crate::client::{Action, CallId, CallKind, ClerkError, Event, LinkId};
use crate::codec::input::Input;
use crate::codec::resp::{ReplyParser, Value, write};
use crate::kv::parse;
use crate::rng::Rng;
use crate::sim::census::met;
use crate::time::Micros;

/// How long it waits for a reply: longer than the servers do.
const PATIENCE: Micros = 8_000_000;

/// After so many refusals in a row it asks somewhere else.
const REFUSALS: u32 = 12;

const MAX_REPLY: usize = 16 << 20;
const CHUNK: usize = 4 << 10;

/// Of so many transactions one is given up, and of so many one is spoilt.
const GIVEN_UP_ONE_IN: u64 = 6;

/// What a client asks in one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// A command.
    Command(CallKind, Vec<Bytes>),
    /// MULTI, these commands, and EXEC, whose reply is the call's.
    Transaction(CallKind, Vec<Vec<Bytes>>),
}

impl Ask {
    /// Its words, for people.
    pub(super) fn words(&self) -> Vec<Bytes> {
        match self {
            Self::Command(_, words) => words.clone(),
            Self::Transaction(_, commands) => {
                [Bytes::from_static(b"EXEC")].into_iter().chain(commands.concat()).collect()
            }
        }
    }
}

/// What a reply is to its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// All of it. With wrong words it is answered by its error, whatever was before it.
    Command { unfit: bool },
    /// WATCH's, on which the EXEC behind it relies.
    Watch,
    /// Nothing: MULTI's, or that of a command behind it.
    Queued,
    /// EXEC's: all of it. Of spoilt commands it executes none.
    Exec { spoilt: bool },
    /// DISCARD's: nothing is done.
    Discard,
}

/// A command that was sent and not answered.
#[derive(Debug)]
struct Sent {
    call: CallId,
    role: Role,
    kind: CallKind,
    at: Micros,
    batch: u64,
    /// Whether nothing was under way when its call was sent.
    alone: bool,
}

/// A transaction that was begun and not ended.
#[derive(Debug)]
struct Begun {
    call: CallId,
    kind: CallKind,
    batch: u64,
    /// Whether one of its commands cannot be queued.
    spoilt: bool,
}

/// The client.
#[derive(Debug)]
pub(super) struct Pipeline {
    endpoints: Vec<String>,
    rng: Rng,
    link: Option<LinkId>,
    is_open: bool,
    input: Input,
    replies: ReplyParser,
    last_link: LinkId,
    last_call: CallId,
    last_batch: u64,
    /// Batches that wait for the connection.
    waiting: Vec<u8>,
    sent: VecDeque<Sent>,
    /// What is ended when everything that was sent is answered.
    begun: Option<Begun>,
    /// The last command that was done on this connection.
    done: Option<CallId>,
    /// Writes of this connection of which nobody could tell whether they were done.
    doubtful: Vec<CallId>,
    /// Whether the last reply was that a write is refused. It ends with that, and what is asked then begins anew.
    is_told: bool,
    /// Whether a command behind MULTI could not be queued, and whether that was a refusal.
    unqueued: Option<bool>,
    /// The batch of which a write, or a WATCH, was refused.
    refused_batch: Option<u64>,
    refusals: u32,
    /// Where the next connection leads.
    preferred: Option<String>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub(super) call: CallId,
    pub(super) result: Result<Value, ClerkError>,
    /// The last command before it on its connection that was done.
    pub(super) behind: Option<CallId>,
    /// Writes before it on its connection that may have been done or not: from now on they are not.
    pub(super) settles: Vec<CallId>,
    /// What the server must not have done.
    pub(super) broken: Option<&'static str>,
    /// What is to be counted.
    pub(super) met: Option<&'static str>,
}

impl Ended {
    /// Nothing is known of its place among others.
    pub(super) const fn alone(call: CallId, result: Result<Value, ClerkError>) -> Self {
        Self { call, result, behind: None, settles: Vec::new(), broken: None, met: None }
    }
}

impl Pipeline {
    pub(super) fn new(endpoints: Vec<String>, seed: u64) -> Self {
        Self {
            endpoints,
            rng: Rng::new(seed),
            link: None,
            is_open: false,
            input: Input::new(CHUNK),
            replies: ReplyParser::new(MAX_REPLY),
            last_link: 0,
            last_call: 0,
            last_batch: 0,
            waiting: Vec::new(),
            sent: VecDeque::new(),
            begun: None,
            done: None,
            doubtful: Vec::new(),
            is_told: false,
            unqueued: None,
            refused_batch: None,
            refusals: 0,
            preferred: None,
        }
    }

    /// Sends all of it in one piece.
    pub(super) fn send(&mut self, now: Micros, asks: &[Ask], out: &mut Vec<Action>) -> Vec<CallId> {
        self.last_batch += 1;
        // Whoever has something else to do by now gives up what it has begun.
        if let Some(begun) = self.begun.take() {
            self.end(&begun, true, now);
        }
        let calls = asks.iter().zip(1..).map(|(ask, place)| {
            self.last_call += 1;
            match ask {
                Ask::Command(kind, words) => {
                    let is_watch = words.first().is_some_and(|name| name == "WATCH");
                    let role =
                        if is_watch { Role::Watch } else { Role::Command { unfit: parse(words).is_err() } };
                    self.say(self.last_call, words, role, *kind, now);
                }
                Ask::Transaction(kind, commands) => {
                    let begun = self.begin(commands, *kind, now);
                    if place == asks.len() && self.rng.chance(1, 2) {
                        self.begun = Some(begun);
                    } else {
                        let gives_up = !begun.spoilt && self.rng.chance(1, GIVEN_UP_ONE_IN);
                        self.end(&begun, gives_up, now);
                    }
                }
            }
            self.last_call
        });
        let calls = calls.collect();
        match self.link {
            None => self.connect(out),
            Some(link) if self.is_open => self.flush(link, out),
            Some(_) => {}
        }
        self.wake(out);
        calls
    }

    fn say(&mut self, call: CallId, words: &[Bytes], role: Role, kind: CallKind, at: Micros) {
        write::request(&mut self.waiting, words);
        let (batch, alone) = (self.last_batch, self.sent.iter().all(|sent| sent.call == call));
        self.sent.push_back(Sent { call, role, kind, at, batch, alone });
    }

    /// MULTI, and what is to be queued.
    fn begin(&mut self, commands: &[Vec<Bytes>], kind: CallKind, at: Micros) -> Begun {
        let (call, spoilt) = (self.last_call, self.rng.chance(1, GIVEN_UP_ONE_IN));
        let (multi, wrong) = ([Bytes::from_static(b"MULTI")], [Bytes::from_static(b"GET")]);
        let commands = commands.iter().map(|words| &words[..]);
        for words in [&multi[..]].into_iter().chain(commands).chain(spoilt.then_some(&wrong[..])) {
            self.say(call, words, Role::Queued, kind, at);
        }
        Begun { call, kind, batch: self.last_batch, spoilt }
    }

    /// EXEC, or DISCARD.
    fn end(&mut self, begun: &Begun, gives_up: bool, at: Micros) {
        let (word, role) =
            if gives_up { ("DISCARD", Role::Discard) } else { ("EXEC", Role::Exec { spoilt: begun.spoilt }) };
        self.say(begun.call, &[Bytes::from_static(word.as_bytes())], role, begun.kind, at);
    }

    /// Ends what it has begun, if all of that is answered. What relies on a WATCH, or a write, that was refused is given up.
    fn end_begun(&mut self, now: Micros, out: &mut Vec<Action>) {
        let Some(link) = self.link.filter(|_| self.sent.is_empty()) else { return };
        let Some(begun) = self.begun.take() else { return };
        let gives_up = self.refused_batch == Some(begun.batch) || self.rng.chance(1, GIVEN_UP_ONE_IN);
        self.last_batch += 1;
        self.end(&begun, gives_up, now);
        self.flush(link, out);
    }

    /// Something happened.
    pub(super) fn step(&mut self, now: Micros, event: Event, out: &mut Vec<Action>) -> Vec<Ended> {
        let mut ended = Vec::new();
        match event {
            Event::Connected { link } if self.link == Some(link) => {
                self.is_open = true;
                self.flush(link, out);
            }
            Event::Received { link, bytes } if self.link == Some(link) => {
                self.input.space(bytes.len(), 0)[..bytes.len()].copy_from_slice(&bytes);
                self.input.advance(bytes.len());
                while self.link.is_some() {
                    match self.replies.next_reply(&mut self.input) {
                        Ok(Some(reply)) => ended.extend(self.answered(reply)),
                        Ok(None) => break,
                        Err(_) => self.leave(out, &mut ended),
                    }
                }
                if self.refusals >= REFUSALS && self.sent.is_empty() {
                    self.leave(out, &mut ended);
                }
                self.end_begun(now, out);
            }
            Event::Disconnected { link } if self.link == Some(link) => self.lost(&mut ended),
            Event::Wake if self.sent.front().is_some_and(|sent| sent.at + PATIENCE <= now) => {
                self.leave(out, &mut ended);
            }
            _ => {}
        }
        self.wake(out);
        ended
    }

    fn answered(&mut self, reply: Value) -> Option<Ended> {
        let sent = self.sent.pop_front()?;
        let text = match &reply {
            Value::Error(text) => text.clone(),
            _ => Bytes::new(),
        };
        let code = text.split(|&b| b == b' ').next().unwrap_or_default();
        match sent.role {
            Role::Queued => {
                self.queued(code, &text);
                return None;
            }
            Role::Discard | Role::Exec { .. } if self.is_undone(sent.role) => {
                return Some(self.undone(&sent, code));
            }
            _ => {}
        }
        let is_covered = self.refused_batch == Some(sent.batch);
        // Who could not be told in time that it was refused is not told that it may be done either: it is not.
        let is_refused = matches!(code, b"MOVED" | b"CLUSTERDOWN" | b"TRYAGAIN" | b"MISCONF")
            || is_covered && code == b"UNDETERMINED";
        let broken = if sent.alone && self.is_told && text.starts_with(b"TRYAGAIN an earlier command") {
            Some("pipeline: refused for an earlier command, of which the refusal was told")
        } else if !is_refused && is_covered && sent.role != (Role::Command { unfit: true }) {
            Some("pipeline: done behind a write that was refused")
        } else {
            None
        };
        let (behind, mut settles) = (self.done, Vec::new());
        let is_relied_on = sent.kind == CallKind::Write || sent.role == Role::Watch;
        self.is_told = is_refused && is_relied_on;
        let met = match (sent.role, &reply) {
            (Role::Exec { .. }, Value::Null) => Some(met::GIVEN_UP),
            (Role::Exec { .. }, Value::Array(_)) => Some(met::EXECUTED),
            _ => None,
        };
        let result = match code {
            _ if is_refused => Err(ClerkError::TimedOut),
            b"UNDETERMINED" => Err(ClerkError::Undetermined),
            b"" => Ok(reply),
            _ => Err(ClerkError::Command(text.clone())),
        };
        if is_refused {
            self.refused(code, &text);
        } else {
            self.refusals = 0;
            match (code == b"UNDETERMINED", sent.kind) {
                (true, CallKind::Write) => self.doubtful.push(sent.call),
                (true, CallKind::Read) => {}
                (false, kind) => {
                    self.done = Some(sent.call);
                    if kind == CallKind::Write {
                        settles = core::mem::take(&mut self.doubtful);
                    }
                }
            }
        }
        if is_relied_on && (is_refused || sent.role == Role::Watch && !text.is_empty()) {
            self.refused_batch = Some(sent.batch);
        }
        Some(Ended { call: sent.call, result, behind, settles, broken, met })
    }

    /// It was told that this is not done now.
    fn refused(&mut self, code: &[u8], text: &Bytes) {
        // Who knows no leader may never know one again, and who says where it is does not want to be asked again.
        let is_final = matches!(code, b"CLUSTERDOWN" | b"MOVED");
        self.refusals += if is_final { REFUSALS } else { 1 };
        if code == b"MOVED" {
            let endpoint = text.rsplit(|&b| b == b' ').next();
            self.preferred = endpoint.and_then(|endpoint| String::from_utf8(endpoint.to_vec()).ok());
        }
    }

    /// The reply to MULTI, or to a command behind it.
    fn queued(&mut self, code: &[u8], text: &Bytes) {
        if code.is_empty() {
            return;
        }
        let is_refused = code == b"MOVED";
        if is_refused {
            self.refused(code, text);
        }
        self.unqueued = Some(is_refused || self.unqueued == Some(true));
    }

    /// Whether what MULTI began is certainly not done when it ends like this.
    const fn is_undone(&self, end: Role) -> bool {
        self.unqueued.is_some() || matches!(end, Role::Discard | Role::Exec { spoilt: true })
    }

    /// The reply to the end of a transaction of which nothing is done.
    fn undone(&mut self, sent: &Sent, code: &[u8]) -> Ended {
        let was_refused = self.unqueued.take() == Some(true);
        if was_refused && sent.kind == CallKind::Write && sent.role != Role::Discard {
            self.refused_batch = Some(sent.batch);
        }
        let (right, what, broken): (&[u8], _, _) = match sent.role {
            Role::Discard => (b"", met::DISCARDED, "transactions: DISCARD finds none"),
            _ => (b"EXECABORT", met::ABORTED, "transactions: EXEC runs though a command was not queued"),
        };
        Ended {
            broken: (code != right).then_some(broken),
            met: Some(what),
            ..Ended::alone(sent.call, Err(ClerkError::TimedOut))
        }
    }

    fn connect(&mut self, out: &mut Vec<Action>) {
        self.last_link += 1;
        let link = self.last_link;
        let chosen = self.rng.below(self.endpoints.len() as u64) as usize;
        let endpoint = self.preferred.take().or_else(|| self.endpoints.get(chosen).cloned());
        let Some(endpoint) = endpoint else { return };
        (self.link, self.is_open) = (Some(link), false);
        out.push(Action::Connect { link, endpoint });
    }

    fn flush(&mut self, link: LinkId, out: &mut Vec<Action>) {
        if !self.waiting.is_empty() {
            let bytes = core::mem::take(&mut self.waiting).into();
            out.push(Action::Send { link, bytes });
        }
    }

    fn leave(&mut self, out: &mut Vec<Action>, ended: &mut Vec<Ended>) {
        if let Some(link) = self.link {
            out.push(Action::Close { link });
        }
        self.lost(ended);
    }

    /// The connection is gone: of what was sent on it nobody can tell, and what waited for it was not sent.
    fn lost(&mut self, ended: &mut Vec<Ended>) {
        let error = if self.is_open { ClerkError::Undetermined } else { ClerkError::TimedOut };
        ended.extend(self.begun.take().map(|begun| Ended::alone(begun.call, Err(ClerkError::TimedOut))));
        let sent = core::mem::take(&mut self.sent);
        for sent in sent.into_iter().filter(|sent| sent.role != Role::Queued) {
            let is_undone = matches!(sent.role, Role::Discard | Role::Exec { spoilt: true });
            let error = if is_undone { ClerkError::TimedOut } else { error.clone() };
            ended.push(Ended::alone(sent.call, Err(error)));
        }
        self.link = None;
        self.is_open = false;
        self.waiting.clear();
        self.input = Input::new(CHUNK);
        self.replies = ReplyParser::new(MAX_REPLY);
        self.done = None;
        self.doubtful.clear();
        self.is_told = false;
        self.unqueued = None;
        self.refused_batch = None;
        self.refusals = 0;
    }

    fn wake(&self, out: &mut Vec<Action>) {
        if let Some(first) = self.sent.front() {
            out.push(Action::WakeAt(first.at + PATIENCE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    fn get(key: &str) -> Ask {
        Ask::Command(CallKind::Read, words(&std::format!("GET {key}")))
    }

    fn del(key: &str) -> Ask {
        Ask::Command(CallKind::Write, words(&std::format!("DEL {key}")))
    }

    struct Scene(Pipeline, Vec<Action>);

    impl Scene {
        fn connected(batch: &[Ask]) -> Self {
            let mut scene = Self(Pipeline::new(vec!["n1:1".into()], 1), Vec::new());
            scene.0.send(0, batch, &mut scene.1);
            assert!(matches!(scene.1[..], [Action::Connect { link: 1, .. }, Action::WakeAt(PATIENCE)]));
            scene.0.step(1, Event::Connected { link: 1 }, &mut scene.1);
            scene
        }

        fn hears(&mut self, text: &'static str) -> Vec<Ended> {
            let bytes = Bytes::from_static(text.as_bytes());
            self.0.step(2, Event::Received { link: 1, bytes }, &mut self.1)
        }

        /// The calls that ended by this, and what each was behind.
        fn done(&mut self, text: &'static str) -> Vec<(CallId, Option<CallId>)> {
            let ended = self.hears(text);
            assert!(ended.iter().all(|ended| ended.result.is_ok() && ended.broken.is_none()), "{ended:?}");
            ended.iter().map(|ended| (ended.call, ended.behind)).collect()
        }

        fn broken(&mut self, text: &'static str) -> Vec<Option<&'static str>> {
            self.hears(text).iter().map(|ended| ended.broken).collect()
        }
    }

    const REFUSED: &str = "-TRYAGAIN too many commands wait already\r\n";
    const BEHIND: &str = "-TRYAGAIN an earlier command of this pipeline was refused\r\n";

    #[test]
    fn a_batch_is_one_piece_and_each_reply_is_behind_the_one_before() {
        let mut scene = Scene::connected(&[get("a"), del("a")]);
        let sent = scene.1.iter().filter(|action| matches!(action, Action::Send { .. })).count();
        assert_eq!(sent, 1);
        assert_eq!(scene.done("$1\r\nx\r\n:1\r\n"), [(1, None), (2, Some(1))]);
        scene.0.send(3, &[get("b")], &mut scene.1);
        assert_eq!(scene.done("$-1\r\n"), [(3, Some(2))]);
    }

    #[test]
    fn what_is_done_behind_a_refused_write_of_its_batch_is_against_the_rule() {
        let mut scene = Scene::connected(&[del("a"), del("b"), del("c")]);
        assert_eq!(scene.broken(REFUSED), [None]);
        assert_eq!(scene.broken(BEHIND), [None]);
        assert!(scene.broken(":1\r\n")[0].is_some());
    }

    /// Found by seed 7 of the ground of leaders that return: the refusal was on its way when the leader was lost.
    #[test]
    fn what_is_unknown_behind_a_refused_write_of_its_batch_is_not_done() {
        let mut scene = Scene::connected(&[del("a"), del("b"), del("c")]);
        let ended = scene.hears("-TRYAGAIN x\r\n-UNDETERMINED x\r\n");
        assert!(
            ended.iter().all(|ended| ended.broken.is_none() && ended.result == Err(ClerkError::TimedOut))
        );
        assert!(scene.0.doubtful.is_empty());
    }

    #[test]
    fn a_refusal_that_was_told_does_not_cover_what_is_asked_alone_after_it() {
        let mut scene = Scene::connected(&[del("a")]);
        assert_eq!(scene.broken(REFUSED), [None]);
        scene.0.send(3, &[del("b"), del("c")], &mut scene.1);
        assert!(scene.broken(BEHIND)[0].is_some(), "nothing is before it");
        assert_eq!(scene.broken(BEHIND), [None], "that one is");
    }

    #[test]
    fn a_write_that_is_done_settles_what_was_doubtful_before_it() {
        let mut scene = Scene::connected(&[del("a"), get("a"), del("b")]);
        let ended = scene.hears("-UNDETERMINED x\r\n$-1\r\n:1\r\n");
        let settles: Vec<_> = ended.iter().map(|ended| &ended.settles[..]).collect();
        assert_eq!(settles, [&[][..], &[], &[1]]);
    }

    /// A client that is about to send transactions, and what it sent of one of them: that ends like this.
    fn transaction(end: &[&str]) -> (Scene, String) {
        let ask = [Ask::Transaction(CallKind::Write, vec![words("DEL a"), words("DEL b")]), del("c")];
        (0..64)
            .map(|seed| {
                let mut scene = Scene(Pipeline::new(vec!["n1:1".into()], seed), Vec::new());
                scene.0.send(0, &ask, &mut scene.1);
                scene.0.step(1, Event::Connected { link: 1 }, &mut scene.1);
                let sent = scene.1.iter().find_map(|action| match action {
                    Action::Send { bytes, .. } => Some(String::from_utf8_lossy(bytes).into_owned()),
                    _ => None,
                });
                (scene, sent.expect("it is connected"))
            })
            .find(|(_, sent)| {
                ["GET", "DISCARD", "EXEC"].iter().all(|word| end.contains(word) == sent.contains(word))
            })
            .expect("one of them ends so")
    }

    #[test]
    fn a_transaction_is_one_call_whose_reply_is_that_of_exec() {
        let (mut scene, _) = transaction(&["EXEC"]);
        assert!(scene.hears("+OK\r\n+QUEUED\r\n+QUEUED\r\n").is_empty());
        let ended = scene.hears("*2\r\n:1\r\n:0\r\n:1\r\n");
        assert_eq!(ended[0].result, Ok(Value::Array(vec![Value::Integer(1), Value::Integer(0)])));
        assert_eq!((ended[0].call, ended[1].call, ended[1].behind), (1, 2, Some(1)));
    }

    #[test]
    fn a_transaction_that_is_given_up_or_spoilt_is_not_done_however_it_ends() {
        for end in [&["DISCARD"][..], &["GET", "EXEC"]] {
            let (mut scene, _) = transaction(end);
            let ended = scene.0.step(2, Event::Disconnected { link: 1 }, &mut scene.1);
            assert_eq!((ended.len(), &ended[0].result), (2, &Err(ClerkError::TimedOut)), "{end:?}");
            assert_eq!(ended[1].result, Err(ClerkError::Undetermined));
        }
        let (mut scene, _) = transaction(&["DISCARD"]);
        let ended = scene.hears("+OK\r\n+QUEUED\r\n+QUEUED\r\n+OK\r\n:1\r\n");
        assert_eq!((&ended[0].result, ended[0].broken), (&Err(ClerkError::TimedOut), None));
        assert_eq!(ended[1].result, Ok(Value::Integer(1)));
    }

    #[test]
    fn exec_behind_a_command_that_was_not_queued_must_be_aborted() {
        let queued = "+OK\r\n+QUEUED\r\n+QUEUED\r\n-ERR wrong\r\n";
        let (mut scene, _) = transaction(&["GET", "EXEC"]);
        scene.hears(queued);
        let ended = scene.hears("-EXECABORT x\r\n:1\r\n");
        assert!(ended.iter().all(|ended| ended.broken.is_none()), "{ended:?}");
        let (mut scene, _) = transaction(&["GET", "EXEC"]);
        scene.hears(queued);
        assert!(scene.broken("*2\r\n:1\r\n:0\r\n")[0].is_some());
    }

    /// What is sent by a client that says MULTI and waits, once this is answered.
    fn end_of(batch: &[Ask], answers: &'static str) -> Vec<String> {
        let begun = |seed| {
            let mut scene = Scene(Pipeline::new(vec!["n1:1".into()], seed), Vec::new());
            scene.0.send(0, batch, &mut scene.1);
            scene.0.step(1, Event::Connected { link: 1 }, &mut scene.1);
            scene.0.begun.as_ref().is_some_and(|begun| !begun.spoilt).then_some(scene)
        };
        let ends = (0..64).filter_map(begun).map(|mut scene| {
            scene.1.clear();
            scene.hears(answers);
            assert!(scene.0.begun.is_none());
            let sent = scene.1.iter().filter_map(|action| match action {
                Action::Send { bytes, .. } => Some(String::from_utf8_lossy(bytes).into_owned()),
                _ => None,
            });
            sent.collect::<String>()
        });
        ends.collect()
    }

    #[test]
    fn what_waits_for_its_end_is_executed_when_all_is_queued_unless_something_was_refused() {
        let watch = Ask::Command(CallKind::Read, words("WATCH a"));
        let batch = [watch, Ask::Transaction(CallKind::Write, vec![words("DEL a")])];
        let ends = end_of(&batch, "+OK\r\n+OK\r\n+QUEUED\r\n");
        let executed = ends.iter().filter(|end| end.contains("EXEC")).count();
        assert!(executed > 5 && executed < ends.len(), "{executed} of {}", ends.len());
        let ends = end_of(&batch, "-TRYAGAIN x\r\n+OK\r\n+QUEUED\r\n");
        assert!(ends.len() > 5 && ends.iter().all(|end| end.contains("DISCARD")), "{ends:?}");
    }

    #[test]
    fn what_was_begun_and_not_ended_is_not_done_when_the_connection_breaks_or_something_else_is_asked() {
        let mut begun = (0..64).map(|seed| {
            let mut scene = Scene(Pipeline::new(vec!["n1:1".into()], seed), Vec::new());
            let ask = Ask::Transaction(CallKind::Write, vec![words("DEL a")]);
            scene.0.send(0, &[ask], &mut scene.1);
            scene.0.step(1, Event::Connected { link: 1 }, &mut scene.1);
            scene
        });
        let mut begun = || begun.find(|scene| scene.0.begun.is_some()).expect("some wait");
        let mut scene = begun();
        let ended = scene.0.step(2, Event::Disconnected { link: 1 }, &mut scene.1);
        assert_eq!(ended, [Ended::alone(1, Err(ClerkError::TimedOut))]);
        let mut scene = begun();
        scene.0.send(2, &[get("a")], &mut scene.1);
        let Some(Action::Send { bytes, .. }) =
            scene.1.iter().rev().find(|a| matches!(a, Action::Send { .. }))
        else {
            panic!("it sends")
        };
        assert!(bytes.windows(7).any(|word| word == b"DISCARD") && bytes.ends_with(b"GET\r\n$1\r\na\r\n"));
    }

    #[test]
    fn a_transaction_that_is_sent_elsewhere_when_it_is_queued_is_refused_with_what_is_behind_it() {
        let (mut scene, _) = transaction(&["EXEC"]);
        scene.hears("+OK\r\n-MOVED 1 n2:1\r\n-MOVED 1 n2:1\r\n");
        assert_eq!(scene.broken("-EXECABORT x\r\n"), [None]);
        assert!(scene.broken(":1\r\n")[0].is_some());
    }

    #[test]
    fn what_is_done_behind_a_watch_that_was_refused_is_against_the_rule() {
        let watch = Ask::Command(CallKind::Read, words("WATCH a"));
        for refusal in [REFUSED, "-UNDETERMINED x\r\n"] {
            let mut scene = Scene::connected(&[watch.clone(), del("a"), del("b")]);
            assert_eq!(scene.broken(refusal), [None]);
            assert_eq!(scene.broken(BEHIND), [None]);
            assert!(scene.broken(":1\r\n")[0].is_some());
        }
        let mut scene = Scene::connected(&[watch, del("a")]);
        assert_eq!(scene.done("+OK\r\n:1\r\n"), [(1, None), (2, Some(1))]);
    }

    #[test]
    fn a_lost_connection_leaves_what_was_sent_unknown_and_what_was_not_undone() {
        let mut scene = Scene::connected(&[del("a")]);
        let ended = scene.0.step(3, Event::Disconnected { link: 1 }, &mut scene.1);
        assert_eq!(ended[0].result, Err(ClerkError::Undetermined));
        scene.0.send(4, &[del("a")], &mut scene.1);
        let ended = scene.0.step(5, Event::Disconnected { link: 2 }, &mut scene.1);
        assert_eq!(ended[0].result, Err(ClerkError::TimedOut), "it never left");
    }
}
