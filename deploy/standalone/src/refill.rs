//! A store that lacks what the log was told it has is filled from the log again.
//!
//! It lacks it when its file was deleted, or is an older copy. What it has for good it says itself; what it should
//! have is what its group acknowledged and what was purged, and both follow what it has for good, so an intact store
//! is never behind. The group has one member, who gets the log in its order: the store reaches without a gap as far
//! as it reaches.

use broker::{DeliveryId, Embedded};
use protocol::ids::Position;
use protocol::subjects::Shard;
use std::time::Duration;
use store::{Store, StoreError};
use worker::PERSISTENCE;

/// Between two looks at the log.
const LOOK: Duration = Duration::from_millis(50);

/// A store on its way to have everything again.
pub(crate) struct Refill {
    /// Up to where its group comes again.
    upto: DeliveryId,
}

/// Looks whether the store has what it should have; when it has not, its group begins at the first entry again. To be
/// called before the group has members.
pub(crate) async fn begin(log: &Embedded, store: &Store) -> anyhow::Result<Option<Refill>> {
    let has_what_was_purged = has(store, &log.purged()).await?;
    let acknowledged = log.acknowledged(PERSISTENCE).await?;
    if has_what_was_purged && has(store, acknowledged.as_slice()).await? {
        return Ok(None);
    }
    if !has_what_was_purged {
        tracing::error!(
            "the store lacks what the log has no more: history has a hole until a backup of it is back"
        );
    }
    tracing::warn!("the store lacks what the log says it has: it is filled again from the log");
    Ok(Some(Refill { upto: log.begin_again(PERSISTENCE) }))
}

/// Whether the store reaches as far as that.
async fn has(store: &Store, places: &[(Shard, Position)]) -> Result<bool, StoreError> {
    for (shard, position) in places {
        if store.reached(*shard, &position.epoch).await? < position.seq {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Refill {
    /// Waits until the store has all that the log can give: before that, members would be told of no channels.
    pub(crate) async fn done(self, log: &Embedded) {
        while !log.has_come_to(PERSISTENCE, self.upto) {
            tokio::time::sleep(LOOK).await;
        }
        tracing::info!("the store is filled");
    }
}
