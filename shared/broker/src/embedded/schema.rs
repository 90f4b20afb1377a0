//! The file of the embedded log, and what is kept of it in memory.

use super::OpenError;
use super::heads::Extent;
use super::places;
use super::purge::Old;
use protocol::ids::{Epoch, Seq};
use protocol::subjects::{SHARDS, Shard, Slot};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::time::Duration;

/// The layout that this release writes.
const SCHEMA: i64 = 3;

/// `id` numbers the whole log, for consumers, without gaps but where it was purged; `seq` numbers a shard, for clients. Rowid tables:
/// measured twice as fast as WITHOUT ROWID (performance page).
const LAYOUT: &str = "
    CREATE TABLE log (
        id INTEGER PRIMARY KEY,
        channel TEXT NOT NULL,
        seq INTEGER NOT NULL,
        prev INTEGER NOT NULL,
        ts INTEGER NOT NULL,
        dedup BLOB NOT NULL,
        payload BLOB NOT NULL
    );
    CREATE TABLE consumers (name TEXT PRIMARY KEY, floor INTEGER NOT NULL);
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
";

/// What layout 2 added: the last entry of each shard that was purged, by both its numbers. They go on from there when
/// nothing else is left.
const PURGED: &str =
    "CREATE TABLE purged (shard INTEGER PRIMARY KEY, seq INTEGER NOT NULL, id INTEGER NOT NULL);";

/// What layout 3 took away: `places` is there instead.
const UNINDEXED: &str = "DROP INDEX log_channel_seq;";

/// What the writer knows without asking the file.
pub(super) struct State {
    pub(super) epoch: Epoch,
    pub(super) last_id: i64,
    /// The id up to which entries have their places.
    pub(super) placed: i64,
    /// The last seq of each shard.
    pub(super) seqs: Vec<Seq>,
    pub(super) extent: Extent,
    pub(super) dedup: Dedup,
}

/// Dedup keys of the last minutes: key -> id, and when each may be forgotten.
#[derive(Default)]
pub(super) struct Dedup {
    ids: HashMap<u128, i64>,
    ages: VecDeque<(u64, u128)>,
}

impl Dedup {
    pub(super) fn get(&self, key: u128) -> Option<i64> {
        self.ids.get(&key).copied()
    }

    pub(super) fn insert(&mut self, key: u128, id: i64, now_ms: u64) {
        self.ids.insert(key, id);
        self.ages.push_back((now_ms, key));
    }

    pub(super) fn forget_before(&mut self, ms: u64) {
        while let Some((_, key)) = self.ages.front().filter(|(at, _)| *at < ms) {
            self.ids.remove(key);
            self.ages.pop_front();
        }
    }
}

/// Opens the file for writing; makes it when it is missing.
pub(super) fn open_writer(file: &Path) -> Result<Connection, OpenError> {
    let connection = Connection::open(file)?;
    // Measured choices of the performance page. FULL: a commit is acknowledged after its fsync.
    connection.execute_batch(
        "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;
         PRAGMA journal_size_limit=67108864; PRAGMA wal_autocheckpoint=1000;",
    )?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match found {
        0 => create(&connection)?,
        // The index goes last: in its order the places are written without being sorted.
        1 => migrate(&connection, &[PURGED, places::LAYOUT, UNINDEXED])?,
        2 => migrate(&connection, &[places::LAYOUT, UNINDEXED])?,
        SCHEMA => {}
        found => return Err(OpenError::Newer { found, known: SCHEMA }),
    }
    // Only now: what an older file needs to be sorted may be larger than memory.
    connection.execute_batch("PRAGMA temp_store=MEMORY")?;
    Ok(connection)
}

/// Opens the file for reading beside the writer.
pub(super) fn open_reader(file: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.execute_batch("PRAGMA cache_size=-16384; PRAGMA query_only=ON;")?;
    Ok(connection)
}

fn create(connection: &Connection) -> Result<(), rusqlite::Error> {
    let random = getrandom::u32().unwrap_or(0);
    let epoch = Epoch::new(runtime::clock::now_unix_ms(), random);
    let named = format!("INSERT INTO meta VALUES ('epoch', '{epoch}');");
    migrate(connection, &[LAYOUT, PURGED, places::LAYOUT, &named])
}

/// Brings the file to this release's layout, or leaves it as it was.
fn migrate(connection: &Connection, steps: &[&str]) -> Result<(), rusqlite::Error> {
    let steps = steps.concat();
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {steps} PRAGMA user_version={SCHEMA}; COMMIT"))
}

/// Reads what the writer keeps in memory.
pub(super) fn load(connection: &Connection, dedup_window: Duration) -> Result<State, rusqlite::Error> {
    let epoch: String =
        connection.query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| row.get(0))?;
    let epoch = Epoch::parse(&epoch).map_err(|_| rusqlite::Error::InvalidQuery)?;
    let last_id: Option<i64> = connection.query_row("SELECT max(id) FROM log", [], |row| row.get(0))?;
    let (mut extent, mut seqs, mut last_id) =
        (Extent::default(), vec![0; usize::from(SHARDS)], last_id.unwrap_or(0));
    let mut purged = connection.prepare("SELECT shard, seq, id FROM purged")?;
    let mut rows = purged.query([])?;
    while let Some(row) = rows.next()? {
        let (shard, seq, id): (usize, Seq, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        extent.set_floor(shard, seq);
        seqs[shard % usize::from(SHARDS)] = seq;
        last_id = id.max(last_id);
    }
    places::newest(connection, |channel, seq| {
        let counter = &mut seqs[usize::from(Slot::of(&channel).shard.0)];
        *counter = seq.max(*counter);
        extent.append(channel, seq);
    })?;
    let placed = places::placed(connection)?;
    let dedup = load_dedup(connection, dedup_window)?;
    Ok(State { epoch, last_id, placed, seqs, extent, dedup })
}

/// Reads the newest entries backwards until they are older than the window.
fn load_dedup(connection: &Connection, window: Duration) -> Result<Dedup, rusqlite::Error> {
    let now = runtime::clock::now_unix_ms();
    let oldest = now.saturating_sub(u64::try_from(window.as_millis()).unwrap_or(u64::MAX));
    let mut newest = connection.prepare("SELECT id, ts, dedup FROM log ORDER BY id DESC")?;
    let (mut rows, mut found) = (newest.query([])?, Vec::new());
    while let Some(row) = rows.next()? {
        let (id, at, key): (i64, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let at = u64::try_from(at).unwrap_or(0);
        if at < oldest {
            break;
        }
        if let Ok(key) = <[u8; 16]>::try_from(key.as_slice()) {
            found.push((u128::from_be_bytes(key), id, at));
        }
    }
    let mut dedup = Dedup::default();
    // A clock that stood in the future must not keep keys for ever.
    found.into_iter().rev().for_each(|(key, id, at)| dedup.insert(key, id, at.min(now)));
    Ok(dedup)
}

/// Returns up to where a shard was purged.
pub(super) fn purged(connection: &Connection, shard: Shard) -> Result<Seq, rusqlite::Error> {
    let mut select = connection.prepare_cached("SELECT seq FROM purged WHERE shard = ?1")?;
    Ok(select.query_row([shard.0], |row| row.get(0)).optional()?.unwrap_or_default())
}

/// Deletes entries and writes where their shards begin from then on.
pub(super) fn purge(connection: &Connection, old: &[Old]) -> Result<(), rusqlite::Error> {
    places::forget(connection, old)?;
    let mut delete = connection.prepare_cached("DELETE FROM log WHERE id = ?1")?;
    let mut last: HashMap<Shard, &Old> = HashMap::new();
    for entry in old {
        delete.execute([entry.id])?;
        last.insert(entry.shard(), entry);
    }
    let mut write = connection.prepare_cached(
        "INSERT INTO purged (shard, seq, id) VALUES (?1, ?2, ?3)
         ON CONFLICT (shard) DO UPDATE SET seq = max(seq, excluded.seq), id = max(id, excluded.id)",
    )?;
    for (shard, entry) in last {
        write.execute(params![shard.0, entry.seq, entry.id])?;
    }
    Ok(())
}

/// Returns up to where a group has acknowledged everything.
pub(super) fn floor(connection: &Connection, group: &str) -> Result<Option<i64>, rusqlite::Error> {
    connection.query_row("SELECT floor FROM consumers WHERE name = ?1", [group], |row| row.get(0)).optional()
}

/// Writes up to where a group has acknowledged everything; it never goes back.
pub(super) fn set_floor(connection: &Connection, group: &str, floor: i64) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached(
            "INSERT INTO consumers VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET floor = max(floor, excluded.floor)",
        )?
        .execute(params![group, floor])?;
    Ok(())
}
