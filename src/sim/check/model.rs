//! What a correct system would answer: a sequential specification, written apart from the state machine that it judges.

use std::fmt::{self, Debug};
use std::vec::Vec;

use bytes::Bytes;

use crate::replica::{Context, Request, StateMachine};

/// A sequential specification: one copy of the state, one operation at a time.
///
/// Three members must be written; the rest has defaults that suit a small state whose replies are equal or wrong. The
/// whole of a lock service's model, whose operations are the requests that its clients send:
///
/// ```
/// use bytes::Bytes;
/// use quorate::replica::{Context, Request};
/// use quorate::sim::check::Model;
///
/// /// Who holds the lock. A command is a client's name; it takes the lock if it is free, and a second time frees it.
/// #[derive(Debug, Clone, Hash, Default)]
/// struct Lock(Option<Bytes>);
///
/// impl Model for Lock {
///     type Op = Request;
///     type Reply = Bytes;
///
///     fn step(&mut self, _: Context, op: &Request) -> Bytes {
///         match (op, &self.0) {
///             (Request::Write(name), None) => self.0 = Some(name.clone()),
///             (Request::Write(name), Some(holder)) if name == holder => self.0 = None,
///             _ => {}
///         }
///         self.0.clone().unwrap_or_default()
///     }
///
///     fn request(op: &Request) -> Option<Request> {
///         Some(op.clone())
///     }
/// }
/// ```
///
/// Whoever has no specification to write can have the state machine judge itself: [`Itself`].
pub trait Model {
    /// What a client asks.
    type Op: Clone + PartialEq + Debug;
    /// What it is answered.
    type Reply: Clone + PartialEq + Debug;

    /// Does `op` and answers it. An operation that [is a read](Self::is_read) leaves the state as it is.
    fn step(&mut self, at: Context, op: &Self::Op) -> Self::Reply;

    /// What is asked of the cluster for `op`: a write's bytes are what the log holds of it. `None` when the client's node
    /// answers it without asking anybody, as it does a command with wrong arguments.
    fn request(op: &Self::Op) -> Option<Request>;

    /// Whether `op` leaves every state as it is.
    fn is_read(op: &Self::Op) -> bool {
        !matches!(Self::request(op), Some(Request::Write(_) | Request::Once { .. }))
    }

    /// Whether `seen` is a right answer to `op` where [`step`](Self::step) answers `expected`. For operations whose answer
    /// the specification leaves open.
    fn admits(op: &Self::Op, expected: &Self::Reply, seen: &Self::Reply) -> bool {
        let _ = op;
        expected == seen
    }

    /// What `op`, answered by `reply`, is to each independent part of the state. Only the search for a linearization asks:
    /// it looks at parts of different keys by themselves. By default the state is one part.
    ///
    /// A part must say no more than the whole: if the whole has an order, its parts must have it too.
    fn parts(op: &Self::Op, reply: Option<&Self::Reply>) -> Vec<Part<Self::Op, Self::Reply>> {
        let (keys, op, reply) = (std::vec![Bytes::new()], op.clone(), reply.cloned());
        std::vec![Part { keys, op, reply, needs_log: false }]
    }

    /// Whether `op` leaves the same state behind and gets the same answer whatever the state was, on the keys of its
    /// [part](Self::parts). A hint to the search, which `false` only makes slower.
    fn overwrites(op: &Self::Op) -> bool {
        let _ = op;
        false
    }

    /// The commands of which an entry's command is made, in order. A client's node may have joined several.
    fn commands(command: &Bytes) -> Vec<Bytes> {
        std::vec![command.clone()]
    }

    /// Bytes that `reply` takes in a session's memory. Only a run that fills that memory needs it.
    fn kept_bytes(reply: &Self::Reply) -> u64 {
        let _ = reply;
        0
    }
}

/// What an operation is to one independent part of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<O, R> {
    /// What it touches. Keys that stand together in any part are looked at together, since one's value may have become the
    /// other's. No keys: it touches whatever there is, each key by itself.
    pub keys: Vec<Bytes>,
    /// What is done there.
    pub op: O,
    /// What is known of the answer.
    pub reply: Option<R>,
    /// Whether only the log tells what becomes of its keys, because it gives one of them a deadline or the like. They are
    /// not looked at, nor are those that they stand together with.
    pub needs_log: bool,
}

/// A state machine as its own specification. It says nothing about the state machine, and everything about the
/// replication: whether each command ran once, in one order, and whether each query saw the state it had to see.
#[derive(Clone, Hash)]
pub struct Itself<S>(pub S);

impl<S: StateMachine> Itself<S> {
    /// The empty state. `seed` matters only to a state machine whose replies depend on it.
    pub fn new(seed: u128) -> Self {
        Self(S::empty(seed))
    }
}

impl<S: Debug> Debug for Itself<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: StateMachine> Model for Itself<S> {
    type Op = Request;
    type Reply = Bytes;

    fn step(&mut self, at: Context, op: &Request) -> Bytes {
        let mut out = Vec::new();
        match op {
            Request::Write(command) | Request::Once { command, .. } => self.0.apply(at, command, &mut out),
            Request::Read(query) | Request::ReadLocal(query) => self.0.query(at, query, &mut out),
            Request::OpenSession { .. }
            | Request::CloseSession { .. }
            | Request::Reconfigure(_)
            | Request::Transfer(_) => {}
        }
        out.into()
    }

    fn request(op: &Request) -> Option<Request> {
        Some(op.clone())
    }

    fn kept_bytes(reply: &Bytes) -> u64 {
        reply.len() as u64
    }
}
