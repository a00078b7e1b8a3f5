//! What a command is to each of its keys by itself.
//!
//! Looked at key by key, a command of several keys says less: that MSET sets all of them at once is not seen here, and DEL's
//! reply says which of its keys were there only if it is none or all.

use std::vec;
use std::vec::Vec;

use bytes::Bytes;

use super::super::model::Part;
use super::command::{Command, Set, distinct};
use super::scan_reply;
use crate::codec::resp::Value;

type KvPart = Part<Vec<Bytes>, Value>;

/// The parts of a command.
pub(super) fn of(op: &[Bytes], reply: Option<&Value>) -> Vec<KvPart> {
    let Ok(command) = Command::of(op) else { return Vec::new() };
    match command {
        Command::Append { key, .. }
        | Command::Get { key }
        | Command::GetDel { key }
        | Command::GetRange { key, .. }
        | Command::IncrBy { key, .. }
        | Command::Set(Set { key, .. })
        | Command::SetNx { key, .. }
        | Command::StrLen { key } => {
            vec![Part { keys: vec![key.clone()], op: op.to_vec(), reply: reply.cloned() }]
        }
        Command::Del { keys } | Command::Exists { keys } => counted(&op[0], keys, reply),
        Command::MGet { keys } => {
            let answers = if let Some(Value::Array(values)) = reply { &values[..] } else { &[] };
            let part = |(at, key): (usize, &Bytes)| part(b"GET", key, &[], answers.get(at).cloned());
            keys.iter().enumerate().map(part).collect()
        }
        Command::MSet { pairs } => {
            let last = |key: &Bytes| pairs.chunks(2).rfind(|pair| pair[0] == key).map(|pair| pair[1].clone());
            let keys: Vec<Bytes> = pairs.chunks(2).map(|pair| pair[0].clone()).collect();
            let set = |key: &Bytes| part(b"SET", key, last(key).as_slice(), reply.cloned());
            distinct(&keys).into_iter().map(set).collect()
        }
        Command::Scan(_) => {
            let keys = reply.and_then(scan_reply).map(|(_, keys)| keys).unwrap_or_default();
            keys.into_iter().map(|key| part(b"EXISTS", key, &[], Some(Value::Integer(1)))).collect()
        }
        // A number says nothing about any one key.
        Command::DbSize => Vec::new(),
    }
}

/// DEL or EXISTS, whose reply counts keys.
fn counted(name: &Bytes, keys: &[Bytes], reply: Option<&Value>) -> Vec<KvPart> {
    let distinct = distinct(keys);
    let all = if name.eq_ignore_ascii_case(b"del") { distinct.len() } else { keys.len() };
    let each = match reply {
        Some(Value::Integer(0)) => Some(Value::Integer(0)),
        Some(&Value::Integer(found)) if found == all as i64 => Some(Value::Integer(1)),
        // What no command answers is for the whole to refuse; several keys have no such part.
        Some(other) if distinct.len() == 1 && keys.len() == 1 => Some(other.clone()),
        _ => None,
    };
    distinct.into_iter().map(|key| part(name, key, &[], each.clone())).collect()
}

fn part(name: &[u8], key: &Bytes, rest: &[Bytes], reply: Option<Value>) -> KvPart {
    let op = [Bytes::copy_from_slice(name), key.clone()].into_iter().chain(rest.iter().cloned()).collect();
    Part { keys: vec![key.clone()], op, reply }
}
