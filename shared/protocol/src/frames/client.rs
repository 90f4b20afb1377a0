//! What clients send, typed and checked.

use super::Form;
use super::changing::{self, ChangeMessage};
use super::error::FrameError;
use super::reading::{self, MarkRead};
use super::send::{SendMessage, Written};
use crate::codes::ErrorCode;
use crate::ids::{ChannelId, MessageId, Position};
use crate::limits;
use crate::requests::{HistoryRange, HistoryRequest};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A checked client frame; whatever holds one need not look at its fields again.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientFrame {
    /// The credential of a v1 socket that connected without one.
    Authenticate {
        /// Never logged: its Debug form hides it.
        token: Token,
        /// Whether the client holds positions and will send `resume`.
        resume: bool,
    },
    /// A message for a channel.
    SendMessage(Box<SendMessage>),
    /// A change of a message.
    ChangeMessage(Box<ChangeMessage>),
    /// How far the user has read.
    MarkRead(Box<MarkRead>),
    /// Subscribe this socket.
    JoinChannel(ChannelId),
    /// End this socket's subscription.
    LeaveChannel(ChannelId),
    /// The user began to type.
    TypingStart(ChannelId),
    /// The user stopped typing.
    TypingStop(ChannelId),
    /// A page of old messages.
    FetchHistory(Box<HistoryRequest>),
    /// Go on from these positions.
    Resume {
        /// Where the client stands, at most [`limits::RESUME_CHANNELS_MAX`].
        channels: Vec<ResumePoint>,
        /// No further `resume` follows for the channels not named so far.
        last: bool,
    },
    /// Is anybody there?
    Ping,
}

/// A credential; its Debug form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Where a client stands in a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResumePoint {
    /// The channel.
    pub channel_id: ChannelId,
    /// The last event that the client has.
    #[serde(flatten)]
    pub position: Position,
}

/// Names of the protocol page that this release answers with `unsupported`.
const LATER: &[&str] = &[
    "refresh_token",
    "ack_delivered",
    "set_status",
    "presence_query",
    "signal",
    "emergency_raise",
    "emergency_acknowledge",
    "emergency_resolve",
    "emergency_cancel",
    "emergency_escalate",
];

/// The types that the old consumer knew, and those that old pages send besides.
const CLASSIC: &[&str] = &[
    "send_message",
    "join_channel",
    "leave_channel",
    "typing_start",
    "typing_stop",
    "mark_read",
    "react_to_message",
    "user_typing",
    "update_presence",
    "get_channel_presence",
    "get_global_presence",
];

pub(super) const CHANNEL_REQUIRED: &str = "Channel ID is required";

/// Types and checks the frame in `json`, whose `type` was read to be `kind`.
pub(crate) fn decode(kind: &str, json: &str, form: Form) -> Result<ClientFrame, FrameError> {
    if form == Form::Classic && !CLASSIC.contains(&kind) {
        return Err(FrameError::unknown(kind));
    }
    Ok(match kind {
        "authenticate" => read::<Authenticate>(json)?.check()?,
        "send_message" => ClientFrame::SendMessage(Box::new(read::<Written>(json)?.check()?)),
        "edit_message" => read::<changing::Written>(json)?.edit()?,
        "delete_message" => read::<changing::Written>(json)?.delete()?,
        "pin_message" => read::<changing::Written>(json)?.pin()?,
        "react_to_message" => read::<changing::Written>(json)?.react()?,
        "mark_read" => read::<reading::Written>(json)?.check()?,
        "join_channel" => ClientFrame::JoinChannel(channel(json)?),
        "leave_channel" => ClientFrame::LeaveChannel(channel(json)?),
        "typing_start" => ClientFrame::TypingStart(channel(json).map_err(silent)?),
        "typing_stop" => ClientFrame::TypingStop(channel(json).map_err(silent)?),
        "user_typing" if form == Form::Classic => user_typing(json).map_err(silent)?,
        "fetch_history" => ClientFrame::FetchHistory(Box::new(read::<FetchHistory>(json)?.check()?)),
        "resume" => read::<Resume>(json)?.check()?,
        "ping" => ClientFrame::Ping,
        "update_presence" if form == Form::Classic => return Err(FrameError::unsupported("set_status")),
        "get_channel_presence" | "get_global_presence" if form == Form::Classic => {
            return Err(silent(FrameError::unknown(kind)));
        }
        later if LATER.contains(&later) => return Err(FrameError::unsupported(later)),
        other => return Err(FrameError::unknown(other)),
    })
}

/// Reads one frame's struct; only when that fails is it read again, to name the field.
fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, FrameError> {
    serde_json::from_str(json).map_err(|_| {
        let deserializer = &mut serde_json::Deserializer::from_str(json);
        match serde_path_to_error::deserialize::<_, T>(deserializer) {
            Err(error) => FrameError::invalid(&error.path().to_string()),
            Ok(_) => FrameError::new(ErrorCode::InvalidFrame, ErrorCode::InvalidFrame.text()),
        }
    })
}

fn silent(error: FrameError) -> FrameError {
    FrameError { silent_on_classic: true, ..error }
}

#[derive(Deserialize)]
struct Channel {
    channel_id: Option<ChannelId>,
}

fn channel(json: &str) -> Result<ChannelId, FrameError> {
    read::<Channel>(json)?.channel_id.ok_or(FrameError::missing(CHANNEL_REQUIRED))
}

/// How old pages say both that somebody types and that he stopped.
fn user_typing(json: &str) -> Result<ClientFrame, FrameError> {
    #[derive(Deserialize)]
    struct UserTyping {
        #[serde(default)]
        is_typing: bool,
    }
    let (channel, UserTyping { is_typing }) = (channel(json)?, read(json)?);
    Ok(if is_typing { ClientFrame::TypingStart(channel) } else { ClientFrame::TypingStop(channel) })
}

#[derive(Deserialize)]
struct Authenticate {
    token: Option<String>,
    resume: Option<bool>,
}

impl Authenticate {
    fn check(self) -> Result<ClientFrame, FrameError> {
        let token = self.token.ok_or(FrameError::missing("Token is required"))?;
        Ok(ClientFrame::Authenticate { token: Token(token), resume: self.resume.unwrap_or_default() })
    }
}

#[derive(Deserialize)]
struct Resume {
    channels: Option<Vec<ResumePoint>>,
    last: Option<bool>,
}

impl Resume {
    fn check(self) -> Result<ClientFrame, FrameError> {
        let channels = self.channels.ok_or(FrameError::missing("Channels are required"))?;
        if channels.len() > limits::RESUME_CHANNELS_MAX {
            return Err(FrameError::too_large("channels"));
        }
        Ok(ClientFrame::Resume { channels, last: self.last.unwrap_or_default() })
    }
}

#[derive(Deserialize)]
struct FetchHistory {
    channel_id: Option<ChannelId>,
    before: Option<Position>,
    after: Option<Position>,
    around: Option<MessageId>,
    thread_id: Option<MessageId>,
    limit: Option<u32>,
}

impl FetchHistory {
    fn check(self) -> Result<HistoryRequest, FrameError> {
        let channel_id = self.channel_id.ok_or(FrameError::missing(CHANNEL_REQUIRED))?;
        let range = match (self.before, self.after, self.around) {
            (None, None, None) => HistoryRange::Newest,
            (Some(before), None, None) => HistoryRange::Before(before),
            (None, Some(after), None) => HistoryRange::After(after),
            (None, None, Some(around)) => HistoryRange::Around(around),
            _ => {
                return Err(FrameError::new(ErrorCode::InvalidFrame, "Name one of before, after and around"));
            }
        };
        let limit = self.limit.unwrap_or(limits::HISTORY_LIMIT_DEFAULT);
        if !(1..=limits::HISTORY_LIMIT_MAX).contains(&limit) {
            return Err(FrameError::invalid("limit"));
        }
        Ok(HistoryRequest { channel_id, range, thread_id: self.thread_id, limit })
    }
}
