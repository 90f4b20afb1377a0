//! The log's entries reach the store, whoever dies on the way.

use crate::world::{World, channel};
use bytes::Bytes;
use protocol::requests::{HistoryRange, HistoryRequest};
use worker::Role::Persistence;

async fn stored_texts(world: &World, to: &str) -> Vec<String> {
    let request =
        HistoryRequest { channel_id: channel(to), range: HistoryRange::Newest, thread_id: None, limit: 200 };
    let page = world.store.history(&request).await.unwrap();
    let text = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap()["content"].clone();
    page.messages.iter().map(|one| text(one.message.get()).as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_logged_is_stored_in_order() {
    let world = World::new();
    let _worker = world.start(&[Persistence]).await;
    world.channel("general").await;
    for n in 0..100 {
        world.say("general", &n.to_string()).await;
    }
    world.stored("general").await;
    assert_eq!(stored_texts(&world, "general").await, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_worker_goes_on_where_the_one_before_it_ended() {
    let world = World::new();
    world.channel("general").await;
    let mut expected = Vec::new();
    for round in 0..5 {
        let worker = world.start(&[Persistence]).await;
        for n in 0..10 {
            let text = format!("{round}/{n}");
            world.say("general", &text).await;
            expected.push(text);
        }
        // It is stopped wherever it is.
        worker.stop().await;
    }
    let _worker = world.start(&[Persistence]).await;
    world.stored("general").await;
    assert_eq!(stored_texts(&world, "general").await, expected, "nothing missing, nothing twice");
}

#[tokio::test]
async fn an_entry_that_nobody_can_read_does_not_stop_those_behind_it() {
    let world = World::new();
    let _worker = world.start(&[Persistence]).await;
    world.channel("general").await;
    let envelope = Bytes::from_static(b"from a release that is not written yet");
    let append = broker::Append { channel: channel("general"), dedup_key: 1, envelope, expect: None };
    world.broker.append(append).await.unwrap();
    world.say("general", "behind it").await;
    world.stored("general").await;
    assert_eq!(stored_texts(&world, "general").await, ["behind it"]);
}
