//! The seam to the core, by actions that a test makes up: what a well-behaved core seldom or never does to a leader alone.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::any::Any;

use bytes::{Bytes, BytesMut};

use super::cluster::{config, read, reply, write};
use crate::raft::{
    self, Configuration, DiskId, Entries, Entry, EntryKind, Fault, LogId, Member, NodeId, Recovered, Refusal,
    SnapshotId, SnapshotMeta, Stamp,
};
use crate::replica::apply::Machine;
use crate::replica::envelope::Envelope;
use crate::replica::testing::Tape;
use crate::replica::{
    Action, Actions, Config, Context, Event, Garbage, Outcome, Refused, Replica, ReplicaRestorer,
    RestoreError, Restorer, StateMachine, Tag, View, Whole,
};
use crate::time::Now;

pub(super) const NOW: Now = Now::new(1_000, 1);

pub(super) fn replica<S: StateMachine>(config: Config) -> Replica<S> {
    let recovered = Recovered {
        disk: raft::DiskId(1),
        vote: raft::HardState::default(),
        snapshot: None,
        entries: Entries::empty(),
        commit: 0,
        life: 1,
    };
    Replica::new(config, recovered, None, NOW).expect("good settings")
}

pub(super) fn entry(term: u64, index: u64, command: &[u8]) -> Entry {
    let data = Envelope::Write(command).encode(&mut BytesMut::new());
    Entry { id: LogId::new(term, index), kind: EntryKind::Command, stamp: Stamp::default(), data }
}

pub(super) fn apply(entries: impl IntoIterator<Item = Entry>) -> raft::Action {
    raft::Action::Apply(entries.into_iter().collect())
}

/// A write that is appended at (`index`, `term`).
pub(super) fn appended(replica: &mut Replica<Tape>, tag: Tag, index: u64, term: u64) {
    let event = Event::Request { tag, client: 1, deadline: 9_000_000, request: write("w") };
    replica.take(event, &mut Actions::new());
    let Some(raft::Event::Propose { proposal, .. }) = replica.inbox.pop() else { panic!("no proposal") };
    perform(replica, raft::Action::Proposed { proposal, index, term });
}

pub(super) fn perform(replica: &mut Replica<Tape>, action: raft::Action) -> Vec<Action<Tape>> {
    let mut out = Actions::new();
    replica.perform(action, &mut out).expect("no fault");
    replica.replies.flush(&mut out);
    out.drain().collect()
}

pub(super) fn ends(actions: Vec<Action<Tape>>) -> Vec<(Tag, Outcome)> {
    let end = |action| match action {
        Action::Reply { tag, outcome } => Some((tag, outcome)),
        _ => None,
    };
    actions.into_iter().filter_map(end).collect()
}

/// A snapshot of a tape with one item, at (3, 7).
pub(super) fn snapshot() -> (SnapshotMeta, crate::replica::Restored<Tape>) {
    let last = LogId::new(3, 7);
    let mut machine = Machine::<Tape>::empty();
    machine.applied = LogId::new(3, 6);
    machine.apply(&entry(3, 7, b"s"), &mut Vec::new()).expect("no gap");
    let (mut view, mut bytes) = (machine.view(), Vec::new());
    while view.read(100, &mut bytes) {}
    let mut restorer = ReplicaRestorer::new();
    restorer.push(&bytes).expect("own snapshot");
    let member = Member { disk: DiskId(1), peer_address: "p".into(), client_address: "c".into() };
    let meta = SnapshotMeta {
        id: SnapshotId { last, checksum: 5 },
        len: 1_000,
        stamp: Stamp::default(),
        configuration: Configuration::of_voters([(NodeId(1), member)].into()),
    };
    (meta, restorer.finish().expect("own snapshot"))
}

#[test]
fn entries_that_nobody_waits_for_leave_no_reply_behind() {
    let mut replica = replica::<Tape>(config(1));
    assert!(perform(&mut replica, apply([entry(1, 1, b"a"), entry(1, 2, b"b")])).is_empty());
    assert_eq!(replica.replies.mark(), 0);
    assert_eq!(replica.state().items().len(), 2);
}

#[test]
fn a_read_waits_until_its_index_is_applied() {
    let mut replica = replica::<Tape>(config(1));
    let event = Event::Request { tag: 1, client: 1, deadline: 9_000_000, request: read() };
    replica.take(event, &mut Actions::new());
    let Some(raft::Event::Read { read }) = replica.inbox.pop() else { panic!("no round") };
    assert!(perform(&mut replica, raft::Action::ReadReady { read, index: 2 }).is_empty());
    assert!(perform(&mut replica, apply([entry(1, 1, b"a")])).is_empty());
    let answered = ends(perform(&mut replica, apply([entry(1, 2, b"b"), entry(1, 3, b"c")])));
    assert_eq!(answered, [(1, reply("a,b,c,"))]);
}

#[test]
fn linearizable_batch_reads_between_the_same_events_share_a_round() {
    let mut replica = replica::<Tape>(config(1));
    let ask = |replica: &mut Replica<Tape>, tag| {
        let event = Event::Request { tag, client: 1, deadline: 9_000_000, request: read() };
        replica.take(event, &mut Actions::new());
    };
    ask(&mut replica, 1);
    replica.take(
        Event::Request { tag: 2, client: 1, deadline: 9_000_000, request: write("w") },
        &mut Actions::new(),
    );
    ask(&mut replica, 3);
    // What comes after may commit an entry that the first two must not see by chance alone.
    replica.take(Event::Persisted { id: 1 }, &mut Actions::new());
    ask(&mut replica, 4);
    ask(&mut replica, 5);
    let rounds = replica.inbox.iter().filter(|event| matches!(event, raft::Event::Read { .. })).count();
    assert_eq!((rounds, replica.inbox.len()), (2, 4));
}

#[test]
fn a_round_does_not_outlive_its_batch() {
    let mut replica = replica::<Tape>(config(1));
    for tag in 1..=2 {
        let event = Event::Request { tag, client: 1, deadline: 9_000_000, request: read() };
        replica.step_into(NOW, [event], &mut Actions::new());
        assert_eq!(replica.round, None);
    }
}

#[test]
fn a_switch_replaces_all_and_leaves_the_writes_that_it_passes_unknown() {
    let mut config = config(1);
    config.snapshot_log_bytes = Some(60);
    config.snapshot_growth_percent = 0;
    let mut replica = replica::<Tape>(config);
    perform(&mut replica, apply([entry(1, 1, b"old"), entry(1, 2, b"old")]));
    assert!(replica.policy.is_due());
    appended(&mut replica, 1, 7, 1);
    appended(&mut replica, 2, 8, 1);
    let (meta, restored) = snapshot();
    let mut out = Actions::new();
    replica.take(Event::SnapshotInstalled { snapshot: meta.id, restored: restored.into() }, &mut out);
    assert!(out.is_empty());
    let actions = perform(&mut replica, raft::Action::SwitchSnapshot { snapshot: Box::new(meta) });
    assert!(matches!(&actions[0], Action::Discard(Garbage::State(old)) if old.state.items().len() == 2));
    assert_eq!(ends(actions), [(1, Outcome::Undetermined)]);
    assert!(!replica.policy.is_due(), "the log starts anew");
    assert_eq!((replica.state().items(), replica.context().index), (&[b"s".to_vec()][..], 7));
    assert!(replica.aside.is_empty());
    let replaced = ends(perform(&mut replica, apply([entry(3, 8, b"other")])));
    assert_eq!(replaced, [(2, Outcome::Refused(Refused::NoLeader))]);
}

#[test]
fn a_snapshot_that_is_not_what_its_name_says_or_is_dropped_is_discarded_elsewhere() {
    let mut replica = replica::<Tape>(config(1));
    let (meta, restored) = snapshot();
    let misnamed = SnapshotId { last: LogId::new(3, 8), ..meta.id };
    let mut out = Actions::new();
    replica.take(Event::SnapshotInstalled { snapshot: misnamed, restored: restored.into() }, &mut out);
    assert!(matches!(out.drain().next(), Some(Action::Discard(_))));
    assert!(
        matches!(replica.inbox.pop(), Some(raft::Event::SnapshotFailed { snapshot }) if snapshot == misnamed)
    );
    replica.take(Event::SnapshotInstalled { snapshot: meta.id, restored: snapshot().1.into() }, &mut out);
    let actions = perform(&mut replica, raft::Action::DropSnapshot { snapshot: meta.id });
    assert!(matches!(&actions[..], [Action::Discard(_), Action::DropSnapshot { .. }]));
    assert!(replica.aside.is_empty());
}

#[test]
fn a_fault_halts_and_answers_all_that_wait_by_the_truth() {
    let mut replica = replica::<Tape>(config(1));
    appended(&mut replica, 1, 1, 1);
    let event = Event::Request { tag: 2, client: 1, deadline: 9_000_000, request: read() };
    replica.take(event, &mut Actions::new());
    replica.inbox.clear();
    // The core never asked for this snapshot to be loaded; to switch to it is a defect.
    let (meta, _) = snapshot();
    let outbox = replica.outbox.get_or_insert_default();
    outbox.push(raft::Action::SwitchSnapshot { snapshot: Box::new(meta) });
    outbox.push(apply([entry(1, 1, b"not after a fault")]));
    let mut out = Actions::new();
    replica.step_into(NOW, [], &mut out);
    let actions: Vec<_> = out.drain().collect();
    assert!(matches!(actions.last(), Some(Action::Halt(Fault::Invariant(_)))));
    let expected = [(1, Outcome::Undetermined), (2, Outcome::Refused(Refused::Stopping))];
    assert_eq!(ends(actions), expected);
    assert!(replica.state().items().is_empty());
    let event = Event::Request { tag: 3, client: 1, deadline: 9_000_000, request: write("w") };
    replica.step_into(NOW, [event, Event::Wake], &mut out);
    assert_eq!(ends(out.drain().collect()), [(3, Outcome::Refused(Refused::Stopping))]);
}

#[test]
fn each_refusal_of_the_core_has_a_client_s_term() {
    let mut replica = replica::<Tape>(config(1));
    let cases = [
        (Refusal::NotLeader(Some(NodeId(2))), Refused::NotLeader(NodeId(2))),
        (Refusal::NotLeader(Some(NodeId(1))), Refused::NoLeader),
        (Refusal::NotLeader(None), Refused::NoLeader),
        (Refusal::UncommittedFull, Refused::Busy),
        (Refusal::ReadsFull, Refused::Busy),
        (Refusal::TooLarge, Refused::TooLarge),
        (Refusal::Halted, Refused::Stopping),
    ];
    for (tag, (reason, expected)) in (1..).zip(cases) {
        let event = Event::Request { tag, client: 1, deadline: 9_000_000, request: write("w") };
        replica.take(event, &mut Actions::new());
        let Some(raft::Event::Propose { proposal, .. }) = replica.inbox.pop() else { panic!("no proposal") };
        let actions = perform(&mut replica, raft::Action::ProposalRefused { proposal, reason });
        assert_eq!(ends(actions), [(tag, Outcome::Refused(expected))]);
    }
    assert_eq!(replica.load(), (0, 0));
}

#[test]
fn the_earlier_of_the_core_s_and_the_requests_wake_up_times_is_asked_for_when_it_changes() {
    let mut replica = replica::<Tape>(config(1));
    let wake = |replica: &mut Replica<Tape>, woken| {
        let mut out = Actions::new();
        replica.ask_for_wake(Now::default(), woken, &mut out);
        out.drain().map(|action| if let Action::WakeAt(at) = action { at } else { 0 }).collect::<Vec<_>>()
    };
    perform(&mut replica, raft::Action::WakeAt(50_000));
    assert_eq!(wake(&mut replica, false), [50_000]);
    assert_eq!(wake(&mut replica, false), []);
    let event = Event::Request { tag: 1, client: 1, deadline: 40_000, request: read() };
    replica.take(event, &mut Actions::new());
    assert_eq!(wake(&mut replica, false), [40_000]);
    perform(&mut replica, raft::Action::WakeAt(30_000));
    assert_eq!(wake(&mut replica, false), [30_000]);
    assert_eq!(wake(&mut replica, true), [30_000], "a timer that has fired is set again");
}

#[test]
fn a_restored_state_must_be_that_of_the_recovered_snapshot() {
    let (meta, restored) = snapshot();
    let recovered = |snapshot| Recovered {
        disk: raft::DiskId(1),
        life: 1,
        vote: raft::HardState { term: 3, vote: None },
        snapshot,
        entries: Entries::empty(),
        commit: 0,
    };
    let start =
        |snapshot, restored| Replica::<Tape>::new(config(1), recovered(snapshot), restored, NOW).is_ok();
    assert!(!start(Some(meta.clone()), None));
    assert!(!start(None, Some(snapshot().1)));
    let mut other = meta.clone();
    other.id.last.index = 9;
    assert!(!start(Some(other), Some(snapshot().1)));
    assert!(start(Some(meta), Some(restored)));
}

#[test]
fn trap_16_a_configuration_that_is_in_force_or_rolled_back_is_reported_once() {
    let mut replica = replica::<Tape>(config(1));
    let changes = |replica: &mut Replica<Tape>| {
        let mut out = Actions::new();
        replica.step_into(NOW, [], &mut out);
        out.drain().filter(|action| matches!(action, Action::ConfigurationChanged)).count()
    };
    assert_eq!(changes(&mut replica), 0);
    // As if another one had been in force until the log was cut.
    replica.configuration_changes += 1;
    assert_eq!(changes(&mut replica), 1);
    assert_eq!(changes(&mut replica), 0);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refused = |change: fn(&mut Config)| {
        let mut config = config(1);
        change(&mut config);
        config.validate().is_err()
    };
    assert!(!refused(|_| {}));
    assert!(refused(|c| c.session_window = 0));
    assert!(refused(|c| c.session_reply_bytes = 0));
    assert!(refused(|c| c.read_reply_bytes = 0));
    assert!(refused(|c| c.step_work = 0));
    assert!(refused(|c| c.session_reply_bytes = (1 << 30) + 1));
    assert!(refused(|c| c.max_pending = 0));
}

#[test]
fn a_command_without_reply_bytes_is_still_answered() {
    let mut replica = replica::<Tape>(config(1));
    appended(&mut replica, 1, 1, 1);
    let malformed = Entry { data: Bytes::from_static(&[0xff]), ..entry(1, 1, b"") };
    let actions = perform(&mut replica, apply(vec![malformed]));
    assert_eq!(ends(actions), [(1, Outcome::Undetermined)]);
}

/// Holds the last command, and sheds the one before.
#[derive(Debug, Default)]
struct Shedder {
    held: Vec<u8>,
    shed: Vec<Vec<u8>>,
}

impl TryFrom<Vec<u8>> for Shedder {
    type Error = RestoreError;

    fn try_from(held: Vec<u8>) -> Result<Self, RestoreError> {
        Ok(Self { held, shed: Vec::new() })
    }
}

impl StateMachine for Shedder {
    type View = Vec<u8>;
    type Restorer = Whole<Self>;

    fn empty(_: u128) -> Self {
        Self::default()
    }

    fn apply(&mut self, _: Context, command: &[u8], _: &mut Vec<u8>) {
        self.shed.push(core::mem::replace(&mut self.held, command.to_vec()));
    }

    fn query(&self, _: Context, _: &[u8], _: &mut Vec<u8>) {}

    fn view(&self) -> Vec<u8> {
        self.held.clone()
    }

    fn restorer() -> Whole<Self> {
        Whole::default()
    }

    fn digest(&self) -> u128 {
        0
    }

    fn take_garbage(&mut self) -> Option<Box<dyn Any + Send>> {
        if self.shed.is_empty() { None } else { Some(Box::new(core::mem::take(&mut self.shed))) }
    }
}

#[test]
fn what_commands_leave_behind_is_discarded_once_after_the_step() {
    let mut replica = replica::<Shedder>(config(1));
    let mut out = Actions::new();
    replica.perform(apply([entry(1, 1, b"a"), entry(1, 2, b"b")]), &mut out).expect("no fault");
    assert!(!out.drain().any(|action| matches!(action, Action::Discard(_))), "not between two commands");
    let discarded = |replica: &mut Replica<Shedder>| {
        let mut out = Actions::new();
        replica.step_into(NOW, [], &mut out);
        let shed = out.drain().filter_map(|action| match action {
            Action::Discard(Garbage::Leftovers(shed)) => shed.downcast::<Vec<Vec<u8>>>().ok(),
            _ => None,
        });
        shed.map(|shed| *shed).collect::<Vec<_>>()
    };
    assert_eq!(discarded(&mut replica), [[b"".to_vec(), b"a".to_vec()]]);
    assert!(discarded(&mut replica).is_empty());
}
