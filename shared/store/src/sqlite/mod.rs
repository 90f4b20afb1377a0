//! The store in one SQLite file: a writer thread, a few reader threads, bounded queues between.
//!
//! `synchronous=NORMAL`: a commit waits for no disk. A power cut takes back the newest commits, in their order,
//! down to the last one that was made durable; the log still has what they held.

mod ask;
mod changes;
mod dead_letters;
mod events;
mod filling;
mod history;
mod reads;
mod verbs;
mod write;

use crate::StoreError;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use runtime::shutdown::Shutdown;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Reader threads. Chosen: pages come from the cache; one long scan must not stop all others.
const READERS: usize = 2;

/// Calls that wait for the writer, and for the readers; beyond it a call fails as busy and may be tried again.
const QUEUE: usize = 1_024;

/// How long a writer waits for one of another process.
const BUSY: Duration = Duration::from_secs(5);

/// How long a start may wait for another process that brings the layout up to date. Chosen: an index of some hundred
/// million messages.
const MIGRATION: Duration = Duration::from_secs(600);

/// Between two tries to open what another process is opening. Chosen: a layout is made in some milliseconds.
const BUSY_RETRY: Duration = Duration::from_millis(10);

/// Each step of the layout, in order; `user_version` counts those that were taken.
const MIGRATIONS: &[&str] = &[
    include_str!("../../schema/0001_events_and_projections.sql"),
    include_str!("../../schema/0002_reached.sql"),
    include_str!("../../schema/0003_dead_letters.sql"),
    include_str!("../../schema/0004_changes.sql"),
    include_str!("../../schema/0005_sent_by_id.sql"),
    include_str!("../../schema/0006_filling.sql"),
    include_str!("../../schema/0007_letters_sent.sql"),
    include_str!("../../schema/0008_changes_of_messages.sql"),
    include_str!("../../schema/0009_reads.sql"),
];

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A later release wrote it.
    #[error("store has schema {found}, this release knows {known}")]
    Newer {
        /// What the file says.
        found: usize,
        /// What this release writes.
        known: usize,
    },
    /// The system gives no thread.
    #[error("no thread for the store: {0}")]
    Thread(std::io::Error),
    /// SQLite cannot open or read it.
    #[error("store cannot be opened")]
    Sqlite(#[from] rusqlite::Error),
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The SQLite store; cheap to clone.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    writes: Mutex<Option<Sender<Job>>>,
    reads: Mutex<Option<Sender<Job>>>,
    /// Each thread drops its end when it is done.
    ended: tokio::sync::Mutex<tokio::sync::mpsc::Receiver<()>>,
}

impl Sqlite {
    /// Opens the file, which is made when it is missing, and brings its layout up to date. Its threads are tracked
    /// by `shutdown`: one that breaks stops the process.
    ///
    /// # Errors
    /// [`OpenError`] when the file cannot be used.
    pub fn open(file: &Path, shutdown: &Shutdown) -> Result<Self, OpenError> {
        Self::start(open_writer(file)?, file, shutdown)
    }

    /// Opens a file that is there for reading alone, and takes its layout as it is: whatever writes fails.
    ///
    /// # Errors
    /// [`OpenError`] when the file cannot be read.
    pub fn open_read_only(file: &Path, shutdown: &Shutdown) -> Result<Self, OpenError> {
        let reader = open_reader(file)?;
        layout(&reader)?;
        Self::start(reader, file, shutdown)
    }

    fn start(writer: Connection, file: &Path, shutdown: &Shutdown) -> Result<Self, OpenError> {
        let (end, ended) = tokio::sync::mpsc::channel(1);
        let (writes, orders) = crossbeam_channel::bounded::<Job>(QUEUE);
        let start = |name: &str, connection, jobs, end| {
            let work = move || {
                serve(connection, &jobs, end);
                Ok(())
            };
            shutdown.spawn_thread(name, work).map_err(OpenError::Thread)
        };
        // Reads are completed from the log, so nearly nobody waits for what is written; who does are people who were
        // never here before, and changes of membership. The queue is empty, so this has room.
        let _first = writes.try_send(Box::new(|_: &mut Connection| runtime::priority::give_way()));
        start("store-writer", writer, orders, end.clone())?;
        let (reads, questions) = crossbeam_channel::bounded(QUEUE);
        for n in 0..READERS {
            start(&format!("store-reader-{n}"), open_reader(file)?, questions.clone(), end.clone())?;
        }
        let ended = tokio::sync::Mutex::new(ended);
        Ok(Self(Arc::new(Inner { writes: Mutex::new(Some(writes)), reads: Mutex::new(Some(reads)), ended })))
    }

    async fn call<T: Send + 'static>(
        queue: &Mutex<Option<Sender<Job>>>,
        call: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Whoever asked may have gone away.
            let _nobody_waits = answer.send(call(connection));
        });
        {
            let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            let queue = queue.as_ref().ok_or(StoreError::Closed)?;
            queue.try_send(job).map_err(|error| match error {
                TrySendError::Full(_) => StoreError::Busy,
                TrySendError::Disconnected(_) => StoreError::Closed,
            })?;
        }
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn write<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        Self::call(&self.0.writes, call).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        Self::call(&self.0.reads, call).await
    }

    pub(crate) async fn close(&self) {
        for queue in [&self.0.writes, &self.0.reads] {
            queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        // Each thread ends after its queue, and with the last one the channel.
        let _all_ended = self.0.ended.lock().await.recv().await;
    }
}

/// One connection's work, until its queue ends.
fn serve(mut connection: Connection, jobs: &Receiver<Job>, end: tokio::sync::mpsc::Sender<()>) {
    for job in jobs {
        job(&mut connection);
    }
    drop(connection);
    drop(end);
}

fn open_reader(file: &Path) -> Result<Connection, OpenError> {
    let reader = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    reader.busy_timeout(BUSY)?;
    // The system caches the file, too; what is kept here is kept twice.
    reader.execute_batch("PRAGMA query_only=ON; PRAGMA cache_size=-4096;")?;
    Ok(reader)
}

/// Opens the file for writing and brings its layout up to date. Processes that start at once do so one after the other.
fn open_writer(file: &Path) -> Result<Connection, OpenError> {
    let began = Instant::now();
    loop {
        match try_open_writer(file) {
            // Whoever turns a new file's journal into a WAL waits for nobody, whatever its timeout.
            Err(OpenError::Sqlite(error))
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && began.elapsed() < MIGRATION =>
            {
                thread::sleep(BUSY_RETRY);
            }
            done => return done,
        }
    }
}

fn try_open_writer(file: &Path) -> Result<Connection, OpenError> {
    let mut writer = Connection::open(file)?;
    writer.busy_timeout(BUSY)?;
    // A page that many batches change is written back once for all of them: checkpoints are rare, at 32 MiB.
    writer.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-65536;
         PRAGMA journal_size_limit=67108864; PRAGMA wal_autocheckpoint=8000;",
    )?;
    migrate(&mut writer)?;
    // Only now: what a new index sorts may be larger than memory.
    writer.execute_batch("PRAGMA temp_store=MEMORY")?;
    Ok(writer)
}

fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for step in &MIGRATIONS[layout(&transaction)?..] {
        transaction.execute_batch(step)?;
    }
    transaction.execute_batch(&format!("PRAGMA user_version={}", MIGRATIONS.len()))?;
    Ok(transaction.commit()?)
}

/// Returns how many steps of the layout a file has, all of which this release knows.
fn layout(connection: &Connection) -> Result<usize, OpenError> {
    let found: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = MIGRATIONS.len();
    if found > known { Err(OpenError::Newer { found, known }) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_thread_that_breaks_stops_the_process() {
        let folder = tempfile::tempdir().unwrap();
        for queue in ["writes", "reads"] {
            let shutdown = Shutdown::new();
            let store = Sqlite::open(&folder.path().join("store.db"), &shutdown).unwrap();
            let broken = |_: &mut Connection| -> Result<(), StoreError> { panic!("as the test wants") };
            let asked = if queue == "writes" { store.write(broken).await } else { store.ask(broken).await };
            assert!(matches!(asked, Err(StoreError::Closed)), "{queue}");
            tokio::time::timeout(DEADLINE, shutdown.triggered()).await.unwrap();
            assert!(shutdown.has_failed());
            store.close().await;
            assert_eq!(shutdown.ended(&[], DEADLINE).await, Ok(()));
        }
    }
}
