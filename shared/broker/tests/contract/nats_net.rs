//! The net under lost copies on NATS, and what a group that is far behind costs.

use crate::nats::Nats;
use crate::world::{DEADLINE, PERSISTENCE, Wishes, World, append, channel, in_time, texts, whole};
use broker::{Broker, LiveEvent, NatsOptions, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use protocol::ids::{ChannelId, Position};
use protocol::subjects::{SHARDS, Shard, Slot, nats as names};
use runtime::shutdown::Shutdown;
use std::collections::BTreeSet;
use std::time::Duration;

async fn client(world: &Nats) -> async_nats::Client {
    in_time("a connection", async_nats::connect(world.url())).await.unwrap()
}

/// Waits until a digest tells a head; whatever else comes is passed over.
async fn told(subscriber: &mut Subscriber, channel: &ChannelId, place: &Position) {
    let told = async {
        loop {
            let event = subscriber.next().await.expect("a subscription");
            let LiveEvent::Heads { epoch, heads } = event else { continue };
            if epoch == place.epoch && heads.contains(&(channel.clone(), place.seq)) {
                return;
            }
        }
    };
    in_time("the digest", told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_tells_a_head_whose_copy_was_not_heard() {
    let world = Nats::new();
    let (broker, other) = (world.open().await, world.open().await);
    let telling = tokio::spawn(async move { other.digest().await });
    let general = channel("general");
    // No slot is subscribed: the copy goes by.
    let (_control, mut subscriber) = broker.subscriber().await.unwrap();
    let place = append(&broker, &general, "unheard").await;
    match in_time("a digest", subscriber.next()).await {
        Some(LiveEvent::Heads { epoch, heads }) => {
            assert_eq!((epoch, heads), (place.epoch, vec![(general, place.seq)]));
        }
        other => panic!("{other:?}"),
    }
    telling.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn digests_go_on_after_the_server_was_killed() {
    let world = Nats::new();
    let (broker, other) = (world.open().await, world.open().await);
    let telling = tokio::spawn(async move { other.digest().await });
    let general = channel("general");
    let (_control, mut subscriber) = broker.subscriber().await.unwrap();
    let before = append(&broker, &general, "before").await;
    told(&mut subscriber, &general, &before).await;
    world.kill();
    world.start();
    let after = append(&broker, &general, "after").await;
    told(&mut subscriber, &general, &after).await;
    telling.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_whose_copies_do_not_come_holds_up_no_other() {
    let world = Nats::new();
    let broker = world.open().await;
    let (_control, mut subscriber) = broker.subscriber().await.unwrap();
    let streams = async_nats::jetstream::new(client(&world).await);
    let mute = Shard(3);
    let found = streams.get_stream(names::stream(mute)).await.unwrap().cached_info().config.clone();
    let without = async_nats::jetstream::stream::Config { republish: None, ..found };
    streams.update_stream(without).await.unwrap();
    world.kill();
    world.start();
    let mut doubted = BTreeSet::new();
    let others = async {
        while doubted.len() < usize::from(SHARDS) - 1 {
            match subscriber.next().await {
                Some(LiveEvent::Lost(Some(shard))) => doubted.insert(shard),
                other => panic!("{other:?}"),
            };
        }
    };
    in_time("the doubt of every other shard", others).await;
    assert!(!doubted.contains(&mute));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_shed_and_makes_nobody_doubt_the_log() {
    let world = Nats::new();
    let broker = world.open_with(Wishes { live_queue: 4_096, ..Wishes::default() }).await;
    let general = channel("general");
    let (control, mut subscriber) = broker.subscriber().await.unwrap();
    control.add(&[Slot::of(&general)]).await;
    for n in 0..30_000 {
        broker.publish(&general, Bytes::from(format!("typing {n}"))).await.unwrap();
    }
    append(&broker, &general, "heard").await;
    let (mut passing, mut heard) = (0, false);
    let listening = async {
        while !heard || passing == 0 {
            match subscriber.next().await {
                Some(LiveEvent::Ephemeral { .. }) => passing += 1,
                Some(LiveEvent::Durable { .. }) => heard = true,
                other => panic!("{other:?}"),
            }
        }
    };
    in_time("the entry", listening).await;
    while let Some(event) = subscriber.try_next() {
        assert!(matches!(event, LiveEvent::Ephemeral { .. }), "{event:?}");
    }
}

/// Publishes as a gateway would, many at once.
async fn fill(world: &Nats, subject: String, count: usize) {
    let streams = async_nats::jetstream::new(client(world).await);
    for first in (0..count).step_by(500) {
        let mut acks = Vec::new();
        for n in first..count.min(first + 500) {
            acks.push(streams.publish(subject.clone(), Bytes::from(n.to_string())).await.unwrap());
        }
        for ack in acks {
            ack.await.unwrap();
        }
    }
}

/// Counts what is asked of the server under a subject, from now on.
async fn asked(world: &Nats, subject: &str) -> (async_nats::Client, async_nats::Subscriber) {
    let client = client(world).await;
    let asked = client.subscribe(subject.to_owned()).await.unwrap();
    client.flush().await.unwrap();
    (client, asked)
}

async fn consume_all(broker: &Broker, count: usize) -> Vec<String> {
    let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
    let mut found = Vec::new();
    while found.len() < count {
        let batch = in_time("a batch", consumer.fetch(500, DEADLINE)).await.unwrap();
        consumer.ack(&batch.iter().map(|delivery| delivery.id).collect::<Vec<_>>()).await;
        found.extend(batch.into_iter().map(|delivery| crate::world::text(&delivery.entry.envelope)));
    }
    broker.drain().await;
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_far_behind_asks_nothing_for_each_entry() {
    let world = Nats::new();
    drop(world.open().await);
    let general = channel("general");
    let count = 12_000;
    fill(&world, names::log(&general), count).await;
    let broker = world.open().await;
    let stream = names::stream(Slot::of(&general).shard);
    let (_client, mut asked) = asked(&world, &format!("$JS.API.STREAM.INFO.{stream}")).await;
    let found = consume_all(&broker, count).await;
    assert_eq!(found, (0..count).map(|n| n.to_string()).collect::<Vec<_>>());
    let mut looks = 0;
    while asked.next().now_or_never().is_some() {
        looks += 1;
    }
    // The streams are looked at every few seconds, whatever is consumed.
    assert!(looks < 100, "{looks} looks at the stream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_behind_the_last_entry_cost_nothing() {
    let world = Nats::new();
    let broker = world.open().await;
    let general = channel("general");
    let shard = Slot::of(&general).shard;
    let place = append(&broker, &general, "the last one").await;
    fill(&world, names::probe_log(shard, "another"), 300).await;
    let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
    let batch = in_time("the entry", consumer.fetch(10, DEADLINE)).await.unwrap();
    consumer.ack(&[batch[0].id]).await;
    let settled = async {
        while broker.settled(PERSISTENCE, shard).await.unwrap().is_none_or(|seq| seq < place.seq + 300) {
            // Probes are acknowledged as they come.
            let more = consumer.fetch(10, Duration::from_millis(50)).await.unwrap();
            assert_eq!(more, []);
        }
    };
    in_time("the probes", settled).await;
    let (_client, mut asked) = asked(&world, &format!("$JS.API.DIRECT.GET.{}", names::stream(shard))).await;
    let acknowledged = broker.acknowledged(PERSISTENCE).await.unwrap();
    assert_eq!(acknowledged, [(shard, place)]);
    let mut questions = 0;
    while asked.next().now_or_never().is_some() {
        questions += 1;
    }
    assert!((1..10).contains(&questions), "{questions} questions");
}

#[tokio::test]
async fn a_process_that_was_told_nothing_of_the_streams_takes_nothing_away() {
    let world = Nats::new();
    let told = NatsOptions {
        max_bytes: Some(1 << 30),
        dedup_window: Some(Duration::from_secs(300)),
        ..NatsOptions::new(world.url())
    };
    let shutdown = Shutdown::new();
    drop(broker::Nats::connect(told, &shutdown).await.unwrap());
    let untold = broker::Nats::connect(NatsOptions::new(world.url()), &shutdown).await.unwrap();
    let streams = async_nats::jetstream::new(client(&world).await);
    let stream = streams.get_stream(names::stream(Shard(7))).await.unwrap();
    let config = &stream.cached_info().config;
    assert_eq!((config.max_bytes, config.duplicate_window), (1 << 30, Duration::from_secs(300)));
    let broker = Broker::Nats(untold);
    append(&broker, &channel("general"), "as before").await;
    assert_eq!(texts(&whole(&broker, &channel("general")).await), ["as before"]);
}

#[tokio::test]
async fn streams_that_the_server_cannot_have_are_not_waited_for() {
    let world = Nats::new();
    let copied = NatsOptions { replicas: Some(3), ..NatsOptions::new(world.url()) };
    let opened = in_time("the refusal", broker::Nats::connect(copied, &Shutdown::new())).await;
    let error = opened.err().expect("a refusal").to_string();
    assert!(error.contains("replicas > 1 not supported"), "{error}");
}
