//! Clients of the key-value store.

use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use bytes::Bytes;

use super::commands::{Line, MORE_READS, MORE_WRITES, READS, TOGETHER, UNIQUE, WRITES};
use super::{Heard, Travel, Workload};
use crate::client::CallKind;
use crate::codec::resp::Value;
use crate::kv::{KvStore, unwatched};
use crate::raft::LogIndex;
use crate::replica::Request;
use crate::rng::Rng;
use crate::sim::census::met;
use crate::sim::check::{
    Committed, HistoryOf, KvModel, KvOp, Model, Replayed, UNSEEN, Verdict, check_scans, linearizable,
};

/// Steps of the search for a linearization, for each operation. What it gives up has been judged by the replay.
const SEARCH: u64 = 20;

/// Commands of the key-value store, over few keys, so that clients meet.
#[derive(Debug, Clone)]
pub struct KvWorkload {
    keys: u64,
    counter: u64,
    writes_of_ten: u64,
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
        Self { keys, counter: 0, writes_of_ten, clients: BTreeMap::new() }
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

    /// WATCH, or EXEC of what was watched, or of anything. Who watches writes what nobody else does: by that its entry is known.
    fn transaction(&mut self, client: u64, rng: &mut Rng) -> KvOp {
        let family = rng.below(TOGETHER.len() as u64) as usize;
        let watched = core::mem::take(&mut self.clients.entry(client).or_default().watched);
        if watched.is_empty() && rng.chance(1, 2) {
            let prefix = ["m:", "t:"][family];
            let keys = (0..1 + rng.below(2)).map(|_| joined(prefix, &self.key(rng)));
            return KvOp::Versions(keys.collect());
        }
        let count = 1 + rng.below(3);
        let mut commands: Vec<_> = (0..count).map(|_| self.command(client, TOGETHER[family], rng)).collect();
        if !watched.is_empty() {
            commands.push(self.command(client, &[UNIQUE[family]], rng));
        }
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
        if rng.chance(1, 8) {
            return self.transaction(client, rng);
        }
        let is_write = rng.below(10) < self.writes_of_ten;
        let lines = match (is_write, rng.chance(1, 2)) {
            (true, false) => WRITES,
            (false, false) => READS,
            (true, true) => MORE_WRITES,
            (false, true) => MORE_READS,
        };
        self.command(client, lines, rng).into()
    }

    /// A connection sees the versions itself, and keeps them from its client, who reads what it watches.
    fn on_a_connection(&self, op: KvOp) -> Vec<KvOp> {
        match op {
            KvOp::Transaction { watched, commands } if !watched.is_empty() => {
                let keys: Vec<Bytes> = watched.into_iter().map(|(key, _)| key).collect();
                let watched = keys.iter().map(|key| (key.clone(), UNSEEN)).collect();
                let read = keys.first().map(|key| vec![Bytes::from_static(b"GET"), key.clone()]);
                let read = KvOp::Command(read.unwrap_or_default());
                vec![KvOp::Watch(keys), read, KvOp::Transaction { watched, commands }]
            }
            op => vec![op],
        }
    }

    fn travel(&self, op: &KvOp) -> Travel {
        let kind = if KvModel::is_read(op) { CallKind::Read } else { CallKind::Write };
        let request = || KvModel::request(op).expect("the store has bytes for what is drawn");
        match op {
            KvOp::Command(words) => Travel::Command(kind, words.clone()),
            KvOp::Watch(keys) => {
                let name = Bytes::from_static(b"WATCH");
                Travel::Command(kind, [&[name][..], keys].concat())
            }
            KvOp::Versions(_) => Travel::Request(request()),
            KvOp::Transaction { commands, .. } => Travel::Transaction(kind, commands.clone(), request()),
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

    /// EXEC's entry has the versions that the WATCH of its piece saw. That one is judged as a read that answered them.
    fn complete(&self, history: &mut HistoryOf<KvModel>, log: &[Committed]) {
        let entries = log.iter().filter_map(|entry| match &entry.request {
            Some(Request::Write(command)) => unwatched(command).map(|(watched, packed)| (packed, watched)),
            _ => None,
        });
        let seen: BTreeMap<Bytes, Vec<(Bytes, LogIndex)>> = entries.collect();
        for id in 2..history.operations().len() {
            let [watch, _, exec] = &history.operations()[id - 2..=id] else { continue };
            let (KvOp::Watch(keys), KvOp::Transaction { commands, .. }) = (&watch.op, &exec.op) else {
                continue;
            };
            let (keys, commands) = (keys.clone(), commands.clone());
            let plain = KvOp::Transaction { watched: Vec::new(), commands: commands.clone() };
            let Some(Request::Write(packed)) = KvModel::request(&plain) else { continue };
            let Some(watched) = seen.get(&packed) else { continue };
            let version =
                |key: &Bytes| watched.iter().find(|(seen, _)| seen == key).map(|(_, version)| *version);
            let versions: Option<Vec<Value>> =
                keys.iter().map(|key| version(key).map(|version| Value::Integer(version as i64))).collect();
            // An entry that watches other keys is not what was asked, and stays that.
            let Some(versions) = versions.filter(|_| watched.iter().all(|(key, _)| keys.contains(key)))
            else {
                continue;
            };
            history.learn_op(id, KvOp::Transaction { watched: watched.clone(), commands });
            history.learn_reply(id - 2, Value::Array(versions));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::Stamp;
    use crate::replica::Context;
    use crate::sim::check::{Rule, SessionLimits, replay};

    /// Every line, said to the model alone: none is refused for its words, and each is done at least once.
    #[test]
    fn lines_are_commands_that_succeed() {
        let mut rng = Rng::new(5);
        let mut workload = KvWorkload::draw(5);
        let mut model = KvModel::default();
        let mut at = Context::at(0, 1_700_000_000_000);
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

    fn told(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    /// WATCH k, EXEC of `APPEND k x`, answered so, by a connection that saw the version 1; and the log in which SET k is behind
    /// another SET k, or not.
    fn watches(seen: LogIndex, reply: &Value, sets: u64) -> (HistoryOf<KvModel>, Vec<Committed>) {
        let workload = KvWorkload::draw(1);
        let mut history = HistoryOf::<KvModel>::new();
        let write = |op: &KvOp| KvModel::request(op).expect("it has bytes");
        let mut log = Vec::new();
        let mut append = |request| {
            let index = log.len() as LogIndex + 1;
            log.push(Committed { index, stamp: Stamp::default(), applied: None, request: Some(request) });
        };
        for n in 0..sets {
            let set = KvOp::Command(told(&format!("SET k {n}")));
            let id = history.ask(1, 0, set.clone());
            history.replied(id, 1, Value::Simple("OK".into()));
            append(write(&set));
        }
        let drawn = KvOp::Transaction { watched: vec![("k".into(), 7)], commands: vec![told("APPEND k x")] };
        let ops = workload.on_a_connection(drawn);
        let ids: Vec<_> = ops.iter().map(|op| history.ask(2, 2, op.clone())).collect();
        // Another client's, meanwhile.
        let other = KvOp::Command(told("SET k other"));
        history.ask(1, 3, other.clone());
        history.replied(ids[0], 4, Value::Simple("OK".into()));
        append(write(&other));
        let exec =
            KvOp::Transaction { watched: vec![("k".into(), seen)], commands: vec![told("APPEND k x")] };
        append(write(&exec));
        history.replied(ids[2], 5, reply.clone());
        workload.complete(&mut history, &log);
        (history, log)
    }

    /// What a connection saw is what its EXEC is held to, and must have been there to be seen.
    #[test]
    fn what_a_connection_watched_is_learnt_from_the_log() {
        let limits = SessionLimits { max_sessions: 1, window: 1, reply_bytes: 1, ttl_ms: 1 };
        let judge = |seen, reply: &Value| {
            let (history, log) = watches(seen, reply, 2);
            replay(KvModel::default(), limits, &log, &history).map(|_| ()).map_err(|broken| broken.rule)
        };
        let ran = Value::Array(vec![Value::Integer(6)]);
        assert_eq!(judge(2, &Value::Null), Ok(()), "the other was between them");
        assert_eq!(judge(3, &ran), Ok(()), "the other was before both");
        assert_eq!(judge(2, &ran), Err(Rule::Reply));
        assert_eq!(judge(3, &Value::Null), Err(Rule::Reply));
        assert_eq!(judge(1, &Value::Null), Err(Rule::Read), "nobody saw that any more");
    }

    fn says_yes(reply: &Value) -> bool {
        !matches!(reply, Value::Null | Value::Error(_) | Value::Integer(0))
    }

    /// Transactions of clients that watch: some find their keys changed.
    #[test]
    fn transactions_run_and_are_given_up() {
        let mut rng = Rng::new(6);
        let mut workload = KvWorkload::draw(6);
        let (mut model, mut at) = (KvModel::default(), Context::at(0, 1_700_000_000_000));
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
