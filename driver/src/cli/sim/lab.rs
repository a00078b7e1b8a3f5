//! The tests of the lab, each for many seeds.

use quorate::sim::lab::{LabReport, LabTest, catalogue, summary, summary_head};

use super::crew::{bar, work};
use super::{FOUND, Failure, Options};
use crate::cli::flags::Usage;
use crate::cli::say;

/// Seeds of each test.
const SEEDS: u64 = 1000;

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let chosen = chosen(&options.names)?;
    let seeds = options.seeds.unwrap_or(SEEDS);
    say(summary_head());
    let mut failed = Vec::new();
    for test in chosen {
        match run_one(test, options, seeds) {
            Ok(sum) => say(summary(test, seeds, &sum)),
            Err(text) => {
                say(format_args!("{:<52} FAILED: {text}", test.name));
                failed.push(test.name);
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed { code: FOUND, text: format!("{} failed: {}", failed.len(), failed.join(", ")) })
}

fn chosen(names: &[String]) -> Result<Vec<&'static LabTest>, Usage> {
    let all = catalogue();
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|test| test.name != name.as_str())) {
        return Err(Usage(format!("there is no lab test '{unknown}'")));
    }
    let is_chosen = |test: &&LabTest| names.is_empty() || names.iter().any(|name| name == test.name);
    Ok(all.iter().filter(is_chosen).collect())
}

/// All seeds of one test: their sum, or the first that failed and how to run it again.
fn run_one(test: &'static LabTest, options: &Options, seeds: u64) -> Result<LabReport, String> {
    let bar = bar(seeds, test.name);
    let (mut sum, mut failed) = (LabReport::default(), None);
    work(
        options.jobs,
        seeds,
        |number| test.run(options.seed + number),
        |number, result| {
            bar.inc(1);
            match result {
                Ok(report) => sum.add(&report),
                Err(violation) => {
                    let seed = options.seed + number;
                    failed = Some(format!(
                        "{violation}\n  to replay: quorate sim --lab --seed {seed} --seeds 1 {}",
                        test.name
                    ));
                }
            }
            failed.is_none()
        },
    );
    bar.finish_and_clear();
    failed.map_or(Ok(sum), Err)
}
