//! The room as a whole: commands in, exact replies out.

mod commands;
mod expiry;
mod keyspace;
mod pipelines;
mod snapshots;
mod state;
mod transactions;
mod work;

use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::{Call, KvStore, parse};
use crate::replica::{Context, StateMachine, View};

const SEED: u128 = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;

/// A store that takes commands as a client sends them.
struct Client {
    store: KvStore,
    index: u64,
    /// The log's clock.
    ms: u64,
}

impl Client {
    fn new() -> Self {
        Self { store: KvStore::empty(SEED), index: 0, ms: 1_000_000 }
    }

    /// Runs one command and returns its reply.
    fn run(&mut self, args: &[Bytes]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        match parse(args) {
            Ok(Call::Write(packed)) => {
                self.index += 1;
                self.store.apply(self.context(), &packed, &mut out);
            }
            Ok(Call::Read(packed)) => self.store.query(self.context(), &packed, &mut out),
            Err(error) => error.reply(&mut out),
        }
        assert!(out.starts_with(b"before"));
        out.split_off(6)
    }

    /// Lets time pass, and an entry tell it.
    fn tick(&mut self, ms: u64, most: usize) {
        self.index += 1;
        self.ms += ms;
        self.store.expire(self.context(), most);
    }

    /// Runs a command of words; `''` is the empty word.
    fn say(&mut self, line: &str) -> String {
        let reply = self.run(&words(line));
        String::from_utf8_lossy(&reply).replace("\r\n", "|")
    }

    fn context(&self) -> Context {
        Context::at(self.index, self.ms)
    }
}

fn words(line: &str) -> Vec<Bytes> {
    line.split_whitespace()
        .map(|word| Bytes::from(if word == "''" { "" } else { word }.as_bytes().to_vec()))
        .collect()
}

/// All bytes of a view, read in pieces of about `target` bytes.
fn read_all(mut view: impl View, target: usize) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), Vec::new());
    while view.read(target, &mut piece) {
        assert!(!piece.is_empty());
        assert!(piece.len() <= target + 48, "{} of {target}", piece.len());
        all.append(&mut piece);
    }
    assert!(piece.is_empty() && !view.read(target, &mut piece) && piece.is_empty());
    all
}

/// Exactly one whole RESP3 value, as far as this state machine writes them.
fn assert_one_value(reply: &[u8]) {
    fn value(bytes: &[u8]) -> &[u8] {
        let end = bytes.windows(2).position(|w| w == b"\r\n").expect("no end of line");
        let (line, rest) = (&bytes[1..end], &bytes[end + 2..]);
        let number = || core::str::from_utf8(line).unwrap().parse::<usize>().unwrap();
        match bytes[0] {
            b'+' | b'-' => rest,
            b':' => {
                core::str::from_utf8(line).unwrap().parse::<i64>().unwrap();
                rest
            }
            b'_' => {
                assert!(line.is_empty());
                rest
            }
            b'$' => {
                let (_, rest) = rest.split_at(number());
                rest.strip_prefix(b"\r\n").unwrap()
            }
            b'*' => (0..number()).fold(rest, |rest, _| value(rest)),
            b'%' => (0..2 * number()).fold(rest, |rest, _| value(rest)),
            other => panic!("{other}"),
        }
    }
    assert!(value(reply).is_empty(), "{:?}", String::from_utf8_lossy(reply));
}
