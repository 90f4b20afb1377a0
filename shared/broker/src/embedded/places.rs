//! Where the entries of each channel are: an index that follows the log in large steps.
//!
//! Its pages are as many as there are channels that speak, so that keeping it up with each commit of some entries costs
//! as much as the entries. Architecture Invariant: every entry up to `placed` has its place here, the entries behind
//! are few enough to be looked through.

use super::draft::Draft;
use super::purge::Old;
use super::schema::State;
use protocol::ids::{ChannelId, Seq};
use rusqlite::{Connection, params};

/// Entries without a place from which on the next commit gives them one. Chosen: a millisecond or two, for the commit
/// and for a reader who looks through them.
const STEP: i64 = 1_024;

pub(super) const LAYOUT: &str = "
    CREATE TABLE places (
        channel TEXT NOT NULL,
        seq INTEGER NOT NULL,
        id INTEGER NOT NULL,
        PRIMARY KEY (channel, seq)
    ) WITHOUT ROWID;
    CREATE TABLE placed (id INTEGER NOT NULL);
    INSERT INTO places SELECT channel, seq, id FROM log ORDER BY channel, seq;
    INSERT INTO placed SELECT coalesce(max(id), 0) FROM log;
";

/// Returns the id up to which every entry has its place.
pub(super) fn placed(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.prepare_cached("SELECT id FROM placed")?.query_row([], |row| row.get(0))
}

/// Follows the log up to what a transaction has written, if that is far enough away.
pub(super) fn follow(
    connection: &Connection,
    state: &State,
    draft: &mut Draft,
) -> Result<(), rusqlite::Error> {
    if draft.last_id - state.placed < STEP {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO places SELECT channel, seq, id FROM log WHERE id > ?1 ORDER BY channel, seq",
        )?
        .execute([state.placed])?;
    connection.prepare_cached("UPDATE placed SET id = ?1")?.execute([draft.last_id])?;
    draft.placed = draft.last_id;
    Ok(())
}

/// Forgets entries that were deleted.
pub(super) fn forget(connection: &Connection, old: &[Old]) -> Result<(), rusqlite::Error> {
    let mut delete = connection.prepare_cached("DELETE FROM places WHERE channel = ?1 AND seq = ?2")?;
    for entry in old {
        delete.execute(params![entry.channel.as_str(), entry.seq])?;
    }
    Ok(())
}

/// Calls `each` with every channel and a seq of it, its newest last.
pub(super) fn newest(
    connection: &Connection,
    mut each: impl FnMut(ChannelId, Seq),
) -> Result<(), rusqlite::Error> {
    for sql in [
        "SELECT channel, max(seq) FROM places GROUP BY channel",
        "SELECT channel, seq FROM log WHERE id > (SELECT id FROM placed) ORDER BY id",
    ] {
        let mut select = connection.prepare(sql)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (channel, seq): (String, Seq) = (row.get(0)?, row.get(1)?);
            if let Ok(channel) = ChannelId::parse(&channel) {
                each(channel, seq);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
