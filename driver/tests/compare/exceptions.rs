//! The differences that are meant: each is a row of `src/docs/redis_compatibility.md`, and says here exactly which pairs of
//! replies it covers.

use std::collections::{BTreeMap, BTreeSet};

use super::generate::Command;
use super::wire::{elements, integer, is_null, text};

/// A difference that the page explains.
#[derive(Debug)]
pub(crate) struct Exception {
    /// Its name in the page.
    pub(crate) name: &'static str,
    /// Whether it covers these replies of Redis and of Quorate.
    pub(crate) covers: fn(&Command, &[u8], &[u8]) -> bool,
}

/// All of them, in the page's order.
pub(crate) const EXCEPTIONS: &[Exception] = &[
    Exception { name: "hello-fields", covers: hello_fields },
    Exception { name: "hello-refused-sets-no-name", covers: hello_refused },
    Exception { name: "client-id-number", covers: client_id_number },
    Exception { name: "client-info-fields", covers: client_info_fields },
    Exception { name: "client-list-lines", covers: client_list_lines },
    Exception { name: "client-setinfo", covers: client_setinfo },
    Exception { name: "info-text", covers: info_text },
    Exception { name: "command-count", covers: command_count },
    Exception { name: "command-all", covers: command_all },
    Exception { name: "command-list", covers: command_list },
    Exception { name: "command-docs-text", covers: command_docs_text },
    Exception { name: "command-info-details", covers: command_info_details },
    Exception { name: "command-info-others", covers: command_info_others },
    Exception { name: "command-docs-others", covers: command_docs_others },
    Exception { name: "command-getkeys-others", covers: command_getkeys_others },
    Exception { name: "config-get-names", covers: config_get_names },
    Exception { name: "scan-from-anywhere", covers: scan_from_anywhere },
];

/// Commands of Redis that are asked for, and are none here.
const OTHERS: &[&[u8]] = &[b"lpush"];

/// A map of either protocol.
fn map(reply: &[u8]) -> Option<BTreeMap<&[u8], &[u8]>> {
    if !matches!(reply[0], b'%' | b'*') {
        return None;
    }
    let all = elements(reply);
    Some(all.chunks_exact(2).map(|pair| (text(pair[0]), pair[1])).collect())
}

fn names<'a>(reply: &'a [u8]) -> Vec<&'a [u8]> {
    elements(reply).chunks(2).map(|pair| text(pair[0])).collect()
}

fn hello_fields(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    const OWN: [&[u8]; 3] = [b"version", b"id", b"mode"];
    let (Some(theirs), Some(mine)) = (map(redis), map(ours)) else { return false };
    let same = |name: &&[u8]| theirs.get(name) == mine.get(name) || OWN.contains(name);
    command.is("hello") && redis[0] == ours[0] && names(redis) == names(ours) && names(redis).iter().all(same)
}

/// The replies are those to CLIENT GETNAME after a HELLO that both refuse in the same words.
fn hello_refused(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let named = command.words.iter().any(|word| word == text(redis));
    let is_name = |reply: &[u8]| is_null(reply) || reply[0] == b'$';
    command.is("hello") && named && is_name(redis) && is_name(ours)
}

fn client_id_number(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    command.is_sub("client", "id") && integer(redis).is_some() && integer(ours).is_some()
}

/// The fields of a line of CLIENT LIST.
fn fields(line: &[u8]) -> BTreeMap<&[u8], &[u8]> {
    let words = line.trim_ascii_end().split(|&byte| byte == b' ');
    words
        .filter_map(|word| {
            let middle = word.iter().position(|&byte| byte == b'=')?;
            Some((&word[..middle], &word[middle + 1..]))
        })
        .collect()
}

fn client_info_fields(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    const SAME: [&[u8]; 8] = [b"name", b"db", b"sub", b"psub", b"ssub", b"multi", b"user", b"resp"];
    let (theirs, mine) = (fields(text(redis)), fields(text(ours)));
    let equal = SAME.iter().all(|name| theirs.contains_key(name) && theirs.get(name) == mine.get(name));
    command.is_sub("client", "info") && redis[0] == ours[0] && equal
}

fn client_list_lines(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let lines = |reply| text(reply).split(|&byte| byte == b'\n').all(|l| l.is_empty() || l.starts_with(b"id="));
    command.is_sub("client", "list") && redis[0] == ours[0] && b"$=".contains(&ours[0]) && lines(redis) && lines(ours)
}

fn client_setinfo(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let unknown = redis.starts_with(b"-ERR unknown subcommand") && !ours.starts_with(b"-ERR unknown subcommand");
    command.is_sub("client", "setinfo") && unknown
}

fn info_text(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let form = |reply: &[u8]| text(reply).is_empty() || text(reply).starts_with(b"# ");
    command.is("info") && redis[0] == ours[0] && b"$=".contains(&ours[0]) && form(redis) && form(ours)
}

fn command_count(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    command.is_sub("command", "count") && integer(redis) > integer(ours) && integer(ours) > Some(0)
}

fn command_all(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let bare = command.words.len() == 1 || (command.is_sub("command", "info") && command.words.len() == 2);
    let whole = |reply: &[u8]| elements(reply).iter().all(|entry| elements(entry).len() == 10);
    command.is("command") && bare && redis[0] == ours[0] && whole(redis) && whole(ours)
}

fn command_list(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let names = |reply: &[u8]| elements(reply).iter().all(|name| b"$+".contains(&name[0]));
    command.is_sub("command", "list") && redis[0] == ours[0] && names(redis) && names(ours)
}

fn command_docs_text(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let same = |(theirs, mine): (&[u8], &[u8])| theirs == mine;
    let named = command.words.len() > 2;
    let names = |reply| {
        let mut names = names(reply);
        names.sort_unstable();
        names
    };
    let (theirs, mine) = (names(redis), names(ours));
    let equal = theirs.len() == mine.len() && theirs.into_iter().zip(mine).all(same);
    command.is_sub("command", "docs") && redis[0] == ours[0] && (equal || !named)
}

/// Names, arities and positions of keys are the same; flags, categories, tips and key specifications need not be.
fn command_info_details(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let same = |(theirs, mine): (&&[u8], &&[u8])| {
        let (a, b) = (elements(theirs), elements(mine));
        let facts = |entry: &[&[u8]]| [0, 1, 3, 4, 5].map(|at| entry[at].to_vec());
        is_null(theirs) && is_null(mine) || a.len() == 10 && b.len() == 10 && facts(&a) == facts(&b)
    };
    let (theirs, mine) = (elements(redis), elements(ours));
    let equal = theirs.len() == mine.len() && theirs.iter().zip(&mine).all(same);
    command.is_sub("command", "info") && redis[0] == ours[0] && equal
}


fn command_docs_others(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let named = |reply| names(reply).into_iter().filter(|name| !OTHERS.contains(name)).collect::<BTreeSet<_>>();
    let more = names(redis).iter().any(|name| OTHERS.contains(name));
    command.is_sub("command", "docs") && redis[0] == ours[0] && more && named(redis) == named(ours)
}

fn command_getkeys_others(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let named = command.words.get(2).is_some_and(|name| OTHERS.contains(&&name[..]));
    let known = redis[0] == b'*' || redis == b"-ERR Invalid number of arguments specified for command\r\n";
    command.is_sub("command", "getkeys") && named && known && ours == b"-ERR Invalid command specified\r\n"
}

/// A cursor that no iteration gave: what comes behind it is in the order of each server.
fn scan_from_anywhere(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let begins = command.words.get(1).is_none_or(|cursor| cursor.iter().all(|byte| b"+-0".contains(byte)));
    let form = |reply: &[u8]| reply.starts_with(b"*2\r\n");
    command.is("scan") && !begins && form(redis) && form(ours)
}

fn command_info_others(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let (theirs, mine) = (elements(redis), elements(ours));
    let asked = command.words.get(2..).unwrap_or_default();
    let other = |word: &[u8]| OTHERS.iter().any(|name| word.eq_ignore_ascii_case(name));
    let covered = |(at, (theirs, mine)): (usize, (&&[u8], &&[u8]))| {
        is_null(mine) && (is_null(theirs) || other(&asked[at])) || elements(mine).len() == 10 && elements(theirs).len() == 10
    };
    let equal = theirs.len() == mine.len() && asked.len() == mine.len();
    command.is_sub("command", "info") && equal && theirs.iter().zip(&mine).enumerate().all(covered)
}

fn config_get_names(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    command.is_sub("config", "get") && redis[0] == ours[0] && map(redis).is_some() && map(ours).is_some()
}
