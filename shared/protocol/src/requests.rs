//! What gateways ask workers, and the answers; JSON, over `broker.request`.

use crate::claims::Profile;
use crate::codes::ErrorCode;
use crate::envelope::{ChannelType, Role};
use crate::frames::changing::ChangeMessage;
use crate::frames::reading::MarkRead;
use crate::frames::send::SendMessage;
use crate::ids::{ChannelId, Epoch, MessageId, Position, Seq, UserId};
use crate::message::Sender;
use crate::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An answer: what was asked for, or why not.
pub type Answer<T> = Result<T, ErrorCode>;

/// How many events made a user's memberships what they are: his own in channels that are described, and those that
/// describe channels of his. It only grows while the store's copy of the log does, in whatever order events come.
pub type MembershipsVersion = u64;

/// `directory.session`: who is this user and where may he listen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionRequest {
    /// A socket opens for the bearer of a verified token; an unknown user gets a row.
    Open(Profile),
    /// Sockets of this user are open, and what is known of his memberships is not the newest.
    Again(UserId),
}

/// `directory.versions`: which states of these users' memberships are the newest. At most
/// [`CONTROL_USERS_MAX`](crate::control::CONTROL_USERS_MAX).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VersionsRequest {
    /// Users with open sockets.
    pub users: Vec<UserId>,
}

/// The version of each user that was asked for; 0 of one who never was a member.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VersionsAnswer {
    /// In the order of the question.
    pub versions: Vec<(UserId, MembershipsVersion)>,
}

/// What a gateway caches of a user while a socket of his is open. It carries no head positions: those come
/// from the event queue, so that order is never in doubt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionAnswer {
    /// As the user appears to others.
    pub sender: Sender,
    /// Which state of his memberships this is.
    pub version: MembershipsVersion,
    /// Every channel that he is a member of, ordered by id.
    pub channels: Vec<Membership>,
}

/// One channel of one user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Membership {
    /// The channel.
    pub channel_id: ChannelId,
    /// Its display name.
    pub name: String,
    /// What it is for.
    pub channel_type: ChannelType,
    /// What the user may do there.
    pub role: Role,
    /// How many members it has; large rooms announce less.
    pub members: u32,
    /// Until when a moderator took the user's word; absent when he may speak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
    /// Up to where the user has read; absent when he never said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Position>,
    /// Messages after `read`, counted up to [`crate::limits::UNREAD_MAX`].
    pub unread: u32,
}

/// `history`: a page of a channel's messages. The gateway has checked membership.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryRequest {
    /// The channel.
    pub channel_id: ChannelId,
    /// Which part of it.
    pub range: HistoryRange,
    /// Only this thread (its first message and the replies).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<MessageId>,
    /// Messages at most, 1 to [`crate::limits::HISTORY_LIMIT_MAX`].
    pub limit: u32,
}

/// Which part of a channel's history; always answered in ascending order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryRange {
    /// The newest messages.
    Newest,
    /// The newest ones before a position, which is not among them.
    Before(Position),
    /// The oldest ones after a position, which is not among them.
    After(Position),
    /// A message and its neighbours on both sides.
    Around(MessageId),
}

/// A page of history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HistoryAnswer {
    /// Ascending by position.
    pub messages: Vec<PlacedMessage>,
    /// Whether the range goes on beyond this page.
    pub more: bool,
}

/// A message and where it stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlacedMessage {
    /// Where it stands.
    pub position: Position,
    /// The canonical JSON of a [`crate::message::Message`].
    pub message: Box<RawValue>,
}

/// `events`: what happened in a channel after a position, out of store and log. The gateway has checked membership.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventsRequest {
    /// The channel.
    pub channel_id: ChannelId,
    /// The last event that the client has, of whatever life of the log.
    pub after: Position,
    /// Where the asker knows the channel to stand: a worker whose log lives another life, or ends before it, has no
    /// answer.
    pub head: Position,
}

/// What happened after a position.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventsAnswer {
    /// Neither store nor log knows the position: whoever stands there has to start over.
    Unknown,
    /// Everything from the position to where the page ends.
    Page(EventsPage),
}

/// A page of a channel's events, all of one life of the log; that of the position, or a later one when nothing
/// happened in between.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventsPage {
    /// The life of the log.
    pub epoch: Epoch,
    /// Ascending.
    pub events: Vec<PlacedEvent>,
    /// Where the page ends: nothing between the position and here is missing.
    pub reached: Seq,
    /// Whether something may follow; without it the page ends at the log's head.
    pub more: bool,
}

/// A logged event and where it stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlacedEvent {
    /// Where it stands.
    pub seq: Seq,
    /// The JSON of an [`crate::envelope::Envelope`], as it was logged.
    pub envelope: Box<RawValue>,
}

/// `deleted`: which of a channel's messages were deleted, as far as the log goes now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeletedRequest {
    /// The channel.
    pub channel_id: ChannelId,
    /// The messages, as many as fit into a page.
    pub messages: Vec<MessageId>,
}

/// Those that were deleted, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeletedAnswer {
    /// In no order.
    pub deleted: Vec<(MessageId, Timestamp)>,
}

/// `reads`: somebody has read a channel; the gateway has checked the membership it knows of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadRequest {
    /// Who.
    pub user_id: UserId,
    /// What, and how far.
    pub mark: MarkRead,
}

/// Up to where he has read, as far as anybody ever said: it never goes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadAnswer {
    /// The last event that he has read.
    pub read: Position,
}

/// `commands.<shard>`: something that needs state to be decided.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CommandRequest {
    /// Who commands; the gateway has checked the token and the membership it knows of.
    pub sender: Sender,
    /// The id that the message gets if this command makes one.
    pub message_id: MessageId,
    /// When the gateway took it on.
    pub at: Timestamp,
    /// What to do.
    pub command: Command,
}

/// What can be commanded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// A message that is not plain: a reply, a resend, an emergency, one with mentions.
    Send(Box<SendMessage>),
    /// A change of a message.
    Change(Box<ChangeMessage>),
}

/// What a command came to: the durable event it made, or made earlier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandAnswer {
    /// The channel: a client need not have named it.
    pub channel_id: ChannelId,
    /// Where the event stands.
    pub position: Position,
    /// The message that the event is about.
    pub message_id: MessageId,
    /// Whether it had been done before.
    pub duplicate: bool,
}

/// Bytes that are no request or answer of this version.
#[derive(Debug, thiserror::Error)]
#[error("not a request or answer")]
pub struct RequestError(#[from] serde_json::Error);

/// Writes a request or an answer.
///
/// # Errors
/// [`RequestError`] never in practice: every field was checked when it was made.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, RequestError> {
    Ok(serde_json::to_vec(value)?)
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`RequestError`] for anything else.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RequestError> {
    Ok(serde_json::from_slice(bytes)?)
}
