//! CLUSTER: the cluster in the shape that Redis Cluster's clients know, and WAIT.
//!
//! The leader is the master of all 16,384 slots, the others are its replicas: so clients find the leader, and the next
//! one, by themselves. While no leader is known CLUSTER INFO says `cluster_state:fail`, but this node still shows *itself*
//! as the master: a client library given no master at all fails to connect, while the commands of one that is sent here
//! wait for the next leader, or read `CLUSTERDOWN` and are tried again. The same holds while the link to the leader is
//! down: most likely nobody listens there any more, which this node takes as granted only after an election timeout, and
//! clients that are sent to a closed port use up their tries in less. Before the cluster is formed there are no slots.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::help::other_subcommand;
use super::reply::{Reply, fields, number, of_error};
use super::{Context, slot};
use crate::codec::resp::{parse_integer, write};
use crate::kv::CommandError;
use crate::node::{Addresses, Phase, Status};
use crate::raft::{NodeId, Role};

/// The name of a node in Redis's form: its number in 40 hexadecimal digits.
pub(super) fn name(id: NodeId) -> String {
    format!("{:040x}", id.0)
}

/// Whether the node knows itself to lead.
pub(super) fn leads(node: &Status) -> bool {
    node.raft.as_ref().is_some_and(|raft| raft.role == Role::Leader)
}

/// The leader, if one is known.
pub(super) fn leader(node: &Status) -> Option<NodeId> {
    node.raft.as_ref().and_then(|raft| raft.leader)
}

/// Where clients find the leader, if another node is known to lead.
pub(super) fn elsewhere(node: &Status) -> Option<String> {
    let leader = leader(node).filter(|leader| *leader != node.id)?;
    node.members.get(&leader).map(|member| member.client.clone())
}

/// Whom to show as the master.
fn master(node: &Status) -> Option<NodeId> {
    node.raft.as_ref()?;
    let known = leader(node).filter(|&id| node.members.contains_key(&id) && is_online(node, id));
    Some(known.unwrap_or(node.id))
}

/// Members with the master first.
fn members(node: &Status) -> Vec<(NodeId, &Addresses)> {
    let master = master(node);
    let mut members: Vec<_> = node.members.iter().map(|(&id, addresses)| (id, addresses)).collect();
    members.sort_by_key(|&(id, _)| (Some(id) != master, id));
    members
}

/// Host and port of `host:port`; an IPv6 host without its brackets.
pub(super) fn split(address: &str) -> (&str, i64) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (host, port.parse::<u16>().map_or(0, i64::from))
}

/// CLUSTER's reply.
pub(super) fn reply(arguments: &[Bytes], context: &Context<'_>) -> Reply {
    let node = context.node;
    let [_, subcommand, rest @ ..] = arguments else {
        return of_error(&CommandError::Arity("cluster"));
    };
    let lower = subcommand.to_ascii_lowercase();
    match (&lower[..], rest) {
        (b"myid", []) => Reply::of(|out| write::bulk(out, name(node.id).as_bytes())),
        (b"myid", _) => of_error(&CommandError::Arity("cluster|myid")),
        (b"slots", []) => Reply::of(|out| slots(node, out)),
        (b"slots", _) => of_error(&CommandError::Arity("cluster|slots")),
        (b"shards", []) => Reply::of(|out| shards(node, out)),
        (b"shards", _) => of_error(&CommandError::Arity("cluster|shards")),
        (b"nodes", []) => Reply::of(|out| write::verbatim(out, nodes(node).as_bytes())),
        (b"nodes", _) => of_error(&CommandError::Arity("cluster|nodes")),
        (b"info", []) => Reply::of(|out| write::verbatim(out, cluster_info(node).as_bytes())),
        (b"info", _) => of_error(&CommandError::Arity("cluster|info")),
        (b"links", []) => Reply::of(|out| write::array(out, 0)),
        (b"links", _) => of_error(&CommandError::Arity("cluster|links")),
        (b"replicas" | b"slaves", [of]) => replicas(node, of),
        (b"replicas" | b"slaves", _) => of_error(&CommandError::Arity("cluster|replicas")),
        (b"keyslot", [key]) => Reply::of(|out| write::integer(out, i64::from(slot::of_key(key)))),
        (b"keyslot", _) => of_error(&CommandError::Arity("cluster|keyslot")),
        (b"countkeysinslot", [slot]) => count_keys(slot),
        (b"countkeysinslot", _) => of_error(&CommandError::Arity("cluster|countkeysinslot")),
        _ => other_subcommand("CLUSTER", subcommand),
    }
}

/// Keys are not kept by slot, and counting them would read them all; a number that is not true helps nobody.
fn count_keys(slot: &[u8]) -> Reply {
    match parse_integer(slot) {
        None => of_error(&CommandError::NotInteger),
        Some(n) if !(0..i64::from(slot::SLOTS)).contains(&n) => Reply::error("ERR Invalid slot"),
        Some(_) => {
            Reply::error("ERR keys are not counted by slot: every node has all slots, DBSIZE counts all keys")
        }
    }
}

fn slots(node: &Status, out: &mut Vec<u8>) {
    if master(node).is_none() {
        return write::array(out, 0);
    }
    let members = members(node);
    write::array(out, 1);
    write::array(out, 2 + members.len());
    write::integer(out, 0);
    write::integer(out, i64::from(slot::SLOTS) - 1);
    for (id, addresses) in members {
        let (host, port) = split(&addresses.client);
        write::array(out, 4);
        write::bulk(out, host.as_bytes());
        write::integer(out, port);
        write::bulk(out, name(id).as_bytes());
        write::map(out, 0);
    }
}

fn shards(node: &Status, out: &mut Vec<u8>) {
    let master = master(node);
    let members = members(node);
    write::array(out, 1);
    write::map(out, 2);
    write::bulk(out, b"slots");
    if master.is_some() {
        write::array(out, 2);
        write::integer(out, 0);
        write::integer(out, i64::from(slot::SLOTS) - 1);
    } else {
        write::array(out, 0);
    }
    write::bulk(out, b"nodes");
    write::array(out, members.len());
    for (id, addresses) in members {
        let (host, port) = split(&addresses.client);
        write::map(out, 7);
        write::bulk(out, b"id");
        write::bulk(out, name(id).as_bytes());
        write::bulk(out, b"port");
        write::integer(out, port);
        let role = if Some(id) == master { "master" } else { "replica" };
        fields(out, [("ip", host), ("endpoint", host), ("role", role)]);
        write::bulk(out, b"replication-offset");
        number(out, offset(node, id));
        write::bulk(out, b"health");
        write::bulk(out, if is_online(node, id) { b"online" } else { b"fail" });
    }
}

fn is_online(node: &Status, id: NodeId) -> bool {
    id == node.id || node.connected.contains(&id)
}

/// How far a member has come, as far as this node knows: a log index.
fn offset(node: &Status, id: NodeId) -> u64 {
    match &node.raft {
        Some(raft) if id == node.id => raft.last.index,
        Some(_) => node.matched.get(&id).copied().unwrap_or_default(),
        None => 0,
    }
}

/// A line of CLUSTER NODES.
fn node_line(node: &Status, id: NodeId, addresses: &Addresses) -> String {
    let master = master(node);
    let (host, port) = split(&addresses.client);
    let (_, bus) = split(&addresses.peer);
    let myself = if id == node.id { "myself," } else { "" };
    let (role, of, range) = match master {
        Some(master) if master == id => ("master", String::from("-"), " 0-16383"),
        Some(master) => ("slave", name(master), ""),
        None => ("master", String::from("-"), ""),
    };
    let link = if is_online(node, id) { "connected" } else { "disconnected" };
    let epoch = node.raft.as_ref().map_or(0, |raft| raft.term);
    format!("{} {host}:{port}@{bus} {myself}{role} {of} 0 0 {epoch} {link}{range}\n", name(id))
}

fn nodes(node: &Status) -> String {
    node.members.iter().map(|(&id, addresses)| node_line(node, id, addresses)).collect()
}

fn replicas(node: &Status, of: &[u8]) -> Reply {
    let known = node.members.keys().find(|&&id| name(id).as_bytes() == of);
    match (known, master(node)) {
        (None, _) => Reply::of(|out| write::error_bytes(out, &[b"ERR Unknown node ", of])),
        (Some(id), Some(master)) if *id == master => Reply::of(|out| {
            let replicas: Vec<_> = members(node).into_iter().filter(|&(id, _)| id != master).collect();
            write::array(out, replicas.len());
            for (id, addresses) in replicas {
                write::bulk(out, node_line(node, id, addresses).trim_end().as_bytes());
            }
        }),
        (Some(_), _) => Reply::error("ERR The specified node is not a master"),
    }
}

fn cluster_info(node: &Status) -> String {
    let ok = node.phase == Phase::Running && leader(node).is_some();
    let formed = node.raft.is_some();
    let (state, assigned) = (if ok { "ok" } else { "fail" }, if formed { slot::SLOTS } else { 0 });
    let slots_ok = if ok { slot::SLOTS } else { 0 };
    let slots_fail = assigned - slots_ok;
    let epoch = node.raft.as_ref().map_or(0, |raft| raft.term);
    format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{assigned}\r\ncluster_slots_ok:{slots_ok}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:{slots_fail}\r\ncluster_known_nodes:{}\r\ncluster_size:{}\r\n\
         cluster_current_epoch:{epoch}\r\ncluster_my_epoch:{epoch}\r\ncluster_stats_messages_sent:{}\r\n\
         cluster_stats_messages_received:{}\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n",
        node.members.len(),
        u8::from(formed),
        node.counters.frames_out,
        node.counters.frames_in,
    )
}

/// WAIT's reply, given when every earlier write of the connection is answered: how many members besides the leader surely
/// have those writes on disk. An acknowledged write is on a majority, so that is at least a majority less the leader; the
/// leader also counts those that it has heard of since. It never waits: WAIT's numbers are not needed for safety here.
pub(super) fn wait(node: &Status) -> Reply {
    let majority = node.members.len() / 2;
    let count = match &node.raft {
        Some(raft) if leads(node) => {
            node.matched.iter().filter(|&(&id, &at)| id != node.id && at >= raft.commit).count()
        }
        _ => 0,
    };
    Reply::of(|out| number(out, count.max(majority) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_at_their_last_colon() {
        assert_eq!(split("127.0.0.1:7101"), ("127.0.0.1", 7101));
        assert_eq!(split("[::1]:7101"), ("::1", 7101));
        assert_eq!(split("host"), ("host", 0));
        assert_eq!(split("host:99999"), ("host", 0));
        assert_eq!(name(NodeId(255)), format!("{}ff", "0".repeat(38)));
    }
}
