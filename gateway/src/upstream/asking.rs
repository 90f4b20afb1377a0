//! What upstream asks the log and the workers, each question with a deadline.

use super::following::Job;
use super::pages::{Draft, Place};
use broker::{Broker, LogPage, ReadError, ReadLimit};
use bytes::Bytes;
use protocol::codes::ErrorCode;
use protocol::ids::{ChannelId, Position, Seq};
use protocol::limits::PAGE_BYTES_MAX;
use protocol::requests::{self, Answer};
use protocol::subjects::{RequestSubject, SHARDS, Slot};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// What one read of the log brings at most: a page.
const READ: ReadLimit = ReadLimit { entries: 512, bytes: PAGE_BYTES_MAX };

/// How long broker or worker may take for one of upstream's questions; then it counts as not answered. Chosen: a
/// person who opens a channel waits as long.
const DEADLINE: Duration = Duration::from_secs(5);

/// Questions of one kind about one shard under way at once, the others wait. Chosen: a thousand rooms that are heard
/// for the first time take 16 round trips; more would only queue at the disk.
const AT_ONCE: usize = 4;

pub(super) struct Asking {
    broker: Broker,
    /// One without a leader answers nothing for seconds, and keeps no other waiting.
    shards: Vec<PerShard>,
}

/// One shard's questions. Repairs and pages do not wait for each other: a storm of resumes must not delay
/// who is Live.
struct PerShard {
    heads: Arc<Semaphore>,
    repairs: Arc<Semaphore>,
    pages: Arc<Semaphore>,
    floor: Arc<Floor>,
}

impl PerShard {
    fn new() -> Self {
        let places = || Arc::new(Semaphore::new(AT_ONCE));
        Self { heads: places(), repairs: places(), pages: places(), floor: Arc::default() }
    }
}

/// Up to where a shard was purged, as far as somebody here read.
#[derive(Default)]
pub(super) struct Floor(Mutex<Option<Position>>);

impl Floor {
    /// Returns the floor when a channel's head is not beyond it: then the log has nothing of the channel.
    fn above(&self, head: &Position) -> Option<Seq> {
        let floor = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        floor
            .as_ref()
            .filter(|floor| floor.epoch == head.epoch && floor.seq >= head.seq)
            .map(|floor| floor.seq)
    }

    /// Takes note of a floor, in a life of the log that was known before it was read.
    pub(super) fn read(&self, floor: Position) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(floor);
    }
}

impl Asking {
    pub(super) fn new(broker: Broker) -> Self {
        Self { broker, shards: (0..SHARDS).map(|_| PerShard::new()).collect() }
    }

    fn shard(&self, channel: &ChannelId) -> &PerShard {
        &self.shards[usize::from(Slot::of(channel).shard.0 % SHARDS)]
    }

    /// Reads a channel's head.
    pub(super) fn head(
        &self,
        channel: ChannelId,
        generation: u64,
    ) -> impl Future<Output = Job> + Send + 'static {
        let (broker, places) = (self.broker.clone(), self.shard(&channel).heads.clone());
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
        let PerShard { repairs, floor, .. } = self.shard(&channel);
        let (broker, places, floor) = (self.broker.clone(), repairs.clone(), floor.clone());
        async move {
            tokio::time::sleep(delay).await;
            // A closed semaphore is impossible: it lives as long as the jobs' owner.
            let _place = places.acquire().await;
            let page = newer(&broker, &floor, &channel, after).await;
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
        let (broker, places) = (self.broker.clone(), self.shard(draft.channel()).pages.clone());
        async move {
            let _place = places.acquire().await;
            let draft = match place {
                Place::Log => match look_in_log(&broker, draft).await {
                    // Who waits for this look waits for the end of it.
                    draft if draft.is_purged() => ask_worker(&broker, draft, head).await,
                    draft => draft,
                },
                Place::Worker => ask_worker(&broker, draft, head).await,
            };
            Job::Looked(match draft.question_of_deleted() {
                Some(question) => {
                    let answer = answer_of_worker(&broker, RequestSubject::Deleted, &question).await;
                    draft.with_deleted(answer)
                }
                None => draft,
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
    let answer = answer_of_worker(broker, RequestSubject::Events, &draft.question(head)).await;
    draft.with_answer(answer)
}

async fn answer_of_worker<A: DeserializeOwned>(
    broker: &Broker,
    subject: RequestSubject,
    question: &impl Serialize,
) -> Answer<A> {
    let payload = requests::encode(question).map_err(|_| ErrorCode::Internal)?;
    let answer = broker.request(subject, Bytes::from(payload), DEADLINE).await;
    let answer = answer.map_err(|error| error.code())?;
    requests::decode::<Answer<A>>(&answer).map_err(|_| ErrorCode::Internal)?
}

/// Reads the log after a position. The head first: after a loss most channels turn out to have missed nothing. It is
/// their shard's floor when all that they had was purged.
pub(super) async fn newer(
    broker: &Broker,
    floor: &Floor,
    channel: &ChannelId,
    after: Seq,
) -> Result<Option<LogPage>, ReadError> {
    let head = in_time(broker.head(channel)).await?;
    if head.seq <= after {
        return Ok(None);
    }
    if let Some(floor) = floor.above(&head) {
        return Ok(Some(LogPage { entries: Vec::new(), head: floor, end: true, floor }));
    }
    let page = in_time(broker.read(channel, after, READ)).await?;
    floor.read(Position { seq: page.floor, ..head });
    Ok(Some(page))
}

async fn in_time<T>(question: impl Future<Output = Result<T, ReadError>>) -> Result<T, ReadError> {
    timeout(DEADLINE, question).await.unwrap_or_else(|late| Err(ReadError::Failed(late.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::{Embedded, Options};
    use futures_util::stream::{FuturesUnordered, StreamExt};
    use protocol::requests::{EventsAnswer, EventsRequest};

    /// Two channels of different shards.
    fn channels() -> [ChannelId; 2] {
        let mut names = (0..).map(|n| ChannelId::parse(&format!("c{n}")).unwrap());
        let one = names.next().unwrap();
        let other = names.find(|other| Slot::of(other).shard != Slot::of(&one).shard).unwrap();
        [one, other]
    }

    fn broker(data: &tempfile::TempDir) -> Broker {
        Broker::Embedded(Embedded::open(data.path(), Options::default()).unwrap())
    }

    fn earlier(channel: &ChannelId, seq: Seq) -> Draft {
        let position = Position { epoch: protocol::ids::Epoch::new(1, 1), seq };
        Draft::new(crate::upstream::pages::Start { channel: channel.clone(), position })
    }

    #[tokio::test]
    async fn a_shard_that_answers_nothing_keeps_no_page_of_another_waiting() {
        let (data, [dead, alive]) = (tempfile::tempdir().unwrap(), channels());
        let broker = broker(&data);
        let mut worker = broker.serve(RequestSubject::Events).await.unwrap();
        let asking = Asking::new(broker.clone());
        let look = async |draft: Draft, head: Position| match asking.look(draft, Place::Worker, head).await {
            Job::Looked(draft) => draft,
            _ => panic!("a look"),
        };
        let head = broker.head(&alive).await.unwrap();
        let mut looks: FuturesUnordered<_> =
            (0..100).map(|seq| look(earlier(&dead, seq), head.clone())).collect();
        let answering = async {
            let mut unanswered = Vec::new();
            while let Some(request) = worker.next().await {
                let question: EventsRequest = requests::decode(&request.payload).unwrap();
                if question.channel_id == dead {
                    unanswered.push(request);
                } else {
                    let answer: Answer<EventsAnswer> = Ok(EventsAnswer::Unknown);
                    request.reply.send(Bytes::from(requests::encode(&answer).unwrap()));
                }
            }
        };
        let all = async {
            // Each of them has begun to wait when the other shard's comes.
            assert!(futures_util::poll!(looks.next()).is_pending());
            look(earlier(&alive, 1), head.clone()).await
        };
        tokio::select! {
            draft = timeout(DEADLINE / 2, all) => assert!(!draft.expect("it is answered").has_failed()),
            () = answering => panic!("the broker runs"),
        }
    }

    #[tokio::test]
    async fn a_shard_that_answers_nothing_keeps_no_repair_of_another_waiting() {
        let (data, [dead, alive]) = (tempfile::tempdir().unwrap(), channels());
        let asking = Asking::new(broker(&data));
        let all = u32::try_from(AT_ONCE).unwrap();
        let _unanswered = asking.shard(&dead).repairs.clone().acquire_many_owned(all).await.unwrap();
        let repair = |channel: &ChannelId| asking.repair(channel.clone(), 1, 0, Duration::ZERO);
        let repaired = timeout(DEADLINE, repair(&alive)).await.expect("it is answered");
        assert!(matches!(repaired, Job::Read { page: Ok(None), .. }));
        assert!(timeout(Duration::from_millis(50), repair(&dead)).await.is_err(), "its places are taken");
    }
}
