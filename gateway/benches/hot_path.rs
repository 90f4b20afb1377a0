//! Wall time of the hot path's pieces: `make microbench`. Compare only within one run.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::workload::{Deliver, Encode, Send};
use std::hint::black_box;

/// Members of the room. Performance page.
const MEMBERS: u64 = 1_000;

fn codec(criterion: &mut Criterion) {
    let mut send = Send::new();
    criterion.bench_function("codec: a send, from its bytes to envelope and ack", |bencher| {
        bencher.iter(|| black_box(send.run()));
    });
}

fn encode(criterion: &mut Criterion) {
    let encode = Encode::default();
    criterion.bench_function("encode: an envelope to frames of three dialects", |bencher| {
        bencher.iter(|| black_box(encode.run()));
    });
}

fn hub(criterion: &mut Criterion) {
    let mut deliver = Deliver::new(MEMBERS);
    let mut group = criterion.benchmark_group("hub");
    group.throughput(Throughput::Elements(MEMBERS));
    group.bench_function("one event to 1,000 outboxes, flushed", |bencher| {
        bencher.iter(|| black_box(deliver.run()));
    });
    group.finish();
}

criterion_group!(hot_path, codec, encode, hub);
criterion_main!(hot_path);
