//! One transaction on the log's file, and what will change in memory once it is committed.

use super::live::Committed;
use super::orders::Waiting;
use super::places;
use super::purge::Old;
use super::reader::signed;
use super::schema::{self, State};
use crate::append::{Append, AppendError, Appended};
use crate::consume::Group;
use crate::log::Entry;
use bytes::Bytes;
use protocol::ids::{ChannelId, Position, Seq};
use protocol::subjects::Slot;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;

/// What changes with the commit. Whoever drops it instead changes nothing.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) last_id: i64,
    pub(super) placed: i64,
    pub(super) seqs: Vec<Seq>,
    pub(super) heads: HashMap<ChannelId, Seq>,
    pub(super) keys: HashMap<u128, i64>,
    pub(super) committed: Vec<Committed>,
    /// In the order of the batch.
    pub(super) answers: Vec<Appended>,
}

/// A transaction that failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was asked to last: certainly not appended.
    Before(rusqlite::Error),
    /// At its COMMIT: the file may have it all the same.
    AtCommit(rusqlite::Error),
}

impl Failure {
    pub(super) fn source(&self) -> &rusqlite::Error {
        match self {
            Self::Before(source) | Self::AtCommit(source) => source,
        }
    }

    /// Returns what the callers may believe.
    pub(super) fn answer(&self) -> AppendError {
        match self {
            Self::Before(_) => AppendError::Unavailable,
            Self::AtCommit(_) => AppendError::Unknown,
        }
    }
}

/// What one transaction does.
pub(super) struct Wanted<'a> {
    pub(super) batch: &'a [Waiting],
    pub(super) floors: &'a HashMap<Group, i64>,
    pub(super) old: &'a [Old],
    pub(super) now_ms: u64,
}

/// Writes a batch and floors and deletes what is old, in one transaction.
pub(super) fn write(connection: &Connection, state: &State, wanted: &Wanted<'_>) -> Result<Draft, Failure> {
    let Wanted { batch, floors, old, now_ms } = *wanted;
    connection.execute_batch("BEGIN IMMEDIATE").map_err(Failure::Before)?;
    let draft =
        Draft { last_id: state.last_id, placed: state.placed, seqs: state.seqs.clone(), ..Draft::default() };
    let mut writing = Writing { connection, state, draft, now_ms };
    for waiting in batch {
        let answer = writing.append(&waiting.append).map_err(Failure::Before)?;
        writing.draft.answers.push(answer);
    }
    for (group, floor) in floors {
        schema::set_floor(connection, &group.to_string(), *floor).map_err(Failure::Before)?;
    }
    if !old.is_empty() {
        schema::purge(connection, old).map_err(Failure::Before)?;
    }
    places::follow(connection, state, &mut writing.draft).map_err(Failure::Before)?;
    connection.execute_batch("COMMIT").map_err(Failure::AtCommit)?;
    Ok(writing.draft)
}

/// A transaction on its way.
struct Writing<'a> {
    connection: &'a Connection,
    state: &'a State,
    draft: Draft,
    now_ms: u64,
}

impl Writing<'_> {
    fn append(&mut self, append: &Append) -> Result<Appended, rusqlite::Error> {
        let (draft, state) = (&mut self.draft, self.state);
        let known = draft.keys.get(&append.dedup_key).copied();
        if let Some(id) = known.or_else(|| state.dedup.get(append.dedup_key))
            && let Some(first) = self.stored(id)?
        {
            return Ok(first);
        }
        let (draft, state) = (&mut self.draft, self.state);
        let known = draft.heads.get(&append.channel).copied();
        let newest = known.unwrap_or_else(|| state.extent.newest(&append.channel));
        let floor = state.extent.floor(&append.channel);
        let holds = |expected| expected == newest || newest == 0 && expected <= floor;
        if !append.expect.is_none_or(holds) {
            return Ok(Appended::Moved { head: newest.max(floor) });
        }
        let counter = &mut draft.seqs[usize::from(Slot::of(&append.channel).shard.0)];
        *counter += 1;
        let seq = *counter;
        draft.last_id += 1;
        self.connection
            .prepare_cached(
                "INSERT INTO log (id, channel, seq, prev, ts, dedup, payload) VALUES (?1,?2,?3,?4,?5,?6,?7)",
            )?
            .execute(params![
                draft.last_id,
                append.channel.as_str(),
                signed(seq),
                signed(newest),
                signed(self.now_ms),
                append.dedup_key.to_be_bytes(),
                &append.envelope[..],
            ])?;
        draft.heads.insert(append.channel.clone(), seq);
        draft.keys.insert(append.dedup_key, draft.last_id);
        draft.committed.push(Committed {
            channel: append.channel.clone(),
            seq,
            prev: newest,
            envelope: append.envelope.clone(),
        });
        Ok(Appended::New { position: self.position(seq) })
    }

    /// Reads the entry that a duplicate repeats; it may be of this very transaction. One that was purged, since the
    /// clock was set, is as good as forgotten.
    fn stored(&self, id: i64) -> Result<Option<Appended>, rusqlite::Error> {
        let found: Option<(String, i64, Vec<u8>)> = self
            .connection
            .prepare_cached("SELECT channel, seq, payload FROM log WHERE id = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((channel, seq, envelope)) = found else { return Ok(None) };
        metrics::counter!(crate::metrics::DUPLICATES).increment(1);
        let channel = ChannelId::parse(&channel).map_err(|_| rusqlite::Error::InvalidQuery)?;
        let seq = Seq::try_from(seq).unwrap_or_default();
        let entry = Entry { channel, seq, envelope: Bytes::from(envelope) };
        Ok(Some(Appended::Duplicate { position: self.position(seq), entry }))
    }

    fn position(&self, seq: Seq) -> Position {
        Position { epoch: self.state.epoch.clone(), seq }
    }
}
