//! The one loop over the log: fetch a batch, handle it, try again what failed; acknowledge what is durable.
//!
//! Handling and making durable are two steps, because the second costs a sync of the disk: it is taken for many
//! batches at once. Architecture Invariants: an entry is acknowledged only after what it led to is durable, so that
//! whatever a power cut takes back comes again. What fails for the moment is tried for ever; an entry that fails for
//! itself becomes a dead letter, and nothing behind it waits.

use crate::handler::{Handler, HandlerError, Item};
use broker::{ConsumeError, Consumer, Delivery, DeliveryId};
use protocol::ids::{Epoch, Position, Seq};
use protocol::subjects::Shard;
use protocol::time::Timestamp;
use runtime::backoff::{Backoff, random};
use runtime::clock::now_unix_ms;
use runtime::shutdown::{Shutdown, Stage};
use std::collections::HashMap;
use std::future::Future;
use std::slice;
use std::time::Duration;
use store::{DeadLetter, LetterId, Store};
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

/// How often a batch is refused before its entries are handled one by one. Chosen: once more, should the first
/// refusal have been a passing one after all.
const REFUSALS_MAX: u32 = 2;

/// Entries that are handled but not acknowledged. At most as many as any broker lets one group have out
/// (reliability page: about 1,000), or it would stop delivering.
const HANDLED_MAX: usize = 1_000;

/// How long an entry is handled but not acknowledged, and the pause behind its batch. Chosen: a sync two or three times
/// a second costs nothing, and writes so little at once that the log's own syncs beside it do not wait: at two seconds a delivery's p99 was 4 ms longer.
const HANDLED_FOR: Duration = Duration::from_millis(200);

/// How often a member says that it is still at work on what it has: well within the broker's patience of 6 s.
const KEEP: Duration = Duration::from_secs(2);

/// What one role does with the log.
pub(crate) struct Work<H> {
    pub(crate) handler: H,
    /// Where its dead letters go.
    pub(crate) store: Store,
    pub(crate) shutdown: Shutdown,
}

/// The process stops; what is not done yet comes again.
struct Stopped;

/// Runs until the workers' stage of the shutdown, or until the broker ends.
pub(crate) async fn run<H: Handler>(mut consumer: Consumer, work: Work<H>) {
    let mut handled = Handled::default();
    let Stopped = work.consume(&mut consumer, &mut handled).await;
    if handled.ids.is_empty() {
        return;
    }
    match work.handler.make_durable(&handled.reached()).await {
        Ok(()) => consumer.ack(&handled.ids).await,
        Err(error) => tracing::warn!(%error, role = H::ROLE, "the last entries will come again"),
    }
}

impl<H: Handler> Work<H> {
    async fn consume(&self, consumer: &mut Consumer, handled: &mut Handled) -> Stopped {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        loop {
            let pause = match self.turn(consumer, handled).await {
                Ok(Ok(count)) => {
                    backoff.reset();
                    (0 < count && count < BATCH_MAX).then_some(PACE)
                }
                Ok(Err(ConsumeError::Closed)) | Err(Stopped) => return Stopped,
                Ok(Err(error)) => {
                    tracing::warn!(%error, role = H::ROLE, "nothing can be consumed now");
                    Some(backoff.next(random()))
                }
            };
            if self.acknowledge(consumer, handled).await.is_err() {
                return Stopped;
            }
            if let Some(pause) = pause
                && keeping(consumer, self.sleep(pause)).await.is_err()
            {
                return Stopped;
            }
        }
    }

    /// Takes a batch and handles it; returns how many entries it had.
    async fn turn(
        &self,
        consumer: &mut Consumer,
        handled: &mut Handled,
    ) -> Result<Result<usize, ConsumeError>, Stopped> {
        // What a dropped fetch took comes again, as whatever is not acknowledged.
        let fetched = tokio::select! {
            biased;
            () = self.shutdown.reached(Stage::Finishing) => return Err(Stopped),
            fetched = consumer.fetch(BATCH_MAX, FETCH_WAIT.min(handled.time_left())) => fetched,
        };
        let batch = match fetched {
            Ok(batch) => batch,
            Err(error) => return Ok(Err(error)),
        };
        let split = |Delivery { id, epoch, entry, .. }| (id, Item { epoch, entry });
        let (ids, items): (Vec<_>, Vec<_>) = batch.into_iter().map(split).unzip();
        if !items.is_empty() {
            keeping(consumer, self.handle(&items)).await?;
            handled.add(ids, &items);
        }
        Ok(Ok(items.len()))
    }

    /// Handles a batch; what is refused in it is put aside.
    async fn handle(&self, items: &[Item]) -> Result<(), Stopped> {
        let Err(_refused) = self.attempt(REFUSALS_MAX, || self.handler.handle(items)).await? else {
            return Ok(());
        };
        for item in items {
            if let Err(error) = self.attempt(1, || self.handler.handle(slice::from_ref(item))).await? {
                self.put_aside(item, &error).await?;
            }
        }
        Ok(())
    }

    async fn put_aside(&self, item: &Item, error: &HandlerError) -> Result<(), Stopped> {
        let (channel, seq, reason) = (&item.entry.channel, item.entry.seq, error.reason());
        let role = H::ROLE;
        tracing::error!(reason, role, %channel, seq, "an entry of the log is put aside as a dead letter");
        let letter = DeadLetter {
            id: LetterId { role: role.to_owned(), channel: channel.clone(), position: item.position() },
            reason,
            attempts: REFUSALS_MAX + 1,
            at: Timestamp::from_unix_ms(now_unix_ms()),
            envelope: item.entry.envelope.clone(),
        };
        let put = || async { Ok(self.store.put_aside(letter.clone()).await?) };
        self.until_it_works(put).await?;
        metrics::counter!(crate::metrics::DEAD_LETTERS, "role" => role).increment(1);
        Ok(())
    }

    /// Makes durable and acknowledges what was handled, when it is due.
    async fn acknowledge(&self, consumer: &mut Consumer, handled: &mut Handled) -> Result<(), Stopped> {
        if handled.is_due() {
            let reached = handled.reached();
            keeping(consumer, self.until_it_works(|| self.handler.make_durable(&reached))).await?;
            consumer.ack(&std::mem::take(handled).ids).await;
        }
        Ok(())
    }

    /// Tries a step until it works, whatever the reason that it does not.
    async fn until_it_works<F>(&self, step: impl Fn() -> F) -> Result<(), Stopped>
    where
        F: Future<Output = Result<(), HandlerError>>,
    {
        while self.attempt(u32::MAX, &step).await?.is_err() {}
        Ok(())
    }

    /// Tries a step until it works, or was refused so often.
    async fn attempt<F>(
        &self,
        refusals_max: u32,
        step: impl Fn() -> F,
    ) -> Result<Result<(), HandlerError>, Stopped>
    where
        F: Future<Output = Result<(), HandlerError>>,
    {
        let (mut backoff, mut refusals) = (Backoff::new(RETRY.0, RETRY.1), 0);
        loop {
            let Err(error) = step().await else { return Ok(Ok(())) };
            refusals += u32::from(error.is_refusal());
            if refusals >= refusals_max {
                return Ok(Err(error));
            }
            metrics::counter!(crate::metrics::RETRIED, "role" => H::ROLE).increment(1);
            tracing::warn!(reason = error.reason(), role = H::ROLE, "a batch is tried again");
            self.sleep(backoff.next(random())).await?;
        }
    }

    async fn sleep(&self, pause: Duration) -> Result<(), Stopped> {
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.shutdown.reached(Stage::Finishing) => Err(Stopped),
        }
    }
}

/// Does a step, and says meanwhile that what this member has is still with it: a store that is down for long must not
/// send every entry from one member to the next.
async fn keeping<T>(consumer: &mut Consumer, step: impl Future<Output = T>) -> T {
    tokio::pin!(step);
    loop {
        tokio::select! {
            done = &mut step => return done,
            () = tokio::time::sleep(KEEP) => consumer.keep().await,
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
    fn add(&mut self, ids: Vec<DeliveryId>, items: &[Item]) {
        self.since.get_or_insert_with(Instant::now);
        self.ids.extend(ids);
        for item in items {
            let reached = self.reached.entry((item.shard(), item.epoch.clone())).or_default();
            *reached = item.entry.seq.max(*reached);
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
