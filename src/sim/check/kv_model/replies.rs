//! Replies: making them, reading them, and their length.

use std::string::ToString;
use std::vec::Vec;

use bytes::Bytes;

use crate::codec::resp::Value;

pub(super) const REPLY_TOO_LONG: &str = "ERR reply exceeds maximum allowed size";

pub(super) fn ok() -> Value {
    simple("OK")
}

pub(super) fn simple(text: &'static str) -> Value {
    Value::Simple(Bytes::from_static(text.as_bytes()))
}

pub(super) fn error(text: &'static str) -> Value {
    Value::Error(Bytes::from_static(text.as_bytes()))
}

pub(super) fn count(number: usize) -> Value {
    Value::Integer(number as i64)
}

/// A value, if there is one.
pub(super) fn bulk(value: Option<&Bytes>) -> Value {
    value.cloned().map_or(Value::Null, Value::Bulk)
}

/// The strings of an array.
pub(super) fn strings(reply: &Value) -> Option<Vec<&Bytes>> {
    let Value::Array(values) = reply else { return None };
    values.iter().map(string).collect()
}

fn string(value: &Value) -> Option<&Bytes> {
    if let Value::Bulk(text) = value { Some(text) } else { None }
}

/// The cursor and the keys of a reply to SCAN.
pub(super) fn scanned(reply: &Value) -> Option<(&Bytes, Vec<&Bytes>)> {
    let Value::Array(parts) = reply else { return None };
    let [Value::Bulk(cursor), keys] = &parts[..] else { return None };
    Some((cursor, strings(keys)?))
}

/// Whether a reply is `expected`, in either version of the protocol: the older one has no maps.
pub(super) fn is_same(expected: &Value, seen: &Value) -> bool {
    match (expected, seen) {
        (Value::Map(pairs), Value::Array(values)) => {
            let flat = pairs.iter().flat_map(|(name, value)| [name, value]);
            flat.eq(values)
        }
        _ => expected == seen,
    }
}

/// Bytes before the values of an array, or of a map of so many pairs.
pub(super) fn array_head_len(count: usize) -> usize {
    1 + count.to_string().len() + 2
}

/// Bytes of a reply in RESP3.
pub(super) fn encoded_len(reply: &Value) -> usize {
    let blob = |len: usize| 1 + len.to_string().len() + 2 + len + 2;
    match reply {
        Value::Null => 3,
        Value::Simple(text) | Value::Error(text) => 1 + text.len() + 2,
        Value::Integer(number) => 1 + number.to_string().len() + 2,
        Value::Bulk(text) => blob(text.len()),
        Value::Array(values) => array_head_len(values.len()) + values.iter().map(encoded_len).sum::<usize>(),
        Value::Map(pairs) => {
            let pair = |(name, value): &(Value, Value)| encoded_len(name) + encoded_len(value);
            array_head_len(pairs.len()) + pairs.iter().map(pair).sum::<usize>()
        }
        // No command of the store answers anything else.
        _ => 0,
    }
}
