//! Consensus in memory, Quorate beside raft-rs: nanoseconds of processor, allocations and bytes allocated per committed entry, on all three
//! cores of a cluster together, in one thread.
//!
//! Entries of 100 bytes are proposed one at a time or in batches, and the next when nobody has anything left to do. Then the
//! leader has applied what was proposed, and so have the followers where the leader tells the commit index at once; where it
//! tells it by the next append, they apply each batch with the next one. Both cores can do both. Both drop
//! what is applied every 4,096 entries. The payloads are made before the clock starts and are not counted.
//!
//! The cores take turns, round by round: compare what one run says.

mod counting;
mod raft_rs;
mod trio;

use std::env;

use bytes::Bytes;
use counting::{Counting, allocated};
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PAYLOAD: usize = 100;
const BATCHES: [usize; 4] = [1, 16, 64, 256];

/// Entries proposed in a turn, and before the first one.
const ENTRIES: usize = 8 * trio::COMPACT_EVERY as usize;

/// How followers learn of the commit.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    AtOnce,
    ByNextAppend,
}

/// What one turn took, per entry.
#[derive(Clone, Copy)]
struct Cost {
    ns: f64,
    allocations: f64,
    bytes: f64,
}

/// A cluster under measurement.
trait Cluster {
    type Payload;
    fn payload(&self) -> Self::Payload;
    fn propose(&mut self, payloads: impl IntoIterator<Item = Self::Payload>);
    fn applied(&self) -> [u64; 3];
}

impl Cluster for trio::Trio {
    type Payload = Bytes;

    fn payload(&self) -> Bytes {
        let payload = Bytes::from(vec![7; PAYLOAD]);
        // Its reference count is the payload's own, as it is when a command is cut from a socket's buffer.
        drop(payload.clone());
        payload
    }

    fn propose(&mut self, payloads: impl IntoIterator<Item = Bytes>) {
        self.propose(payloads);
    }

    fn applied(&self) -> [u64; 3] {
        self.applied()
    }
}

impl Cluster for raft_rs::Trio {
    type Payload = Vec<u8>;

    fn payload(&self) -> Vec<u8> {
        vec![7; PAYLOAD]
    }

    fn propose(&mut self, payloads: impl IntoIterator<Item = Vec<u8>>) {
        self.propose(payloads);
    }

    fn applied(&self) -> [u64; 3] {
        self.applied()
    }
}

/// Nanoseconds of processor that this thread has had: a busy machine takes time, but not from this clock.
fn cpu_ns() -> f64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec as f64 * 1e9 + spent.tv_nsec as f64
}

fn turn<C: Cluster>(cluster: &mut C, batch: usize, told: Told) -> Cost {
    let before = cluster.applied();
    let mut payloads: Vec<_> = (0..ENTRIES).map(|_| cluster.payload()).collect();
    let (allocations, bytes) = allocated();
    let start = cpu_ns();
    while !payloads.is_empty() {
        cluster.propose(payloads.drain(payloads.len() - batch..));
    }
    let elapsed = cpu_ns() - start;
    let after = allocated();
    let applied = cluster.applied();
    assert_eq!(applied[0], before[0] + ENTRIES as u64);
    let lag = if told == Told::AtOnce { 0 } else { batch as u64 };
    assert!(applied.iter().all(|&index| index + lag >= applied[0]), "{applied:?}");
    let each = |count: f64| count / ENTRIES as f64;
    Cost {
        ns: each(elapsed),
        allocations: each((after.0 - allocations) as f64),
        bytes: each((after.1 - bytes) as f64),
    }
}

/// Median, smallest and largest.
fn spread(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> (f64, f64, f64) {
    let mut values: Vec<_> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

fn row(name: &str, costs: &[Cost]) {
    let (ns, least, most) = spread(costs, |c| c.ns);
    let spread_ns = format!("{ns:.0} ({least:.0}-{most:.0})");
    let allocations = spread(costs, |c| c.allocations).0;
    let bytes = spread(costs, |c| c.bytes).0;
    println!("  {name:<8} {spread_ns:>18} {allocations:>12.2} {bytes:>8.0}");
}

fn main() {
    let rounds = match env::args().nth(1).map(|rounds| rounds.parse::<usize>()) {
        None => 7,
        Some(Ok(rounds)) if rounds > 0 => rounds,
        Some(_) => {
            eprintln!("usage: quorate-cores [ROUNDS]");
            std::process::exit(2);
        }
    };
    println!(
        "per committed entry of {PAYLOAD} bytes, three cores together: median (min-max) of {rounds} rounds of {ENTRIES}"
    );
    for told in [Told::AtOnce, Told::ByNextAppend] {
        for batch in BATCHES {
            let how = match told {
                Told::AtOnce => "commit told at once: all three have applied it before the next batch",
                Told::ByNextAppend => {
                    "commit told by the next append: the leader has applied it before the next batch"
                }
            };
            println!("\nbatches of {batch}, {how}");
            println!("  {:<8} {:>18} {:>12} {:>8}", "", "ns", "allocations", "bytes");
            let mut quorate = trio::Trio::new(if told == Told::AtOnce { 0 } else { 1 });
            let mut raft_rs = raft_rs::Trio::new(told == Told::AtOnce);
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for round in 0..=rounds {
                let costs = (turn(&mut quorate, batch, told), turn(&mut raft_rs, batch, told));
                // The first one warms up.
                if round > 0 {
                    ours.push(costs.0);
                    theirs.push(costs.1);
                }
            }
            row("quorate", &ours);
            row("raft-rs", &theirs);
        }
    }
}
