//! Clerks, and the book in which all their calls stand.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate::codec::resp::Value;
use quorate_driver::blocking_client::Client;

/// A call that has ended.
#[derive(Debug)]
struct Call {
    words: Vec<String>,
    reply: Value,
}

/// All calls of all clerks, as they ended.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<Vec<Call>>);

impl Book {
    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many calls have ended.
    pub(crate) fn operations(&self) -> usize {
        self.calls().len()
    }

    /// Checks that whatever was read was written to that key, and each piece of it once.
    pub(crate) fn check(&self) {
        let calls = self.calls();
        let written: BTreeSet<_> = calls
            .iter()
            .filter_map(|call| match &call.words[..] {
                [_, key, value] => Some((key.as_str(), value.as_str())),
                _ => None,
            })
            .collect();
        for call in calls.iter() {
            let (key, Some(found)) = (call.words[1].as_str(), call.reply.text()) else { continue };
            let found = String::from_utf8_lossy(found);
            if call.words.len() == 2 && !written.contains(&(key, &found)) {
                let pieces: Vec<_> = found.split_inclusive('y').collect();
                let distinct: BTreeSet<_> = pieces.iter().collect();
                assert_eq!(distinct.len(), pieces.len(), "a piece is twice in {key}: {found}");
                let strange = pieces.iter().find(|piece| !written.contains(&(key, **piece)));
                assert_eq!(strange, None, "nobody wrote this to {key}: {found}");
            }
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
        let result = match words {
            ["GET", _] => self.client.read(words),
            _ => self.client.write(words),
        };
        let reply = result.unwrap_or_else(|error| panic!("clerk {}: {words:?}: {error}", self.number));
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.book.calls().push(Call { words, reply: reply.clone() });
        reply
    }
}
