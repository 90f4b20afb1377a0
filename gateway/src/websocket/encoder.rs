//! Messages to server frames, which are never masked and never fragmented.
//!
//! A frame is made once and shared by all its receivers; it is not written here.

use super::{CONTROL_BYTES_MAX, Opcode};
use bytes::Bytes;
use protocol::codes::CloseCode;
use protocol::frames::Dialect;
use protocol::msgpack;

/// The bit of a frame that ends its message: all of ours do.
const FIN: u8 = 0x80;

/// Returns a frame, given as JSON, as sockets of this dialect get it.
pub(crate) fn frame(dialect: Dialect, json: &str) -> Bytes {
    match dialect {
        Dialect::Classic | Dialect::V1Json => text(json),
        Dialect::V1MessagePack => match msgpack::from_json(json) {
            Ok(bytes) => binary(&bytes),
            // Whatever we write as JSON is JSON; a client can make something of it all the same.
            Err(error) => {
                tracing::error!(%error, "a frame cannot be transcoded");
                text(json)
            }
        },
    }
}

/// Returns a text frame: header and payload in one allocation of exactly their size.
pub(crate) fn text(payload: &str) -> Bytes {
    message(Opcode::Text, payload.as_bytes())
}

/// Returns a binary frame.
pub(crate) fn binary(payload: &[u8]) -> Bytes {
    message(Opcode::Binary, payload)
}

/// Returns an empty ping; all sockets share the same two bytes.
pub(crate) fn ping() -> Bytes {
    const PING: [u8; 2] = [FIN | Opcode::Ping as u8, 0];
    Bytes::from_static(&PING)
}

/// Returns the answer to a ping: the same payload, cut at the 125 bytes that no accepted ping exceeds.
pub(crate) fn pong(payload: &[u8]) -> Bytes {
    message(Opcode::Pong, &payload[..payload.len().min(CONTROL_BYTES_MAX)])
}

/// Returns a close frame with the code and its fixed reason.
pub(crate) fn close(code: CloseCode) -> Bytes {
    let mut payload = Vec::with_capacity(CONTROL_BYTES_MAX);
    payload.extend_from_slice(&code.as_u16().to_be_bytes());
    payload.extend_from_slice(code.reason().as_bytes());
    message(Opcode::Close, &payload)
}

/// Returns the answer to a client's close frame: its own code, as RFC 6455 section 5.5.1 asks.
pub(crate) fn close_answer(code: Option<u16>) -> Bytes {
    code.map_or_else(|| message(Opcode::Close, &[]), |code| message(Opcode::Close, &code.to_be_bytes()))
}

fn message(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut head = [FIN | opcode as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let head_bytes = put_length(&mut head, payload.len());
    let mut frame = Vec::with_capacity(head_bytes + payload.len());
    frame.extend_from_slice(&head[..head_bytes]);
    frame.extend_from_slice(payload);
    frame.into()
}

/// Writes the length in its shortest form and returns the header's size in bytes. RFC 6455 section 5.2.
fn put_length(head: &mut [u8; 10], length: usize) -> usize {
    if let Ok(short @ 0..=125) = u8::try_from(length) {
        head[1] = short;
        2
    } else if let Ok(medium) = u16::try_from(length) {
        head[1] = 126;
        head[2..4].copy_from_slice(&medium.to_be_bytes());
        4
    } else {
        head[1] = 127;
        head[2..].copy_from_slice(&(length as u64).to_be_bytes());
        10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_their_shortest_form() {
        let cases: [(usize, &[u8]); 7] = [
            (0, &[0x81, 0]),
            (1, &[0x81, 1]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xFF, 0xFF]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (200_000, &[0x81, 127, 0, 0, 0, 0, 0, 3, 0x0D, 0x40]),
        ];
        for (length, head) in cases {
            let frame = text(&"x".repeat(length));
            assert!(frame.starts_with(head), "{length}");
            assert_eq!(frame.len(), head.len() + length, "{length}");
        }
    }

    #[test]
    fn control_frames_stay_within_their_limit() {
        assert_eq!(ping().as_ref(), [0x89, 0]);
        assert_eq!(pong(b"ab").as_ref(), [0x8A, 2, b'a', b'b']);
        assert_eq!(pong(&[7; 300]).len(), 2 + 125);
        assert_eq!(close(CloseCode::TooSlow).as_ref(), b"\x88\x0a\x0f\xa9too slow");
        assert_eq!(close_answer(Some(4_000)).as_ref(), b"\x88\x02\x0f\xa0");
        assert_eq!(close_answer(None).as_ref(), b"\x88\x00");
    }
}
