//! `quorate sim`: whole clusters under faults, in simulated time. A failure is a seed and one command.

mod crew;
mod exhaustive;
mod lab;
#[cfg(feature = "planted-bugs")]
mod planted;
mod runs;
mod story;

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;
use quorate::sim::{Plan, Profile};

use super::Failure;
use super::flags::{self, Usage};

const HELP: &str = "\
Runs whole clusters (the same nodes, directories, gateways and clerks as in production) in a simulated
world: networks that lose and reorder, disks that lie, processes that die at any moment. The same
seed gives the same run, to the byte.

usage: quorate sim [--seed N] [--runs N] [FLAGS]     random runs
       quorate sim --lab [--seeds N] [NAME …]        the tests of the MIT lab
       quorate sim --exhaustive [--nodes N]          every interleaving of a few cores
       quorate sim --planted [--seeds N] [NAME …]    the bugs that must be found
                                                     (build with --features planted-bugs);
                                                     the name none: without any, nothing is

random runs
  --seed N          one run of this seed; with --runs, the first seed (1)
  --runs N          so many runs
  --nodes N         1 to 9 nodes (drawn by the seed)
  --seconds N       simulated seconds of a run (600)
  --profile NAME    calm, lab, wild, disk or churn (drawn by the seed)
  --no-shrink       leave a failed run as large as it is
  --trace FILE      write the run, event by event, as NDJSON
  --html FILE       write the run as a page to look at in a browser
                    (of a run that fails, the smaller one that fails alike)

the lab
  --markdown        print the table of the page about testing

all of them
  --jobs N          so many at a time (as many as there are processors)
  --seeds N         seeds of each lab test (1000); most seeds for a planted bug (10000)
  --depth N         most steps of an exploration (no limit)

Exit code 1 says that something was found.
";

/// Something was found: exit code 1.
const FOUND: u8 = 1;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Runs,
    Lab,
    Exhaustive,
    Planted,
}

/// What the command line asks for.
#[derive(Debug, Clone)]
struct Options {
    mode: Mode,
    seed: u64,
    runs: Option<u64>,
    jobs: usize,
    nodes: Option<u64>,
    seconds: u64,
    profile: Option<Profile>,
    shrinks: bool,
    trace: Option<PathBuf>,
    html: Option<PathBuf>,
    seeds: Option<u64>,
    depth: Option<u32>,
    markdown: bool,
    names: Vec<String>,
}

impl Options {
    fn plan(&self, seed: u64) -> Plan {
        Plan::draw(seed, self.profile, self.nodes, self.seconds)
    }

    /// The command that repeats the run of one seed.
    fn replay(&self, seed: u64) -> String {
        let mut words = vec![format!("quorate sim --seed {seed} --seconds {}", self.seconds)];
        words.extend(self.nodes.map(|nodes| format!("--nodes {nodes}")));
        words.extend(self.profile.map(|profile| format!("--profile {}", profile.name())));
        words.join(" ")
    }
}

pub(super) fn run(parser: lexopt::Parser) -> Result<(), Failure> {
    let Some(options) = parse(parser)? else {
        print!("{HELP}");
        return Ok(());
    };
    match options.mode {
        Mode::Runs => runs::run(&options),
        Mode::Lab => lab::run(&options),
        Mode::Exhaustive => exhaustive::run(&options),
        #[cfg(feature = "planted-bugs")]
        Mode::Planted => planted::run(&options),
        #[cfg(not(feature = "planted-bugs"))]
        Mode::Planted => Err(Usage("--planted needs a build with --features planted-bugs".into()).into()),
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, Usage> {
    let mut options = Options {
        mode: Mode::Runs,
        seed: 1,
        runs: None,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        nodes: None,
        seconds: 600,
        profile: None,
        shrinks: true,
        trace: None,
        html: None,
        seeds: None,
        depth: None,
        markdown: false,
        names: Vec::new(),
    };
    let refused = |error: lexopt::Error| Usage::refused("sim", &error);
    while let Some(argument) = parser.next().map_err(refused)? {
        let name = match argument {
            Long(name) => name.to_owned(),
            Short('h') => return Ok(None),
            Value(name) => {
                options.names.push(flags::text("name", name)?);
                continue;
            }
            other => return Err(refused(other.unexpected())),
        };
        let mut value = || parser.value().map_err(refused);
        match name.as_str() {
            "help" => return Ok(None),
            "lab" => options.mode = Mode::Lab,
            "exhaustive" => options.mode = Mode::Exhaustive,
            "planted" => options.mode = Mode::Planted,
            "markdown" => options.markdown = true,
            "no-shrink" => options.shrinks = false,
            "seed" => options.seed = flags::number("seed", &value()?, 0..=u64::MAX)?,
            "runs" => options.runs = Some(flags::number("runs", &value()?, 1..=1_000_000_000)?),
            "jobs" => options.jobs = flags::number("jobs", &value()?, 1..=1024)? as usize,
            "nodes" => options.nodes = Some(flags::number("nodes", &value()?, 1..=9)?),
            "seconds" => options.seconds = flags::number("seconds", &value()?, 1..=1_000_000)?,
            "seeds" => options.seeds = Some(flags::number("seeds", &value()?, 1..=1_000_000_000)?),
            "depth" => options.depth = Some(flags::number("depth", &value()?, 1..=1_000_000)? as u32),
            "profile" => options.profile = Some(profile(value()?)?),
            "trace" => options.trace = Some(value()?.into()),
            "html" => options.html = Some(value()?.into()),
            _ => return Err(refused(Long(&name).unexpected())),
        }
    }
    if options.mode == Mode::Runs && !options.names.is_empty() {
        return Err(Usage(format!("there is nothing to name here: '{}'", options.names.join(" "))));
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
