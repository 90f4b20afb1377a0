//! A store that lacks what the log was told it has is filled from the log again.
//!
//! It lacks it when its file was deleted, or is an older copy. What it has for good it says itself; what it should
//! have is what its group acknowledged and what was purged, and both follow what it has for good, so an intact store
//! is never behind. Architecture Invariant: a store that is being filled says so itself, from before its group begins
//! again until everything has come: what the group had acknowledged is known to nobody else by then.

use crate::persistence::PERSISTENCE;
use broker::{Broker, ConsumeError, ReadError};
use protocol::ids::Position;
use protocol::subjects::Shard;
use std::time::Duration;
use store::{Store, StoreError};

/// Between two looks at the store.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

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
    /// What it says of itself.
    marks: Vec<(Shard, Position)>,
    /// What the log cannot give any more.
    purged: Vec<(Shard, Position)>,
}

/// Looks whether the store has what it should have; when it has not, its group begins at the first entry again. To be
/// called before this process joins the group, and again after an error.
pub(crate) async fn begin(broker: &Broker, store: &Store) -> Result<Option<Refill>, RefillError> {
    // What was acknowledged first: what the store has is then at least as new, and it says that it is being filled
    // before its group has acknowledged less.
    let (acknowledged, purged) = (broker.acknowledged(PERSISTENCE).await?, broker.purged().await?);
    let has_what_was_purged = has(store, &purged).await?;
    if !has_what_was_purged {
        tracing::error!(
            "the store lacks what the log has no more: history has a hole until a backup of it is back"
        );
    }
    if !has_what_was_purged || !has(store, &acknowledged).await? {
        tracing::warn!("the store lacks what the log says it has: it is filled again from the log");
        store.begin_filling(&acknowledged).await?;
        broker.begin_again(PERSISTENCE).await?;
    }
    // Whoever wrote them: this process, one beside it, or one that ended on the way.
    let marks = store.filling().await?;
    Ok((!marks.is_empty()).then_some(Refill { marks, purged }))
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
    /// Whether the store has all that the log can give: before that, members would be told of too few channels.
    pub(crate) async fn is_done(&self, broker: &Broker, store: &Store) -> Result<bool, RefillError> {
        for (shard, position) in self.marks.iter().filter(|mark| self.can_come(broker, mark)) {
            if store.reached(*shard, &position.epoch).await? < position.seq {
                return Ok(false);
            }
            // Where several workers persist, one of them may have stored what comes later.
            let settled = broker.settled(PERSISTENCE, *shard).await?;
            if settled.is_some_and(|settled| settled < position.seq) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the log has it still: an older copy of the store may have been on its way to what is purged since, or
    /// to another life of the log.
    fn can_come(&self, broker: &Broker, (shard, position): &(Shard, Position)) -> bool {
        let is_purged = |(of, upto): &(Shard, Position)| of == shard && upto.seq >= position.seq;
        broker.epoch(*shard) == position.epoch && !self.purged.iter().any(is_purged)
    }

    /// Has the store say that it is filled.
    pub(crate) async fn end(self, store: &Store) -> Result<(), StoreError> {
        store.end_filling(&self.marks).await?;
        tracing::info!("the store is filled");
        Ok(())
    }
}
