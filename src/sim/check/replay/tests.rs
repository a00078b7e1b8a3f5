//! What the replay accepts, and each kind of lie that it does not.

use std::format;
use std::string::String;
use std::vec::Vec;

use super::super::contradiction::Rule;
use super::super::history::{End, History};
use super::super::kv_model::KvModel;
use super::super::linearizable::{Verdict, linearizable};
use super::super::model::Itself;
use super::super::testing::{LIMITS, broken, history, log, replayed};
use super::*;
use crate::replica::testing::Tape;
use crate::rng::Rng;

fn places(script: &str, entries: &str) -> Vec<Option<LogIndex>> {
    replayed(script, entries).map_or_else(|broken| panic!("{broken}"), |replayed| replayed.placed)
}

const SET_AND_GET: &str = "
    1 > set x 1
    1 < +OK|
    1 > get x
    1 < $1|1|";

#[test]
fn what_happened_in_order_is_right() {
    assert_eq!(places(SET_AND_GET, "noop\nset x 1"), [Some(2), Some(2)]);
}

#[test]
fn a_lost_acknowledged_write_is_found() {
    assert_eq!(broken("1 > set x 1\n1 < +OK|", "noop"), "lost write");
    assert_eq!(broken("1 > 1.1 set x 1\n1 < +OK|", "open n\n1.2 set x 2"), "asked by nobody");
    // As soon as something that was asked later is in the log.
    let two = "
        1 > set x 1
        1 < +OK|
        2 > set x 2";
    assert_eq!(broken(two, "set x 2"), "lost write");
}

#[test]
fn a_stale_read_is_found() {
    let stale = "
        1 > set x 1
        1 < +OK|
        1 > set x 2
        1 < +OK|
        2 > get x
        2 < $1|1|";
    assert_eq!(broken(stale, "set x 1\nset x 2"), "impossible read");
    let fresh = stale.replace("< $1|1|", "< $1|2|");
    assert_eq!(places(&fresh, "set x 1\nset x 2"), [Some(1), Some(2), Some(2)]);
}

#[test]
fn a_read_that_overtakes_a_write_of_its_connection_is_found() {
    let is_right = |reply: &str| {
        let script = format!("1 > set x 1\n2 > get x\n1 < +OK|\n2 < {reply}");
        let mut history = history(&script);
        history.behind(1, 0);
        replay(KvModel::default(), LIMITS, &log("set x 1"), &history).is_ok()
    };
    assert!(is_right("$1|1|") && !is_right("_|"));
}

#[test]
fn a_write_that_overtakes_a_read_of_its_connection_is_found() {
    let is_right = |reply: &str| {
        let script = format!("1 > get x\n2 > set x 1\n1 < {reply}\n2 < +OK|");
        let mut history = history(&script);
        history.behind(1, 0);
        replay(KvModel::default(), LIMITS, &log("set x 1"), &history).is_ok()
    };
    assert!(is_right("_|") && !is_right("$1|1|"));
}

#[test]
fn an_unknown_write_that_is_done_after_a_later_one_of_its_connection_is_found() {
    let is_right = |log_text: &str| {
        let mut history = history("1 > set x 1\n2 > set x 2\n2 < +OK|");
        history.settled(0, 1);
        replay(KvModel::default(), LIMITS, &log(log_text), &history).map_err(|found| found.rule)
    };
    assert!(is_right("set x 1\nset x 2").is_ok() && is_right("set x 2").is_ok());
    assert_eq!(is_right("set x 2\nset x 1").map(|_| ()), Err(Rule::Order));
}

#[test]
fn of_writes_that_were_asked_alike_no_order_is_demanded() {
    // Of the two that set x the first entry may be that of client 2, whom the read is behind.
    let script = "1 > set x 1\n2 > set x 1\n3 > exists y\n4 > set y 5\n1 < +OK|\n3 < :0|\n2 < +OK|\n4 < +OK|";
    let judged = |asked: &str| {
        let mut history = history(&script.replace("2 > set x 1", asked));
        history.behind(2, 1);
        let entries = format!("set x 1\nset y 5\n{}", &asked[4..]);
        replay(KvModel::default(), LIMITS, &log(&entries), &history).is_ok()
    };
    assert!(judged("2 > set x 1"));
    assert!(!judged("2 > set x 2"), "of this one it is known where it is");
}

#[test]
fn reads_do_not_go_back() {
    let back = "
        1 > set x 1
        2 > get x
        2 < $1|1|
        3 > get x
        3 < _|
        1 < +OK|";
    assert_eq!(broken(back, "set x 1"), "impossible read");
    // While the two overlap, either may be first.
    let overlapping = "
        1 > set x 1
        2 > get x
        3 > get x
        2 < $1|1|
        3 < _|
        1 < +OK|";
    assert_eq!(places(overlapping, "set x 1"), [Some(1), Some(1), Some(0)]);
}

#[test]
fn a_write_that_is_done_twice_is_found() {
    let incr = "
        1 > incr n
        1 < :1|";
    assert_eq!(broken(incr, "incr n\nincr n"), "done twice");
    let append = "
        1 > append x ab
        1 < :4|";
    assert_eq!(broken(append, "append x ab\nappend x ab"), "wrong reply");
    let unknown = "
        1 > append x ab
        2 > get x
        2 < $4|abab|";
    assert_eq!(broken(unknown, "append x ab\nappend x ab"), "done twice");
    assert_eq!(broken(unknown, "append x ab"), "impossible read");
}

#[test]
fn a_write_that_shows_before_it_was_asked_is_found() {
    let early = "
        2 > get x
        2 < $1|1|
        1 > set x 1
        1 < +OK|";
    assert_eq!(broken(early, "set x 1"), "impossible read");
    // With the times at which entries were applied it shows even if nobody reads.
    let unread = "
        1 > set x 1
        1 < +OK|";
    assert_eq!(broken(unread, "@9 set x 1"), "too early");
    assert_eq!(broken(unread, "@21 set x 1"), "too early");
    assert_eq!(places(unread, "@10 set x 1"), [Some(1)]);
    assert_eq!(places(unread, "@20 set x 1"), [Some(1)]);
    let read = "
        1 > set x 1
        2 > get x
        2 < $1|1|
        1 < +OK|";
    assert_eq!(broken(read, "@35 set x 1"), "impossible read");
}

#[test]
fn writes_in_another_order_than_they_were_answered_in_are_found() {
    let two = "
        1 > set x 1
        1 < +OK|
        2 > set y 2
        2 < +OK|";
    assert_eq!(broken(two, "set y 2\nset x 1"), "out of order");
    assert_eq!(places(two, "set x 1\nset y 2"), [Some(1), Some(2)]);
    let overlapping = "
        1 > set x 1
        2 > set y 2
        1 < +OK|
        2 < +OK|";
    assert_eq!(places(overlapping, "set y 2\nset x 1"), [Some(2), Some(1)]);
}

#[test]
fn the_order_of_one_microsecond_counts() {
    let mut history = HistoryOf::<KvModel>::new();
    let set = history.ask(1, 7, super::super::testing::words("set x 1").into());
    history.replied(set, 7, super::super::testing::value("+OK|"));
    let get = history.ask(1, 7, super::super::testing::words("get x").into());
    history.replied(get, 7, super::super::testing::value("_|"));
    let log = super::super::testing::log("@7 set x 1");
    let broken = replay(KvModel::default(), super::super::testing::LIMITS, &log, &history);
    assert_eq!(broken.unwrap_err().operations, [get]);
}

#[test]
fn a_torn_mset_is_found() {
    let torn = "
        1 > mset a 1 b 1
        2 > mget a b
        2 < *2|$1|1|_|
        1 < +OK|";
    assert_eq!(broken(torn, "mset a 1 b 1"), "impossible read");
    assert_eq!(places(&torn.replace("*2|$1|1|_|", "*2|_|_|"), "mset a 1 b 1"), [Some(1), Some(0)]);
    assert_eq!(places(&torn.replace("*2|$1|1|_|", "*2|$1|1|$1|1|"), "mset a 1 b 1"), [Some(1), Some(1)]);
    let counted = "
        1 > mset a 1 b 1
        2 > dbsize
        2 < :1|
        1 < +OK|";
    assert_eq!(broken(counted, "mset a 1 b 1"), "impossible read");
}

#[test]
fn the_reply_of_another_operation_is_found() {
    let swapped = "
        1 > incr a
        2 > append b xy
        1 < :2|
        2 < :1|";
    assert_eq!(broken(swapped, "incr a\nappend b xy"), "wrong reply");
    let read = "
        1 > mset a 1 b 2
        1 < +OK|
        1 > get a
        1 < $1|2|";
    assert_eq!(broken(read, "mset a 1 b 2"), "impossible read");
}

#[test]
fn what_was_refused_is_not_in_the_log() {
    let refused = "
        1 > set x 1
        1 not done";
    assert_eq!(broken(refused, "set x 1"), "done after all");
    assert_eq!(places(refused, "noop"), [None]);
    assert_eq!(broken(&refused.replace("set", "1.1 set"), "open n\n1.1 set x 1"), "done after all");
}

#[test]
fn what_nobody_asked_is_not_in_the_log() {
    assert_eq!(broken(SET_AND_GET, "set x 1\nset y 1"), "asked by nobody");
    assert_eq!(broken("1 > 1.1 set x 1", "open n\n1.1 set x 2"), "asked by nobody");
}

#[test]
fn a_command_that_never_gets_to_the_log_is_held_to_its_error() {
    let wrong = "
        1 > incrby n x
        1 < -ERR value is not an integer or out of range|";
    assert_eq!(places(wrong, "noop"), [Some(0)]);
    assert_eq!(
        broken(&wrong.replace("-ERR value is not an integer or out of range", ":1"), "noop"),
        "impossible read"
    );
}

#[test]
fn unknown_outcomes_may_be_done_or_not_and_at_any_later_time() {
    let unknown = "
        1 > set x 1
        2 > get x
        2 < _|
        2 > get x
        2 < $1|1|";
    assert_eq!(places(unknown, "set x 1"), [Some(1), Some(0), Some(1)]);
    assert_eq!(broken(unknown, "noop"), "impossible read");
    let never = unknown.replace("$1|1|", "_|");
    assert_eq!(places(&never, "noop"), [None, Some(0), Some(0)]);
}

#[test]
fn commands_that_were_joined_are_each_asked_by_somebody_and_in_their_order() {
    let two = "
        1 > set x 1
        1 > incr x
        1 < +OK|
        1 < :2|
        2 > get x
        2 < $1|2|";
    let joined = "noop\nset x 1 & incr x";
    assert_eq!(places(two, joined), [Some(2), Some(2), Some(2)]);
    assert_eq!(broken(two, "incr x & set x 1"), "wrong reply");
    assert_eq!(broken(two, "set x 1 & incr y"), "asked by nobody");
    assert_eq!(broken(two, "set x 1 & incr x & incr x"), "done twice");
    assert_eq!(broken(&two.replace("$1|2|", "$1|1|"), joined), "impossible read", "nobody sees a half of it");
}

#[test]
fn a_retry_of_a_session_runs_once() {
    let once = "
        1 > 1.1 incr n
        1 < :1|
        2 > get n
        2 < $1|1|";
    assert_eq!(places(once, "open n\n1.1 incr n\n1.1 incr n"), [Some(2), Some(2)]);
    // Nothing says the name: the bytes do.
    assert_eq!(places(&once.replace("1.1 ", ""), "open n\n1.1 incr n\n1.1 incr n"), [Some(2), Some(2)]);
    assert_eq!(broken(once, "open n\n1.1 incr n\nopen m\n3.1 incr n"), "asked by nobody");
    assert_eq!(broken(&once.replace("1.1 ", ""), "open n\n1.1 incr n\nopen m\n3.1 incr n"), "done twice");
}

#[test]
fn sessions_end_and_are_limited() {
    let asked = |name: &str| format!("1 > {name} set x 1\n1 < +OK|");
    assert_eq!(places(&asked("2.1"), "noop\nopen n\n2.1 set x 1"), [Some(3)]);
    assert_eq!(broken(&asked("2.1"), "noop\nopen n\nclose 2\n2.1 set x 1"), "lost write");
    assert_eq!(broken(&asked("2.1"), "noop\nopen n\n+1001 2.1 set x 1"), "lost write");
    assert_eq!(broken(&asked("2.1"), "noop\nopen n\n+1001 noop\n2.1 set x 1"), "lost write");
    assert_eq!(places(&asked("2.1"), "noop\nopen n\n+1000 2.1 set x 1"), [Some(3)]);
    assert_eq!(broken(&asked("5.1"), "noop\nopen n\n5.1 set x 1"), "lost write");
    // The same nonce finds the session, and its use puts off its end.
    assert_eq!(places(&asked("2.1"), "noop\nopen n\n+600 open n\n+600 2.1 set x 1"), [Some(4)]);
    assert_eq!(broken(&asked("3.1"), "noop\nopen n\nopen n\n3.1 set x 1"), "lost write");
    // There is room for two.
    assert_eq!(broken(&asked("3.1"), "open a\nopen b\nopen c\n3.1 set x 1"), "lost write");
    assert_eq!(places(&asked("4.1"), "open a\nopen b\nclose 1\nopen c\n4.1 set x 1"), [Some(5)]);
}

#[test]
fn numbers_of_a_session_run_within_its_window_and_above_its_floor() {
    let asked = |name: &str| format!("1 > {name} set x 1\n1 < +OK|");
    // The window is of four.
    assert_eq!(places(&asked("1.3"), "open a\n1.3 set x 1"), [Some(2)]);
    assert_eq!(broken(&asked("1.4"), "open a\n1.4 set x 1"), "lost write");
    assert_eq!(places(&asked("1.4"), "open a\n/1 1.4 set x 1"), [Some(2)]);
    assert_eq!(places(&asked("1.7"), "open a\n/7 1.7 set x 1"), [Some(2)]);
    // An acknowledgement ends what it covers, its own number and those that never came included.
    let once = "1 > 1.1 incr n\n1 < :1|\n1 > 1.2 set y 1\n1 < +OK|";
    assert_eq!(places(once, "open a\n1.1 incr n\n/2 1.2 set y 1\n1.1 incr n"), [Some(2), Some(3)]);
    let early = format!("1 > 1.1 incr n\n1 < :1|\n{}", asked("1.2"));
    assert_eq!(broken(&early, "open a\n/9 1.1 incr n\n1.2 set x 1"), "lost write");
    assert_eq!(
        places(&early.replace("1.2", "1.9"), "open a\n/9 1.1 incr n\n1.9 set x 1"),
        [Some(2), Some(3)]
    );
    // So does that of a retry.
    let retried = "open a\n1.1 incr n\n/9 1.1 incr n\n1.2 set x 1";
    assert_eq!(broken(&early, retried), "lost write");
}

#[test]
fn a_session_whose_replies_fill_its_memory_runs_nothing_until_some_are_acknowledged() {
    // Twenty bytes are full: three of the first reply, and seven more than the value's length of the second.
    let script =
        |value: &str| format!("1 > 1.1 getset y {value}\n1 > 1.2 getset y 2\n1 > 1.3 set x 1\n1 < +OK|");
    let log =
        |value: &str, ack: u64| format!("open a\n1.1 getset y {value}\n1.2 getset y 2\n/{ack} 1.3 set x 1");
    assert_eq!(broken(&script("1234567890"), &log("1234567890", 1)), "lost write");
    assert_eq!(places(&script("123456789"), &log("123456789", 1)), [Some(2), Some(3), Some(4)]);
    assert_eq!(places(&script("1234567890"), &log("1234567890", 2)), [Some(2), Some(3), Some(4)]);
}

#[test]
fn a_gap_in_the_log_is_the_callers_error_and_said() {
    let mut log = super::super::testing::log("noop\nset x 1\nnoop");
    log.remove(1);
    let broken = replay(KvModel::default(), super::super::testing::LIMITS, &log, &History::new());
    assert_eq!(broken.unwrap_err().rule.broken(), "gap in the log");
}

#[test]
fn equal_writes_are_told_apart_by_their_replies_and_times() {
    let three = "
        1 > set x 1
        2 > set x 1
        1 < +OK|
        3 > set x 2
        3 < +OK|
        2 < +OK|
        4 > get x
        4 < $1|1|";
    // The first of the equal writes in the log must be the one that returned first.
    assert_eq!(places(three, "set x 1\nset x 2\nset x 1"), [Some(1), Some(3), Some(2), Some(3)]);
    let incr = "
        1 > incr n
        2 > incr n
        3 > incr n
        1 < :3|
        2 < :1|";
    assert_eq!(places(incr, "incr n\nincr n\nincr n"), [Some(3), Some(1), Some(2)]);
    assert_eq!(broken(incr, "incr n\nincr n"), "lost write");
}

#[test]
fn a_contradiction_says_who_and_what_would_be_right() {
    let stale = "
        1 > set x 1
        1 < +OK|
        2 > get x
        2 < _|
        3 > set x 3";
    let text = format!("{}", replayed(stale, "set x 1\nset x 3").unwrap_err());
    let expected = "replay: impossible read at index 2: #1 [b\"get\", b\"x\"] of client 2, asked at 30 us, answered Null \
                    at 40 us: no state from index 1 to 1 has this answer; at 1 it is Bulk(b\"1\"); yet it returned before \
                    this was asked: #2 [b\"set\", b\"x\", b\"3\"] of client 3, asked at 50 us, of unknown outcome";
    assert_eq!(text, expected);
}

#[test]
fn a_state_machine_judges_itself() {
    let mut history = HistoryOf::<Itself<Tape>>::new();
    let write = history.ask(1, 1, Request::Write("a".into()));
    history.replied(write, 2, "1".into());
    let once = history.ask(1, 3, Request::Once { session: 1, seq: 1, ack: 0, command: "b".into() });
    history.replied(once, 4, "2".into());
    let read = history.ask(2, 5, Request::Read("all".into()));
    history.replied(read, 6, "a,b,".into());
    let local = history.ask(2, 7, Request::ReadLocal("all".into()));
    history.replied(local, 8, "a,".into());
    let entry = |index, request| Committed { index, stamp: Stamp::default(), applied: None, request };
    let log: Vec<_> = [
        Request::OpenSession { nonce: "n".into() },
        Request::Write("a".into()),
        Request::Once { session: 1, seq: 1, ack: 0, command: "b".into() },
        Request::Once { session: 1, seq: 1, ack: 0, command: "b".into() },
    ]
    .into_iter()
    .zip(1..)
    .map(|(request, index)| entry(index, Some(request)))
    .collect();
    let limits = super::super::testing::LIMITS;
    let placed = replay(Itself::<Tape>::new(0), limits, &log, &history).map(|replayed| replayed.placed);
    assert_eq!(
        placed,
        Ok(std::vec![Some(2), Some(3), Some(3), None]),
        "reads of one node's own state are not judged"
    );
    let broken = replay(Itself::<Tape>::new(0), limits, &log[..2], &history);
    assert_eq!(broken.unwrap_err().rule, super::super::Rule::Kept);
}

/// A run of some clients against one copy of the model, each of whose operations takes effect at some moment between the asking
/// and the reply; and its log.
struct Run {
    history: HistoryOf<KvModel>,
    log: Vec<Committed>,
}

fn run(rng: &mut Rng, operations: usize, clients: u64) -> Run {
    use super::super::model::Model;
    use super::super::testing::words;
    let mut history = HistoryOf::<KvModel>::new();
    let (mut log, mut model) = (Vec::new(), KvModel::default());
    // For each client the operation under way, and its reply once it took effect.
    let mut open: Vec<Option<(OpId, Option<crate::codec::resp::Value>)>> = std::vec![None; clients as usize];
    let mut now = 0;
    while history.operations().len() < operations || open.iter().any(Option::is_some) {
        now += rng.below(3);
        let client = rng.below(clients);
        let slot = &mut open[client as usize];
        match slot.take() {
            None if history.operations().len() < operations => {
                let key = ["x", "y", "z"][rng.below(3) as usize];
                let op: String = match rng.below(8) {
                    0 => format!("set {key} {}", rng.below(3)),
                    1 => format!("mset x {0} y {0}", rng.below(3)),
                    2 | 3 => format!("incr {key}"),
                    4 => format!("del {key}"),
                    5 => "mget x y".into(),
                    6 => "dbsize".into(),
                    _ => format!("get {key}"),
                };
                *slot = Some((history.ask(client, now, words(&op).into()), None));
            }
            None => {}
            Some((id, None)) => {
                let op = &history.operations()[id].op;
                let context = Context::at(log.len() as u64, 0);
                // Some are lost, before or after they took effect.
                if rng.chance(1, 20) {
                    continue;
                }
                let reply = model.step(context, op);
                if let Some(request @ Request::Write(_)) = KvModel::request(op) {
                    let applied = rng.chance(1, 2).then_some(now);
                    let index = log.len() as u64 + 1;
                    log.push(Committed { index, stamp: Stamp::default(), applied, request: Some(request) });
                }
                *slot = (!rng.chance(1, 20)).then_some((id, Some(reply)));
            }
            Some((id, Some(reply))) => history.replied(id, now, reply),
        }
    }
    Run { history, log }
}

#[test]
fn whatever_really_happened_is_right_and_a_changed_reply_is_not() {
    let mut rng = Rng::new(3);
    let mut found = 0;
    for _ in 0..300 {
        let Run { mut history, log } = run(&mut rng, 60, 5);
        let limits = super::super::testing::LIMITS;
        let replayed = replay(KvModel::default(), limits, &log, &history);
        replayed.unwrap_or_else(|broken| panic!("{broken}"));
        let verdict = linearizable(&KvModel::default(), &history, 100_000);
        assert!(matches!(verdict, Verdict::Ok { .. }), "{verdict:?}");
        // A number that nothing writes.
        let ids = 0..history.operations().len();
        let answered: Vec<_> =
            ids.filter(|&id| matches!(history.operations()[id].end, End::Replied { .. })).collect();
        let id = answered[rng.below(answered.len() as u64) as usize];
        history.replied(id, 1_000_000, super::super::testing::value(":77|"));
        found += usize::from(replay(KvModel::default(), limits, &log, &history).is_err());
    }
    assert_eq!(found, 300);
}

/// All placements of the reads, by trying: whether one is right. The log's writes are in the history in its order.
fn has_placement(history: &HistoryOf<KvModel>, writes: &[OpId]) -> bool {
    use super::super::model::Model;
    let operations = history.operations();
    let before = |a: OpId, b: OpId| {
        operations[a].reply().is_some_and(|(when, _)| when.order < operations[b].asked.order)
    };
    let reads: Vec<OpId> = (0..operations.len()).filter(|&id| KvModel::is_read(&operations[id].op)).collect();
    let states: Vec<KvModel> = (0..=writes.len())
        .map(|len| {
            let mut model = KvModel::default();
            for &id in &writes[..len] {
                model.step(Context::at(0, 0), &operations[id].op);
            }
            model
        })
        .collect();
    if (0..writes.len()).any(|late| (0..late).any(|early| before(writes[late], writes[early]))) {
        return false;
    }
    let fits = |read: OpId, place: usize| {
        let expected = states[place].clone().step(Context::at(0, 0), &operations[read].op);
        operations[read].reply().is_some_and(|(_, reply)| *reply == expected)
            && writes[..place].iter().all(|&write| !before(read, write))
            && writes[place..].iter().all(|&write| !before(write, read))
    };
    fn search(
        reads: &[OpId],
        places: &mut Vec<usize>,
        last: usize,
        fits: &dyn Fn(OpId, usize) -> bool,
        before: &dyn Fn(OpId, OpId) -> bool,
    ) -> bool {
        let Some(&read) = reads.get(places.len()) else { return true };
        (0..=last).any(|place| {
            let earlier = reads.iter().zip(places.iter());
            let is_ordered = earlier.clone().all(|(&other, &at)| {
                (!before(other, read) || at <= place) && (!before(read, other) || place <= at)
            });
            if !is_ordered || !fits(read, place) {
                return false;
            }
            places.push(place);
            let found = search(reads, places, last, fits, before);
            places.pop();
            found
        })
    }
    search(&reads, &mut Vec::new(), writes.len(), &fits, &before)
}

#[test]
fn the_sweep_agrees_with_trying_all_placements() {
    use super::super::testing::{value, words};
    let mut rng = Rng::new(17);
    let (mut right, mut wrong) = (0, 0);
    for _ in 0..2_000 {
        let mut history = HistoryOf::<KvModel>::new();
        let (mut open, mut writes, mut log) = (Vec::new(), Vec::new(), Vec::new());
        // Distinct writes, so that the log says which is which.
        while history.operations().len() < 7 || !open.is_empty() {
            if history.operations().len() < 7 && (open.is_empty() || rng.chance(1, 2)) {
                let number = history.operations().len();
                let op = if rng.chance(1, 2) { format!("set x {number}") } else { "get x".into() };
                open.push(history.ask(number as u64, 0, words(&op).into()));
            } else {
                let id = open.swap_remove(rng.below(open.len() as u64) as usize);
                let is_read = KvModel::is_read(&history.operations()[id].op);
                let seen = writes.iter().chain(&open).nth(rng.below(5) as usize);
                let reply = seen.map_or_else(|| "_|".into(), |seen| format!("$1|{seen}|"));
                let reply = if is_read { value(&reply) } else { value("+OK|") };
                if !is_read {
                    // In the order of the replies, mostly.
                    let at = writes.len() - usize::from(rng.chance(1, 4) && !writes.is_empty());
                    writes.insert(at, id);
                }
                history.replied(id, 0, reply);
            }
        }
        for (id, index) in writes.iter().zip(1..) {
            let request = KvModel::request(&history.operations()[*id].op);
            log.push(Committed { index, stamp: Stamp::default(), applied: None, request });
        }
        let replayed = replay(KvModel::default(), super::super::testing::LIMITS, &log, &history);
        assert_eq!(
            replayed.is_ok(),
            has_placement(&history, &writes),
            "{history:#?} {writes:?} {replayed:?}"
        );
        if replayed.is_ok() {
            right += 1;
        } else {
            wrong += 1;
        }
    }
    assert!(right > 200 && wrong > 200, "{right} {wrong}");
}
