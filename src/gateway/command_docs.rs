//! COMMAND: the table of commands, for clients that route by it and for redis-cli's hints.

use alloc::vec::Vec;

use bytes::Bytes;

use super::control::{CONTROLS, Control, Verb};
use super::glob;
use super::help::{self, other_subcommand};
use super::reply::{Reply, fields, number, of_error};
use crate::codec::resp::write;
use crate::kv::{COMMANDS, CommandError, CommandInfo, KeyPositions};

/// Most names that COMMAND INFO and COMMAND DOCS take: more than there are commands, and few enough that what is told of them
/// stays short.
const MAX_NAMES: usize = 1024;

/// One command of either table.
#[derive(Clone, Copy)]
enum Known {
    Data(&'static CommandInfo),
    Control(&'static Control),
}

fn all() -> impl Iterator<Item = Known> {
    COMMANDS.iter().map(Known::Data).chain(CONTROLS.iter().map(Known::Control))
}

fn find(name: &[u8]) -> Option<Known> {
    all().find(|known| name.eq_ignore_ascii_case(known.name().as_bytes()))
}

/// COMMAND's reply.
pub(super) fn reply(arguments: &[Bytes]) -> Reply {
    let [_, subcommand, rest @ ..] = arguments else {
        return Reply::of(|out| infos(all().map(Some), out));
    };
    match (&subcommand.to_ascii_lowercase()[..], rest) {
        (b"count", []) => Reply::of(|out| number(out, all().count() as u64)),
        (b"count", _) => of_error(&CommandError::Arity("command|count")),
        (b"info" | b"docs", names) if names.len() > MAX_NAMES => {
            Reply::error("ERR too many names: at most 1024 at once")
        }
        (b"info", []) => Reply::of(|out| infos(all().map(Some), out)),
        (b"info", names) => Reply::of(|out| infos(names.iter().map(|name| find(name)), out)),
        (b"docs", []) => Reply::of(|out| docs(all().collect(), out)),
        (b"docs", names) => Reply::of(|out| docs(names.iter().filter_map(|name| find(name)).collect(), out)),
        (b"list", filter) => list(filter),
        (b"getkeys", [_, _, ..]) => getkeys(rest),
        (b"getkeys", _) => of_error(&CommandError::Arity("command|getkeys")),
        _ => other_subcommand("COMMAND", subcommand),
    }
}

fn infos(commands: impl Iterator<Item = Option<Known>>, out: &mut Vec<u8>) {
    let commands: Vec<_> = commands.collect();
    write::array(out, commands.len());
    for command in commands {
        match command {
            Some(known) => known.info(out),
            None => write::null(out),
        }
    }
}

fn docs(commands: Vec<Known>, out: &mut Vec<u8>) {
    write::map(out, commands.len());
    commands.iter().for_each(|known| known.docs(out));
}

fn list(filter: &[Bytes]) -> Reply {
    let names = |keep: &dyn Fn(&Known) -> bool| {
        let names: Vec<_> = all().filter(|known| keep(known)).map(Known::name).collect();
        Reply::of(|out| {
            write::array(out, names.len());
            names.iter().for_each(|name| write::bulk(out, name.as_bytes()));
        })
    };
    match filter {
        [] => names(&|_| true),
        [by, kind, argument] if by.eq_ignore_ascii_case(b"filterby") => {
            match &kind.to_ascii_lowercase()[..] {
                b"pattern" => names(&|known| glob::fits(argument, known.name().as_bytes())),
                b"aclcat" => names(&|known| {
                    known.categories().any(|category| category.as_bytes().get(1..) == Some(&**argument))
                }),
                b"module" => names(&|_| false),
                _ => of_error(&CommandError::Syntax),
            }
        }
        _ => of_error(&CommandError::Syntax),
    }
}

fn getkeys(command: &[Bytes]) -> Reply {
    let known = command.first().and_then(|name| find(name));
    let Some(known) = known else { return Reply::error("ERR Invalid command specified") };
    if !known.takes(command.len()) {
        return Reply::error("ERR Invalid number of arguments specified for command");
    }
    let found: Vec<_> = match known {
        Known::Control(Control { verb: Verb::Once, .. }) => {
            let inner = command.get(4..).unwrap_or_default();
            let info = inner.first().and_then(|name| CommandInfo::find(name));
            info.map_or_else(Vec::new, |info| info.keys.among(inner).collect())
        }
        known => known.keys().among(command).collect(),
    };
    if found.is_empty() {
        return Reply::error("ERR The command has no key arguments");
    }
    Reply::of(|out| {
        write::array(out, found.len());
        found.iter().for_each(|key| write::bulk(out, key));
    })
}

impl Known {
    fn name(self) -> &'static str {
        match self {
            Self::Data(info) => info.name,
            Self::Control(control) => control.name,
        }
    }

    fn arity(self) -> i32 {
        match self {
            Self::Data(info) => info.arity,
            Self::Control(control) => control.arity,
        }
    }

    fn keys(self) -> KeyPositions {
        match self {
            Self::Data(info) => info.keys,
            // Clients of a cluster look for keys, to know where to send it.
            Self::Control(Control { verb: Verb::Watch, .. }) => KeyPositions::ALL,
            Self::Control(_) => KeyPositions::NONE,
        }
    }

    fn takes(self, arguments: usize) -> bool {
        match self {
            Self::Data(info) => info.takes(arguments),
            Self::Control(control) => control.takes(arguments),
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Data(info) => info.flags,
            // The key of ONCE is that of the command inside it: clients have to ask COMMAND GETKEYS.
            Self::Control(Control { verb: Verb::Once, .. }) => &["write", "denyoom", "movablekeys"],
            Self::Control(Control { verb: Verb::Session, .. }) => &["write"],
            Self::Control(_) => &["noscript", "loading", "stale", "fast"],
        }
    }

    fn has(self, flag: &str) -> bool {
        self.flags().contains(&flag)
    }

    fn group(self) -> &'static str {
        match self {
            Self::Data(info) => info.group.name(),
            Self::Control(control) => control.group,
        }
    }

    fn categories(&self) -> impl Iterator<Item = &'static str> + use<> {
        let group = match self.group() {
            "string" => Some("@string"),
            "bitmap" => Some("@bitmap"),
            "generic" => Some("@keyspace"),
            "server" if matches!(self, Self::Data(_)) => Some("@keyspace"),
            "connection" => Some("@connection"),
            _ => None,
        };
        let kind = if self.has("write") {
            Some("@write")
        } else if self.has("readonly") {
            Some("@read")
        } else {
            None
        };
        let speed = if self.has("fast") { "@fast" } else { "@slow" };
        let is_dangerous = matches!(self.name(), "keys" | "flushall" | "flushdb");
        [kind, group, Some(speed), is_dangerous.then_some("@dangerous")].into_iter().flatten()
    }

    /// The ten elements of COMMAND INFO.
    fn info(&self, out: &mut Vec<u8>) {
        write::array(out, 10);
        write::bulk(out, self.name().as_bytes());
        write::integer(out, i64::from(self.arity()));
        write::set(out, self.flags().len());
        self.flags().iter().for_each(|flag| write::simple(out, flag));
        let keys = self.keys();
        for position in [keys.first, keys.last, keys.step] {
            write::integer(out, i64::from(position));
        }
        write::set(out, self.categories().count());
        self.categories().for_each(|category| write::simple(out, category));
        write::set(out, 0);
        write::set(out, usize::from(keys.first != 0));
        if keys.first != 0 {
            self.key_specification(keys, out);
        }
        write::set(out, 0);
    }

    fn key_specification(&self, keys: KeyPositions, out: &mut Vec<u8>) {
        let KeyPositions { first, last, step, are_counted } = keys;
        // Relative to the first key, unless it counts from the end.
        let last = if last < 0 { last } else { last - first };
        let (start, kind, numbers) = if are_counted {
            (first - 1, "keynum", [("keynumidx", 0), ("firstkey", 1), ("keystep", step)])
        } else {
            (first, "range", [("lastkey", last), ("keystep", step), ("limit", 0)])
        };
        write::map(out, 3);
        write::bulk(out, b"flags");
        let access = if self.has("write") { ["RW", "update"] } else { ["RO", "access"] };
        write::set(out, access.len());
        access.iter().for_each(|flag| write::simple(out, flag));
        for (part, kind, numbers) in
            [("begin_search", "index", &[("index", start)][..]), ("find_keys", kind, &numbers)]
        {
            write::bulk(out, part.as_bytes());
            write::map(out, 2);
            fields(out, [("type", kind)]);
            write::bulk(out, b"spec");
            write::map(out, numbers.len());
            for (name, number) in numbers {
                write::bulk(out, name.as_bytes());
                write::integer(out, i64::from(*number));
            }
        }
    }

    fn docs(&self, out: &mut Vec<u8>) {
        let (summary, since, complexity) = match self {
            Self::Data(info) => (info.summary, info.since, info.complexity),
            Self::Control(control) => (control.summary, control.since, "O(1)"),
        };
        let subcommands = help::subcommands(self.name());
        write::bulk(out, self.name().as_bytes());
        write::map(out, if subcommands.is_empty() { 4 } else { 5 });
        let about = |out: &mut Vec<u8>, summary: &str| {
            let group = self.group();
            let all = [("summary", summary), ("since", since), ("group", group), ("complexity", complexity)];
            fields(out, all);
        };
        about(out, summary);
        if subcommands.is_empty() {
            return;
        }
        write::bulk(out, b"subcommands");
        write::map(out, subcommands.len());
        for (name, summary) in subcommands {
            write::bulk(out, alloc::format!("{}|{name}", self.name()).as_bytes());
            write::map(out, 4);
            about(out, summary);
        }
    }
}
