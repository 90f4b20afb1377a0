//! What upstream asks the log and the workers, each question with a deadline.

use super::following::Job;
use super::pages::{Draft, Place};
use broker::{Broker, LogPage, ReadError, ReadLimit};
use bytes::Bytes;
use protocol::codes::ErrorCode;
use protocol::ids::{ChannelId, Position, Seq};
use protocol::limits::PAGE_BYTES_MAX;
use protocol::requests::{self, Answer, EventsAnswer, EventsRequest};
use protocol::subjects::{RequestSubject, SHARDS, Slot};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// What one read of the log brings at most: a page.
const READ: ReadLimit = ReadLimit { entries: 512, bytes: PAGE_BYTES_MAX };

/// How long broker or worker may take for one of upstream's questions; then it counts as not answered. Chosen: a
/// person who opens a channel waits as long.
const DEADLINE: Duration = Duration::from_secs(5);

/// Questions of one kind under way at once, the others wait. Chosen: more would only queue at the disk.
const AT_ONCE: usize = 16;

/// Heads of one shard that are read at once. Chosen: a thousand rooms that are heard for the first time take 16 round
/// trips, and a shard without a leader keeps no other waiting.
const HEADS_AT_ONCE: usize = 4;

/// Repairs and pages do not wait for each other: a storm of resumes must not delay who is Live.
pub(super) struct Asking {
    broker: Broker,
    repairs: Arc<Semaphore>,
    pages: Arc<Semaphore>,
    /// By shard.
    heads: Vec<Arc<Semaphore>>,
}

impl Asking {
    pub(super) fn new(broker: Broker) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        let heads = (0..SHARDS).map(|_| places(HEADS_AT_ONCE)).collect();
        Self { broker, repairs: places(AT_ONCE), pages: places(AT_ONCE), heads }
    }

    /// Reads a channel's head.
    pub(super) fn head(
        &self,
        channel: ChannelId,
        generation: u64,
    ) -> impl Future<Output = Job> + Send + 'static {
        let shard = usize::from(Slot::of(&channel).shard.0);
        let (broker, places) = (self.broker.clone(), self.heads[shard].clone());
        async move {
            let _place = places.acquire().await;
            let head = in_time(broker.head(&channel)).await;
            let head = head.inspect_err(|error| tracing::warn!(%error, %channel, "no head"));
            Job::Head { channel, generation, head: head.ok() }
        }
    }

    /// Reads the log after a position, to repair a channel.
    pub(super) fn repair(
        &self,
        channel: ChannelId,
        generation: u64,
        after: Seq,
        delay: Duration,
    ) -> impl Future<Output = Job> + Send + 'static {
        metrics::counter!(crate::metrics::LOG_READS).increment(1);
        let (broker, places) = (self.broker.clone(), self.repairs.clone());
        async move {
            tokio::time::sleep(delay).await;
            // A closed semaphore is impossible: it lives as long as the jobs' owner.
            let _place = places.acquire().await;
            let page = newer(&broker, &channel, after).await;
            Job::Read { channel, generation, page }
        }
    }

    /// Looks for what happened after a draft's end; the channel is followed up to `head`.
    pub(super) fn look(
        &self,
        draft: Draft,
        place: Place,
        head: Position,
    ) -> impl Future<Output = Job> + Send + 'static {
        let (broker, places) = (self.broker.clone(), self.pages.clone());
        async move {
            let _place = places.acquire().await;
            Job::Looked(match place {
                Place::Log => match look_in_log(&broker, draft).await {
                    // Who waits for this look waits for the end of it.
                    draft if draft.is_purged() => ask_worker(&broker, draft, head).await,
                    draft => draft,
                },
                Place::Worker => ask_worker(&broker, draft, head).await,
            })
        }
    }
}

async fn look_in_log(broker: &Broker, draft: Draft) -> Draft {
    metrics::counter!(crate::metrics::PAGE_LOOKS, "at" => "log").increment(1);
    let page = in_time(broker.read(draft.channel(), draft.reached(), READ)).await;
    draft.with_log(page)
}

async fn ask_worker(broker: &Broker, draft: Draft, head: Position) -> Draft {
    metrics::counter!(crate::metrics::PAGE_LOOKS, "at" => "worker").increment(1);
    let answer = answer_of_worker(broker, &draft.question(head)).await;
    draft.with_answer(answer)
}

async fn answer_of_worker(broker: &Broker, question: &EventsRequest) -> Answer<EventsAnswer> {
    let payload = requests::encode(question).map_err(|_| ErrorCode::Internal)?;
    let answer = broker.request(RequestSubject::Events, Bytes::from(payload), DEADLINE).await;
    let answer = answer.map_err(|error| error.code())?;
    requests::decode::<Answer<EventsAnswer>>(&answer).map_err(|_| ErrorCode::Internal)?
}

/// Reads the log after a position. The head first: after a loss most channels turn out to have missed nothing.
async fn newer(broker: &Broker, channel: &ChannelId, after: Seq) -> Result<Option<LogPage>, ReadError> {
    let head = in_time(broker.head(channel)).await?;
    if head.seq <= after {
        return Ok(None);
    }
    in_time(broker.read(channel, after, READ)).await.map(Some)
}

async fn in_time<T>(question: impl Future<Output = Result<T, ReadError>>) -> Result<T, ReadError> {
    timeout(DEADLINE, question).await.unwrap_or_else(|late| Err(ReadError::Failed(late.to_string())))
}
