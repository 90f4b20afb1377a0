//! The hot path in pieces that do the same each time: for benches and for counting instructions.
//!
//! Each piece is what production runs between two system calls; the payload is a chat message of 128 characters.
#![expect(clippy::expect_used, reason = "a piece that does not do its work must not be measured")]

use crate::auth::Verified;
use crate::hub::{ConnectionId, Hub, Joined, Push};
use crate::outbox::{Flushed, Outbox};
use crate::session::{Action, Done, Input, Moment, Session};
use crate::upstream::event::Event;
use crate::websocket::decoder::{Decoder, Incoming, PROTOCOL, Step};
use crate::websocket::encoder;
use protocol::claims::Profile;
use protocol::codec;
use protocol::envelope::{ChannelType, Envelope, Logged, Role};
use protocol::frames::{Dialect, Form};
use protocol::ids::{ChannelId, Epoch, Position, Seq, UserId};
use protocol::message::Sender;
use protocol::requests::{CommandAnswer, Membership, SessionAnswer};
use std::cell::RefCell;
use std::io::{ErrorKind, IoSlice};
use std::rc::Rc;

/// A clock that stands still at the end of 2026: what is measured does not depend on when.
const NOW: u64 = 1_798_000_000_000;

/// Characters of the message's content. Performance page.
const CONTENT_CHARS: usize = 128;

fn moment(n: u64) -> Moment {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&n.to_le_bytes());
    Moment { unix_ms: NOW, up_ms: NOW, random }
}

fn position(seq: Seq) -> Position {
    Position { epoch: Epoch::parse("20261124T000000Z-1f2e3d4c").expect("an epoch"), seq }
}

fn general() -> ChannelId {
    ChannelId::parse("general").expect("a channel")
}

/// One socket that sends: from its bytes to the envelope for the log, then from the log's answer to its bytes.
pub struct Send {
    session: Session,
    decoder: Decoder,
    frame: Vec<u8>,
    sent: u64,
}

impl Send {
    /// Opens a session with one channel.
    ///
    /// # Panics
    /// When the session does not open.
    #[must_use]
    pub fn new() -> Self {
        let mut session = Session::new(Form::V1, moment(0));
        let user = UserId::parse("42").expect("a user");
        let profile = Profile {
            id: user.clone(),
            name: "Dana".to_owned(),
            email: "dana@example.com".to_owned(),
            role: String::new(),
            company: String::new(),
        };
        let outcome = Ok(Verified { profile, expires_at_unix_s: NOW / 1_000 + 3_600 });
        session.on(Input::Verified { outcome, resume: false }, moment(1));
        let sender = Sender { id: user, name: "Dana".to_owned(), email: "dana@example.com".to_owned() };
        session.on(
            Input::Directory(Ok(SessionAnswer { sender, version: 1, channels: vec![membership()] })),
            moment(2),
        );
        let opened = session.on(Input::Subscribed(vec![(general(), position(1))]), moment(3));
        assert!(opened.iter().any(|action| matches!(action, Action::GoLive(_))), "the session opens");
        Self { session, decoder: Decoder::default(), frame: client_frame(), sent: 0 }
    }

    /// Sends one message; returns its envelope's bytes and the acknowledgement's frame.
    ///
    /// # Panics
    /// When the message is not accepted.
    pub fn run(&mut self) -> (Vec<u8>, bytes::Bytes) {
        let mut bytes = self.frame.clone();
        let Ok(Step::Frame { message: Some(Incoming::Text(text)), .. }) =
            self.decoder.next(&mut bytes, &PROTOCOL, NOW)
        else {
            panic!("a text frame")
        };
        self.sent += 1;
        let decoded = codec::decode(&text, Form::V1);
        let mut actions = self.session.on(Input::Frame(decoded), moment(self.sent));
        let Some(Action::Append(append)) = actions.pop() else { panic!("an append") };
        let envelope = Envelope::message(&append.message, append.content_hash).expect("an envelope");
        let answer = CommandAnswer {
            channel_id: general(),
            position: position(self.sent),
            message_id: append.message.id,
            duplicate: false,
        };
        let done = Done { channel: Some(general()), result: Ok(answer) };
        let mut actions = self.session.on(Input::Done(done), moment(self.sent));
        let Some(Action::Send(ack)) = actions.pop() else { panic!("an acknowledgement") };
        let ack = ack.encode(Form::V1).expect("a frame").expect("v1 has it");
        (envelope.encode().expect("bytes"), encoder::text(&ack))
    }
}

impl Default for Send {
    fn default() -> Self {
        Self::new()
    }
}

fn membership() -> Membership {
    Membership {
        channel_id: general(),
        name: "General".to_owned(),
        channel_type: ChannelType::General,
        role: Role::Member,
        members: 2,
        muted_until: None,
        read: None,
        unread: 0,
    }
}

/// A masked text frame with a message, as a client writes it.
fn client_frame() -> Vec<u8> {
    let content = "x".repeat(CONTENT_CHARS);
    let json = format!(
        r#"{{"type":"send_message","channel_id":"general","content":"{content}","client_msg_id":"01J0000000000000","ref":"17"}}"#
    );
    let mask = [0x12, 0x34, 0x56, 0x78];
    let length = u16::try_from(json.len()).expect("a short frame").to_be_bytes();
    let mut frame = [&[0x81, 0x80 | 126][..], &length, &mask].concat();
    frame.extend(json.bytes().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A logged message on its way to sockets: read once, encoded once per dialect.
pub struct Encode {
    envelope: Vec<u8>,
    epoch: Epoch,
}

impl Default for Encode {
    fn default() -> Self {
        let (envelope, _) = Send::new().run();
        Self { envelope, epoch: position(1).epoch }
    }
}

impl Encode {
    /// Returns the bytes of its frames, as JSON sockets (both forms) and as MessagePack sockets get it.
    ///
    /// # Panics
    /// When the envelope cannot be read.
    #[must_use]
    pub fn run(&self) -> [usize; 3] {
        let event = self.event(7);
        [Dialect::V1Json, Dialect::Classic, Dialect::V1MessagePack]
            .map(|dialect| event.frame(dialect).map_or(0, bytes::Bytes::len))
    }

    fn event(&self, seq: Seq) -> Event {
        let envelope = Envelope::decode(&self.envelope).expect("an envelope");
        Event::new(self.epoch.clone(), Logged { seq, prev: seq - 1, envelope })
    }
}

/// A room whose members are delivered to; each socket takes all it is given.
pub struct Deliver {
    hub: Hub<Rc<RefCell<Outbox>>>,
    encode: Encode,
    channel: ChannelId,
    seq: Seq,
}

impl Deliver {
    /// Makes a room of so many members.
    ///
    /// # Panics
    /// When there is no member.
    #[must_use]
    pub fn new(members: u64) -> Self {
        let (mut hub, channel) = (Hub::new(), general());
        for id in (0..members).map(ConnectionId) {
            if let Joined::First(ticket) = hub.join(&channel, id, Rc::default()) {
                hub.subscribed(&channel, ticket, position(1));
            }
            hub.set(&channel, id, Push::Live);
        }
        Self { hub, encode: Encode::default(), channel, seq: 1 }
    }

    /// Delivers one event to all members; returns the bytes written.
    ///
    /// # Panics
    /// When a member has no room.
    pub fn run(&mut self) -> usize {
        self.seq += 1;
        let event = self.encode.event(self.seq);
        let mut dirty = Vec::new();
        for outbox in self.hub.advance(&self.channel, self.seq) {
            let frame = event.frame(Dialect::V1Json).expect("v1 has it");
            let blocked = |_: &[IoSlice<'_>]| Err(ErrorKind::WouldBlock.into());
            outbox.borrow_mut().push_event(frame.clone(), blocked).expect("room");
            dirty.push(outbox.clone());
        }
        let mut written = 0;
        for outbox in dirty {
            let flushed = outbox.borrow_mut().flush(|slices| {
                let bytes = slices.iter().map(|slice| slice.len()).sum();
                written += bytes;
                Ok(bytes)
            });
            assert_eq!(flushed, Flushed::Empty);
        }
        written
    }
}
