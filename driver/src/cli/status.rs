//! `quorate status`: what each node is doing.

use std::fmt::Write;
use std::io;
use std::time::{Duration, Instant};

use lexopt::{Arg, Parser};

use super::flags::{LOCAL_NODES, Reach, Usage};
use super::json::quoted;
use super::{Failure, NOT_DONE, say};
use crate::node_info::{Crawl, NodeInfo};

const COMMAND: &str = "status";

const HELP: &str = "\
usage: quorate status [--connect HOST:PORT,…] [--timeout-ms N] [--json]

Asks each node what it is doing: those named and all members that they know.

  --connect LIST    client addresses of one or more nodes (127.0.0.1:7101)
  --timeout-ms N    how long to wait for each node (1000)
  --json            one JSON object for each node, with all that it tells, one on each line

Exit codes: 0 a leader is known; 2 a flag cannot be used; 3 no node answers, or none knows a leader.
";

/// The columns: their heads and the names in INFO.
const COLUMNS: &[(&str, &str)] = &[
    ("node", "node_id"),
    ("phase", "phase"),
    ("member", "membership"),
    ("role", "raft_role"),
    ("term", "term"),
    ("leader", "leader_id"),
    ("first", "first_index"),
    ("last", "last_index"),
    ("commit", "commit_index"),
    ("applied", "applied_index"),
    ("lag", LAG),
    ("snapshots", "snapshots_saved"),
    ("digest", "digest"),
];

/// What no node tells: how many entries of the leader's log it has not applied.
const LAG: &str = "lag";

/// Digits of a digest in the table.
const DIGEST_DIGITS: usize = 8;

struct Options {
    reach: Reach,
    json: bool,
}

type Answer = (String, io::Result<NodeInfo>);

pub(crate) fn run(parser: Parser) -> Result<(), Failure> {
    let Some(options) = parse(parser)? else {
        print!("{HELP}");
        return Ok(());
    };
    let answers = ask_all(&options.reach);
    for line in if options.json { json(&answers) } else { table(&answers) } {
        say(line);
    }
    let known = answers.iter().any(|(_, answer)| answer.as_ref().is_ok_and(|info| info.leader().is_some()));
    let failed = |text: &str| Err(Failure::Failed { code: NOT_DONE, text: text.into() });
    let forming = |info: &NodeInfo| info.text("phase") == Some("forming");
    match answers.iter().any(|(_, answer)| answer.is_ok()) {
        true if !known && answers.iter().any(|(_, answer)| answer.as_ref().is_ok_and(forming)) => failed(
            "the cluster is not formed yet: that needs every node of --cluster, with the same list; their logs say more",
        ),
        false => failed("no node answers; is --connect right, and does the cluster run?"),
        true if !known => failed("no node knows a leader: more than half of the members have to be up"),
        true => Ok(()),
    }
}

fn parse(mut parser: Parser) -> Result<Option<Options>, Usage> {
    let refused = |error: lexopt::Error| Usage::refused(COMMAND, &error);
    // One node is enough: it names the others.
    let reach = Reach::new(&LOCAL_NODES[..1], Duration::from_secs(1), 600_000);
    let mut options = Options { reach, json: false };
    while let Some(argument) = parser.next().map_err(refused)? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long(flag) if Reach::FLAGS.contains(&flag) => {
                let flag = flag.to_owned();
                options.reach.take(&flag, parser.value().map_err(refused)?)?;
            }
            Arg::Long("json") => options.json = true,
            other => return Err(refused(other.unexpected())),
        }
    }
    Ok(Some(options))
}

/// Asks the nodes named, and those that they name in turn.
fn ask_all(reach: &Reach) -> Vec<Answer> {
    let mut answers: Vec<_> = Crawl::new(&reach.connect, || Instant::now() + reach.timeout).collect();
    // The same node may be reached by two names.
    let id = |answer: &Answer| answer.1.as_ref().ok().and_then(|info| info.number("node_id"));
    answers.sort_by_key(|answer| (id(answer).unwrap_or(u64::MAX), answer.0.clone()));
    answers.dedup_by(|a, b| id(a).is_some() && id(a) == id(b));
    answers
}

fn table(answers: &[Answer]) -> Vec<String> {
    let mut rows: Vec<Vec<String>> = vec![vec!["address".into()]];
    rows[0].extend(COLUMNS.iter().map(|(head, _)| (*head).to_owned()));
    let infos = || answers.iter().filter_map(|(_, answer)| answer.as_ref().ok());
    let leader = infos().filter(|info| info.leads()).max_by_key(|info| info.number("term"));
    let last = leader.and_then(|info| info.number("last_index"));
    for (address, answer) in answers {
        let mut row = vec![address.clone()];
        match answer {
            Ok(info) => row.extend(COLUMNS.iter().map(|(_, name)| cell(info, name, last))),
            Err(error) => row.push(format!("unreachable: {error}")),
        }
        rows.push(row);
    }
    let width = |column: usize| {
        let cells = rows.iter().filter(|row| row.len() > 2).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..=COLUMNS.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn cell(info: &NodeInfo, name: &str, last: Option<u64>) -> String {
    let value = info.text(name).unwrap_or("-");
    match name {
        LAG => {
            let lag =
                last.zip(info.number("applied_index")).map(|(last, applied)| last.saturating_sub(applied));
            lag.map_or_else(|| "-".into(), |lag| lag.to_string())
        }
        "digest" => value.get(..DIGEST_DIGITS).unwrap_or(value).to_owned(),
        "leader_id" if value == "0" => "-".into(),
        _ => value.to_owned(),
    }
}

fn json(answers: &[Answer]) -> Vec<String> {
    let object = |(address, answer): &Answer| {
        let mut text = format!("{{\"address\":{}", quoted(address));
        // Writing to a String cannot fail.
        let _ = match answer {
            Ok(info) => info.iter().try_for_each(|(name, value)| {
                let number = value.parse::<u64>().is_ok_and(|n| n.to_string() == value);
                let value = if number { value.to_owned() } else { quoted(value) };
                write!(text, ",{}:{value}", quoted(name))
            }),
            Err(error) => write!(text, ",\"error\":{}", quoted(&error.to_string())),
        };
        text + "}"
    };
    answers.iter().map(object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_node_has_a_line_of_its_own() {
        let answers =
            vec![("127.0.0.1:1".to_owned(), Err(io::Error::from(io::ErrorKind::ConnectionRefused)))];
        let lines = table(&answers);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains("unreachable: connection refused"), "{lines:?}");
        assert_eq!(json(&answers), ["{\"address\":\"127.0.0.1:1\",\"error\":\"connection refused\"}"]);
    }
}
