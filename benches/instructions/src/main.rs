//! What `check.sh` counts: one scenario, run so often, of which only [`measured`] is counted, under valgrind.
//!
//! Without an argument it prints the names of all scenarios, with one it runs that one, and prints how many units (steps, or entries
//! of a batch) it has measured. Everything is decided by the scenario: the same build executes the same instructions.

mod alone;
#[path = "../../cores/src/trio.rs"]
mod trio;

use std::env;
use std::hint::black_box;

use alone::{Follower, Leader};
use trio::Trio;

/// Times that a scenario is run, after as many that are not measured.
const TIMES: u64 = 500;

/// Entries of a batch.
const MANY: u64 = 64;

/// The only function whose instructions are counted, with all that it calls.
#[inline(never)]
fn measured<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// What is done, one unit of it or `MANY` at a time.
type Scenario = fn(&mut Meter);

/// Runs things a few times unmeasured, and then measured.
struct Meter {
    warm: bool,
    units: u64,
}

impl Meter {
    /// Does `work`, which is `units` units of what is measured.
    fn run<T>(&mut self, units: u64, work: impl FnOnce() -> T) -> T {
        if !self.warm {
            return work();
        }
        self.units += units;
        measured(work)
    }

    /// Repeats `round`, first to warm up.
    fn repeat(&mut self, mut round: impl FnMut(&mut Self)) {
        for warm in [false, true] {
            self.warm = warm;
            for _ in 0..TIMES {
                round(self);
            }
        }
    }
}

/// One core's steps, then three cores together.
const SCENARIOS: [(&str, Scenario); 14] = [
    ("leader-propose", |meter| {
        let mut leader = Leader::new();
        meter.repeat(|meter| {
            let mut events = leader.proposals(1);
            meter.run(1, || leader.step(&mut events));
            leader.commit();
        });
    }),
    ("leader-propose-64", |meter| {
        let mut leader = Leader::new();
        meter.repeat(|meter| {
            let mut events = leader.proposals(MANY);
            meter.run(MANY, || leader.step(&mut events));
            leader.commit();
        });
    }),
    ("leader-persisted", |meter| {
        let mut leader = Leader::new();
        meter.repeat(|meter| {
            leader.propose(1);
            let mut events = leader.persisted();
            meter.run(1, || leader.step(&mut events));
            leader.commit();
        });
    }),
    ("leader-acknowledged", |meter| {
        let mut leader = Leader::new();
        meter.repeat(|meter| {
            leader.propose(1);
            leader.persist();
            let mut events = leader.acknowledgement();
            meter.run(1, || leader.step(&mut events));
            leader.commit();
        });
    }),
    ("leader-read", |meter| {
        let mut leader = Leader::new();
        meter.repeat(|meter| {
            let mut events = leader.reads(1);
            meter.run(1, || leader.step(&mut events));
            leader.confirm();
        });
    }),
    ("leader-read-confirmed", |meter| {
        let mut leader = Leader::new();
        meter.repeat(|meter| {
            leader.read(1);
            let mut events = leader.confirmation();
            meter.run(1, || leader.step(&mut events));
        });
    }),
    ("leader-beat", |meter| {
        let mut leader = Leader::new();
        meter.repeat(|meter| {
            let mut events = leader.beat();
            meter.run(1, || leader.step(&mut events));
            leader.confirm();
        });
    }),
    ("follower-append", |meter| {
        let mut follower = Follower::new();
        meter.repeat(|meter| {
            let mut events = follower.append(1);
            meter.run(1, || follower.step(&mut events));
            follower.persist();
        });
    }),
    ("follower-append-64", |meter| {
        let mut follower = Follower::new();
        meter.repeat(|meter| {
            let mut events = follower.append(MANY);
            meter.run(MANY, || follower.step(&mut events));
            follower.persist();
        });
    }),
    ("follower-persisted", |meter| {
        let mut follower = Follower::new();
        meter.repeat(|meter| {
            let mut events = follower.append(1);
            follower.step(&mut events);
            let mut events = follower.persisted();
            meter.run(1, || follower.step(&mut events));
        });
    }),
    ("follower-heartbeat", |meter| {
        let mut follower = Follower::new();
        meter.repeat(|meter| {
            let mut events = follower.heartbeat();
            meter.run(1, || follower.step(&mut events));
        });
    }),
    ("follower-early-wake", |meter| {
        let mut follower = Follower::new();
        meter.repeat(|meter| {
            let mut events = follower.wake();
            meter.run(1, || follower.step(&mut events));
        });
    }),
    ("cluster-entry", |meter| cluster(meter, 1)),
    ("cluster-entry-of-64", |meter| cluster(meter, MANY)),
];

/// An entry's whole way, on all three cores, by those who carry the messages too.
fn cluster(meter: &mut Meter, batch: u64) {
    let mut trio = Trio::new(1);
    // Some thousand entries are measured: compactions count for what they cost.
    meter.repeat(|meter| {
        let payloads: Vec<_> = (0..MANY).map(|_| alone::payload()).collect();
        meter.run(MANY, || {
            let mut payloads = payloads.into_iter();
            while payloads.len() > 0 {
                trio.propose(payloads.by_ref().take(batch as usize));
            }
        });
    });
}

fn main() {
    let Some(name) = env::args().nth(1) else {
        SCENARIOS.iter().for_each(|(name, _)| println!("{name}"));
        return;
    };
    let Some((_, scenario)) = SCENARIOS.iter().find(|(known, _)| *known == name) else {
        eprintln!("there is no scenario {name}");
        std::process::exit(2);
    };
    let mut meter = Meter { warm: false, units: 0 };
    scenario(&mut meter);
    println!("{}", meter.units);
}
