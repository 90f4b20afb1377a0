//! What fuzzers call: any bytes from a client, through frame codec and frame decoder, cut in any way.
//!
//! Each function panics when something that must hold does not.

use crate::websocket::Violation;
use crate::websocket::decoder::{Decoder, Incoming, PROTOCOL, Step};
use protocol::codec;
use protocol::frames::Form;
use protocol::limits;

/// What a client's bytes came to, in a form that can be compared.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Broken(Violation),
}

/// Reads client bytes as WebSocket frames, whole and in pieces; both must come to the same.
///
/// # Panics
/// When they do not, or a message is larger than its limit.
pub fn websocket_frames(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let whole = heard(bytes, bytes.len());
    let pieces = heard(bytes, 1 + usize::from(*piece));
    assert_eq!(whole, pieces, "the cut must not matter");
}

fn heard(bytes: &[u8], piece: usize) -> Vec<Heard> {
    let (mut decoder, mut unread, mut heard) = (Decoder::default(), Vec::new(), Vec::new());
    for new in bytes.chunks(piece.max(1)) {
        unread.extend_from_slice(new);
        let mut used = 0;
        loop {
            match decoder.next(&mut unread[used..], &PROTOCOL, 0) {
                Ok(Step::Incomplete) => break,
                Ok(Step::Frame { consumed, message }) => {
                    used += consumed;
                    heard.extend(message.map(own));
                }
                Err(violation) => {
                    heard.push(Heard::Broken(violation));
                    return heard;
                }
            }
        }
        unread.drain(..used);
    }
    heard
}

fn own(message: Incoming<'_>) -> Heard {
    match message {
        Incoming::Text(text) => {
            assert!(text.len() <= limits::FRAME_BYTES_MAX);
            Heard::Text(text.into_owned())
        }
        Incoming::Binary(bytes) => {
            assert!(bytes.len() <= limits::FRAME_BYTES_MAX);
            Heard::Binary(bytes.into_owned())
        }
        Incoming::Ping(payload) => Heard::Ping(payload.to_vec()),
        Incoming::Pong => Heard::Pong,
        Incoming::Close(said) => Heard::Close(said.map(|(code, _)| code)),
    }
}

/// Reads a client's message as a frame of each dialect; a refusal always says something short.
///
/// # Panics
/// When it does not.
pub fn client_frames(data: &[u8]) {
    let mut decoded = vec![codec::decode_msgpack(data)];
    if let Ok(text) = std::str::from_utf8(data) {
        decoded.extend([Form::V1, Form::Classic].map(|form| codec::decode(text, form)));
    }
    for refused in decoded.into_iter().filter_map(|decoded| decoded.frame.err()) {
        assert!(!refused.text.is_empty() && refused.text.len() < 512, "{refused:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A frame as clients write it, masked, with any header bits.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let payload =
            prop_oneof![prop::collection::vec(any::<u8>(), 0..300), "[ -~]{0,200}".prop_map(Vec::from)];
        (any::<u8>(), any::<[u8; 4]>(), payload).prop_map(|(first, mask, payload)| {
            let mut frame = vec![first];
            match u8::try_from(payload.len()) {
                Ok(short @ 0..=125) => frame.push(0x80 | short),
                _ => {
                    frame.push(0x80 | 126);
                    frame.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
                }
            }
            frame.extend_from_slice(&mask);
            frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            frame
        })
    }

    proptest! {
        #[test]
        fn any_frames_come_to_the_same_however_they_are_cut(
            piece in any::<u8>(),
            frames in prop::collection::vec(frame(), 0..8),
        ) {
            websocket_frames(&[vec![piece], frames.concat()].concat());
        }

        #[test]
        fn any_bytes_are_taken_or_refused(data in prop::collection::vec(any::<u8>(), 0..300)) {
            websocket_frames(&data);
            client_frames(&data);
        }
    }
}
