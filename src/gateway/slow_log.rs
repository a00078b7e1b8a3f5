//! SLOWLOG: the commands on which this node's state machine spent long.
//!
//! A node runs every write of the cluster's log, whoever sent it and to which node, and the reads of its own clients. So
//! what is told is what was run, when, and for how long, and not who sent it. The time is measured by who has a clock, around the
//! state machine: this library has none.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use bytes::Bytes;

use super::help::other_subcommand;
use super::reply::{Reply, number, of_error};
use crate::codec::resp::{parse_integer, write};
use crate::kv::{self, CommandError};
use crate::time::{Micros, Millis};

/// Most words of a command that are kept, and most bytes of one: Redis's own limits.
const MAX_WORDS: usize = 32;
const MAX_WORD: usize = 128;

/// Entries that SLOWLOG GET shows unless told otherwise.
const SHOWN: usize = 10;

/// A command that took long, as far as it is kept.
#[derive(Debug, Clone)]
pub struct SlowCommand {
    spent: Micros,
    words: Vec<Vec<u8>>,
}

impl SlowCommand {
    /// The packed command that the state machine spent so long on.
    pub fn new(packed: &[u8], spent: Micros) -> Self {
        Self { spent, words: cut(&kv::words(packed)) }
    }
}

/// The words that are kept: what is left out is said in Redis's way.
fn cut(words: &[Bytes]) -> Vec<Vec<u8>> {
    let kept = if words.len() > MAX_WORDS { MAX_WORDS - 1 } else { words.len() };
    let mut all: Vec<_> = words.iter().take(kept).map(|word| cut_word(word)).collect();
    if kept < words.len() {
        all.push(alloc::format!("... ({} more arguments)", words.len() - kept).into_bytes());
    }
    all
}

fn cut_word(word: &[u8]) -> Vec<u8> {
    let mut kept = word.get(..MAX_WORD).unwrap_or(word).to_vec();
    if word.len() > MAX_WORD {
        write::text(&mut kept, format_args!("... ({} more bytes)", word.len() - MAX_WORD));
    }
    kept
}

#[derive(Debug, Clone)]
struct SlowEntry {
    id: u64,
    wall: Millis,
    command: SlowCommand,
}

/// The last commands that took long: at most [`SlowLog::MAX`]. Kept behind a shared reference, because connections only look
/// at the process, and SLOWLOG RESET empties it.
#[derive(Debug, Clone, Default)]
pub struct SlowLog {
    /// The newest first.
    entries: RefCell<VecDeque<SlowEntry>>,
    next: Cell<u64>,
}

impl SlowLog {
    /// Most entries.
    pub const MAX: usize = 128;

    /// A command that takes so long or longer is slow. Microseconds.
    pub const THRESHOLD: Micros = 10_000;

    /// Adds a command that ended at `wall`; the oldest entry makes room.
    pub fn add(&self, wall: Millis, command: SlowCommand) {
        let id = self.next.get();
        let mut entries = self.entries.borrow_mut();
        entries.truncate(Self::MAX - 1);
        entries.push_front(SlowEntry { id, wall, command });
        self.next.set(id.wrapping_add(1));
    }

    /// Forgets all entries. Their numbers do not come again.
    fn reset(&self) {
        self.entries.borrow_mut().clear();
    }

    fn get(&self, count: usize, out: &mut Vec<u8>) {
        let entries = self.entries.borrow();
        let count = count.min(entries.len());
        write::array(out, count);
        for SlowEntry { id, wall, command } in entries.iter().take(count) {
            write::array(out, 6);
            for told in [*id, wall / 1000, command.spent] {
                number(out, told);
            }
            write::array(out, command.words.len());
            command.words.iter().for_each(|word| write::bulk(out, word));
            // The client's address and its name.
            write::bulk(out, b"");
            write::bulk(out, b"");
        }
    }
}

/// SLOWLOG's reply.
pub(super) fn reply(arguments: &[Bytes], log: &SlowLog) -> Reply {
    let [_, subcommand, rest @ ..] = arguments else {
        return of_error(&CommandError::Arity("slowlog"));
    };
    match (&subcommand.to_ascii_lowercase()[..], rest) {
        (b"get", []) => Reply::of(|out| log.get(SHOWN, out)),
        (b"get", [count]) => match parse_integer(count) {
            Some(-1) => Reply::of(|out| log.get(SlowLog::MAX, out)),
            count => match count.and_then(|count| usize::try_from(count).ok()) {
                Some(count) => Reply::of(|out| log.get(count, out)),
                None => Reply::error("ERR count should be greater than or equal to -1"),
            },
        },
        (b"get", _) => {
            Reply::error("ERR unknown subcommand or wrong number of arguments for 'get'. Try SLOWLOG HELP.")
        }
        (b"len", []) => Reply::of(|out| number(out, log.entries.borrow().len() as u64)),
        (b"len", _) => of_error(&CommandError::Arity("slowlog|len")),
        (b"reset", []) => {
            log.reset();
            Reply::ok()
        }
        (b"reset", _) => of_error(&CommandError::Arity("slowlog|reset")),
        _ => other_subcommand("SLOWLOG", subcommand),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Call;

    fn packed(line: &str) -> Bytes {
        let words: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let (Call::Write(packed) | Call::Read(packed)) = kv::parse(&words).expect("a command");
        packed
    }

    #[test]
    fn long_commands_are_cut_as_redis_cuts_them() {
        let keys: Vec<_> = (0..40).map(|n| alloc::format!("k{n}")).collect();
        let command = SlowCommand::new(&packed(&alloc::format!("mget {}", keys.join(" "))), 1);
        assert_eq!(command.words.len(), 32);
        assert_eq!(command.words[30], b"k29");
        assert_eq!(command.words[31], b"... (10 more arguments)");
        let exact = SlowCommand::new(&packed(&alloc::format!("mget {}", keys[..31].join(" "))), 1);
        assert_eq!(exact.words[31], b"k30");
        let long = SlowCommand::new(&packed(&alloc::format!("set k {}", "v".repeat(130))), 1);
        assert_eq!(long.words[2], alloc::format!("{}... (2 more bytes)", "v".repeat(128)).into_bytes());
    }

    #[test]
    fn only_the_last_entries_are_kept_and_numbers_go_on() {
        let log = SlowLog::default();
        for _ in 0..200 {
            log.add(5_000, SlowCommand::new(&packed("dbsize"), 10_000));
        }
        let ids: Vec<_> = log.entries.borrow().iter().map(|entry| entry.id).collect();
        assert_eq!(ids, (72..200).rev().collect::<Vec<_>>());
        log.reset();
        log.add(5_000, SlowCommand::new(&packed("dbsize"), 10_000));
        let mut out = Vec::new();
        log.get(10, &mut out);
        assert_eq!(
            core::str::from_utf8(&out),
            Ok("*1\r\n*6\r\n:200\r\n:5\r\n:10000\r\n*1\r\n$6\r\nDBSIZE\r\n$0\r\n\r\n$0\r\n\r\n")
        );
    }
}
