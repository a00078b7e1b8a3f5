//! The `quorate` command: one file for each subcommand.
//!
//! Exit codes: 0 done; 1 there is no such key; 2 a flag, an address or the data directory cannot be used; 3 a disk failed, or a
//! request was certainly not done; 4 the cluster refuses this node, or it is not known whether a request was done; 5 a
//! broken invariant.

mod address;
mod bench;
mod demo;
mod dev;
mod flags;
mod interrupt;
mod json;
mod key;
mod member;
mod recover;
mod serve;
mod sim;
mod status;
mod temporary;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;

use flags::Usage;

/// There is no such key.
pub(crate) const NO_SUCH_KEY: u8 = 1;

/// A request was certainly not done, or the cluster did not answer.
pub(crate) const NOT_DONE: u8 = 3;

/// It is not known whether a request was done.
pub(crate) const NOT_KNOWN: u8 = 4;

const HELP: &str = "\
Quorate: a replicated key-value store that speaks RESP.

usage: quorate COMMAND [FLAGS]

  demo      three nodes as real processes: write, kill -9 the leader, lose nothing
  dev       a local cluster that stays up until Ctrl-C
  serve     one node of a cluster
  get       read a key           quorate get KEY
  put       write a key          quorate put KEY VALUE
  append    add to a key's value quorate append KEY VALUE
  del       delete a key         quorate del KEY
  status    what each node is doing
  member    add, promote or remove a node
  transfer  hand leadership over
  recover   make a new cluster of what one disk holds, when the majority is lost for good
  sim       whole clusters under faults, in simulated time
  bench     load for any server that speaks RESP: how much it takes, and how soon it answers
  help      this text
  version   the version

'quorate COMMAND --help' tells more about each.
";

/// How a command ended when it did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line, or what it names, cannot be used: exit code 2.
    Usage(Usage),
    /// Anything else, with its own exit code.
    Failed {
        /// The exit code.
        code: u8,
        /// One line for people; empty if there is nothing to add.
        text: String,
    },
}

impl From<Usage> for Failure {
    fn from(usage: Usage) -> Self {
        Self::Usage(usage)
    }
}

/// Runs the command line `arguments` (without the program's name) and says with which exit code the process ends.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let mut arguments = arguments.into_iter();
    let Some(command) = arguments.next() else {
        eprint!("{HELP}");
        return 2;
    };
    let name = command.to_string_lossy().into_owned();
    let parser = lexopt::Parser::from_args(arguments);
    let done = match name.as_str() {
        "serve" => serve::run(parser),
        "dev" => dev::run(parser),
        "demo" => demo::run(parser),
        "get" => key::run(key::Verb::Get, parser),
        "put" => key::run(key::Verb::Put, parser),
        "append" => key::run(key::Verb::Append, parser),
        "del" => key::run(key::Verb::Del, parser),
        "status" => status::run(parser),
        "member" => member::run(member::Verb::Member, parser),
        "transfer" => member::run(member::Verb::Transfer, parser),
        "recover" => recover::run(parser),
        "sim" => sim::run(parser),
        "bench" => bench::run(parser),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        "version" | "--version" | "-V" => {
            println!("quorate {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        _ => Err(Failure::Usage(Usage(format!("there is no command '{name}'; see 'quorate help'")))),
    };
    match done {
        Ok(()) => 0,
        Err(Failure::Usage(Usage(text))) => {
            eprintln!("quorate: {text}");
            2
        }
        Err(Failure::Failed { code, text }) => {
            if !text.is_empty() {
                eprintln!("quorate: {text}");
            }
            code
        }
    }
}

/// Prints a line for people, at once. A reader who has gone away does not end the command.
pub(crate) fn say(line: impl Display) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
