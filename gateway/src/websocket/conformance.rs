//! The rules of RFC 6455 as tables, and the codec against an independent implementation.

use super::Violation;
use super::decoder::PROTOCOL;
use super::decoder::{Decoder, Incoming, Step};
use super::encoder::{close, ping, pong, text};
use proptest::prelude::*;
use protocol::codes::CloseCode;
use protocol::limits;
use std::io::{Cursor, Read, Write};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// Bytes of the largest frame that is not refused by its header: the largest payload behind the longest header
/// (2 + 8 bytes of length + 4 of mask). RFC 6455 section 5.2.
const FRAME_ON_WIRE_BYTES_MAX: usize = limits::FRAME_BYTES_MAX + 14;

type Frames = Vec<Vec<u8>>;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// One masked client frame, built byte by byte apart from the codec.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        medium @ 126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ MASK[at % 4]));
    bytes
}

/// What the decoder said, without borrows.
fn shown(message: &Incoming<'_>) -> String {
    format!("{message:?}")
}

/// Feeds chunks as a connection does: what is not consumed stays in front of what comes next.
fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, Violation> {
    let mut decoder = Decoder::default();
    let (mut buffer, mut messages) = (Vec::new(), Vec::new());
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        let mut at = 0;
        while let Step::Frame { consumed, message } = decoder.next(&mut buffer[at..], &PROTOCOL, 0)? {
            messages.extend(message.as_ref().map(shown));
            at += consumed;
        }
        buffer.drain(..at);
        assert!(buffer.len() < FRAME_ON_WIRE_BYTES_MAX, "an incomplete frame is below the largest one");
    }
    Ok(messages)
}

fn decode_all(frames: &[Vec<u8>]) -> Result<Vec<String>, Violation> {
    decode([frames.concat().as_slice()])
}

#[test]
fn what_the_rfc_allows_is_taken() {
    let cases: [(&str, Frames, &[&str]); 8] = [
        ("text", vec![frame(0x81, "grüß".as_bytes())], &[r#"Text("grüß")"#]),
        ("empty text", vec![frame(0x81, b"")], &[r#"Text("")"#]),
        ("binary", vec![frame(0x82, &[0, 255])], &["Binary([0, 255])"]),
        ("ping and pong", vec![frame(0x89, b"a"), frame(0x8A, b"b")], &["Ping([97])", "Pong"]),
        ("close without a code", vec![frame(0x88, b"")], &["Close(None)"]),
        ("close with a reason", vec![frame(0x88, b"\x03\xe8bye")], &[r#"Close(Some((1000, "bye")))"#]),
        (
            "fragments with a ping between, cut within a character",
            vec![frame(0x01, b"\xC3"), frame(0x89, b""), frame(0x00, b""), frame(0x80, b"\xA4!")],
            &["Ping([])", r#"Text("ä!")"#],
        ),
        ("binary fragments", vec![frame(0x02, &[255]), frame(0x80, &[1])], &["Binary([255, 1])"]),
    ];
    for (name, frames, expected) in cases {
        assert_eq!(decode_all(&frames).unwrap(), expected, "{name}");
    }
}

#[test]
fn each_broken_rule_has_its_violation() {
    let raw = |bytes: &[u8]| vec![bytes.to_vec()];
    let big = limits::FRAME_BYTES_MAX as u64 + 1;
    let cases: [(&str, Frames, Violation); 22] = [
        ("no mask", raw(&[0x81, 0x01, b'a']), Violation::Unmasked),
        ("first reserved bit", vec![frame(0xC1, b"a")], Violation::ReservedBit),
        ("last reserved bit", vec![frame(0x91, b"a")], Violation::ReservedBit),
        ("data opcode 3", vec![frame(0x83, b"")], Violation::UnknownOpcode),
        ("control opcode B", vec![frame(0x8B, b"")], Violation::UnknownOpcode),
        ("ping in parts", vec![frame(0x09, b"a")], Violation::FragmentedControl),
        ("ping of 126 bytes", vec![frame(0x89, &[0; 126])], Violation::LongControl),
        ("125 in 16 bits", raw(&[0x81, 0xFE, 0, 125]), Violation::LengthNotMinimal),
        ("65,535 in 64 bits", raw(&[0x81, 0xFF, 0, 0, 0, 0, 0, 0, 255, 255]), Violation::LengthNotMinimal),
        ("top bit", raw(&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0]), Violation::LengthTopBit),
        ("nothing to continue", vec![frame(0x80, b"a")], Violation::ContinuationWithoutStart),
        (
            "nothing left to continue",
            vec![frame(0x01, b""), frame(0x80, b""), frame(0x00, b"")],
            Violation::ContinuationWithoutStart,
        ),
        ("text within text", vec![frame(0x01, b"a"), frame(0x81, b"b")], Violation::MessageWithinMessage),
        ("text not UTF-8", vec![frame(0x81, b"a\xFF")], Violation::NotUtf8),
        ("text cut short", vec![frame(0x81, b"\xE2\x82")], Violation::NotUtf8),
        ("surrogate", vec![frame(0x81, b"\xED\xA0\x80")], Violation::NotUtf8),
        ("fragments cut short", vec![frame(0x01, b"\xE2"), frame(0x80, b"\x82")], Violation::NotUtf8),
        ("fragment hopeless at once", vec![frame(0x01, b"\xE2"), frame(0x00, b"a")], Violation::NotUtf8),
        ("half a close code", vec![frame(0x88, b"\x03")], Violation::CloseTruncated),
        ("close reason not UTF-8", vec![frame(0x88, b"\x03\xe8\xFF")], Violation::NotUtf8),
        ("header of a big frame", vec![[&[0x82, 0xFF], &big.to_be_bytes()[..]].concat()], Violation::TooBig),
        ("64 MiB in 14 bytes", raw(&[0x81, 0xFF, 0, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4]), Violation::TooBig),
    ];
    for (name, frames, expected) in cases {
        assert_eq!(decode_all(&frames), Err(expected), "{name}");
    }
}

#[test]
fn close_codes_are_those_of_the_rfc_and_the_registry() {
    let valid = |code: u16| decode_all(&[frame(0x88, &code.to_be_bytes())]).is_ok();
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
        assert!(valid(code), "{code}");
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert!(!valid(code), "{code}");
    }
}

#[test]
fn the_largest_message_passes_and_one_byte_more_is_refused_by_its_header() {
    let half = vec![b'x'; limits::FRAME_BYTES_MAX / 2];
    let whole = vec![b'x'; limits::FRAME_BYTES_MAX];
    assert_eq!(decode_all(&[frame(0x81, &whole)]).unwrap().len(), 1);
    assert_eq!(decode_all(&[frame(0x01, &half), frame(0x80, &half)]).unwrap().len(), 1);
    let one_more = [frame(0x01, &half), frame(0x00, &half), vec![0x80, 0x81]];
    assert_eq!(decode_all(&one_more), Err(Violation::TooBig));
}

#[test]
fn fragments_are_limited_in_number() {
    let fragments = |count: usize| {
        let mut frames = vec![frame(0x01, b"a")];
        frames.extend((2..count).map(|_| frame(0x00, b"a")));
        frames.push(frame(0x80, b"a"));
        decode_all(&frames)
    };
    assert_eq!(fragments(limits::FRAGMENTS_MAX).unwrap().len(), 1);
    assert_eq!(fragments(limits::FRAGMENTS_MAX + 1), Err(Violation::TooManyFragments));
}

#[test]
fn fragments_are_limited_in_time() {
    let start = 5_000;
    let last = start + limits::FRAGMENTS_TIME_MS;
    let mut decoder = Decoder::default();
    assert_eq!(decoder.overdue(&PROTOCOL, u64::MAX), None, "nothing is on its way");
    decoder.next(&mut frame(0x01, b"a"), &PROTOCOL, start).unwrap();
    assert_eq!(decoder.overdue(&PROTOCOL, last), None);
    assert_eq!(decoder.overdue(&PROTOCOL, last + 1), Some(Violation::FragmentsTooSlow));
    assert!(matches!(decoder.next(&mut frame(0x89, b""), &PROTOCOL, last), Ok(Step::Frame { .. })));
    assert_eq!(decoder.next(&mut frame(0x80, b"b"), &PROTOCOL, last + 1), Err(Violation::FragmentsTooSlow));

    let mut in_time = Decoder::default();
    in_time.next(&mut frame(0x01, b"a"), &PROTOCOL, start).unwrap();
    in_time.next(&mut frame(0x80, b"b"), &PROTOCOL, last).unwrap();
    assert_eq!(in_time.overdue(&PROTOCOL, u64::MAX), None, "the message is complete");
}

#[test]
fn an_unfragmented_message_borrows_and_an_idle_decoder_is_one_pointer() {
    let mut bytes = frame(0x81, b"hello");
    let step = Decoder::default().next(&mut bytes, &PROTOCOL, 0).unwrap();
    let Step::Frame { message: Some(Incoming::Text(text)), .. } = step else { panic!("{step:?}") };
    assert!(matches!(text, std::borrow::Cow::Borrowed("hello")));
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
}

#[test]
fn policy_follows_the_protocol_page() {
    let cases = [
        (Violation::Unmasked, 1002),
        (Violation::NotUtf8, 1007),
        (Violation::TooBig, 1009),
        (Violation::TooManyFragments, 4501),
        (Violation::FragmentsTooSlow, 4501),
    ];
    for (violation, code) in cases {
        assert_eq!(violation.close_code().as_u16(), code, "{}", violation.metric_label());
    }
}

/// A socket of the reference implementation: reads what we made, keeps what it makes.
#[derive(Default)]
struct Wire {
    ours: Cursor<Vec<u8>>,
    theirs: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.ours.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.theirs.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn reference(ours: &[u8]) -> WebSocket<Wire> {
    let wire = Wire { ours: Cursor::new(ours.to_vec()), theirs: Vec::new() };
    WebSocket::from_raw_socket(wire, Role::Client, None)
}

#[test]
fn the_reference_client_reads_what_the_encoder_makes() {
    let long = "ü".repeat(40_000);
    let frames = [text("a"), text(&long), ping(), pong(b"p"), close(CloseCode::TooSlow)];
    let mut client = reference(&frames.concat());
    assert_eq!(client.read().unwrap(), Message::text("a"));
    assert_eq!(client.read().unwrap(), Message::text(long));
    assert_eq!(client.read().unwrap(), Message::Ping(Bytes::new()));
    assert_eq!(client.read().unwrap(), Message::Pong(Bytes::from_static(b"p")));
    let Message::Close(Some(last)) = client.read().unwrap() else { panic!("not a close frame") };
    assert_eq!((u16::from(last.code), last.reason.as_str()), (4009, "too slow"));
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        any::<String>().prop_map(Message::text),
        ("[a-zä€😀]{0,9}", 0..4_000_usize).prop_map(|(text, times)| Message::text(text.repeat(times))),
        prop::collection::vec(any::<u8>(), 0..70_000).prop_map(Message::binary),
        prop::collection::vec(any::<u8>(), 0..=125).prop_map(|payload| Message::Ping(payload.into())),
        prop::collection::vec(any::<u8>(), 0..=125).prop_map(|payload| Message::Pong(payload.into())),
    ]
    .prop_filter("within the limit", |message| message.len() <= limits::FRAME_BYTES_MAX)
}

fn expected(message: &Message) -> String {
    match message {
        Message::Text(text) => shown(&Incoming::Text(text.as_str().into())),
        Message::Binary(bytes) => shown(&Incoming::Binary(bytes.as_ref().into())),
        Message::Ping(payload) => shown(&Incoming::Ping(payload)),
        _ => shown(&Incoming::Pong),
    }
}

/// A stream cut at the given places, in any order and with repetitions.
fn chunks<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_the_reference_client_sends_arrives_however_it_is_cut(
        messages in prop::collection::vec(message(), 1..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut client = reference(&[]);
        for message in &messages {
            client.send(message.clone()).unwrap();
        }
        let stream = &client.get_ref().theirs;
        let arrived = decode(chunks(stream, &cuts)).unwrap();
        prop_assert_eq!(arrived, messages.iter().map(expected).collect::<Vec<_>>());
    }

    #[test]
    fn fragments_arrive_as_one_text_byte_by_byte_too(
        text in any::<String>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let parts = chunks(text.as_bytes(), &cuts);
        let last = parts.len() - 1;
        let stream: Vec<u8> = parts.iter().enumerate().flat_map(|(at, part)| {
            frame(if at == 0 { 0x01 } else { 0x00 } | if at == last { 0x80 } else { 0x00 }, part)
        }).collect();
        prop_assert_eq!(decode(stream.chunks(1)).unwrap(), vec![shown(&Incoming::Text(text.into()))]);
    }

    #[test]
    fn random_bytes_never_panic_and_give_the_same_however_they_are_cut(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        likely in prop::collection::vec(prop::sample::select(vec![0x01_u8, 0x80, 0x81, 0x88, 0x89, 0x00, 0xFE]), 0..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
    ) {
        for stream in [bytes.clone(), [likely, bytes].concat()] {
            prop_assert_eq!(decode([stream.as_slice()]), decode(chunks(&stream, &cuts)));
        }
    }
}
