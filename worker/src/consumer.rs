//! The one loop over the log: fetch a batch, handle it, try again what failed; acknowledge what is durable.
//!
//! Handling and making durable are two steps, because the second costs a sync of the disk: it is taken for many
//! batches at once. Architecture Invariant: an entry is acknowledged only after what it led to is durable, so that
//! whatever a power cut takes back comes again.

use broker::{ConsumeError, Consumer, Delivery, DeliveryId};
use protocol::ids::{Epoch, Position, Seq};
use protocol::subjects::{Shard, Slot};
use runtime::backoff::{Backoff, random};
use runtime::shutdown::{Shutdown, Stage};
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// Entries of one batch. Performance page: half the cost an event of batches of 50.
const BATCH_MAX: usize = 500;

/// After a batch that was not full: so long may the log grow before it is looked at again. What is read of a store
/// is completed from the log, so nobody waits for this; four times larger batches save a twelfth of all CPU.
const PACE: Duration = Duration::from_millis(200);

/// How long a fetch waits for the first entry; it only bounds how late a stop is noticed.
const FETCH_WAIT: Duration = Duration::from_secs(1);

/// Tries of a batch start at this bound of delay and end at the next.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Entries that are handled but not acknowledged. At most as many as any broker lets one group have out
/// (reliability page: about 1,000), or it would stop delivering.
const HANDLED_MAX: usize = 1_000;

/// How long an entry is handled but not acknowledged. Chosen: what comes again after a crash takes a moment, a sync
/// each two seconds costs nothing, and the broker waits 30 s before it delivers again.
const HANDLED_FOR: Duration = Duration::from_secs(2);

/// Something that is done with each entry of the log. Idempotent: an entry may come again.
pub(crate) trait Handler: Send + Sync + 'static {
    /// The handler's name, as a metric's label.
    const ROLE: &'static str;

    /// Handles a batch, all or nothing.
    fn handle(&self, batch: &[Delivery]) -> impl Future<Output = Result<(), HandlerError>> + Send;

    /// Makes durable whatever was handled; it reaches so far in these shards' logs.
    fn make_durable(
        &self,
        reached: &[(Shard, Position)],
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// A step that failed; it is tried again.
#[derive(Debug, thiserror::Error)]
#[error("batch was not handled")]
pub(crate) struct HandlerError(#[from] pub(crate) store::StoreError);

/// Runs until the workers' stage of the shutdown, or until the broker ends.
pub(crate) async fn run<H: Handler>(mut consumer: Consumer, handler: H, shutdown: Shutdown) {
    let mut handled = Handled::default();
    consume(&mut consumer, &handler, &mut handled, &shutdown).await;
    if handled.ids.is_empty() {
        return;
    }
    match handler.make_durable(&handled.reached()).await {
        Ok(()) => consumer.ack(&handled.ids).await,
        Err(error) => tracing::warn!(error = %error.0, role = H::ROLE, "the last entries will come again"),
    }
}

async fn consume<H: Handler>(
    consumer: &mut Consumer,
    handler: &H,
    handled: &mut Handled,
    shutdown: &Shutdown,
) {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    while shutdown.stage() < Stage::Finishing {
        // What a dropped fetch took comes again, as whatever is not acknowledged.
        let fetched = tokio::select! {
            fetched = consumer.fetch(BATCH_MAX, FETCH_WAIT.min(handled.time_left())) => fetched,
            () = shutdown.reached(Stage::Finishing) => return,
        };
        let pause = match fetched {
            Ok(batch) if batch.is_empty() => None,
            Ok(batch) => {
                if !until_it_works(H::ROLE, || handler.handle(&batch), shutdown).await {
                    return;
                }
                handled.add(&batch);
                backoff.reset();
                (batch.len() < BATCH_MAX).then_some(PACE)
            }
            Err(ConsumeError::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, role = H::ROLE, "nothing can be consumed now");
                Some(backoff.next(random()))
            }
        };
        if handled.is_due() {
            let reached = handled.reached();
            if !until_it_works(H::ROLE, || handler.make_durable(&reached), shutdown).await {
                return;
            }
            consumer.ack(&std::mem::take(handled).ids).await;
        }
        if let Some(pause) = pause {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.reached(Stage::Finishing) => return,
            }
        }
    }
}

/// Tries a step until it works; returns whether it did before the process stops.
async fn until_it_works<F>(role: &'static str, step: impl Fn() -> F, shutdown: &Shutdown) -> bool
where
    F: Future<Output = Result<(), HandlerError>>,
{
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    loop {
        match step().await {
            Ok(()) => return true,
            Err(error) => {
                metrics::counter!(crate::metrics::RETRIED, "role" => role).increment(1);
                tracing::warn!(error = %error.0, role, "a batch is tried again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next(random())) => {}
            () = shutdown.reached(Stage::Finishing) => return false,
        }
    }
}

/// What was handled and is not acknowledged: it need not be durable yet.
#[derive(Default)]
struct Handled {
    ids: Vec<DeliveryId>,
    /// Up to where each shard's log was handled, in each of its lives.
    reached: HashMap<(Shard, Epoch), Seq>,
    /// When the first of it was handled.
    since: Option<Instant>,
}

impl Handled {
    fn add(&mut self, batch: &[Delivery]) {
        self.since.get_or_insert_with(Instant::now);
        for delivery in batch {
            self.ids.push(delivery.id);
            let shard = Slot::of(&delivery.entry.channel).shard;
            let reached = self.reached.entry((shard, delivery.epoch.clone())).or_default();
            *reached = delivery.entry.seq.max(*reached);
        }
    }

    fn reached(&self) -> Vec<(Shard, Position)> {
        let placed = |((shard, epoch), seq): (&(Shard, Epoch), &Seq)| {
            (*shard, Position { epoch: epoch.clone(), seq: *seq })
        };
        self.reached.iter().map(placed).collect()
    }

    /// How long it may wait still; for ever when there is nothing.
    fn time_left(&self) -> Duration {
        self.since.map_or(Duration::MAX, |since| HANDLED_FOR.saturating_sub(since.elapsed()))
    }

    fn is_due(&self) -> bool {
        self.ids.len() >= HANDLED_MAX || self.time_left().is_zero()
    }
}
