//! `quorate recover`: a new cluster of one node, made of what one disk holds, when the majority is lost for good.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};
use quorate::node::Addresses;
use quorate::raft::{Configuration, NodeId};

use super::flags::{self, Usage};
use super::{Failure, NOT_DONE, address, say};
use crate::survivor::{Site, Survivor, SurvivorError};

const COMMAND: &str = "recover";

const HELP: &str = "\
usage: quorate recover --data-dir OLD --into NEW [FLAGS]
       quorate recover --data-dir OLD --dry-run

For a cluster whose majority is lost for good, and only then: makes a new cluster of one node of everything that the
disk of one surviving node holds. No node may run in OLD, which is read and never written to. Whatever was acknowledged
and never reached this disk is lost, so look at every survivor first (--dry-run), and take the one whose last entry has
the greatest term and, among equals, the greatest index.

What is made has a new cluster id: the nodes of the old cluster cannot come back into it. Never start them again; wipe
each and join it as a new node. Prints what there is and asks; then prints how to go on.

  --data-dir DIR      the surviving node's data directory (OLD)
  --into DIR          where to make the new one (NEW); not there yet, or empty
  --peer HOST:PORT    where peers will reach the node (as in the old cluster)
  --client HOST:PORT  where clients will reach it (as in the old cluster)
  --dry-run           only say what OLD holds
  --yes               do not ask

Exit codes: 0 done; 2 a flag or a directory cannot be used; 3 not done: the answer was no, or a disk failed.
";

/// What the command line says.
#[derive(Debug, Default)]
struct Options {
    data_dir: PathBuf,
    /// `None` for a look only.
    into: Option<PathBuf>,
    peer: Option<String>,
    client: Option<String>,
    yes: bool,
}

pub(crate) fn run(parser: Parser) -> Result<(), Failure> {
    let Some(options) = parse(parser)? else {
        print!("{HELP}");
        return Ok(());
    };
    let read = || Survivor::read(&options.data_dir).map_err(|error| failure("data-dir", error));
    let Some(into) = &options.into else {
        say(summary(&read()?, &options.data_dir));
        return Ok(());
    };
    if !options.yes && !io::stdin().is_terminal() {
        let what = "standard input is no terminal to ask on; look with --dry-run, then give --yes";
        return Err(Usage(format!("{COMMAND}: {what}")).into());
    }
    // What can be refused before a large directory is read is refused then.
    let site = Site::choose(into, &options.data_dir).map_err(|error| failure("into", error))?;
    let survivor = read()?;
    let addresses = addresses(&options, &survivor)?;
    say(summary(&survivor, &options.data_dir));
    if !options.yes && !agreed(&mut io::stdin().lock(), &mut io::stdout()).unwrap_or(false) {
        return Err(Failure::Failed { code: NOT_DONE, text: "nothing was made".into() });
    }
    let cluster = survivor.refound(&site, &addresses).map_err(|error| failure("into", error))?;
    say(format_args!(
        "done: cluster {cluster:032x} of node {}, in {}\n",
        survivor.identity.node,
        into.display()
    ));
    say(next_steps(survivor.identity.node, into, &addresses, &survivor.configuration));
    Ok(())
}

fn failure(flag: &str, error: SurvivorError) -> Failure {
    match error {
        SurvivorError::Directory(text) => Usage::flag(flag, text).into(),
        SurvivorError::Disk(text) => Failure::Failed { code: NOT_DONE, text },
    }
}

/// Reads the command line; `None` if it asks for help.
fn parse(mut parser: Parser) -> Result<Option<Options>, Usage> {
    let refused = |error: lexopt::Error| Usage::refused(COMMAND, &error);
    let directory = |flag, value: OsString| match value.is_empty() {
        true => Err(Usage::flag(flag, "names no directory")),
        false => Ok(PathBuf::from(value)),
    };
    let (mut options, mut data_dir, mut dry_run) = (Options::default(), None, false);
    while let Some(argument) = parser.next().map_err(refused)? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("yes") => options.yes = true,
            Arg::Long("dry-run") => dry_run = true,
            Arg::Long("data-dir") => {
                data_dir = Some(directory("data-dir", parser.value().map_err(refused)?)?)
            }
            Arg::Long("into") => options.into = Some(directory("into", parser.value().map_err(refused)?)?),
            Arg::Long("peer") => {
                options.peer = Some(reachable("peer", parser.value().map_err(refused)?)?);
            }
            Arg::Long("client") => {
                options.client = Some(reachable("client", parser.value().map_err(refused)?)?);
            }
            other => return Err(refused(other.unexpected())),
        }
    }
    options.data_dir = data_dir.ok_or_else(|| Usage::missing(COMMAND, "data-dir"))?;
    if dry_run {
        options.into = None;
    } else if options.into.is_none() {
        return Err(Usage::missing(COMMAND, "into"));
    }
    Ok(Some(options))
}

fn reachable(flag: &str, value: OsString) -> Result<String, Usage> {
    let text = flags::text(flag, value)?;
    address::reachable(flag, &text)?;
    Ok(text)
}

/// Where the node will be reached: as the flags say, or as the old cluster knew it.
fn addresses(options: &Options, survivor: &Survivor) -> Result<Addresses, Usage> {
    let node = survivor.identity.node;
    let known = survivor.configuration.members.get(&node);
    let choose = |flag: &str, given: &Option<String>, known: Option<&String>| {
        let unknown = || Usage::flag(flag, format_args!("is needed: node {node} was no member any more"));
        given.as_ref().or(known).cloned().ok_or_else(unknown)
    };
    let peer = choose("peer", &options.peer, known.map(|member| &member.peer_address))?;
    let client = choose("client", &options.client, known.map(|member| &member.client_address))?;
    if peer == client {
        return Err(Usage::flag("peer", format_args!("{peer} is where clients connect, too")));
    }
    Ok(Addresses { peer, client })
}

/// What there is, and what may be lost.
fn summary(survivor: &Survivor, old: &Path) -> String {
    let (identity, last) = (&survivor.identity, survivor.last());
    let state = survivor.replay.state();
    let mut text = format!(
        "{} is the directory of node {}, disk {}, of cluster {:032x}\n\n",
        old.display(),
        identity.node,
        identity.disk,
        identity.cluster.unwrap_or(0),
    );
    // Writing to a string does not fail.
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "  {name:<12}{value}");
    };
    line("last entry", &format_args!("term {}, index {}", last.term, last.index));
    line("term", &survivor.term);
    if let Some(snapshot) = survivor.snapshot {
        line("snapshot", &format_args!("of the entries up to index {}", snapshot.index));
    }
    let log = last.index.saturating_sub(survivor.snapshot.map_or(0, |last| last.index));
    line("log", &format_args!("{log} entries"));
    line("keys", &state.len());
    line("sessions", &survivor.replay.sessions());
    line(
        "committed",
        &format_args!(
            "up to index {} as far as this disk knows; {} entries after it are not known to be",
            survivor.commit,
            survivor.uncommitted()
        ),
    );
    for (id, member) in &survivor.configuration.members {
        let role = survivor.configuration.role(*id);
        let (peer, client) = (&member.peer_address, &member.client_address);
        line("member", &format_args!("{id} {role} {peer}/{client}"));
    }
    for note in &survivor.notes {
        line("note", note);
    }
    text.push_str(WARNING);
    text
}

const WARNING: &str = "
All of its entries are kept. Those that are not known to be committed may include writes that were refused or never
acknowledged; any write that was acknowledged by others and never reached this disk is lost.

Run this with --dry-run on every survivor, and take the one whose last entry has the greatest term and, among equals,
the greatest index.

The other members, and this one in its old directory, must never be started again: enough of them together would go on
as the old cluster, beside the new one. Wipe each, and join it to the new cluster as a new node ('quorate serve --join').
";

/// Asks. Anything but the whole word is a no, and so is an end without an answer.
fn agreed(input: &mut impl BufRead, output: &mut impl Write) -> io::Result<bool> {
    write!(output, "Make a new cluster of it? Write 'yes': ")?;
    output.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

/// How to start the node, and how to add those that were members before.
fn next_steps(node: NodeId, into: &Path, at: &Addresses, old: &Configuration) -> String {
    let own = format!("{node}={}/{}", at.peer, at.client);
    let mut text = format!(
        "start it, with whatever other flags it had:\n  quorate serve --id {node} --data-dir {} --cluster {own}\n",
        quoted(into)
    );
    for (id, member) in old.members.iter().filter(|(id, _)| **id != node) {
        let (peer, client) = (&member.peer_address, &member.client_address);
        let _ = write!(
            text,
            "\nadd node {id}, with an empty directory:\n  quorate serve --id {id} --data-dir EMPTY --join {own} \
             --listen-client {client} --listen-peer {peer}\n  quorate member add {id}={peer}/{client} --connect {}\n  \
             quorate member promote {id} --connect {}\n",
            at.client, at.client
        );
    }
    text.truncate(text.trim_end().len());
    text
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate::raft::{DiskId, Member};

    fn parsed(line: &str) -> Result<Option<Options>, Usage> {
        parse(Parser::from_args(line.split(' ').filter(|word| !word.is_empty())))
    }

    #[test]
    fn a_command_line_names_both_directories_or_only_looks() {
        let options = parsed("--data-dir old --into new --peer a:1 --client b:2 --yes").unwrap().unwrap();
        assert_eq!((options.data_dir, options.into), ("old".into(), Some("new".into())));
        assert_eq!((options.peer.as_deref(), options.client.as_deref()), (Some("a:1"), Some("b:2")));
        assert!(options.yes);
        assert_eq!(parsed("--data-dir old --into new --dry-run").unwrap().unwrap().into, None);
        assert!(parsed("--data-dir old --help").unwrap().is_none());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, expected) in [
            ("", "--data-dir is missing"),
            ("--data-dir old", "--into is missing"),
            ("--data-dir= --into new", "--data-dir: names no directory"),
            ("--data-dir old --into=", "--into: names no directory"),
            ("--data-dir old --into new --peer 7201", "--peer: '7201' has no port"),
            ("--data-dir old --into new --client 0.0.0.0:7101", "--client: 0.0.0.0:7101 is no address"),
            ("--data-dir old --into new --force", "'--force'"),
            ("--data-dir old new", "recover --help"),
        ] {
            let Usage(text) = parsed(line).unwrap_err();
            assert!(text.contains(expected), "{line}: {text}");
        }
    }

    #[test]
    fn only_the_whole_word_is_a_yes() {
        let answer = |mut text: &[u8]| agreed(&mut text, &mut Vec::new()).unwrap();
        assert!(answer(b"yes\n") && answer(b" yes \r\n"));
        assert!(
            !answer(b"") && !answer(b"\n") && !answer(b"y\n") && !answer(b"YES!\n") && !answer(b"no\nyes\n")
        );
    }

    #[test]
    fn the_next_steps_name_every_other_member() {
        let member = |n: u64| Member {
            disk: DiskId(n.into()),
            peer_address: format!("h{n}:1"),
            client_address: format!("h{n}:2"),
        };
        let old = Configuration::of_voters([1, 3].map(|n| (NodeId(n), member(n))).into());
        let at = Addresses { peer: "p:1".into(), client: "p:2".into() };
        let text = next_steps(NodeId(3), Path::new("/a b"), &at, &old);
        assert_eq!(
            text,
            "start it, with whatever other flags it had:\n  \
             quorate serve --id 3 --data-dir '/a b' --cluster 3=p:1/p:2\n\n\
             add node 1, with an empty directory:\n  \
             quorate serve --id 1 --data-dir EMPTY --join 3=p:1/p:2 --listen-client h1:2 --listen-peer h1:1\n  \
             quorate member add 1=h1:1/h1:2 --connect p:2\n  quorate member promote 1 --connect p:2"
        );
        assert_eq!(quoted(Path::new("/data/new-1")), "/data/new-1");
        assert_eq!(quoted(Path::new("it's")), r"'it'\''s'");
    }
}
