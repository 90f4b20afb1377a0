//! Reading the log.

use bytes::Bytes;
use protocol::codes::ErrorCode;
use protocol::ids::{ChannelId, Seq};

/// What the log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The channel.
    pub channel: ChannelId,
    /// Its number within the shard.
    pub seq: Seq,
    /// As it was appended.
    pub envelope: Bytes,
}

/// How much one read brings at most; the first entry always fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Entries.
    pub entries: usize,
    /// Bytes of envelopes.
    pub bytes: usize,
}

/// A range of one channel's log. Entries carry no `prev`: not every broker's log can tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// Ascending.
    pub entries: Vec<Entry>,
    /// The channel's head when it was read; behind the entries of a channel whose newest ones were purged.
    pub head: Seq,
    /// Whether there is nothing more up to `head`.
    pub end: bool,
    /// Every entry of the shard after this one is still in the log.
    pub floor: Seq,
}

/// Why the log was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Too many reads wait.
    #[error("too many reads of the log wait")]
    Busy,
    /// The disk or the server failed.
    #[error("log cannot be read: {0}")]
    Failed(String),
    /// The broker stops.
    #[error("broker stops")]
    Closed,
}

impl ReadError {
    /// Returns what a client is told.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::Unavailable
    }
}
