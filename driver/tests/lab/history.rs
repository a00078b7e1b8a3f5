//! Clerks, and the book in which all their calls stand.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use quorate::codec::resp::Value;
use quorate::sim::check::{HistoryOf, KvModel, KvOp, Verdict, linearizable};
use quorate_driver::blocking_client::Client;

/// The most placings that are tried for one key: many times what a sound history needs. As in the lab, a history that is
/// too hard to judge passes.
const BUDGET: u64 = 1_000_000;

/// All calls of all clerks.
pub(crate) struct Book {
    began: Instant,
    history: Mutex<HistoryOf<KvModel>>,
}

impl Book {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), history: Mutex::default() }
    }

    fn history(&self) -> MutexGuard<'_, HistoryOf<KvModel>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// How many calls have ended.
    pub(crate) fn operations(&self) -> usize {
        self.history().operations().iter().filter(|call| call.reply().is_some()).count()
    }

    /// Checks that one order of all calls explains what each returned.
    pub(crate) fn check(&self) {
        if let Verdict::Illegal(illegal) = linearizable(&KvModel::default(), &self.history(), BUDGET) {
            panic!("{illegal}");
        }
    }
}

/// The lab's clerk: a call ends only when it is done, and each write is done once.
pub(crate) struct Clerk {
    client: Client,
    number: u64,
    book: Arc<Book>,
}

impl Clerk {
    pub(crate) fn new(client: Client, number: u64, book: Arc<Book>) -> Self {
        Self { client, number, book }
    }

    /// The key's value; of a key that is not there the empty one.
    pub(crate) fn get(&mut self, key: &str) -> String {
        let value = self.call(&["GET", key]);
        value.text().map_or_else(String::new, |text| String::from_utf8_lossy(text).into_owned())
    }

    pub(crate) fn put(&mut self, key: &str, value: &str) {
        self.call(&["SET", key, value]);
    }

    pub(crate) fn append(&mut self, key: &str, value: &str) {
        self.call(&["APPEND", key, value]);
    }

    /// Closes the clerk's session.
    pub(crate) fn finish(self) {
        self.client.finish();
    }

    fn call(&mut self, words: &[&str]) -> Value {
        let op = KvOp::Command(words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect());
        let id = self.book.history().ask(self.number, self.book.micros(), op);
        let result = match words {
            ["GET", _] => self.client.read(words),
            _ => self.client.write(words),
        };
        let reply = result.unwrap_or_else(|error| panic!("clerk {}: {words:?}: {error}", self.number));
        self.book.history().replied(id, self.book.micros(), reply.clone());
        reply
    }
}
