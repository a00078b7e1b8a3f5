//! Golden scenarios: a script and what comes of it, in one file under `testdata`, with one door: [`check`].
//!
//! A line `> command` is carried out; the lines below it say what the members did. `UPDATE_GOLDEN=1 cargo test` writes
//! down what happens now. Commands:
//!
//! ```text
//! nodes 3 [learners=1] [setting=value ...]    form a cluster and start everybody
//! run MS            let time pass: timers fire, messages arrive, disks sync (but see cut and hold)
//! settle            the same without time
//! pass MS           let time pass and nothing happen
//! wake n1           go on to n1's next deadline and wake it
//! propose n1 a b    propose, in one batch
//! read n1 [COUNT]   ask to read, in one batch
//! join n4           start a node that nobody has told anything
//! change n1 +4 ^4 v3 -2 [explicit] [force]    add a learner, promote, demote, remove, in one change
//! leave n1          leave a joint configuration that was entered explicitly
//! transfer n1 [n2]  hand leadership over
//! deliver [n1 n2]   deliver what is on its way now (from n1 to n2)
//! drop [n1 n2]      lose what is on its way now (from n1 to n2)
//! double            what is on its way now comes twice
//! cut n1 n2, cut-one-way n1 n2, isolate n1, heal
//! hold n1, release n1         keep n1's disk from syncing in run and settle
//! sync n1 [COUNT]             n1's first writes become durable
//! jobs n1                     n1's snapshot jobs complete
//! save n1 [INDEX]             n1 has saved a snapshot
//! spoil n1                    what n1 has received of a snapshot is damaged
//! crash n1 [SURVIVING], start n1
//! unreachable n1 n2 n1's connection to n2 broke
//! probe n1 n2 INDEX an append of n1's entry at INDEX alone is on its way to n2
//! watch WORD ...    leave out all but roles, halts and lines with one of the words; watch alone leaves out nothing
//! show              where everybody is
//! ```

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::super::*;
use super::cluster::{Cluster, Flight, configuration, member};
use super::text;

struct Script {
    cluster: Cluster,
    held: Vec<NodeId>,
    watched: Vec<String>,
}

/// Carries out the script `name` and compares.
fn check(name: &str) {
    let path = format!("{}/src/raft/testdata/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(&path).unwrap();
    let mut script = Script {
        cluster: Cluster::new(&configuration(&[1], &[]), config),
        held: Vec::new(),
        watched: Vec::new(),
    };
    let mut found = String::new();
    for line in expected.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            found += &format!("{line}\n");
            for line in script.command(command) {
                found += &format!("  {line}\n");
            }
        } else if line.is_empty() || line.starts_with('#') {
            found += &format!("{line}\n");
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    } else {
        assert!(found == expected, "{name} differs; UPDATE_GOLDEN=1 writes down this:\n{found}");
    }
}

fn config(id: NodeId) -> Config {
    Config { trailing_bytes: 0, snapshot_chunk_bytes: 16, commit_delay: 0, ..Config::new(id, 1) }
}

fn change(words: &[&str]) -> Change {
    let step = |word: &&str| {
        let id = |digits: &str| NodeId(number(digits));
        Some(match word.split_at(1) {
            ("+", digits) => MemberChange::AddLearner { id: id(digits), member: member(number(digits)) },
            ("^", digits) => MemberChange::Promote(id(digits)),
            ("v", digits) => MemberChange::Demote(id(digits)),
            ("-", digits) => MemberChange::Remove(id(digits)),
            _ => return None,
        })
    };
    Change {
        steps: words.iter().filter_map(step).collect(),
        auto_leave: !words.contains(&"explicit"),
        force: words.contains(&"force"),
    }
}

fn node(name: &str) -> NodeId {
    let id = name.strip_prefix('n').and_then(|n| n.parse().ok());
    NodeId(id.unwrap_or_else(|| panic!("{name} is no node")))
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

impl Script {
    fn command(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let arg = |i: usize| words.get(i).copied();
        let count = |i: usize, default: usize| arg(i).map_or(default, |n| number(n) as usize);
        let cluster = &mut self.cluster;
        match words[0] {
            "nodes" => self.form(&words[1..]),
            "run" => cluster.run_for(number(words[1]) * 1000, &self.held),
            "settle" => cluster.settle(&self.held),
            "pass" => cluster.now += number(words[1]) * 1000,
            "wake" => {
                let id = node(words[1]);
                let deadline = match &cluster.raft(id).state {
                    State::Leader(lead) => lead.beat_at,
                    _ => cluster.raft(id).election_at,
                };
                cluster.now = cluster.now.max(deadline);
                cluster.step(id, [Event::Wake].into());
            }
            "propose" => {
                let id = node(words[1]);
                let events = words[2..].iter().map(|w| cluster.propose(id, w.to_string().into())).collect();
                cluster.step(id, events);
            }
            "read" => {
                let id = node(words[1]);
                let events = (0..count(2, 1)).map(|_| cluster.read(id)).collect();
                cluster.step(id, events);
            }
            "join" => {
                let id = node(words[1]);
                cluster.join(config(id));
                cluster.start(id);
            }
            "change" => {
                let event = cluster.reconfigure(change(&words[2..]));
                cluster.step(node(words[1]), [event].into());
            }
            "leave" => {
                let event = cluster.reconfigure(Change::leave());
                cluster.step(node(words[1]), [event].into());
            }
            "transfer" => {
                let event = cluster.transfer(arg(2).map(node));
                cluster.step(node(words[1]), [event].into());
            }
            "deliver" => {
                for flight in self.take(&words[1..]) {
                    if !self.cluster.is_cut(flight.from, flight.to) {
                        let event = Event::Receive { from: flight.from, message: flight.message };
                        self.cluster.step(flight.to, [event].into());
                    }
                }
            }
            "drop" => drop(self.take(&words[1..])),
            "double" => cluster.flights.extend(cluster.flights.clone()),
            "cut" => {
                let (a, b) = (node(words[1]), node(words[2]));
                cluster.cut.extend([(a, b), (b, a)]);
            }
            "cut-one-way" => cluster.cut.push((node(words[1]), node(words[2]))),
            "isolate" => {
                let a = node(words[1]);
                let others: Vec<NodeId> = cluster.members.keys().copied().filter(|&b| b != a).collect();
                cluster.cut.extend(others.into_iter().flat_map(|b| [(a, b), (b, a)]));
            }
            "heal" => cluster.cut.clear(),
            "hold" => self.held.push(node(words[1])),
            "release" => self.held.retain(|&id| id != node(words[1])),
            "sync" => {
                let id = node(words[1]);
                let done = cluster.sync(id, count(2, usize::MAX));
                cluster.step(id, done.into_iter().collect());
            }
            "jobs" => {
                let id = node(words[1]);
                let jobs: Vec<Event> = cluster.members.get_mut(&id).unwrap().jobs.drain(..).collect();
                cluster.step(id, jobs);
            }
            "save" => {
                let id = node(words[1]);
                let applied = cluster.raft(id).status().applied;
                let saved = cluster.save(id, arg(2).map_or(applied, number));
                cluster.step(id, saved.into_iter().collect());
            }
            "spoil" => cluster.spoil(node(words[1])),
            "crash" => cluster.crash(node(words[1]), count(2, 0)),
            "start" => cluster.start(node(words[1])),
            "unreachable" => {
                let (id, peer) = (node(words[1]), node(words[2]));
                cluster.step(id, [Event::Unreachable { peer }].into());
            }
            "probe" => {
                // Only the log up to an index: as if the leader's append had been cut short.
                let (id, to, upto) = (node(words[1]), node(words[2]), number(words[3]));
                let raft = cluster.raft(id);
                let previous = LogId::new(raft.log.term(upto - 1).unwrap(), upto - 1);
                let entries = raft.log.between(upto, upto).cloned().collect();
                let message = Message::Append { term: raft.hard.term, previous, entries, commit: 0 };
                cluster.flights.push(Flight { from: id, to, message });
            }
            "watch" => self.watched = words[1..].iter().map(|w| w.to_string()).collect(),
            "show" => return self.show(),
            other => panic!("{other} is no command"),
        }
        let mut trace = std::mem::take(&mut self.cluster.trace);
        if !self.watched.is_empty() {
            let always = [" is ", " halts"];
            trace.retain(|l| {
                always.iter().any(|w| l.contains(w)) || self.watched.iter().any(|w| l.contains(w))
            });
        }
        trace
    }

    fn form(&mut self, words: &[&str]) {
        let voters: Vec<u64> = (1..=number(words[0])).collect();
        let mut learners = Vec::new();
        let mut settings = Vec::new();
        for word in &words[1..] {
            let (key, value) = word.split_once('=').unwrap();
            match key {
                "learners" => {
                    learners = (voters.len() as u64 + 1..=voters.len() as u64 + number(value)).collect()
                }
                _ => settings.push((key, number(value))),
            }
        }
        self.cluster = Cluster::new(&configuration(&voters, &learners), |id| {
            let mut config = config(id);
            for &(key, value) in &settings {
                match key {
                    "pre_vote" => config.pre_vote = value == 1,
                    "lease" => config.lease = Some(value),
                    "check_quorum" => config.check_quorum = value == 1,
                    "max_inflight_appends" => config.max_inflight_appends = value as usize,
                    "max_append_bytes" => config.max_append_bytes = value as usize,
                    "max_uncommitted_bytes" => config.max_uncommitted_bytes = value as usize,
                    "max_entry_bytes" => config.max_entry_bytes = value as usize,
                    "max_pending_reads" => config.max_pending_reads = value as usize,
                    "trailing_bytes" => config.trailing_bytes = value as usize,
                    other => panic!("{other} is no setting"),
                }
            }
            config
        });
        self.cluster.tracing = true;
        for id in voters.into_iter().chain(learners) {
            self.cluster.start(NodeId(id));
        }
    }

    fn take(&mut self, link: &[&str]) -> Vec<Flight> {
        let (from, to) = match link {
            [from, to] => (Some(node(from)), Some(node(to))),
            _ => (None, None),
        };
        let of_link = |f: &Flight| from.is_none_or(|id| id == f.from) && to.is_none_or(|id| id == f.to);
        let (taken, left) = std::mem::take(&mut self.cluster.flights).into_iter().partition(of_link);
        self.cluster.flights = left;
        taken
    }

    fn show(&self) -> Vec<String> {
        let line = |member: &super::cluster::Member| {
            let Some(raft) = &member.raft else { return format!("{:?} is down", member.config.id) };
            let s = raft.status();
            let matched: String = raft.matched().map(|(id, m)| format!(" {id:?}={m}")).collect();
            let changed = match raft.membership.latest_index() {
                ..=1 => String::new(),
                index => format!(" {index}:{}", text::configuration(&raft.configuration().to_cbor())),
            };
            format!(
                "{:?} {:?}@{} log={}..{:?} commit={} persisted={}{matched}{changed}",
                s.id, s.role, s.term, s.first_index, s.last, s.commit, s.persisted
            )
        };
        self.cluster.members.values().map(line).collect()
    }
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check(stringify!($name)); })*

        #[test]
        fn every_scenario_is_run() {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/raft/testdata");
            let mut files: Vec<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect();
            files.sort();
            let mut expected: Vec<String> = [$(stringify!($name)),*].iter().map(|n| format!("{n}.txt")).collect();
            expected.sort();
            assert_eq!(files, expected);
        }
    };
}

scenarios! {
    election
    single_node
    pre_vote
    check_quorum
    replication
    pipeline
    lost_messages
    conflict
    figure_8
    restart
    stickiness_after_restart
    completion_aba
    read_index
    snapshot_install
    snapshot_resume
    snapshot_fast_forward
    snapshot_corrupt
    learner
    learner_added
    membership_joint
    membership_rollback
    membership_removed_leader
    membership_removed_node
    transfer
    read_follower
    read_nearest
    lease
    bridge
    one_way
    bounds
}
