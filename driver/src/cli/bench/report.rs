//! What a run has shown, for people and for programs.

use std::fmt::Write;

use super::generator::Outcome;
use super::load::SECOND;
use super::measurement::Answers;
use super::{Options, Until};
use crate::cli::json::quoted;

/// Percentiles, with their names in the table and in the object.
const PERCENTILES: [(&str, &str, f64); 5] = [
    ("p50", "p50", 0.50),
    ("p90", "p90", 0.90),
    ("p99", "p99", 0.99),
    ("p99.9", "p99_9", 0.999),
    ("p99.99", "p99_99", 0.9999),
];

/// A run that is over.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) options: &'a Options,
    pub(super) outcome: &'a Outcome,
}

impl Report<'_> {
    /// Reads and writes, those that were asked for or came.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (&'static str, &Answers)> {
        let measurement = &self.outcome.measurement;
        let reads = (self.options.reads > 0).then_some(("reads", &measurement.reads));
        let writes = (self.options.reads < 100).then_some(("writes", &measurement.writes));
        reads.into_iter().chain(writes)
    }

    /// Commands that were done.
    pub(super) fn commands(&self) -> u64 {
        self.kinds().map(|(_, answers)| answers.commands()).sum()
    }

    /// How long was measured.
    pub(super) fn seconds(&self) -> f64 {
        self.outcome.measurement.length() as f64 / SECOND as f64
    }

    /// Replies that came in the window, divided by its length.
    fn rate<'b>(&self, kinds: impl Iterator<Item = (&'static str, &'b Answers)>) -> f64 {
        let replies: u64 = kinds.map(|(_, answers)| answers.each_second.iter().sum::<u64>()).sum();
        match self.outcome.measurement.length() {
            0 => 0.0,
            _ => replies as f64 / self.seconds(),
        }
    }

    /// A few lines for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail, here and below.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let Options { connections, pipeline, reads, keys, value_bytes, warm_up, .. } = self.options;
        let pace = match self.options.rate {
            Some(rate) => format!("{rate} commands due each second"),
            None => "the next command when a reply comes".to_owned(),
        };
        writeln!(out, "{}", self.options.addresses.join(", "))?;
        writeln!(out, "{connections} connections, at most {pipeline} in flight on each; {pace}")?;
        let distribution = self.options.distribution.name();
        writeln!(out, "{reads} % reads, {keys} keys ({distribution}), values of {value_bytes} bytes")?;
        let cut = if self.outcome.interrupted { ", interrupted" } else { "" };
        writeln!(out, "{:.3} s measured after {warm_up} s of warm-up{cut}\n", self.seconds())?;
        write!(out, "{:<8}{:>13}{:>13}    ms:", "", "commands", "per second")?;
        PERCENTILES
            .iter()
            .map(|(name, ..)| name)
            .chain([&"max"])
            .try_for_each(|name| write!(out, "{name:>10}"))?;
        writeln!(out)?;
        for kind in self.kinds() {
            let (name, answers) = kind;
            write!(out, "{name:<8}{:>13}{:>13.0}       ", answers.commands(), self.rate([kind].into_iter()))?;
            let percentiles = PERCENTILES.map(|(.., quantile)| answers.latency.value_at_quantile(quantile));
            for nanos in percentiles.into_iter().chain([answers.latency.max()]) {
                match answers.commands() {
                    0 => write!(out, "{:>10}", "-")?,
                    _ => write!(out, "{:>10.3}", nanos as f64 / 1e6)?,
                }
            }
            writeln!(out)?;
        }
        if self.kinds().count() > 1 {
            writeln!(out, "{:<8}{:>13}{:>13.0}", "both", self.commands(), self.rate(self.kinds()))?;
        }
        self.write_notes(out)
    }

    /// What is not as it should be.
    fn write_notes(&self, out: &mut String) -> std::fmt::Result {
        let Outcome { measurement, unanswered, behind, .. } = self.outcome;
        let not_found = measurement.reads.not_found;
        if not_found > 0 {
            writeln!(
                out,
                "\n{not_found} of the reads found nothing: write the keys first (--help shows how)"
            )?;
        }
        if measurement.errors.iter().next().is_some() {
            writeln!(out, "\nerror replies, which are not counted above:")?;
        }
        for (kind, error) in measurement.errors.iter() {
            write!(out, "{:>13}  {kind}", error.count)?;
            if error.outside > 0 {
                write!(out, ", and {} outside of the time measured", error.outside)?;
            }
            writeln!(out, "; the first: {}", error.example)?;
        }
        if *behind > 0 {
            writeln!(
                out,
                "\n{behind} commands were due and never sent: the rate is more than could be kept up with on these \
                 connections, and the latencies above depend on how long the run was"
            )?;
        }
        if *unanswered > 0 {
            writeln!(out, "\n{unanswered} commands were never answered; their latencies are missing above")?;
        }
        Ok(())
    }

    /// One JSON object on one line.
    pub(super) fn json(&self) -> String {
        let mut text = String::new();
        let _ = self.write_json(&mut text);
        text
    }

    fn write_json(&self, out: &mut String) -> std::fmt::Result {
        let Options { connections, pipeline, reads, keys, value_bytes, seed, warm_up, .. } = self.options;
        let Outcome { measurement, unanswered, behind, interrupted } = self.outcome;
        let addresses: Vec<_> = self.options.addresses.iter().map(|address| quoted(address)).collect();
        write!(out, "{{\"addresses\":[{}]", addresses.join(","))?;
        write!(out, ",\"connections\":{connections},\"pipeline\":{pipeline},\"reads_percent\":{reads}")?;
        let distribution = quoted(self.options.distribution.name());
        write!(out, ",\"keys\":{keys},\"distribution\":{distribution},\"value_bytes\":{value_bytes}")?;
        let or_null =
            |number: Option<u64>| number.map_or_else(|| "null".to_owned(), |number| number.to_string());
        write!(out, ",\"wait\":{},\"rate\":{}", or_null(self.options.wait), or_null(self.options.rate))?;
        let requests = or_null(match self.options.until {
            Until::Requests(requests) => Some(requests),
            Until::Seconds(_) => None,
        });
        write!(out, ",\"requests\":{requests},\"seed\":{seed},\"warm_up_seconds\":{warm_up}")?;
        write!(out, ",\"seconds\":{:.6},\"interrupted\":{interrupted}", self.seconds())?;
        write!(out, ",\"commands\":{},\"per_second\":{:.1}", self.commands(), self.rate(self.kinds()))?;
        for (name, answers) in [("reads", &measurement.reads), ("writes", &measurement.writes)] {
            write!(out, ",{}:", quoted(name))?;
            self.write_answers(out, name, answers)?;
        }
        out.push_str(",\"errors\":[");
        for (place, (kind, error)) in measurement.errors.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(out, "{comma}{{\"kind\":{},\"count\":{}", quoted(kind), error.count)?;
            write!(out, ",\"outside\":{},\"first\":{}}}", error.outside, quoted(&error.example))?;
        }
        write!(out, "],\"behind\":{behind},\"unanswered\":{unanswered}}}")
    }

    fn write_answers(&self, out: &mut String, name: &'static str, answers: &Answers) -> std::fmt::Result {
        write!(out, "{{\"commands\":{}", answers.commands())?;
        write!(out, ",\"per_second\":{:.1}", self.rate([(name, answers)].into_iter()))?;
        write!(out, ",\"not_found\":{},\"latency_us\":", answers.not_found)?;
        if answers.commands() == 0 {
            out.push_str("null");
        } else {
            write!(out, "{{\"mean\":{:.3}", answers.latency.mean() / 1e3)?;
            for (_, name, quantile) in PERCENTILES {
                write!(out, ",\"{name}\":{:.3}", answers.latency.value_at_quantile(quantile) as f64 / 1e3)?;
            }
            write!(out, ",\"max\":{:.3}}}", answers.latency.max() as f64 / 1e3)?;
        }
        let seconds: Vec<_> = answers.each_second.iter().map(u64::to_string).collect();
        write!(out, ",\"each_second\":[{}]}}", seconds.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::connection::Flight;
    use crate::cli::bench::load::Kind;
    use crate::cli::bench::measurement::Measurement;
    use crate::cli::bench::parse;

    fn options(line: &str) -> Options {
        parse(lexopt::Parser::from_args(line.split_whitespace())).unwrap().unwrap()
    }

    /// Two seconds in which a read takes 1 ms to 100 ms, and a write 5 ms.
    fn outcome() -> Outcome {
        let mut measurement = Measurement::new(SECOND, 3 * SECOND);
        for millis in 1..=100 {
            let since = SECOND + millis * 1_000_000;
            measurement.answered(
                Flight { kind: Kind::Read, since },
                since + millis * 1_000_000,
                b"$1\r\na\r\n",
            );
        }
        for _ in 0..10 {
            let since = 2 * SECOND;
            measurement.answered(Flight { kind: Kind::Write, since }, since + 5_000_000, b"+OK\r\n");
        }
        Outcome { measurement, unanswered: 0, behind: 0, interrupted: false }
    }

    #[test]
    fn the_text_has_a_line_for_each_kind() {
        let options = options("--reads 90 --address a:1,b:2 --connections 8 --seconds 2");
        let text = Report { options: &options, outcome: &outcome() }.text();
        let expected = "\
a:1, b:2
8 connections, at most 1 in flight on each; the next command when a reply comes
90 % reads, 100000 keys (uniform), values of 100 bytes
2.000 s measured after 1 s of warm-up

             commands   per second    ms:       p50       p90       p99     p99.9    p99.99       max
reads             100           50           50.004    90.046    99.025   100.008   100.008   100.008
writes             10            5            5.001     5.001     5.001     5.001     5.001     5.001
both              110           55
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_went_wrong_is_told() {
        let options = options("--reads 0 --rate 1000 --seconds 2");
        let mut outcome = Outcome { unanswered: 3, behind: 40, interrupted: true, ..outcome() };
        for since in [0, SECOND, SECOND] {
            let flight = Flight { kind: Kind::Write, since };
            outcome.measurement.answered(flight, since + 1, b"-MOVED 0 \"b\":2\r\n");
        }
        let report = Report { options: &options, outcome: &outcome };
        let text = report.text();
        for line in [
            "64 connections, at most 1 in flight on each; 1000 commands due each second",
            "2.000 s measured after 1 s of warm-up, interrupted",
            "            2  MOVED, and 1 outside of the time measured; the first: MOVED 0 \"b\":2",
        ] {
            assert!(text.lines().any(|other| other == line), "'{line}' is not in\n{text}");
        }
        assert!(text.contains("\n40 commands were due and never sent: "), "{text}");
        assert!(text.contains("\n3 commands were never answered; "), "{text}");
        assert!(!text.contains("reads  ") && !text.contains("both"), "{text}");
    }

    #[test]
    fn the_object_has_every_field() {
        let options = options("--reads 90 --seconds 2 --keys 7 --distribution zipf --seed 5");
        let mut outcome = outcome();
        outcome.measurement.reads.not_found = 4;
        let flight = Flight { kind: Kind::Read, since: SECOND };
        outcome.measurement.answered(flight, SECOND + 1, b"-ERR no \"x\"\r\n");
        let json = Report { options: &options, outcome: &outcome }.json();
        let expected = concat!(
            r#"{"addresses":["127.0.0.1:7101"],"connections":64,"pipeline":1,"reads_percent":90,"keys":7,"#,
            r#""distribution":"zipf","value_bytes":100,"wait":null,"rate":null,"requests":null,"seed":5,"warm_up_seconds":1,"#,
            r#""seconds":2.000000,"interrupted":false,"commands":110,"per_second":55.0,"#,
            r#""reads":{"commands":100,"per_second":50.0,"not_found":4,"latency_us":{"mean":50499.197,"#,
            r#""p50":50003.967,"p90":90046.463,"p99":99024.895,"p99_9":100007.935,"p99_99":100007.935,"#,
            r#""max":100007.935},"each_second":[100]},"#,
            r#""writes":{"commands":10,"per_second":5.0,"not_found":0,"latency_us":{"mean":4999.168,"p50":5001.215,"#,
            r#""p90":5001.215,"p99":5001.215,"p99_9":5001.215,"p99_99":5001.215,"max":5001.215},"each_second":[0,10]},"#,
            r#""errors":[{"kind":"ERR","count":1,"outside":0,"first":"ERR no \"x\""}],"behind":0,"unanswered":0}"#,
        );
        assert_eq!(json, expected);
    }
}
