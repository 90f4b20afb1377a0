//! The log's events become rows of the store.

use crate::consumer::{Handler, HandlerError};
use broker::{Delivery, Group};
use protocol::envelope::Envelope;
use protocol::ids::Position;
use protocol::subjects::Shard;
use store::{Event, Store};

/// The group that writes the store.
pub const PERSISTENCE: Group = match Group::new("persistence") {
    Some(group) => group,
    None => panic!("a group's name is lower case"),
};

pub(crate) struct Persistence {
    store: Store,
}

impl Persistence {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Handler for Persistence {
    const ROLE: &'static str = "persistence";

    async fn handle(&self, batch: &[Delivery]) -> Result<(), HandlerError> {
        let events: Vec<Event> = batch.iter().filter_map(event).collect();
        let count = events.len() as u64;
        self.store.apply(events).await?;
        metrics::counter!(crate::metrics::PERSISTED).increment(count);
        Ok(())
    }

    async fn make_durable(&self, reached: &[(Shard, Position)]) -> Result<(), HandlerError> {
        Ok(self.store.make_durable(reached).await?)
    }
}

/// Reads a delivery. What no release can read must not stop everything behind it; the log keeps it.
fn event(delivery: &Delivery) -> Option<Event> {
    let readable = Envelope::decode(&delivery.entry.envelope).and_then(|envelope| {
        envelope.fact()?;
        Ok(envelope)
    });
    match readable {
        Ok(envelope) => {
            let position = Position { epoch: delivery.epoch.clone(), seq: delivery.entry.seq };
            Some(Event { position, envelope })
        }
        Err(error) => {
            metrics::counter!(crate::metrics::SKIPPED).increment(1);
            let (channel, seq) = (&delivery.entry.channel, delivery.entry.seq);
            tracing::error!(%error, %channel, seq, "an entry of the log cannot be read; it is skipped");
            None
        }
    }
}
