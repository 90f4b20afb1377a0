//! Tables of input -> actions. What a socket sees end to end is tested in `deploy/standalone/tests`.

use super::*;
use protocol::claims::Profile;
use protocol::codec;
use protocol::envelope::{ChannelType, Role};
use protocol::ids::{Epoch, MessageId, UserId};
use protocol::requests::{CommandAnswer, Membership};

mod changing;
mod memberships;
mod reading;

const NOW: u64 = 1_000_000;

pub(crate) fn at(now: u64) -> Moment {
    Moment { unix_ms: now, up_ms: now, random: [7; 10] }
}

fn channel(id: &str) -> ChannelId {
    ChannelId::parse(id).unwrap()
}

fn position(seq: u64) -> Position {
    Position { epoch: Epoch::parse("e").unwrap(), seq }
}

fn verified(expires_at_unix_s: u64) -> Result<Verified, CloseCode> {
    let id = UserId::parse("42").unwrap();
    let profile = Profile {
        id,
        name: "Dana".into(),
        email: String::new(),
        role: String::new(),
        company: String::new(),
    };
    Ok(Verified { profile, expires_at_unix_s })
}

fn directory(members: u32) -> Answer<SessionAnswer> {
    let membership = |id| Membership {
        channel_id: channel(id),
        name: id.to_owned(),
        channel_type: ChannelType::General,
        role: Role::Member,
        members,
        muted_until: None,
        read: None,
        unread: 0,
    };
    let sender = Sender { id: UserId::parse("42").unwrap(), name: "Dana".into(), email: String::new() };
    Ok(SessionAnswer { sender, version: 1, channels: vec![membership("a"), membership("b")] })
}

/// A session as it stands after `connection_established`.
pub(crate) fn open(form: Form, resume: bool) -> Session {
    let mut session = Session::new(form, at(NOW));
    session.on(Input::Verified { outcome: verified(NOW / 1_000 + 3_600), resume }, at(NOW));
    session.on(Input::Directory(directory(2)), at(NOW));
    session.on(Input::Subscribed(vec![(channel("a"), position(3)), (channel("b"), position(5))]), at(NOW));
    session
}

fn frame(session: &mut Session, json: &str, now: u64) -> Vec<Action> {
    session.on(Input::Frame(codec::decode(json, session.form)), at(now))
}

/// The frames among actions, as JSON without what varies.
fn sent(actions: &[Action]) -> Vec<serde_json::Value> {
    let frames = actions.iter().filter_map(|action| match action {
        Action::Send(frame) => frame.encode(Form::V1).unwrap(),
        _ => None,
    });
    frames.map(|json| serde_json::from_str(&json).unwrap()).collect()
}

fn codes(actions: &[Action]) -> Vec<String> {
    sent(actions).iter().filter_map(|frame| Some(frame["code"].as_str()?.to_owned())).collect()
}

fn closes(actions: &[Action]) -> Option<CloseCode> {
    actions.iter().find_map(|action| match action {
        Action::Close(code) => Some(*code),
        _ => None,
    })
}

fn answered(id: &str, result: Result<u64, ErrorCode>) -> Input {
    let answer = |seq| CommandAnswer {
        channel_id: channel(id),
        position: position(seq),
        message_id: MessageId::parse("m").unwrap(),
        duplicate: false,
    };
    Input::Done(Done { channel: Some(channel(id)), result: result.map(answer) })
}

fn message(id: &str, reference: &str) -> String {
    format!(r#"{{"type":"send_message","channel_id":"{id}","content":"x","ref":"{reference}"}}"#)
}

#[test]
fn opening_says_where_everything_stands_and_pushes_from_there() {
    let mut session = Session::new(Form::V1, at(NOW));
    let asked = session.on(Input::Verified { outcome: verified(NOW), resume: false }, at(NOW));
    assert!(matches!(asked[..], [Action::AskDirectory(_)]));
    assert!(!session.takes_frames(), "a frame must not be answered before the first one");
    let subscribing = session.on(Input::Directory(directory(2)), at(NOW));
    assert!(matches!(&subscribing[..], [Action::Subscribe(channels)] if channels.len() == 2));
    let heads = vec![(channel("b"), position(5)), (channel("a"), position(3))];
    let opened = session.on(Input::Subscribed(heads), at(NOW));
    let first = &sent(&opened)[0];
    assert_eq!(first["type"], "connection_established");
    assert_eq!((&first["channels"][0]["seq"], &first["channels"][1]["seq"]), (&3.into(), &5.into()));
    assert!(matches!(&opened[1], Action::GoLive(channels) if channels.len() == 2));
}

#[test]
fn a_directory_that_cannot_answer_sends_the_client_away_to_come_back() {
    let mut session = Session::new(Form::V1, at(NOW));
    session.on(Input::Verified { outcome: verified(NOW), resume: false }, at(NOW));
    let actions = session.on(Input::Directory(Err(ErrorCode::Unavailable)), at(NOW));
    assert_eq!(closes(&actions), Some(CloseCode::Overloaded));
}

#[test]
fn one_durable_frame_of_a_channel_is_out_and_the_others_wait_in_order() {
    let mut session = open(Form::V1, false);
    assert!(matches!(frame(&mut session, &message("a", "1"), NOW)[..], [Action::Append(_)]));
    assert!(frame(&mut session, &message("a", "2"), NOW).is_empty());
    assert!(matches!(frame(&mut session, &message("b", "3"), NOW)[..], [Action::Append(_)]));
    let actions = session.on(answered("a", Ok(8)), at(NOW));
    assert_eq!(sent(&actions)[0]["ref"], "1");
    assert_eq!(sent(&actions)[0]["seq"], 8);
    assert!(matches!(actions[1], Action::Append(_)), "the next one starts");
}

#[test]
fn what_waits_behind_a_failure_fails_too_and_certainly_was_not_appended() {
    let mut session = open(Form::V1, false);
    for n in 1..=3 {
        frame(&mut session, &message("a", &n.to_string()), NOW);
    }
    let actions = session.on(answered("a", Err(ErrorCode::UnknownOutcome)), at(NOW));
    assert_eq!(codes(&actions), ["unknown_outcome", "unavailable", "unavailable"]);
    assert!(
        matches!(frame(&mut session, &message("a", "4"), NOW)[..], [Action::Append(_)]),
        "the lane is free"
    );
}

#[test]
fn a_refused_frame_does_not_stop_those_behind_it() {
    for code in [ErrorCode::Conflict, ErrorCode::Internal] {
        let mut session = open(Form::V1, false);
        frame(&mut session, &message("a", "1"), NOW);
        frame(&mut session, &message("a", "2"), NOW);
        let actions = session.on(answered("a", Err(code)), at(NOW));
        assert_eq!(codes(&actions), [code.as_str()]);
        assert!(matches!(actions[1], Action::Append(_)));
    }
}

#[test]
fn a_socket_queues_a_bounded_number_of_durable_frames() {
    let mut session = open(Form::V1, false);
    for n in 0..=limits::DURABLE_FRAMES_QUEUED_MAX {
        assert!(codes(&frame(&mut session, &message("a", &n.to_string()), NOW)).is_empty());
    }
    assert_eq!(codes(&frame(&mut session, &message("a", "x"), NOW)), ["rate_limited"]);
}

#[test]
fn whatever_needs_state_is_a_command() {
    let cases = [
        (r#""content":"x""#, false),
        (r#""content":"x","reply_to":"m""#, true),
        (r#""content":"x","retry":true,"client_msg_id":"c""#, true),
        (r#""content":"x","message_type":"EMERGENCY""#, true),
        (r#""content":"x","mentioned_users":[7]"#, true),
    ];
    for (fields, command) in cases {
        let json = format!(r#"{{"type":"send_message","channel_id":"a",{fields}}}"#);
        let actions = frame(&mut open(Form::V1, false), &json, NOW);
        assert_eq!(matches!(actions[..], [Action::Command { .. }]), command, "{json}");
    }
}

#[test]
fn held_channels_go_on_by_resume_or_by_time() {
    let mut session = open(Form::V1, true);
    let json = r#"{"type":"resume","ref":"r","channels":[{"channel_id":"a","epoch":"e","seq":1}]}"#;
    assert!(matches!(&frame(&mut session, json, NOW)[..], [Action::Hold(id)] if *id == channel("a")));
    let room = session.on(Input::Room, at(NOW));
    assert!(
        matches!(&room[..], [Action::Resume { channel: id, position: from }] if *id == channel("a") && from.seq == 1)
    );
    assert!(session.on(Input::Room, at(NOW)).is_empty(), "one page at a time");
    session.on(Input::Resumed { channel: channel("a"), live: true }, at(NOW));
    assert_eq!(sent(&session.on(Input::Room, at(NOW)))[0]["type"], "resume_done");
    session.on(Input::Tick, at(NOW + limits::RESUME_WAIT_MS));
    let room = session.on(Input::Room, at(NOW));
    assert!(
        matches!(&room[..], [Action::Resume { channel: id, position: from }] if *id == channel("b") && from.seq == 5),
        "the other channel goes on from its first position"
    );
}

#[test]
fn a_channel_left_hanging_closes_the_socket_but_a_finished_one_does_not() {
    for (live, expected) in [(false, Some(CloseCode::TooSlow)), (true, None)] {
        let mut session = open(Form::V1, true);
        let json = r#"{"type":"resume","last":true,"channels":[{"channel_id":"a","epoch":"e","seq":1}]}"#;
        frame(&mut session, json, NOW);
        session.on(Input::Room, at(NOW));
        session.on(Input::Resumed { channel: channel("a"), live }, at(NOW));
        assert_eq!(closes(&session.on(Input::Tick, at(NOW + limits::HELD_TIME_MS))), expected);
    }
}

#[test]
fn typing_is_told_at_most_every_two_seconds_and_expires() {
    let mut session = open(Form::V1, false);
    let start = r#"{"type":"typing_start","channel_id":"a"}"#;
    assert!(matches!(frame(&mut session, start, NOW)[..], [Action::Publish(_)]));
    assert!(frame(&mut session, start, NOW + 1_999).is_empty());
    assert!(matches!(frame(&mut session, start, NOW + 2_000)[..], [Action::Publish(_)]));
    assert!(session.on(Input::Tick, at(NOW + 6_999)).is_empty());
    assert!(matches!(session.on(Input::Tick, at(NOW + 7_000))[..], [Action::Publish(_)]));
}

#[test]
fn starting_and_stopping_in_turns_is_told_no_more_often() {
    let mut session = open(Form::V1, false);
    let start = r#"{"type":"typing_start","channel_id":"a"}"#;
    let stop = r#"{"type":"typing_stop","channel_id":"a"}"#;
    let mut told = 0;
    for now in NOW..NOW + 4_000 {
        told += frame(&mut session, start, now).len() + frame(&mut session, stop, now).len();
    }
    assert_eq!(told, 4, "two starts and two stops");
    assert!(session.on(Input::Tick, at(NOW + 9_000)).is_empty(), "who stopped does not stop again by time");
    frame(&mut session, start, NOW + 10_000);
    assert!(matches!(session.on(Input::Gone, at(NOW + 10_000))[..], [Action::Publish(_), ..]));
}

#[test]
fn a_token_ends_a_v1_socket_and_spares_a_classic_one() {
    for (form, expected) in [(Form::V1, Some(CloseCode::TokenExpired)), (Form::Classic, None)] {
        let mut session = open(form, false);
        let leeway = limits::TOKEN_LEEWAY_S * 1_000;
        let tick = |unix_ms| Moment { unix_ms, ..at(NOW) };
        assert_eq!(closes(&session.on(Input::Tick, tick(NOW + 3_600_000 + leeway - 1))), None);
        assert_eq!(closes(&session.on(Input::Tick, tick(NOW + 3_600_000 + leeway))), expected);
    }
    let mut session = open(Form::Classic, false);
    let end = NOW + limits::SESSION_MAX_MS;
    assert_eq!(closes(&session.on(Input::Tick, at(end))), Some(CloseCode::TokenExpired));
}

/// How a socket is closed that sends this frame again and again at one moment, and after how many.
fn close_of_endless(session: &mut Session, json: &str) -> Option<(CloseCode, u32)> {
    (1..=2_000).find_map(|n| Some((closes(&frame(session, json, NOW))?, n)))
}

#[test]
fn who_never_stops_sending_what_is_refused_is_closed_and_an_old_client_is_not() {
    let errors = Some((CloseCode::ProtocolAbuse, limits::ERRORS_PER_SOCKET_MAX + 1));
    let limited = limits::RATE_LIMITED_PER_SOCKET_MAX + 1;
    let message = |id| message(id, "r");
    let cases = [
        ("nonsense", errors),
        (r#"{"type":"join_channel"}"#, errors),
        (r#"{"type":"join_channel","channel_id":"elsewhere"}"#, errors),
        (r#"{"type":"leave_channel","channel_id":"elsewhere"}"#, errors),
        (r#"{"type":"typing_start","channel_id":"elsewhere"}"#, errors),
        (r#"{"type":"fetch_history","channel_id":"elsewhere"}"#, errors),
        (r#"{"type":"authenticate","token":"t"}"#, errors),
        (&message("elsewhere"), errors),
        // One is out and 32 wait.
        (&message("a"), Some((CloseCode::LimitsExceeded, 33 + limited))),
        (r#"{"type":"fetch_history","channel_id":"a"}"#, Some((CloseCode::LimitsExceeded, 32 + limited))),
        (r#"{"type":"from_the_future"}"#, None),
        (r#"{"type":"mark_read","channel_id":"a"}"#, Some((CloseCode::LimitsExceeded, 16 + limited))),
        (r#"{"type":"set_status","status":"away"}"#, None),
        (r#"{"type":"ping"}"#, None),
    ];
    for (json, expected) in cases {
        let mut session = open(Form::V1, false);
        assert_eq!(close_of_endless(&mut session, json), expected, "{json}");
        if expected.is_some() {
            assert!(frame(&mut session, &message("b"), NOW).is_empty(), "nothing more is said");
        }
    }
    let mut old = open(Form::Classic, false);
    assert_eq!(close_of_endless(&mut old, r#"{"type":"typing_start","channel_id":"elsewhere"}"#), None);
}

#[test]
fn what_a_worker_refuses_counts_and_what_it_cannot_do_does_not() {
    let cases = [
        (ErrorCode::Conflict, Some(CloseCode::ProtocolAbuse)),
        (ErrorCode::UnknownMessage, Some(CloseCode::ProtocolAbuse)),
        (ErrorCode::Unavailable, None),
        (ErrorCode::Internal, None),
    ];
    for (code, expected) in cases {
        let mut session = open(Form::V1, false);
        let closed = (0..=limits::ERRORS_PER_SOCKET_MAX).find_map(|_| {
            frame(&mut session, &message("a", "r"), NOW);
            closes(&session.on(answered("a", Err(code)), at(NOW)))
        });
        assert_eq!(closed, expected, "{code:?}");
    }
}

#[test]
fn errors_are_forgiven_one_a_second() {
    let mut session = open(Form::V1, false);
    for second in 0..10 * u64::from(limits::ERRORS_PER_SOCKET_MAX) {
        let now = NOW + second * limits::ERROR_FORGIVEN_MS;
        assert_eq!(closes(&frame(&mut session, "nonsense", now)), None);
        assert_eq!(closes(&session.on(Input::Tick, at(now))), None);
    }
}

#[test]
fn a_drain_waits_for_what_is_out() {
    let mut session = open(Form::V1, false);
    frame(&mut session, &message("a", "1"), NOW);
    let told = session.on(Input::Drain { after_ms: 250, why: Farewell::Restart }, at(NOW));
    assert_eq!((&sent(&told)[0]["type"], &sent(&told)[0]["after_ms"]), (&"reconnect".into(), &250.into()));
    assert!(
        matches!(frame(&mut session, &message("a", "2"), NOW)[..], []),
        "it is served until its time comes"
    );
    assert_eq!(closes(&session.on(Input::Depart(Farewell::Restart), at(NOW))), None);
    assert_eq!(codes(&frame(&mut session, &message("b", "2"), NOW)), ["unavailable"]);
    session.on(answered("a", Ok(8)), at(NOW));
    let done = session.on(answered("a", Ok(9)), at(NOW));
    assert_eq!((sent(&done)[0]["type"].as_str(), closes(&done)), (Some("ack"), Some(CloseCode::Restart)));
}

#[test]
fn a_drain_sends_away_who_is_not_open_yet() {
    let mut session = Session::new(Form::V1, at(NOW));
    assert!(session.on(Input::Drain { after_ms: 250, why: Farewell::Restart }, at(NOW)).is_empty());
    assert_eq!(closes(&session.on(Input::Depart(Farewell::Rebalance), at(NOW))), Some(CloseCode::Rebalance));
    assert!(session.on(Input::Depart(Farewell::Restart), at(NOW)).is_empty(), "nothing more is said");
}

#[test]
fn a_socket_that_is_gone_leaves_everything_it_heard() {
    let mut session = open(Form::V1, false);
    frame(&mut session, r#"{"type":"leave_channel","channel_id":"b"}"#, NOW);
    frame(&mut session, r#"{"type":"typing_start","channel_id":"a"}"#, NOW);
    let actions = session.on(Input::Gone, at(NOW));
    assert!(matches!(&actions[..], [Action::Publish(_), Action::Leave(id)] if *id == channel("a")));
    assert!(session.on(Input::Gone, at(NOW)).is_empty());
}

#[test]
fn frames_wait_until_a_join_is_answered() {
    for joined in [true, false] {
        let mut session = open(Form::V1, false);
        frame(&mut session, r#"{"type":"leave_channel","channel_id":"a"}"#, NOW);
        let join = frame(&mut session, r#"{"type":"join_channel","channel_id":"a","ref":"j"}"#, NOW);
        assert!(matches!(&join[..], [Action::Join(id)] if *id == channel("a")));
        assert!(!session.takes_frames(), "a leave must not overtake the join");
        let answer = if joined {
            Input::Joined(channel("a"), position(9))
        } else {
            Input::SubscribeFailed(channel("a"))
        };
        let actions = session.on(answer, at(NOW));
        assert_eq!(sent(&actions)[0]["ref"], "j");
        assert_eq!(actions.iter().any(|action| matches!(action, Action::GoLive(_))), joined);
        assert!(session.takes_frames());
    }
}

#[test]
fn the_page_of_a_channel_that_was_left_is_nobodys() {
    let mut session = open(Form::V1, true);
    let resume = r#"{"type":"resume","channels":[{"channel_id":"a","epoch":"e","seq":1}]}"#;
    frame(&mut session, resume, NOW);
    session.on(Input::Room, at(NOW));
    assert!(session.awaits_page(&channel("a")));
    frame(&mut session, r#"{"type":"leave_channel","channel_id":"a"}"#, NOW);
    frame(&mut session, r#"{"type":"join_channel","channel_id":"a"}"#, NOW);
    session.on(Input::Joined(channel("a"), position(9)), at(NOW));
    assert!(!session.awaits_page(&channel("a")), "the page was asked for before the channel was left");
    assert!(session.on(Input::Room, at(NOW)).is_empty(), "one page at a time");
    session.on(Input::Resumed { channel: channel("a"), live: false }, at(NOW));
    assert_eq!(sent(&session.on(Input::Room, at(NOW)))[0]["type"], "resume_done");
    let later = session.on(Input::Tick, at(NOW + limits::HELD_TIME_MS));
    assert_eq!(closes(&later), None, "nothing hangs on the client");
}
