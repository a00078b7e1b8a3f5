//! What a snapshot holds besides the user's state: the sessions with their replies, and the position and clocks of the
//! log (STORAGE row 15). Membership is in the file's own header, by [`SnapshotMeta`](crate::raft::SnapshotMeta).
//!
//! All numbers are little-endian.
//!
//! ```text
//! header     version u32 = 1 | term u64 | index u64 | unix_ms u64 | cluster_ms u64 | sessions u64
//! a session  length u32 of the rest | id u64 | floor u64 | used_ms u64 | window u64 | reply_bytes u64 | ttl_ms u64
//!            | nonce length u8 | nonce | replies u32 | for each: seq u64, length u32, bytes
//! state      the rest: what the state machine's view writes
//! ```

use alloc::sync::Arc;
use alloc::vec::{self, Vec};
use core::fmt;

use bytes::{BufMut, Bytes};

use super::envelope::take_u64;
use super::session::{Limits, Session, Sessions};
use super::{MAX_NONCE, RestoreError, Restorer, SessionId, StateMachine, View};
use crate::raft::{LogId, Stamp};

/// The version of the form above.
const VERSION: u32 = 1;

const HEADER: usize = 44;

/// The picture of a replica: its sessions, then its state machine's view.
pub struct ReplicaView<S: StateMachine> {
    header: Option<[u8; HEADER]>,
    sessions: vec::IntoIter<(SessionId, Arc<Session>)>,
    state: S::View,
}

impl<S: StateMachine> ReplicaView<S> {
    pub(super) fn new(
        applied: LogId,
        stamp: Stamp,
        sessions: Vec<(SessionId, Arc<Session>)>,
        state: S::View,
    ) -> Self {
        let mut header = [0; HEADER];
        let mut space = &mut header[..];
        space.put_u32_le(VERSION);
        space.put_u64_le(applied.term);
        space.put_u64_le(applied.index);
        space.put_u64_le(stamp.unix_ms);
        space.put_u64_le(stamp.cluster_ms);
        space.put_u64_le(sessions.len() as u64);
        Self { header: Some(header), sessions: sessions.into_iter(), state }
    }
}

impl<S: StateMachine> fmt::Debug for ReplicaView<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaView").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}

impl<S: StateMachine> View for ReplicaView<S> {
    fn read(&mut self, target: usize, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        if let Some(header) = self.header.take() {
            out.extend_from_slice(&header);
        }
        while out.len() - start < target {
            let Some((id, session)) = self.sessions.next() else { break };
            write_session(id, &session, out);
        }
        if out.len() > start {
            return true;
        }
        self.state.read(target, out)
    }
}

fn write_session(id: SessionId, session: &Session, out: &mut Vec<u8>) {
    let start = out.len();
    out.put_u32_le(0);
    out.put_u64_le(id);
    out.put_u64_le(session.floor);
    out.put_u64_le(session.used_ms);
    out.put_u64_le(session.limits.window);
    out.put_u64_le(session.limits.reply_bytes);
    out.put_u64_le(session.limits.ttl_ms);
    // At most MAX_NONCE, checked when the session was opened.
    out.put_u8(session.nonce.len() as u8);
    out.put_slice(&session.nonce);
    out.put_u32_le(session.replies.len() as u32);
    for (seq, reply) in &session.replies {
        out.put_u64_le(*seq);
        out.put_u32_le(reply.len() as u32);
        out.put_slice(reply);
    }
    let len = (out.len() - start - 4) as u32;
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&len.to_le_bytes());
    }
}

/// Builds what a [`ReplicaView`] wrote.
pub struct ReplicaRestorer<S: StateMachine> {
    stage: Stage,
    /// Bytes of a header or session that is not yet whole.
    partial: Vec<u8>,
    applied: LogId,
    stamp: Stamp,
    sessions: Sessions,
    last_session: SessionId,
    state: S::Restorer,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Header,
    /// So many are still to come.
    Sessions(u64),
    State,
}

/// A restored replica: sessions and state, ready to be switched to.
#[derive(Debug)]
pub struct Restored<S: StateMachine> {
    /// The user's state.
    pub state: S,
    pub(super) sessions: Sessions,
    pub(super) applied: LogId,
    pub(super) stamp: Stamp,
}

impl<S: StateMachine> Restored<S> {
    /// The last entry that the state has applied: what the snapshot's name must say.
    pub fn applied(&self) -> LogId {
        self.applied
    }
}

impl<S: StateMachine> ReplicaRestorer<S> {
    /// A restorer that has taken nothing yet.
    pub fn new() -> Self {
        Self {
            stage: Stage::Header,
            partial: Vec::new(),
            applied: LogId::ZERO,
            stamp: Stamp::default(),
            sessions: Sessions::default(),
            last_session: 0,
            state: S::restorer(),
        }
    }

    /// Fills `partial` to `len` bytes from `chunk`, and says whether it is full.
    fn gather(&mut self, len: usize, chunk: &mut &[u8]) -> bool {
        let missing = len.saturating_sub(self.partial.len()).min(chunk.len());
        let (taken, rest) = chunk.split_at(missing);
        self.partial.extend_from_slice(taken);
        *chunk = rest;
        self.partial.len() >= len
    }

    fn header(&mut self) -> Result<(), RestoreError> {
        let mut fields = Fields(&self.partial);
        let version = fields.u32()?;
        if version != VERSION {
            return Err(RestoreError::Version(version));
        }
        self.applied = LogId::new(fields.u64()?, fields.u64()?);
        self.stamp = Stamp { unix_ms: fields.u64()?, cluster_ms: fields.u64()? };
        self.stage = stage_after(fields.u64()?);
        self.partial.clear();
        Ok(())
    }

    fn session(&mut self) -> Result<(), RestoreError> {
        let (id, session) = read_session(self.partial.get(4..).unwrap_or_default())?;
        if id <= self.last_session || id > self.applied.index {
            return Err(RestoreError::Malformed("a session's id is out of order"));
        }
        if session.used_ms > self.stamp.cluster_ms {
            return Err(RestoreError::Malformed("a session was used after the snapshot"));
        }
        if !self.sessions.insert(id, session) {
            return Err(RestoreError::Malformed("two sessions have one nonce"));
        }
        self.last_session = id;
        self.partial.clear();
        Ok(())
    }
}

fn stage_after(sessions: u64) -> Stage {
    if sessions == 0 { Stage::State } else { Stage::Sessions(sessions) }
}

impl<S: StateMachine> Default for ReplicaRestorer<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: StateMachine> fmt::Debug for ReplicaRestorer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaRestorer")
            .field("stage", &self.stage)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

impl<S: StateMachine> Restorer for ReplicaRestorer<S> {
    type State = Restored<S>;

    fn push(&mut self, mut chunk: &[u8]) -> Result<(), RestoreError> {
        while !chunk.is_empty() {
            match self.stage {
                Stage::Header => {
                    if self.gather(HEADER, &mut chunk) {
                        self.header()?;
                    }
                }
                Stage::Sessions(left) => {
                    // The length field first; then it says how much more.
                    if self.gather(4, &mut chunk) {
                        let len = Fields(&self.partial).u32()? as usize;
                        if self.gather(len.saturating_add(4), &mut chunk) {
                            self.session()?;
                            self.stage = stage_after(left - 1);
                        }
                    }
                }
                Stage::State => return self.state.push(chunk),
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Restored<S>, RestoreError> {
        let Stage::State = self.stage else { return Err(RestoreError::Length) };
        let state = self.state.finish()?;
        Ok(Restored { state, sessions: self.sessions, applied: self.applied, stamp: self.stamp })
    }
}

fn read_session(record: &[u8]) -> Result<(SessionId, Session), RestoreError> {
    let mut fields = Fields(record);
    let (id, floor, used_ms) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let limits = Limits { window: fields.u64()?, reply_bytes: fields.u64()?, ttl_ms: fields.u64()? };
    let nonce_len = usize::from(fields.u8()?);
    if nonce_len > MAX_NONCE {
        return Err(RestoreError::Malformed("a session's nonce is too long"));
    }
    let nonce = Arc::from(fields.bytes(nonce_len)?);
    let count = fields.u32()?;
    let mut session = Session { limits, nonce, floor, used_ms, replies: Vec::new(), kept_bytes: 0 };
    for _ in 0..count {
        let seq = fields.u64()?;
        let len = fields.u32()? as usize;
        let reply = fields.bytes(len)?;
        let ascends = session.replies.last().is_none_or(|&(last, _)| seq > last);
        if !ascends || seq < floor || seq - floor >= limits.window {
            return Err(RestoreError::Malformed("a session's replies are out of order"));
        }
        session.kept_bytes = session.kept_bytes.saturating_add(len as u64);
        session.replies.push((seq, Bytes::copy_from_slice(reply)));
    }
    if !fields.0.is_empty() {
        return Err(RestoreError::Malformed("a session is longer than its fields"));
    }
    Ok((id, session))
}

/// Reads fields off the front of a record.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], RestoreError> {
        let (head, rest) =
            self.0.split_at_checked(len).ok_or(RestoreError::Malformed("a record ends within a field"))?;
        self.0 = rest;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8, RestoreError> {
        Ok(self.bytes(1)?.first().copied().unwrap_or_default())
    }

    fn u32(&mut self) -> Result<u32, RestoreError> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.bytes(4)?);
        Ok(u32::from_le_bytes(bytes))
    }

    fn u64(&mut self) -> Result<u64, RestoreError> {
        let (value, rest) =
            take_u64(self.0).ok_or(RestoreError::Malformed("a record ends within a field"))?;
        self.0 = rest;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::apply::Machine;
    use super::super::testing::Tape;
    use super::*;
    use crate::raft::{Entry, EntryKind};
    use crate::rng::Rng;
    use alloc::vec;

    const LIMITS: Limits = Limits { window: 256, reply_bytes: 1 << 20, ttl_ms: 1000 };

    /// A machine with items, sessions with and without nonce and replies, and a session that was closed.
    fn machine() -> Machine<Tape> {
        use super::super::envelope::Envelope;
        let open = |nonce| Envelope::OpenSession { max_sessions: 9, limits: LIMITS, nonce };
        let once = |session, seq, ack, command| Envelope::Once { session, seq, ack, command };
        let script = [
            Envelope::Write(b"a"),
            open(b"first"),
            open(b""),
            open(b"closed"),
            once(2, 1, 0, b"b"),
            once(2, 3, 0, b"a long command, so that pieces differ"),
            once(2, 2, 2, b""),
            once(3, 9, 9, b"c"),
            Envelope::CloseSession { session: 4 },
        ];
        let mut machine = Machine::empty();
        for (n, envelope) in script.iter().enumerate() {
            let n = n as u64;
            let entry = Entry {
                id: LogId::new(n / 4 + 1, n + 1),
                kind: EntryKind::Command,
                stamp: Stamp { unix_ms: 1_000 + n, cluster_ms: 10 * n },
                data: envelope.encode(&mut bytes::BytesMut::new()),
            };
            machine.apply(&entry, &mut Vec::new()).expect("no gap");
        }
        machine
    }

    fn written(machine: &Machine<Tape>, target: usize) -> Vec<u8> {
        let mut view = machine.view();
        let mut out = Vec::new();
        while view.read(target, &mut out) {}
        out
    }

    fn restore(pieces: &[&[u8]]) -> Result<Machine<Tape>, RestoreError> {
        let mut restorer = ReplicaRestorer::<Tape>::new();
        for piece in pieces {
            restorer.push(piece)?;
        }
        restorer.finish().map(Machine::restored)
    }

    fn assert_same(a: &Machine<Tape>, b: &Machine<Tape>) {
        assert_eq!(a.state, b.state);
        assert_eq!(a.sessions, b.sessions);
        assert_eq!((a.applied, a.stamp), (b.applied, b.stamp));
    }

    #[test]
    fn row_15_all_of_it_comes_back_in_any_division() {
        let machine = machine();
        assert_eq!(machine.sessions.len(), 2);
        let whole = written(&machine, 1 << 20);
        for target in [1, 7, 50] {
            assert_eq!(written(&machine, target), whole, "pieces of {target}");
        }
        for cut in 0..=whole.len() {
            let (head, tail) = whole.split_at(cut);
            let restored = restore(&[head, tail]).expect("a whole snapshot");
            assert_same(&restored, &machine);
        }
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_same(&restore(&bytes).expect("a whole snapshot"), &machine);
    }

    #[test]
    fn a_snapshot_that_ends_too_early_is_refused_or_is_a_shorter_state() {
        let machine = machine();
        let whole = written(&machine, 1 << 20);
        let state_at = whole.len() - {
            let mut state = Vec::new();
            let mut view = machine.state.view();
            while view.read(1 << 20, &mut state) {}
            state.len()
        };
        for cut in 0..state_at {
            assert_eq!(restore(&[&whole[..cut]]).err(), Some(RestoreError::Length), "cut at {cut}");
        }
    }

    #[test]
    fn an_unknown_version_is_refused_by_name() {
        let mut whole = written(&machine(), 1 << 20);
        whole[0] = 9;
        assert_eq!(restore(&[&whole]).err(), Some(RestoreError::Version(9)));
    }

    #[test]
    fn any_mutation_is_refused_or_restores_without_panic() {
        let whole = written(&machine(), 1 << 20);
        let mut rng = Rng::new(3);
        let mut refused = 0;
        for _ in 0..5_000 {
            let mut bytes = whole.clone();
            for _ in 0..=rng.below(3) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next_u64() as u8;
            }
            bytes.truncate(bytes.len() - rng.below(4) as usize);
            let at = rng.below(bytes.len() as u64 + 1) as usize;
            let (head, tail) = bytes.split_at(at);
            match restore(&[head, tail]) {
                Err(_) => refused += 1,
                Ok(machine) => drop(written(&machine, 100)),
            }
        }
        assert!(refused > 1_000);
    }

    #[test]
    fn sessions_that_contradict_each_other_are_refused() {
        let image = |records: &[(SessionId, Session)]| {
            let shared = records.iter().map(|(id, s)| (*id, Arc::new(s.clone()))).collect();
            let stamp = Stamp { unix_ms: 5, cluster_ms: 50 };
            let view = ReplicaView::<Tape>::new(LogId::new(1, 9), stamp, shared, Tape::empty(1).view());
            let (mut view, mut out) = (view, Vec::new());
            while view.read(100, &mut out) {}
            out
        };
        let good = Session {
            limits: LIMITS,
            nonce: Arc::from(&b"n"[..]),
            floor: 5,
            used_ms: 50,
            replies: vec![(5, Bytes::new()), (7, Bytes::from_static(b"x"))],
            kept_bytes: 1,
        };
        let refused = |records: &[(SessionId, Session)]| {
            matches!(restore(&[&image(records)]), Err(RestoreError::Malformed(_)))
        };
        let unnamed = Session { nonce: Arc::from(&b""[..]), ..good.clone() };
        assert!(!refused(&[(1, good.clone()), (9, unnamed.clone())]));
        assert!(refused(&[(1, good.clone()), (2, good.clone())]), "one nonce twice");
        assert!(refused(&[(2, unnamed.clone()), (1, good.clone())]), "ids descend");
        assert!(refused(&[(10, good.clone())]), "opened after the snapshot");
        assert!(refused(&[(1, Session { used_ms: 51, ..good.clone() })]), "used after the snapshot");
        assert!(refused(&[(1, Session { floor: 6, ..good.clone() })]), "a reply below the floor");
        let replies = vec![(300, Bytes::new())];
        assert!(refused(&[(1, Session { replies, ..good.clone() })]), "a reply beyond the window");
        let replies = vec![(7, Bytes::new()), (7, Bytes::new())];
        assert!(refused(&[(1, Session { replies, ..good })]), "one number twice");
    }

    #[test]
    fn a_restored_session_expires_at_the_same_entry() {
        let machine = machine();
        let restored = restore(&[&written(&machine, 64)]).expect("a whole snapshot");
        let (mut a, mut b) = (machine.sessions, restored.sessions);
        for now in [1_060, 1_061, 1_070, 1_071, 5_000] {
            a.expire(now);
            b.expire(now);
            assert_eq!(a, b, "at {now}");
        }
        assert_eq!(a.len(), 0);
    }
}
