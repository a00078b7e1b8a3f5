//! Clients of the key-value store.

use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use bytes::Bytes;

use super::commands::{IS_WHOLE, Line, MORE_READS, MORE_WRITES, READS, TOGETHER, WRITES};
use super::{Heard, Travel, Workload};
use crate::client::CallKind;
use crate::codec::resp::Value;
use crate::kv::KvStore;
use crate::raft::LogIndex;
use crate::rng::Rng;
use crate::sim::census::met;
use crate::sim::check::{HistoryOf, KvModel, KvOp, Model, Replayed, Verdict, check_scans, linearizable};

/// Steps of the search for a linearization, for each operation. What it gives up has been judged by the replay.
const SEARCH: u64 = 20;

/// Commands of the key-value store, over few keys, so that clients meet.
#[derive(Debug, Clone)]
pub struct KvWorkload {
    keys: u64,
    counter: u64,
    writes_of_ten: u64,
    is_whole: bool,
    /// What each client knows.
    clients: BTreeMap<u64, Client>,
}

/// What a client goes on from.
#[derive(Debug, Clone, Default)]
struct Client {
    /// The cursor of an open iteration of SCAN.
    cursor: Option<Bytes>,
    /// The value that it has seen last at each key that it may swap.
    seen: BTreeMap<Bytes, Bytes>,
    /// What it watches.
    watched: Vec<(Bytes, LogIndex)>,
}

/// The words of a line, as far as they are drawn.
struct Drawing<'a> {
    workload: &'a mut KvWorkload,
    rng: &'a mut Rng,
    client: u64,
    key: Bytes,
    words: Vec<Bytes>,
    value: Bytes,
}

impl KvWorkload {
    /// A mix that is drawn from the run's seed.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::stream(seed, 302);
        let (keys, writes_of_ten) = (1 + rng.below(12), 2 + rng.below(7));
        Self { keys, counter: 0, writes_of_ten, is_whole: IS_WHOLE, clients: BTreeMap::new() }
    }

    fn key(&self, rng: &mut Rng) -> Bytes {
        format!("k{}", rng.below(self.keys)).into()
    }

    /// A value that no other write has.
    fn value(&mut self, client: u64, rng: &mut Rng) -> Bytes {
        self.counter += 1;
        let width = match rng.below(100) {
            0 => 3_000,
            1 | 2 => 600,
            _ => 3 + rng.below(20) as usize,
        };
        format!("{client}.{:0>width$};", self.counter).into()
    }

    /// A command of one of the lines.
    fn command(&mut self, client: u64, lines: &[Line], rng: &mut Rng) -> Vec<Bytes> {
        let key = self.key(rng);
        let line = one_of(lines, rng);
        let mut drawing =
            Drawing { workload: self, rng, client, key, words: Vec::new(), value: Bytes::new() };
        for word in line.split(' ') {
            let word = drawing.word(word);
            drawing.words.push(word);
        }
        drawing.words
    }

    /// WATCH, or EXEC of what was watched, or of anything.
    fn transaction(&mut self, client: u64, rng: &mut Rng) -> KvOp {
        let family = rng.below(TOGETHER.len() as u64) as usize;
        let watched = core::mem::take(&mut self.clients.entry(client).or_default().watched);
        if watched.is_empty() && rng.chance(1, 2) {
            let prefix = ["m:", "t:"][family];
            let keys = (0..1 + rng.below(2)).map(|_| joined(prefix, &self.key(rng)));
            return KvOp::Versions(keys.collect());
        }
        let count = 1 + rng.below(3);
        let commands = (0..count).map(|_| self.command(client, TOGETHER[family], rng)).collect();
        KvOp::Transaction { watched, commands }
    }
}

fn one_of(lines: &[Line], rng: &mut Rng) -> &'static str {
    let mut at = rng.below(lines.iter().map(|(share, _)| share).sum());
    let is_it = |&&(share, _): &&Line| {
        let is_it = at < share;
        at = at.wrapping_sub(share);
        is_it
    };
    lines.iter().find(is_it).map_or("DBSIZE", |(_, line)| line)
}

impl Drawing<'_> {
    fn word(&mut self, word: &str) -> Bytes {
        if let Some(word) = word.strip_prefix("-$") {
            return joined("-", &self.word(&format!("${word}")));
        }
        let Self { workload, rng, client, key, words, value } = self;
        let number = |number: String| Bytes::from(number);
        match word {
            "$key" => key.clone(),
            "$other" => workload.key(rng),
            "$counter" => joined("n:", key),
            "$float" => joined("f:", key),
            "$bits" => joined("b:", key),
            "$swap" => joined("c:", key),
            "$moved" => joined("m:", key),
            "$goal" => joined("m:", &workload.key(rng)),
            "$mortal" => joined("t:", key),
            "$heir" => joined("t:", &workload.key(rng)),
            "$value" => {
                *value = workload.value(*client, rng);
                value.clone()
            }
            "$same" => value.clone(),
            "$seen" => {
                let seen = workload.clients.get(client).and_then(|known| known.seen.get(words.get(1)?));
                seen.cloned().unwrap_or(Bytes::from_static(b"none"))
            }
            "$cursor" => {
                let cursor = workload.clients.get(client).and_then(|known| known.cursor.clone());
                cursor.unwrap_or(Bytes::from_static(b"0"))
            }
            "$by" => number((rng.below(100) as i64 - 50).to_string()),
            "$quarter" => number(format!(
                "{}{}.{:02}",
                ["", "-"][rng.below(2) as usize],
                rng.below(9),
                25 * rng.below(4)
            )),
            "$few" => number((1 + rng.below(4)).to_string()),
            "$bit" => number(rng.below(64).to_string()),
            "$soon" => number([20, 200, 2_000][rng.below(3) as usize].to_string()),
            "$late" => number((100_000 + rng.below(100_000)).to_string()),
            plain => Bytes::copy_from_slice(plain.as_bytes()),
        }
    }
}

fn joined(prefix: &str, key: &[u8]) -> Bytes {
    [prefix.as_bytes(), key].concat().into()
}

impl Client {
    /// What a reply tells it.
    fn learn(&mut self, op: &KvOp, reply: &Value) {
        match (op, reply) {
            (KvOp::Versions(keys), Value::Array(versions)) => {
                let version = |value: &Value| {
                    if let Value::Integer(version) = value { Some(*version as u64) } else { None }
                };
                let versions = versions.iter().filter_map(version);
                self.watched = keys.iter().cloned().zip(versions).collect();
            }
            (KvOp::Command(words), reply) => self.learn_from_command(words, reply),
            _ => {}
        }
    }

    fn learn_from_command(&mut self, words: &[Bytes], reply: &Value) {
        let [name, key, rest @ ..] = words else { return };
        match (&name[..], reply) {
            (b"SCAN", Value::Array(parts)) => {
                self.cursor = parts.first().and_then(Value::text).cloned().or(self.cursor.take());
            }
            (b"GET" | b"SET", Value::Bulk(value)) if key.starts_with(b"c:") => {
                // A swap that was done has left what it wrote.
                let now = match rest {
                    [new, _, old, ..] if old == value => new,
                    _ => value,
                };
                self.seen.insert(key.clone(), now.clone());
            }
            _ => {}
        }
    }
}

impl Workload for KvWorkload {
    type Machine = KvStore;
    type Model = KvModel;

    fn model(&self) -> KvModel {
        KvModel::default()
    }

    fn next(&mut self, client: u64, rng: &mut Rng) -> KvOp {
        if self.is_whole && rng.chance(1, 8) {
            return self.transaction(client, rng);
        }
        let is_write = rng.below(10) < self.writes_of_ten;
        let lines = match (is_write, self.is_whole && rng.chance(1, 2)) {
            (true, false) => WRITES,
            (false, false) => READS,
            (true, true) => MORE_WRITES,
            (false, true) => MORE_READS,
        };
        self.command(client, lines, rng).into()
    }

    fn travel(&self, op: &KvOp) -> Travel {
        match op {
            KvOp::Command(words) => {
                let kind = if KvModel::is_read(op) { CallKind::Read } else { CallKind::Write };
                Travel::Command(kind, words.clone())
            }
            KvOp::Versions(_) | KvOp::Transaction { .. } => {
                Travel::Request(KvModel::request(op).expect("the store has bytes for what is drawn"))
            }
        }
    }

    fn reply(&self, heard: Heard) -> Value {
        match heard {
            Heard::Value(value) => value,
            Heard::Bytes(bytes) => KvModel::reply(&bytes),
        }
    }

    fn replied(&mut self, client: u64, op: &KvOp, reply: &Value) {
        self.clients.entry(client).or_default().learn(op, reply);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::Context;

    /// Every line, said to the model alone: none is refused for its words, and each is done at least once.
    #[test]
    fn lines_are_commands_that_succeed() {
        let mut rng = Rng::new(5);
        let mut workload = KvWorkload { is_whole: true, ..KvWorkload::draw(5) };
        let mut model = KvModel::default();
        let mut at = Context { index: 0, unix_ms: 1_700_000_000_000 };
        let tables = [WRITES, READS, MORE_WRITES, MORE_READS, TOGETHER[0], TOGETHER[1]];
        let mut done = BTreeMap::new();
        for _ in 0..40_000 {
            at.index += 1;
            at.unix_ms += rng.below(20);
            let lines = tables[rng.below(tables.len() as u64) as usize];
            let line = [(1, one_of(lines, &mut rng))];
            let op = KvOp::Command(workload.command(1, &line, &mut rng));
            let reply = model.step(at, &op);
            workload.replied(1, &op, &reply);
            let text = if let Value::Error(text) = &reply { &text[..] } else { b"" };
            assert!(
                matches!(
                    text,
                    b"" | b"ERR no such key"
                        | b"ERR source and destination objects are the same"
                        | b"ERR value is not an integer or out of range"
                ) || text.starts_with(b"ERR Insufficient memory, transient memory for LCS"),
                "{op:?}: {reply:?}"
            );
            *done.entry(line[0].1).or_insert(0) += usize::from(says_yes(&reply));
        }
        let lines = tables.iter().flat_map(|lines| lines.iter().map(|(_, line)| *line));
        let never: Vec<_> = lines.filter(|line| done.get(line).is_none_or(|&count| count == 0)).collect();
        assert!(never.is_empty(), "{never:?}");
    }

    fn says_yes(reply: &Value) -> bool {
        !matches!(reply, Value::Null | Value::Error(_) | Value::Integer(0))
    }

    /// Transactions of clients that watch: some find their keys changed.
    #[test]
    fn transactions_run_and_are_given_up() {
        let mut rng = Rng::new(6);
        let mut workload = KvWorkload { is_whole: true, ..KvWorkload::draw(6) };
        let (mut model, mut at) = (KvModel::default(), Context { index: 0, unix_ms: 1_700_000_000_000 });
        let (mut done, mut given_up) = (0, 0);
        for _ in 0..20_000 {
            at.index += 1;
            at.unix_ms += rng.below(5);
            let client = rng.below(4);
            let op = workload.next(client, &mut rng);
            let reply = model.step(at, &op);
            workload.replied(client, &op, &reply);
            if let KvOp::Transaction { watched, commands } = op {
                given_up += usize::from(reply == Value::Null && !watched.is_empty());
                done += usize::from(matches!(&reply, Value::Array(each) if each.len() == commands.len()));
            }
        }
        assert!(done > 500 && given_up > 50, "{done} {given_up}");
    }
}
