//! What becomes of the log when its file cannot be written, or its thread breaks.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use super::*;
use crate::{Append, Appended, Broker, Embedded, LiveEvent, Options};
use bytes::Bytes;
use protocol::ids::{ChannelId, Seq};
use protocol::subjects::Slot;
use std::path::Path;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(10);

/// Every insert fails, as on a full disk.
const FULL: &str = "CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'full'); END";

/// Every COMMIT fails: a row is owed that nobody will bring.
const UNCOMMITTABLE: &str = "
    CREATE TABLE nobody (id INTEGER PRIMARY KEY);
    CREATE TABLE owed (id INTEGER REFERENCES nobody (id) DEFERRABLE INITIALLY DEFERRED);
    CREATE TRIGGER uncommittable AFTER INSERT ON log BEGIN INSERT INTO owed VALUES (1); END";

fn general() -> ChannelId {
    ChannelId::parse("general").unwrap()
}

fn entry(key: u128) -> Append {
    Append { channel: general(), dedup_key: key, envelope: Bytes::from(key.to_string()), expect: None }
}

/// What somebody else does to the file.
fn meddle(folder: &Path, sql: &str) {
    Connection::open(folder.join("log.db")).unwrap().execute_batch(sql).unwrap();
}

/// Puts an entry behind all others, which the writer does not know.
fn slip_in(folder: &Path, seq: Seq) {
    let row = format!("({seq}, 'general', {seq}, 1, 0, x'00', x'00')");
    meddle(folder, &format!("INSERT INTO log (id, channel, seq, prev, ts, dedup, payload) VALUES {row}"));
}

fn open(folder: &TempDir) -> Broker {
    Broker::Embedded(Embedded::open(folder.path(), Options::default()).unwrap())
}

/// Appends until it works again: a failure is followed by a rest.
async fn append_when_mended(broker: &Broker, key: u128) -> Appended {
    let appended = async {
        loop {
            match broker.append(entry(key)).await {
                Ok(appended) => return appended,
                Err(error) => assert_eq!(error, AppendError::Unavailable),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, appended).await.unwrap()
}

/// The thread's state without the thread.
fn scribe(folder: &TempDir) -> (Writer, Scribe) {
    let connection = schema::open_writer(&folder.path().join("log.db")).unwrap();
    let state = schema::load(&connection, DEADLINE).unwrap();
    let subscribers = Arc::new(Subscribers::new(state.epoch.clone(), 8));
    let published =
        Published { heads: Arc::default(), subscribers, committed: watch::Sender::new(state.last_id) };
    let lock = Arc::new(File::create(folder.path().join("lock")).unwrap());
    let log = Log { connection, state, dedup_window: DEADLINE, folder: lock };
    let (writer, orders) = orders();
    (writer, Scribe::new(log, published, orders))
}

#[tokio::test]
async fn a_transaction_that_fails_before_its_commit_leaves_memory_alone() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(&folder);
    broker.append(entry(1)).await.unwrap();
    slip_in(folder.path(), 50);
    meddle(folder.path(), FULL);
    assert_eq!(broker.append(entry(2)).await, Err(AppendError::Unavailable), "certainly not appended");
    assert_eq!(broker.head(&general()).await.unwrap().seq, 1, "the file is not read again");
    meddle(folder.path(), "DROP TRIGGER full");
    let Appended::New { position } = append_when_mended(&broker, 2).await else { panic!("it is new") };
    assert_eq!(position.seq, 2);
}

#[tokio::test]
async fn after_a_failed_commit_the_file_says_what_is_there_and_subscribers_hear_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(&folder);
    broker.append(entry(1)).await.unwrap();
    let (control, mut subscriber) = broker.subscriber().await.unwrap();
    control.add(&[Slot::of(&general())]).await;
    slip_in(folder.path(), 50);
    meddle(folder.path(), UNCOMMITTABLE);
    // Somebody who waits already must be woken.
    let (failed, heard) =
        tokio::join!(broker.append(entry(2)), tokio::time::timeout(DEADLINE, subscriber.next()),);
    assert_eq!(failed, Err(AppendError::Unknown), "it may be appended");
    assert_eq!(heard.unwrap(), Some(LiveEvent::Lost(None)));
    assert_eq!(broker.head(&general()).await.unwrap().seq, 50, "whoever hears it finds the new head");
    meddle(folder.path(), "DROP TRIGGER uncommittable");
    let Appended::New { position } = append_when_mended(&broker, 2).await else { panic!("it is new") };
    assert_eq!(position.seq, 51);
    let Ok(Some(LiveEvent::Durable { prev, .. })) = tokio::time::timeout(DEADLINE, subscriber.next()).await
    else {
        panic!("a live copy")
    };
    assert_eq!(prev, 50);
}

#[tokio::test]
async fn failures_in_a_row_are_tried_less_and_less_often() {
    let folder = tempfile::tempdir().unwrap();
    let (_writer, mut scribe) = scribe(&folder);
    meddle(folder.path(), FULL);
    let (began, mut tries, mut refused) = (Instant::now(), 0, 0);
    while began.elapsed() < Duration::from_millis(400) {
        let before = scribe.health;
        let (waiting, mut answer) = Waiting::of(entry(1)).await;
        scribe.commit(vec![waiting]);
        assert_eq!(answer.try_recv().unwrap(), Err(AppendError::Unavailable));
        tries += usize::from(scribe.health != before);
        refused += 1;
    }
    assert!(tries > 1 && tries < 50 && refused > tries, "{tries} tries for {refused} appends");
    meddle(folder.path(), "DROP TRIGGER full");
    let Health::Resting(until) = scribe.health else { panic!("{:?}", scribe.health) };
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
    let (waiting, mut answer) = Waiting::of(entry(1)).await;
    scribe.commit(vec![waiting]);
    assert!(matches!(answer.try_recv().unwrap(), Ok(Appended::New { .. })));
    assert_eq!(scribe.health, Health::Well);
}

#[tokio::test]
async fn a_writer_that_breaks_stops_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, mut scribe) = scribe(&folder);
    // No file says so: there is no counter for any shard.
    scribe.log.state.seqs.clear();
    let shutdown = Shutdown::new();
    let write = || {
        scribe.run();
        Ok(())
    };
    shutdown.spawn_thread("log-writer", write).unwrap();
    assert_eq!(writer.append(entry(1)).await, Err(AppendError::Unknown));
    tokio::time::timeout(DEADLINE, shutdown.triggered()).await.unwrap();
    assert!(shutdown.has_failed());
    assert_eq!(writer.append(entry(2)).await, Err(AppendError::Closed));
    tokio::time::timeout(DEADLINE, writer.stop()).await.unwrap();
}

#[tokio::test]
async fn every_thread_of_a_log_is_watched_until_its_drain() {
    let folder = tempfile::tempdir().unwrap();
    let shutdown = Shutdown::new();
    let embedded = Embedded::open_watched(folder.path(), Options::default(), &shutdown).unwrap();
    let running = shutdown.ended(&[], Duration::ZERO).await.unwrap_err();
    assert_eq!(running, ["log-reader-0", "log-reader-1", "log-writer"]);
    embedded.drain().await;
    assert_eq!(shutdown.ended(&[], DEADLINE).await, Ok(()));
    assert!(!shutdown.has_failed());
}

#[tokio::test]
async fn floors_of_one_group_wait_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, mut scribe) = scribe(&folder);
    let (persistence, search) =
        (crate::Group::new("persistence").unwrap(), crate::Group::new("search").unwrap());
    for floor in 0..50_000 {
        writer.floor(persistence, floor);
        writer.floor(search, 7);
    }
    assert_eq!(scribe.orders.queue.len(), 1, "one order for all of them");
    let order = scribe.orders.queue.recv().unwrap();
    scribe.take(order, &mut Vec::new(), &mut false);
    scribe.commit(Vec::new());
    let written = |group: &str| schema::floor(&scribe.log.connection, group).unwrap();
    assert_eq!((written("persistence"), written("search")), (Some(49_999), Some(7)));
    writer.floor(persistence, 50_000);
    assert_eq!(scribe.orders.queue.len(), 1, "what comes later is told again");
}
