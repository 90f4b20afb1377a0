//! Entries are found whether they have their places or not.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use super::super::schema;
use super::*;
use crate::{Append, Embedded, Options, ReadLimit};
use bytes::Bytes;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const LIMIT: ReadLimit = ReadLimit { entries: 100, bytes: 1 << 20 };

fn channel(n: u128) -> ChannelId {
    ChannelId::parse(&format!("room-{}", n % 3)).unwrap()
}

/// Appends one entry for each key, to three channels in turn.
async fn append(log: &Embedded, keys: std::ops::Range<u128>) {
    let appends = keys.map(|key| {
        let envelope = Bytes::from(key.to_string());
        log.append(Append { channel: channel(key), dedup_key: key, envelope, expect: None })
    });
    assert!(join_all(appends).await.iter().all(Result::is_ok));
}

/// Reads a channel page by page, all that follows a position.
async fn read(log: &Embedded, channel: &ChannelId, mut after: Seq) -> Vec<(Seq, Bytes)> {
    let mut found = Vec::new();
    loop {
        let page = log.read(channel, after, LIMIT).await.unwrap();
        found.extend(page.entries.into_iter().map(|entry| (entry.seq, entry.envelope)));
        if page.end {
            return found;
        }
        after = found.last().unwrap().0;
    }
}

/// What the file says, beside whoever has it open.
fn file(folder: &Path) -> (i64, i64, i64) {
    let connection = Connection::open(folder.join("log.db")).unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get(0)).unwrap();
    let last = count("SELECT max(id) FROM log");
    (placed(&connection).unwrap(), count("SELECT count(*) FROM places"), last)
}

fn open(folder: &Path) -> Embedded {
    Embedded::open(folder, Options::default()).unwrap()
}

#[tokio::test]
async fn pages_go_on_from_places_to_entries_without_and_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let step = STEP.unsigned_abs().into();
    append(&log, 0..step).await;
    append(&log, step..step + 500).await;
    let (placed, places, last) = file(folder.path());
    assert!(placed >= STEP && placed < last, "some have a place and some have none: {placed} of {last}");
    assert_eq!(places, placed);

    let mut all = BTreeMap::new();
    for room in [0, 1, 2].map(channel) {
        let found = read(&log, &room, 0).await;
        assert!(found.is_sorted_by(|one, other| one.0 < other.0));
        let middle = found[found.len() / 2].0;
        let behind: Vec<_> = found.iter().filter(|(seq, _)| *seq > middle).cloned().collect();
        assert_eq!(read(&log, &room, middle).await, behind);
        all.insert(room, found);
    }
    assert_eq!(all.values().map(Vec::len).sum::<usize>(), usize::try_from(last).unwrap());

    log.drain().await;
    drop(log);
    let log = open(folder.path());
    for (room, found) in &all {
        assert_eq!(log.head(room).seq, found.last().unwrap().0);
        assert_eq!(&read(&log, room, 0).await, found);
    }
}

#[tokio::test]
async fn what_is_deleted_has_no_place() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    append(&log, 0..STEP.unsigned_abs().into()).await;
    log.drain().await;
    let connection = Connection::open(folder.path().join("log.db")).unwrap();
    let mut select = connection.prepare("SELECT id, channel, seq FROM log ORDER BY id LIMIT 100").unwrap();
    let old = select
        .query_map([], |row| {
            let channel = ChannelId::parse(&row.get::<_, String>(1)?).unwrap();
            Ok(Old { id: row.get(0)?, channel, seq: row.get(2)? })
        })
        .unwrap();
    let old: Vec<Old> = old.map(Result::unwrap).collect();
    schema::purge(&connection, &old).unwrap();
    assert_eq!(file(folder.path()), (STEP, STEP - 100, STEP));
    let state = schema::load(&connection, Duration::ZERO).unwrap();
    assert_eq!(state.extent.floor(&old[99].channel), old[99].seq);
}

#[tokio::test]
async fn a_log_of_the_layout_before_gets_its_places_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    append(&log, 0..30).await;
    let before = read(&log, &channel(1), 0).await;
    log.drain().await;
    drop(log);
    let connection = Connection::open(folder.path().join("log.db")).unwrap();
    connection
        .execute_batch(
            "DROP TABLE places; DROP TABLE placed; PRAGMA user_version=2;
             CREATE UNIQUE INDEX log_channel_seq ON log (channel, seq);",
        )
        .unwrap();
    drop(connection);
    let log = open(folder.path());
    assert_eq!(file(folder.path()), (30, 30, 30));
    assert_eq!(read(&log, &channel(1), 0).await, before);
    append(&log, 30..33).await;
    assert_eq!(read(&log, &channel(1), 0).await.len(), before.len() + 1);
}
