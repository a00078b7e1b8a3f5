//! Every interleaving of a few cores.

use std::ops::ControlFlow;
use std::time::Instant;

use quorate::sim::exhaustive::{Bounds, explore};

use super::{FOUND, Failure, Options};
use crate::cli::flags::Usage;
use crate::cli::say;

/// Explores what the flags name, or the whole suite.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let suite: Vec<(&str, Bounds)> = match options.nodes {
        None => Bounds::suite().into(),
        Some(2) => vec![("two nodes", Bounds::two_nodes())],
        Some(3) => vec![("three nodes", Bounds::three_nodes())],
        Some(other) => {
            return Err(Usage::flag("nodes", format_args!("{other} cannot be explored: 2 or 3 can")).into());
        }
    };
    suite.into_iter().try_for_each(|(name, bounds)| one(name, bounds, options))
}

fn one(name: &str, mut bounds: Bounds, options: &Options) -> Result<(), Failure> {
    bounds.depth = options.depth.unwrap_or(bounds.depth);
    let began = Instant::now();
    let bar = indicatif::ProgressBar::new_spinner();
    let exploration = explore(&bounds, &mut |progress| {
        bar.set_message(format!(
            "depth {}, {} states, {} transitions, {} waiting",
            progress.depth, progress.states, progress.transitions, progress.waiting
        ));
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    for (what, count) in &exploration.reached {
        say(format_args!("{count:>12}  states with {what}"));
    }
    say(format_args!(
        "{name}: {} nodes, {:?}: {} states, {} transitions, depth {}{}, in {:.1} s; of single nodes {} states and {} steps",
        bounds.nodes,
        bounds.budget,
        exploration.states,
        exploration.transitions,
        exploration.depth,
        if exploration.complete { " (all there is)" } else { " (cut off by a limit)" },
        began.elapsed().as_secs_f64(),
        exploration.node_states,
        exploration.node_steps,
    ));
    let Some(found) = exploration.violation else { return Ok(()) };
    for (number, step) in found.path.iter().enumerate() {
        say(format_args!("{:>4}  {step}", number + 1));
    }
    Err(Failure::Failed { code: FOUND, text: found.broken })
}
