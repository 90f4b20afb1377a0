//! Frames to JSON and back. Decoding takes two passes: the type first, then that type's fields.
//!
//! A durable event is written by splicing the canonical body that the log holds: a message is serialised once
//! in its life, however many sockets and pages it travels on.

use crate::changes::{MessageDeletion, MessageUpdate, ReactionChange};
use crate::codes::ErrorCode;
use crate::envelope::{Envelope, EnvelopeError, Fact, Kind, Logged};
use crate::frames::Form;
use crate::frames::client::{ClientFrame, decode as decode_typed};
use crate::frames::error::FrameError;
use crate::frames::server::{
    ChannelDescription, ChannelUpdated, ChatMessage, MemberAdded, MemberRemoved, MessageDeleted,
    MessageUpdated, ReactionUpdate, ServerFrame,
};
use crate::ids::{ChannelId, Epoch, Position, Ref};
use crate::msgpack;
use crate::requests::PlacedMessage;
use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Write;

/// A client frame as far as it could be read; `reference` is there even for most refused frames.
#[derive(Debug)]
pub struct Decoded {
    /// The client's name for the frame, which the answer carries back.
    pub reference: Option<Ref>,
    /// The frame, or why not.
    pub frame: Result<ClientFrame, FrameError>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "ref")]
    reference: Option<&'a RawValue>,
}

/// Reads one client frame. Bad input is a value here, never a panic.
pub fn decode(json: &str, form: Form) -> Decoded {
    let head = match read_head(json) {
        Ok(head) => head,
        Err(error) => return Decoded { reference: None, frame: Err(error) },
    };
    let reference = match (form, head.reference.map(RawValue::get)) {
        (Form::Classic, _) | (Form::V1, None | Some("null")) => None,
        (Form::V1, Some(text)) => match serde_json::from_str::<Ref>(text) {
            Ok(reference) => Some(reference),
            Err(_) => {
                let error = FrameError::new(ErrorCode::InvalidFrame, "Invalid field: ref");
                return Decoded { reference: None, frame: Err(error) };
            }
        },
    };
    let kind = head.kind.map_or("null", RawValue::get);
    let frame = match serde_json::from_str::<Cow<'_, str>>(kind) {
        Ok(kind) => decode_typed(&kind, json, form),
        Err(_) => Err(FrameError::unknown(if kind == "null" { "None" } else { kind })),
    };
    Decoded { reference, frame }
}

/// Reads one client frame of a MessagePack socket.
pub fn decode_msgpack(bytes: &[u8]) -> Decoded {
    match msgpack::to_json(bytes) {
        Ok(json) => decode(&json, Form::V1),
        Err(error) => {
            let text = format!("Invalid MessagePack format: {error}");
            Decoded { reference: None, frame: Err(FrameError::new(ErrorCode::InvalidFrame, text)) }
        }
    }
}

fn read_head(json: &str) -> Result<Head<'_>, FrameError> {
    if json.trim_ascii_start().starts_with('{') {
        return serde_json::from_str(json).map_err(|error| match error.classify() {
            Category::Data => FrameError::new(ErrorCode::InvalidFrame, ErrorCode::InvalidFrame.text()),
            Category::Io | Category::Syntax | Category::Eof => not_json(),
        });
    }
    // The old consumer took any JSON and failed inside on what is no object.
    Err(match serde_json::from_str::<serde::de::IgnoredAny>(json) {
        Ok(_) => FrameError::new(ErrorCode::InvalidFrame, ErrorCode::Internal.text()),
        Err(_) => not_json(),
    })
}

fn not_json() -> FrameError {
    FrameError::new(ErrorCode::InvalidJson, ErrorCode::InvalidJson.text())
}

/// Writes a logged event as the frame that sockets of this form get; `None` when the form has no such frame.
///
/// # Errors
/// [`EnvelopeError`] when the envelope's body does not fit its kind.
pub fn encode_event(epoch: &Epoch, logged: &Logged, form: Form) -> Result<Option<String>, EnvelopeError> {
    match (form, logged.envelope.kind) {
        (Form::V1, Kind::Message) => Ok(Some(splice_message(epoch, logged))),
        (Form::Classic, kind) if !matches!(kind, Kind::Message | Kind::ReactionUpdated) => Ok(None),
        _ => Ok(event_frame(epoch, logged)?.encode(form)?),
    }
}

/// Writes the v1 `chat_message`: ids need no escaping, the body is canonical JSON already.
fn splice_message(epoch: &Epoch, logged: &Logged) -> String {
    let Logged { seq, prev, envelope: Envelope { channel_id, body, .. } } = logged;
    let mut json = String::with_capacity(body.get().len() + 192);
    // Writing to a String cannot fail.
    let _infallible = write!(
        json,
        r#"{{"type":"chat_message","channel_id":"{channel_id}","epoch":"{epoch}","seq":{seq},"prev":{prev},"message":{body}}}"#,
        body = body.get()
    );
    json
}

/// Types a logged event as the frame that it becomes.
///
/// # Errors
/// [`EnvelopeError`] when the envelope's body does not fit its kind.
pub fn event_frame(epoch: &Epoch, logged: &Logged) -> Result<ServerFrame, EnvelopeError> {
    let Logged { seq, prev, ref envelope } = *logged;
    let (epoch, channel_id, by) = (epoch.clone(), envelope.channel_id.clone(), envelope.by.clone());
    Ok(match envelope.fact()? {
        Fact::Message(message) => ChatMessage { channel_id, epoch, seq, prev, message: *message }.into(),
        Fact::ChannelUpdated(facts) => {
            let channel = ChannelDescription {
                id: channel_id.clone(),
                name: facts.name,
                channel_type: facts.channel_type,
            };
            ChannelUpdated { channel_id, epoch, seq, prev, channel, by }.into()
        }
        Fact::MemberAdded(facts) => {
            let (user_id, role) = (facts.user.id, facts.role);
            MemberAdded { channel_id, epoch, seq, prev, user_id, role, by }.into()
        }
        Fact::MemberRemoved(facts) => {
            MemberRemoved { channel_id, epoch, seq, prev, user_id: facts.user.id, by }.into()
        }
        Fact::MessageUpdated(update) => {
            let MessageUpdate { changed, message, .. } = *update;
            MessageUpdated { channel_id, epoch, seq, prev, changed, message, user_id: by }.into()
        }
        Fact::MessageDeleted(MessageDeletion { message_id, .. }) => {
            let deleted_at = envelope.at;
            MessageDeleted { channel_id, epoch, seq, prev, message_id, user_id: by, deleted_at }.into()
        }
        Fact::ReactionUpdated(ReactionChange { message_id, reaction, action, counts, .. }) => {
            let user_id = by;
            ReactionUpdate { message_id, reaction, user_id, action, channel_id, epoch, seq, prev, counts }
                .into()
        }
    })
}

/// Writes a message of a `history` page: the canonical body with `epoch` and `seq` behind its last field.
///
/// # Errors
/// [`EnvelopeError`] when the body is no canonical JSON object.
pub fn encode_placed(placed: &PlacedMessage) -> Result<Box<RawValue>, EnvelopeError> {
    let body = placed.message.get();
    let open = body.strip_suffix('}').unwrap_or(body);
    let (epoch, seq) = (&placed.position.epoch, placed.position.seq);
    Ok(RawValue::from_string(format!(r#"{open},"epoch":"{epoch}","seq":{seq}}}"#))?)
}

/// Writes a `resumed` frame around events that [`encode_event`] wrote for v1; `position` is where the page ends.
pub fn encode_resumed(
    channel: &ChannelId,
    position: &Position,
    events: &[String],
    ending: PageEnding,
) -> String {
    let Position { epoch, seq } = position;
    let (more, reset) = (ending == PageEnding::More, ending == PageEnding::Reset);
    let mut json = String::with_capacity(events.iter().map(|event| event.len() + 1).sum::<usize>() + 256);
    // Writing to a String cannot fail.
    let _infallible = write!(
        json,
        r#"{{"type":"resumed","channel_id":"{channel}","epoch":"{epoch}","seq":{seq},"events":["#
    );
    for (n, event) in events.iter().enumerate() {
        if n > 0 {
            json.push(',');
        }
        json.push_str(event);
    }
    let _infallible = write!(json, r#"],"more":{more},"reset":{reset}}}"#);
    json
}

/// How a page of `resumed` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageEnding {
    /// The client has everything: it is pushed from here on.
    Last,
    /// The page is full: the client asks for the next one.
    More,
    /// The client's position is not known any more: it reloads the channel.
    Reset,
}
