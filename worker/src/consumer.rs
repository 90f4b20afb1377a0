//! The one loop over the log: fetch a batch, handle it, acknowledge it; try again what failed.

use broker::{ConsumeError, Consumer, Delivery};
use runtime::backoff::{Backoff, random};
use runtime::shutdown::{Shutdown, Stage};
use std::future::Future;
use std::time::Duration;

/// Entries of one batch. Performance page: half the cost an event of batches of 50.
const BATCH_MAX: usize = 500;

/// After a batch that was not full: so long may the log grow before it is looked at again. What is read of a store
/// is completed from the log, so nobody waits for this; four times larger batches save a twelfth of all CPU.
const PACE: Duration = Duration::from_millis(200);

/// How long a fetch waits for the first entry; it only bounds how late a stop is noticed.
const FETCH_WAIT: Duration = Duration::from_secs(1);

/// Tries of a batch start at this bound of delay and end at the next.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Something that is done with each entry of the log. Idempotent: an entry may come again.
pub(crate) trait Handler: Send + Sync + 'static {
    /// The handler's name, as a metric's label.
    const ROLE: &'static str;

    /// Handles a batch, all or nothing.
    fn handle(&self, batch: &[Delivery]) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// A batch that was not handled; it comes again.
#[derive(Debug, thiserror::Error)]
#[error("batch was not handled")]
pub(crate) struct HandlerError(#[from] pub(crate) store::StoreError);

/// Runs until the workers' stage of the shutdown, or until the broker ends.
pub(crate) async fn run<H: Handler>(mut consumer: Consumer, handler: H, shutdown: Shutdown) {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    while shutdown.stage() < Stage::Finishing {
        // What a dropped fetch took comes again, as whatever is not acknowledged.
        let fetched = tokio::select! {
            fetched = consumer.fetch(BATCH_MAX, FETCH_WAIT) => fetched,
            () = shutdown.reached(Stage::Finishing) => return,
        };
        match fetched {
            Ok(batch) if batch.is_empty() => {}
            Ok(batch) => {
                if !handle(&handler, &batch, &shutdown).await {
                    return;
                }
                let ids: Vec<_> = batch.iter().map(|delivery| delivery.id).collect();
                consumer.ack(&ids).await;
                backoff.reset();
                if batch.len() < BATCH_MAX {
                    tokio::select! {
                        () = tokio::time::sleep(PACE) => {}
                        () = shutdown.reached(Stage::Finishing) => return,
                    }
                }
            }
            Err(ConsumeError::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, role = H::ROLE, "nothing can be consumed now");
                tokio::time::sleep(backoff.next(random())).await;
            }
        }
    }
}

/// Handles a batch until it works; returns whether it did before the process stops.
async fn handle<H: Handler>(handler: &H, batch: &[Delivery], shutdown: &Shutdown) -> bool {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        match handler.handle(batch).await {
            Ok(()) => return true,
            Err(error) => {
                metrics::counter!(crate::metrics::RETRIED, "role" => H::ROLE).increment(1);
                tracing::warn!(error = %error.0, role = H::ROLE, entries = batch.len(), "a batch is tried again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next(random())) => {}
            () = shutdown.reached(Stage::Finishing) => return false,
        }
    }
}
