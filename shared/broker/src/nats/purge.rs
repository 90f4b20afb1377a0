//! Purging a shard's stream, and where what is left begins.

use super::append::ApiError;
use super::streams::{Streams, header, refused, unreadable};
use crate::log::ReadError;
use crate::purge::{Purge, PurgeError};
use async_nats::{Message, StatusCode};
use protocol::ids::{Position, Seq};
use protocol::subjects::{Shard, nats};
use protocol::time::Timestamp;
use runtime::clock::now_unix_ms;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A message of a stream, whatever it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) seq: Seq,
    at: Timestamp,
    /// Not a probe.
    pub(super) is_entry: bool,
}

/// What the JetStream API says in place of an answer.
#[derive(Debug, Deserialize)]
struct Fault {
    error: Option<ApiError>,
}

#[derive(Debug, Deserialize)]
struct StreamInfo {
    state: StreamState,
}

#[derive(Debug, Deserialize)]
struct StreamState {
    last_seq: Seq,
}

#[derive(Debug, Deserialize)]
struct PurgeAnswer {
    purged: u64,
}

#[derive(Debug, Deserialize)]
struct LeadersAnswer {
    message: LeadersMessage,
}

#[derive(Debug, Deserialize)]
struct LeadersMessage {
    subject: String,
    seq: Seq,
    time: Timestamp,
}

impl Streams {
    /// Purges each shard as far as the group has acknowledged it and it is old enough.
    pub(super) async fn purge(&self, purge: &Purge) -> Result<u64, PurgeError> {
        let mut purged = 0;
        for (shard, upto) in &purge.upto {
            purged += self.purge_shard(*shard, upto, purge).await.map_err(failed)?;
        }
        Ok(purged)
    }

    async fn purge_shard(&self, shard: Shard, upto: &Position, purge: &Purge) -> Result<u64, ReadError> {
        if upto.epoch != self.epoch(shard) {
            return Ok(0);
        }
        let upto = upto.seq.min(self.settled(purge.group, shard).await?);
        // What a resend may meet is kept.
        let window_ms = u64::try_from(self.dedup_window(shard).as_millis()).unwrap_or(u64::MAX);
        let before = purge.before.min(Timestamp::from_unix_ms(now_unix_ms().saturating_sub(window_ms)));
        let Some(last) = self.last_before(shard, upto, before).await? else { return Ok(0) };
        // The server keeps the message of this seq and everything after it.
        let question = serde_json::json!({ "seq": last + 1 });
        let subject = format!("$JS.API.STREAM.PURGE.{}", nats::stream(shard));
        let PurgeAnswer { purged } = self.api(subject, &question).await?.ok_or_else(unreadable)?;
        Ok(purged)
    }

    /// Returns the seq up to which everything was logged before a moment, at most `upto`. Times rise with seqs, so
    /// that a shard of a million messages takes twenty questions.
    async fn last_before(
        &self,
        shard: Shard,
        upto: Seq,
        before: Timestamp,
    ) -> Result<Option<Seq>, ReadError> {
        let is_old = |found: &Stored| found.at < before && found.seq <= upto;
        let Some(first) = self.stored_from(shard, 1).await?.filter(is_old) else { return Ok(None) };
        // Everything up to `old` is old, nothing from `young` on is.
        let (mut old, mut young) = (first.seq, upto + 1);
        while young - old > 1 {
            let middle = old + (young - old) / 2;
            match self.stored_from(shard, middle).await?.filter(is_old) {
                Some(found) => old = found.seq,
                None => young = middle,
            }
        }
        Ok(Some(old))
    }

    /// Returns the seq behind which everything is still in a shard's stream.
    pub(super) async fn floor(&self, shard: Shard) -> Result<Seq, ReadError> {
        if let Some(first) = self.stored_from(shard, 1).await? {
            return Ok(first.seq - 1);
        }
        // An empty stream still knows what it gave out.
        let subject = format!("$JS.API.STREAM.INFO.{}", nats::stream(shard));
        let info: Option<StreamInfo> = self.api(subject, &serde_json::json!({})).await?;
        Ok(info.ok_or_else(unreadable)?.state.last_seq)
    }

    /// Returns the first message at or behind a seq, as the stream's leader knows it.
    pub(super) async fn stored_from(&self, shard: Shard, seq: Seq) -> Result<Option<Stored>, ReadError> {
        let question = serde_json::json!({ "seq": seq, "next_by_subj": nats::log_pattern(shard) });
        let stream = nats::stream(shard);
        if self.has_copies(shard) {
            let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
            let found: Option<LeadersAnswer> = self.api(subject, &question).await?;
            let stored = |LeadersMessage { subject, seq, time }| Stored {
                seq,
                at: time,
                is_entry: nats::channel_of(&subject).is_some(),
            };
            return Ok(found.map(|found| stored(found.message)));
        }
        let answer = self.ask(format!("$JS.API.DIRECT.GET.{stream}"), &question).await?;
        match answer.status {
            Some(StatusCode::NOT_FOUND) => Ok(None),
            Some(status) if status != StatusCode::OK => Err(refused(&answer)),
            _ => stored(&answer).map(Some).ok_or_else(unreadable),
        }
    }

    /// Asks the JetStream API; `None` when what it is asked for is not there.
    pub(super) async fn api<T: DeserializeOwned>(
        &self,
        subject: String,
        question: &serde_json::Value,
    ) -> Result<Option<T>, ReadError> {
        let answer = self.ask(subject, question).await?;
        if answer.status.is_some_and(|status| status != StatusCode::OK) {
            return Err(refused(&answer));
        }
        let read = |_| unreadable();
        match serde_json::from_slice(&answer.payload).map_err(read)? {
            Fault { error: None } => serde_json::from_slice(&answer.payload).map(Some).map_err(read),
            Fault { error: Some(error) } if error.code == 404 => Ok(None),
            Fault { error: Some(error) } => {
                Err(ReadError::Failed(format!("JetStream answered: {}", error.description)))
            }
        }
    }
}

/// Reads seq and time of a direct get's answer.
fn stored(answer: &Message) -> Option<Stored> {
    let at = Timestamp::parse(header(answer, "Nats-Time-Stamp")?)?;
    let is_entry = header(answer, "Nats-Subject").and_then(nats::channel_of).is_some();
    Some(Stored { seq: header(answer, "Nats-Sequence")?.parse().ok()?, at, is_entry })
}

fn failed(error: ReadError) -> PurgeError {
    match error {
        ReadError::Closed => PurgeError::Closed,
        ReadError::Busy | ReadError::Failed(_) => PurgeError::Failed(error.to_string()),
    }
}
