//! Digests: which heads changed lately, told over and over for a few seconds.
//!
//! A lost live copy shows as a gap as soon as the next one comes; the last one of a channel shows nowhere but
//! here. What is told was read from the log by a consumer, not heard live. Any number of processes may tell. Each
//! shard is read by itself: one that does not answer silences no other. Where nothing changed an empty digest says
//! that somebody reads.

use super::link::{Link, stops};
use super::streams::Streams;
use async_nats::jetstream;
use async_nats::jetstream::consumer::pull::{Batch, Config};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::StreamExt;
use protocol::digest::{DIGEST_HEADS_MAX, Digest};
use protocol::ids::{ChannelId, Epoch, Seq};
use protocol::subjects::{SHARDS, Shard, nats};
use runtime::backoff::{Backoff, random};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout, timeout_at};

/// Between two digests. Reliability page: 1 to 2 s.
const PACE: Duration = Duration::from_secs(1);

/// How long a change is told. Chosen: a gateway that lost one digest hears nine more.
const TOLD: Duration = Duration::from_secs(10);

/// A change younger than this is not told yet: its live copy is still on its way.
const YOUNG: Duration = Duration::from_millis(300);

/// How far back a process that starts reads, for changes that nobody told meanwhile.
const BACK: Duration = Duration::from_secs(30);

/// Entries of one pull, without their bodies.
const PULLED: usize = 1_000;

/// How long a pull waits at the server; one that is not answered shortly after that has lost its consumer.
const PULL: Duration = Duration::from_secs(2);

/// How long the server may take for anything else.
const ANSWER: Duration = Duration::from_secs(2);

/// When the server forgets a consumer that nobody pulls from.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// Tells digests until the broker stops.
pub(super) async fn run(link: Link, streams: Arc<Streams>, mut stopped: watch::Receiver<bool>) {
    let telling = (0..SHARDS).map(|shard| Telling::new(link.clone(), streams.clone(), Shard(shard)).run());
    // Cancel safe: nothing is kept.
    tokio::select! {
        _ = join_all(telling) => {}
        () = stops(&mut stopped) => {}
    }
}

/// Tells one shard's changes.
struct Telling {
    link: Link,
    streams: Arc<Streams>,
    shard: Shard,
    /// The head of each channel that changed lately, and when it was read.
    changed: HashMap<ChannelId, (Seq, Instant)>,
    /// Up to where the log was read, in which life.
    read: Option<(Epoch, Seq)>,
    /// Whether the log is being read.
    reads: bool,
    pace: Interval,
}

impl Telling {
    fn new(link: Link, streams: Arc<Streams>, shard: Shard) -> Self {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { link, streams, shard, changed: HashMap::new(), read: None, reads: false, pace }
    }

    /// Begins again whenever the log cannot be read, at once when there is a new connection.
    async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
        let mut connects = self.link.signals.connects.subscribe();
        connects.mark_unchanged();
        loop {
            let read = self.read(&mut backoff);
            // Cancel safe: what was read is kept, the rest is read again.
            let failed = tokio::select! {
                failed = read => Some(failed),
                _ = connects.changed() => None,
            };
            self.reads = false;
            if let Some(error) = failed {
                tracing::warn!(%error, shard = self.shard.0, "the changes of a shard cannot be told now");
                let pause = sleep(backoff.next(random()));
                self.meanwhile(async {
                    tokio::select! {
                        () = pause => {}
                        _ = connects.changed() => {}
                    }
                })
                .await;
            }
        }
    }

    /// Reads and tells until something fails.
    async fn read(&mut self, backoff: &mut Backoff) -> async_nats::Error {
        let reader = match self.meanwhile(reader(self.streams.clone(), self.shard, self.read.clone())).await {
            Ok(reader) => reader,
            Err(error) => return error,
        };
        loop {
            let pull = reader.batch().max_messages(PULLED).expires(PULL).messages();
            let pulled = match pull.await {
                Ok(batch) => self.take(batch).await,
                Err(error) => Err(error.into()),
            };
            match pulled {
                Ok(()) => backoff.reset(),
                Err(error) => return error,
            }
            self.reads = true;
        }
    }

    /// Takes what a pull brings.
    async fn take(&mut self, mut batch: Batch) -> Result<(), async_nats::Error> {
        let deadline = Instant::now() + PULL + ANSWER / 2;
        while let Some(entry) = {
            let next = timeout_at(deadline, batch.next());
            self.meanwhile(next).await.map_err(|_| "the consumer does not answer")?
        } {
            self.heed(&entry?)?;
        }
        Ok(())
    }

    fn heed(&mut self, entry: &jetstream::Message) -> Result<(), async_nats::Error> {
        let seq = entry.info()?.stream_sequence;
        self.read = Some((self.streams.epoch(self.shard), seq));
        if let Some(channel) = nats::channel_of(&entry.subject) {
            self.changed.insert(channel, (seq, Instant::now()));
        }
        Ok(())
    }

    /// Does a step, and tells meanwhile.
    async fn meanwhile<T>(&mut self, step: impl Future<Output = T>) -> T {
        tokio::pin!(step);
        loop {
            tokio::select! {
                done = &mut step => return done,
                _ = self.pace.tick() => self.publish().await,
            }
        }
    }

    async fn publish(&mut self) {
        let now = Instant::now();
        self.changed.retain(|_, (_, at)| now - *at < TOLD);
        // What waits for a connection would be told late.
        if !*self.link.signals.up.borrow() {
            return;
        }
        let told = self.changed.iter().filter(|(_, (_, at))| now - *at >= YOUNG);
        let heads: Vec<(ChannelId, Seq)> = told.map(|(channel, (seq, _))| (channel.clone(), *seq)).collect();
        let nothing: &[&[(ChannelId, Seq)]] = if heads.is_empty() && self.reads { &[&[]] } else { &[] };
        for heads in heads.chunks(DIGEST_HEADS_MAX).chain(nothing.iter().copied()) {
            let digest = Digest { epoch: self.streams.epoch(self.shard), heads: heads.to_vec() };
            let Ok(payload) = serde_json::to_vec(&digest) else { return };
            let published = self.link.client.publish(nats::DIGESTS, Bytes::from(payload));
            // It is told again in a second.
            let _late_or_closed = timeout(PACE, published).await;
        }
    }
}

/// Makes a consumer that reads on behind what was read, or a little way back.
async fn reader(
    streams: Arc<Streams>,
    shard: Shard,
    read: Option<(Epoch, Seq)>,
) -> Result<PullConsumer, async_nats::Error> {
    let deliver_policy = match read.filter(|(epoch, _)| *epoch == streams.epoch(shard)) {
        Some((_, seq)) => DeliverPolicy::ByStartSequence { start_sequence: seq + 1 },
        None => {
            let now_s = i64::try_from(runtime::clock::now_unix_ms() / 1_000)?;
            let since_s = now_s - i64::try_from(BACK.as_secs())?;
            DeliverPolicy::ByStartTime { start_time: time::OffsetDateTime::from_unix_timestamp(since_s)? }
        }
    };
    let config = Config {
        deliver_policy,
        ack_policy: AckPolicy::None,
        headers_only: true,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: FORGOTTEN,
        ..Config::default()
    };
    let made = timeout(ANSWER, streams.context().create_consumer_on_stream(config, nats::stream(shard)));
    Ok(made.await??)
}
