//! Channels whose events were all purged long ago: what it costs when their sockets come back.

use super::resuming::World;
use super::{append, append_to, channel};
use crate::upstream::asking::{Floor, newer};
use crate::upstream::{Page, Tell};
use broker::{Append, Appended, Broker, Consumer, Embedded, Group, LogPage, Options, Purge, ReadError};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use protocol::ids::{ChannelId, Epoch, Position, Seq};
use protocol::requests::{EventsAnswer, EventsPage, EventsRequest};
use protocol::subjects::Slot;
use protocol::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const PERSISTENCE: Group = Group::new("persistence").expect("a name");

/// Dedup keys are forgotten soon, or nothing is old enough to be purged.
const WINDOW: Duration = Duration::from_millis(20);

/// Purges of the shard, each of which leaves the quiet channel another head.
const PURGES: usize = 12;

/// A log that is purged as far as it goes, again and again.
struct Log {
    broker: Broker,
    consumer: Consumer,
    /// A busy channel of the same shard.
    busy: ChannelId,
    number: usize,
}

impl Log {
    async fn new(folder: &std::path::Path) -> Self {
        let options = Options { dedup_window: WINDOW, ..Options::default() };
        let broker = Broker::Embedded(Embedded::open(folder, options).unwrap());
        let shard = Slot::of(&channel()).shard;
        let busy = (0..).map(|n| ChannelId::parse(&format!("busy-{n}")).unwrap());
        let busy = busy.into_iter().find(|busy| Slot::of(busy).shard == shard).unwrap();
        let consumer = broker.consume(PERSISTENCE).await.unwrap();
        let mut log = Self { broker, consumer, busy, number: 0 };
        log.purge(append(0, 10)).await;
        log
    }

    /// Appends something and purges it; returns the quiet channel's head then.
    async fn purge(&mut self, last: Append) -> Position {
        let Ok(Appended::New { position, .. }) = self.broker.append(last).await else { panic!("logged") };
        let taken = self.consumer.fetch(10, Duration::from_secs(10)).await.unwrap();
        self.consumer.ack(&taken.iter().map(|delivery| delivery.id).collect::<Vec<_>>()).await;
        let upto = vec![(Slot::of(&channel()).shard, position.clone())];
        let before = Timestamp::from_unix_ms(u64::MAX);
        let purged = async {
            while self.broker.head(&channel()).await.unwrap().seq < position.seq {
                let purge = Purge { group: PERSISTENCE, upto: upto.clone(), before };
                self.broker.purge(purge).await.unwrap();
                tokio::time::sleep(WINDOW / 4).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), purged).await.expect("it can be purged");
        position
    }

    /// Time goes on for everybody else.
    async fn later(&mut self) -> Position {
        self.number += 1;
        self.purge(append_to(self.busy.clone(), self.number, 10)).await
    }
}

/// Looks that were made so far.
fn looks(metrics: &PrometheusHandle) -> BTreeMap<String, u64> {
    let text = metrics.render();
    let looks = text
        .lines()
        .filter_map(|line| line.strip_prefix("gateway_page_looks_total{at=\"")?.split_once("\"} "));
    looks.map(|(at, count)| (at.to_owned(), count.parse().unwrap())).collect()
}

/// Asks from each of these places, and takes as many pages.
async fn resume(world: &mut World, places: &[Position]) {
    for (connection, position) in (0..).zip(places) {
        world.asks.send(world.asked(connection, position)).await.unwrap();
    }
    for _ in places {
        let told = world.next().await;
        assert!(matches!(told, Tell::Page { page: Page::Last(None), .. }), "nothing happened");
    }
}

#[tokio::test]
async fn sockets_of_a_quiet_channel_share_a_look_wherever_the_purges_left_them() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let (metrics, data) = (recorder.handle(), tempfile::tempdir().unwrap());
    let _recording = metrics::set_default_local_recorder(&recorder);
    let mut log = Log::new(data.path()).await;
    let mut places = Vec::new();
    for _ in 0..PURGES {
        places.push(log.later().await);
    }
    // This gateway hears the channel for the first time in the middle of it.
    let mut world = World::on(log.broker.clone(), data).await;
    for _ in 0..PURGES {
        places.push(log.later().await);
    }
    log.later().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let (broker, counted) = (log.broker.clone(), asked.clone());
    let epoch = broker.epoch(Slot::of(&channel()).shard);
    let reached = broker.head(&channel()).await.unwrap().seq;
    world
        .serve(move |EventsRequest { after, .. }| {
            assert!(after.epoch == epoch && after.seq < reached);
            counted.fetch_add(1, Ordering::Relaxed);
            let events = Vec::new();
            Ok(EventsAnswer::Page(EventsPage { epoch: after.epoch, events, reached, more: false }))
        })
        .await;
    // Twice as many sockets as places, the first of them somewhere between.
    let sockets: Vec<_> = (0..2 * places.len()).map(|n| places[(5 + 7 * n) % places.len()].clone()).collect();
    resume(&mut world, &sockets).await;
    let found = looks(&metrics);
    let two = BTreeMap::from([("log".to_owned(), 2), ("worker".to_owned(), 2)]);
    assert_eq!(found, two, "the first one, and who is furthest behind");
    resume(&mut world, &sockets).await;
    assert_eq!((looks(&metrics), asked.load(Ordering::Relaxed)), (found, 2), "and none later");
    // What is said now comes to everybody.
    let Ok(Appended::New { position, .. }) = broker.append(append(1, 10)).await else { panic!("logged") };
    let is_next = |tell: &Tell, seq: Seq| matches!(tell, Tell::Event(event) if event.seq() == seq);
    assert!(is_next(&world.next().await, position.seq));
}

#[tokio::test]
async fn a_loss_costs_channels_that_are_purged_no_more_than_a_look_at_their_head() {
    let data = tempfile::tempdir().unwrap();
    let mut log = Log::new(data.path()).await;
    let heard = log.later().await;
    let now = log.later().await;
    let (broker, floor) = (log.broker.clone(), Floor::default());
    let busy = broker.append(append_to(log.busy.clone(), 99, 10)).await.unwrap();
    let Appended::New { position: Position { seq: newest, .. } } = busy else { panic!("logged") };
    let is_nothing = |page: Option<LogPage>| {
        let page = page.expect("the head has moved");
        assert_eq!((page.entries.len(), page.head, page.end, page.floor), (0, now.seq, true, now.seq));
    };
    is_nothing(newer(&broker, &floor, &channel(), heard.seq).await.unwrap());
    // From here on the log tells heads alone.
    broker.drain().await;
    is_nothing(newer(&broker, &floor, &channel(), heard.seq).await.unwrap());
    assert_eq!(newer(&broker, &floor, &channel(), now.seq).await, Ok(None));
    // What is there is read, and what was purged in another life is nothing that was purged in this one.
    assert_eq!(newer(&broker, &floor, &log.busy, heard.seq).await, Err(ReadError::Closed));
    assert!(now.seq < newest);
    let elsewhere = Floor::default();
    elsewhere.read(Position { epoch: Epoch::new(1, 1), seq: now.seq });
    assert_eq!(newer(&broker, &elsewhere, &channel(), heard.seq).await, Err(ReadError::Closed));
}
