//! The golden frames, read and written. The files are the truth: a difference is a fault of the code.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use protocol::codec::{Decoded, decode, decode_msgpack};
use protocol::frames::Form;
use protocol::frames::client::ClientFrame;
use protocol::frames::server::ServerFrame;
use protocol::msgpack;
use protocol::requests::HistoryRange;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct ClientVector {
    name: String,
    form: String,
    text: String,
    means: Option<Value>,
    error: Option<Value>,
    r#ref: Option<String>,
    #[serde(default)]
    silent: bool,
}

#[test]
fn client_frames_mean_what_the_vectors_say() {
    let vectors: Vec<ClientVector> = serde_json::from_str(include_str!("../vectors/client.json")).unwrap();
    assert!(vectors.len() > 100);
    for vector in vectors {
        let form = if vector.form == "classic" { Form::Classic } else { Form::V1 };
        let Decoded { reference, frame } = decode(&vector.text, form);
        let name = &vector.name;
        match (frame, &vector.means, &vector.error) {
            (Ok(frame), Some(means), None) => assert_eq!(meaning(&frame), *means, "{name}"),
            (Err(error), None, Some(expected)) => {
                assert_eq!(error.code.as_str(), expected["code"], "{name}: {}", error.text);
                if let Some(message) = expected["message"].as_str() {
                    assert_eq!(error.text, message, "{name}");
                }
                assert_eq!(error.silent_on_classic, vector.silent, "{name}");
                assert_eq!(reference.as_ref().map(|r| r.as_str()), vector.r#ref.as_deref(), "{name}");
            }
            (other, ..) => panic!("{name}: {other:?}"),
        }
    }
}

/// A frame as the vectors write it: its type and its fields. A token is left out, as everywhere.
fn meaning(frame: &ClientFrame) -> Value {
    match frame {
        ClientFrame::Authenticate { token, resume } => {
            assert!(!token.0.is_empty());
            json!({"authenticate": {"resume": resume}})
        }
        ClientFrame::SendMessage(send) => json!({"send_message": send}),
        ClientFrame::ChangeMessage(change) => json!({"change_message": change}),
        ClientFrame::MarkRead(mark) => json!({"mark_read": mark}),
        ClientFrame::JoinChannel(channel) => json!({"join_channel": channel}),
        ClientFrame::LeaveChannel(channel) => json!({"leave_channel": channel}),
        ClientFrame::TypingStart(channel) => json!({"typing_start": channel}),
        ClientFrame::TypingStop(channel) => json!({"typing_stop": channel}),
        ClientFrame::FetchHistory(wanted) => {
            let range = match &wanted.range {
                HistoryRange::Newest => json!("newest"),
                HistoryRange::Before(position) => json!({"before": position}),
                HistoryRange::After(position) => json!({"after": position}),
                HistoryRange::Around(message) => json!({"around": message}),
            };
            json!({"fetch_history": {"channel_id": wanted.channel_id, "range": range,
                "thread_id": wanted.thread_id, "limit": wanted.limit}})
        }
        ClientFrame::Resume { channels, last } => json!({"resume": {"channels": channels, "last": last}}),
        ClientFrame::Ping => json!({"ping": null}),
    }
}

#[derive(Deserialize)]
struct ServerVector {
    name: String,
    v1: Box<RawValue>,
    classic: Option<Box<RawValue>>,
}

#[test]
fn server_frames_are_written_as_the_vectors_say() {
    let vectors: Vec<ServerVector> = serde_json::from_str(include_str!("../vectors/server.json")).unwrap();
    assert!(vectors.len() > 20);
    for ServerVector { name, v1, classic } in vectors {
        let frame = ServerFrame::decode(v1.get()).unwrap().unwrap_or_else(|| panic!("{name} is unknown"));
        assert_eq!(compact(&frame.encode(Form::V1).unwrap().unwrap()), compact(v1.get()), "{name}");
        let written = frame.encode(Form::Classic).unwrap();
        let expected = classic.map(|text| compact(text.get()));
        assert_eq!(written.as_deref().map(compact), expected, "{name}, classic");
    }
}

#[derive(Deserialize)]
struct MsgpackVector {
    name: String,
    json: Value,
    msgpack: String,
}

#[test]
fn frames_are_the_same_in_messagepack() {
    let vectors: Vec<MsgpackVector> = serde_json::from_str(include_str!("../vectors/msgpack.json")).unwrap();
    assert!(vectors.len() > 70);
    for MsgpackVector { name, json, msgpack: hex } in vectors {
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let read: Value = serde_json::from_str(&msgpack::to_json(&bytes).unwrap()).unwrap();
        assert_eq!(read, json, "{name}");
        assert_eq!(msgpack::from_json(&json.to_string()).unwrap(), bytes, "{name}");
        if name.starts_with("client: ") {
            let (binary, text) = (decode_msgpack(&bytes), decode(&json.to_string(), Form::V1));
            assert_eq!((binary.reference, binary.frame), (text.reference, text.frame), "{name}");
        }
    }
}

#[derive(Deserialize)]
struct BadServerVector {
    name: String,
    text: String,
}

#[test]
fn bad_server_frames_are_refused() {
    let vectors: Vec<BadServerVector> =
        serde_json::from_str(include_str!("../vectors/server_bad.json")).unwrap();
    for BadServerVector { name, text } in vectors {
        assert!(ServerFrame::decode(&text).is_err(), "{name}");
    }
}

/// Takes the white space between tokens out and keeps the order of fields.
fn compact(json: &str) -> String {
    let (mut out, mut in_text, mut escaped) = (String::new(), false, false);
    for character in json.chars() {
        if in_text {
            in_text = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character.is_whitespace() {
            continue;
        } else {
            in_text = character == '"';
        }
        out.push(character);
    }
    out
}
