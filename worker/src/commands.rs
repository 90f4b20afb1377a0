//! What needs state to be decided: replies, resends, emergencies.
//!
//! Several workers may decide for one shard at once. What makes that right is the log: its dedup key makes one
//! of two equal appends a duplicate, whoever looked before.

use crate::serving::{Answers, unavailable};
use crate::tail::Tail;
use broker::{Append, Appended, Broker};
use bytes::Bytes;
use protocol::codes::ErrorCode;
use protocol::envelope::{Envelope, Fact};
use protocol::frames::send::SendMessage;
use protocol::ids::{ChannelId, MessageId, UserId};
use protocol::requests::{Answer, Command, CommandAnswer, CommandRequest};
use store::Store;

pub(crate) struct Commands {
    broker: Broker,
    store: Store,
}

impl Commands {
    pub(crate) fn new(broker: Broker, store: Store) -> Self {
        Self { broker, store }
    }
}

impl Answers for Commands {
    type Question = CommandRequest;
    type Reply = CommandAnswer;
    const ROLE: &'static str = "commands";

    async fn answer(&self, request: CommandRequest) -> Answer<CommandAnswer> {
        match &request.command {
            Command::Send(send) => {
                let tail = Tail::read(&self.broker, &self.store, &send.channel_id).await?;
                let send = SendMessage::clone(send);
                self.send(request, send, &tail).await
            }
        }
    }
}

impl Commands {
    async fn send(&self, request: CommandRequest, send: SendMessage, tail: &Tail) -> Answer<CommandAnswer> {
        if !self.is_member(&send.channel_id, &request.sender.id, tail).await? {
            return Err(ErrorCode::PermissionDenied);
        }
        let content_hash = send.content_hash();
        if send.retry
            && let Some(sent) = self.sent(&send, &request.sender.id, tail).await?
        {
            return same(sent, content_hash);
        }
        let thread = match &send.reply_to {
            Some(parent) => Some(self.thread_of(parent, &send.channel_id, tail).await?),
            None => None,
        };
        let CommandRequest { sender, message_id, at, .. } = request;
        let message = send.into_message(message_id, sender, at, thread);
        let envelope = Envelope::message(&message, content_hash).map_err(|_| ErrorCode::Internal)?;
        self.append(envelope).await
    }

    async fn append(&self, envelope: Envelope) -> Answer<CommandAnswer> {
        let bytes = envelope.encode().map_err(|_| ErrorCode::Internal)?;
        let append = Append {
            channel: envelope.channel_id.clone(),
            dedup_key: envelope.dedup_key(),
            envelope: Bytes::from(bytes),
            expect: None,
        };
        match self.broker.append(append).await.map_err(|error| error.code())? {
            Appended::New { position } => {
                Ok(CommandAnswer { position, message_id: envelope.message_id, duplicate: false })
            }
            Appended::Duplicate { position, entry } => {
                let stored = Envelope::decode(&entry.envelope).map_err(|_| ErrorCode::Internal)?;
                let (message_id, content_hash) = (stored.message_id, stored.content_hash);
                same(store::Sent { position, message_id, content_hash }, envelope.content_hash)
            }
            // Only an append with `expect` is answered so.
            Appended::Moved { .. } => Err(ErrorCode::Internal),
        }
    }

    async fn is_member(&self, channel: &ChannelId, user: &UserId, tail: &Tail) -> Result<bool, ErrorCode> {
        // The newest word counts, and the tail is newer than the store.
        let lately = tail.facts().rev().find_map(|(_, _, fact)| match fact {
            Fact::MemberAdded(member) if member.user.id == *user => Some(true),
            Fact::MemberRemoved(member) if member.user.id == *user => Some(false),
            _ => None,
        });
        match lately {
            Some(member) => Ok(member),
            None => {
                let role = self.store.membership(channel, user).await;
                Ok(role.map_err(|error| unavailable(&error))?.is_some())
            }
        }
    }

    /// Looks up what this client message was logged as, however long ago.
    async fn sent(
        &self,
        send: &SendMessage,
        by: &UserId,
        tail: &Tail,
    ) -> Result<Option<store::Sent>, ErrorCode> {
        let Some(id) = &send.client_msg_id else { return Ok(None) };
        let lately = tail.events.iter().find(|(_, e)| e.by == *by && e.client_msg_id.as_ref() == Some(id));
        if let Some((position, envelope)) = lately {
            let (message_id, content_hash) = (envelope.message_id.clone(), envelope.content_hash);
            return Ok(Some(store::Sent { position: position.clone(), message_id, content_hash }));
        }
        self.store.sent(&send.channel_id, by, id).await.map_err(|error| unavailable(&error))
    }

    /// Returns the thread that a reply belongs to: its parent's, else the parent starts one.
    async fn thread_of(
        &self,
        parent: &MessageId,
        channel: &ChannelId,
        tail: &Tail,
    ) -> Result<MessageId, ErrorCode> {
        let lately = tail.facts().find_map(|(_, _, fact)| match fact {
            Fact::Message(message) if message.id == *parent => Some(message.thread_id),
            _ => None,
        });
        if let Some(thread) = lately {
            return Ok(thread.unwrap_or_else(|| parent.clone()));
        }
        let stored = self.store.message(parent).await.map_err(|error| unavailable(&error))?;
        // A parent in another channel is as unknown as none: a stranger must not learn that it exists.
        let stored =
            stored.filter(|message| message.channel_id == *channel).ok_or(ErrorCode::UnknownMessage)?;
        Ok(stored.thread_id.unwrap_or_else(|| parent.clone()))
    }
}

/// Answers a resend with what it was the first time; the same id for something else is a conflict.
fn same(sent: store::Sent, content_hash: u32) -> Answer<CommandAnswer> {
    if sent.content_hash != content_hash {
        return Err(ErrorCode::Conflict);
    }
    Ok(CommandAnswer { position: sent.position, message_id: sent.message_id, duplicate: true })
}
