//! A log applied without a core, for whoever reads a disk whose node does not run.

use alloc::vec::Vec;

use super::StateMachine;
use super::apply::Machine;
use super::snapshot::{ReplicaView, Restored};
use crate::raft::{ConfigError, Entries, Fault, LogId, SnapshotMeta, Stamp};

/// A replicated machine, sessions and clocks included, that follows a log and answers nobody.
///
/// It knows nothing of commitment: it applies what it is given, so what it is given decides what the state is worth.
#[derive(Debug)]
pub struct Replay<S: StateMachine> {
    machine: Machine<S>,
    /// Replies that nobody waits for.
    replies: Vec<u8>,
}

impl<S: StateMachine> Replay<S> {
    /// From what is before the log: `restored` is the state of `snapshot`, if there is one.
    ///
    /// # Errors
    ///
    /// A `restored` that is not the state of `snapshot`.
    pub fn new(snapshot: Option<&SnapshotMeta>, restored: Option<Restored<S>>) -> Result<Self, ConfigError> {
        Ok(Self { machine: Machine::recovered(snapshot, restored)?, replies: Vec::new() })
    }

    /// Applies entries, which follow those before.
    ///
    /// # Errors
    ///
    /// They do not follow, or the founding entry is none.
    pub fn apply(&mut self, entries: &Entries) -> Result<(), Fault> {
        for entry in entries.iter() {
            self.machine.apply(entry, &mut self.replies)?;
            self.replies.clear();
            // Nobody waits: what is left behind is dropped here.
            drop(self.machine.state.take_garbage());
        }
        Ok(())
    }

    /// The last entry that was applied.
    pub fn applied(&self) -> LogId {
        self.machine.applied
    }

    /// The log's clocks there.
    pub fn stamp(&self) -> Stamp {
        self.machine.stamp
    }

    /// The state machine.
    pub fn state(&self) -> &S {
        &self.machine.state
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.machine.sessions.len()
    }

    /// A picture of all of it, as a snapshot holds it.
    pub fn view(&self) -> ReplicaView<S> {
        self.machine.view()
    }
}

#[cfg(test)]
mod tests {
    use super::super::envelope::Envelope;
    use super::super::session::Limits;
    use super::super::testing::Tape;
    use super::super::{ReplicaRestorer, Restorer, View};
    use super::*;
    use crate::raft::{Configuration, Entry, EntryKind, SnapshotId};
    use bytes::BytesMut;

    const LIMITS: Limits = Limits { window: 16, reply_bytes: 1 << 10, ttl_ms: 1000 };

    fn entries(first: u64, script: &[Envelope<'_>]) -> Entries {
        let entry = |(envelope, index): (&Envelope<'_>, u64)| Entry {
            id: LogId::new(1, index),
            kind: EntryKind::Command,
            stamp: Stamp { unix_ms: index, cluster_ms: index },
            data: envelope.encode(&mut BytesMut::new()),
        };
        script.iter().zip(first..).map(entry).collect()
    }

    fn restored(replay: &Replay<Tape>) -> Restored<Tape> {
        let (mut view, mut bytes, mut restorer) = (replay.view(), Vec::new(), ReplicaRestorer::new());
        while view.read(1 << 10, &mut bytes) {}
        restorer.push(&bytes).expect("it was written so");
        restorer.finish().expect("it is whole")
    }

    fn meta(last: LogId) -> SnapshotMeta {
        let (stamp, configuration) = (Stamp::default(), Configuration::default());
        SnapshotMeta { id: SnapshotId { last, checksum: 0 }, len: 0, stamp, configuration }
    }

    #[test]
    fn a_state_that_is_not_its_snapshots_is_refused() {
        let mut replay = Replay::<Tape>::new(None, None).expect("there is no snapshot");
        replay.apply(&entries(1, &[Envelope::Write(b"x"), Envelope::Write(b"y")])).expect("no gap");
        let begin = |meta: Option<LogId>, state: bool| {
            let meta = meta.map(self::meta);
            Replay::new(meta.as_ref(), state.then(|| restored(&replay))).is_ok()
        };
        assert!(begin(Some(LogId::new(1, 2)), true));
        for last in [LogId::new(1, 1), LogId::new(1, 3), LogId::new(2, 2)] {
            assert!(!begin(Some(last), true), "{last:?}");
        }
        assert!(!begin(Some(LogId::new(1, 2)), false) && !begin(None, true));
    }

    #[test]
    fn a_replayed_log_is_the_state_of_a_replica_and_its_sessions_go_on() {
        let open = Envelope::OpenSession { max_sessions: 9, limits: LIMITS, nonce: b"" };
        let once = |seq| Envelope::Once { session: 1, seq, ack: 0, command: b"x" };
        let mut replay = Replay::<Tape>::new(None, None).expect("there is no snapshot");
        replay.apply(&entries(1, &[open, once(1), once(1), Envelope::Write(b"y")])).expect("no gap");
        assert_eq!(replay.state().items(), [b"x", b"y"], "a command that came twice ran once");
        assert_eq!((replay.applied(), replay.sessions()), (LogId::new(1, 4), 1));

        let mut again =
            Replay::new(Some(&meta(replay.applied())), Some(restored(&replay))).expect("its own snapshot");
        again.apply(&entries(5, &[once(1), once(2)])).expect("no gap");
        assert_eq!(again.state().items(), [b"x", b"y", b"x"], "the retry is known after the snapshot, too");
        assert_eq!((again.applied().index, again.stamp().unix_ms), (6, 6));
        assert!(again.apply(&entries(8, &[open])).is_err(), "a gap");
    }
}
