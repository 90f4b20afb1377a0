//! Appending to the log.

use crate::log::Entry;
use bytes::Bytes;
use protocol::codes::ErrorCode;
use protocol::ids::{ChannelId, Position, Seq};

/// Something to be logged.
#[derive(Debug, Clone)]
pub struct Append {
    /// The channel whose history it joins.
    pub channel: ChannelId,
    /// Tells a second append of the same thing; remembered for 10 minutes. `protocol::envelope::dedup_key`.
    pub dedup_key: u128,
    /// An encoded `protocol::envelope::Envelope`; opaque here.
    pub envelope: Bytes,
    /// Append only if the channel's newest entry has this seq (0: none). When the channel has none left after a purge,
    /// any seq up to its head will do.
    pub expect: Option<Seq>,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is logged.
    New {
        /// Where it stands.
        position: Position,
    },
    /// The same key was logged before; nothing was appended. A duplicate wins over `expect`.
    Duplicate {
        /// Where the first one stands.
        position: Position,
        /// The first one.
        entry: Entry,
    },
    /// `expect` did not hold; nothing was appended.
    Moved {
        /// The channel's head.
        head: Seq,
    },
}

/// Why an append was not answered with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The log took nothing: certainly not appended.
    #[error("log is not available")]
    Unavailable,
    /// It may or may not be appended: append again with the same key.
    #[error("outcome of the append is unknown")]
    Unknown,
    /// The envelope is larger than the log takes.
    #[error("envelope is too large")]
    TooLarge,
    /// The broker stops: certainly not appended.
    #[error("broker stops")]
    Closed,
}

impl AppendError {
    /// Whether the same append may work later.
    pub fn is_transient(self) -> bool {
        !matches!(self, Self::TooLarge)
    }

    /// Returns what a client is told.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Unavailable | Self::Closed => ErrorCode::Unavailable,
            Self::Unknown => ErrorCode::UnknownOutcome,
            Self::TooLarge => ErrorCode::TooLarge,
        }
    }
}
