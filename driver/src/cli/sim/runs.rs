//! Random runs, one or many.

use std::time::{Duration, Instant};

use quorate::sim::{self, KvWorkload, Report, Tally, census};

use super::crew::{bar, work};
use super::{Failure, Options, story};
use crate::cli::say;

/// What all runs together have shown.
#[derive(Debug, Default)]
struct Sum {
    runs: u64,
    simulated: u64,
    operations: u64,
    stuck: Vec<String>,
    tally: Tally,
    /// Seed, hash and events of the last run.
    only: Option<(u64, u64, u64)>,
    /// The failed run of the lowest seed.
    failed: Option<Report>,
}

/// Runs all seeds until one fails.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let began = Instant::now();
    let count = options.runs.unwrap_or(1);
    let bar = bar(count, "seeds");
    let mut sum = Sum::default();
    let one = |number| {
        let seed = options.seed.wrapping_add(number);
        run_one(options, seed)
    };
    work(options.jobs, count, one, |_, report| {
        bar.inc(1);
        let goes_on = report.violation.is_none();
        sum.add(report);
        bar.set_message(format!("{:.1} simulated hours", sum.hours()));
        goes_on
    });
    bar.finish_and_clear();
    sum.print(began.elapsed());
    if let (1, Some((seed, hash, events))) = (count, sum.only) {
        say(format_args!("seed {seed}: hash {hash:016x} of {events} events"));
    }
    if let Some(report) = &sum.failed {
        return Err(story::failure(options, report));
    }
    if options.trace.is_some() || options.html.is_some() {
        story::tell(options, &options.plan(options.seed))?;
    }
    Ok(())
}

fn run_one(options: &Options, seed: u64) -> Report {
    sim::run(&options.plan(seed), KvWorkload::draw(seed))
}

impl Sum {
    fn add(&mut self, report: Report) {
        self.runs += 1;
        self.only = Some((report.seed, report.hash, report.events));
        self.simulated += report.simulated;
        self.operations += report.operations;
        self.stuck.extend(report.stuck.as_ref().map(|why| format!("seed {}: {why}", report.seed)));
        self.tally.merge(&report.tally);
        let is_first = self.failed.as_ref().is_none_or(|failed| report.seed < failed.seed);
        if report.violation.is_some() && is_first {
            self.failed = Some(report);
        }
    }

    fn hours(&self) -> f64 {
        self.simulated as f64 / 3.6e9
    }

    /// What has been met too seldom for its silence to mean much; few runs meet few things.
    fn print_seldom(&self) {
        let expected = census::expected();
        let seldom = expected.iter().filter(|what| self.tally.of(what) < census::ENOUGH);
        let seldom: Vec<String> = seldom.map(|what| format!("{what} ({})", self.tally.of(what))).collect();
        let (all, least) = (expected.len(), census::ENOUGH);
        if seldom.is_empty() {
            say(format_args!("every one of {all} expected things was met at least {least} times"));
        } else {
            say(format_args!("{} of {all} expected things were met less than {least} times:", seldom.len()));
            seldom.iter().for_each(|what| say(format_args!("{:>14}{what}", "")));
        }
    }

    fn print(&self, took: Duration) {
        for (what, count) in self.tally.iter() {
            say(format_args!("{count:>12}  {what}"));
        }
        self.print_seldom();
        if !self.stuck.is_empty() {
            say(format_args!("{:>12}  runs could not become well again, and need not:", self.stuck.len()));
            self.stuck.iter().take(5).for_each(|why| say(format_args!("{:>14}{why}", "")));
        }
        let seconds = took.as_secs_f64().max(0.001);
        say(format_args!(
            "{} runs, {} operations, {:.1} simulated hours in {seconds:.1} s: {:.2} seeds a second, {:.0} simulated hours an hour",
            self.runs,
            self.operations,
            self.hours(),
            self.runs as f64 / seconds,
            self.hours() * 3600.0 / seconds,
        ));
    }
}
