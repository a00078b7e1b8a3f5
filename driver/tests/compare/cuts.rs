//! One pipeline of everything, cut in two at each of its bytes: the same replies.

use std::io;

use super::generate::Command;
use super::wire::Wire;

/// Commands of both forms and both protocols; each run of them begins with the same keys, and they change the keys' values.
const LINES: &[(&str, bool)] = &[
    ("DEL a b", false),
    ("SET a 1", false),
    ("set b '' NX GET", true),
    ("INCR a", true),
    ("GET a", false),
    ("HELLO x", false),
    ("ECHO 'x y'", true),
    ("MGET a b none", false),
    ("nonsense", true),
    ("APPEND b abc", false),
    ("GETRANGE b 0 -2", true),
    ("INCR b", false),
    ("MULTI", false),
    ("SET a 5", true),
    ("GET a", false),
    ("EXEC", true),
    ("PING", true),
    ("STRLEN", false),
];

/// The pipeline's commands, each with its bytes.
pub(crate) fn pipeline() -> Vec<Vec<u8>> {
    let bytes = |&(line, inline): &(&str, bool)| {
        if inline {
            return format!("{line}\r\n").into_bytes();
        }
        let words: Vec<_> = line.split(' ').map(|word| word.trim_matches('\'')).collect();
        Command::plain(&words).bytes()
    };
    let mut commands: Vec<Vec<u8>> = LINES.iter().map(bytes).collect();
    // Any bytes in a value; and a command in another version of the protocol.
    commands.push(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$6\r\n\r\n*1\r\n\r\n".to_vec());
    commands.push(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n".to_vec());
    commands.push(b"*2\r\n$3\r\nGET\r\n$4\r\nnone\r\n".to_vec());
    commands
}

/// All replies, and what comes behind them until the end, when the first `cut` bytes arrive before the others are sent.
pub(crate) fn replies(address: &str, protocol: u8, commands: &[Vec<u8>], cut: usize) -> io::Result<Vec<u8>> {
    let bytes = commands.concat();
    let mut wire = Wire::connect(address)?;
    // Its reply has a number that no other connection's has.
    wire.ask(&["HELLO", &protocol.to_string()])?;
    // Answered when the first part has been read: it is in the same write.
    wire.send(&[b"PING\r\n", &bytes[..cut]].concat())?;
    let mut end = 0;
    let mut whole = 0;
    for command in commands {
        end += command.len();
        whole += usize::from(end <= cut);
    }
    let mut replies: Vec<Vec<u8>> = Vec::new();
    for _ in 0..=whole {
        replies.extend(wire.reply()?);
    }
    wire.send(&bytes[cut..])?;
    for _ in whole..commands.len() {
        replies.extend(wire.reply()?);
    }
    replies.push(wire.finish()?);
    Ok(replies.concat())
}
