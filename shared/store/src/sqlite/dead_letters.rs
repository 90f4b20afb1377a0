//! Dead letters: put aside, shown, handled again.

use super::ask::position;
use crate::{DeadLetter, LetterId, Sent, StoreError};
use bytes::Bytes;
use protocol::envelope::Envelope;
use protocol::ids::{ChannelId, ClientMsgId, UserId};
use protocol::time::Timestamp;
use rusqlite::{Connection, Row, params};

const COLUMNS: &str = "role, channel, epoch, seq, reason, attempts, at_ms, envelope";

pub(super) fn put_aside(connection: &Connection, letter: &DeadLetter) -> Result<(), StoreError> {
    let DeadLetter { id, reason, attempts, at, envelope } = letter;
    let read = Envelope::decode(envelope).ok();
    let client_msg_id = read.as_ref().and_then(|read| read.client_msg_id.as_ref());
    connection
        .prepare_cached(
            "INSERT INTO dead_letters (role, channel, epoch, seq, reason, attempts, at_ms, envelope, sender,
                 client_msg_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (role, channel, epoch, seq) DO UPDATE SET reason = excluded.reason,
                 attempts = excluded.attempts, at_ms = excluded.at_ms",
        )?
        .execute(params![
            id.role,
            id.channel.as_str(),
            id.position.epoch.as_str(),
            id.position.seq,
            reason,
            attempts,
            at.unix_ms(),
            &envelope[..],
            read.as_ref().map(|read| read.by.as_str()),
            client_msg_id.map(ClientMsgId::as_str),
        ])?;
    Ok(())
}

pub(super) fn remove(connection: &Connection, id: &LetterId) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM dead_letters WHERE role = ?1 AND channel = ?2 AND epoch = ?3 AND seq = ?4",
        )?
        .execute(params![id.role, id.channel.as_str(), id.position.epoch.as_str(), id.position.seq])?;
    Ok(())
}

pub(super) fn one(connection: &Connection, id: &LetterId) -> Result<Option<DeadLetter>, StoreError> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM dead_letters WHERE role = ?1 AND channel = ?2 AND epoch = ?3 AND seq = ?4"
    ))?;
    let place = params![id.role, id.channel.as_str(), id.position.epoch.as_str(), id.position.seq];
    let mut rows = select.query(place)?;
    rows.next()?.map(letter).transpose()
}

/// Returns what a client's own id was used for, among what was put aside and can be read.
pub(super) fn sent(
    connection: &Connection,
    channel: &ChannelId,
    sender: &UserId,
    id: &ClientMsgId,
) -> Result<Option<Sent>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT epoch, seq, envelope FROM dead_letters
         WHERE channel = ?1 AND sender = ?2 AND client_msg_id = ?3 ORDER BY epoch, seq LIMIT 1",
    )?;
    let mut rows = select.query([channel.as_str(), sender.as_str(), id.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let envelope: Vec<u8> = row.get(2)?;
    let Ok(envelope) = Envelope::decode(&envelope) else { return Ok(None) };
    let (message_id, content_hash) = (envelope.about(), envelope.content_hash);
    Ok(Some(Sent { position: position(row, 0, 1)?, message_id, content_hash }))
}

pub(super) fn page(
    connection: &Connection,
    after: Option<&LetterId>,
    limit: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM dead_letters WHERE (role, channel, epoch, seq) > (?1, ?2, ?3, ?4)
         ORDER BY role, channel, epoch, seq LIMIT ?5"
    ))?;
    // No role is empty: everything lies after that.
    let (role, channel, epoch, seq) = after.map_or(("", "", "", 0), |id| {
        (&*id.role, id.channel.as_str(), id.position.epoch.as_str(), id.position.seq)
    });
    let mut rows = select.query(params![role, channel, epoch, seq, limit])?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        letters.push(letter(row)?);
    }
    Ok(letters)
}

fn letter(row: &Row<'_>) -> Result<DeadLetter, StoreError> {
    let channel: String = row.get(1)?;
    let channel = ChannelId::parse(&channel).map_err(|_| StoreError::Corrupt("channel id"))?;
    let envelope: Vec<u8> = row.get(7)?;
    Ok(DeadLetter {
        id: LetterId { role: row.get(0)?, channel, position: position(row, 2, 3)? },
        reason: row.get(4)?,
        attempts: row.get(5)?,
        at: Timestamp::from_unix_ms(row.get(6)?),
        envelope: Bytes::from(envelope),
    })
}
