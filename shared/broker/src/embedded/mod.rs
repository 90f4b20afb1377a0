//! The broker inside one process: a SQLite log, in-process queues.
//!
//! What it may lose: nothing that was acknowledged, unless the disk itself breaks its word about fsync. Live
//! copies and ephemeral events are at most once, requests die with the process. One process owns a folder.

mod draft;
mod groups;
mod heads;
mod live;
mod orders;
mod places;
mod purge;
mod reader;
mod requests;
mod schema;
mod writer;

pub use groups::EmbeddedConsumer;
pub use live::{EmbeddedControl, EmbeddedSubscriber};
pub use requests::EmbeddedServer;

use crate::append::{Append, AppendError, Appended};
use crate::consume::{ACK_WAIT, ConsumeError, Consumer, Group};
use crate::live::{PublishError, SubscribeError, Subscriber, SubscriptionControl};
use crate::log::{Entry, LogPage, ReadError, ReadLimit};
use crate::purge::{Purge, PurgeError};
use crate::request::{RequestError, ServeError, Server};
use bytes::Bytes;
use groups::Groups;
use heads::Heads;
use live::Subscribers;
use orders::Writer;
use protocol::control::Control;
use protocol::ids::{ChannelId, Epoch, Position, Seq};
use protocol::subjects::{RequestSubject, Shard, Slot};
use purge::Limits;
use reader::Readers;
use requests::Subjects;
use runtime::shutdown::Shutdown;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Bytes of one envelope. Chosen: the largest frame, twice, since JSON may escape what the client did not.
const ENVELOPE_BYTES_MAX: usize = 128 * 1024;

/// What an operator may turn.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long a dedup key is remembered; default 10 minutes (architecture page).
    pub dedup_window: Duration,
    /// How long a consumer may keep an entry before another gets it; default 30 s.
    pub ack_wait: Duration,
    /// Live events that may wait for one subscriber; default 8,192.
    pub live_queue: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { dedup_window: Duration::from_secs(600), ack_wait: ACK_WAIT, live_queue: 8_192 }
    }
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("folder {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The folder or its lock cannot be made.
    #[error("folder {} cannot be used: {source}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A later release wrote it.
    #[error("log has schema {found}, this release knows {known}")]
    Newer {
        /// What the file says.
        found: i64,
        /// What this release writes.
        known: i64,
    },
    /// The system gives no thread.
    #[error("no thread for the log: {0}")]
    Thread(std::io::Error),
    /// SQLite cannot open or read it.
    #[error("log cannot be opened")]
    Sqlite(#[from] rusqlite::Error),
}

/// The embedded broker; cheap to clone.
#[derive(Clone)]
pub struct Embedded(Arc<Inner>);

struct Inner {
    epoch: Epoch,
    dedup_window: Duration,
    heads: Arc<Heads>,
    subscribers: Arc<Subscribers>,
    subjects: Subjects,
    groups: Groups,
    readers: Readers,
    writer: Writer,
    /// Turns true once: everything ends.
    stopped: watch::Sender<bool>,
    /// Held for as long as the folder is ours, here and by the writer.
    _lock: Arc<File>,
}

impl Embedded {
    /// Opens a log for a process that watches over nothing: a tool, a test. See [`Embedded::open_watched`].
    ///
    /// # Errors
    /// [`OpenError`] when another process has the folder, or its file cannot be used.
    pub fn open(folder: &Path, options: Options) -> Result<Self, OpenError> {
        Self::open_watched(folder, options, &Shutdown::new())
    }

    /// Opens the log in `folder`, which is made when it is missing; goes on where the last process stopped. Its
    /// threads are tracked by `shutdown`: one that breaks stops the process.
    ///
    /// # Errors
    /// [`OpenError`] when another process has the folder, or its file cannot be used.
    pub fn open_watched(folder: &Path, options: Options, shutdown: &Shutdown) -> Result<Self, OpenError> {
        let lock = Arc::new(lock(folder)?);
        let file = folder.join("log.db");
        let connection = schema::open_writer(&file)?;
        let state = schema::load(&connection, options.dedup_window)?;
        let heads = Arc::new(Heads::new(state.extent.clone()));
        let subscribers = Arc::new(Subscribers::new(state.epoch.clone(), options.live_queue));
        let readers = Readers::start(&file, &heads, shutdown)?;
        let committed = watch::Sender::new(state.last_id);
        let groups =
            Groups::new(&connection, &state, committed.subscribe(), readers.clone(), options.ack_wait)?;
        let (epoch, dedup_window) = (state.epoch.clone(), options.dedup_window);
        let published =
            writer::Published { heads: heads.clone(), subscribers: subscribers.clone(), committed };
        let log = writer::Log { connection, state, dedup_window, folder: lock.clone() };
        let writer = writer::start(log, published, shutdown).map_err(OpenError::Thread)?;
        let stopped = watch::Sender::new(false);
        let subjects = Subjects::default();
        Ok(Self(Arc::new(Inner {
            epoch,
            dedup_window,
            heads,
            subscribers,
            subjects,
            groups,
            readers,
            writer,
            stopped,
            _lock: lock,
        })))
    }

    /// Returns the last of the entries up to which a group has acknowledged everything, by shard and position;
    /// `None` when it has acknowledged nothing, or that entry was purged.
    ///
    /// # Errors
    /// [`ReadError`] when the log cannot be read.
    pub async fn acknowledged(&self, group: Group) -> Result<Option<(Shard, Position)>, ReadError> {
        let floor = self.0.groups.floor(group);
        let last = self.0.readers.ids(floor, floor).await?.pop();
        let place = |Entry { channel, seq, .. }| {
            (Slot::of(&channel).shard, Position { epoch: self.0.epoch.clone(), seq })
        };
        Ok(last.map(|row| place(row.entry)))
    }

    /// Returns up to where each shard was purged, of those that were.
    pub fn purged(&self) -> Vec<(Shard, Position)> {
        let floors = self.0.heads.lock().floors().to_vec();
        let placed = floors.into_iter().zip(0..).filter(|(seq, _)| *seq > 0);
        placed.map(|(seq, n)| (Shard(n), Position { epoch: self.0.epoch.clone(), seq })).collect()
    }

    /// Lets a group that lost its work begin at the first entry again; for a start, before anybody has joined it.
    /// What it had acknowledged stays written until it has come as far again, so that after a crash on the way
    /// this is found to be due once more.
    pub fn begin_again(&self, group: Group) {
        self.0.groups.begin_again(group);
    }

    pub(crate) async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        if append.envelope.len() > ENVELOPE_BYTES_MAX {
            return Err(AppendError::TooLarge);
        }
        self.0.writer.append(append).await
    }

    pub(crate) fn head(&self, channel: &ChannelId) -> Position {
        Position { epoch: self.0.epoch.clone(), seq: self.0.heads.lock().head(channel) }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.0.epoch.clone()
    }

    pub(crate) async fn read(
        &self,
        channel: &ChannelId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<LogPage, ReadError> {
        self.0.readers.read(channel.clone(), after, limit).await
    }

    pub(crate) async fn purge(&self, purge: Purge) -> Result<u64, PurgeError> {
        let window_ms = u64::try_from(self.0.dedup_window.as_millis()).unwrap_or(u64::MAX);
        let kept_ms = runtime::clock::now_unix_ms().saturating_sub(window_ms);
        let limits = Limits::of(&purge, &self.0.epoch, self.0.groups.floor(purge.group), kept_ms);
        purge::run(&self.0.readers, &self.0.writer, limits).await
    }

    pub(crate) fn subscriber(&self) -> Result<(SubscriptionControl, Subscriber), SubscribeError> {
        if *self.0.stopped.borrow() {
            return Err(SubscribeError::Closed);
        }
        let (control, subscriber) = self.0.subscribers.add(self.0.stopped.subscribe());
        Ok((SubscriptionControl::Embedded(control), Subscriber::Embedded(subscriber)))
    }

    pub(crate) fn publish(&self, channel: &ChannelId, payload: Bytes) -> Result<(), PublishError> {
        if *self.0.stopped.borrow() {
            return Err(PublishError::Closed);
        }
        self.0.subscribers.ephemeral(channel, &payload);
        Ok(())
    }

    pub(crate) fn announce(&self, control: &Control) -> Result<(), PublishError> {
        if *self.0.stopped.borrow() {
            return Err(PublishError::Closed);
        }
        self.0.subscribers.announce(control);
        Ok(())
    }

    pub(crate) fn consume(&self, group: Group) -> Result<Consumer, ConsumeError> {
        if *self.0.stopped.borrow() {
            return Err(ConsumeError::Closed);
        }
        let member = self.0.groups.join(group, self.0.writer.clone(), self.0.stopped.subscribe());
        Ok(Consumer::Embedded(member))
    }

    pub(crate) async fn request(
        &self,
        subject: RequestSubject,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        if *self.0.stopped.borrow() {
            return Err(RequestError::Closed);
        }
        self.0.subjects.request(subject, payload, deadline).await
    }

    pub(crate) fn serve(&self, subject: RequestSubject) -> Result<Server, ServeError> {
        if *self.0.stopped.borrow() {
            return Err(ServeError::Closed);
        }
        Ok(Server::Embedded(self.0.subjects.serve(subject, self.0.stopped.subscribe())))
    }

    pub(crate) async fn drain(&self) {
        self.0.writer.stop().await;
        self.0.readers.stop();
        self.0.stopped.send_replace(true);
    }
}

/// Makes the folder and takes it for this process alone.
fn lock(folder: &Path) -> Result<File, OpenError> {
    let refused = |source| OpenError::Folder { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(refused)?;
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(folder.join("lock"))
        .map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(refused(source)),
    }
}
