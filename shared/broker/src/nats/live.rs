//! Live copies and what passes, by slot: two subscriptions for each slot that somebody listens to. Digests and
//! announcements come to every subscriber.

use super::link::{Link, stops};
use super::probe::Probed;
use super::streams::Streams;
use crate::live::LiveEvent;
use async_nats::{Message, Subscriber};
use futures_util::stream::{SelectAll, StreamExt};
use protocol::digest::Digest;
use protocol::ids::Position;
use protocol::subjects::{SHARDS, Shard, Slot, nats};
use runtime::clock::now_unix_ms;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

/// New slots that wait to be polled; then whoever adds more waits.
const ADDED: usize = 256;

/// How long the server may take to confirm a subscription; the digests repair what is missed after it.
const CONFIRM: Duration = Duration::from_secs(5);

type Events = Pin<Box<dyn futures_util::Stream<Item = Message> + Send>>;

/// Between two doubts because something was dropped. Chosen: a burst that drops and drops is one doubt a second.
const DOUBT_REST: Duration = Duration::from_secs(1);

/// Chooses the slots of one subscriber; cheap to clone.
#[derive(Clone)]
pub struct NatsControl {
    link: Link,
    /// What passes comes by a connection of its own: what it drops makes nobody doubt what is durable.
    passing: Link,
    added: mpsc::Sender<Events>,
    /// What ends each slot's two subscriptions.
    slots: Arc<Mutex<HashMap<Slot, [oneshot::Sender<()>; 2]>>>,
}

/// Where one subscriber's events arrive, in seq order for each channel.
pub struct NatsSubscriber {
    streams: Arc<Streams>,
    events: SelectAll<Events>,
    added: mpsc::Receiver<Events>,
    lost: Lost,
    silence: Silence,
    stopped: watch::Receiver<bool>,
    ended: bool,
}

/// Everything that makes a subscriber doubt what it heard.
pub(super) struct Lost {
    /// How often a full subscription dropped something.
    slow: Watched<u64>,
    /// Until when that is not looked at again.
    rest_until: Instant,
    /// How often the connection was new, and what is published in a shard from then on arrives.
    probed: Watched<Probed>,
}

/// A watched value beside the one that was looked at.
struct Watched<T> {
    receiver: watch::Receiver<T>,
    seen: T,
}

impl<T: Copy> Watched<T> {
    fn new(mut receiver: watch::Receiver<T>) -> Self {
        let seen = *receiver.borrow_and_update();
        Self { receiver, seen }
    }

    fn now(&self) -> T {
        *self.receiver.borrow()
    }

    /// Waits for another value; for ever when nobody gives one any more. Cancel safe.
    async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Lost {
    pub(super) fn new(slow: watch::Receiver<u64>, probed: watch::Receiver<Probed>) -> Self {
        Self { slow: Watched::new(slow), rest_until: Instant::now(), probed: Watched::new(probed) }
    }

    /// Returns a shard, or all, of which something says that it may lack something.
    fn doubtful(&mut self) -> Option<Option<Shard>> {
        let probed = self.probed.now();
        if let Some(at) =
            (0..SHARDS).find(|at| probed[usize::from(*at)] != self.probed.seen[usize::from(*at)])
        {
            self.probed.seen[usize::from(at)] = probed[usize::from(at)];
            return Some(Some(Shard(at)));
        }
        let now = Instant::now();
        if now < self.rest_until || self.slow.now() == self.slow.seen {
            return None;
        }
        self.slow.seen = self.slow.now();
        self.rest_until = now + DOUBT_REST;
        Some(None)
    }

    /// Waits until it is worth looking again. Cancel safe.
    async fn worth_a_look(&mut self) {
        let resting = self.slow.now() != self.slow.seen;
        tokio::select! {
            () = self.probed.changed() => {}
            () = self.slow.changed(), if !resting => {}
            () = sleep_until(self.rest_until), if resting => {}
        }
    }
}

/// How long nothing came: digests come each second while there is a connection and somebody who tells them.
struct Silence {
    heard: Instant,
    /// Shards in which something may have been missed that is older than what the log keeps for certain.
    long: [bool; SHARDS as usize],
    /// Entries that are younger are in the log for certain.
    kept: Duration,
}

impl Silence {
    fn new(kept: Duration) -> Self {
        Self { heard: Instant::now(), long: [false; SHARDS as usize], kept }
    }

    fn heard(&mut self) {
        let now = Instant::now();
        // Half of it: the silence began before it was noticed, and ended before it is told.
        if now - self.heard > self.kept / 2 {
            self.long = [true; SHARDS as usize];
        }
        self.heard = now;
    }

    /// Something may be missing in a shard, or in any; says what it may be.
    fn doubt(&mut self, shard: Option<Shard>) -> LiveEvent {
        self.heard();
        let long = match shard {
            Some(shard) => std::mem::take(&mut self.long[usize::from(shard.0 % SHARDS)]),
            None => std::mem::take(&mut self.long).contains(&true),
        };
        if long { LiveEvent::CutOff(shard) } else { LiveEvent::Lost(shard) }
    }
}

impl NatsControl {
    pub(crate) async fn add(&self, slots: &[Slot]) {
        for slot in slots {
            if self.subscribe(*slot).await.is_none() {
                return;
            }
        }
        if slots.is_empty() {
            return;
        }
        let (live, passing) = tokio::join!(self.link.round_trip(CONFIRM), self.passing.round_trip(CONFIRM));
        if live.and(passing).is_err() {
            tracing::warn!(count = slots.len(), "subscriptions are not confirmed yet");
        }
    }

    /// `None` when the connection is closed, which ends the subscriber as well.
    async fn subscribe(&self, slot: Slot) -> Option<()> {
        let live = self.link.client.subscribe(nats::live_slot(slot)).await.ok()?;
        let passing = self.passing.client.subscribe(nats::passing_slot(slot)).await.ok()?;
        let ((one, one_ended), (other, other_ended)) = (oneshot::channel(), oneshot::channel());
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).insert(slot, [one, other]);
        self.added.send(until(live, one_ended)).await.ok()?;
        self.added.send(until(passing, other_ended)).await.ok()
    }

    pub(crate) fn remove(&self, slot: Slot) {
        // Dropping the senders ends the streams.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot);
    }
}

/// A subscription that ends when its slot is removed.
fn until(subscribed: Subscriber, ended: oneshot::Receiver<()>) -> Events {
    Box::pin(subscribed.take_until(ended))
}

impl NatsSubscriber {
    pub(super) async fn new(
        (link, passing): (Link, Link),
        streams: Arc<Streams>,
        lost: Lost,
        stopped: watch::Receiver<bool>,
    ) -> Result<(NatsControl, Self), async_nats::SubscribeError> {
        let digests: Events = Box::pin(link.client.subscribe(nats::DIGESTS).await?);
        let controls: Events = Box::pin(link.client.subscribe(nats::CONTROL).await?);
        let (added, addeds) = mpsc::channel(ADDED);
        let control = NatsControl { link, passing, added, slots: Arc::default() };
        let events = SelectAll::from_iter([digests, controls]);
        let silence = Silence::new(streams.shortest_dedup_window());
        Ok((control, Self { streams, events, added: addeds, lost, silence, stopped, ended: false }))
    }

    pub(crate) async fn next(&mut self) -> Option<LiveEvent> {
        loop {
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            // Cancel safe, all of them: streams, receivers and watched values.
            tokio::select! {
                biased;
                Some(message) = self.events.next() => {
                    if let Some(event) = self.event(message) {
                        return Some(event);
                    }
                }
                events = self.added.recv() => match events {
                    Some(events) => self.events.push(events),
                    None => self.ended = true,
                },
                () = self.lost.worth_a_look() => {}
                // What was appended before the end is here already: its live copy came before its answer.
                () = stops(&mut self.stopped) => self.ended = true,
            }
        }
    }

    pub(crate) fn try_next(&mut self) -> Option<LiveEvent> {
        if let Some(shard) = self.lost.doubtful() {
            return Some(self.silence.doubt(shard));
        }
        while let Ok(events) = self.added.try_recv() {
            self.events.push(events);
        }
        while let Some(Some(message)) = futures_util::FutureExt::now_or_never(self.events.next()) {
            if let Some(event) = self.event(message) {
                return Some(event);
            }
        }
        None
    }

    fn event(&mut self, message: Message) -> Option<LiveEvent> {
        self.silence.heard();
        if message.subject.as_str() == nats::DIGESTS {
            metrics::gauge!(crate::metrics::DIGEST_HEARD)
                .set(Duration::from_millis(now_unix_ms()).as_secs_f64());
            let Digest { epoch, heads } = serde_json::from_slice(&message.payload).ok()?;
            return (!heads.is_empty()).then_some(LiveEvent::Heads { epoch, heads });
        }
        if message.subject.as_str() == nats::CONTROL {
            return serde_json::from_slice(&message.payload).ok().map(LiveEvent::Control);
        }
        let channel = nats::channel_of(&message.subject)?;
        let Some(headers) = message.headers.as_ref().filter(|headers| headers.get("Nats-Sequence").is_some())
        else {
            let passing = message.subject.starts_with("chat.passing.");
            return passing.then_some(LiveEvent::Ephemeral { channel, payload: message.payload });
        };
        let number = |name: &str| headers.get(name).and_then(|value| value.as_str().parse().ok());
        let (seq, prev) = (number("Nats-Sequence")?, number("Nats-Last-Sequence").unwrap_or(0));
        let position = Position { epoch: self.streams.epoch(Slot::of(&channel).shard), seq };
        Some(LiveEvent::Durable { channel, position, prev, envelope: message.payload })
    }
}
