//! A chat message as the log, the store and every client have it.

use crate::changes::Reaction;
use crate::ids::{ChannelId, ClientMsgId, MessageId, UserId};
use crate::limits;
use crate::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// What a message is, in the old application's spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the vocabulary of the product page")]
pub enum MessageType {
    #[default]
    Text,
    File,
    Image,
    Voice,
    Location,
    System,
    Emergency,
}

/// How urgent a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the vocabulary of the product page")]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
    Urgent,
}

/// Who wrote a message, as it was known when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The user.
    pub id: UserId,
    /// The display name.
    pub name: String,
    /// Empty unless the operator shows addresses.
    pub email: String,
}

/// A JSON object of the client's own, kept as written.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Metadata(Box<RawValue>);

impl Metadata {
    /// Returns the object as JSON.
    pub fn as_json(&self) -> &str {
        self.0.get()
    }
}

impl Default for Metadata {
    fn default() -> Self {
        let empty = serde_json::Map::new();
        #[expect(clippy::expect_used, reason = "an empty object is valid JSON")]
        Self(serde_json::value::to_raw_value(&empty).expect("an empty object is valid JSON"))
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::check(raw).map_err(serde::de::Error::custom)
    }
}

/// Why a value is no metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// More than [`limits::METADATA_BYTES_MAX`].
    #[error("metadata is too large")]
    TooLarge,
    /// No JSON object, or one with text that no other format could carry.
    #[error("metadata is not an object")]
    NotAnObject,
    /// More than [`limits::METADATA_LEVELS_MAX`].
    #[error("metadata is nested too deeply")]
    TooDeep,
}

impl Metadata {
    /// Takes a value as metadata, as written.
    ///
    /// # Errors
    /// [`MetadataError`] when the value is none.
    pub fn check(raw: Box<RawValue>) -> Result<Self, MetadataError> {
        let json = raw.get();
        if json.len() > limits::METADATA_BYTES_MAX {
            return Err(MetadataError::TooLarge);
        }
        // Parsed whole, since a raw value may hold escapes that no later transcoding could read.
        let object: serde_json::Map<_, _> =
            serde_json::from_str(json).map_err(|_| MetadataError::NotAnObject)?;
        let deepest = object.values().map(levels).max().unwrap_or(0) + 1;
        if deepest > limits::METADATA_LEVELS_MAX {
            return Err(MetadataError::TooDeep);
        }
        Ok(Self(raw))
    }
}

fn levels(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        serde_json::Value::Object(map) => 1 + map.values().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}

/// A message. The classic keys are always there (null when empty), the others only when they hold something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the protocol page's fields, under their own names")]
pub struct Message {
    pub id: MessageId,
    pub channel_id: ChannelId,
    pub sender: Sender,
    pub content: String,
    pub message_type: MessageType,
    pub created_at: Timestamp,
    pub reply_to: Option<MessageId>,
    pub thread_id: Option<MessageId>,
    pub is_emergency: bool,
    pub priority: Priority,
    pub metadata: Metadata,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_msg_id: Option<ClientMsgId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentioned_users: Vec<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_pinned: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reaction>,
}

/// The part of a message that classic sockets know, in the old consumer's order.
#[derive(Debug, Serialize)]
pub struct ClassicMessage<'a> {
    id: &'a MessageId,
    channel_id: &'a ChannelId,
    sender: &'a Sender,
    content: &'a str,
    message_type: MessageType,
    created_at: Timestamp,
    reply_to: Option<&'a MessageId>,
    thread_id: Option<&'a MessageId>,
    is_emergency: bool,
    priority: Priority,
    metadata: &'a Metadata,
}

impl Message {
    /// Returns the view that classic sockets get.
    pub fn classic(&self) -> ClassicMessage<'_> {
        ClassicMessage {
            id: &self.id,
            channel_id: &self.channel_id,
            sender: &self.sender,
            content: &self.content,
            message_type: self.message_type,
            created_at: self.created_at,
            reply_to: self.reply_to.as_ref(),
            thread_id: self.thread_id.as_ref(),
            is_emergency: self.is_emergency,
            priority: self.priority,
            metadata: &self.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_a_bounded_object_kept_as_written() {
        let read = |json: &str| serde_json::from_str::<Metadata>(json);
        assert_eq!(read(r#"{"b":1.0, "a":2}"#).unwrap().as_json(), r#"{"b":1.0, "a":2}"#);
        assert!(read("[]").is_err());
        assert!(read(r#"{"a":"\ud800"}"#).is_err(), "a lone surrogate cannot be transcoded");
        let nested = |levels: usize| format!("{}{}{}", r#"{"a":"#.repeat(levels), 1, "}".repeat(levels));
        assert!(read(&nested(limits::METADATA_LEVELS_MAX)).is_ok());
        assert!(read(&nested(limits::METADATA_LEVELS_MAX + 1)).is_err());
        assert!(read(&format!(r#"{{"a":"{}"}}"#, "x".repeat(limits::METADATA_BYTES_MAX))).is_err());
    }
}
