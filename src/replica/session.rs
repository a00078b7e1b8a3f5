//! Exactly-once sessions (§8; dissertation §6.3): a command that a client sends again is answered from memory and not run
//! again.
//!
//! A session is named by the log index of the entry that opened it. It keeps a *floor*, below which the client has every
//! reply, and the replies above it. Everything here is a function of the log alone: time is the log's `cluster_ms`, and
//! the limits came in with the opening entry, so that every node decides alike whatever its own settings say.
//!
//! A window of numbers is needed, not a count of replies. Keeping "the last five request ids" loses: send 1 to 7, lose
//! the reply to 1, and the retry of 1 runs a second time.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{SessionError, SessionId};
use crate::raft::LogIndex;
use crate::time::Millis;

/// Most sessions that one entry ends, so that no single entry has unbounded work. A session that is due but not yet
/// ended is treated as ended wherever it is named.
const EXPIRED_PER_ENTRY: usize = 64;

/// What one session may hold, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Numbers from the floor on that may be used.
    pub(super) window: u64,
    /// Bytes of replies kept; the reply that passes it is still kept.
    pub(super) reply_bytes: u64,
    /// Idle milliseconds with a leader after which the session has expired.
    pub(super) ttl_ms: u64,
}

/// One client's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) limits: Limits,
    /// Chosen by the client; empty for none.
    pub(super) nonce: Arc<[u8]>,
    /// The client has the replies to all numbers below.
    pub(super) floor: u64,
    /// `cluster_ms` when the session was last named.
    pub(super) used_ms: Millis,
    /// Replies to numbers from the floor on, ascending.
    pub(super) replies: Vec<(u64, Bytes)>,
    /// Their bytes together.
    pub(super) kept_bytes: u64,
}

impl Session {
    fn due(&self) -> Millis {
        self.used_ms.saturating_add(self.limits.ttl_ms)
    }

    fn raise_floor(&mut self, floor: u64) {
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        let is_below = |seq| seq < floor || (seq == floor && planted!("floor-drops-its-own-reply"));
        let below = self.replies.partition_point(|&(seq, _)| is_below(seq));
        let freed: u64 = self.replies.drain(..below).map(|(_, reply)| reply.len() as u64).sum();
        let freed = if planted!("kept-bytes-never-shrink") { 0 } else { freed };
        self.kept_bytes = self.kept_bytes.saturating_sub(freed);
    }
}

/// What the rules say about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Admission {
    /// Run it, then [`keep`](Sessions::keep) the reply.
    Run,
    /// It has run: this was its reply.
    Ran(Bytes),
    /// It does not run.
    Refused(SessionError),
}

/// All live sessions. A clone shares them until one changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sessions {
    live: BTreeMap<SessionId, Arc<Session>>,
    by_nonce: BTreeMap<Arc<[u8]>, SessionId>,
    /// When each expires.
    by_due: BTreeSet<(Millis, SessionId)>,
}

impl Sessions {
    /// How many there are, those that are due but not yet ended included.
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// Ends sessions that are idle for too long at `now`, some at a time. Called for every entry before it is applied.
    pub(super) fn expire(&mut self, now: Millis) {
        for _ in 0..EXPIRED_PER_ENTRY {
            match self.by_due.first() {
                Some(&(due, id)) if due < now => self.remove(id),
                _ => return,
            }
        }
    }

    /// Opens the session of entry `index`, or finds the one that the same nonce opened.
    pub(super) fn open(
        &mut self,
        index: LogIndex,
        max_sessions: u64,
        limits: Limits,
        nonce: &[u8],
        now: Millis,
    ) -> Result<SessionId, SessionError> {
        if let Some(&id) = self.by_nonce.get(nonce)
            && self.touch(id, now).is_some()
        {
            return Ok(id);
        }
        // A live client is never evicted for a new one: its retries would run twice.
        if planted!("session-is-evicted") && self.live.len() as u64 >= max_sessions {
            self.by_due.first().copied().into_iter().for_each(|(_, id)| self.remove(id));
        }
        if self.live.len() as u64 >= max_sessions {
            return Err(SessionError::TooMany);
        }
        let session = Session {
            limits,
            // Copied, since a slice would keep the whole entry alive.
            nonce: Arc::from(nonce),
            floor: 0,
            used_ms: now,
            replies: Vec::new(),
            kept_bytes: 0,
        };
        self.insert(index, session);
        Ok(index)
    }

    /// Ends a session; harmless if there is none.
    pub(super) fn close(&mut self, id: SessionId) {
        self.remove(id);
    }

    /// Judges command `seq` of a session by the rules, in their order. `ack` counts before the window is looked at: a
    /// client whose window is full frees it with the very command that acknowledges.
    pub(super) fn admit(&mut self, id: SessionId, seq: u64, ack: u64, now: Millis) -> Admission {
        let Some(session) = self.touch(id, now) else {
            return Admission::Refused(SessionError::Expired);
        };
        if seq < session.floor && !planted!("acked-command-runs-again") {
            return Admission::Refused(SessionError::Stale);
        }
        if let Ok(at) = session.replies.binary_search_by_key(&seq, |&(seq, _)| seq)
            && let Some((_, reply)) = session.replies.get(if planted!("reply-of-another") { 0 } else { at })
        {
            let reply = reply.clone();
            session.raise_floor(ack);
            return Admission::Ran(reply);
        }
        // An acknowledgement of the command itself cannot be meant before it has run; `keep` ends with it.
        session.raise_floor(ack.min(seq));
        if seq.saturating_sub(session.floor) >= session.limits.window {
            return Admission::Refused(SessionError::BeyondWindow);
        }
        if session.kept_bytes >= session.limits.reply_bytes {
            return Admission::Refused(SessionError::RepliesFull);
        }
        Admission::Run
    }

    /// Keeps the reply of a command that was admitted and has run, then raises the floor to `ack`.
    pub(super) fn keep(&mut self, id: SessionId, seq: u64, ack: u64, reply: &[u8]) {
        let Some(session) = self.live.get_mut(&id) else { return };
        let session = Arc::make_mut(session);
        if planted!("only-last-reply-is-kept") {
            session.replies.clear();
        }
        let at = session.replies.partition_point(|&(other, _)| other < seq);
        // Copied, since a slice would keep the replies of a whole step alive.
        session.replies.insert(at, (seq, Bytes::copy_from_slice(reply)));
        session.kept_bytes = session.kept_bytes.saturating_add(reply.len() as u64);
        session.raise_floor(ack);
    }

    /// All sessions as they are now, ascending; shared, not copied.
    pub(super) fn picture(&self) -> Vec<(SessionId, Arc<Session>)> {
        self.live.iter().map(|(&id, session)| (id, Arc::clone(session))).collect()
    }

    /// Adds a session; `false` if its id or its nonce is taken.
    pub(super) fn insert(&mut self, id: SessionId, session: Session) -> bool {
        if self.live.contains_key(&id) {
            return false;
        }
        if !session.nonce.is_empty() {
            if self.by_nonce.contains_key(&session.nonce) {
                return false;
            }
            self.by_nonce.insert(Arc::clone(&session.nonce), id);
        }
        self.by_due.insert((session.due(), id));
        self.live.insert(id, Arc::new(session));
        true
    }

    /// The session, marked as used at `now`; `None` if there is none, or it is due.
    fn touch(&mut self, id: SessionId, now: Millis) -> Option<&mut Session> {
        let due = self.live.get(&id)?.due();
        if due < now {
            self.remove(id);
            return None;
        }
        let session = Arc::make_mut(self.live.get_mut(&id)?);
        if session.used_ms < now {
            session.used_ms = now;
            if !planted!("live-session-expires") {
                self.by_due.remove(&(due, id));
                self.by_due.insert((session.due(), id));
            }
        }
        Some(session)
    }

    fn remove(&mut self, id: SessionId) {
        if let Some(session) = self.live.remove(&id) {
            self.by_due.remove(&(session.due(), id));
            if !session.nonce.is_empty() {
                self.by_nonce.remove(&session.nonce);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { window: 4, reply_bytes: 10, ttl_ms: 1000 };

    fn one(limits: Limits) -> (Sessions, SessionId) {
        let mut sessions = Sessions::default();
        let id = sessions.open(7, 10, limits, b"nonce", 0).expect("there is room");
        (sessions, id)
    }

    /// Runs a command whose reply is `reply`, as the machine does. `None` when it did not run.
    fn send(sessions: &mut Sessions, id: SessionId, seq: u64, ack: u64, reply: &[u8]) -> Admission {
        let admission = sessions.admit(id, seq, ack, 0);
        if admission == Admission::Run {
            sessions.keep(id, seq, ack, reply);
        }
        admission
    }

    fn ran(reply: &'static [u8]) -> Admission {
        Admission::Ran(Bytes::from_static(reply))
    }

    #[test]
    fn the_id_is_the_index_of_the_opening_entry_and_the_nonce_finds_it_again() {
        let (mut sessions, id) = one(LIMITS);
        assert_eq!(id, 7);
        assert_eq!(sessions.open(8, 10, LIMITS, b"nonce", 0), Ok(7));
        assert_eq!(sessions.open(9, 10, LIMITS, b"other", 0), Ok(9));
        assert_eq!(sessions.open(10, 10, LIMITS, b"", 0), Ok(10));
        assert_eq!(sessions.open(11, 10, LIMITS, b"", 0), Ok(11), "no nonce, a new session each time");
        assert_eq!(sessions.len(), 4);
    }

    #[test]
    fn without_a_session_a_command_is_expired_and_does_not_run() {
        let (mut sessions, id) = one(LIMITS);
        assert_eq!(send(&mut sessions, 6, 1, 0, b""), Admission::Refused(SessionError::Expired));
        sessions.close(id);
        assert_eq!(send(&mut sessions, id, 1, 0, b""), Admission::Refused(SessionError::Expired));
        sessions.close(id);
        assert_eq!(sessions, Sessions::default());
    }

    #[test]
    fn a_number_below_the_floor_is_stale() {
        let (mut sessions, id) = one(LIMITS);
        assert_eq!(send(&mut sessions, id, 1, 0, b"a"), Admission::Run);
        assert_eq!(send(&mut sessions, id, 2, 2, b"b"), Admission::Run);
        assert_eq!(send(&mut sessions, id, 1, 0, b"x"), Admission::Refused(SessionError::Stale));
        assert_eq!(send(&mut sessions, id, 2, 0, b"x"), ran(b"b"), "a late ack lowers no floor");
    }

    #[test]
    fn a_retry_gets_the_kept_reply_in_whatever_order_numbers_come() {
        let (mut sessions, id) = one(Limits { reply_bytes: 100, ..LIMITS });
        for (seq, reply) in [(3, b"three"), (1, b"first"), (2, b"secnd")] {
            assert_eq!(send(&mut sessions, id, seq, 0, reply), Admission::Run);
        }
        assert_eq!(send(&mut sessions, id, 1, 0, b"x"), ran(b"first"));
        assert_eq!(send(&mut sessions, id, 2, 0, b"x"), ran(b"secnd"));
        assert_eq!(send(&mut sessions, id, 3, 0, b"x"), ran(b"three"));
    }

    #[test]
    fn a_number_beyond_the_window_is_refused_and_leaves_no_trace() {
        let (mut sessions, id) = one(LIMITS);
        assert_eq!(send(&mut sessions, id, 4, 0, b""), Admission::Refused(SessionError::BeyondWindow));
        assert_eq!(send(&mut sessions, id, u64::MAX, 0, b""), Admission::Refused(SessionError::BeyondWindow));
        assert_eq!(send(&mut sessions, id, 3, 0, b""), Admission::Run);
        assert_eq!(sessions.picture()[0].1.replies.len(), 1);
    }

    #[test]
    fn a_full_window_is_freed_by_the_command_that_acknowledges() {
        let (mut sessions, id) = one(LIMITS);
        for seq in 0..4 {
            assert_eq!(send(&mut sessions, id, seq, 0, b""), Admission::Run);
        }
        assert_eq!(send(&mut sessions, id, 4, 0, b""), Admission::Refused(SessionError::BeyondWindow));
        assert_eq!(send(&mut sessions, id, 4, 4, b"d"), Admission::Run);
        assert_eq!(send(&mut sessions, id, 4, 4, b""), ran(b"d"));
        assert_eq!(send(&mut sessions, id, 3, 4, b""), Admission::Refused(SessionError::Stale));
    }

    #[test]
    fn full_reply_space_refuses_before_running_and_an_ack_frees_it() {
        let (mut sessions, id) = one(LIMITS);
        assert_eq!(send(&mut sessions, id, 1, 0, &[0; 10]), Admission::Run);
        assert_eq!(send(&mut sessions, id, 2, 0, b"b"), Admission::Refused(SessionError::RepliesFull));
        assert_eq!(send(&mut sessions, id, 1, 0, b""), ran(&[0; 10]), "what is kept stays kept");
        assert_eq!(send(&mut sessions, id, 2, 2, b"b"), Admission::Run);
        assert_eq!(sessions.picture()[0].1.kept_bytes, 1);
    }

    #[test]
    fn an_ack_past_its_own_number_gives_the_reply_once_and_never_runs_again() {
        let (mut sessions, id) = one(LIMITS);
        assert_eq!(send(&mut sessions, id, 1, 9, b"a"), Admission::Run);
        let session = &sessions.picture()[0].1;
        assert_eq!((session.floor, session.replies.len(), session.kept_bytes), (9, 0, 0));
        assert_eq!(send(&mut sessions, id, 1, 9, b"a"), Admission::Refused(SessionError::Stale));
        assert_eq!(send(&mut sessions, id, 1, u64::MAX, b"a"), Admission::Refused(SessionError::Stale));
    }

    #[test]
    fn keep_the_last_five_request_ids_loses_send_1_to_7_lose_the_reply_to_1_retry_of_1_runs_twice() {
        let limits = Limits { window: 256, reply_bytes: 1 << 20, ttl_ms: 1000 };
        let (mut sessions, id) = one(limits);
        let mut runs = [0; 8];
        let mut submit = |sessions: &mut Sessions, seq: u64, ack| {
            let admission = send(sessions, id, seq, ack, &[seq as u8]);
            runs[seq as usize] += usize::from(admission == Admission::Run);
            admission
        };
        // The client never got the reply to 1, so it acknowledges nothing.
        for seq in 1..=7 {
            assert_eq!(submit(&mut sessions, seq, 1), Admission::Run);
        }
        assert_eq!(submit(&mut sessions, 1, 1), ran(&[1]));
        assert_eq!(runs, [0, 1, 1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn a_session_expires_when_it_is_idle_for_longer_than_its_time() {
        let (mut sessions, id) = one(LIMITS);
        sessions.expire(1000);
        assert_eq!(sessions.len(), 1, "not before its time is over");
        assert_eq!(sessions.admit(id, 1, 0, 1000), Admission::Run);
        sessions.expire(2000);
        assert_eq!(sessions.len(), 1, "its use has put the time off");
        sessions.expire(2001);
        assert_eq!(sessions, Sessions::default());
    }

    #[test]
    fn a_due_session_counts_as_ended_even_before_it_is_taken_out() {
        let (mut sessions, id) = one(LIMITS);
        assert_eq!(sessions.admit(id, 1, 0, 1001), Admission::Refused(SessionError::Expired));
        let (mut sessions, _) = one(LIMITS);
        assert_eq!(sessions.open(50, 10, LIMITS, b"nonce", 1001), Ok(50), "a new session, not the dead one");
        assert_eq!(sessions.len(), 1);
    }

    #[test]
    fn expiry_takes_the_oldest_first_and_some_at_a_time() {
        let mut sessions = Sessions::default();
        let count = EXPIRED_PER_ENTRY as u64 + 10;
        for index in 1..=count {
            assert_eq!(sessions.open(index, 1000, LIMITS, b"", index), Ok(index));
        }
        sessions.expire(5000);
        assert_eq!(sessions.len(), 10);
        assert_eq!(sessions.picture()[0].0, EXPIRED_PER_ENTRY as u64 + 1);
        sessions.expire(5000);
        assert_eq!(sessions, Sessions::default());
    }

    #[test]
    fn when_all_are_taken_a_new_one_is_refused_and_no_live_one_evicted() {
        let (mut sessions, id) = one(LIMITS);
        assert_eq!(sessions.open(8, 1, LIMITS, b"other", 0), Err(SessionError::TooMany));
        assert_eq!(sessions.open(9, 1, LIMITS, b"nonce", 0), Ok(id), "the old one is still found");
        sessions.close(id);
        assert_eq!(sessions.open(10, 1, LIMITS, b"other", 0), Ok(10));
    }

    #[test]
    fn a_picture_does_not_change_while_commands_go_on() {
        let (mut sessions, id) = one(LIMITS);
        send(&mut sessions, id, 1, 0, b"a");
        let picture = sessions.picture();
        let before = picture.clone();
        send(&mut sessions, id, 2, 2, b"b");
        sessions.close(id);
        assert_eq!(picture[0].1.replies, before[0].1.replies);
        assert_eq!(picture[0].1.replies[0].1, Bytes::from_static(b"a"));
    }
}
