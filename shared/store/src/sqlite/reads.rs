//! Up to where people have read.

use super::ask::position;
use crate::StoreError;
use protocol::ids::{ChannelId, Position, UserId};
use protocol::limits::UNREAD_MAX;
use rusqlite::{Connection, params};

/// Keeps the further one of what was read before and now; returns it.
pub(super) fn mark(
    connection: &Connection,
    channel: &ChannelId,
    user: &UserId,
    read: &Position,
) -> Result<Position, StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO reads (channel, user, epoch, seq) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (user, channel) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq
             WHERE (excluded.epoch, excluded.seq) > (epoch, seq)",
        )?
        .execute(params![channel.as_str(), user.as_str(), read.epoch.as_str(), read.seq])?;
    Ok(of(connection, channel, user)?.unwrap_or_else(|| read.clone()))
}

/// Returns how far a user has read a channel.
pub(super) fn of(
    connection: &Connection,
    channel: &ChannelId,
    user: &UserId,
) -> Result<Option<Position>, StoreError> {
    let mut select =
        connection.prepare_cached("SELECT epoch, seq FROM reads WHERE user = ?1 AND channel = ?2")?;
    let mut rows = select.query([user.as_str(), channel.as_str()])?;
    rows.next()?.map(|row| position(row, 0, 1)).transpose()
}

/// Counts the messages of a channel after a position, or all, up to [`UNREAD_MAX`].
pub(super) fn unread(
    connection: &Connection,
    channel: &ChannelId,
    read: Option<&Position>,
) -> Result<u32, StoreError> {
    let (epoch, seq) = read.map_or(("", 0), |read| (read.epoch.as_str(), read.seq));
    Ok(connection
        .prepare_cached(
            "SELECT count(*) FROM
             (SELECT 1 FROM messages WHERE channel = ?1 AND (epoch, seq) > (?2, ?3) LIMIT ?4)",
        )?
        .query_row(params![channel.as_str(), epoch, seq, UNREAD_MAX], |row| row.get(0))?)
}
