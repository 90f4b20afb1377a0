//! What the store refuses stops nothing, is counted, and an operator has it handled again.

use crate::client::Client;
use crate::server::{DEADLINE, Server, command};
use rusqlite::Connection;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Instant;

fn meddle(data: &Path, sql: &str) {
    Connection::open(data.join("store.db")).unwrap().execute_batch(sql).unwrap();
}

/// Runs `standalone dead-letters …`; returns whether it succeeded and the lines that it printed.
fn operate(data: &Path, order: &[&str]) -> (bool, Vec<String>) {
    let output = command(data).arg("dead-letters").args(order).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), printed.lines().map(str::to_owned).collect())
}

/// Waits until the metrics have this line.
fn counted(data: &Path, line: &str) {
    let addresses = std::fs::read_to_string(data.join("addresses.json")).unwrap();
    let addresses: serde_json::Value = serde_json::from_str(&addresses).unwrap();
    let admin: SocketAddr = addresses["admin"].as_str().unwrap().parse().unwrap();
    let began = Instant::now();
    loop {
        let mut stream = TcpStream::connect(admin).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut metrics = String::new();
        stream.read_to_string(&mut metrics).unwrap();
        if metrics.lines().any(|told| told == line) {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "no {line} in {metrics}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

async fn say(to: SocketAddr, texts: &[&str]) {
    let (mut client, _) = Client::open(to, "driver-1").await;
    for text in texts {
        let frame = json!({"type": "send_message", "channel_id": "general", "content": text});
        client.send(frame).await.unwrap();
        client.expect("ack").await;
    }
}

/// The newest texts of the history.
async fn newest(of: SocketAddr, count: usize) -> Vec<String> {
    let (mut client, _) = Client::open(of, "dispatcher-1").await;
    let history = client.whole_history("general").await;
    history[history.len() - count..].iter().map(|one| one["content"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_the_store_refuses_is_put_aside_listed_and_handled_again() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    meddle(
        data.path(),
        "CREATE TRIGGER picky BEFORE INSERT ON messages WHEN NEW.body LIKE '%\"refused %'
         BEGIN SELECT RAISE(ABORT, 'not today'); END",
    );
    say(server.listen, &["before", "refused one", "behind it"]).await;
    counted(data.path(), "worker_dead_letters_total{role=\"persistence\"} 1");
    assert_eq!(newest(server.listen, 2).await, ["before", "behind it"]);

    let (_, listed) = operate(data.path(), &["list"]);
    assert_eq!(listed.len(), 1, "{listed:?}");
    let id = listed[0].split(' ').next().unwrap();
    assert!(id.starts_with("persistence/general/") && listed[0].contains("not today"), "{listed:?}");
    assert!(!operate(data.path(), &["replay", id]).0, "the reason is still there");
    meddle(data.path(), "DROP TRIGGER picky");
    assert_eq!(operate(data.path(), &["replay", "all"]), (true, vec![format!("{id}  handled")]));
    assert_eq!(operate(data.path(), &["list"]), (true, vec![]));
    assert_eq!(newest(server.listen, 3).await, ["before", "refused one", "behind it"]);
}
