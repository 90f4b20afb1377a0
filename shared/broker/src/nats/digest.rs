//! Digests: which heads changed lately, told over and over for a few seconds.
//!
//! A lost live copy shows as a gap as soon as the next one comes; the last one of a channel shows nowhere but
//! here. What is told was read from the log by a consumer, not heard live. Any number of processes may tell.

use super::link::{Link, stops};
use super::streams::Streams;
use async_nats::jetstream::consumer::{DeliverPolicy, pull::OrderedConfig};
use bytes::Bytes;
use futures_util::stream::{SelectAll, StreamExt};
use protocol::digest::{DIGEST_HEADS_MAX, Digest};
use protocol::ids::{ChannelId, Seq};
use protocol::subjects::{SHARDS, Shard, Slot, nats};
use runtime::backoff::{Backoff, random};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Between two digests. Reliability page: 1 to 2 s.
const PACE: Duration = Duration::from_secs(1);

/// How long a change is told. Chosen: a gateway that lost one digest hears nine more.
const TOLD: Duration = Duration::from_secs(10);

/// A change younger than this is not told yet: its live copy is still on its way.
const YOUNG: Duration = Duration::from_millis(300);

/// How far back a process that starts reads, for changes that nobody told meanwhile.
const BACK: Duration = Duration::from_secs(30);

/// Tells digests until the broker stops; begins again whenever the log cannot be read.
pub(super) async fn run(link: Link, streams: Arc<Streams>, mut stopped: watch::Receiver<bool>) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        let telling = Telling { link: link.clone(), streams: streams.clone(), changed: HashMap::new() };
        let error = tokio::select! {
            told = telling.tell() => match told {
                Ok(()) => "the consumers ended".into(),
                Err(error) => error,
            },
            () = stops(&mut stopped) => return,
        };
        tracing::warn!(%error, "digests cannot be told now");
        tokio::select! {
            () = sleep(backoff.next(random())) => {}
            () = stops(&mut stopped) => return,
        }
    }
}

struct Telling {
    link: Link,
    streams: Arc<Streams>,
    /// The head of each channel that changed lately, and when it was read.
    changed: HashMap<ChannelId, (Seq, Instant)>,
}

impl Telling {
    async fn tell(mut self) -> Result<(), async_nats::Error> {
        let mut entries = SelectAll::new();
        let since = time::OffsetDateTime::from_unix_timestamp(
            i64::try_from(runtime::clock::now_unix_ms() / 1_000)? - i64::try_from(BACK.as_secs())?,
        )?;
        for shard in (0..SHARDS).map(Shard) {
            let config = OrderedConfig {
                headers_only: true,
                deliver_policy: DeliverPolicy::ByStartTime { start_time: since },
                ..OrderedConfig::default()
            };
            let consumer =
                self.streams.context().create_consumer_on_stream(config, nats::stream(shard)).await?;
            entries.push(consumer.messages().await?);
        }
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Cancel safe: a stream of messages and a clock.
            tokio::select! {
                entry = entries.next() => match entry {
                    None => return Ok(()),
                    Some(entry) => {
                        let entry = entry?;
                        let Some(channel) = nats::channel_of(&entry.subject) else { continue };
                        let seq = entry.info()?.stream_sequence;
                        self.changed.insert(channel, (seq, Instant::now()));
                    }
                },
                _ = pace.tick() => self.publish().await?,
            }
        }
    }

    async fn publish(&mut self) -> Result<(), async_nats::Error> {
        let now = Instant::now();
        self.changed.retain(|_, (_, at)| now - *at < TOLD);
        let mut shards: HashMap<Shard, Vec<(ChannelId, Seq)>> = HashMap::new();
        for (channel, (seq, at)) in &self.changed {
            if now - *at >= YOUNG {
                shards.entry(Slot::of(channel).shard).or_default().push((channel.clone(), *seq));
            }
        }
        for (shard, heads) in shards {
            for heads in heads.chunks(DIGEST_HEADS_MAX) {
                let digest = Digest { epoch: self.streams.epoch(shard), heads: heads.to_vec() };
                let payload = Bytes::from(serde_json::to_vec(&digest)?);
                self.link.client.publish(nats::DIGESTS, payload).await?;
            }
        }
        Ok(())
    }
}
