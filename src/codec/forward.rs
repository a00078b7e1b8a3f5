//! Clients' requests on their way to the leader and the replies on their way back, packed as entries are: a fixed
//! header in little-endian, then the bytes. Many of them travel in one frame.

use alloc::vec::Vec;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::frame::FrameError;
use crate::raft::NodeId;
use crate::replica::{Outcome, Refused, Request, SessionError};
use crate::time::Micros;

/// A client's request, sent on by the node that the client talks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// The sender's name for it, never reused while the sender's process lives.
    pub id: u64,
    /// The client's connection at the sender: its requests are one ordered stream.
    pub connection: u64,
    /// The pipeline epoch of [`node::Event::Request`](crate::node::Event::Request).
    pub epoch: u32,
    /// How long the request may still take, in microseconds: the two nodes' clocks have nothing in common.
    pub budget: Micros,
    /// What is asked.
    pub request: Request,
}

/// The end of a forwarded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// [`Forwarded::id`].
    pub id: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Bytes before the command of a packed [`Forwarded`].
pub const FORWARDED_HEADER: usize = 60;

/// Bytes before the reply of a packed [`Answered`].
pub const ANSWERED_HEADER: usize = 28;

const MALFORMED: FrameError =
    FrameError::Malformed("a forwarded request ends early or is of an unknown kind");
const MALFORMED_REPLY: FrameError =
    FrameError::Malformed("a forwarded reply ends early or is of an unknown kind");

impl Forwarded {
    /// Bytes that [`pack`](Self::pack) appends.
    pub fn packed_len(&self) -> usize {
        FORWARDED_HEADER + payload(&self.request).len()
    }

    /// Appends the packed form.
    pub fn pack(&self, out: &mut BytesMut) {
        let (kind, session, seq, ack) = match &self.request {
            Request::Write(_) => (0, 0, 0, 0),
            Request::Once { session, seq, ack, .. } => (1, *session, *seq, *ack),
            Request::OpenSession { .. } => (2, 0, 0, 0),
            Request::CloseSession { session } => (3, *session, 0, 0),
            Request::Read(_) => (4, 0, 0, 0),
            // These are not sent on; a reader refuses them.
            Request::ReadLocal(_) | Request::Reconfigure(_) | Request::Transfer(_) => (5, 0, 0, 0),
        };
        let data = payload(&self.request);
        out.reserve(FORWARDED_HEADER + data.len());
        out.put_u64_le(self.id);
        out.put_u64_le(self.connection);
        out.put_u32_le(self.epoch);
        out.put_u32_le(kind);
        out.put_u64_le(self.budget);
        out.put_u64_le(session);
        out.put_u64_le(seq);
        out.put_u64_le(ack);
        // Requests are bounded far below 4 GiB before they are forwarded.
        out.put_u32_le(data.len() as u32);
        out.put_slice(data);
    }

    /// Reads what [`pack`](Self::pack) wrote, all of `packed`. The commands are slices of it.
    pub fn unpack(packed: &Bytes) -> Result<Vec<Self>, FrameError> {
        let mut rest = packed.clone();
        let mut all = Vec::new();
        while !rest.is_empty() {
            if rest.len() < FORWARDED_HEADER {
                return Err(MALFORMED);
            }
            let (id, connection) = (rest.get_u64_le(), rest.get_u64_le());
            let (epoch, kind) = (rest.get_u32_le(), rest.get_u32_le());
            let budget = rest.get_u64_le();
            let (session, seq, ack) = (rest.get_u64_le(), rest.get_u64_le(), rest.get_u64_le());
            let len = rest.get_u32_le() as usize;
            if rest.len() < len {
                return Err(MALFORMED);
            }
            let data = rest.split_to(len);
            let request = match kind {
                0 => Request::Write(data),
                1 => Request::Once { session, seq, ack, command: data },
                2 => Request::OpenSession { nonce: data },
                3 if data.is_empty() => Request::CloseSession { session },
                4 => Request::Read(data),
                _ => return Err(MALFORMED),
            };
            all.push(Self { id, connection, epoch, budget, request });
        }
        Ok(all)
    }
}

/// The bytes that a request carries.
pub fn payload(request: &Request) -> &[u8] {
    match request {
        Request::Write(data) | Request::Read(data) | Request::ReadLocal(data) => data,
        Request::Once { command, .. } => command,
        Request::OpenSession { nonce } => nonce,
        Request::CloseSession { .. } | Request::Reconfigure(_) | Request::Transfer(_) => &[],
    }
}

impl Answered {
    /// Bytes that [`pack`](Self::pack) appends.
    pub fn packed_len(&self) -> usize {
        ANSWERED_HEADER + reply(&self.outcome).len()
    }

    /// Appends the packed form.
    pub fn pack(&self, out: &mut BytesMut) {
        let (kind, value) = match &self.outcome {
            Outcome::Reply(_) => (0, 0),
            Outcome::SessionOpened(session) => (1, *session),
            Outcome::SessionClosed => (2, 0),
            Outcome::Session(error) => (3, session_code(*error)),
            Outcome::Refused(Refused::NotLeader(leader)) => (5, leader.0),
            // What is not sent on is not answered from elsewhere; a reader refuses it.
            Outcome::Reconfigured(_)
            | Outcome::Transferred
            | Outcome::Refused(Refused::Change(_) | Refused::Transfer(_)) => (7, 0),
            Outcome::Refused(refused) => (4, refused_code(*refused)),
            Outcome::Undetermined => (6, 0),
        };
        let data = reply(&self.outcome);
        out.reserve(ANSWERED_HEADER + data.len());
        out.put_u64_le(self.id);
        out.put_u64_le(kind);
        out.put_u64_le(value);
        // Replies are bounded far below 4 GiB by the state machine's own limits and by the frame's.
        out.put_u32_le(data.len() as u32);
        out.put_slice(data);
    }

    /// Reads what [`pack`](Self::pack) wrote, all of `packed`. The replies are slices of it.
    pub fn unpack(packed: &Bytes) -> Result<Vec<Self>, FrameError> {
        let mut rest = packed.clone();
        let mut all = Vec::new();
        while !rest.is_empty() {
            if rest.len() < ANSWERED_HEADER {
                return Err(MALFORMED_REPLY);
            }
            let (id, kind, value) = (rest.get_u64_le(), rest.get_u64_le(), rest.get_u64_le());
            let len = rest.get_u32_le() as usize;
            if rest.len() < len || (kind != 0 && len != 0) {
                return Err(MALFORMED_REPLY);
            }
            let data = rest.split_to(len);
            let outcome = match kind {
                0 => Outcome::Reply(data),
                1 => Outcome::SessionOpened(value),
                2 => Outcome::SessionClosed,
                3 => Outcome::Session(session_error(value).ok_or(MALFORMED_REPLY)?),
                4 => Outcome::Refused(refused(value).ok_or(MALFORMED_REPLY)?),
                5 => Outcome::Refused(Refused::NotLeader(NodeId(value))),
                6 => Outcome::Undetermined,
                _ => return Err(MALFORMED_REPLY),
            };
            all.push(Self { id, outcome });
        }
        Ok(all)
    }
}

fn reply(outcome: &Outcome) -> &[u8] {
    match outcome {
        Outcome::Reply(data) => data,
        _ => &[],
    }
}

const fn session_code(error: SessionError) -> u64 {
    match error {
        SessionError::Expired => 0,
        SessionError::Stale => 1,
        SessionError::BeyondWindow => 2,
        SessionError::RepliesFull => 3,
        SessionError::TooMany => 4,
    }
}

const fn session_error(code: u64) -> Option<SessionError> {
    Some(match code {
        0 => SessionError::Expired,
        1 => SessionError::Stale,
        2 => SessionError::BeyondWindow,
        3 => SessionError::RepliesFull,
        4 => SessionError::TooMany,
        _ => return None,
    })
}

const fn refused_code(refused: Refused) -> u64 {
    match refused {
        // Kind 5 carries it, with the leader.
        Refused::NotLeader(_) | Refused::NoLeader => 0,
        Refused::Busy => 1,
        Refused::TooLarge => 2,
        Refused::DiskFull => 3,
        Refused::AfterRefusal => 4,
        Refused::Stopping => 5,
        Refused::TimedOut => 6,
        Refused::Transferring => 7,
        // Kind 7 stands for them.
        Refused::Change(_) | Refused::Transfer(_) => u64::MAX,
    }
}

const fn refused(code: u64) -> Option<Refused> {
    Some(match code {
        0 => Refused::NoLeader,
        1 => Refused::Busy,
        2 => Refused::TooLarge,
        3 => Refused::DiskFull,
        4 => Refused::AfterRefusal,
        5 => Refused::Stopping,
        6 => Refused::TimedOut,
        7 => Refused::Transferring,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn requests() -> Vec<Forwarded> {
        let all = [
            Request::Write(Bytes::from_static(b"set a 1")),
            Request::Once { session: 7, seq: 9, ack: 8, command: Bytes::from_static(b"incr") },
            Request::OpenSession { nonce: Bytes::from_static(b"nonce") },
            Request::CloseSession { session: 7 },
            Request::Read(Bytes::new()),
        ];
        (1..)
            .zip(all)
            .map(|(id, request)| Forwarded { id, connection: 3, epoch: 2, budget: 5_000_000, request })
            .collect()
    }

    fn answers() -> Vec<Answered> {
        let all = [
            Outcome::Reply(Bytes::from_static(b"+OK\r\n")),
            Outcome::SessionOpened(12),
            Outcome::SessionClosed,
            Outcome::Session(SessionError::Expired),
            Outcome::Session(SessionError::Stale),
            Outcome::Session(SessionError::BeyondWindow),
            Outcome::Session(SessionError::RepliesFull),
            Outcome::Session(SessionError::TooMany),
            Outcome::Refused(Refused::NotLeader(NodeId(2))),
            Outcome::Refused(Refused::NoLeader),
            Outcome::Refused(Refused::Busy),
            Outcome::Refused(Refused::TooLarge),
            Outcome::Refused(Refused::DiskFull),
            Outcome::Refused(Refused::AfterRefusal),
            Outcome::Refused(Refused::Stopping),
            Outcome::Refused(Refused::TimedOut),
            Outcome::Refused(Refused::Transferring),
            Outcome::Undetermined,
        ];
        (1..).zip(all).map(|(id, outcome)| Answered { id, outcome }).collect()
    }

    fn packed_requests() -> Bytes {
        let mut out = BytesMut::new();
        requests().iter().for_each(|r| r.pack(&mut out));
        assert_eq!(out.len(), requests().iter().map(Forwarded::packed_len).sum::<usize>());
        out.freeze()
    }

    #[test]
    fn every_request_and_every_outcome_comes_back() {
        assert_eq!(Forwarded::unpack(&packed_requests()), Ok(requests()));
        let mut out = BytesMut::new();
        answers().iter().for_each(|a| a.pack(&mut out));
        assert_eq!(Answered::unpack(&out.freeze()), Ok(answers()));
    }

    #[test]
    fn a_read_of_local_state_is_never_taken_from_a_peer() {
        let mut all = requests();
        all[0].request = Request::ReadLocal(Bytes::new());
        let mut out = BytesMut::new();
        all[0].pack(&mut out);
        assert_eq!(Forwarded::unpack(&out.freeze()), Err(MALFORMED));
    }

    #[test]
    fn any_cut_is_refused_or_a_prefix() {
        let (whole, all) = (packed_requests(), requests());
        for cut in 0..whole.len() {
            if let Ok(prefix) = Forwarded::unpack(&whole.slice(..cut)) {
                assert!(all.starts_with(&prefix) && prefix.len() < all.len());
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        let mut rng = Rng::new(11);
        for _ in 0..2_000 {
            let mut image = BytesMut::from(&packed_requests()[..]);
            for _ in 0..=rng.below(4) {
                let at = rng.below(image.len() as u64) as usize;
                image[at] = rng.next_u64() as u8;
            }
            let image = image.freeze();
            let _ = Forwarded::unpack(&image);
            let _ = Answered::unpack(&image);
        }
    }
}
