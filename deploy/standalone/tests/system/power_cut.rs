//! A power cut takes back what was not synced, and nothing that was acknowledged, to a client or to the log.

use crate::client::Client;
use crate::disk::{CALLS, Disk};
use crate::server::{DEADLINE, Server, prepared};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Files of the log and of the store.
const LOG: [&str; 2] = ["log.db", "log.db-wal"];
const STORE: [&str; 2] = ["store.db", "store.db-wal"];

/// Starts a server whose writes are traced.
fn traced(data: &Path, trace: &Path) -> Server {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-x", "-s", "5000", "-e", CALLS, "-o"]).arg(trace);
    strace.arg(env!("CARGO_BIN_EXE_standalone"));
    Server::spawn(prepared(strace, data), data)
}

/// Up to which entry the log was told that the store has everything.
fn floor(log: &Connection) -> i64 {
    log.query_row("SELECT ifnull(max(floor), 0) FROM consumers", [], |row| row.get(0)).unwrap()
}

fn reader(file: &Path) -> Connection {
    Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

/// Chats until the log was told twice that the store has more; returns what was acknowledged.
async fn chat(server: &Server, data: &Path) -> Vec<String> {
    let (mut client, _) = Client::open(server.listen, "driver-1").await;
    let log = reader(&data.join("log/log.db"));
    let (mut acked, mut floors, began) = (Vec::new(), vec![floor(&log)], Instant::now());
    while floors.len() < 3 {
        let name = format!("message {}", acked.len());
        client.send(json!({"type": "send_message", "channel_id": "general", "content": name})).await.unwrap();
        client.expect("ack").await;
        acked.push(name);
        let floor = floor(&log);
        if floors.last() != Some(&floor) {
            floors.push(floor);
        }
        assert!(began.elapsed() < DEADLINE, "the log is not told what the store has: {floors:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    acked
}

#[tokio::test]
async fn a_power_cut_takes_back_nothing_that_was_acknowledged() {
    let data = tempfile::tempdir().unwrap();
    let trace = data.path().join("trace");
    let server = traced(data.path(), &trace);
    let acked = chat(&server, data.path()).await;
    server.kill_children();

    let (mut disk, mut cuts) = (Disk::default(), 0);
    for line in std::fs::read_to_string(&trace).unwrap().lines() {
        if disk.play(line).is_some_and(|name| name == "log.db-wal") {
            cuts += usize::from(judge(&disk));
        }
    }
    assert!(cuts >= 2, "the log was told something that could be judged: {cuts}");

    let left = tempfile::tempdir().unwrap();
    std::fs::create_dir(left.path().join("log")).unwrap();
    LOG.iter().for_each(|name| disk.leave(name, &left.path().join("log")));
    STORE.iter().for_each(|name| disk.leave(name, left.path()));
    let server = Server::start(left.path());
    let (mut client, _) = Client::open(server.listen, "dispatcher-1").await;
    let history = client.whole_history("general").await;
    let said: Vec<_> = history.iter().map(|one| one["content"].as_str().unwrap()).collect();
    assert!(said.ends_with(&acked.iter().map(String::as_str).collect::<Vec<_>>()), "{said:?}");
}

/// Looks at what a power cut would leave now: whatever the log was told of the store is there. Returns whether it
/// was told anything.
fn judge(disk: &Disk) -> bool {
    let left = tempfile::tempdir().unwrap();
    LOG.iter().chain(&STORE).for_each(|name| disk.leave(name, left.path()));
    let log = Connection::open(left.path().join("log.db")).unwrap();
    let tables = "SELECT count(*) FROM sqlite_master WHERE name = 'consumers'";
    if log.query_row(tables, [], |row| row.get::<_, i64>(0)).unwrap() == 0 || floor(&log) == 0 {
        return false;
    }
    let store = left.path().join("store.db");
    log.execute("ATTACH ?1 AS store", [store.to_str().unwrap()]).unwrap();
    let missing = "SELECT count(*) FROM log WHERE id <= ?1 AND NOT EXISTS (
        SELECT 1 FROM store.events WHERE events.channel = log.channel AND events.seq = log.seq)";
    let missing: i64 = log.query_row(missing, [floor(&log)], |row| row.get(0)).unwrap();
    assert_eq!(missing, 0, "the log believes that the store has {} entries", floor(&log));
    true
}
