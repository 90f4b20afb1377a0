//! Frames: the maps that clients and gateways exchange, typed.
//!
//! `client` is what clients send, `server` what they get, `send` the one frame with many fields, `changing` those
//! that change a message, `reading` says how far somebody has read,
//! `error` why one is refused. How a frame becomes bytes is the codec's affair.

pub mod changing;
pub mod client;
pub mod error;
pub mod reading;
pub mod send;
pub mod server;

/// Which of the two protocols a socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// No subprotocol of ours was named: exactly what the old consumer gave.
    Classic,
    /// A subprotocol `safeshipper.v1.*` was named: everything.
    V1,
}

/// What a socket's bytes are: a form, and how its frames are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The classic form, as JSON in text messages.
    Classic,
    /// Version 1, as JSON in text messages.
    V1Json,
    /// Version 1, as MessagePack in binary messages.
    V1MessagePack,
}

impl Dialect {
    /// Returns the form of the frames.
    pub fn form(self) -> Form {
        match self {
            Self::Classic => Form::Classic,
            Self::V1Json | Self::V1MessagePack => Form::V1,
        }
    }

    /// Returns the subprotocol that stands for it; the classic form has none.
    pub fn subprotocol(self) -> Option<&'static str> {
        match self {
            Self::Classic => None,
            Self::V1Json => Some("safeshipper.v1.json"),
            Self::V1MessagePack => Some("safeshipper.v1.msgpack"),
        }
    }
}
