//! Any division of the client's bytes and any timing of the node give the client the same bytes.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::{Event, Settings};
use super::Harness;
use crate::codec::input::Input;
use crate::codec::resp::ReplyParser;
use crate::replica::{Outcome, Refused};
use crate::rng::Rng;

const SCRIPT: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n\r\n\r\nGET a\r\nPING\r\nINCR n\r\nINCR n\r\nMGET a n zz\r\nHELLO 3\r\n\
    MGET a n zz\r\n*0\r\n\r\nECHO \"x y\"\r\nnonsense 1 2\r\nGET\r\nCLIENT LIST\r\nDEL a n\r\nCONFIG GET save\r\nRESET\r\n\
    CLUSTER SLOTS\r\nSESSION OPEN nonce\r\nONCE 100 1 1 INCR n\r\nWAIT 0 0\r\nGET n\r\nQUIT\r\n";

/// The whole output when the script comes in pieces and the node answers by `lazy` chance.
fn run(script: &[u8], settings: &Settings, mut cut: impl FnMut() -> usize, rng: &mut Rng) -> (Bytes, bool) {
    let mut h = Harness::with(settings);
    let mut output = Vec::new();
    let mut rest = script;
    while !rest.is_empty() {
        let n = cut().clamp(1, rest.len());
        h.feed(&rest[..n]);
        rest = &rest[n..];
        if rng.chance(1, 2) {
            h.settle();
        }
        output.extend_from_slice(&h.output());
    }
    for _ in 0..10_000 {
        h.settle();
        output.extend_from_slice(&h.output());
        if h.connection.wake_at() != Some(0) {
            break;
        }
        h.step(Event::Wake);
    }
    (output.into(), h.closed)
}

#[test]
fn any_division_and_any_timing_give_the_same_output() {
    let settings = Settings::default();
    let whole = run(SCRIPT, &settings, || usize::MAX, &mut Rng::new(0));
    let text = String::from_utf8_lossy(&whole.0).into_owned();
    assert!(whole.1 && text.ends_with(":1\r\n:1\r\n$1\r\n1\r\n+OK\r\n"), "{text}");
    // CLIENT LIST shows how much input waits, which differs by nature.
    let mask = |(bytes, closed): (Bytes, bool)| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines: Vec<String> = text
            .split("\r\n")
            .filter(|l| !l.starts_with("txt:id=") && !l.starts_with('='))
            .map(String::from)
            .collect();
        (lines, closed)
    };
    let expected = mask(whole);
    for at in 1..SCRIPT.len() {
        let mut first = Some(at);
        let pieces = || first.take().unwrap_or(usize::MAX);
        assert_eq!(mask(run(SCRIPT, &settings, pieces, &mut Rng::new(at as u64))), expected, "cut at {at}");
    }
    for seed in 0..100 {
        let (mut cuts, mut rng) = (Rng::new(seed), Rng::new(!seed));
        let tight = Settings { max_pipeline: 1 + (seed as usize % 4), ..Settings::default() };
        assert_eq!(mask(run(SCRIPT, &tight, || cuts.below(20) as usize, &mut rng)), expected, "seed {seed}");
        let narrow = Settings { output_soft_limit: 1 + seed as usize, ..Settings::default() };
        assert_eq!(mask(run(SCRIPT, &narrow, || cuts.below(60) as usize, &mut rng)), expected, "seed {seed}");
    }
}

#[test]
fn arbitrary_bytes_and_outcomes_never_panic_and_every_reply_is_whole() {
    const WORDS: [&[u8]; 16] = [
        b"SET a 1\r\n",
        b"GET a\r\n",
        b"PING\r\n",
        b"HELLO 3\r\n",
        b"HELLO 2\r\n",
        b"CLIENT LIST\r\n",
        b"WAIT 0 0\r\n",
        b"ONCE 1 1 1 INCR n\r\n",
        b"SESSION OPEN\r\n",
        b"COMMAND\r\n",
        b"INFO\r\n",
        b"CLUSTER SHARDS\r\n",
        b"*1\r\n$4\r\n",
        b"\r\n",
        b"COMMAND DOCS get ping\r\n",
        b"MGET a b c\r\n",
    ];
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let settings = Settings { max_pipeline: 1 + rng.below(5) as usize, ..Settings::default() };
        let mut h = Harness::with(&settings);
        let mut output = Vec::new();
        for _ in 0..rng.below(60) {
            match rng.below(8) {
                0..=4 => h.feed(WORDS[rng.below(16) as usize]),
                5 if rng.chance(1, 20) => {
                    let garbage: Vec<u8> = (0..rng.below(30)).map(|_| rng.next_u64() as u8).collect();
                    h.feed(&garbage);
                }
                6 if !h.requests.is_empty() => {
                    let request = h.requests[0].2.clone();
                    let outcome = match rng.below(4) {
                        0 => Outcome::Undetermined,
                        1 => Outcome::Refused(Refused::Busy),
                        _ => h.outcome(&request),
                    };
                    h.answer(outcome);
                }
                _ => h.step(Event::Wake),
            }
            if rng.chance(1, 3) {
                output.extend_from_slice(&h.output());
            }
        }
        for _ in 0..100 {
            h.settle();
            h.step(Event::Wake);
        }
        output.extend_from_slice(&h.output());
        assert!(h.requests.is_empty() && h.lists == 0);
        let mut input = Input::new(64);
        input.space(output.len(), 0)[..output.len()].copy_from_slice(&output);
        input.advance(output.len());
        let mut parser = ReplyParser::new(1 << 20);
        while parser.next_reply(&mut input).unwrap_or_else(|e| panic!("seed {seed}: {e}")).is_some() {}
        assert!(input.filled().is_empty(), "seed {seed}: a part of a reply");
    }
}
