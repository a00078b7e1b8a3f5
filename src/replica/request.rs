//! What a client asks of a replica, and how it ends.

use bytes::Bytes;

use crate::raft::{Change, ChangeRefused, LogIndex, NodeId, TransferFailed};

/// Names a session: the log index of the entry that opened it.
pub type SessionId = u64;

/// One request of a client, the state machine's bytes inside.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// A command for the log. At most once: it is never sent again by us.
    Write(Bytes),
    /// A command of a session: exactly once, however often it is sent.
    Once {
        /// The session.
        session: SessionId,
        /// Its number within the session.
        seq: u64,
        /// The client has the replies to all numbers below this.
        ack: u64,
        /// The command.
        command: Bytes,
    },
    /// Opens a session. The same non-empty nonce gives the same session.
    OpenSession {
        /// Chosen by the client, at most [`MAX_NONCE`](crate::replica::MAX_NONCE) bytes; empty for none.
        nonce: Bytes,
    },
    /// Closes a session and frees its replies.
    CloseSession {
        /// Which one.
        session: SessionId,
    },
    /// A linearizable query.
    Read(Bytes),
    /// A query of this node's own applied state, however old.
    ReadLocal(Bytes),
    /// A change of the membership. Only at the leader.
    Reconfigure(Change),
    /// A transfer of leadership, to this node or to the fittest. Only at the leader.
    Transfer(Option<NodeId>),
}

/// How a request ended. Exactly one of them is reported for each request, before its deadline or soon after it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Done: the state machine's reply.
    Reply(Bytes),
    /// Done: the session is open.
    SessionOpened(SessionId),
    /// Done: the session is closed (or was not there).
    SessionClosed,
    /// Done: the change is committed at this index. A joint configuration that comes of it is left behind that by itself.
    Reconfigured(LogIndex),
    /// Done: this node leads no more.
    Transferred,
    /// Applied, and refused by the session's rules: the command did not run this time.
    Session(SessionError),
    /// Certainly not done.
    Refused(Refused),
    /// Not known: leadership was lost or the time is up while it was under way.
    Undetermined,
}

/// What the rules of exactly-once sessions refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionError {
    /// No such session: never opened, closed, or idle for too long.
    Expired,
    /// The client has said that it has the reply to this number.
    Stale,
    /// The number is further above the floor than the window allows.
    BeyondWindow,
    /// The replies kept for the session fill its space: acknowledge some.
    RepliesFull,
    /// All sessions are taken by live clients.
    TooMany,
}

/// Why a request was certainly not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Another node leads, and this node does not forward.
    NotLeader(NodeId),
    /// No leader is known.
    NoLeader,
    /// Too much waits already; try again.
    Busy,
    /// The command is longer than an entry may be.
    TooLarge,
    /// The disk has no room for the log; reads go on.
    DiskFull,
    /// An earlier request of the same pipeline was refused.
    AfterRefusal,
    /// The node is stopping, or was halted.
    Stopping,
    /// A read that did not get its answer before its deadline.
    TimedOut,
    /// This leader is handing over.
    Transferring,
    /// The membership cannot be changed like this, or not now.
    Change(ChangeRefused),
    /// Leadership could not be handed over; this node leads on.
    Transfer(TransferFailed),
}
