//! The log's entries reach the store, whoever dies on the way.

use crate::world::{DEADLINE, World, channel};
use protocol::ids::Position;
use protocol::subjects::Slot;
use std::time::Duration;
use worker::PERSISTENCE;
use worker::Role::Persistence;

#[tokio::test]
async fn what_is_logged_is_stored_in_order() {
    let world = World::new();
    let _worker = world.start(&[Persistence]).await;
    world.channel("general").await;
    for n in 0..100 {
        world.say("general", &n.to_string()).await;
    }
    world.stored("general").await;
    assert_eq!(world.stored_texts("general").await, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
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
    assert_eq!(world.stored_texts("general").await, expected, "nothing missing, nothing twice");
}

/// Up to where everything is acknowledged.
async fn acknowledged(world: &World) -> Option<Position> {
    world.broker.acknowledged(PERSISTENCE).await.unwrap().pop().map(|(_, position)| position)
}

#[tokio::test]
async fn only_what_is_durable_is_acknowledged() {
    let world = World::new();
    // Events can be written, but nothing can be made durable.
    world.meddle("CREATE TRIGGER stuck BEFORE INSERT ON reached BEGIN SELECT RAISE(ABORT, 'stuck'); END");
    let worker = world.start(&[Persistence]).await;
    world.channel("general").await;
    let (_, last) = world.say("general", "written").await;
    world.stored("general").await;
    worker.stop().await;
    assert_eq!(world.stored_texts("general").await, ["written"]);
    assert_eq!(acknowledged(&world).await, None, "it is written, but not durable");
    let mut next = world.broker.consume(PERSISTENCE).await.unwrap();
    assert_eq!(next.fetch(10, DEADLINE).await.unwrap().len(), 3, "and comes again");
    drop(next);

    world.meddle("DROP TRIGGER stuck");
    let _worker = world.start(&[Persistence]).await;
    let durable = async {
        while acknowledged(&world).await.as_ref() != Some(&last) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, durable).await.expect("a worker acknowledges while it runs");
    let shard = Slot::of(&channel("general")).shard;
    assert_eq!(world.store.reached(shard, &last.epoch).await.unwrap(), last.seq);
    assert_eq!(world.stored_texts("general").await, ["written"], "what came again is there once");
}

#[tokio::test]
async fn a_worker_that_stops_leaves_nothing_to_come_again() {
    let world = World::new();
    let worker = world.start(&[Persistence]).await;
    world.channel("general").await;
    let (_, last) = world.say("general", "the last").await;
    world.stored("general").await;
    worker.stop().await;
    assert_eq!(acknowledged(&world).await, Some(last));
}
