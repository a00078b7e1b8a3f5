//! The rules of exactly-once sessions, once more: written from their description, to judge which entries ran.
//!
//! A session keeps which numbers ran, not what they answered: a retry's reply is held against the one execution's.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::raft::LogIndex;
use crate::replica::{self, SessionId};
use crate::time::Millis;

/// Most sessions that one entry ends.
const EXPIRED_PER_ENTRY: usize = 64;

/// The limits that the leaders of a run give to the sessions they open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Most sessions at once.
    pub max_sessions: usize,
    /// Numbers from the floor on that may be used.
    pub window: u64,
    /// Bytes of replies kept for one session.
    pub reply_bytes: u64,
    /// Idle time after which one expires, in milliseconds of the log.
    pub ttl_ms: Millis,
}

impl From<&replica::Config> for SessionLimits {
    fn from(config: &replica::Config) -> Self {
        Self {
            max_sessions: config.max_sessions,
            window: config.session_window,
            reply_bytes: config.session_reply_bytes as u64,
            ttl_ms: config.session_ttl_ms,
        }
    }
}

#[derive(Debug)]
struct Session {
    nonce: Bytes,
    used: Millis,
    floor: u64,
    /// The numbers that ran and were not acknowledged, with the bytes of their replies.
    ran: BTreeMap<u64, u64>,
}

impl Session {
    fn raise(&mut self, floor: u64) {
        if floor > self.floor {
            self.floor = floor;
            self.ran = self.ran.split_off(&floor);
        }
    }
}

/// All sessions after some entry.
#[derive(Debug)]
pub(super) struct Sessions {
    limits: SessionLimits,
    open: BTreeMap<SessionId, Session>,
    /// No session expires before this time. A new one or a new use puts nothing earlier.
    none_before: Millis,
}

impl Sessions {
    pub(super) fn new(limits: SessionLimits) -> Self {
        Self { limits, open: BTreeMap::new(), none_before: 0 }
    }

    /// Ends sessions at an entry of any kind.
    pub(super) fn pass(&mut self, now: Millis) {
        if now <= self.none_before {
            return;
        }
        for _ in 0..EXPIRED_PER_ENTRY {
            let first = self.open.iter().map(|(&id, session)| (session.used, id)).min();
            match first {
                Some((used, id)) if used.saturating_add(self.limits.ttl_ms) < now => {
                    self.open.remove(&id);
                }
                Some((used, _)) => {
                    self.none_before = used.saturating_add(self.limits.ttl_ms);
                    return;
                }
                None => return,
            }
        }
    }

    /// The entry at `index` opens a session.
    pub(super) fn open(&mut self, index: LogIndex, nonce: &Bytes, now: Millis) {
        let same = self.open.iter().find(|(_, session)| !nonce.is_empty() && session.nonce == nonce);
        if let Some(id) = same.map(|(&id, _)| id)
            && self.touch(id, now).is_some()
        {
            return;
        }
        if self.open.len() < self.limits.max_sessions {
            let session = Session { nonce: nonce.clone(), used: now, floor: 0, ran: BTreeMap::new() };
            self.open.insert(index, session);
        }
    }

    /// An entry closes a session.
    pub(super) fn close(&mut self, id: SessionId) {
        self.open.remove(&id);
    }

    /// Whether an entry with number `seq` of a session runs.
    pub(super) fn admits(&mut self, id: SessionId, seq: u64, ack: u64, now: Millis) -> bool {
        let SessionLimits { window, reply_bytes, .. } = self.limits;
        let Some(session) = self.touch(id, now) else { return false };
        if seq < session.floor {
            return false;
        }
        if session.ran.contains_key(&seq) {
            session.raise(ack);
            return false;
        }
        session.raise(ack.min(seq));
        seq - session.floor < window && session.ran.values().sum::<u64>() < reply_bytes
    }

    /// The entry with number `seq` ran, and its reply is kept.
    pub(super) fn ran(&mut self, id: SessionId, seq: u64, ack: u64, kept_bytes: u64) {
        if let Some(session) = self.open.get_mut(&id) {
            session.ran.insert(seq, kept_bytes);
            session.raise(ack);
        }
    }

    fn touch(&mut self, id: SessionId, now: Millis) -> Option<&mut Session> {
        let session = self.open.get_mut(&id)?;
        if session.used.saturating_add(self.limits.ttl_ms) < now {
            self.open.remove(&id);
            return None;
        }
        let session = self.open.get_mut(&id)?;
        session.used = session.used.max(now);
        Some(session)
    }
}
