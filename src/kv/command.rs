//! The table of commands: what COMMAND tells clients, and where the parser looks up a name.

use bytes::{Bytes, BytesMut};

use Group::{Bitmap, Generic, Server, String};

use super::error::CommandError;
use super::number::parse_i64;
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
    /// Where its keys are.
    pub keys: KeyPositions,
    /// Where its documentation stands.
    pub group: Group,
    /// One line.
    pub summary: &'static str,
    /// Redis's version that had it first.
    pub since: &'static str,
    /// What it costs.
    pub complexity: &'static str,
    pub(super) parse: Parse,
}

/// Checks a command's arguments and packs it into the space that is given.
type Parse = fn(&[Bytes], &mut BytesMut) -> Result<Call, CommandError>;

/// Where keys are among a command's arguments, the name being argument 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPositions {
    /// The position of the first key; 0 when there is none.
    pub first: i32,
    /// The position of the last key, at most; -1 for the last argument.
    pub last: i32,
    /// From one key to the next.
    pub step: i32,
    /// Whether the argument before the first key tells how many there are: others may follow them.
    pub are_counted: bool,
}

impl KeyPositions {
    /// Of a command without keys.
    pub const NONE: Self = Self { first: 0, last: 0, step: 0, are_counted: false };
    /// Of a command all of whose arguments are keys.
    pub const ALL: Self = Self { first: 1, last: -1, step: 1, are_counted: false };

    /// The keys among `args`, whose first is the name.
    pub fn among(self, args: &[Bytes]) -> impl Iterator<Item = &Bytes> + use<'_> {
        let position = |at: i32| match usize::try_from(at) {
            Ok(at) => at,
            Err(_) => args.len().saturating_sub(at.unsigned_abs() as usize),
        };
        let (first, last) = (position(self.first), position(self.last));
        let told = args.get(first.saturating_sub(1)).filter(|_| self.are_counted);
        let most = told.map_or(usize::MAX, |count| {
            parse_i64(count).and_then(|count| usize::try_from(count).ok()).unwrap_or_default()
        });
        let keys = if first == 0 { None } else { args.get(first..) };
        let keys = keys.unwrap_or_default().iter().take((last + 1).saturating_sub(first));
        keys.step_by(position(self.step).max(1)).take(most)
    }
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
        COMMANDS.get(position_by_name(COMMANDS, name, |info| info.name)?)
    }

    /// Checks the arguments of this command, its name first, and packs it. `space` is kept between calls, so that many small
    /// commands share one allocation.
    pub(crate) fn call(&self, args: &[Bytes], space: &mut BytesMut) -> Result<Call, CommandError> {
        if self.takes(args.len()) { (self.parse)(args, space) } else { Err(CommandError::Arity(self.name)) }
    }

    /// Whether `args` arguments, the name among them, are a number that it takes.
    pub fn takes(&self, args: usize) -> bool {
        is_arity(self.arity, args)
    }

    const fn docs(self, group: Group, since: &'static str, summary: &'static str) -> Self {
        Self { group, since, summary, ..self }
    }

    const fn complexity(self, complexity: &'static str) -> Self {
        Self { complexity, ..self }
    }
}

/// No command's name is longer.
const LONGEST_NAME: usize = 24;

/// Where the row of this name, in any case, stands in a table in the order of names.
pub(crate) fn position_by_name<T>(table: &[T], name: &[u8], name_of: impl Fn(&T) -> &str) -> Option<usize> {
    let mut space = [0; LONGEST_NAME];
    let lower = space.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    table.binary_search_by(|row| name_of(row).as_bytes().cmp(lower)).ok()
}

/// Whether `args` arguments, the name among them, are what `arity` asks for: so many, or at least so many if it is negative.
pub(crate) const fn is_arity(arity: i32, args: usize) -> bool {
    let count = arity.unsigned_abs() as usize;
    if arity < 0 { args >= count } else { args == count }
}

const fn command(
    name: &'static str,
    arity: i32,
    flags: &'static [&'static str],
    keys: KeyPositions,
    parse: Parse,
) -> CommandInfo {
    CommandInfo {
        name,
        arity,
        flags,
        keys,
        group: Group::String,
        summary: "",
        since: "",
        complexity: "O(1)",
        parse,
    }
}

const READ: &[&str] = &["readonly"];
const READ_FAST: &[&str] = &["readonly", "fast"];
const WRITE: &[&str] = &["write"];
const WRITE_FAST: &[&str] = &["write", "fast"];
const GROW: &[&str] = &["write", "denyoom"];
const GROW_FAST: &[&str] = &["write", "denyoom", "fast"];
const GROW_COUNTED: &[&str] = &["write", "denyoom", "movablekeys"];

const NO_KEY: KeyPositions = KeyPositions::NONE;
const KEYS: KeyPositions = KeyPositions::ALL;
const ONE_KEY: KeyPositions = KeyPositions { last: 1, ..KEYS };
const TWO_KEYS: KeyPositions = KeyPositions { last: 2, ..KEYS };
const PAIRS: KeyPositions = KeyPositions { step: 2, ..KEYS };
const COUNTED_PAIRS: KeyPositions = KeyPositions { first: 2, are_counted: true, ..PAIRS };

/// All commands of the state machine, by name.
#[rustfmt::skip]
pub const COMMANDS: &[CommandInfo] = &[
    command("append", 3, GROW_FAST, ONE_KEY, parse::append)
        .docs(String, "2.0.0", "Append a value to a key")
        .complexity("O(N) where N is the length of the appended value, amortized."),
    command("bitcount", -2, READ, ONE_KEY, parse::bits::bitcount)
        .docs(Bitmap, "2.6.0", "Count set bits in a string")
        .complexity("O(N)"),
    command("bitpos", -3, READ, ONE_KEY, parse::bits::bitpos)
        .docs(Bitmap, "2.8.7", "Find first bit set or clear in a string")
        .complexity("O(N)"),
    command("copy", -3, GROW, TWO_KEYS, parse::keyspace::copy)
        .docs(Generic, "6.2.0", "Copy a key")
        .complexity("O(N) where N is the length of the value."),
    command("dbsize", 1, READ_FAST, NO_KEY, parse::dbsize)
        .docs(Server, "1.0.0", "Return the number of keys in the selected database"),
    command("decr", 2, GROW_FAST, ONE_KEY, parse::decr)
        .docs(String, "1.0.0", "Decrement the integer value of a key by one"),
    command("decrby", 3, GROW_FAST, ONE_KEY, parse::decrby)
        .docs(String, "1.0.0", "Decrement the integer value of a key by the given number"),
    command("del", -2, WRITE, KEYS, parse::del)
        .docs(Generic, "1.0.0", "Delete a key")
        .complexity("O(N) where N is the number of keys that will be removed."),
    command("delex", -2, WRITE_FAST, ONE_KEY, parse::set::delex)
        .docs(String, "8.4.0", "Conditionally removes the specified key based on value comparison"),
    command("exists", -2, READ_FAST, KEYS, parse::exists)
        .docs(Generic, "1.0.0", "Determine if a key exists")
        .complexity("O(N) where N is the number of keys to check."),
    command("expire", -3, WRITE_FAST, ONE_KEY, parse::expire::expire)
        .docs(Generic, "1.0.0", "Set a key's time to live in seconds"),
    command("expireat", -3, WRITE_FAST, ONE_KEY, parse::expire::expireat)
        .docs(Generic, "1.2.0", "Set the expiration for a key as a UNIX timestamp"),
    command("expiretime", 2, READ_FAST, ONE_KEY, parse::expire::expiretime)
        .docs(Generic, "7.0.0", "Get the expiration Unix timestamp for a key"),
    command("flushall", -1, WRITE, NO_KEY, parse::keyspace::flush)
        .docs(Server, "1.0.0", "Remove all keys from all databases")
        .complexity("O(N) where N is the total number of keys in all databases"),
    command("flushdb", -1, WRITE, NO_KEY, parse::keyspace::flush)
        .docs(Server, "1.0.0", "Remove all keys from the current database")
        .complexity("O(N) where N is the number of keys in the selected database"),
    command("get", 2, READ_FAST, ONE_KEY, parse::get)
        .docs(String, "1.0.0", "Get the value of a key"),
    command("getbit", 3, READ_FAST, ONE_KEY, parse::bits::getbit)
        .docs(Bitmap, "2.2.0", "Returns the bit value at offset in the string value stored at key"),
    command("getdel", 2, WRITE_FAST, ONE_KEY, parse::getdel)
        .docs(String, "6.2.0", "Get the value of a key and delete the key"),
    command("getex", -2, WRITE_FAST, ONE_KEY, parse::expire::getex)
        .docs(String, "6.2.0", "Get the value of a key and optionally set its expiration"),
    command("getrange", 4, READ, ONE_KEY, parse::getrange)
        .docs(String, "2.4.0", "Get a substring of the string stored at a key")
        .complexity("O(N) where N is the length of the returned string."),
    command("getset", 3, GROW_FAST, ONE_KEY, parse::getset)
        .docs(String, "1.0.0", "Set the string value of a key and return its old value"),
    command("incr", 2, GROW_FAST, ONE_KEY, parse::incr)
        .docs(String, "1.0.0", "Increment the integer value of a key by one"),
    command("incrby", 3, GROW_FAST, ONE_KEY, parse::incrby)
        .docs(String, "1.0.0", "Increment the integer value of a key by the given amount"),
    command("incrbyfloat", 3, GROW_FAST, ONE_KEY, parse::strings::incrbyfloat)
        .docs(String, "2.6.0", "Increment the float value of a key by the given amount"),
    command("keys", 2, READ, NO_KEY, parse::keyspace::keys)
        .docs(Generic, "1.0.0", "Find all keys matching the given pattern")
        .complexity("O(N) where N is the number of keys, if keys and pattern are short."),
    command("lcs", -3, READ, TWO_KEYS, parse::strings::lcs)
        .docs(String, "7.0.0", "Find longest common substring")
        .complexity("O(N*M) where N and M are the lengths of s1 and s2, respectively"),
    command("mget", -2, READ_FAST, KEYS, parse::mget)
        .docs(String, "1.0.0", "Get the values of all the given keys")
        .complexity("O(N) where N is the number of keys to retrieve."),
    command("mset", -3, GROW, PAIRS, parse::mset)
        .docs(String, "1.0.1", "Set multiple keys to multiple values")
        .complexity("O(N) where N is the number of keys to set."),
    command("msetex", -4, GROW_COUNTED, COUNTED_PAIRS, parse::set::msetex)
        .docs(String, "8.4.0", "Set multiple keys to multiple values with expiration")
        .complexity("O(N) where N is the number of keys to set."),
    command("msetnx", -3, GROW, PAIRS, parse::strings::msetnx)
        .docs(String, "1.0.1", "Set multiple keys to multiple values, only if none of the keys exist")
        .complexity("O(N) where N is the number of keys to set."),
    command("persist", 2, WRITE_FAST, ONE_KEY, parse::expire::persist)
        .docs(Generic, "2.2.0", "Remove the expiration from a key"),
    command("pexpire", -3, WRITE_FAST, ONE_KEY, parse::expire::pexpire)
        .docs(Generic, "2.6.0", "Set a key's time to live in milliseconds"),
    command("pexpireat", -3, WRITE_FAST, ONE_KEY, parse::expire::pexpireat)
        .docs(Generic, "2.6.0", "Set the expiration for a key as a UNIX timestamp specified in milliseconds"),
    command("pexpiretime", 2, READ_FAST, ONE_KEY, parse::expire::pexpiretime)
        .docs(Generic, "7.0.0", "Get the expiration Unix timestamp for a key in milliseconds"),
    command("psetex", 4, GROW, ONE_KEY, parse::set::psetex)
        .docs(String, "2.6.0", "Set the value and expiration in milliseconds of a key"),
    command("pttl", 2, READ_FAST, ONE_KEY, parse::expire::pttl)
        .docs(Generic, "2.6.0", "Get the time to live for a key in milliseconds"),
    command("randomkey", 1, READ, NO_KEY, parse::keyspace::randomkey)
        .docs(Generic, "1.0.0", "Return a random key from the keyspace"),
    command("rename", 3, WRITE, TWO_KEYS, parse::keyspace::rename)
        .docs(Generic, "1.0.0", "Rename a key"),
    command("renamenx", 3, WRITE_FAST, TWO_KEYS, parse::keyspace::renamenx)
        .docs(Generic, "1.0.0", "Rename a key, only if the new key does not exist"),
    command("scan", -2, READ, NO_KEY, parse::scan)
        .docs(Generic, "2.8.0", "Incrementally iterate the keys space")
        .complexity("O(COUNT) for every call. O(N) for a complete iteration."),
    command("set", -3, GROW, ONE_KEY, parse::set::set)
        .docs(String, "1.0.0", "Set the string value of a key"),
    command("setbit", 4, GROW, ONE_KEY, parse::bits::setbit)
        .docs(Bitmap, "2.2.0", "Sets or clears the bit at offset in the string value stored at key"),
    command("setex", 4, GROW, ONE_KEY, parse::set::setex)
        .docs(String, "2.0.0", "Set the value and expiration of a key"),
    command("setnx", 3, GROW_FAST, ONE_KEY, parse::setnx)
        .docs(String, "1.0.0", "Set the value of a key, only if the key does not exist"),
    command("setrange", 4, GROW, ONE_KEY, parse::strings::setrange)
        .docs(String, "2.2.0", "Overwrite part of a string at key starting at the specified offset")
        .complexity("O(M) where M is the length of the part."),
    command("strlen", 2, READ_FAST, ONE_KEY, parse::strlen)
        .docs(String, "2.2.0", "Get the length of the value stored in a key"),
    command("substr", 4, READ, ONE_KEY, parse::getrange)
        .docs(String, "1.0.0", "Get a substring of the string stored at a key")
        .complexity("O(N) where N is the length of the returned string."),
    command("touch", -2, READ_FAST, KEYS, parse::exists)
        .docs(Generic, "3.2.1", "Count the keys that exist; no access times are kept")
        .complexity("O(N) where N is the number of keys that will be touched."),
    command("ttl", 2, READ_FAST, ONE_KEY, parse::expire::ttl)
        .docs(Generic, "1.0.0", "Get the time to live for a key in seconds"),
    command("type", 2, READ_FAST, ONE_KEY, parse::keyspace::type_of)
        .docs(Generic, "1.0.0", "Determine the type stored at key"),
    command("unlink", -2, WRITE_FAST, KEYS, parse::del)
        .docs(Generic, "4.0.0", "Delete keys; the same as DEL")
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
            info.keys.among(&args).map(|key| key.to_vec()).collect::<Vec<_>>().concat()
        };
        assert_eq!(keys("get a"), b"a");
        assert_eq!(keys("set a v nx get"), b"a");
        assert_eq!(keys("mget a b c"), b"abc");
        assert_eq!(keys("mset a 1 b 2 c 3"), b"abc");
        assert_eq!(keys("mset a 1 b"), b"ab");
        assert_eq!(keys("rename a b"), b"ab");
        assert_eq!(keys("msetex 2 a 1 b 2 ex 10"), b"ab");
        assert_eq!(keys("msetex 9 a 1"), b"a");
        assert_eq!(keys("msetex -1 a 1"), b"");
        assert_eq!(keys("msetex x a 1"), b"");
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
