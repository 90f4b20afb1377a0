//! How long the log is kept: what the store has for good and what is old enough is purged, and nothing else.

use crate::persistence::PERSISTENCE;
use broker::{Broker, Purge, PurgeError};
use protocol::ids::Position;
use protocol::subjects::{SHARDS, Shard};
use protocol::time::Timestamp;
use runtime::backoff::{below, random};
use runtime::clock::now_unix_ms;
use runtime::shutdown::{Shutdown, Stage};
use std::time::Duration;
use store::{Store, StoreError};

/// Between two looks, nearly. Chosen: what is purged at once stays small, and nobody notices ten minutes in days.
const PACE: Duration = Duration::from_secs(600);

/// Looks in the time that an entry is kept, at least.
const LOOKS: u32 = 12;

/// A process that starts looks within this time: of a fleet that starts at one moment not all do at once.
const FIRST: Duration = Duration::from_secs(5);

/// Purges the log of one process's roles; any number of them may run.
pub(crate) struct Retention {
    pub(crate) broker: Broker,
    pub(crate) store: Store,
    /// How long an entry is kept at least.
    pub(crate) kept: Duration,
}

/// Why a look came to no end; the next one does what is left.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("store cannot be asked")]
    Store(#[from] StoreError),
    #[error("log cannot be purged")]
    Log(#[from] PurgeError),
}

impl Retention {
    /// Runs until the workers' stage of the shutdown.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let pace = PACE.min(self.kept / LOOKS);
        let mut pause = below(FIRST.min(pace), random());
        loop {
            let look = async {
                tokio::time::sleep(pause).await;
                self.look().await
            };
            // A purge that is cut short is gone on with by the next one.
            let looked = tokio::select! {
                looked = look => looked,
                () = shutdown.reached(Stage::Finishing) => return,
            };
            match looked {
                Ok(0) => {}
                Ok(purged) => tracing::info!(purged, "old entries of the log were purged"),
                Err(error) => {
                    tracing::warn!(error = error.to_string(), "old entries of the log stay for now")
                }
            }
            pause = pace / 2 + below(pace, random());
        }
    }

    /// Purges once; returns how many entries.
    async fn look(&self) -> Result<u64, LookError> {
        let mut upto = Vec::new();
        for shard in (0..SHARDS).map(Shard) {
            let epoch = self.broker.epoch(shard);
            let seq = self.store.reached(shard, &epoch).await?;
            upto.push((shard, Position { epoch, seq }));
        }
        let kept_ms = u64::try_from(self.kept.as_millis()).unwrap_or(u64::MAX);
        let before = Timestamp::from_unix_ms(now_unix_ms().saturating_sub(kept_ms));
        Ok(self.broker.purge(Purge { group: PERSISTENCE, upto, before }).await?)
    }
}
