//! What an operation is to each of its keys by itself.
//!
//! Looked at key by key, a command of several keys says less: that MSET sets all of them at once is not seen here, and DEL's
//! reply says which of its keys were there only if it is none or all. Where one key decides about another, as in RENAME, MSETNX
//! or a transaction, they are looked at together. Where the log's clock or its indexes decide, there is nothing to look at.

use std::vec;
use std::vec::Vec;

use bytes::Bytes;

use super::super::model::Part;
use super::arguments::distinct;
use super::command::Command;
use super::replies::{scanned, strings};
use super::transaction::{KvOp, refusal};
use crate::codec::resp::Value;

type KvPart = Part<KvOp, Value>;

/// The parts of an operation.
pub(super) fn of(op: &KvOp, reply: Option<&Value>) -> Vec<KvPart> {
    match op {
        KvOp::Command(words) => of_command(words, reply),
        // A version is an index of the log.
        KvOp::Versions(_) | KvOp::Watch(_) => Vec::new(),
        KvOp::Transaction { watched, commands } => {
            let is_refused =
                refusal(commands).is_some() || (!watched.is_empty() && reply == Some(&Value::Null));
            if is_refused { Vec::new() } else { of_transaction(commands, reply) }
        }
    }
}

fn of_command(words: &[Bytes], reply: Option<&Value>) -> Vec<KvPart> {
    let Ok(command) = Command::of(words) else { return Vec::new() };
    let present = |key: &Bytes| part(b"EXISTS", key, &[], Some(Value::Integer(1)));
    match command {
        // DEL counts a key that is named twice once, EXISTS twice.
        Command::Del { keys } => counted(&words[0], keys, distinct(keys).len(), reply),
        Command::Exists { keys } => counted(&words[0], keys, keys.len(), reply),
        Command::MGet { keys } => {
            let answers = if let Some(Value::Array(values)) = reply { &values[..] } else { &[] };
            let part = |(at, key): (usize, &Bytes)| part(b"GET", key, &[], answers.get(at).cloned());
            keys.iter().enumerate().map(part).collect()
        }
        Command::MSet { pairs } => {
            let last = |key: &Bytes| pairs.chunks(2).rfind(|pair| pair[0] == key).map(|pair| pair[1].clone());
            let set = |key: &Bytes| part(b"SET", key, last(key).as_slice(), reply.cloned());
            distinct(pairs.iter().step_by(2)).into_iter().map(set).collect()
        }
        Command::Scan(_) => {
            let keys = reply.and_then(scanned).map(|(_, keys)| keys).unwrap_or_default();
            keys.into_iter().map(present).collect()
        }
        Command::Keys { .. } => {
            reply.and_then(strings).unwrap_or_default().into_iter().map(present).collect()
        }
        Command::RandomKey => match reply {
            Some(Value::Bulk(key)) => vec![present(key)],
            _ => vec![whole(words, Vec::new(), reply, false)],
        },
        // A number says nothing about any one key.
        Command::DbSize => Vec::new(),
        ref single => {
            let keys = distinct(single.keys()).into_iter().cloned().collect();
            vec![whole(words, keys, reply, single.sets_deadline())]
        }
    }
}

/// The commands that have keys, behind each other. Whether they run at all depended on versions: it did, if there is a reply.
fn of_transaction(commands: &[Vec<Bytes>], reply: Option<&Value>) -> Vec<KvPart> {
    let all: Vec<Option<Command<'_>>> = commands.iter().map(|words| Command::of(words).ok()).collect();
    let keys: Vec<Vec<&Bytes>> =
        all.iter().map(|command| command.as_ref().map(Command::keys).unwrap_or_default()).collect();
    let has_keys: Vec<bool> = keys.iter().map(|keys| !keys.is_empty()).collect();
    let keys: Vec<Bytes> = distinct(keys.into_iter().flatten()).into_iter().cloned().collect();
    let flushes = all.contains(&Some(Command::FlushAll));
    if keys.is_empty() && !flushes {
        return Vec::new();
    }
    let kept = |each: &[Value]| {
        each.iter()
            .zip(&has_keys)
            .filter(|&(_, &has_keys)| has_keys)
            .map(|(value, _)| value.clone())
            .collect()
    };
    let reply = match reply {
        Some(Value::Array(each)) if each.len() == commands.len() => Some(Value::Array(kept(each))),
        other => other.cloned(),
    };
    let commands = commands.iter().zip(&has_keys).filter(|&(_, &has_keys)| has_keys);
    let commands = commands.map(|(words, _)| words.clone()).collect();
    let sets_deadline = all.iter().flatten().any(Command::sets_deadline);
    // What empties the store between commands cannot be said key by key.
    let keys = if flushes { Vec::new() } else { keys };
    let op = KvOp::Transaction { watched: Vec::new(), commands };
    vec![Part { keys, op, reply, needs_log: flushes || sets_deadline }]
}

/// A command whose reply counts keys: `all`, if all are there.
fn counted(name: &Bytes, keys: &[Bytes], all: usize, reply: Option<&Value>) -> Vec<KvPart> {
    let each = match reply {
        Some(Value::Integer(0)) => Some(Value::Integer(0)),
        Some(&Value::Integer(found)) if found == all as i64 => Some(Value::Integer(1)),
        // What no command answers is for the whole to refuse; several keys have no such part.
        Some(other) if keys.len() == 1 => Some(other.clone()),
        _ => None,
    };
    distinct(keys).into_iter().map(|key| part(name, key, &[], each.clone())).collect()
}

fn part(name: &[u8], key: &Bytes, rest: &[Bytes], reply: Option<Value>) -> KvPart {
    let words = [Bytes::copy_from_slice(name), key.clone()].into_iter().chain(rest.iter().cloned());
    Part { keys: vec![key.clone()], op: KvOp::Command(words.collect()), reply, needs_log: false }
}

/// All of a command.
fn whole(words: &[Bytes], keys: Vec<Bytes>, reply: Option<&Value>, needs_log: bool) -> KvPart {
    Part { keys, op: KvOp::Command(words.to_vec()), reply: reply.cloned(), needs_log }
}
