//! The one thread that writes the log: group commit with a bounded linger.
//!
//! Requests that come while a commit is under way share the next one. Architecture Invariant: what is in memory
//! (heads, counters, dedup keys) changes only after the commit; then live copies go out; then callers hear.

use super::draft::{self, Draft, Failure, Wanted};
use super::heads::Heads;
use super::live::Subscribers;
use super::orders::{Order, Orders, Purging, Waiting, Writer, orders};
use super::purge::Old;
use super::schema::{self, State};
use crate::append::AppendError;
use crate::purge::PurgeError;
use crossbeam_channel::RecvTimeoutError;
use runtime::backoff::{Backoff, random};
use runtime::shutdown::Shutdown;
use rusqlite::Connection;
use std::fs::File;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::watch;

#[cfg(test)]
mod tests;

/// Requests in one commit. Performance page.
const BATCH_MAX: usize = 2_048;

/// How long a commit may wait for company. Performance page: pays at moderate rates, costs when saturated. Decision 007:
/// a third millisecond saves a twelfth of all CPU in small rooms.
const LINGER: Duration = Duration::from_millis(3);

/// Requests that are company enough: more of them come of themselves while the disk works.
const LINGER_BELOW: usize = 64;

/// Requests a commit had lately, on average, above which lingering pays. A lone writer, who waits for each
/// answer, always has 1 and is never made to wait.
const LINGER_ABOVE: f64 = 1.5;

/// How long acknowledgements of consumers may wait for a commit to share, and for another try.
const FLOORS_WAIT: Duration = Duration::from_millis(500);

/// Rests after failures in a row start below this bound and end below the next. Chosen: a full disk costs two
/// tries a second, and is found mended within one.
const REST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The opened file and what is known of it.
pub(super) struct Log {
    pub(super) connection: Connection,
    pub(super) state: State,
    pub(super) dedup_window: Duration,
    /// Nobody else may write the folder before the thread has ended.
    pub(super) folder: Arc<File>,
}

/// What a commit changes for everybody else.
pub(super) struct Published {
    pub(super) heads: Arc<Heads>,
    pub(super) subscribers: Arc<Subscribers>,
    pub(super) committed: watch::Sender<i64>,
}

/// Starts the thread, which ends with the order to stop or with its last front.
pub(super) fn start(log: Log, published: Published, shutdown: &Shutdown) -> std::io::Result<Writer> {
    let (writer, orders) = orders();
    let scribe = Scribe::new(log, published, orders);
    shutdown.spawn_thread("log-writer", move || {
        scribe.run();
        Ok(())
    })?;
    Ok(writer)
}

/// The thread's own state.
struct Scribe {
    log: Log,
    published: Published,
    /// Requests a commit had lately, on average.
    company: f64,
    /// What the next commit deletes.
    purging: Option<Purging>,
    /// When floors are written even if nobody appends.
    floors_due: Option<Instant>,
    health: Health,
    backoff: Backoff,
    /// Dropped last: then whoever waits for the end may open the folder.
    orders: Orders,
}

/// Whether the file can be written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Health {
    Well,
    /// A transaction failed: nothing is tried before this moment.
    Resting(Instant),
    /// A COMMIT failed, so the file may hold what memory does not: it is read again, not before this moment.
    InDoubt(Instant),
}

impl Scribe {
    fn new(log: Log, published: Published, orders: Orders) -> Self {
        let (health, backoff) = (Health::Well, Backoff::new(REST.0, REST.1));
        Self { log, published, company: 1.0, purging: None, floors_due: None, health, backoff, orders }
    }

    fn run(mut self) {
        loop {
            let (mut batch, mut stop) = (Vec::new(), false);
            let wait =
                self.floors_due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()));
            match self.orders.queue.recv_timeout(wait) {
                Ok(order) => self.take(order, &mut batch, &mut stop),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.gather(&mut batch, &mut stop);
            let due = self.floors_due.is_some_and(|due| stop || due <= Instant::now());
            if !batch.is_empty() || due || self.purging.is_some() {
                self.commit(batch);
            }
            if stop {
                return self.end();
            }
        }
    }

    fn take(&mut self, order: Order, batch: &mut Vec<Waiting>, stop: &mut bool) {
        match order {
            Order::Append(waiting) => batch.push(*waiting),
            Order::Floors => {
                self.orders.floors.heard();
                self.floors_due.get_or_insert_with(|| Instant::now() + FLOORS_WAIT);
            }
            Order::Purge(purging) => self.purging = Some(purging),
            Order::Stop => *stop = true,
        }
    }

    /// Takes what is here, and lingers for more when that has paid lately. It sleeps meanwhile instead of waiting
    /// at the queue: a thread that waits is woken by each request, and each caller pays for waking it.
    fn gather(&mut self, batch: &mut Vec<Waiting>, stop: &mut bool) {
        let mut lingered = false;
        while batch.len() < BATCH_MAX && !*stop {
            match self.orders.queue.try_recv() {
                Ok(order) => self.take(order, batch, stop),
                Err(_) if lingered || batch.is_empty() => break,
                Err(_) if self.company <= LINGER_ABOVE || batch.len() >= LINGER_BELOW => break,
                Err(_) => {
                    thread::sleep(LINGER);
                    lingered = true;
                }
            }
        }
    }

    /// Writes a batch in one transaction and tells everybody.
    fn commit(&mut self, batch: Vec<Waiting>) {
        if !self.is_fit() {
            return self.refuse(batch, AppendError::Unavailable);
        }
        let (began, now_ms, count) = (Instant::now(), runtime::clock::now_unix_ms(), batch.len());
        let window_ms = u64::try_from(self.log.dedup_window.as_millis()).unwrap_or(u64::MAX);
        self.log.state.dedup.forget_before(now_ms.saturating_sub(window_ms));
        let (floors, purging) = (self.orders.floors.take(), self.purging.take());
        let old = purging.as_ref().map_or(&[][..], |purging| &purging.old);
        let wanted = Wanted { batch: &batch, floors: &floors, old, now_ms };
        match draft::write(&self.log.connection, &self.log.state, &wanted) {
            Ok(draft) => {
                (self.health, self.floors_due) = (Health::Well, None);
                self.backoff.reset();
                self.forget(old);
                self.publish(draft, batch, now_ms);
                answer(purging, Ok(()));
            }
            Err(failure) => {
                self.orders.floors.put_back(floors);
                self.fail(batch, &failure);
                answer(purging, Err(PurgeError::Failed(failure.source().to_string())));
            }
        }
        if count > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a batch has at most 2,048 requests")]
            let size = count as f64;
            self.company = self.company * 0.8 + size * 0.2;
            metrics::histogram!(crate::metrics::COMMIT_SIZE).record(size);
            metrics::histogram!(crate::metrics::COMMIT_SECONDS).record(began.elapsed());
        }
    }

    /// Forgets what was purged; before what was appended is known, which may be of the same channels.
    fn forget(&mut self, old: &[Old]) {
        let mut heads = self.published.heads.lock();
        for entry in old {
            heads.purge(&entry.channel, entry.seq);
            self.log.state.extent.purge(&entry.channel, entry.seq);
        }
    }

    /// Changes memory, sends live copies, answers callers, in this order.
    fn publish(&mut self, draft: Draft, batch: Vec<Waiting>, now_ms: u64) {
        metrics::counter!(crate::metrics::APPENDED).increment(draft.committed.len() as u64);
        let state = &mut self.log.state;
        for (key, id) in draft.keys {
            state.dedup.insert(key, id, now_ms);
        }
        (state.last_id, state.placed, state.seqs) = (draft.last_id, draft.placed, draft.seqs);
        {
            // Heads before live copies: who subscribes between the two finds the entry in the head.
            let mut heads = self.published.heads.lock();
            for (channel, seq) in draft.heads {
                heads.append(channel.clone(), seq);
                state.extent.append(channel, seq);
            }
        }
        self.published.subscribers.durable(&draft.committed);
        self.published.committed.send_replace(state.last_id);
        for (waiting, answer) in batch.into_iter().zip(draft.answers) {
            // A caller that has gone away may ask again with the same key.
            let _gone = waiting.answer.send(Ok(answer));
        }
    }

    /// Rolls back, rests, and reads the file again when it may hold what memory does not.
    fn fail(&mut self, batch: Vec<Waiting>, failure: &Failure) {
        tracing::error!(error = %failure.source(), requests = batch.len(), "the log could not be written");
        metrics::counter!(crate::metrics::COMMITS_FAILED).increment(1);
        self.refuse(batch, failure.answer());
        if !self.log.connection.is_autocommit()
            && let Err(error) = self.log.connection.execute_batch("ROLLBACK")
        {
            // The next BEGIN fails for it, and another is tried then.
            tracing::error!(%error, "a transaction could not be rolled back");
        }
        let until = Instant::now() + self.backoff.next(random());
        let certain = matches!(failure, Failure::Before(_)) || self.reload();
        self.health = if certain { Health::Resting(until) } else { Health::InDoubt(until) };
    }

    /// Whether a transaction may be tried now.
    fn is_fit(&mut self) -> bool {
        match self.health {
            Health::Well => true,
            Health::Resting(until) => until <= Instant::now(),
            Health::InDoubt(until) => until <= Instant::now() && self.is_certain_again(),
        }
    }

    fn is_certain_again(&mut self) -> bool {
        let certain = self.reload();
        if !certain {
            self.health = Health::InDoubt(Instant::now() + self.backoff.next(random()));
        }
        certain
    }

    fn refuse(&mut self, batch: Vec<Waiting>, answer: AppendError) {
        for waiting in batch {
            let _gone = waiting.answer.send(Err(answer));
        }
        self::answer(
            self.purging.take(),
            Err(PurgeError::Failed("it could not be written lately".to_owned())),
        );
        self.floors_due = self.floors_due.map(|_| Instant::now() + FLOORS_WAIT);
    }

    /// Makes memory what the file is; returns whether that worked.
    fn reload(&mut self) -> bool {
        let state = match schema::load(&self.log.connection, self.log.dedup_window) {
            Ok(state) => state,
            Err(error) => {
                tracing::error!(%error, "the log cannot be read");
                return false;
            }
        };
        let grown = state.last_id > self.log.state.last_id;
        *self.published.heads.lock() = state.extent.clone();
        self.log.state = state;
        if grown {
            // Entries whose live copies nobody got: heads tell which.
            self.published.subscribers.lost();
            self.published.committed.send_replace(self.log.state.last_id);
        }
        true
    }

    fn end(self) {
        if let Err((_connection, error)) = self.log.connection.close() {
            tracing::error!(%error, "the log was not closed cleanly; it will recover at the next start");
        }
        // The folder, and only then the orders' end: whoever waits for that may open the folder again.
        drop(self.log.folder);
        drop(self.orders);
    }
}

/// Tells whoever purges, if he is still there.
fn answer(purging: Option<Purging>, answer: Result<(), PurgeError>) {
    if let Some(purging) = purging {
        let _gone = purging.answer.send(answer);
    }
}
