//! Data that no person made: the development channels and their conversation, and rooms for load tests. It is made by
//! appending the events that people would cause.

mod load;
#[cfg(test)]
mod tests;

pub use load::{Plan, load};

use crate::start::caught_up;
use anyhow::{Context, bail};
use broker::{Append, Appended, Broker, ReadLimit};
use bytes::Bytes;
use protocol::development::PEOPLE;
use protocol::envelope::{ChannelFacts, ChannelType, Envelope, Kind, MemberFacts};
use protocol::frames::send::SendMessage;
use protocol::ids::{ChannelId, MessageId, UserId};
use protocol::message::{MessageType, Metadata, Priority, Sender};
use protocol::subjects::dedup_key;
use protocol::time::Timestamp;
use serde::Serialize;
use std::time::Duration;
use store::Store;

/// Who says what, how many minutes ago, and which line (counted from 0) it answers.
const CONVERSATION: &[(&str, &str, u64, Option<usize>)] = &[
    ("dispatcher-1", "Morning all. Shipment SS-4711 is cleared: 18 drums UN 1203, class 3, bay 4.", 47, None),
    ("driver-1", "At bay 4. Placards are on, extinguishers checked.", 42, None),
    ("safety-1", "Two drums on pallet 3 had torn labels yesterday. Were they relabelled?", 38, None),
    ("driver-1", "Yes, both. I have photos of the new labels.", 36, Some(2)),
    ("safety-1", "Thank you. Good to go from my side.", 35, Some(2)),
    (
        "dispatcher-1",
        "Route note: the harbour tunnel is closed to class 3 until 10:00. Take the A7.",
        21,
        None,
    ),
    ("driver-2", "I am on the A7 now, traffic is moving.", 14, Some(5)),
    ("driver-1", "Copy. Leaving the depot, ETA Hamburg 11:40.", 6, None),
];

/// The time in seeded ids. Chosen; it only has to be always the same.
const ID_MS: u64 = 1_767_225_600_000;

/// How long the store may take to have it.
const DEADLINE: Duration = Duration::from_secs(30);

/// Makes what is missing of the development system and waits until the store has it. Several workers may do so at
/// once.
///
/// # Errors
/// What log or store refused, or that the store did not catch up in time.
pub async fn development(broker: &Broker, store: &Store) -> anyhow::Result<()> {
    let now = runtime::clock::now_unix_ms();
    let mut general = channel_events("general", "General", ChannelType::General, now)?;
    general.extend(conversation("general", now)?);
    let emergency = channel_events("emergency", "Emergency", ChannelType::Emergency, now)?;
    for events in [general, emergency] {
        let channel = events[0].channel_id.clone();
        append_missing(broker, &channel, events).await?;
        caught_up(broker, store, &channel, DEADLINE).await?;
    }
    for profile in &protocol::development::profiles() {
        store.upsert_user(profile).await?;
    }
    Ok(())
}

/// Appends those events of a channel's beginning that its log does not have yet: a start may have been killed. Their
/// ids are the same at each start, so what comes now still answers what came then.
async fn append_missing(broker: &Broker, channel: &ChannelId, events: Vec<Envelope>) -> anyhow::Result<()> {
    let limit = ReadLimit { entries: events.len(), bytes: usize::MAX };
    let page = broker.read(channel, 0, limit).await?;
    if page.floor > 0 {
        // The first start is so long ago that the log has forgotten it; the store has not.
        return Ok(());
    }
    for envelope in events.iter().skip(page.entries.len()) {
        append(broker, envelope).await?;
    }
    Ok(())
}

/// Appends an event, unless a start before this one did.
async fn append(broker: &Broker, envelope: &Envelope) -> anyhow::Result<()> {
    let append = Append {
        channel: envelope.channel_id.clone(),
        dedup_key: envelope.dedup_key(),
        envelope: Bytes::from(envelope.encode()?),
        expect: None,
    };
    match broker.append(append).await? {
        Appended::New { .. } | Appended::Duplicate { .. } => Ok(()),
        other @ Appended::Moved { .. } => bail!("seeded data of {} met {other:?}", envelope.channel_id),
    }
}

fn sender(id: &str) -> anyhow::Result<Sender> {
    let person = PEOPLE.iter().find(|person| person.id == id).context("nobody of this id")?;
    Ok(Sender { id: UserId::parse(id)?, name: person.name.to_owned(), email: String::new() })
}

/// Makes the id of a seeded event: always the same for the same name in the same channel.
fn id(channel: &str, name: &str) -> MessageId {
    let mut random = [0; 10];
    random.copy_from_slice(&dedup_key(["seed", channel, name]).to_be_bytes()[..10]);
    MessageId::v7(ID_MS, &random)
}

/// A channel and its members, as the dispatcher makes them.
fn channel_events(
    id: &str,
    name: &str,
    channel_type: ChannelType,
    now: u64,
) -> anyhow::Result<Vec<Envelope>> {
    let at_ms = now - 3_600_000;
    let facts = ChannelFacts { name: name.to_owned(), channel_type };
    let said = |kind, name| Fact { channel: id, name, by: "dispatcher-1", kind, at_ms };
    let mut events = vec![fact(said(Kind::ChannelUpdated, "channel"), &facts)?];
    for person in &PEOPLE {
        let facts = MemberFacts { user: sender(person.id)?, role: person.channel_role };
        events.push(fact(said(Kind::MemberAdded, person.id), &facts)?);
    }
    Ok(events)
}

/// What an event says beside its body.
struct Fact<'a> {
    channel: &'a str,
    /// No other event of the channel has it.
    name: &'a str,
    by: &'a str,
    kind: Kind,
    at_ms: u64,
}

fn fact<T: Serialize>(said: Fact<'_>, body: &T) -> anyhow::Result<Envelope> {
    let Fact { channel, name, by, kind, at_ms } = said;
    Ok(Envelope {
        kind,
        channel_id: ChannelId::parse(channel)?,
        by: UserId::parse(by)?,
        at: Timestamp::from_unix_ms(at_ms),
        message_id: id(channel, name),
        client_msg_id: None,
        content_hash: 0,
        body: serde_json::value::to_raw_value(body)?,
    })
}

fn conversation(channel: &str, now: u64) -> anyhow::Result<Vec<Envelope>> {
    let line_id = |line: usize| id(channel, &format!("line {line}"));
    let mut events = Vec::new();
    for (line, (by, text, minutes_ago, answers)) in CONVERSATION.iter().enumerate() {
        let at_ms = now - minutes_ago * 60_000;
        let parent = answers.map(line_id);
        let send = SendMessage {
            channel_id: ChannelId::parse(channel)?,
            content: (*text).to_owned(),
            message_type: MessageType::Text,
            priority: Priority::Normal,
            metadata: Metadata::default(),
            reply_to: parent.clone(),
            client_msg_id: None,
            retry: false,
            latitude: None,
            longitude: None,
            location_name: None,
            captured_at: None,
            mentioned_users: Vec::new(),
        };
        let hash = send.content_hash();
        let message = send.into_message(line_id(line), sender(by)?, Timestamp::from_unix_ms(at_ms), parent);
        events.push(Envelope::message(&message, hash)?);
    }
    Ok(events)
}
