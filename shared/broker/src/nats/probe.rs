//! After a new connection: when does what is published reach this process again?
//!
//! The client library subscribes anew, but only a live copy that comes back proves that copies come. One probe
//! for each shard goes through its stream; then subscribers are told to compare. A change of a stream's leader is
//! treated as a new connection, since interest travels to the new leader on its own time.

use super::link::{Link, Outgoing, stops};
use super::streams::Streams;
use async_nats::{HeaderMap, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use protocol::subjects::{SHARDS, Shard, nats};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Where the server says that a stream has a new leader.
const ELECTED: &str = "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.>";

/// How long one round of probes may take before it is repeated.
const ROUND: Duration = Duration::from_secs(2);

/// Rounds for one connection; after that the digests are the net.
const ROUNDS: usize = 10;

/// Between two looks at the streams, for one that was deleted or made again.
const LOOK: Duration = Duration::from_secs(5);

pub(super) struct Probing {
    link: Link,
    streams: Arc<Streams>,
    process: String,
    copies: Subscriber,
    elected: Subscriber,
    probed: watch::Sender<u64>,
}

impl Probing {
    pub(super) async fn new(
        link: Link,
        streams: Arc<Streams>,
        process: String,
        probed: watch::Sender<u64>,
    ) -> Result<Self, async_nats::SubscribeError> {
        let copies = link.client.subscribe(nats::probe_live(&process)).await?;
        let elected = link.client.subscribe(ELECTED).await?;
        Ok(Self { link, streams, process, copies, elected, probed })
    }

    /// Probes after each new connection and each election, until the broker stops.
    pub(super) async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut connects = self.link.signals.connects.subscribe();
        connects.mark_unchanged();
        loop {
            // Cancel safe: a watched value, a stream of messages, a clock.
            let doubtful = tokio::select! {
                _ = connects.changed() => true,
                elected = self.elected.next() => match elected {
                    Some(_) => true,
                    None => return,
                },
                () = tokio::time::sleep(LOOK) => false,
                () = stops(&mut stopped) => return,
            };
            // One server that is lost means an election for each of its streams: they are one doubt.
            while self.elected.next().now_or_never().flatten().is_some() {}
            self.link.heed_state();
            let changed = tokio::select! {
                changed = self.look_and_probe(doubtful) => changed,
                () = stops(&mut stopped) => return,
            };
            if changed {
                self.probed.send_modify(|count| *count += 1);
            }
        }
    }

    /// Looks at the streams, and probes them when copies may have been missed; returns whether that may be so.
    async fn look_and_probe(&mut self, doubtful: bool) -> bool {
        let another_life = match self.streams.look().await {
            Ok(changed) => changed,
            Err(error) => {
                tracing::warn!(%error, "the log's streams cannot be looked at");
                false
            }
        };
        if doubtful || another_life {
            self.probe().await;
        }
        doubtful || another_life
    }

    async fn probe(&mut self) {
        for _ in 0..ROUNDS {
            if self.round().await {
                return;
            }
        }
        tracing::warn!("not every shard's live copies come back yet");
    }

    /// Sends one probe to each shard; returns whether all came back.
    async fn round(&mut self) -> bool {
        let deadline = Instant::now() + ROUND;
        let mut missing: HashSet<u16> = (0..SHARDS).collect();
        for shard in (0..SHARDS).map(Shard) {
            let subject = nats::probe_log(shard, &self.process);
            let nobody = self.link.expect_one();
            let probe = Outgoing { subject, headers: HeaderMap::new(), payload: Bytes::new() };
            if !matches!(timeout_at(deadline, self.link.send(probe, nobody.subject())).await, Ok(Ok(()))) {
                return false;
            }
        }
        while !missing.is_empty() {
            match timeout_at(deadline, self.copies.next()).await {
                Ok(Some(copy)) => {
                    let shard = copy.subject.split('.').nth(2).and_then(|shard| shard.parse().ok());
                    shard.map(|shard: u16| missing.remove(&shard));
                }
                Ok(None) | Err(_) => return false,
            }
        }
        true
    }
}
