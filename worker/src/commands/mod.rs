//! What needs state to be decided: replies, resends, emergencies, and whatever becomes of a message.
//!
//! Several workers may decide for one shard at once. What makes that right is the log: its dedup key makes one
//! of two equal appends a duplicate, whoever looked before; and what is appended says how something is from now on,
//! so that of two decisions the later one holds.

mod changing;
mod reading;
mod sending;
mod turns;

pub(crate) use reading::Reads;

use crate::serving::{Answers, unavailable};
use crate::tail::{Event, Tail};
use broker::{Append, Appended, Broker};
use bytes::Bytes;
use protocol::codes::ErrorCode;
use protocol::envelope::{Envelope, Fact, Role};
use protocol::ids::{ChannelId, ClientMsgId, MessageId, Seq, UserId};
use protocol::message::Message;
use protocol::requests::{Answer, Command, CommandAnswer, CommandRequest};
use std::sync::Arc;
use store::{Store, StoredMessage};
use turns::Turns;

/// Decides for any shard; clones share their turns.
#[derive(Clone)]
pub(crate) struct Commands {
    broker: Broker,
    store: Store,
    turns: Arc<Turns>,
}

impl Commands {
    pub(crate) fn new(broker: Broker, store: Store) -> Self {
        Self { broker, store, turns: Arc::default() }
    }
}

impl Answers for Commands {
    type Question = CommandRequest;
    type Reply = CommandAnswer;
    const ROLE: &'static str = "commands";

    async fn answer(&self, request: CommandRequest) -> Answer<CommandAnswer> {
        let CommandRequest { sender, message_id, at, command } = request;
        let by = By { sender, event_id: message_id, at };
        match command {
            Command::Send(send) => self.send(by, *send).await,
            Command::Change(change) => self.change(by, *change).await,
        }
    }
}

/// Who commands, under which new id, and when.
struct By {
    sender: protocol::message::Sender,
    event_id: MessageId,
    at: protocol::time::Timestamp,
}

impl Commands {
    /// Appends an event; `None` when something is expected and the channel's head has moved.
    async fn append(&self, envelope: Envelope, expect: Option<Seq>) -> Answer<Option<CommandAnswer>> {
        let bytes = envelope.encode().map_err(|_| ErrorCode::Internal)?;
        let channel_id = envelope.channel_id.clone();
        let append = Append {
            channel: channel_id.clone(),
            dedup_key: envelope.dedup_key(),
            envelope: Bytes::from(bytes),
            expect,
        };
        match self.broker.append(append).await.map_err(|error| error.code())? {
            Appended::New { position } => {
                let message_id = envelope.about();
                Ok(Some(CommandAnswer { channel_id, position, message_id, duplicate: false }))
            }
            Appended::Duplicate { position, entry } => {
                let stored = Envelope::decode(&entry.envelope).map_err(|_| ErrorCode::Internal)?;
                let (message_id, content_hash) = (stored.about(), stored.content_hash);
                let sent = store::Sent { position, message_id, content_hash };
                same(channel_id, sent, envelope.content_hash).map(Some)
            }
            Appended::Moved { .. } => Ok(None),
        }
    }

    /// Returns a user's role in a channel; the newest word counts, and the tail is newer than the store.
    async fn role(&self, channel: &ChannelId, user: &UserId, tail: &Tail) -> Result<Option<Role>, ErrorCode> {
        let lately = tail.facts().rev().find_map(|(_, _, fact)| match fact {
            Fact::MemberAdded(member) if member.user.id == *user => Some(Some(member.role)),
            Fact::MemberRemoved(member) if member.user.id == *user => Some(None),
            _ => None,
        });
        match lately {
            Some(role) => Ok(role),
            None => self.store.membership(channel, user).await.map_err(|error| unavailable(&error)),
        }
    }

    /// Looks up what a client's own id was logged as, however long ago.
    async fn sent(
        &self,
        (channel, by): (&ChannelId, &UserId),
        id: Option<&ClientMsgId>,
        tail: &Tail,
    ) -> Result<Option<store::Sent>, ErrorCode> {
        let Some(id) = id else { return Ok(None) };
        let is_it = |envelope: &Envelope| envelope.by == *by && envelope.client_msg_id.as_ref() == Some(id);
        if let Some(Event { position, envelope, .. }) =
            tail.events.iter().find(|event| is_it(&event.envelope))
        {
            let (message_id, content_hash) = (envelope.about(), envelope.content_hash);
            return Ok(Some(store::Sent { position: position.clone(), message_id, content_hash }));
        }
        self.store.sent(channel, by, id).await.map_err(|error| unavailable(&error))
    }

    /// Returns a message of a channel as it is now, with its place. One in another channel is as unknown as none: a
    /// stranger must not learn that it exists.
    async fn message(
        &self,
        id: &MessageId,
        channel: &ChannelId,
        tail: &Tail,
    ) -> Result<StoredMessage, ErrorCode> {
        let lately = tail.facts().find_map(|(position, _, fact)| match fact {
            Fact::Message(message) if message.id == *id => {
                Some(StoredMessage { position: position.clone(), message: Message::clone(message) })
            }
            _ => None,
        });
        let found = match lately {
            Some(found) => Some(found),
            None => self.store.message(id).await.map_err(|error| unavailable(&error))?,
        };
        let mut found =
            found.filter(|found| found.message.channel_id == *channel).ok_or(ErrorCode::UnknownMessage)?;
        tail.bring_up_to_date(&mut found.message);
        Ok(found)
    }
}

/// Answers a resend with what it was the first time; the same id for something else is a conflict.
fn same(channel_id: ChannelId, sent: store::Sent, content_hash: u32) -> Answer<CommandAnswer> {
    if sent.content_hash != content_hash {
        return Err(ErrorCode::Conflict);
    }
    let store::Sent { position, message_id, .. } = sent;
    Ok(CommandAnswer { channel_id, position, message_id, duplicate: true })
}
