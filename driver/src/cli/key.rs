//! `quorate get|put|append|del`: one command through the clerk, which finds the leader, retries, and runs it once.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use lexopt::{Arg, Parser};
use quorate::client::ClerkError;
use quorate::codec::resp::Value;

use super::flags::{LOCAL_NODES, Reach, Usage};
use super::{Failure, NO_SUCH_KEY, NOT_DONE, NOT_KNOWN};
use crate::blocking_client::Client;

/// One of the commands about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Put,
    Append,
    Del,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Append => "append",
            Self::Del => "del",
        }
    }

    fn redis(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "SET",
            Self::Append => "APPEND",
            Self::Del => "DEL",
        }
    }

    fn takes_value(self) -> bool {
        matches!(self, Self::Put | Self::Append)
    }

    fn help(self) -> String {
        let name = self.name();
        let (arguments, what) = match self {
            Self::Get => ("KEY", "Prints the value of KEY."),
            Self::Put => ("KEY VALUE", "Writes VALUE to KEY."),
            Self::Append => ("KEY VALUE", "Appends VALUE to what KEY holds, and prints the new length."),
            Self::Del => ("KEY", "Deletes KEY."),
        };
        format!(
            "usage: quorate {name} {arguments} [--connect HOST:PORT,…] [--timeout-ms N]

{what}
The leader is found, and the command is tried again until it is done; it runs exactly once.

  --connect LIST    client addresses of one or more nodes (127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103)
  --timeout-ms N    when to give up (10000)

Exit codes: 0 done; 1 there is no such key; 2 a flag cannot be used; 3 certainly not done; 4 it is not known whether it
was done.
"
        )
    }
}

struct Options {
    words: Vec<OsString>,
    reach: Reach,
}

pub(crate) fn run(verb: Verb, parser: Parser) -> Result<(), Failure> {
    let Some(options) = parse(verb, parser)? else {
        print!("{}", verb.help());
        return Ok(());
    };
    let mut command = vec![verb.redis().as_bytes().to_vec()];
    command.extend(options.words.into_iter().map(OsStringExt::into_vec));
    let system = |error: std::io::Error| Failure::Failed { code: NOT_DONE, text: error.to_string() };
    let Reach { connect, timeout, .. } = options.reach;
    let asked = connect.join(", ");
    let mut client = Client::new(connect, timeout).map_err(system)?;
    let reply = match verb {
        Verb::Get => client.read(&command),
        _ => client.write(&command),
    };
    let reply = reply.map_err(|error| match error {
        ClerkError::Undetermined => Failure::Failed { code: NOT_KNOWN, text: error.to_string() },
        ClerkError::TimedOut => Failure::Failed {
            code: NOT_DONE,
            text: format!(
                "{error} (asked {asked}; is --connect right, and are more than half of the members up?)"
            ),
        },
        _ => Failure::Failed { code: NOT_DONE, text: error.to_string() },
    })?;
    let shown = show(verb, reply);
    client.finish();
    shown
}

fn parse(verb: Verb, mut parser: Parser) -> Result<Option<Options>, Usage> {
    let refused = |error: lexopt::Error| Usage::refused(verb.name(), &error);
    let (mut words, mut reach) = (Vec::new(), Reach::new(&LOCAL_NODES, Duration::from_secs(10), 3_600_000));
    let wanted = 1 + usize::from(verb.takes_value());
    while let Some(argument) = parser.next().map_err(refused)? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long(flag) if Reach::FLAGS.contains(&flag) => {
                let flag = flag.to_owned();
                reach.take(&flag, parser.value().map_err(refused)?)?;
            }
            Arg::Value(word) if words.len() < wanted => words.push(word),
            other => return Err(refused(other.unexpected())),
        }
    }
    let missing = match words.len() {
        0 => "KEY",
        n if n < wanted => "VALUE",
        _ => return Ok(Some(Options { words, reach })),
    };
    let name = verb.name();
    Err(Usage(format!("{name}: {missing} is missing; see 'quorate {name} --help'")))
}

fn show(verb: Verb, reply: Value) -> Result<(), Failure> {
    let no_such_key = || Failure::Failed { code: NO_SUCH_KEY, text: "there is no such key".into() };
    let mut stdout = std::io::stdout().lock();
    // A reader of our output who has gone away is told by nothing better than that.
    let _ = match (verb, &reply) {
        (Verb::Get, Value::Null) | (Verb::Del, Value::Integer(0)) => return Err(no_such_key()),
        (Verb::Get, Value::Bulk(value) | Value::Simple(value)) => {
            stdout.write_all(value).and_then(|()| stdout.write_all(b"\n"))
        }
        (Verb::Append, Value::Integer(length)) => writeln!(stdout, "{length}"),
        _ => writeln!(stdout, "OK"),
    };
    let _ = stdout.flush();
    Ok(())
}
