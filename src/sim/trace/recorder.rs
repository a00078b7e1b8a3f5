//! Keeps events, and finds out what a step changed by what was known of the node before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::vec::Vec;

use bytes::Bytes;
use smallvec::SmallVec;

use super::event::{Change, LogChange, MessageId, State, Step, TraceEvent, What};
use super::said::{EntryMark, Said};
use crate::raft::{LogIndex, NodeId, Raft, Role, Status, Term};
use crate::sim::clock::Clock;
use crate::sim::network::{Network, Region, Weather};
use crate::time::Micros;

/// The events of a run, or the last of them.
#[derive(Debug)]
pub(in crate::sim) struct Recorder {
    limit: usize,
    events: VecDeque<TraceEvent>,
    forgotten: u64,
    nodes: BTreeMap<NodeId, Known>,
    cut: BTreeSet<(NodeId, NodeId)>,
    weather: Vec<(Option<Region>, Weather)>,
    conditions: BTreeMap<NodeId, Condition>,
}

/// What a scenario does to a machine by setting it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::sim) struct Condition {
    pub(in crate::sim) clock: Clock,
    pub(in crate::sim) paused_until: Micros,
    pub(in crate::sim) slowness: u64,
}

/// What is known of one node.
#[derive(Debug, Default)]
struct Known {
    /// Its core's state after its last step in this life.
    state: Option<Arc<State>>,
    /// The terms of its log from the state's first index on.
    terms: Vec<Term>,
    /// What has arrived and was not looked at.
    inbox: Vec<Arrival>,
}

#[derive(Debug)]
struct Arrival {
    message: MessageId,
    from: NodeId,
    at: Micros,
    payload: Bytes,
}

impl Recorder {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            events: VecDeque::new(),
            forgotten: 0,
            nodes: BTreeMap::new(),
            cut: BTreeSet::new(),
            weather: [(None, Weather::FAIR)].into(),
            conditions: BTreeMap::new(),
        }
    }

    pub(super) fn events(&self) -> impl ExactSizeIterator<Item = &TraceEvent> {
        self.events.iter()
    }

    /// How many were dropped because there were more than the limit.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(super) fn take(&mut self) -> Vec<TraceEvent> {
        core::mem::take(&mut self.events).into()
    }

    pub(super) fn push(&mut self, at: Micros, node: Option<NodeId>, what: What) {
        if self.events.len() >= self.limit {
            self.events.pop_front();
            self.forgotten += 1;
        }
        self.events.push_back(TraceEvent { at, node, what });
    }

    /// A frame reached a running node, which will look at it in its next step.
    pub(in crate::sim) fn arrived(
        &mut self,
        at: Micros,
        node: NodeId,
        from: NodeId,
        message: MessageId,
        payload: Bytes,
    ) {
        let known = self.nodes.entry(node).or_default();
        known.inbox.push(Arrival { message, from, at, payload });
    }

    /// The node's process ended, with all that it had in memory.
    pub(in crate::sim) fn process_ended(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// The node was stepped; `core` is its core, how far its state has come, and the state's digest, once it has them.
    pub(in crate::sim) fn stepped(&mut self, at: Micros, node: NodeId, core: Option<(&Raft, Status, u128)>) {
        let inbox = core::mem::take(&mut self.nodes.entry(node).or_default().inbox);
        let heard = !inbox.is_empty();
        for Arrival { message, from, at: arrived, payload } in inbox {
            let said = Arc::new(Said::read(&payload));
            self.push(at, Some(node), What::Receive { message, from, arrived, said });
        }
        let Some((raft, status, digest)) = core else { return };
        let known = self.nodes.entry(node).or_default();
        let state = state_of(raft, status, digest);
        if known.state.as_deref() == Some(&state) {
            if let Some(state) = known.state.clone().filter(|_| heard) {
                let step = Step { changes: SmallVec::new(), state, log: None };
                self.push(at, Some(node), What::Step(step.into()));
            }
            return;
        }
        let (log, truncated) = known.follow_log(raft, &state);
        let mut changes = changes(known.state.as_deref(), &state);
        if truncated {
            changes.push(Change::TruncateLog);
        }
        changes.sort_unstable();
        let state = Arc::new(state);
        known.state = Some(state.clone());
        self.push(at, Some(node), What::Step(Step { changes, state, log }.into()));
    }

    /// Looks at what a scenario may have changed since the last look.
    pub(in crate::sim) fn look_at_network(&mut self, at: Micros, network: &Network) {
        if self.cut != *network.cuts() {
            self.cut.clone_from(network.cuts());
            let cut = self.cut.iter().copied().collect();
            self.push(at, None, What::Partition { cut });
        }
        if !network.weathers().eq(self.weather.iter().copied()) {
            let before = core::mem::replace(&mut self.weather, network.weathers().collect());
            // Where a part has no weather of its own any more, the general one holds again.
            let cleared = self.weather.len() < before.len();
            for (region, weather) in self.weather.clone() {
                if !before.contains(&(region, weather)) || (cleared && region.is_none()) {
                    self.push(at, None, What::Weather { region, weather });
                }
            }
        }
    }

    /// The same for a machine.
    pub(in crate::sim) fn look_at_machine(&mut self, at: Micros, node: NodeId, mut now: Condition) {
        if now.paused_until <= at {
            now.paused_until = 0;
        }
        let before = self.conditions.insert(node, now);
        if before == Some(now) {
            return;
        }
        let before = before.unwrap_or(Condition { clock: now.clock, paused_until: 0, slowness: 100 });
        if now.clock != before.clock {
            self.push(at, Some(node), What::SetClock { before: before.clock, after: now.clock });
        }
        if now.slowness != before.slowness {
            self.push(at, Some(node), What::Slow { percent: now.slowness });
        }
        match now.paused_until {
            until if until == before.paused_until => {}
            0 => self.push(at, Some(node), What::Resume),
            until => self.push(at, Some(node), What::Pause { until }),
        }
    }
}

impl Known {
    /// Brings the known terms up to the core's log: how the log's end changed, and whether it lost entries to others.
    fn follow_log(&mut self, raft: &Raft, state: &State) -> (Option<LogChange>, bool) {
        let (first, last) = (state.first, state.last.index);
        let (known_first, known_last) = match &self.state {
            Some(before) => (before.first, before.last.index),
            None => (first, first.saturating_sub(1)),
        };
        let end = known_last.min(last);
        let term = |index: LogIndex| raft.entries(index, index).next().map(|entry| entry.id.term);
        let known = |index: LogIndex| self.terms.get((index - known_first) as usize).copied();
        // A log that has an entry of one index and term has the same entries before it.
        let agreed = (first.max(known_first)..=end).rev().find(|&index| known(index) == term(index));
        let after = agreed.unwrap_or(first.max(known_first).saturating_sub(1)).max(first.saturating_sub(1));
        let truncated = after < end;
        let entries: Vec<EntryMark> = raft.entries(after + 1, last).map(EntryMark::of).collect();
        let gone = (first.saturating_sub(known_first) as usize).min(self.terms.len());
        self.terms.drain(..gone);
        self.terms.truncate((after + 1 - first) as usize);
        self.terms.extend(entries.iter().map(|mark| mark.term));
        let changed = truncated || !entries.is_empty() || known_last > last;
        (changed.then_some(LogChange { after, entries }), truncated || known_last > last)
    }
}

fn state_of(raft: &Raft, status: Status, digest: u128) -> State {
    let configuration = raft.configuration();
    State {
        role: status.role,
        term: status.term,
        vote: status.vote,
        leader: status.leader,
        commit: status.commit,
        applied: status.applied,
        persisted: status.persisted,
        first: status.first_index,
        last: status.last,
        snapshot: status.snapshot.map(|snapshot| snapshot.last),
        voters: configuration.voters.clone(),
        outgoing: configuration.outgoing.clone(),
        digest,
    }
}

/// What distinguishes two states, apart from entries that were replaced.
fn changes(before: Option<&State>, now: &State) -> SmallVec<[Change; 4]> {
    let Some(before) = before else { return SmallVec::from_slice(&[Change::Recover]) };
    let new_term = now.term > before.term;
    let role = match (before.role, now.role) {
        (Role::Leader, Role::Leader) if !new_term => None,
        (_, Role::Leader) => Some(Change::BecomeLeader),
        (Role::Candidate, Role::Candidate) if !new_term => None,
        (_, Role::Candidate) => Some(Change::Timeout),
        (Role::PreCandidate, Role::PreCandidate) => None,
        (_, Role::PreCandidate) => Some(Change::BecomePreCandidate),
        (Role::Leader, Role::Follower) => Some(Change::StepDown),
        (Role::Candidate | Role::PreCandidate, Role::Follower) => Some(Change::BecomeFollower),
        (Role::Follower, Role::Follower) => None,
    };
    let voted = now.vote.is_some() && (new_term || now.vote != before.vote);
    let snapshot = now.snapshot != before.snapshot;
    let installed = snapshot && now.snapshot.is_some_and(|last| last.index > before.applied);
    let configuration = (&now.voters, &now.outgoing) != (&before.voters, &before.outgoing);
    let all = [
        (new_term, Change::UpdateTerm),
        (voted && now.role == Role::Follower, Change::GrantVote),
        (
            now.role == Role::Follower && now.leader.is_some() && now.leader != before.leader,
            Change::FollowLeader,
        ),
        (installed, Change::InstallSnapshot),
        (snapshot && !installed, Change::TakeSnapshot),
        (configuration, Change::ChangeConfiguration),
        (now.commit > before.commit, Change::AdvanceCommit),
        (now.last > before.last && !installed, Change::AppendLog),
        (now.persisted > before.persisted, Change::PersistLog),
        (now.applied > before.applied, Change::Apply),
    ];
    let rest = all.into_iter().filter_map(|(is_so, change)| is_so.then_some(change));
    role.into_iter().chain(rest).collect()
}
