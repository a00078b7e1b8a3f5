//! `quorate sim`: whole clusters under faults, in simulated time. A failure is a seed and one command.

mod runs;

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;
use quorate::sim::Profile;

use super::flags::{self, Usage};
use super::{Failure, say};

const HELP: &str = "\
Runs whole clusters (the same nodes, disks' formats, gateways and clerks as in production) in a
simulated world: networks that lose and reorder, disks that lie, processes that die at any moment.
The same seed gives the same run, to the byte.

usage: quorate sim [--runs N] [--seed N] [FLAGS]

  --seed N          one run of this seed; with --runs, the first seed (1)
  --runs N          so many runs, of seeds from --seed on
  --jobs N          so many at a time (as many as there are processors)
  --nodes N         1 to 9 nodes (drawn by the seed)
  --seconds N       simulated seconds of a run (600)
  --profile NAME    calm, lab, wild, disk or churn (drawn by the seed)
";

/// A violation was found.
const FOUND: u8 = 1;

/// What the command line asks for.
#[derive(Debug, Clone)]
pub(super) struct Options {
    seed: u64,
    runs: Option<u64>,
    jobs: usize,
    nodes: Option<u64>,
    seconds: u64,
    profile: Option<Profile>,
    trace: Option<PathBuf>,
    html: Option<PathBuf>,
}

pub(super) fn run(parser: lexopt::Parser) -> Result<(), Failure> {
    let Some(options) = parse(parser)? else {
        print!("{HELP}");
        return Ok(());
    };
    runs::many(&options)
}

fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, Usage> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options {
        seed: 1,
        runs: None,
        jobs,
        nodes: None,
        seconds: 600,
        profile: None,
        trace: None,
        html: None,
    };
    let refused = |error: lexopt::Error| Usage::refused("sim", &error);
    while let Some(argument) = parser.next().map_err(refused)? {
        let name = match argument {
            Long(name) => name.to_owned(),
            Short('h') => return Ok(None),
            other => return Err(refused(other.unexpected())),
        };
        let mut value = || parser.value().map_err(refused);
        match name.as_str() {
            "help" => return Ok(None),
            "seed" => options.seed = flags::number("seed", &value()?, 0..=u64::MAX)?,
            "runs" => options.runs = Some(flags::number("runs", &value()?, 1..=1_000_000_000)?),
            "jobs" => options.jobs = flags::number("jobs", &value()?, 1..=1024)? as usize,
            "nodes" => options.nodes = Some(flags::number("nodes", &value()?, 1..=9)?),
            "seconds" => options.seconds = flags::number("seconds", &value()?, 1..=1_000_000)?,
            "profile" => options.profile = Some(profile(value()?)?),
            "trace" => options.trace = Some(value()?.into()),
            "html" => options.html = Some(value()?.into()),
            _ => return Err(refused(Long(&name).unexpected())),
        }
    }
    Ok(Some(options))
}

fn profile(value: OsString) -> Result<Profile, Usage> {
    let text = flags::text("profile", value)?;
    Profile::named(&text).ok_or_else(|| {
        let names: Vec<_> = Profile::ALL.iter().map(|profile| profile.name()).collect();
        Usage::flag("profile", format_args!("'{text}' is none of {}", names.join(", ")))
    })
}
