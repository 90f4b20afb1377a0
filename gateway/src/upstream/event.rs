//! One thing that many sockets are sent, encoded at most once per form.

use crate::websocket::encoder;
use bytes::Bytes;
use protocol::codec::encode_event;
use protocol::envelope::Logged;
use protocol::ephemeral::Ephemeral;
use protocol::frames::Form;
use protocol::ids::{ChannelId, Epoch, Seq};
use std::sync::OnceLock;

/// A WebSocket frame per form, made when the first reactor needs it; `None` where the form has no such frame.
#[derive(Default)]
struct Frames {
    classic: OnceLock<Option<Bytes>>,
    v1: OnceLock<Option<Bytes>>,
}

impl Frames {
    fn get(&self, form: Form, encode: impl FnOnce() -> Option<String>) -> Option<&Bytes> {
        let cell = match form {
            Form::Classic => &self.classic,
            Form::V1 => &self.v1,
        };
        cell.get_or_init(|| encode().map(|json| encoder::text(&json))).as_ref()
    }
}

/// A durable event as this gateway's channel cursor met it: `logged.prev` is the cursor before it.
pub(crate) struct Event {
    pub(crate) epoch: Epoch,
    pub(crate) logged: Logged,
    frames: Frames,
}

impl Event {
    pub(crate) fn new(epoch: Epoch, logged: Logged) -> Self {
        Self { epoch, logged, frames: Frames::default() }
    }

    pub(crate) fn channel(&self) -> &ChannelId {
        &self.logged.envelope.channel_id
    }

    pub(crate) fn seq(&self) -> Seq {
        self.logged.seq
    }

    /// Bytes that the event costs a ring, nearly.
    pub(crate) fn size(&self) -> usize {
        self.logged.envelope.body.get().len() + 256
    }

    /// Returns the frame for sockets of this form.
    pub(crate) fn frame(&self, form: Form) -> Option<&Bytes> {
        self.frames.get(form, || {
            encode_event(&self.epoch, &self.logged, form).unwrap_or_else(|error| {
                tracing::error!(%error, channel = %self.channel(), seq = self.seq(), "an event cannot be encoded");
                None
            })
        })
    }
}

/// Something that is not kept.
pub(crate) struct Passing {
    pub(crate) ephemeral: Ephemeral,
    frames: Frames,
}

impl Passing {
    pub(crate) fn new(ephemeral: Ephemeral) -> Self {
        Self { ephemeral, frames: Frames::default() }
    }

    /// Returns the frame for sockets of this form.
    pub(crate) fn frame(&self, form: Form) -> Option<&Bytes> {
        self.frames.get(form, || self.ephemeral.frame().encode(form).ok().flatten())
    }
}
