//! One replica: what a batch becomes, and each way for a request to end.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::cluster::{Cluster, TIMEOUT, config, once, open, read, reply, write};
use crate::replica::{Config, Event, Outcome, Refused, Request, SessionError};

fn alone(config: fn(u64) -> Config) -> Cluster {
    let mut cluster = Cluster::new(1, config);
    assert_eq!(cluster.elect(), 1);
    cluster
}

#[test]
fn a_write_is_answered_after_its_own_sync_and_not_before() {
    let mut cluster = alone(config);
    let tag = cluster.request(1, write("a"));
    assert_eq!(cluster.end(tag), None);
    cluster.settle();
    assert_eq!(cluster.end(tag), Some(&reply("1")));
    assert_eq!(cluster.replica(1).load(), (0, 0));
}

#[test]
fn all_requests_of_a_batch_share_one_write_to_disk() {
    let mut cluster = alone(config);
    cluster.nodes.get_mut(&1).unwrap().seen.clear();
    let (tags, events): (Vec<_>, Vec<_>) =
        ["a", "b", "c"].map(|c| cluster.event(write(c))).into_iter().unzip();
    cluster.step(1, events);
    assert_eq!(cluster.nodes[&1].seen, ["persist"]);
    cluster.settle();
    assert_eq!(
        tags.iter().map(|&tag| cluster.end(tag).cloned()).collect::<Vec<_>>(),
        [Some(reply("1")), Some(reply("2")), Some(reply("3"))]
    );
}

#[test]
fn a_batch_gives_the_same_replies_as_its_events_one_by_one() {
    let script = || {
        vec![
            open("n"),
            write("a"),
            read(),
            once(3, 1, 0, "b"),
            once(3, 1, 0, "b"),
            read(),
            once(3, 300, 0, "c"),
            Request::CloseSession { session: 3 },
            once(3, 2, 0, "d"),
        ]
    };
    let mut batch = alone(config);
    let events = script().into_iter().map(|request| batch.event(request).1).collect();
    batch.step(1, events);
    batch.settle();
    let mut single = alone(config);
    for request in script() {
        single.request(1, request);
    }
    single.settle();
    assert_eq!(batch.ends, single.ends);
    assert_eq!(batch.ends.len(), 9);
    assert_eq!(batch.replica(1).state(), single.replica(1).state());
}

#[test]
fn the_state_is_seeded_by_the_founding_entry() {
    assert_ne!(alone(config).replica(1).state().seed(), 0);
}

#[test]
fn reads_see_every_write_that_was_answered_before() {
    let mut cluster = alone(config);
    assert_eq!(cluster.ask(1, read()), reply(""));
    cluster.ask(1, write("a"));
    assert_eq!(cluster.ask(1, read()), reply("a,"));
    let local = Request::ReadLocal(Bytes::from_static(b"all"));
    let tag = cluster.request(1, local);
    assert_eq!(cluster.end(tag), Some(&reply("a,")), "from the state as it is, at once");
}

/// A few bytes of queries ask for gigabytes of replies: they are made one step after the other, and their reader can be
/// written to, or closed, in between.
#[test]
fn one_step_makes_no_more_replies_to_reads_than_its_bytes() {
    fn sparing(id: u64) -> Config {
        Config { read_reply_bytes: 8, ..config(id) }
    }
    let mut cluster = alone(sparing);
    cluster.ask(1, write("four"));
    for local in [false, true] {
        let query = Bytes::from_static(b"all");
        let request = || if local { Request::ReadLocal(query.clone()) } else { Request::Read(query.clone()) };
        let (tags, events): (Vec<_>, Vec<_>) = (0..5).map(|_| cluster.event(request())).unzip();
        cluster.step(1, events);
        cluster.settle();
        let answered = |cluster: &Cluster| tags.iter().filter(|tag| cluster.end(**tag).is_some()).count();
        let mut seen = vec![answered(&cluster)];
        while answered(&cluster) < 5 && seen.len() < 9 {
            cluster.step(1, vec![Event::Wake]);
            seen.push(answered(&cluster));
        }
        assert_eq!(seen, [2, 4, 5], "local: {local}");
        assert!(tags.iter().all(|tag| cluster.end(*tag) == Some(&reply("four,"))));
    }
    // It asks for those steps itself.
    let (tags, events): (Vec<_>, Vec<_>) = (0..5).map(|_| cluster.event(read())).unzip();
    cluster.step(1, events);
    cluster.advance(0);
    assert!(tags.iter().all(|tag| cluster.end(*tag).is_some()));
}

#[test]
fn a_write_that_the_disk_never_confirms_is_undetermined_at_its_deadline() {
    let mut cluster = alone(config);
    cluster.nodes.get_mut(&1).unwrap().disk_answers = false;
    let tag = cluster.request(1, write("a"));
    cluster.advance(TIMEOUT - 1);
    assert_eq!(cluster.end(tag), None);
    cluster.advance(2_000);
    assert_eq!(cluster.end(tag), Some(&Outcome::Undetermined));
}

#[test]
fn requests_past_their_deadline_too_long_or_too_many_are_refused() {
    fn small(id: u64) -> Config {
        let mut config = Config { max_pending: 2, ..config(id) };
        config.raft.max_entry_bytes = 40;
        config
    }
    let mut cluster = alone(small);
    let long = Request::Write(Bytes::from(vec![0; 40]));
    assert_eq!(cluster.ask(1, long), Outcome::Refused(Refused::TooLarge));
    assert!(matches!(cluster.ask(1, Request::Write(Bytes::from(vec![0; 39]))), Outcome::Reply(_)));
    let nonce = Request::OpenSession { nonce: Bytes::from(vec![0; 65]) };
    assert_eq!(cluster.ask(1, nonce), Outcome::Refused(Refused::TooLarge));
    let late = Event::Request { tag: 900, client: 1, deadline: cluster.now, request: write("late") };
    cluster.step(1, vec![late]);
    assert_eq!(cluster.end(900), Some(&Outcome::Refused(Refused::TimedOut)));
    let tags = ["a", "b", "c"].map(|c| cluster.request(1, write(c)));
    assert_eq!(cluster.end(tags[2]), Some(&Outcome::Refused(Refused::Busy)));
    cluster.settle();
    assert_eq!(cluster.end(tags[0]), Some(&reply("2")));
    assert_eq!(cluster.end(tags[1]), Some(&reply("3")));
}

#[test]
fn without_room_on_disk_writes_are_refused_and_reads_go_on() {
    let mut cluster = alone(config);
    cluster.ask(1, write("a"));
    cluster.step(1, vec![Event::DiskRoom(false)]);
    assert_eq!(cluster.ask(1, write("b")), Outcome::Refused(Refused::DiskFull));
    assert_eq!(cluster.ask(1, open("n")), Outcome::Refused(Refused::DiskFull));
    assert_eq!(cluster.ask(1, read()), reply("a,"));
    cluster.step(1, vec![Event::DiskRoom(true)]);
    assert_eq!(cluster.ask(1, write("b")), reply("2"));
}

#[test]
fn stopping_answers_what_waits_by_the_truth_and_refuses_what_comes() {
    let mut cluster = alone(config);
    let appended = cluster.request(1, write("a"));
    let (before, first) = cluster.event(write("b"));
    let (after, second) = cluster.event(write("c"));
    cluster.step(1, vec![first, Event::Stop, second]);
    assert_eq!(cluster.end(appended), Some(&Outcome::Undetermined));
    assert_eq!(cluster.end(before), Some(&Outcome::Undetermined));
    assert_eq!(cluster.end(after), Some(&Outcome::Refused(Refused::Stopping)));
    cluster.settle();
    assert_eq!(cluster.ask(1, read()), Outcome::Refused(Refused::Stopping));
    assert_eq!(cluster.end(appended), Some(&Outcome::Undetermined), "and is not answered again");
}

#[test]
fn sessions_open_run_and_close() {
    let mut cluster = alone(config);
    let Outcome::SessionOpened(id) = cluster.ask(1, open("n")) else { panic!("no session") };
    assert_eq!(cluster.ask(1, open("n")), Outcome::SessionOpened(id));
    assert_eq!(cluster.ask(1, once(id, 1, 0, "a")), reply("1"));
    assert_eq!(cluster.ask(1, once(id, 1, 0, "a")), reply("1"));
    assert_eq!(cluster.ask(1, once(id, 2, 2, "b")), reply("2"));
    assert_eq!(cluster.ask(1, once(id, 1, 0, "a")), Outcome::Session(SessionError::Stale));
    assert_eq!(cluster.replica(1).load(), (1, 0));
    assert_eq!(cluster.ask(1, Request::CloseSession { session: id }), Outcome::SessionClosed);
    assert_eq!(cluster.ask(1, once(id, 3, 0, "c")), Outcome::Session(SessionError::Expired));
    assert_eq!(cluster.ask(1, read()), reply("a,b,"));
}

#[test]
fn sessions_expire_by_the_time_of_the_log() {
    let mut cluster = alone(|id| Config { session_ttl_ms: 10_000, ..config(id) });
    let Outcome::SessionOpened(idle) = cluster.ask(1, open("idle")) else { panic!("no session") };
    let Outcome::SessionOpened(used) = cluster.ask(1, open("used")) else { panic!("no session") };
    cluster.advance(8_000_000);
    assert_eq!(cluster.ask(1, once(used, 1, 0, "a")), reply("1"));
    cluster.advance(4_000_000);
    assert_eq!(cluster.ask(1, once(idle, 1, 0, "x")), Outcome::Session(SessionError::Expired));
    assert_eq!(cluster.ask(1, once(used, 1, 0, "a")), reply("1"));
    assert_eq!(cluster.replica(1).load().0, 1);
}

fn eager(id: u64) -> Config {
    Config { snapshot_log_bytes: Some(300), snapshot_growth_percent: 0, ..config(id) }
}

#[test]
fn a_snapshot_taken_while_an_apply_is_handled_shortens_the_log_and_survives_a_restart() {
    let mut cluster = alone(eager);
    let Outcome::SessionOpened(id) = cluster.ask(1, open("n")) else { panic!("no session") };
    for seq in 1..=40 {
        let item = alloc::format!("{seq}");
        assert_eq!(cluster.ask(1, once(id, seq, seq - 1, &item)), reply(&item));
    }
    let saves = cluster.nodes[&1].seen.iter().filter(|&&name| name == "save").count();
    assert!((4..20).contains(&saves), "{saves} snapshots");
    assert!(cluster.entries_on_disk(1) < 15);
    let before = cluster.replica(1).state().clone();
    cluster.kill(1);
    cluster.start(1);
    cluster.elect();
    assert_eq!(cluster.replica(1).state(), &before);
    assert_eq!(cluster.ask(1, once(id, 40, 39, "40")), reply("40"), "the replies are in the snapshot");
    assert_eq!(cluster.ask(1, once(id, 38, 39, "38")), Outcome::Session(SessionError::Stale));
    assert_eq!(cluster.ask(1, open("n")), Outcome::SessionOpened(id));
    assert_eq!(cluster.replica(1).state(), &before);
}

#[test]
fn a_snapshot_that_is_asked_for_is_taken_once() {
    let mut cluster = alone(config);
    cluster.ask(1, write("a"));
    cluster.nodes.get_mut(&1).unwrap().seen.clear();
    cluster.step(1, vec![Event::TakeSnapshot]);
    cluster.step(1, vec![Event::TakeSnapshot]);
    cluster.settle();
    cluster.step(1, vec![Event::TakeSnapshot]);
    let saves = cluster.nodes[&1].seen.iter().filter(|&&name| name == "save").count();
    assert_eq!(saves, 1, "not while one is being saved, and not of what the last one holds");
    cluster.ask(1, write("b"));
    cluster.step(1, vec![Event::SnapshotNotSaved, Event::TakeSnapshot]);
    assert_eq!(cluster.nodes[&1].seen.last(), Some(&"save"));
}

#[test]
fn replies_keep_the_order_of_the_log() {
    let mut cluster = alone(config);
    let (tags, events): (Vec<_>, Vec<_>) =
        (0..500).map(|_| cluster.event(Request::Write(Bytes::from(vec![b'x'; 300])))).unzip();
    cluster.step(1, events);
    cluster.settle();
    for (n, tag) in tags.into_iter().enumerate() {
        let expected: String = alloc::format!("{}", n + 1);
        assert_eq!(cluster.end(tag), Some(&reply(&expected)));
    }
}
