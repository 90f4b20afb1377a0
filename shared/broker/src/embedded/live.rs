//! Who in this process hears which slots.

use crate::live::LiveEvent;
use bytes::Bytes;
use protocol::control::Control;
use protocol::ids::{ChannelId, Epoch, Position, Seq};
use protocol::subjects::{SHARDS, SLOTS_PER_SHARD, Slot};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, watch};

/// Ephemeral events that wait for one subscriber; the newest is dropped when it is full.
const EPHEMERAL_QUEUE: usize = 1_024;

/// Announcements that wait for one subscriber; the newest is dropped when it is full. Chosen: they are few, and told
/// again.
const CONTROL_QUEUE: usize = 64;

/// A bit for each slot of a shard.
const _: () = assert!(SLOTS_PER_SHARD == 64, "a shard's slots are one word");

pub(super) struct Subscribers {
    epoch: Epoch,
    durable_queue: usize,
    list: Mutex<Vec<Arc<Subscribed>>>,
}

struct Subscribed {
    slots: [AtomicU64; SHARDS as usize],
    durable: mpsc::Sender<LiveEvent>,
    ephemeral: mpsc::Sender<LiveEvent>,
    control: mpsc::Sender<LiveEvent>,
    /// Something durable was dropped since the subscriber last looked.
    lost: AtomicBool,
    gone: AtomicBool,
}

/// Chooses the slots of one subscriber.
#[derive(Clone)]
pub struct EmbeddedControl(Arc<Subscribed>);

/// Where one subscriber's events arrive.
pub struct EmbeddedSubscriber {
    subscribed: Arc<Subscribed>,
    durable: mpsc::Receiver<LiveEvent>,
    ephemeral: mpsc::Receiver<LiveEvent>,
    control: mpsc::Receiver<LiveEvent>,
    stopped: watch::Receiver<bool>,
}

/// An entry that was committed.
pub(super) struct Committed {
    pub(super) channel: ChannelId,
    pub(super) seq: Seq,
    pub(super) prev: Seq,
    pub(super) envelope: Bytes,
}

impl Subscribers {
    pub(super) fn new(epoch: Epoch, durable_queue: usize) -> Self {
        Self { epoch, durable_queue, list: Mutex::default() }
    }

    pub(super) fn add(&self, stopped: watch::Receiver<bool>) -> (EmbeddedControl, EmbeddedSubscriber) {
        let (durable, durables) = mpsc::channel(self.durable_queue);
        let (ephemeral, ephemerals) = mpsc::channel(EPHEMERAL_QUEUE);
        let (control, controls) = mpsc::channel(CONTROL_QUEUE);
        let slots = std::array::from_fn(|_| AtomicU64::new(0));
        let (lost, gone) = (AtomicBool::new(false), AtomicBool::new(false));
        let subscribed = Arc::new(Subscribed { slots, durable, ephemeral, control, lost, gone });
        self.list().push(subscribed.clone());
        let (durable, ephemeral, control) = (durables, ephemerals, controls);
        let chooser = EmbeddedControl(subscribed.clone());
        (chooser, EmbeddedSubscriber { subscribed, durable, ephemeral, control, stopped })
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<Subscribed>>> {
        // A list of subscribers cannot be left half changed by a panic elsewhere.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends live copies, in the order of the commit. Called by the writer alone, so never out of order.
    pub(super) fn durable(&self, committed: &[Committed]) {
        let mut list = self.list();
        list.retain(|subscribed| !subscribed.gone.load(Ordering::Relaxed));
        for subscribed in list.iter() {
            for entry in committed.iter().filter(|entry| subscribed.hears(&entry.channel)) {
                let position = Position { epoch: self.epoch.clone(), seq: entry.seq };
                let event = LiveEvent::Durable {
                    channel: entry.channel.clone(),
                    position,
                    prev: entry.prev,
                    envelope: entry.envelope.clone(),
                };
                if subscribed.durable.try_send(event).is_err() {
                    subscribed.lost.store(true, Ordering::SeqCst);
                    metrics::counter!(crate::metrics::LIVE_DROPPED).increment(1);
                }
            }
        }
    }

    /// Tells everybody that entries were committed of which there are no live copies.
    pub(super) fn lost(&self) {
        for subscribed in self.list().iter() {
            // In the queue it wakes whoever waits; one that is full wakes him anyway.
            if subscribed.durable.try_send(LiveEvent::Lost(None)).is_err() {
                subscribed.lost.store(true, Ordering::SeqCst);
            }
        }
    }

    pub(super) fn ephemeral(&self, channel: &ChannelId, payload: &Bytes) {
        for subscribed in self.list().iter().filter(|subscribed| subscribed.hears(channel)) {
            let event = LiveEvent::Ephemeral { channel: channel.clone(), payload: payload.clone() };
            if subscribed.ephemeral.try_send(event).is_err() {
                metrics::counter!(crate::metrics::EPHEMERAL_DROPPED).increment(1);
            }
        }
    }

    pub(super) fn announce(&self, control: &Control) {
        for subscribed in self.list().iter() {
            if subscribed.control.try_send(LiveEvent::Control(control.clone())).is_err() {
                metrics::counter!(crate::metrics::CONTROL_DROPPED).increment(1);
            }
        }
    }
}

impl Subscribed {
    fn word(&self, slot: Slot) -> (&AtomicU64, u64) {
        (&self.slots[usize::from(slot.shard.0 % SHARDS)], 1 << (slot.slot % SLOTS_PER_SHARD))
    }

    fn hears(&self, channel: &ChannelId) -> bool {
        let (word, bit) = self.word(Slot::of(channel));
        word.load(Ordering::SeqCst) & bit != 0
    }
}

impl EmbeddedControl {
    pub(crate) fn add(&self, slot: Slot) {
        let (word, bit) = self.0.word(slot);
        word.fetch_or(bit, Ordering::SeqCst);
    }

    pub(crate) fn remove(&self, slot: Slot) {
        let (word, bit) = self.0.word(slot);
        word.fetch_and(!bit, Ordering::SeqCst);
    }
}

impl EmbeddedSubscriber {
    pub(crate) async fn next(&mut self) -> Option<LiveEvent> {
        if let Some(event) = self.try_next() {
            return Some(event);
        }
        // Receiving is cancel safe, and so is waiting for a watched value.
        tokio::select! {
            // What was appended before the end is heard before the end.
            biased;
            event = self.durable.recv() => event,
            event = self.control.recv() => event,
            event = self.ephemeral.recv() => event,
            _ = self.stopped.wait_for(|stopped| *stopped) => None,
        }
    }

    pub(crate) fn try_next(&mut self) -> Option<LiveEvent> {
        if self.subscribed.lost.swap(false, Ordering::SeqCst) {
            return Some(LiveEvent::Lost(None));
        }
        // Announcements are few; behind a busy log they would wait for ever.
        let event = self.control.try_recv().or_else(|_| self.durable.try_recv());
        event.or_else(|_| self.ephemeral.try_recv()).ok()
    }
}

impl Drop for EmbeddedSubscriber {
    fn drop(&mut self) {
        self.subscribed.gone.store(true, Ordering::Relaxed);
    }
}
