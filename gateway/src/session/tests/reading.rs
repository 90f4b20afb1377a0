//! How far somebody has read.

use super::*;

fn mark(reference: &str, more: &str) -> String {
    format!(r#"{{"type":"mark_read","channel_id":"a","ref":"{reference}"{more}}}"#)
}

/// Takes the one question out of actions.
fn asked(mut actions: Vec<Action>) -> Reading {
    match (actions.pop(), actions.len()) {
        (Some(Action::MarkRead { asked, .. }), 0) => asked,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_says_how_far_was_read_whoever_said_so() {
    let mut session = open(Form::V1, false);
    let asked = asked(frame(&mut session, &mark("1", r#","message_id":"m""#), NOW));
    let result = Ok(ReadAnswer { read: position(7) });
    let told = sent(&session.on(Input::MarkedRead { asked, result }, at(NOW)));
    assert_eq!((&told[0]["type"], &told[0]["ref"]), (&"messages_marked_read".into(), &"1".into()));
    assert_eq!((&told[0]["message_id"], &told[0]["read_up_to"]["seq"]), (&"m".into(), &7.into()));
    assert_eq!(told[0]["user_id"], "42");
}

#[test]
fn strangers_and_floods_are_refused() {
    let mut session = open(Form::V1, false);
    let stranger = r#"{"type":"mark_read","channel_id":"secret"}"#;
    assert_eq!(codes(&frame(&mut session, stranger, NOW)), ["unknown_channel"]);
    let mut out: Vec<Reading> =
        (0..limits::READS_OUTSTANDING_MAX).map(|_| asked(frame(&mut session, &mark("x", ""), NOW))).collect();
    assert_eq!(codes(&frame(&mut session, &mark("y", ""), NOW)), ["rate_limited"]);
    let asked_once = out.pop().unwrap();
    let failed = Input::MarkedRead { asked: asked_once, result: Err(ErrorCode::Unavailable) };
    assert_eq!(codes(&session.on(failed, at(NOW))), ["unavailable"]);
    asked(frame(&mut session, &mark("z", ""), NOW));
}
