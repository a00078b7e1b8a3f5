//! How often each command was asked for, and how long its reply took: INFO's sections `commandstats` and `latencystats`.
//!
//! The time is that from a command's parse to the moment at which its reply may be written, on the driver's clock: what waits
//! for a majority, for the disk or for an earlier reply of the connection counts. Commands that are answered as they are
//! parsed take none.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::{Cell, OnceCell};
use core::fmt::{self, Write};

use super::control::{CONTROLS, Control};
use crate::kv::{COMMANDS, CommandInfo, position_by_name};
use crate::time::Micros;

/// A command of one of the tables: the state machine's come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CommandId(u16);

impl CommandId {
    /// The command of this name, in any case.
    pub(super) fn find(name: &[u8]) -> Option<Self> {
        let at = position_by_name(COMMANDS, name, |info| info.name).or_else(|| {
            let at = position_by_name(CONTROLS, name, |control| control.name);
            at.map(|at| at + COMMANDS.len())
        });
        at.and_then(|at| u16::try_from(at).ok()).map(Self)
    }

    /// The row that it is.
    pub(super) fn row(self) -> Row {
        let at = usize::from(self.0);
        match (COMMANDS.get(at), CONTROLS.get(at.wrapping_sub(COMMANDS.len()))) {
            (Some(info), _) => Row::Data(info),
            (None, Some(control)) => Row::Control(control),
            (None, None) => Row::None,
        }
    }
}

/// A row of one of the tables.
#[derive(Debug, Clone, Copy)]
pub(super) enum Row {
    /// The state machine's.
    Data(&'static CommandInfo),
    /// The gateway's.
    Control(&'static Control),
    /// There is no such command.
    None,
}

/// What is counted of all commands. Counted through a shared reference: connections only look at the process.
#[derive(Debug, Clone)]
pub struct CommandStats(Vec<Stats>);

#[derive(Debug, Clone, Default)]
struct Stats {
    calls: Cell<u64>,
    micros: Cell<u64>,
    /// Refused before the state machine was asked.
    rejected: Cell<u64>,
    /// Calls that ended with an error.
    failed: Cell<u64>,
    /// There once the command was called.
    latencies: OnceCell<Histogram>,
}

impl Default for CommandStats {
    fn default() -> Self {
        Self(alloc::vec![Stats::default(); COMMANDS.len() + CONTROLS.len()])
    }
}

fn add(to: &Cell<u64>, n: u64) {
    to.set(to.get().saturating_add(n));
}

impl CommandStats {
    /// A command was answered, `micros` after it had been parsed.
    pub(super) fn answered(&self, command: CommandId, micros: Micros, failed: bool) {
        let Some(stats) = self.0.get(usize::from(command.0)) else { return };
        add(&stats.calls, 1);
        add(&stats.micros, micros);
        add(&stats.failed, u64::from(failed));
        stats.latencies.get_or_init(Histogram::default).add(micros);
    }

    /// A command was refused.
    pub(super) fn rejected(&self, command: CommandId) {
        if let Some(stats) = self.0.get(usize::from(command.0)) {
            add(&stats.rejected, 1);
        }
    }

    /// Calls of all commands.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, stats| sum.saturating_add(stats.calls.get()))
    }

    /// Begins to count anew.
    pub(super) fn reset(&self) {
        for stats in &self.0 {
            for count in [&stats.calls, &stats.micros, &stats.rejected, &stats.failed] {
                count.set(0);
            }
            if let Some(latencies) = stats.latencies.get() {
                latencies.0.iter().for_each(|bucket| bucket.set(0));
            }
        }
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, &Stats)> {
        let names = COMMANDS.iter().map(|info| info.name).chain(CONTROLS.iter().map(|control| control.name));
        names.zip(&self.0)
    }

    /// The lines of the section `commandstats`.
    pub(super) fn describe_counts(&self, to: &mut impl Write) -> fmt::Result {
        for (name, stats) in self.each() {
            let [calls, micros] = [&stats.calls, &stats.micros].map(Cell::get);
            let [rejected, failed] = [&stats.rejected, &stats.failed].map(Cell::get);
            if calls == 0 && rejected == 0 {
                continue;
            }
            let hundredths = micros.saturating_mul(100).checked_div(calls).unwrap_or_default();
            let (whole, part) = (hundredths / 100, hundredths % 100);
            write!(to, "cmdstat_{name}:calls={calls},usec={micros},usec_per_call={whole}.{part:02},")?;
            write!(to, "rejected_calls={rejected},failed_calls={failed}\r\n")?;
        }
        Ok(())
    }

    /// The lines of the section `latencystats`.
    pub(super) fn describe_latencies(&self, to: &mut impl Write) -> fmt::Result {
        for (name, stats) in self.each() {
            let Some(latencies) = stats.latencies.get().filter(|_| stats.calls.get() > 0) else { continue };
            let [p50, p99, p999] = [500, 990, 999].map(|share| latencies.quantile(share));
            write!(to, "latency_percentiles_usec_{name}:p50={p50}.000,p99={p99}.000,p99.9={p999}.000\r\n")?;
        }
        Ok(())
    }
}

/// Numbers below this have a bucket each; above it, each power of two has so many.
const FINE: usize = 1 << FINE_BITS;
const FINE_BITS: u32 = 5;

/// Above so many bits, all share the last bucket: 2^36 microseconds are 19 hours.
const MAX_BITS: u32 = 36;

const BUCKETS: usize = FINE * (MAX_BITS - FINE_BITS + 1) as usize;

/// Numbers by their size, to within a thirty-second.
#[derive(Debug, Clone)]
struct Histogram(Box<[Cell<u64>]>);

impl Default for Histogram {
    fn default() -> Self {
        Self(alloc::vec![Cell::new(0); BUCKETS].into())
    }
}

impl Histogram {
    fn add(&self, value: u64) {
        if let Some(bucket) = self.0.get(bucket_of(value)) {
            add(bucket, 1);
        }
    }

    /// The number that `share` thousandths of all are not above; the largest of its bucket.
    fn quantile(&self, share: u64) -> u64 {
        let total = self.0.iter().fold(0u64, |sum, bucket| sum.saturating_add(bucket.get()));
        let rank = (u128::from(total) * u128::from(share)).div_ceil(1000);
        let mut below = 0;
        let at = self.0.iter().position(|bucket| {
            below += u128::from(bucket.get());
            below >= rank
        });
        at.map_or(0, largest_of)
    }
}

fn bucket_of(value: u64) -> usize {
    let value = value.min((1 << MAX_BITS) - 1);
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(FINE_BITS + 1);
    shift as usize * FINE + (value >> shift) as usize
}

/// The largest number of a bucket.
fn largest_of(bucket: usize) -> u64 {
    let shift = (bucket / FINE).saturating_sub(1);
    let leading = (bucket - shift * FINE) as u64;
    ((leading + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        let mut next = 0;
        for bucket in 0..BUCKETS {
            let largest = largest_of(bucket);
            assert_eq!((bucket_of(next), bucket_of(largest)), (bucket, bucket));
            assert!(largest - next <= next / FINE as u64, "{next} to {largest}");
            next = largest + 1;
        }
        assert_eq!(next, 1 << MAX_BITS);
    }

    #[test]
    fn counts_and_quantiles_are_told_of_what_was_called() {
        let stats = CommandStats::default();
        let [get, ping] = [&b"GET"[..], b"ping"].map(|name| CommandId::find(name).expect("a command"));
        assert_eq!(CommandId::find(b"nonsense"), None);
        (1..=100).for_each(|n| stats.answered(get, n * 10, n == 7));
        stats.rejected(get);
        stats.rejected(ping);
        let mut text = String::new();
        stats.describe_counts(&mut text).expect("a string takes all");
        assert_eq!(
            text,
            "cmdstat_get:calls=100,usec=50500,usec_per_call=505.00,rejected_calls=1,failed_calls=1\r\n\
             cmdstat_ping:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0\r\n"
        );
        let mut text = String::new();
        stats.describe_latencies(&mut text).expect("a string takes all");
        assert_eq!(text, "latency_percentiles_usec_get:p50=503.000,p99=991.000,p99.9=1007.000\r\n");
        stats.reset();
        let mut text = String::new();
        stats.describe_counts(&mut text).expect("a string takes all");
        stats.describe_latencies(&mut text).expect("a string takes all");
        assert_eq!(text, "");
    }
}
