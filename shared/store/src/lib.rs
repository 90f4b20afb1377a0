//! One way to remember: the log's events for good, and projections of them that can be asked.
//!
//! Each verb is named by its use, small, idempotent and free of joins, so that another database can serve it.
//! Only workers open a store. The behaviour common to all adapters is `tests/contract.rs`.
#![warn(missing_docs)]

mod config;
mod dead_letters;
mod sqlite;

pub use config::Config;
pub use dead_letters::{DeadLetter, InvalidLetterId, LetterId};
pub use sqlite::{OpenError, Sqlite};

use protocol::claims::Profile;
use protocol::envelope::{Envelope, Role};
use protocol::ids::{ChannelId, ClientMsgId, Epoch, MessageId, Position, Seq, UserId};
use protocol::message::Message;
use protocol::requests::{HistoryAnswer, HistoryRequest, MembershipsVersion, SessionAnswer};
use protocol::subjects::Shard;
use protocol::time::Timestamp;
use rusqlite::ErrorCode;

/// A logged event and its place.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its place in its channel.
    pub position: Position,
    /// What happened.
    pub envelope: Envelope,
}

/// A logged event as the log had it: whoever reads it decides whether he can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in its channel.
    pub position: Position,
    /// The bytes of its envelope.
    pub envelope: Vec<u8>,
}

/// A page of a channel's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsPage {
    /// Ascending by position.
    pub events: Vec<StoredEvent>,
    /// Whether more follow in the store.
    pub more: bool,
}

/// How much a page brings at most; the first event always fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// Events.
    pub entries: usize,
    /// Bytes of envelopes.
    pub bytes: usize,
}

/// A message as it is now, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMessage {
    /// Its place in its channel.
    pub position: Position,
    /// The message with everything that became of it.
    pub message: Message,
}

/// What a client's own id was used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Where the message stands.
    pub position: Position,
    /// The id that it got.
    pub message_id: MessageId,
    /// The hash of what the client said.
    pub content_hash: u32,
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Too many calls wait.
    #[error("too many calls of the store wait")]
    Busy,
    /// The database failed.
    #[error("database failed")]
    Database(#[from] rusqlite::Error),
    /// What is stored cannot be read by this release.
    #[error("stored {0} cannot be read")]
    Corrupt(&'static str),
    /// The store was closed.
    #[error("store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same call may work later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Database(_)) && !self.is_refusal()
    }

    /// Whether what was to be written is at fault: it will fail again, and something else would have worked.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Corrupt(_) | Self::Database(rusqlite::Error::ToSqlConversionFailure(_)) => true,
            Self::Database(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
            ),
            Self::Busy | Self::Closed => false,
        }
    }
}

/// A store; cheap to clone.
#[derive(Clone)]
pub enum Store {
    /// One file in this process.
    Sqlite(Sqlite),
}

macro_rules! each_adapter {
    ($self:ident, $adapter:ident => $call:expr) => {
        match $self {
            Self::Sqlite($adapter) => $call,
        }
    };
}

impl Store {
    /// Writes events and what follows from them, all or nothing. Events may come twice and in any order. They are
    /// durable after [`Store::make_durable`].
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written then.
    pub async fn apply(&self, events: Vec<Event>) -> Result<(), StoreError> {
        each_adapter!(self, adapter => adapter.apply(events).await)
    }

    /// Makes durable what was applied, and remembers that it reaches so far in these shards' logs. Until then a
    /// power cut may take applied events back, the newest first. No shard, nothing to do.
    ///
    /// # Errors
    /// [`StoreError`]; nothing more is durable then than before.
    pub async fn make_durable(&self, reached: &[(Shard, Position)]) -> Result<(), StoreError> {
        each_adapter!(self, adapter => adapter.make_durable(reached.to_vec()).await)
    }

    /// Returns up to where a shard's log is in the store for good, in one of the log's lives; 0 for nothing.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn reached(&self, shard: Shard, epoch: &Epoch) -> Result<Seq, StoreError> {
        each_adapter!(self, adapter => adapter.reached(shard, epoch.clone()).await)
    }

    /// Remembers, for good, that the store is to be filled up to there; in each shard and life the furthest counts.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub async fn begin_filling(&self, upto: &[(Shard, Position)]) -> Result<(), StoreError> {
        each_adapter!(self, adapter => adapter.begin_filling(upto.to_vec()).await)
    }

    /// Returns up to where the store is to be filled; nothing when it is full.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn filling(&self) -> Result<Vec<(Shard, Position)>, StoreError> {
        each_adapter!(self, adapter => adapter.filling().await)
    }

    /// Forgets what [`Store::begin_filling`] remembers, but for what lies behind these places.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub async fn end_filling(&self, upto: &[(Shard, Position)]) -> Result<(), StoreError> {
        each_adapter!(self, adapter => adapter.end_filling(upto.to_vec()).await)
    }

    /// Returns the place of a channel's newest stored event.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn head(&self, channel: &ChannelId) -> Result<Option<Position>, StoreError> {
        each_adapter!(self, adapter => adapter.head(channel.clone()).await)
    }

    /// Returns a channel's events after a position, through all lives of the log; `None` when the position is unknown:
    /// of a life that the store has nothing of, or beyond what it has of that life.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn events(
        &self,
        channel: &ChannelId,
        after: &Position,
        limit: PageLimit,
    ) -> Result<Option<EventsPage>, StoreError> {
        each_adapter!(self, adapter => adapter.events(channel.clone(), after.clone(), limit).await)
    }

    /// Keeps what a user's token says of him.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub async fn upsert_user(&self, profile: &Profile) -> Result<(), StoreError> {
        each_adapter!(self, adapter => adapter.upsert_user(profile.clone()).await)
    }

    /// Returns who a user is and where he may listen; `None` for an unknown one.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn session(&self, user: &UserId) -> Result<Option<SessionAnswer>, StoreError> {
        each_adapter!(self, adapter => adapter.session(user.clone()).await)
    }

    /// Returns the version of each user's memberships, as [`Store::session`] would say it now; 0 for who has none.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn versions(&self, users: &[UserId]) -> Result<Vec<(UserId, MembershipsVersion)>, StoreError> {
        each_adapter!(self, adapter => adapter.versions(users.to_vec()).await)
    }

    /// Returns who is a member of a channel or was one, ordered by id and at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn ever_members(&self, channel: &ChannelId, limit: u32) -> Result<Vec<UserId>, StoreError> {
        each_adapter!(self, adapter => adapter.ever_members(channel.clone(), limit).await)
    }

    /// Returns a member's role; `None` for one who is none.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn membership(&self, channel: &ChannelId, user: &UserId) -> Result<Option<Role>, StoreError> {
        each_adapter!(self, adapter => adapter.membership(channel.clone(), user.clone()).await)
    }

    /// Keeps up to where a user has read a channel, unless he has read further; returns how far that is.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub async fn mark_read(
        &self,
        channel: &ChannelId,
        user: &UserId,
        read: &Position,
    ) -> Result<Position, StoreError> {
        each_adapter!(self, adapter => adapter.mark_read(channel.clone(), user.clone(), read.clone()).await)
    }

    /// Counts the members of a channel, up to a limit.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn count_members(&self, channel: &ChannelId, limit: u32) -> Result<u32, StoreError> {
        each_adapter!(self, adapter => adapter.count_members(channel.clone(), limit).await)
    }

    /// Returns a page of stored messages.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn history(&self, request: &HistoryRequest) -> Result<HistoryAnswer, StoreError> {
        each_adapter!(self, adapter => adapter.history(request.clone()).await)
    }

    /// Returns a stored message, as it is now.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn message(&self, id: &MessageId) -> Result<Option<StoredMessage>, StoreError> {
        each_adapter!(self, adapter => adapter.message(id.clone()).await)
    }

    /// Returns those of some messages that were deleted, and when.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn deleted(&self, messages: &[MessageId]) -> Result<Vec<(MessageId, Timestamp)>, StoreError> {
        each_adapter!(self, adapter => adapter.deleted(messages.to_vec()).await)
    }

    /// Returns how a user reacts to a message.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn reactions_of(&self, message: &MessageId, user: &UserId) -> Result<Vec<String>, StoreError> {
        each_adapter!(self, adapter => adapter.reactions_of(message.clone(), user.clone()).await)
    }

    /// Returns what a client's own id was used for, be it stored or put aside.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn sent(
        &self,
        channel: &ChannelId,
        sender: &UserId,
        id: &ClientMsgId,
    ) -> Result<Option<Sent>, StoreError> {
        each_adapter!(self, adapter => adapter.sent(channel.clone(), sender.clone(), id.clone()).await)
    }

    /// Keeps an entry that a role gave up; a second time replaces what is said of it.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub async fn put_aside(&self, letter: DeadLetter) -> Result<(), StoreError> {
        each_adapter!(self, adapter => adapter.put_aside(letter).await)
    }

    /// Returns a dead letter; `None` when there is none of this id.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn dead_letter(&self, id: &LetterId) -> Result<Option<DeadLetter>, StoreError> {
        each_adapter!(self, adapter => adapter.dead_letter(id.clone()).await)
    }

    /// Returns up to `limit` dead letters behind one, by role, channel and place; from the first one on for `None`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked.
    pub async fn dead_letters(
        &self,
        after: Option<&LetterId>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        each_adapter!(self, adapter => adapter.dead_letters(after.cloned(), limit).await)
    }

    /// Removes a dead letter, if there is one of this id. What was applied before it is durable no later.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub async fn remove_dead_letter(&self, id: &LetterId) -> Result<(), StoreError> {
        each_adapter!(self, adapter => adapter.remove_dead_letter(id.clone()).await)
    }

    /// Finishes what was asked and closes.
    pub async fn close(&self) {
        each_adapter!(self, adapter => adapter.close().await);
    }
}
