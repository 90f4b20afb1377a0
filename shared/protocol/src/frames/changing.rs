//! Frames that change a message: as the client writes them, and as they are once checked.

use super::client::ClientFrame;
use super::error::FrameError;
use super::send::{checked_content, mentioned};
use crate::claims::UserIdClaim;
use crate::codes::ErrorCode;
use crate::ids::{ChannelId, ClientMsgId, MessageId, UserId};
use crate::limits;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// A checked frame that changes a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeMessage {
    /// The message.
    pub message_id: MessageId,
    /// Its channel, when the client says so.
    pub channel_id: Option<ChannelId>,
    /// What shall become of it.
    pub change: Change,
    /// The client's own name for the command.
    pub client_msg_id: Option<ClientMsgId>,
    /// Whether it may have been done before.
    pub retry: bool,
}

/// What shall become of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It says something else; stripped and within its limits.
    Edit {
        /// What it says.
        content: String,
        /// Whom it mentions; `None` leaves that as it is.
        mentioned_users: Option<Vec<UserId>>,
    },
    /// It is deleted.
    Delete,
    /// It is pinned, or is no more.
    Pin(bool),
    /// A reaction of the user's is added, or removed when it is there.
    React(String),
}

impl ChangeMessage {
    /// Returns a hash of what the client itself said; never 0.
    pub fn content_hash(&self) -> u32 {
        let mut hash = Xxh3::new();
        let mut add = |bytes: &[u8]| {
            hash.update(bytes);
            hash.update(&[0]);
        };
        add(self.message_id.as_str().as_bytes());
        match &self.change {
            Change::Edit { content, mentioned_users } => {
                add(b"edit");
                add(content.as_bytes());
                // None leaves whom it mentions, nobody takes them away.
                add(if mentioned_users.is_some() { b"mentions" } else { b"" });
                for user in mentioned_users.iter().flatten() {
                    add(user.as_str().as_bytes());
                }
            }
            Change::Delete => add(b"delete"),
            Change::Pin(pinned) => add(if *pinned { b"pin" } else { b"unpin" }),
            Change::React(reaction) => {
                add(b"react");
                add(reaction.as_bytes());
            }
        }
        // As a message's: half of the hash, and 0 means "none".
        u32::try_from(hash.digest() >> 32).unwrap_or(1).max(1)
    }
}

/// Any of the frames as written: null and absent mean the same.
#[derive(Deserialize)]
pub(super) struct Written {
    message_id: Option<MessageId>,
    channel_id: Option<ChannelId>,
    content: Option<String>,
    mentioned_users: Option<Vec<UserIdClaim>>,
    pinned: Option<bool>,
    reaction: Option<String>,
    client_msg_id: Option<ClientMsgId>,
    retry: Option<bool>,
}

const MESSAGE_REQUIRED: &str = "Message ID is required";

impl Written {
    pub(super) fn edit(mut self) -> Result<ClientFrame, FrameError> {
        let content = checked_content(self.content.as_deref().unwrap_or_default())?;
        if content.is_empty() {
            return Err(FrameError::missing("Message ID and content are required"));
        }
        let mentioned_users = self.mentioned_users.take().map(|users| mentioned(Some(users))).transpose()?;
        self.change(Change::Edit { content, mentioned_users }, "Message ID and content are required")
    }

    pub(super) fn delete(self) -> Result<ClientFrame, FrameError> {
        self.change(Change::Delete, MESSAGE_REQUIRED)
    }

    pub(super) fn pin(self) -> Result<ClientFrame, FrameError> {
        let pinned = self.pinned.unwrap_or(true);
        self.change(Change::Pin(pinned), MESSAGE_REQUIRED)
    }

    pub(super) fn react(self) -> Result<ClientFrame, FrameError> {
        const REQUIRED: &str = "Message ID and reaction are required";
        let reaction = self.reaction.as_deref().unwrap_or_default().trim().to_owned();
        if reaction.is_empty() {
            return Err(FrameError::missing(REQUIRED));
        }
        if reaction.len() > limits::REACTION_BYTES_MAX {
            return Err(FrameError::too_large("reaction"));
        }
        if reaction.chars().any(char::is_control) {
            return Err(FrameError::new(ErrorCode::InvalidFrame, "Invalid field: reaction"));
        }
        self.change(Change::React(reaction), REQUIRED)
    }

    fn change(self, change: Change, required: &'static str) -> Result<ClientFrame, FrameError> {
        let Self { message_id, channel_id, client_msg_id, retry, .. } = self;
        let message_id = message_id.ok_or(FrameError::missing(required))?;
        let retry = retry.unwrap_or_default();
        let change = ChangeMessage { message_id, channel_id, change, client_msg_id, retry };
        Ok(ClientFrame::ChangeMessage(Box::new(change)))
    }
}
