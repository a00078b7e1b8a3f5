//! CLIENT: what a connection knows about itself.

use alloc::vec::Vec;

use bytes::Bytes;
use smallvec::SmallVec;

use super::command_stats::CommandId;
use super::help::other_subcommand;
use super::reply::{Reply, c_string, number, of_error};
use super::{Connection, Step};
use crate::codec::resp::{parse_integer, write};
use crate::kv::CommandError;
use crate::time::{Micros, Now};

/// Redis's text for a name that CLIENT LIST could not show.
pub(super) const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// Longest name that is kept; Redis sets no limit of its own.
const MAX_NAME: usize = 1024;

/// So much of a command's name is shown.
const SHOWN: usize = 24;

/// What CLIENT LIST shows.
#[derive(Debug)]
pub(super) struct About {
    peer: alloc::string::String,
    name: Vec<u8>,
    library: Vec<u8>,
    library_version: Vec<u8>,
    created: Micros,
    pub(super) last_heard: Micros,
    last_command: LastCommand,
}

/// The last command: for CLIENT LIST, and because the next one is mostly the same.
#[derive(Debug, Default)]
struct LastCommand {
    /// Its name as it was sent, as far as it is shown.
    name: SmallVec<[u8; SHOWN]>,
    id: Option<CommandId>,
}

impl About {
    pub(super) fn new(peer: &str, now: Now) -> Self {
        Self {
            peer: peer.into(),
            name: Vec::new(),
            library: Vec::new(),
            library_version: Vec::new(),
            created: now.mono,
            last_heard: now.mono,
            last_command: LastCommand::default(),
        }
    }

    /// Bytes came.
    pub(super) fn heard(&mut self, now: Now) {
        self.last_heard = self.last_heard.max(now.mono);
    }

    /// A command came; which one it is, if it is one.
    pub(super) fn runs(&mut self, name: &[u8]) -> Option<CommandId> {
        let last = &mut self.last_command;
        // One that fills the space may have been cut.
        if last.name.len() == SHOWN || last.name.as_slice() != name {
            last.name.clear();
            last.name.extend_from_slice(name.get(..SHOWN).unwrap_or(name));
            last.id = CommandId::find(name);
        }
        last.id
    }

    pub(super) fn set_name(&mut self, name: &[u8]) {
        self.name = name.to_vec();
    }

    pub(super) fn forget_names(&mut self) {
        self.name.clear();
    }
}

/// Whether CLIENT LIST can show `name` without being misread.
pub(super) fn is_name(name: &[u8]) -> bool {
    name.len() <= MAX_NAME && name.iter().all(|b| (b'!'..=b'~').contains(b))
}

/// Which lines a CLIENT LIST wants.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Filter {
    #[default]
    All,
    /// No client is of that type.
    None,
    /// In ascending order: who asks may name many, and there may be many lines.
    Ids(Vec<u64>),
}

impl Filter {
    /// Those of `lines` that are wanted.
    pub(super) fn apply(&self, lines: &[u8]) -> Vec<u8> {
        let wanted = |line: &&[u8]| match self {
            Self::All => true,
            Self::None => false,
            Self::Ids(ids) => line_id(line).is_some_and(|id| ids.binary_search(&id).is_ok()),
        };
        lines.split_inclusive(|&b| b == b'\n').filter(wanted).collect::<Vec<_>>().concat()
    }
}

fn line_id(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(b"id=")?.split(|&b| b == b' ').next()?;
    u64::try_from(parse_integer(digits)?).ok()
}

impl Connection {
    /// CLIENT's reply; `None` when it comes later.
    pub(super) fn client(&mut self, arguments: &[Bytes], step: &mut Step<'_>) -> Option<Reply> {
        let [_, subcommand, rest @ ..] = arguments else {
            return Some(of_error(&CommandError::Arity("client")));
        };
        let lower = subcommand.to_ascii_lowercase();
        Some(match (&lower[..], rest) {
            (b"id", []) => Reply::of(|out| number(out, self.id)),
            (b"id", _) => of_error(&CommandError::Arity("client|id")),
            (b"getname", []) => Reply::of(|out| match &self.about.name[..] {
                b"" => write::null(out),
                name => write::bulk(out, name),
            }),
            (b"getname", _) => of_error(&CommandError::Arity("client|getname")),
            (b"setname", [name]) if is_name(name) => {
                self.about.set_name(name);
                Reply::ok()
            }
            (b"setname", [_]) => Reply::error(BAD_NAME),
            (b"setname", _) => of_error(&CommandError::Arity("client|setname")),
            (b"setinfo", [attribute, value]) => self.set_info(attribute, value),
            (b"setinfo", _) => of_error(&CommandError::Arity("client|setinfo")),
            (b"info", []) => Reply::of(|out| {
                let mut line = Vec::new();
                self.describe_line(step.now, &mut line);
                write::verbatim(out, &line);
            }),
            (b"info", _) => of_error(&CommandError::Arity("client|info")),
            (b"list", filter) => match list_filter(filter) {
                Ok(filter) => {
                    self.list_clients(filter, step);
                    return None;
                }
                Err(error) => error,
            },
            // Nothing is ever evicted, and no key has a time of access: both are as wished already.
            (b"no-evict", [switch]) | (b"no-touch", [switch]) if is_switch(switch) => Reply::ok(),
            (b"no-evict" | b"no-touch", [_]) => of_error(&CommandError::Syntax),
            (b"no-evict", _) => of_error(&CommandError::Arity("client|no-evict")),
            (b"no-touch", _) => of_error(&CommandError::Arity("client|no-touch")),
            (b"reply", [mode]) if mode.eq_ignore_ascii_case(b"on") => Reply::ok(),
            _ => other_subcommand("CLIENT", subcommand),
        })
    }

    fn set_info(&mut self, attribute: &[u8], value: &[u8]) -> Reply {
        let (place, name): (_, &[u8]) = if attribute.eq_ignore_ascii_case(b"lib-name") {
            (&mut self.about.library, b"lib-name")
        } else if attribute.eq_ignore_ascii_case(b"lib-ver") {
            (&mut self.about.library_version, b"lib-ver")
        } else {
            return Reply::of(|out| {
                write::error_bytes(out, &[b"ERR Unrecognized option '", c_string(attribute), b"'"])
            });
        };
        if !is_name(value) {
            let text: [&[u8]; 3] =
                [b"ERR ", name, b" cannot contain spaces, newlines or special characters."];
            return Reply::of(|out| write::error_bytes(out, &text));
        }
        *place = value.to_vec();
        Reply::ok()
    }

    /// The fields of Redis's line, in Redis's order. What has no meaning here is what it is in an idle Redis.
    pub(super) fn describe_line(&self, now: Now, out: &mut Vec<u8>) {
        let about = &self.about;
        let seconds = |since: Micros| now.mono.saturating_sub(since) / 1_000_000;
        write::text(out, format_args!("id={} addr={} laddr= fd=-1 name=", self.id, about.peer));
        out.extend_from_slice(&about.name);
        let flags = if self.reads_local { "r" } else { "N" };
        write::text(
            out,
            format_args!(
                " age={} idle={} flags={flags} db=0 sub=0 psub=0 ssub=0 multi={} qbuf={} qbuf-free={} obl={} oll={} \
                 omem={} events=rw cmd=",
                seconds(about.created),
                seconds(about.last_heard),
                self.transaction.as_ref().map_or(-1, |transaction| transaction.len() as i64),
                self.input.filled().len(),
                self.input.capacity().saturating_sub(self.input.filled().len()),
                self.output.len(),
                self.queue.len(),
                self.queue.reply_bytes(),
            ),
        );
        let shown = |b: &u8| if b.is_ascii_graphic() { b.to_ascii_lowercase() } else { b'?' };
        match &about.last_command.name[..] {
            b"" => out.extend_from_slice(b"NULL"),
            name => out.extend(name.iter().map(shown)),
        }
        write::text(out, format_args!(" user=default redir=-1 resp={} lib-name=", self.protocol.number()));
        out.extend_from_slice(&about.library);
        out.extend_from_slice(b" lib-ver=");
        out.extend_from_slice(&about.library_version);
        out.push(b'\n');
    }
}

fn is_switch(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"on") || text.eq_ignore_ascii_case(b"off")
}

/// CLIENT LIST's `[TYPE type] | [ID id …]`.
fn list_filter(arguments: &[Bytes]) -> Result<Filter, Reply> {
    let Some((option, values)) = arguments.split_first() else { return Ok(Filter::All) };
    if option.eq_ignore_ascii_case(b"type")
        && let [kind] = values
    {
        return match &kind.to_ascii_lowercase()[..] {
            b"normal" => Ok(Filter::All),
            b"master" | b"replica" | b"slave" | b"pubsub" => Ok(Filter::None),
            _ => Err(Reply::of(|out| {
                write::error_bytes(out, &[b"ERR Unknown client type '", c_string(kind), b"'"])
            })),
        };
    }
    if option.eq_ignore_ascii_case(b"id") && !values.is_empty() {
        // Redis takes any number; no connection has one below 1.
        let id = |value: &Bytes| Some(u64::try_from(parse_integer(value)?).unwrap_or_default());
        let ids = values.iter().map(id).collect::<Option<Vec<u64>>>();
        let mut ids = ids.ok_or_else(|| Reply::error("ERR Invalid client ID"))?;
        ids.sort_unstable();
        return Ok(Filter::Ids(ids));
    }
    Err(of_error(&CommandError::Syntax))
}
