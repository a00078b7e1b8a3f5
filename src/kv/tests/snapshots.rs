//! Views and restorers.

use super::*;
use crate::kv::MAX_VALUE;
use crate::replica::{RestoreError, Restorer};
use crate::rng::Rng;

fn filled(keys: u64) -> Client {
    let mut client = Client::new();
    for n in 0..keys {
        client.say(&alloc::format!("set key:{n} {}", "v".repeat((n * 37 % 500) as usize + 1)));
    }
    client
}

fn restore<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<KvStore, RestoreError> {
    let mut restorer = KvStore::restorer();
    for piece in pieces {
        restorer.push(piece)?;
    }
    restorer.finish()
}

#[test]
fn a_state_comes_back_from_pieces_of_any_length() {
    let client = filled(2_000);
    let all = read_all(client.store.view(), 64 << 10);
    for target in [0, 1, 7, 100, 4_096, usize::MAX / 2] {
        assert_eq!(read_all(client.store.view(), target.max(1)), all, "{target}");
    }
    let mut rng = Rng::new(5);
    for most in [1, 3, 50, 5_000, 10_000_000] {
        let (mut restorer, mut rest) = (KvStore::restorer(), &all[..]);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + rng.below(most) as usize).min(rest.len()));
            restorer.push(piece).unwrap();
            restorer.push(b"").unwrap();
            rest = after;
        }
        let store = restorer.finish().unwrap();
        assert_eq!((store.len(), store.digest()), (2_000, client.store.digest()));
        assert_eq!(read_all(store.view(), 1_000), all);
    }
}

#[test]
fn a_restored_state_goes_on_like_the_original() {
    let mut client = filled(3_000);
    let all = read_all(client.store.view(), 10_000);
    let mut copy = Client { store: restore([&all[..]]).unwrap(), index: client.index, ms: client.ms };
    for n in 0..3_000 {
        let line = ["append key:{} x", "del key:{}", "incr new:{}", "get key:{}"][n % 4]
            .replace("{}", &alloc::format!("{n}"));
        assert_eq!(client.say(&line), copy.say(&line), "{line}");
    }
    assert_eq!(client.store.digest(), copy.store.digest());
    assert_eq!(read_all(client.store.view(), 999), read_all(copy.store.view(), 5_000));
}

#[test]
fn an_empty_state_and_a_long_value_come_back() {
    let empty = Client::new();
    let all = read_all(empty.store.view(), 100);
    assert_eq!(restore([&all[..]]).unwrap().digest(), 0);
    let mut client = Client::new();
    client.run(&[Bytes::from("set"), Bytes::new(), Bytes::from(alloc::vec![b'x'; MAX_VALUE])]);
    let all = read_all(client.store.view(), 64 << 10);
    let store = restore(all.chunks(100_000)).unwrap();
    assert_eq!((store.len(), store.digest()), (1, client.store.digest()));
}

#[test]
fn keys_whose_hashes_collide_come_back_from_any_piece() {
    let mut client = Client::new();
    client.store.keyed.mask = 7;
    for n in 0..300 {
        client.say(&alloc::format!("set key:{n} {n}"));
    }
    let all = read_all(client.store.view(), 1_000_000);
    for target in [1, 50, 333] {
        assert_eq!(read_all(client.store.view(), target), all, "{target}");
    }
    let mut restorer = KvStore::restorer();
    restorer.keyed.mask = 7;
    restorer.push(&all).unwrap();
    let store = restorer.finish().unwrap();
    assert_eq!((store.len(), store.digest()), (300, client.store.digest()));
}

#[test]
fn a_view_shows_its_moment_while_commands_go_on() {
    let mut client = filled(1_000);
    let expected = read_all(client.store.view(), 1_000);
    let mut view = client.store.view();
    let (mut all, mut n, mut more) = (Vec::new(), 0, true);
    while more {
        more = view.read(700, &mut all);
        for _ in 0..20 {
            n += 1;
            client.say(&alloc::format!("append key:{} more", n % 1_000));
            client.say(&alloc::format!("del key:{}", n * 7 % 1_000));
            client.say(&alloc::format!("set new:{n} x"));
        }
    }
    assert_eq!(all, expected);
}

#[test]
fn a_view_can_be_read_and_dropped_on_another_thread() {
    let client = filled(100);
    let expected = read_all(client.store.view(), 100);
    let view = client.store.view();
    let read = std::thread::spawn(move || read_all(view, 100)).join().unwrap();
    assert_eq!(read, expected);
}

#[test]
fn cut_off_or_left_over_bytes_are_refused() {
    let all = read_all(filled(50).store.view(), 1_000);
    for cut in 0..all.len() {
        assert_eq!(restore([&all[..cut]]).err(), Some(RestoreError::Length), "{cut}");
    }
    assert_eq!(restore([&all[..], b"x"]).err(), Some(RestoreError::Length));
}

#[test]
fn every_changed_byte_is_noticed() {
    let all = read_all(filled(50).store.view(), 1_000);
    let mut rng = Rng::new(9);
    for at in 0..all.len() {
        let mut bad = all.clone();
        bad[at] ^= 1 << rng.below(8);
        // The seed alone decides nothing when no key tells: it is in the hashes of all fifty.
        assert!(restore(bad.chunks(1 + rng.below(100) as usize)).is_err(), "byte {at}");
    }
}

#[test]
fn mutated_snapshots_never_panic() {
    let all = read_all(filled(30).store.view(), 1_000);
    let mut rng = Rng::new(10);
    for _ in 0..20_000 {
        let mut bad = all.clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(bad.len() as u64) as usize;
            match rng.below(4) {
                0 => bad[at] = rng.next_u64() as u8,
                1 => bad.truncate(at),
                2 => bad.insert(at, rng.next_u64() as u8),
                _ => drop(bad.drain(at..(at + 1 + rng.below(30) as usize).min(bad.len()))),
            }
            if bad.is_empty() {
                break;
            }
        }
        assert!(bad == all || restore(bad.chunks(1 + rng.below(300) as usize)).is_err());
    }
}

#[test]
fn an_error_stays_and_names_its_cause() {
    let mut all = read_all(filled(2).store.view(), 1_000);
    let mut restorer = KvStore::restorer();
    all[0] = 9;
    assert_eq!(restorer.push(&all), Err(RestoreError::Version(9)));
    assert_eq!(restorer.push(&all), Err(RestoreError::Version(9)));
    assert_eq!(restorer.finish().err(), Some(RestoreError::Version(9)));

    all[0] = 1;
    let length_at = 28;
    all[length_at + 3] = 0xff;
    assert_eq!(restore([&all[..]]).err(), Some(RestoreError::Malformed("a record's length")));

    let mut twice = Vec::new();
    let good = read_all(filled(1).store.view(), 1_000);
    twice.extend_from_slice(&good[..20]);
    twice.extend_from_slice(&2_u64.to_le_bytes());
    twice.extend_from_slice(&good[28..good.len() - 16]);
    twice.extend_from_slice(&good[28..]);
    assert_eq!(restore([&twice[..]]).err(), Some(RestoreError::Malformed("the records are out of order")));
}
