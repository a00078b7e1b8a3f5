//! The differences that are meant: each is a row of `src/docs/redis_compatibility.md`, and says here exactly which pairs of
//! replies it covers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::generate::{Command, Kind};
use super::wire::{elements, integer, is_null, text};

/// A difference that the page explains.
#[derive(Debug)]
pub(crate) struct Exception {
    /// Its name in the page.
    pub(crate) name: &'static str,
    /// Where it is met.
    pub(crate) kind: Kind,
    /// Whether it covers these replies of Redis and of Quorate.
    pub(crate) covers: Covers,
}

type Covers = fn(&Command, &[u8], &[u8]) -> bool;

const fn mixed(name: &'static str, covers: Covers) -> Exception {
    Exception { name, kind: Kind::Mixed, covers }
}

const fn cluster(name: &'static str, covers: Covers) -> Exception {
    Exception { name, kind: Kind::Cluster, covers }
}

const fn bytes(name: &'static str, covers: Covers) -> Exception {
    Exception { name, kind: Kind::Bytes, covers }
}

/// All of them, in the page's order.
pub(crate) const EXCEPTIONS: &[Exception] = &[
    mixed("hello-fields", hello_fields),
    mixed("hello-refused-sets-no-name", hello_refused),
    mixed("client-id-number", client_id_number),
    mixed("client-info-fields", client_info_fields),
    mixed("client-list-lines", client_list_lines),
    mixed("client-setinfo", client_setinfo),
    mixed("info-text", info_text),
    mixed("command-count", command_count),
    mixed("command-all", command_all),
    mixed("command-list", command_list),
    mixed("command-docs-text", command_docs_text),
    mixed("command-info-details", command_info_details),
    mixed("command-info-others", command_info_others),
    mixed("command-docs-others", command_docs_others),
    mixed("command-getkeys-others", command_getkeys_others),
    mixed("config-get-names", config_get_names),
    mixed("commands-of-other-types", commands_of_other_types),
    mixed("scan-from-anywhere", scan_from_anywhere),
    mixed("bitcount-of-nothing", bitcount_of_nothing),
    mixed("bitpos-of-nothing", bitpos_of_nothing),
    mixed("getex-of-nothing", getex_of_nothing),
    cluster("cluster-countkeysinslot", cluster_count_keys),
    cluster("cluster-info-fields", cluster_info_fields),
    cluster("cluster-myid", cluster_myid),
    cluster("cluster-nodes-line", cluster_nodes_line),
    cluster("cluster-shards-node", cluster_shards_node),
    cluster("cluster-slots-node", cluster_slots_node),
    Exception { name: "watch-made-and-deleted", kind: Kind::Watch, covers: watch_made_and_deleted },
    bytes("nul-in-a-line", nul_in_a_line),
    bytes("million-arguments", million_arguments),
    bytes("long-bulk", long_bulk),
    bytes("http-is-answered-before", http),
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

fn names(reply: &[u8]) -> Vec<&[u8]> {
    elements(reply).chunks(2).map(|pair| text(pair[0])).collect()
}

fn hello_fields(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    const OWN: [&[u8]; 4] = [b"version", b"id", b"mode", b"role"];
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
    let lines =
        |reply| text(reply).split(|&byte| byte == b'\n').all(|l| l.is_empty() || l.starts_with(b"id="));
    command.is_sub("client", "list")
        && redis[0] == ours[0]
        && b"$=".contains(&ours[0])
        && lines(redis)
        && lines(ours)
}

fn client_setinfo(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let unknown =
        redis.starts_with(b"-ERR unknown subcommand") && !ours.starts_with(b"-ERR unknown subcommand");
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
    let named =
        |reply| names(reply).into_iter().filter(|name| !OTHERS.contains(name)).collect::<BTreeSet<_>>();
    let more = names(redis).iter().any(|name| OTHERS.contains(name));
    command.is_sub("command", "docs") && redis[0] == ours[0] && more && named(redis) == named(ours)
}

fn command_getkeys_others(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let named = command.words.get(2).is_some_and(|name| OTHERS.contains(&&name[..]));
    let known = redis[0] == b'*' || redis == b"-ERR Invalid number of arguments specified for command\r\n";
    command.is_sub("command", "getkeys") && named && known && ours == b"-ERR Invalid command specified\r\n"
}

fn commands_of_other_types(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let other = ["llen", "hget", "publish", "eval"].iter().any(|name| command.is(name));
    other && !redis.starts_with(b"-ERR unknown command") && ours.starts_with(b"-ERR unknown command")
}

/// What is wrong with arguments whatever the key holds.
fn is_wrong(ours: &[u8]) -> bool {
    ours == b"-ERR syntax error\r\n" || ours == b"-ERR value is not an integer or out of range\r\n"
}

fn bitcount_of_nothing(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    command.is("bitcount") && integer(redis) == Some(0) && is_wrong(ours)
}

fn bitpos_of_nothing(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    command.is("bitpos") && matches!(integer(redis), Some(0 | -1)) && is_wrong(ours)
}

fn getex_of_nothing(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let expire = ours == b"-ERR invalid expire time in 'getex' command\r\n";
    command.is("getex") && is_null(redis) && (expire || is_wrong(ours))
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
        is_null(mine) && (is_null(theirs) || other(&asked[at]))
            || elements(mine).len() == 10 && elements(theirs).len() == 10
    };
    let equal = theirs.len() == mine.len() && asked.len() == mine.len();
    command.is_sub("command", "info") && equal && theirs.iter().zip(&mine).enumerate().all(covered)
}

fn config_get_names(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let (Some(theirs), Some(mine)) = (map(redis), map(ours)) else { return false };
    command.is_sub("config", "get")
        && redis[0] == ours[0]
        && mine.keys().all(|name| theirs.contains_key(name))
}

fn cluster_count_keys(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let known = ours.starts_with(b"-ERR keys are not counted by slot");
    command.is_sub("cluster", "countkeysinslot") && integer(redis).is_some() && known
}

fn cluster_info_fields(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    const SAME: [&[u8]; 5] = [
        b"cluster_state:ok\r\n",
        b"cluster_slots_assigned:16384\r\n",
        b"cluster_slots_ok:16384\r\n",
        b"cluster_known_nodes:1\r\n",
        b"cluster_size:1\r\n",
    ];
    let has = |reply: &[u8]| SAME.iter().all(|line| reply.windows(line.len()).any(|there| there == *line));
    command.is_sub("cluster", "info") && redis[0] == ours[0] && has(redis) && has(ours)
}

fn watch_made_and_deleted(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    command.is("exec") && is_null(redis) && ours == b"*1\r\n+PONG\r\n"
}

fn is_node_name(text: &[u8]) -> bool {
    text.len() == 40 && text.iter().all(u8::is_ascii_hexdigit)
}

fn cluster_myid(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    command.is_sub("cluster", "myid") && is_node_name(text(redis)) && is_node_name(text(ours))
}

/// All words but the node's name, its address and its times are the same.
fn cluster_nodes_line(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    const OWN: [usize; 5] = [0, 1, 4, 5, 6];
    let words = |reply| text(reply).trim_ascii().split(|&byte| byte == b' ').collect::<Vec<_>>();
    let (theirs, mine) = (words(redis), words(ours));
    let same = theirs.iter().zip(&mine).enumerate().all(|(at, (a, b))| a == b || OWN.contains(&at));
    command.is_sub("cluster", "nodes") && redis[0] == ours[0] && theirs.len() == mine.len() && same
}

/// One shard, with the same slots, and one node with the same fields.
fn cluster_shards_node(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let shape = |reply| {
        let [shard] = elements(reply)[..] else { return None };
        let shard = map(shard)?;
        let [node] = elements(shard.get(&b"nodes"[..])?)[..] else { return None };
        let slots = shard.get(&b"slots"[..])?.to_vec();
        Some((slots, map(node)?.into_keys().map(<[u8]>::to_vec).collect::<Vec<_>>()))
    };
    let equal = shape(redis).is_some() && shape(redis) == shape(ours);
    command.is_sub("cluster", "shards") && redis[0] == ours[0] && equal
}

/// One range, with the same slots, and one node: its host, port, name and nothing else.
fn cluster_slots_node(command: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let shape = |reply| {
        let [range] = elements(reply)[..] else { return None };
        let [from, to, node] = elements(range)[..] else { return None };
        let [_, _, name, more] = elements(node)[..] else { return None };
        is_node_name(text(name)).then_some((integer(from), integer(to), more))
    };
    let equal = shape(redis).is_some() && shape(redis) == shape(ours);
    command.is_sub("cluster", "slots") && equal
}

/// Redis finds no end of a line with a NUL in it, and waits for more.
fn nul_in_a_line(sent: &Command, redis: &[u8], ours: &[u8]) -> bool {
    sent.words[0].contains(&0) && ours.starts_with(redis)
}

/// Whether a number in this range stands behind a `mark`.
fn announces(sent: &[u8], mark: u8, numbers: RangeInclusive<u64>) -> bool {
    sent.split(|&byte| byte == mark).skip(1).any(|rest| {
        let digits = rest.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default();
        str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .is_some_and(|n| numbers.contains(&n))
    })
}

fn million_arguments(sent: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let before = ours.strip_suffix(b"-ERR Protocol error: invalid multibulk length\r\n");
    let same = before.is_some_and(|before| redis.starts_with(before));
    announces(&sent.words[0], b'*', 1_048_577..=2_147_483_647) && same
}

fn long_bulk(sent: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let refused = [ours, b"-ERR Protocol error: invalid bulk length\r\n"].concat();
    announces(&sent.words[0], b'$', 8_388_609..=16_777_216) && redis == refused
}

fn http(sent: &Command, redis: &[u8], ours: &[u8]) -> bool {
    let sent = sent.words[0].to_ascii_lowercase();
    let is_http =
        [&b"post"[..], b"host:"].iter().any(|word| sent.windows(word.len()).any(|there| there == *word));
    is_http && redis.is_empty() && !ours.is_empty()
}
