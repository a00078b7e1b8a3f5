//! Steps in words, for the person who reads a counterexample.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::cast::{Cast, MemberId, Stimulus};
use super::member::Flight;
use super::world::{Move, World};
use crate::raft::{Entry, EntryKind, Message, Role, SnapshotProgress};

/// What happened, what became of the node, and what it sent.
pub(super) fn step(world: &World, step: Move, cast: &mut Cast) -> String {
    let member = world.members[usize::from(step.node)];
    let outcome = cast.answer(member, step.stimulus);
    let (cast, outcome) = (&*cast, cast.outcome_of(outcome));
    let mut line = format!("{}; {}", cause(member, step, cast), state(outcome.member, cast));
    for &flight in &outcome.sent {
        let Flight { to, message: sent, .. } = cast.flight(flight);
        line += &format!("; → n{to} {}", message(sent));
    }
    line
}

fn cause(member: MemberId, step: Move, cast: &Cast) -> String {
    let view = cast.view_of(member);
    let name = format!("n{}", step.node + 1);
    match step.stimulus {
        Stimulus::Hear(flight) => {
            let Flight { from, message: heard, .. } = cast.flight(flight);
            let again = if step.repeats { ", which will come again" } else { "" };
            format!("{name} ← n{from} {}{again}", message(heard))
        }
        Stimulus::Synced => format!("{name}'s oldest write is on disk"),
        Stimulus::JobDone => format!("{name}'s oldest snapshot job is done"),
        Stimulus::Silence => format!("{name} hears nothing for two election timeouts"),
        Stimulus::Lapse => format!("{name} waits no more for the leader before"),
        Stimulus::Beat => format!("{name}'s heartbeat is due"),
        Stimulus::Propose => format!("{name} is proposed a command"),
        Stimulus::Read(read) => format!("{name} is asked for read {read}"),
        Stimulus::Save => format!("{name} saves a snapshot"),
        Stimulus::Crash(surviving) => {
            format!(
                "{name} crashes, {surviving} of {} unfinished pieces are on disk, and restarts",
                view.pieces
            )
        }
    }
}

fn state(member: MemberId, cast: &Cast) -> String {
    let status = cast.member(member).raft.status();
    let role = match status.role {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    };
    let vote = status.vote.map_or(String::new(), |vote| format!(" vote=n{vote}"));
    format!(
        "{role}@{}{vote} log={:?} on disk={} commit={}",
        status.term, status.last, status.persisted, status.commit
    )
}

fn message(message: &Message) -> String {
    let term = message.term();
    let yes = |granted: &bool| if *granted { "yes" } else { "no" };
    match message {
        Message::PreVote { last, .. } => format!("PreVote@{term} last={last:?}"),
        Message::PreVoteReply { granted, .. } => format!("PreVoteReply@{term} {}", yes(granted)),
        Message::Vote { last, transfer, .. } => {
            format!("Vote@{term} last={last:?}{}", if *transfer { " by transfer" } else { "" })
        }
        Message::VoteReply { granted, .. } => format!("VoteReply@{term} {}", yes(granted)),
        Message::Append { previous, entries, commit, .. } => {
            format!("Append@{term} after={previous:?} [{}] commit={commit}", run(entries))
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
        Message::SnapshotChunk { snapshot, offset, .. } => {
            format!("Chunk@{term} of {:?} at {offset}", snapshot.id.last)
        }
        Message::SnapshotReply { snapshot, progress, .. } => {
            let progress = match progress {
                SnapshotProgress::Written(offset) => format!("written={offset}"),
                SnapshotProgress::Installed(index) => format!("installed={index}"),
                SnapshotProgress::Corrupt => "corrupt".to_string(),
            };
            format!("SnapshotReply@{term} of {:?} {progress}", snapshot.last)
        }
    }
}

fn run(entries: &[Entry]) -> String {
    let word = |entry: &Entry| match entry.kind {
        EntryKind::NoOp => format!("{:?}", entry.id),
        EntryKind::Command => format!("{:?}:x", entry.id),
        EntryKind::Configuration => format!("{:?}:configuration", entry.id),
    };
    entries.iter().map(word).collect::<Vec<_>>().join(" ")
}
