//! As many channels as one socket may have, resumed in as few frames as they fit into.

use super::super::tests::at;
use super::super::{Input, Session};
use super::*;
use crate::auth::Verified;
use protocol::claims::Profile;
use protocol::codec;
use protocol::envelope::{ChannelType, Role};
use protocol::frames::Form;
use protocol::ids::{Epoch, Seq, UserId};
use protocol::message::Sender;
use protocol::requests::{Membership, SessionAnswer};
use serde_json::json;
use std::collections::BTreeSet;

/// The longest id that the nth channel may have.
fn channel(n: usize) -> ChannelId {
    ChannelId::parse(&format!("{n:064}")).unwrap()
}

fn position(seq: Seq) -> Position {
    Position { epoch: Epoch::new(u64::MAX >> 16, u32::MAX), seq }
}

/// A socket that came back with positions in all its channels.
fn back() -> Session {
    let (id, name) = (UserId::parse("42").unwrap(), String::new());
    let sender = Sender { id: id.clone(), name: name.clone(), email: String::new() };
    let (email, role, company) = (String::new(), String::new(), String::new());
    let profile = Profile { id, name, email, role, company };
    let membership = |n| Membership {
        channel_id: channel(n),
        name: n.to_string(),
        channel_type: ChannelType::Shipment,
        role: Role::Member,
        members: 2,
        muted_until: None,
        read: None,
        unread: 0,
    };
    let channels = (0..limits::CHANNELS_PER_SOCKET_MAX).map(membership).collect();
    let mut session = Session::new(Form::V1, at(0));
    let outcome = Ok(Verified { profile, expires_at_unix_s: 3_600 });
    session.on(Input::Verified { outcome, resume: true }, at(0));
    session.on(Input::Directory(Ok(SessionAnswer { sender, version: 1, channels })), at(0));
    let heads = (0..limits::CHANNELS_PER_SOCKET_MAX).map(|n| (channel(n), position(9)));
    let opened = session.on(Input::Subscribed(heads.collect()), at(0));
    assert!(!opened.iter().any(|action| matches!(action, Action::GoLive(_))), "its channels start Held");
    session
}

/// Sends one frame for these channels; returns what follows.
fn resume(session: &mut Session, channels: std::ops::Range<usize>, last: bool) -> Vec<Action> {
    let seq = (1_u64 << 53) - 1;
    let points: Vec<_> =
        channels.map(|n| json!({"channel_id": channel(n), "epoch": position(0).epoch, "seq": seq})).collect();
    let frame =
        json!({"type": "resume", "ref": "r".repeat(64), "channels": points, "last": last}).to_string();
    assert!(frame.len() <= limits::FRAME_BYTES_MAX, "{} bytes", frame.len());
    session.on(Input::Frame(codec::decode(&frame, Form::V1)), at(1))
}

/// Lets the outbox have room until no page is waited for; returns the channels whose pages were asked for and how many
/// frames were answered.
fn drain(session: &mut Session) -> (BTreeSet<ChannelId>, usize) {
    let (mut asked, mut done) = (BTreeSet::new(), 0);
    while session.wants_room() {
        let mut pages = 0;
        for action in session.on(Input::Room, at(2)) {
            match action {
                Action::Resume { channel, .. } => {
                    pages += 1;
                    assert!(asked.insert(channel.clone()), "{channel} once");
                    session.on(Input::Resumed { channel, live: true }, at(2));
                }
                Action::Send(_) => done += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(pages <= 1, "one page at a time");
    }
    (asked, done)
}

#[test]
fn a_thousand_channels_are_resumed_in_three_frames() {
    let mut session = back();
    let most = limits::RESUME_CHANNELS_MAX;
    for (from, to, last) in [(0, most, false), (most, 2 * most, false), (2 * most, 1_000, true)] {
        let held = resume(&mut session, from..to, last);
        assert!(held.iter().all(|action| matches!(action, Action::Hold(_))));
        assert_eq!(held.len(), to - from, "nobody is refused or left out");
    }
    let (asked, done) = drain(&mut session);
    assert_eq!((asked.len(), done), (1_000, 3));
    let later = session.on(Input::Tick, at(limits::HELD_TIME_MS));
    assert!(later.is_empty() && !session.wants_room(), "nothing is left to do: {later:?}");
}

#[test]
fn with_the_last_frame_the_channels_that_none_named_go_on_from_where_they_stood() {
    let mut session = back();
    resume(&mut session, 0..400, false);
    resume(&mut session, 400..500, true);
    let (asked, done) = drain(&mut session);
    assert_eq!((asked.len(), done), (1_000, 2));
}

#[test]
fn a_channel_that_is_resumed_again_is_live_only_with_its_last_page() {
    let mut session = back();
    resume(&mut session, 0..1, false);
    let asked = session.on(Input::Room, at(2));
    assert!(matches!(&asked[..], [Action::Resume { .. }]), "{asked:?}");
    resume(&mut session, 0..1, false);
    let first = session.on(Input::Resumed { channel: channel(0), live: true }, at(2));
    assert!(matches!(&first[..], [Action::Hold(id)] if *id == channel(0)), "{first:?}");
    // The first frame is answered, the second page asked for.
    let asked = session.on(Input::Room, at(2));
    assert!(matches!(&asked[..], [Action::Send(_), Action::Resume { .. }]), "{asked:?}");
    assert!(session.on(Input::Resumed { channel: channel(0), live: true }, at(2)).is_empty());
}
