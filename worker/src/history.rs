//! Pages of messages: what the store has, and behind it what only the log has yet.

use crate::serving::{Answers, unavailable};
use crate::tail::Tail;
use broker::Broker;
use protocol::codes::ErrorCode;
use protocol::envelope::Fact;
use protocol::ids::MessageId;
use protocol::limits::PAGE_BYTES_MAX;
use protocol::message::Message;
use protocol::requests::{Answer, HistoryAnswer, HistoryRange, HistoryRequest, PlacedMessage};
use serde_json::value::to_raw_value;
use std::ops::Range;
use store::{Store, StoreError};

pub(crate) struct History {
    broker: Broker,
    store: Store,
}

impl History {
    pub(crate) fn new(broker: Broker, store: Store) -> Self {
        Self { broker, store }
    }
}

impl Answers for History {
    type Question = HistoryRequest;
    type Reply = HistoryAnswer;
    const ROLE: &'static str = "history";

    async fn answer(&self, request: HistoryRequest) -> Answer<HistoryAnswer> {
        // The tail first: what is persisted meanwhile is in both, and counted once.
        let tail = Tail::read(&self.broker, &self.store, &request.channel_id).await?;
        let page = self.page(&request, newest(&tail, &request)).await.map_err(|error| unavailable(&error))?;
        Ok(within_bytes(up_to_date(page, &tail)?, &request.range))
    }
}

impl History {
    async fn page(
        &self,
        request: &HistoryRequest,
        tail: Vec<PlacedMessage>,
    ) -> Result<HistoryAnswer, StoreError> {
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        match &request.range {
            HistoryRange::Newest => self.back(request, tail, limit).await,
            HistoryRange::Before(bound) => {
                let tail = tail.into_iter().filter(|message| message.position < *bound).collect();
                self.back(request, tail, limit).await
            }
            HistoryRange::After(bound) => {
                let tail = tail.into_iter().filter(|message| *bound < message.position).collect();
                self.forth(request, tail, limit).await
            }
            HistoryRange::Around(id) => match tail.iter().position(|message| is(message, id)) {
                Some(at) => self.around_tail(request, tail, at).await,
                None => {
                    let page = self.store.history(request).await?;
                    let Some(first) = page.messages.first().map(|first| first.position.clone()) else {
                        return Ok(page);
                    };
                    let tail = tail.into_iter().filter(|message| message.position >= first);
                    Ok(appended(page, tail.collect(), limit))
                }
            },
        }
    }

    /// The newest messages of store and tail within the range.
    async fn back(
        &self,
        request: &HistoryRequest,
        tail: Vec<PlacedMessage>,
        limit: usize,
    ) -> Result<HistoryAnswer, StoreError> {
        let stored = self.store.history(request).await?;
        let mut page = HistoryAnswer { more: stored.more, messages: merged(stored.messages, tail) };
        let surplus = page.messages.len().saturating_sub(limit);
        page.messages.drain(..surplus);
        page.more |= surplus > 0;
        Ok(page)
    }

    /// The oldest messages of store and tail within the range.
    async fn forth(
        &self,
        request: &HistoryRequest,
        tail: Vec<PlacedMessage>,
        limit: usize,
    ) -> Result<HistoryAnswer, StoreError> {
        let stored = self.store.history(request).await?;
        Ok(appended(stored, tail, limit))
    }

    /// A message that only the log has, with its neighbours in log and store.
    async fn around_tail(
        &self,
        request: &HistoryRequest,
        tail: Vec<PlacedMessage>,
        at: usize,
    ) -> Result<HistoryAnswer, StoreError> {
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let bound = tail[at].position.clone();
        let (before, from): (Vec<_>, Vec<_>) = tail.into_iter().partition(|message| message.position < bound);
        let wanted = (limit - 1) / 2;
        let older = HistoryRequest { range: HistoryRange::Before(bound), ..request.clone() };
        let mut page = self.back(&older, before, wanted).await?;
        let room = limit - page.messages.len();
        page.more |= from.len() > room;
        page.messages.extend(from.into_iter().take(room));
        Ok(page)
    }
}

/// Shows each message as it is now: what became of it lately only the tail knows.
fn up_to_date(mut page: HistoryAnswer, tail: &Tail) -> Answer<HistoryAnswer> {
    let changed = tail.changed();
    for placed in page.messages.iter_mut().filter(|_| !changed.is_empty()) {
        let mut message: Message =
            serde_json::from_str(placed.message.get()).map_err(|_| ErrorCode::Internal)?;
        if changed.contains(&message.id) {
            tail.bring_up_to_date(&mut message);
            placed.message = to_raw_value(&message).map_err(|_| ErrorCode::Internal)?;
        }
    }
    Ok(page)
}

/// Takes the messages of a tail that a request asks for.
fn newest(tail: &Tail, request: &HistoryRequest) -> Vec<PlacedMessage> {
    let wanted = |fact: &Fact| match (fact, &request.thread_id) {
        (Fact::Message(_), None) => true,
        (Fact::Message(message), Some(thread)) => {
            message.id == *thread || message.thread_id.as_ref() == Some(thread)
        }
        _ => false,
    };
    let facts = tail.facts().filter(|(_, _, fact)| wanted(fact));
    facts
        .map(|(position, envelope, _)| PlacedMessage {
            position: position.clone(),
            message: envelope.body.clone(),
        })
        .collect()
}

/// Puts the tail behind what is stored and into its holes; what was persisted since the tail was read is in both.
fn merged(mut stored: Vec<PlacedMessage>, tail: Vec<PlacedMessage>) -> Vec<PlacedMessage> {
    stored.extend(tail);
    stored.sort_by(|a, b| a.position.cmp(&b.position));
    stored.dedup_by(|a, b| a.position == b.position);
    stored
}

/// Fills a page that ends where the store ends with the tail.
fn appended(page: HistoryAnswer, tail: Vec<PlacedMessage>, limit: usize) -> HistoryAnswer {
    // Behind a full page the store has more: there the tail's turn has not come.
    let last = page.messages.last().filter(|_| page.more && page.messages.len() >= limit);
    let last = last.map(|message| message.position.clone());
    let within = |message: &PlacedMessage| last.as_ref().is_none_or(|last| message.position <= *last);
    let more = page.more;
    let mut messages = merged(page.messages, tail.into_iter().filter(within).collect());
    let more = more || messages.len() > limit;
    messages.truncate(limit);
    HistoryAnswer { messages, more }
}

/// Cuts a page to what one frame may hold: at the ends that the client asks on from, so that what it wanted stays.
fn within_bytes(mut page: HistoryAnswer, range: &HistoryRange) -> HistoryAnswer {
    let Some(last) = page.messages.len().checked_sub(1) else { return page };
    let wanted = match range {
        HistoryRange::Newest | HistoryRange::Before(_) => last,
        HistoryRange::After(_) => 0,
        HistoryRange::Around(id) => page.messages.iter().position(|one| is(one, id)).unwrap_or(last),
    };
    let sizes: Vec<_> = page.messages.iter().map(|one| one.message.get().len() + 128).collect();
    let fits = fitting(&sizes, wanted);
    page.more |= fits.len() < sizes.len();
    page.messages.truncate(fits.end);
    page.messages.drain(..fits.start);
    page
}

/// Returns which messages fit into one frame: the wanted one in any case, and its neighbours on both sides by turns.
fn fitting(sizes: &[usize], wanted: usize) -> Range<usize> {
    let (mut fits, mut bytes) = (wanted..wanted + 1, sizes[wanted]);
    loop {
        let has_room = |at: &usize| sizes.get(*at).is_some_and(|size| bytes + size <= PAGE_BYTES_MAX);
        let older = fits.start.checked_sub(1).filter(has_room);
        let newer = Some(fits.end).filter(has_room);
        let older_is_next = wanted - fits.start < fits.end - wanted;
        match (older, newer) {
            (Some(at), newer) if older_is_next || newer.is_none() => {
                bytes += sizes[at];
                fits.start = at;
            }
            (_, Some(at)) => {
                bytes += sizes[at];
                fits.end = at + 1;
            }
            _ => return fits,
        }
    }
}

fn is(placed: &PlacedMessage, id: &MessageId) -> bool {
    serde_json::from_str::<Message>(placed.message.get()).is_ok_and(|message| message.id == *id)
}
