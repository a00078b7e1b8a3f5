//! The replicated machine: the user's state and the sessions, as a function of the log.

use alloc::vec::Vec;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::envelope::Envelope;
use super::session::{Admission, Sessions};
use super::snapshot::{ReplicaView, Restored};
use super::{Context, Outcome, StateMachine};
use crate::raft::{Configuration, Entry, EntryKind, Fault, LogId, LogIndex, Stamp};

/// What applying an entry means to a client who waits for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The reply was appended to the space given.
    Written,
    /// The reply, from memory or without bytes.
    Outcome(Outcome),
    /// The entry holds nothing that a client could wait for.
    Nothing,
}

/// The state after the last applied entry.
#[derive(Debug)]
pub(super) struct Machine<S> {
    pub(super) state: S,
    pub(super) sessions: Sessions,
    pub(super) applied: LogId,
    pub(super) stamp: Stamp,
}

impl<S: StateMachine> Machine<S> {
    /// The machine before the first entry. Its state is replaced when the founding entry is applied.
    pub(super) fn empty() -> Self {
        Self {
            state: S::empty(0),
            sessions: Sessions::default(),
            applied: LogId::ZERO,
            stamp: Stamp::default(),
        }
    }

    /// The machine that a snapshot holds.
    pub(super) fn restored(restored: Restored<S>) -> Self {
        let Restored { state, sessions, applied, stamp } = restored;
        Self { state, sessions, applied, stamp }
    }

    /// Applies the next entry and appends the reply to `out`.
    pub(super) fn apply(&mut self, entry: &Entry, out: &mut Vec<u8>) -> Result<Effect, Fault> {
        if entry.id.index != self.applied.index + 1 {
            return Err(Fault::Invariant("the entries to apply have a gap"));
        }
        self.applied = entry.id;
        self.stamp = entry.stamp;
        self.sessions.expire(entry.stamp.cluster_ms);
        match entry.kind {
            EntryKind::NoOp => Ok(Effect::Nothing),
            EntryKind::Configuration => {
                if entry.id.index == FOUNDING_INDEX {
                    self.state = S::empty(seed(&entry.data)?);
                }
                Ok(Effect::Nothing)
            }
            EntryKind::Command => Ok(match Envelope::decode(&entry.data) {
                Some(envelope) => self.run(envelope, out),
                None => Effect::Nothing,
            }),
        }
    }

    /// Answers a query from the state as it is.
    pub(super) fn query(&self, query: &[u8], out: &mut Vec<u8>) {
        self.state.query(self.context(), query, out);
    }

    /// A picture of all of it.
    pub(super) fn view(&self) -> ReplicaView<S> {
        ReplicaView::new(self.applied, self.stamp, self.sessions.picture(), self.state.view())
    }

    /// Where the last applied entry is.
    pub(super) fn context(&self) -> Context {
        Context { index: self.applied.index, unix_ms: self.stamp.unix_ms }
    }

    fn run(&mut self, envelope: Envelope<'_>, out: &mut Vec<u8>) -> Effect {
        let now = self.stamp.cluster_ms;
        match envelope {
            Envelope::Write(command) => {
                self.state.apply(self.context(), command, out);
                Effect::Written
            }
            Envelope::Once { session, seq, ack, command } => {
                match self.sessions.admit(session, seq, ack, now) {
                    Admission::Run => {
                        let start = out.len();
                        self.state.apply(self.context(), command, out);
                        let reply = out.get(start..).unwrap_or_default();
                        self.sessions.keep(session, seq, ack, reply);
                        Effect::Written
                    }
                    Admission::Ran(reply) => Effect::Outcome(Outcome::Reply(reply)),
                    Admission::Refused(error) => Effect::Outcome(Outcome::Session(error)),
                }
            }
            Envelope::OpenSession { max_sessions, limits, nonce } => {
                let opened = self.sessions.open(self.applied.index, max_sessions, limits, nonce, now);
                Effect::Outcome(opened.map_or_else(Outcome::Session, Outcome::SessionOpened))
            }
            Envelope::CloseSession { session } => {
                self.sessions.close(session);
                Effect::Outcome(Outcome::SessionClosed)
            }
        }
    }
}

/// The index of the entry that forms a cluster.
const FOUNDING_INDEX: LogIndex = 1;

/// The seed of a cluster's state machines: a hash of its founders' names and disks, whose names are random.
fn seed(founding: &Bytes) -> Result<u128, Fault> {
    let configuration: Configuration = ciborium::from_reader(&founding[..])
        .map_err(|_| Fault::Invariant("the founding entry is no configuration"))?;
    let mut pairs = Vec::with_capacity(configuration.members.len() * 24);
    for (id, member) in &configuration.members {
        pairs.extend_from_slice(&id.0.to_le_bytes());
        pairs.extend_from_slice(&member.disk.0.to_le_bytes());
    }
    Ok(xxh3_128(&pairs))
}
