//! Messages that come back as they are: for conformance tests of connection, codec and outbox without a protocol on
//! top. Reached only by a configuration that no operator can write.

use crate::connection::Connection;
use crate::websocket::decoder::{Incoming, Limits};
use crate::websocket::encoder;

/// The suites send messages of 16 MiB, also in fragments of 64 bytes.
pub(crate) const LIMITS: Limits =
    Limits { message_bytes: 64 * 1024 * 1024, fragments: 1_000_000, fragments_ms: 120_000 };

/// Answers a text or binary message; returns whether it was one.
pub(crate) fn answer(connection: &Connection, message: &Incoming<'_>) -> bool {
    let frame = match message {
        Incoming::Text(text) => encoder::text(text),
        Incoming::Binary(bytes) => encoder::binary(bytes),
        Incoming::Ping(_) | Incoming::Pong | Incoming::Close(_) => return false,
    };
    connection.outbox.borrow_mut().push_answer(frame);
    true
}
