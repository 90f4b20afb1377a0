//! Pages of events, as the log had them.

use super::ask::{self, position};
use crate::{EventsPage, PageLimit, StoreError, StoredEvent};
use protocol::ids::{ChannelId, Position, Seq};
use protocol::subjects::Slot;
use rusqlite::{Connection, OptionalExtension, params};

/// Reads a page; `None` for a position that nobody can go on from.
pub(super) fn page(
    connection: &Connection,
    channel: &ChannelId,
    after: &Position,
    limit: PageLimit,
) -> Result<Option<EventsPage>, StoreError> {
    if !knows(connection, channel, after)? {
        return Ok(None);
    }
    let mut select = connection.prepare_cached(
        "SELECT epoch, seq, envelope FROM events
         WHERE channel = ?1 AND (epoch, seq) > (?2, ?3) ORDER BY epoch, seq LIMIT ?4",
    )?;
    // One more than wanted says whether more follow.
    let count = i64::try_from(limit.entries.max(1)).unwrap_or(i64::MAX).saturating_add(1);
    let seq = i64::try_from(after.seq).unwrap_or(i64::MAX);
    let mut rows = select.query(params![channel.as_str(), after.epoch.as_str(), seq, count])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let envelope: Vec<u8> = row.get(2)?;
        bytes += envelope.len();
        if !events.is_empty() && (events.len() >= limit.entries || bytes > limit.bytes) {
            return Ok(Some(EventsPage { events, more: true }));
        }
        events.push(StoredEvent { position: position(row, 0, 1)?, envelope });
    }
    Ok(Some(EventsPage { events, more: false }))
}

/// Whether the channel's log of that life is here up to the position, which may lie behind the channel's own entries:
/// the head of a channel whose entries were purged does.
fn knows(connection: &Connection, channel: &ChannelId, at: &Position) -> Result<bool, StoreError> {
    let newest: Option<Seq> = connection
        .prepare_cached("SELECT seq FROM events WHERE channel = ?1 AND epoch = ?2 ORDER BY seq DESC LIMIT 1")?
        .query_row([channel.as_str(), at.epoch.as_str()], |row| row.get(0))
        .optional()?;
    if newest.is_some_and(|newest| at.seq <= newest) {
        return Ok(true);
    }
    let reached = ask::reached(connection, Slot::of(channel).shard, &at.epoch)?;
    Ok(reached > 0 && at.seq <= reached)
}
