//! What travels between gateways without being kept: typing, joins and leaves of subscriptions.
//!
//! At most once, in no order with durable events, first to be shed.

use crate::frames::server::{ServerFrame, TypingIndicator, UserJoined, UserLeft};
use crate::ids::{ChannelId, UserId};
use serde::{Deserialize, Serialize};

/// Something that one user does in one channel just now; nobody hears of his own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ephemeral {
    /// Where.
    pub channel_id: ChannelId,
    /// Who.
    pub user_id: UserId,
    /// What.
    pub doing: Doing,
}

/// What a user does just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Began to type, or goes on.
    Typing,
    /// Stopped typing.
    StoppedTyping,
    /// A socket of his subscribed.
    Joined,
    /// A socket of his ended its subscription.
    Left,
}

impl Ephemeral {
    /// Returns the frame that the others get.
    pub fn frame(&self) -> ServerFrame {
        let (user_id, channel_id) = (self.user_id.clone(), self.channel_id.clone());
        match self.doing {
            Doing::Typing => TypingIndicator { user_id, channel_id, is_typing: true }.into(),
            Doing::StoppedTyping => TypingIndicator { user_id, channel_id, is_typing: false }.into(),
            Doing::Joined => UserJoined { user_id, channel_id }.into(),
            Doing::Left => UserLeft { user_id, channel_id }.into(),
        }
    }
}
