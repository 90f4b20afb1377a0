//! The one thread that writes the log: group commit with a bounded linger.
//!
//! Requests that come while a commit is under way share the next one. Architecture Invariant: what is in memory
//! (heads, counters, dedup keys) changes only after the commit; then live copies go out; then callers hear.

use super::Heads;
use super::live::{Committed, Subscribers};
use super::reader::signed;
use super::schema::{self, State};
use crate::append::{Append, AppendError, Appended};
use crate::log::Entry;
use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use protocol::ids::{ChannelId, Position, Seq};
use protocol::subjects::Slot;
use rusqlite::{Connection, params};
use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

/// Appends that wait for the writer; beyond it callers wait for a place, up to `PLACE_WAIT`.
const QUEUE: usize = 8_192;

/// How long a caller waits for a place before it hears `Unavailable`. Chosen: four commits of a bad disk.
const PLACE_WAIT: Duration = Duration::from_secs(2);

/// Requests in one commit. Performance page.
const BATCH_MAX: usize = 2_048;

/// How long a commit may wait for company. Performance page: pays at moderate rates, costs when saturated.
const LINGER: Duration = Duration::from_millis(2);

/// Requests that are company enough: more of them come of themselves while the disk works.
const LINGER_BELOW: usize = 64;

/// Requests a commit had lately, on average, above which lingering pays. A lone writer, who waits for each
/// answer, always has 1 and is never made to wait.
const LINGER_ABOVE: f64 = 1.5;

/// How long acknowledgements of consumers may wait for a commit to share, and for another try.
const FLOORS_WAIT: Duration = Duration::from_millis(500);

/// What a commit changes for everybody else.
pub(super) struct Published {
    pub(super) heads: Arc<Heads>,
    pub(super) subscribers: Arc<Subscribers>,
    pub(super) committed: watch::Sender<i64>,
}

/// The thread's front; cheap to clone.
#[derive(Clone)]
pub(super) struct Writer {
    orders: Sender<Order>,
    places: Arc<Semaphore>,
    stopping: Arc<AtomicBool>,
}

enum Order {
    Append(Box<Waiting>),
    /// A group has acknowledged everything up to here.
    Floor {
        group: String,
        floor: i64,
    },
    /// Finish what came before, then end.
    Stop(oneshot::Sender<()>),
}

struct Waiting {
    append: Append,
    answer: oneshot::Sender<Result<Appended, AppendError>>,
    _place: OwnedSemaphorePermit,
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        state: State,
        published: Published,
        dedup_window: Duration,
        folder: Arc<File>,
    ) -> std::io::Result<Self> {
        let (orders, queue) = crossbeam_channel::unbounded();
        let window_ms = u64::try_from(dedup_window.as_millis()).unwrap_or(u64::MAX);
        let scribe = Scribe {
            connection,
            state,
            published,
            dedup_window,
            window_ms,
            company: 1.0,
            floors: HashMap::new(),
            floors_due: None,
            folder,
        };
        thread::Builder::new().name("log-writer".to_owned()).spawn(move || scribe.run(&queue))?;
        Ok(Self { orders, places: Arc::new(Semaphore::new(QUEUE)), stopping: Arc::default() })
    }

    pub(super) async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let place = tokio::time::timeout(PLACE_WAIT, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(AppendError::Unavailable) };
        if self.stopping.load(Ordering::SeqCst) {
            return Err(AppendError::Closed);
        }
        let (answer, answered) = oneshot::channel();
        let waiting = Box::new(Waiting { append, answer, _place: place });
        self.orders.send(Order::Append(waiting)).map_err(|_| AppendError::Closed)?;
        // The writer answers each order that it took, and drops those behind the stop unread. A writer that
        // broke instead may have committed what it did not answer.
        let unanswered =
            || if self.stopping.load(Ordering::SeqCst) { AppendError::Closed } else { AppendError::Unknown };
        answered.await.unwrap_or_else(|_| Err(unanswered()))
    }

    pub(super) fn floor(&self, group: &str, floor: i64) {
        // After the stop the entries simply come again.
        let _stopped = self.orders.send(Order::Floor { group: group.to_owned(), floor });
    }

    pub(super) async fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let (done, finished) = oneshot::channel();
        if self.orders.send(Order::Stop(done)).is_ok() {
            // A thread that is gone already has nothing left to finish.
            let _gone = finished.await;
        }
    }
}

/// The thread's own state.
struct Scribe {
    connection: Connection,
    state: State,
    published: Published,
    dedup_window: Duration,
    window_ms: u64,
    /// Requests a commit had lately, on average.
    company: f64,
    floors: HashMap<String, i64>,
    /// When `floors` are written even if nobody appends.
    floors_due: Option<Instant>,
    /// Nobody else may write the folder before this thread has ended.
    folder: Arc<File>,
}

/// A transaction on its way: what will change when it is committed.
#[derive(Default)]
struct Draft {
    last_id: i64,
    seqs: Vec<Seq>,
    heads: HashMap<ChannelId, Seq>,
    keys: HashMap<u128, i64>,
    committed: Vec<Committed>,
}

impl Scribe {
    fn run(mut self, queue: &Receiver<Order>) {
        loop {
            let mut batch = Vec::new();
            let mut stop = None;
            let wait =
                self.floors_due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()));
            match queue.recv_timeout(wait) {
                Ok(order) => self.take(order, &mut batch, &mut stop),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.gather(queue, &mut batch, &mut stop);
            let due = self.floors_due.is_some_and(|due| stop.is_some() || due <= Instant::now());
            if !batch.is_empty() || due {
                self.commit(batch);
            }
            if let Some(done) = stop {
                return self.end(done);
            }
        }
    }

    fn take(&mut self, order: Order, batch: &mut Vec<Waiting>, stop: &mut Option<oneshot::Sender<()>>) {
        match order {
            Order::Append(waiting) => batch.push(*waiting),
            Order::Floor { group, floor } => {
                let known = self.floors.entry(group).or_insert(floor);
                *known = floor.max(*known);
                self.floors_due.get_or_insert_with(|| Instant::now() + FLOORS_WAIT);
            }
            Order::Stop(done) => *stop = Some(done),
        }
    }

    /// Takes what is here, and lingers for more when that has paid lately. It sleeps meanwhile instead of waiting
    /// at the queue: a thread that waits is woken by each request, and each caller pays for waking it.
    fn gather(
        &mut self,
        queue: &Receiver<Order>,
        batch: &mut Vec<Waiting>,
        stop: &mut Option<oneshot::Sender<()>>,
    ) {
        let mut lingered = false;
        while batch.len() < BATCH_MAX && stop.is_none() {
            match queue.try_recv() {
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
        let began = Instant::now();
        let now_ms = runtime::clock::now_unix_ms();
        self.state.dedup.forget_before(now_ms.saturating_sub(self.window_ms));
        let count = batch.len();
        match self.write(&batch, now_ms) {
            Ok((draft, answers)) => {
                self.publish(draft, now_ms);
                for (waiting, answer) in batch.into_iter().zip(answers) {
                    // A caller that has gone away may ask again with the same key.
                    let _gone = waiting.answer.send(Ok(answer));
                }
            }
            Err(failure) => self.fail(batch, &failure),
        }
        if count > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a batch has at most 2,048 requests")]
            let size = count as f64;
            self.company = self.company * 0.8 + size * 0.2;
            metrics::histogram!(crate::metrics::COMMIT_SIZE).record(size);
            metrics::histogram!(crate::metrics::COMMIT_SECONDS).record(began.elapsed());
        }
    }

    fn write(&mut self, batch: &[Waiting], now_ms: u64) -> Result<(Draft, Vec<Appended>), Failure> {
        let mut draft =
            Draft { last_id: self.state.last_id, seqs: self.state.seqs.clone(), ..Draft::default() };
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(Failure::before)?;
        let mut answers = Vec::with_capacity(batch.len());
        for waiting in batch {
            answers.push(self.write_one(&waiting.append, &mut draft, now_ms).map_err(Failure::before)?);
        }
        for (group, floor) in &self.floors {
            schema::set_floor(&self.connection, group, *floor).map_err(Failure::before)?;
        }
        self.connection.execute_batch("COMMIT").map_err(Failure::at_commit)?;
        self.floors.clear();
        self.floors_due = None;
        Ok((draft, answers))
    }

    fn write_one(
        &self,
        append: &Append,
        draft: &mut Draft,
        now_ms: u64,
    ) -> Result<Appended, rusqlite::Error> {
        let known = draft.keys.get(&append.dedup_key).copied();
        if let Some(id) = known.or_else(|| self.state.dedup.get(append.dedup_key)) {
            return self.stored(id);
        }
        let known = draft.heads.get(&append.channel).copied();
        let head =
            known.unwrap_or_else(|| self.state.heads.get(&append.channel).copied().unwrap_or_default());
        if append.expect.is_some_and(|expected| expected != head) {
            return Ok(Appended::Moved { head });
        }
        let counter = &mut draft.seqs[usize::from(Slot::of(&append.channel).shard.0)];
        *counter += 1;
        let seq = *counter;
        draft.last_id += 1;
        self.connection
            .prepare_cached(
                "INSERT INTO log (id, channel, seq, prev, ts, dedup, payload) VALUES (?1,?2,?3,?4,?5,?6,?7)",
            )?
            .execute(params![
                draft.last_id,
                append.channel.as_str(),
                signed(seq),
                signed(head),
                signed(now_ms),
                append.dedup_key.to_be_bytes(),
                &append.envelope[..],
            ])?;
        draft.heads.insert(append.channel.clone(), seq);
        draft.keys.insert(append.dedup_key, draft.last_id);
        draft.committed.push(Committed {
            channel: append.channel.clone(),
            seq,
            prev: head,
            envelope: append.envelope.clone(),
        });
        Ok(Appended::New { position: self.position(seq) })
    }

    /// Reads the entry that a duplicate repeats; it may be of this very transaction.
    fn stored(&self, id: i64) -> Result<Appended, rusqlite::Error> {
        metrics::counter!(crate::metrics::DUPLICATES).increment(1);
        let (channel, seq, envelope): (String, i64, Vec<u8>) = self
            .connection
            .prepare_cached("SELECT channel, seq, payload FROM log WHERE id = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let channel = ChannelId::parse(&channel).map_err(|_| rusqlite::Error::InvalidQuery)?;
        let seq = Seq::try_from(seq).unwrap_or_default();
        let entry = Entry { channel, seq, envelope: Bytes::from(envelope) };
        Ok(Appended::Duplicate { position: self.position(seq), entry })
    }

    fn position(&self, seq: Seq) -> Position {
        Position { epoch: self.state.epoch.clone(), seq }
    }

    fn publish(&mut self, draft: Draft, now_ms: u64) {
        metrics::counter!(crate::metrics::APPENDED).increment(draft.committed.len() as u64);
        for (key, id) in draft.keys {
            self.state.dedup.insert(key, id, now_ms);
        }
        (self.state.last_id, self.state.seqs) = (draft.last_id, draft.seqs);
        {
            // Heads before live copies: who subscribes between the two finds the entry in the head.
            let mut heads = self.published.heads.lock();
            for (channel, seq) in draft.heads {
                heads.insert(channel.clone(), seq);
                self.state.heads.insert(channel, seq);
            }
        }
        self.published.subscribers.durable(&draft.committed);
        self.published.committed.send_replace(self.state.last_id);
    }

    /// Tells the callers, and makes sure that memory is what the file is before anything else is written.
    fn fail(&mut self, batch: Vec<Waiting>, failure: &Failure) {
        tracing::error!(error = %failure.source, requests = batch.len(), "the log could not be written");
        metrics::counter!(crate::metrics::COMMITS_FAILED).increment(1);
        for waiting in batch {
            let _gone = waiting.answer.send(Err(failure.answer));
        }
        self.floors_due = self.floors_due.map(|_| Instant::now() + FLOORS_WAIT);
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
        match schema::load(&self.connection, self.dedup_window) {
            Ok(state) => {
                *self.published.heads.lock() = state.heads.clone();
                self.published.committed.send_replace(state.last_id);
                self.state = state;
            }
            Err(error) => tracing::error!(%error, "the log cannot be read"),
        }
    }

    fn end(self, done: oneshot::Sender<()>) {
        if let Err((_connection, error)) = self.connection.close() {
            tracing::error!(%error, "the log was not closed cleanly; it will recover at the next start");
        }
        // Whoever waits for the end may open the folder again.
        drop(self.folder);
        let _nobody_waits = done.send(());
    }
}

/// A transaction that failed, and what its callers may believe.
struct Failure {
    source: rusqlite::Error,
    answer: AppendError,
}

impl Failure {
    fn before(source: rusqlite::Error) -> Self {
        Self { source, answer: AppendError::Unavailable }
    }

    fn at_commit(source: rusqlite::Error) -> Self {
        Self { source, answer: AppendError::Unknown }
    }
}
