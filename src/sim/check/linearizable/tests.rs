//! The search against trying all orders, and each kind of lie that it does not accept.

use std::string::String;
use std::vec;
use std::vec::Vec;

use super::super::history::{End, History};
use super::super::kv_model::{KvModel, KvOp};
use super::super::model::Part;
use super::super::testing::history;
use super::*;
use crate::replica::Request;
use crate::rng::Rng;

/// Whether the search finds an order.
fn has_order(script: &str) -> bool {
    match linearizable(&KvModel::default(), &history(script), 1_000_000) {
        Verdict::Ok { .. } => true,
        Verdict::Illegal(_) => false,
        Verdict::Undecided { keys } => panic!("undecided: {keys:?}"),
    }
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
    assert!(!has_order(stale));
    assert!(has_order(&stale.replace("$1|1|", "$1|2|")));
    assert!(has_order(&stale.replace("1 < +OK|\n        2 >", "2 >")), "while the write is under way");
}

#[test]
fn a_lost_acknowledged_write_is_found() {
    let lost = "
        1 > append x a
        1 < :1|
        2 > get x
        2 < _|";
    assert!(!has_order(lost));
    assert!(has_order(&lost.replace("1 < :1|\n", "")), "of unknown outcome");
    assert!(!has_order(&lost.replace("_|", "$2|aa|")), "nor may it be done twice");
}

#[test]
fn a_doubled_write_is_found() {
    let doubled = "
        1 > incr n
        2 > get n
        2 < $1|2|";
    assert!(!has_order(doubled));
    assert!(has_order(&doubled.replace("$1|2|", "$1|1|")));
    assert!(has_order(&doubled.replace("1 > incr n", "1 > incr n\n 3 > incr n")));
    assert!(!has_order("1 > incr n\n1 not done\n2 > get n\n2 < $1|1|"), "what was not done is not seen");
}

#[test]
fn a_write_that_shows_before_it_was_asked_is_found() {
    let early = "
        2 > get x
        2 < $1|1|
        1 > set x 1
        1 < +OK|";
    assert!(!has_order(early));
    assert!(!has_order(&early.replace("1 < +OK|", "")), "and one of unknown outcome too");
}

#[test]
fn reads_do_not_go_back() {
    let back = "
        1 > set x 1
        2 > get x
        2 < $1|1|
        3 > get x
        3 < _|";
    assert!(!has_order(back));
    assert!(has_order(&back.replace("3 > get x", "").replace("2 > get x", "2 > get x\n 3 > get x")));
}

#[test]
fn the_reply_of_another_operation_is_found() {
    let swapped = "
        1 > append x ab
        2 > append x c
        1 < :1|
        2 < :3|";
    assert!(!has_order(swapped));
    assert!(has_order(&swapped.replace("1 < :1|", "1 < :2|")));
}

#[test]
fn keys_are_looked_at_by_themselves() {
    // Each key of a torn MSET has an order: only the replay sees that they have none together.
    let torn = "
        1 > mset a 1 b 1
        2 > mget a b
        2 < *2|$1|1|_|
        1 < +OK|";
    assert!(has_order(torn));
    let stale = "
        1 > mset a 1 b 1
        1 < +OK|
        2 > mget a b
        2 < *2|$1|1|_|";
    assert!(!has_order(stale));
    let verdict = linearizable(&KvModel::default(), &history(torn), 100);
    assert_eq!(verdict, Verdict::Ok { objects: 2, steps: 5 });
    assert!(!has_order("1 > del a b\n1 < :0|\n1 > set a 1\n1 < +OK|\n1 > del a b\n1 < :0|"));
    assert!(!has_order("1 > set a 1\n1 < +OK|\n1 > del a\n1 < :1|\n2 > scan 0\n2 < *2|$1|7|*1|$1|a|"));
}

#[test]
fn keys_of_which_only_the_log_tells_are_left_out() {
    let with_deadline =
        "1 > set x 1 px 5\n1 < +OK|\n1 > get x\n1 < _|\n1 > set y 1\n1 < +OK|\n1 > get y\n1 < ";
    assert!(has_order(&std::format!("{with_deadline}$1|1|")));
    assert!(!has_order(&std::format!("{with_deadline}_|")), "the others are judged");
    assert!(
        has_order(&std::format!("2 > copy y x\n2 < :0|\n{with_deadline}_|")),
        "it stands together with the other"
    );
    // A deadline of unknown outcome is one; one that was refused is none.
    assert!(has_order("1 > set x 1\n1 < +OK|\n2 > expire x 1\n1 > get x\n1 < _|"));
    assert!(!has_order("1 > set x 1\n1 < +OK|\n2 > expire x 1\n2 not done\n1 > get x\n1 < _|"));
}

#[test]
fn what_touches_every_key_is_seen_at_each() {
    let flushed = "1 > mset a 1 b 2\n1 < +OK|\n1 > flushall\n1 < +OK|\n1 > get b\n1 < ";
    assert!(has_order(&std::format!("{flushed}_|")));
    assert!(!has_order(&std::format!("{flushed}$1|2|")));
    assert!(!has_order("1 > set a 1\n1 < +OK|\n1 > randomkey\n1 < _|"));
    assert!(has_order("1 > set a 1\n2 > randomkey\n2 < _|\n1 < +OK|"));
}

#[test]
fn a_torn_rename_is_found_and_a_torn_transaction() {
    let renamed = "1 > set a 1\n1 < +OK|\n1 > rename a b\n1 < +OK|\n1 > get a\n1 < ";
    assert!(has_order(&std::format!("{renamed}_|\n1 > get b\n1 < $1|1|")));
    assert!(!has_order(&std::format!("{renamed}_|\n1 > get b\n1 < _|")));
    assert!(!has_order(&std::format!("{renamed}$1|1|")));
    let torn = |seen: &str| {
        let mut history = HistoryOf::<KvModel>::new();
        let words = super::super::testing::words;
        let commands = std::vec![words("set a 1"), words("set b 1")];
        history.ask(1, 0, KvOp::Transaction { watched: Vec::new(), commands });
        for (key, reply) in [("a", "$1|1|"), ("b", seen)] {
            let id = history.ask(2, 1, words(&std::format!("get {key}")).into());
            history.replied(id, 2, super::super::testing::value(reply));
        }
        !matches!(linearizable(&KvModel::default(), &history, 1_000), Verdict::Ok { .. })
    };
    assert!(torn("_|") && !torn("$1|1|"));
}

#[test]
fn what_is_reported_is_the_first_return_that_no_order_reaches() {
    let script = "
        1 > set x 1
        1 < +OK|
        2 > set x 2
        3 > get x
        3 < $1|1|
        2 < +OK|
        4 > append x z
        3 > get x
        3 < $1|1|
        1 > get x
        1 < $1|9|";
    let Verdict::Illegal(illegal) = linearizable(&KvModel::default(), &history(script), 1_000) else {
        panic!()
    };
    assert_eq!((illegal.unexplained, &illegal.concurrent[..]), (4, &[][..]));
    assert_eq!(illegal.order, [0, 2, 1]);
    let text = std::format!("{illegal}");
    assert!(text.starts_with("linearizable: no order of the operations on [b\"x\"] explains #4"), "{text}");
    assert!(text.contains("done          #0") && text.ends_with("{b\"x\": b\"2\"} }"), "{text}");
}

#[test]
fn many_unknown_outcomes_cost_little_while_there_is_an_order() {
    let mut history = HistoryOf::<KvModel>::new();
    let mut number = 0;
    for at in 0..2_000 {
        let words = |op: &str| KvOp::from(super::super::testing::words(op));
        // A hundred increments are lost, every fifth of which was done.
        if at % 20 == 0 {
            history.ask(at, at, words("incr n"));
            number += i64::from(at % 100 == 0);
        }
        number += 1;
        let id = history.ask(1, at, words("incr n"));
        history.replied(id, at, crate::codec::resp::Value::Integer(number));
    }
    let verdict = linearizable(&KvModel::default(), &history, 10_000);
    assert!(matches!(verdict, Verdict::Ok { steps, .. } if steps < 7_000), "{verdict:?}");
}

#[test]
fn equal_operations_of_unknown_outcome_are_not_tried_in_all_their_orders() {
    let lost = "1 > incr n\n".repeat(12);
    let Verdict::Illegal(illegal) =
        linearizable(&KvModel::default(), &history(&std::format!("{lost} 2 > get n\n2 < $2|13|")), 200)
    else {
        panic!("undecided")
    };
    assert_eq!(illegal.unexplained, 12);
    assert!(has_order(&std::format!("{lost} 2 > get n\n2 < $2|12|")));
}

#[test]
fn what_overwrites_one_key_of_an_object_does_not_overwrite_the_others() {
    let mut history = HistoryOf::<Registers>::new();
    let mut done = |op: Op, reply: Option<u8>| {
        let id = history.ask(1, 0, op);
        reply.into_iter().for_each(|reply| history.replied(id, 0, reply));
    };
    done(Op::Put(0, 2), Some(0));
    done(Op::Move, None);
    done(Op::Put(0, 1), Some(0));
    done(Op::Get(1), Some(2));
    done(Op::Get(0), Some(1));
    let verdict = linearizable(&Registers::default(), &history, 100);
    assert!(matches!(verdict, Verdict::Ok { objects: 1, .. }), "{verdict:?}");
}

#[test]
fn a_budget_that_is_used_up_decides_nothing() {
    let mut history = HistoryOf::<KvModel>::new();
    let words = |op: String| KvOp::from(super::super::testing::words(&op));
    for n in 0..20 {
        history.ask(n, 0, words(std::format!("append x {n}")));
    }
    let id = history.ask(1, 1, words("get x".into()));
    history.replied(id, 1, super::super::testing::value("$1|?|"));
    let id = history.ask(1, 1, words("get y".into()));
    history.replied(id, 1, super::super::testing::value("_|"));
    let verdict = linearizable(&KvModel::default(), &history, 1_000);
    assert_eq!(verdict, Verdict::Undecided { keys: vec![Bytes::from_static(b"x")] });
    let id = history.ask(1, 2, words("get y".into()));
    history.replied(id, 2, super::super::testing::value(":1|"));
    let verdict = linearizable(&KvModel::default(), &history, 1_000);
    assert!(
        matches!(verdict, Verdict::Illegal(illegal) if illegal.unexplained == id),
        "another key may still be wrong"
    );
}

/// Two registers, and what moves one into the other.
#[derive(Debug, Clone, Hash, Default)]
struct Registers([u8; 2]);

#[derive(Debug, Clone, PartialEq)]
enum Op {
    Get(usize),
    Set(usize, u8),
    /// Answers nothing.
    Put(usize, u8),
    Add(usize),
    Move,
}

impl Model for Registers {
    type Op = Op;
    type Reply = u8;

    fn step(&mut self, _: Context, op: &Op) -> u8 {
        match *op {
            Op::Get(at) => self.0[at],
            Op::Set(at, to) => core::mem::replace(&mut self.0[at], to),
            Op::Put(at, to) => {
                self.0[at] = to;
                0
            }
            Op::Add(at) => {
                self.0[at] += 1;
                self.0[at]
            }
            Op::Move => {
                self.0[1] = core::mem::take(&mut self.0[0]);
                self.0[1]
            }
        }
    }

    fn request(_: &Op) -> Option<Request> {
        None
    }

    fn is_read(op: &Op) -> bool {
        matches!(op, Op::Get(_))
    }

    fn parts(op: &Op, reply: Option<&u8>) -> Vec<Part<Op, u8>> {
        let keys = match *op {
            Op::Get(at) | Op::Set(at, _) | Op::Put(at, _) | Op::Add(at) => vec![Bytes::from(vec![at as u8])],
            Op::Move => vec![Bytes::from_static(&[0]), Bytes::from_static(&[1])],
        };
        vec![Part { keys, op: op.clone(), reply: reply.copied(), needs_log: false }]
    }

    fn overwrites(op: &Op) -> bool {
        matches!(op, Op::Put(..))
    }
}

fn random_op(rng: &mut Rng) -> Op {
    let at = rng.below(2) as usize;
    match rng.below(12) {
        0..=4 => Op::Get(at),
        5 | 6 => Op::Set(at, rng.below(3) as u8),
        7 | 8 => Op::Put(at, rng.below(3) as u8),
        9 | 10 => Op::Add(at),
        _ => Op::Move,
    }
}

/// Whether any order of a history's operations explains its replies, by trying all.
fn brute_force(state: &Registers, history: &HistoryOf<Registers>, placed: &mut Vec<bool>) -> bool {
    let operations = history.operations();
    let left = |id: &usize| !placed[*id] && operations[*id].end != End::NotDone;
    let left: Vec<OpId> = (0..operations.len()).filter(left).collect();
    let returns = left.iter().filter_map(|&id| operations[id].reply()).map(|(when, _)| when.order).min();
    let Some(first_return) = returns else { return true };
    left.into_iter().filter(|&id| operations[id].asked.order < first_return).any(|id| {
        let mut next = state.clone();
        let expected = next.step(NOWHERE, &operations[id].op);
        if operations[id].reply().is_some_and(|(_, reply)| *reply != expected) {
            return false;
        }
        placed[id] = true;
        let found = brute_force(&next, history, placed);
        placed[id] = false;
        found
    })
}

/// A small history whose replies are drawn, or, if `honest`, those of one copy at some moment of each operation.
fn small_history(rng: &mut Rng, honest: bool) -> HistoryOf<Registers> {
    let (mut history, mut open): (HistoryOf<Registers>, Vec<(OpId, Option<u8>)>) =
        (History::new(), Vec::new());
    let mut state = Registers::default();
    let count = 2 + rng.below(6) as usize;
    while history.operations().len() < count || !open.is_empty() {
        if history.operations().len() < count && (open.is_empty() || rng.chance(1, 2)) {
            open.push((history.ask(0, 0, random_op(rng)), None));
            continue;
        }
        let at = rng.below(open.len() as u64) as usize;
        let (id, reply) = open.swap_remove(at);
        let is_lost = rng.chance(1, 6);
        match reply {
            _ if !honest && is_lost => {}
            _ if !honest && rng.chance(1, 12) => history.not_done(id),
            _ if !honest => {
                let is_put = matches!(history.operations()[id].op, Op::Put(..));
                history.replied(id, 0, if is_put { 0 } else { rng.below(3) as u8 });
            }
            None if is_lost => {}
            None => {
                let reply = state.step(NOWHERE, &history.operations()[id].op);
                open.push((id, Some(reply)));
            }
            Some(_) if is_lost => {}
            Some(reply) => history.replied(id, 0, reply),
        }
    }
    history
}

#[test]
fn the_search_agrees_with_trying_all_orders() {
    let mut rng = Rng::new(5);
    let (mut legal, mut illegal) = (0, 0);
    for round in 0..6_000 {
        let honest = round % 4 == 0;
        let history = small_history(&mut rng, honest);
        let verdict = linearizable(&Registers::default(), &history, 100_000);
        let found = matches!(verdict, Verdict::Ok { .. });
        let mut placed = vec![false; history.operations().len()];
        assert_eq!(found, brute_force(&Registers::default(), &history, &mut placed), "{history:#?}");
        assert!(found || !honest, "{history:#?}");
        if let Verdict::Illegal(found) = verdict {
            illegal += 1;
            assert!(!has_order_up_to(&history, found.unexplained), "{history:#?}");
        } else {
            legal += 1;
        }
    }
    assert!(legal > 1_800 && illegal > 3_000, "{legal} {illegal}");
}

/// Whether what was asked before the return of operation `last` has an order.
fn has_order_up_to(history: &HistoryOf<Registers>, last: OpId) -> bool {
    let end = history.operations()[last].reply().unwrap().0.order;
    let asked = history.operations().iter().filter(|operation| operation.asked.order < end);
    let mut moments = Vec::new();
    for (id, operation) in asked.enumerate() {
        moments.push((operation.asked.order, id, operation, None));
        moments.extend(operation.reply().map(|(when, reply)| (when.order, id, operation, Some(*reply))));
    }
    moments.sort_unstable_by_key(|&(order, ..)| order);
    let mut part = History::new();
    for (order, id, operation, reply) in moments {
        if let Some(reply) = reply {
            part.replied(id, order, reply);
        } else {
            part.ask(0, order, operation.op.clone());
            if operation.end == End::NotDone {
                part.not_done(id);
            }
        }
    }
    matches!(linearizable(&Registers::default(), &part, 100_000), Verdict::Ok { .. })
}
