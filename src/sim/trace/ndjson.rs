//! A run as NDJSON: one JSON object a line, so that a program can follow it line by line.
//!
//! # The first line: the run
//!
//! `trace` (the schema's version, 1), `build` (Quorate's), `seed`, `profile`, `replay` (the command that runs it again),
//! `nodes` (their ids), `forgotten` (how many earlier events are missing because only the last were kept).
//!
//! # Every other line: an event
//!
//! | field | holds |
//! | --- | --- |
//! | `at` | microseconds of simulated time; never falls from line to line |
//! | `name` | what happened, as a specification of Raft names the action: see below |
//! | `node` | where; absent for the network and for clients |
//! | `text` | the same in words |
//!
//! and what is particular to it:
//!
//! | names | fields |
//! | --- | --- |
//! | `Send…`, `Receive…` (`Append`, `AppendAccepted`, `AppendRejected`, `PreVote`, `PreVoteReply`, `Vote`, `VoteReply`, `Heartbeat`, `HeartbeatReply`, `SnapshotChunk`, `SnapshotReply`, `TimeoutNow`, `ReadIndex`, `ReadIndexReply`, and what is not between cores: `Hello`, `Welcome`, `Refuse`, `Formed`, `Forward`, `ForwardReply`, `Digest`) | `message`: `id` (one sending has one; each of its arrivals bears it), `kind`, `from`, `to`, and the message's own fields. With `Send…` also `fate` (`arrives`, `lost`, `breaks`: the connection breaks under it, `closed`: the connection was gone) and `arrives`, the times of its arrivals; with `Receive…` `arrived` |
//! | a step of a core (`Recover`, `BecomeLeader`, `Timeout`, `BecomePreCandidate`, `StepDown`, `BecomeFollower`, `InstallSnapshot`, `TruncateLog`, `ChangeConfiguration`, `GrantVote`, `UpdateTerm`, `FollowLeader`, `AdvanceCommit`, `AppendLog`, `TakeSnapshot`, `PersistLog`, `Apply`, `Step`) | `changes` (all of these that the step made, the weightiest, which is the name, first; none for `Step`), `state`, and when the log's end changed `log` |
//! | `Start`, `Restart` | `life` |
//! | `Crash`, `PowerFailure`, `Resume`, `Wipe`, `RollBack` | – |
//! | `Pause` | `until` |
//! | `Slow` | `percent` |
//! | `SetClock` | `drift_ppm`, `wall_ahead_ms` |
//! | `Halt`, `Fault`, `DiskError`, `Note` | `reason` |
//! | `Persist`, `Persisted` | `batch`; `bytes`; `reason` when it failed |
//! | `Partition`, `Heal` | `cut`: all directions that are cut from now on, as `from` and `to` |
//! | `Weather` | `from`, `to`, `kinds` (absent: any); `min_delay`, `max_delay`, `late_least`, `late_tail`, `clog` in microseconds; `lost`, `doubled`, `overtaken`, `late` of a thousand; `clogged`, `broken` of a million |
//! | `Invoke` | `client`, `call`, `words` |
//! | `Return` | `client`, `call`, `outcome` (`done`, `not-done`, `unknown`: perhaps, at most once), `reply` |
//! | `Violation` | `reason`; the last line, if a promise was broken |
//!
//! `state`: `role`, `term`, `vote`, `leader`, `commit`, `applied`, `persisted`, `first` and `last` of the log, `snapshot` (what it
//! covers), `voters` and `outgoing` (the configuration in force), `digest` (the state machine's). `log`: behind index `after` the
//! log now holds exactly `entries`, each with `term`, `kind` and a `hash` of its data; `first` in `state` says where it begins. A
//! position is `{"term":…,"index":…}`. Bytes of clients are text with a doubled backslash and `\xNN` for what is no text.
//!
//! # Following a run by a specification
//!
//! A node takes what has arrived in batches. The lines of one step of one node follow each other and have one time: a
//! `Receive…` for each message it took, in order; then, if the core changed or had messages to take, one step with all
//! changes of the batch and the state after it; then a `Send…` for each message that the step led to. `Recover` is the
//! first step after a start: its `log` and `state` are what the disk held. A specification therefore composes the actions that
//! the messages and `changes` name, in any order that leads to `state`.

use core::fmt::{self, Write};
use std::string::String;

use super::RunFacts;
use super::event::{Ending, Fate, State, TraceEvent, What};
use super::json::Json;
use super::said::{EntryMark, Said, Value};
use super::words::{in_text, kinds_of};
use crate::raft::{EntryKind, LogId, NodeId, Role};
use crate::sim::network::{Region, Weather};

/// The version of the schema.
const VERSION: u64 = 1;

/// Most bytes of a client's word that are written.
const WORD: usize = 4096;

/// Writes a run.
///
/// # Errors
/// Those of `out`.
pub fn write_ndjson<'a>(
    facts: &RunFacts,
    events: impl IntoIterator<Item = &'a TraceEvent>,
    out: &mut impl Write,
) -> fmt::Result {
    let mut line = String::new();
    write_facts(facts, &mut line);
    writeln!(out, "{line}")?;
    for event in events {
        line.clear();
        write_event(event, &mut line);
        writeln!(out, "{line}")?;
    }
    if let Some(violation) = &facts.violation {
        line.clear();
        Json::object(&mut line)
            .number("at", violation.at)
            .text("name", "Violation")
            .number("node", violation.node.0)
            .text("text", format_args!("VIOLATION {}", violation.what))
            .text("reason", &violation.what);
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn write_facts(facts: &RunFacts, line: &mut String) {
    Json::object(line)
        .number("trace", VERSION)
        .text("build", env!("CARGO_PKG_VERSION"))
        .number("seed", facts.seed)
        .text("profile", &facts.profile)
        .text("replay", &facts.replay)
        .numbers("nodes", facts.nodes.iter().map(|node| node.0))
        .number("forgotten", facts.forgotten);
}

fn write_event(event: &TraceEvent, line: &mut String) {
    let mut json = Json::object(line);
    json.number("at", event.at).text("name", event.what.name());
    if let Some(node) = event.node {
        json.number("node", node.0);
    }
    json.text("text", &event.what);
    write_rest(event, &mut json);
}

fn write_rest(event: &TraceEvent, json: &mut Json<'_>) {
    let own = event.node.unwrap_or(NodeId(0));
    match &event.what {
        What::Start { life } => json.number("life", *life),
        What::Crash(_) | What::Resume | What::Wipe | What::RollBack => json,
        What::Pause { until } => json.number("until", *until),
        What::Slow { percent } => json.number("percent", *percent),
        What::SetClock { after, .. } => {
            json.number("drift_ppm", after.drift_ppm).number("wall_ahead_ms", after.wall_ahead_ms)
        }
        What::Halt { fault: reason }
        | What::Fault { text: reason }
        | What::DiskError { text: reason }
        | What::Note { text: reason } => json.text("reason", reason),
        What::Persist { batch, bytes } => json.number("batch", *batch).number("bytes", *bytes as u64),
        What::Persisted { batch, error } => {
            json.number("batch", *batch);
            error.iter().for_each(|error| {
                json.text("reason", error);
            });
            json
        }
        What::Send { message, to, fate, said } => {
            json.inner("message", |json| write_message(json, *message, own, *to, said));
            write_fate(json, fate)
        }
        What::Receive { message, from, arrived, said } => json
            .inner("message", |json| write_message(json, *message, *from, own, said))
            .number("arrived", *arrived),
        What::Step(step) => {
            json.texts("changes", step.changes.iter().map(|change| change.name()));
            json.inner("state", |json| write_state(json, &step.state));
            if let Some(log) = &step.log {
                json.inner("log", |json| {
                    json.number("after", log.after).objects("entries", &log.entries, write_mark);
                });
            }
            json
        }
        What::Partition { cut } => json.objects("cut", cut, |json, &(from, to)| {
            json.number("from", from.0).number("to", to.0);
        }),
        What::Weather { region, weather } => {
            if let Some(region) = region {
                write_region(json, region);
            }
            write_weather(json, weather)
        }
        What::Invoke { client, call, words } => {
            let words = words.iter().map(|word| in_text(&word[..word.len().min(WORD)]));
            json.text("client", client).number("call", *call).texts("words", words)
        }
        What::Return { client, call, ending, reply } => {
            let outcome = match ending {
                Ending::Done => "done",
                Ending::NotDone => "not-done",
                Ending::Unknown => "unknown",
            };
            json.text("client", client).number("call", *call).text("outcome", outcome).text("reply", reply)
        }
    };
}

fn write_message(json: &mut Json<'_>, id: u64, from: NodeId, to: NodeId, said: &Said) {
    json.number("id", id)
        .text("kind", format_args!("{:?}", said.kind))
        .number("from", from.0)
        .number("to", to.0);
    for (name, value) in &said.fields {
        match value {
            Value::Number(number) => json.number(name, *number),
            Value::Flag(flag) => json.flag(name, *flag),
            Value::Position(position) => json.inner(name, |json| write_position(json, *position)),
            Value::Text(text) => json.text(name, text),
            Value::Entries(entries) => json.objects(name, entries, write_mark),
        };
    }
}

fn write_fate<'a, 'b>(json: &'a mut Json<'b>, fate: &Fate) -> &'a mut Json<'b> {
    match fate {
        Fate::Arrives(at) => json.text("fate", "arrives").numbers("arrives", at.iter().copied()),
        Fate::Lost => json.text("fate", "lost"),
        Fate::Breaks => json.text("fate", "breaks"),
        Fate::Closed => json.text("fate", "closed"),
    }
}

fn write_region(json: &mut Json<'_>, region: &Region) {
    if let Some(from) = region.from {
        json.number("from", from.0);
    }
    if let Some(to) = region.to {
        json.number("to", to.0);
    }
    if let Some(kinds) = kinds_of(region.kinds) {
        json.texts("kinds", kinds.map(|kind| std::format!("{kind:?}")));
    }
}

fn write_weather<'a, 'b>(json: &'a mut Json<'b>, weather: &Weather) -> &'a mut Json<'b> {
    json.number("min_delay", weather.min_delay)
        .number("max_delay", weather.max_delay)
        .number("lost", weather.lost)
        .number("doubled", weather.doubled)
        .number("overtaken", weather.overtaken)
        .number("late", weather.late)
        .number("late_least", weather.late_least)
        .number("late_tail", weather.late_tail)
        .number("clogged", weather.clogged)
        .number("clog", weather.clog)
        .number("broken", weather.broken)
}

fn write_state(json: &mut Json<'_>, state: &State) {
    let role = match state.role {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    };
    json.text("role", role)
        .number("term", state.term)
        .maybe("vote", state.vote.map(|node| node.0))
        .maybe("leader", state.leader.map(|node| node.0))
        .number("commit", state.commit)
        .number("applied", state.applied)
        .number("persisted", state.persisted)
        .number("first", state.first)
        .inner("last", |json| write_position(json, state.last))
        .inner("snapshot", |json| write_position(json, state.snapshot.unwrap_or(LogId::ZERO)))
        .numbers("voters", state.voters.iter().map(|node| node.0))
        .numbers("outgoing", state.outgoing.iter().map(|node| node.0))
        .text("digest", format_args!("{:032x}", state.digest));
}

fn write_position(json: &mut Json<'_>, position: LogId) {
    json.number("term", position.term).number("index", position.index);
}

fn write_mark(json: &mut Json<'_>, mark: &EntryMark) {
    let kind = match mark.kind {
        EntryKind::NoOp => "no-op",
        EntryKind::Command => "command",
        EntryKind::Configuration => "configuration",
    };
    json.number("term", mark.term).text("kind", kind).text("hash", format_args!("{:08x}", mark.hash));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::vec::Vec;

    use bytes::Bytes;
    use smallvec::smallvec;

    use super::*;
    use crate::codec::peer::PeerMessage;
    use crate::raft::{Entry, Message, Stamp};
    use crate::sim::Violation;
    use crate::sim::trace::{Change, ClientName, LogChange, Step};

    const N1: NodeId = NodeId(1);
    const N2: NodeId = NodeId(2);

    fn lines(
        what: impl IntoIterator<Item = (Option<NodeId>, What)>,
        violation: Option<Violation>,
    ) -> Vec<String> {
        let events: Vec<_> =
            what.into_iter().map(|(node, what)| TraceEvent { at: 1500, node, what }).collect();
        let facts = RunFacts {
            seed: 7,
            profile: "wild".into(),
            replay: "quorate sim --seed 7".into(),
            nodes: [N1, N2].into(),
            forgotten: 3,
            violation,
        };
        let mut out = String::new();
        write_ndjson(&facts, &events, &mut out).expect("a string takes everything");
        out.lines().map(String::from).collect()
    }

    fn entry() -> Entry {
        let stamp = Stamp::default();
        Entry { id: LogId::new(2, 5), kind: EntryKind::Command, stamp, data: Bytes::from_static(b"x") }
    }

    #[test]
    fn the_first_line_is_the_run_and_the_last_its_violation() {
        let violation = Violation { seed: 7, at: 9, node: N2, what: "a \"promise\"".into() };
        let lines = lines([], Some(violation));
        assert!(lines[0].starts_with(r#"{"trace":1,"build":""#));
        assert!(lines[0].ends_with(
            r#","seed":7,"profile":"wild","replay":"quorate sim --seed 7","nodes":[1,2],"forgotten":3}"#
        ));
        let text = r#""text":"VIOLATION a \"promise\"","reason":"a \"promise\"""#;
        let last = std::format!(r#"{{"at":9,"name":"Violation","node":2,{text}}}"#);
        assert_eq!(lines[1..], [last]);
    }

    #[test]
    fn a_message_is_written_with_its_fields_and_its_fate() {
        let message = Message::Append {
            term: 2,
            previous: LogId::new(1, 4),
            entries: [entry()].into_iter().collect(),
            commit: 3,
        };
        let said = Arc::new(Said::of(&PeerMessage::Raft(message)));
        let fate = Fate::Arrives(smallvec![1600, 1700]);
        let send = What::Send { message: 9, to: N2, fate, said: said.clone() };
        let receive = What::Receive { message: 9, from: N1, arrived: 1499, said };
        let lines = lines([(Some(N1), send), (Some(N2), receive)], None);
        let said = concat!(
            r#""message":{"id":9,"kind":"Append","from":1,"to":2,"term":2,"previous":{"term":1,"index":4},"#,
            r#""entries":[{"term":2,"kind":"command","hash":"80b2cd11"}],"commit":3}"#
        );
        let words = "n2 Append, term 2, previous 4@1, 1 entry, commit 3";
        let sent = std::format!(
            r#"{{"at":1500,"name":"SendAppend","node":1,"text":"→ {words} (doubled)",{said},"fate":"arrives","arrives":[1600,1700]}}"#
        );
        let words = words.replace("n2", "n1");
        let received = std::format!(
            r#"{{"at":1500,"name":"ReceiveAppend","node":2,"text":"← {words}",{said},"arrived":1499}}"#
        );
        assert_eq!(lines[1..], [sent, received]);
    }

    #[test]
    fn a_step_is_written_with_its_state_and_the_end_of_its_log() {
        let state = State {
            role: Role::Follower,
            term: 2,
            vote: None,
            leader: Some(N1),
            commit: 4,
            applied: 4,
            persisted: 4,
            first: 1,
            last: LogId::new(2, 5),
            snapshot: None,
            voters: [N1, N2].into(),
            outgoing: Vec::new(),
            digest: 255,
        };
        let log = LogChange { after: 4, entries: [EntryMark::of(&entry())].into() };
        let changes = smallvec![Change::TruncateLog, Change::AdvanceCommit, Change::AppendLog, Change::Apply];
        let step = Step { changes, state: state.into(), log: Some(log) };
        let expected = concat!(
            r#"{"at":1500,"name":"TruncateLog","node":2,"text":"cuts its log after 4, commits up to 4, log up to 5@2","#,
            r#""changes":["TruncateLog","AdvanceCommit","AppendLog","Apply"],"#,
            r#""state":{"role":"follower","term":2,"vote":null,"leader":1,"commit":4,"applied":4,"persisted":4,"#,
            r#""first":1,"last":{"term":2,"index":5},"snapshot":{"term":0,"index":0},"voters":[1,2],"outgoing":[],"#,
            r#""digest":"000000000000000000000000000000ff"},"#,
            r#""log":{"after":4,"entries":[{"term":2,"kind":"command","hash":"80b2cd11"}]}}"#
        );
        assert_eq!(lines([(Some(N2), What::Step(step.into()))], None)[1..], [expected]);
    }

    #[test]
    fn the_world_and_clients_have_no_node() {
        let client = ClientName::Clerk(0);
        let words = [Bytes::from_static(b"GET"), Bytes::from_static(b"\xff\"")].into();
        let lines = lines(
            [
                (None, What::Partition { cut: [(N1, N2)].into() }),
                (None, What::Partition { cut: Vec::new() }),
                (None, What::Invoke { client, call: 4, words }),
                (None, What::Return { client, call: 4, ending: Ending::Unknown, reply: "?".into() }),
            ],
            None,
        );
        let expected = [
            r#"{"at":1500,"name":"Partition","text":"the network is cut: n1→n2","cut":[{"from":1,"to":2}]}"#,
            r#"{"at":1500,"name":"Heal","text":"the network is whole","cut":[]}"#,
            r#"{"at":1500,"name":"Invoke","text":"clerk-0: GET \\xff\"","client":"clerk-0","call":4,"words":["GET","\\xff\""]}"#,
            r#"{"at":1500,"name":"Return","text":"clerk-0: → ?","client":"clerk-0","call":4,"outcome":"unknown","reply":"?"}"#,
        ];
        assert_eq!(lines[1..], expected);
    }
}
