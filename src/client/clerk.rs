//! The clerk's course: connect, open a session, send, judge replies, try again.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::calls::Calls;
use super::endpoints::Endpoints;
use super::{Action, CallId, CallKind, ClerkError, Config, Event, LinkId};
use crate::codec::input::Input;
use crate::codec::resp::{ReplyParser, Value, write};
use crate::time::Micros;

/// Bytes that are taken in at a time.
const CHUNK: usize = 16 * 1024;

/// A connection, open or being opened.
#[derive(Debug)]
struct Link {
    id: LinkId,
    is_open: bool,
    /// When it was asked for.
    since: Micros,
    input: Input,
    parser: ReplyParser,
    /// What was sent and not answered, with the time of sending.
    expected: VecDeque<(Expected, Micros)>,
    /// Nothing more is sent; when all is answered another endpoint is asked.
    is_leaving: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Session,
    Call(CallId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Session {
    Closed,
    Opening,
    Open(u64),
}

/// What a reply means for the one who asked.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Done,
    /// The command failed for good.
    Failed,
    /// Not done, and it will not be before a person acts.
    Refused,
    /// Not done; another endpoint knows better.
    Moved(String),
    /// Not done; ask elsewhere after a pause.
    Elsewhere,
    /// Not done; ask here again after a pause.
    Again,
    /// Done or not. What may be sent again is sent again.
    Unknown,
    /// Done or not, and sending it again would tell no more.
    Stale,
    SessionExpired,
}

/// A client of a cluster. See [the module](super).
#[derive(Debug)]
pub struct Clerk {
    config: Config,
    endpoints: Endpoints,
    calls: Calls,
    link: Option<Link>,
    next_link: LinkId,
    session: Session,
    /// How many sessions have ended: each has a nonce of its own.
    sessions: u64,
    /// When the session was last used.
    used_at: Micros,
    /// Nothing is sent and no connection is opened before this.
    paused_until: Micros,
    wake: Option<Micros>,
}

impl Clerk {
    /// A clerk that does nothing until it is called.
    pub fn new(config: Config) -> Self {
        let seed = (config.seed ^ (config.seed >> 64)) as u64;
        let backoff = (config.backoff_min, config.backoff_max);
        Self {
            endpoints: Endpoints::new(config.endpoints.clone(), seed, backoff),
            calls: Calls::default(),
            link: None,
            next_link: 0,
            session: Session::Closed,
            sessions: 0,
            used_at: 0,
            paused_until: 0,
            wake: None,
            config,
        }
    }

    /// Begins a call of the command `arguments` (its name first). It ends by an [`Action::Done`] with the name that is
    /// returned, at the latest when a `Wake` is stepped at [`Config::call_timeout`].
    pub fn call(
        &mut self,
        now: Micros,
        kind: CallKind,
        arguments: &[impl AsRef<[u8]>],
        out: &mut Vec<Action>,
    ) -> CallId {
        let refusal = if self.endpoints.is_empty() {
            Some(ClerkError::NoEndpoint)
        } else if self.calls.len() >= self.config.max_calls.max(1) {
            Some(ClerkError::TooMany)
        } else {
            None
        };
        if let Some(error) = refusal {
            let call = self.calls.skip();
            out.push(Action::Done { call, result: Err(error) });
            return call;
        }
        let call = self.calls.add(kind, arguments, now.saturating_add(self.config.call_timeout));
        self.advance(now, out);
        call
    }

    /// Steps one event at the time `now` of the monotonic clock.
    pub fn step(&mut self, now: Micros, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Connected { link } => {
                if let Some(current) = self.link.as_mut().filter(|current| current.id == link) {
                    current.is_open = true;
                }
            }
            Event::Received { link, bytes } => self.on_bytes(now, link, bytes, out),
            Event::Disconnected { link } => {
                if self.link.as_ref().is_some_and(|current| current.id == link) {
                    self.lose_link(now, out);
                }
            }
            // The driver may have taken its timer down: it is told again.
            Event::Wake => self.wake = None,
        }
        self.advance(now, out);
    }

    /// Closes the session, if one is open and no write is under way in it: a call like any other, whose result matters to
    /// nobody. Later writes open another.
    pub fn close_session(&mut self, now: Micros, out: &mut Vec<Action>) -> Option<CallId> {
        let Session::Open(session) = self.session else { return None };
        if self.calls.use_session() {
            return None;
        }
        self.forget_session();
        let session = format!("{session}");
        Some(self.call(now, CallKind::Read, &["SESSION", "CLOSE", &session], out))
    }

    fn forget_session(&mut self) {
        self.session = Session::Closed;
        self.sessions += 1;
        self.calls.begin_session();
    }

    /// The session of this clerk's writes while it is open: who ends for good closes it by `SESSION CLOSE`, sent as a
    /// [`CallKind::Read`], so that it does not fill a place until it expires.
    pub fn session(&self) -> Option<u64> {
        match self.session {
            Session::Open(id) => Some(id),
            Session::Closed | Session::Opening => None,
        }
    }

    /// The session and the number under which a call that has not ended was last sent: its name in the log.
    pub fn name_of(&self, call: CallId) -> Option<(u64, u64)> {
        Some((self.session()?, self.calls.seq(call)?))
    }

    /// Calls that have not ended.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    fn on_bytes(&mut self, now: Micros, link: LinkId, bytes: Bytes, out: &mut Vec<Action>) {
        let Some(current) = self.link.as_mut().filter(|current| current.id == link) else { return };
        current.input.give(bytes);
        self.take_replies(now, link, out);
    }

    fn take_replies(&mut self, now: Micros, link: LinkId, out: &mut Vec<Action>) {
        loop {
            let Some(current) = self.link.as_mut().filter(|current| current.id == link) else { return };
            let reply = match current.parser.next_reply(&mut current.input) {
                Ok(Some(Value::Push(_))) => continue,
                Ok(Some(reply)) => reply,
                Ok(None) => return,
                Err(_) => return self.drop_link(now, out),
            };
            if planted!("late-reply-to-the-next") {
                current.expected.retain(|&(expected, _)| match expected {
                    Expected::Call(id) => self.calls.get(id).is_some(),
                    Expected::Session => true,
                });
            }
            match current.expected.pop_front() {
                Some((Expected::Session, _)) => self.on_session_reply(now, &reply),
                Some((Expected::Call(call), _)) => self.on_call_reply(now, call, reply, out),
                // A reply to nothing: this is no server of ours.
                None => return self.drop_link(now, out),
            }
        }
    }

    fn on_session_reply(&mut self, now: Micros, reply: &Value) {
        if self.session == Session::Opening {
            self.session = Session::Closed;
        }
        match (reply, judge(reply)) {
            (Value::Integer(id), _) if *id >= 0 => {
                self.session = Session::Open(id.unsigned_abs());
                self.used_at = now;
                self.endpoints.succeeded();
            }
            (_, Verdict::Moved(endpoint)) => self.leave(now, Some(&endpoint)),
            (_, Verdict::Elsewhere) => self.leave(now, None),
            // The nonce makes opening a session something that may be done again.
            _ => self.pause(now),
        }
    }

    fn on_call_reply(&mut self, now: Micros, id: CallId, reply: Value, out: &mut Vec<Action>) {
        let Some(call) = self.calls.get(id) else {
            // It was given up at its deadline. What the reply says of the server counts all the same: a member that is cut
            // off may take longer to say so than calls wait.
            return match judge(&reply) {
                Verdict::Moved(endpoint) => self.leave(now, Some(&endpoint)),
                Verdict::Elsewhere => self.leave(now, None),
                _ => {}
            };
        };
        let is_write = call.kind == CallKind::Write;
        call.is_sent = false;
        let verdict = judge(&reply);
        if verdict != Verdict::Unknown {
            let earlier = call.uncertain.saturating_sub(1);
            call.uncertain =
                if earlier > 0 && planted!("refusal-clears-earlier-doubt") { 0 } else { earlier };
        }
        match verdict {
            Verdict::Done => {
                self.endpoints.succeeded();
                self.done(id, Ok(reply), out);
            }
            // This sending was not done; an earlier one may be, and only the log can tell.
            Verdict::Refused if is_write && call.uncertain > 0 => self.pause(now),
            Verdict::Failed | Verdict::Refused => {
                let text = match reply {
                    Value::Error(text) => text,
                    _ => Bytes::new(),
                };
                self.endpoints.succeeded();
                self.done(id, Err(ClerkError::Command(text)), out);
            }
            Verdict::Moved(endpoint) => self.leave(now, Some(&endpoint)),
            Verdict::Elsewhere => self.leave(now, None),
            // It may be cut off from the leader, and not know better for ever.
            Verdict::Again if self.endpoints.fails_on() => self.leave(now, None),
            Verdict::Again => self.pause(now),
            Verdict::Unknown if is_write && !self.config.session => {
                self.done(id, Err(ClerkError::Undetermined), out);
            }
            Verdict::Unknown => self.pause(now),
            Verdict::Stale => self.done(id, Err(ClerkError::Undetermined), out),
            Verdict::SessionExpired => {
                self.end_session(id, out);
                self.pause(now);
            }
        }
    }

    /// Nobody can tell any more whether the writes that were under way in the session were done.
    fn end_session(&mut self, told_by: CallId, out: &mut Vec<Action>) {
        for id in self.calls.end_session(told_by) {
            self.done(id, Err(ClerkError::Undetermined), out);
        }
        self.forget_session();
    }

    fn done(&mut self, call: CallId, result: Result<Value, ClerkError>, out: &mut Vec<Action>) {
        if self.calls.remove(call).is_some() {
            out.push(Action::Done { call, result });
        }
    }

    /// Sends nothing more here; asks `endpoint`, or after a pause the next one, when what was sent is answered.
    fn leave(&mut self, now: Micros, endpoint: Option<&str>) {
        match endpoint {
            Some(endpoint) if self.endpoints.prefer(endpoint) => {}
            _ => self.pause(now),
        }
        if let Some(link) = &mut self.link {
            link.is_leaving = true;
        }
    }

    fn pause(&mut self, now: Micros) {
        // Several replies of one moment are one failure.
        if self.paused_until <= now {
            self.paused_until = now.saturating_add(self.endpoints.failed());
        }
    }

    fn drop_link(&mut self, now: Micros, out: &mut Vec<Action>) {
        if let Some(link) = &self.link {
            out.push(Action::Close { link: link.id });
        }
        self.lose_link(now, out);
    }

    /// The connection is gone, and with it the replies to what was sent on it.
    fn lose_link(&mut self, now: Micros, out: &mut Vec<Action>) {
        let Some(link) = self.link.take() else { return };
        if self.session == Session::Opening {
            self.session = Session::Closed;
        }
        for (expected, _) in link.expected {
            let Expected::Call(id) = expected else { continue };
            let Some(call) = self.calls.get(id) else { continue };
            call.is_sent = false;
            if call.kind == CallKind::Write && !self.config.session && !planted!("plain-write-is-sent-again")
            {
                self.done(id, Err(ClerkError::Undetermined), out);
            }
        }
        self.pause(now);
    }

    /// Does all that can be done now.
    fn advance(&mut self, now: Micros, out: &mut Vec<Action>) {
        self.end_late_calls(now, out);
        self.check_link(now, out);
        if !self.calls.is_empty() && self.paused_until <= now {
            self.connect(now, out);
            self.send(now, out);
        }
        let wake = self.next_wake(now);
        if wake != self.wake
            && let Some(at) = wake
        {
            out.push(Action::WakeAt(at));
        }
        self.wake = wake;
    }

    fn end_late_calls(&mut self, now: Micros, out: &mut Vec<Action>) {
        for id in self.calls.late(now) {
            let Some(call) = self.calls.get(id) else { continue };
            let may_be_done =
                call.kind == CallKind::Write && call.uncertain > 0 && !planted!("timeout-is-failure");
            let error = if may_be_done { ClerkError::Undetermined } else { ClerkError::TimedOut };
            self.done(id, Err(error), out);
        }
    }

    fn check_link(&mut self, now: Micros, out: &mut Vec<Action>) {
        let Some(link) = &self.link else { return };
        if link.is_leaving && link.expected.is_empty() {
            out.push(Action::Close { link: link.id });
            self.link = None;
        } else if self.link_deadline().is_some_and(|deadline| deadline <= now) {
            self.drop_link(now, out);
        }
    }

    /// When the connection is given up.
    fn link_deadline(&self) -> Option<Micros> {
        let link = self.link.as_ref()?;
        if !link.is_open {
            return Some(link.since.saturating_add(self.config.connect_timeout));
        }
        link.expected.front().map(|&(_, sent)| sent.saturating_add(self.config.reply_timeout))
    }

    fn connect(&mut self, now: Micros, out: &mut Vec<Action>) {
        if self.link.is_some() {
            return;
        }
        let Some(endpoint) = self.endpoints.pick() else { return };
        self.next_link += 1;
        let id = self.next_link;
        self.link = Some(Link {
            id,
            is_open: false,
            since: now,
            input: Input::new(CHUNK),
            parser: ReplyParser::new(self.config.max_reply),
            expected: VecDeque::new(),
            is_leaving: false,
        });
        out.push(Action::Connect { link: id, endpoint });
    }

    /// Sends what waits: first what opens a session, if one is needed.
    fn send(&mut self, now: Micros, out: &mut Vec<Action>) {
        let is_old = self.used_at.saturating_add(self.config.session_idle) <= now;
        if is_old && matches!(self.session, Session::Open(_)) && !self.calls.use_session() {
            self.forget_session();
        }
        let Some(link) = self.link.as_mut().filter(|link| link.is_open && !link.is_leaving) else { return };
        if self.config.session && self.session == Session::Closed && self.calls.want_session() {
            let nonce = format!("{:032x}-{}", self.config.seed, self.sessions);
            let mut bytes = Vec::new();
            write::request(&mut bytes, &[&b"SESSION"[..], b"OPEN", nonce.as_bytes()]);
            out.push(Action::Send { link: link.id, bytes: bytes.into() });
            link.expected.push_back((Expected::Session, now));
            self.session = Session::Opening;
        }
        for id in self.calls.ids(|call| !call.is_sent) {
            let Some(call) = self.calls.get(id) else { continue };
            let bytes = match (call.kind, self.config.session, self.session) {
                (CallKind::Write, true, Session::Open(session)) => {
                    self.used_at = now;
                    self.calls.once(id, session)
                }
                (CallKind::Write, true, _) => None,
                (CallKind::Write, false, _) | (CallKind::Read, ..) => self.calls.plain(id),
            };
            if let Some(bytes) = bytes {
                out.push(Action::Send { link: link.id, bytes });
                link.expected.push_back((Expected::Call(id), now));
            }
        }
    }

    /// The next time at which something happens by itself. What could be sent at `now` has been.
    fn next_wake(&self, now: Micros) -> Option<Micros> {
        let calls = self.calls.deadline()?;
        let pause = (self.paused_until > now).then_some(self.paused_until);
        Some([pause, self.link_deadline()].into_iter().flatten().fold(calls, Micros::min))
    }
}

/// What a reply says about the sending that it answers.
fn judge(reply: &Value) -> Verdict {
    let Value::Error(text) = reply else { return Verdict::Done };
    let mut words = text.split(|&b| b == b' ');
    match words.next().unwrap_or_default() {
        b"MOVED" | b"ASK" => {
            let endpoint = words.nth(1).and_then(|word| core::str::from_utf8(word).ok());
            let endpoint = endpoint.filter(|endpoint| endpoint.contains(':'));
            endpoint.map_or(Verdict::Elsewhere, |endpoint| Verdict::Moved(endpoint.into()))
        }
        b"CLUSTERDOWN" | b"LOADING" | b"MASTERDOWN" | b"READONLY" => Verdict::Elsewhere,
        b"TRYAGAIN" | b"SESSIONWINDOW" | b"SESSIONFULL" | b"SESSIONLIMIT" => Verdict::Again,
        b"STALESEQ" => Verdict::Stale,
        b"MISCONF" => Verdict::Refused,
        b"UNDETERMINED" => Verdict::Unknown,
        b"ERR" if text.starts_with(b"ERR max number of clients") => Verdict::Elsewhere,
        b"SESSIONEXPIRED" => Verdict::SessionExpired,
        _ => Verdict::Failed,
    }
}
