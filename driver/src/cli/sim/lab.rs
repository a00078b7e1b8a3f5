//! The tests of the lab, each for many seeds.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, Ordering};

use quorate::sim::lab::{LabReport, LabTest, catalogue, summary, summary_head};

use super::crew::{bar, work};
use super::{FOUND, Failure, Options};
use crate::cli::flags::Usage;
use crate::cli::say;

/// Seeds of each test.
const SEEDS: u64 = 1000;

/// The head of the table on the page about testing.
const MARKDOWN_HEAD: &str = "\
| part | test | servers | seeds': s | ops | RPCs | ours: s | ops | RPCs | over sockets |
| --- | --- | --: | --: | --: | --: | --: | --: | --: | --- |";

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let chosen = chosen(&options.names)?;
    let seeds = options.seeds.unwrap_or(SEEDS);
    let sums = run_all(&chosen, options, seeds);
    let line = if options.markdown { markdown } else { summary };
    say(if options.markdown { MARKDOWN_HEAD.to_owned() } else { summary_head() });
    let mut failed = Vec::new();
    for (test, sum) in chosen.into_iter().zip(sums) {
        match sum {
            Some(sum) => say(line(test, seeds, &sum)),
            None => failed.push(test.name),
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

/// All seeds of all tests: the sum of each test's reports, or nothing where a seed failed. That is said at once, with how
/// to run it again, and no more seeds of the test are begun.
fn run_all(tests: &[&'static LabTest], options: &Options, seeds: u64) -> Vec<Option<LabReport>> {
    let mut sums = vec![LabReport::default(); tests.len()];
    let failed: Vec<AtomicBool> = tests.iter().map(|_| AtomicBool::new(false)).collect();
    let order = heaviest_first(tests);
    let job = |number: u64| (order[(number / seeds) as usize], options.seed + number % seeds);
    let count = seeds * tests.len() as u64;
    let bar = bar(count, "runs");
    work(
        options.jobs,
        count,
        |number| {
            let (test, seed) = job(number);
            (!failed[test].load(Ordering::Relaxed)).then(|| tests[test].run(seed))
        },
        |number, result| {
            let (test, seed) = job(number);
            match result {
                Some(Ok(report)) => sums[test].add(&report),
                Some(Err(violation)) if !failed[test].swap(true, Ordering::Relaxed) => {
                    let name = tests[test].name;
                    let replay = format!("quorate sim --lab --seed {seed} --seeds 1 {name}");
                    bar.suspend(|| {
                        say(format_args!("{name} FAILED: {violation}\n  to replay: {replay}"));
                    });
                }
                Some(Err(_)) | None => {}
            }
            bar.inc(1);
            true
        },
    );
    bar.finish_and_clear();
    let passed = |(sum, failed): (_, AtomicBool)| (!failed.into_inner()).then_some(sum);
    sums.into_iter().zip(failed).map(passed).collect()
}

/// The places of the tests in `tests`, those with the most operations first: all threads then end together, on small ones.
fn heaviest_first(tests: &[&LabTest]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tests.len()).collect();
    order.sort_by_key(|&at| Reverse(tests[at].seed_figures.map_or(0, |figures| figures.operations)));
    order
}

/// One line of the table on the page about testing.
fn markdown(test: &LabTest, seeds: u64, sum: &LabReport) -> String {
    let runs = seeds.max(1);
    let known = test.seed_figures;
    let figure = |number: Option<u64>| number.map_or("–".to_owned(), |number| number.to_string());
    format!(
        "| {} | `{}` | {} | {} | {} | {} | {:.1} | {} | {} | {} |",
        test.part,
        test.name,
        test.servers,
        known.and_then(|known| known.seconds).map_or("–".to_owned(), |seconds| format!("{seconds:.1}")),
        figure(known.map(|known| known.operations).filter(|&operations| operations > 0)),
        figure(known.map(|known| known.rpcs)),
        sum.time as f64 / runs as f64 / 1e6,
        sum.operations / runs,
        sum.rpcs / runs,
        over_sockets(test).map_or("–".to_owned(), |name| format!("`{name}`")),
    )
}

/// The test of `driver/tests/lab/` that does the same with processes: those of the key-value parts, by the lab's titles.
fn over_sockets(test: &LabTest) -> Option<String> {
    if !test.part.starts_with('3') {
        return None;
    }
    // The lab prints this one as three.
    if test.name.starts_with("one_partition_") {
        return Some("progress_in_majority_no_progress_in_minority_completion_after_heal_3a".into());
    }
    let (mut name, mut last) = (String::new(), ' ');
    for letter in test.title.chars() {
        let begins_word = letter.is_ascii_uppercase() && last.is_ascii_lowercase();
        if (begins_word || !letter.is_ascii_alphanumeric()) && !name.ends_with('_') {
            name.push('_');
        }
        name.extend(letter.is_ascii_alphanumeric().then(|| letter.to_ascii_lowercase()));
        last = letter;
    }
    Some(format!("{name}_{}", test.part.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_over_sockets_are_there() {
        let source = include_str!("../../../tests/lab/main.rs");
        let named: Vec<String> = catalogue().iter().filter_map(over_sockets).collect();
        assert!(!named.is_empty());
        for name in named {
            assert!(source.contains(&format!("fn {name}()")), "there is no test {name}");
        }
    }

    #[test]
    fn the_page_about_testing_has_a_line_for_every_test() {
        let page = include_str!("../../../../src/docs/testing.md");
        assert!(page.contains(MARKDOWN_HEAD));
        for test in catalogue() {
            let line = markdown(test, 1, &LabReport::default());
            let ours = line.find("| 0.0 |").expect("figures of ours");
            let others = &line[..ours];
            assert!(page.contains(others), "the page lacks a line that begins with {others}");
        }
    }

    #[test]
    fn the_test_with_the_most_operations_comes_first() {
        let tests = chosen(&[]).expect("all");
        let order = heaviest_first(&tests);
        assert_eq!(tests[order[0]].name, "snapshot_recover_3b");
        let mut places = order.clone();
        places.sort_unstable();
        assert_eq!(places, (0..tests.len()).collect::<Vec<_>>());
    }
}
