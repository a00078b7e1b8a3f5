//! A member of the cluster as a process sees it: the door that a driver uses.
//!
//! A [`Node`] owns a [`Replica`] and the writer of its log. Its driver tells it what sockets, disks, clients and the clock
//! did ([`Event`]), and performs what it decides ([`Action`]); neither ever waits for the other.
//!
//! ```text
//!  Request ───────► requests ──────────► replica ──► Persist ─► disk ────► Log(batch)      the log lane
//!  LinkFrame ─────► peers ──► Receive ──►   │    ──► Send ────► packing ─► Send(frame)
//!  DiskDone ──────► disk ───► Persisted ►   │    ──► chunks ──► jobs ────► Job             beside it
//!  JobDone ───────► jobs ───► Saved, … ─►   │    ──► Reply ───► requests ► Reply, or a frame to who forwarded
//!  Wake ──────────► timers ─► Wake ─────►   ▼
//! ```
//!
//! All events of a batch reach the replica in one step: one write to the log for all its requests, and the messages leave
//! beside that write.
//!
//! # Life
//!
//! [`Phase::Recovering`]: a job reads the directory, beside it another one loads the newest snapshot if there is one, and when
//! neither found a reason to refuse, a third one mends what the last life left.
//! [`Phase::Forming`]: the directory belongs to no cluster, or not every founder is known to belong to it. The founders say
//! hello; when all disks are named, each writes the founding entry; when each has said so, the core gets its clock and may
//! campaign. A node that finds a later term or a second entry on its disk, or hears a core speak, knows that all this is
//! done. [`Phase::Running`], then [`Phase::Stopping`] or [`Phase::Halted`].
//!
//! # Requests
//!
//! Exactly one [`Action::Reply`] answers each request. Requests go to the replica of the node that leads: here, or over the
//! link to it. Reads stay: this node's own state answers them, once the leader has said from which index on (ReadIndex); when
//! that leader is gone the next one is asked. A read sees what was answered before it was asked: whoever wants it to see a
//! write waits for that first, as the gateway does. While no leader can be reached requests are held, in order, for at most
//! four election timeouts or until their deadline; then they are refused as having no leader. A write that was sent to a
//! leader is never sent again: a lost link or another leader makes it
//! [undetermined](crate::replica::Outcome::Undetermined). A connection whose writes are still under way here after
//! leadership was lost waits for them before its next request goes elsewhere.
//!
//! After a refused write every later write of the same connection and epoch is refused too (`refusals.rs`), here and at
//! the leader. That holds within one batch as well: when the core might refuse some of it, it is stepped one by one.

mod action;
mod chunks;
mod digest;
mod disk;
mod event;
mod fault;
mod formation;
mod forward;
mod handshake;
mod job;
mod life;
mod links;
mod packing;
mod peers;
mod refusals;
mod requests;
mod step;
mod stop;
mod tags;
#[cfg(test)]
mod tests;
mod timers;

pub use crate::replica::Garbage;
pub use action::{Action, Actions, Note};
pub use event::{Event, LinkId, RequestId};
pub use fault::Fault;
pub use job::{Job, Pace};

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::codec::forward::{ANSWERED_HEADER, FORWARDED_HEADER};
use crate::codec::peer::MAX_HEADER;
use crate::raft::{
    Configuration, DiskId, LogIndex, NodeId, PACKED_HEADER, Recovered, Role, SnapshotId, Term,
};
use crate::replica::{self, Replica, ReplicaRestorer, Restored, Saves, StateMachine, StateSize};
use crate::rng::Rng;
use crate::storage::{EarlyLoad, Identity, LogWriter, Mend, Recovery, Settings};
use crate::time::{Micros, Now};
use digest::Digests;
use disk::Lane;
use formation::Founding;
use job::Work;
use links::Links;
use packing::Packing;
use requests::Requests;

/// Where a member is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// By peers, `host:port`.
    pub peer: String,
    /// By clients, `host:port`.
    pub client: String,
}

/// Settings of one node.
#[derive(Debug, Clone)]
pub struct Config {
    /// The core's.
    pub raft: crate::raft::Config,
    /// The members of a cluster that is yet to be formed. Once it is, the log's configuration wins; who is not found at its
    /// address there is looked for at the one here.
    pub founders: BTreeMap<NodeId, Addresses>,
    /// A fresh random name for the disk, used only when the data directory is empty.
    pub fresh_disk: DiskId,
    /// How long a request may take before it is answered by the truth. Microseconds.
    pub request_timeout: Micros,
    /// Send clients' requests on to the leader instead of refusing them.
    pub forward: bool,
    /// Length of a log segment, in bytes.
    pub segment_bytes: u64,
    /// Take a snapshot when the log since the last one has this many bytes; `None` for never.
    pub snapshot_log_bytes: Option<u64>,
    /// ... and at least this share of the last snapshot's length, in percent.
    pub snapshot_growth_percent: u32,
    /// Most sessions at once.
    pub max_sessions: usize,
    /// Most replies kept for one session: how many of its commands may be under way.
    pub session_window: u64,
    /// Most bytes of replies kept for one session; the one that passes it is still kept. At most 1 GiB.
    pub session_reply_bytes: usize,
    /// A session that is idle for so long, in milliseconds of time with a leader, expires.
    pub session_ttl_ms: u64,
    /// Most work that one step does on commands, and as much on queries, in about nanoseconds.
    pub step_work: u64,
}

impl Config {
    /// The defaults for node `id` of a cluster of `founders`: those of a core, requests that take up to 5 s and are sent on
    /// to the leader, segments of 64 MiB, a snapshot every 64 MiB of log and half of the last one's length, 16,384 sessions
    /// of 256 replies or 256 KiB that expire after an hour, 2 ms of work in a step. `fresh_disk` and `seed` are random.
    pub const fn new(
        id: NodeId,
        founders: BTreeMap<NodeId, Addresses>,
        fresh_disk: DiskId,
        seed: u64,
    ) -> Self {
        Self {
            raft: crate::raft::Config::new(id, seed),
            founders,
            fresh_disk,
            request_timeout: 5_000_000,
            forward: true,
            segment_bytes: 64 << 20,
            snapshot_log_bytes: Some(64 << 20),
            snapshot_growth_percent: 50,
            max_sessions: 16 << 10,
            session_window: 256,
            session_reply_bytes: 256 << 10,
            session_ttl_ms: 3_600_000,
            step_work: 2_000_000,
        }
    }

    /// Longest payload of a frame that this node or one with the same settings sends: what
    /// [`frame::Decoder`](crate::codec::frame::Decoder) is to accept. Bytes.
    pub const fn max_frame_bytes(&self) -> usize {
        let entry = self.raft.max_entry_bytes + PACKED_HEADER + FORWARDED_HEADER + ANSWERED_HEADER;
        let append = if self.raft.max_append_bytes > entry { self.raft.max_append_bytes } else { entry };
        let forward = forward::BATCH_BYTES + entry;
        let chunk = self.raft.snapshot_chunk_bytes as usize;
        let packed = if append > forward { append } else { forward };
        MAX_HEADER + if packed > chunk { packed } else { chunk }
    }

    pub(crate) fn replica(&self) -> replica::Config {
        replica::Config {
            snapshot_log_bytes: self.snapshot_log_bytes,
            snapshot_growth_percent: self.snapshot_growth_percent,
            max_sessions: self.max_sessions,
            session_window: self.session_window,
            session_reply_bytes: self.session_reply_bytes,
            session_ttl_ms: self.session_ttl_ms,
            step_work: self.step_work,
            ..replica::Config::new(self.raft.clone())
        }
    }

    /// Those of its data directory.
    pub(crate) fn storage(&self) -> Settings {
        // One record holds what a step proposes or receives; both are bounded by what may be uncommitted or in flight.
        let batch = self.raft.max_uncommitted_bytes.max(self.raft.max_inflight_bytes);
        Settings {
            node: self.raft.id,
            fresh_disk: self.fresh_disk,
            segment_bytes: self.segment_bytes,
            max_record_bytes: batch + self.raft.max_entry_bytes + PACKED_HEADER,
        }
    }
}

/// A member of the cluster, as a process: starts with an empty or a used directory, and is stepped from then on.
pub struct Node<S: StateMachine> {
    config: Config,
    now: Now,
    phase: Phase,
    /// Whose directory it is, once read.
    identity: Option<Identity>,
    founding: Founding,
    /// What the formation job under way writes.
    forming: Option<Recovered>,
    /// What was loaded before recovery knew what to load.
    early: Option<EarlyLoad<ReplicaRestorer<S>>>,
    /// What recovery found, while the snapshot is loaded.
    loading: Option<(Recovered, Mend)>,
    /// What the replica starts from, while the directory is mended.
    mending: Option<(Recovered, Option<Restored<S>>)>,
    /// Whether every founder is known to be formed: the core may campaign.
    complete: bool,
    member: Option<Member<S>>,
    links: Links,
    /// Peers that found this node's identity at fault.
    refused_by: BTreeSet<NodeId>,
    /// Peers that do not know this node as a member.
    strange_to: BTreeSet<NodeId>,
    /// Since when it is known that this node was removed, while no leader says otherwise.
    removed_since: Option<Micros>,
    roster: Arc<Roster>,
    /// What people were told about refusals, so as not to tell them again.
    complaints: VecDeque<String>,
    requests: Requests,
    packing: Packing,
    digests: Digests,
    lane: Lane,
    /// The snapshot that each follower is being sent: its file is pinned.
    sending: BTreeMap<NodeId, SnapshotId>,
    /// The snapshot that a leader sends, and how many were begun.
    receiving: Option<chunks::Receiving<S>>,
    receptions: u64,
    role: Role,
    term: Term,
    leader: Option<NodeId>,
    counters: Counters,
    applied_at_start: u64,
    timers: timers::Timers,
    fault: Option<Fault>,
    stopping: Option<stop::Stopping>,
    stopped: bool,
    // Empty between steps; kept for its space.
    inbox: Vec<replica::Event<S>>,
    /// Taken out while the replica's actions are performed, and put back: by its pointer, for they are large.
    outbox: Option<Box<replica::Actions<S>>>,
}

/// What a node is once its directory is a member's.
struct Member<S: StateMachine> {
    replica: Replica<S>,
    log: LogWriter,
}

impl<S: StateMachine> fmt::Debug for Node<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl<S: StateMachine> Node<S> {
    /// A node that has not looked at its disk yet; the first actions (recovery) are in `out`.
    ///
    /// # Errors
    ///
    /// A setting that cannot work.
    pub fn new(config: Config, now: Now, out: &mut Actions<S>) -> Result<Self, crate::raft::ConfigError> {
        config.raft.validate()?;
        config.replica().validate()?;
        out.push(Action::Job(Job::new(Work::Recover(Recovery::new(config.storage())))));
        out.push(Action::Job(Job::new(Work::LoadEarly(EarlyLoad::new(ReplicaRestorer::new())))));
        let own = config.raft.id;
        // The core draws from a stream of its own.
        let rng = Rng::stream(config.raft.seed, own.0.rotate_left(32));
        let told = config.founders.iter().map(|(id, at)| (*id, at.peer.clone())).collect();
        Ok(Self {
            founding: Founding::new(own, &config.founders),
            config,
            now,
            phase: Phase::Recovering,
            identity: None,
            forming: None,
            early: None,
            loading: None,
            mending: None,
            complete: false,
            member: None,
            links: Links::new(own, told, rng),
            refused_by: BTreeSet::new(),
            strange_to: BTreeSet::new(),
            removed_since: None,
            roster: Arc::default(),
            complaints: VecDeque::new(),
            requests: Requests::default(),
            packing: Packing::default(),
            digests: Digests::default(),
            lane: Lane::default(),
            sending: BTreeMap::new(),
            receiving: None,
            receptions: 0,
            role: Role::Follower,
            term: 0,
            leader: None,
            counters: Counters::default(),
            applied_at_start: 0,
            timers: timers::Timers::default(),
            fault: None,
            stopping: None,
            stopped: false,
            inbox: Vec::new(),
            outbox: None,
        })
    }

    /// Steps a batch of events and adds the actions to `out`.
    pub fn step_into(&mut self, now: Now, events: impl IntoIterator<Item = Event<S>>, out: &mut Actions<S>) {
        self.now = Now::new(now.mono.max(self.now.mono), now.wall);
        for event in events {
            self.take(event, out);
        }
        self.settle(out);
    }

    /// Whether this node leads, as far as it knows.
    pub const fn leads(&self) -> bool {
        matches!(self.role, Role::Leader)
    }

    /// Whether a job at [leisure](Pace::Leisure) has become one that is waited for: the log goes on growing until the snapshot is
    /// saved, and its bytes in memory and on the disk are to stay in proportion to the settings.
    pub fn is_snapshot_pressing(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.replica.is_snapshot_pressing())
    }

    /// The replica, once the directory is a member's.
    pub fn replica(&self) -> Option<&Replica<S>> {
        self.member.as_ref().map(|member| &member.replica)
    }

    /// What INFO, CLUSTER and `status` show. Costs a few small allocations: for once a turn, not for once a request.
    pub fn status(&self) -> Status {
        let raft = self.member.as_ref().map(|member| member.replica.raft());
        let mut counters = self.counters;
        let (mut digest, mut size, mut load) = (0, StateSize::default(), (0, 0));
        let mut saves = Saves::default();
        if let Some(Member { replica, .. }) = &self.member {
            digest = replica.state().digest();
            size = replica.state().size();
            load = replica.load();
            saves = replica.saves();
            counters.applied = replica.context().index.saturating_sub(self.applied_at_start);
        }
        let own = self.config.raft.id;
        Status {
            id: own,
            phase: self.phase,
            cluster: self.identity.and_then(|identity| identity.cluster),
            raft: self.member.as_ref().map(|member| member.replica.status()),
            matched: raft.into_iter().flat_map(crate::raft::Raft::matched).collect(),
            members: self.members(),
            roster: self.roster.clone(),
            connected: self.links.open().map(|(peer, _)| peer).chain([own]).collect(),
            digest,
            size,
            sessions: load.0,
            pending: self.requests.under_way(),
            saves,
            counters,
        }
    }

    /// Whether requests wait for their outcome.
    pub fn has_requests(&self) -> bool {
        !self.requests.is_idle()
    }

    /// The members by the configuration in force; the founders before there is one.
    fn members(&self) -> BTreeMap<NodeId, Addresses> {
        let members = self.member.as_ref().map(|member| &member.replica.raft().configuration().members);
        let Some(members) = members.filter(|members| !members.is_empty()) else {
            return self.config.founders.clone();
        };
        let addresses = |member: &crate::raft::Member| Addresses {
            peer: member.peer_address.clone(),
            client: member.client_address.clone(),
        };
        members.iter().map(|(id, member)| (*id, addresses(member))).collect()
    }
}

/// A node's state for people and for redirects; plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub id: NodeId,
    /// Where it is in its life.
    pub phase: Phase,
    /// The cluster, once formed.
    pub cluster: Option<u128>,
    /// The core's status, once it runs.
    pub raft: Option<crate::raft::Status>,
    /// A leader's view of each peer's match index.
    pub matched: BTreeMap<NodeId, LogIndex>,
    /// The members by the configuration in force; the founders before that.
    pub members: BTreeMap<NodeId, Addresses>,
    /// Who belongs to the cluster, in full, and who wants to.
    pub roster: Arc<Roster>,
    /// Members with a working connection, this node included.
    pub connected: alloc::collections::BTreeSet<NodeId>,
    /// The state machine's digest at the applied index.
    pub digest: u128,
    /// How much the state machine holds.
    pub size: StateSize,
    /// Live sessions.
    pub sessions: usize,
    /// Requests under way.
    pub pending: usize,
    /// How the saving of snapshots stands.
    pub saves: Saves,
    /// Counters since the start.
    pub counters: Counters,
}

/// Who belongs to the cluster, and who wants to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    /// The configuration in force; empty before there is one.
    pub configuration: Configuration,
    /// Nodes that have said hello with a disk that belongs to no cluster, and are no members with that disk: they can be
    /// added.
    pub applicants: BTreeMap<NodeId, DiskId>,
}

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Reading its disk.
    Recovering,
    /// Waiting for every founder.
    Forming,
    /// A member.
    Running,
    /// Stopping.
    Stopping,
    /// Halted.
    Halted,
}

/// Counts since the process started. Each only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Batches of the log lane that asked for a sync of the log.
    pub log_batches: u64,
    /// Entries written to the log.
    pub log_entries: u64,
    /// Bytes written to the log.
    pub log_bytes: u64,
    /// Entries applied.
    pub applied: u64,
    /// Frames from peers that were refused as malformed.
    pub malformed_frames: u64,
    /// Frames received from peers.
    pub frames_in: u64,
    /// Frames sent to peers.
    pub frames_out: u64,
    /// Snapshots saved.
    pub snapshots_saved: u64,
    /// Snapshots installed from a leader.
    pub snapshots_installed: u64,
    /// Elections this node won.
    pub elections_won: u64,
    /// Requests forwarded to the leader.
    pub forwarded: u64,
    /// Requests that ended undetermined.
    pub undetermined: u64,
}
