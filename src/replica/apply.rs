//! The replicated machine: the user's state and the sessions, as a function of the log.

use alloc::vec::Vec;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::envelope::Envelope;
use super::session::{Admission, Sessions};
use super::snapshot::{ReplicaView, Restored};
use super::{Context, Outcome, StateMachine};
use crate::raft::{
    ConfigError, Configuration, Entry, EntryKind, Fault, LogId, LogIndex, SnapshotMeta, Stamp,
};
use crate::time::Millis;

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

    /// The machine with which a disk's log begins: `restored` is the state of `snapshot`, if there is one.
    pub(super) fn recovered(
        snapshot: Option<&SnapshotMeta>,
        restored: Option<Restored<S>>,
    ) -> Result<Self, ConfigError> {
        match (snapshot, restored) {
            (None, None) => Ok(Self::empty()),
            (Some(snapshot), Some(restored)) if restored.applied == snapshot.id.last => {
                Ok(Self::restored(restored))
            }
            _ => Err(ConfigError("the restored state must be that of the recovered snapshot")),
        }
    }

    /// The machine that a snapshot holds.
    pub(super) fn restored(restored: Restored<S>) -> Self {
        let Restored { mut state, sessions, applied, stamp } = restored;
        // It learns what time it is; what is due is done at the next entry, as on the other nodes.
        state.expire(Context::at(applied.index, stamp.unix_ms), 0);
        Self { state, sessions, applied, stamp }
    }

    /// What [`restored`](Self::restored) takes.
    pub(super) fn into_restored(self) -> Restored<S> {
        let Self { state, sessions, applied, stamp } = self;
        Restored { state, sessions, applied, stamp }
    }

    /// About how many nanoseconds it would take to apply `entry`.
    pub(super) fn work(&self, entry: &Entry) -> u64 {
        let envelope = match entry.kind {
            EntryKind::Command => Envelope::decode(&entry.data),
            EntryKind::NoOp | EntryKind::Configuration => None,
        };
        match envelope {
            Some(Envelope::Write(command) | Envelope::Once { command, .. }) => self.state.work(command),
            Some(Envelope::Tick) => EXPIRED_BY_TICK as u64 * WORK_OF_EXPIRY,
            _ => 0,
        }
    }

    /// Tells the state machine of the commands of the next entries.
    pub(super) fn prefetch<'a>(&self, entries: impl Iterator<Item = &'a Entry>) {
        let commands = entries.filter(|entry| entry.kind == EntryKind::Command);
        self.state.prefetch(commands.filter_map(|entry| match Envelope::decode(&entry.data) {
            Some(Envelope::Write(command) | Envelope::Once { command, .. }) => Some(command),
            _ => None,
        }));
    }

    /// Applies the next entry and appends the reply to `out`.
    pub(super) fn apply(&mut self, entry: &Entry, out: &mut Vec<u8>) -> Result<Effect, Fault> {
        if self.applied.index.checked_add(1) != Some(entry.id.index) {
            return Err(Fault::Invariant("the entries to apply have a gap"));
        }
        self.applied = entry.id;
        self.stamp = entry.stamp;
        self.sessions.expire(entry.stamp.cluster_ms);
        let envelope = match entry.kind {
            EntryKind::Command => Envelope::decode(&entry.data),
            EntryKind::NoOp | EntryKind::Configuration => None,
        };
        let most = if envelope == Some(Envelope::Tick) { EXPIRED_BY_TICK } else { EXPIRED_BY_ENTRY };
        self.state.expire(self.context(), most);
        match entry.kind {
            EntryKind::NoOp => Ok(Effect::Nothing),
            EntryKind::Configuration => {
                if entry.id.index == FOUNDING_INDEX {
                    self.state = S::empty(seed(&entry.data)?);
                }
                Ok(Effect::Outcome(Outcome::Reconfigured(entry.id.index)))
            }
            EntryKind::Command => Ok(envelope.map_or(Effect::Nothing, |envelope| self.run(envelope, out))),
        }
    }

    /// Answers a query from the state as it is. `wall` is this node's clock.
    pub(super) fn query(&self, query: &[u8], wall: Millis, out: &mut Vec<u8>) {
        let context = self.context();
        self.state.query(Context { now_ms: wall.max(context.unix_ms), ..context }, query, out);
    }

    /// A picture of all of it.
    pub(super) fn view(&self) -> ReplicaView<S> {
        let mut sessions = self.sessions.picture();
        if planted!("snapshot-without-sessions") {
            sessions.clear();
        }
        ReplicaView::new(self.applied, self.stamp, sessions, self.state.view())
    }

    /// Where the last applied entry is.
    pub(super) fn context(&self) -> Context {
        Context::at(self.applied.index, self.stamp.unix_ms)
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
            Envelope::Tick => Effect::Nothing,
        }
    }
}

/// What is due is done in pieces: so many before a client's command, which should not wait for them, and so many when the
/// entry was appended for nothing else. What a node does at an entry must be the same on all, so these are no settings.
pub(crate) const EXPIRED_BY_ENTRY: usize = 8;
const EXPIRED_BY_TICK: usize = 1024;

/// About how many nanoseconds one of these pieces takes.
const WORK_OF_EXPIRY: u64 = 1_000;

/// The index of the entry that forms a cluster.
const FOUNDING_INDEX: LogIndex = 1;

/// The seed of a cluster's state machines: a hash of its founders' names and disks, whose names are random.
fn seed(founding: &Bytes) -> Result<u128, Fault> {
    let configuration = Configuration::from_cbor(founding)
        .map_err(|_| Fault::Invariant("the founding entry is no configuration"))?;
    let mut pairs = Vec::with_capacity(configuration.members.len() * 24);
    for (id, member) in &configuration.members {
        pairs.extend_from_slice(&id.0.to_le_bytes());
        pairs.extend_from_slice(&member.disk.0.to_le_bytes());
    }
    Ok(xxh3_128(&pairs))
}

#[cfg(test)]
mod tests {
    use super::super::session::Limits;
    use super::super::testing::Tape;
    use super::super::{SessionError, SessionId};
    use super::*;
    use crate::raft::{DiskId, Member, NodeId};
    use crate::rng::Rng;
    use alloc::collections::BTreeMap;
    use alloc::string::String;
    use bytes::BytesMut;

    const LIMITS: Limits = Limits { window: 256, reply_bytes: 1 << 20, ttl_ms: 1000 };

    struct Log {
        machine: Machine<Tape>,
        cluster_ms: u64,
    }

    impl Log {
        fn new() -> Self {
            Self { machine: Machine::empty(), cluster_ms: 0 }
        }

        fn push(&mut self, kind: EntryKind, data: Bytes) -> (Effect, Vec<u8>) {
            let id = LogId::new(1, self.machine.applied.index + 1);
            let stamp = Stamp { unix_ms: 7, cluster_ms: self.cluster_ms };
            let mut out = b"before".to_vec();
            let effect = self.machine.apply(&Entry { id, kind, stamp, data }, &mut out);
            assert!(out.starts_with(b"before"));
            (effect.expect("no gap"), out.split_off(6))
        }

        fn run(&mut self, envelope: Envelope<'_>) -> (Effect, Vec<u8>) {
            self.push(EntryKind::Command, envelope.encode(&mut BytesMut::new()))
        }

        fn once(&mut self, session: SessionId, seq: u64, command: &[u8]) -> (Effect, Vec<u8>) {
            self.run(Envelope::Once { session, seq, ack: 0, command })
        }
    }

    fn founding(disk: u128) -> Bytes {
        let member = |n| Member {
            disk: DiskId(disk + n),
            peer_address: String::from("p"),
            client_address: String::from("c"),
        };
        let members: BTreeMap<_, _> = (1..=3).map(|n| (NodeId(n), member(u128::from(n)))).collect();
        Configuration::of_voters(members).to_cbor()
    }

    #[test]
    fn the_founding_entry_seeds_the_state_and_no_later_configuration_does() {
        let mut a = Log::new();
        a.push(EntryKind::Configuration, founding(40));
        let seed = a.machine.state.seed();
        a.push(EntryKind::Configuration, founding(50));
        assert_eq!(a.machine.state.seed(), seed);
        let mut b = Log::new();
        b.push(EntryKind::Configuration, founding(50));
        assert_ne!(b.machine.state.seed(), seed);
        assert_ne!(seed, 0);
    }

    #[test]
    fn a_founding_entry_that_is_none_is_a_fault_and_no_panic() {
        let mut machine = Machine::<Tape>::empty();
        let entry = Entry {
            id: LogId::new(0, 1),
            kind: EntryKind::Configuration,
            stamp: Stamp::default(),
            data: Bytes::from_static(b"\xff"),
        };
        assert!(machine.apply(&entry, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_gap_is_a_fault() {
        let mut machine = Machine::<Tape>::empty();
        let id = LogId::new(1, 2);
        let entry = Entry { id, kind: EntryKind::NoOp, stamp: Stamp::default(), data: Bytes::new() };
        assert!(machine.apply(&entry, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_command_of_a_session_runs_once() {
        let mut log = Log::new();
        let open = Envelope::OpenSession { max_sessions: 5, limits: LIMITS, nonce: b"n" };
        assert_eq!(log.run(open).0, Effect::Outcome(Outcome::SessionOpened(1)));
        assert_eq!(log.once(1, 1, b"a"), (Effect::Written, b"1".to_vec()));
        assert_eq!(log.run(Envelope::Write(b"b")), (Effect::Written, b"2".to_vec()));
        let again = Effect::Outcome(Outcome::Reply(Bytes::from_static(b"1")));
        assert_eq!(log.once(1, 1, b"a"), (again, Vec::new()));
        assert_eq!(log.machine.state.items(), [b"a", b"b"]);
        log.cluster_ms = 1_001;
        let expired = Effect::Outcome(Outcome::Session(SessionError::Expired));
        assert_eq!(log.once(1, 1, b"a").0, expired);
        assert_eq!(log.machine.state.items(), [b"a", b"b"]);
    }

    #[test]
    fn time_that_passes_in_entries_of_any_kind_expires_sessions() {
        let mut log = Log::new();
        let open = Envelope::OpenSession { max_sessions: 5, limits: LIMITS, nonce: b"" };
        log.run(open);
        log.cluster_ms = 1_001;
        assert_eq!(log.push(EntryKind::NoOp, Bytes::new()), (Effect::Nothing, Vec::new()));
        assert_eq!(log.machine.sessions.len(), 0);
        assert_eq!(log.run(Envelope::CloseSession { session: 1 }).0, Effect::Outcome(Outcome::SessionClosed));
    }

    #[test]
    fn malformed_entries_do_nothing_on_every_node() {
        let mut rng = Rng::new(5);
        let (mut a, mut b) = (Log::new(), Log::new());
        for _ in 0..5_000 {
            let len = rng.below(60) as usize;
            let data: Vec<u8> = (0..len).map(|_| rng.below(8) as u8).collect();
            let (x, y) = (Bytes::from(data.clone()), Bytes::from(data));
            let effect = a.push(EntryKind::Command, x.clone());
            assert_eq!(effect, b.push(EntryKind::Command, y));
            if Envelope::decode(&x).is_none() {
                assert_eq!(effect, (Effect::Nothing, Vec::new()));
            }
        }
        assert_eq!(a.machine.state, b.machine.state);
        assert_eq!(a.machine.sessions, b.machine.sessions);
    }
}
