//! The calls of a clerk and the numbers of its session.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{CallId, CallKind};
use crate::codec::resp::write;
use crate::time::Micros;

/// Most numbers above the acknowledged ones: the servers' window.
const WINDOW: u64 = 256;

/// A call that has not ended.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) kind: CallKind,
    /// How many arguments.
    count: usize,
    /// The arguments as bulk strings.
    body: Vec<u8>,
    pub(super) deadline: Micros,
    /// Its number within the session, from its first sending on.
    seq: Option<u64>,
    /// Whether its reply is awaited on the connection that is open.
    pub(super) is_sent: bool,
    /// Sendings of which it is not known that they did nothing.
    pub(super) uncertain: u32,
}

/// All calls that have not ended, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: BTreeMap<CallId, Call>,
    next_call: CallId,
    /// The last number of the session that was given away.
    last_seq: u64,
}

impl Calls {
    pub(super) fn add(&mut self, kind: CallKind, arguments: &[impl AsRef<[u8]>], deadline: Micros) -> CallId {
        let mut body = Vec::new();
        arguments.iter().for_each(|argument| write::bulk(&mut body, argument.as_ref()));
        self.next_call += 1;
        let call =
            Call { kind, count: arguments.len(), body, deadline, seq: None, is_sent: false, uncertain: 0 };
        self.calls.insert(self.next_call, call);
        self.next_call
    }

    pub(super) fn skip(&mut self) -> CallId {
        self.next_call += 1;
        self.next_call
    }

    pub(super) fn get(&mut self, id: CallId) -> Option<&mut Call> {
        self.calls.get_mut(&id)
    }

    /// The number of a call within the session.
    pub(super) fn seq(&self, id: CallId) -> Option<u64> {
        self.calls.get(&id)?.seq
    }

    pub(super) fn remove(&mut self, id: CallId) -> Option<Call> {
        self.calls.remove(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The earliest deadline.
    pub(super) fn deadline(&self) -> Option<Micros> {
        self.calls.values().map(|call| call.deadline).min()
    }

    /// Those whose deadline has come.
    pub(super) fn late(&self, now: Micros) -> Vec<CallId> {
        self.ids(|call| call.deadline <= now)
    }

    /// Those that fit, in order.
    pub(super) fn ids(&self, fits: impl Fn(&Call) -> bool) -> Vec<CallId> {
        self.calls.iter().filter(|(_, call)| fits(call)).map(|(&id, _)| id).collect()
    }

    /// Whether a write waits that has to have a session.
    pub(super) fn want_session(&self) -> bool {
        self.calls.values().any(|call| call.kind == CallKind::Write)
    }

    /// Whether a call has a number of the session.
    pub(super) fn use_session(&self) -> bool {
        self.calls.values().any(|call| call.seq.is_some())
    }

    /// The next session numbers its calls anew.
    pub(super) fn begin_session(&mut self) {
        self.last_seq = 0;
    }

    /// The lowest number whose reply is still wanted.
    fn ack(&self) -> u64 {
        self.calls.values().filter_map(|call| call.seq).min().unwrap_or(self.last_seq + 1)
    }

    /// The bytes of a call outside any session; it counts as sent.
    pub(super) fn plain(&mut self, id: CallId) -> Option<Bytes> {
        let call = self.calls.get_mut(&id)?;
        let mut bytes = Vec::with_capacity(call.body.len() + 16);
        write::array(&mut bytes, call.count);
        bytes.extend_from_slice(&call.body);
        call.is_sent = true;
        call.uncertain = call.uncertain.saturating_add(1);
        Some(bytes.into())
    }

    /// The bytes of a write of the session; it counts as sent. `None` while its number would be beyond the window.
    pub(super) fn once(&mut self, id: CallId, session: u64) -> Option<Bytes> {
        let known = self.calls.get(&id)?.seq;
        let next = if planted!("number-is-reused") { self.ack() } else { self.last_seq + 1 };
        let seq = known.unwrap_or(next);
        let ack = if planted!("awaited-reply-is-acknowledged") { seq } else { self.ack() };
        if seq >= ack.saturating_add(WINDOW) {
            return None;
        }
        self.last_seq = self.last_seq.max(seq);
        let call = self.calls.get_mut(&id)?;
        let mut bytes = Vec::with_capacity(call.body.len() + 64);
        write::array(&mut bytes, call.count.saturating_add(4));
        write::bulk(&mut bytes, b"ONCE");
        for number in [session, seq, ack] {
            write::bulk(&mut bytes, alloc::format!("{number}").as_bytes());
        }
        bytes.extend_from_slice(&call.body);
        call.seq = Some(seq);
        call.is_sent = true;
        call.uncertain = call.uncertain.saturating_add(1);
        Some(bytes.into())
    }

    /// The session is over, as the reply to `told_by` says: its numbers mean nothing any more. Yields the calls that may
    /// have been done, which the caller ends; those that certainly were not get numbers of the next session.
    pub(super) fn end_session(&mut self, told_by: CallId) -> Vec<CallId> {
        let ended = self.ids(|call| call.seq.is_some());
        let mut uncertain = Vec::new();
        for id in ended {
            let Some(call) = self.calls.get_mut(&id) else { continue };
            call.seq = None;
            if (call.uncertain > 0 || id == told_by) && !planted!("expired-write-runs-again") {
                uncertain.push(id);
            }
        }
        uncertain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(bytes: Option<Bytes>) -> Vec<u64> {
        let bytes = bytes.unwrap();
        let text = core::str::from_utf8(&bytes).unwrap();
        text.split("\r\n").skip(4).step_by(2).take(3).map(|n| n.parse().unwrap()).collect()
    }

    #[test]
    fn a_number_stays_and_the_acknowledged_ones_move_on() {
        let mut calls = Calls::default();
        let ids: Vec<_> = (0..3).map(|_| calls.add(CallKind::Write, &["INCR", "n"], 9)).collect();
        assert_eq!(numbers(calls.once(ids[0], 70)), [70, 1, 1]);
        assert_eq!(numbers(calls.once(ids[1], 70)), [70, 2, 1]);
        calls.remove(ids[0]);
        assert_eq!(numbers(calls.once(ids[1], 70)), [70, 2, 2]);
        assert_eq!(numbers(calls.once(ids[2], 70)), [70, 3, 2]);
        calls.remove(ids[1]);
        calls.remove(ids[2]);
        let later = calls.add(CallKind::Write, &["INCR", "n"], 9);
        assert_eq!(numbers(calls.once(later, 70)), [70, 4, 4]);
        assert_eq!(calls.end_session(later), [later]);
    }

    #[test]
    fn nothing_is_sent_beyond_the_window() {
        let mut calls = Calls::default();
        let ids: Vec<_> = (0..300).map(|_| calls.add(CallKind::Write, &["INCR", "n"], 9)).collect();
        let sent = ids.iter().filter(|&&id| calls.once(id, 1).is_some()).count();
        assert_eq!(sent, 256);
        calls.remove(ids[0]);
        assert!(calls.once(ids[256], 1).is_some() && calls.once(ids[257], 1).is_none());
    }
}
