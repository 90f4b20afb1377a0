//! The streams of the log: made and checked at start, read, and the life that each of them is in.

use super::OpenError;
use super::append::ApiError;
use super::groups::Settled;
use super::link::{AskError, Link, Outgoing};
use super::making::{checked, epoch_of, there, wanted};
use super::options::NatsOptions;
use crate::log::{Entry, LogPage, ReadError, ReadLimit};
use async_nats::jetstream::stream::Info;
use async_nats::jetstream::{self, Context};
use async_nats::{Message, StatusCode};
use bytes::Bytes;
use futures_util::future::join_all;
use protocol::ids::{ChannelId, Epoch, Position, Seq};
use protocol::subjects::{SHARDS, Shard, Slot, nats};
use serde::Deserialize;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

/// How long the server may take for one question. Chosen: an election is not waited for, its asker tries again.
const DEADLINE: Duration = Duration::from_secs(4);

/// Messages of one batch get. Reliability page: 70,000 a second at this size.
const BATCH: usize = 100;

/// Entries that may be under way at once from all processes, nearly: so far may numbers be heard out of order.
const UNDER_WAY: Seq = 5_000;

/// The log's streams, read.
pub(super) struct Streams {
    link: Link,
    context: Context,
    options: NatsOptions,
    lives: RwLock<Vec<Life>>,
    pub(super) settled: Settled,
}

/// One stream as it was last looked at.
#[derive(Debug, Clone)]
struct Life {
    epoch: Epoch,
    /// Whether it has copies, so that only its leader knows the newest entry for certain.
    copied: bool,
    /// The highest number that it gave an entry, as far as this process heard.
    highest: Seq,
    /// How long it remembers a dedup key.
    window: Duration,
}

impl Life {
    fn of(info: &Info) -> Self {
        Self {
            epoch: epoch_of(info),
            copied: info.config.num_replicas > 1,
            highest: info.state.last_sequence,
            window: info.config.duplicate_window,
        }
    }
}

/// An entry with the id under which it was appended.
pub(super) struct Identified {
    pub(super) id: String,
    pub(super) entry: Entry,
}

impl Streams {
    /// Makes what is missing and checks what is there.
    pub(super) async fn open(link: Link, options: &NatsOptions) -> Result<Self, OpenError> {
        let context = jetstream::new(link.client.clone());
        let mut lives = Vec::new();
        for shard in (0..SHARDS).map(Shard) {
            lives.push(Life::of(&checked(&context, options, shard).await?));
        }
        Ok(Self {
            link,
            context,
            options: options.clone(),
            lives: RwLock::new(lives),
            settled: Settled::default(),
        })
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) fn epoch(&self, shard: Shard) -> Epoch {
        self.lives()[usize::from(shard.0 % SHARDS)].epoch.clone()
    }

    fn lives(&self) -> RwLockReadGuard<'_, Vec<Life>> {
        // A list of facts cannot be left half changed by a panic elsewhere.
        self.lives.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a shard remembers a dedup key.
    pub(super) fn dedup_window(&self, shard: Shard) -> Duration {
        self.lives()[usize::from(shard.0 % SHARDS)].window
    }

    /// For so long every shard keeps what was logged, at least.
    pub(super) fn shortest_dedup_window(&self) -> Duration {
        self.lives().iter().map(|life| life.window).min().unwrap_or_default()
    }

    /// Returns the place of an entry that is new in its shard. Numbers of one life rise, give or take what was under
    /// way at once: one that is far below the highest may be of another life, and the stream is looked at first.
    pub(super) async fn place(&self, shard: Shard, seq: Seq) -> Position {
        let at = usize::from(shard.0 % SHARDS);
        let highest = self.lives()[at].highest;
        if seq < highest / 2 || seq.saturating_add(UNDER_WAY) < highest {
            // Rare, and large: an append stays small.
            if let Err(error) = Box::pin(self.look_at(shard)).await {
                tracing::warn!(%error, shard = shard.0, "a stream whose numbers fell back cannot be looked at");
            }
        } else if seq > highest {
            let mut lives = self.lives.write().unwrap_or_else(PoisonError::into_inner);
            lives[at].highest = seq.max(lives[at].highest);
        }
        Position { epoch: self.epoch(shard), seq }
    }

    /// Looks at every stream again, makes it again when it is gone; returns those that live another life. One that
    /// does not answer holds up no other.
    pub(super) async fn look(&self) -> Result<Vec<Shard>, OpenError> {
        let look = |shard| async move { (shard, self.look_at(shard).await) };
        let (mut changed, mut failed) = (Vec::new(), None);
        for (shard, looked) in join_all((0..SHARDS).map(Shard).map(look)).await {
            match looked {
                Ok(true) => changed.push(shard),
                Ok(false) => {}
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if changed.is_empty() => Err(error),
            _ => Ok(changed),
        }
    }

    /// Looks at one stream; its configuration is left as it is.
    pub(super) async fn look_at(&self, shard: Shard) -> Result<bool, OpenError> {
        let life = Life::of(&there(&self.context, &wanted(&self.options, shard)).await?);
        let mut lives = self.lives.write().unwrap_or_else(PoisonError::into_inner);
        let known = &mut lives[usize::from(shard.0 % SHARDS)];
        let another_life = life.epoch != known.epoch;
        if another_life {
            tracing::error!(shard = shard.0, epoch = %life.epoch, "the log of a shard began anew");
        }
        *known = life;
        Ok(another_life)
    }

    /// Returns a channel's head. What was purged has no entry: the floor is then as far as its entries can reach.
    pub(super) async fn head(&self, channel: &ChannelId) -> Result<Position, ReadError> {
        let shard = Slot::of(channel).shard;
        let seq = match self.newest(channel).await? {
            Some(seq) => seq,
            None => self.floor(shard).await?,
        };
        Ok(Position { epoch: self.epoch(shard), seq })
    }

    /// Returns the newest entry's seq, as the stream's leader knows it: a follower may be behind.
    pub(super) async fn newest(&self, channel: &ChannelId) -> Result<Option<Seq>, ReadError> {
        self.newest_of(Slot::of(channel).shard, &nats::log(channel)).await
    }

    /// Returns the newest entry's seq under a subject or pattern of a shard.
    pub(super) async fn newest_of(&self, shard: Shard, pattern: &str) -> Result<Option<Seq>, ReadError> {
        let question = serde_json::json!({ "last_by_subj": pattern });
        let newest = self.one_of_leader(shard, &question).await?;
        Ok(newest.map(|found| found.entry.seq))
    }

    /// Whether followers answer as well, who may be behind.
    pub(super) fn has_copies(&self, shard: Shard) -> bool {
        self.lives()[usize::from(shard.0 % SHARDS)].copied
    }

    /// Returns the entry at `seq`, which is there.
    pub(super) async fn entry(&self, channel: &ChannelId, seq: Seq) -> Result<Entry, ReadError> {
        let question = serde_json::json!({ "seq": seq });
        let found = self.one_of_leader(Slot::of(channel).shard, &question).await?;
        let entry = found.map(|found| found.entry).filter(|entry| entry.channel == *channel);
        entry.ok_or_else(|| ReadError::Failed(format!("no entry of the channel at {seq}")))
    }

    /// Returns a channel's first entry after `seq`.
    pub(super) async fn first_after(
        &self,
        channel: &ChannelId,
        seq: Seq,
    ) -> Result<Option<Identified>, ReadError> {
        let question = serde_json::json!({ "seq": seq + 1, "next_by_subj": nats::log(channel) });
        self.one_of_leader(Slot::of(channel).shard, &question).await
    }

    /// Asks the leader of a stream for one message. A single server is its own leader, and quicker by direct get.
    async fn one_of_leader(
        &self,
        shard: Shard,
        question: &serde_json::Value,
    ) -> Result<Option<Identified>, ReadError> {
        let stream = nats::stream(shard);
        if !self.has_copies(shard) {
            let answer = self.ask(format!("$JS.API.DIRECT.GET.{stream}"), question).await?;
            return match answer.status {
                Some(StatusCode::NOT_FOUND) => Ok(None),
                Some(status) if status != StatusCode::OK => Err(refused(&answer)),
                _ => identified(&answer).map(Some),
            };
        }
        let answer = self.ask(format!("$JS.API.STREAM.MSG.GET.{stream}"), question).await?;
        stored(&answer)
    }

    pub(super) async fn ask(
        &self,
        subject: String,
        question: &serde_json::Value,
    ) -> Result<Message, ReadError> {
        let payload = Bytes::from(question.to_string());
        self.link.ask(Outgoing::new(subject, payload), DEADLINE).await.map_err(failed)
    }

    pub(super) async fn read(
        &self,
        channel: &ChannelId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<LogPage, ReadError> {
        let shard = Slot::of(channel).shard;
        // The head first: nobody may see a page that is ahead of it.
        let head = self.head(channel).await?.seq;
        let mut page = Collected { entries: Vec::new(), bytes: 0, full: false, over: false, limit, head };
        let mut reached = after;
        while reached < head && !page.full && !page.over {
            let before = page.entries.len();
            self.batch(channel, reached, &mut page).await?;
            match page.entries[before..].last() {
                Some(last) => reached = last.seq,
                // A follower that is behind has nothing yet: its leader has.
                None => match self.first_after(channel, reached).await? {
                    Some(found) => {
                        reached = found.entry.seq;
                        page.take(found.entry);
                    }
                    None => break,
                },
            }
        }
        // Last: what was purged meanwhile is then below the floor for certain.
        let floor = if head == 0 { 0 } else { self.floor(shard).await? };
        Ok(LogPage { entries: page.entries, head: head.max(floor), end: !page.full, floor })
    }

    /// Reads one batch of entries after `after` into a page.
    async fn batch(&self, channel: &ChannelId, after: Seq, page: &mut Collected) -> Result<(), ReadError> {
        let count = BATCH.min(page.limit.entries.saturating_sub(page.entries.len()).max(1));
        let mut answers = self.link.expect_many(count + 1);
        let stream = nats::stream(Slot::of(channel).shard);
        let question = serde_json::json!({
            "seq": after + 1, "next_by_subj": nats::log(channel), "batch": count,
        });
        let payload = Bytes::from(question.to_string());
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let message = Outgoing::new(subject, payload);
        let collected = async {
            self.link.send(message, answers.subject()).await.map_err(failed)?;
            while let Some(answer) = answers.next().await {
                match answer.status {
                    // 204 ends a batch, 404 says that there is none.
                    Some(status) if status.as_u16() == 204 || status == StatusCode::NOT_FOUND => {
                        return Ok(());
                    }
                    Some(status) if status != StatusCode::OK => return Err(refused(&answer)),
                    _ => {}
                }
                if !page.take(identified(&answer)?.entry) {
                    return Ok(());
                }
            }
            Err(ReadError::Closed)
        };
        tokio::time::timeout(DEADLINE, collected).await.unwrap_or_else(|_| Err(failed(AskError::Late)))
    }
}

/// A page on its way.
struct Collected {
    entries: Vec<Entry>,
    bytes: usize,
    /// There is more than the limit.
    full: bool,
    /// There is something newer than the head.
    over: bool,
    limit: ReadLimit,
    head: Seq,
}

impl Collected {
    /// Takes an entry; returns whether there may be room for more.
    fn take(&mut self, entry: Entry) -> bool {
        let fits = self.entries.is_empty()
            || self.entries.len() < self.limit.entries
                && self.bytes + entry.envelope.len() <= self.limit.bytes;
        self.over = entry.seq > self.head;
        self.full = !self.over && !fits;
        if self.over || self.full {
            return false;
        }
        self.bytes += entry.envelope.len();
        self.entries.push(entry);
        true
    }
}

fn failed(error: AskError) -> ReadError {
    match error {
        AskError::Closed => ReadError::Closed,
        AskError::Late => ReadError::Failed(error.to_string()),
    }
}

pub(super) fn refused(answer: &Message) -> ReadError {
    let (status, text) = (answer.status.map(|status| status.as_u16()), answer.description.as_deref());
    ReadError::Failed(format!("status {} {}", status.unwrap_or_default(), text.unwrap_or_default()))
}

pub(super) fn unreadable() -> ReadError {
    ReadError::Failed("an answer of a stream cannot be read".to_owned())
}

pub(super) fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.headers.as_ref()?.get(name).map(async_nats::HeaderValue::as_str)
}

/// Reads the answer of a direct get.
fn identified(answer: &Message) -> Result<Identified, ReadError> {
    let channel = header(answer, "Nats-Subject").and_then(nats::channel_of).ok_or_else(unreadable)?;
    let seq = header(answer, "Nats-Sequence").and_then(|seq| seq.parse().ok()).ok_or_else(unreadable)?;
    let id = header(answer, "Nats-Msg-Id").unwrap_or_default().to_owned();
    Ok(Identified { id, entry: Entry { channel, seq, envelope: answer.payload.clone() } })
}

/// Reads the answer of a leader's get.
fn stored(answer: &Message) -> Result<Option<Identified>, ReadError> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    #[derive(Deserialize)]
    struct Stored {
        message: Option<Raw>,
        error: Option<ApiError>,
    }
    #[derive(Deserialize)]
    struct Raw {
        subject: String,
        seq: Seq,
        #[serde(default)]
        hdrs: String,
        #[serde(default)]
        data: String,
    }
    let raw = match serde_json::from_slice(&answer.payload).map_err(|_| unreadable())? {
        Stored { message: Some(raw), .. } => raw,
        Stored { error: Some(error), .. } if error.code == 404 && error.err_code == NO_MESSAGE => {
            return Ok(None);
        }
        Stored { error, .. } => {
            let text = error.map_or_else(String::new, |error| error.description);
            return Err(ReadError::Failed(format!("a stream answered: {text}")));
        }
    };
    let decoded = |text: &str| STANDARD.decode(text).map_err(|_| unreadable());
    let headers = String::from_utf8(decoded(&raw.hdrs)?).map_err(|_| unreadable())?;
    let id = headers.lines().find_map(|line| line.strip_prefix("Nats-Msg-Id:")).unwrap_or_default();
    let channel = nats::channel_of(&raw.subject).ok_or_else(unreadable)?;
    let entry = Entry { channel, seq: raw.seq, envelope: Bytes::from(decoded(&raw.data)?) };
    Ok(Some(Identified { id: id.trim().to_owned(), entry }))
}

/// "No message found", from the JetStream API's own list.
const NO_MESSAGE: u64 = 10_037;
