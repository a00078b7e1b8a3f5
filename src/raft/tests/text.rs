//! Actions as terse text, for golden scenarios.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::super::*;

fn entries(run: &Entries) -> String {
    let entry = |e: &Entry| match e.kind {
        EntryKind::NoOp => format!("{:?}", e.id),
        EntryKind::Command => format!("{:?}:{}", e.id, String::from_utf8_lossy(&e.data)),
        EntryKind::Configuration => format!("{:?}:{}", e.id, configuration(&e.data)),
    };
    format!("[{}]", run.iter().map(entry).collect::<Vec<_>>().join(" "))
}

/// `{1,2,3}`, `{1,2+3}` with a learner, `{2,3|1,2}` when joint, `*` for an outgoing voter that stays as a learner.
pub(super) fn configuration(data: &[u8]) -> String {
    let Ok(configuration) = Configuration::from_cbor(data) else { return "nonsense".to_string() };
    let list = |ids: &[NodeId]| ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(",");
    let learners: Vec<NodeId> =
        configuration.members.keys().copied().filter(|&id| !configuration.is_voter(id)).collect();
    let mut text = list(&configuration.voters);
    if configuration.is_joint() {
        text += &format!("|{}", list(&configuration.outgoing));
    }
    if !learners.is_empty() {
        text += &format!("+{}", list(&learners));
    }
    if !configuration.learners_next.is_empty() {
        text += &format!("*{}", list(&configuration.learners_next));
    }
    format!("{{{text}}}")
}

fn progress(progress: SnapshotProgress) -> String {
    match progress {
        SnapshotProgress::Written(offset) => format!("written={offset}"),
        SnapshotProgress::Installed(index) => format!("installed={index}"),
        SnapshotProgress::Corrupt => "corrupt".to_string(),
    }
}

fn yes(granted: bool) -> &'static str {
    if granted { "yes" } else { "no" }
}

pub(super) fn message(message: &Message) -> String {
    let term = message.term();
    match message {
        Message::PreVote { last, .. } => format!("PreVote@{term} last={last:?}"),
        Message::PreVoteReply { granted, .. } => format!("PreVoteReply@{term} {}", yes(*granted)),
        Message::Vote { last, transfer, .. } => {
            format!("Vote@{term} last={last:?}{}", if *transfer { " by transfer" } else { "" })
        }
        Message::VoteReply { granted, .. } => format!("VoteReply@{term} {}", yes(*granted)),
        Message::Append { previous, entries: run, commit, .. } => {
            format!("Append@{term} after={previous:?} {} commit={commit}", entries(run))
        }
        Message::AppendAccepted { matched, .. } => format!("Accepted@{term} {matched}"),
        Message::AppendRejected { probed, hint, .. } => format!("Rejected@{term} {probed} hint={hint:?}"),
        Message::Heartbeat { round, commit, .. } => format!("Heartbeat@{term} #{round} commit={commit}"),
        Message::HeartbeatReply { round, .. } => format!("HeartbeatReply@{term} #{round}"),
        Message::TimeoutNow { .. } => format!("TimeoutNow@{term}"),
        Message::ReadIndex { query, .. } => format!("ReadIndex@{term} {}.{}", query.life, query.number),
        Message::ReadIndexReply { query, index, .. } => {
            format!("ReadIndexReply@{term} {}.{} at {index}", query.life, query.number)
        }
        Message::SnapshotChunk { snapshot, offset, data, .. } => {
            format!("Chunk@{term} of {:?} {offset}+{}", snapshot.id.last, data.len())
        }
        Message::SnapshotReply { snapshot, progress: p, .. } => {
            format!("SnapshotReply@{term} of {:?} {}", snapshot.last, progress(*p))
        }
    }
}

/// One line, or none for what only the harness needs.
pub(super) fn action(action: &Action) -> Option<String> {
    Some(match action {
        Action::Persist(p) => {
            let mut line = format!("persists #{}", p.id);
            if let Some(HardState { term, vote }) = p.vote {
                line += &format!(" term={term} vote={}", vote.map_or("-".to_string(), |v| format!("{v:?}")));
            }
            if let Some(s) = &p.snapshot {
                let rest = if s.keeps_suffix { "+suffix" } else { "" };
                line += &format!(" snapshot={:?}{rest}", s.snapshot.id.last);
            }
            if !p.entries.is_empty() {
                line += &format!(" {}", entries(&p.entries));
            }
            line
        }
        Action::Send { to, message: m } => format!("→ {to:?} {}", message(m)),
        Action::Apply(run) => format!("applies {}", entries(run)),
        Action::Proposed { proposal, index, term } => format!("proposed p{proposal} as {index}@{term}"),
        Action::ProposalRefused { proposal, reason } => format!("refuses p{proposal}: {reason:?}"),
        Action::TransferEnded { transfer, outcome: Ok(()) } => format!("has handed over t{transfer}"),
        Action::TransferEnded { transfer, outcome: Err(reason) } => {
            format!("does not hand over t{transfer}: {reason:?}")
        }
        Action::ReadReady { read, index } => format!("ready r{read} at {index}"),
        Action::ReadAborted { read, reason } => format!("aborts r{read}: {reason:?}"),
        Action::SendSnapshotChunk { to, snapshot, offset, len, .. } => {
            format!("→ {to:?} chunk of {:?} {offset}+{len}", snapshot.id.last)
        }
        Action::WriteSnapshotChunk { snapshot, offset, data } => {
            format!("writes chunk of {:?} {offset}+{}", snapshot.id.last, data.len())
        }
        Action::InstallSnapshot { snapshot } => format!("installs {:?}", snapshot.id.last),
        Action::SwitchSnapshot { snapshot } => format!("switches to {:?}", snapshot.id.last),
        Action::DropSnapshot { snapshot } => format!("drops {:?}", snapshot.last),
        Action::RoleChanged(RoleChange { role, term, leader }) => {
            let leader = leader.map_or(String::new(), |l| format!(" of {l:?}"));
            format!("is {role:?}@{term}{leader}")
        }
        Action::WakeAt(_) | Action::Discard(_) => return None,
        Action::Halt(fault) => format!("halts: {fault}"),
    })
}
