//! Frames between peers: length, checksum, payload.

use core::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

/// A frame ready for a socket: its pieces, to be written one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(pub SmallVec<[Bytes; 2]>);

/// Takes the bytes of a connection and yields the payloads of whole frames.
#[derive(Debug)]
pub struct Decoder {}

/// What is wrong with a peer's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The length field passes the limit.
    TooLong(u64),
    /// The checksum does not fit the payload.
    Checksum,
    /// The payload is not a message of this version.
    Malformed(&'static str),
    /// The frame is of a version that this build does not know.
    Version(u16),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(len) => write!(f, "a frame of {len} bytes passes the limit"),
            Self::Checksum => f.write_str("a frame's checksum does not fit its payload"),
            Self::Malformed(what) => write!(f, "a frame is malformed: {what}"),
            Self::Version(v) => write!(f, "a frame is of version {v}, which this build does not know"),
        }
    }
}

impl core::error::Error for FrameError {}

#[allow(unused_variables, clippy::todo)]
impl Decoder {
    /// A decoder for a new connection; frames of more than `max_frame` bytes are refused.
    pub fn new(max_frame: usize) -> Self {
        todo!("codec helper")
    }

    /// Space to read into, at least `min` bytes; after reading `n` bytes call [`advance`](Self::advance).
    pub fn space(&mut self, min: usize) -> &mut [u8] {
        todo!("codec helper")
    }

    /// The first `n` bytes of the last [`space`](Self::space) are filled.
    pub fn advance(&mut self, n: usize) {
        todo!("codec helper")
    }

    /// The next whole frame's payload. After an error the connection must be closed.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        todo!("codec helper")
    }
}
