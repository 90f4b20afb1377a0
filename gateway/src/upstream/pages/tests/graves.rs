//! What was deleted is shown to nobody, wherever in the log its deletion stands.

use super::*;
use protocol::changes::{Changed, MessageDeletion, MessageUpdate};
use protocol::codec;
use protocol::frames::client::ClientFrame;
use protocol::message::{Message, Sender};

fn message(content: &str) -> Message {
    let text = format!(r#"{{"type":"send_message","channel_id":"c","content":"{content}"}}"#);
    let Ok(ClientFrame::SendMessage(send)) = codec::decode(&text, Form::V1).frame else { panic!("{text}") };
    let sender = Sender { id: UserId::parse("u").unwrap(), name: "Uma".into(), email: String::new() };
    send.into_message(MessageId::parse("m1").unwrap(), sender, Timestamp::from_unix_ms(1), None)
}

fn event(kind: Kind, id: &str, body: &impl serde::Serialize) -> Envelope {
    let body = serde_json::value::to_raw_value(body).unwrap();
    Envelope { kind, message_id: MessageId::parse(id).unwrap(), body, ..envelope(1) }
}

fn of() -> Position {
    Position { epoch: epoch("e"), seq: 1 }
}

/// A message, its edit, and another one between them and the deletion.
fn story() -> Vec<(Seq, Envelope)> {
    let mut other = message("kept");
    other.id = MessageId::parse("m2").unwrap();
    let edited = MessageUpdate { of: of(), changed: Changed::Content, message: message("worse") };
    let deleted = MessageDeletion { of: of(), message_id: MessageId::parse("m1").unwrap() };
    vec![
        (1, event(Kind::Message, "m1", &message("bad"))),
        (2, event(Kind::MessageUpdated, "e1", &edited)),
        (3, event(Kind::Message, "m2", &other)),
        (4, event(Kind::MessageDeleted, "e2", &deleted)),
    ]
}

fn logged(events: &[(Seq, Envelope)], upto: Seq) -> LogPage {
    let entries = events.iter().filter(|(seq, _)| *seq <= upto);
    let entry = |(seq, envelope): &(Seq, Envelope)| Entry {
        channel: channel(),
        seq: *seq,
        envelope: envelope.encode().unwrap().into(),
    };
    LogPage { entries: entries.map(entry).collect(), head: 4, end: upto >= 4, floor: 0 }
}

fn following(events: &[(Seq, Envelope)]) -> Tail {
    let mut tail = Tail::starting(epoch("e"));
    tail.start(0);
    tail.on_lost();
    tail.on_read(events.to_vec(), 4, true);
    tail
}

/// The contents that a page shows.
fn contents(outcome: Outcome) -> Vec<String> {
    let Outcome::Done(made) = outcome else { panic!("there is a page") };
    let (Page::Last(Some(frame)) | Page::More(frame)) = made.page else { panic!("it has a frame") };
    let json = String::from_utf8_lossy(&frame).into_owned();
    let page: Value = serde_json::from_str(&json[json.find('{').unwrap()..]).unwrap();
    let shown = page["events"].as_array().unwrap().iter();
    shown.filter_map(|event| Some(event["message"]["content"].as_str()?.to_owned())).collect()
}

fn nothing_known() -> Draft {
    draft(Position { epoch: epoch("e"), seq: 0 })
}

#[test]
fn a_deletion_in_the_ring_buries_what_stands_before_it() {
    let tail = following(&story());
    assert_eq!(contents(nothing_known().finish(&tail, 4, Dialect::V1Json)), ["", "", "kept"]);
}

#[test]
fn a_deletion_behind_what_was_read_buries_it() {
    let (tail, read) = (following(&story()), nothing_known().with_log(Ok(logged(&story(), 4))));
    assert!(read.question_of_deleted().is_none(), "everything is known");
    assert_eq!(contents(read.finish(&tail, 4, Dialect::V1Json)), ["", "", "kept"]);
}

#[test]
fn where_more_follows_a_worker_says_what_was_deleted() {
    let tail = following(&story());
    let read = || nothing_known().with_log(Ok(logged(&story(), 3)));
    let asked = read().question_of_deleted().unwrap();
    assert_eq!(asked.messages.iter().map(MessageId::as_str).collect::<Vec<_>>(), ["m1", "m2"]);
    let deleted = vec![(MessageId::parse("m1").unwrap(), Timestamp::from_unix_ms(9))];
    let told = read().with_deleted(Ok(DeletedAnswer { deleted }));
    assert_eq!(contents(told.finish(&tail, 4, Dialect::V1Json)), ["", "", "kept"]);
    assert!(read().with_deleted(Err(ErrorCode::Unavailable)).has_failed(), "then nobody is shown anything");
}

#[test]
fn a_deletion_that_comes_later_makes_what_was_read_worthless() {
    let before = following(&story()[..3]);
    let mut draft = nothing_known();
    assert!(!draft.forget_deleted(&before));
    let mut draft = draft.with_log(Ok(logged(&story(), 3)));
    assert!(!draft.forget_deleted(&before));
    assert!(draft.forget_deleted(&following(&story())));
    assert!(draft.is_unasked() && draft.read.is_empty());
}

#[test]
fn what_was_read_for_a_channel_that_was_followed_before_is_worthless() {
    let mut draft = nothing_known();
    assert!(draft.forget_deleted(&following(&story()[..3]).counting_from(1 << 32)));
    let mut draft = draft.with_log(Ok(logged(&story(), 3)));
    // Nobody followed it when the message was deleted, so that the next tail begins behind that.
    let mut again = Tail::starting(epoch("e")).counting_from(2 << 32);
    again.start(4);
    assert!(draft.forget_deleted(&again));
}
