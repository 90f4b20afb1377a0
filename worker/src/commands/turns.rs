//! One decision after the other where each builds on the one before.

use protocol::ids::ChannelId;
use protocol::subjects::{SHARDS, Slot};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use tokio::sync::{Mutex, MutexGuard};

/// Turns of each shard, which channels share now and then. Chosen: a shard has 64 requests that are worked on at once.
const TURNS: usize = 64;

/// Turns of channels: a count that one decision makes is seen by the next one of this worker.
pub(super) struct Turns(Box<[Mutex<()>]>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..TURNS * usize::from(SHARDS)).map(|_| Mutex::new(())).collect())
    }
}

impl Turns {
    /// Waits for the channel's turn, which lasts until what is returned is dropped.
    pub(super) async fn of(&self, channel: &ChannelId) -> MutexGuard<'_, ()> {
        // Whoever waits for the log of one shard keeps nobody of another waiting.
        let shard = usize::from(Slot::of(channel).shard.0 % SHARDS);
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(channel);
        let at = shard * TURNS + usize::try_from(hash % TURNS as u64).unwrap_or_default();
        self.0[at].lock().await
    }
}
