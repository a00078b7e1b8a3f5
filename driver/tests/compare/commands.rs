//! The table of commands: how each is drawn, and how its replies are compared.

use super::arguments::Arg::{self, *};

/// How two replies to one command are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    /// Byte by byte.
    Exact,
    /// Numbers that depend on the time of the call, so far apart at most; what is negative is exact.
    Near(i64),
    /// The time, about the same, in the form of TIME.
    Time,
    /// Arrays in any order.
    Set,
    /// The rest of the iteration is made on both; all that it gives is compared as a set.
    Scan,
    /// A live key of both.
    RandomKey,
    /// Keys that are dead count until they are removed: the same in the end.
    Dbsize,
    /// Byte by byte; after an error the names of the connections are compared too.
    Hello,
    /// The connection is closed behind it.
    Quit,
    /// The key is dead soon: both servers are given the time.
    Mortal,
}

/// An option, with what follows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opt {
    pub(crate) word: &'static str,
    pub(crate) arguments: &'static [Arg],
    /// Options of one group exclude each other; those of group 0 exclude none.
    pub(crate) group: u8,
}

/// One form of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// The name, and for a container the subcommand.
    pub(crate) name: &'static str,
    /// What is counted: `name`, or with it what tells this form from others.
    pub(crate) label: &'static str,
    pub(crate) arguments: &'static [Arg],
    /// May be repeated, behind `arguments`.
    pub(crate) more: &'static [Arg],
    pub(crate) options: &'static [Opt],
    pub(crate) compare: Compare,
    pub(crate) weight: u64,
    /// Is refused whatever its arguments are.
    pub(crate) fails: bool,
}

const fn form(name: &'static str, arguments: &'static [Arg]) -> Form {
    Form {
        name,
        label: name,
        arguments,
        more: &[],
        options: &[],
        compare: Compare::Exact,
        weight: 10,
        fails: false,
    }
}

impl Form {
    const fn label(self, label: &'static str) -> Self {
        Self { label, ..self }
    }

    const fn more(self, more: &'static [Arg]) -> Self {
        Self { more, ..self }
    }

    const fn options(self, options: &'static [Opt]) -> Self {
        Self { options, ..self }
    }

    const fn compare(self, compare: Compare) -> Self {
        Self { compare, ..self }
    }

    const fn fails(self) -> Self {
        Self { fails: true, ..self }
    }

    const fn weight(self, weight: u64) -> Self {
        Self { weight, ..self }
    }
}

const fn opt(word: &'static str, arguments: &'static [Arg], group: u8) -> Opt {
    Opt { word, arguments, group }
}

const SET_OPTIONS: &[Opt] = &[
    opt("NX", &[], 1),
    opt("XX", &[], 1),
    opt("GET", &[], 0),
    opt("KEEPTTL", &[], 2),
    opt("EX", &[Seconds], 2),
    opt("PX", &[Millis], 2),
    opt("EXAT", &[AtSeconds], 2),
    opt("PXAT", &[AtMillis], 2),
];

const GETEX_OPTIONS: &[Opt] = &[
    opt("EX", &[Seconds], 1),
    opt("PX", &[Millis], 1),
    opt("EXAT", &[AtSeconds], 1),
    opt("PXAT", &[AtMillis], 1),
    opt("PERSIST", &[], 1),
];

const EXPIRE_OPTIONS: &[Opt] = &[opt("NX", &[], 1), opt("XX", &[], 1), opt("GT", &[], 1), opt("LT", &[], 1)];

const LCS_OPTIONS: &[Opt] =
    &[opt("LEN", &[], 1), opt("IDX", &[], 1), opt("MINMATCHLEN", &[Length], 0), opt("WITHMATCHLEN", &[], 0)];

const SCAN_OPTIONS: &[Opt] =
    &[opt("MATCH", &[Pattern], 0), opt("COUNT", &[Count], 0), opt("TYPE", &[Type], 0)];

const UNITS: &[&str] = &["BYTE", "BIT"];

/// Times on the two servers differ by this much at most, in seconds: far less than drawn times differ, far more than a busy
/// machine needs.
pub(crate) const SKEW: i64 = 60;

/// Commands that read or change keys, and all their options.
pub(crate) const DATA: &[Form] = &[
    form("append", &[Key, Value]),
    form("bitcount", &[Key]),
    form("bitcount", &[Key, Index, Index]).label("bitcount start end"),
    form("bitcount", &[Key, Index, Index, OneOf(UNITS)]).label("bitcount start end unit").weight(20),
    form("bitpos", &[Key, Bit]),
    form("bitpos", &[Key, Bit, Index]).label("bitpos start"),
    form("bitpos", &[Key, Bit, Index, Index]).label("bitpos start end"),
    form("bitpos", &[Key, Bit, Index, Index, OneOf(UNITS)]).label("bitpos start end unit").weight(20),
    form("copy", &[Key, Key]).options(&[opt("DB", &[Database], 0), opt("REPLACE", &[], 0)]).weight(20),
    form("dbsize", &[]).compare(Compare::Dbsize).weight(4),
    form("decr", &[Key]),
    form("decrby", &[Key, Integer]),
    form("del", &[Key]).more(&[Key]),
    form("exists", &[Key]).more(&[Key]),
    form("expire", &[Key, Seconds]).options(EXPIRE_OPTIONS).weight(30),
    form("expireat", &[Key, AtSeconds]).options(EXPIRE_OPTIONS).weight(30),
    form("expiretime", &[Key]).compare(Compare::Near(SKEW)),
    form("flushall", &[]).options(&[opt("ASYNC", &[], 1), opt("SYNC", &[], 1)]).weight(8),
    form("flushdb", &[]).options(&[opt("ASYNC", &[], 1), opt("SYNC", &[], 1)]).weight(8),
    form("get", &[Key]).weight(20),
    form("getbit", &[Key, BitOffset]),
    form("getdel", &[Key]),
    form("getex", &[Key]).options(GETEX_OPTIONS).weight(30),
    form("getrange", &[Key, Index, Index]),
    form("getset", &[Key, Value]),
    form("incr", &[Key]),
    form("incrby", &[Key, Integer]),
    form("incrbyfloat", &[Key, Float]).weight(20),
    form("keys", &[Pattern]).compare(Compare::Set),
    form("lcs", &[Key, Key]).options(LCS_OPTIONS).weight(30),
    form("mget", &[Key]).more(&[Key]),
    form("mset", &[Key, Value]).more(&[Key, Value]),
    form("msetnx", &[Key, Value]).more(&[Key, Value]),
    form("persist", &[Key]),
    form("pexpire", &[Key, Millis]).options(EXPIRE_OPTIONS).weight(30),
    form("pexpireat", &[Key, AtMillis]).options(EXPIRE_OPTIONS).weight(30),
    form("pexpiretime", &[Key]).compare(Compare::Near(1000 * SKEW)),
    form("psetex", &[Key, Millis, Value]),
    form("pttl", &[Key]).compare(Compare::Near(1000 * SKEW)),
    form("randomkey", &[]).compare(Compare::RandomKey).weight(4),
    form("rename", &[Key, Key]),
    form("renamenx", &[Key, Key]),
    form("scan", &[Cursor]).options(SCAN_OPTIONS).compare(Compare::Scan).weight(14),
    form("set", &[Key, Value]).options(SET_OPTIONS).weight(60),
    form("setbit", &[Key, BitOffset, Bit]),
    form("setex", &[Key, Seconds, Value]),
    form("setnx", &[Key, Value]),
    form("setrange", &[Key, Offset, Value]),
    form("strlen", &[Key]),
    form("substr", &[Key, Index, Index]),
    form("touch", &[Key]).more(&[Key]),
    form("ttl", &[Key]).compare(Compare::Near(SKEW)),
    form("type", &[Key]),
    form("unlink", &[Key]).more(&[Key]),
];

/// Keys that die while the test runs.
pub(crate) const MORTAL: &[Form] = &[
    form("set", &[Key, Value, Word("PX"), OneOf(&["1", "2", "3"])])
        .label("set, soon dead")
        .compare(Compare::Mortal),
    form("psetex", &[Key, OneOf(&["1", "2", "3"]), Value])
        .label("psetex, soon dead")
        .compare(Compare::Mortal),
    form("pexpire", &[Key, OneOf(&["1", "2", "3"])]).label("pexpire, soon dead").compare(Compare::Mortal),
    form("getex", &[Key, Word("PX"), OneOf(&["1", "2", "3"])])
        .label("getex, soon dead")
        .compare(Compare::Mortal),
];

const HELLO_OPTIONS: &[Opt] = &[opt("AUTH", &[Word("default"), Value], 0), opt("SETNAME", &[Name], 0)];

/// Commands about the connection and the server.
pub(crate) const CONTROL: &[Form] = &[
    form("auth", &[Value]).fails().weight(4),
    form("auth", &[OneOf(&["default", "nobody"]), Value]).label("auth user").weight(16),
    form("client getname", &[]),
    form("client id", &[]),
    form("client info", &[]),
    form("client list", &[]),
    form("client list", &[Word("ID"), Count]).more(&[Count]).label("client list ID"),
    form("client list", &[Word("TYPE"), OneOf(&["normal", "master", "replica", "pubsub"])])
        .label("client list TYPE"),
    form("client no-evict", &[OneOf(&["ON", "OFF"])]),
    form("client setinfo", &[OneOf(&["LIB-NAME", "LIB-VER"]), Name]),
    form("client setname", &[Name]),
    form("command", &[]).weight(8),
    form("command count", &[]),
    form("command docs", &[CommandName]).more(&[CommandName]).weight(8),
    form("command getkeys", &[OneOf(&["get", "SET", "mset", "del", "ping", "mget", "lpush"])])
        .more(&[Key])
        .weight(20),
    form("command info", &[CommandName]).more(&[CommandName]),
    form("command list", &[]).weight(8),
    form("config get", &[OneOf(&["save", "appendonly", "proto-max-bulk-len", "*max*", "nonsense"])]),
    form("echo", &[Value]),
    form("hello", &[]).compare(Compare::Hello).weight(8),
    form("hello", &[OneOf(&["2", "3", "3"])])
        .label("hello version")
        .options(HELLO_OPTIONS)
        .compare(Compare::Hello)
        .weight(20),
    form("info", &[]).weight(8),
    form("info", &[OneOf(&["server", "replication", "clients", "everything", "nonsense"])])
        .label("info section"),
    form("ping", &[]),
    form("ping", &[Value]).label("ping message"),
    form("quit", &[]).compare(Compare::Quit).weight(8),
    form("reset", &[]).weight(8),
    form("select", &[Database]),
    form("time", &[]).compare(Compare::Time),
    form("wait", &[Word("0"), Word("0")]),
];

/// What a server that is part of a cluster answers; compared with a Redis that is.
pub(crate) const CLUSTER: &[Form] = &[
    form("asking", &[]),
    form("cluster countkeysinslot", &[Slot]).fails(),
    form("cluster info", &[]),
    form("cluster keyslot", &[Key]),
    form("cluster myid", &[]),
    form("cluster nodes", &[]),
    form("cluster shards", &[]),
    form("cluster slots", &[]),
    form("hello", &[OneOf(&["2", "3", "3"])]),
    form("readonly", &[]),
    form("readwrite", &[]),
];

/// What is queued in transactions beside [`DATA`].
pub(crate) const QUEUED: &[Form] = &[
    form("ping", &[]),
    form("echo", &[Value]),
    form("select", &[Database]),
    form("ping", &[Value]).label("ping message"),
];

/// What transactions are made with.
pub(crate) const TRANSACTIONS: &[&str] = &["discard", "exec", "multi", "unwatch", "watch"];

/// Commands that no server has.
pub(crate) const UNKNOWN: &[Form] = &[
    form("nonsense", &[]).more(&[Value]).fails(),
    form("client nonsense", &[]).more(&[Value]).fails(),
    form("command nonsense", &[]).fails(),
    form("config nonsense", &[]).fails(),
    form("", &[]).more(&[Value]).fails(),
];

/// Commands of Redis that are about something else than strings.
pub(crate) const OTHERS: &[Form] = &[
    form("llen", &[Key]).fails(),
    form("hget", &[Key, Key]).fails(),
    form("publish", &[Key, Value]).fails(),
    form("eval", &[Value, Word("0")]).fails(),
];
