//! What holds for any input: reading never panics, and what is written is read back as it was.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use proptest::prelude::*;
use protocol::codec;
use protocol::envelope::{Envelope, Fact, Logged};
use protocol::frames::Form;
use protocol::frames::server::ServerFrame;
use protocol::ids::{ChannelId, ClientMsgId, Epoch, MessageId, UserId};
use protocol::message::{Message, MessageType, Metadata, Priority, Sender};
use protocol::msgpack;
use protocol::time::Timestamp;
use serde_json::{Value, json};

fn id() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_-]{1,64}"
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 53)..=1 << 53).prop_map(Value::from),
        (-1e9..1e9_f64).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const KINDS: &[&str] =
    &["send_message", "join_channel", "typing_start", "fetch_history", "resume", "authenticate"];

const FIELDS: &[&str] =
    &["channel_id", "content", "metadata", "ref", "channels", "limit", "before", "token", "retry"];

/// A frame of a known type whose known fields hold anything.
fn any_frame() -> impl Strategy<Value = String> {
    let field = (prop::sample::select(FIELDS), any_json());
    (prop::sample::select(KINDS), prop::collection::vec(field, 0..6)).prop_map(|(kind, fields)| {
        let mut frame = json!({"type": kind});
        for (name, value) in fields {
            frame[name] = value;
        }
        frame.to_string()
    })
}

prop_compose! {
    fn message()(
        ids in (id(), id(), prop::option::of(id()), prop::option::of(id())),
        name in "[^\u{0}-\u{1f}]{0,20}",
        content in ".{0,200}",
        metadata in prop::collection::hash_map("[a-z]{1,6}", ".{0,12}", 0..3),
        place in prop::option::of((-90.0..90.0_f64, -180.0..180.0_f64)),
        at in 0..4_000_000_000_000_u64,
    ) -> Message {
        let (id, channel, reply_to, client_msg_id) = ids;
        Message {
            id: MessageId::parse(&id).unwrap(),
            channel_id: ChannelId::parse(&channel).unwrap(),
            sender: Sender { id: UserId::parse("42").unwrap(), name, email: String::new() },
            content,
            message_type: MessageType::Text,
            created_at: Timestamp::from_unix_ms(at),
            reply_to: reply_to.as_deref().map(|id| MessageId::parse(id).unwrap()),
            thread_id: None,
            is_emergency: false,
            priority: Priority::High,
            metadata: Metadata::check(serde_json::value::to_raw_value(&metadata).unwrap()).unwrap(),
            latitude: place.map(|(latitude, _)| latitude),
            longitude: place.map(|(_, longitude)| longitude),
            location_name: None,
            captured_at: None,
            client_msg_id: client_msg_id.as_deref().map(|id| ClientMsgId::parse(id).unwrap()),
            mentioned_users: Vec::new(),
            edited_at: None,
            deleted_at: None,
            is_pinned: false,
            reactions: Vec::new(),
        }
    }
}

proptest! {
    #[test]
    fn messagepack_is_json_under_another_encoding(value in any_json()) {
        let bytes = msgpack::from_json(&value.to_string()).unwrap();
        let back: Value = serde_json::from_str(&msgpack::to_json(&bytes).unwrap()).unwrap();
        prop_assert_eq!(back, value);
    }

    #[test]
    fn whatever_is_read_as_messagepack_is_json(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(json) = msgpack::to_json(&bytes) {
            prop_assert!(serde_json::from_str::<Value>(&json).is_ok(), "{}", json);
        }
        let _read = codec::decode_msgpack(&bytes);
    }

    #[test]
    fn a_frame_means_the_same_in_both_encodings(text in any_frame()) {
        let json = codec::decode(&text, Form::V1);
        let msgpack = codec::decode_msgpack(&msgpack::from_json(&text).unwrap());
        prop_assert_eq!(json.reference, msgpack.reference);
        match (json.frame, msgpack.frame) {
            (Err(json), Err(msgpack)) => prop_assert_eq!(json.code, msgpack.code),
            (json, msgpack) => prop_assert_eq!(json, msgpack),
        }
    }

    #[test]
    fn reading_never_panics(text in "\\PC{0,200}") {
        for form in [Form::V1, Form::Classic] {
            let _read = codec::decode(&text, form);
        }
        let _refused = ServerFrame::decode(&text);
        let _refused = Envelope::decode(text.as_bytes());
    }

    #[test]
    fn frames_with_any_fields_are_read_or_refused(text in any_frame()) {
        for form in [Form::V1, Form::Classic] {
            let decoded = codec::decode(&text, form);
            if let Err(error) = decoded.frame {
                prop_assert!(!error.text.is_empty() && error.text.len() < 400);
            }
        }
    }

    #[test]
    fn a_message_survives_the_log_and_the_wire(message in message(), seq in 1..1_u64 << 53, gap in 1..100_u64) {
        let envelope = Envelope::message(&message, 7).unwrap();
        let logged = Envelope::decode(&envelope.encode().unwrap()).unwrap();
        prop_assert_eq!(logged.fact().unwrap(), Fact::Message(Box::new(message.clone())));
        let (epoch, prev) = (Epoch::new(1, 2), seq.saturating_sub(gap));
        let logged = Logged { seq, prev, envelope: logged };
        let spliced = codec::encode_event(&epoch, &logged, Form::V1).unwrap().unwrap();
        let typed = codec::event_frame(&epoch, &logged).unwrap().encode(Form::V1).unwrap().unwrap();
        prop_assert_eq!(&spliced, &typed, "splicing writes what serialising would");
        match ServerFrame::decode(&spliced).unwrap().unwrap() {
            ServerFrame::ChatMessage(frame) => prop_assert_eq!(frame.message, message),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
