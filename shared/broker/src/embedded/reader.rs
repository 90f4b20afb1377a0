//! Threads that read the log beside the writer.

use super::heads::Heads;
use super::purge::{self, Found, Limits};
use super::{OpenError, schema};
use crate::log::{Entry, LogPage, ReadError, ReadLimit};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use protocol::ids::{ChannelId, Seq};
use protocol::subjects::Slot;
use runtime::shutdown::Shutdown;
use rusqlite::{Connection, params};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Threads. Chosen: reads come from the page cache; one long read must not stop all others.
const THREADS: usize = 2;

/// Reads that wait; beyond it a read fails as busy and its caller tries again.
const QUEUE: usize = 1_024;

/// The threads' front; cheap to clone.
#[derive(Clone)]
pub(super) struct Readers {
    /// Taken at the stop: the threads end behind the last job.
    jobs: Arc<Mutex<Option<Sender<Job>>>>,
}

enum Job {
    Channel {
        channel: ChannelId,
        after: Seq,
        limit: ReadLimit,
        answer: oneshot::Sender<Result<LogPage, ReadError>>,
    },
    Ids {
        from: i64,
        to: i64,
        answer: oneshot::Sender<Result<Vec<Row>, ReadError>>,
    },
    Next {
        after: i64,
        answer: oneshot::Sender<Result<Option<i64>, ReadError>>,
    },
    Old {
        after: i64,
        limits: Arc<Limits>,
        answer: oneshot::Sender<Result<Found, ReadError>>,
    },
}

/// An entry with what consumers need beside it.
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) entry: Entry,
}

impl Readers {
    /// Starts the threads, each with a connection of its own; they end with the last clone of this, or stopped.
    pub(super) fn start(file: &Path, heads: &Arc<Heads>, shutdown: &Shutdown) -> Result<Self, OpenError> {
        let (jobs, queue) = crossbeam_channel::bounded(QUEUE);
        for n in 0..THREADS {
            let (connection, queue, heads) = (schema::open_reader(file)?, queue.clone(), heads.clone());
            let read = move || {
                serve(&connection, &queue, &heads);
                Ok(())
            };
            shutdown.spawn_thread(&format!("log-reader-{n}"), read).map_err(OpenError::Thread)?;
        }
        Ok(Self { jobs: Arc::new(Mutex::new(Some(jobs))) })
    }

    pub(super) async fn read(
        &self,
        channel: ChannelId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<LogPage, ReadError> {
        self.ask(|answer| Job::Channel { channel, after, limit, answer }).await
    }

    /// Reads the entries with these ids, both ends included.
    pub(super) async fn ids(&self, from: i64, to: i64) -> Result<Vec<Row>, ReadError> {
        self.ask(|answer| Job::Ids { from, to, answer }).await
    }

    /// Returns the id of the first entry behind one.
    pub(super) async fn next(&self, after: i64) -> Result<Option<i64>, ReadError> {
        self.ask(|answer| Job::Next { after, answer }).await
    }

    /// Finds entries behind an id that may be purged.
    pub(super) async fn old(&self, after: i64, limits: Arc<Limits>) -> Result<Found, ReadError> {
        self.ask(|answer| Job::Old { after, limits, answer }).await
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, ReadError>>) -> Job,
    ) -> Result<T, ReadError> {
        let (answer, answered) = oneshot::channel();
        {
            let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            let jobs = jobs.as_ref().ok_or(ReadError::Closed)?;
            jobs.try_send(job(answer)).map_err(|error| match error {
                TrySendError::Full(_) => ReadError::Busy,
                TrySendError::Disconnected(_) => ReadError::Closed,
            })?;
        }
        answered.await.unwrap_or(Err(ReadError::Closed))
    }

    pub(super) fn stop(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn serve(connection: &Connection, queue: &Receiver<Job>, heads: &Heads) {
    let failed = |error: rusqlite::Error| ReadError::Failed(error.to_string());
    for job in queue {
        // Whoever asked may have gone away; his answer is then nobody's.
        match job {
            Job::Channel { channel, after, limit, answer } => {
                let _nobody_waits =
                    answer.send(channel_page(connection, heads, &channel, after, limit).map_err(failed));
            }
            Job::Ids { from, to, answer } => {
                let _nobody_waits = answer.send(rows(connection, from, to).map_err(failed));
            }
            Job::Next { after, answer } => {
                let _nobody_waits = answer.send(next(connection, after).map_err(failed));
            }
            Job::Old { after, limits, answer } => {
                let _nobody_waits = answer.send(purge::find(connection, after, &limits).map_err(failed));
            }
        }
    }
}

/// Entries of a channel that have their places.
const PLACED: &str = "SELECT places.seq, log.payload FROM places CROSS JOIN log ON log.id = places.id
    WHERE places.channel = ?1 AND places.seq > ?2 AND places.seq <= ?3 ORDER BY places.seq LIMIT ?4";

/// Those of the last entries of all channels, which have none yet.
const BEHIND: &str = "SELECT seq, payload FROM log
    WHERE id > (SELECT id FROM placed) AND channel = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY id LIMIT ?4";

/// A page on its way.
struct Page<'a> {
    channel: &'a ChannelId,
    after: Seq,
    head: Seq,
    limit: ReadLimit,
    entries: Vec<Entry>,
    bytes: usize,
}

impl Page<'_> {
    /// The seq that the next entry is behind.
    fn last(&self) -> Seq {
        self.entries.last().map_or(self.after, |entry| entry.seq)
    }

    fn wants_more(&self) -> bool {
        let full = self.entries.len() >= self.limit.entries.max(1) || self.bytes > self.limit.bytes;
        !full && self.last() < self.head
    }

    fn take(&mut self, connection: &Connection, sql: &str) -> Result<(), rusqlite::Error> {
        let count = i64::try_from(self.limit.entries.max(1) - self.entries.len()).unwrap_or(i64::MAX);
        let mut select = connection.prepare_cached(sql)?;
        let mut found =
            select.query(params![self.channel.as_str(), signed(self.last()), signed(self.head), count])?;
        while let Some(row) = found.next()? {
            let (seq, envelope): (Seq, Vec<u8>) = (row.get(0)?, row.get(1)?);
            self.bytes += envelope.len();
            if self.bytes > self.limit.bytes && !self.entries.is_empty() {
                break;
            }
            self.entries.push(Entry { channel: self.channel.clone(), seq, envelope: Bytes::from(envelope) });
        }
        Ok(())
    }
}

fn channel_page(
    connection: &Connection,
    heads: &Heads,
    channel: &ChannelId,
    after: Seq,
    limit: ReadLimit,
) -> Result<LogPage, rusqlite::Error> {
    // The head first: whatever was committed by then is in the file that is read afterwards. What the file has
    // beyond it is not answered yet, and nobody may see a page that is ahead of the head.
    let head = heads.lock().head(channel);
    // Entries and floor as of one moment: a purge between the two would be a silent gap.
    let moment = connection.unchecked_transaction()?;
    let mut page = Page { channel, after, head, limit, entries: Vec::new(), bytes: 0 };
    for sql in [PLACED, BEHIND] {
        if page.wants_more() {
            page.take(&moment, sql)?;
        }
    }
    let entries = page.entries;
    let floor = schema::purged(&moment, Slot::of(channel).shard)?;
    let head = head.max(floor);
    let last = entries.last().map_or(after, |entry| entry.seq);
    // A channel whose newest entry was purged has no entry at its head.
    Ok(LogPage { entries, head, end: last >= head || head == floor, floor })
}

fn next(connection: &Connection, after: i64) -> Result<Option<i64>, rusqlite::Error> {
    connection.prepare_cached("SELECT min(id) FROM log WHERE id > ?1")?.query_row([after], |row| row.get(0))
}

fn rows(connection: &Connection, from: i64, to: i64) -> Result<Vec<Row>, rusqlite::Error> {
    let mut select = connection
        .prepare_cached("SELECT id, channel, seq, payload FROM log WHERE id BETWEEN ?1 AND ?2 ORDER BY id")?;
    let mut found = select.query([from, to])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let (id, channel): (i64, String) = (row.get(0)?, row.get(1)?);
        let (seq, envelope): (i64, Vec<u8>) = (row.get(2)?, row.get(3)?);
        let channel = ChannelId::parse(&channel).map_err(|_| rusqlite::Error::InvalidQuery)?;
        let seq = Seq::try_from(seq).unwrap_or_default();
        rows.push(Row { id, entry: Entry { channel, seq, envelope: Bytes::from(envelope) } });
    }
    Ok(rows)
}

/// SQLite's integers are signed; a seq beyond them was never given out.
pub(super) fn signed(seq: Seq) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
