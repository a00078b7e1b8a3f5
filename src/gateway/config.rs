//! CONFIG: the settings that clients ask for, under Redis's names. None can be changed while the server runs.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use super::help::other_subcommand;
use super::reply::{Reply, fields, of_error};
use super::{Context, Settings, SlowLog, glob};
use crate::codec::resp::write;
use crate::kv::CommandError;

/// CONFIG's reply.
pub(super) fn reply(arguments: &[Bytes], settings: &Settings, context: &Context<'_>) -> Reply {
    let [_, subcommand, rest @ ..] = arguments else {
        return of_error(&CommandError::Arity("config"));
    };
    match (&subcommand.to_ascii_lowercase()[..], rest) {
        (b"get", []) => of_error(&CommandError::Arity("config|get")),
        (b"get", patterns) => Reply::of(|out| {
            let mut table = table(settings, context);
            table.retain(|(name, _)| patterns.iter().any(|pattern| glob::fits(pattern, name.as_bytes())));
            write::map(out, table.len());
            fields(out, table.iter().map(|(name, value)| (*name, value.as_str())));
        }),
        (b"set", [name, _, ..]) if rest.len().is_multiple_of(2) => set_error(name, &table(settings, context)),
        (b"resetstat", []) => {
            context.process.command_stats.reset();
            Reply::ok()
        }
        (b"resetstat", _) => of_error(&CommandError::Arity("config|resetstat")),
        (b"set", _) => of_error(&CommandError::Arity("config|set")),
        _ => other_subcommand("CONFIG", subcommand),
    }
}

fn set_error(name: &[u8], table: &[(&'static str, String)]) -> Reply {
    let known = table.iter().any(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
    Reply::of(|out| {
        if known {
            let end = b"') - can't set immutable config";
            write::error_bytes(out, &[b"ERR CONFIG SET failed (possibly related to argument '", name, end]);
        } else {
            let start = b"ERR Unknown option or number of arguments for CONFIG SET - '";
            write::error_bytes(out, &[start, name, b"'"]);
        }
    })
}

/// Every acknowledged write is synced: what `appendonly yes` and `appendfsync always` promise in Redis.
fn table(settings: &Settings, context: &Context<'_>) -> Vec<(&'static str, String)> {
    let text = |value: &str| String::from(value);
    alloc::vec![
        ("appendfsync", text("always")),
        ("appendonly", text("yes")),
        ("bind", text("")),
        ("cluster-enabled", text("yes")),
        ("databases", text("1")),
        ("maxmemory", text("0")),
        ("maxmemory-policy", text("noeviction")),
        ("notify-keyspace-events", text("")),
        ("port", context.process.port.to_string()),
        ("proto-max-bulk-len", settings.max_value.to_string()),
        ("save", text("")),
        ("slowlog-log-slower-than", SlowLog::THRESHOLD.to_string()),
        ("slowlog-max-len", SlowLog::MAX.to_string()),
        ("timeout", text("0")),
    ]
}
