//! The lab's tests that are no rows of the generic one.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::history::Clerk;
use crate::report::{Report, Turn, say};
use crate::service::Service;
use crate::support::PATIENCE;

/// At the seeds' three operations in a heartbeat interval of 100 ms, 1,000 operations take no longer.
const SPEED_BOUND: Duration = Duration::from_millis(33_333);

/// What the lab allows a snapshot of one small key and one clerk to take.
const SNAPSHOT_BOUND: u64 = 500;

/// One clerk appends a thousand times, one after the other.
pub(crate) fn speed(title: &str, max_state: Option<u64>) {
    let _turn = Turn::wait();
    let mut service = Service::start(3, max_state, 1);
    let report = Report::begin(title, &service);
    let mut clerk = service.clerk(0);
    clerk.get("x");
    let began = Instant::now();
    let mut expected = String::new();
    for n in 0..1000 {
        let value = format!("x 0 {n} y");
        clerk.append("x", &value);
        expected += &value;
    }
    let took = began.elapsed();
    assert_eq!(clerk.get("x"), expected, "each append once and in order");
    assert!(took <= SPEED_BOUND, "1000 appends took {took:?}");
    service.check_sizes(max_state);
    service.book.check();
    say(&format!("{title}: {:.2} ms an append", took.as_secs_f64()));
    report.passed(&service);
}

/// Five clerks append to one key at the same time.
pub(crate) fn unreliable_one_key(title: &str) {
    const CLERKS: u64 = 5;
    const APPENDS: u64 = 10;
    let _turn = Turn::wait();
    let mut service = Service::start(3, None, 2);
    let report = Report::begin(title, &service);
    service.network.set_unreliable(true);
    let mut reader = service.clerk(CLERKS);
    reader.put("k", "");
    let clerks: Vec<_> = (0..CLERKS)
        .map(|number| {
            let mut clerk = service.clerk(number);
            thread::spawn(move || {
                for n in 0..APPENDS {
                    clerk.append("k", &format!("x {number} {n} y"));
                }
            })
        })
        .collect();
    clerks.into_iter().for_each(|clerk| clerk.join().unwrap());
    let found = reader.get("k");
    for number in 0..CLERKS {
        let places: Vec<_> = (0..APPENDS)
            .map(|n| {
                let value = format!("x {number} {n} y");
                let places: Vec<_> = found.match_indices(&value).map(|(place, _)| place).collect();
                assert_eq!(places.len(), 1, "'{value}' is not once in {found}");
                places[0]
            })
            .collect();
        assert!(places.is_sorted(), "clerk {number}'s appends are out of order: {found}");
    }
    service.book.check();
    report.passed(&service);
}

/// A leader that is cut off in a minority; three of the lab's tests over one cluster.
pub(crate) fn one_partition(titles: [&str; 3]) {
    let _turn = Turn::wait();
    let mut service = Service::start(5, None, 3);
    let report = Report::begin(titles[0], &service);
    let servers = service.ids();
    service.clerk(0).put("1", "13");
    let leader = service.leader();
    let mut others = servers.iter().copied().filter(|id| *id != leader);
    let minority = [leader, others.next().expect("five servers")];
    let majority: Vec<_> = others.collect();
    service.network.partition(&majority, &minority);
    let mut clerk = limited(&mut service, 1, &majority);
    clerk.put("1", "14");
    assert_eq!(clerk.get("1"), "14");
    report.passed(&service);

    let report = Report::begin(titles[1], &service);
    let (put_done, put) = channel();
    let (get_done, get) = channel();
    let mut putting = limited(&mut service, 2, &minority);
    let mut getting = limited(&mut service, 3, &minority);
    thread::spawn(move || {
        putting.put("1", "15");
        put_done.send(())
    });
    thread::spawn(move || get_done.send(getting.get("1")));
    let pause = service.pace.pause();
    assert_eq!(put.recv_timeout(pause), Err(RecvTimeoutError::Timeout), "a minority has written");
    assert!(get.try_recv().is_err(), "a minority has read");
    assert_eq!(clerk.get("1"), "14");
    clerk.put("1", "16");
    assert_eq!(clerk.get("1"), "16");
    assert!(put.try_recv().is_err() && get.try_recv().is_err(), "a minority has answered");
    report.passed(&service);

    let report = Report::begin(titles[2], &service);
    service.network.heal();
    put.recv_timeout(PATIENCE).expect("the write ends after the healing");
    get.recv_timeout(PATIENCE).expect("the read ends after the healing");
    assert_eq!(clerk.get("1"), "15");
    service.book.check();
    report.passed(&service);
}

/// A server that was cut off while the others let go of their logs.
pub(crate) fn snapshot_rpc(title: &str, max_state: u64) {
    let _turn = Turn::wait();
    let mut service = Service::start(3, Some(max_state), 4);
    let report = Report::begin(title, &service);
    let mut clerk = service.clerk(0);
    clerk.put("a", "A");
    assert_eq!(clerk.get("a"), "A");

    service.network.partition(&[1, 2], &[3]);
    let mut clerk = limited(&mut service, 1, &[1, 2]);
    for n in 0..50 {
        clerk.put(&n.to_string(), &n.to_string());
    }
    thread::sleep(service.pace.pause());
    clerk.put("b", "B");
    service.check_sizes(Some(max_state));
    let last = service.info(3).and_then(|info| info.number("last_index")).expect("server 3 runs");
    for id in [1, 2] {
        service.wait_for("a log without what server 3 lacks", || {
            service.info(id)?.number("first_index").filter(|first| *first > last + 1)
        });
    }

    service.network.partition(&[1, 3], &[2]);
    let mut clerk = limited(&mut service, 2, &[1, 3]);
    clerk.put("c", "C");
    clerk.put("d", "D");
    for (key, value) in [("a", "A"), ("b", "B"), ("1", "1"), ("49", "49")] {
        assert_eq!(clerk.get(key), value);
    }
    let installed = service.info(3).and_then(|info| info.number("snapshots_installed"));
    assert!(installed >= Some(1), "server 3 caught up without a snapshot");

    service.network.heal();
    let mut clerk = service.clerk(3);
    clerk.put("e", "E");
    for (key, value) in [("c", "C"), ("e", "E"), ("1", "1")] {
        assert_eq!(clerk.get(key), value);
    }
    service.book.check();
    report.passed(&service);
}

/// Many writes of one small key leave a small snapshot: a clerk's memory is per clerk, not per request.
pub(crate) fn snapshot_size(title: &str, max_state: u64) {
    let _turn = Turn::wait();
    let mut service = Service::start(3, Some(max_state), 5);
    let report = Report::begin(title, &service);
    let mut clerk = service.clerk(0);
    for _ in 0..200 {
        for value in ["0", "1"] {
            clerk.put("x", value);
            assert_eq!(clerk.get("x"), value);
        }
    }
    service.check_sizes(Some(max_state));
    for id in service.ids() {
        let snapshot = service.snapshot(id).expect("400 writes are worth a snapshot");
        say(&format!("{title}: server {id}: {snapshot:?}"));
        assert!(snapshot.state <= SNAPSHOT_BOUND, "server {id}: {snapshot:?}");
    }
    service.book.check();
    report.passed(&service);
}

/// A clerk that reaches only some servers, until the network is healed.
fn limited(service: &mut Service, number: u64, reach: &[u64]) -> Clerk {
    service.network.limit(number, reach, &service.ids());
    service.clerk(number)
}
