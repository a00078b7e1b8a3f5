//! `quorate member` and `quorate transfer`: who belongs to the cluster, and who leads it.

use std::collections::BTreeSet;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use lexopt::{Arg, Parser};
use quorate::codec::resp::Value;

use super::flags::{self, LOCAL_NODES, Reach, Usage};
use super::{Failure, NOT_DONE, NOT_KNOWN, address, say};
use crate::blocking_client::BlockingConnection;
use crate::node_info::Crawl;

const MEMBER_HELP: &str = "\
usage: quorate member list                       [FLAGS]
       quorate member add ID=PEER/CLIENT         [FLAGS]
       quorate member promote ID                 [FLAGS]
       quorate member demote ID                  [FLAGS]
       quorate member remove ID                  [FLAGS]
       quorate member move ID=PEER/CLIENT        [FLAGS]

Changes the membership of a running cluster, one node at a time. A new node is started with 'quorate serve --join',
added (that waits until it has said hello; it receives the log and does not count yet), and promoted: that waits until
it has caught up. A node that is removed ends by itself. The command is done when a majority has it on disk.

  --connect LIST    client addresses of one or more nodes (127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103)
  --timeout-ms N    when to give up (30000)
  --force           make a change that may never be done, because too few of the nodes that decide can be reached

Exit codes: 0 done; 2 a flag cannot be used; 3 certainly not done; 4 it is not known whether it was done.
";

const TRANSFER_HELP: &str = "\
usage: quorate transfer [ID] [FLAGS]

Hands leadership over, to node ID or to the one that has most of the log. Writes wait for some milliseconds.

  --connect LIST    client addresses of one or more nodes (127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103)
  --timeout-ms N    when to give up (30000)

Exit codes: 0 done; 2 a flag cannot be used; 3 certainly not done; 4 it is not known whether it was done.
";

/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(100);

/// How long one node may take to say who leads.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which of the two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Member,
    Transfer,
}

impl Verb {
    const fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Transfer => "transfer",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::Member => MEMBER_HELP,
            Self::Transfer => TRANSFER_HELP,
        }
    }
}

struct Options {
    /// As a node understands it.
    command: Vec<String>,
    reach: Reach,
}

pub(crate) fn run(verb: Verb, parser: Parser) -> Result<(), Failure> {
    let Some(options) = parse(verb, parser)? else {
        print!("{}", verb.help());
        return Ok(());
    };
    let reply = ask_leader(&options)?;
    match reply {
        Value::Array(members) => members.iter().for_each(|member| say(line(member))),
        Value::Integer(index) => say(format_args!("done, at index {index} of the log")),
        _ => say("done"),
    }
    Ok(())
}

fn parse(verb: Verb, mut parser: Parser) -> Result<Option<Options>, Usage> {
    let refused = |error: lexopt::Error| Usage::refused(verb.name(), &error);
    let mut reach = Reach::new(&LOCAL_NODES, Duration::from_secs(30), 3_600_000);
    let mut force = false;
    let mut words = Vec::new();
    while let Some(argument) = parser.next().map_err(refused)? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long(flag) if Reach::FLAGS.contains(&flag) => {
                let flag = flag.to_owned();
                reach.take(&flag, parser.value().map_err(refused)?)?;
            }
            Arg::Long("force") if verb == Verb::Member => force = true,
            Arg::Value(word) if words.len() < 2 => words.push(flags::text(verb.name(), word)?),
            other => return Err(refused(other.unexpected())),
        }
    }
    let mut command = command(verb, &words)?;
    if force {
        command.push("FORCE".into());
    }
    Ok(Some(Options { command, reach }))
}

/// What a node is to be told.
fn command(verb: Verb, words: &[String]) -> Result<Vec<String>, Usage> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let id = |text: &str| {
        let id = text.parse::<u64>().ok().filter(|id| *id != 0);
        id.map(|id| id.to_string())
            .ok_or_else(|| Usage(format!("{}: '{text}' is not the number of a node, from 1 on", verb.name())))
    };
    let member = |name: &str, text: &str| {
        let members = address::cluster("member", text)?;
        match members.into_iter().next() {
            Some((id, at)) if !text.contains(',') => {
                Ok(vec!["MEMBER".into(), name.into(), id.0.to_string(), at.peer, at.client])
            }
            _ => Err(Usage(format!("member: '{text}' is more than one node; one at a time"))),
        }
    };
    match (verb, &words[..]) {
        (Verb::Transfer, []) => Ok(vec!["TRANSFER".into()]),
        (Verb::Transfer, [to]) => Ok(vec!["TRANSFER".into(), id(to)?]),
        (Verb::Member, ["list"]) => Ok(vec!["MEMBER".into(), "LIST".into()]),
        (Verb::Member, [name @ ("promote" | "demote" | "remove"), of]) => {
            Ok(vec!["MEMBER".into(), (*name).into(), id(of)?])
        }
        (Verb::Member, [name @ ("add" | "move"), of]) => member(name, of),
        (Verb::Member, [name @ ("promote" | "demote" | "remove" | "add" | "move")]) => {
            Err(Usage(format!("member {name}: which node? See 'quorate member --help'")))
        }
        (Verb::Member, [other, ..]) => {
            Err(Usage(format!("member: there is no '{other}'; see 'quorate member --help'")))
        }
        (Verb::Member, []) => Err(Usage("member: what? See 'quorate member --help'".into())),
        (Verb::Transfer, _) => Err(Usage("transfer: to one node".into())),
    }
}

/// Finds the leader and asks it, again where that may help, until there is an answer or the time is up.
fn ask_leader(options: &Options) -> Result<Value, Failure> {
    let end = Instant::now() + options.reach.timeout;
    // What the last node that answered had to say.
    let mut last = format!(
        "no node answers (asked {}); is --connect right, and does the cluster run?",
        options.reach.connect.join(", ")
    );
    loop {
        match search(&options.reach.connect, end) {
            Found::Leader(mut connection) => match connection.ask(&with_disk(options, end)?, end) {
                Ok(Value::Error(text)) => {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    let (code, rest) = text.split_once(' ').unwrap_or(("", &text));
                    last = rest.to_owned();
                    match code {
                        // Nothing was done, and soon it may be.
                        "TRYAGAIN" | "CLUSTERDOWN" | "BEHIND" | "UNREACHABLE" | "MOVED" => {}
                        "UNDETERMINED" => return Err(Failure::Failed { code: NOT_KNOWN, text: last }),
                        _ => return Err(Failure::Failed { code: NOT_DONE, text: last }),
                    }
                }
                Ok(reply) => return Ok(reply),
                // It may have arrived.
                Err(error) => return Err(Failure::Failed { code: NOT_KNOWN, text: lost(&error) }),
            },
            Found::NoLeader => last = "no leader is known; are more than half of the members up?".into(),
            Found::Nobody => {}
        }
        if Instant::now() + PAUSE >= end {
            return Err(Failure::Failed { code: NOT_DONE, text: last });
        }
        thread::sleep(PAUSE);
    }
}

/// The command; for a node that is to be added, with the disk with which it has said hello to whichever member it knows.
fn with_disk(options: &Options, end: Instant) -> Result<Vec<String>, Failure> {
    let mut command = options.command.clone();
    if let [_, name, id, ..] = &command[..]
        && name == "add"
    {
        let disks = applications(id, &options.reach.connect, end);
        if disks.len() > 1 {
            let disks: Vec<_> = disks.into_iter().collect();
            let text = format!(
                "{} machines say that they are node {id}, with the disks {}; stop all but one; nothing was done",
                disks.len(),
                disks.join(", ")
            );
            return Err(Failure::Failed { code: NOT_DONE, text });
        }
        command.extend(disks.into_iter().flat_map(|disk| ["DISK".to_owned(), disk]));
    }
    Ok(command)
}

/// The disks with which node `id` waits to be added, by what all members know.
fn applications(id: &str, connect: &[String], end: Instant) -> BTreeSet<String> {
    let mut nodes = Crawl::new(connect, || end.min(Instant::now() + PATIENCE));
    let mut disks = BTreeSet::new();
    while nodes.next().is_some() {
        let Ok(Value::Array(members)) = nodes.ask(&["MEMBER", "LIST"]) else { continue };
        let applies = |member: &&Value| field(member, "role") == "applicant" && field(member, "id") == id;
        disks.extend(members.iter().filter(applies).map(|member| field(member, "disk")));
    }
    disks
}

fn lost(error: &io::Error) -> String {
    format!("the connection to the leader was lost ({error}); 'quorate member list' tells what was done")
}

/// How a search for the leader ended.
enum Found {
    Leader(BlockingConnection),
    /// Somebody answered, and nobody leads.
    NoLeader,
    /// Nobody answered.
    Nobody,
}

/// Looks for the leader among these nodes and those that they know.
fn search(connect: &[String], end: Instant) -> Found {
    let mut nodes = Crawl::new(connect, || end.min(Instant::now() + PATIENCE));
    let mut found = Found::Nobody;
    while let Some((_, answer)) = nodes.next() {
        match answer {
            Ok(info) if info.leads() => {
                return nodes.into_connection().map_or(Found::NoLeader, Found::Leader);
            }
            Ok(_) => found = Found::NoLeader,
            Err(_) => {}
        }
    }
    found
}

/// One member, for people.
fn line(member: &Value) -> String {
    let field = |name| field(member, name);
    let (peer, client) = (field("peer"), field("client"));
    let at = if peer.is_empty() { "waits to be added".into() } else { format!("{peer}/{client}") };
    format!("{:>4}  {:<14}  disk {}  {at}", field("id"), field("role"), field("disk"))
}

/// What MEMBER LIST says of a member under this name; empty when it says nothing.
fn field(member: &Value, name: &str) -> String {
    let Value::Array(pairs) = member else { return String::new() };
    let at = pairs.chunks(2).find(|pair| pair[0].text().is_some_and(|key| key == name.as_bytes()));
    match at.and_then(|pair| pair.get(1)) {
        Some(Value::Integer(number)) => number.to_string(),
        Some(value) => String::from_utf8_lossy(value.text().map_or(&[][..], |text| text)).into_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(verb: Verb, line: &str) -> Result<String, String> {
        let words = line.split(' ').filter(|word| !word.is_empty());
        match parse(verb, Parser::from_args(words)) {
            Ok(options) => Ok(options.map(|options| options.command.join(" ")).unwrap_or_default()),
            Err(Usage(text)) => Err(text),
        }
    }

    #[test]
    fn a_command_line_becomes_a_nodes_command() {
        let member = |line| told(Verb::Member, line).unwrap();
        assert_eq!(member("list"), "MEMBER LIST");
        assert_eq!(
            member("add 4=127.0.0.1:7204/127.0.0.1:7104"),
            "MEMBER add 4 127.0.0.1:7204 127.0.0.1:7104"
        );
        assert_eq!(member("promote 4 --force"), "MEMBER promote 4 FORCE");
        assert_eq!(member("remove 1"), "MEMBER remove 1");
        assert_eq!(told(Verb::Transfer, "").unwrap(), "TRANSFER");
        assert_eq!(told(Verb::Transfer, "2").unwrap(), "TRANSFER 2");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (verb, line, expected) in [
            (Verb::Member, "", "member: what?"),
            (Verb::Member, "remove", "member remove: which node?"),
            (Verb::Member, "remove x", "'x' is not the number of a node"),
            (Verb::Member, "add 4", "has no '='"),
            (Verb::Member, "dance", "there is no 'dance'"),
            (Verb::Transfer, "0", "'0' is not the number of a node"),
            (Verb::Transfer, "1 --force", "invalid option '--force'"),
        ] {
            let text = told(verb, line).unwrap_err();
            assert!(text.contains(expected), "{line}: {text}");
        }
    }
}
