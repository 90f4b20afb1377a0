//! Live copies and what passes, by slot: two subscriptions for each slot that somebody listens to. Digests and
//! announcements come to every subscriber.

use super::link::{Link, stops};
use crate::live::LiveEvent;
use async_nats::{Message, Subscriber};
use futures_util::stream::{SelectAll, StreamExt};
use protocol::digest::Digest;
use protocol::ids::Position;
use protocol::subjects::{Slot, nats};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

use super::streams::Streams;

/// New slots that wait to be polled; then whoever adds more waits.
const ADDED: usize = 256;

/// How long the server may take to confirm a subscription; the digests repair what is missed after it.
const CONFIRM: Duration = Duration::from_secs(5);

type Events = Pin<Box<dyn futures_util::Stream<Item = Message> + Send>>;

/// Chooses the slots of one subscriber; cheap to clone.
#[derive(Clone)]
pub struct NatsControl {
    link: Link,
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
    /// A full subscription dropped something.
    pub(super) slow: watch::Receiver<u64>,
    /// The connection is new, and what is published from now on arrives.
    pub(super) probed: watch::Receiver<u64>,
}

/// How long nothing came: digests come every second or two while there is a connection.
struct Silence {
    heard: Instant,
    /// Since the last doubt.
    longest: Duration,
    /// Entries that are younger are in the log for certain.
    kept: Duration,
}

impl Silence {
    fn new(kept: Duration) -> Self {
        Self { heard: Instant::now(), longest: Duration::ZERO, kept }
    }

    fn heard(&mut self) {
        let now = Instant::now();
        self.longest = self.longest.max(now - self.heard);
        self.heard = now;
    }

    /// Something may be missing; says what it may be, and begins anew.
    fn doubt(&mut self) -> LiveEvent {
        self.heard();
        // Half of it: the silence began before it was noticed, and ended before it is told.
        let long = std::mem::take(&mut self.longest) > self.kept / 2;
        if long { LiveEvent::CutOff } else { LiveEvent::Lost }
    }
}

impl NatsControl {
    pub(crate) async fn add(&self, slots: &[Slot]) {
        for slot in slots {
            let Some((ends, streams)) = self.subscribe(*slot).await else { return };
            self.slots.lock().unwrap_or_else(PoisonError::into_inner).insert(*slot, ends);
            for events in streams {
                if self.added.send(events).await.is_err() {
                    return;
                }
            }
        }
        if !slots.is_empty() && self.link.round_trip(CONFIRM).await.is_err() {
            tracing::warn!(count = slots.len(), "subscriptions are not confirmed yet");
        }
    }

    /// `None` when the connection is closed, which ends the subscriber as well.
    async fn subscribe(&self, slot: Slot) -> Option<([oneshot::Sender<()>; 2], [Events; 2])> {
        let live = self.link.client.subscribe(nats::live_slot(slot)).await.ok()?;
        let passing = self.link.client.subscribe(nats::passing_slot(slot)).await.ok()?;
        let ((one, one_ended), (other, other_ended)) = (oneshot::channel(), oneshot::channel());
        Some(([one, other], [until(live, one_ended), until(passing, other_ended)]))
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
        link: Link,
        streams: Arc<Streams>,
        lost: Lost,
        kept: Duration,
        stopped: watch::Receiver<bool>,
    ) -> Result<(NatsControl, Self), async_nats::SubscribeError> {
        let digests: Events = Box::pin(link.client.subscribe(nats::DIGESTS).await?);
        let controls: Events = Box::pin(link.client.subscribe(nats::CONTROL).await?);
        let (added, addeds) = mpsc::channel(ADDED);
        let control = NatsControl { link, added, slots: Arc::default() };
        let events = SelectAll::from_iter([digests, controls]);
        Ok((
            control,
            Self { streams, events, added: addeds, lost, silence: Silence::new(kept), stopped, ended: false },
        ))
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
                _ = self.lost.slow.changed() => return Some(self.silence.doubt()),
                _ = self.lost.probed.changed() => return Some(self.silence.doubt()),
                // What was appended before the end is here already: its live copy came before its answer.
                () = stops(&mut self.stopped) => self.ended = true,
            }
        }
    }

    pub(crate) fn try_next(&mut self) -> Option<LiveEvent> {
        for watched in [&mut self.lost.slow, &mut self.lost.probed] {
            if watched.has_changed().unwrap_or(false) {
                watched.mark_unchanged();
                return Some(self.silence.doubt());
            }
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
            let Digest { epoch, heads } = serde_json::from_slice(&message.payload).ok()?;
            return Some(LiveEvent::Heads { epoch, heads });
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
