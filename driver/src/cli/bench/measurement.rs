//! What the replies have shown.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::Nanos;
use super::connection::Flight;
use super::load::{Kind, SECOND};

/// Latencies of more than an hour are taken for an hour.
const MAX_LATENCY: Nanos = 3600 * SECOND;

/// Longest first word of an error that is told from others, and how many are.
const MAX_ERROR_KIND: usize = 32;
const MAX_ERROR_KINDS: usize = 64;

/// What is kept of an error's text.
const MAX_ERROR_TEXT: usize = 200;

/// Replies, counted.
///
/// A command counts if it began (was due, in an open loop) in the window, and its latency counts whenever its reply comes:
/// what waits at the end is not left out. Throughput is of the replies that came in the window, whenever they were asked for.
#[derive(Debug)]
pub(super) struct Measurement {
    from: Nanos,
    until: Nanos,
    pub(super) reads: Answers,
    pub(super) writes: Answers,
    pub(super) errors: Errors,
    /// Replies of all kinds, at any time, and when the last came.
    pub(super) replies: u64,
    pub(super) last_reply: Nanos,
}

/// The commands of one kind that were done.
#[derive(Debug)]
pub(super) struct Answers {
    /// Of those that began in the window, in nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// Those of them whose reply was null: there was no such key.
    pub(super) not_found: u64,
    /// Replies that came in the window, for each of its seconds.
    pub(super) each_second: Vec<u64>,
}

impl Answers {
    fn new() -> Self {
        let latency = Histogram::new_with_max(MAX_LATENCY, 3).expect("the bounds are constants");
        Self { latency, not_found: 0, each_second: Vec::new() }
    }

    /// Those that began in the window.
    pub(super) fn commands(&self) -> u64 {
        self.latency.len()
    }
}

/// Error replies by their first word.
#[derive(Debug, Default)]
pub(super) struct Errors(BTreeMap<String, ErrorCount>);

/// The errors with one first word.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct ErrorCount {
    /// To commands that began in the window, and to others.
    pub(super) count: u64,
    pub(super) outside: u64,
    /// The first such error.
    pub(super) example: String,
}

impl Errors {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &ErrorCount)> {
        self.0.iter().map(|(kind, count)| (kind.as_str(), count))
    }

    /// `text` is an error without the byte that marks it.
    fn count(&mut self, text: &[u8], counts: bool) {
        let text = text.get(..MAX_ERROR_TEXT).unwrap_or(text).trim_ascii_end();
        let text = String::from_utf8_lossy(text);
        let word = text.split_ascii_whitespace().next().unwrap_or_default();
        let kind = word.char_indices().nth(MAX_ERROR_KIND).map_or(word, |(end, _)| &word[..end]);
        let known = self.0.len() < MAX_ERROR_KINDS || self.0.contains_key(kind);
        let kind = if known { kind } else { "(others)" };
        if !self.0.contains_key(kind) {
            self.0.insert(
                kind.to_owned(),
                ErrorCount { example: text.clone().into_owned(), ..Default::default() },
            );
        }
        if let Some(error) = self.0.get_mut(kind) {
            *(if counts { &mut error.count } else { &mut error.outside }) += 1;
        }
    }
}

impl Measurement {
    /// Counts what begins at `from` or later, and before `until`.
    pub(super) fn new(from: Nanos, until: Nanos) -> Self {
        Self {
            from,
            until,
            reads: Answers::new(),
            writes: Answers::new(),
            errors: Errors::default(),
            replies: 0,
            last_reply: 0,
        }
    }

    /// Whether what begins at `since` counts.
    pub(super) fn counts(&self, since: Nanos) -> bool {
        (self.from..self.until).contains(&since)
    }

    /// The window ends at `now`, if not before.
    pub(super) fn end(&mut self, now: Nanos) {
        self.until = self.until.min(now.max(self.from));
    }

    /// Where the window ends.
    pub(super) fn until(&self) -> Nanos {
        self.until
    }

    /// How long the window is.
    pub(super) fn length(&self) -> Nanos {
        self.until - self.from
    }

    /// Counts a reply that came at `now`.
    pub(super) fn answered(&mut self, flight: Flight, now: Nanos, reply: &[u8]) {
        self.replies += 1;
        self.last_reply = now;
        let counts = self.counts(flight.since);
        match reply {
            [b'-', text @ ..] => return self.errors.count(text, counts),
            // RESP3's errors of more than one line: the text follows a line with its length.
            [b'!', rest @ ..] => {
                let text = rest.iter().position(|&byte| byte == b'\n').map_or(rest, |end| &rest[end + 1..]);
                return self.errors.count(text, counts);
            }
            _ => {}
        }
        let comes_in_window = self.counts(now);
        let answers = match flight.kind {
            Kind::Read => &mut self.reads,
            Kind::Write => &mut self.writes,
        };
        if counts {
            answers.latency.saturating_record(now.saturating_sub(flight.since));
            answers.not_found += u64::from(matches!(reply, b"$-1\r\n" | b"_\r\n"));
        }
        if comes_in_window {
            let second = ((now - self.from) / SECOND) as usize;
            if answers.each_second.len() <= second {
                answers.each_second.resize(second + 1, 0);
            }
            answers.each_second[second] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_in_the_window_counts_whenever_it_ends() {
        let mut measurement = Measurement::new(10 * SECOND, 12 * SECOND);
        let mut answer = |since, now, kind, reply: &str| {
            measurement.answered(Flight { kind, since }, now, reply.as_bytes());
        };
        // Begun before the window: it counts for the throughput alone.
        answer(9 * SECOND, 10 * SECOND + 1, Kind::Read, "$1\r\na\r\n");
        answer(10 * SECOND, 11 * SECOND, Kind::Read, "$-1\r\n");
        answer(11 * SECOND, 11 * SECOND + 5, Kind::Write, "+OK\r\n");
        // Answered after the window: it counts for the latency alone.
        answer(11 * SECOND, 19 * SECOND, Kind::Write, "+OK\r\n");
        answer(12 * SECOND, 12 * SECOND + 1, Kind::Write, "+OK\r\n");
        let (reads, writes) = (&measurement.reads, &measurement.writes);
        assert_eq!((reads.commands(), reads.not_found, &reads.each_second), (1, 1, &vec![1, 1]));
        assert_eq!((writes.commands(), writes.not_found, &writes.each_second), (2, 0, &vec![0, 1]));
        assert!(writes.latency.max() >= 8 * SECOND);
        assert_eq!((measurement.replies, measurement.last_reply), (5, 12 * SECOND + 1));
    }

    #[test]
    fn errors_are_counted_by_their_first_word_and_are_no_commands() {
        let mut measurement = Measurement::new(5, 10);
        let mut answer = |since, reply: &str| {
            measurement.answered(Flight { kind: Kind::Write, since }, 9, reply.as_bytes());
        };
        answer(4, "-MOVED 1 a:1\r\n");
        answer(5, "-MOVED 2 b:2\r\n");
        answer(5, "-ERR\r\n");
        answer(6, "!13\r\nERR in\r\nlines\r\n");
        answer(6, &format!("-{}\r\n", "é".repeat(500)));
        let error = |count, outside, example: &str| ErrorCount { count, outside, example: example.into() };
        let found: Vec<_> = measurement.errors.iter().map(|(kind, count)| (kind, count.clone())).collect();
        assert_eq!(found[0], ("ERR", error(2, 0, "ERR")));
        assert_eq!(found[1], ("MOVED", error(1, 1, "MOVED 1 a:1")));
        assert_eq!(found[2].0, "é".repeat(MAX_ERROR_KIND));
        assert_eq!(measurement.writes.commands(), 0);
        assert!(measurement.writes.each_second.is_empty());
    }

    #[test]
    fn a_server_that_makes_up_errors_fills_no_memory() {
        let mut errors = Errors::default();
        (0..1000).for_each(|n| errors.count(format!("E{n}").as_bytes(), true));
        assert_eq!(errors.iter().count(), MAX_ERROR_KINDS + 1);
        assert_eq!(errors.iter().map(|(_, error)| error.count).sum::<u64>(), 1000);
    }

    #[test]
    fn a_window_ends_once() {
        let mut measurement = Measurement::new(10, u64::MAX);
        measurement.end(30);
        measurement.end(40);
        assert_eq!(measurement.length(), 20);
        // Interrupted before it began.
        let mut measurement = Measurement::new(10, 20);
        measurement.end(3);
        assert_eq!(measurement.length(), 0);
    }
}
