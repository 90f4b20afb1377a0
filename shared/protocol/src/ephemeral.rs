//! What travels to gateways without being kept: typing, joins and leaves of subscriptions, how far somebody has read.
//!
//! At most once, in no order with durable events, first to be shed.

use crate::frames::Form;
use crate::frames::server::{MessagesMarkedRead, ServerFrame, TypingIndicator, UserJoined, UserLeft};
use crate::ids::{ChannelId, Position, UserId};
use serde::{Deserialize, Serialize};

/// Something that one user does in one channel just now; mostly nobody hears of his own.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Has read up to here; his other sockets hear of it, too.
    Read(Position),
}

impl Ephemeral {
    /// Whether sockets of this form hear of it: the old consumer told of reads only who had read.
    pub fn is_for(&self, form: Form) -> bool {
        form == Form::V1 || !matches!(self.doing, Doing::Read(_))
    }

    /// Returns the frame that the others get.
    pub fn frame(&self) -> ServerFrame {
        let (user_id, channel_id) = (self.user_id.clone(), self.channel_id.clone());
        match &self.doing {
            Doing::Typing => TypingIndicator { user_id, channel_id, is_typing: true }.into(),
            Doing::StoppedTyping => TypingIndicator { user_id, channel_id, is_typing: false }.into(),
            Doing::Joined => UserJoined { user_id, channel_id }.into(),
            Doing::Left => UserLeft { user_id, channel_id }.into(),
            Doing::Read(position) => {
                let (r#ref, message_id, read_up_to) = (None, None, position.clone());
                MessagesMarkedRead { r#ref, channel_id, message_id, read_up_to, user_id }.into()
            }
        }
    }
}
