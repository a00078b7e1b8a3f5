//! INFO: the server in sections of `name:value` lines.

use alloc::string::String;
use core::fmt::Write;

use bytes::Bytes;

use super::reply::Reply;
use super::{Context, cluster};
use crate::codec::resp::write;
use crate::node::Phase;
use crate::raft::{self, Entry, PACKED_HEADER, Role};
use crate::replica::{Saves, StateSize};
use crate::time::Now;

/// The Redis whose behaviour is followed; clients choose what they send by it.
pub(super) const REDIS_VERSION: &str = "7.4.0";

type Section = fn(&mut String, Now, &Context<'_>) -> core::fmt::Result;

/// Sections that INFO shows only when they are named, or all are.
const NOT_BY_DEFAULT: [&str; 2] = ["commandstats", "latencystats"];

const SECTIONS: [(&str, &str, Section); 11] = [
    ("server", "Server", server),
    ("clients", "Clients", clients),
    ("memory", "Memory", memory),
    ("persistence", "Persistence", persistence),
    ("stats", "Stats", stats),
    ("replication", "Replication", replication),
    ("commandstats", "Commandstats", |to, _, context| context.process.command_stats.describe_counts(to)),
    ("latencystats", "Latencystats", |to, _, context| context.process.command_stats.describe_latencies(to)),
    ("cluster", "Cluster", cluster_section),
    ("keyspace", "Keyspace", keyspace),
    ("quorate", "Quorate", quorate),
];

/// INFO's reply: the sections named, or all.
pub(super) fn reply(arguments: &[Bytes], now: Now, context: &Context<'_>) -> Reply {
    let wanted = arguments.get(1..).unwrap_or_default();
    let names = |section: &str| wanted.iter().any(|name| name.eq_ignore_ascii_case(section.as_bytes()));
    let everything = names("all") || names("everything");
    let default = wanted.is_empty() || names("default");
    let mut text = String::new();
    for (name, title, section) in SECTIONS {
        if !(everything || names(name) || (default && !NOT_BY_DEFAULT.contains(&name))) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "# {title}\r\n");
        let _ = section(&mut text, now, context);
    }
    Reply::of(|out| write::verbatim(out, text.as_bytes()))
}

fn server(to: &mut String, now: Now, context: &Context<'_>) -> core::fmt::Result {
    let uptime = now.mono.saturating_sub(context.process.started) / 1_000_000;
    write!(to, "redis_version:{REDIS_VERSION}\r\nquorate_version:{}\r\n", env!("CARGO_PKG_VERSION"))?;
    write!(to, "redis_mode:cluster\r\narch_bits:{}\r\n", usize::BITS)?;
    write!(to, "process_id:{}\r\nrun_id:{:040x}\r\n", context.process.pid, run_id(context))?;
    write!(
        to,
        "tcp_port:{}\r\nserver_time_usec:{}\r\n",
        context.process.port,
        now.wall.saturating_mul(1000)
    )?;
    write!(to, "uptime_in_seconds:{uptime}\r\nuptime_in_days:{}\r\n", uptime / 86_400)
}

/// Differs between processes as Redis's random run id does, and needs no randomness.
fn run_id(context: &Context<'_>) -> u128 {
    let node = u128::from(context.node.id.0) << 64;
    node ^ (u128::from(context.process.pid) << 32) ^ u128::from(context.process.started)
}

fn clients(to: &mut String, _: Now, context: &Context<'_>) -> core::fmt::Result {
    let process = context.process;
    let connected = context.node.connected.len().saturating_sub(1);
    write!(to, "connected_clients:{}\r\ncluster_connections:{connected}\r\n", process.clients)?;
    write!(to, "blocked_clients:0\r\ntracking_clients:0\r\n")
}

fn memory(to: &mut String, _: Now, context: &Context<'_>) -> core::fmt::Result {
    let memory = context.process.memory;
    let mib = memory / (1 << 20);
    let hundredths = memory % (1 << 20) * 100 / (1 << 20);
    write!(to, "used_memory:{memory}\r\nused_memory_human:{mib}.{hundredths:02}M\r\n")?;
    write!(to, "used_memory_rss:{memory}\r\nmaxmemory:0\r\nmaxmemory_human:0B\r\n")?;
    write!(to, "maxmemory_policy:noeviction\r\n")?;
    write!(to, "log_memory:{}\r\n", context.node.raft.as_ref().map_or(0, log_memory))
}

/// What the log's entries take: their data, and what describes each, in place of the header that they have packed.
fn log_memory(raft: &raft::Status) -> u64 {
    let entries = raft.last.index.saturating_add(1).saturating_sub(raft.first_index);
    let describing = (size_of::<Entry>() as u64).saturating_sub(PACKED_HEADER as u64);
    (raft.log_bytes as u64).saturating_add(entries.saturating_mul(describing))
}

fn persistence(to: &mut String, _: Now, context: &Context<'_>) -> core::fmt::Result {
    let loading = u8::from(context.node.phase == Phase::Recovering);
    write!(to, "loading:{loading}\r\nasync_loading:0\r\nrdb_changes_since_last_save:0\r\n")?;
    let Saves { under_way, last_failed } = context.node.saves;
    write!(to, "rdb_bgsave_in_progress:{}\r\n", u8::from(under_way))?;
    write!(to, "rdb_last_bgsave_status:{}\r\n", if last_failed { "err" } else { "ok" })?;
    write!(to, "rdb_saves:{}\r\naof_enabled:1\r\n", context.node.counters.snapshots_saved)?;
    write!(to, "aof_rewrite_in_progress:0\r\naof_last_bgrewrite_status:ok\r\naof_last_write_status:ok\r\n")
}

fn stats(to: &mut String, _: Now, context: &Context<'_>) -> core::fmt::Result {
    let process = context.process;
    write!(to, "total_connections_received:{}\r\n", process.connections_received)?;
    write!(to, "total_commands_processed:{}\r\n", process.command_stats.total())?;
    write!(to, "evicted_keys:0\r\npubsub_channels:0\r\npubsub_patterns:0\r\n")
}

fn replication(to: &mut String, _: Now, context: &Context<'_>) -> core::fmt::Result {
    let node = context.node;
    let last = node.raft.as_ref().map_or(0, |raft| raft.last.index);
    let replid = node.cluster.unwrap_or_default();
    if cluster::leads(node) {
        let replicas =
            || node.members.iter().filter(|&(&id, _)| id != node.id && node.connected.contains(&id));
        write!(to, "role:master\r\nconnected_slaves:{}\r\n", replicas().count())?;
        for (n, (id, addresses)) in replicas().enumerate() {
            let (host, port) = cluster::split(&addresses.client);
            let at = node.matched.get(id).copied().unwrap_or_default();
            write!(to, "slave{n}:ip={host},port={port},state=online,offset={at},lag=0\r\n")?;
        }
    } else {
        let leader = cluster::leader(node).and_then(|id| Some((id, node.members.get(&id)?)));
        let (host, port) = leader.map_or(("", 0), |(_, addresses)| cluster::split(&addresses.client));
        let up = leader.is_some_and(|(id, _)| node.connected.contains(&id));
        let link = if up { "up" } else { "down" };
        write!(
            to,
            "role:slave\r\nmaster_host:{host}\r\nmaster_port:{port}\r\nmaster_link_status:{link}\r\n"
        )?;
        write!(to, "master_sync_in_progress:0\r\nslave_read_only:1\r\nconnected_slaves:0\r\n")?;
        write!(to, "slave_repl_offset:{last}\r\n")?;
    }
    write!(to, "master_replid:{replid:040x}\r\nmaster_repl_offset:{last}\r\n")
}

fn cluster_section(to: &mut String, _: Now, _: &Context<'_>) -> core::fmt::Result {
    write!(to, "cluster_enabled:1\r\n")
}

fn keyspace(to: &mut String, _: Now, context: &Context<'_>) -> core::fmt::Result {
    let StateSize { keys, mortal } = context.node.size;
    if keys == 0 {
        return Ok(());
    }
    write!(to, "db0:keys={keys},expires={mortal},avg_ttl=0\r\n")
}

/// What Redis has no name for.
fn quorate(to: &mut String, _: Now, context: &Context<'_>) -> core::fmt::Result {
    let (node, process) = (context.node, context.process);
    let phase = match node.phase {
        Phase::Recovering => "recovering",
        Phase::Forming => "forming",
        Phase::Running => "running",
        Phase::Stopping => "stopping",
        Phase::Halted => "halted",
    };
    write!(to, "node_id:{}\r\nphase:{phase}\r\n", node.id)?;
    write!(to, "cluster_id:{:032x}\r\n", node.cluster.unwrap_or_default())?;
    write!(to, "membership:{}\r\n", node.roster.configuration.role(node.id))?;
    if let Some(raft) = &node.raft {
        let role = match raft.role {
            Role::Follower => "follower",
            Role::PreCandidate => "pre-candidate",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
        };
        write!(
            to,
            "raft_role:{role}\r\nterm:{}\r\nleader_id:{}\r\n",
            raft.term,
            raft.leader.map_or(0, |id| id.0)
        )?;
        write!(to, "first_index:{}\r\nlast_index:{}\r\n", raft.first_index, raft.last.index)?;
        write!(to, "persisted_index:{}\r\ncommit_index:{}\r\n", raft.persisted, raft.commit)?;
        let snapshot = raft.snapshot.map_or(0, |id| id.last.index);
        write!(to, "applied_index:{}\r\nsnapshot_index:{snapshot}\r\n", raft.applied)?;
        // What the entries from first_index on take in the log; log_bytes below counts all that was ever written.
        write!(to, "log_held_bytes:{}\r\n", raft.log_bytes)?;
    }
    write!(to, "digest:{:032x}\r\nmembers:{}\r\n", node.digest, node.members.len())?;
    write!(to, "connected_members:{}\r\n", node.connected.len())?;
    write!(to, "sessions:{}\r\nrequests_pending:{}\r\n", node.sessions, node.pending)?;
    let counters = &node.counters;
    write!(to, "log_syncs:{}\r\nlog_sync_us:{}\r\n", process.log_syncs, process.log_sync_us)?;
    write!(to, "log_sync_max_us:{}\r\nlog_batches:{}\r\n", process.log_sync_max_us, counters.log_batches)?;
    write!(to, "log_entries:{}\r\nlog_bytes:{}\r\n", counters.log_entries, counters.log_bytes)?;
    write!(to, "entries_applied:{}\r\nelections_won:{}\r\n", counters.applied, counters.elections_won)?;
    write!(to, "frames_in:{}\r\nframes_out:{}\r\n", counters.frames_in, counters.frames_out)?;
    write!(to, "frames_malformed:{}\r\n", counters.malformed_frames)?;
    write!(to, "snapshots_saved:{}\r\n", counters.snapshots_saved)?;
    write!(to, "snapshots_installed:{}\r\n", counters.snapshots_installed)?;
    write!(
        to,
        "requests_forwarded:{}\r\nrequests_undetermined:{}\r\n",
        counters.forwarded, counters.undetermined
    )
}
