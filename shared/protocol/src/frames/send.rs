//! `send_message`: as the client writes it, and as it is once checked.

use super::error::FrameError;
use crate::claims::UserIdClaim;
use crate::ids::{ChannelId, ClientMsgId, MessageId, UserId};
use crate::limits;
use crate::message::{Message, MessageType, Metadata, MetadataError, Priority, Sender};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::Xxh3;

/// A checked `send_message`: content is stripped and within its limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the protocol page's fields, under their own names")]
pub struct SendMessage {
    pub channel_id: ChannelId,
    pub content: String,
    pub message_type: MessageType,
    pub priority: Priority,
    pub metadata: Metadata,
    pub reply_to: Option<MessageId>,
    pub client_msg_id: Option<ClientMsgId>,
    pub retry: bool,
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
    pub location_name: Option<String>,
    pub captured_at: Option<Timestamp>,
    pub mentioned_users: Vec<UserId>,
}

/// `send_message` as written: null and absent mean the same.
#[derive(Deserialize)]
pub(super) struct Written {
    channel_id: Option<ChannelId>,
    content: Option<String>,
    message_type: Option<MessageType>,
    priority: Option<Priority>,
    #[serde(default, deserialize_with = "raw_or_null")]
    metadata: Option<Box<RawValue>>,
    reply_to: Option<MessageId>,
    client_msg_id: Option<ClientMsgId>,
    retry: Option<bool>,
    file_id: Option<String>,
    latitude: Option<f64>,
    longitude: Option<f64>,
    location_name: Option<String>,
    captured_at: Option<Timestamp>,
    mentioned_users: Option<Vec<UserIdClaim>>,
}

/// A raw value cannot sit behind an ordinary `Option`: it would take `null` for a value.
fn raw_or_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(if raw.get() == "null" { None } else { Some(raw) })
}

const REQUIRED: &str = "Channel ID and content are required";

impl Written {
    pub(super) fn check(self) -> Result<SendMessage, FrameError> {
        if self.file_id.is_some() {
            return Err(FrameError::unsupported("send_message with file_id"));
        }
        let location = self.location()?;
        let content = self.content.as_deref().unwrap_or_default();
        let (Some(channel_id), true) = (self.channel_id, !content.trim().is_empty() || location.is_some())
        else {
            return Err(FrameError::missing(REQUIRED));
        };
        let content = checked_content(content)?;
        if self
            .location_name
            .as_ref()
            .is_some_and(|name| name.chars().count() > limits::LOCATION_NAME_CHARS_MAX)
        {
            return Err(FrameError::too_large("location_name"));
        }
        Ok(SendMessage {
            channel_id,
            content,
            message_type: self.message_type.unwrap_or_default(),
            priority: self.priority.unwrap_or_default(),
            metadata: metadata(self.metadata)?,
            reply_to: self.reply_to,
            client_msg_id: self.client_msg_id,
            retry: self.retry.unwrap_or_default(),
            latitude: location.map(|(latitude, _)| latitude),
            longitude: location.map(|(_, longitude)| longitude),
            location_name: self.location_name,
            captured_at: self.captured_at,
            mentioned_users: mentioned(self.mentioned_users)?,
        })
    }

    fn location(&self) -> Result<Option<(f64, f64)>, FrameError> {
        match (self.latitude, self.longitude) {
            (None, None) => Ok(None),
            (Some(latitude), Some(longitude)) if latitude.abs() <= 90.0 && longitude.abs() <= 180.0 => {
                Ok(Some((latitude, longitude)))
            }
            _ => Err(FrameError::invalid("latitude")),
        }
    }
}

/// Strips a content and checks its length.
pub(super) fn checked_content(written: &str) -> Result<String, FrameError> {
    let content = written.trim();
    let too_long =
        content.len() > limits::CONTENT_BYTES_MAX || content.chars().nth(limits::CONTENT_CHARS_MAX).is_some();
    if too_long { Err(FrameError::too_large("content")) } else { Ok(content.to_owned()) }
}

fn metadata(written: Option<Box<RawValue>>) -> Result<Metadata, FrameError> {
    written.map_or_else(
        || Ok(Metadata::default()),
        |raw| {
            Metadata::check(raw).map_err(|error| match error {
                MetadataError::TooLarge | MetadataError::TooDeep => FrameError::too_large("metadata"),
                MetadataError::NotAnObject => FrameError::invalid("metadata"),
            })
        },
    )
}

pub(super) fn mentioned(written: Option<Vec<UserIdClaim>>) -> Result<Vec<UserId>, FrameError> {
    let written = written.unwrap_or_default();
    if written.len() > limits::MENTIONED_USERS_MAX {
        return Err(FrameError::too_large("mentioned_users"));
    }
    let parsed = written.into_iter().map(|id| match id {
        UserIdClaim::Integer(number) => UserId::parse(&number.to_string()),
        UserIdClaim::Text(text) => UserId::parse(&text),
    });
    parsed.collect::<Result<_, _>>().map_err(|_| FrameError::invalid("mentioned_users"))
}

impl SendMessage {
    /// Whether membership alone decides: such a message needs no worker.
    pub fn is_plain(&self) -> bool {
        self.reply_to.is_none()
            && !self.retry
            && self.mentioned_users.is_empty()
            && self.message_type != MessageType::Emergency
    }

    /// Returns the hash of the client's own fields, by which a reused `client_msg_id` is told from a retry.
    pub fn content_hash(&self) -> u32 {
        let mut hash = Xxh3::new();
        let mut add = |part: &[u8]| {
            hash.update(&part.len().to_le_bytes());
            hash.update(part);
        };
        add(self.content.as_bytes());
        add(&[self.message_type as u8, self.priority as u8]);
        add(self.metadata.as_json().as_bytes());
        add(self.reply_to.as_ref().map_or(&[], |id| id.as_str().as_bytes()));
        for coordinate in [self.latitude, self.longitude] {
            add(&coordinate.map_or(Vec::new(), |degrees| degrees.to_bits().to_le_bytes().to_vec()));
        }
        add(self.location_name.as_deref().unwrap_or_default().as_bytes());
        add(&self.captured_at.map_or([0; 8], |at| at.unix_ms().to_le_bytes()));
        for user in &self.mentioned_users {
            add(user.as_str().as_bytes());
        }
        // Half of the hash is enough to tell an honest mistake, and 0 means "none" in an envelope.
        u32::try_from(hash.digest() >> 32).unwrap_or(1).max(1)
    }

    /// Makes the message that this frame asks for.
    pub fn into_message(
        self,
        id: MessageId,
        sender: Sender,
        at: Timestamp,
        thread: Option<MessageId>,
    ) -> Message {
        Message {
            id,
            channel_id: self.channel_id,
            sender,
            content: self.content,
            message_type: self.message_type,
            created_at: at,
            reply_to: self.reply_to,
            thread_id: thread,
            is_emergency: self.message_type == MessageType::Emergency,
            priority: self.priority,
            metadata: self.metadata,
            latitude: self.latitude,
            longitude: self.longitude,
            location_name: self.location_name,
            captured_at: self.captured_at,
            client_msg_id: self.client_msg_id,
            mentioned_users: self.mentioned_users,
            edited_at: None,
            deleted_at: None,
            is_pinned: false,
            reactions: Vec::new(),
        }
    }
}
