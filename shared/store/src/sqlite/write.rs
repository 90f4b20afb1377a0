//! Events and what follows from them.

use super::changes;
use crate::{Event, StoreError};
use protocol::claims::Profile;
use protocol::envelope::{ChannelFacts, Envelope, Fact, MemberFacts};
use protocol::ids::Position;
use protocol::message::Message;
use protocol::subjects::Shard;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde::Serialize;

/// Writes events and projections in one transaction.
pub(super) fn apply(connection: &mut Connection, events: &[Event]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for event in events {
        let bytes = event.envelope.encode().map_err(|_| StoreError::Corrupt("envelope"))?;
        let new = transaction
            .prepare_cached(
                "INSERT INTO events (channel, epoch, seq, envelope) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (channel, epoch, seq) DO NOTHING",
            )?
            .execute(params![
                event.envelope.channel_id.as_str(),
                event.position.epoch.as_str(),
                event.position.seq,
                bytes,
            ])?;
        // An event that is here already had its consequences in the same transaction.
        if new > 0 {
            project(&transaction, event)?;
        }
    }
    Ok(transaction.commit()?)
}

/// Writes how far the log was applied, in a transaction that is synced: everything before it is durable with it.
pub(super) fn make_durable(
    connection: &mut Connection,
    reached: &[(Shard, Position)],
) -> Result<(), StoreError> {
    synced(connection, |connection| write_reached(connection, reached))
}

/// Writes something whose commit waits for the disk.
pub(super) fn synced(
    connection: &mut Connection,
    write: impl FnOnce(&mut Connection) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    connection.execute_batch("PRAGMA synchronous=FULL")?;
    let written = write(connection);
    connection.execute_batch("PRAGMA synchronous=NORMAL")?;
    written
}

fn write_reached(connection: &mut Connection, reached: &[(Shard, Position)]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (shard, position) in reached {
        transaction
            .prepare_cached(
                "INSERT INTO reached (epoch, shard, seq, times) VALUES (?1, ?2, ?3, 1)
                 ON CONFLICT (epoch, shard) DO UPDATE SET seq = max(seq, excluded.seq), times = times + 1",
            )?
            .execute(params![position.epoch.as_str(), shard.0, position.seq])?;
    }
    Ok(transaction.commit()?)
}

fn project(transaction: &Transaction<'_>, event: &Event) -> Result<(), StoreError> {
    let envelope = &event.envelope;
    match envelope.fact().map_err(|_| StoreError::Corrupt("event"))? {
        Fact::Message(message) => write_message(transaction, event, &message),
        Fact::ChannelUpdated(facts) => write_channel(transaction, event, &facts),
        Fact::MemberAdded(facts) => write_member(transaction, event, &facts, true),
        Fact::MemberRemoved(facts) => write_member(transaction, event, &facts, false),
        Fact::MessageUpdated(update) => {
            changes::update(transaction, event, &update)?;
            changes::commanded(transaction, event, &update.message.id)
        }
        Fact::MessageDeleted(deletion) => {
            changes::delete(transaction, event, &deletion)?;
            changes::commanded(transaction, event, &deletion.message_id)
        }
        Fact::ReactionUpdated(change) => {
            changes::react(transaction, event, &change)?;
            changes::commanded(transaction, event, &change.message_id)
        }
    }
}

fn write_message(transaction: &Transaction<'_>, event: &Event, message: &Message) -> Result<(), StoreError> {
    let Envelope { channel_id, by, client_msg_id, content_hash, body, .. } = &event.envelope;
    transaction
        .prepare_cached(
            "INSERT INTO messages (id, channel, epoch, seq, sender, client_msg_id, content_hash, thread, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            message.id.as_str(),
            channel_id.as_str(),
            event.position.epoch.as_str(),
            event.position.seq,
            by.as_str(),
            client_msg_id.as_ref().map(protocol::ids::ClientMsgId::as_str),
            content_hash,
            message.thread_id.as_ref().map(protocol::ids::MessageId::as_str),
            body.get(),
        ])?;
    Ok(())
}

fn write_channel(
    transaction: &Transaction<'_>,
    event: &Event,
    facts: &ChannelFacts,
) -> Result<(), StoreError> {
    let channel = event.envelope.channel_id.as_str();
    transaction
        .prepare_cached("UPDATE channels SET changes = changes + 1 WHERE id = ?1")?
        .execute([channel])?;
    transaction
        .prepare_cached(
            "INSERT INTO channels (id, epoch, seq, name, channel_type) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, name = excluded.name,
                 channel_type = excluded.channel_type
             WHERE (excluded.epoch, excluded.seq) > (epoch, seq)",
        )?
        .execute(params![
            channel,
            event.position.epoch.as_str(),
            event.position.seq,
            facts.name,
            word(&facts.channel_type)?,
        ])?;
    Ok(())
}

fn write_member(
    transaction: &Transaction<'_>,
    event: &Event,
    facts: &MemberFacts,
    active: bool,
) -> Result<(), StoreError> {
    let (channel, user) = (event.envelope.channel_id.as_str(), facts.user.id.as_str());
    transaction
        .prepare_cached("UPDATE members SET changes = changes + 1 WHERE channel = ?1 AND user = ?2")?
        .execute([channel, user])?;
    transaction
        .prepare_cached(
            "INSERT INTO members (channel, user, epoch, seq, active, role) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (channel, user) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq,
                 active = excluded.active, role = excluded.role
             WHERE (excluded.epoch, excluded.seq) > (epoch, seq)",
        )?
        .execute(params![
            channel,
            user,
            event.position.epoch.as_str(),
            event.position.seq,
            active,
            word(&facts.role)?,
        ])?;
    // Who never showed a token is known by what the event says of him.
    transaction
        .prepare_cached(
            "INSERT INTO users (id, name, email, role, company) VALUES (?1, ?2, ?3, '', '')
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![user, facts.user.name, facts.user.email])?;
    Ok(())
}

/// Keeps what a token says of its bearer; the same once more writes nothing.
pub(super) fn user(connection: &Connection, profile: &Profile) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO users (id, name, email, role, company) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, email = excluded.email, role = excluded.role,
                 company = excluded.company
             WHERE (name, email, role, company)
                 <> (excluded.name, excluded.email, excluded.role, excluded.company)",
        )?
        .execute(params![profile.id.as_str(), profile.name, profile.email, profile.role, profile.company])?;
    Ok(())
}

/// Returns the word under which a closed set travels.
fn word<T: Serialize>(value: &T) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        _ => Err(StoreError::Corrupt("word")),
    }
}
