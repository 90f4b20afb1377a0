//! Which channels' heads changed lately: what tells a gateway of a live copy that was lost and left no gap.

use crate::ids::{ChannelId, Epoch, Seq};
use serde::{Deserialize, Serialize};

/// Heads in one digest; more are sent in several. Chosen: below 100 KiB with the longest ids.
pub const DIGEST_HEADS_MAX: usize = 1_000;

/// The heads of channels of one shard, as some worker read them from the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The life of the shard's log that the numbers belong to.
    pub epoch: Epoch,
    /// Channels with the seq of an entry that is logged; a newer one may be.
    pub heads: Vec<(ChannelId, Seq)>,
}
