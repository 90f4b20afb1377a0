//! A store that was deleted, or put back as it was earlier, is filled again from the log.

use crate::client::Client;
use crate::kill_client::CHANNELS;
use crate::system::{Mode, System};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

/// The store's database and its WAL.
pub(crate) const FILES: [&str; 2] = ["store.db", "store.db-wal"];

/// Sends messages into both channels, each after the acknowledgement of the one before; returns their ids.
pub(crate) async fn chat(to: SocketAddr, count: usize) -> Vec<Value> {
    let (mut client, _) = Client::open(to, "driver-1").await;
    let mut acked = Vec::new();
    for n in 0..count {
        let frame = json!({"type": "send_message", "channel_id": CHANNELS[n % 2], "content": n.to_string()});
        client.send(frame).await.unwrap();
        acked.push(client.expect("ack").await["message_id"].clone());
    }
    acked
}

/// The ids of each channel's whole history, as somebody reads it who is told of both channels.
pub(crate) async fn histories(to: SocketAddr) -> HashMap<&'static str, Vec<Value>> {
    let (mut client, first) = Client::open(to, "dispatcher-1").await;
    assert_eq!(first["channels"].as_array().unwrap().len(), CHANNELS.len(), "{first}");
    let mut histories = HashMap::new();
    for channel in CHANNELS {
        let messages = client.whole_history(channel).await;
        histories.insert(channel, messages.iter().map(|one| one["id"].clone()).collect());
    }
    histories
}

pub(crate) fn remove_store(data: &Path) {
    for entry in std::fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("store.db") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

/// Starts what is in `data` and compares its histories with what they were.
async fn whole_again(mode: Mode, data: &Path, before: &HashMap<&'static str, Vec<Value>>) {
    let system = tokio::task::block_in_place(|| System::start(mode, data));
    let (here, there) = system.two_gateways();
    assert_eq!(&histories(here).await, before);
    // What is written now joins it, and the next start has nothing to fill.
    chat(there, 10).await;
    let now = histories(here).await;
    let filled = || System::said(mode, data).matches("filled again").count();
    let found = filled();
    let system = tokio::task::block_in_place(|| {
        system.stop();
        System::start(mode, data)
    });
    assert_eq!(histories(system.gateways()[0]).await, now);
    // Workers that start at once may both see it.
    assert!((1..=if mode == Mode::Embedded { 1 } else { 2 }).contains(&found), "{found} times");
    assert_eq!(filled(), found, "{}", System::said(mode, data));
    tokio::task::block_in_place(|| system.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_store_is_filled_again() {
    fills_a_deleted_store(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_store_of_a_fleet_is_filled_again() {
    fills_a_deleted_store(Mode::Nats).await;
}

async fn fills_a_deleted_store(mode: Mode) {
    let data = tempfile::tempdir().unwrap();
    let system = tokio::task::block_in_place(|| System::start(mode, data.path()));
    let (here, there) = system.two_gateways();
    let acked = chat(here, 40).await;
    let before = histories(there).await;
    assert!(acked.iter().all(|id| before.values().any(|history| history.contains(id))));
    tokio::task::block_in_place(|| system.stop());
    remove_store(data.path());
    whole_again(mode, data.path(), &before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_the_store_is_brought_up_to_date() {
    brings_an_older_copy_up_to_date(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_the_store_of_a_fleet_is_brought_up_to_date() {
    brings_an_older_copy_up_to_date(Mode::Nats).await;
}

async fn brings_an_older_copy_up_to_date(mode: Mode) {
    let (data, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let system = tokio::task::block_in_place(|| System::start(mode, data.path()));
    let (here, there) = system.two_gateways();
    chat(here, 20).await;
    let chatting = tokio::spawn(chat(there, 60));
    // The database first: nothing moves into it from the WAL before that has 8,000 pages.
    for file in FILES {
        std::fs::copy(data.path().join(file), copy.path().join(file)).unwrap();
    }
    chatting.await.unwrap();
    let before = histories(here).await;
    tokio::task::block_in_place(|| system.stop());
    remove_store(data.path());
    for file in FILES {
        std::fs::copy(copy.path().join(file), data.path().join(file)).unwrap();
    }
    whole_again(mode, data.path(), &before).await;
}
