//! From a run that fails to a smaller one that fails alike: fewer nodes, faults, clients and choices, and less time.

use std::string::String;
use std::vec::Vec;

use super::cluster::Violation;
use super::faults::Plan;
use super::run::{Report, run};
use super::workload::Workload;

/// A smaller run, and what it shows.
#[derive(Debug)]
pub struct Shrunk {
    /// The plan that is left.
    pub plan: Plan,
    /// Its report.
    pub report: Report,
    /// Runs that were tried.
    pub tried: u64,
}

/// Makes the plan of a failed run smaller as long as it fails by the same checker, until nothing more can be left out or
/// `goes_on` says no (asked before each try). `None` when the plan does not fail.
pub fn shrink<W: Workload>(
    plan: &Plan,
    workload: impl Fn() -> W,
    mut goes_on: impl FnMut() -> bool,
) -> Option<Shrunk> {
    let report = run(plan, workload());
    let checker = checker_of(report.violation.as_ref()?);
    let mut best = Shrunk { plan: plan.clone(), report, tried: 1 };
    let mut try_one = |best: &mut Shrunk, smaller: Plan| {
        if !goes_on() {
            return false;
        }
        best.tried += 1;
        let report = run(&smaller, workload());
        let is_alike = report.violation.as_ref().is_some_and(|violation| checker_of(violation) == checker);
        if is_alike {
            best.plan = smaller;
            best.report = report;
        }
        is_alike
    };
    loop {
        let before = size(&best.plan);
        end_early(&mut best, &mut try_one);
        use_fewer_nodes(&mut best, &mut try_one);
        leave_out(&mut best, &mut try_one, |plan| &mut plan.faults);
        leave_out(&mut best, &mut try_one, |plan| &mut plan.clients);
        leave_out(&mut best, &mut try_one, |plan| &mut plan.quirks);
        if size(&best.plan) == before {
            return Some(best);
        }
    }
}

/// The name of the checker that fired: what stands before the colon.
fn checker_of(violation: &Violation) -> String {
    violation.checker().into()
}

fn size(plan: &Plan) -> (u64, usize, usize, usize, u64) {
    (plan.nodes, plan.faults.len(), plan.clients.len(), plan.quirks.len(), plan.faults_end)
}

type Try<'a> = dyn FnMut(&mut Shrunk, Plan) -> bool + 'a;

/// Nothing that comes after the violation has led to it.
fn end_early(best: &mut Shrunk, try_one: &mut Try<'_>) {
    let Some(at) = best.report.violation.as_ref().map(|violation| violation.at) else { return };
    if at < best.plan.faults_end {
        let mut smaller = best.plan.clone();
        smaller.faults_end = at + 1;
        smaller.end = smaller.faults_end;
        smaller.faults.retain(|(when, _)| *when <= at);
        try_one(best, smaller);
    }
    for share in [2, 4, 8] {
        let mut smaller = best.plan.clone();
        smaller.faults_end -= smaller.faults_end / share;
        smaller.end = smaller.faults_end;
        let end = smaller.faults_end;
        smaller.faults.retain(|(when, _)| *when <= end);
        if smaller.faults_end > 0 && smaller.faults_end < best.plan.faults_end {
            try_one(best, smaller);
        }
    }
}

fn use_fewer_nodes(best: &mut Shrunk, try_one: &mut Try<'_>) {
    for nodes in 1..best.plan.nodes {
        let smaller = Plan { nodes, ..best.plan.clone() };
        if try_one(best, smaller) {
            return;
        }
    }
}

/// Leaves out halves, then quarters, and so on down to single items.
fn leave_out<T: Clone>(best: &mut Shrunk, try_one: &mut Try<'_>, of: impl Fn(&mut Plan) -> &mut Vec<T>) {
    let mut piece = of(&mut best.plan).len().div_ceil(2);
    while piece > 0 {
        let mut start = 0;
        while start < of(&mut best.plan).len() {
            let mut smaller = best.plan.clone();
            let items = of(&mut smaller);
            let end = items.len().min(start + piece);
            items.drain(start..end);
            if !try_one(best, smaller) {
                start += piece;
            }
        }
        piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
    }
}
