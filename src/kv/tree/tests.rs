use super::*;
use crate::kv::record::Meta;
use crate::rng::Rng;
use alloc::collections::BTreeMap;

type Model = BTreeMap<(u64, Vec<u8>), Vec<u8>>;

fn record(key: &[u8], value: &[u8]) -> Record {
    Record::new(Meta { version: 1, deadline: 0 }, key, value, &mut Vec::new())
}

/// Gives the key a value; the one that it had.
fn put(tree: &mut Tree, hash: u64, key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let mut old = None;
    tree.upsert(hash, key, |found| {
        let Some(found) = found else { return Some(record(key, value)) };
        old = Some(found.value().to_vec());
        *found = record(key, value);
        None
    });
    old
}

/// Checks order, bounds, fill and equal height, and returns the height.
fn check(tree: &Tree, runs: bool) -> usize {
    fn node(at: &Node, low: Option<u64>, high: Option<u64>, root: bool, runs: bool) -> usize {
        assert!(root || runs || at.len() >= MIN, "{} of {MIN}", at.len());
        assert!(runs || at.len() <= MAX);
        match at {
            Node::Leaf(slots) => {
                for slot in slots.iter() {
                    assert!(
                        low.is_none_or(|low| low <= slot.hash) && high.is_none_or(|high| slot.hash < high)
                    );
                }
                assert!(slots.is_sorted_by(|a, b| (a.hash, a.record.key()) < (b.hash, b.record.key())));
                assert_eq!(slots.spilled(), slots.len() > MAX);
                1
            }
            Node::Inner(inner) => {
                assert_eq!(inner.bounds.len() + 1, inner.children.len());
                assert!(inner.bounds.is_sorted_by(|a, b| a < b));
                assert!(inner.children.len() >= 2 || runs);
                let mut heights = inner.children.iter().enumerate().map(|(i, child)| {
                    let low = if i == 0 { low } else { Some(inner.bounds[i - 1]) };
                    node(child, low, inner.bounds.get(i).copied().or(high), false, runs)
                });
                let height = heights.next().unwrap();
                assert!(heights.all(|other| other == height), "leaves of different depth");
                height + 1
            }
        }
    }
    assert_eq!(tree.range(0).count(), tree.len());
    node(&tree.root, None, None, true, runs)
}

fn assert_same(tree: &Tree, model: &Model) {
    assert_eq!(tree.len(), model.len());
    let mut expected = model.iter();
    for (hash, record) in tree.range(0) {
        let ((h, key), value) = expected.next().unwrap();
        assert_eq!((hash, record.key(), record.value()), (*h, &key[..], &value[..]));
    }
    assert!(expected.next().is_none());
}

fn key(n: u64) -> Vec<u8> {
    alloc::format!("key:{n}").into_bytes()
}

/// Random insertions, changes, removals and pictures, in waves that grow and shrink, against a `BTreeMap`.
fn against_model(seed: u64, keys: u64, hash: fn(u64) -> u64, runs: bool) {
    let mut rng = Rng::new(seed);
    let (mut tree, mut model) = (Tree::new(), Model::new());
    let mut views: Vec<(Tree, Model)> = Vec::new();
    for step in 0..40_000_u64 {
        let n = rng.below(keys);
        let (h, k) = (hash(n), key(n));
        let growing = step / 8_000 % 2 == 0;
        if rng.chance(if growing { 8 } else { 2 }, 10) {
            let value = step.to_le_bytes().to_vec();
            if rng.chance(1, 4)
                && let Some(found) = tree.get_mut(h, &k)
            {
                found.set_value(Meta { version: step, deadline: 0 }, &value, &mut Vec::new());
                model.insert((h, k), value);
            } else {
                let old = put(&mut tree, h, &k, &value);
                assert_eq!(old, model.insert((h, k), value));
            }
        } else {
            let old = tree.remove(h, &k);
            assert_eq!(old.map(|record| record.value().to_vec()), model.remove(&(h, k)));
        }
        let other = rng.below(keys);
        let found = tree.get(hash(other), &key(other)).map(|record| record.value().to_vec());
        assert_eq!(found, model.get(&(hash(other), key(other))).cloned());
        if rng.chance(1, 2_000) {
            views.push((tree.clone(), model.clone()));
        }
        if views.len() > 3 {
            let (view, then) = views.remove(rng.below(3) as usize);
            assert_same(&view, &then);
        }
        if step % 1_000 == 0 {
            check(&tree, runs);
            assert_same(&tree, &model);
        }
    }
    for (view, then) in views {
        check(&view, runs);
        assert_same(&view, &then);
    }
    for (h, k) in model.keys() {
        assert!(tree.remove(*h, k).is_some());
    }
    assert_eq!((tree.len(), check(&tree, runs)), (0, 1));
}

#[test]
fn the_tree_agrees_with_a_map_and_its_pictures_stay() {
    against_model(1, 5_000, |n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15), false);
    against_model(2, 300, |n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15), false);
    against_model(3, 100_000, |n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15), false);
}

#[test]
fn keys_of_one_hash_are_kept_apart() {
    against_model(4, 2_000, |n| n % 97, true);
    against_model(5, 500, |_| u64::MAX, true);
    against_model(6, 2_000, |n| if n % 3 == 0 { 0 } else { n << 40 }, true);
}

#[test]
fn slots_are_three_words() {
    assert_eq!((size_of::<Slot>(), size_of::<Node>()), (24, 16));
}

#[test]
fn the_depth_is_logarithmic_in_the_records_that_are_left() {
    let mut tree = Tree::new();
    for n in 0..100_000_u64 {
        put(&mut tree, n, &key(n), b"");
    }
    // Ascending hashes leave every node half full: the worst there is without removals.
    assert!(check(&tree, false) <= 4);
    for n in 0..100_000_u64 {
        if n % 1_000 != 0 {
            tree.remove(n, &key(n));
        }
    }
    assert_eq!(tree.len(), 100);
    assert_eq!(check(&tree, false), 2);
}

#[test]
fn a_range_begins_anywhere() {
    let mut tree = Tree::new();
    for n in 0..1_000_u64 {
        put(&mut tree, n * 10, &key(n), b"");
    }
    for from in [0, 1, 9, 10, 11, 5_000, 5_001, 9_989, 9_990] {
        let first = tree.range(from).next().map(|(hash, _)| hash);
        assert_eq!(first, Some(from.div_ceil(10) * 10), "{from}");
        assert_eq!(tree.range(from).count() as u64, 1_000 - from.div_ceil(10));
    }
    assert!(tree.range(9_991).next().is_none() && tree.range(u64::MAX).next().is_none());
    assert!(Tree::new().range(0).next().is_none());
}

#[test]
fn the_removal_of_nothing_copies_nothing() {
    let mut tree = Tree::new();
    for n in 0..1_000_u64 {
        put(&mut tree, n, &key(n), b"");
    }
    let view = tree.clone();
    assert!(tree.remove(5, b"other").is_none());
    let (Node::Inner(mine), Node::Inner(its)) = (&tree.root, &view.root) else { panic!("too small") };
    assert!(Arc::ptr_eq(mine, its));
}

#[test]
fn without_a_picture_writes_are_in_place_and_with_one_they_copy_one_path() {
    fn leaves(tree: &Tree) -> Vec<*const Leaf> {
        fn walk(node: &Node, out: &mut Vec<*const Leaf>) {
            match node {
                Node::Leaf(slots) => out.push(Arc::as_ptr(slots)),
                Node::Inner(inner) => inner.children.iter().for_each(|child| walk(child, out)),
            }
        }
        let mut out = Vec::new();
        walk(&tree.root, &mut out);
        out
    }
    let mut tree = Tree::new();
    for n in 0..1_000_u64 {
        put(&mut tree, n, &key(n), b"");
    }
    let before = leaves(&tree);
    put(&mut tree, 500, &key(500), b"new");
    assert_eq!(leaves(&tree), before);
    let view = tree.clone();
    put(&mut tree, 500, &key(500), b"newer");
    let moved = leaves(&tree).iter().zip(&before).filter(|(a, b)| a != b).count();
    assert_eq!((moved, leaves(&view)), (1, before));
}

#[test]
fn a_tree_built_in_order_is_like_any_other() {
    for len in [0, 1, 15, 16, 55, 56, 57, 71, 72, 112, 1_000, 3_136, 3_137, 3_150, 10_000] {
        let mut builder = Builder::new();
        let mut model = Model::new();
        for n in 0..len {
            assert!(builder.push(n << 8, record(&key(n), b"v")));
            model.insert((n << 8, key(n)), b"v".to_vec());
        }
        let mut tree = builder.finish();
        check(&tree, false);
        assert_same(&tree, &model);
        for n in 0..len {
            put(&mut tree, n << 8 | 1, &key(n), b"w");
            assert!(tree.remove(n << 8, &key(n)).is_some());
        }
        check(&tree, false);
    }
}

#[test]
fn building_refuses_what_is_out_of_order_or_there_twice() {
    let mut builder = Builder::new();
    assert!(builder.push(5, record(b"b", b"")));
    assert!(!builder.push(5, record(b"b", b"")));
    assert!(!builder.push(5, record(b"a", b"")));
    assert!(!builder.push(4, record(b"z", b"")));
    for n in 0..200_u64 {
        assert!(builder.push(5, record(&alloc::format!("c{n:03}").into_bytes(), b"")));
    }
    assert!(builder.push(6, record(b"a", b"")));
    assert!(!builder.push(5, record(b"z", b"")));
    let tree = builder.finish();
    assert_eq!((tree.len(), check(&tree, true)), (202, 2));
    assert!(tree.get(5, b"c100").is_some() && tree.get(6, b"a").is_some());
}

#[test]
fn a_prefetch_takes_any_hashes_of_any_tree_and_changes_nothing() {
    let mut rng = Rng::new(5);
    for records in [0, 1, 10, 1000, 20_000] {
        let mut tree = Tree::new();
        for _ in 0..records {
            let hash = rng.next_u64();
            put(&mut tree, hash, &hash.to_le_bytes(), b"value");
        }
        let before: Vec<_> = tree.range(0).map(|(hash, record)| (hash, record.bytes().to_vec())).collect();
        for hashes in [0, 1, 2, 32, 100] {
            tree.prefetch((0..hashes).map(|_| rng.next_u64()).chain([0, u64::MAX]));
        }
        let after: Vec<_> = tree.range(0).map(|(hash, record)| (hash, record.bytes().to_vec())).collect();
        assert_eq!(before, after);
    }
}

/// How many leaves somebody else holds, too, by themselves or with what is above them.
fn shared(node: &Node, above: bool) -> usize {
    match node {
        Node::Leaf(slots) => usize::from(above || Arc::strong_count(slots) > 1),
        Node::Inner(inner) => {
            let is_shared = above || Arc::strong_count(inner) > 1;
            inner.children.iter().map(|child| shared(child, is_shared)).sum()
        }
    }
}

#[test]
fn what_remains_is_in_order_and_lets_go_of_what_has_passed() {
    const RECORDS: u64 = 20_000;
    let mut tree = Tree::new();
    for n in 0..RECORDS {
        put(&mut tree, n.wrapping_mul(0x9e37_79b9_7f4a_7c15), &n.to_le_bytes(), b"before");
    }
    let order: Vec<_> = tree.range(0).map(|(hash, record)| (hash, record.key().to_vec())).collect();
    let mut remaining = tree.clone().into_remaining();
    for (passed, (hash, key)) in order.iter().enumerate() {
        if passed % 1_000 == 0 {
            let (leaves, left) = (shared(&tree.root, false), order.len() - passed);
            assert!(leaves * MAX >= left - MAX && leaves * MIN <= left + MAX, "{leaves} leaves for {left}");
        }
        if passed < order.len() / 2 {
            // What is written meanwhile, behind and ahead, is no part of it; a leaf that is written is not shared any more.
            put(&mut tree, order[passed / 2].0, &order[passed / 2].1, b"after");
            put(&mut tree, *hash, key, b"after");
        }
        let record = remaining.first().unwrap();
        assert_eq!((record.key(), record.value()), (&key[..], &b"before"[..]));
        remaining.pass();
    }
    assert!(remaining.first().is_none());
    assert_eq!(shared(&tree.root, false), 0);
}

#[test]
fn nothing_remains_of_an_empty_tree() {
    let mut remaining = Tree::new().into_remaining();
    assert!(remaining.first().is_none());
    remaining.pass();
    assert!(remaining.first().is_none());
}
