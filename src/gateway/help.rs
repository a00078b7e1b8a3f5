//! HELP of the commands that have subcommands: what there is here, in Redis's form.

use alloc::string::String;
use alloc::vec::Vec;

use super::reply::{Reply, c_string};
use crate::codec::resp::write;

type Lines = &'static [(&'static str, &'static str)];

const CLIENT: Lines = &[
    ("GETNAME", "Return the name of the current connection."),
    ("ID", "Return the ID of the current connection."),
    ("INFO", "Return information about the current client connection."),
    ("LIST [TYPE <type>|ID <id> [<id> ...]]", "Return information about client connections."),
    ("NO-EVICT (ON|OFF)", "Accepted: no client is ever evicted."),
    ("NO-TOUCH (ON|OFF)", "Accepted: keys have no time of access."),
    ("SETINFO <option> <value>", "Set client meta attr. Options are LIB-NAME and LIB-VER."),
    ("SETNAME <name>", "Assign the name <name> to the current connection."),
];

const CLUSTER: Lines = &[
    ("INFO", "Return information about the cluster."),
    ("KEYSLOT <key>", "Return the hash slot for <key>."),
    ("MYID", "Return the node id."),
    ("NODES", "Return the members: the leader is the master of all slots."),
    ("REPLICAS <node-id>", "Return <node-id> replicas."),
    ("SHARDS", "Return the slot range and the nodes associated with it."),
    ("SLOTS", "Return the slot range with its master and replicas."),
];

const COMMAND: Lines = &[
    ("(no subcommand)", "Return details about all commands."),
    ("COUNT", "Return the total number of commands in this server."),
    ("DOCS [<command-name> ...]", "Return documentation details about commands."),
    ("GETKEYS <full-command>", "Return the keys from a full command."),
    ("INFO [<command-name> ...]", "Return details about commands."),
    ("LIST [FILTERBY (MODULE|ACLCAT|PATTERN) <argument>]", "Return a list of all commands in this server."),
];

const CONFIG: Lines = &[
    ("GET <pattern>", "Return parameters matching the glob-like <pattern> and their values."),
    ("RESETSTAT", "Reset statistics reported by the INFO command."),
    ("SET <directive> <value>", "Refused: settings are given when the server starts."),
];

const MEMBER: Lines = &[
    (
        "ADD <id> <peer> <client> [DISK <disk>]",
        "Add a node as a learner, with the disk that it has said hello with.",
    ),
    ("DEMOTE <id>", "Take a voter's vote: it becomes a learner."),
    ("LEAVE", "End a joint configuration that does not end by itself."),
    ("LIST", "Return the members, and the nodes that wait to be added."),
    ("MOVE <id> <peer> <client>", "Change where a node is reached."),
    ("PROMOTE <id> [FORCE]", "Give a vote to a learner that has caught up."),
    ("REMOVE <id> [FORCE]", "Remove a node."),
];

const SESSION: Lines = &[
    ("OPEN [<nonce>]", "Open a session for ONCE and return its id; the same nonce returns the same session."),
    ("CLOSE <id>", "Close a session and forget its replies."),
];

const SLOWLOG: Lines = &[
    ("GET [<count>]", "Return top <count> entries from the slowlog (default: 10, -1 mean all)."),
    ("LEN", "Return the length of the slowlog."),
    ("RESET", "Reset the slowlog."),
];

/// The subcommands of `container`, whose name is in capitals: how each is used, and what it does.
fn lines(container: &str) -> Option<Lines> {
    Some(match container {
        "CLIENT" => CLIENT,
        "CLUSTER" => CLUSTER,
        "COMMAND" => COMMAND,
        "CONFIG" => CONFIG,
        "MEMBER" => MEMBER,
        "SESSION" => SESSION,
        "SLOWLOG" => SLOWLOG,
        _ => return None,
    })
}

/// The subcommands of the command of this name, in lower case, with what each does.
pub(super) fn subcommands(name: &str) -> Vec<(String, &'static str)> {
    let lines = lines(&name.to_ascii_uppercase()).unwrap_or_default();
    let subcommand = |&(usage, meaning): &(&'static str, _)| {
        let word = usage.split(' ').next().filter(|word| !word.starts_with('('))?;
        Some((word.to_ascii_lowercase(), meaning))
    };
    lines.iter().filter_map(subcommand).collect()
}

/// The reply to `<container> HELP`; the name is in capitals.
pub(super) fn reply(container: &str) -> Reply {
    let lines = lines(container).unwrap_or_default();
    Reply::of(|out| {
        write::array(out, 2 * lines.len() + 3);
        let title = alloc::format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
        write::simple(out, &title);
        for (usage, meaning) in lines.iter().chain(&[("HELP", "Prints this help.")]) {
            write::simple(out, usage);
            write::simple(out, &alloc::format!("    {meaning}"));
        }
    })
}

/// The reply to a subcommand that `container` (in capitals) has no other answer to: HELP, or Redis's error.
pub(super) fn other_subcommand(container: &str, subcommand: &[u8]) -> Reply {
    if subcommand.eq_ignore_ascii_case(b"help") {
        return reply(container);
    }
    let shown = c_string(subcommand.get(..128).unwrap_or(subcommand));
    Reply::of(|out| {
        let end = [b"'. Try ", container.as_bytes(), b" HELP."];
        write::error_bytes(out, &[b"ERR unknown subcommand '", shown, end[0], end[1], end[2]]);
    })
}
