//! After a new connection: when does what is published reach this process again?
//!
//! The client library subscribes anew, but only a live copy that comes back proves that copies come. One probe
//! for each shard goes through its stream; when it is back, subscribers are told to compare that shard. A change of a
//! stream's leader is treated as a new connection, since interest travels to the new leader on its own time. A shard
//! that does not answer holds up no other.

use super::link::{Link, Outgoing, stops};
use super::streams::Streams;
use async_nats::{HeaderMap, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use protocol::subjects::{SHARDS, Shard, nats};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Where the server says that a stream has a new leader.
const ELECTED: &str = "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.>";

/// How long a probe may take before another is sent.
const ROUND: Duration = Duration::from_secs(2);

/// Rounds for one doubt; after that the digests are the net.
const ROUNDS: usize = 10;

/// Between two looks at the streams, for one that was deleted or made again.
const LOOK: Duration = Duration::from_secs(5);

/// How often each shard's copies were seen to come after a doubt.
pub(super) type Probed = [u64; SHARDS as usize];

/// A look at all streams; returns those that live another life.
type Looking = Pin<Box<dyn Future<Output = Vec<Shard>> + Send>>;

pub(super) struct Probing {
    link: Link,
    streams: Arc<Streams>,
    process: String,
    copies: Subscriber,
    elected: Subscriber,
    probed: watch::Sender<Probed>,
    /// Shards whose copies have not come back, and how many rounds may follow for each.
    missing: Vec<(Shard, usize)>,
    next_round: Instant,
    looking: Option<Looking>,
    next_look: Instant,
}

impl Probing {
    pub(super) async fn new(
        link: Link,
        streams: Arc<Streams>,
        process: String,
        probed: watch::Sender<Probed>,
    ) -> Result<Self, async_nats::SubscribeError> {
        let copies = link.client.subscribe(nats::probe_live(&process)).await?;
        let elected = link.client.subscribe(ELECTED).await?;
        let now = Instant::now();
        Ok(Self {
            link,
            streams,
            process,
            copies,
            elected,
            probed,
            missing: Vec::new(),
            next_round: now,
            looking: None,
            next_look: now + LOOK,
        })
    }

    /// Probes after each new connection and each election, until the broker stops.
    pub(super) async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut connects = self.link.signals.connects.subscribe();
        connects.mark_unchanged();
        loop {
            // Cancel safe: a watched value, streams of messages, clocks, and a look that is kept.
            tokio::select! {
                _ = connects.changed() => self.doubt().await,
                elected = self.elected.next() => match elected {
                    Some(_) => self.doubt().await,
                    None => return,
                },
                copy = self.copies.next() => match copy {
                    Some(copy) => self.came_back(&copy.subject),
                    None => return,
                },
                () = sleep_until(self.next_round), if !self.missing.is_empty() => self.round().await,
                () = sleep_until(self.next_look), if self.looking.is_none() => self.look(),
                changed = looked(&mut self.looking) => self.has_looked(changed).await,
                () = stops(&mut stopped) => return,
            }
        }
    }

    /// Copies of any shard may have been missed.
    async fn doubt(&mut self) {
        // One server that is lost means an election for each of its streams: they are one doubt.
        while self.elected.next().now_or_never().flatten().is_some() {}
        self.link.heed_state();
        self.look();
        self.probe((0..SHARDS).map(Shard).collect()).await;
    }

    fn look(&mut self) {
        let streams = self.streams.clone();
        self.looking = Some(Box::pin(async move {
            streams.look().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the log's streams cannot be looked at");
                Vec::new()
            })
        }));
    }

    async fn has_looked(&mut self, changed: Vec<Shard>) {
        self.looking = None;
        self.next_look = Instant::now() + LOOK;
        self.link.heed_state();
        if !changed.is_empty() {
            self.probe(changed).await;
        }
    }

    /// Begins anew with some shards.
    async fn probe(&mut self, shards: Vec<Shard>) {
        self.missing.retain(|(shard, _)| !shards.contains(shard));
        self.missing.extend(shards.into_iter().map(|shard| (shard, ROUNDS)));
        self.round().await;
    }

    /// Sends a probe to each shard that is missing.
    async fn round(&mut self) {
        let deadline = Instant::now() + ROUND;
        self.next_round = deadline;
        // A new connection is a new doubt.
        if !*self.link.signals.up.borrow() {
            return;
        }
        let given_up = self.missing.iter().filter(|(_, rounds)| *rounds == 0).count();
        if given_up > 0 {
            tracing::warn!(shards = given_up, "live copies do not come back yet");
        }
        self.missing.retain(|(_, rounds)| *rounds > 0);
        for (shard, rounds) in &mut self.missing {
            *rounds -= 1;
            let nobody = self.link.expect_one();
            let subject = nats::probe_log(*shard, &self.process);
            let probe = Outgoing { subject, headers: HeaderMap::new(), payload: Bytes::new() };
            if !matches!(timeout_at(deadline, self.link.send(probe, nobody.subject())).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    fn came_back(&mut self, subject: &str) {
        let shard = subject.split('.').nth(2).and_then(|shard| shard.parse().ok()).map(Shard);
        let Some(at) = self.missing.iter().position(|(missing, _)| Some(*missing) == shard) else { return };
        let (shard, _) = self.missing.swap_remove(at);
        self.probed.send_modify(|probed| probed[usize::from(shard.0 % SHARDS)] += 1);
    }
}

/// Waits for a look that is under way; for ever when there is none. Cancel safe.
async fn looked(looking: &mut Option<Looking>) -> Vec<Shard> {
    match looking {
        Some(looking) => looking.await,
        None => std::future::pending().await,
    }
}
