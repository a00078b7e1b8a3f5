//! What the data of a [`Command`](crate::raft::EntryKind::Command) entry holds: an operation code, its fields, the
//! state machine's own bytes last and unchanged.
//!
//! All numbers are little-endian. The code is also the version: a form that changes gets a new code, which may be
//! proposed only when every member knows it. What cannot be decoded is applied as nothing, the same on every node.
//!
//! ```text
//! 1 Write          1 | command
//! 2 Once           2 | session u64 | seq u64 | ack u64 | command
//! 3 OpenSession    3 | max_sessions u64 | window u64 | reply_bytes u64 | ttl_ms u64 | nonce, 0 to 64 bytes
//! 4 CloseSession   4 | session u64
//! 5 Tick           5
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use super::session::Limits;
use super::{MAX_NONCE, Request, SessionId};

const WRITE: u8 = 1;
const ONCE: u8 = 2;
const OPEN_SESSION: u8 = 3;
const CLOSE_SESSION: u8 = 4;
const TICK: u8 = 5;

/// Bytes reserved at a time for the entries of many requests.
const BLOCK: usize = 16 << 10;

/// A decoded entry; its bytes are the entry's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Envelope<'a> {
    Write(&'a [u8]),
    Once {
        session: SessionId,
        seq: u64,
        ack: u64,
        command: &'a [u8],
    },
    /// The limits travel with the entry, so that nodes with different settings still decide alike.
    OpenSession {
        max_sessions: u64,
        limits: Limits,
        nonce: &'a [u8],
    },
    CloseSession {
        session: SessionId,
    },
    /// Nothing but its entry's stamp.
    Tick,
}

impl<'a> Envelope<'a> {
    /// What a request asks of the log; `None` for a read.
    pub(super) fn of(request: &'a Request, max_sessions: u64, limits: Limits) -> Option<Self> {
        match request {
            Request::Write(command) => Some(Self::Write(command)),
            Request::Once { session, seq, ack, command } => {
                Some(Self::Once { session: *session, seq: *seq, ack: *ack, command })
            }
            Request::OpenSession { nonce } => Some(Self::OpenSession { max_sessions, limits, nonce }),
            Request::CloseSession { session } => Some(Self::CloseSession { session: *session }),
            Request::Read(_) | Request::ReadLocal(_) | Request::Reconfigure(_) | Request::Transfer(_) => None,
        }
    }

    /// The request that the entry came from.
    #[cfg(feature = "sim")]
    pub(super) fn to_request(self) -> Option<Request> {
        let bytes = Bytes::copy_from_slice;
        Some(match self {
            Self::Write(command) => Request::Write(bytes(command)),
            Self::Once { session, seq, ack, command } => {
                Request::Once { session, seq, ack, command: bytes(command) }
            }
            Self::OpenSession { nonce, .. } => Request::OpenSession { nonce: bytes(nonce) },
            Self::CloseSession { session } => Request::CloseSession { session },
            Self::Tick => return None,
        })
    }

    /// Bytes that [`encode`](Self::encode) yields.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Write(command) => 1 + command.len(),
            Self::Once { command, .. } => 25 + command.len(),
            Self::OpenSession { nonce, .. } => 33 + nonce.len(),
            Self::CloseSession { .. } => 9,
            Self::Tick => 1,
        }
    }

    /// Whether [`decode`](Self::decode) would take it back.
    pub(super) fn is_well_formed(&self) -> bool {
        !matches!(self, Self::OpenSession { nonce, .. } if nonce.len() > MAX_NONCE)
    }

    /// The entry's data. `space` is kept between calls, so that many small entries share one allocation.
    pub(super) fn encode(&self, space: &mut BytesMut) -> Bytes {
        let len = self.len();
        if space.capacity() < len {
            space.reserve(len.max(BLOCK));
        }
        match *self {
            Self::Write(command) => {
                space.put_u8(WRITE);
                space.put_slice(command);
            }
            Self::Once { session, seq, ack, command } => {
                space.put_u8(ONCE);
                space.put_u64_le(session);
                space.put_u64_le(seq);
                space.put_u64_le(ack);
                space.put_slice(command);
            }
            Self::OpenSession { max_sessions, limits, nonce } => {
                space.put_u8(OPEN_SESSION);
                space.put_u64_le(max_sessions);
                space.put_u64_le(limits.window);
                space.put_u64_le(limits.reply_bytes);
                space.put_u64_le(limits.ttl_ms);
                space.put_slice(nonce);
            }
            Self::CloseSession { session } => {
                space.put_u8(CLOSE_SESSION);
                space.put_u64_le(session);
            }
            Self::Tick => space.put_u8(TICK),
        }
        space.split().freeze()
    }

    /// Reads an entry's data; `None` when it is not one of ours.
    pub(super) fn decode(data: &'a [u8]) -> Option<Self> {
        let (&code, rest) = data.split_first()?;
        match code {
            WRITE => Some(Self::Write(rest)),
            ONCE => {
                let (session, rest) = take_u64(rest)?;
                let (seq, rest) = take_u64(rest)?;
                let (ack, command) = take_u64(rest)?;
                Some(Self::Once { session, seq, ack, command })
            }
            OPEN_SESSION => {
                let (max_sessions, rest) = take_u64(rest)?;
                let (window, rest) = take_u64(rest)?;
                let (reply_bytes, rest) = take_u64(rest)?;
                let (ttl_ms, nonce) = take_u64(rest)?;
                let limits = Limits { window, reply_bytes, ttl_ms };
                (nonce.len() <= MAX_NONCE).then_some(Self::OpenSession { max_sessions, limits, nonce })
            }
            CLOSE_SESSION => {
                let (session, rest) = take_u64(rest)?;
                rest.is_empty().then_some(Self::CloseSession { session })
            }
            TICK => rest.is_empty().then_some(Self::Tick),
            _ => None,
        }
    }
}

/// The first eight bytes as a number, and the rest.
pub(super) fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use alloc::vec::Vec;

    const LIMITS: Limits = Limits { window: 256, reply_bytes: 1 << 20, ttl_ms: 60_000 };

    fn samples() -> [Envelope<'static>; 8] {
        [
            Envelope::Write(b""),
            Envelope::Write(b"\x02 looks like another code"),
            Envelope::Once { session: 7, seq: u64::MAX, ack: 3, command: b"append" },
            Envelope::Once { session: 0, seq: 0, ack: 0, command: b"" },
            Envelope::OpenSession { max_sessions: 9, limits: LIMITS, nonce: b"" },
            Envelope::OpenSession { max_sessions: 9, limits: LIMITS, nonce: &[5; MAX_NONCE] },
            Envelope::CloseSession { session: 1 << 40 },
            Envelope::Tick,
        ]
    }

    #[test]
    fn every_form_comes_back_and_its_length_is_known() {
        let mut space = BytesMut::new();
        for envelope in samples() {
            let data = envelope.encode(&mut space);
            assert_eq!(data.len(), envelope.len());
            assert_eq!(Envelope::decode(&data), Some(envelope));
        }
    }

    #[test]
    fn the_forms_on_disk_do_not_change() {
        let mut space = BytesMut::new();
        assert_eq!(&Envelope::Write(b"x").encode(&mut space)[..], b"\x01x");
        let once = Envelope::Once { session: 1, seq: 2, ack: 3, command: b"x" };
        let expected = b"\x02\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0x";
        assert_eq!(&once.encode(&mut space)[..], expected);
        let close = Envelope::CloseSession { session: 0x0102 };
        assert_eq!(&close.encode(&mut space)[..], b"\x04\x02\x01\0\0\0\0\0\0");
        assert_eq!(&Envelope::Tick.encode(&mut space)[..], b"\x05");
    }

    #[test]
    fn entries_encoded_in_a_row_do_not_disturb_each_other() {
        let mut space = BytesMut::new();
        let all: Vec<_> = (0..3).flat_map(|_| samples()).map(|e| (e, e.encode(&mut space))).collect();
        for (envelope, data) in &all {
            assert_eq!(Envelope::decode(data), Some(*envelope));
        }
    }

    #[test]
    fn a_nonce_that_is_too_long_is_refused_on_both_sides() {
        let long = Envelope::OpenSession { max_sessions: 1, limits: LIMITS, nonce: &[1; MAX_NONCE + 1] };
        assert!(!long.is_well_formed());
        assert_eq!(Envelope::decode(&long.encode(&mut BytesMut::new())), None);
    }

    #[test]
    fn arbitrary_bytes_decode_to_nothing_or_to_what_encodes_to_them() {
        let mut rng = Rng::new(11);
        let (mut nothing, mut something) = (0, 0);
        for _ in 0..20_000 {
            let len = rng.below(120) as usize;
            let mut data: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            if let Some(code) = data.first_mut() {
                *code %= 7;
            }
            match Envelope::decode(&data) {
                None => nothing += 1,
                Some(envelope) => {
                    something += 1;
                    assert_eq!(&envelope.encode(&mut BytesMut::new())[..], &data[..]);
                }
            }
        }
        assert!(nothing > 1000 && something > 1000);
        assert_eq!(Envelope::decode(b""), None);
    }
}
