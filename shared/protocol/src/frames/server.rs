//! What clients get, typed; also what the load tool and the tests read.
//!
//! A v1 frame has all fields. `ServerFrame::encode` gives a classic socket the old consumer's fields alone, or
//! nothing where the old consumer had no such frame.

use super::Form;
use crate::changes::{Changed, ReactionAction};
use crate::codes::ErrorCode;
use crate::envelope::{ChannelType, Role};
use crate::ids::{ChannelId, ClientMsgId, Epoch, MessageId, Position, Ref, Seq, SessionId, UserId};
use crate::message::Message;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Declares the frames and the enum over them, so that a type's name stands in one place.
macro_rules! server_frames {
    ($($(#[$doc:meta])* $name:ident = $type:literal { $($(#[$attr:meta])* $field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Serialize, Deserialize)]
            #[serde(tag = "type", rename = $type)]
            #[expect(missing_docs, reason = "the protocol page's fields, under their own names")]
            pub struct $name { $($(#[$attr])* pub $field: $kind,)* }
        )*

        /// Any frame that a server sends.
        #[derive(Debug, Clone, Serialize)]
        #[serde(untagged)]
        #[expect(missing_docs, reason = "each variant is documented at its struct")]
        pub enum ServerFrame { $($name(Box<$name>),)* }

        $(impl From<$name> for ServerFrame {
            fn from(frame: $name) -> Self { Self::$name(Box::new(frame)) }
        })*

        impl ServerFrame {
            /// Types the v1 frame in `json`; `None` for a type this release does not have.
            ///
            /// # Errors
            /// The reader's error when the text is no JSON or the type's fields do not fit.
            pub fn decode(json: &str) -> Result<Option<Self>, serde_json::Error> {
                #[derive(Deserialize)]
                struct Head { r#type: String }
                let head: Head = serde_json::from_str(json)?;
                Ok(Some(match head.r#type.as_str() {
                    $($type => Self::$name(serde_json::from_str(json)?),)*
                    _ => return Ok(None),
                }))
            }
        }
    };
}

server_frames! {
    /// The first frame: who you are and where you stand.
    ConnectionEstablished = "connection_established" {
        user_id: UserId,
        channels_subscribed: usize,
        session_id: SessionId,
        server_time: Timestamp,
        heartbeat_ms: u64,
        max_frame_bytes: usize,
        channels: Vec<ChannelEntry>,
        more_channels: bool,
        open_incidents: Vec<Box<RawValue>>,
    }
    /// Further channels of a user with more than fit into the first frame.
    ChannelList = "channel_list" { channels: Vec<ChannelEntry>, more: bool, }
    /// The durable log has your command.
    Ack = "ack" {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        r#ref: Option<Ref>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_msg_id: Option<ClientMsgId>,
        message_id: MessageId,
        channel_id: ChannelId,
        epoch: Epoch,
        seq: Seq,
        durability: Durability,
        duplicate: bool,
    }
    /// Somebody wrote.
    ChatMessage = "chat_message" {
        channel_id: ChannelId,
        epoch: Epoch,
        seq: Seq,
        prev: Seq,
        message: Message,
    }
    /// Somebody edited, pinned or unpinned a message: what `changed` names is new, the rest as it was just before.
    MessageUpdated = "message_updated" {
        channel_id: ChannelId, epoch: Epoch, seq: Seq, prev: Seq, changed: Changed, message: Message,
        user_id: UserId,
    }
    /// A message is no more; history shows where it was.
    MessageDeleted = "message_deleted" {
        channel_id: ChannelId, epoch: Epoch, seq: Seq, prev: Seq, message_id: MessageId, user_id: UserId,
        deleted_at: Timestamp,
    }
    /// Somebody reacted to a message, or does so no more.
    ReactionUpdate = "reaction_update" {
        message_id: MessageId,
        reaction: String,
        user_id: UserId,
        action: ReactionAction,
        channel_id: ChannelId,
        epoch: Epoch,
        seq: Seq,
        prev: Seq,
        counts: BTreeMap<String, u32>,
    }
    /// Somebody has read a channel up to here; with `ref` it answers the one who said so.
    MessagesMarkedRead = "messages_marked_read" {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        r#ref: Option<Ref>,
        channel_id: ChannelId,
        message_id: Option<MessageId>,
        read_up_to: Position,
        user_id: UserId,
    }
    /// The channel was made or described anew.
    ChannelUpdated = "channel_updated" {
        channel_id: ChannelId, epoch: Epoch, seq: Seq, prev: Seq, channel: ChannelDescription, by: UserId,
    }
    /// Somebody became a member.
    MemberAdded = "member_added" {
        channel_id: ChannelId, epoch: Epoch, seq: Seq, prev: Seq, user_id: UserId, role: Role, by: UserId,
    }
    /// Somebody is no member any more.
    MemberRemoved = "member_removed" {
        channel_id: ChannelId, epoch: Epoch, seq: Seq, prev: Seq, user_id: UserId, by: UserId,
    }
    /// This socket is subscribed.
    ChannelJoined = "channel_joined" {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        r#ref: Option<Ref>,
        channel_id: ChannelId,
        epoch: Epoch,
        seq: Seq,
        role: Role,
        channel: ChannelDescription,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<JoinReason>,
    }
    /// This socket is not subscribed any more.
    ChannelLeft = "channel_left" {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        r#ref: Option<Ref>,
        channel_id: ChannelId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<LeaveReason>,
    }
    /// Somebody else's socket subscribed.
    UserJoined = "user_joined" { user_id: UserId, channel_id: ChannelId, }
    /// Somebody else's socket ended its subscription.
    UserLeft = "user_left" { user_id: UserId, channel_id: ChannelId, }
    /// Somebody else types, or stopped.
    TypingIndicator = "typing_indicator" { user_id: UserId, channel_id: ChannelId, is_typing: bool, }
    /// What happened since the position that a client named.
    Resumed = "resumed" {
        channel_id: ChannelId,
        epoch: Epoch,
        seq: Seq,
        events: Vec<Box<RawValue>>,
        more: bool,
        reset: bool,
    }
    /// Each channel of a `resume` frame was answered, or had nothing new.
    ResumeDone = "resume_done" {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        r#ref: Option<Ref>,
    }
    /// A page of old messages, ascending; each is a message with `epoch` and `seq`.
    History = "history" {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        r#ref: Option<Ref>,
        channel_id: ChannelId,
        messages: Vec<Box<RawValue>>,
        more: bool,
    }
    /// Somebody is there.
    Pong = "pong" {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        r#ref: Option<Ref>,
        server_time: Timestamp,
    }
    /// These channels are not pushed any more, because this client takes too slowly: it catches up with `resume`.
    Lagging = "lagging" { channels: Vec<ChannelHead>, }
    /// Come back after this many milliseconds; a close follows.
    Reconnect = "reconnect" { after_ms: u64, reason: ReconnectReason, }
    /// A frame was refused and changed nothing.
    Error = "error" {
        code: ErrorCode,
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        r#ref: Option<Ref>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    }
}

/// A channel as the first frame lists it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the protocol page's fields, under their own names")]
pub struct ChannelEntry {
    pub channel_id: ChannelId,
    pub name: String,
    pub channel_type: ChannelType,
    pub role: Role,
    pub epoch: Epoch,
    pub seq: Seq,
    pub read: Option<Position>,
    pub unread: u32,
}

/// Where a channel stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelHead {
    /// The channel.
    pub channel_id: ChannelId,
    /// Its newest event.
    #[serde(flatten)]
    pub position: Position,
}

/// A channel's own description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the protocol page's fields, under their own names")]
pub struct ChannelDescription {
    pub id: ChannelId,
    pub name: String,
    pub channel_type: ChannelType,
}

/// Why a socket is subscribed that did not ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinReason {
    /// Somebody made this user a member.
    Added,
}

/// Why a socket is not subscribed any more that did not ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// This user is no member any more.
    Removed,
}

/// What an `ack` promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// The durable log has it.
    Logged,
}

/// Why a client shall come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReconnectReason {
    /// This server stops; another or its successor takes over.
    Restart,
    /// This server goes on, with fewer clients than it had.
    Rebalance,
}

impl ServerFrame {
    /// Writes the frame for a socket of this form; `None` when the form has no such frame.
    ///
    /// # Errors
    /// The writer's error, never in practice: every field was checked when it was made.
    pub fn encode(&self, form: Form) -> Result<Option<String>, serde_json::Error> {
        match form {
            Form::V1 => serde_json::to_string(self).map(Some),
            Form::Classic => self.classic().map(|frame| serde_json::to_string(&frame)).transpose(),
        }
    }

    fn classic(&self) -> Option<Classic<'_>> {
        Some(match self {
            Self::ConnectionEstablished(frame) => Classic::ConnectionEstablished {
                user_id: &frame.user_id,
                channels_subscribed: frame.channels_subscribed,
            },
            Self::ChatMessage(frame) => Classic::ChatMessage { message: frame.message.classic() },
            Self::ReactionUpdate(frame) => Classic::ReactionUpdate {
                message_id: &frame.message_id,
                reaction: &frame.reaction,
                user_id: &frame.user_id,
                action: frame.action,
            },
            Self::MessagesMarkedRead(frame) => Classic::MessagesMarkedRead {
                channel_id: &frame.channel_id,
                message_id: frame.message_id.as_ref(),
            },
            Self::ChannelJoined(frame) => Classic::ChannelJoined { channel_id: &frame.channel_id },
            Self::ChannelLeft(frame) => Classic::ChannelLeft { channel_id: &frame.channel_id },
            Self::UserJoined(frame) => {
                Classic::UserJoined { user_id: &frame.user_id, channel_id: &frame.channel_id }
            }
            Self::UserLeft(frame) => {
                Classic::UserLeft { user_id: &frame.user_id, channel_id: &frame.channel_id }
            }
            Self::TypingIndicator(frame) => Classic::TypingIndicator {
                user_id: &frame.user_id,
                channel_id: &frame.channel_id,
                is_typing: frame.is_typing,
            },
            Self::Error(frame) => Classic::Error { message: &frame.message },
            _ => return None,
        })
    }
}

/// The old consumer's frames, field by field in its order.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Classic<'a> {
    ConnectionEstablished {
        user_id: &'a UserId,
        channels_subscribed: usize,
    },
    ChatMessage {
        message: crate::message::ClassicMessage<'a>,
    },
    MessagesMarkedRead {
        channel_id: &'a ChannelId,
        message_id: Option<&'a MessageId>,
    },
    ReactionUpdate {
        message_id: &'a MessageId,
        reaction: &'a str,
        user_id: &'a UserId,
        action: ReactionAction,
    },
    ChannelJoined {
        channel_id: &'a ChannelId,
    },
    ChannelLeft {
        channel_id: &'a ChannelId,
    },
    UserJoined {
        user_id: &'a UserId,
        channel_id: &'a ChannelId,
    },
    UserLeft {
        user_id: &'a UserId,
        channel_id: &'a ChannelId,
    },
    TypingIndicator {
        user_id: &'a UserId,
        channel_id: &'a ChannelId,
        is_typing: bool,
    },
    Error {
        message: &'a str,
    },
}
