//! What became of messages: written beside them, and put into them when they are read.

use super::ask::position;
use crate::{Event, StoreError, StoredMessage};
use protocol::changes::{Changed, MessageDeletion, MessageUpdate, Reaction, ReactionAction, ReactionChange};
use protocol::ids::{MessageId, Position, UserId};
use protocol::limits::REACTORS_SHOWN_MAX;
use protocol::message::Message;
use protocol::requests::PlacedMessage;
use protocol::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What an edit changes, as it is stored.
#[derive(Serialize, Deserialize)]
struct Edit {
    content: String,
    mentioned_users: Vec<UserId>,
    edited_at: Option<Timestamp>,
}

pub(super) fn update(
    transaction: &Transaction<'_>,
    event: &Event,
    update: &MessageUpdate,
) -> Result<(), StoreError> {
    let MessageUpdate { changed, message, .. } = update;
    begin(transaction, event, &message.id)?;
    let Position { epoch, seq } = &event.position;
    match changed {
        Changed::Content => {
            let Message { content, mentioned_users, edited_at, .. } = message.clone();
            let edit = serde_json::to_string(&Edit { content, mentioned_users, edited_at });
            let edit = edit.map_err(|_| StoreError::Corrupt("edit"))?;
            transaction
                .prepare_cached(
                    "UPDATE message_changes SET edit_epoch = ?2, edit_seq = ?3, edit = ?4
                     WHERE message = ?1 AND (edit_epoch IS NULL OR (edit_epoch, edit_seq) < (?2, ?3))",
                )?
                .execute(params![message.id.as_str(), epoch.as_str(), seq, edit])?;
        }
        Changed::Pinned => {
            transaction
                .prepare_cached(
                    "UPDATE message_changes SET pin_epoch = ?2, pin_seq = ?3, pinned = ?4
                     WHERE message = ?1 AND (pin_epoch IS NULL OR (pin_epoch, pin_seq) < (?2, ?3))",
                )?
                .execute(params![message.id.as_str(), epoch.as_str(), seq, message.is_pinned])?;
        }
    }
    Ok(())
}

pub(super) fn delete(
    transaction: &Transaction<'_>,
    event: &Event,
    deletion: &MessageDeletion,
) -> Result<(), StoreError> {
    begin(transaction, event, &deletion.message_id)?;
    // Of two deletions the earlier one was it.
    transaction
        .prepare_cached(
            "UPDATE message_changes SET deleted_at_ms = min(coalesce(deleted_at_ms, ?2), ?2) WHERE message = ?1",
        )?
        .execute(params![deletion.message_id.as_str(), event.envelope.at.unix_ms()])?;
    Ok(())
}

pub(super) fn react(
    transaction: &Transaction<'_>,
    event: &Event,
    change: &ReactionChange,
) -> Result<(), StoreError> {
    begin(transaction, event, &change.message_id)?;
    let Position { epoch, seq } = &event.position;
    let changed = transaction
        .prepare_cached(
            "INSERT INTO reactions (message, user, reaction, epoch, seq, active) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (message, user, reaction) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq,
                 active = excluded.active
             WHERE (excluded.epoch, excluded.seq) > (epoch, seq)",
        )?
        .execute(params![
            change.message_id.as_str(),
            event.envelope.by.as_str(),
            change.reaction,
            epoch.as_str(),
            seq,
            change.action == ReactionAction::Added,
        ])?;
    if changed > 0 {
        let reactions = serde_json::to_string(&counted(transaction, &change.message_id)?);
        let reactions = reactions.map_err(|_| StoreError::Corrupt("reactions"))?;
        transaction
            .prepare_cached("UPDATE message_changes SET reactions = ?2 WHERE message = ?1")?
            .execute(params![change.message_id.as_str(), reactions])?;
    }
    Ok(())
}

/// Remembers what a client's own id was used for.
pub(super) fn commanded(
    transaction: &Transaction<'_>,
    event: &Event,
    message: &MessageId,
) -> Result<(), StoreError> {
    let envelope = &event.envelope;
    let Some(id) = &envelope.client_msg_id else { return Ok(()) };
    transaction
        .prepare_cached(
            "INSERT INTO commanded (client_msg_id, channel, sender, epoch, seq, message, content_hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            id.as_str(),
            envelope.channel_id.as_str(),
            envelope.by.as_str(),
            event.position.epoch.as_str(),
            event.position.seq,
            message.as_str(),
            envelope.content_hash,
        ])?;
    Ok(())
}

fn begin(transaction: &Transaction<'_>, event: &Event, message: &MessageId) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO message_changes (message, channel) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        )?
        .execute([message.as_str(), event.envelope.channel_id.as_str()])?;
    Ok(())
}

/// Sums up who reacted how, in the order of the first of each.
fn counted(connection: &Connection, message: &MessageId) -> Result<Vec<Reaction>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT reaction, user FROM reactions WHERE message = ?1 AND active = 1 ORDER BY epoch, seq",
    )?;
    let mut rows = select.query([message.as_str()])?;
    let mut reactions: Vec<Reaction> = Vec::new();
    while let Some(row) = rows.next()? {
        let (reaction, user): (String, String) = (row.get(0)?, row.get(1)?);
        let user = UserId::parse(&user).map_err(|_| StoreError::Corrupt("user id"))?;
        let at = reactions.iter().position(|one| one.reaction == reaction).unwrap_or_else(|| {
            reactions.push(Reaction { reaction, count: 0, users: Vec::new() });
            reactions.len() - 1
        });
        let one = &mut reactions[at];
        one.count += 1;
        if one.users.len() < REACTORS_SHOWN_MAX {
            one.users.push(user);
        }
    }
    Ok(reactions)
}

/// The columns that [`placed`] reads, of `messages` joined with `message_changes` as [`JOINED`] joins them.
pub(super) const COLUMNS: &str =
    "messages.epoch, messages.seq, messages.body, edit, pinned, deleted_at_ms, reactions";

pub(super) const JOINED: &str = "messages LEFT JOIN message_changes ON message_changes.message = messages.id";

/// Reads a message as it is now. Most were never changed: their bodies are left as they are.
pub(super) fn placed(row: &Row<'_>) -> Result<PlacedMessage, StoreError> {
    let position = position(row, 0, 1)?;
    let body: String = row.get(2)?;
    let (edit, pinned): (Option<String>, Option<bool>) = (row.get(3)?, row.get(4)?);
    let (deleted, reactions): (Option<u64>, Option<String>) = (row.get(5)?, row.get(6)?);
    let unchanged = edit.is_none() && pinned != Some(true) && deleted.is_none() && reactions.is_none();
    if unchanged {
        let message = RawValue::from_string(body).map_err(|_| StoreError::Corrupt("message"))?;
        return Ok(PlacedMessage { position, message });
    }
    let mut message: Message = serde_json::from_str(&body).map_err(|_| StoreError::Corrupt("message"))?;
    if let Some(edit) = edit {
        let edit: Edit = serde_json::from_str(&edit).map_err(|_| StoreError::Corrupt("edit"))?;
        (message.content, message.mentioned_users) = (edit.content, edit.mentioned_users);
        message.edited_at = edit.edited_at;
    }
    message.is_pinned = pinned == Some(true);
    if let Some(reactions) = reactions {
        message.reactions = serde_json::from_str(&reactions).map_err(|_| StoreError::Corrupt("reactions"))?;
    }
    if let Some(at) = deleted {
        message.bury(Timestamp::from_unix_ms(at));
    }
    let message = serde_json::value::to_raw_value(&message).map_err(|_| StoreError::Corrupt("message"))?;
    Ok(PlacedMessage { position, message })
}

/// Reads one message as it is now.
pub(super) fn message(connection: &Connection, id: &MessageId) -> Result<Option<StoredMessage>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM {JOINED} WHERE messages.id = ?1");
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query([id.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let PlacedMessage { position, message } = placed(row)?;
    let message = serde_json::from_str(message.get()).map_err(|_| StoreError::Corrupt("message"))?;
    Ok(Some(StoredMessage { position, message }))
}

/// Reads which of some messages were deleted, and when.
pub(super) fn deleted(
    connection: &Connection,
    messages: Vec<MessageId>,
) -> Result<Vec<(MessageId, Timestamp)>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT deleted_at_ms FROM message_changes WHERE message = ?1 AND deleted_at_ms IS NOT NULL",
    )?;
    let mut deleted = Vec::new();
    for message in messages {
        let at: Option<u64> = select.query_row([message.as_str()], |row| row.get(0)).optional()?;
        deleted.extend(at.map(|at| (message, Timestamp::from_unix_ms(at))));
    }
    Ok(deleted)
}

/// Reads the reactions of one user to a message.
pub(super) fn reactions_of(
    connection: &Connection,
    message: &MessageId,
    user: &UserId,
) -> Result<Vec<String>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT reaction FROM reactions WHERE message = ?1 AND user = ?2 AND active = 1 ORDER BY epoch, seq",
    )?;
    let reactions = select.query_map([message.as_str(), user.as_str()], |row| row.get(0))?;
    Ok(reactions.collect::<Result<_, _>>()?)
}
