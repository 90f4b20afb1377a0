//! `mark_read`: as the client writes it, and as it is once checked.

use super::client::{CHANNEL_REQUIRED, ClientFrame};
use super::error::FrameError;
use crate::codes::ErrorCode;
use crate::ids::{ChannelId, MessageId, Position};
use serde::{Deserialize, Serialize};

/// A checked `mark_read`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarkRead {
    /// The channel.
    pub channel_id: ChannelId,
    /// Up to where the user has read it.
    pub up_to: ReadUpTo,
}

/// Up to where a user has read a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadUpTo {
    /// Everything.
    Everything,
    /// A message, and what is before it.
    Message(MessageId),
    /// A position, and what is before it.
    Position(Position),
}

/// `mark_read` as written: null and absent mean the same.
#[derive(Deserialize)]
pub(super) struct Written {
    channel_id: Option<ChannelId>,
    message_id: Option<MessageId>,
    read_up_to: Option<Position>,
}

impl Written {
    pub(super) fn check(self) -> Result<ClientFrame, FrameError> {
        let channel_id = self.channel_id.ok_or(FrameError::missing(CHANNEL_REQUIRED))?;
        let up_to = match (self.message_id, self.read_up_to) {
            (None, None) => ReadUpTo::Everything,
            (Some(message), None) => ReadUpTo::Message(message),
            (None, Some(position)) => ReadUpTo::Position(position),
            (Some(_), Some(_)) => {
                let text = "Name one of message_id and read_up_to";
                return Err(FrameError::new(ErrorCode::InvalidFrame, text));
            }
        };
        Ok(ClientFrame::MarkRead(Box::new(MarkRead { channel_id, up_to })))
    }
}
