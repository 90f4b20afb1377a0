//! What only the embedded broker promises: a folder of its own, and few writes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it expects by failing")]

use broker::{Append, AppendError, Appended, Broker, Embedded, Group, OpenError, Options, Purge, ReadLimit};
use bytes::Bytes;
use protocol::ids::ChannelId;
use protocol::subjects::Slot;
use protocol::time::Timestamp;
use std::future::poll_fn;
use std::path::Path;
use std::task::Poll;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(10);

/// A frame of the WAL: a header and a page.
const FRAME: usize = 24 + 4_096;

/// What the WAL begins with.
const WAL_HEADER: usize = 32;

fn open(folder: &Path) -> Broker {
    Broker::Embedded(Embedded::open(folder, Options::default()).unwrap())
}

fn general() -> ChannelId {
    ChannelId::parse("general").unwrap()
}

async fn append(broker: &Broker, key: u128) -> Result<Appended, AppendError> {
    let envelope = Bytes::from(key.to_string());
    broker.append(Append { channel: general(), dedup_key: key, envelope, expect: None }).await
}

async fn logged(broker: &Broker) -> usize {
    let all = ReadLimit { entries: usize::MAX, bytes: usize::MAX };
    broker.read(&general(), 0, all).await.unwrap().entries.len()
}

/// Waits until whoever had the folder has finished.
fn open_when_free(folder: &Path) -> Broker {
    let began = Instant::now();
    loop {
        match Embedded::open(folder, Options::default()) {
            Ok(embedded) => return Broker::Embedded(embedded),
            Err(OpenError::InUse(_)) if began.elapsed() < DEADLINE => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_folder_belongs_to_one_broker() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    match Embedded::open(folder.path(), Options::default()) {
        Err(error @ OpenError::InUse(_)) => {
            let told = format!("folder {} is in use by another process", folder.path().display());
            assert_eq!(error.to_string(), told);
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two brokers write one log"),
    }
    assert!(matches!(append(&first, 1).await, Ok(Appended::New { .. })), "the first one does not notice");
    first.drain().await;
    drop(first);
    assert_eq!(logged(&open(folder.path())).await, 1);
}

#[tokio::test]
async fn a_folder_is_taken_until_its_last_write() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..10_u128 {
        let broker = open_when_free(folder.path());
        let before = logged(&broker).await;
        // Accepted, and then everybody goes away.
        for key in 0..500 {
            let mut asked = Box::pin(append(&broker, round * 1_000 + key));
            poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_ready())).await;
            // A task that never yields is at some point given no place in the queue.
            tokio::task::yield_now().await;
        }
        drop(broker);
        let broker = open_when_free(folder.path());
        assert_eq!(logged(&broker).await, before + 500, "what was accepted is written, in round {round}");
        assert!(matches!(append(&broker, round * 1_000 + 999).await, Ok(Appended::New { .. })));
        broker.drain().await;
    }
}

#[test]
fn a_log_of_a_later_release_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(folder.path().join("log.db")).unwrap();
    connection.execute_batch("PRAGMA user_version=99").unwrap();
    drop(connection);
    let refused = Embedded::open(folder.path(), Options::default());
    assert!(matches!(refused, Err(OpenError::Newer { found: 99, .. })));
}

/// Counts the transactions in a WAL: the last frame of each says how long the database is then.
fn commits(folder: &Path) -> usize {
    let wal = std::fs::read(folder.join("log.db-wal")).unwrap();
    let frames = wal[WAL_HEADER..].chunks_exact(FRAME);
    frames.filter(|frame| frame[4..8] != [0; 4]).count()
}

#[tokio::test]
async fn acknowledgements_share_the_commits_of_appends() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut consumer = broker.consume(Group::new("persistence").unwrap()).await.unwrap();
    let (before, began) = (commits(folder.path()), Instant::now());
    for key in 0..60 {
        append(&broker, key).await.unwrap();
        let taken = consumer.fetch(1, DEADLINE).await.unwrap();
        consumer.ack(&[taken[0].id]).await;
        // Time enough to write it alone, were it written at once.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let found = commits(folder.path()) - before;
    // Beside the appends' own: one each half second in which nothing was appended.
    let idle = usize::try_from(began.elapsed().as_millis() / 500).unwrap();
    assert!((60..=60 + idle).contains(&found), "{found} commits for 60 appends, {idle} for the rest");
    let log = rusqlite::Connection::open(folder.path().join("log.db")).unwrap();
    let floor = || log.query_row("SELECT floor FROM consumers", [], |row| row.get::<_, i64>(0)).unwrap();
    let alone = async {
        while floor() < 60 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, alone).await.expect("the last acknowledgement is not left waiting");
}

#[tokio::test]
async fn a_group_that_begins_again_is_due_again_until_it_has_come_as_far() {
    let folder = tempfile::tempdir().unwrap();
    let group = Group::new("persistence").unwrap();
    let open = || Embedded::open(folder.path(), Options::default()).unwrap();
    let log = open();
    assert_eq!(log.acknowledged(group).await, Ok(None));
    let broker = Broker::Embedded(log);
    for key in 0..3 {
        append(&broker, key).await.unwrap();
    }
    let mut consumer = broker.consume(group).await.unwrap();
    let taken: Vec<_> = consumer.fetch(10, DEADLINE).await.unwrap().iter().map(|one| one.id).collect();
    consumer.ack(&taken).await;
    broker.drain().await;
    drop((consumer, broker));
    for _ in 0..2 {
        let log = open();
        let (shard, position) = log.acknowledged(group).await.unwrap().unwrap();
        assert_eq!(
            (shard, position.seq),
            (Slot::of(&general()).shard, 3),
            "what was once acknowledged stays"
        );
        log.begin_again(group);
        assert_eq!(log.acknowledged(group).await, Ok(None));
        let broker = Broker::Embedded(log);
        let mut consumer = broker.consume(group).await.unwrap();
        let again = consumer.fetch(10, DEADLINE).await.unwrap();
        assert_eq!(again.len(), 3, "everything comes again");
        // It ends before it has come as far as before.
        consumer.ack(&[again[0].id]).await;
        broker.drain().await;
    }
}

/// Fills a log whose keys are forgotten soon, and acknowledges all of it; returns what may be purged then.
async fn filled(broker: &Broker, entries: u128) -> Purge {
    let group = Group::new("persistence").unwrap();
    let mut consumer = broker.consume(group).await.unwrap();
    for key in 0..entries {
        append(broker, key).await.unwrap();
    }
    let taken = consumer.fetch(1_000, DEADLINE).await.unwrap();
    consumer.ack(&taken.iter().map(|one| one.id).collect::<Vec<_>>()).await;
    let last = broker.head(&general()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    Purge { group, upto: vec![(Slot::of(&general()).shard, last)], before: Timestamp::from_unix_ms(u64::MAX) }
}

fn forgetful(folder: &Path) -> Embedded {
    let dedup_window = Duration::from_millis(1);
    Embedded::open(folder, Options { dedup_window, ..Options::default() }).unwrap()
}

#[tokio::test]
async fn one_commit_deletes_at_most_a_hundred_entries() {
    let folder = tempfile::tempdir().unwrap();
    let log = forgetful(folder.path());
    let broker = Broker::Embedded(log.clone());
    let purge = filled(&broker, 250).await;
    assert_eq!(log.purged(), []);
    let (before, began) = (commits(folder.path()), Instant::now());
    let upto = purge.upto.clone();
    assert_eq!(broker.purge(purge.clone()).await, Ok(250));
    let found = commits(folder.path()) - before;
    // The acknowledgement may have one of its own.
    let idle = usize::try_from(began.elapsed().as_millis() / 500).unwrap() + 1;
    assert!((3..=3 + idle).contains(&found), "{found} commits");
    assert_eq!(log.purged(), upto);
    assert_eq!(broker.purge(purge).await, Ok(0), "there is nothing left");
}

#[tokio::test]
async fn a_log_of_an_earlier_release_is_purged_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::Embedded(forgetful(folder.path()));
    filled(&broker, 3).await;
    broker.drain().await;
    drop(broker);
    let file = rusqlite::Connection::open(folder.path().join("log.db")).unwrap();
    file.execute_batch(
        "DROP TABLE purged; DROP TABLE places; DROP TABLE placed; PRAGMA user_version=1;
             CREATE UNIQUE INDEX log_channel_seq ON log (channel, seq);",
    )
    .unwrap();
    drop(file);
    let broker = Broker::Embedded(forgetful(folder.path()));
    assert_eq!(logged(&broker).await, 3);
    let purge = filled(&broker, 2).await;
    assert_eq!(broker.purge(purge).await, Ok(5));
    assert_eq!(logged(&broker).await, 0);
}
