//! What one step does of what there is to do: so much, and the rest later, and in order.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::cluster::{config, read, reply, write};
use super::seams::{NOW, appended, apply, ends, entry, perform, replica, snapshot};
use crate::raft;
use crate::replica::testing::Tape;
use crate::replica::{Action, Actions, Config, Event, Outcome, Refused, Replica, Request, Tag};

/// A replica whose steps do 10 of work.
fn sparing() -> Replica<Tape> {
    replica(Config { step_work: 10, ..config(1) })
}

fn step(replica: &mut Replica<Tape>, events: Vec<Event<Tape>>) -> Vec<Action<Tape>> {
    let mut out = Actions::new();
    replica.step_into(NOW, events, &mut out);
    out.drain().collect()
}

fn asks_for_the_next(actions: &[Action<Tape>]) -> bool {
    actions.iter().any(|action| matches!(action, Action::WakeAt(at) if *at <= NOW.mono))
}

#[test]
fn a_step_applies_what_passes_its_work_and_leaves_the_rest_to_the_next() {
    let mut replica = sparing();
    for (tag, index) in (1..=6).zip(1..) {
        appended(&mut replica, tag, index, 1);
    }
    let run = (1..=5).map(|index| entry(1, index, b"toil 4"));
    let first = ends(perform(&mut replica, apply(run)));
    assert_eq!(first, [(1, reply("1")), (2, reply("2")), (3, reply("3"))]);
    // What is committed next comes after what is left.
    let second = ends(perform(&mut replica, apply([entry(1, 6, b"quick")])));
    assert_eq!((second, replica.state().items().len()), (vec![], 3));
    let actions = step(&mut replica, vec![]);
    assert!(!asks_for_the_next(&actions));
    assert_eq!(ends(actions), [(4, reply("4")), (5, reply("5")), (6, reply("6"))]);
    assert_eq!(replica.state().items().last().map(Vec::as_slice), Some(&b"quick"[..]));
    assert!(ends(step(&mut replica, vec![])).is_empty());
}

#[test]
fn what_is_left_is_gone_on_with_at_once_and_one_costly_command_is_a_step_of_its_own() {
    let mut replica = sparing();
    perform(&mut replica, apply((1..=4).map(|index| entry(1, index, b"toil 1000"))));
    let mut seen = vec![replica.state().items().len()];
    while asks_for_the_next(&step(&mut replica, vec![Event::Wake])) {
        seen.push(replica.state().items().len());
    }
    seen.push(replica.state().items().len());
    assert_eq!(seen, [1, 2, 3, 4]);
}

#[test]
fn a_read_waits_for_what_is_left_and_sees_it() {
    let mut replica = sparing();
    let ask = Event::Request { tag: 1, client: 1, deadline: 9_000_000, request: read() };
    replica.take(ask, &mut Actions::new());
    let Some(raft::Event::Read { read }) = replica.inbox.pop() else { panic!("no round") };
    perform(&mut replica, raft::Action::ReadReady { read, index: 3 });
    let run = (1..=3).map(|index| entry(1, index, b"toil 8"));
    assert!(ends(perform(&mut replica, apply(run))).is_empty());
    assert_eq!(ends(step(&mut replica, vec![])), [(1, reply("toil 8,toil 8,toil 8,"))]);
}

#[test]
fn a_step_answers_queries_as_far_as_its_work_goes_whether_of_a_round_or_local() {
    for local in [false, true] {
        let mut replica = sparing();
        let request = |tag: Tag| {
            let query = b"toil 4"[..].into();
            let request = if local { Request::ReadLocal(query) } else { Request::Read(query) };
            Event::Request { tag, client: 1, deadline: 9_000_000, request }
        };
        let mut out = Actions::new();
        (1..=7).for_each(|tag| replica.take(request(tag), &mut out));
        if let Some(raft::Event::Read { read }) = replica.inbox.pop() {
            replica.perform(raft::Action::ReadReady { read, index: 0 }, &mut out).expect("no fault");
        }
        replica.replies.flush(&mut out);
        let mut seen = vec![ends(out.drain().collect()).len()];
        loop {
            let actions = step(&mut replica, vec![Event::Wake]);
            let is_more = asks_for_the_next(&actions);
            seen.push(ends(actions).len());
            if !is_more {
                break;
            }
        }
        assert_eq!(seen, [3, 3, 1], "local: {local}");
    }
}

#[test]
fn a_snapshot_takes_the_place_of_what_is_left() {
    let mut replica = sparing();
    appended(&mut replica, 1, 3, 1);
    perform(&mut replica, apply((1..=3).map(|index| entry(1, index, b"toil 100"))));
    let (meta, restored) = snapshot();
    replica
        .take(Event::SnapshotInstalled { snapshot: meta.id, restored: restored.into() }, &mut Actions::new());
    replica.inbox.clear();
    let switched = perform(&mut replica, raft::Action::SwitchSnapshot { snapshot: Box::new(meta) });
    assert_eq!(ends(switched), [(1, Outcome::Undetermined)]);
    perform(&mut replica, apply([entry(3, 8, b"next")]));
    assert!(!step(&mut replica, vec![]).iter().any(|action| matches!(action, Action::Halt(_))));
    assert_eq!(replica.state().items(), [b"s".to_vec(), b"next".to_vec()]);
}

#[test]
fn a_node_that_has_fallen_far_behind_does_no_other_work_first() {
    let mut replica: Replica<Tape> = replica(Config { step_work: 10, max_pending: 3, ..config(1) });
    perform(&mut replica, apply((1..=9).map(|index| entry(1, index, b"toil 100"))));
    assert_eq!(replica.state().items().len(), 6, "no more than 3 are left");
    step(&mut replica, vec![]);
    assert_eq!(replica.state().items().len(), 7);
}

/// A node that is started over nine entries of work 100 each, of which it knows so many to be committed.
fn restarted(commit: u64, config: Config) -> Replica<Tape> {
    let recovered = raft::Recovered {
        disk: raft::DiskId(1),
        vote: raft::HardState { term: 1, vote: None },
        snapshot: None,
        entries: (1..=9).map(|index| entry(1, index, b"toil 100")).collect(),
        commit,
        life: 2,
    };
    Replica::new(config, recovered, None, NOW).expect("good settings")
}

#[test]
fn what_was_committed_in_an_earlier_life_is_applied_beside_other_work() {
    // Counterexample: a node that was restarted neither voted nor answered until it had applied all of a long log.
    let mut replica = restarted(9, Config { step_work: 10, max_pending: 3, ..config(1) });
    assert!(asks_for_the_next(&step(&mut replica, vec![])));
    assert_eq!(replica.state().items().len(), 1);
    step(&mut replica, vec![Event::Wake]);
    assert_eq!(replica.state().items().len(), 2);
    // More than that must not be left.
    perform(&mut replica, apply((10..=11).map(|index| entry(1, index, b"toil 100"))));
    assert_eq!(replica.state().items().len(), 4);
}

#[test]
fn a_node_that_starts_takes_no_snapshot_before_it_has_applied_what_its_disk_knows() {
    let mut replica = restarted(7, Config { step_work: 10, snapshot_log_bytes: Some(1), ..config(1) });
    let mut saves = |event| {
        let actions = step(&mut replica, event);
        let saves = actions.iter().any(|action| matches!(action, Action::SaveSnapshot { .. }));
        (replica.state().items().len(), saves)
    };
    assert_eq!(saves(vec![]), (1, false));
    for applied in 2..=6 {
        assert_eq!(saves(vec![Event::Wake]), (applied, false));
    }
    assert_eq!(saves(vec![Event::Wake]), (7, true));
}

#[test]
fn who_has_much_left_takes_no_more() {
    let mut replica: Replica<Tape> = replica(Config { step_work: 10, max_pending: 3, ..config(1) });
    let ask = |tag: Tag| Event::Request { tag, client: 1, deadline: 9_000_000, request: write("w") };
    perform(&mut replica, apply((1..=3).map(|index| entry(1, index, b"toil 100"))));
    perform(&mut replica, apply([entry(1, 4, b"toil 100")]));
    let busy = (7, Outcome::Refused(Refused::Busy));
    assert!(ends(step(&mut replica, vec![ask(7)])).contains(&busy));
    // That step has applied one of them.
    assert!(!ends(step(&mut replica, vec![ask(7)])).contains(&busy));
}

/// What `client` asks, by a query of so much work.
fn ask(tag: Tag, client: u64, local: bool) -> Event<Tape> {
    let query = b"toil 10"[..].into();
    let request = if local { Request::ReadLocal(query) } else { Request::Read(query) };
    Event::Request { tag, client, deadline: 9_000_000, request }
}

fn answered(actions: Vec<Action<Tape>>) -> Vec<Tag> {
    ends(actions).into_iter().map(|(tag, _)| tag).collect()
}

#[test]
fn a_client_with_many_costly_queries_makes_way_for_others_and_each_keeps_its_order() {
    let mut replica = sparing();
    let mut seen = vec![];
    let first = (1..=4).map(|tag| ask(tag, 1, true)).chain((5..=6).map(|tag| ask(tag, 2, true)));
    seen.extend(answered(step(&mut replica, first.collect())));
    seen.extend(answered(step(&mut replica, vec![ask(7, 3, true), ask(8, 1, true)])));
    while seen.len() < 8 {
        seen.extend(answered(step(&mut replica, vec![])));
    }
    assert_eq!(seen, [1, 2, 5, 3, 7, 6, 4, 8], "one a step, and nobody twice while another waits");
}

/// What is asked later would be answered from an older state than what was asked before.
#[test]
fn a_local_read_overtakes_none_that_an_earlier_step_has_left() {
    let mut replica = sparing();
    let first = step(&mut replica, vec![ask(1, 1, true), ask(2, 1, true)]);
    assert_eq!(answered(first), [1]);
    assert_eq!(answered(step(&mut replica, vec![ask(3, 1, true)])), [2]);
    assert_eq!(answered(step(&mut replica, vec![])), [3]);
}
