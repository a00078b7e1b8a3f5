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
        leave_out(&mut best, &mut try_one, |plan| &mut plan.errands);
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

fn size(plan: &Plan) -> (u64, usize, usize, usize, usize, u64) {
    let Plan { nodes, faults, errands, clients, quirks, faults_end, .. } = plan;
    (*nodes, faults.len(), errands.len(), clients.len(), quirks.len(), *faults_end)
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
        smaller.errands.retain(|(when, _)| *when <= at);
        try_one(best, smaller);
    }
    for share in [2, 4, 8] {
        let mut smaller = best.plan.clone();
        smaller.faults_end -= smaller.faults_end / share;
        smaller.end = smaller.faults_end;
        let end = smaller.faults_end;
        smaller.faults.retain(|(when, _)| *when <= end);
        smaller.errands.retain(|(when, _)| *when <= end);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::resp::Value;
    use crate::kv::KvStore;
    use crate::rng::Rng;
    use crate::sim::KvWorkload;
    use crate::sim::check::{HistoryOf, KvModel, KvOp, Replayed};
    use crate::sim::workload::{Heard, Travel};

    /// Finds fault with whatever client 2 asks.
    struct Picky(KvWorkload);

    impl Workload for Picky {
        type Machine = KvStore;
        type Model = KvModel;

        fn model(&self) -> KvModel {
            self.0.model()
        }

        fn next(&mut self, client: u64, rng: &mut Rng) -> KvOp {
            self.0.next(client, rng)
        }

        fn travel(&self, op: &KvOp) -> Travel {
            self.0.travel(op)
        }

        fn reply(&self, heard: Heard) -> Value {
            self.0.reply(heard)
        }

        fn judge(&self, history: &HistoryOf<KvModel>, _: &Replayed) -> Result<Option<&'static str>, String> {
            let is_asked = history.operations().iter().any(|operation| operation.client == 2);
            if is_asked { Err("picky: client 2 asks".into()) } else { Ok(None) }
        }
    }

    /// A plan with a client 2 and much else.
    fn plan() -> Plan {
        let plans = (0..).map(|seed| Plan::draw(seed, None, Some(5), 4));
        plans
            .into_iter()
            .find(|plan| plan.clients.len() > 3 && plan.faults.len() > 3 && plan.errands.len() > 1)
            .expect("one of them")
    }

    #[test]
    fn what_does_not_matter_is_left_out() {
        let plan = plan();
        let shrunk = shrink(&plan, || Picky(KvWorkload::draw(1)), || true).expect("it fails");
        let left: Vec<u64> = shrunk.plan.clients.iter().map(|client| client.number).collect();
        assert_eq!((shrunk.plan.nodes, &left[..]), (1, &[2][..]));
        assert!(shrunk.plan.faults.is_empty() && shrunk.plan.errands.is_empty());
        assert!(shrunk.plan.quirks.is_empty());
        assert!(shrunk.plan.faults_end < plan.faults_end && shrunk.tried > 5);
        assert_eq!(
            shrunk.report.violation.map(|violation| violation.what),
            Some("picky: client 2 asks".into())
        );
    }

    #[test]
    fn a_run_that_does_not_fail_is_not_made_smaller_and_patience_ends_it() {
        assert!(shrink(&plan(), || KvWorkload::draw(1), || true).is_none());
        let shrunk = shrink(&plan(), || Picky(KvWorkload::draw(1)), || false).expect("it fails");
        assert_eq!((shrunk.tried, shrunk.plan.nodes), (1, 5));
    }
}
