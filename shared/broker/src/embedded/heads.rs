//! The newest entry of each channel, and up to where each shard was purged.

use protocol::ids::{ChannelId, Seq};
use protocol::subjects::{SHARDS, Slot};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the log holds.
#[derive(Clone)]
pub(super) struct Extent {
    /// Of channels that have an entry in the log, and of no others.
    newest: HashMap<ChannelId, Seq>,
    /// Every entry of the shard after this one is still in the log.
    floors: Vec<Seq>,
}

impl Default for Extent {
    fn default() -> Self {
        Self { newest: HashMap::new(), floors: vec![0; usize::from(SHARDS)] }
    }
}

impl Extent {
    /// Returns the seq of a channel's newest entry in the log; 0 for none.
    pub(super) fn newest(&self, channel: &ChannelId) -> Seq {
        self.newest.get(channel).copied().unwrap_or_default()
    }

    /// Returns up to where a channel's shard was purged.
    pub(super) fn floor(&self, channel: &ChannelId) -> Seq {
        self.floors[usize::from(Slot::of(channel).shard.0)]
    }

    /// Returns a channel's head: it never goes back.
    pub(super) fn head(&self, channel: &ChannelId) -> Seq {
        self.newest(channel).max(self.floor(channel))
    }

    /// Returns up to where each shard was purged, by number.
    pub(super) fn floors(&self) -> &[Seq] {
        &self.floors
    }

    /// Takes a new entry.
    pub(super) fn append(&mut self, channel: ChannelId, seq: Seq) {
        self.newest.insert(channel, seq);
    }

    /// Forgets a purged entry.
    pub(super) fn purge(&mut self, channel: &ChannelId, seq: Seq) {
        if self.newest(channel) == seq {
            self.newest.remove(channel);
        }
        let floor = &mut self.floors[usize::from(Slot::of(channel).shard.0)];
        *floor = seq.max(*floor);
    }

    /// Takes a floor that was written earlier.
    pub(super) fn set_floor(&mut self, shard: usize, floor: Seq) {
        if let Some(known) = self.floors.get_mut(shard) {
            *known = floor;
        }
    }
}

/// It as of the last commit, for everybody.
#[derive(Default)]
pub(super) struct Heads(Mutex<Extent>);

impl Heads {
    pub(super) fn new(extent: Extent) -> Self {
        Self(Mutex::new(extent))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Extent> {
        // Numbers that are set one by one: a panic elsewhere leaves none half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
