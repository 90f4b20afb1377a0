//! What the log holds and what travels between processes: one durable fact of one channel.
//!
//! An envelope never contains its position: only the broker assigns that. The body is kept as canonical JSON,
//! so that a message is serialised once in its life and spliced from then on.

use crate::changes::{MessageDeletion, MessageUpdate, ReactionChange};
use crate::ids::{ChannelId, ClientMsgId, MessageId, Seq, UserId};
use crate::message::{Message, Sender};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What kind of fact an envelope holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody wrote a message; the body is a [`Message`].
    Message,
    /// The channel was made or its description changed; the body is a [`ChannelFacts`].
    ChannelUpdated,
    /// Somebody became a member or changed his role; the body is a [`MemberFacts`].
    MemberAdded,
    /// Somebody is no member any more; the body is a [`MemberFacts`].
    MemberRemoved,
    /// A message was edited, pinned or unpinned; the body is a [`MessageUpdate`].
    MessageUpdated,
    /// A message was deleted; the body is a [`MessageDeletion`].
    MessageDeleted,
    /// A reaction was added or removed; the body is a [`ReactionChange`].
    ReactionUpdated,
}

/// One durable fact of one channel, as it is logged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope {
    /// What the body is.
    pub kind: Kind,
    /// The channel whose history this belongs to.
    pub channel_id: ChannelId,
    /// Who caused it.
    pub by: UserId,
    /// When the first process took it on.
    pub at: Timestamp,
    /// The message's id, or an id made for the event.
    pub message_id: MessageId,
    /// The client's own name for the command, when it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_msg_id: Option<ClientMsgId>,
    /// Hash of the client's own fields: the same `client_msg_id` with another hash is a conflict.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub content_hash: u32,
    /// The fact itself as canonical JSON: a non-empty object made by this crate.
    pub body: Box<RawValue>,
}

fn is_zero(hash: &u32) -> bool {
    *hash == 0
}

/// A channel as its members see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelFacts {
    /// The display name.
    pub name: String,
    /// For example `GENERAL` or `SHIPMENT`.
    pub channel_type: ChannelType,
}

/// What a channel is for, in the old application's spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the vocabulary of the product page")]
pub enum ChannelType {
    General,
    Shipment,
    Emergency,
    Compliance,
    Direct,
    Company,
    Driver,
    Customer,
}

/// What a member may do in a channel, rising.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the vocabulary of the product page")]
pub enum Role {
    Member,
    Moderator,
    Admin,
    Owner,
}

/// A member of a channel, as known when the event was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// The person.
    pub user: Sender,
    /// His role from now on (or until now).
    pub role: Role,
}

/// The fact of an envelope, typed.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is documented at its kind")]
pub enum Fact {
    Message(Box<Message>),
    ChannelUpdated(ChannelFacts),
    MemberAdded(MemberFacts),
    MemberRemoved(MemberFacts),
    MessageUpdated(Box<MessageUpdate>),
    MessageDeleted(MessageDeletion),
    ReactionUpdated(ReactionChange),
}

impl Fact {
    /// Returns the message that this is about, where it is about one.
    pub fn message_id(&self) -> Option<&MessageId> {
        match self {
            Self::Message(message) => Some(&message.id),
            Self::MessageUpdated(update) => Some(&update.message.id),
            Self::MessageDeleted(deletion) => Some(&deletion.message_id),
            Self::ReactionUpdated(change) => Some(&change.message_id),
            Self::ChannelUpdated(_) | Self::MemberAdded(_) | Self::MemberRemoved(_) => None,
        }
    }
}

/// Bytes that are no envelope of this version.
#[derive(Debug, thiserror::Error)]
#[error("not an envelope")]
pub struct EnvelopeError(#[from] serde_json::Error);

impl Envelope {
    /// Makes the envelope of a message; the hash covers what the client itself said.
    ///
    /// # Errors
    /// [`EnvelopeError`] when the message cannot be written as JSON (a coordinate that is no number).
    pub fn message(message: &Message, content_hash: u32) -> Result<Self, EnvelopeError> {
        Ok(Self {
            kind: Kind::Message,
            channel_id: message.channel_id.clone(),
            by: message.sender.id.clone(),
            at: message.created_at,
            message_id: message.id.clone(),
            client_msg_id: message.client_msg_id.clone(),
            content_hash,
            body: serde_json::value::to_raw_value(message)?,
        })
    }

    /// Returns the bytes for the log.
    ///
    /// # Errors
    /// [`EnvelopeError`] never in practice: every field was checked when it was made.
    pub fn encode(&self) -> Result<Vec<u8>, EnvelopeError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Reads what [`Envelope::encode`] wrote.
    ///
    /// # Errors
    /// [`EnvelopeError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Returns the fact, typed.
    ///
    /// # Errors
    /// [`EnvelopeError`] when the body does not fit its kind.
    pub fn fact(&self) -> Result<Fact, EnvelopeError> {
        let body = self.body.get();
        Ok(match self.kind {
            Kind::Message => Fact::Message(serde_json::from_str(body)?),
            Kind::ChannelUpdated => Fact::ChannelUpdated(serde_json::from_str(body)?),
            Kind::MemberAdded => Fact::MemberAdded(serde_json::from_str(body)?),
            Kind::MemberRemoved => Fact::MemberRemoved(serde_json::from_str(body)?),
            Kind::MessageUpdated => Fact::MessageUpdated(serde_json::from_str(body)?),
            Kind::MessageDeleted => Fact::MessageDeleted(serde_json::from_str(body)?),
            Kind::ReactionUpdated => Fact::ReactionUpdated(serde_json::from_str(body)?),
        })
    }

    /// Returns the message that this is about; for what is about none, the event's own id.
    pub fn about(&self) -> MessageId {
        let own = || self.message_id.clone();
        match self.kind {
            Kind::Message => own(),
            _ => self.fact().ok().and_then(|fact| fact.message_id().cloned()).unwrap_or_else(own),
        }
    }

    /// Returns the key by which a broker recognises a second append of the same command.
    pub fn dedup_key(&self) -> u128 {
        dedup_key(&self.channel_id, &self.by, self.client_msg_id.as_ref(), &self.message_id)
    }
}

/// Returns the key by which a broker recognises a second append: by the client's own id where it gave one.
pub fn dedup_key(
    channel: &ChannelId,
    sender: &UserId,
    client_msg_id: Option<&ClientMsgId>,
    message_id: &MessageId,
) -> u128 {
    let id = client_msg_id.map_or(message_id.as_str(), ClientMsgId::as_str);
    crate::subjects::dedup_key([channel.as_str(), sender.as_str(), id])
}

/// An envelope with the place that the broker gave it; `prev` is the channel's event before it, 0 for none.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "said above")]
pub struct Logged {
    pub seq: Seq,
    pub prev: Seq,
    pub envelope: Envelope,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_survives_the_log() {
        let facts = MemberFacts {
            user: Sender { id: UserId::parse("42").unwrap(), name: "Dana".into(), email: String::new() },
            role: Role::Owner,
        };
        let envelope = Envelope {
            kind: Kind::MemberAdded,
            channel_id: ChannelId::parse("general").unwrap(),
            by: UserId::parse("42").unwrap(),
            at: Timestamp::from_unix_ms(1),
            message_id: MessageId::parse("m").unwrap(),
            client_msg_id: None,
            content_hash: 0,
            body: serde_json::value::to_raw_value(&facts).unwrap(),
        };
        let read = Envelope::decode(&envelope.encode().unwrap()).unwrap();
        assert_eq!(read.fact().unwrap(), Fact::MemberAdded(facts));
        assert_eq!(read.dedup_key(), envelope.dedup_key());
        assert!(Envelope::decode(b"{}").is_err());
    }
}
