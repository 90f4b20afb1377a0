//! What the store refuses stops nothing, is counted, and an operator has it handled again.

use crate::client::Client;
use crate::fleet::program;
use crate::server::DEADLINE;
use crate::system::{Mode, System};
use rusqlite::Connection;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

fn meddle(data: &Path, sql: &str) {
    let store = Connection::open(data.join("store.db")).unwrap();
    store.busy_timeout(DEADLINE).unwrap();
    store.execute_batch(sql).unwrap();
}

/// Runs `… dead-letters …` by somebody who says where the store is, and nothing else; returns whether it succeeded and
/// the lines that it printed.
fn operate(mode: Mode, data: &Path, order: &[&str]) -> (bool, Vec<String>) {
    let mut command = match mode {
        Mode::Embedded => Command::new(program("standalone")),
        Mode::Nats | Mode::Cluster => Command::new(program("worker")),
    };
    command.env_clear().current_dir(data);
    match mode {
        Mode::Embedded => command.env("DATA_DIR", data),
        Mode::Nats | Mode::Cluster => command.env("SAFESHIPPER__STORE__FILE", data.join("store.db")),
    };
    let output = command.arg("dead-letters").args(order).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), printed.lines().map(str::to_owned).collect())
}

/// Waits until the processes that persist have put so much aside.
async fn counted(system: &System, data: &Path, wanted: u64) {
    let began = Instant::now();
    let count = || system.count(data, "worker_dead_letters_total{role=\"persistence\"}");
    while count() != wanted {
        assert!(began.elapsed() < DEADLINE, "{} instead of {wanted}", count());
        tokio::time::sleep(LOOK).await;
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

/// Waits until the history ends so. What is not acknowledged yet comes out of the log, refused or not.
async fn ends_with(of: SocketAddr, texts: &[&str]) {
    let (mut client, _) = Client::open(of, "dispatcher-1").await;
    let began = Instant::now();
    loop {
        let history = client.whole_history("general").await;
        let newest = history[history.len() - texts.len()..].iter().map(|one| &one["content"]);
        if newest.eq(texts) {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "{texts:?} is not the end of {history:?}");
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_refuses_is_put_aside_listed_and_handled_again() {
    is_put_aside_and_handled_again(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_of_a_fleet_refuses_is_put_aside_listed_and_handled_again() {
    is_put_aside_and_handled_again(Mode::Nats).await;
}

async fn is_put_aside_and_handled_again(mode: Mode) {
    let data = tempfile::tempdir().unwrap();
    let system = tokio::task::block_in_place(|| System::start(mode, data.path()));
    let (here, there) = system.two_gateways();
    meddle(
        data.path(),
        "CREATE TRIGGER picky BEFORE INSERT ON messages WHEN NEW.body LIKE '%\"refused %'
         BEGIN SELECT RAISE(ABORT, 'not today'); END",
    );
    say(here, &["before", "refused one", "behind it"]).await;
    counted(&system, data.path(), 1).await;
    ends_with(there, &["before", "behind it"]).await;

    let operate = |order: &[&str]| tokio::task::block_in_place(|| operate(mode, data.path(), order));
    let (_, listed) = operate(&["list"]);
    assert_eq!(listed.len(), 1, "{listed:?}");
    let id = listed[0].split(' ').next().unwrap();
    assert!(id.starts_with("persistence/general/") && listed[0].contains("not today"), "{listed:?}");
    assert!(!operate(&["replay", id]).0, "the reason is still there");
    meddle(data.path(), "DROP TRIGGER picky");
    assert_eq!(operate(&["replay", "all"]), (true, vec![format!("{id}  handled")]));
    assert_eq!(operate(&["list"]), (true, vec![]));
    ends_with(there, &["before", "refused one", "behind it"]).await;
    tokio::task::block_in_place(|| system.stop());
}
