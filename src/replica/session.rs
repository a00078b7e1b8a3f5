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
        let below = self.replies.partition_point(|&(seq, _)| seq < floor);
        let freed: u64 = self.replies.drain(..below).map(|(_, reply)| reply.len() as u64).sum();
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
        if seq < session.floor {
            return Admission::Refused(SessionError::Stale);
        }
        if let Ok(at) = session.replies.binary_search_by_key(&seq, |&(seq, _)| seq)
            && let Some((_, reply)) = session.replies.get(at)
        {
            let reply = reply.clone();
            session.raise_floor(ack);
            return Admission::Ran(reply);
        }
        // An acknowledgement of the command itself cannot be meant before it has run; `keep` ends with it.
        session.raise_floor(ack.min(seq));
        if seq - session.floor >= session.limits.window {
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
            self.by_due.remove(&(due, id));
            self.by_due.insert((session.due(), id));
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
