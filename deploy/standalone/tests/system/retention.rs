//! The log forgets what is old and stored; clients notice nothing, whoever is killed meanwhile.

use crate::client::{Arrival, Client};
use crate::server::{DEADLINE, Server};
use crate::store_lost::{FILES, chat, histories, remove_store, stop};
use rusqlite::types::FromSql;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// Copies the store of a server that has stopped; what a WAL held may have been moved into the database.
fn copy_store(from: &Path, to: &Path) {
    for file in FILES.iter().filter(|file| from.join(file).exists()) {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

/// Waits until the store has all of the log for good.
fn acknowledged(data: &Path) {
    let began = Instant::now();
    let acknowledged = "SELECT (SELECT max(id) FROM log) IN (SELECT floor FROM consumers)";
    while !ask::<bool>(data, acknowledged) {
        assert!(began.elapsed() < DEADLINE, "not everything is acknowledged");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// As if all of it had been said long ago.
fn age(data: &Path) {
    let log = Connection::open(data.join("log/log.db")).unwrap();
    log.execute_batch("UPDATE log SET ts = ts - 80 * 3600 * 1000").unwrap();
}

/// Asks the log's file for one value.
fn ask<T: FromSql>(data: &Path, question: &str) -> T {
    let log = Connection::open_with_flags(data.join("log/log.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    log.busy_timeout(DEADLINE).unwrap();
    log.query_row(question, [], |row| row.get(0)).unwrap()
}

/// Entries of the log.
fn entries(data: &Path) -> u64 {
    ask(data, "SELECT count(*) FROM log")
}

/// Waits until the log has less than so many entries.
fn below(data: &Path, count: u64) {
    let began = Instant::now();
    while entries(data) >= count {
        assert!(began.elapsed() < DEADLINE, "{} entries are not purged", entries(data));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Connects with a position and returns what it is told of the channel since, page after page.
async fn resumed(to: SocketAddr, channel: &str, mut place: (Value, Value)) -> Vec<Value> {
    let mut client = Client::connect(to, "driver-2", Arrival::Resuming).await.unwrap();
    client.expect("connection_established").await;
    let mut ids = Vec::new();
    loop {
        let point = json!({"channel_id": channel, "epoch": place.0, "seq": place.1});
        client.send(json!({"type": "resume", "channels": [point], "last": true})).await.unwrap();
        let page = client.expect("resumed").await;
        assert_eq!((&page["channel_id"], &page["reset"]), (&json!(channel), &json!(false)), "{page}");
        ids.extend(page["events"].as_array().unwrap().iter().map(|event| event["message"]["id"].clone()));
        place = (page["epoch"].clone(), page["seq"].clone());
        if page["more"] == false {
            return ids;
        }
    }
}

#[tokio::test]
async fn a_log_that_is_purged_is_missed_by_nobody_whoever_is_killed_meanwhile() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let first = chat(server.listen, 600).await;
    let before = histories(server.listen).await;
    let (mut client, _) = Client::open(server.listen, "driver-2").await;
    let old = client.whole_history("general").await;
    let old = old.iter().find(|one| one["id"] == first[0]).unwrap();
    let old = (old["epoch"].clone(), old["seq"].clone());
    drop(client);
    acknowledged(data.path());
    stop(server);
    let all = entries(data.path());
    age(data.path());

    let server = Server::start(data.path());
    below(data.path(), all);
    server.kill();
    let server = Server::start(data.path());
    below(data.path(), 1);
    assert_eq!(histories(server.listen).await, before);
    let since: Vec<Value> =
        before["general"].iter().skip_while(|id| **id != first[0]).skip(1).cloned().collect();
    assert_eq!(since.len(), 299);
    assert_eq!(resumed(server.listen, "general", old.clone()).await, since);

    let later = chat(server.listen, 20).await;
    server.kill();
    let server = Server::start(data.path());
    let now = histories(server.listen).await;
    for (channel, history) in &before {
        assert!(now[channel].starts_with(history), "what is new comes behind what is old");
    }
    assert!(later.iter().all(|id| now.values().any(|history| history.contains(id))));
    assert_eq!(resumed(server.listen, "general", old).await.len(), 309);
    stop(server);
}

#[tokio::test]
async fn a_store_that_is_lost_after_a_purge_is_missed_loudly() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    chat(server.listen, 20).await;
    acknowledged(data.path());
    stop(server);
    age(data.path());
    let server = Server::start(data.path());
    below(data.path(), 1);
    let acked = chat(server.listen, 10).await;
    stop(server);
    let kept = tempfile::tempdir().unwrap();
    copy_store(data.path(), kept.path());
    remove_store(data.path());
    // It starts, since the log has something still, and says what is wrong.
    let server = Server::start(data.path());
    let log = std::fs::read_to_string(data.path().join("server.log")).unwrap();
    assert!(log.contains("history has a hole"), "{log}");
    stop(server);
    remove_store(data.path());
    copy_store(kept.path(), data.path());
    let server = Server::start(data.path());
    let histories = histories(server.listen).await;
    assert!(acked.iter().all(|id| histories.values().any(|history| history.contains(id))));
    stop(server);
}
