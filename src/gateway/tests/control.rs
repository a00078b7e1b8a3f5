//! The words of control commands, as a Redis 7.0 in cluster mode and without a password says them.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Harness;
use crate::gateway::SlowCommand;
use crate::kv;
use crate::node::Phase;
use crate::raft::{Entry, NodeId, PACKED_HEADER, Role};
use crate::replica::Saves;

#[test]
fn words_are_those_of_redis() {
    let arity = |name: &str| alloc::format!("-ERR wrong number of arguments for '{name}' command\r\n");
    let cases: Vec<(&str, String)> = [
        ("foo", "-ERR unknown command 'foo', with args beginning with: \r\n"),
        ("foo a b", "-ERR unknown command 'foo', with args beginning with: 'a' 'b' \r\n"),
        ("ping", "+PONG\r\n"),
        ("PING a", "$1\r\na\r\n"),
        ("echo \"a b\"", "$3\r\na b\r\n"),
        ("client foo", "-ERR unknown subcommand 'foo'. Try CLIENT HELP.\r\n"),
        ("client maint_notifications on", "-ERR unknown subcommand 'maint_notifications'. Try CLIENT HELP.\r\n"),
        ("cluster foo", "-ERR unknown subcommand 'foo'. Try CLUSTER HELP.\r\n"),
        ("config foo", "-ERR unknown subcommand 'foo'. Try CONFIG HELP.\r\n"),
        ("command foo", "-ERR unknown subcommand 'foo'. Try COMMAND HELP.\r\n"),
        ("config set a b", "-ERR Unknown option or number of arguments for CONFIG SET - 'a'\r\n"),
        ("config get foo", "*0\r\n"),
        ("config get slowlog-log*", "*2\r\n$23\r\nslowlog-log-slower-than\r\n$5\r\n10000\r\n"),
        ("config resetstat", "+OK\r\n"),
        ("time", "*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n"),
        ("slowlog len", ":0\r\n"),
        ("slowlog get", "*0\r\n"),
        ("slowlog get x", "-ERR count should be greater than or equal to -1\r\n"),
        ("slowlog get -2", "-ERR count should be greater than or equal to -1\r\n"),
        (
            "slowlog get 1 2",
            "-ERR unknown subcommand or wrong number of arguments for 'get'. Try SLOWLOG HELP.\r\n",
        ),
        ("slowlog foo", "-ERR unknown subcommand 'foo'. Try SLOWLOG HELP.\r\n"),
        ("config get save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("config get APPENDONLY", "*2\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n"),
        ("hello 4", "-NOPROTO unsupported protocol version\r\n"),
        ("hello x", "-ERR Protocol version is not an integer or out of range\r\n"),
        ("hello 3 foo", "-ERR Syntax error in HELLO option 'foo'\r\n"),
        ("hello 3 \"foo\\x00bar\"", "-ERR Syntax error in HELLO option 'foo'\r\n"),
        ("hello 3 auth a", "-ERR Syntax error in HELLO option 'auth'\r\n"),
        ("hello 3 auth a b", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
        ("hello 3 setname \"a b\"", "-ERR Client names cannot contain spaces, newlines or special characters.\r\n"),
        (
            "auth a",
            "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?\r\n",
        ),
        ("auth a b", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
        ("auth default b", "+OK\r\n"),
        ("auth a b c", "-ERR syntax error\r\n"),
        ("select 0", "+OK\r\n"),
        ("select 1", "-ERR DB index is out of range\r\n"),
        (
            "select 2147483648",
            "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n",
        ),
        ("select x", "-ERR value is not an integer or out of range\r\n"),
        ("client id", ":5\r\n"),
        ("client getname", "$-1\r\n"),
        ("client setname \"a b\"", "-ERR Client names cannot contain spaces, newlines or special characters.\r\n"),
        ("client setinfo lib-name redis-py", "+OK\r\n"),
        ("client setinfo foo x", "-ERR Unrecognized option 'foo'\r\n"),
        ("client no-evict on", "+OK\r\n"),
        ("client no-evict x", "-ERR syntax error\r\n"),
        ("client no-touch on", "+OK\r\n"),
        ("client list type x", "-ERR Unknown client type 'x'\r\n"),
        ("client list id x", "-ERR Invalid client ID\r\n"),
        ("client list id -1", "$0\r\n\r\n"),
        ("client list id 1 2", "$0\r\n\r\n"),
        ("client list type replica", "$0\r\n\r\n"),
        ("client list id 9", "$12\r\nid=9 addr=x\n\r\n"),
        ("client list id 12 9 3", "$12\r\nid=9 addr=x\n\r\n"),
        ("command getkeys get a", "*1\r\n$1\r\na\r\n"),
        ("command getkeys mset a b c d", "*2\r\n$1\r\na\r\n$1\r\nc\r\n"),
        ("command getkeys msetex 2 a 1 b 2 ex 10", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("command getkeys watch a b", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("command getkeys once 1 2 3 set k v", "*1\r\n$1\r\nk\r\n"),
        ("command getkeys ping a", "-ERR The command has no key arguments\r\n"),
        ("command getkeys foo a", "-ERR Invalid command specified\r\n"),
        ("command getkeys get a b", "-ERR Invalid number of arguments specified for command\r\n"),
        ("command list filterby x y", "-ERR syntax error\r\n"),
        ("command list filterby pattern gets*", "*1\r\n$6\r\ngetset\r\n"),
        ("command docs foo", "*0\r\n"),
        ("cluster keyslot foo", ":12182\r\n"),
        ("cluster countkeysinslot x", "-ERR value is not an integer or out of range\r\n"),
        ("cluster countkeysinslot 16384", "-ERR Invalid slot\r\n"),
        ("cluster replicas x", "-ERR Unknown node x\r\n"),
        ("readonly", "+OK\r\n"),
        ("readwrite", "+OK\r\n"),
        ("asking", "+OK\r\n"),
        ("wait x 10", "-ERR value is not an integer or out of range\r\n"),
        ("wait 0 x", "-ERR timeout is not an integer or out of range\r\n"),
        ("wait 0 -1", "-ERR timeout is negative\r\n"),
        ("info foo", "$0\r\n\r\n"),
        ("reset", "+RESET\r\n"),
        ("dbsize", ":0\r\n"),
    ]
    .into_iter()
    .map(|(command, words)| (command, String::from(words)))
    .chain(
        [
            ("get", "get"),
            ("echo", "echo"),
            ("ping a b", "ping"),
            ("client", "client"),
            ("client id a", "client|id"),
            ("client no-evict", "client|no-evict"),
            ("cluster keyslot", "cluster|keyslot"),
            ("config get", "config|get"),
            ("command count a", "command|count"),
            ("command getkeys ping", "command|getkeys"),
            ("reset a", "reset"),
            ("auth", "auth"),
        ]
        .map(|(command, name)| (command, arity(name))),
    )
    .collect();
    let mut h = Harness::new();
    for (command, words) in cases {
        assert_eq!(h.say(alloc::format!("{command}\r\n")), words, "{command}");
        assert!(!h.closed);
    }
}

#[test]
fn each_container_has_its_help() {
    let mut h = Harness::new();
    for (container, lines) in
        [("CLIENT", 19), ("CLUSTER", 17), ("COMMAND", 15), ("CONFIG", 9), ("SESSION", 7), ("SLOWLOG", 9)]
    {
        let help = h.say(alloc::format!("{container} HELP\r\n"));
        let start = alloc::format!(
            "*{lines}\r\n+{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n"
        );
        assert!(help.starts_with(&start) && help.ends_with("+HELP\r\n+    Prints this help.\r\n"), "{help}");
        assert_eq!(help.matches("\r\n").count(), lines + 1);
    }
}

#[test]
fn hello_greets_in_the_protocol_asked_for() {
    let mut h = Harness::new();
    let fields = "$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.4.0\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:5\r\n$4\r\nmode\r\n\
        $7\r\ncluster\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";
    assert_eq!(h.say("HELLO 3 AUTH default x SETNAME me\r\n"), alloc::format!("%7\r\n{fields}"));
    assert_eq!(h.say("CLIENT GETNAME\r\n"), "$2\r\nme\r\n");
    assert_eq!(
        h.say("HELLO 9\r\nCLIENT GETNAME\r\n"),
        "-NOPROTO unsupported protocol version\r\n$2\r\nme\r\n"
    );
    assert_eq!(h.say("HELLO 2\r\n"), alloc::format!("*14\r\n{}", fields.replace(":3", ":2")));
    assert!(h.say("HELLO\r\n").starts_with("*14\r\n"));
}

#[test]
fn the_cluster_is_shown_as_redis_cluster_clients_know_it() {
    let mut h = Harness::new();
    h.status.id = NodeId(2);
    if let Some(raft) = &mut h.status.raft {
        raft.role = Role::Follower;
    }
    let id = |n: u64| alloc::format!("{n:040x}");
    let node = |n: u64| alloc::format!("*4\r\n$8\r\n10.0.0.{n}\r\n:710{n}\r\n$40\r\n{}\r\n*0\r\n", id(n));
    let slots = |order: [u64; 3]| alloc::format!("*1\r\n*5\r\n:0\r\n:16383\r\n{}", order.map(node).concat());
    assert_eq!(h.say("CLUSTER SLOTS\r\n"), slots([1, 2, 3]));
    h.say("HELLO 3\r\n");
    let metadata_is_a_map = h.say("CLUSTER SLOTS\r\n");
    assert!(metadata_is_a_map.ends_with("\r\n%0\r\n"), "{metadata_is_a_map}");
    h.say("HELLO 2\r\n");
    assert_eq!(h.say("CLUSTER MYID\r\n"), alloc::format!("$40\r\n{}\r\n", id(2)));
    let nodes = h.say("CLUSTER NODES\r\n");
    let lines: Vec<&str> = nodes.split_once("\r\n").unwrap().1.lines().collect();
    assert_eq!(
        lines[..3],
        [
            alloc::format!("{} 10.0.0.1:7101@7201 master - 0 0 7 connected 0-16383", id(1)),
            alloc::format!("{} 10.0.0.2:7102@7202 myself,slave {} 0 0 7 connected", id(2), id(1)),
            alloc::format!("{} 10.0.0.3:7103@7203 slave {} 0 0 7 disconnected", id(3), id(1)),
        ]
    );
    let info = h.say("CLUSTER INFO\r\n");
    assert!(info.contains("\r\ncluster_state:ok\r\ncluster_slots_assigned:16384\r\n"), "{info}");
    let shards = h.say("CLUSTER SHARDS\r\n");
    assert!(
        shards.contains("$4\r\nrole\r\n$6\r\nmaster\r\n")
            && shards.contains("$6\r\nhealth\r\n$4\r\nfail\r\n")
    );
    assert!(h.say(alloc::format!("CLUSTER REPLICAS {}\r\n", id(1))).starts_with("*2\r\n"));

    // Counterexample: while the election timeout runs, survivors sent clients to the port of a leader that had been killed;
    // redis-py used up its tries there.
    h.status.connected.remove(&NodeId(1));
    assert_eq!(h.say("CLUSTER SLOTS\r\n"), slots([2, 1, 3]), "the link to the leader is lost");
    h.status.connected.insert(NodeId(1));
    assert_eq!(h.say("CLUSTER SLOTS\r\n"), slots([1, 2, 3]));
    h.status.raft.as_mut().unwrap().leader = None;
    assert_eq!(
        h.say("CLUSTER SLOTS\r\n"),
        slots([2, 1, 3]),
        "without a leader, clients are sent to ask here"
    );
    assert!(h.say("CLUSTER INFO\r\n").contains("cluster_state:fail\r\n"));
    h.status.raft = None;
    h.status.phase = Phase::Forming;
    assert_eq!(h.say("CLUSTER SLOTS\r\n"), "*0\r\n");
    let info = h.say("CLUSTER INFO\r\n");
    assert!(info.contains("cluster_state:fail\r\ncluster_slots_assigned:0\r\n"), "{info}");
    assert!(!h.say("CLUSTER NODES\r\n").contains("0-16383"));
}

#[test]
fn info_has_what_clients_and_people_look_for() {
    let mut h = Harness::new();
    let info = h.say("INFO\r\n");
    for line in [
        "# Server",
        "redis_mode:cluster",
        "process_id:77",
        "tcp_port:7101",
        "connected_clients:3",
        "loading:0",
        &alloc::format!("log_memory:{}", 1234 + 42 * (size_of::<Entry>() - PACKED_HEADER)),
        "rdb_bgsave_in_progress:0",
        "rdb_last_bgsave_status:ok",
        "role:master",
        "connected_slaves:1",
        "slave0:ip=10.0.0.2,port=7102,state=online,offset=42,lag=0",
        "cluster_enabled:1",
        "db0:keys=12,expires=3,avg_ttl=0",
        "# Quorate",
        "node_id:1",
        "term:7",
        "commit_index:41",
        "applied_index:40",
        "snapshot_index:0",
        "log_held_bytes:1234",
        "log_syncs:11",
        "log_batches:9",
    ] {
        assert!(info.contains(&alloc::format!("\r\n{line}\r\n")), "{line} is not in {info}");
    }
    let server = h.say("INFO server Clients\r\n");
    assert!(server.contains("# Server") && server.contains("# Clients") && !server.contains("# Memory"));
    h.status.raft.as_mut().unwrap().role = Role::Follower;
    h.status.raft.as_mut().unwrap().leader = Some(NodeId(2));
    let info = h.say("INFO replication\r\n");
    assert!(
        info.contains("role:slave\r\nmaster_host:10.0.0.2\r\nmaster_port:7102\r\nmaster_link_status:up\r\n"),
        "{info}"
    );
    h.status.phase = Phase::Recovering;
    h.status.saves = Saves { under_way: true, last_failed: true };
    let info = h.say("INFO persistence\r\n");
    for line in ["loading:1", "rdb_bgsave_in_progress:1", "rdb_last_bgsave_status:err"] {
        assert!(info.contains(line), "{info}");
    }
    h.say("HELLO 3\r\n");
    assert!(h.say("INFO cluster\r\n").starts_with("=34\r\ntxt:# Cluster\r\n"));
}

#[test]
fn what_was_slow_is_told_until_it_is_reset() {
    let mut h = Harness::new();
    let (kv::Call::Write(packed) | kv::Call::Read(packed)) =
        kv::parse(&[Bytes::from_static(b"get"), Bytes::from_static(b"key")]).expect("a command");
    for spent in [10_000, 25_000] {
        h.process.slow_log.add(h.now.wall, SlowCommand::new(&packed, spent));
    }
    let entry = |id: u64, spent: u64| {
        let words = "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n$0\r\n\r\n$0\r\n\r\n";
        alloc::format!("*6\r\n:{id}\r\n:1700000000\r\n:{spent}\r\n{words}")
    };
    assert_eq!(h.say("SLOWLOG GET 1\r\n"), alloc::format!("*1\r\n{}", entry(1, 25_000)));
    let both = alloc::format!("*2\r\n{}{}", entry(1, 25_000), entry(0, 10_000));
    assert_eq!(h.say("slowlog get\r\nslowlog get -1\r\n"), both.repeat(2));
    assert_eq!(h.say("SLOWLOG LEN\r\nSLOWLOG RESET\r\nSLOWLOG LEN\r\n"), ":2\r\n+OK\r\n:0\r\n");
}

#[test]
fn commands_are_counted_from_their_parse_to_their_reply() {
    let mut h = Harness::new();
    h.feed(b"SET k v\r\nINCR k\r\nGET\r\nGET k\r\nPING\r\nnonsense\r\n");
    h.now.mono += 1_000;
    h.settle();
    h.output();
    h.now.mono += 500;
    let text = h.say("INFO commandstats\r\n");
    for line in [
        "cmdstat_set:calls=1,usec=1000,usec_per_call=1000.00,rejected_calls=0,failed_calls=0",
        "cmdstat_incr:calls=1,usec=1000,usec_per_call=1000.00,rejected_calls=0,failed_calls=1",
        // It is parsed with the rest, and waits for the writes before it.
        "cmdstat_get:calls=1,usec=1000,usec_per_call=1000.00,rejected_calls=1,failed_calls=0",
        // What stands behind a command that waits is not parsed before that.
        "cmdstat_ping:calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0",
    ] {
        assert!(text.contains(&alloc::format!("\r\n{line}\r\n")), "{line} is not in {text}");
    }
    assert!(!text.contains("nonsense"), "{text}");
    let text = h.say("INFO latencystats\r\n");
    let line = "latency_percentiles_usec_set:p50=1007.000,p99=1007.000,p99.9=1007.000";
    assert!(text.contains(line), "{text}");
    assert!(!h.say("INFO\r\n").contains("cmdstat_"), "only when it is asked for");
    assert!(h.say("INFO all\r\n").contains("# Commandstats\r\ncmdstat_"));
    h.say("CONFIG RESETSTAT\r\n");
    assert!(!h.say("INFO commandstats\r\n").contains("cmdstat_set"));
}

#[test]
fn commands_are_described() {
    let mut h = Harness::new();
    h.say("HELLO 3\r\n");
    let get = "*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n~3\r\n+@read\r\n+@string\r\n+@fast\r\n~0\r\n~1\r\n\
        %3\r\n$5\r\nflags\r\n~2\r\n+RO\r\n+access\r\n$12\r\nbegin_search\r\n%2\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n%1\r\n\
        $5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n%2\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n%3\r\n$7\r\nlastkey\r\n:0\r\n\
        $7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n~0\r\n";
    assert_eq!(h.say("COMMAND INFO foo GET\r\n"), alloc::format!("*2\r\n_\r\n{get}"));
    let counted = h.say("COMMAND INFO msetex\r\n");
    assert!(counted.contains("+movablekeys\r\n:2\r\n:-1\r\n:2\r\n"), "{counted}");
    assert!(counted.contains("$6\r\nkeynum\r\n$4\r\nspec\r\n%3\r\n$9\r\nkeynumidx\r\n:0\r\n"), "{counted}");
    for verb in ["INFO", "DOCS"] {
        let of = |names| h.say(alloc::format!("COMMAND {verb}{}\r\n", " get".repeat(names)));
        assert_eq!([1024, 1025].map(of).map(|said| said.starts_with('-')), [false, true], "{verb}");
    }
    let count = h.say("COMMAND COUNT\r\n");
    let count = count.trim_start_matches(':').trim_end();
    assert!(h.say("COMMAND\r\n").starts_with(&alloc::format!("*{count}\r\n")));
    assert!(h.say("COMMAND LIST\r\n").starts_with(&alloc::format!("*{count}\r\n")));
    assert!(h.say("COMMAND DOCS\r\n").starts_with(&alloc::format!("%{count}\r\n")));
    let docs = h.say("COMMAND DOCS ping\r\n");
    assert!(docs.starts_with("%1\r\n$4\r\nping\r\n%4\r\n$7\r\nsummary\r\n"), "{docs}");
    let docs = h.say("COMMAND DOCS slowlog\r\n");
    assert!(docs.starts_with("%1\r\n$7\r\nslowlog\r\n%5\r\n"), "{docs}");
    assert!(docs.contains("$11\r\nsubcommands\r\n%3\r\n$11\r\nslowlog|get\r\n%4\r\n"), "{docs}");
}

#[test]
fn a_client_is_described() {
    let mut h = Harness::new();
    h.say("CLIENT SETNAME me\r\nCLIENT SETINFO LIB-NAME lib\r\nCLIENT SETINFO lib-ver 1.2\r\n");
    h.now.mono += 3_000_000;
    let info = h.say("CLIENT INFO\r\n");
    let line = info.lines().nth(1).unwrap();
    assert!(
        line.starts_with("id=5 addr=10.9.9.9:4711 laddr= fd=-1 name=me age=3 idle=0 flags=N db=0 "),
        "{line}"
    );
    assert!(line.ends_with(" cmd=client user=default redir=-1 resp=2 lib-name=lib lib-ver=1.2"), "{line}");
    let list = h.say("CLIENT LIST\r\n");
    assert_eq!(list.matches("\nid=").count(), 2, "{list}");
    let own = h.say("CLIENT LIST ID 5\r\n");
    assert!(own.contains("id=5 ") && !own.contains("id=9 "));
}

#[test]
fn sessions_are_opened_used_and_closed() {
    let mut h = Harness::new();
    assert_eq!(h.say("SESSION OPEN\r\nsession open n\r\n"), ":100\r\n:100\r\n");
    assert_eq!(h.say("ONCE 100 1 1 INCRBY n 5\r\n"), ":5\r\n");
    assert_eq!(h.say("SESSION CLOSE 100\r\n"), "+OK\r\n");
    for (command, error) in [
        (
            "ONCE 100 2 1 GET n",
            "-ERR a command that changes nothing may be sent again as it is: send it without ONCE\r\n",
        ),
        ("ONCE x 2 1 INCR n", "-ERR value is not an integer or out of range\r\n"),
        ("ONCE 1 -2 1 INCR n", "-ERR value is not an integer or out of range\r\n"),
        ("ONCE 1 2 1", "-ERR wrong number of arguments for 'once' command\r\n"),
        ("ONCE 1 2 1 INCR", "-ERR wrong number of arguments for 'incr' command\r\n"),
        ("ONCE 1 2 1 PING", "-ERR unknown command 'PING', with args beginning with: \r\n"),
        ("SESSION", "-ERR wrong number of arguments for 'session' command\r\n"),
        ("SESSION CLOSE", "-ERR wrong number of arguments for 'session|close' command\r\n"),
        ("SESSION CLOSE x", "-ERR value is not an integer or out of range\r\n"),
        ("SESSION OPEN a b", "-ERR wrong number of arguments for 'session|open' command\r\n"),
        ("SESSION foo", "-ERR unknown subcommand 'foo'. Try SESSION HELP.\r\n"),
    ] {
        assert_eq!(h.say(alloc::format!("{command}\r\n")), error, "{command}");
    }
    let long = alloc::format!("SESSION OPEN {}\r\n", "n".repeat(65));
    assert_eq!(h.say(long), "-ERR a session's nonce has at most 64 bytes\r\n");
}

#[test]
fn bgsave_asks_for_a_snapshot() {
    let mut harness = Harness::new();
    assert_eq!(harness.say("BGSAVE\r\n"), "+Background saving started\r\n");
    assert_eq!(harness.say("BGSAVE schedule\r\n"), "+Background saving started\r\n");
    assert_eq!(harness.say("BGSAVE now\r\n"), "-ERR syntax error\r\n");
    assert_eq!(harness.snapshots, 2);
}
