//! What happened in a channel after a position that a gateway's log does not reach back to.
//!
//! Architecture Invariant: whatever the log still has is read from the log. The store lags behind it and, written by
//! several workers, may have holes for a moment; what was purged from the log is in the store for
//! certain, unless it was put aside.

use crate::serving::{Answers, unavailable};
use broker::{Broker, Entry, LogPage, ReadLimit};
use protocol::codes::ErrorCode;
use protocol::ids::{ChannelId, Position, Seq};
use protocol::limits::PAGE_BYTES_MAX;
use protocol::requests::{Answer, EventsAnswer, EventsPage, EventsRequest, PlacedEvent};
use serde_json::value::RawValue;
use store::{PageLimit, Store, StoredEvent};

/// Events of one answer. Chosen: as many as a gateway reads from the log for a page.
const ENTRIES: usize = 512;

pub(crate) struct Events {
    broker: Broker,
    store: Store,
}

impl Events {
    pub(crate) fn new(broker: Broker, store: Store) -> Self {
        Self { broker, store }
    }
}

impl Answers for Events {
    type Question = EventsRequest;
    type Reply = EventsAnswer;
    const ROLE: &'static str = "events";

    async fn answer(&self, request: EventsRequest) -> Answer<EventsAnswer> {
        let EventsRequest { channel_id: channel, after, head: wanted } = request;
        let head = self.broker.head(&channel).await.map_err(|error| error.code())?;
        if head.epoch != wanted.epoch || head.seq < wanted.seq {
            tracing::warn!(%channel, asker = ?wanted, here = ?head, "an asker knows another log than this worker");
            return Err(ErrorCode::Unavailable);
        }
        if after.epoch == head.epoch {
            let known = after.seq <= head.seq;
            return if known { self.newest_life(&channel, after).await } else { Ok(EventsAnswer::Unknown) };
        }
        let Some(stored) = self.stored(&channel, &after).await? else { return Ok(EventsAnswer::Unknown) };
        let life = stored.first().map_or(after.epoch, |event| event.position.epoch.clone());
        if life > head.epoch {
            // The store knows a life that this worker's log has not come to.
            return Err(ErrorCode::Unavailable);
        }
        match stored_page(stored) {
            Some(page) if life < head.epoch => Ok(page),
            _ => self.newest_life(&channel, Position { seq: 0, ..head }).await,
        }
    }
}

impl Events {
    /// What happened in the life that the log lives now: what was purged comes out of the store.
    async fn newest_life(&self, channel: &ChannelId, after: Position) -> Answer<EventsAnswer> {
        let page = self.logged(channel, after.seq).await?;
        if page.floor <= after.seq {
            return logged_page(after, page);
        }
        let Some(mut stored) = self.stored(channel, &after).await? else { return Ok(EventsAnswer::Unknown) };
        stored.retain(|event| event.position.epoch == after.epoch && event.position.seq <= page.floor);
        if let Some(page) = stored_page(stored) {
            return Ok(page);
        }
        // Nothing that was purged is missing: the log goes on from its floor.
        let after = Position { seq: page.floor, ..after };
        let page = self.logged(channel, after.seq).await?;
        logged_page(after, page)
    }

    async fn logged(&self, channel: &ChannelId, after: Seq) -> Answer<LogPage> {
        let limit = ReadLimit { entries: ENTRIES, bytes: PAGE_BYTES_MAX };
        self.broker.read(channel, after, limit).await.map_err(|error| error.code())
    }

    async fn stored(&self, channel: &ChannelId, after: &Position) -> Answer<Option<Vec<StoredEvent>>> {
        let limit = PageLimit { entries: ENTRIES, bytes: PAGE_BYTES_MAX };
        let page = self.store.events(channel, after, limit).await.map_err(|error| unavailable(&error))?;
        Ok(page.map(|page| page.events))
    }
}

/// Makes a page of the first life among what is stored, behind which the log goes on; `None` when nothing is.
fn stored_page(stored: Vec<StoredEvent>) -> Option<EventsAnswer> {
    let epoch = stored.first()?.position.epoch.clone();
    let (mut events, mut reached) = (Vec::new(), 0);
    for StoredEvent { position, envelope } in stored.into_iter().take_while(|one| one.position.epoch == epoch)
    {
        reached = position.seq;
        events.extend(placed(reached, envelope));
    }
    Some(EventsAnswer::Page(EventsPage { epoch, events, reached, more: true }))
}

/// Makes a page of what the log has.
fn logged_page(after: Position, page: LogPage) -> Answer<EventsAnswer> {
    let last = page.entries.last().map(|entry| entry.seq);
    let reached = match (last, page.end) {
        (last, true) => page.head.max(last.unwrap_or(after.seq)),
        (Some(last), false) => last,
        (None, false) => return Err(ErrorCode::Unavailable),
    };
    // It was purged beyond the position while it was read.
    if page.floor > after.seq {
        return Err(ErrorCode::Unavailable);
    }
    let read = |entry: Entry| placed(entry.seq, entry.envelope.to_vec());
    let events = page.entries.into_iter().filter_map(read).collect();
    Ok(EventsAnswer::Page(EventsPage { epoch: after.epoch, events, reached, more: !page.end }))
}

/// Takes an event as it was logged; what is no JSON can be read by nobody.
fn placed(seq: Seq, envelope: Vec<u8>) -> Option<PlacedEvent> {
    let envelope = RawValue::from_string(String::from_utf8(envelope).ok()?).ok()?;
    Some(PlacedEvent { seq, envelope })
}
