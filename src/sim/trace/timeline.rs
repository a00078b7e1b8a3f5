//! A failure in a few dozen lines for a terminal: elections, commits, crashes, faults, cuts, the calls on one key, and what broke.

use core::fmt::Write;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::RunFacts;
use super::event::{Change, ClientName, TraceEvent, What};
use crate::raft::{LogIndex, NodeId, Role};
use crate::time::Micros;

/// Most lines of a timeline, the violation's aside.
const LINES: usize = 60;

/// One line.
struct Line {
    at: Micros,
    who: String,
    what: String,
    kind: Kind,
}

/// What kind of line it is, which decides what may join it.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// What a client asked or was answered: it does not end a run of commits.
    Call,
    /// A leader's commit index, the first of a run of which only the last is of interest.
    Commit(NodeId, LogIndex),
    Turn,
}

/// The last lines of what mattered. Calls are shown when one of their words is `key`.
pub fn timeline<'a>(
    facts: &RunFacts,
    events: impl IntoIterator<Item = &'a TraceEvent>,
    key: Option<&[u8]>,
) -> String {
    let mut lines: Vec<Line> = Vec::new();
    let mut shown: Vec<(ClientName, u64)> = Vec::new();
    for event in events {
        let Some(line) = line_of(event, key, &mut shown) else { continue };
        let before = lines.iter_mut().rev().find(|line| line.kind != Kind::Call);
        match (before.map(|line| (line.kind, line)), line.kind) {
            (Some((Kind::Commit(node, from), run)), Kind::Commit(now, to)) if node == now => {
                run.what = format!("commits {from} to {to}, until {} ms", in_ms(line.at));
            }
            _ => lines.push(line),
        }
    }
    let left_out = lines.len().saturating_sub(LINES);
    let mut out = String::new();
    let replay = &facts.replay;
    // A string takes all that is written to it.
    let _ = writeln!(
        out,
        "seed {}, profile {}, {} nodes: {replay}",
        facts.seed,
        facts.profile,
        facts.nodes.len()
    );
    if left_out > 0 {
        let _ = writeln!(out, "{:>12}     … {left_out} earlier lines", "");
    }
    for line in &lines[left_out..] {
        let _ = writeln!(out, "{:>12} ms  {:<9} {}", in_ms(line.at), line.who, line.what);
    }
    if let Some(violation) = &facts.violation {
        let who = format!("{:?}", violation.node);
        let _ = writeln!(out, "{:>12} ms  {who:<9} VIOLATION {}", in_ms(violation.at), violation.what);
    }
    out
}

fn in_ms(at: Micros) -> String {
    format!("{}.{:03}", at / 1000, at % 1000)
}

/// The line of an event, if it matters. `shown` are the calls that were shown and have not returned.
fn line_of(event: &TraceEvent, key: Option<&[u8]>, shown: &mut Vec<(ClientName, u64)>) -> Option<Line> {
    let mut kind = Kind::Turn;
    let matters = match &event.what {
        What::Start { .. }
        | What::Crash(_)
        | What::Pause { .. }
        | What::Resume
        | What::Slow { .. }
        | What::Halt { .. }
        | What::Wipe
        | What::RollBack
        | What::SetClock { .. }
        | What::Fault { .. }
        | What::DiskError { .. }
        | What::Partition { .. }
        | What::Weather { .. } => true,
        What::Persisted { error, .. } => error.is_some(),
        What::Persist { .. } | What::Send { .. } | What::Receive { .. } | What::Note { .. } => false,
        What::Step(step) => match step.changes.first() {
            Some(Change::AdvanceCommit) => {
                if let Some(node) = event.node {
                    kind = Kind::Commit(node, step.state.commit);
                }
                // What followers learn of it would fill the lines.
                step.state.role == Role::Leader
            }
            first => first.is_some_and(|change| *change <= Change::GrantVote),
        },
        What::Invoke { client, call, words } => {
            let of_key = key.is_some_and(|key| words.iter().any(|word| word[..] == *key));
            if of_key {
                shown.push((*client, *call));
            }
            of_key
        }
        What::Return { client, call, .. } => {
            let place = shown.iter().position(|open| *open == (*client, *call));
            place.map(|place| shown.swap_remove(place)).is_some()
        }
    };
    if !matters {
        return None;
    }
    let what = event.what.to_string();
    let node = event.node.map_or_else(String::new, |node| format!("{node:?}"));
    let (who, what, kind) = match (&event.what, kind) {
        (What::Invoke { client, .. } | What::Return { client, .. }, _) => {
            let who = client.to_string();
            let rest = what.strip_prefix(&format!("{who}: ")).unwrap_or(&what).to_string();
            (who, rest, Kind::Call)
        }
        (_, Kind::Commit(_, index)) => (node, format!("commits {index}"), kind),
        _ => (node, what, kind),
    };
    Some(Line { at: event.at, who, what, kind })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use smallvec::smallvec;

    use super::*;
    use crate::raft::LogId;
    use crate::sim::trace::{Ending, State, Step};
    use crate::sim::{Crash, Violation};

    fn facts(violation: Option<Violation>) -> RunFacts {
        let nodes = (1..=3).map(NodeId).collect();
        RunFacts { seed: 7, profile: "calm".into(), replay: "again".into(), nodes, forgotten: 0, violation }
    }

    fn event(at: Micros, node: u64, what: What) -> TraceEvent {
        TraceEvent { at, node: (node > 0).then_some(NodeId(node)), what }
    }

    fn step(change: Change, role: Role, commit: LogIndex) -> What {
        let state = State {
            role,
            term: 2,
            vote: None,
            leader: None,
            commit,
            applied: commit,
            persisted: commit,
            first: 1,
            last: LogId::new(2, commit),
            snapshot: None,
            voters: Vec::new(),
            outgoing: Vec::new(),
            digest: 0,
        };
        What::Step(Step { changes: smallvec![change], state: state.into(), log: None }.into())
    }

    fn call(call: u64, words: [&'static str; 2]) -> [What; 2] {
        let client = ClientName::Clerk(0);
        let words = words.map(|word| Bytes::from_static(word.as_bytes())).into();
        let back = What::Return { client, call, ending: Ending::Done, reply: std::format!("reply {call}") };
        [What::Invoke { client, call, words }, back]
    }

    #[test]
    fn what_matters_is_shown_and_runs_of_commits_are_one_line() {
        let [get, got] = call(1, ["GET", "k"]);
        let [other, answer] = call(2, ["GET", "another"]);
        let events = [
            event(0, 1, What::Start { life: 1 }),
            event(12_345, 2, step(Change::BecomeLeader, Role::Leader, 1)),
            event(13_000, 2, step(Change::AdvanceCommit, Role::Leader, 3)),
            event(13_001, 1, step(Change::AdvanceCommit, Role::Follower, 3)),
            event(13_500, 0, get),
            event(13_501, 0, other),
            event(14_000, 2, step(Change::AdvanceCommit, Role::Leader, 6)),
            event(14_500, 2, step(Change::AppendLog, Role::Leader, 6)),
            event(14_600, 0, answer),
            event(14_700, 0, got),
            event(15_000, 2, What::Crash(Crash::Power)),
            event(15_100, 3, What::Note { text: "daily business".into() }),
        ];
        let violation = Violation { seed: 7, at: 16_000, node: NodeId(3), what: "order: upside down".into() };
        let expected = "\
seed 7, profile calm, 3 nodes: again
       0.000 ms  n1        starts
      12.345 ms  n2        leads term 2
      13.000 ms  n2        commits 3 to 6, until 14.000 ms
      13.500 ms  clerk-0   GET k
      14.700 ms  clerk-0   → reply 1
      15.000 ms  n2        loses power
      16.000 ms  n3        VIOLATION order: upside down
";
        assert_eq!(timeline(&facts(Some(violation)), &events, Some(b"k")), expected);
    }

    #[test]
    fn only_the_last_lines_are_shown_and_how_many_came_before() {
        let events: Vec<_> = (0..LINES as u64 + 5).map(|at| event(at, 1, What::Wipe)).collect();
        let text = timeline(&facts(None), &events, None);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), LINES + 2);
        assert_eq!(lines[1].trim(), "… 5 earlier lines");
        assert!(lines[2].trim().starts_with("0.005 ms"), "{}", lines[2]);
    }
}
