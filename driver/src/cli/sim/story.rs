//! What a run was like, for people: the timeline of a failure, the NDJSON of a run, and its page.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use quorate::raft::NodeId;
use quorate::sim::trace::{RunFacts, render_html, timeline, write_ndjson};
use quorate::sim::{KvWorkload, Plan, Report, run_recorded, shrink};

use super::{FOUND, Failure, Options};
use crate::cli::say;

/// How long a failed run is made smaller, at most.
const SHRINKING: Duration = Duration::from_secs(120);

/// Tells of a failed run as shortly as it can.
pub(super) fn failure(options: &Options, report: &Report) -> Failure {
    let mut plan = options.plan(report.seed);
    let what = report.violation.as_ref().map(ToString::to_string).unwrap_or_default();
    if options.shrinks {
        let until = Instant::now() + SHRINKING;
        let seed = report.seed;
        if let Some(shrunk) = shrink(&plan, || KvWorkload::draw(seed), || Instant::now() < until) {
            say(format_args!(
                "made smaller in {} runs: {} nodes, {} faults, {} errands, {} clients, {:.1} s",
                shrunk.tried,
                shrunk.plan.nodes,
                shrunk.plan.faults.len(),
                shrunk.plan.errands.len(),
                shrunk.plan.clients.len(),
                shrunk.report.simulated as f64 / 1e6,
            ));
            plan = shrunk.plan;
        }
    }
    let told = tell(options, &plan);
    let text = format!("{what}\nto replay: {}", options.replay(report.seed));
    match told {
        Ok(()) => Failure::Failed { code: FOUND, text },
        Err(failure) => failure,
    }
}

/// Runs a plan again, prints its timeline if it fails, and writes what was asked for.
pub(super) fn tell(options: &Options, plan: &Plan) -> Result<(), Failure> {
    let report = run_recorded(plan, KvWorkload::draw(plan.seed));
    let facts = RunFacts {
        seed: plan.seed,
        profile: plan.profile.name().into(),
        replay: options.replay(plan.seed),
        nodes: (1..=plan.nodes).map(NodeId).collect(),
        forgotten: report.forgotten,
        violation: report.violation.clone(),
    };
    if report.violation.is_some() {
        say(timeline(&facts, &report.trace, None));
    }
    if let Some(file) = &options.trace {
        let mut lines = String::new();
        // Nothing fails that writes to memory.
        let _ = write_ndjson(&facts, &report.trace, &mut lines);
        write(file, &lines)?;
    }
    if let Some(file) = &options.html {
        write(file, &render_html(&facts, &report.trace))?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|error| Failure::Failed {
        code: crate::cli::NOT_DONE,
        text: format!("{} cannot be written: {error}", file.display()),
    })
}
