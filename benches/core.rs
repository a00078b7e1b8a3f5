//! Proposal to commit across three cores in one thread: entries of 100 bytes, alone and in batches of 64; the figure is the time
//! of a batch on all three cores together, until its leader has applied it. `benches/cores` measures the same cluster beside
//! another core, and counts allocations.

#[allow(dead_code)]
#[path = "cores/src/trio.rs"]
mod trio;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use trio::Trio;

fn commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit");
    for batch in [1, 64] {
        let mut trio = Trio::new(1);
        let payloads = || -> Vec<_> { (0..batch).map(|_| Bytes::from(vec![7; 100])).collect() };
        group.throughput(Throughput::Elements(batch));
        group.bench_function(BenchmarkId::from_parameter(batch), |b| {
            b.iter_batched(payloads, |payloads| trio.propose(payloads), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, commit);
criterion_main!(benches);
