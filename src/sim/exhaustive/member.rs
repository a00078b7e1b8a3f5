//! One node of the explored cluster: a real core, its disk, and an embedder that performs what the core asks for.
//!
//! What a node's neighbours need not be asked about is judged here, after each of its steps: above all that nothing which
//! depends on the disk leaves before it is there.

use std::boxed::Box;
use std::collections::VecDeque;
use std::format;
use std::hash::{Hash, Hasher};
use std::string::{String, ToString};
use std::vec::Vec;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use super::disk::Disk;
use crate::raft::{
    Action, Actions, Config, Entry, Event, HardState, LogIndex, Message, NodeId, Raft, ReadId, Recovered,
    Role, SnapshotId, SnapshotMeta, SnapshotProgress, Stamp, Status,
};
use crate::sim::own_alarms_count;
use crate::time::{Micros, Now};

/// The election timeout: so short that log time, in milliseconds, stands still (see [`Raft::fingerprint`]).
const ELECTION_TIMEOUT: Micros = 4;

/// The time between two heartbeats.
const HEARTBEAT: Micros = 1;

/// Whatever a deadline of an election was drawn to be, it has passed after this.
pub(super) const SILENCE: Micros = 2 * ELECTION_TIMEOUT;

/// After this a leader that was heard does not keep others from electing.
pub(super) const LAPSE: Micros = ELECTION_TIMEOUT;

/// After this a leader's next heartbeat is due.
pub(super) const BEAT: Micros = HEARTBEAT;

/// The length of a snapshot file: one chunk.
const SNAPSHOT_LEN: u64 = 1;

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) message: Message,
}

/// A snapshot job of the embedder that has been done, and is not reported yet.
#[derive(Debug, Clone, Hash)]
pub(super) enum Job {
    Written(SnapshotId, u64),
    Installed(SnapshotId),
}

/// A node.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: NodeId,
    pub(super) raft: Raft,
    pub(super) disk: Disk,
    pub(super) jobs: VecDeque<Job>,
    config: Config,
    clock: Micros,
    /// The index that the state machine is at, and a hash of all that led there.
    state: (LogIndex, u64),
    #[cfg(test)]
    pub(super) flaw: Option<super::tests::Flaw>,
}

/// What came of a step, for the cluster to judge and to go on with.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) sent: Vec<Flight>,
    pub(super) applied: Vec<Applied>,
    /// Reads that ended: ready at an index, or aborted.
    pub(super) reads: Vec<(ReadId, Option<LogIndex>)>,
    /// What of interest happened.
    pub(super) reached: Vec<&'static str>,
    /// The first thing that is wrong.
    pub(super) broken: Option<String>,
}

/// How the state machine went on.
#[derive(Debug)]
pub(super) enum Applied {
    Entry(Entry),
    Switch(SnapshotId),
}

impl Effects {
    fn broken(what: impl Into<String>) -> Self {
        Self { broken: Some(what.into()), ..Self::default() }
    }

    fn break_with(&mut self, what: impl Into<String>) {
        self.broken.get_or_insert_with(|| what.into());
    }
}

impl Member {
    /// A member of a cluster that has just been founded, started for the first time.
    pub(super) fn founded(id: NodeId, recovered: Recovered, pre_vote: bool, check_quorum: bool) -> Self {
        let config = Config {
            pre_vote,
            check_quorum,
            election_timeout: ELECTION_TIMEOUT,
            heartbeat_interval: HEARTBEAT,
            snapshot_chunk_bytes: SNAPSHOT_LEN,
            trailing_bytes: 0,
            commit_delay: 0,
            ..Config::new(id, 0)
        };
        let raft = core(&config, recovered.clone(), 0);
        let mut member = Self {
            id,
            raft,
            disk: Disk::founded(recovered),
            jobs: VecDeque::new(),
            config,
            clock: 0,
            state: (0, 0),
            #[cfg(test)]
            flaw: None,
        };
        member.step(None);
        member
    }

    /// A message arrives.
    pub(super) fn hear(&mut self, flight: &Flight) -> Effects {
        let Flight { from, message, .. } = flight.clone();
        #[cfg(test)]
        if let Some(effects) = self.mishear(flight) {
            return effects;
        }
        let beat = matches!(message, Message::Heartbeat { .. }).then_some(message.term());
        let mut effects = self.step([Event::Receive { from, message }]);
        let confirms_another = |sent: &Flight| match sent.message {
            Message::HeartbeatReply { term, round: 1.., .. } => beat.is_some_and(|beat| beat != term),
            _ => false,
        };
        if effects.sent.iter().any(confirms_another) {
            let what = "answers a round of one term as if it were one of another";
            effects.break_with(format!("reads: n{} {what}", self.id));
        }
        effects
    }

    /// Time passes, and the timer fires.
    pub(super) fn wake_after(&mut self, elapsed: Micros) -> Effects {
        self.clock += elapsed;
        self.step([Event::Wake])
    }

    /// Time passes, and nothing comes of it yet.
    pub(super) fn wait(&mut self, elapsed: Micros) -> Effects {
        self.clock += elapsed;
        self.step(None)
    }

    /// The disk has done the oldest write.
    pub(super) fn synced(&mut self) -> Effects {
        #[cfg(test)]
        if self.flaw == Some(super::tests::Flaw::DiskReportsEarly) {
            let id = self.disk.promise();
            return self.step(id.map(|id| Event::Persisted { id }));
        }
        match self.disk.complete() {
            Ok(id) => self.step(id.map(|id| Event::Persisted { id })),
            Err(what) => Effects::broken(what),
        }
    }

    /// The oldest snapshot job is reported.
    pub(super) fn job_done(&mut self) -> Effects {
        let event = self.jobs.pop_front().map(|job| match job {
            Job::Written(snapshot, written) => Event::SnapshotChunkWritten { snapshot, written },
            Job::Installed(snapshot) => Event::SnapshotInstalled { snapshot },
        });
        self.step(event)
    }

    /// The process ends, and starts again from its disk.
    pub(super) fn restart(&mut self, surviving: usize) -> Effects {
        if let Err(what) = self.disk.crash(surviving) {
            return Effects::broken(what);
        }
        #[cfg(test)]
        if self.flaw == Some(super::tests::Flaw::VoteIsForgotten) {
            self.disk.vote.vote = None;
        }
        self.jobs.clear();
        self.state = self.disk.snapshot.as_ref().map_or((0, 0), |s| (s.id.last.index, s.id.checksum));
        match Raft::new(self.config.clone(), self.disk.recover(), Now::new(self.clock, 0)) {
            Ok(raft) => self.raft = raft,
            Err(error) => {
                return Effects::broken(format!("a core does not start from its own disk: {error}"));
            }
        }
        let mut effects = self.step(None);
        effects.reached.push("restart");
        effects
    }

    /// A client proposes a command.
    pub(super) fn propose(&mut self) -> Effects {
        self.step([Event::Propose { proposal: 1, data: Bytes::from_static(b"x") }])
    }

    /// A client asks for a read.
    pub(super) fn read(&mut self, read: ReadId) -> Effects {
        self.step([Event::Read { read }])
    }

    /// The embedder has saved its state.
    pub(super) fn save(&mut self) -> Effects {
        let (index, checksum) = self.state;
        let event = self.raft.snapshot_point(index).map(|point| {
            let id = SnapshotId { last: point.last, checksum };
            let (stamp, configuration) = (point.stamp, point.configuration);
            let snapshot = SnapshotMeta { id, len: SNAPSHOT_LEN, stamp, configuration };
            Event::Snapshotted { snapshot: Box::new(snapshot) }
        });
        let mut effects = self.step(event);
        effects.reached.push("snapshot saved");
        effects
    }

    /// Whether there is something applied that no snapshot covers.
    pub(super) fn can_save(&self) -> bool {
        self.state.0 > self.raft.status().snapshot.map_or(0, |id| id.last.index)
    }

    /// Feeds `hasher` all that decides how this member goes on.
    pub(super) fn fingerprint(&self, names: &dyn Fn(NodeId) -> NodeId, hasher: &mut Xxh3) {
        self.raft.fingerprint(names, hasher);
        self.disk.fingerprint(names, hasher);
        (&self.jobs, self.state).hash(hasher);
    }

    pub(super) fn step(&mut self, events: impl IntoIterator<Item = Event>) -> Effects {
        let before = self.raft.status();
        let mut out = Actions::new();
        self.raft.step_into(Now::new(self.clock, 0), events, &mut out);
        let mut effects = Effects::default();
        for action in out {
            self.perform(action, &mut effects);
        }
        let after = self.raft.status();
        self.judge(&before, &after, &mut effects);
        note(&before, &after, &mut effects);
        effects
    }

    fn perform(&mut self, action: Action, effects: &mut Effects) {
        match action {
            Action::Persist(persist) => self.disk.ask(persist),
            Action::Send { to, message } => self.send(to, message, effects),
            Action::SendSnapshotChunk { to, term, snapshot, offset, len } => {
                let data = Bytes::from(std::vec![0; usize::try_from(len).unwrap_or(0)]);
                self.send(to, Message::SnapshotChunk { term, snapshot, offset, data }, effects);
            }
            Action::Apply(entries) => entries.iter().for_each(|entry| self.apply(entry, effects)),
            Action::WriteSnapshotChunk { snapshot, offset, data } => {
                self.jobs.push_back(Job::Written(snapshot.id, offset + data.len() as u64));
            }
            Action::InstallSnapshot { snapshot } => self.jobs.push_back(Job::Installed(snapshot.id)),
            Action::SwitchSnapshot { snapshot } => {
                let SnapshotId { last, checksum } = snapshot.id;
                if last.index <= self.state.0 {
                    effects.break_with(format!(
                        "monotony: n{} switches back to a snapshot of {last:?}",
                        self.id
                    ));
                }
                self.state = (last.index, checksum);
                effects.applied.push(Applied::Switch(snapshot.id));
                effects.reached.push("snapshot installed");
                if self.raft.status().last.index > last.index {
                    effects.reached.push("snapshot below the end of the log");
                }
            }
            Action::ReadReady { read, index } => {
                effects.reads.push((read, Some(index)));
                effects.reached.push("read served");
            }
            Action::ReadAborted { read, .. } => effects.reads.push((read, None)),
            Action::Halt(fault) if own_alarms_count() => {
                effects.break_with(format!("n{} halts: {fault}", self.id));
            }
            Action::Halt(_) => {}
            Action::DropSnapshot { .. }
            | Action::Proposed { .. }
            | Action::ProposalRefused { .. }
            | Action::TransferEnded { .. }
            | Action::Discard(_)
            | Action::RoleChanged(_)
            | Action::WakeAt(_) => {}
        }
    }

    fn apply(&mut self, entry: &Entry, effects: &mut Effects) {
        if entry.id.index != self.state.0 + 1 {
            effects.break_with(format!("n{} applies {:?} after index {}", self.id, entry.id, self.state.0));
        }
        if entry.stamp != Stamp::default() {
            effects.break_with("log time moves: this exploration is longer than its clocks allow");
        }
        let mut hasher = Xxh3::new();
        (self.state.1, entry).hash(&mut hasher);
        self.state = (entry.id.index, hasher.finish());
        effects.applied.push(Applied::Entry(entry.clone()));
    }

    /// Sends a message, if what it says is true of the disk.
    fn send(&mut self, to: NodeId, message: Message, effects: &mut Effects) {
        let remembers = |term, vote| self.disk.remembers(HardState { term, vote });
        let broken = match &message {
            Message::Vote { term, .. } if !remembers(*term, Some(self.id)) => {
                Some("asks for votes before its own is on its disk".to_string())
            }
            Message::VoteReply { term, granted: true, .. } if !remembers(*term, Some(to)) => {
                Some(format!("grants n{to} a vote that is not on its disk"))
            }
            Message::AppendAccepted { matched: index, .. }
            | Message::SnapshotReply { progress: SnapshotProgress::Installed(index), .. }
                if !self.has_on_disk(*index) =>
            {
                Some(format!("acknowledges index {index}, which is not on its disk"))
            }
            Message::AppendAccepted { term, .. }
            | Message::SnapshotReply { term, progress: SnapshotProgress::Installed(_), .. }
            | Message::HeartbeatReply { term, round: 1.., .. }
                if self.disk.vote.term < *term && self.raft.status().leader == Some(to) =>
            {
                Some(format!("answers the leader of term {term}, which is not on its disk"))
            }
            _ => None,
        };
        if let Some(what) = broken {
            effects.break_with(format!("persistence: n{} {what}", self.id));
        }
        let kind = match &message {
            Message::AppendRejected { .. } => Some("append rejected"),
            Message::SnapshotChunk { .. } => Some("snapshot sent"),
            _ => None,
        };
        effects.reached.extend(kind);
        effects.sent.push(Flight { from: self.id, to, message });
    }

    /// Whether the disk has the log that the core has, up to `index`.
    fn has_on_disk(&self, index: LogIndex) -> bool {
        self.disk.last().index >= index && self.raft.entries(1, index).all(|entry| self.disk.holds(entry))
    }

    /// What must hold of this node alone, whatever happened.
    fn judge(&self, before: &Status, after: &Status, effects: &mut Effects) {
        let (id, term) = (self.id, after.term);
        let fell = [
            ("term", before.term > term),
            ("commit index", before.commit > after.commit),
            ("applied index", before.applied > after.applied),
        ];
        if let Some((what, _)) = fell.into_iter().find(|(_, fell)| *fell) {
            effects.break_with(format!("monotony: n{id}'s {what} falls"));
        }
        if before.term == term && before.vote.is_some() && before.vote != after.vote {
            effects.break_with(format!("election safety: n{id} votes twice in term {term}"));
        }
        if after.role == Role::Leader && !self.disk.remembers(HardState { term, vote: Some(id) }) {
            effects.break_with(format!("persistence: n{id} leads without its own vote on its disk"));
        }
        // Last, so that what an outside observer sees is named first.
        if let Err(fault) = self.raft.check_invariants()
            && own_alarms_count()
        {
            effects.break_with(format!("n{id}: {fault}"));
        }
    }
}

fn core(config: &Config, recovered: Recovered, clock: Micros) -> Raft {
    Raft::new(config.clone(), recovered, Now::new(clock, 0)).expect("a founded member starts")
}

/// Notes what of interest a step did.
fn note(before: &Status, after: &Status, effects: &mut Effects) {
    let became = |role| before.role != role && after.role == role;
    let happened = [
        ("pre-candidate", became(Role::PreCandidate)),
        ("candidate", became(Role::Candidate)),
        ("leader", became(Role::Leader)),
        ("leader steps down", before.role == Role::Leader && after.role != Role::Leader),
        ("commit", before.commit < after.commit),
        ("truncation", before.persisted > after.persisted || before.last.index > after.last.index),
    ];
    effects.reached.extend(happened.into_iter().filter(|(_, did)| *did).map(|(what, _)| what));
}
