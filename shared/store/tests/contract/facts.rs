//! Events as the log would hand them over.

use protocol::envelope::{ChannelFacts, ChannelType, Envelope, Kind, MemberFacts, Role};
use protocol::ids::{ChannelId, ClientMsgId, Epoch, MessageId, Position, Seq, UserId};
use protocol::message::{Message, MessageType, Metadata, Priority, Sender};
use protocol::time::Timestamp;
use serde::Serialize;
use store::Event;

pub(crate) fn channel(name: &str) -> ChannelId {
    ChannelId::parse(name).unwrap()
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

pub(crate) fn id(name: &str) -> MessageId {
    MessageId::parse(name).unwrap()
}

/// The log's first life; [`later`] is one after it.
pub(crate) fn epoch() -> Epoch {
    Epoch::new(1_000, 7)
}

pub(crate) fn later() -> Epoch {
    Epoch::new(2_000, 1)
}

pub(crate) fn at(seq: Seq) -> Position {
    Position { epoch: epoch(), seq }
}

pub(crate) fn sender(id: &str) -> Sender {
    Sender { id: user(id), name: format!("{id}'s name"), email: String::new() }
}

fn event(kind: Kind, to: &str, seq: Seq, body: &impl Serialize) -> Event {
    let envelope = Envelope {
        kind,
        channel_id: channel(to),
        by: user("dispatcher-1"),
        at: Timestamp::from_unix_ms(1_767_322_800_000),
        message_id: id(&format!("event-{to}-{seq}")),
        client_msg_id: None,
        content_hash: 0,
        body: serde_json::value::to_raw_value(body).unwrap(),
    };
    Event { position: at(seq), envelope }
}

pub(crate) fn described(to: &str, seq: Seq, name: &str) -> Event {
    let facts = ChannelFacts { name: name.to_owned(), channel_type: ChannelType::Shipment };
    event(Kind::ChannelUpdated, to, seq, &facts)
}

pub(crate) fn added(to: &str, seq: Seq, who: &str, role: Role) -> Event {
    event(Kind::MemberAdded, to, seq, &MemberFacts { user: sender(who), role })
}

pub(crate) fn removed(to: &str, seq: Seq, who: &str) -> Event {
    event(Kind::MemberRemoved, to, seq, &MemberFacts { user: sender(who), role: Role::Member })
}

/// What somebody made of a message in `general`.
pub(crate) fn becomes(kind: Kind, seq: Seq, by: &str, body: &impl Serialize) -> Event {
    let mut event = event(kind, "general", seq, body);
    event.envelope.by = user(by);
    event
}

/// A message of driver-1 named `m<seq>`, as the log has it.
pub(crate) fn said(to: &str, seq: Seq, change: impl FnOnce(&mut Message)) -> Event {
    let mut message = Message {
        id: id(&format!("m{seq}")),
        channel_id: channel(to),
        sender: sender("driver-1"),
        content: format!("text {seq}"),
        message_type: MessageType::Text,
        created_at: Timestamp::from_unix_ms(1_767_322_800_000),
        reply_to: None,
        thread_id: None,
        is_emergency: false,
        priority: Priority::Normal,
        metadata: Metadata::default(),
        latitude: None,
        longitude: None,
        location_name: None,
        captured_at: None,
        client_msg_id: Some(ClientMsgId::parse(&format!("c{seq}")).unwrap()),
        mentioned_users: Vec::new(),
        edited_at: None,
        deleted_at: None,
        is_pinned: false,
        reactions: Vec::new(),
    };
    change(&mut message);
    Event { position: at(seq), envelope: Envelope::message(&message, 11).unwrap() }
}

pub(crate) fn plain(to: &str, seq: Seq) -> Event {
    said(to, seq, |_| ())
}
