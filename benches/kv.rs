//! Commands on a store of 100,000 keys, in an order that no cache likes: parsed once, applied as from a log.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quorate::kv::{Call, KvStore, parse};
use quorate::replica::{Context, StateMachine};
use quorate::rng::Rng;

const KEYS: u64 = 100_000;

fn key(number: u64) -> Bytes {
    Bytes::from(format!("key:{number:012}"))
}

fn packed(words: &[Bytes]) -> Bytes {
    match parse(words) {
        Ok(Call::Write(command)) => command,
        Ok(Call::Read(query)) => query,
        other => panic!("{other:?}"),
    }
}

/// The store, and the same command for each key, shuffled by a seed.
struct Bench {
    store: KvStore,
    index: u64,
    out: Vec<u8>,
}

impl Bench {
    fn new(value: &'static [u8]) -> Self {
        let mut bench = Self { store: KvStore::empty(7), index: 1, out: Vec::new() };
        for number in 0..KEYS {
            let words = [Bytes::from_static(b"SET"), key(number), Bytes::from_static(value)];
            bench.apply(&packed(&words));
        }
        bench
    }

    fn context(&mut self) -> Context {
        self.index += 1;
        self.out.clear();
        Context::at(self.index, 1_700_000_000_000)
    }

    fn apply(&mut self, command: &[u8]) {
        let context = self.context();
        self.store.apply(context, command, &mut self.out);
        black_box(&self.out);
    }

    fn query(&mut self, query: &[u8]) {
        let context = self.context();
        self.store.query(context, query, &mut self.out);
        black_box(&self.out);
    }
}

fn shuffled(words: impl Fn(Bytes) -> Vec<Bytes>) -> impl Iterator<Item = Bytes> {
    let mut rng = Rng::new(1);
    let commands: Vec<_> = (0..KEYS).map(|_| packed(&words(key(rng.below(KEYS))))).collect();
    (0..).map(move |i| commands[i % commands.len()].clone())
}

fn store(c: &mut Criterion) {
    let mut group = c.benchmark_group("kv of 100k keys");
    let mut bench = Bench::new(&[b'x'; 100]);
    let mut sets = shuffled(|key| vec![Bytes::from_static(b"SET"), key, Bytes::from_static(&[b'y'; 100])]);
    group.bench_function("set", |b| b.iter(|| bench.apply(&sets.next().unwrap_or_default())));
    let mut gets = shuffled(|key| vec![Bytes::from_static(b"GET"), key]);
    group.bench_function("get", |b| b.iter(|| bench.query(&gets.next().unwrap_or_default())));
    // As a replica does what is committed or may be answered: it tells of the next commands before it runs them.
    group.throughput(Throughput::Elements(32));
    let mut wave =
        |name: &str, commands: &mut dyn Iterator<Item = Bytes>, run: fn(&mut Bench, &[u8]), told: bool| {
            group.bench_function(name, |b| {
                b.iter(|| {
                    let commands: Vec<_> = commands.take(32).collect();
                    if told {
                        bench.store.prefetch(commands.iter().map(|command| &command[..]));
                    }
                    commands.iter().for_each(|command| run(&mut bench, command));
                });
            });
        };
    wave("32 sets", &mut sets, Bench::apply, false);
    wave("32 sets, told before", &mut sets, Bench::apply, true);
    wave("32 gets", &mut gets, Bench::query, false);
    wave("32 gets, told before", &mut gets, Bench::query, true);
    group.throughput(Throughput::Elements(1));
    // A snapshot's view makes the next write to each part of the tree copy it.
    let mut writes = 0;
    let mut view = bench.store.view();
    group.bench_function("set while views are taken", |b| {
        b.iter(|| {
            writes += 1;
            if writes % 1000 == 0 {
                view = bench.store.view();
            }
            bench.apply(&sets.next().unwrap_or_default());
        });
    });
    drop(view);
    let mut bench = Bench::new(b"1");
    let mut incrs = shuffled(|key| vec![Bytes::from_static(b"INCR"), key]);
    group.bench_function("incr", |b| b.iter(|| bench.apply(&incrs.next().unwrap_or_default())));
    group.finish();
}

criterion_group!(benches, store);
criterion_main!(benches);
