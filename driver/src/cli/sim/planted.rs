//! The bugs that must be found.

use quorate::sim::planted::{Bug, Hunt, all, grounds, hunt};

use super::crew::{bar, work};
use super::{FOUND, Failure, Options};
use crate::cli::flags::Usage;
use crate::cli::say;

/// Most seeds for a bug.
const SEEDS: u64 = 10_000;

/// In place of a name: no bug at all. Whatever is found then is found in the code as it is.
const NO_BUG: &str = "none";

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    if options.names == [NO_BUG] {
        return without(options);
    }
    let bugs = chosen(&options.names)?;
    let seeds = options.seeds.unwrap_or(SEEDS);
    let bar = bar(bugs.len() as u64, "bugs");
    let mut hunts: Vec<Option<Hunt>> = bugs.iter().map(|_| None).collect();
    work(
        options.jobs,
        bugs.len() as u64,
        |number| one(bugs[number as usize], seeds),
        |number, hunt| {
            bar.suspend(|| say(&hunt));
            bar.inc(1);
            hunts[number as usize] = Some(hunt);
            true
        },
    );
    bar.finish_and_clear();
    let found = |most: u64| {
        let within = |hunt: &&Hunt| hunt.found.is_some() && hunt.seeds <= most;
        hunts.iter().flatten().filter(within).count()
    };
    say(format_args!(
        "{} bugs: {} found, {} of them within 100 seeds",
        bugs.len(),
        found(u64::MAX),
        found(100)
    ));
    let survivors: Vec<_> =
        hunts.iter().flatten().filter(|hunt| hunt.found.is_none()).map(|hunt| hunt.bug.name).collect();
    if survivors.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed { code: FOUND, text: format!("these survived: {}", survivors.join(", ")) })
}

/// Runs the grounds with no bug in the code: nobody must find anything.
fn without(options: &Options) -> Result<(), Failure> {
    let seeds = options.seeds.unwrap_or(SEEDS);
    let bar = bar(seeds, "seeds");
    let (mut found, mut runs) = (0, 0);
    work(
        options.jobs,
        seeds,
        |seed| {
            grounds(None).iter().map(|ground| (ground.name, (ground.run)(seed).violation)).collect::<Vec<_>>()
        },
        |seed, outcomes| {
            bar.inc(1);
            runs += outcomes.len();
            for (name, what) in outcomes.into_iter().filter_map(|(name, what)| Some((name, what?))) {
                bar.suspend(|| say(format_args!("seed {seed} of {name}: {what}")));
                found += 1;
            }
            true
        },
    );
    bar.finish_and_clear();
    say(format_args!("{runs} runs without a bug, {found} violations"));
    if found == 0 {
        return Ok(());
    }
    Err(Failure::Failed { code: FOUND, text: "a checker fires without a bug".into() })
}

fn chosen(names: &[String]) -> Result<Vec<&'static Bug>, Usage> {
    if let Some(unknown) = names.iter().find(|name| all().iter().all(|bug| bug.name != name.as_str())) {
        return Err(Usage(format!("there is no planted bug '{unknown}'")));
    }
    let is_chosen = |bug: &&Bug| names.is_empty() || names.iter().any(|name| name == bug.name);
    Ok(all().iter().filter(is_chosen).collect())
}

fn one(bug: &'static Bug, seeds: u64) -> Hunt {
    hunt(bug, grounds(Some(bug)), seeds, || true)
}
