//! After a new connection: when does what is published reach this process again?
//!
//! The client library subscribes anew, but only a live copy that comes back proves that copies come. One probe
//! for each shard goes through its stream; then subscribers are told to compare. A change of a stream's leader is
//! treated as a new connection, since interest travels to the new leader on its own time.

use super::link::{Link, Outgoing, stops};
use super::streams::Streams;
use async_nats::{HeaderMap, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
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
            tokio::select! {
                _ = connects.changed() => {}
                elected = self.elected.next() => if elected.is_none() { return },
                () = stops(&mut stopped) => return,
            }
            tokio::select! {
                () = self.probe() => {}
                () = stops(&mut stopped) => return,
            }
            self.probed.send_modify(|count| *count += 1);
        }
    }

    async fn probe(&mut self) {
        for _ in 0..ROUNDS {
            match self.streams.look().await {
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the log's streams cannot be looked at"),
            }
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
