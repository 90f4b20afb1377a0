//! Changes of messages, with and without their channel.

use super::*;

fn done(id: Option<&str>, result: Result<u64, ErrorCode>) -> Input {
    let Input::Done(Done { result, .. }) = answered("a", result) else { unreachable!("it is one") };
    Input::Done(Done { channel: id.map(channel), result })
}

fn react(reference: &str, more: &str) -> String {
    format!(r#"{{"type":"react_to_message","message_id":"m","reaction":"x","ref":"{reference}"{more}}}"#)
}

/// The channels of the commands among actions.
fn commands(actions: &[Action]) -> Vec<Option<String>> {
    let commanded = actions.iter().filter_map(|action| match action {
        Action::Command { channel, .. } => Some(channel.as_ref().map(ToString::to_string)),
        _ => None,
    });
    commanded.collect()
}

#[test]
fn a_change_in_a_channel_waits_its_turn_there() {
    let mut session = open(Form::V1, false);
    assert!(matches!(frame(&mut session, &message("a", "1"), NOW)[..], [Action::Append(_)]));
    assert!(frame(&mut session, &react("2", r#","channel_id":"a""#), NOW).is_empty());
    let actions = session.on(answered("a", Ok(8)), at(NOW));
    assert_eq!(commands(&actions), [Some("a".to_owned())]);
    let acked = sent(&session.on(answered("a", Ok(9)), at(NOW)));
    assert_eq!(
        (&acked[0]["type"], &acked[0]["ref"], &acked[0]["seq"]),
        (&"ack".into(), &"2".into(), &9.into())
    );
}

#[test]
fn what_names_no_channel_waits_for_all_and_all_wait_for_it() {
    let mut session = open(Form::V1, false);
    assert!(matches!(frame(&mut session, &message("a", "1"), NOW)[..], [Action::Append(_)]));
    assert!(frame(&mut session, &react("2", ""), NOW).is_empty(), "a message is out");
    assert!(frame(&mut session, &message("b", "3"), NOW).is_empty(), "it would overtake");
    assert!(frame(&mut session, &message("a", "4"), NOW).is_empty());
    assert!(frame(&mut session, &react("5", ""), NOW).is_empty());
    let actions = session.on(answered("a", Ok(8)), at(NOW));
    assert_eq!(commands(&actions), [None]);
    let actions = session.on(done(None, Ok(9)), at(NOW));
    assert_eq!(sent(&actions)[0]["ref"], "2");
    assert_eq!(
        actions.iter().filter(|action| matches!(action, Action::Append(_))).count(),
        2,
        "both channels go on"
    );
    assert!(commands(&session.on(answered("b", Ok(10)), at(NOW))).is_empty(), "one is out still");
    assert_eq!(commands(&session.on(answered("a", Ok(11)), at(NOW))), [None]);
    session.on(done(None, Ok(12)), at(NOW));
    assert!(matches!(frame(&mut session, &message("b", "6"), NOW)[..], [Action::Append(_)]), "nothing waits");
}

#[test]
fn what_waits_behind_a_failure_fails_with_it() {
    let mut session = open(Form::V1, false);
    frame(&mut session, &react("1", ""), NOW);
    frame(&mut session, &message("a", "2"), NOW);
    frame(&mut session, &react("3", ""), NOW);
    let actions = session.on(done(None, Err(ErrorCode::UnknownOutcome)), at(NOW));
    assert_eq!(codes(&actions), ["unknown_outcome", "unavailable", "unavailable"]);
    // A failure in one channel is none in another; what names no channel may be of either, and is tried.
    frame(&mut session, &message("a", "4"), NOW);
    frame(&mut session, &react("5", ""), NOW);
    frame(&mut session, &message("a", "6"), NOW);
    let actions = session.on(answered("a", Err(ErrorCode::Unavailable)), at(NOW));
    assert_eq!((codes(&actions), commands(&actions)), (vec!["unavailable".to_owned(); 2], vec![None]));
}

#[test]
fn what_waits_is_bounded_whatever_it_waits_for() {
    let mut session = open(Form::V1, false);
    frame(&mut session, &react("out", ""), NOW);
    for n in 0..limits::DURABLE_FRAMES_QUEUED_MAX {
        let frame = frame(&mut session, &if n % 2 == 0 { react("x", "") } else { message("a", "x") }, NOW);
        assert!(frame.is_empty());
    }
    assert_eq!(codes(&frame(&mut session, &react("y", ""), NOW)), ["rate_limited"]);
    assert_eq!(codes(&frame(&mut session, &message("b", "y"), NOW)), ["rate_limited"]);
}

#[test]
fn a_drain_waits_for_what_is_out() {
    let mut session = open(Form::V1, false);
    frame(&mut session, &react("1", ""), NOW);
    assert!(closes(&session.on(Input::Depart(Farewell::Restart), at(NOW))).is_none());
    assert_eq!(closes(&session.on(done(None, Ok(9)), at(NOW))), Some(CloseCode::Restart));
}

#[test]
fn refusals_of_reactions_are_the_old_ones() {
    let told = |form, code| {
        let mut session = open(form, false);
        let text = react("1", "");
        assert_eq!(commands(&frame(&mut session, &text, NOW)), [None]);
        let actions = session.on(done(None, Err(code)), at(NOW));
        sent(&actions).first().map(|frame| (frame["code"].clone(), frame["message"].clone()))
    };
    let failed = |code: &str| Some((code.into(), "Failed to update reaction".into()));
    for form in [Form::Classic, Form::V1] {
        assert_eq!(told(form, ErrorCode::Unavailable), failed("unavailable"));
    }
    assert_eq!(told(Form::Classic, ErrorCode::UnknownMessage), None, "the old consumer was silent");
    let unknown = Some(("unknown_message".into(), "Unknown message".into()));
    assert_eq!(told(Form::V1, ErrorCode::UnknownMessage), unknown);
}

#[test]
fn a_channel_of_others_is_refused_at_once() {
    let mut session = open(Form::V1, false);
    let actions = frame(&mut session, &react("1", r#","channel_id":"secret""#), NOW);
    assert_eq!((codes(&actions), actions.len()), (vec!["permission_denied".to_owned()], 1));
}
