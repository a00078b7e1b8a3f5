//! A connection that gives replies as the bytes that came, of either version of the protocol.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::support::PATIENCE;

/// One connection.
pub(crate) struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
    taken: usize,
}

impl Wire {
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, input: Vec::new(), taken: 0 })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply; `None` when the server has closed the connection.
    pub(crate) fn reply(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let waiting = &self.input[self.taken..];
            if let Some(length) = reply_length(waiting) {
                let reply = waiting[..length].to_vec();
                self.taken += length;
                return Ok(Some(reply));
            }
            if self.taken > 1 << 16 {
                self.input.drain(..self.taken);
                self.taken = 0;
            }
            if self.read()? == 0 {
                return Ok(None);
            }
        }
    }

    /// Sends a command and gives its reply, which has to come.
    pub(crate) fn ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        quorate::codec::resp::write::request(&mut bytes, words);
        self.send(&bytes)?;
        self.reply()?.ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    /// Sends nothing more, and gives all that still comes until the server closes.
    pub(crate) fn finish(mut self) -> io::Result<Vec<u8>> {
        match self.stream.shutdown(Shutdown::Write) {
            // It has closed already.
            Err(error) if error.kind() == ErrorKind::NotConnected => {}
            other => other?,
        }
        while self.read()? > 0 {}
        self.input.drain(..self.taken);
        Ok(self.input)
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 1 << 16];
        match self.stream.read(&mut chunk) {
            Ok(n) => {
                self.input.extend_from_slice(&chunk[..n]);
                Ok(n)
            }
            // Closed while bytes were on their way to it: what it had said before has come.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// The length of the reply at the start of `bytes`, if it is whole.
fn reply_length(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut wanted) = (0, 1);
    while wanted > 0 {
        let (inside, length) = element(bytes.get(at..)?)?;
        at += length;
        wanted = wanted - 1 + inside;
    }
    Some(at)
}

/// How many elements are inside the first one, and how long it is without them.
fn element(bytes: &[u8]) -> Option<(usize, usize)> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let number = || str::from_utf8(&bytes[1..line]).ok()?.parse::<i64>().ok();
    let whole = match bytes[0] {
        b'$' | b'=' | b'!' => match usize::try_from(number().expect("a length")) {
            Ok(length) => (0, line + 2 + length + 2),
            Err(_) => (0, line + 2),
        },
        b'*' | b'~' | b'>' => (usize::try_from(number().expect("a count")).unwrap_or(0), line + 2),
        b'%' => (2 * usize::try_from(number().expect("a count")).unwrap_or(0), line + 2),
        _ => (0, line + 2),
    };
    (whole.1 <= bytes.len()).then_some(whole)
}

/// The replies inside an array, a set, or a map.
pub(crate) fn elements(reply: &[u8]) -> Vec<&[u8]> {
    let Some((count, mut at)) = element(reply) else { return Vec::new() };
    let mut found = Vec::new();
    for _ in 0..count {
        let length = reply_length(&reply[at..]).expect("a reply is whole");
        found.push(&reply[at..at + length]);
        at += length;
    }
    found
}

/// The text of a bulk string, or of a line; nothing for a null.
pub(crate) fn text(reply: &[u8]) -> &[u8] {
    if is_null(reply) {
        return &[];
    }
    let Some(line) = reply.windows(2).position(|pair| pair == b"\r\n") else { return &[] };
    match reply[0] {
        b'$' if reply.len() > line + 2 => &reply[line + 2..reply.len() - 2],
        b'=' => &reply[line + 2 + 4..reply.len() - 2],
        _ => &reply[1..line],
    }
}

/// The number of an integer reply.
pub(crate) fn integer(reply: &[u8]) -> Option<i64> {
    str::from_utf8(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?).ok()?.parse().ok()
}

pub(crate) fn is_error(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'-' | b'!'))
}

pub(crate) fn is_null(reply: &[u8]) -> bool {
    matches!(reply, b"$-1\r\n" | b"*-1\r\n" | b"_\r\n")
}

/// Bytes as a person reads them.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 1000;
    let cut = &bytes[..bytes.len().min(MOST)];
    let more = if bytes.len() > MOST { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    format!("{}{more}", cut.escape_ascii())
}

#[test]
fn replies_are_divided_as_they_came() {
    let reply = b"*3\r\n%1\r\n+a\r\n~1\r\n:1\r\n$-1\r\n$2\r\n\r\n\r\n";
    assert_eq!(reply_length(reply), Some(reply.len()));
    assert!((0..reply.len()).all(|cut| reply_length(&reply[..cut]).is_none()));
    assert_eq!(elements(reply), [&b"%1\r\n+a\r\n~1\r\n:1\r\n"[..], b"$-1\r\n", b"$2\r\n\r\n\r\n"]);
    assert_eq!(text(b"$2\r\n\r\n\r\n"), b"\r\n");
    assert_eq!((integer(b":-2\r\n"), integer(b"$1\r\n2\r\n")), (Some(-2), None));
}
