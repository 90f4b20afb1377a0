//! What the groups that share the log have acknowledged, and what they cannot get any more.

use super::streams::Streams;
use crate::consume::Group;
use crate::log::ReadError;
use protocol::ids::{Position, Seq};
use protocol::subjects::{SHARDS, Shard, nats};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How old an answer may be that says what a group has acknowledged. Chosen: a tail longer by what comes in it.
const SETTLED_FOR: Duration = Duration::from_millis(500);

/// Up to where groups have acknowledged everything, and when that was asked.
#[derive(Default)]
pub(super) struct Settled(Mutex<HashMap<(Group, Shard), (Seq, Instant)>>);

impl Settled {
    fn fresh(&self, group: Group, shard: Shard) -> Option<Seq> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(group, shard)).filter(|(_, asked)| asked.elapsed() < SETTLED_FOR).map(|(seq, _)| *seq)
    }

    fn set(&self, group: Group, shard: Shard, seq: Seq) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((group, shard), (seq, Instant::now()));
    }
}

#[derive(Deserialize)]
struct ConsumerInfo {
    ack_floor: AckFloor,
}

#[derive(Deserialize)]
struct AckFloor {
    stream_seq: Seq,
}

/// An answer without anything to be read.
#[derive(Deserialize)]
struct Done {}

impl Streams {
    /// Returns up to where a group has acknowledged everything; it only rises, so an answer that is a moment old is
    /// merely too careful. A group without consumers has acknowledged nothing.
    pub(super) async fn settled(&self, group: Group, shard: Shard) -> Result<Seq, ReadError> {
        if let Some(seq) = self.settled.fresh(group, shard) {
            return Ok(seq);
        }
        let subject = format!("$JS.API.CONSUMER.INFO.{}.{group}", nats::stream(shard));
        let info: Option<ConsumerInfo> = self.api(subject, &serde_json::json!({})).await?;
        let seq = info.map_or(0, |info| info.ack_floor.stream_seq);
        self.settled.set(group, shard, seq);
        Ok(seq)
    }

    /// Returns the last entry of each shard up to which a group has acknowledged everything.
    pub(super) async fn acknowledged(&self, group: Group) -> Result<Vec<(Shard, Position)>, ReadError> {
        let mut acknowledged = Vec::new();
        for shard in (0..SHARDS).map(Shard) {
            let settled = self.settled(group, shard).await?;
            if let Some(seq) = self.last_entry(shard, settled).await? {
                acknowledged.push((shard, Position { epoch: self.epoch(shard), seq }));
            }
        }
        Ok(acknowledged)
    }

    /// Returns up to where each shard was purged, of those that were.
    pub(super) async fn purged(&self) -> Result<Vec<(Shard, Position)>, ReadError> {
        let mut purged = Vec::new();
        for shard in (0..SHARDS).map(Shard) {
            let seq = self.floor(shard).await?;
            if seq > 0 {
                purged.push((shard, Position { epoch: self.epoch(shard), seq }));
            }
        }
        Ok(purged)
    }

    /// Returns the last entry of a shard up to `upto`, if it is still there. What lies between are probes: mostly behind
    /// the last entry of all, which is asked for at once.
    async fn last_entry(&self, shard: Shard, upto: Seq) -> Result<Option<Seq>, ReadError> {
        let floor = self.floor(shard).await?;
        if upto <= floor {
            return Ok(None);
        }
        let Some(newest) = self.newest_of(shard, &nats::log_entries(shard)).await? else { return Ok(None) };
        let mut at = upto.min(newest);
        while at > floor {
            let found = self.stored_from(shard, at).await?;
            if found.is_some_and(|found| found.seq == at && found.is_entry) {
                return Ok(Some(at));
            }
            at -= 1;
        }
        Ok(None)
    }

    /// Deletes a group's consumer of one shard, if there is one.
    pub(super) async fn forget_group(&self, group: Group, shard: Shard) -> Result<(), ReadError> {
        let subject = format!("$JS.API.CONSUMER.DELETE.{}.{group}", nats::stream(shard));
        let _there_was_none: Option<Done> = self.api(subject, &serde_json::json!({})).await?;
        self.settled.set(group, shard, 0);
        Ok(())
    }
}
