//! What others do to a user's memberships while his socket is open.

use super::*;
use protocol::time::Timestamp;

/// The directory says: a member of these channels, as of this version.
fn member_of(version: u64, channels: &[&str]) -> Input {
    changed(version, channels, |_| ())
}

fn changed(version: u64, channels: &[&str], change: impl Fn(&mut Membership)) -> Input {
    let mut answer = directory(2).unwrap();
    let template = answer.channels[0].clone();
    let membership = |id: &&str| {
        let mut membership =
            Membership { channel_id: channel(id), name: (*id).to_owned(), ..template.clone() };
        change(&mut membership);
        membership
    };
    answer.version = version;
    answer.channels = channels.iter().map(membership).collect();
    Input::Memberships(Arc::new(answer))
}

fn kinds(actions: &[Action]) -> Vec<String> {
    let kind = |action: &Action| match action {
        Action::Join(id) => format!("join {id}"),
        Action::Leave(id) => format!("leave {id}"),
        Action::GoLive(ids) => format!("live {ids:?}"),
        Action::Send(_) => sent(std::slice::from_ref(action))[0]["type"].as_str().unwrap().to_owned(),
        other => format!("{other:?}"),
    };
    actions.iter().map(kind).collect()
}

#[test]
fn who_is_added_hears_the_channel_from_its_cursor_on() {
    for form in [Form::V1, Form::Classic] {
        let mut session = open(form, false);
        let joining = session.on(member_of(2, &["a", "b", "c"]), at(NOW));
        assert_eq!(kinds(&joining), ["join c"]);
        assert!(session.takes_frames(), "nobody waits for what he did not ask for");
        let joined = session.on(Input::Joined(channel("c"), position(9)), at(NOW));
        assert_eq!(kinds(&joined), ["channel_joined", r#"live ["c"]"#]);
        let frame = &sent(&joined)[0];
        assert_eq!(
            (&frame["channel_id"], &frame["seq"], &frame["ref"]),
            (&"c".into(), &9.into(), &().into())
        );
        assert_eq!((&frame["role"], &frame["reason"]), (&"MEMBER".into(), &"added".into()));
        assert!(matches!(frame_of(&mut session, "c"), Action::Append(_)), "and may speak there");
    }
}

/// What follows from a message to a channel.
fn frame_of(session: &mut Session, to: &str) -> Action {
    frame(session, &message(to, "r"), NOW).remove(0)
}

#[test]
fn who_is_removed_is_told_and_gets_nothing_more() {
    for form in [Form::V1, Form::Classic] {
        let mut session = open(form, false);
        let removed = session.on(member_of(2, &["b"]), at(NOW));
        assert_eq!(kinds(&removed), ["leave a", "channel_left"]);
        let told = &sent(&removed)[0];
        assert_eq!(
            (&told["channel_id"], &told["reason"], &told["ref"]),
            (&"a".into(), &"removed".into(), &().into())
        );
        assert_eq!(codes(&frame(&mut session, &message("a", "r"), NOW)), ["permission_denied"]);
        let join = r#"{"type":"join_channel","channel_id":"a"}"#;
        assert_eq!(codes(&frame(&mut session, join, NOW)), ["permission_denied"]);
        assert!(matches!(frame_of(&mut session, "b"), Action::Append(_)), "the other channel is as it was");
    }
    let mut session = open(Form::V1, false);
    session.on(member_of(2, &["b"]), at(NOW));
    for kind in ["fetch_history", "typing_start", "leave_channel"] {
        let json = format!(r#"{{"type":"{kind}","channel_id":"a"}}"#);
        assert_eq!(codes(&frame(&mut session, &json, NOW)), ["unknown_channel"], "{kind}");
    }
    let resume = r#"{"type":"resume","channels":[{"channel_id":"a","epoch":"e","seq":1}]}"#;
    assert_eq!(kinds(&frame(&mut session, resume, NOW)), ["channel_left"]);
    assert!(matches!(&session.on(Input::Gone, at(NOW))[..], [Action::Leave(id)] if *id == channel("b")));
}

#[test]
fn what_waits_in_a_channel_is_refused_with_the_membership() {
    let mut session = open(Form::V1, false);
    for reference in ["out", "waits", "waits too"] {
        frame(&mut session, &message("a", reference), NOW);
    }
    let history = |id: &str, n| format!(r#"{{"type":"fetch_history","channel_id":"{id}","ref":"{id}{n}"}}"#);
    for json in [history("a", 1), history("a", 2), history("b", 1)] {
        frame(&mut session, &json, NOW);
    }
    assert!(matches!(session.on(Input::Room, at(NOW))[..], [Action::History(_)]), "one page at a time");
    frame(&mut session, r#"{"type":"typing_start","channel_id":"a"}"#, NOW);
    let removed = session.on(member_of(2, &["b"]), at(NOW));
    let refused: Vec<_> =
        sent(&removed).iter().map(|frame| (frame["ref"].clone(), frame["code"].clone())).collect();
    let expected =
        [("a2", "unknown_channel"), ("waits", "permission_denied"), ("waits too", "permission_denied")];
    assert_eq!(refused[..3], expected.map(|(reference, code)| (reference.into(), code.into())));
    assert_eq!(kinds(&removed)[4..], ["leave a", "channel_left"], "after the end of typing");
    assert_eq!(sent(&session.on(answered("a", Ok(8)), at(NOW)))[0]["type"], "ack", "it was logged");
    let page = HistoryAnswer { messages: Vec::new(), more: false };
    let answer = session.on(Input::History(Ok(page.clone())), at(NOW));
    assert_eq!(
        (&sent(&answer)[0]["ref"], codes(&answer)),
        (&"a1".into(), vec!["unknown_channel".to_owned()])
    );
    assert!(
        matches!(&session.on(Input::Room, at(NOW))[..], [Action::History(asked)] if asked.channel_id == channel("b"))
    );
    assert_eq!(sent(&session.on(Input::History(Ok(page)), at(NOW)))[0]["type"], "history");
    assert!(session.on(Input::Tick, at(NOW + 60_000)).is_empty(), "nothing is left of it");
}

#[test]
fn an_answer_that_is_not_newer_changes_nothing() {
    for version in [0, 1] {
        let mut session = open(Form::V1, false);
        assert!(session.on(member_of(version, &["b", "c"]), at(NOW)).is_empty());
        assert!(matches!(frame_of(&mut session, "a"), Action::Append(_)));
    }
    let mut session = Session::new(Form::V1, at(NOW));
    session.on(Input::Verified { outcome: verified(NOW), resume: false }, at(NOW));
    assert!(session.on(member_of(2, &[]), at(NOW)).is_empty(), "it is not open yet");
    session.on(Input::Directory(directory(2)), at(NOW));
    assert_eq!(session.version(), None);
    assert!(session.on(member_of(2, &[]), at(NOW)).is_empty());
}

#[test]
fn a_mute_and_its_end_take_effect_at_once() {
    let mut session = open(Form::V1, false);
    let muted = |until| move |one: &mut Membership| one.muted_until = Some(Timestamp::from_unix_ms(until));
    assert!(session.on(changed(2, &["a", "b"], muted(NOW + 10)), at(NOW)).is_empty());
    assert_eq!(codes(&frame(&mut session, &message("a", "r"), NOW + 9)), ["permission_denied"]);
    assert!(matches!(frame(&mut session, &message("a", "r"), NOW + 10)[..], [Action::Append(_)]));
    session.on(changed(3, &["a", "b"], muted(NOW + 99)), at(NOW));
    session.on(member_of(4, &["a", "b"]), at(NOW));
    assert!(matches!(frame(&mut session, &message("b", "r"), NOW)[..], [Action::Append(_)]));
    let promoted = |one: &mut Membership| one.role = Role::Moderator;
    assert!(
        session.on(changed(5, &["a", "b"], promoted), at(NOW)).is_empty(),
        "the channel's own event tells it"
    );
    frame(&mut session, r#"{"type":"join_channel","channel_id":"a"}"#, NOW);
    let joined = session.on(Input::Joined(channel("a"), position(9)), at(NOW));
    assert_eq!(sent(&joined)[0]["role"], "MODERATOR");
}

#[test]
fn a_channel_that_was_left_stays_silent() {
    let mut session = open(Form::V1, false);
    frame(&mut session, r#"{"type":"leave_channel","channel_id":"a"}"#, NOW);
    assert!(session.on(member_of(2, &["a", "b"]), at(NOW)).is_empty(), "he is a member, and does not listen");
    assert_eq!(kinds(&session.on(member_of(3, &["b"]), at(NOW))), ["channel_left"]);
    assert_eq!(
        kinds(&session.on(member_of(4, &["a", "b"]), at(NOW))),
        ["join a"],
        "whoever is added listens"
    );
}

#[test]
fn the_page_of_a_channel_that_was_taken_is_nobodys() {
    let mut session = open(Form::V1, true);
    let resume = r#"{"type":"resume","last":true,"channels":[{"channel_id":"a","epoch":"e","seq":1}]}"#;
    frame(&mut session, resume, NOW);
    session.on(Input::Room, at(NOW));
    assert!(session.awaits_page(&channel("a")));
    session.on(member_of(2, &[]), at(NOW));
    assert!(!session.awaits_page(&channel("a")));
    session.on(Input::Resumed { channel: channel("a"), live: false }, at(NOW));
    assert_eq!(sent(&session.on(Input::Room, at(NOW)))[0]["type"], "resume_done", "nor is b resumed");
    assert_eq!(
        closes(&session.on(Input::Tick, at(NOW + limits::HELD_TIME_MS))),
        None,
        "nothing hangs on the client"
    );
}

#[test]
fn a_channel_may_be_taken_while_it_is_added() {
    let mut session = open(Form::V1, false);
    session.on(member_of(2, &["a", "b", "c"]), at(NOW));
    assert_eq!(kinds(&session.on(member_of(3, &["a", "b"]), at(NOW))), ["leave c"], "he was not told of it");
    assert!(session.on(Input::Joined(channel("c"), position(9)), at(NOW)).is_empty());
    session.on(member_of(4, &["a", "b", "c"]), at(NOW));
    let join = frame(&mut session, r#"{"type":"join_channel","channel_id":"c","ref":"j"}"#, NOW);
    assert_eq!(kinds(&join), ["join c"]);
    assert_eq!(kinds(&session.on(member_of(5, &["a", "b"]), at(NOW))), ["leave c", "error", "channel_left"]);
    assert!(session.takes_frames());
}

#[test]
fn who_asks_for_what_is_added_just_now_is_answered_once() {
    let mut session = open(Form::V1, false);
    session.on(member_of(2, &["a", "b", "c"]), at(NOW));
    frame(&mut session, r#"{"type":"join_channel","channel_id":"c","ref":"j"}"#, NOW);
    let joined = session.on(Input::Joined(channel("c"), position(9)), at(NOW));
    assert_eq!((&sent(&joined)[0]["ref"], &sent(&joined)[0]["reason"]), (&"j".into(), &().into()));
    assert!(session.on(Input::Joined(channel("c"), position(9)), at(NOW)).is_empty());
    session.on(member_of(3, &["a", "b", "c", "d"]), at(NOW));
    let leave = frame(&mut session, r#"{"type":"leave_channel","channel_id":"d"}"#, NOW);
    assert_eq!(kinds(&leave), ["leave d", "channel_left"]);
    assert!(session.on(Input::Joined(channel("d"), position(9)), at(NOW)).is_empty(), "he does not want it");
}

#[test]
fn a_channel_that_cannot_be_subscribed_is_tried_again() {
    let mut session = open(Form::V1, false);
    session.on(member_of(2, &["a", "b", "c"]), at(NOW));
    assert!(session.on(Input::SubscribeFailed(channel("c")), at(NOW)).is_empty());
    assert_eq!(kinds(&session.on(Input::Tick, at(NOW))), ["join c"]);
    assert!(session.on(Input::Tick, at(NOW)).is_empty(), "the answer is on its way");
    let joined = session.on(Input::Joined(channel("c"), position(9)), at(NOW));
    assert_eq!(sent(&joined)[0]["reason"], "added");
}

#[test]
fn what_one_socket_cannot_hear_takes_no_place_of_what_it_hears() {
    let mut session = open(Form::V1, false);
    let many: Vec<String> = (0..limits::CHANNELS_PER_SOCKET_MAX).map(|n| format!("Z{n}")).collect();
    let all: Vec<&str> = many.iter().map(String::as_str).chain(["a", "b"]).collect();
    let actions = session.on(member_of(2, &all), at(NOW));
    assert_eq!(actions.len(), limits::CHANNELS_PER_SOCKET_MAX - 2);
    assert!(actions.iter().all(|action| matches!(action, Action::Join(_))), "nobody is told that he left");
}
