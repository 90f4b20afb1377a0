//! A store that lacks what the log was told it has is filled from the log again.
//!
//! It lacks it when its file was deleted, or is an older copy. What it has for good it says itself; what it should
//! have is what its group acknowledged, and that follows what it has for good, so an intact store is never behind.
//! The group has one member, who gets the log in its order: the store reaches without a gap as far as it reaches.

use broker::Embedded;
use protocol::ids::Position;
use protocol::subjects::Shard;
use std::time::Duration;
use store::{Store, StoreError};

/// Between two looks at the store.
const LOOK: Duration = Duration::from_millis(50);

/// Up to where a store is filled again.
pub(crate) struct Refill {
    shard: Shard,
    upto: Position,
}

/// Looks whether the store has what its group acknowledged; when it has not, the group begins at the first entry
/// again. To be called before the group has members.
pub(crate) async fn begin(log: &Embedded, store: &Store) -> anyhow::Result<Option<Refill>> {
    let Some((shard, upto)) = log.acknowledged(worker::PERSISTENCE).await? else { return Ok(None) };
    let refill = Refill { shard, upto };
    if refill.is_done(store).await? {
        return Ok(None);
    }
    tracing::warn!("the store lacks what the log says it has: it is filled again from the log");
    log.begin_again(worker::PERSISTENCE);
    Ok(Some(refill))
}

impl Refill {
    /// Waits until the store has it all: before that, members would be told of no channels.
    pub(crate) async fn done(self, store: &Store) -> Result<(), StoreError> {
        while !self.is_done(store).await? {
            tokio::time::sleep(LOOK).await;
        }
        tracing::info!("the store is filled");
        Ok(())
    }

    async fn is_done(&self, store: &Store) -> Result<bool, StoreError> {
        Ok(store.reached(self.shard, &self.upto.epoch).await? >= self.upto.seq)
    }
}
