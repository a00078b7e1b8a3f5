//! The table of commands: what COMMAND tells clients, and where the parser looks up a name.

use bytes::Bytes;

use super::error::CommandError;
use super::parse::{self, Call};

/// One command, with the facts that Redis's COMMAND and COMMAND DOCS give.
#[derive(Debug, Clone, Copy)]
pub struct CommandInfo {
    /// Its name, in lower case.
    pub name: &'static str,
    /// How many arguments it takes, the name among them; negative for "at least so many".
    pub arity: i32,
    /// Redis's flags: `write` or `readonly`, `denyoom`, `fast`.
    pub flags: &'static [&'static str],
    /// The position of its first key; 0 when it has none.
    pub first_key: i32,
    /// The position of its last key; -1 for the last argument.
    pub last_key: i32,
    /// From one key to the next.
    pub key_step: i32,
    /// Where its documentation stands.
    pub group: Group,
    /// One line.
    pub summary: &'static str,
    /// Redis's version that had it first.
    pub since: &'static str,
    /// What it costs.
    pub complexity: &'static str,
    pub(super) parse: fn(&[Bytes]) -> Result<Call, CommandError>,
}

/// Redis's groups of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Group {
    /// Strings as rows of bits.
    Bitmap,
    /// Keys of any type.
    Generic,
    /// The server.
    Server,
    /// Strings.
    String,
}

impl Group {
    /// Redis's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bitmap => "bitmap",
            Self::Generic => "generic",
            Self::Server => "server",
            Self::String => "string",
        }
    }
}

impl CommandInfo {
    /// The command of this name, in any case.
    pub fn find(name: &[u8]) -> Option<&'static Self> {
        let lower = |byte: &u8| byte.to_ascii_lowercase();
        let at = COMMANDS.binary_search_by(|info| info.name.bytes().cmp(name.iter().map(lower))).ok()?;
        COMMANDS.get(at)
    }

    /// Whether `args` arguments, the name among them, are a number that it takes.
    pub fn takes(&self, args: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { args >= arity } else { args == arity }
    }

    /// The keys among `args`, whose first is the name.
    pub fn keys_in<'a>(&self, args: &'a [Bytes]) -> impl Iterator<Item = &'a Bytes> {
        let position = |at: i32| match usize::try_from(at) {
            Ok(at) => at,
            Err(_) => args.len().saturating_sub(at.unsigned_abs() as usize),
        };
        let (first, last) = (position(self.first_key), position(self.last_key));
        let step = position(self.key_step).max(1);
        let keys = if first == 0 { None } else { args.get(first..) };
        keys.unwrap_or_default().iter().take((last + 1).saturating_sub(first)).step_by(step)
    }

    const fn new(name: &'static str, arity: i32, parse: fn(&[Bytes]) -> Result<Call, CommandError>) -> Self {
        Self {
            name,
            arity,
            flags: &[],
            first_key: 1,
            last_key: 1,
            key_step: 1,
            group: Group::String,
            summary: "",
            since: "1.0.0",
            complexity: "O(1)",
            parse,
        }
    }

    const fn flags(self, flags: &'static [&'static str]) -> Self {
        Self { flags, ..self }
    }

    const fn keys(self, first_key: i32, last_key: i32, key_step: i32) -> Self {
        Self { first_key, last_key, key_step, ..self }
    }

    const fn docs(self, group: Group, since: &'static str, summary: &'static str) -> Self {
        Self { group, since, summary, ..self }
    }

    const fn complexity(self, complexity: &'static str) -> Self {
        Self { complexity, ..self }
    }
}

const READ: &[&str] = &["readonly"];
const READ_FAST: &[&str] = &["readonly", "fast"];
const WRITE: &[&str] = &["write"];
const WRITE_FAST: &[&str] = &["write", "fast"];
const GROW: &[&str] = &["write", "denyoom"];
const GROW_FAST: &[&str] = &["write", "denyoom", "fast"];

/// All commands of the state machine, by name.
pub const COMMANDS: &[CommandInfo] = &[
    CommandInfo::new("append", 3, parse::append)
        .flags(GROW_FAST)
        .docs(Group::String, "2.0.0", "Append a value to a key")
        .complexity("O(N) where N is the length of the appended value, amortized."),
    CommandInfo::new("bitcount", -2, parse::bits::bitcount)
        .flags(READ)
        .docs(Group::Bitmap, "2.6.0", "Count set bits in a string")
        .complexity("O(N)"),
    CommandInfo::new("bitpos", -3, parse::bits::bitpos)
        .flags(READ)
        .docs(Group::Bitmap, "2.8.7", "Find first bit set or clear in a string")
        .complexity("O(N)"),
    CommandInfo::new("copy", -3, parse::keyspace::copy)
        .flags(GROW)
        .keys(1, 2, 1)
        .docs(Group::Generic, "6.2.0", "Copy a key")
        .complexity("O(N) where N is the length of the value."),
    CommandInfo::new("dbsize", 1, parse::dbsize).flags(READ_FAST).keys(0, 0, 0).docs(
        Group::Server,
        "1.0.0",
        "Return the number of keys in the selected database",
    ),
    CommandInfo::new("decr", 2, parse::decr).flags(GROW_FAST).docs(
        Group::String,
        "1.0.0",
        "Decrement the integer value of a key by one",
    ),
    CommandInfo::new("decrby", 3, parse::decrby).flags(GROW_FAST).docs(
        Group::String,
        "1.0.0",
        "Decrement the integer value of a key by the given number",
    ),
    CommandInfo::new("del", -2, parse::del)
        .flags(WRITE)
        .keys(1, -1, 1)
        .docs(Group::Generic, "1.0.0", "Delete a key")
        .complexity("O(N) where N is the number of keys that will be removed."),
    CommandInfo::new("delex", -2, parse::set::delex).flags(WRITE_FAST).docs(
        Group::String,
        "8.4.0",
        "Conditionally removes the specified key based on value comparison",
    ),
    CommandInfo::new("exists", -2, parse::exists)
        .flags(READ_FAST)
        .keys(1, -1, 1)
        .docs(Group::Generic, "1.0.0", "Determine if a key exists")
        .complexity("O(N) where N is the number of keys to check."),
    CommandInfo::new("expire", -3, parse::expire::expire).flags(WRITE_FAST).docs(
        Group::Generic,
        "1.0.0",
        "Set a key's time to live in seconds",
    ),
    CommandInfo::new("expireat", -3, parse::expire::expireat).flags(WRITE_FAST).docs(
        Group::Generic,
        "1.2.0",
        "Set the expiration for a key as a UNIX timestamp",
    ),
    CommandInfo::new("expiretime", 2, parse::expire::expiretime).flags(READ_FAST).docs(
        Group::Generic,
        "7.0.0",
        "Get the expiration Unix timestamp for a key",
    ),
    CommandInfo::new("flushall", -1, parse::keyspace::flush)
        .flags(WRITE)
        .keys(0, 0, 0)
        .docs(Group::Server, "1.0.0", "Remove all keys from all databases")
        .complexity("O(N) where N is the total number of keys in all databases"),
    CommandInfo::new("flushdb", -1, parse::keyspace::flush)
        .flags(WRITE)
        .keys(0, 0, 0)
        .docs(Group::Server, "1.0.0", "Remove all keys from the current database")
        .complexity("O(N) where N is the number of keys in the selected database"),
    CommandInfo::new("get", 2, parse::get).flags(READ_FAST).docs(
        Group::String,
        "1.0.0",
        "Get the value of a key",
    ),
    CommandInfo::new("getbit", 3, parse::bits::getbit).flags(READ_FAST).docs(
        Group::Bitmap,
        "2.2.0",
        "Returns the bit value at offset in the string value stored at key",
    ),
    CommandInfo::new("getdel", 2, parse::getdel).flags(WRITE_FAST).docs(
        Group::String,
        "6.2.0",
        "Get the value of a key and delete the key",
    ),
    CommandInfo::new("getex", -2, parse::expire::getex).flags(WRITE_FAST).docs(
        Group::String,
        "6.2.0",
        "Get the value of a key and optionally set its expiration",
    ),
    CommandInfo::new("getrange", 4, parse::getrange)
        .flags(READ)
        .docs(Group::String, "2.4.0", "Get a substring of the string stored at a key")
        .complexity("O(N) where N is the length of the returned string."),
    CommandInfo::new("getset", 3, parse::getset).flags(GROW_FAST).docs(
        Group::String,
        "1.0.0",
        "Set the string value of a key and return its old value",
    ),
    CommandInfo::new("incr", 2, parse::incr).flags(GROW_FAST).docs(
        Group::String,
        "1.0.0",
        "Increment the integer value of a key by one",
    ),
    CommandInfo::new("incrby", 3, parse::incrby).flags(GROW_FAST).docs(
        Group::String,
        "1.0.0",
        "Increment the integer value of a key by the given amount",
    ),
    CommandInfo::new("incrbyfloat", 3, parse::strings::incrbyfloat).flags(GROW_FAST).docs(
        Group::String,
        "2.6.0",
        "Increment the float value of a key by the given amount",
    ),
    CommandInfo::new("keys", 2, parse::keyspace::keys)
        .flags(READ)
        .keys(0, 0, 0)
        .docs(Group::Generic, "1.0.0", "Find all keys matching the given pattern")
        .complexity("O(N) where N is the number of keys, if keys and pattern are short."),
    CommandInfo::new("lcs", -3, parse::strings::lcs)
        .flags(READ)
        .keys(1, 2, 1)
        .docs(Group::String, "7.0.0", "Find longest common substring")
        .complexity("O(N*M) where N and M are the lengths of s1 and s2, respectively"),
    CommandInfo::new("mget", -2, parse::mget)
        .flags(READ_FAST)
        .keys(1, -1, 1)
        .docs(Group::String, "1.0.0", "Get the values of all the given keys")
        .complexity("O(N) where N is the number of keys to retrieve."),
    CommandInfo::new("mset", -3, parse::mset)
        .flags(GROW)
        .keys(1, -1, 2)
        .docs(Group::String, "1.0.1", "Set multiple keys to multiple values")
        .complexity("O(N) where N is the number of keys to set."),
    CommandInfo::new("msetex", -4, parse::set::msetex)
        .flags(GROW)
        .keys(2, -1, 2)
        .docs(Group::String, "8.4.0", "Set multiple keys to multiple values with expiration")
        .complexity("O(N) where N is the number of keys to set."),
    CommandInfo::new("msetnx", -3, parse::strings::msetnx)
        .flags(GROW)
        .keys(1, -1, 2)
        .docs(Group::String, "1.0.1", "Set multiple keys to multiple values, only if none of the keys exist")
        .complexity("O(N) where N is the number of keys to set."),
    CommandInfo::new("persist", 2, parse::expire::persist).flags(WRITE_FAST).docs(
        Group::Generic,
        "2.2.0",
        "Remove the expiration from a key",
    ),
    CommandInfo::new("pexpire", -3, parse::expire::pexpire).flags(WRITE_FAST).docs(
        Group::Generic,
        "2.6.0",
        "Set a key's time to live in milliseconds",
    ),
    CommandInfo::new("pexpireat", -3, parse::expire::pexpireat).flags(WRITE_FAST).docs(
        Group::Generic,
        "2.6.0",
        "Set the expiration for a key as a UNIX timestamp specified in milliseconds",
    ),
    CommandInfo::new("pexpiretime", 2, parse::expire::pexpiretime).flags(READ_FAST).docs(
        Group::Generic,
        "7.0.0",
        "Get the expiration Unix timestamp for a key in milliseconds",
    ),
    CommandInfo::new("psetex", 4, parse::set::psetex).flags(GROW).docs(
        Group::String,
        "2.6.0",
        "Set the value and expiration in milliseconds of a key",
    ),
    CommandInfo::new("pttl", 2, parse::expire::pttl).flags(READ_FAST).docs(
        Group::Generic,
        "2.6.0",
        "Get the time to live for a key in milliseconds",
    ),
    CommandInfo::new("randomkey", 1, parse::keyspace::randomkey).flags(READ).keys(0, 0, 0).docs(
        Group::Generic,
        "1.0.0",
        "Return a random key from the keyspace",
    ),
    CommandInfo::new("rename", 3, parse::keyspace::rename).flags(WRITE).keys(1, 2, 1).docs(
        Group::Generic,
        "1.0.0",
        "Rename a key",
    ),
    CommandInfo::new("renamenx", 3, parse::keyspace::renamenx).flags(WRITE_FAST).keys(1, 2, 1).docs(
        Group::Generic,
        "1.0.0",
        "Rename a key, only if the new key does not exist",
    ),
    CommandInfo::new("scan", -2, parse::scan)
        .flags(READ)
        .keys(0, 0, 0)
        .docs(Group::Generic, "2.8.0", "Incrementally iterate the keys space")
        .complexity("O(COUNT) for every call. O(N) for a complete iteration."),
    CommandInfo::new("set", -3, parse::set::set).flags(GROW).docs(
        Group::String,
        "1.0.0",
        "Set the string value of a key",
    ),
    CommandInfo::new("setbit", 4, parse::bits::setbit).flags(GROW).docs(
        Group::Bitmap,
        "2.2.0",
        "Sets or clears the bit at offset in the string value stored at key",
    ),
    CommandInfo::new("setex", 4, parse::set::setex).flags(GROW).docs(
        Group::String,
        "2.0.0",
        "Set the value and expiration of a key",
    ),
    CommandInfo::new("setnx", 3, parse::setnx).flags(GROW_FAST).docs(
        Group::String,
        "1.0.0",
        "Set the value of a key, only if the key does not exist",
    ),
    CommandInfo::new("setrange", 4, parse::strings::setrange)
        .flags(GROW)
        .docs(Group::String, "2.2.0", "Overwrite part of a string at key starting at the specified offset")
        .complexity("O(M) where M is the length of the part."),
    CommandInfo::new("strlen", 2, parse::strlen).flags(READ_FAST).docs(
        Group::String,
        "2.2.0",
        "Get the length of the value stored in a key",
    ),
    CommandInfo::new("substr", 4, parse::getrange)
        .flags(READ)
        .docs(Group::String, "1.0.0", "Get a substring of the string stored at a key")
        .complexity("O(N) where N is the length of the returned string."),
    CommandInfo::new("touch", -2, parse::exists)
        .flags(READ_FAST)
        .keys(1, -1, 1)
        .docs(Group::Generic, "3.2.1", "Count the keys that exist; no access times are kept")
        .complexity("O(N) where N is the number of keys that will be touched."),
    CommandInfo::new("ttl", 2, parse::expire::ttl).flags(READ_FAST).docs(
        Group::Generic,
        "1.0.0",
        "Get the time to live for a key in seconds",
    ),
    CommandInfo::new("type", 2, parse::keyspace::type_of).flags(READ_FAST).docs(
        Group::Generic,
        "1.0.0",
        "Determine the type stored at key",
    ),
    CommandInfo::new("unlink", -2, parse::del)
        .flags(WRITE_FAST)
        .keys(1, -1, 1)
        .docs(Group::Generic, "4.0.0", "Delete keys; the same as DEL")
        .complexity("O(N) where N is the number of keys that will be removed."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn the_table_is_sorted_and_every_name_is_found_in_any_case() {
        let names: Vec<_> = COMMANDS.iter().map(|c| c.name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        for name in names {
            assert_eq!(CommandInfo::find(name.as_bytes()).map(|c| c.name), Some(name));
            assert_eq!(CommandInfo::find(name.to_ascii_uppercase().as_bytes()).map(|c| c.name), Some(name));
        }
        for name in ["", "ge", "gets", "zzz", "get ", "\u{e9}"] {
            assert!(CommandInfo::find(name.as_bytes()).is_none(), "{name}");
        }
    }

    #[test]
    fn keys_are_found_among_the_arguments() {
        let keys = |line: &'static str| {
            let args: Vec<_> = line.split(' ').map(|word| Bytes::from_static(word.as_bytes())).collect();
            let info = CommandInfo::find(&args[0]).unwrap();
            info.keys_in(&args).map(|key| key.to_vec()).collect::<Vec<_>>().concat()
        };
        assert_eq!(keys("get a"), b"a");
        assert_eq!(keys("set a v nx get"), b"a");
        assert_eq!(keys("mget a b c"), b"abc");
        assert_eq!(keys("mset a 1 b 2 c 3"), b"abc");
        assert_eq!(keys("mset a 1 b"), b"ab");
        assert_eq!(keys("scan 0 match a"), b"");
        assert_eq!(keys("dbsize"), b"");
        assert_eq!(keys("del"), b"");
    }

    #[test]
    fn arities_count_the_name() {
        let get = CommandInfo::find(b"get").unwrap();
        assert!(get.takes(2) && !get.takes(1) && !get.takes(3));
        let del = CommandInfo::find(b"del").unwrap();
        assert!(!del.takes(1) && del.takes(2) && del.takes(100));
    }
}
