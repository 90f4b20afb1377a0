//! Purging: readers find what is old, the writer deletes it in small steps between appends.

use super::orders::Writer;
use super::reader::Readers;
use crate::log::ReadError;
use crate::purge::{Purge, PurgeError};
use protocol::ids::{ChannelId, Epoch, Seq};
use protocol::subjects::{SHARDS, Shard, Slot};
use rusqlite::{Connection, params};
use std::sync::Arc;
use std::time::Duration;

/// Entries that one commit deletes. Performance page.
const STEP: usize = 100;

/// Entries that one step looks at. Chosen: some milliseconds of a reader, who has others waiting.
const LOOK: usize = 10_000;

/// Between two steps: at most 10,000 entries a second go, and appends wait for one step at most.
const PACE: Duration = Duration::from_millis(10);

/// An entry that is deleted.
pub(super) struct Old {
    pub(super) id: i64,
    pub(super) channel: ChannelId,
    pub(super) seq: Seq,
}

impl Old {
    pub(super) fn shard(&self) -> Shard {
        Slot::of(&self.channel).shard
    }
}

/// What may go.
pub(super) struct Limits {
    /// The last id.
    id: i64,
    /// The last seq of each shard.
    seqs: Vec<Seq>,
    /// Entries of this time and later stay.
    before_ms: u64,
}

impl Limits {
    /// `id` is up to where the group acknowledged, `kept_ms` the time from which on dedup keys are remembered.
    pub(super) fn of(purge: &Purge, epoch: &Epoch, id: i64, kept_ms: u64) -> Self {
        let mut seqs = vec![0; usize::from(SHARDS)];
        for (shard, position) in purge.upto.iter().filter(|(_, position)| position.epoch == *epoch) {
            seqs[usize::from(shard.0 % SHARDS)] = position.seq;
        }
        Self { id, seqs, before_ms: purge.before.unix_ms().min(kept_ms) }
    }
}

/// What a look at the log found.
pub(super) struct Found {
    pub(super) old: Vec<Old>,
    /// The id to go on behind; `None` at the end.
    next: Option<i64>,
}

/// Deletes whatever the limits allow; returns how much that was.
pub(super) async fn run(readers: &Readers, writer: &Writer, limits: Limits) -> Result<u64, PurgeError> {
    let (limits, mut after, mut purged) = (Arc::new(limits), 0, 0);
    loop {
        let Found { old, next } = readers.old(after, limits.clone()).await.map_err(failed)?;
        if !old.is_empty() {
            purged += old.len() as u64;
            writer.purge(old).await?;
        }
        let Some(next) = next else { return Ok(purged) };
        after = next;
        tokio::time::sleep(PACE).await;
    }
}

fn failed(error: ReadError) -> PurgeError {
    match error {
        ReadError::Closed => PurgeError::Closed,
        ReadError::Busy | ReadError::Failed(_) => PurgeError::Failed(error.to_string()),
    }
}

/// Finds one step's entries behind `after`. Ids and the seqs of each shard rise together, so what is found is the
/// beginning of each shard.
pub(super) fn find(connection: &Connection, after: i64, limits: &Limits) -> Result<Found, rusqlite::Error> {
    let mut select = connection.prepare_cached(
        "SELECT id, channel, seq, ts FROM log WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
    )?;
    let mut rows = select.query(params![after, limits.id, LOOK])?;
    let (mut old, mut looked) = (Vec::new(), 0);
    let mut last = after;
    while let Some(row) = rows.next()? {
        let (id, channel): (i64, String) = (row.get(0)?, row.get(1)?);
        let (seq, logged_ms): (Seq, u64) = (row.get(2)?, row.get(3)?);
        if logged_ms >= limits.before_ms {
            return Ok(Found { old, next: None });
        }
        let channel = ChannelId::parse(&channel).map_err(|_| rusqlite::Error::InvalidQuery)?;
        let entry = Old { id, channel, seq };
        if seq <= limits.seqs[usize::from(entry.shard().0)] {
            old.push(entry);
        }
        (looked, last) = (looked + 1, id);
        if old.len() == STEP {
            break;
        }
    }
    let end = old.len() < STEP && looked < LOOK;
    Ok(Found { old, next: (!end).then_some(last) })
}
