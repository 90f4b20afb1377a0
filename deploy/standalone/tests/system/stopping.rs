//! A stop tells clients when to come back, and a second start goes on where the first ended.

use crate::client::Client;
use crate::server::Server;
use crate::system::{Mode, System};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_says_when_to_come_back_and_then_closes() {
    says_when_to_come_back(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_of_a_fleet_says_when_to_come_back_and_then_closes() {
    says_when_to_come_back(Mode::Nats).await;
}

async fn says_when_to_come_back(mode: Mode) {
    let data = tempfile::tempdir().unwrap();
    let system = tokio::task::block_in_place(|| System::start(mode, data.path()));
    let (mut client, _) = Client::open(system.gateways()[0], "driver-1").await;
    system.terminate();
    let farewell = client.expect("reconnect").await;
    assert!(farewell["after_ms"].is_u64() && farewell["reason"] == "restart", "{farewell}");
    assert_eq!(client.close_code().await, Some(1012));
    tokio::task::block_in_place(|| system.ended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_goes_on_where_the_first_ended() {
    goes_on(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_of_a_fleet_goes_on_where_the_first_ended() {
    goes_on(Mode::Nats).await;
}

async fn goes_on(mode: Mode) {
    let data = tempfile::tempdir().unwrap();
    let system = tokio::task::block_in_place(|| System::start(mode, data.path()));
    let (mut client, _) = Client::open(system.gateways()[0], "driver-1").await;
    let seeded = client.whole_history("general").await.len();
    assert!(seeded > 0, "a development system has a conversation");
    client.send(json!({"type": "send_message", "channel_id": "general", "content": "before"})).await.unwrap();
    let ack = client.expect("ack").await;
    let system = tokio::task::block_in_place(|| {
        system.stop();
        System::start(mode, data.path())
    });
    let (here, there) = system.two_gateways();
    let (mut client, first) = Client::open(here, "driver-1").await;
    let general = first["channels"].as_array().unwrap().iter().find(|one| one["channel_id"] == "general");
    let general = general.unwrap();
    assert_eq!((&general["epoch"], &general["seq"]), (&ack["epoch"], &ack["seq"]));
    let history = client.whole_history("general").await;
    assert_eq!(history.len(), seeded + 1, "nothing is seeded twice");
    assert_eq!(history.last().unwrap()["id"], ack["message_id"]);
    let (mut other, _) = Client::open(there, "driver-2").await;
    other.send(json!({"type": "send_message", "channel_id": "general", "content": "after"})).await.unwrap();
    let next = client.expect("chat_message").await;
    assert_eq!((&next["epoch"], &next["prev"]), (&ack["epoch"], &ack["seq"]));
    tokio::task::block_in_place(|| system.stop());
}

#[tokio::test]
async fn two_processes_do_not_share_a_data_directory() {
    let data = tempfile::tempdir().unwrap();
    let _server = Server::start(data.path());
    let second = crate::server::command(data.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stdout) + String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("DATA_DIR"), "{said}");
}
