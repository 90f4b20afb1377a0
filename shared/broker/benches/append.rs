//! Wall time of durable appends to the embedded log, each after its fsync: `make microbench`.
#![expect(clippy::expect_used, reason = "what fails must not be measured")]

use broker::{Append, Broker, Embedded, Options};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use protocol::ids::ChannelId;
use std::cell::Cell;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

/// Bytes of an envelope. Performance page.
const ENVELOPE_BYTES: usize = 600;

/// Senders with one append outstanding each. Performance page.
const SENDERS: u64 = 200;

fn log_append(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker::Embedded(Embedded::open(folder.path(), Options::default()).expect("a log"));
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let keys = Cell::new(0);
    let append = |sender: u64| {
        keys.set(keys.get() + 1);
        Append {
            channel: ChannelId::parse(&format!("c{sender}")).expect("a channel"),
            dedup_key: keys.get(),
            envelope: Bytes::from(vec![b'x'; ENVELOPE_BYTES]),
            expect: None,
        }
    };
    let mut group = criterion.benchmark_group("log append");
    group.sample_size(20);
    for senders in [1, SENDERS] {
        group.throughput(Throughput::Elements(senders));
        group.bench_function(format!("{senders} at once"), |bencher| {
            let batch = || (0..senders).map(append).collect::<Vec<_>>();
            let run = |batch: Vec<Append>| {
                runtime.block_on(async {
                    let mut appends: JoinSet<_> = batch
                        .into_iter()
                        .map(|append| {
                            let broker = broker.clone();
                            async move { broker.append(append).await.expect("appended") }
                        })
                        .collect();
                    while appends.join_next().await.is_some() {}
                });
            };
            bencher.iter_batched(batch, run, BatchSize::PerIteration);
        });
    }
    group.finish();
    runtime.block_on(broker.drain());
}

criterion_group!(benches, log_append);
criterion_main!(benches);
