//! What the trace is told of a cluster: nothing but a look at a flag, unless someone asked for events.

use std::string::String;
use std::vec::Vec;

use bytes::Bytes;

use super::{Answer, Ask, ClerkId, Cluster, Machine};
use crate::client::{CallId, ClerkError};
use crate::codec::resp::Value;
use crate::node::{LinkId, RequestId};
use crate::raft::NodeId;
use crate::replica::{Outcome, Request, StateMachine};
use crate::sim::network::Delivery;
use crate::sim::trace::{ClientName, Condition, Ending, Fate, MessageId, Said, What, in_text};
use crate::storage::{DiskBatch, DiskOp};

impl<S: StateMachine> Cluster<S> {
    /// Looks at what a scenario may have changed between two happenings.
    pub(super) fn observe_world(&mut self) {
        let Some(recorder) = self.trace.recorder() else { return };
        recorder.look_at_network(self.now, &self.network);
        for (&node, machine) in &self.machines {
            let &Machine { clock, paused_until, slowness, .. } = machine;
            recorder.look_at_machine(self.now, node, Condition { clock, paused_until, slowness });
        }
    }

    /// A node was stepped, and its actions are about to be performed.
    pub(super) fn observe_step(&mut self, node: NodeId) {
        let Some(recorder) = self.trace.recorder() else { return };
        let running = self.machines.get(&node).and_then(Machine::node);
        let replica = running.and_then(|running| running.replica());
        let core = replica.map(|replica| (replica.raft(), replica.status(), replica.state().digest()));
        recorder.stepped(self.now, node, core);
    }

    /// A node's process ended.
    pub(super) fn observe_end(&mut self, node: NodeId) {
        if let Some(recorder) = self.trace.recorder() {
            recorder.process_ended(node);
        }
    }

    /// A batch goes to the log lane.
    pub(super) fn observe_batch(&mut self, node: NodeId, batch: &DiskBatch) {
        self.trace.event(self.now, node, || {
            let written = batch.ops.iter().map(|op| match op {
                DiskOp::WriteAt { data, .. } => data.iter().map(Bytes::len).sum(),
                _ => 0,
            });
            What::Persist { batch: batch.id, bytes: written.sum() }
        });
    }

    /// The network has decided about a frame.
    pub(super) fn observe_send(
        &mut self,
        node: NodeId,
        to: Option<NodeId>,
        message: MessageId,
        payload: &Bytes,
        delivery: &Delivery,
    ) {
        self.trace.event(self.now, node, || What::Send {
            message,
            // A link that is gone does not say any more where it led.
            to: to.unwrap_or(NodeId(0)),
            fate: match delivery {
                Delivery::Arrives { at, .. } if at.is_empty() => Fate::Lost,
                Delivery::Arrives { at, .. } => Fate::Arrives(at.clone()),
                Delivery::Breaks { .. } => Fate::Breaks,
                Delivery::Closed => Fate::Closed,
            },
            said: Said::read(payload).into(),
        });
    }

    /// A frame has come to the end of its way.
    pub(super) fn observe_arrival(&mut self, link: LinkId, message: MessageId, payload: &Bytes) {
        let Some(recorder) = self.trace.recorder() else { return };
        if let Some((node, from)) = self.network.ends_of(link) {
            recorder.arrived(self.now, node, from, message, payload.clone());
        }
    }

    /// A request is handed to a node.
    pub(super) fn observe_request(&mut self, node: NodeId, id: RequestId, request: &Request) {
        self.trace.event(self.now, node, || What::Invoke {
            client: ClientName::Connection(id.connection),
            call: id.number,
            words: request_in_words(request),
        });
    }

    /// A request that was handed to a node is answered.
    pub(super) fn observe_answer(&mut self, id: RequestId, answer: &Answer) {
        self.trace.event(self.now, None, || {
            let (ending, reply) = answer_in_words(answer);
            What::Return { client: ClientName::Connection(id.connection), call: id.number, ending, reply }
        });
    }

    /// A clerk begins a call.
    pub(super) fn observe_call(&mut self, clerk: ClerkId, call: CallId, ask: &Ask) {
        self.trace.event(self.now, None, || What::Invoke {
            client: ClientName::Clerk(clerk),
            call,
            words: ask.words(),
        });
    }

    /// A clerk's call has ended.
    pub(super) fn observe_result(
        &mut self,
        clerk: ClerkId,
        call: CallId,
        result: &Result<Value, ClerkError>,
    ) {
        self.trace.event(self.now, None, || {
            let (ending, reply) = match result {
                Ok(value) => (Ending::Done, value_in_words(value)),
                Err(ClerkError::Undetermined) => {
                    (Ending::Unknown, std::format!("{}", ClerkError::Undetermined))
                }
                Err(error) => (Ending::NotDone, std::format!("{error}")),
            };
            What::Return { client: ClientName::Clerk(clerk), call, ending, reply }
        });
    }
}

/// The kind of a request and the state machine's bytes.
fn request_in_words(request: &Request) -> Vec<Bytes> {
    let words;
    let (kind, bytes): (&'static str, &[u8]) = match request {
        Request::Write(command) => ("write", command),
        Request::Once { command, .. } => ("once", command),
        Request::OpenSession { nonce } => ("open-session", nonce),
        Request::CloseSession { .. } => ("close-session", b""),
        Request::Read(query) => ("read", query),
        Request::ReadLocal(query) => ("read-local", query),
        Request::Reconfigure(change) => {
            words = std::format!("{:?}", change.steps);
            ("reconfigure", words.as_bytes())
        }
        Request::Transfer(to) => {
            words = to.map_or_else(String::new, |to| std::format!("{to:?}"));
            ("transfer", words.as_bytes())
        }
    };
    std::vec![Bytes::from_static(kind.as_bytes()), Bytes::copy_from_slice(bytes)]
}

fn answer_in_words(answer: &Answer) -> (Ending, String) {
    match answer {
        Answer::Outcome(Outcome::Reply(reply)) => (Ending::Done, in_text(reply.trim_ascii_end())),
        Answer::Outcome(Outcome::SessionOpened(session)) => (Ending::Done, std::format!("session {session}")),
        Answer::Outcome(Outcome::SessionClosed) => (Ending::Done, "session closed".into()),
        Answer::Outcome(Outcome::Reconfigured(index)) => (Ending::Done, std::format!("changed at {index}")),
        Answer::Outcome(Outcome::Transferred) => (Ending::Done, "handed over".into()),
        Answer::Outcome(Outcome::Undetermined) => (Ending::Unknown, "undetermined".into()),
        Answer::Outcome(outcome) => (Ending::NotDone, std::format!("{outcome:?}")),
        Answer::ConnectionLost => (Ending::Unknown, "the connection is lost".into()),
    }
}

fn value_in_words(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Integer(number) => std::format!("{number}"),
        Value::Array(values) => {
            let words: Vec<String> = values.iter().map(value_in_words).collect();
            std::format!("[{}]", words.join(", "))
        }
        _ => value.text().map_or_else(|| std::format!("{value:?}"), |text| in_text(text)),
    }
}
