//! `quorate bench`: a load generator for any server that speaks RESP.

mod clock;
mod connection;
mod generator;
mod load;
mod measurement;
mod plot;
mod report;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};

use super::flags::{self, LOCAL_NODES, Usage};
use super::{Failure, NOT_DONE, NOT_KNOWN, address, say};
use crate::process;
use generator::Outcome;
use load::{Distribution, Load, MAX_KEYS};
use report::Report;

const COMMAND: &str = "bench";

const HELP: &str = "\
usage: quorate bench [--address HOST:PORT,…] [FLAGS]

Sends SET and GET to any server that speaks RESP (Quorate, Redis, Valkey) and tells how many are
answered and how soon. A connection that is answered MOVED goes on where that points.

what is sent
  --reads PERCENT        so many of a hundred commands are GET, the others SET (50)
  --keys N               so many keys of 16 bytes, from key:000000000000 on (100000)
  --distribution NAME    which of them: uniform, zipf (exponent 0.99) or sequential (uniform)
  --value-bytes N        how long a value is (100)
  --seed N               the same seed sends the same commands (1)
  --wait REPLICAS        each SET is followed by WAIT REPLICAS 0 and done when both are answered, for
                         Redis and Valkey: with appendfsync always on every node a write is then on
                         the disks of so many replicas besides the master's

how it is sent
  --address LIST         where to, as HOST:PORT; of several each gets its share of the connections
                         (127.0.0.1:7101)
  --connections N        (64)
  --pipeline N           most commands in flight on each connection (1)
  --rate PER_SECOND      open loop: so many commands are due each second, at equal distances, and
                         latency counts from when a command was due, even if no connection was free
                         to send it (what a warm-up leaves unsent is dropped);
                         without this flag each reply lets the next command go

how long
  --warm-up SECONDS      not measured (1)
  --seconds N            measured (10)
  --requests N           measured until so many commands are answered, instead of --seconds

what is told
  --json                 one object on standard output instead of the table
  --plot FILE.svg        also draws latency by percentile, and throughput over time

Reads find something if the keys were written before:
  quorate bench --reads 0 --distribution sequential --warm-up 0 --keys 100000 --requests 100000

Commands count if they began in the time measured, even if their replies come later; those per
second are the replies that came in the time measured. Error replies are counted apart, by their
first word.

The object: what was asked for (addresses, connections, pipeline, reads_percent, keys, distribution,
value_bytes, wait, rate, requests, seed, warm_up_seconds); seconds: how long was measured; interrupted;
commands and per_second of both kinds; reads and writes, each with commands, per_second, not_found
(null replies), latency_us (null if there is no command; mean, p50, p90, p99, p99_9, p99_99 and max, in
microseconds) and each_second (replies in each second); errors: for each first word kind, count,
outside (of the time measured) and first (the text of the first); behind: commands of an open loop
that were due and could not be sent until 10 seconds after the end; unanswered: commands without a
reply 10 seconds after the end.

Exit codes: 0 measured; 2 a flag cannot be used; 3 the server cannot be reached, or no command was
done; 4 a connection broke, or commands were not answered.
";

/// Nanoseconds since a run began.
type Nanos = u64;

/// The longest run: a week.
const MAX_SECONDS: u64 = 7 * 24 * 3600;

/// Until when is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Seconds(u64),
    Requests(u64),
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Options {
    addresses: Vec<String>,
    connections: usize,
    pipeline: usize,
    reads: u64,
    keys: u64,
    distribution: Distribution,
    value_bytes: usize,
    /// How many replicas each write waits for, by a command of its own.
    wait: Option<u64>,
    rate: Option<u64>,
    seed: u64,
    warm_up: u64,
    until: Until,
    json: bool,
    plot: Option<PathBuf>,
}

impl Options {
    fn load(&self) -> Load {
        Load::new(self.seed, self.reads, self.keys, self.distribution, self.value_bytes, self.wait)
    }
}

pub(super) fn run(parser: Parser) -> Result<(), Failure> {
    let Some(options) = parse(parser)? else {
        print!("{HELP}");
        return Ok(());
    };
    let room = process::room_for_clients(options.connections);
    if room < options.connections {
        let what =
            format_args!("{} are more than the system lets one process have ({room})", options.connections);
        return Err(Usage::flag("connections", what).into());
    }
    let outcome = generator::run(&options)?;
    let report = Report { options: &options, outcome: &outcome };
    say(if options.json { report.json() } else { report.text().trim_end().to_owned() });
    if let Some(file) = &options.plot {
        draw(&report, file)?;
    }
    judge(&report, &outcome)
}

/// Whether what was measured is worth anything.
fn judge(report: &Report<'_>, outcome: &Outcome) -> Result<(), Failure> {
    let failed = |code, text: &str| Err(Failure::Failed { code, text: text.to_owned() });
    if outcome.unanswered > 0 {
        return failed(NOT_KNOWN, "not all commands were answered");
    }
    if report.commands() == 0 && !outcome.interrupted {
        return failed(NOT_DONE, "no command was done in the time measured");
    }
    Ok(())
}

fn draw(report: &Report<'_>, file: &Path) -> Result<(), Failure> {
    if report.commands() == 0 {
        return Ok(());
    }
    let cannot = |error: &dyn std::fmt::Display| {
        Usage::flag("plot", format_args!("{} cannot be written: {error}", file.display()))
    };
    let picture = plot::draw(report).map_err(|error| cannot(&error))?;
    Ok(std::fs::write(file, picture).map_err(|error| cannot(&error))?)
}

fn parse(mut parser: Parser) -> Result<Option<Options>, Usage> {
    let mut options = Options {
        addresses: vec![LOCAL_NODES[0].to_owned()],
        connections: 64,
        pipeline: 1,
        reads: 50,
        keys: 100_000,
        distribution: Distribution::Uniform,
        value_bytes: 100,
        wait: None,
        rate: None,
        seed: 1,
        warm_up: 1,
        until: Until::Seconds(10),
        json: false,
        plot: None,
    };
    let (mut seconds, mut requests) = (None, None);
    let refused = |error: lexopt::Error| Usage::refused(COMMAND, &error);
    while let Some(argument) = parser.next().map_err(refused)? {
        let name = match argument {
            Arg::Long(name) => name.to_owned(),
            Arg::Short('h') => return Ok(None),
            other => return Err(refused(other.unexpected())),
        };
        let name = name.as_str();
        let mut value = || parser.value().map_err(refused);
        match name {
            "help" => return Ok(None),
            "address" => options.addresses = address::connect(name, &flags::text(name, value()?)?)?,
            "connections" => options.connections = flags::number(name, &value()?, 1..=1_000_000)? as usize,
            "pipeline" => options.pipeline = flags::number(name, &value()?, 1..=100_000)? as usize,
            "reads" => options.reads = flags::number(name, &value()?, 0..=100)?,
            "keys" => options.keys = flags::number(name, &value()?, 1..=MAX_KEYS)?,
            "distribution" => options.distribution = distribution(value()?)?,
            "value-bytes" => options.value_bytes = flags::bytes(name, &value()?, 1..=512 << 20)? as usize,
            "wait" => options.wait = Some(flags::number(name, &value()?, 1..=1000)?),
            "rate" => options.rate = Some(flags::number(name, &value()?, 1..=1_000_000_000)?),
            "seed" => options.seed = flags::number(name, &value()?, 0..=u64::MAX)?,
            "warm-up" => options.warm_up = flags::number(name, &value()?, 0..=MAX_SECONDS)?,
            "seconds" => seconds = Some(flags::number(name, &value()?, 1..=MAX_SECONDS)?),
            "requests" => requests = Some(flags::number(name, &value()?, 1..=u64::MAX)?),
            "json" => options.json = true,
            "plot" => options.plot = Some(picture(value()?)?),
            _ => return Err(refused(Arg::Long(name).unexpected())),
        }
    }
    options.until = match (seconds, requests) {
        (Some(_), Some(_)) => {
            return Err(Usage::flag("requests", "measures until so many are answered, not --seconds"));
        }
        (None, Some(requests)) => Until::Requests(requests),
        (seconds, None) => Until::Seconds(seconds.unwrap_or(10)),
    };
    Ok(Some(options))
}

fn distribution(value: OsString) -> Result<Distribution, Usage> {
    let text = flags::text("distribution", value)?;
    let known = Distribution::NAMES.iter().find(|(name, _)| *name == text);
    known.map(|(_, distribution)| *distribution).ok_or_else(|| {
        let names = Distribution::NAMES.map(|(name, _)| name).join(", ");
        Usage::flag("distribution", format_args!("'{text}' is none of {names}"))
    })
}

/// Where a picture can be written: better refused now than after the run.
fn picture(value: OsString) -> Result<PathBuf, Usage> {
    let file = PathBuf::from(value);
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let why = match () {
        () if file.extension().is_none_or(|extension| extension != "svg") => "does not end in .svg",
        () if file.is_dir() => "is a directory",
        () if !directory.is_dir() => "is in a directory that does not exist",
        () => return Ok(file),
    };
    Err(Usage::flag("plot", format_args!("'{}' {why}", file.display())))
}
