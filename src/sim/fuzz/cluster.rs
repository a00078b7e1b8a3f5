//! Bytes as choices: which cluster, what befalls it and when, who asks. The whole simulator judges.

use std::vec::Vec;

use super::Source;
use crate::sim::faults::{Plan, Population};
use crate::sim::run::run;
use crate::sim::workload::KvWorkload;

/// Most faults and clients of a run: more makes it long, and not better.
const MOST: usize = 24;

/// Runs the plan that `data` chooses. Any bytes are a plan, and a byte more is a fault more.
///
/// # Panics
/// When a promise is broken.
pub fn cluster(data: &[u8]) {
    let mut source = Source(data);
    let Some(plan) = plan(&mut source) else { return };
    let report = run(&plan, KvWorkload::draw(plan.seed));
    if let Some(violation) = report.violation {
        panic!("{violation}\n{plan:?}");
    }
}

fn plan(source: &mut Source<'_>) -> Option<Plan> {
    let seed = source.byte()?.into();
    let nodes = [3, 5, 1, 2, 4][usize::from(source.byte()? % 5)];
    let quirks = u16::from_le_bytes([source.byte()?, source.byte()?]);
    let mut clients = Vec::new();
    for number in 0..1 + u64::from(source.byte()? % 4) {
        let choice = u64::from(source.byte()?);
        let (thinks, burst) = (1_000 << (choice % 8), 1 + choice / 8 % 4);
        clients.push(Population {
            number,
            thinks,
            burst,
            session: choice < 192,
            patience: Population::PATIENCE,
        });
    }
    let mut faults = Vec::new();
    while let (Some(after), Some(kind), true) = (source.byte(), source.byte(), faults.len() < MOST) {
        let draw = u64::from(source.byte().unwrap_or(0)) << 8 | u64::from(source.byte().unwrap_or(0));
        // Most distances are short: faults that meet are worth more than faults that follow each other.
        faults.push((u64::from(after) * u64::from(after) * 10, kind, draw));
    }
    Some(Plan::of_choices(seed, nodes, quirks, &faults, &clients))
}
