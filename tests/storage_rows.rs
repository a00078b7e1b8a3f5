//! Every row of the STORAGE table as a scenario: what goes wrong with a disk, and what the node, its cluster and its clients
//! see of it. `src/docs/storage_rows.md` is the table; rows that a simulated disk cannot reach name their tests there.
//!
//! A failure names its seed. To run that one alone, with the last lines of what happened:
//!
//! ```text
//! QUORATE_SEED=17 cargo test --test storage_rows <name of the test> -- --nocapture
//! ```

mod support;

use std::cell::Cell;
use std::collections::BTreeSet;

use bytes::Bytes;
use quorate::node::{Fault, Phase};
use quorate::raft::NodeId;
use quorate::replica::{Context, Outcome, Request, RestoreError, Restorer, StateMachine, View};
use quorate::rng::Rng;
use quorate::sim::{
    Answer, Checked, Cluster, Crash, Disk, DiskFault, DiskWeather, Expectation, OpKind, Settings,
};
use quorate::storage::survey::raise_version;
use quorate::storage::{DiskOp, FileName};
use support::{Appender, SECOND, Sim, ask, check_end, formed, read, total, value, with_seeds, work, write};

/// A cluster of three in which halts are part of the scenario.
fn tolerant(seed: u64) -> Settings {
    let mut settings = Settings::new(seed, 3);
    settings.tolerated = |fault| !matches!(fault, Fault::Raft(_) | Fault::Diverged { .. });
    settings
}

/// Segments and snapshots so small that a second of writing goes through several of them.
fn tiny(mut settings: Settings) -> Settings {
    settings.node.segment_bytes = 8 << 10;
    settings.node.snapshot_log_bytes = Some(12 << 10);
    settings.node.raft.trailing_bytes = 1 << 10;
    settings
}

/// The node that has the bad luck this time.
fn chosen(sim: &Sim, seed: u64) -> NodeId {
    sim.nodes()[(seed % 3) as usize]
}

/// Two are enough to keep the disks busy.
fn appenders(seed: u64) -> Vec<Appender> {
    (0..2).map(|number| Appender::new(seed, number)).collect()
}

fn contents(disk: &Disk) -> Vec<(FileName, Vec<u8>)> {
    let bytes = |file| disk.read(file).map(<[u8]>::to_vec).unwrap_or_default();
    disk.list().into_iter().map(|(file, _)| (file, bytes(file))).collect()
}

/// Puts a file's bytes on a disk, synced, whatever was there.
fn replace(disk: &mut Disk, file: FileName, bytes: Vec<u8>) {
    let data = [Bytes::from(bytes)].into_iter().collect();
    for op in [
        DiskOp::Create { file },
        DiskOp::WriteAt { file, offset: 0, data },
        DiskOp::Sync { file },
        DiskOp::SyncDirectory,
    ] {
        disk.perform(&op, &mut Rng::new(0)).expect("a disk in order");
    }
}

/// Starts a node whose disk is at fault: it does what it must, a refusal leaves its directory as it is, and the others go on
/// and have lost nothing.
fn start_expecting(
    sim: &mut Sim,
    node: NodeId,
    clients: &mut [Appender],
    expected: &Expectation,
) -> Checked<()> {
    let before = contents(&sim.machine(node).disk);
    sim.start(node)?;
    outlive(sim, node, clients)?;
    expected.met_by(sim.fault(node)).unwrap_or_else(|what| panic!("{what}"));
    if matches!(expected, Expectation::Refuses { exit_code: 2, .. }) {
        assert!(before == contents(&sim.machine(node).disk), "a refusal changes the directory");
    }
    nothing_is_lost(sim, clients)
}

/// Lets the clients work until it is seen what a node does that was just started, and that writes are acknowledged again.
fn outlive(sim: &mut Sim, node: NodeId, clients: &mut [Appender]) -> Checked<()> {
    let (done, end) = (total(clients), sim.now() + 3 * SECOND);
    work(sim, clients, SECOND / 5)?;
    while total(clients) == done || (sim.fault(node).is_none() && !follows(sim, node)) {
        assert!(sim.now() < end, "no writes, or a node that neither halts nor follows");
        work(sim, clients, SECOND / 20)?;
    }
    Ok(())
}

fn follows(sim: &Sim, node: NodeId) -> bool {
    sim.status(node).and_then(|status| status.raft).is_some_and(|raft| raft.leader.is_some())
}

fn nothing_is_lost(sim: &mut Sim, clients: &[Appender]) -> Checked<()> {
    for client in clients {
        let reply = ask(sim, &read(&[b"GET", client.key.as_bytes()]))?;
        client.check(value(&reply));
    }
    Ok(())
}

/// Lets a fault strike the disk of a stopped node after some work, and starts it.
fn struck_while_down(seed: u64, slot: &mut Option<Sim>, settings: Settings, fault: DiskFault) -> Checked<()> {
    let sim = formed(settings, slot)?;
    let mut clients = appenders(seed);
    let mut rng = Rng::stream(seed, 50);
    let node = chosen(sim, seed);
    let expected = loop {
        sim.start(node)?;
        work(sim, &mut clients, SECOND / 3)?;
        sim.crash(node, if seed.is_multiple_of(2) { Crash::Process } else { Crash::Power });
        if let Some(expected) = sim.machine(node).disk.strike(fault, &mut rng) {
            break expected;
        }
    };
    start_expecting(sim, node, &mut clients, &expected)?;
    if expected == Expectation::Survives { check_end(sim, &mut clients) } else { Ok(()) }
}

/// The power fails while clients write. A slow disk has more that is not synced then.
fn lose_power(sim: &mut Sim, node: NodeId, clients: &mut [Appender]) -> Checked<()> {
    hang(sim, node, 20);
    work(sim, clients, SECOND / 10)?;
    sim.crash(node, Crash::Power);
    hang(sim, node, 1);
    Ok(())
}

#[test]
fn row_01_a_torn_tail_is_cut_kept_aside_and_reported() {
    let cuts = Cell::new(0);
    with_seeds(1000..1004, |seed, slot| {
        let sim = formed(Settings::new(seed, 3), slot)?;
        let mut clients = appenders(seed);
        for round in 0..12 {
            let node = chosen(sim, round);
            lose_power(sim, node, &mut clients)?;
            sim.start(node)?;
            work(sim, &mut clients, SECOND / 10)?;
            let machine = sim.machine(node);
            let reported = machine.notes.iter().filter(|note| note.contains("cut at offset")).count();
            let kept = machine.disk.list().iter().filter(|f| matches!(f.0, FileName::Cut { .. })).count();
            assert!(kept >= reported.min(1), "{reported} cuts, {kept} kept: {:?}", machine.notes);
            cuts.set(cuts.get() + usize::from(reported > 0));
        }
        check_end(sim, &mut clients)
    });
    assert!(cuts.get() > 0, "no tail was torn");
}

#[test]
fn row_02_rot_in_the_log_is_refused() {
    with_seeds(580..584, |seed, slot| struck_while_down(seed, slot, tolerant(seed), DiskFault::RottenRecord));
}

#[test]
fn row_02_a_rotten_segment_header_is_refused() {
    let fault = DiskFault::RottenSegmentHeader;
    with_seeds(1020..1023, |seed, slot| struck_while_down(seed, slot, tiny(tolerant(seed)), fault));
}

/// One write per group of requests; and after a quiet second the last record with entries is proven, too.
#[test]
fn row_03_a_group_is_one_record_and_a_quiet_tail_is_marked() {
    with_seeds(1030..1033, |seed, slot| {
        let sim = formed(tolerant(seed), slot)?;
        let node = sim.settle(10 * SECOND)?.expect("a leader");
        let requests: Vec<_> = (0..100)
            .map(|n| sim.request(node, Request::Write(write(&[b"SET", b"k", format!("{n}").as_bytes()]))))
            .collect();
        for request in requests {
            assert!(matches!(sim.answer(request)?, Answer::Outcome(Outcome::Reply(_))));
        }
        let counters = sim.status(node).expect("runs").counters;
        assert!(counters.log_batches * 3 < counters.log_entries, "{counters:?}");
        sim.run_for(3 * SECOND)?;
        sim.crash(node, Crash::Power);
        let disk = &mut sim.machine(node).disk;
        let records = disk.survey().expect("a member's").records;
        let [.., last, mark] = &records[..] else { panic!("{records:?}") };
        assert!(last.proven && !mark.proven, "only the mark proves nothing about itself");
        assert_eq!(mark.part.len, 128, "the mark holds no entries");
        disk.rot(last.part.file, last.part.offset + 130, 1);
        sim.start(node)?;
        sim.run_for(SECOND)?;
        assert_eq!(sim.fault(node).map(Fault::exit_code), Some(2));
        Ok(())
    });
}

/// A failed sync halts the node with an exit code of its own; the others go on, and nothing acknowledged is lost.
#[test]
fn row_04_a_failed_sync_halts_the_node() {
    with_seeds(540..546, |seed, slot| {
        let sim = formed(tolerant(seed), slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 5)?;
        let node = chosen(sim, seed);
        sim.machine(node).disk.fail_after(OpKind::Sync, seed % 7);
        work(sim, &mut clients, 2 * SECOND)?;
        DiskFault::FailedSync.expected().met_by(sim.fault(node)).unwrap_or_else(|what| panic!("{what}"));
        check_end(sim, &mut clients)
    });
}

/// After a failed sync the cache may hold what the disk does not, and take it for clean. The next life reads it, and must
/// not rest on it: the power fails as soon as it has acknowledged anything.
#[test]
fn row_05_what_was_only_in_the_cache_is_written_again() {
    let only_cached = Cell::new(0);
    with_seeds(1050..1058, |seed, slot| {
        let sim = formed(tolerant(seed), slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 5)?;
        let node = chosen(sim, seed);
        sim.machine(node).disk.fail_after(OpKind::Sync, seed % 7);
        sim.run_until(2 * SECOND, |sim| {
            clients.iter_mut().for_each(|client| client.step(sim));
            sim.fault(node).is_some()
        })?;
        let disk = &sim.machine(node).disk;
        only_cached
            .set(only_cached.get() + usize::from(contents(disk) != contents(&disk.without_unsynced())));
        sim.start(node)?;
        let mut rng = Rng::stream(seed, 50);
        work(sim, &mut clients, rng.below(SECOND / 10))?;
        sim.crash(node, Crash::Power);
        check_end(sim, &mut clients)
    });
    assert!(only_cached.get() > 1, "the cache never lied");
}

/// A leader whose disk hangs counts itself only when its disk has answered; its followers' disks are a majority, and no
/// acknowledgement waits for it. (It does not hand over: there is no transfer of leadership.)
#[test]
fn row_06_a_slow_disk_of_the_leader_holds_up_no_acknowledgement() {
    with_seeds(1060..1063, |seed, slot| {
        let mut settings = Settings::new(seed, 3);
        // As long as it hangs the disk makes no spare: here none is needed.
        settings.node.segment_bytes = 1 << 20;
        settings.node.snapshot_log_bytes = None;
        let sim = formed(settings, slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 5)?;
        let leader = sim.settle(10 * SECOND)?.expect("a leader");
        let before = total(&clients);
        work(sim, &mut clients, SECOND / 2)?;
        let usual = total(&clients) - before;
        hang(sim, leader, 3000);
        let before = total(&clients);
        work(sim, &mut clients, SECOND / 2)?;
        let hanging = total(&clients) - before;
        assert!(hanging * 2 > usual, "{hanging} writes instead of {usual} while the leader's disk hangs");
        sim.machine(leader).disk.set_weather(DiskWeather::CALM);
        check_end(sim, &mut clients)
    });
}

/// Two slow disks of three: a write is acknowledged when one of them has answered, and not before.
#[test]
fn row_06_a_majority_of_slow_disks_is_waited_for() {
    with_seeds(1065..1068, |seed, slot| {
        let sim = formed(Settings::new(seed, 3), slot)?;
        let leader = sim.settle(10 * SECOND)?.expect("a leader");
        sim.run_for(SECOND)?;
        let slow: Vec<_> = sim.nodes().into_iter().filter(|&node| node != chosen(sim, seed)).collect();
        slow.iter().for_each(|&node| hang(sim, node, 500));
        let asked = sim.now();
        let request = sim.request(leader, Request::Write(write(&[b"SET", b"k", b"v"])));
        assert!(matches!(sim.answer(request)?, Answer::Outcome(Outcome::Reply(_))));
        let took = sim.now() - asked;
        assert!((50_000..2 * SECOND).contains(&took), "{took} us");
        Ok(())
    });
}

/// Lets everything on a disk take so many times as long.
fn hang(sim: &mut Sim, node: NodeId, times: u32) {
    let disk = &mut sim.machine(node).disk;
    let mut weather = *disk.weather();
    weather.pace.percent = 100 * times;
    disk.set_weather(weather);
}

/// A full disk refuses writes and loses none; when there is room again they go on.
#[test]
fn row_07_a_full_disk_refuses_and_resumes() {
    with_seeds(560..563, |seed, slot| full_disks(seed, slot, |_, _| true));
}

/// A torn tail is kept aside before it is cut: a start that has no room for that changes nothing, and the next one finds all.
#[test]
fn row_07_a_start_without_room_for_a_torn_tail_halts() {
    let halts = Cell::new(0);
    with_seeds(1070..1074, |seed, slot| {
        let sim = formed(tolerant(seed), slot)?;
        let mut clients = appenders(seed);
        for round in 0..12 {
            let node = chosen(sim, round);
            lose_power(sim, node, &mut clients)?;
            sim.machine(node).disk.fill_up(0);
            sim.start(node)?;
            work(sim, &mut clients, SECOND / 10)?;
            if let Some(fault) = sim.fault(node) {
                assert!(fault.exit_code() == 3 && fault.to_string().contains("no space left"), "{fault}");
                halts.set(halts.get() + 1);
            }
            sim.machine(node).disk.set_capacity(None);
            sim.start(node)?;
            work(sim, &mut clients, SECOND / 10)?;
        }
        check_end(sim, &mut clients)
    });
    assert!(halts.get() > 0, "no start had a tail to keep");
}

/// The leader has room and sends entries; its followers have none.
#[test]
fn row_07_a_follower_without_room_takes_no_entries() {
    with_seeds(575..578, |seed, slot| full_disks(seed, slot, |leader, node| node != leader));
}

fn full_disks(seed: u64, slot: &mut Option<Sim>, is_full: fn(NodeId, NodeId) -> bool) -> Checked<()> {
    let sim = formed(Settings::new(seed, 3), slot)?;
    let mut clients = appenders(seed);
    work(sim, &mut clients, SECOND / 5)?;
    let leader = sim.settle(10 * SECOND)?.expect("a leader");
    let full: Vec<_> = sim.nodes().into_iter().filter(|&node| is_full(leader, node)).collect();
    for &node in &full {
        sim.machine(node).disk.fill_up(0);
    }
    work(sim, &mut clients, 3 * SECOND)?;
    let done = total(&clients);
    work(sim, &mut clients, SECOND / 2)?;
    assert_eq!(total(&clients), done, "writes are acknowledged by a minority");
    for &node in &full {
        assert!(sim.fault(node).is_none(), "a full disk is no reason to halt: {:?}", sim.fault(node));
        assert!(sim.machine(node).disk.counts().full > 0, "it was never full");
        sim.machine(node).disk.set_capacity(None);
    }
    let reply = ask(sim, &read(&[b"GET", clients[0].key.as_bytes()]))?;
    clients[0].check(value(&reply));
    // Requests that were under way are answered after their deadline of 5 s at the latest.
    let end = sim.now() + 6 * SECOND;
    while total(&clients) == done {
        assert!(sim.now() < end, "writes do not resume");
        work(sim, &mut clients, SECOND / 10)?;
    }
    check_end(sim, &mut clients)
}

/// Whichever read of a start fails: the node stops, and the next start finds everything.
#[test]
fn row_08_a_read_error_is_never_taken_for_an_empty_log() {
    with_seeds(1080..1083, |seed, slot| {
        let sim = formed(tolerant(seed), slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 2)?;
        let node = chosen(sim, seed);
        for skip in 0..4 {
            sim.crash(node, Crash::Process);
            sim.machine(node).disk.fail_after(OpKind::Read, skip);
            start_expecting(sim, node, &mut clients, &DiskFault::FailedRead.expected())?;
            sim.start(node)?;
            work(sim, &mut clients, SECOND / 5)?;
        }
        check_end(sim, &mut clients)
    });
}

/// Recycled segments hold what older lives wrote, behind the end of the log; no start takes it for more of the log.
#[test]
fn row_09_leftovers_in_recycled_segments_end_the_log() {
    let leftovers = Cell::new(0);
    with_seeds(1090..1093, |seed, slot| {
        let sim = formed(tiny(Settings::new(seed, 3)), slot)?;
        let mut clients = appenders(seed);
        for round in 0..8 {
            work(sim, &mut clients, SECOND / 2)?;
            let node = chosen(sim, round);
            sim.crash(node, Crash::Power);
            leftovers.set(leftovers.get() + records_out_of_the_log(&sim.machine(node).disk));
            sim.start(node)?;
        }
        check_end(sim, &mut clients)
    });
    assert!(leftovers.get() > 20, "{} leftovers: segments are not recycled", leftovers.get());
}

/// Blocks that begin like a record and are none of the log's.
fn records_out_of_the_log(disk: &Disk) -> usize {
    let survey = disk.survey().expect("a member's");
    let mut found = 0;
    for (file, bytes) in contents(disk) {
        if matches!(file, FileName::Segment(_)) {
            let begins = (0..bytes.len()).step_by(128).filter(|&at| bytes[at..].starts_with(b"QREC"));
            let known = |at: usize| survey.records.iter().any(|r| r.part.touches(file, at as u64, 4));
            found += begins.filter(|&at| !known(at)).count();
        }
    }
    found
}

/// Lengths in a record's header that say anything at all are found out before they are believed. (That a header whose
/// checksum is right is held against its file's length, storage's own tests show.)
#[test]
fn row_10_a_wild_length_is_found_out() {
    // Where the header has the lengths of the snapshot switch and of the entries.
    for at in [80, 88] {
        with_seeds(1100..1102, |seed, slot| {
            let sim = formed(tolerant(seed), slot)?;
            let mut clients = appenders(seed);
            work(sim, &mut clients, SECOND / 2)?;
            let node = chosen(sim, seed);
            sim.crash(node, Crash::Process);
            let disk = &mut sim.machine(node).disk;
            let survey = disk.survey().expect("a member's");
            let record = survey.proven().nth((seed % 7) as usize).expect("proven records");
            for (byte, mask) in [(0, 0xff), (5, 0x55), (7, 0x7f)] {
                disk.rot(record.part.file, record.part.offset + at + byte, mask);
            }
            let says = [format!("log index {}", record.index)].into();
            start_expecting(sim, node, &mut clients, &Expectation::Refuses { exit_code: 2, says })
        });
    }
}

#[test]
fn row_11_a_stale_write_is_refused() {
    with_seeds(1110..1113, |seed, slot| struck_while_down(seed, slot, tolerant(seed), DiskFault::StaleWrite));
    gone_astray(1115..1119, |disk, skip| disk.go_stale_after(skip));
}

#[test]
fn row_11_a_misdirected_write_is_refused() {
    let fault = DiskFault::MisdirectedWrite;
    with_seeds(1120..1123, |seed, slot| struck_while_down(seed, slot, tiny(tolerant(seed)), fault));
    gone_astray(1125..1129, |disk, skip| disk.misdirect_after(skip));
}

/// A write of a running node goes astray; it shows when the power fails, some time later.
fn gone_astray(seeds: std::ops::Range<u64>, trap: fn(&mut Disk, u64)) {
    with_seeds(seeds, |seed, slot| {
        let mut settings = tolerant(seed);
        // What a snapshot covers goes, and what went astray with it.
        settings.node.snapshot_log_bytes = None;
        let sim = formed(settings, slot)?;
        let mut clients = appenders(seed);
        let node = chosen(sim, seed);
        while sim.machine(node).disk.wounds().is_empty() {
            sim.start(node)?;
            sim.settle(10 * SECOND)?;
            trap(&mut sim.machine(node).disk, 20 + seed % 10);
            work(sim, &mut clients, SECOND / 2)?;
            assert_eq!(sim.fault(node), None, "the cache hides it");
            sim.crash(node, Crash::Power);
        }
        let before = contents(&sim.machine(node).disk);
        sim.start(node)?;
        outlive(sim, node, &mut clients)?;
        let disk = sim.machine(node).disk.clone();
        assert!(contents(&disk) == before, "a refusal changes the directory");
        disk.judge_start(sim.fault(node)).unwrap_or_else(|what| panic!("{what}"));
        nothing_is_lost(sim, &clients)
    });
}

/// Segments, spares and snapshots come and go while the power fails: a name is there with all its bytes, or not at all.
#[test]
fn row_12_names_that_a_crash_loses_are_made_again() {
    let lost = Cell::new(0);
    with_seeds(1130..1134, |seed, slot| {
        let sim = formed(tiny(Settings::new(seed, 3)), slot)?;
        let mut clients = appenders(seed);
        let mut rng = Rng::stream(seed, 50);
        for _ in 0..12 {
            work(sim, &mut clients, rng.below(SECOND / 5))?;
            let node = chosen(sim, rng.below(3));
            // In the middle of what changes names.
            let names = sim.machine(node).disk.counts().names;
            sim.run_until(SECOND / 2, |sim| {
                clients.iter_mut().for_each(|client| client.step(sim));
                sim.machine(node).disk.counts().names > names
            })?;
            sim.crash(node, Crash::Power);
            sim.start(node)?;
        }
        let counts = sim.nodes().into_iter().map(|node| sim.machine(node).disk.counts().lost_names);
        lost.set(lost.get() + counts.collect::<Vec<_>>().iter().sum::<u64>());
        check_end(sim, &mut clients)
    });
    assert!(lost.get() > 3, "only {} names were lost", lost.get());
}

/// The power fails when a snapshot has its name, and before the log says that it goes on from it.
#[test]
fn row_13_a_snapshot_that_the_log_does_not_name_changes_nothing() {
    with_seeds(1140..1144, |seed, slot| {
        let sim = formed(tiny(Settings::new(seed, 3)), slot)?;
        let mut clients = appenders(seed);
        let node = chosen(sim, seed);
        for _ in 0..4 {
            let renamed = sim.run_until(5 * SECOND, |sim| {
                clients.iter_mut().for_each(|client| client.step(sim));
                unnamed_snapshot(&sim.machine(node).disk)
            })?;
            assert!(renamed, "no snapshot was saved");
            sim.crash(node, Crash::Power);
            sim.start(node)?;
            work(sim, &mut clients, SECOND / 5)?;
            assert_eq!(sim.fault(node), None);
        }
        check_end(sim, &mut clients)
    });
}

/// Whether a snapshot is there that the log does not go on from.
fn unnamed_snapshot(disk: &Disk) -> bool {
    let snapshots = disk.list().into_iter().filter(|f| matches!(f.0, FileName::Snapshot { .. })).map(|f| f.0);
    let newest = snapshots.max();
    newest.is_some() && newest != disk.survey().and_then(|survey| survey.snapshot).map(|part| part.file)
}

#[test]
fn row_13_a_gap_in_the_log_is_refused() {
    with_seeds(1145..1148, |seed, slot| {
        let mut settings = tiny(tolerant(seed));
        settings.node.snapshot_log_bytes = None;
        let sim = formed(settings, slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND)?;
        let node = chosen(sim, seed);
        sim.crash(node, Crash::Process);
        let disk = &mut sim.machine(node).disk;
        let segments: Vec<_> = disk.list().into_iter().map(|f| f.0).collect();
        let segments: Vec<_> = segments.into_iter().filter(|f| matches!(f, FileName::Segment(_))).collect();
        assert!(segments.len() > 3, "{segments:?}");
        let file = segments[1 + (seed % 2) as usize];
        for op in [DiskOp::Remove { file }, DiskOp::SyncDirectory] {
            disk.perform(&op, &mut Rng::new(0)).expect("a disk in order");
        }
        let says = ["this disk lost synced data".into()].into();
        start_expecting(sim, node, &mut clients, &Expectation::Refuses { exit_code: 2, says })
    });
}

/// The snapshot is judged before anything is written: a refusal changes nothing, not even the number of boots.
#[test]
fn row_14_a_rotten_snapshot_is_refused() {
    let fault = DiskFault::RottenSnapshot;
    with_seeds(1150..1154, |seed, slot| struck_while_down(seed, slot, tiny(tolerant(seed)), fault));
}

#[test]
fn row_14_a_snapshot_that_was_cut_short_is_refused() {
    with_seeds(1155..1158, |seed, slot| {
        let sim = formed(tiny(tolerant(seed)), slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND)?;
        let node = chosen(sim, seed);
        sim.crash(node, Crash::Process);
        let disk = &mut sim.machine(node).disk;
        let file = disk.survey().and_then(|survey| survey.snapshot).expect("a snapshot").file;
        let mut bytes = disk.read(file).expect("is there").to_vec();
        bytes.truncate(bytes.len() - 1 - (seed % 200) as usize);
        replace(disk, file, bytes);
        let says = [file.to_string(), "bytes and should have".into()].into();
        start_expecting(sim, node, &mut clients, &Expectation::Refuses { exit_code: 2, says })
    });
}

/// A snapshot that rots under a running leader is sent, and not taken: the follower waits for one that verifies.
#[test]
fn row_14_a_snapshot_that_does_not_verify_is_not_installed() {
    with_seeds(1160..1163, |seed, slot| {
        let sim = formed(tiny(tolerant(seed)), slot)?;
        let mut clients = appenders(seed);
        let leader = sim.settle(10 * SECOND)?.expect("a leader");
        let late = sim.nodes().into_iter().find(|&node| node != leader).expect("three nodes");
        sim.crash(late, Crash::Power);
        work(sim, &mut clients, SECOND)?;
        // A snapshot that is being saved now would be sent instead, and is sound.
        sim.run_for(SECOND / 2)?;
        let disk = &mut sim.machine(leader).disk;
        let snapshot = disk.survey().and_then(|survey| survey.snapshot).expect("a snapshot");
        disk.rot(snapshot.file, snapshot.len / 2, 4);
        sim.start(late)?;
        sim.run_for(SECOND)?;
        let installed = |sim: &Sim| sim.status(late).map_or(0, |status| status.counters.snapshots_installed);
        assert_eq!((installed(sim), sim.fault(late)), (0, None));
        // The leader's next snapshot is sound.
        work(sim, &mut clients, 2 * SECOND)?;
        assert!(installed(sim) > 0, "never catches up: {:?}", sim.machine(late).notes);
        check_end(sim, &mut clients)
    });
}

/// A command that is sent again after every node was started from a snapshot is not done again, and has the same reply.
#[test]
fn row_15_sessions_and_their_replies_come_back_from_a_snapshot() {
    with_seeds(1170..1173, |seed, slot| {
        let sim = formed(tiny(Settings::new(seed, 3)), slot)?;
        let nonce = Bytes::from_static(b"once");
        let leader = sim.settle(10 * SECOND)?.expect("a leader");
        let opened = sim.request(leader, Request::OpenSession { nonce });
        let Answer::Outcome(Outcome::SessionOpened(session)) = sim.answer(opened)? else {
            panic!("no session")
        };
        let append = |n: &[u8]| write(&[b"APPEND", b"journal", n]);
        for seq in 1..=3 {
            ask(sim, &Request::Once { session, seq, ack: 2, command: append(b"x") })?;
        }
        let mut clients = appenders(seed);
        work(sim, &mut clients, 2 * SECOND)?;
        for node in sim.nodes() {
            sim.crash(node, Crash::Power);
        }
        sim.start_all()?;
        assert!(sim.settle(20 * SECOND)?.is_some());
        for node in sim.nodes() {
            let raft = sim.status(node).and_then(|status| status.raft).expect("a member");
            assert!(
                raft.snapshot.is_some_and(|snapshot| snapshot.last.index > 10),
                "{node:?} has no snapshot"
            );
        }
        let again = ask(sim, &Request::Once { session, seq: 3, ack: 2, command: append(b"y") })?;
        assert_eq!(again, ":3\r\n", "the reply of the first time");
        assert_eq!(value(&ask(sim, &read(&[b"GET", b"journal"]))?), b"xxx");
        let next = ask(sim, &Request::Once { session, seq: 4, ack: 2, command: append(b"z") })?;
        assert_eq!(next, ":4\r\n", "and the session goes on");
        check_end(sim, &mut clients)
    });
}

#[test]
fn row_16_a_vote_has_a_second_copy() {
    let fault = DiskFault::RottenVoteCopy;
    with_seeds(1180..1183, |seed, slot| struck_while_down(seed, slot, tolerant(seed), fault));
}

#[test]
fn row_16_a_lost_vote_is_refused_and_never_term_zero() {
    let fault = DiskFault::RottenVote;
    with_seeds(1185..1188, |seed, slot| struck_while_down(seed, slot, tolerant(seed), fault));
    with_seeds(1190..1192, |seed, slot| {
        let sim = formed(tolerant(seed), slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 5)?;
        let node = chosen(sim, seed);
        sim.crash(node, Crash::Process);
        let disk = &mut sim.machine(node).disk;
        for op in [DiskOp::Remove { file: FileName::Vote }, DiskOp::SyncDirectory] {
            disk.perform(&op, &mut Rng::new(0)).expect("a disk in order");
        }
        let says = ["vote is missing or unreadable".into()].into();
        start_expecting(sim, node, &mut clients, &Expectation::Refuses { exit_code: 2, says })
    });
}

// Row 17, a second process on the same directory, is the driver's: a simulated directory has no lock. See
// `row_17_a_second_holder_is_refused_and_told_who_holds_it` (driver/src/directory_lock.rs) and
// `row_17_a_second_process_on_one_directory_is_refused` (driver/tests/cluster.rs).

#[test]
fn row_18_the_directory_of_another_node_is_refused_by_name() {
    with_seeds(1200..1203, |seed, slot| {
        let sim = formed(tolerant(seed), slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 5)?;
        let (node, other) = (chosen(sim, seed), chosen(sim, seed + 1));
        let image = sim.machine(other).disk.clone();
        sim.roll_back(node, image);
        let says = [format!("belongs to node {other}, and this is node {node}")].into();
        start_expecting(sim, node, &mut clients, &Expectation::Refuses { exit_code: 2, says })
    });
}

#[test]
fn row_18_the_directory_of_another_cluster_is_refused_by_name() {
    with_seeds(1205..1208, |seed, slot| {
        let mut other = None;
        let image = {
            let other = formed(Settings::new(seed + 1000, 3), &mut other)?;
            let node = chosen(other, seed);
            other.crash(node, Crash::Process);
            other.machine(node).disk.clone()
        };
        // The checks after every step would take the stranger's log for a member's.
        let sim = formed(Settings { watched: false, ..tolerant(seed) }, slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 5)?;
        let node = chosen(sim, seed);
        sim.roll_back(node, image);
        let says = ["cluster".into()].into();
        start_expecting(sim, node, &mut clients, &Expectation::Refuses { exit_code: 4, says })
    });
}

#[test]
fn row_18_the_identity_has_a_second_copy_and_its_loss_is_refused() {
    for fault in [DiskFault::RottenIdentityCopy, DiskFault::RottenIdentity] {
        with_seeds(1210..1213, |seed, slot| struck_while_down(seed, slot, tolerant(seed), fault));
    }
}

/// A node whose disk was replaced under its old id may not vote or count: it is refused by name.
#[test]
fn row_19_a_wiped_disk_is_fenced() {
    with_seeds(500..503, |seed, slot| {
        let sim = formed(tolerant(seed), slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 5)?;
        let wiped = sim.nodes()[(seed % 3) as usize];
        sim.wipe(wiped);
        sim.start(wiped)?;
        work(sim, &mut clients, 3 * SECOND)?;
        let running = sim.status(wiped).is_some_and(|status| status.phase == Phase::Running);
        assert!(!running, "a disk that forgot takes part");
        DiskFault::Wiped.expected().met_by(sim.fault(wiped)).unwrap_or_else(|what| panic!("{what}"));
        // One more down: the wiped node must not help to a majority.
        let other = sim.nodes().into_iter().find(|&node| node != wiped).expect("three nodes");
        sim.crash(other, Crash::Process);
        sim.start(wiped)?;
        sim.run_for(3 * SECOND)?;
        assert_eq!(sim.leader().filter(|&leader| leader == wiped), None);
        sim.start(other)?;
        assert!(sim.settle(20 * SECOND)?.is_some());
        nothing_is_lost(sim, &clients)
    });
}

/// A node whose disk went back in time is fenced as far as peers remember: a leader remembers what its
/// followers acknowledged, and everyone how often everyone else has started.
#[test]
fn row_19_a_rolled_back_disk_is_fenced() {
    with_seeds(520..526, |seed, slot| {
        let sim = formed(tolerant(seed), slot)?;
        let mut clients = appenders(seed);
        work(sim, &mut clients, SECOND / 5)?;
        let leader = sim.settle(10 * SECOND)?.expect("a leader");
        let by_boots = seed % 2 == 0;
        let node = sim.nodes().into_iter().find(|&node| (node == leader) == by_boots).expect("three nodes");
        sim.crash(node, Crash::Process);
        let image: Disk = sim.machine(node).disk.clone();
        for _ in 0..if by_boots { 2 } else { 1 } {
            sim.start(node)?;
            work(sim, &mut clients, SECOND)?;
            sim.crash(node, Crash::Process);
        }
        sim.roll_back(node, image);
        sim.start(node)?;
        work(sim, &mut clients, 2 * SECOND)?;
        DiskFault::RolledBack.expected().met_by(sim.fault(node)).unwrap_or_else(|what| panic!("{what}"));
        Ok(())
    });
}

/// One node: nothing is acknowledged before its own disk has answered, and all of that survives.
#[test]
fn row_20_a_single_node_waits_for_its_own_disk() {
    with_seeds(1220..1226, |seed, slot| {
        let sim = formed(Settings::new(seed, 1), slot)?;
        let node = NodeId(1);
        let mut clients = appenders(seed);
        let mut rng = Rng::stream(seed, 50);
        for _ in 0..6 {
            work(sim, &mut clients, rng.below(SECOND / 5))?;
            sim.crash(node, Crash::Power);
            sim.start(node)?;
            assert!(sim.settle(10 * SECOND)?.is_some());
        }
        hang(sim, node, 1000);
        sim.run_for(SECOND)?;
        let syncs = sim.machine(node).disk.counts().syncs;
        let request = sim.request(node, Request::Write(write(&[b"SET", b"k", b"v"])));
        let mut answered = None;
        let acknowledged = sim.run_until(5 * SECOND, |sim| {
            answered = answered.take().or_else(|| sim.take_answer(request));
            answered.is_some()
        })?;
        assert!(acknowledged && sim.machine(node).disk.counts().syncs > syncs, "{answered:?}");
        sim.machine(node).disk.set_weather(DiskWeather::CALM);
        check_end(sim, &mut clients)
    });
}

/// A state that depends on more than its log: every copy counts the commands that any copy has applied.
struct Fickle(u64);

thread_local! {
    static APPLIED: Cell<u64> = const { Cell::new(0) };
}

impl StateMachine for Fickle {
    type View = Picture;
    type Restorer = Picture;

    fn empty(_: u128) -> Self {
        Self(0)
    }

    fn apply(&mut self, _: Context, _: &[u8], _: &mut Vec<u8>) {
        APPLIED.set(APPLIED.get() + 1);
        self.0 = APPLIED.get();
    }

    fn query(&self, _: Context, _: &[u8], _: &mut Vec<u8>) {}

    fn view(&self) -> Picture {
        Picture
    }

    fn restorer() -> Picture {
        Picture
    }

    fn digest(&self) -> u128 {
        self.0.into()
    }
}

/// No run of it takes a snapshot.
struct Picture;

impl View for Picture {
    fn read(&mut self, _: usize, _: &mut Vec<u8>) -> bool {
        false
    }
}

impl Restorer for Picture {
    type State = Fickle;

    fn push(&mut self, _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }

    fn finish(self) -> Result<Fickle, RestoreError> {
        Err(RestoreError::Length)
    }
}

/// The simulator compares states at once, before the nodes do. (How a node halts that differs from the majority is shown by
/// `row_21_a_state_that_differs_from_the_majority_halts_its_node` in src/node/tests.)
#[test]
fn row_21_states_that_differ_are_caught() {
    for seed in 1230..1233 {
        let mut sim: Cluster<Fickle> = Cluster::new(Settings::new(seed, 3));
        sim.start_all().expect("no promise is broken");
        let leader = sim.settle(10 * SECOND).expect("no promise is broken").expect("a leader");
        let request = sim.request(leader, Request::Write(Bytes::from_static(b"anything")));
        let violation = sim.answer(request).and_then(|_| sim.run_for(SECOND)).expect_err("states differ");
        assert_eq!(violation.checker(), "state digest", "{violation}");
    }
}

/// A file from the future is told from a rotten one.
#[test]
fn row_22_a_file_of_an_unknown_version_is_refused_by_name() {
    for file in [FileName::Identity, FileName::Vote] {
        with_seeds(1240..1242, |seed, slot| {
            let sim = formed(tolerant(seed), slot)?;
            let mut clients = appenders(seed);
            work(sim, &mut clients, SECOND / 5)?;
            let node = chosen(sim, seed);
            sim.crash(node, Crash::Process);
            let disk = &mut sim.machine(node).disk;
            let mut bytes = disk.read(file).expect("is there").to_vec();
            raise_version(file, &mut bytes).expect("a block");
            replace(disk, file, bytes);
            let says = [format!("{file} is of version 9")].into();
            start_expecting(sim, node, &mut clients, &Expectation::Refuses { exit_code: 2, says })
        });
    }
}

/// One disk of three in any weather: its node halts, is started again, or is refused with a name for what was lost; whatever
/// it does, it is what its disk demands, and the others go on.
#[test]
fn whatever_befalls_one_disk_is_met_as_the_table_says() {
    let (halts, refusals) = (Cell::new(0), Cell::new(0));
    with_seeds(1300..1312, |seed, slot| {
        let sim = formed(tolerant(seed), slot)?;
        let mut clients = appenders(seed);
        let mut rng = Rng::stream(seed, 50);
        let node = chosen(sim, seed);
        for _ in 0..15 {
            sim.machine(node).disk.set_weather(DiskWeather::WILD.draw(&mut rng));
            work(sim, &mut clients, rng.below(SECOND / 2))?;
            if matches!(sim.fault(node), Some(Fault::Disk(_))) {
                halts.set(halts.get() + 1);
            }
            sim.crash(node, Crash::Power);
            sim.machine(node).disk.set_weather(DiskWeather::CALM);
            sim.start(node)?;
            outlive(sim, node, &mut clients)?;
            let fault = sim.fault(node).cloned();
            sim.machine(node).disk.judge_start(fault.as_ref()).unwrap_or_else(|what| panic!("{what}"));
            if fault.is_some() {
                refusals.set(refusals.get() + 1);
                return nothing_is_lost(sim, &clients);
            }
        }
        check_end(sim, &mut clients)
    });
    assert!(halts.get() > 0 && refusals.get() > 0, "{} halts, {} refusals", halts.get(), refusals.get());
}

/// The table in the docs names every scenario of this file, and none that is not there.
#[test]
fn the_table_names_every_scenario() {
    let (docs, here) = (include_str!("../src/docs/storage_rows.md"), include_str!("storage_rows.rs"));
    let named = |text: &'static str, before: &str| -> BTreeSet<&str> {
        let starts = text.match_indices(before).map(|(at, _)| &text[at + before.len() - "row_".len()..]);
        starts.map(|rest| rest.split(['(', '`']).next().unwrap_or(rest)).collect()
    };
    assert_eq!(named(docs, "`row_"), named(here, "\nfn row_"));
}
