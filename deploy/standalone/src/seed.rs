//! The development users, channels and conversation, made by appending the events that people would cause.

pub(crate) mod load;

use anyhow::{Context, bail};
use broker::{Append, Appended, Broker, ReadLimit};
use bytes::Bytes;
use protocol::claims::Profile;
use protocol::envelope::{ChannelFacts, ChannelType, Envelope, Kind, MemberFacts, Role};
use protocol::frames::send::SendMessage;
use protocol::ids::{ChannelId, MessageId, UserId};
use protocol::message::{MessageType, Metadata, Priority, Sender};
use protocol::time::Timestamp;
use serde::Serialize;
use std::time::Duration;
use store::Store;

/// id, name, role in the application, role in the channels.
const USERS: [(&str, &str, &str, Role); 4] = [
    ("dispatcher-1", "Ines Okafor", "DISPATCHER", Role::Owner),
    ("driver-1", "Dana Reyes", "DRIVER", Role::Member),
    ("driver-2", "Marek Novak", "DRIVER", Role::Member),
    ("safety-1", "Tom Lindqvist", "COMPLIANCE_OFFICER", Role::Moderator),
];

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

/// How long the store may take to have it.
const DEADLINE: Duration = Duration::from_secs(30);

/// Makes what is missing, waits until the store has it, and returns the users.
pub(crate) async fn development(broker: &Broker, store: &Store) -> anyhow::Result<Vec<Profile>> {
    let now = runtime::clock::now_unix_ms();
    let mut general = channel_events("general", "General", ChannelType::General, now)?;
    general.extend(conversation("general", now)?);
    let emergency = channel_events("emergency", "Emergency", ChannelType::Emergency, now)?;
    for events in [general, emergency] {
        let channel = events[0].channel_id.clone();
        append_missing(broker, &channel, events).await?;
        worker::caught_up(broker, store, &channel, DEADLINE).await?;
    }
    let profiles: Vec<Profile> = USERS.iter().map(profile).collect::<anyhow::Result<_>>()?;
    for profile in &profiles {
        store.upsert_user(profile).await?;
    }
    Ok(profiles)
}

/// Appends those events of a channel's beginning that its log does not have yet: a start may have been killed.
async fn append_missing(broker: &Broker, channel: &ChannelId, events: Vec<Envelope>) -> anyhow::Result<()> {
    let limit = ReadLimit { entries: events.len(), bytes: usize::MAX };
    let there = broker.read(channel, 0, limit).await?.entries.len();
    for envelope in events.iter().skip(there) {
        append(broker, envelope).await?;
    }
    Ok(())
}

/// Appends an event that nobody appended before.
async fn append(broker: &Broker, envelope: &Envelope) -> anyhow::Result<()> {
    let append = Append {
        channel: envelope.channel_id.clone(),
        dedup_key: envelope.dedup_key(),
        envelope: Bytes::from(envelope.encode()?),
        expect: None,
    };
    match broker.append(append).await? {
        Appended::New { .. } => Ok(()),
        other => bail!("seeded data of {} met {other:?}", envelope.channel_id),
    }
}

fn profile((id, name, role, _): &(&str, &str, &str, Role)) -> anyhow::Result<Profile> {
    Ok(Profile {
        id: UserId::parse(id)?,
        name: (*name).to_owned(),
        email: format!("{id}@safeshipper.example"),
        role: (*role).to_owned(),
        company: "SafeShipper".to_owned(),
    })
}

fn sender(id: &str) -> anyhow::Result<Sender> {
    let (_, name, ..) = USERS.iter().find(|(known, ..)| *known == id).context("nobody of this id")?;
    Ok(Sender { id: UserId::parse(id)?, name: (*name).to_owned(), email: String::new() })
}

fn mint(at_ms: u64) -> anyhow::Result<MessageId> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(MessageId::v7(at_ms, &random))
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
    let said = |kind| Fact { channel: id, by: "dispatcher-1", kind, at_ms };
    let mut events = vec![fact(said(Kind::ChannelUpdated), &facts)?];
    for (user, .., role) in &USERS {
        let facts = MemberFacts { user: sender(user)?, role: *role };
        events.push(fact(said(Kind::MemberAdded), &facts)?);
    }
    Ok(events)
}

/// What an event says beside its body.
struct Fact<'a> {
    channel: &'a str,
    by: &'a str,
    kind: Kind,
    at_ms: u64,
}

fn fact<T: Serialize>(said: Fact<'_>, body: &T) -> anyhow::Result<Envelope> {
    let Fact { channel, by, kind, at_ms } = said;
    Ok(Envelope {
        kind,
        channel_id: ChannelId::parse(channel)?,
        by: UserId::parse(by)?,
        at: Timestamp::from_unix_ms(at_ms),
        message_id: mint(at_ms)?,
        client_msg_id: None,
        content_hash: 0,
        body: serde_json::value::to_raw_value(body)?,
    })
}

fn conversation(channel: &str, now: u64) -> anyhow::Result<Vec<Envelope>> {
    let (mut ids, mut events) = (Vec::new(), Vec::new());
    for (by, text, minutes_ago, answers) in CONVERSATION {
        let at_ms = now - minutes_ago * 60_000;
        let parent: Option<MessageId> = answers.and_then(|line: usize| ids.get(line).cloned());
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
        let (id, hash) = (mint(at_ms)?, send.content_hash());
        ids.push(id.clone());
        let message = send.into_message(id, sender(by)?, Timestamp::from_unix_ms(at_ms), parent);
        events.push(Envelope::message(&message, hash)?);
    }
    Ok(events)
}
