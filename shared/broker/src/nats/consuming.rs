//! Groups that share the log: one durable pull consumer for each shard and group.

use super::link::{Link, Outgoing, stops};
use super::requests::Replier;
use super::streams::Streams;
use crate::consume::{ConsumeError, Delivery, DeliveryId, Group};
use crate::log::{Entry, ReadError};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::{HeaderMap, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use protocol::ids::Seq;
use protocol::subjects::{SHARDS, Shard, Slot, nats};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// Entries that one group may have unacknowledged in a shard. A worker holds up to 1,000 before it acknowledges
/// (reliability page); at this limit the server answers no pull at all, so there is room for several workers.
const UNACKNOWLEDGED_MAX: i64 = 16_000;

/// How long the server may take to answer a pull that does not wait.
const PULL: Duration = Duration::from_secs(2);

/// How long the connection may take to take what keeps entries.
const KEEP: Duration = Duration::from_secs(1);

/// After the first entry that was waited for: so long may its company take.
const COMPANY: Duration = Duration::from_millis(10);

/// Between two looks for consumers that are gone.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The server refuses to keep a pull for less.
const EXPIRES_MIN: Duration = Duration::from_millis(10);

/// One member of a group. Its pulls are answered in one inbox: an entry comes under its own subject, a status
/// under that of its pull.
pub struct NatsConsumer {
    link: Link,
    replier: Replier,
    streams: Arc<Streams>,
    group: Group,
    prefix: String,
    inbox: Subscriber,
    /// Numbers the rounds of pulls, so that a late status is nobody's.
    round: u64,
    /// Until when the pulls of a fetch that waited are kept.
    standing_until: Instant,
    /// The newest entry of each shard that came for the first time.
    newest: [Seq; SHARDS as usize],
    /// Where each unacknowledged entry is acknowledged.
    held: HashMap<DeliveryId, String>,
    ids: i64,
    /// The shard that comes first in the next round, so that a busy one does not starve the others.
    first: u16,
    ack_wait: Duration,
    /// When the consumers were last looked for.
    looked: Instant,
    stopped: watch::Receiver<bool>,
}

/// Makes the group's consumers where they are missing.
pub(super) async fn ensure(streams: &Streams, group: Group, ack_wait: Duration) -> Result<(), ConsumeError> {
    for shard in (0..SHARDS).map(Shard) {
        let config = pull::Config {
            durable_name: Some(group.to_string()),
            ack_policy: AckPolicy::Explicit,
            deliver_policy: DeliverPolicy::All,
            ack_wait,
            max_deliver: -1,
            max_ack_pending: UNACKNOWLEDGED_MAX,
            // A pull for each member and a few that were given up.
            max_waiting: 512,
            ..pull::Config::default()
        };
        let made = streams.context().create_consumer_on_stream(config, nats::stream(shard)).await;
        made.map_err(|error| ConsumeError::Failed(format!("{} on {}: {error}", group, nats::stream(shard))))?;
    }
    Ok(())
}

/// Lets the group begin at the first entry again: its consumers are made anew. Members that it has go on.
pub(super) async fn begin_again(
    streams: &Streams,
    group: Group,
    ack_wait: Duration,
) -> Result<(), ConsumeError> {
    for shard in (0..SHARDS).map(Shard) {
        streams.forget_group(group, shard).await.map_err(|error| match error {
            ReadError::Closed => ConsumeError::Closed,
            other => ConsumeError::Failed(other.to_string()),
        })?;
    }
    ensure(streams, group, ack_wait).await
}

impl NatsConsumer {
    pub(super) async fn new(
        link: Link,
        replier: Replier,
        streams: Arc<Streams>,
        (group, ack_wait): (Group, Duration),
        stopped: watch::Receiver<bool>,
    ) -> Result<Self, ConsumeError> {
        let prefix = link.client.new_inbox();
        let inbox = link.client.subscribe(format!("{prefix}.*")).await.map_err(|_| ConsumeError::Closed)?;
        Ok(Self {
            link,
            replier,
            streams,
            group,
            prefix,
            inbox,
            round: 0,
            standing_until: Instant::now(),
            newest: [0; SHARDS as usize],
            held: HashMap::new(),
            ids: 0,
            first: 0,
            ack_wait,
            looked: Instant::now(),
            stopped,
        })
    }

    pub(crate) async fn fetch(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, ConsumeError> {
        let deadline = Instant::now() + wait;
        // What members that left gave back is given back before anybody looks.
        self.replier.flush().await;
        let mut found = self.left_over(max).await;
        self.collect(max, &mut found).await?;
        while found.is_empty() {
            if *self.stopped.borrow() {
                return Err(ConsumeError::Closed);
            }
            if !self.wait(deadline, &mut found).await? {
                return Ok(found);
            }
            if !found.is_empty() {
                tokio::time::sleep(COMPANY).await;
                found.extend(self.left_over(max - found.len()).await);
                self.collect(max, &mut found).await?;
            }
        }
        // Redeliveries come in their own order; within each shard it is that of the log.
        found.sort_by_key(|delivery| delivery.entry.seq);
        Ok(found)
    }

    /// Takes what came for pulls of an earlier fetch.
    async fn left_over(&mut self, max: usize) -> Vec<Delivery> {
        let mut found = Vec::new();
        while found.len() < max {
            let Some(Some(message)) = self.inbox.next().now_or_never() else { break };
            found.extend(self.delivery(&message).await);
        }
        found
    }

    /// A status that says that there is no such consumer: its stream was made anew, or somebody removed it.
    async fn heed(&mut self, message: &Message) {
        let Some(status) = message.status else { return };
        let gone = status == StatusCode::NO_RESPONDERS
            || message.description.as_deref().is_some_and(|said| said.contains("Consumer Deleted"));
        if !gone || self.looked.elapsed() < LOOK_AGAIN {
            return;
        }
        self.looked = Instant::now();
        // Rare, and large: a fetch stays small.
        let mended = Box::pin(async {
            self.streams.look().await.map_err(|error| ConsumeError::Failed(error.to_string()))?;
            ensure(&self.streams, self.group, self.ack_wait).await
        });
        if let Err(error) = mended.await {
            tracing::warn!(%error, group = %self.group, "the consumers of a group cannot be made again");
        }
    }

    /// Takes what is there now, in rounds over the shards, until nothing is left or `max` is reached.
    async fn collect(&mut self, max: usize, found: &mut Vec<Delivery>) -> Result<(), ConsumeError> {
        let mut shards: Vec<u16> = (0..SHARDS).map(|n| (self.first + n) % SHARDS).collect();
        self.first = (self.first + 1) % SHARDS;
        while found.len() < max && !shards.is_empty() {
            let asked = shared_out(max - found.len(), &shards);
            let mut left = self.pull(&asked, found).await?;
            // A shard that gave less than it was asked for has no more.
            left.retain(|_, left| *left == 0);
            shards.retain(|shard| left.contains_key(shard) || !asked.iter().any(|(asked, _)| asked == shard));
        }
        Ok(())
    }

    /// Pulls without waiting; returns how much of what it asked for each shard did not have.
    async fn pull(
        &mut self,
        asked: &[(u16, usize)],
        found: &mut Vec<Delivery>,
    ) -> Result<HashMap<u16, usize>, ConsumeError> {
        let deadline = Instant::now() + PULL;
        self.round += 1;
        for (shard, batch) in asked {
            let pull = serde_json::json!({ "batch": batch, "no_wait": true });
            match self.send(Shard(*shard), &pull, deadline).await {
                Ok(()) => {}
                Err(error) if found.is_empty() => return Err(error),
                // What came is this member's already.
                Err(_) => return Ok(HashMap::new()),
            }
        }
        let mut left: HashMap<u16, usize> = asked.iter().copied().collect();
        let mut open = asked.len();
        while open > 0 {
            let Ok(Some(message)) = timeout_at(deadline, self.inbox.next()).await else {
                // What came is this member's already.
                let nothing = || Err(ConsumeError::Failed("a pull was not answered".to_owned()));
                return if found.is_empty() { nothing() } else { Ok(left) };
            };
            if message.status.is_some_and(|status| status != StatusCode::OK) {
                self.heed(&message).await;
                // 404 and 408 end a pull that got less than it asked for.
                open -= usize::from(message.subject.ends_with(&format!("-{}", self.round)));
                continue;
            }
            let shard = shard_of(&message);
            found.extend(self.delivery(&message).await);
            // An entry that an earlier pull waited for comes here as well: then one more comes than was asked for.
            if let Some(left) = shard.and_then(|shard| left.get_mut(&shard)).filter(|left| **left > 0) {
                *left -= 1;
                open -= usize::from(*left == 0);
            }
        }
        Ok(left)
    }

    /// Waits for the first entry of any shard; returns whether there is time left.
    async fn wait(&mut self, deadline: Instant, found: &mut Vec<Delivery>) -> Result<bool, ConsumeError> {
        let now = Instant::now();
        if now >= deadline {
            return Ok(false);
        }
        if now >= self.standing_until {
            let expires = (deadline - now).max(EXPIRES_MIN);
            self.round += 1;
            for shard in (0..SHARDS).map(Shard) {
                let nanos = u64::try_from(expires.as_nanos()).unwrap_or(u64::MAX);
                self.send(shard, &serde_json::json!({ "batch": 1, "expires": nanos }), deadline).await?;
            }
            self.standing_until = now + expires;
        }
        // Cancel safe: a queue and a watched value.
        let message = tokio::select! {
            message = timeout_at(deadline, self.inbox.next()) => message,
            () = stops(&mut self.stopped) => return Err(ConsumeError::Closed),
        };
        match message {
            Ok(Some(message)) => {
                self.heed(&message).await;
                found.extend(self.delivery(&message).await);
            }
            Ok(None) => return Err(ConsumeError::Closed),
            Err(_elapsed) => return Ok(false),
        }
        Ok(true)
    }

    async fn send(
        &self,
        shard: Shard,
        pull: &serde_json::Value,
        deadline: Instant,
    ) -> Result<(), ConsumeError> {
        // What is handed to a connection that is down would be answered when nobody counts on it any more.
        if !*self.link.signals.up.borrow() {
            return Err(ConsumeError::Failed("there is no connection".to_owned()));
        }
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", nats::stream(shard), self.group);
        let reply = format!("{}.{}-{}", self.prefix, shard.0, self.round);
        let message = Outgoing { subject, headers: HeaderMap::new(), payload: Bytes::from(pull.to_string()) };
        match timeout_at(deadline, self.link.send(message, reply)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ConsumeError::Closed),
            Err(_) => Err(ConsumeError::Failed("the connection takes nothing".to_owned())),
        }
    }

    /// Reads a delivery and keeps where it is acknowledged; probes are acknowledged at once.
    async fn delivery(&mut self, message: &Message) -> Option<Delivery> {
        if message.status.is_some_and(|status| status != StatusCode::OK) {
            return None;
        }
        let reply = message.reply.as_ref()?.to_string();
        let info = Place::of(&reply)?;
        let Some(channel) = nats::channel_of(&message.subject) else {
            self.replier.send(reply, HeaderMap::new(), Bytes::from_static(b"+ACK"));
            return None;
        };
        self.ids += 1;
        let id = DeliveryId(self.ids);
        self.held.insert(id, reply);
        let shard = Slot::of(&channel).shard;
        if info.attempts == 1 {
            self.heed_fall(shard, info.seq).await;
        }
        let epoch = self.streams.epoch(shard);
        let entry = Entry { channel, seq: info.seq, envelope: message.payload.clone() };
        Some(Delivery { id, epoch, entry, attempts: info.attempts })
    }

    /// What comes for the first time rises within a shard, however far behind the group is. Numbers that fall are of
    /// a group that begins again, or of another life of the stream: it is looked at.
    async fn heed_fall(&mut self, shard: Shard, seq: Seq) {
        let newest = &mut self.newest[usize::from(shard.0 % SHARDS)];
        let fell = seq <= *newest;
        *newest = seq;
        if !fell {
            return;
        }
        // Rare, and large: a fetch stays small.
        if let Err(error) = Box::pin(self.streams.look_at(shard)).await {
            tracing::warn!(%error, shard = shard.0, "a stream whose numbers fell back cannot be looked at");
        }
    }

    pub(crate) async fn keep(&mut self) {
        // While there is no connection nothing can be kept: the entries come again.
        if !*self.link.signals.up.borrow() {
            return;
        }
        let kept = async {
            for subject in self.held.values() {
                let _closed = self.link.client.publish(subject.clone(), Bytes::from_static(b"+WPI")).await;
            }
        };
        // Whoever keeps entries works on them meanwhile, and does not wait for a connection that takes nothing.
        let _late = timeout(KEEP, kept).await;
    }

    pub(crate) async fn ack(&mut self, ids: &[DeliveryId]) {
        for id in ids {
            if let Some(subject) = self.held.remove(id) {
                // A closed connection acknowledges nothing: the entries come again.
                let _closed = self.link.client.publish(subject, Bytes::from_static(b"+ACK")).await;
            }
        }
    }
}

impl Drop for NatsConsumer {
    fn drop(&mut self) {
        // What came and was not looked at is given back with the rest.
        while let Some(Some(message)) = self.inbox.next().now_or_never() {
            if let Some(reply) = message.reply.filter(|_| message.status.is_none()) {
                self.replier.send(reply.to_string(), HeaderMap::new(), Bytes::from_static(b"-NAK"));
            }
        }
        for (_, subject) in self.held.drain() {
            self.replier.send(subject, HeaderMap::new(), Bytes::from_static(b"-NAK"));
        }
    }
}

/// Divides what may come over the shards; the first ones get what does not divide.
fn shared_out(room: usize, shards: &[u16]) -> Vec<(u16, usize)> {
    let (share, extra) = (room / shards.len(), room % shards.len());
    let asked = shards.iter().enumerate().map(|(n, shard)| (*shard, share + usize::from(n < extra)));
    asked.filter(|(_, count)| *count > 0).collect()
}

fn shard_of(message: &Message) -> Option<u16> {
    message.subject.split('.').nth(2)?.parse().ok().filter(|shard| *shard < SHARDS)
}

/// What the subject of an acknowledgement says of its message.
struct Place {
    attempts: u32,
    seq: u64,
}

impl Place {
    /// Reads `$JS.ACK.stream.consumer.delivered.seq.…`, or the longer form with domain and account before the stream.
    fn of(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.split('.').collect();
        let at = if tokens.len() >= 11 { 6 } else { 4 };
        Some(Self { attempts: tokens.get(at)?.parse().ok()?, seq: tokens.get(at + 1)?.parse().ok()? })
    }
}
