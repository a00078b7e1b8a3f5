//! Commands about the connection and the server, answered without the node.

use alloc::vec::Vec;

use bytes::Bytes;

use super::reply::{Reply, c_string, fields, number, of_error};
use super::{Action, Actions, Connection, Context, Protocol, Step};
use super::{client, cluster, command_docs, config, info, slow_log, transaction};
use crate::codec::resp::{parse_integer, write};
use crate::kv::{self, CommandError};
use crate::time::Now;

/// A control command, with the facts that COMMAND tells.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) name: &'static str,
    /// As [`CommandInfo::arity`](crate::kv::CommandInfo::arity).
    pub(super) arity: i32,
    pub(super) group: &'static str,
    pub(super) since: &'static str,
    pub(super) summary: &'static str,
    pub(super) verb: Verb,
}

/// What a control command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Asking,
    Auth,
    Bgsave,
    Client,
    Cluster,
    Command,
    Config,
    Discard,
    Echo,
    Exec,
    Hello,
    Info,
    Member,
    Multi,
    Once,
    Ping,
    Quit,
    Readonly,
    Readwrite,
    Reset,
    Select,
    Session,
    Slowlog,
    Time,
    Transfer,
    Unwatch,
    Wait,
    Watch,
}

const fn control(name: &'static str, arity: i32, verb: Verb) -> Control {
    Control { name, arity, group: "", since: "", summary: "", verb }
}

const CONNECTION: &str = "connection";
const CLUSTER: &str = "cluster";
const SERVER: &str = "server";
const TRANSACTIONS: &str = "transactions";

/// All control commands, by name.
#[rustfmt::skip]
pub(super) const CONTROLS: &[Control] = &[
    control("asking", 1, Verb::Asking)
        .docs(CLUSTER, "3.0.0", "Signals that a cluster client is following an -ASK redirect."),
    control("auth", -2, Verb::Auth)
        .docs(CONNECTION, "1.0.0", "Authenticates the connection."),
    control("bgsave", -1, Verb::Bgsave)
        .docs(SERVER, "1.0.0", "Asynchronously saves a snapshot of this node's applied state."),
    control("client", -2, Verb::Client)
        .docs(CONNECTION, "2.4.0", "A container for client connection commands."),
    control("cluster", -2, Verb::Cluster)
        .docs(CLUSTER, "3.0.0", "A container for Redis Cluster commands."),
    control("command", -1, Verb::Command)
        .docs(SERVER, "2.8.13", "Returns detailed information about all commands."),
    control("config", -2, Verb::Config)
        .docs(SERVER, "2.0.0", "A container for server configuration commands."),
    control("discard", 1, Verb::Discard)
        .docs(TRANSACTIONS, "2.0.0", "Discards a transaction."),
    control("echo", 2, Verb::Echo)
        .docs(CONNECTION, "1.0.0", "Returns the given string."),
    control("exec", 1, Verb::Exec)
        .docs(TRANSACTIONS, "1.2.0", "Executes all commands in a transaction."),
    control("hello", -1, Verb::Hello)
        .docs(CONNECTION, "6.0.0", "Handshakes with the server."),
    control("info", -1, Verb::Info)
        .docs(SERVER, "1.0.0", "Returns information and statistics about the server."),
    control("member", -2, Verb::Member)
        .docs(SERVER, "0.1.0", "A container for commands about the members of the cluster."),
    control("multi", 1, Verb::Multi)
        .docs(TRANSACTIONS, "1.2.0", "Starts a transaction."),
    control("once", -5, Verb::Once)
        .docs(SERVER, "0.1.0", "Runs a command of a session exactly once, however often it is sent."),
    control("ping", -1, Verb::Ping)
        .docs(CONNECTION, "1.0.0", "Returns the server's liveliness response."),
    control("quit", -1, Verb::Quit)
        .docs(CONNECTION, "1.0.0", "Closes the connection."),
    control("readonly", 1, Verb::Readonly)
        .docs(CLUSTER, "3.0.0", "Allows reads of this node's own, possibly older state."),
    control("readwrite", 1, Verb::Readwrite)
        .docs(CLUSTER, "3.0.0", "Makes reads linearizable again."),
    control("reset", 1, Verb::Reset)
        .docs(CONNECTION, "6.2.0", "Resets the connection."),
    control("select", 2, Verb::Select)
        .docs(CONNECTION, "1.0.0", "Changes the selected database."),
    control("session", -2, Verb::Session)
        .docs(SERVER, "0.1.0", "Opens or closes a session for ONCE."),
    control("slowlog", -2, Verb::Slowlog)
        .docs(SERVER, "2.2.12", "A container for slow log commands."),
    control("time", 1, Verb::Time)
        .docs(SERVER, "2.6.0", "Returns the server time."),
    control("transfer", -1, Verb::Transfer)
        .docs(SERVER, "0.1.0", "Hands leadership over to another node."),
    control("unwatch", 1, Verb::Unwatch)
        .docs(TRANSACTIONS, "2.2.0", "Forgets about watched keys of a transaction."),
    control("wait", 3, Verb::Wait)
        .docs("generic", "3.0.0", "Returns how many replicas surely have the earlier writes of this connection."),
    control("watch", -2, Verb::Watch)
        .docs(TRANSACTIONS, "2.2.0", "Monitors changes to keys to determine the execution of a transaction."),
];

impl Control {
    /// The control command of this name, in any case.
    pub(super) fn find(name: &[u8]) -> Option<&'static Self> {
        CONTROLS.get(kv::position_by_name(CONTROLS, name, |control| control.name)?)
    }

    const fn docs(self, group: &'static str, since: &'static str, summary: &'static str) -> Self {
        Self { group, since, summary, ..self }
    }

    /// Whether it is carried out at once, though MULTI is open.
    pub(super) fn ends_or_begins_transaction(&self) -> bool {
        matches!(self.verb, Verb::Discard | Verb::Multi | Verb::Quit | Verb::Reset | Verb::Watch)
    }

    /// Whether it may stand between MULTI and EXEC. What the driver answers may not, nor what changes how the rest is read.
    pub(super) fn may_be_queued(&self, arguments: &[Bytes]) -> bool {
        let asks_driver = || arguments.get(1).is_some_and(|verb| verb.eq_ignore_ascii_case(b"list"));
        match self.verb {
            Verb::Auth | Verb::Bgsave | Verb::Hello => false,
            Verb::Client => !asks_driver(),
            _ => true,
        }
    }

    /// Whether `arguments`, the name among them, are a number that it takes.
    pub(super) fn takes(&self, arguments: usize) -> bool {
        kv::is_arity(self.arity, arguments)
    }
}

/// BGSAVE [SCHEDULE]. A snapshot that is being saved already is not joined by a second one: then there is nothing to do, which
/// is what SCHEDULE asks for.
fn bgsave(arguments: &[Bytes], out: &mut Actions) -> Reply {
    let schedule = arguments.get(1).is_some_and(|option| option.eq_ignore_ascii_case(b"schedule"));
    if arguments.len() > 2 || (arguments.len() == 2 && !schedule) {
        return of_error(&CommandError::Syntax);
    }
    out.push(Action::TakeSnapshot);
    Reply::of(|out| write::simple(out, "Background saving started"))
}

impl Connection {
    /// The reply to a control command that EXEC carries out.
    pub(super) fn control_in_transaction(
        &mut self,
        control: &Control,
        arguments: &[Bytes],
        step: &mut Step<'_>,
    ) -> Reply {
        if control.verb == Verb::Wait {
            // Nothing may be waited for in a transaction.
            return wait_error(arguments).unwrap_or_else(|| cluster::wait(step.context.node));
        }
        self.control(control, arguments, step).unwrap_or_else(transaction::not_allowed)
    }

    /// The reply to a control command; `None` when it is given in another way.
    pub(super) fn control(
        &mut self,
        control: &Control,
        arguments: &[Bytes],
        step: &mut Step<'_>,
    ) -> Option<Reply> {
        let (now, context) = (step.now, step.context);
        Some(match control.verb {
            Verb::Asking => Reply::ok(),
            Verb::Auth => auth(arguments),
            Verb::Bgsave => bgsave(arguments, step.out),
            Verb::Client => return self.client(arguments, step),
            Verb::Cluster => cluster::reply(arguments, context),
            Verb::Command => command_docs::reply(arguments),
            Verb::Config => config::reply(arguments, &self.settings, context),
            Verb::Discard => self.discard(),
            Verb::Echo => Reply::of(|out| write::bulk(out, arguments.get(1).map_or(&[], |text| text))),
            Verb::Hello => self.hello(arguments, context),
            Verb::Info => info::reply(arguments, now, context),
            Verb::Multi => self.multi(),
            Verb::Ping => ping(arguments),
            Verb::Quit => {
                self.quit();
                Reply::ok()
            }
            verb @ (Verb::Readonly | Verb::Readwrite) => {
                self.reads_local = verb == Verb::Readonly;
                Reply::ok()
            }
            Verb::Reset => self.reset(),
            Verb::Select => select(arguments),
            Verb::Slowlog => slow_log::reply(arguments, &context.process.slow_log),
            Verb::Time => time(now),
            Verb::Unwatch => self.unwatch(),
            Verb::Wait => match wait_error(arguments) {
                Some(error) => error,
                None => {
                    self.hold_wait();
                    return None;
                }
            },
            Verb::Watch => return self.watch(arguments, step),
            // Requests of the node, which `classify` makes.
            Verb::Exec | Verb::Member | Verb::Once | Verb::Session | Verb::Transfer => return None,
        })
    }

    /// RESET answers in RESP2, and closes no session: sessions are not the connection's.
    fn reset(&mut self) -> Reply {
        self.protocol = Protocol::Resp2;
        self.reads_local = false;
        self.about.forget_names();
        self.forget_transaction();
        Reply::of(|out| write::simple(out, "RESET"))
    }

    /// HELLO [protover [AUTH user password] [SETNAME name]]. Changes nothing unless all of it is right.
    fn hello(&mut self, arguments: &[Bytes], context: &Context<'_>) -> Reply {
        let mut protocol = self.protocol;
        if let Some(version) = arguments.get(1) {
            protocol = match parse_integer(version) {
                Some(2) => Protocol::Resp2,
                Some(3) => Protocol::Resp3,
                Some(_) => return Reply::error("NOPROTO unsupported protocol version"),
                None => return Reply::error("ERR Protocol version is not an integer or out of range"),
            };
        }
        let mut name = None;
        let mut options = arguments.iter().skip(2);
        while let Some(option) = options.next() {
            let is = |text: &[u8]| option.eq_ignore_ascii_case(text);
            if is(b"auth") && options.len() >= 2 {
                let (user, _password) = (options.next(), options.next());
                if !user.is_some_and(|user| is_default_user(user)) {
                    return wrong_password();
                }
            } else if is(b"setname") && options.len() >= 1 {
                name = options.next();
                if !name.is_some_and(|name| client::is_name(name)) {
                    return Reply::error(client::BAD_NAME);
                }
            } else {
                return Reply::of(|out| {
                    write::error_bytes(out, &[b"ERR Syntax error in HELLO option '", c_string(option), b"'"]);
                });
            }
        }
        if let Some(name) = name {
            self.about.set_name(name);
        }
        self.protocol = protocol;
        Reply::of(|out| self.greet(context, out))
    }

    fn greet(&self, context: &Context<'_>, out: &mut Vec<u8>) {
        write::map(out, 7);
        fields(out, [("server", "redis"), ("version", info::REDIS_VERSION)]);
        write::bulk(out, b"proto");
        write::integer(out, i64::from(self.protocol.number()));
        write::bulk(out, b"id");
        number(out, self.id);
        let role = if cluster::leads(context.node) { "master" } else { "replica" };
        fields(out, [("mode", "cluster"), ("role", role)]);
        write::bulk(out, b"modules");
        write::array(out, 0);
    }
}

fn is_default_user(user: &[u8]) -> bool {
    user == b"default"
}

fn wrong_password() -> Reply {
    Reply::error("WRONGPASS invalid username-password pair or user is disabled.")
}

/// AUTH as a Redis without a password answers it.
fn auth(arguments: &[Bytes]) -> Reply {
    match arguments {
        [_, _] => Reply::error(
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?",
        ),
        [_, user, _] if is_default_user(user) => Reply::ok(),
        [_, _, _] => wrong_password(),
        _ => of_error(&CommandError::Syntax),
    }
}

fn ping(arguments: &[Bytes]) -> Reply {
    match arguments {
        [_] => Reply::of(|out| write::simple(out, "PONG")),
        [_, text] => Reply::of(|out| write::bulk(out, text)),
        _ => of_error(&CommandError::Arity("ping")),
    }
}

fn select(arguments: &[Bytes]) -> Reply {
    match arguments.get(1).and_then(|database| parse_integer(database)) {
        Some(0) => Reply::ok(),
        Some(number) if i32::try_from(number).is_err() => {
            Reply::error("ERR value is out of range, value must between -2147483648 and 2147483647")
        }
        Some(_) => Reply::error("ERR DB index is out of range"),
        None => of_error(&CommandError::NotInteger),
    }
}

/// This node's clock: seconds, and microseconds, which it knows to the millisecond.
fn time(now: Now) -> Reply {
    Reply::of(|out| {
        write::array(out, 2);
        for number in [now.wall / 1000, now.wall % 1000 * 1000] {
            write::bulk(out, alloc::format!("{number}").as_bytes());
        }
    })
}

/// What is wrong with WAIT's arguments.
fn wait_error(arguments: &[Bytes]) -> Option<Reply> {
    let number = |at: usize| arguments.get(at).and_then(|argument| parse_integer(argument));
    if number(1).is_none() {
        return Some(of_error(&CommandError::NotInteger));
    }
    match number(2) {
        None => Some(Reply::error("ERR timeout is not an integer or out of range")),
        Some(timeout) if timeout < 0 => Some(Reply::error("ERR timeout is negative")),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_shares_no_name_with_the_state_machine() {
        assert!(CONTROLS.windows(2).all(|w| w[0].name < w[1].name));
        for control in CONTROLS {
            assert!(kv::CommandInfo::find(control.name.as_bytes()).is_none(), "{}", control.name);
            let found = Control::find(control.name.to_uppercase().as_bytes());
            assert_eq!(found.map(|found| found.name), Some(control.name));
        }
    }
}
