//! Random runs, one or many, on several threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quorate::sim::{KvWorkload, Plan, Report, Tally, run};

use super::{FOUND, Failure, Options, say};

/// What all runs together have shown.
#[derive(Debug, Default)]
struct Sum {
    runs: u64,
    simulated: u64,
    operations: u64,
    stuck: u64,
    tally: Tally,
    /// The failed run of the lowest seed.
    failed: Option<Report>,
}

impl Options {
    pub(super) fn plan(&self, seed: u64) -> Plan {
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

/// Runs all seeds until one fails.
pub(super) fn many(options: &Options) -> Result<(), Failure> {
    let began = Instant::now();
    let seeds = options.seed..options.seed.saturating_add(options.runs.unwrap_or(1));
    let bar = bar(options.runs.unwrap_or(1));
    let mut sum = Sum::default();
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (report, reports) = mpsc::channel();
        for _ in 0..options.jobs.min(options.runs.unwrap_or(1) as usize) {
            let (report, next, stop) = (report.clone(), &next, &stop);
            let seeds = seeds.clone();
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    let plan = options.plan(seed);
                    if report.send(run(&plan, KvWorkload::draw(seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(report);
        for report in reports {
            bar.inc(1);
            stop.fetch_or(report.violation.is_some(), Ordering::Relaxed);
            sum.add(report);
        }
    });
    bar.finish_and_clear();
    sum.print(began.elapsed());
    match sum.failed {
        None => Ok(()),
        Some(report) => Err(failure(options, &report)),
    }
}

fn failure(options: &Options, report: &Report) -> Failure {
    let what = report.violation.as_ref().map(ToString::to_string).unwrap_or_default();
    let text = format!("{what}\nto replay: {}", options.replay(report.seed));
    Failure::Failed { code: FOUND, text }
}

impl Sum {
    fn add(&mut self, report: Report) {
        self.runs += 1;
        self.simulated += report.simulated;
        self.operations += report.operations;
        self.stuck += u64::from(report.stuck.is_some());
        self.tally.merge(&report.tally);
        let is_first = self.failed.as_ref().is_none_or(|failed| report.seed < failed.seed);
        if report.violation.is_some() && is_first {
            self.failed = Some(report);
        }
    }

    fn print(&self, took: Duration) {
        for (what, count) in self.tally.iter() {
            say(format_args!("{count:>12}  {what}"));
        }
        let (seconds, hours) = (took.as_secs_f64().max(0.001), self.simulated as f64 / 3.6e9);
        say(format_args!(
            "{} runs, {} operations, {hours:.1} simulated hours in {seconds:.1} s: {:.2} seeds a second, {:.1} simulated hours an hour; {} runs lost more disks than a minority",
            self.runs,
            self.operations,
            self.runs as f64 / seconds,
            hours * 3600.0 / seconds,
            self.stuck,
        ));
    }
}

fn bar(runs: u64) -> ProgressBar {
    let style = "{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left";
    let bar = ProgressBar::with_draw_target(Some(runs), ProgressDrawTarget::stderr_with_hz(4));
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
