//! What clients ask while the cluster suffers.

mod commands;
mod kv;

use std::string::String;
use std::vec::Vec;

use bytes::Bytes;

use super::check::{Committed, HistoryOf, Itself, Model, Replayed};
use crate::client::CallKind;
use crate::codec::resp::Value;
use crate::replica::{Request, StateMachine};
use crate::rng::Rng;
pub use kv::KvWorkload;

/// How an operation travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Travel {
    /// As a request to a node, which the client makes itself.
    Request(Request),
    /// As a command to a clerk, over RESP and through a gateway.
    Command(CallKind, Vec<Bytes>),
    /// As these commands between MULTI and EXEC, if the client has a connection to itself; else as this request.
    Transaction(CallKind, Vec<Vec<Bytes>>, Request),
}

/// What a client heard.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// The state machine's reply, as it is.
    Bytes(Bytes),
    /// The reply that a clerk read.
    Value(Value),
}

/// What clients ask of a state machine, and the specification of what they must be answered.
pub trait Workload {
    /// What is replicated.
    type Machine: StateMachine;
    /// What it must do.
    type Model: Model;

    /// The specification's state before the first command.
    fn model(&self) -> Self::Model;

    /// What a client asks next. The same numbers in the same order give the same operations.
    fn next(&mut self, client: u64, rng: &mut Rng) -> <Self::Model as Model>::Op;

    /// What `op` is on a connection that the client has to itself: operations that leave in one piece.
    fn on_a_connection(&self, op: <Self::Model as Model>::Op) -> Vec<<Self::Model as Model>::Op> {
        std::vec![op]
    }

    /// How it is asked.
    fn travel(&self, op: &<Self::Model as Model>::Op) -> Travel;

    /// What was heard, in the specification's words.
    fn reply(&self, heard: Heard) -> <Self::Model as Model>::Reply;

    /// A client has its reply: what it asks next may depend on that.
    fn replied(
        &mut self,
        client: u64,
        op: &<Self::Model as Model>::Op,
        reply: &<Self::Model as Model>::Reply,
    ) {
        let _ = (client, op, reply);
    }

    /// Completes a history by what no client could see and the log tells, before it is judged.
    fn complete(&self, history: &mut HistoryOf<Self::Model>, log: &[Committed]) {
        let _ = (history, log);
    }

    /// A second opinion of a whole history, after the replay. What to count the verdict as, if there is one.
    ///
    /// # Errors
    ///
    /// What is wrong, after the checker's name and a colon.
    fn judge(
        &self,
        history: &HistoryOf<Self::Model>,
        replayed: &Replayed,
    ) -> Result<Option<&'static str>, String> {
        let _ = (history, replayed);
        Ok(None)
    }
}

/// A workload of a state machine's own bytes: requests drawn by a function, judged by a model of requests and replies. For
/// whoever tests a state machine of their own.
#[derive(Debug, Clone)]
pub struct Requests<S, M, F> {
    model: fn() -> M,
    draw: F,
    machine: core::marker::PhantomData<fn() -> S>,
}

impl<S, M, F> Requests<S, M, F> {
    /// `model` makes the specification's first state; `draw` gives what a client (by its number) asks next: a
    /// [`Request::Write`] or a [`Request::Read`].
    pub const fn new(model: fn() -> M, draw: F) -> Self {
        Self { model, draw, machine: core::marker::PhantomData }
    }
}

impl<S: StateMachine, F> Requests<S, Itself<S>, F> {
    /// The state machine is its own specification: what is judged is the replication.
    pub fn of_itself(draw: F) -> Self {
        Self::new(|| Itself::new(0), draw)
    }
}

impl<S, M, F> Workload for Requests<S, M, F>
where
    S: StateMachine,
    M: Model<Op = Request, Reply = Bytes>,
    F: FnMut(u64, &mut Rng) -> Request,
{
    type Machine = S;
    type Model = M;

    fn model(&self) -> M {
        (self.model)()
    }

    fn next(&mut self, client: u64, rng: &mut Rng) -> Request {
        (self.draw)(client, rng)
    }

    fn travel(&self, op: &Request) -> Travel {
        Travel::Request(op.clone())
    }

    fn reply(&self, heard: Heard) -> Bytes {
        match heard {
            Heard::Bytes(bytes) => bytes,
            Heard::Value(value) => std::format!("{value:?}").into(),
        }
    }
}
