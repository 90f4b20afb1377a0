//! The log forgets what the store has and what is old enough, and nobody can tell.

use crate::events::everything;
use crate::world::{DEADLINE, Worker, World, channel, resend};
use broker::{LogPage, ReadLimit};
use protocol::ids::Position;
use std::time::{Duration, Instant};
use worker::Config;
use worker::Role::{Commands, History, Persistence};
use worker::dead_letters::{Order, Which, carry_out};

/// How long entries are kept here: longer than it takes to make them durable.
const KEPT: Duration = Duration::from_secs(4);

async fn start(world: &World, kept: Duration) -> Worker {
    let roles = vec![Persistence, History, Commands];
    world.start_with(Config { roles, log_retention: kept }).await
}

async fn logged(world: &World) -> LogPage {
    let all = ReadLimit { entries: usize::MAX, bytes: usize::MAX };
    world.broker.read(&channel("general"), 0, all).await.unwrap()
}

/// Waits until everything up to a place is purged.
async fn purged(world: &World, upto: &Position) {
    let purged = async {
        while logged(world).await.floor < upto.seq {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, purged).await.expect("it is purged");
}

fn digits(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn nobody_can_tell_that_the_log_was_purged() {
    let world = World::forgetful();
    let worker = start(&world, KEPT).await;
    let began = Instant::now();
    world.channel("general").await;
    let first = world.command("driver-1", resend("general", "0", "c-1")).await.unwrap();
    let mut last = first.position.clone();
    for n in 1..10 {
        last = world.say("general", &n.to_string()).await.1;
    }
    while logged(&world).await.floor == 0 {
        assert!(began.elapsed() < KEPT + DEADLINE, "nothing is purged");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(began.elapsed() >= KEPT - Duration::from_millis(10), "a young entry was purged");
    purged(&world, &last).await;
    assert!(logged(&world).await.entries.is_empty());
    assert_eq!(world.broker.head(&channel("general")).await.unwrap(), last);

    // What the log had is there still, for whoever asks in whatever way.
    world.stored("general").await;
    assert_eq!(world.stored_texts("general").await, digits(0..10));
    assert_eq!(everything(&world, first.position.clone()).await.concat(), digits(1..10).concat());
    let again = world.command("driver-1", resend("general", "0", "c-1")).await.unwrap();
    assert_eq!((again.duplicate, again.position), (true, first.position.clone()));
    let new = world.command("driver-1", resend("general", "10", "c-2")).await.unwrap();
    assert!(!new.duplicate && new.position.seq > last.seq, "he is still a member: {new:?}");
    assert_eq!(everything(&world, last.clone()).await, ["10"]);
    assert_eq!(everything(&world, first.position).await.concat(), digits(1..11).concat());
    worker.stop().await;
}

#[tokio::test]
async fn a_quiet_channel_goes_on_from_where_its_shard_was_purged_to() {
    let world = World::forgetful();
    let worker = start(&world, Duration::from_millis(1)).await;
    world.channel("general").await;
    let last = world.say("general", "quiet from here on").await.1;
    purged(&world, &last).await;
    let head = world.broker.head(&channel("general")).await.unwrap();
    // Others of its shard talk on, and are purged as well.
    let shard = |name: &str| protocol::subjects::Slot::of(&channel(name)).shard;
    let neighbour = (0..).map(|n| format!("c{n}")).find(|name| shard(name) == shard("general")).unwrap();
    let other = world.say(&neighbour, "somewhere else").await.1;
    purged(&world, &other).await;
    assert!(world.broker.head(&channel("general")).await.unwrap().seq > head.seq);
    assert_eq!(everything(&world, head.clone()).await, [""], "nothing happened there");
    world.say("general", "at last").await;
    assert_eq!(everything(&world, head).await, ["at last"]);
    worker.stop().await;
}

#[tokio::test]
async fn what_is_not_durable_in_the_store_stays() {
    let world = World::forgetful();
    // Events can be written, but nothing can be made durable.
    world.meddle("CREATE TRIGGER stuck BEFORE INSERT ON reached BEGIN SELECT RAISE(ABORT, 'stuck'); END");
    let worker = start(&world, Duration::from_millis(1)).await;
    world.channel("general").await;
    let last = world.say("general", "written").await.1;
    world.stored("general").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let page = logged(&world).await;
    assert_eq!((page.floor, page.entries.len()), (0, 3));
    world.meddle("DROP TRIGGER stuck");
    purged(&world, &last).await;
    assert_eq!(world.stored_texts("general").await, ["written"]);
    worker.stop().await;
}

#[tokio::test]
async fn what_was_put_aside_outlives_the_log() {
    let world = World::forgetful();
    world.meddle(
        "CREATE TRIGGER picky BEFORE INSERT ON messages WHEN NEW.body LIKE '%refused%'
         BEGIN SELECT RAISE(ABORT, 'not today'); END",
    );
    let worker = start(&world, Duration::from_millis(1)).await;
    world.channel("general").await;
    world.say("general", "refused").await;
    let last = world.say("general", "stored").await.1;
    purged(&world, &last).await;
    world.meddle("DROP TRIGGER picky");
    let all = Order::Replay { which: Which::All };
    assert_eq!(carry_out(&all, &world.store, &mut drop).await.unwrap(), 0);
    assert_eq!(world.stored_texts("general").await, ["refused", "stored"]);
    worker.stop().await;
}

#[tokio::test]
async fn a_development_system_is_made_once_however_old_it_is() {
    let world = World::forgetful();
    let worker = start(&world, Duration::from_millis(1)).await;
    worker::seed::development(&world.broker, &world.store).await.unwrap();
    let head = world.broker.head(&channel("general")).await.unwrap();
    let messages = world.stored_texts("general").await;
    purged(&world, &head).await;
    worker::seed::development(&world.broker, &world.store).await.unwrap();
    assert_eq!(world.broker.head(&channel("general")).await.unwrap(), head, "nothing is made again");
    assert_eq!(world.stored_texts("general").await, messages);
    worker.stop().await;
}
