//! What can happen in a run, one kind a variant.

use std::boxed::Box;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use bytes::Bytes;
use smallvec::SmallVec;

use super::said::{EntryMark, Said, names};
use crate::raft::{LogId, LogIndex, NodeId, Role, Term};
use crate::sim::clock::Clock;
use crate::sim::cluster::{ClerkId, Crash};
use crate::sim::network::{Region, Weather};
use crate::storage::BatchId;
use crate::time::Micros;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceEvent {
    /// When, in microseconds of the run.
    pub at: Micros,
    /// Where; `None` for the network and for clients.
    pub node: Option<NodeId>,
    /// What.
    pub what: What,
}

/// Names a frame between nodes, from its sending to each of its arrivals.
pub type MessageId = u64;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum What {
    /// A process started, the first of its machine or a later one.
    Start {
        /// Which one, from 1.
        life: u64,
    },
    /// A process was killed, or lost its power.
    Crash(Crash),
    /// A process is stopped where it is: what reaches it waits.
    Pause {
        /// When it goes on.
        until: Micros,
    },
    /// A paused process goes on.
    Resume,
    /// Everything takes longer on a machine from now on, or as long as usual again.
    Slow {
        /// How long, in percent of the usual time.
        percent: u64,
    },
    /// A node halted.
    Halt {
        /// Why, in the words that a person would read.
        fault: String,
    },
    /// A machine got an empty disk.
    Wipe,
    /// A machine got an older image of its disk.
    RollBack,
    /// A machine's clocks were set: they jumped, or run at another rate from now on.
    SetClock {
        /// How they were.
        before: Clock,
        /// How they are.
        after: Clock,
    },
    /// A fault that leaves no other trace of its own, such as a rotten byte.
    Fault {
        /// Which one.
        text: String,
    },
    /// A disk operation failed.
    DiskError {
        /// Which one, and with which error.
        text: String,
    },
    /// A batch was handed to the log lane.
    Persist {
        /// Which one.
        batch: BatchId,
        /// The bytes that it writes.
        bytes: usize,
    },
    /// The node learns how a batch of the log lane ended.
    Persisted {
        /// Which one.
        batch: BatchId,
        /// What it failed with, if it did.
        error: Option<String>,
    },
    /// A frame was handed to a connection.
    Send {
        /// Its name.
        message: MessageId,
        /// To whom.
        to: NodeId,
        /// What becomes of it.
        fate: Fate,
        /// What it says.
        said: Arc<Said>,
    },
    /// A node took a frame from a connection; the [`Step`](Self::Step) that follows is what it made of it.
    Receive {
        /// Its name.
        message: MessageId,
        /// From whom.
        from: NodeId,
        /// When it arrived; the node may look some time later.
        arrived: Micros,
        /// What it says.
        said: Arc<Said>,
    },
    /// A node's core was stepped, and changed or had messages to handle.
    Step(Box<Step>),
    /// A line for the log that people read.
    Note {
        /// The line.
        text: String,
    },
    /// The network was cut or mended: which directions are cut from now on.
    Partition {
        /// From whom to whom, ascending; none when all is mended.
        cut: Vec<(NodeId, NodeId)>,
    },
    /// The weather of a part of the network, or everywhere else, is another from now on.
    Weather {
        /// Which part; `None` for all that has no weather of its own.
        region: Option<Region>,
        /// How it is.
        weather: Weather,
    },
    /// A client asked for something.
    Invoke {
        /// Who.
        client: ClientName,
        /// Its name for this call.
        call: u64,
        /// The words of the command, or the bytes of a request that was handed to a node.
        words: Vec<Bytes>,
    },
    /// A client knows how its call ended, or that it never will.
    Return {
        /// Who.
        client: ClientName,
        /// Its name for this call.
        call: u64,
        /// Whether it was done.
        ending: Ending,
        /// The reply, or why there is none.
        reply: String,
    },
}

/// Which of three is true of a call that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was done.
    Done,
    /// It was not done and will not be.
    NotDone,
    /// It may have been done, or be done yet, once.
    Unknown,
}

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientName {
    /// A clerk of the cluster.
    Clerk(ClerkId),
    /// Whoever hands requests to nodes, by the connection they bear.
    Connection(u64),
}

impl core::fmt::Display for ClientName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Clerk(clerk) => write!(f, "clerk-{clerk}"),
            Self::Connection(connection) => write!(f, "client-{connection}"),
        }
    }
}

/// What the network does with a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It arrives then; twice when it was doubled. Who is down by then does not [receive](What::Receive) it.
    Arrives(SmallVec<[Micros; 2]>),
    /// It is lost.
    Lost,
    /// The connection breaks under it.
    Breaks,
    /// The connection was closed or broken before.
    Closed,
}

/// What a step of a node's core came to. A step takes a batch of events: it may make several changes at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// In which the state differs from that after the step before, the weightiest first.
    pub changes: SmallVec<[Change; 4]>,
    /// The state after the step.
    pub state: Arc<State>,
    /// What became of the log's end, if anything did.
    pub log: Option<LogChange>,
}

/// What a step can change; the names are those of actions in specifications of Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The core runs on what the disk held: the first step of a life.
    Recover,
    /// It leads.
    BecomeLeader,
    /// It campaigns, in a new term and with its own vote.
    Timeout,
    /// It asks whether an election would be won.
    BecomePreCandidate,
    /// It does not lead any more.
    StepDown,
    /// It does not campaign any more.
    BecomeFollower,
    /// The log and the state were replaced by a leader's snapshot.
    InstallSnapshot,
    /// The log lost entries that contradicted the leader's.
    TruncateLog,
    /// Another configuration is in force.
    ChangeConfiguration,
    /// It voted for someone else.
    GrantVote,
    /// It learned of a later term.
    UpdateTerm,
    /// It knows who leads.
    FollowLeader,
    /// The commit index rose.
    AdvanceCommit,
    /// The log grew: at a leader by what clients asked for, at a follower by what the leader sent.
    AppendLog,
    /// A snapshot of the node's own state took the place of the log's beginning.
    TakeSnapshot,
    /// More of the log is on the disk.
    PersistLog,
    /// More of the log is applied.
    Apply,
}

impl Change {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recover => "Recover",
            Self::BecomeLeader => "BecomeLeader",
            Self::Timeout => "Timeout",
            Self::BecomePreCandidate => "BecomePreCandidate",
            Self::StepDown => "StepDown",
            Self::BecomeFollower => "BecomeFollower",
            Self::InstallSnapshot => "InstallSnapshot",
            Self::TruncateLog => "TruncateLog",
            Self::ChangeConfiguration => "ChangeConfiguration",
            Self::GrantVote => "GrantVote",
            Self::UpdateTerm => "UpdateTerm",
            Self::FollowLeader => "FollowLeader",
            Self::AdvanceCommit => "AdvanceCommit",
            Self::AppendLog => "AppendLog",
            Self::TakeSnapshot => "TakeSnapshot",
            Self::PersistLog => "PersistLog",
            Self::Apply => "Apply",
        }
    }
}

/// A core's state, and its state machine's digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// Its vote in that term.
    pub vote: Option<NodeId>,
    /// The leader, if known.
    pub leader: Option<NodeId>,
    /// The commit index.
    pub commit: LogIndex,
    /// The applied index.
    pub applied: LogIndex,
    /// The last index on its disk.
    pub persisted: LogIndex,
    /// The first index in its log.
    pub first: LogIndex,
    /// The last position of its log.
    pub last: LogId,
    /// The last position that its snapshot covers.
    pub snapshot: Option<LogId>,
    /// The voters, in a joint configuration those of the new half.
    pub voters: Vec<NodeId>,
    /// In a joint configuration the voters of the old half.
    pub outgoing: Vec<NodeId>,
    /// The digest of the state machine at the applied index.
    pub digest: u128,
}

/// The log ends with these entries now, whatever was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChange {
    /// The index before the first of them.
    pub after: LogIndex,
    /// They.
    pub entries: Vec<EntryMark>,
}

impl What {
    /// The name of what happened, as a specification of Raft would call the action.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start { life: 1 } => "Start",
            Self::Start { .. } => "Restart",
            Self::Crash(Crash::Process) => "Crash",
            Self::Crash(Crash::Power) => "PowerFailure",
            Self::Pause { .. } => "Pause",
            Self::Resume => "Resume",
            Self::Slow { .. } => "Slow",
            Self::Halt { .. } => "Halt",
            Self::Wipe => "Wipe",
            Self::RollBack => "RollBack",
            Self::SetClock { .. } => "SetClock",
            Self::Fault { .. } => "Fault",
            Self::DiskError { .. } => "DiskError",
            Self::Persist { .. } => "Persist",
            Self::Persisted { .. } => "Persisted",
            Self::Send { said, .. } => names(said.kind).0,
            Self::Receive { said, .. } => names(said.kind).1,
            Self::Step(step) => step.changes.first().map_or("Step", |change| change.name()),
            Self::Note { .. } => "Note",
            Self::Partition { cut } if cut.is_empty() => "Heal",
            Self::Partition { .. } => "Partition",
            Self::Weather { .. } => "Weather",
            Self::Invoke { .. } => "Invoke",
            Self::Return { .. } => "Return",
        }
    }
}
