//! What clients ask while the cluster suffers.

use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;

use bytes::Bytes;

use super::census::met;
use super::check::{HistoryOf, Itself, KvModel, Model, Replayed, Verdict, check_scans, linearizable};
use crate::client::CallKind;
use crate::codec::resp::Value;
use crate::kv::KvStore;
use crate::replica::{Request, StateMachine};
use crate::rng::Rng;

/// How an operation travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Travel {
    /// As a request to a node, which the client makes itself.
    Request(Request),
    /// As a command to a clerk, over RESP and through a gateway.
    Command(CallKind, Vec<Bytes>),
}

/// What a client heard.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// The state machine's reply, as it is.
    Bytes(Bytes),
    /// The reply that a clerk read.
    Value(Value),
}

/// What clients ask of a state machine, and the specification of what they must be answered.
pub trait Workload {
    /// What is replicated.
    type Machine: StateMachine;
    /// What it must do.
    type Model: Model;

    /// The specification's state before the first command.
    fn model(&self) -> Self::Model;

    /// What a client asks next. The same numbers in the same order give the same operations.
    fn next(&mut self, client: u64, rng: &mut Rng) -> <Self::Model as Model>::Op;

    /// How it is asked.
    fn travel(&self, op: &<Self::Model as Model>::Op) -> Travel;

    /// What was heard, in the specification's words.
    fn reply(&self, heard: Heard) -> <Self::Model as Model>::Reply;

    /// A client has its reply: what it asks next may depend on that.
    fn replied(
        &mut self,
        client: u64,
        op: &<Self::Model as Model>::Op,
        reply: &<Self::Model as Model>::Reply,
    ) {
        let _ = (client, op, reply);
    }

    /// A second opinion of a whole history, after the replay. What to count the verdict as, if there is one.
    ///
    /// # Errors
    ///
    /// What is wrong, after the checker's name and a colon.
    fn judge(
        &self,
        history: &HistoryOf<Self::Model>,
        replayed: &Replayed,
    ) -> Result<Option<&'static str>, String> {
        let _ = (history, replayed);
        Ok(None)
    }
}

/// Steps of the search for a linearization, for each operation. What it gives up has been judged by the replay.
const SEARCH: u64 = 20;

/// Commands of the key-value store, over few keys, so that clients meet.
#[derive(Debug, Clone)]
pub struct KvWorkload {
    keys: u64,
    counter: u64,
    writes_of_ten: u64,
    /// Open iterations of SCAN: the cursor that each client goes on from.
    cursors: BTreeMap<u64, Bytes>,
}

impl KvWorkload {
    /// A mix that is drawn from the run's seed.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::stream(seed, 302);
        let (keys, writes_of_ten) = (1 + rng.below(12), 2 + rng.below(7));
        Self { keys, counter: 0, writes_of_ten, cursors: BTreeMap::new() }
    }

    fn key(&self, rng: &mut Rng) -> Bytes {
        std::format!("k{}", rng.below(self.keys)).into()
    }

    /// A value that no other write has.
    fn value(&mut self, client: u64, rng: &mut Rng) -> Bytes {
        self.counter += 1;
        let width = match rng.below(100) {
            0 => 3_000,
            1 | 2 => 600,
            _ => 3 + rng.below(20) as usize,
        };
        std::format!("{client}.{:0>width$};", self.counter).into()
    }

    fn write(&mut self, client: u64, rng: &mut Rng) -> Vec<Bytes> {
        let key = self.key(rng);
        match rng.below(16) {
            0..=3 => words(&[b"APPEND", &key, &self.value(client, rng)]),
            4..=6 => words(&[b"INCR", &counter(&key)]),
            7 => {
                let by = (rng.below(100) as i64 - 50).to_string();
                words(&[b"INCRBY", &counter(&key), by.as_bytes()])
            }
            8 | 9 => words(&[b"SET", &key, &self.value(client, rng)]),
            10 => words(&[b"SET", &key, &self.value(client, rng), b"NX", b"GET"]),
            11 => words(&[b"SETNX", &key, &self.value(client, rng)]),
            12 => words(&[b"GETDEL", &key]),
            13 => words(&[b"DEL", &key, &self.key(rng)]),
            14 => {
                let value = self.value(client, rng);
                words(&[b"MSET", &key, &value, &self.key(rng), &value, b"pair", &value])
            }
            _ => words(&[b"GETSET", &key, &self.value(client, rng)]),
        }
    }

    fn read(&self, client: u64, rng: &mut Rng) -> Vec<Bytes> {
        let key = self.key(rng);
        match rng.below(13) {
            0..=4 => words(&[b"GET", &key]),
            5 => words(&[b"GET", &counter(&key)]),
            6 => words(&[b"STRLEN", &key]),
            7 => words(&[b"EXISTS", &key, &self.key(rng)]),
            8 => words(&[b"MGET", &key, b"pair", &self.key(rng)]),
            9 => words(&[b"GETRANGE", &key, b"-9", b"-1"]),
            10 => words(&[b"SCAN", b"0", b"COUNT", b"1000"]),
            11 => {
                let cursor = self.cursors.get(&client).map_or(&b"0"[..], |cursor| cursor);
                words(&[b"SCAN", cursor, b"COUNT", (1 + rng.below(4)).to_string().as_bytes()])
            }
            _ => words(&[b"DBSIZE"]),
        }
    }
}

/// Counters have keys of their own: what was appended to is no number.
fn counter(key: &[u8]) -> Vec<u8> {
    [b"n:", key].concat()
}

fn words(words: &[&[u8]]) -> Vec<Bytes> {
    words.iter().map(|word| Bytes::copy_from_slice(word)).collect()
}

impl Workload for KvWorkload {
    type Machine = KvStore;
    type Model = KvModel;

    fn model(&self) -> KvModel {
        KvModel::default()
    }

    fn next(&mut self, client: u64, rng: &mut Rng) -> Vec<Bytes> {
        if rng.below(10) < self.writes_of_ten { self.write(client, rng) } else { self.read(client, rng) }
    }

    fn travel(&self, op: &Vec<Bytes>) -> Travel {
        let kind = if KvModel::is_read(op) { CallKind::Read } else { CallKind::Write };
        Travel::Command(kind, op.clone())
    }

    fn reply(&self, heard: Heard) -> Value {
        match heard {
            Heard::Value(value) => value,
            Heard::Bytes(bytes) => Value::Bulk(bytes),
        }
    }

    fn replied(&mut self, client: u64, op: &Vec<Bytes>, reply: &Value) {
        if op.first().is_some_and(|word| &word[..] == b"SCAN")
            && let Value::Array(parts) = reply
            && let Some(cursor) = parts.first().and_then(Value::text)
        {
            self.cursors.insert(client, cursor.clone());
        }
    }

    /// Key by key, in any order that makes the replies true; and whether iterations of SCAN were whole.
    fn judge(
        &self,
        history: &HistoryOf<KvModel>,
        replayed: &Replayed,
    ) -> Result<Option<&'static str>, String> {
        check_scans(history, replayed).map_err(|contradiction| contradiction.to_string())?;
        let budget = SEARCH * history.operations().len() as u64 + 10_000;
        match linearizable(&self.model(), history, budget) {
            Verdict::Ok { .. } => Ok(Some(met::LINEARIZABLE)),
            Verdict::Undecided { .. } => Ok(Some("history: search given up")),
            Verdict::Illegal(illegal) => Err(illegal.to_string()),
        }
    }
}

/// A workload of a state machine's own bytes: requests drawn by a function, judged by a model of requests and replies. For
/// whoever tests a state machine of their own.
#[derive(Debug, Clone)]
pub struct Requests<S, M, F> {
    model: fn() -> M,
    draw: F,
    machine: core::marker::PhantomData<fn() -> S>,
}

impl<S, M, F> Requests<S, M, F> {
    /// `model` makes the specification's first state; `draw` gives what a client (by its number) asks next: a
    /// [`Request::Write`] or a [`Request::Read`].
    pub const fn new(model: fn() -> M, draw: F) -> Self {
        Self { model, draw, machine: core::marker::PhantomData }
    }
}

impl<S: StateMachine, F> Requests<S, Itself<S>, F> {
    /// The state machine is its own specification: what is judged is the replication.
    pub fn of_itself(draw: F) -> Self {
        Self::new(|| Itself::new(0), draw)
    }
}

impl<S, M, F> Workload for Requests<S, M, F>
where
    S: StateMachine,
    M: Model<Op = Request, Reply = Bytes>,
    F: FnMut(u64, &mut Rng) -> Request,
{
    type Machine = S;
    type Model = M;

    fn model(&self) -> M {
        (self.model)()
    }

    fn next(&mut self, client: u64, rng: &mut Rng) -> Request {
        (self.draw)(client, rng)
    }

    fn travel(&self, op: &Request) -> Travel {
        Travel::Request(op.clone())
    }

    fn reply(&self, heard: Heard) -> Bytes {
        match heard {
            Heard::Bytes(bytes) => bytes,
            Heard::Value(value) => std::format!("{value:?}").into(),
        }
    }
}
