//! Bytes that are requests, nearly are, or are none: what a server makes of them, on a connection of their own.

use std::io;

use quorate::rng::Rng;

use super::arguments::pick;
use super::wire::Wire;

/// Pieces that are whole.
const WHOLE: &[&[u8]] = &[
    b"*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\n",
    b"*2\r\n$4\r\necho\r\n$0\r\n\r\n",
    b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
    b"*3\r\n$6\r\nexists\r\n$1\r\na\r\n$1\r\nb\r\n",
    b"*1\r\n$3\r\nget\r\n",
    b"*2\r\n$8\r\nnonsense\r\n$2\r\n\xff\n\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"PING\r\n",
    b"PING\n",
    b"  ping  \r\n",
    b"\r\n",
    b"\n",
    b"ECHO \"a\\x41\\n\\\"b\"\r\n",
    b"ECHO 'a\\'b\\n'\r\n",
    b"ECHO a\"b c\"\n",
    b"ECHO \"\"\r\n",
    b"\tECHO\t\x0bx\x0c\r\n",
    b"ECHO a\rb\r\n",
    b"EXISTS a b 'c d'\r\n",
    b"nonsense \xff\xfe\r\n",
];

/// Pieces with something wrong.
const BROKEN: &[&[u8]] = &[
    b"*\r\n",
    b"*x\r\n",
    b"*+1\r\n",
    b"* 1\r\n",
    b"*1 \r\n",
    b"*01\r\n",
    b"*-2\r\n",
    b"*1.0\r\n",
    b"*1\n",
    b"*1\rx$4\r\nPING\r\n",
    b"*2147483647\r\n",
    b"*2147483648\r\n",
    b"*1048576\r\n",
    b"*1048577\r\n",
    b"*9223372036854775808\r\n",
    b"*99999999999999999999999\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$x\r\n",
    b"*1\r\n$\r\n",
    b"*1\r\n$+4\r\nPING\r\n",
    b"*1\r\n$04\r\nPING\r\n",
    b"*1\r\n$ 4\r\nPING\r\n",
    b"*1\r\n$4 \r\nPING\r\n",
    b"*1\r\n$4\n",
    b"*1\r\n$4\rxPING\r\n",
    b"*1\r\n$8388608\r\n",
    b"*1\r\n$8388609\r\n",
    b"*1\r\n$16777217\r\n",
    b"*1\r\n$9223372036854775807\r\n",
    b"*1\r\n$9223372036854775808\r\n",
    b"*1\r\n:4\r\n",
    b"*1\r\n+PING\r\n",
    b"*1\r\nPING\r\n",
    b"*1\r\n*1\r\n",
    b"*1\r\n\r\n",
    b"*1\r\n\n\r\n",
    b"*1\r\n\x00\r\n",
    b"*1\r\n\x80\r\n",
    b"*1\r\n\x7f4\r\n",
    b"*1\r\n$4\r\nPINGxx",
    b"*2\r\n$4\r\nECHO\r\n$3\r\nabcdef\r\n",
    b"*1\r\n$5\r\nPING\r\n",
    b"*1\r\n$3\r\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n",
    b"*1\r\n$4\r\nPI",
    b"*1\r\n$4",
    b"*1",
    b"*",
    b"$4\r\nPING\r\n",
    b"+PING\r\n",
    b"ECHO \"a\r\n",
    b"ECHO 'a\r\n",
    b"ECHO \"a\"b\r\n",
    b"ECHO 'a'b\r\n",
    b"ECHO \"a\\\r\n",
    b"ECHO \"\\x4\"\r\n",
    b"ECHO \"\\xzz\"\r\n",
    b"ECHO \"a\\q\\a\\b\"\r\n",
    b"ECHO ''''\r\n",
    b"\"\"\r\n",
    b"\"PING\r\n",
    b"PI\x00NG\r\n",
    b"ECHO a\x00b\r\n",
    b"*1\x00\r\n",
    b"*1\r\n$4\x00\r\nPING\r\n",
    b"POST / HTTP/1.1\r\n",
    b"Host: x\r\n",
];

/// Bytes that mean something, and some that do not. No letter that makes another command of Redis of one that is drawn.
const BYTES: &[u8] = b"*$+-:0123456789 \r\n\r\n\t\"'\\xPINGECO\0\x7f\x80\xff";

/// What to send.
pub(crate) fn draw(rng: &mut Rng) -> Vec<u8> {
    if rng.chance(1, 100) {
        return too_long(rng);
    }
    let mut bytes = Vec::new();
    for _ in 0..1 + rng.below(4) {
        let pieces = if rng.chance(1, 2) { WHOLE } else { BROKEN };
        bytes.extend(pick(rng, pieces));
    }
    for _ in 0..if rng.chance(1, 2) { rng.below(4) } else { 0 } {
        let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
        match rng.below(4) {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, pick(rng, BYTES)),
            2 => bytes[at] = pick(rng, BYTES),
            _ => bytes.truncate(at),
        }
        if bytes.is_empty() {
            break;
        }
    }
    if rng.chance(1, 2) {
        // Shows whether commands are still taken.
        bytes.extend(b"\r\n*1\r\n$4\r\nPING\r\n");
    }
    bytes
}

/// A line that passes the limit of one by far, with its end or without: Redis sees only how much has come without an end.
fn too_long(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = pick(rng, &[&b"ECHO "[..], b"*", b"*1\r\n$", b"*12"]).to_vec();
    bytes.extend([b'1'].repeat(1_000_000));
    bytes.extend(pick(rng, &[&b""[..], b"\r\n", b"\n"]));
    bytes
}

/// All that a server answers, when nothing more is sent, until it closes the connection.
pub(crate) fn answer(address: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut wire = Wire::connect(address)?;
    // A server that refuses the beginning may have closed before the end is sent.
    let _ = wire.send(bytes);
    wire.finish()
}

/// The shortest bytes found that are still answered differently.
pub(crate) fn shrink(bytes: &[u8], differs: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut kept = bytes.to_vec();
    let mut chunk = kept.len().div_ceil(2);
    while chunk > bytes.len() / 500 {
        let mut at = 0;
        while at < kept.len() {
            let mut fewer = kept.clone();
            fewer.drain(at..kept.len().min(at + chunk));
            if differs(&fewer) { kept = fewer } else { at += chunk }
        }
        chunk /= 2;
    }
    kept
}
