//! Where things travel: shards, slots and the names of subjects.
//!
//! "Shard" divides the log, "slot" divides subjects within a shard. Only this module makes subjects.

pub mod nats;

use crate::ids::ChannelId;
use std::fmt;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Shards of the log. Architecture page: 16 parallel fsync lanes, fixed when the log is made.
pub const SHARDS: u16 = 16;

/// Slots of live subjects in each shard. Reliability page: bounds a gateway's subscriptions to 1,024.
pub const SLOTS_PER_SHARD: u16 = 64;

/// A shard of the log, `0..SHARDS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(pub u16);

/// The group of live subjects that a channel belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// The shard that logs the channel.
    pub shard: Shard,
    /// `0..SLOTS_PER_SHARD`.
    pub slot: u16,
}

impl Slot {
    /// Returns the slot of a channel: the same on every process of every release.
    pub fn of(channel: &ChannelId) -> Self {
        let hash = xxh3_64(channel.as_str().as_bytes());
        let below = |value: u64, end: u16| u16::try_from(value % u64::from(end)).unwrap_or(0);
        Self { shard: Shard(below(hash, SHARDS)), slot: below(hash >> 32, SLOTS_PER_SHARD) }
    }
}

/// A request that some worker answers; one queue group serves each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestSubject {
    /// `directory.session`: who is this user and where may he listen.
    DirectorySession,
    /// `directory.versions`: which states of users' memberships are the newest.
    DirectoryVersions,
    /// `history`: a page of messages.
    History,
    /// `events`: what happened in a channel after a position that the log does not reach back to.
    Events,
    /// `deleted`: which messages were deleted.
    Deleted,
    /// `reads`: up to where somebody has read.
    Reads,
    /// `commands.<shard>`: what needs state to be decided.
    Commands(Shard),
}

impl fmt::Display for RequestSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DirectorySession => f.write_str("chat.request.directory.session"),
            Self::DirectoryVersions => f.write_str("chat.request.directory.versions"),
            Self::History => f.write_str("chat.request.history"),
            Self::Events => f.write_str("chat.request.events"),
            Self::Deleted => f.write_str("chat.request.deleted"),
            Self::Reads => f.write_str("chat.request.reads"),
            Self::Commands(shard) => write!(f, "chat.request.commands.{}", shard.0),
        }
    }
}

/// Makes the key by which a broker recognises a second append of the same thing: the channel is part of it,
/// since brokers deduplicate across the channels of a shard.
pub fn dedup_key(parts: [&str; 3]) -> u128 {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for part in parts {
        bytes.extend_from_slice(part.as_bytes());
        bytes.push(0);
    }
    xxh3_128(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_keeps_its_slot_for_ever() {
        let slot = |text| Slot::of(&ChannelId::parse(text).unwrap());
        assert_eq!(slot("general"), slot("general"));
        let pinned = ["general", "emergency", "shipment-4711"].map(slot).map(|s| (s.shard.0, s.slot));
        assert_eq!(pinned, PINNED, "changing the map would orphan every logged channel");
    }

    /// What a log on disk was written with.
    const PINNED: [(u16, u16); 3] = [(3, 47), (9, 55), (3, 32)];

    #[test]
    fn slots_spread_over_all_shards() {
        let mut seen = [0_u32; SHARDS as usize];
        for n in 0..1_600 {
            seen[usize::from(Slot::of(&ChannelId::parse(&format!("c{n}")).unwrap()).shard.0)] += 1;
        }
        assert!(seen.iter().all(|count| (50..200).contains(count)), "{seen:?}");
    }

    #[test]
    fn dedup_keys_keep_their_parts_apart() {
        assert_ne!(dedup_key(["a", "bc", "d"]), dedup_key(["ab", "c", "d"]));
        assert_ne!(dedup_key(["general", "42", "x"]), dedup_key(["emergency", "42", "x"]));
    }
}
