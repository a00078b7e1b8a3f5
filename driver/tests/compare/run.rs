//! Episodes on both servers, in step; what differs is made short.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::thread;
use std::time::{Duration, Instant};

use super::commands::{CLUSTER, CONTROL, Compare, DATA, Form, MORTAL, SKEW, TRANSACTIONS};
use super::exceptions::EXCEPTIONS;
use super::generate::{Command, Kind};
use super::wire::{Wire, elements, integer, is_error, is_null, shown, text};
use crate::support::PATIENCE;

/// Most commands that are under way on one connection.
const BATCH: usize = 50;

/// The two servers.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    pub(crate) redis: String,
    /// Where the two connections to Quorate go.
    pub(crate) ours: [String; 2],
}

/// A difference that no exception covers.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) command: Command,
    redis: Vec<u8>,
    ours: Vec<u8>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    redis: {}\n    ours:  {}", self.command, shown(&self.redis), shown(&self.ours))
    }
}

/// How often something was done.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) done: u64,
    /// Of those, in RESP3.
    pub(crate) resp3: u64,
    /// Of those, with a null for a reply.
    pub(crate) null: u64,
    pub(crate) failed: u64,
}

/// What a run has met.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) commands: u64,
    pub(crate) counts: BTreeMap<String, Count>,
    pub(crate) exceptions: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn count(&mut self, command: &Command, reply: &[u8], is_resp3: bool) {
        for label in &command.counts {
            let count = self.counts.entry(label.clone()).or_default();
            if is_error(reply) {
                count.failed += 1;
            } else {
                count.done += 1;
                count.resp3 += u64::from(is_resp3);
                count.null += u64::from(is_null(reply));
            }
        }
    }
}

/// One connection to each server.
struct Pair {
    redis: Wire,
    ours: Wire,
    is_resp3: bool,
    /// The commands that are queued by MULTI.
    queued: Option<Vec<Command>>,
}

impl Pair {
    fn connect(servers: &Servers, which: usize) -> io::Result<Self> {
        let (redis, ours) = (Wire::connect(&servers.redis)?, Wire::connect(&servers.ours[which])?);
        Ok(Self { redis, ours, is_resp3: false, queued: None })
    }

    fn both(&mut self, words: &[&[u8]]) -> io::Result<(Vec<u8>, Vec<u8>)> {
        Ok((self.redis.ask(words)?, self.ours.ask(words)?))
    }
}

/// Gives both servers no keys.
fn clear(servers: &Servers) -> io::Result<()> {
    for address in [&servers.redis, &servers.ours[0]] {
        let reply = Wire::connect(address)?.ask(&["FLUSHALL"])?;
        if reply != b"+OK\r\n" {
            return Err(invalid("FLUSHALL", &reply));
        }
    }
    Ok(())
}

/// What a whole iteration gives that begins with this command.
fn scan(wire: &mut Wire, command: &[Vec<u8>]) -> io::Result<BTreeSet<Vec<u8>>> {
    let mut words = command.to_vec();
    let mut found = BTreeSet::new();
    loop {
        let reply = wire.ask(&words)?;
        let [cursor, keys] = elements(&reply)[..] else { return Err(invalid("SCAN", &reply)) };
        found.extend(elements(keys).iter().map(|key| key.to_vec()));
        if text(cursor) == b"0" {
            return Ok(found);
        }
        words[1] = text(cursor).to_vec();
    }
}

fn invalid(what: &str, reply: &[u8]) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("{what} was answered {}", shown(reply)))
}

/// Runs an episode, from no keys on new connections, up to the first difference.
pub(crate) fn play(
    servers: &Servers,
    commands: &[Command],
    tally: &mut Tally,
) -> io::Result<Option<Difference>> {
    clear(servers)?;
    let mut pairs = [Pair::connect(servers, 0)?, Pair::connect(servers, 1)?];
    let mut rest = commands;
    while let Some(first) = rest.first() {
        let fits = |command: &&Command| !command.is_alone() && command.connection == first.connection;
        let length = rest.iter().take(BATCH).take_while(fits).count().max(1);
        let batch;
        (batch, rest) = rest.split_at(length);
        let pair = &mut pairs[first.connection];
        let bytes: Vec<u8> = batch.iter().flat_map(Command::bytes).collect();
        pair.redis.send(&bytes)?;
        pair.ours.send(&bytes)?;
        let mut found = None;
        for command in batch {
            let redis = pair.redis.reply()?.unwrap_or_default();
            let ours = pair.ours.reply()?.unwrap_or_default();
            // What is under way is waited for even then: the next episode must not meet it.
            if found.is_none() {
                tally.commands += 1;
                found = look(pair, command, redis, ours, tally)?;
            }
            if command.compare == Compare::Quit {
                *pair = Pair::connect(servers, command.connection)?;
            }
        }
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The difference between two replies, if there is one that no exception covers. Counts what was done.
fn look(
    pair: &mut Pair,
    command: &Command,
    redis: Vec<u8>,
    ours: Vec<u8>,
    tally: &mut Tally,
) -> io::Result<Option<Difference>> {
    let difference = |redis, ours| Ok(Some(Difference { command: command.clone(), redis, ours }));
    if redis.is_empty() || ours.is_empty() {
        // Closed.
        return if redis == ours { Ok(None) } else { difference(redis, ours) };
    }
    if !judge(pair, command, &redis, &ours, tally)? {
        if !is_covered(Kind::Mixed, command, &redis, &ours, tally) {
            return difference(redis, ours);
        }
        tally.count(command, &ours, pair.is_resp3);
    }
    if command.is("reset") && !is_error(&redis) {
        pair.is_resp3 = false;
    }
    if command.is("hello") && !is_error(&redis) {
        // Only RESP3 has maps.
        pair.is_resp3 = redis.starts_with(b"%");
    }
    if command.compare == Compare::Hello && is_error(&redis) {
        let (redis, ours) = pair.both(&[b"CLIENT", b"GETNAME"])?;
        if redis != ours && !is_covered(Kind::Mixed, command, &redis, &ours, tally) {
            return difference(redis, ours);
        }
        pair.both(&[b"CLIENT", b"SETNAME", text(&redis)])?;
    }
    Ok(None)
}

/// Whether an exception covers the difference. Counts it.
pub(crate) fn is_covered(
    kind: Kind,
    command: &Command,
    redis: &[u8],
    ours: &[u8],
    tally: &mut Tally,
) -> bool {
    let is_apart = |kind| matches!(kind, Kind::Bytes | Kind::Watch);
    let mut those = EXCEPTIONS
        .iter()
        .filter(|exception| exception.kind == kind || !is_apart(exception.kind) && !is_apart(kind));
    let found = those.find(|exception| (exception.covers)(command, redis, ours));
    if let Some(exception) = found {
        *tally.exceptions.entry(exception.name).or_default() += 1;
    }
    found.is_some()
}

/// Whether the replies are equal, as this command's are compared. Counts what was done then.
fn judge(
    pair: &mut Pair,
    command: &Command,
    redis: &[u8],
    ours: &[u8],
    tally: &mut Tally,
) -> io::Result<bool> {
    if command.is("multi") && redis == b"+OK\r\n" {
        pair.queued = Some(Vec::new());
    } else if redis == b"+QUEUED\r\n"
        && let Some(queued) = &mut pair.queued
    {
        queued.push(command.clone());
        return Ok(ours == redis);
    } else if command.is("exec") || command.is("discard") || command.is("reset") {
        let queued = pair.queued.take().unwrap_or_default();
        if let (b'*', [theirs @ .., _]) = (redis[0], &elements(redis)[..])
            && theirs.len() + 1 == queued.len()
        {
            return Ok(judge_exec(&queued, command, [redis, ours], pair.is_resp3, tally));
        }
    }
    let equal = match command.compare {
        Compare::Scan if [redis, ours].iter().all(|reply| reply.starts_with(b"*2\r\n")) => {
            scan(&mut pair.redis, &command.words)? == scan(&mut pair.ours, &command.words)?
        }
        Compare::RandomKey if !is_null(redis) && !is_null(ours) && !is_error(ours) => {
            let words: [&[u8]; 3] = [b"EXISTS", text(redis), text(ours)];
            let there = pair.both(&words)?;
            there == (b":2\r\n".to_vec(), b":2\r\n".to_vec())
        }
        Compare::Dbsize if !is_error(redis) && !is_error(ours) => same_in_the_end(pair, redis, ours)?,
        Compare::Quit if redis == b"+OK\r\n" => {
            redis == ours && pair.redis.reply()?.is_none() && pair.ours.reply()?.is_none()
        }
        Compare::Mortal if !is_error(redis) => {
            // Time is known to Quorate's state by what is written.
            thread::sleep(Duration::from_millis(8));
            pair.both(&[b"DEL", b"no such key"])?;
            redis == ours
        }
        compare => equal(compare, redis, ours),
    };
    if equal {
        tally.count(command, redis, pair.is_resp3);
    }
    Ok(equal)
}

fn judge_exec(
    queued: &[Command],
    exec: &Command,
    [redis, ours]: [&[u8]; 2],
    is_resp3: bool,
    tally: &mut Tally,
) -> bool {
    let (theirs, mine) = (elements(redis), elements(ours));
    if theirs.len() != mine.len() || !ours.starts_with(b"*") {
        return false;
    }
    let replies = || queued.iter().zip(theirs.iter().zip(&mine));
    let equal = replies().all(|(command, (redis, ours))| {
        equal(command.compare, redis, ours) || is_covered(Kind::Mixed, command, redis, ours, tally)
    });
    if equal {
        tally.count(exec, redis, is_resp3);
        replies().for_each(|(command, (redis, _))| tally.count(command, redis, is_resp3));
    }
    equal
}

fn equal(compare: Compare, redis: &[u8], ours: &[u8]) -> bool {
    if redis == ours {
        return true;
    }
    match compare {
        Compare::Near(bound) => match (integer(redis), integer(ours)) {
            (Some(redis), Some(ours)) => {
                redis >= 0 && ours >= 0 && redis.abs_diff(ours) <= bound.unsigned_abs()
            }
            _ => false,
        },
        Compare::Time => {
            let seconds = |reply| {
                let [seconds, micros] = elements(reply)[..] else { return None };
                let micros: u64 = str::from_utf8(text(micros)).ok()?.parse().ok()?;
                (micros < 1_000_000).then(|| str::from_utf8(text(seconds)).ok()?.parse::<i64>().ok())?
            };
            let near = |(a, b): (i64, i64)| a.abs_diff(b) <= SKEW.unsigned_abs();
            seconds(redis).zip(seconds(ours)).is_some_and(near)
        }
        Compare::Set => {
            let sorted = |reply| {
                let mut all = elements(reply);
                all.sort_unstable();
                all
            };
            // With the same first byte and the same number of elements.
            redis[0] == ours[0] && sorted(redis) == sorted(ours)
        }
        _ => false,
    }
}

/// Waits until both count the same keys, as they do when those that are dead are removed.
fn same_in_the_end(pair: &mut Pair, redis: &[u8], ours: &[u8]) -> io::Result<bool> {
    let until = Instant::now() + PATIENCE / 3;
    let mut replies = (redis.to_vec(), ours.to_vec());
    while replies.0 != replies.1 {
        if Instant::now() > until {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(5));
        replies = pair.both(&[b"DBSIZE"])?;
    }
    Ok(true)
}

/// The shortest sequence found that still ends with a difference in the replies to the same command; an empty one if it does
/// not come again.
pub(crate) fn shrink(
    servers: &Servers,
    commands: &[Command],
    found: &Difference,
) -> io::Result<Vec<Command>> {
    let differs = |commands: &[Command]| -> io::Result<bool> {
        let difference = play(servers, commands, &mut Tally::default())?;
        Ok(difference.is_some_and(|difference| difference.command.words == found.command.words))
    };
    if !differs(commands)? {
        return Ok(Vec::new());
    }
    // It need not be the shortest.
    let until = Instant::now() + PATIENCE;
    let mut kept = commands.to_vec();
    let mut chunk = kept.len().div_ceil(2);
    loop {
        let mut at = 0;
        while at < kept.len() && Instant::now() < until {
            let mut fewer = kept.clone();
            fewer.drain(at..kept.len().min(at + chunk));
            if differs(&fewer)? {
                kept = fewer;
            } else {
                at += chunk;
            }
        }
        if chunk == 1 {
            return Ok(kept);
        }
        chunk = chunk.div_ceil(2);
    }
}

/// All forms of a kind of episode.
fn forms(kind: Kind) -> &'static [&'static [Form]] {
    match kind {
        Kind::Mixed => &[DATA, CONTROL, MORTAL],
        Kind::Keys => &[DATA],
        Kind::Cluster => &[CLUSTER],
        Kind::Bytes | Kind::Watch => &[],
    }
}

/// All that is counted in a kind of episode.
pub(crate) fn labels(kind: Kind) -> BTreeSet<String> {
    let transactions: &[&str] = if kind == Kind::Mixed { TRANSACTIONS } else { &[] };
    let mut labels: BTreeSet<_> = transactions.iter().map(|&label| label.to_owned()).collect();
    for form in forms(kind).iter().copied().flatten().filter(|form| !form.fails) {
        labels.insert(form.label.to_owned());
        labels.extend(form.options.iter().map(|option| format!("{} {}", form.name, option.word)));
    }
    labels
}
