//! Live copies of the log and ephemeral events, by slot.
//!
//! At most once: a queue that is full drops the newest and says `Lost`, and the subscriber reads the log.

use crate::embedded::{EmbeddedControl, EmbeddedSubscriber};
use crate::nats::{NatsControl, NatsSubscriber};
use bytes::Bytes;
use protocol::control::Control;
use protocol::ids::{ChannelId, Epoch, Position, Seq};
use protocol::subjects::{Shard, Slot};

/// What a subscriber hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveEvent {
    /// An entry was logged.
    Durable {
        /// The channel.
        channel: ChannelId,
        /// Where it stands.
        position: Position,
        /// The channel's entry before it; 0 for none, or when that one was purged.
        prev: Seq,
        /// As it was appended.
        envelope: Bytes,
    },
    /// Somebody published.
    Ephemeral {
        /// The channel.
        channel: ChannelId,
        /// As it was published.
        payload: Bytes,
    },
    /// Entries that are logged, whether or not their copies came: whoever is behind reads the log.
    Heads {
        /// The life of the log that the numbers belong to.
        epoch: Epoch,
        /// Channels, of any slot, with an entry of theirs.
        heads: Vec<(ChannelId, Seq)>,
    },
    /// Somebody announced.
    Control(Control),
    /// Some durable events of one shard, or of any, were dropped on the way: compare heads and read the log.
    Lost(Option<Shard>),
    /// As `Lost`, and nothing came for so long that the log may have no more what was missed.
    CutOff(Option<Shard>),
}

/// Why there is no subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The broker stops.
    #[error("broker stops")]
    Closed,
}

/// Why an ephemeral event, or an announcement, went nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The broker stops.
    #[error("broker stops")]
    Closed,
    /// There is no connection now; what would wait for one would come late.
    #[error("broker cannot be reached")]
    Unreachable,
}

/// Chooses the slots of a subscription; cheap to clone.
#[derive(Clone)]
pub enum SubscriptionControl {
    /// Of the embedded broker.
    Embedded(EmbeddedControl),
    /// Of the broker on NATS.
    Nats(Box<NatsControl>),
}

impl SubscriptionControl {
    /// Adds slots. Whatever is appended after this has returned arrives; read the head after it.
    pub async fn add(&self, slots: &[Slot]) {
        match self {
            Self::Embedded(control) => slots.iter().for_each(|slot| control.add(*slot)),
            Self::Nats(control) => control.add(slots).await,
        }
    }

    /// Removes a slot; events that are on their way may still arrive.
    pub async fn remove(&self, slot: Slot) {
        match self {
            Self::Embedded(control) => control.remove(slot),
            Self::Nats(control) => control.remove(slot),
        }
    }
}

/// Where the events of a subscription arrive, in seq order for each channel.
pub enum Subscriber {
    /// Of the embedded broker.
    Embedded(EmbeddedSubscriber),
    /// Of the broker on NATS.
    Nats(Box<NatsSubscriber>),
}

impl Subscriber {
    /// Returns the next event; `None` when the broker has stopped. Cancel safe.
    pub async fn next(&mut self) -> Option<LiveEvent> {
        match self {
            Self::Embedded(subscriber) => subscriber.next().await,
            Self::Nats(subscriber) => subscriber.next().await,
        }
    }

    /// Returns the next event if it is here already.
    pub fn try_next(&mut self) -> Option<LiveEvent> {
        match self {
            Self::Embedded(subscriber) => subscriber.try_next(),
            Self::Nats(subscriber) => subscriber.try_next(),
        }
    }
}
