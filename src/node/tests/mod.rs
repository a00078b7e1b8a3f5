//! Whole nodes in memory: formation, requests, restarts, refusals.

mod chaos;
mod membership;
mod world;

use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;

use self::world::World;
use crate::codec::forward::Forwarded;
use crate::codec::peer::PeerMessage;
use crate::node::{Action, Actions, Event, Fault, Phase};
use crate::raft::{DiskId, LogId, Message, NodeId, Role, SnapshotId, SnapshotProgress};
use crate::replica::{Garbage, Outcome, Refused, Request};
use crate::storage::FileName;

fn reply(text: &str) -> Outcome {
    Outcome::Reply(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn a_cluster_forms_in_every_order_of_starting_and_only_with_everyone() {
    for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        let mut world = World::new(3);
        world.start(order[0]);
        world.run_for(2_000_000);
        world.start(order[1]);
        world.run_for(5_000_000);
        for id in &order[..2] {
            assert_eq!(world.machines[id].phase(), Some(Phase::Forming), "{order:?}");
            assert_eq!(world.node(*id).status().cluster, None);
        }
        world.start(order[2]);
        world.settle();
        let clusters: Vec<_> = (1..=3).map(|id| world.node(id).status().cluster).collect();
        assert!(clusters[0].is_some() && clusters.iter().all(|c| *c == clusters[0]), "{clusters:?}");
        assert!((1..=3).all(|id| world.machines[&id].phase() == Some(Phase::Running)));
    }
}

/// Two of three disks are a majority, but the third has not named itself in writing: it could still forget.
#[test]
pub(super) fn trap_25_nobody_campaigns_before_every_founder_is_formed() {
    let mut world = World::new(3);
    (1..=3).for_each(|id| world.start(id));
    world.run_until(10_000_000, |world| world.machines[&3].phase() == Some(Phase::Forming));
    world.machine(3).jobs_stall = true;
    world.run_for(5_000_000);
    let formed = |world: &World, id| world.node(id).status().cluster.is_some();
    assert!(formed(&world, 1) && formed(&world, 2) && !formed(&world, 3));
    assert!(
        (1..=2).all(|id| world.node(id).term == 0 && world.machines[&id].phase() == Some(Phase::Forming))
    );
    // A restart in between changes nothing.
    world.crash(1);
    world.start(1);
    world.run_for(5_000_000);
    assert!(
        (1..=2).all(|id| world.node(id).term == 0 && world.machines[&id].phase() == Some(Phase::Forming))
    );
    world.machine(3).jobs_stall = false;
    world.settle();
    assert_eq!(world.write_through(1, b"a"), reply("1"));
}

/// Whoever moves a node by changing its settings has to learn why nobody hears it at the new address.
#[test]
fn an_address_that_the_cluster_knows_otherwise_is_named_with_both_words() {
    let mut world = World::running(3);
    world.crash(2);
    world.machine(2).config.founders.insert(NodeId(2), world::addresses(7));
    world.start(2);
    world.settle();
    let notes = world.machine(2).notes.join("\n");
    assert!(notes.contains("the cluster knows node 2 as peer:2/client:2, and that counts"), "{notes}");
    assert!(notes.contains("quorate member move 2=peer:7/client:7"), "{notes}");
    assert!(!notes.contains("the cluster knows node 1"), "{notes}");
}

#[test]
fn row_20_a_single_node_commits_only_after_its_own_sync() {
    let mut world = World::running(1);
    world.machine(1).disk_stalls = true;
    let name = world.write(1, b"a");
    world.run_for(1_000_000);
    assert!(!world.machines[&1].replies.contains_key(&name));
    world.machine(1).disk_stalls = false;
    assert_eq!(world.answer(1, name), reply("1"));
}

#[test]
fn writes_and_reads_at_the_leader_and_through_followers() {
    let mut world = World::running(3);
    let leader = world.leader();
    assert_eq!(world.write_through(leader, b"a"), reply("1"));
    for (n, id) in (1..=3).enumerate() {
        assert_eq!(world.write_through(id, b"b"), reply(&format!("{}", n + 2)));
    }
    for id in 1..=3 {
        assert_eq!(world.query(id, b"all"), reply("a,b,b,b,"));
    }
    let follower = world.follower();
    assert!(world.node(follower).status().counters.forwarded > 0);
    assert_eq!(world.node(follower).status().connected.len(), 3);
}

#[test]
fn followers_answer_reads_themselves_after_a_word_of_the_leader() {
    let mut world = World::running(3);
    let (leader, follower) = (world.leader(), world.follower());
    assert_eq!(world.write_through(leader, b"a"), reply("1"));
    let read = world.ask(follower, Request::Read(Bytes::from_static(b"all")));
    assert_eq!(world.answer(follower, read), reply("a,"));
    assert_eq!(world.node(follower).status().counters.forwarded, 0);
}

#[test]
fn a_read_whose_leader_is_gone_waits_for_the_next_one() {
    let mut world = World::running(3);
    let (leader, follower) = (world.leader(), world.follower());
    assert_eq!(world.write_through(leader, b"a"), reply("1"));
    world.isolate(leader, true);
    let read = world.ask(follower, Request::Read(Bytes::from_static(b"all")));
    assert_eq!(world.answer(follower, read), reply("a,"));
    assert_ne!(world.node(follower).leader, Some(NodeId(leader)));
}

#[test]
fn a_follower_that_does_not_forward_names_the_leader() {
    let mut world = World::new(3);
    (1..=3).for_each(|id| world.machine(id).config.forward = false);
    (1..=3).for_each(|id| world.start(id));
    world.settle();
    let (leader, follower) = (world.leader(), world.follower());
    let refused = Outcome::Refused(Refused::NotLeader(NodeId(leader)));
    assert_eq!(world.write_through(follower, b"a"), refused);
    assert_eq!(world.query(follower, b"all"), refused);
    let local = world.ask(follower, Request::ReadLocal(Bytes::from_static(b"all")));
    assert_eq!(world.answer(follower, local), reply(""));
}

#[test]
fn everything_acknowledged_is_there_after_a_restart_of_all() {
    let mut world = World::running(3);
    let leader = world.leader();
    for n in 1..=20 {
        assert_eq!(world.write_through(leader, b"x"), reply(&format!("{n}")));
    }
    (1..=3).for_each(|id| world.crash(id));
    world.run_for(100_000);
    // Two are enough from now on.
    world.start(1);
    world.start(3);
    world.settle();
    assert_eq!(world.query(1, b"count"), reply("20"));
    world.start(2);
    world.settle();
    assert_eq!(world.write_through(2, b"y"), reply("21"));
}

/// A cluster of three that compacts its log often and sends snapshots in small pieces.
fn compacting() -> World {
    let mut world = World::new(3);
    for id in 1..=3 {
        let config = &mut world.machine(id).config;
        config.snapshot_log_bytes = Some(4 << 10);
        config.raft.trailing_bytes = 0;
        config.raft.snapshot_chunk_bytes = 256;
    }
    (1..=3).for_each(|id| world.start(id));
    world.settle();
    world
}

fn grow(world: &mut World, leader: u64) {
    for _ in 0..200 {
        world.write_through(leader, b"a command of some length, so that the log grows");
    }
    world.run_for(1_000_000);
    assert!(world.node(leader).status().counters.snapshots_saved > 0);
}

/// Such a cluster that has compacted its logs, its leader, and a follower.
fn compacted() -> (World, u64, u64) {
    let mut world = compacting();
    let leader = world.leader();
    grow(&mut world, leader);
    let follower = world.follower();
    assert!(world.node(follower).status().counters.snapshots_saved > 0);
    (world, leader, follower)
}

fn run_until_alike(world: &mut World, a: u64, b: u64) {
    world.run_until(20_000_000, |world| world.node(a).status().digest == world.node(b).status().digest);
}

/// Such a cluster, its leader, and a follower that is off and has missed so much that it needs a snapshot.
fn left_behind() -> (World, u64, u64) {
    let mut world = compacting();
    let away = world.follower();
    world.crash(away);
    world.run_for(1_000_000);
    let leader = world.leader();
    grow(&mut world, leader);
    (world, leader, away)
}

/// The same, the follower just started.
fn catching_up() -> (World, u64, u64) {
    let (mut world, leader, away) = left_behind();
    world.start(away);
    (world, leader, away)
}

#[test]
fn a_follower_that_was_away_is_caught_up_by_a_snapshot() {
    let (mut world, leader, away) = catching_up();
    world.run_until(20_000_000, |world| {
        let status = world.node(away).status();
        status.counters.snapshots_installed > 0 && status.digest == world.node(leader).status().digest
    });
    // And what was installed is what a restart finds.
    world.crash(away);
    world.start(away);
    run_until_alike(&mut world, away, leader);
    let all = world.ask(away, Request::ReadLocal(Bytes::from_static(b"count")));
    assert_eq!(world.answer(away, all), reply("200"));
}

fn count_of(world: &mut World, id: u64, job: &str) -> usize {
    world.machine(id).jobs_done.iter().filter(|name| **name == job).count()
}

#[test]
fn the_state_of_a_snapshot_is_loaded_while_its_pieces_come() {
    for from_the_end in [false, true] {
        let (mut world, leader, away) = catching_up();
        world.machine(away).jobs_from_the_end = from_the_end;
        run_until_alike(&mut world, away, leader);
        let (on, whole) =
            (count_of(&mut world, away, "load on"), count_of(&mut world, away, "install snapshot"));
        assert!(on > 0 && whole == 1, "from the end: {from_the_end}, {on} jobs before, {whole} for the rest");
    }
}

/// Counterexample: a job that had all of the file gave it its own name, though the core might have dropped it meanwhile.
#[test]
fn the_last_of_a_snapshot_is_loaded_by_its_installation() {
    let (mut world, _, away) = catching_up();
    world.run_until(20_000_000, |world| world.machines[&away].jobs_done.contains(&"load on"));
    let node = world.machine(away).node.as_mut().expect("it runs");
    let receiving = node.receiving.as_ref().expect("pieces come");
    let (number, len) = (receiving.number, receiving.snapshot.len);
    let mut out = Actions::new();
    node.chunk_written(number, len, &mut out);
    assert!(out.iter().next().is_none());
}

#[test]
fn what_was_loaded_of_a_file_that_is_begun_anew_counts_for_nothing() {
    let (mut world, leader, away) = catching_up();
    world.run_until(20_000_000, |world| world.machines[&away].jobs_done.contains(&"load on"));
    let node = world.machine(away).node.as_mut().expect("it runs");
    let snapshot = node.receiving.as_ref().expect("pieces come").snapshot.clone();
    let mut out = Actions::new();
    node.write_chunk(snapshot, 0, Bytes::from_static(b"the first piece, once more"), &mut out);
    assert!(matches!(out.iter().next(), Some(Action::Discard(Garbage::Leftovers(_)))));
    let receiving = node.receiving.as_ref().expect("anew");
    assert_eq!((receiving.written, receiving.number), (0, 2));
    // The writing of pieces of the file before says nothing of this one.
    node.chunk_written(1, 2048, &mut Actions::new());
    assert_eq!(node.receiving.as_ref().map(|receiving| receiving.written), Some(0));
    run_until_alike(&mut world, away, leader);
}

/// Counterexample: a piece found no space and the one behind it did. What was loaded of the gap was zeros, and the whole
/// snapshot had to be sent again.
#[test]
fn row_07_a_piece_that_found_no_space_is_no_gap_in_what_is_loaded() {
    let (mut world, leader, away) = catching_up();
    // Five pieces are written and not loaded, and four more wait to be.
    let written =
        |world: &World| world.node(away).receiving.as_ref().map_or(0, |receiving| receiving.written);
    world.run_until(20_000_000, |world| written(world) == 13 * 256);
    world.machine(away).jobs_stall = true;
    world.run_for(1_000);
    world.machine(away).jobs_stall = false;
    world.machine(away).disk.full = true;
    world.run_until(20_000_000, |world| {
        world.machines[&away].notes.iter().any(|note| note.contains("was not written"))
    });
    world.machine(away).disk.full = false;
    run_until_alike(&mut world, away, leader);
    assert!(!world.machines[&away].notes.iter().any(|note| note.contains("was refused")));
    assert_eq!(count_of(&mut world, away, "install snapshot"), 1);
}

/// Rot in the part that is not loaded yet.
#[test]
fn row_14_a_snapshot_that_is_spoiled_while_its_pieces_come_is_refused_and_sent_again() {
    let (mut world, leader, away) = catching_up();
    let is_received = |file: &FileName| matches!(file, FileName::Incoming { .. });
    world.run_until(20_000_000, |world| {
        let machine = &world.machines[&away];
        machine.jobs_done.contains(&"load on") && machine.jobs_done.last() == Some(&"write chunk")
    });
    let files = &mut world.machine(away).disk.files;
    let (_, bytes) = files.iter_mut().find(|(file, _)| is_received(file)).expect("pieces");
    *bytes.last_mut().expect("a byte") ^= 1;
    run_until_alike(&mut world, away, leader);
    assert!(world.machines[&away].notes.iter().any(|note| note.contains("was refused")));
    assert_eq!(count_of(&mut world, away, "install snapshot"), 2);
}

#[test]
fn the_snapshot_of_a_restart_is_loaded_once_whether_before_the_verdict_or_after_it() {
    let (mut world, leader, again) = compacted();
    for from_the_end in [false, true] {
        world.crash(again);
        let machine = world.machine(again);
        machine.jobs_from_the_end = from_the_end;
        world.start(again);
        run_until_alike(&mut world, again, leader);
        let mut done = world.machine(again).jobs_done[..3].to_vec();
        done[..2].sort_unstable();
        assert_eq!(done, ["early load", "recovery", "mending"], "from the end: {from_the_end}");
    }
}

/// A crash between the saving of a snapshot and the switch to it, or rot in the file.
#[test]
fn a_newest_snapshot_that_the_log_does_not_name_delays_a_restart_and_no_more() {
    let (mut world, leader, again) = compacted();
    world.crash(again);
    let files = &mut world.machine(again).disk.files;
    let is_snapshot = |file: &FileName| matches!(file, FileName::Snapshot { .. });
    let (&named, bytes) = files.iter().rfind(|(file, _)| is_snapshot(file)).expect("it was saved");
    let (unnamed, bytes) = (FileName::Snapshot { index: 1 << 40, term: 1 }, bytes.clone());
    files.insert(unnamed, bytes);
    world.start(again);
    run_until_alike(&mut world, again, leader);
    let machine = world.machine(again);
    assert_eq!(machine.jobs_done[..4], ["recovery", "early load", "load snapshot", "mending"]);
    assert!(machine.disk.files.contains_key(&named) && !machine.disk.files.contains_key(&unnamed));
}

#[test]
fn row_07_a_snapshot_that_found_no_space_is_received_when_there_is_room() {
    let (mut world, leader, away) = left_behind();
    world.machine(away).disk.full = true;
    world.start(away);
    world.run_for(5_000_000);
    assert!(world.machines[&away].notes.iter().any(|note| note.contains("was not written")));
    world.machine(away).disk.full = false;
    // Nothing new happens in the cluster that could start the transfer anew.
    run_until_alike(&mut world, away, leader);
}

#[test]
fn row_07_a_follower_whose_disk_is_full_waits_for_room() {
    // Counterexample: followers, whom nobody asks for admission, wrote on until the disk refused, and halted.
    let mut world = World::running(3);
    let (leader, full) = (world.leader(), world.follower());
    world.machine(full).disk.full = true;
    let last = |world: &World, id| world.node(id).status().raft.map_or(0, |raft| raft.last.index);
    for _ in 0..120 {
        let write = world.ask(leader, Request::Write(Bytes::from(alloc::vec![b'x'; 16 << 10])));
        assert!(matches!(world.answer(leader, write), Outcome::Reply(_)), "the others have room");
    }
    world.run_for(2_000_000);
    assert!(world.machines[&full].halted.is_none() && last(&world, full) < last(&world, leader));
    assert_eq!(world.node(full).leader, Some(NodeId(leader)), "and it follows");
    world.machine(full).disk.full = false;
    run_until_alike(&mut world, full, leader);
}

#[test]
fn the_end_of_another_transfer_does_not_let_go_of_the_file_that_is_being_sent() {
    let (mut world, leader, away) = catching_up();
    world.run_until(20_000_000, |world| !world.node(leader).sending.is_empty());
    world.machine(away).jobs_stall = true;
    let sending = world.node(leader).sending.clone();
    let (term, link) = (world.node(leader).term, world.link(leader, away));
    let snapshot = SnapshotId { last: LogId::new(0, 1), checksum: 1 };
    let progress = SnapshotProgress::Installed(1);
    world.inject(leader, link, &PeerMessage::Raft(Message::SnapshotReply { term, snapshot, progress }));
    world.run_for(1_000);
    assert_eq!(world.node(leader).sending, sending);
    world.machine(away).jobs_stall = false;
    run_until_alike(&mut world, away, leader);
    assert!(world.node(leader).sending.is_empty(), "and the end of this one does");
}

/// Counterexample: while the switch to a snapshot is on its way to the disk, what the log before it held is not counted as
/// this log's. A peer that remembers more took the disk for one that was set back.
#[test]
fn row_19_a_node_that_is_switching_to_a_snapshot_is_not_fenced() {
    let mut world = compacting();
    let old = world.leader();
    let behind = world.follower();
    let next = 6 - old - behind;
    let last = |world: &World, id| world.node(id).status().raft.map_or(0, |raft| raft.last.index);
    let commit = |world: &World, id| world.node(id).status().raft.map_or(0, |raft| raft.commit);
    world.run_for(1_000_000);
    // One follower acknowledges an entry and does not learn that it is committed.
    let before = last(&world, behind);
    world.write(old, b"acknowledged");
    world.run_until(1_000_000, |world| last(world, behind) > before);
    world.cut.insert((old, behind));
    let acknowledged = last(&world, behind);
    world.run_until(1_000_000, |world| {
        let status = world.node(old).status();
        status.raft.unwrap().commit >= acknowledged && status.matched[&NodeId(behind)] >= acknowledged
    });
    assert!(commit(&world, behind) < acknowledged);
    grow(&mut world, old);
    // The next leader knows nothing of that, and has to send a snapshot.
    world.isolate(old, true);
    world.run_until(10_000_000, |world| world.node(next).role == Role::Leader);
    world.machine(behind).disk_stalls = true;
    world.run_until(10_000_000, |world| world.node(behind).status().counters.snapshots_installed > 0);
    world.isolate(old, false);
    world.run_for(1_000_000);
    assert_eq!(world.machines[&behind].halted.as_ref().map(|fault| format!("{fault}")), None);
    world.machine(behind).disk_stalls = false;
    run_until_alike(&mut world, behind, next);
}

#[test]
fn row_19_a_wiped_disk_is_refused_with_the_cure_and_cannot_vote_itself_back() {
    let mut world = World::running(3);
    let (leader, wiped) = (world.leader(), world.follower());
    world.write_through(leader, b"a");
    world.crash(wiped);
    world.machine(wiped).disk.files.clear();
    world.machine(wiped).config.fresh_disk = DiskId(77);
    world.start(wiped);
    world.run_until(10_000_000, |world| world.machines[&wiped].halted.is_some());
    let Some(Fault::Fenced(text)) = &world.machines[&wiped].halted else { panic!("it is fenced") };
    assert!(text.starts_with(&format!("node {wiped} is known with disk {:032x}", 1000 + wiped)), "{text}");
    assert!(text.contains("this directory has disk 0000000000000000000000000000004d"), "{text}");
    assert!(text.contains(&format!("remove node {wiped} and add it again with its new disk")), "{text}");
    assert_eq!(world.write_through(leader, b"b"), reply("2"), "the others go on");
}

#[test]
fn row_19_a_directory_that_was_set_back_is_fenced() {
    let mut world = World::running(3);
    let (leader, back) = (world.leader(), world.follower());
    world.write_through(leader, b"a");
    let copy = world.machines[&back].disk.clone();
    for _ in 0..10 {
        world.write_through(leader, b"b");
    }
    world.run_for(2_000_000);
    world.crash(back);
    world.machine(back).disk = copy;
    world.start(back);
    world.run_until(10_000_000, |world| world.machines[&back].halted.is_some());
    let Some(Fault::Fenced(text)) = &world.machines[&back].halted else { panic!("it is fenced") };
    assert!(text.contains("was set back to an earlier state"), "{text}");
}

#[test]
fn row_18_a_directory_of_another_cluster_is_refused_by_name() {
    let mut other = World::new(3);
    (1..=3).for_each(|id| other.machine(id).config.fresh_disk = DiskId(5000 + u128::from(id)));
    (1..=3).for_each(|id| other.start(id));
    other.settle();
    let foreign = other.node(2).status().cluster.expect("it is formed");
    let mut world = World::running(3);
    world.crash(2);
    world.machine(2).disk = other.machines[&2].disk.clone();
    world.start(2);
    world.run_until(10_000_000, |world| world.machines[&2].halted.is_some());
    let Some(Fault::Fenced(text)) = &world.machines[&2].halted else { panic!("it is fenced") };
    assert!(text.contains(&format!("cluster {foreign:032x}")), "{text}");
}

/// A machine of the cluster's former life is switched on again, after its id was given to another one.
#[test]
fn row_18_who_calls_from_another_cluster_under_a_members_id_stops_nobody() {
    let mut world = World::running(2);
    for (id, other) in [(1, 2), (2, 1)] {
        let stranger = world.connect(id);
        world.run_for(1_000);
        let facts = world.node(other).facts().expect("it is formed");
        let facts = crate::codec::peer::Facts { cluster: Some(0xabc), disk: DiskId(9), ..facts };
        world.inject(id, stranger, &PeerMessage::Hello(facts));
        world.run_for(1_000_000);
        assert_eq!(world.machines[&id].halted, None);
        let notes = world.machine(id).notes.join("\n");
        assert!(
            notes.contains(&format!("refused: node {other} belongs to cluster {:032x}", 0xabc)),
            "{notes}"
        );
    }
    let leader = world.leader();
    assert_eq!(world.write_through(leader, b"a"), reply("1"));
}

#[test]
fn a_malformed_frame_closes_its_connection_and_harms_nobody() {
    let mut world = World::running(3);
    let (leader, follower) = (world.leader(), world.follower());
    let stranger = world.connect(leader);
    world.run_for(1_000);
    world.tell(leader, Event::LinkFrame { link: stranger, frame: Bytes::from_static(b"\xff nonsense") });
    let link = world.link(leader, follower);
    world.tell(leader, Event::LinkFrame { link, frame: Bytes::from_static(b"\x83\x01\x18") });
    world.run_for(1_000);
    let status = world.node(leader).status();
    assert_eq!(status.counters.malformed_frames, 2);
    assert!(!status.connected.contains(&NodeId(follower)));
    world.settle();
    let leader = world.leader();
    assert_eq!(world.write_through(leader, b"a"), reply("1"));
    world.run_until(5_000_000, |world| world.node(leader).status().connected.len() == 3);
}

#[test]
fn nothing_is_heard_before_the_handshake() {
    let mut world = World::running(3);
    let leader = world.leader();
    let term = world.node(leader).term;
    let stranger = world.connect(leader);
    world.run_for(1_000);
    let vote = crate::raft::Message::Vote {
        term: term + 9,
        last: crate::raft::LogId::new(term + 9, 1000),
        transfer: false,
    };
    world.inject(leader, stranger, &PeerMessage::Raft(vote));
    world.run_for(10_000);
    assert_eq!(world.node(leader).status().counters.malformed_frames, 1);
    assert_eq!(world.node(leader).term, term);
}

#[test]
fn a_lost_link_makes_a_forwarded_write_undetermined_and_a_read_is_asked_again() {
    let mut world = World::running(3);
    let (leader, follower) = (world.leader(), world.follower());
    // The leader's disk does not answer, so that the write stays under way.
    world.machine(leader).disk_stalls = true;
    (1..=3).filter(|id| *id != leader).for_each(|id| world.machine(id).disk_stalls = true);
    let write = world.write(follower, b"a");
    world.run_for(100);
    world.cut.insert((leader, follower));
    let read = world.ask_in(follower, 2, 0, Request::Read(Bytes::from_static(b"count")));
    world.run_for(100);
    assert!(world.machines[&follower].replies.is_empty());
    world.cut.clear();
    world.break_links(follower, leader);
    assert_eq!(world.answer(follower, write), Outcome::Undetermined);
    (1..=3).for_each(|id| world.machine(id).disk_stalls = false);
    // The write was at the leader already: the read that is asked again sees it, once.
    assert_eq!(world.answer(follower, read), reply("1"));
    assert_eq!(world.node(follower).status().counters.undetermined, 1);
}

#[test]
fn what_was_sent_to_a_former_leader_is_given_up_and_never_sent_again() {
    let mut world = World::running(3);
    let (leader, follower) = (world.leader(), world.follower());
    world.machine(leader).disk_stalls = true;
    let other = (1..=3).find(|id| *id != leader && *id != follower).expect("three");
    world.machine(other).disk_stalls = true;
    let write = world.write(follower, b"a");
    world.run_for(100);
    world.machine(other).disk_stalls = false;
    world.isolate(leader, true);
    assert_eq!(world.answer(follower, write), Outcome::Undetermined);
    world.machine(leader).disk_stalls = false;
    world.run_until(20_000_000, |world| {
        let now = |id: u64| world.node(id).leader;
        now(follower).is_some_and(|l| l != NodeId(leader)) && now(follower) == now(other)
    });
    world.isolate(leader, false);
    world.settle();
    let Outcome::Reply(count) = world.query(follower, b"count") else { panic!("a read is answered") };
    assert!(count == "0" || count == "1", "at most once: {count:?}");
}

#[test]
fn requests_wait_for_an_election_and_are_refused_after_it_takes_too_long() {
    let mut world = World::running(3);
    let (leader, follower) = (world.leader(), world.follower());
    world.crash(leader);
    // The follower does not know yet: the link is gone, so the request waits, and the next leader takes it.
    let held = world.write(follower, b"a");
    assert_eq!(world.answer(follower, held), reply("1"));
    let other = (1..=3).find(|id| *id != leader && *id != follower).expect("three");
    world.crash(other);
    world.run_for(1_000_000);
    let start = world.now;
    let first = world.ask_in(follower, 5, 0, Request::Write(Bytes::from_static(b"b")));
    assert_eq!(world.answer(follower, first), Outcome::Refused(Refused::NoLeader));
    assert!(world.now - start <= 4 * 300_000 + 1000, "{}", world.now - start);
    // The epoch rule: the rest of the pipeline is refused at once, the next epoch waits anew.
    let rest = world.ask_in(follower, 5, 0, Request::Write(Bytes::from_static(b"c")));
    world.round();
    assert_eq!(world.machines[&follower].replies[&rest], [Outcome::Refused(Refused::AfterRefusal)]);
    let next = world.ask_in(follower, 5, 1, Request::Write(Bytes::from_static(b"d")));
    world.round();
    assert!(!world.machines[&follower].replies.contains_key(&next));
}

#[test]
fn after_a_refused_write_the_rest_of_its_pipeline_is_refused_here_and_at_the_leader() {
    let mut world = World::new(3);
    for id in 1..=3 {
        world.machine(id).config.raft.max_uncommitted_bytes = 4 << 10;
    }
    (1..=3).for_each(|id| world.start(id));
    world.settle();
    let (leader, follower) = (world.leader(), world.follower());
    for id in [leader, follower] {
        // Two large ones do not fit together; the small one behind them would.
        let large = || Request::Write(Bytes::from(alloc::vec![b'x'; 3 << 10]));
        let first = world.ask_in(id, 7, 0, large());
        let second = world.ask_in(id, 7, 0, large());
        let third = world.ask_in(id, 7, 0, Request::Write(Bytes::from_static(b"small")));
        let other = world.ask_in(id, 8, 0, Request::Write(Bytes::from_static(b"other")));
        assert!(matches!(world.answer(id, first), Outcome::Reply(_)));
        assert_eq!(world.answer(id, second), Outcome::Refused(Refused::Busy));
        assert_eq!(world.answer(id, third), Outcome::Refused(Refused::AfterRefusal));
        assert!(matches!(world.answer(id, other), Outcome::Reply(_)), "another stream goes on");
    }
}

#[test]
fn row_04_a_failed_sync_halts_and_acknowledges_nothing() {
    let mut world = World::running(1);
    world.machine(1).disk_stalls = true;
    let name = world.write(1, b"a");
    world.run_for(1_000);
    let error = crate::storage::DiskError::Io(None, 5);
    world.tell(1, Event::DiskDone { batch: u64::MAX, result: Err(error.clone()) });
    world.run_for(1_000);
    assert_eq!(world.machines[&1].halted, Some(Fault::Disk(error)));
    assert_eq!(world.machines[&1].replies[&name], [Outcome::Undetermined]);
    let late = world.write(1, b"b");
    assert_eq!(world.answer(1, late), Outcome::Refused(Refused::Stopping));
    assert_eq!(world.node(1).status().phase, Phase::Halted);
}

#[test]
fn a_stop_answers_what_waits_and_then_says_so() {
    let mut world = World::running(3);
    let leader = world.leader();
    (1..=3).for_each(|id| world.machine(id).disk_stalls = true);
    let name = world.write(leader, b"a");
    world.run_for(1_000);
    world.tell(leader, Event::Stop);
    let late = world.write(leader, b"b");
    world.run_for(1_000);
    assert!(!world.machines[&leader].replies.contains_key(&name), "it may still come to a better end");
    world.run_for(600_000);
    assert_eq!(world.machines[&leader].replies[&name], [Outcome::Undetermined]);
    assert_eq!(world.machines[&leader].replies[&late], [Outcome::Refused(Refused::Stopping)]);
    assert!(!world.machines[&leader].stopped, "the log lane is busy");
    world.machine(leader).disk_stalls = false;
    world.run_for(1_000);
    assert!(world.machines[&leader].stopped);
}

#[test]
fn one_batch_of_requests_is_one_write_to_the_log() {
    let mut world = World::running(3);
    let leader = world.leader();
    let before = world.node(leader).status().counters;
    let names: Vec<_> = (0..50).map(|_| world.write(leader, b"a")).collect();
    names.into_iter().for_each(|name| drop(world.answer(leader, name)));
    let after = world.node(leader).status().counters;
    assert_eq!(after.log_batches - before.log_batches, 1);
    assert_eq!(after.log_entries - before.log_entries, 50);
    let frames = after.frames_out - before.frames_out;
    assert!(frames <= 6, "{frames} frames: an append and a commit for each of two peers, and a heartbeat");
}

#[test]
fn row_21_a_state_that_differs_from_the_majority_halts_its_node() {
    let mut world = World::running(3);
    let (leader, odd) = (world.leader(), world.follower());
    world.write_through(leader, b"a");
    world.run_for(3_000_000);
    assert!(world.machines.values().all(|m| m.halted.is_none()), "equal states are equal");
    world.write_through(leader, b"b");
    world.run_for(10_000);
    let index = world.node(leader).member.as_ref().expect("it runs").replica.context().index;
    for peer in (1..=3).filter(|id| *id != odd) {
        let link = world.link(odd, peer);
        world.inject(odd, link, &PeerMessage::Digest { index, digest: 99 });
    }
    world.run_for(1_000);
    assert_eq!(world.machines[&odd].halted, Some(Fault::Diverged { index }));
}

#[test]
fn a_forward_of_another_term_is_refused() {
    let mut world = World::running(3);
    let (leader, follower) = (world.leader(), world.follower());
    let (term, link) = (world.node(leader).term, world.link(leader, follower));
    let request = Request::Write(Bytes::from_static(b"late"));
    let late = Forwarded { id: 1, connection: 1, epoch: 0, budget: 1_000_000, request };
    world.inject(leader, link, &PeerMessage::Forward { term: term - 1, requests: alloc::vec![late.clone()] });
    world.run_for(200_000);
    assert_eq!(world.query(leader, b"count"), reply("0"));
    world.inject(leader, link, &PeerMessage::Forward { term, requests: alloc::vec![late] });
    world.run_for(200_000);
    assert_eq!(world.query(leader, b"count"), reply("1"));
}

#[test]
fn a_connection_with_a_write_under_way_waits_before_it_goes_to_another_leader() {
    let mut world = World::running(3);
    let leader = world.leader();
    // The first write is in the log of a leader that cannot replicate it any more.
    world.isolate(leader, true);
    let first = world.ask_in(leader, 9, 0, Request::Write(Bytes::from_static(b"first")));
    world.run_until(10_000_000, |world| {
        (1..=3).any(|id| id != leader && world.node(id).leader == Some(NodeId(id)))
    });
    world.isolate(leader, false);
    world.run_until(10_000_000, |world| world.node(leader).leader.is_some_and(|now| now != NodeId(leader)));
    let second = world.ask_in(leader, 9, 0, Request::Write(Bytes::from_static(b"second")));
    let other = world.ask_in(leader, 10, 0, Request::Write(Bytes::from_static(b"other")));
    assert!(matches!(world.answer(leader, other), Outcome::Reply(_)), "another connection does not wait");
    let outcomes = [world.answer(leader, first), world.answer(leader, second)];
    // The first was overwritten: certainly not done, and so the second is not done either.
    assert!(matches!(outcomes[0], Outcome::Refused(_)), "{outcomes:?}");
    assert_eq!(outcomes[1], Outcome::Refused(Refused::AfterRefusal));
    assert_eq!(world.query(leader, b"all"), reply("other,"));
}

#[test]
fn a_stranger_is_turned_away_and_stays_unformed() {
    let mut world = World::running(3);
    let mut config = world::config(4, 3);
    config.founders.remove(&NodeId(4));
    world.add(4, config);
    world.start(4);
    world.run_for(5_000_000);
    assert_eq!(world.machines[&4].phase(), Some(Phase::Forming));
    assert!(world.machines[&4].notes.iter().any(|note| note.contains("is not a member")));
    assert!(world.machines[&4].notes.len() < 10, "it is not said again and again");
    let leader = world.leader();
    assert_eq!(world.write_through(leader, b"a"), reply("1"));
}

#[test]
fn a_leader_remembers_a_refusal_until_the_next_epoch_of_the_stream() {
    let mut world = World::new(3);
    (1..=3).for_each(|id| world.machine(id).config.raft.max_entry_bytes = 4 << 10);
    (1..=3).for_each(|id| world.start(id));
    world.settle();
    let (leader, follower) = (world.leader(), world.follower());
    let (term, link) = (world.node(leader).term, world.link(leader, follower));
    let mut forward = |id, epoch, len| {
        let request = Request::Write(Bytes::from(alloc::vec![b'x'; len]));
        let one = Forwarded { id, connection: 1, epoch, budget: 1_000_000, request };
        world.inject(leader, link, &PeerMessage::Forward { term, requests: alloc::vec![one] });
        world.run_for(100_000);
        world.query(leader, b"count")
    };
    assert_eq!(forward(1, 0, 8 << 10), reply("0"), "too large");
    assert_eq!(forward(2, 0, 10), reply("0"), "after a refusal");
    assert_eq!(forward(3, 1, 10), reply("1"), "another epoch");
}

#[test]
fn one_member_that_may_be_behind_cannot_fence_a_node() {
    let mut world = World::running(3);
    let (leader, wiped) = (world.leader(), world.follower());
    let other = (1..=3).find(|id| *id != leader && *id != wiped).expect("three");
    world.crash(other);
    world.crash(wiped);
    world.machine(wiped).disk.files.clear();
    world.machine(wiped).config.fresh_disk = DiskId(77);
    world.start(wiped);
    world.run_for(5_000_000);
    assert!(world.machines[&wiped].notes.iter().any(|note| note.contains("is known with disk")));
    assert_eq!(world.machines[&wiped].halted, None);
    assert_eq!(world.machines[&wiped].phase(), Some(Phase::Forming));
    world.start(other);
    world.run_until(10_000_000, |world| world.machines[&wiped].halted.is_some());
}

#[test]
fn what_is_due_is_done_though_nobody_writes() {
    let mut world = World::running(3);
    let leader = world.leader();
    let at = 1_700_000_000_000 + world.now / 1000 + 500;
    assert_eq!(world.write_through(leader, format!("alarm {at}").leak().as_bytes()), reply("1"));
    world.run_for(400_000);
    let items = |world: &World| world.node(leader).replica().expect("it runs").state().items().len();
    assert_eq!(items(&world), 1);
    world.run_for(200_000);
    assert_eq!(items(&world), 2);
}
