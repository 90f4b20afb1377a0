//! A store that lacks what the log says it has is filled again, whatever fails meanwhile, and nobody serves before.

use crate::node::{ALL, FORBIDDEN, MOST, Node};
use crate::world::{DEADLINE, Worker, World, channel};
use protocol::ids::{Epoch, Position};
use protocol::subjects::{Shard, Slot};
use runtime::shutdown::Shutdown;
use std::time::Duration;
use worker::Role::Persistence;
use worker::{Config, PERSISTENCE, StartError};

/// Messages of the channel.
const MESSAGES: usize = 150;

/// A channel in a shard that [`MOST`] may begin again, before the one where he fails.
fn name() -> String {
    let names = (0..).map(|n| format!("c{n}"));
    names.into_iter().find(|name| shard(name).0 < FORBIDDEN).unwrap()
}

fn shard(name: &str) -> Shard {
    Slot::of(&channel(name)).shard
}

/// A log all of which was stored once, by a worker that has stopped; and what was said.
async fn stored_once(node: &Node, name: &str) -> Vec<String> {
    let world = World::on_nats(node, ALL).await;
    let worker = world.start(&[Persistence]).await;
    world.channel(name).await;
    let mut said = Vec::new();
    for n in 0..MESSAGES {
        said.push(n.to_string());
        world.say(name, &n.to_string()).await;
    }
    world.stored(name).await;
    worker.stop().await;
    world.broker.drain().await;
    said
}

/// Nothing can be applied to the store until this is undone.
const BLOCK: &str = "ALTER TABLE messages RENAME TO elsewhere";
const UNBLOCK: &str = "ALTER TABLE elsewhere RENAME TO messages";

/// A worker on its way to serve.
struct Starting {
    shutdown: Shutdown,
    start: tokio::task::JoinHandle<Result<(), StartError>>,
}

impl Starting {
    fn new(world: &World) -> Self {
        let shutdown = Shutdown::new();
        let (broker, store, stop) = (world.broker.clone(), world.store.clone(), shutdown.clone());
        let start = tokio::spawn(async move {
            let config = Config { roles: vec![Persistence], ..Config::default() };
            worker::start(&config, &broker, &store, &stop).await
        });
        Self { shutdown, start }
    }

    /// Waits until it serves.
    async fn serves(self) -> Worker {
        let started = tokio::time::timeout(6 * DEADLINE, self.start).await.expect("it comes to its end");
        started.unwrap().unwrap();
        Worker(self.shutdown)
    }

    /// Ends it on its way.
    async fn end(self) {
        assert!(!self.start.is_finished(), "it serves already");
        self.start.abort();
        Worker(self.shutdown).stop().await;
    }
}

/// Waits until the group has begun this shard again and nothing of it was stored yet.
async fn begun(world: &World, shard: Shard) {
    let begun = async {
        while world.broker.settled(PERSISTENCE, shard).await.unwrap() != Some(0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, begun).await.expect("the group begins again");
}

#[tokio::test]
async fn a_group_that_could_not_begin_everywhere_fills_the_store_all_the_same() {
    let (node, name) = (Node::start(), name());
    let said = stored_once(&node, &name).await;
    let world = World::on_nats(&node, MOST).await;
    let worker = Starting::new(&world).serves().await;
    assert_eq!(world.stored_texts(&name).await, said, "it serves when the store is filled");
    worker.stop().await;
}

#[tokio::test]
async fn who_starts_after_one_that_ended_while_it_filled_the_store_goes_on_with_it() {
    let (node, name) = (Node::start(), name());
    let said = stored_once(&node, &name).await;
    let first = World::on_nats(&node, ALL).await;
    first.meddle(BLOCK);
    let starting = Starting::new(&first);
    begun(&first.beside(&node, ALL).await, shard(&name)).await;
    starting.end().await;

    first.meddle(UNBLOCK);
    let next = first.beside(&node, ALL).await;
    let worker = Starting::new(&next).serves().await;
    assert_eq!(next.stored_texts(&name).await, said, "it serves when the store is filled");
    assert_eq!(next.store.filling().await.unwrap(), [], "and says so");
    worker.stop().await;
}

#[tokio::test]
async fn what_the_log_cannot_give_is_not_waited_for() {
    let world = World::new();
    let gone = Position { epoch: Epoch::new(1_000, 7), seq: 5 };
    world.store.begin_filling(&[(Shard(3), gone)]).await.unwrap();
    let worker = Starting::new(&world).serves().await;
    assert_eq!(world.store.filling().await.unwrap(), []);
    worker.stop().await;
}

#[tokio::test]
async fn who_starts_beside_one_that_fills_the_store_waits_as_well() {
    let (node, name) = (Node::start(), name());
    let said = stored_once(&node, &name).await;
    let one = World::on_nats(&node, ALL).await;
    one.meddle(BLOCK);
    let first = Starting::new(&one);
    let other = one.beside(&node, ALL).await;
    begun(&other, shard(&name)).await;
    let second = Starting::new(&other);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!second.start.is_finished(), "nothing is in the store yet");
    one.meddle(UNBLOCK);
    let (first, second) = (first.serves(), second.serves());
    let second = second.await;
    assert_eq!(other.stored_texts(&name).await, said, "it serves when the store is filled");
    first.await.stop().await;
    second.stop().await;
}
