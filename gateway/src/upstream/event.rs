//! One thing that many sockets are sent, encoded at most once per form.

use crate::outbox::PassingKey;
use crate::websocket::encoder;
use bytes::Bytes;
use protocol::codec::encode_event;
use protocol::envelope::Logged;
use protocol::ephemeral::{Doing, Ephemeral};
use protocol::frames::{Dialect, Form};
use protocol::ids::{ChannelId, Epoch, Seq};
use std::collections::hash_map::DefaultHasher;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::sync::OnceLock;

/// Frames that one event is encoded into at most.
const DIALECTS: usize = 3;

/// Bytes of an event beside its body: its ids (each an allocation), its record, and the frames' own fields.
/// Reckoned, rounded up.
const FIXED_BYTES: usize = 1_024;

/// A WebSocket frame per dialect, made when the first reactor needs it; `None` where the form has no such frame.
#[derive(Default)]
struct Frames {
    classic: OnceLock<Option<Bytes>>,
    v1_json: OnceLock<Option<Bytes>>,
    v1_msgpack: OnceLock<Option<Bytes>>,
}

impl Frames {
    fn get(&self, dialect: Dialect, encode: impl FnOnce(Form) -> Option<String>) -> Option<&Bytes> {
        let cell = match dialect {
            Dialect::Classic => &self.classic,
            Dialect::V1Json => &self.v1_json,
            Dialect::V1MessagePack => &self.v1_msgpack,
        };
        let make = || encode(dialect.form()).map(|json| encoder::frame(dialect, &json));
        cell.get_or_init(make).as_ref()
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

    /// Bytes that the event costs, nearly and at most: its body, and a frame as long for each dialect that somebody
    /// may speak.
    pub(crate) fn size(&self) -> usize {
        (1 + DIALECTS) * self.logged.envelope.body.get().len() + FIXED_BYTES
    }

    /// Returns the frame for sockets of this dialect.
    pub(crate) fn frame(&self, dialect: Dialect) -> Option<&Bytes> {
        self.frames.get(dialect, |form| {
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
    key: PassingKey,
    frames: Frames,
}

impl Passing {
    /// Names what it is about: of two with one key only the newer one matters.
    pub(crate) fn key(&self) -> PassingKey {
        self.key
    }

    pub(crate) fn new(ephemeral: Ephemeral) -> Self {
        let about = match ephemeral.doing {
            Doing::Typing | Doing::StoppedTyping => 0,
            Doing::Joined | Doing::Left => 1,
            Doing::Read(_) => 2,
        };
        // Two things with one hash are so rare, and of so little weight, that one may hide the other.
        let key = BuildHasherDefault::<DefaultHasher>::default().hash_one((
            &ephemeral.channel_id,
            &ephemeral.user_id,
            about,
        ));
        Self { ephemeral, key, frames: Frames::default() }
    }

    /// Returns the frame for sockets of this dialect.
    pub(crate) fn frame(&self, dialect: Dialect) -> Option<&Bytes> {
        let encode = |form| self.ephemeral.frame().encode(form).ok().flatten();
        self.frames.get(dialect, |form| if self.ephemeral.is_for(form) { encode(form) } else { None })
    }
}
