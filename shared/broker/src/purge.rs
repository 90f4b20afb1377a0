//! Forgetting the old end of the log.

use crate::consume::Group;
use protocol::ids::Position;
use protocol::subjects::Shard;
use protocol::time::Timestamp;

/// What the log may forget: entries to which all of this applies, and in each shard only from its first entry on
/// without a gap. An entry whose dedup key is still remembered stays.
#[derive(Debug, Clone)]
pub struct Purge {
    /// Has acknowledged them.
    pub group: Group,
    /// Shards, and up to where each may be forgotten; the place is of the life that the log is in.
    pub upto: Vec<(Shard, Position)>,
    /// They were logged before this moment, by the clock of whoever keeps the log.
    pub before: Timestamp,
}

/// Why a purge did not come to its end; what it did stays done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PurgeError {
    /// The disk or the server failed; try again.
    #[error("log cannot be purged: {0}")]
    Failed(String),
    /// The broker stops.
    #[error("broker stops")]
    Closed,
}
