//! Histories and logs of the key-value store in a few words, for the tests of the checks.

use std::string::{String, ToString};
use std::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::history::{HistoryOf, OpId};
use super::kv_model::KvModel;
use super::replay::{Committed, Replayed, SessionLimits, replay};
use super::{Contradiction, Model};
use crate::codec::resp::Value;
use crate::kv;
use crate::raft::Stamp;
use crate::replica::Request;

pub(super) const LIMITS: SessionLimits =
    SessionLimits { max_sessions: 2, window: 4, reply_bytes: 20, ttl_ms: 1000 };

/// A command's words; `''` is the empty one.
pub(super) fn words(line: &str) -> Vec<Bytes> {
    let word = |word: &str| Bytes::from(if word == "''" { "" } else { word }.as_bytes().to_vec());
    line.split_whitespace().map(word).collect()
}

/// A reply as RESP writes it, with `|` for the end of a line.
pub(super) fn value(reply: &str) -> Value {
    KvModel::reply(reply.replace('|', "\r\n").as_bytes())
}

/// A history of one line for each moment, 10 us apart: `1 > set x 1` asks (`1 > 5.2 set x 1` as number 2 of session 5),
/// `1 < +OK|` answers what client 1 asked last, and `1 not done` refuses it.
pub(super) fn history(script: &str) -> HistoryOf<KvModel> {
    let (mut history, mut last) = (HistoryOf::<KvModel>::new(), std::collections::BTreeMap::new());
    for (number, line) in script.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        let at = 10 * (number as u64 + 1);
        let (client, rest) = line.split_once(' ').unwrap();
        if let Some(op) = rest.strip_prefix("> ") {
            let (name, op) = named(op);
            let id: OpId = history.ask(client.parse().unwrap(), at, words(op).into());
            name.into_iter().for_each(|(session, seq)| history.name(id, session, seq));
            last.insert(client.to_string(), id);
        } else if let Some(reply) = rest.strip_prefix("< ") {
            history.replied(last[client], at, value(reply));
        } else {
            assert_eq!(rest, "not done");
            history.not_done(last[client]);
        }
    }
    history
}

/// `5.2 rest` as a name and the rest.
fn named(line: &str) -> (Option<(u64, u64)>, &str) {
    let name = line.split_once(' ').and_then(|(word, rest)| {
        let (session, seq) = word.split_once('.')?;
        Some(((session.parse().ok()?, seq.parse().ok()?), rest))
    });
    name.map_or((None, line), |(name, rest)| (Some(name), rest))
}

/// A log from index 1 on of one line for each entry: `set x 1`, `5.2 set x 1` of a session, `/2 5.3 set x 1` with an
/// acknowledgement of the numbers below 2, `set x 1 & set y 1` as one, `open nonce`, `close 5`, or `noop`; each may begin with `@70`, when it was
/// applied, and `+500`, by how much the log's clock went on.
pub(super) fn log(script: &str) -> Vec<Committed> {
    let mut cluster_ms = 0;
    let entry = |(number, line): (usize, &str)| {
        let (mut line, mut applied, mut ack) = (line, None, 0);
        while let Some((word, rest)) =
            line.split_once(' ').filter(|(word, _)| word.starts_with(['@', '+', '/']))
        {
            let number: u64 = word[1..].parse().unwrap();
            match word.as_bytes()[0] {
                b'@' => applied = Some(number),
                b'+' => cluster_ms += number,
                _ => ack = number,
            }
            line = rest;
        }
        let request = request(line, ack);
        let stamp = Stamp { unix_ms: cluster_ms, cluster_ms };
        Committed { index: number as u64 + 1, stamp, applied, request }
    };
    script.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate().map(entry).collect()
}

fn request(line: &str, ack: u64) -> Option<Request> {
    if line == "noop" {
        return None;
    }
    if let Some(nonce) = line.strip_prefix("open") {
        return Some(Request::OpenSession { nonce: Bytes::from(nonce.trim().to_string()) });
    }
    if let Some(session) = line.strip_prefix("close ") {
        return Some(Request::CloseSession { session: session.parse().unwrap() });
    }
    if line.contains(" & ") {
        let commands: Vec<Bytes> = line
            .split(" & ")
            .map(|line| match request(line, ack) {
                Some(Request::Write(command)) => command,
                other => panic!("{line} is no write: {other:?}"),
            })
            .collect();
        return Some(Request::Write(kv::pipeline(&commands, &mut BytesMut::new())));
    }
    match (named(line), KvModel::request(&words(named(line).1).into())) {
        ((None, _), write @ Some(Request::Write(_))) => write,
        ((Some((session, seq)), _), Some(Request::Write(command))) => {
            Some(Request::Once { session, seq, ack, command })
        }
        (_, other) => panic!("{line} is no write: {other:?}"),
    }
}

/// Replays a log against a history.
pub(super) fn replayed(script: &str, entries: &str) -> Result<Replayed, Contradiction> {
    replay(KvModel::default(), LIMITS, &log(entries), &history(script))
}

/// What the replay finds broken, in words.
pub(super) fn broken(script: &str, entries: &str) -> String {
    match replayed(script, entries) {
        Ok(replayed) => std::format!("nothing: {:?}", replayed.placed),
        Err(contradiction) => contradiction.rule.broken().into(),
    }
}
