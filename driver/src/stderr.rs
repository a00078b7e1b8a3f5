//! The log that people read: one line on standard error for each note.
//!
//! A thread writes them, so that whoever reads them slowly, or not at all, cannot hold up the event loop; lines that find no
//! room are counted and the count is told.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::clock::unix_ms;

/// Most lines that wait to be written.
const MAX_WAITING: usize = 1024;

/// How long [`Stderr::finish`] waits for the last lines.
const FINISH: Duration = Duration::from_millis(500);

/// Takes lines; clones write to the same place.
#[derive(Debug, Clone)]
pub struct Stderr {
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
    prefix: Arc<str>,
}

/// The writing thread.
#[derive(Debug)]
pub struct Writer(JoinHandle<()>);

impl Stderr {
    /// Starts the thread. Each line begins with the time and `prefix`.
    pub fn start(prefix: &str) -> io::Result<(Self, Writer)> {
        let (lines, waiting) = sync_channel(MAX_WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        let thread = thread::Builder::new().name("stderr".into()).spawn(move || write(&waiting, &counter))?;
        Ok((Self { lines, dropped, prefix: prefix.into() }, Writer(thread)))
    }

    /// Writes a line, or counts it if too many wait.
    pub fn note(&self, text: impl Display) {
        let line = format!("{} {} {text}\n", timestamp(unix_ms()), self.prefix);
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what waits, for a bounded time. No clone may be left.
    pub fn finish(self, writer: Writer) {
        drop(self);
        let give_up = Instant::now() + FINISH;
        while !writer.0.is_finished() && Instant::now() < give_up {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn write(waiting: &Receiver<String>, dropped: &AtomicU64) {
    loop {
        let line = match waiting.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut stderr = io::stderr().lock();
        // Nobody can be told that nobody can be told.
        if let Some(line) = line {
            let _ = stderr.write_all(line.as_bytes());
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(stderr, "{} ({lost} lines were dropped here)", timestamp(unix_ms()));
        }
    }
}

/// Milliseconds of Unix time as `2026-01-31T23:59:59.999Z`.
pub(crate) fn timestamp(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

/// The Gregorian date of a count of days since 1970-01-01, by counting years from 1 March so that leap days come last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_at_the_calendars_edges() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(timestamp(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(timestamp(1_709_251_200_000), "2024-03-01T00:00:00.000Z");
        assert_eq!(timestamp(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(timestamp(1_798_761_599_001), "2026-12-31T23:59:59.001Z");
    }
}
