//! Frames between peers: length, checksum, payload.
//!
//! ```text
//! ┌─────────────┬──────────────────────────────────┬───────────┐
//! │ length: u32 │ checksum: u32                    │ payload … │   little-endian; the length is the payload's
//! │             │ (low half of the payload's xxh3) │           │
//! └─────────────┴──────────────────────────────────┴───────────┘
//! ```
//!
//! TCP's own checksum is weak and ends at the network card; this one ends where the bytes are used. It finds accidents,
//! not malice: a peer is who the handshake says it is.

use alloc::vec::Vec;
use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::input::Input;

/// Bytes before the payload.
pub const FRAME_HEADER: usize = 8;

/// A first part up to this length is copied behind the header: one write and one allocation for a short message.
const INLINE: usize = 1024;

/// Bytes that a decoder allocates at a time.
const CHUNK: usize = 64 * 1024;

/// A frame ready for a socket: its pieces, to be written one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(pub SmallVec<[Bytes; 2]>);

impl Frame {
    /// A frame whose payload is `parts`, one after the other. Long parts are not copied. A payload of 4 GiB or more,
    /// which no configuration allows, makes a frame that every decoder refuses.
    pub fn seal(parts: impl IntoIterator<Item = Bytes>) -> Self {
        let mut pieces: SmallVec<[Bytes; 2]> = SmallVec::new();
        pieces.push(Bytes::new());
        pieces.extend(parts);
        let header = match pieces.get(1..).and_then(<[Bytes]>::split_first) {
            Some((first, rest)) => header(first, rest),
            None => header(&[], &[]),
        };
        let inline = pieces.get(1).map_or(0, Bytes::len);
        let inline = if inline <= INLINE { inline } else { 0 };
        let mut head = BytesMut::with_capacity(FRAME_HEADER + inline);
        head.put_slice(&header);
        if inline > 0 {
            head.extend_from_slice(&pieces.remove(1));
        }
        if let Some(first) = pieces.first_mut() {
            *first = head.freeze();
        }
        Self(pieces)
    }

    /// A frame whose payload begins with that of `bytes`, which has [`FRAME_HEADER`] bytes of space before it, and ends with
    /// `rest`.
    pub(super) fn seal_in_place(mut bytes: Vec<u8>, rest: Bytes) -> Self {
        let rest: SmallVec<[Bytes; 1]> = Some(rest).filter(|rest| !rest.is_empty()).into_iter().collect();
        if let Some((head, payload)) = bytes.split_first_chunk_mut() {
            *head = header(payload, &rest);
        }
        Self([Bytes::from(bytes)].into_iter().chain(rest).collect())
    }

    /// Bytes that the frame takes on the wire.
    pub fn wire_len(&self) -> usize {
        self.0.iter().map(Bytes::len).fold(0, usize::saturating_add)
    }
}

/// The header of a payload that is `first` and then `rest`.
fn header(first: &[u8], rest: &[Bytes]) -> [u8; FRAME_HEADER] {
    let checksum = if rest.is_empty() {
        xxh3_64(first)
    } else {
        let mut hash = Xxh3::new();
        hash.update(first);
        rest.iter().for_each(|part| hash.update(part));
        hash.digest()
    };
    let length = rest.iter().map(Bytes::len).fold(first.len(), usize::saturating_add);
    let mut header = [0; FRAME_HEADER];
    let mut space = &mut header[..];
    space.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
    space.put_u32_le(checksum as u32);
    header
}

/// Takes the bytes of a connection and yields the payloads of whole frames.
///
/// Payloads share the memory into which they were read. At most twice the longest frame plus a chunk of 64 KiB is held.
#[derive(Debug)]
pub struct Decoder {
    input: Input,
    max_frame: usize,
    failed: Option<FrameError>,
}

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

impl Decoder {
    /// A decoder for a new connection; frames whose payload has more than `max_frame` bytes are refused.
    pub fn new(max_frame: usize) -> Self {
        Self { input: Input::new(CHUNK), max_frame, failed: None }
    }

    /// Space to read into, at least `min` bytes; after reading `n` bytes call [`advance`](Self::advance).
    pub fn space(&mut self, min: usize) -> &mut [u8] {
        let needed = match self.header() {
            Some((length, _)) if length <= self.max_frame => FRAME_HEADER.saturating_add(length),
            _ => 0,
        };
        self.input.space(min, needed)
    }

    /// The first `n` bytes of the last [`space`](Self::space) are filled.
    pub fn advance(&mut self, n: usize) {
        self.input.advance(n);
    }

    /// Adds bytes that are in memory already: for who does not read them from a socket.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
    }

    /// The next whole frame's payload. After an error the connection must be closed; every later call yields the same
    /// error.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Some((length, checksum)) = self.header() else { return Ok(None) };
        if length > self.max_frame {
            return Err(self.fail(FrameError::TooLong(length as u64)));
        }
        let whole = FRAME_HEADER.saturating_add(length);
        if self.input.filled().len() < whole {
            return Ok(None);
        }
        let mut payload = self.input.take(whole);
        let payload = payload.split_off(FRAME_HEADER);
        if xxh3_64(&payload) as u32 != checksum {
            return Err(self.fail(FrameError::Checksum));
        }
        Ok(Some(payload))
    }

    /// Bytes of an unfinished frame that wait for the rest: after [`next_frame`](Self::next_frame) yielded `None`, proof
    /// that the peer is at work if they have grown.
    pub fn unfinished(&self) -> usize {
        self.input.filled().len()
    }

    fn header(&self) -> Option<(usize, u32)> {
        let (length, rest) = self.input.filled().split_first_chunk::<4>()?;
        let (checksum, _) = rest.split_first_chunk::<4>()?;
        Some((u32::from_le_bytes(*length) as usize, u32::from_le_bytes(*checksum)))
    }

    fn fail(&mut self, error: FrameError) -> FrameError {
        self.failed = Some(error);
        self.input = Input::new(CHUNK);
        error
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::rng::Rng;

    fn wire(frame: &Frame) -> Vec<u8> {
        frame.0.concat()
    }

    /// Reads `bytes` in pieces of the lengths that `cut` gives; the payloads, and the error that ended it.
    fn decode(bytes: &[u8], mut cut: impl FnMut() -> usize) -> (Vec<Bytes>, Option<FrameError>) {
        let mut decoder = Decoder::new(1 << 20);
        let mut frames = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = cut().clamp(1, rest.len());
            let space = decoder.space(n);
            space[..n].copy_from_slice(&rest[..n]);
            decoder.advance(n);
            rest = &rest[n..];
            loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(decoder.next_frame(), Err(error), "an error is final");
                        return (frames, Some(error));
                    }
                }
            }
        }
        (frames, None)
    }

    fn samples() -> (Vec<Vec<u8>>, Vec<u8>) {
        let payloads: Vec<Vec<u8>> = [0, 1, 7, 8, 9, 300, 70_000]
            .iter()
            .map(|&n| (0..n).map(|i| (i * 7 + n) as u8).collect())
            .collect();
        let stream = payloads.iter().flat_map(|p| wire(&Frame::seal([Bytes::copy_from_slice(p)]))).collect();
        (payloads, stream)
    }

    #[test]
    fn the_layout_is_length_checksum_payload() {
        let frame = Frame::seal([Bytes::from_static(b"abc")]);
        let mut expected = vec![3, 0, 0, 0];
        expected.extend_from_slice(&(xxh3_64(b"abc") as u32).to_le_bytes());
        expected.extend_from_slice(b"abc");
        assert_eq!(wire(&frame), expected);
        assert_eq!(frame.wire_len(), expected.len());
    }

    #[test]
    fn the_division_into_parts_is_not_seen_and_long_parts_are_not_copied() {
        let whole: Bytes = (0..5000u32).map(|i| i as u8).collect::<Vec<_>>().into();
        let one = wire(&Frame::seal([whole.clone()]));
        for cut in [0, 1, INLINE, INLINE + 1, 4999, 5000] {
            let parts = [whole.slice(..cut), whole.slice(cut..)];
            assert_eq!(wire(&Frame::seal(parts)), one, "cut at {cut}");
        }
        let long = Frame::seal([Bytes::from_static(b"head"), whole.clone()]);
        assert_eq!(long.0.len(), 2);
        assert_eq!(long.0[1].as_ptr(), whole.as_ptr());
        assert_eq!(wire(&Frame::seal([])), wire(&Frame::seal([Bytes::new(), Bytes::new()])));
    }

    #[test]
    fn any_division_of_the_stream_gives_the_same_frames() {
        let (payloads, stream) = samples();
        for step in [1, 2, 3, 7, 8, 9, 64, 4096, 100_000] {
            let (frames, error) = decode(&stream, || step);
            assert_eq!((frames, error), (payloads.iter().map(|p| Bytes::copy_from_slice(p)).collect(), None));
        }
        for seed in 0..50 {
            let mut rng = Rng::new(seed);
            let (frames, error) = decode(&stream, || rng.below(3000) as usize);
            assert_eq!(error, None);
            assert!(frames.iter().zip(&payloads).all(|(a, b)| a == b) && frames.len() == payloads.len());
        }
    }

    #[test]
    fn any_corruption_is_an_error_or_waits() {
        let payload: Bytes = (0..100u8).collect::<Vec<_>>().into();
        let good = wire(&Frame::seal([payload.clone()]));
        for byte in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[byte] ^= 1 << bit;
                let (frames, error) = decode(&bad, || usize::MAX);
                assert!(frames.is_empty(), "byte {byte} bit {bit}: a corrupt frame came through");
                let longer = byte < 4 && bad[byte] > good[byte];
                assert!(
                    error.is_some() || longer,
                    "byte {byte} bit {bit}: neither an error nor a longer frame"
                );
            }
        }
    }

    #[test]
    fn a_length_past_the_limit_is_refused_before_anything_is_allocated_for_it() {
        let mut decoder = Decoder::new(1000);
        let space = decoder.space(8);
        space[..4].copy_from_slice(&1001u32.to_le_bytes());
        decoder.advance(8);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(1001)));
        let mut decoder = Decoder::new(1 << 30);
        let space = decoder.space(8);
        space[..4].copy_from_slice(&(1u32 << 30).to_le_bytes());
        decoder.advance(8);
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(decoder.space(1).len() <= CHUNK, "a promise of 1 GiB made the decoder allocate");
    }

    #[test]
    fn memory_is_released_after_a_large_frame() {
        let large = wire(&Frame::seal([Bytes::from(vec![9; 900_000])]));
        let mut decoder = Decoder::new(1 << 20);
        let mut rest = &large[..];
        while !rest.is_empty() {
            let space = decoder.space(1);
            let n = space.len().min(rest.len());
            space[..n].copy_from_slice(&rest[..n]);
            decoder.advance(n);
            rest = &rest[n..];
        }
        assert!(decoder.unfinished() == large.len() && decoder.input.capacity() <= 2 * large.len() + CHUNK);
        assert!(matches!(decoder.next_frame(), Ok(Some(frame)) if frame.len() == 900_000));
        assert!(decoder.input.capacity() <= CHUNK);
    }

    #[test]
    fn arbitrary_bytes_do_not_panic() {
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let length = rng.below(2000) as usize;
            let small = rng.chance(1, 2);
            let bytes: Vec<u8> =
                (0..length).map(|i| if small && i % 8 > 1 { 0 } else { rng.next_u64() as u8 }).collect();
            let mut cuts = Rng::new(seed ^ 1);
            let (frames, _) = decode(&bytes, || cuts.below(50) as usize);
            assert!(frames.iter().all(|f| f.len() <= bytes.len()));
        }
    }
}
