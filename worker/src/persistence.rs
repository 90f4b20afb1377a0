//! The log's events become rows of the store.

use crate::announcing::Touched;
use crate::handler::{Handler, HandlerError, Item};
use broker::Group;
use protocol::envelope::Envelope;
use protocol::ids::Position;
use protocol::subjects::Shard;
use store::{Event, Store};
use tokio::sync::mpsc;

/// The group that writes the store.
pub const PERSISTENCE: Group = match Group::new("persistence") {
    Some(group) => group,
    None => panic!("a group's name is lower case"),
};

pub(crate) struct Persistence {
    store: Store,
    announcing: Option<mpsc::Sender<Touched>>,
}

impl Persistence {
    /// Says whose memberships it has changed, after it has, to who announces them.
    pub(crate) fn new(store: Store, announcing: Option<mpsc::Sender<Touched>>) -> Self {
        Self { store, announcing }
    }
}

impl Handler for Persistence {
    const ROLE: &'static str = "persistence";

    async fn handle(&self, batch: &[Item]) -> Result<(), HandlerError> {
        let events = batch.iter().map(event).collect::<Result<Vec<_>, _>>()?;
        let touched = Touched::by(&events);
        self.store.apply(events).await?;
        if let Some(announcing) = self.announcing.as_ref().filter(|_| !touched.is_nothing()) {
            // It ends after this one's loop, or with the process.
            let _stopping = announcing.send(touched).await;
        }
        metrics::counter!(crate::metrics::PERSISTED).increment(batch.len() as u64);
        Ok(())
    }

    async fn make_durable(&self, reached: &[(Shard, Position)]) -> Result<(), HandlerError> {
        Ok(self.store.make_durable(reached).await?)
    }
}

/// Reads an entry, and all of it: what cannot be shown to anybody is not stored.
fn event(item: &Item) -> Result<Event, HandlerError> {
    let envelope = Envelope::decode(&item.entry.envelope)?;
    envelope.fact()?;
    if envelope.channel_id != item.entry.channel {
        return Err(HandlerError::Misplaced);
    }
    Ok(Event { position: item.position(), envelope })
}
