//! A client as most Redis libraries are: commands in batches on one connection, each sent once, replies in order.
//!
//! It tries nothing again. What it is told is what happened, and the order of its connection is a promise: a reply says
//! what was so behind all that was answered before it.

use std::collections::VecDeque;
use std::string::String;
use std::vec::Vec;

use bytes::Bytes;

use crate::client::{Action, CallId, CallKind, ClerkError, Event, LinkId};
use crate::codec::input::Input;
use crate::codec::resp::{ReplyParser, Value, write};
use crate::kv::parse;
use crate::rng::Rng;
use crate::time::Micros;

/// How long it waits for a reply: longer than the servers do.
const PATIENCE: Micros = 8_000_000;

/// After so many refusals in a row it asks somewhere else.
const REFUSALS: u32 = 12;

const MAX_REPLY: usize = 16 << 20;
const CHUNK: usize = 4 << 10;

/// A command that was sent and not answered.
#[derive(Debug)]
struct Sent {
    call: CallId,
    kind: CallKind,
    at: Micros,
    batch: u64,
    /// Whether nothing was under way when it was sent.
    alone: bool,
    /// Whether its words are wrong: it is answered by its error, whatever was before it.
    unfit: bool,
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
    /// The last command that was done on this connection.
    done: Option<CallId>,
    /// Writes of this connection of which nobody could tell whether they were done.
    doubtful: Vec<CallId>,
    /// Whether the last reply was that a write is refused. It ends with that, and what is asked then begins anew.
    is_told: bool,
    /// The batch of which a write was refused.
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
}

impl Ended {
    /// Nothing is known of its place among others.
    pub(super) const fn alone(call: CallId, result: Result<Value, ClerkError>) -> Self {
        Self { call, result, behind: None, settles: Vec::new(), broken: None }
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
            done: None,
            doubtful: Vec::new(),
            is_told: false,
            refused_batch: None,
            refusals: 0,
            preferred: None,
        }
    }

    /// Sends commands in one piece.
    pub(super) fn send(
        &mut self,
        now: Micros,
        commands: &[(CallKind, Vec<Bytes>)],
        out: &mut Vec<Action>,
    ) -> Vec<CallId> {
        self.last_batch += 1;
        let batch = self.last_batch;
        let calls = commands.iter().map(|(kind, words)| {
            self.last_call += 1;
            write::request(&mut self.waiting, words);
            let alone = self.sent.is_empty();
            let (call, unfit) = (self.last_call, parse(words).is_err());
            self.sent.push_back(Sent { call, kind: *kind, at: now, batch, alone, unfit });
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
        let is_covered = self.refused_batch == Some(sent.batch);
        // Who could not be told in time that it was refused is not told that it may be done either: it is not.
        let is_refused = matches!(code, b"MOVED" | b"CLUSTERDOWN" | b"TRYAGAIN" | b"MISCONF")
            || is_covered && code == b"UNDETERMINED";
        let broken = if sent.alone && self.is_told && text.starts_with(b"TRYAGAIN an earlier command") {
            Some("pipeline: refused for an earlier command, of which the refusal was told")
        } else if !is_refused && is_covered && !sent.unfit {
            Some("pipeline: done behind a write that was refused")
        } else {
            None
        };
        let (behind, mut settles) = (self.done, Vec::new());
        self.is_told = is_refused && sent.kind == CallKind::Write;
        let result = match code {
            _ if is_refused => Err(ClerkError::TimedOut),
            b"UNDETERMINED" => Err(ClerkError::Undetermined),
            b"" => Ok(reply),
            _ => Err(ClerkError::Command(text.clone())),
        };
        if is_refused {
            // Who knows no leader may never know one again, and who says where it is does not want to be asked again.
            let is_final = matches!(code, b"CLUSTERDOWN" | b"MOVED");
            self.refusals += if is_final { REFUSALS } else { 1 };
            if code == b"MOVED" {
                let endpoint = text.rsplit(|&b| b == b' ').next();
                self.preferred = endpoint.and_then(|endpoint| String::from_utf8(endpoint.to_vec()).ok());
            }
            if sent.kind == CallKind::Write {
                self.refused_batch = Some(sent.batch);
            }
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
        Some(Ended { call: sent.call, result, behind, settles, broken })
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
        ended.extend(self.sent.drain(..).map(|sent| Ended::alone(sent.call, Err(error.clone()))));
        self.link = None;
        self.is_open = false;
        self.waiting.clear();
        self.input = Input::new(CHUNK);
        self.replies = ReplyParser::new(MAX_REPLY);
        self.done = None;
        self.doubtful.clear();
        self.is_told = false;
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

    fn get(key: &str) -> (CallKind, Vec<Bytes>) {
        (CallKind::Read, vec![Bytes::from_static(b"GET"), Bytes::copy_from_slice(key.as_bytes())])
    }

    fn del(key: &str) -> (CallKind, Vec<Bytes>) {
        (CallKind::Write, vec![Bytes::from_static(b"DEL"), Bytes::copy_from_slice(key.as_bytes())])
    }

    struct Scene(Pipeline, Vec<Action>);

    impl Scene {
        fn connected(batch: &[(CallKind, Vec<Bytes>)]) -> Self {
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
