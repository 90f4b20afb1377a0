//! Frames: the maps that clients and gateways exchange, typed.
//!
//! `client` is what clients send, `server` what they get, `send` the one frame with many fields,
//! `error` why one is refused. How a frame becomes bytes is the codec's affair.

pub mod client;
pub mod error;
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
