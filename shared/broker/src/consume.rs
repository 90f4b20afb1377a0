//! Shared consumption of the whole log: each entry goes to one member of a group, until it is acknowledged.

use crate::embedded::EmbeddedConsumer;
use crate::log::Entry;
use crate::nats::NatsConsumer;
use protocol::ids::Epoch;
use std::fmt;
use std::time::Duration;

/// The name of a group, `[a-z_]{1,32}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group(&'static str);

impl Group {
    /// Takes a name; `None` when it breaks the rule.
    pub const fn new(name: &'static str) -> Option<Self> {
        let bytes = name.as_bytes();
        if bytes.is_empty() || bytes.len() > 32 {
            return None;
        }
        let mut at = 0;
        while at < bytes.len() {
            if !bytes[at].is_ascii_lowercase() && bytes[at] != b'_' {
                return None;
            }
            at += 1;
        }
        Some(Self(name))
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// By which a delivery is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub(crate) i64);

/// An entry on its way to one member of a group. It carries no `prev`: a NATS consumer is not told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// For the acknowledgement.
    pub id: DeliveryId,
    /// The life of the log.
    pub epoch: Epoch,
    /// What was logged.
    pub entry: Entry,
    /// How often it was delivered, this time included.
    pub attempts: u32,
}

/// Why nothing can be consumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// The disk or the server failed; try again.
    #[error("log cannot be consumed: {0}")]
    Failed(String),
    /// The broker stops.
    #[error("broker stops")]
    Closed,
}

/// How long a member may have an entry without a word. Chosen: what one took that was killed is stored within seconds,
/// and a machine that stands still for less repeats nothing.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(6);

/// A member of a group. What it fetched and did not acknowledge goes to another member 6 seconds later, unless it says
/// that it keeps it, or as soon as this one is dropped.
pub enum Consumer {
    /// Of the embedded broker.
    Embedded(EmbeddedConsumer),
    /// Of the broker on NATS.
    Nats(Box<NatsConsumer>),
}

impl Consumer {
    /// Takes up to `max` entries that no other member has, in the order of each shard's log; waits up to `wait` for the first.
    ///
    /// # Errors
    /// [`ConsumeError`] when the log cannot be read or the broker stops.
    ///
    /// # Cancel safety
    /// Entries taken by a dropped call come again, as unacknowledged ones do.
    pub async fn fetch(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, ConsumeError> {
        match self {
            Self::Embedded(consumer) => consumer.fetch(max, wait).await,
            Self::Nats(consumer) => consumer.fetch(max, wait).await,
        }
    }

    /// Says that this member is still at work on whatever it has: the time after which another gets it begins anew.
    pub async fn keep(&mut self) {
        match self {
            Self::Embedded(consumer) => consumer.keep(),
            Self::Nats(consumer) => consumer.keep().await,
        }
    }

    /// Acknowledges entries. Up to the first one that is not acknowledged it survives a clean stop; what lies
    /// behind that one, and after a crash the last second's, may come again.
    pub async fn ack(&mut self, ids: &[DeliveryId]) {
        match self {
            Self::Embedded(consumer) => consumer.ack(ids),
            Self::Nats(consumer) => consumer.ack(ids).await,
        }
    }
}
