//! A store that lacks what the log was told it has is filled from the log again.
//!
//! It lacks it when its file was deleted, or is an older copy. What it has for good it says itself; what it should
//! have is what its group acknowledged and what was purged, and both follow what it has for good, so an intact store
//! is never behind.

use crate::persistence::PERSISTENCE;
use broker::{Broker, ConsumeError, ReadError};
use protocol::ids::Position;
use protocol::subjects::Shard;
use std::time::Duration;
use store::{Store, StoreError};

/// Between two looks at the store.
const LOOK: Duration = Duration::from_millis(50);

/// Why it is not known whether the store has everything, or cannot be mended.
#[derive(Debug, thiserror::Error)]
pub enum RefillError {
    /// The log cannot be asked.
    #[error("log cannot be asked")]
    Log(#[from] ReadError),
    /// The log cannot be consumed anew.
    #[error("log cannot be consumed anew")]
    Consume(#[from] ConsumeError),
    /// The store cannot be asked.
    #[error("store cannot be asked")]
    Store(#[from] StoreError),
}

/// A store on its way to have everything again.
pub(crate) struct Refill {
    /// What it should have, of what the log can still give.
    wanted: Vec<(Shard, Position)>,
}

/// Looks whether the store has what it should have; when it has not, its group begins at the first entry again. To be
/// called before this process joins the group.
pub(crate) async fn begin(broker: &Broker, store: &Store) -> Result<Option<Refill>, RefillError> {
    // What was acknowledged first: what the store has is then at least as new.
    let (wanted, purged) = (broker.acknowledged(PERSISTENCE).await?, broker.purged().await?);
    let has_what_was_purged = has(store, &purged).await?;
    if has_what_was_purged && has(store, &wanted).await? {
        return Ok(None);
    }
    if !has_what_was_purged {
        tracing::error!(
            "the store lacks what the log has no more: history has a hole until a backup of it is back"
        );
    }
    tracing::warn!("the store lacks what the log says it has: it is filled again from the log");
    broker.begin_again(PERSISTENCE).await?;
    Ok(Some(Refill { wanted }))
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
    pub(crate) async fn done(self, store: &Store) -> Result<(), StoreError> {
        while !has(store, &self.wanted).await? {
            tokio::time::sleep(LOOK).await;
        }
        tracing::info!("the store is filled");
        Ok(())
    }
}
