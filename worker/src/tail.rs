//! What the log has of a channel and the store may not have yet.

use crate::persistence::PERSISTENCE;
use crate::serving::unavailable;
use broker::{Broker, ReadLimit};
use protocol::codes::ErrorCode;
use protocol::envelope::{Envelope, Fact};
use protocol::ids::{ChannelId, Position, Seq};
use protocol::subjects::Slot;
use store::Store;

/// One read of the log.
const READ: ReadLimit = ReadLimit { entries: 1_000, bytes: 1024 * 1024 };

/// Reads of one tail; a store that is further behind than this is as good as down.
const READS_MAX: usize = 64;

/// The end of a channel's log that the store may lack, in part or whole: where several workers persist, one of them
/// may have stored what comes later.
pub(crate) struct Tail {
    /// Ascending, each with its place; what cannot be read is left out.
    pub(crate) events: Vec<(Position, Envelope)>,
}

impl Tail {
    /// Reads it, up to the log's head as it is now.
    pub(crate) async fn read(broker: &Broker, store: &Store, channel: &ChannelId) -> Result<Self, ErrorCode> {
        let head = broker.head(channel).await.map_err(|error| error.code())?;
        let stored = store.head(channel).await.map_err(|error| unavailable(&error))?;
        // The store may have other lives of the log; of this one it has nothing then.
        let mut after: Seq = stored.filter(|at| at.epoch == head.epoch).map_or(0, |at| at.seq);
        let settled = broker.settled(PERSISTENCE, Slot::of(channel).shard).await;
        if let Some(settled) = settled.map_err(|error| error.code())? {
            after = after.min(settled);
        }
        let mut events = Vec::new();
        for _ in 0..READS_MAX {
            if after >= head.seq {
                return Ok(Self { events });
            }
            let page = broker.read(channel, after, READ).await.map_err(|error| error.code())?;
            after = page.entries.last().map_or(page.head, |entry| entry.seq);
            let placed = page.entries.into_iter().filter_map(|entry| {
                let position = Position { epoch: head.epoch.clone(), seq: entry.seq };
                Some((position, Envelope::decode(&entry.envelope).ok()?))
            });
            events.extend(placed);
        }
        Err(ErrorCode::Unavailable)
    }

    /// Returns the facts, ascending.
    pub(crate) fn facts(&self) -> impl DoubleEndedIterator<Item = (&Position, &Envelope, Fact)> {
        self.events
            .iter()
            .filter_map(|(position, envelope)| Some((position, envelope, envelope.fact().ok()?)))
    }
}
