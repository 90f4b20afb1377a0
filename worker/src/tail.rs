//! What the log has of a channel and the store may not have yet.

use crate::persistence::PERSISTENCE;
use crate::serving::unavailable;
use broker::{Broker, ReadError, ReadLimit};
use protocol::codes::ErrorCode;
use protocol::envelope::{Envelope, Fact};
use protocol::ids::{ChannelId, MessageId, Position, Seq};
use protocol::message::Message;
use protocol::subjects::Slot;
use runtime::patience;
use std::collections::BTreeSet;
use std::time::Duration;
use store::{Store, StoreError};

/// One read of the log.
const READ: ReadLimit = ReadLimit { entries: 1_000, bytes: 1024 * 1024 };

/// Reads of one tail; a store that is further behind than this is as good as down.
const READS_MAX: usize = 64;

/// How long a silent log is asked. Reliability page: an election takes up to 8 s. A command waits for 30 s, and has to
/// be appended still.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why there is no tail.
#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error("the log did not answer: {0}")]
    Log(#[from] ReadError),
    #[error("the store did not answer: {0}")]
    Store(#[from] StoreError),
    #[error("the store is too far behind")]
    TooMuch,
}

/// The end of a channel's log that the store may lack, in part or whole: where several workers persist, one of them
/// may have stored what comes later.
pub(crate) struct Tail {
    /// Where the channel stood.
    pub(crate) head: Position,
    /// Ascending; what cannot be read is left out.
    pub(crate) events: Vec<Event>,
}

/// What a tail has of one entry.
pub(crate) struct Event {
    pub(crate) position: Position,
    pub(crate) envelope: Envelope,
    /// Of a body that can be read.
    fact: Option<Fact>,
}

impl Tail {
    /// Reads it, up to the log's head as it is now. A log that is silent is asked again: whoever commands after an
    /// outage does so while leaders are elected.
    pub(crate) async fn read(broker: &Broker, store: &Store, channel: &ChannelId) -> Result<Self, ErrorCode> {
        let passes = |missing: &Missing| matches!(missing, Missing::Log(ReadError::Failed(_)));
        let read = patience::patiently(PATIENCE, passes, || Self::read_once(broker, store, channel));
        read.await.map_err(|missing| match missing {
            Missing::Log(error) => error.code(),
            Missing::Store(error) => unavailable(&error),
            Missing::TooMuch => ErrorCode::Unavailable,
        })
    }

    async fn read_once(broker: &Broker, store: &Store, channel: &ChannelId) -> Result<Self, Missing> {
        let head = broker.head(channel).await?;
        let stored = store.head(channel).await?;
        // The store may have other lives of the log; of this one it has nothing then.
        let mut after: Seq = stored.filter(|at| at.epoch == head.epoch).map_or(0, |at| at.seq);
        if let Some(settled) = broker.settled(PERSISTENCE, Slot::of(channel).shard).await? {
            after = after.min(settled);
        }
        let mut events = Vec::new();
        for _ in 0..READS_MAX {
            if after >= head.seq {
                return Ok(Self { head, events });
            }
            let page = broker.read(channel, after, READ).await?;
            after = page.entries.last().map_or(page.head, |entry| entry.seq);
            let placed = page.entries.into_iter().filter_map(|entry| {
                let position = Position { epoch: head.epoch.clone(), seq: entry.seq };
                let envelope = Envelope::decode(&entry.envelope).ok()?;
                Some(Event { position, fact: envelope.fact().ok(), envelope })
            });
            events.extend(placed);
        }
        Err(Missing::TooMuch)
    }

    /// Brings a message of the channel up to date with what became of it lately. What the store knew already is told
    /// once more, and ends as the newest says.
    pub(crate) fn bring_up_to_date(&self, message: &mut Message) {
        for (_, envelope, fact) in self.facts() {
            if fact.message_id() != Some(&message.id) {
                continue;
            }
            match fact {
                Fact::MessageUpdated(update) => message.update(update),
                Fact::MessageDeleted(_) => message.bury(envelope.at),
                Fact::ReactionUpdated(change) => message.react(&envelope.by, change),
                Fact::Message(_)
                | Fact::ChannelUpdated(_)
                | Fact::MemberAdded(_)
                | Fact::MemberRemoved(_) => {}
            }
        }
    }

    /// Returns the messages of which it says that something became.
    pub(crate) fn changed(&self) -> BTreeSet<MessageId> {
        let changes = self.facts().filter(|(_, _, fact)| !matches!(fact, Fact::Message(_)));
        changes.filter_map(|(_, _, fact)| fact.message_id().cloned()).collect()
    }

    /// Returns the facts, ascending.
    pub(crate) fn facts(&self) -> impl DoubleEndedIterator<Item = (&Position, &Envelope, &Fact)> {
        self.events.iter().filter_map(|event| Some((&event.position, &event.envelope, event.fact.as_ref()?)))
    }
}
