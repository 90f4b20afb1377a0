//! The durable path: a publish that waits for the stream's word, and is sent again until it has it.

use super::link::{Link, One, Outgoing};
use super::streams::Streams;
use super::window::Windows;
use crate::append::{Append, AppendError, Appended};
use crate::log::{Entry, ReadError};
use async_nats::{HeaderMap, Message, StatusCode};
use bytes::Bytes;
use protocol::ids::{Position, Seq};
use protocol::subjects::{Slot, nats};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// Bytes of one envelope; as the embedded log takes them.
const ENVELOPE_BYTES_MAX: usize = 128 * 1024;

/// One attempt, before the same is sent again. Reliability page: 1.5 to 2 s.
const ATTEMPT: Duration = Duration::from_millis(1_750);

/// All attempts. Reliability page: an election took up to 8 s; a gateway waits 30 s.
const ATTEMPTS: Duration = Duration::from_secs(28);

/// Between two attempts when the server refused at once.
const PAUSE: Duration = Duration::from_millis(150);

/// Between two attempts while another append is about to move the head. Chosen: a few round trips of a cluster.
const MOVING: Duration = Duration::from_millis(10);

/// How long a caller waits for a place among what its shard has in flight.
const PLACE_WAIT: Duration = Duration::from_secs(2);

/// Appends to the streams.
pub(super) struct Publisher {
    pub(super) link: Link,
    pub(super) windows: Windows,
}

/// What the stream answers to a publish.
#[derive(Debug, Deserialize)]
struct PubAck {
    #[serde(default)]
    seq: Seq,
    #[serde(default)]
    duplicate: bool,
    error: Option<ApiError>,
}

/// An error of the JetStream API.
#[derive(Debug, Deserialize)]
pub(super) struct ApiError {
    #[serde(default)]
    pub(super) code: u16,
    #[serde(default)]
    pub(super) err_code: u64,
    #[serde(default)]
    pub(super) description: String,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Logged(Seq),
    Duplicate(Seq),
    /// `Nats-Expected-Last-Subject-Sequence` did not hold.
    Moved,
    /// Try again with the same id.
    Again,
    Refused(AppendError),
}

impl Verdict {
    fn of(message: &Message) -> Self {
        match message.status {
            // No stream answers at the moment: an election, or a server that starts.
            Some(StatusCode::NO_RESPONDERS) => return Self::Again,
            Some(status) if status != StatusCode::OK => return Self::Again,
            _ => {}
        }
        let Ok(ack) = serde_json::from_slice::<PubAck>(&message.payload) else { return Self::Again };
        match ack {
            PubAck { error: Some(error), .. } => Self::of_error(&error),
            // While a server recovers it knows the id, but not yet where it stands.
            PubAck { seq: 0, .. } => Self::Again,
            PubAck { seq, duplicate: true, .. } => Self::Duplicate(seq),
            PubAck { seq, .. } => Self::Logged(seq),
        }
    }

    fn of_error(error: &ApiError) -> Self {
        match error.err_code {
            WRONG_LAST_SEQUENCE | WRONG_LAST_SEQUENCE_CONSTANT => Self::Moved,
            MESSAGE_EXCEEDS_MAXIMUM => Self::Refused(AppendError::TooLarge),
            // The stream is full: DiscardNew is the brake.
            STORE_FAILED => {
                tracing::error!(error = %error.description, "the log takes nothing more");
                Self::Refused(AppendError::Unavailable)
            }
            _ => {
                tracing::warn!(code = error.err_code, error = %error.description, "an append was refused");
                Self::Again
            }
        }
    }
}

// Error codes of the JetStream API, from its own list.
const MESSAGE_EXCEEDS_MAXIMUM: u64 = 10_054;
const WRONG_LAST_SEQUENCE: u64 = 10_071;
const STORE_FAILED: u64 = 10_077;
const WRONG_LAST_SEQUENCE_CONSTANT: u64 = 10_164;

impl Publisher {
    pub(super) async fn append(&self, streams: &Streams, append: Append) -> Result<Appended, AppendError> {
        if append.envelope.len() > ENVELOPE_BYTES_MAX {
            return Err(AppendError::TooLarge);
        }
        let shard = Slot::of(&append.channel).shard;
        let window = self.windows.of(shard);
        let place = window.enter(PLACE_WAIT).await?;
        let began = Instant::now();
        let verdict = self.decided(streams, &append, began + ATTEMPTS).await;
        window.leave(place, began.elapsed());
        let position = |seq| Position { epoch: streams.epoch(shard), seq };
        match verdict? {
            Verdict::Logged(seq) => {
                metrics::counter!(crate::metrics::APPENDED).increment(1);
                Ok(Appended::New { position: streams.place(shard, seq).await })
            }
            Verdict::Duplicate(seq) => {
                metrics::counter!(crate::metrics::DUPLICATES).increment(1);
                let entry = streams.entry(&append.channel, seq).await.map_err(|_| AppendError::Unknown)?;
                Ok(Appended::Duplicate { position: position(seq), entry })
            }
            Verdict::Moved => self.moved(streams, &append).await,
            Verdict::Refused(error) => Err(error),
            Verdict::Again => Err(AppendError::Unknown),
        }
    }

    /// Publishes until there is a final word, and until whatever moved the head has done so. In a cluster the leader
    /// refuses at once what an append that is still under way will have moved: that one is seen a moment later, or never.
    async fn decided(
        &self,
        streams: &Streams,
        append: &Append,
        deadline: Instant,
    ) -> Result<Verdict, AppendError> {
        loop {
            let mut verdict = self.publish(append, deadline).await?;
            if verdict == Verdict::Moved && expects_purged(streams, append).await? {
                // The server knows nothing of what was purged.
                let append = Append { expect: Some(0), ..append.clone() };
                verdict = self.publish(&append, deadline).await?;
            }
            if verdict != Verdict::Moved {
                return Ok(verdict);
            }
            let head = streams.head(&append.channel).await.map_err(|_| AppendError::Unknown)?;
            if append.expect != Some(head.seq) {
                return Ok(verdict);
            }
            if Instant::now() >= deadline {
                return Err(AppendError::Unknown);
            }
            sleep(MOVING).await;
        }
    }

    /// Publishes until there is a final word.
    async fn publish(&self, append: &Append, deadline: Instant) -> Result<Verdict, AppendError> {
        let (mut sent, mut attempts) = (false, 0);
        let mut one: Option<One> = None;
        loop {
            // Nothing is handed to a connection that is down: what it holds would be sent much later.
            let mut up = self.link.signals.up.subscribe();
            if timeout_at(deadline, up.wait_for(|up| *up)).await.is_err() {
                return Err(if sent { AppendError::Unknown } else { AppendError::Unavailable });
            }
            if Instant::now() >= deadline {
                return Err(if sent { AppendError::Unknown } else { AppendError::Unavailable });
            }
            let mut connects = self.link.signals.connects.subscribe();
            let waiting = one.get_or_insert_with(|| self.link.expect_one());
            let attempt = Instant::now() + ATTEMPT;
            let message = message(append);
            match timeout_at(attempt.min(deadline), self.link.send(message, waiting.subject())).await {
                Ok(Ok(())) => (sent, attempts) = (true, attempts + 1),
                Ok(Err(_closed)) => {
                    return Err(if sent { AppendError::Unknown } else { AppendError::Closed });
                }
                Err(_full) => continue,
            }
            // Each is cancel safe; the place in the inbox is kept, so that a late answer to this attempt counts.
            tokio::select! {
                answer = waiting.answer() => match answer.as_ref().map(Verdict::of) {
                    None => return Err(AppendError::Unknown),
                    Some(Verdict::Again) => {
                        one = None;
                        metrics::counter!(crate::metrics::APPENDS_AGAIN).increment(1);
                        sleep(PAUSE).await;
                    }
                    // An attempt before this one may be on its way still.
                    Some(Verdict::Refused(AppendError::Unavailable)) if attempts > 1 => {
                        return Err(AppendError::Unknown);
                    }
                    Some(verdict) => return Ok(verdict),
                },
                _ = connects.changed() => {}
                () = sleep_until(attempt) => { metrics::counter!(crate::metrics::APPENDS_AGAIN).increment(1); }
            }
        }
    }

    /// The expectation is checked before the id: our own append may be what moved the head. It is then the first
    /// entry after the expected one.
    async fn moved(&self, streams: &Streams, append: &Append) -> Result<Appended, AppendError> {
        let unknown = |_: ReadError| AppendError::Unknown;
        let expected = append.expect.unwrap_or_default();
        let position = |seq| Position { epoch: streams.epoch(Slot::of(&append.channel).shard), seq };
        match streams.first_after(&append.channel, expected).await.map_err(unknown)? {
            Some(first) if first.id == msg_id(append.dedup_key) => {
                metrics::counter!(crate::metrics::DUPLICATES).increment(1);
                let Entry { seq, .. } = first.entry;
                Ok(Appended::Duplicate { position: position(seq), entry: first.entry })
            }
            _ => Ok(Appended::Moved { head: streams.head(&append.channel).await.map_err(unknown)?.seq }),
        }
    }
}

/// Whether a channel has no entry left and what is expected of it was purged.
async fn expects_purged(streams: &Streams, append: &Append) -> Result<bool, AppendError> {
    let unknown = |_: ReadError| AppendError::Unknown;
    let Some(expected) = append.expect.filter(|expected| *expected > 0) else { return Ok(false) };
    if streams.newest(&append.channel).await.map_err(unknown)?.is_some() {
        return Ok(false);
    }
    Ok(expected <= streams.floor(Slot::of(&append.channel).shard).await.map_err(unknown)?)
}

/// A dedup key as `Nats-Msg-Id`.
pub(super) fn msg_id(key: u128) -> String {
    format!("{key:032x}")
}

fn message(append: &Append) -> Outgoing {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", msg_id(append.dedup_key));
    if let Some(seq) = append.expect {
        headers.insert("Nats-Expected-Last-Subject-Sequence", seq.to_string());
    }
    Outgoing { subject: nats::log(&append.channel), headers, payload: Bytes::clone(&append.envelope) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: Option<StatusCode>, payload: &str) -> Message {
        Message {
            subject: "x".into(),
            reply: None,
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            headers: None,
            status,
            description: None,
            length: 0,
        }
    }

    #[test]
    fn what_the_stream_answers_is_final_only_when_it_is() {
        let cases = [
            (None, r#"{"stream":"CHAT_3","seq":7}"#, Verdict::Logged(7)),
            (None, r#"{"stream":"CHAT_3","seq":7,"duplicate":true}"#, Verdict::Duplicate(7)),
            (None, r#"{"stream":"CHAT_3","seq":0,"duplicate":true}"#, Verdict::Again),
            (Some(StatusCode::NO_RESPONDERS), "", Verdict::Again),
            (None, "", Verdict::Again),
            (None, r#"{"error":{"code":503,"err_code":10023,"description":"no"}}"#, Verdict::Again),
            (None, r#"{"error":{"code":404,"err_code":10059,"description":"no stream"}}"#, Verdict::Again),
            (None, r#"{"error":{"code":429,"err_code":10167,"description":"too many"}}"#, Verdict::Again),
            (None, r#"{"error":{"code":400,"err_code":10071,"description":"moved"}}"#, Verdict::Moved),
            (
                None,
                r#"{"error":{"code":400,"err_code":10054,"description":"size"}}"#,
                Verdict::Refused(AppendError::TooLarge),
            ),
            (
                None,
                r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}"#,
                Verdict::Refused(AppendError::Unavailable),
            ),
        ];
        for (status, payload, verdict) in cases {
            assert_eq!(Verdict::of(&answer(status, payload)), verdict, "{payload}");
        }
    }
}
