//! An entry that cannot be handled stops nothing, is kept, and can be handled again.

use crate::world::{DEADLINE, World, channel, event};
use broker::{Append, Appended};
use bytes::Bytes;
use protocol::envelope::Kind;
use protocol::ids::Position;
use runtime::telemetry::Filter;
use rusqlite::Connection;
use std::path::PathBuf;
use std::time::Duration;
use store::{DeadLetter, LetterId};
use worker::Role::Persistence;
use worker::dead_letters::{Config, Order, OrderError, carry_out, operate};

/// Refuses messages that say so.
const PICKY: &str = "CREATE TRIGGER picky BEFORE INSERT ON messages WHEN NEW.body LIKE '%poison%'
    BEGIN SELECT RAISE(ABORT, 'no poison'); END";

/// Longer than the store waits for another process's lock.
const LONG: Duration = Duration::from_millis(6_500);

/// Appends bytes that no gateway would.
async fn log_bytes(world: &World, to: &str, key: u128, bytes: &[u8]) -> Position {
    let envelope = Bytes::copy_from_slice(bytes);
    let append = Append { channel: channel(to), dedup_key: key, envelope, expect: None };
    match world.broker.append(append).await.unwrap() {
        Appended::New { position } => position,
        other => panic!("{other:?}"),
    }
}

async fn letters(world: &World) -> Vec<DeadLetter> {
    world.store.dead_letters(None, 1_000).await.unwrap()
}

/// Carries out an order; returns how many failed and what was said.
async fn order(world: &World, order: &Order) -> Result<(usize, Vec<String>), OrderError> {
    let mut said = Vec::new();
    let failed = carry_out(order, &world.store, &mut |line| said.push(line)).await?;
    Ok((failed, said))
}

fn replay(which: &str) -> Order {
    Order::Replay { which: which.parse().unwrap() }
}

#[tokio::test]
async fn what_cannot_be_read_is_put_aside_and_what_is_behind_it_is_stored() {
    let world = World::new();
    let _worker = world.start(&[Persistence]).await;
    world.channel("general").await;
    let unfit = event(Kind::Message, "general", &serde_json::json!({"content": "a secret"}));
    let elsewhere =
        event(Kind::ChannelUpdated, "other", &serde_json::json!({"name": "x", "channel_type": "GENERAL"}));
    let poisoned = [
        b"from a release that is not written yet".to_vec(),
        unfit.encode().unwrap(),
        elsewhere.encode().unwrap(),
    ];
    let mut places = Vec::new();
    for (key, bytes) in poisoned.iter().enumerate() {
        places.push(log_bytes(&world, "general", key as u128, bytes).await);
        world.say("general", &format!("behind {key}")).await;
    }
    let last = log_bytes(&world, "general", 99, b"the last of its channel").await;
    world.stored("general").await;
    assert_eq!(world.stored_texts("general").await, ["behind 0", "behind 1", "behind 2"]);
    assert_eq!(world.store.head(&channel("other")).await.unwrap(), None, "nothing came into another channel");

    let letters = letters(&world).await;
    places.push(last);
    assert_eq!(letters.iter().map(|one| one.id.position.clone()).collect::<Vec<_>>(), places);
    assert!(letters.iter().all(|one| one.id.role == "persistence" && one.attempts == 3));
    assert!(letters.iter().zip(&poisoned).all(|(one, bytes)| one.envelope == *bytes), "as it was logged");
    let reasons = letters.iter().map(|one| &*one.reason).collect::<Vec<_>>();
    assert!(reasons[1].contains("Data error at byte") && !reasons[1].contains("secret"), "{reasons:?}");
    assert_eq!(reasons[2], "envelope names another channel");
    let (_, said) = order(&world, &Order::List { limit: 3 }).await.unwrap();
    assert_eq!(said.len(), 4);
    assert!(said[0].starts_with(&letters[0].id.to_string()) && said[0].ends_with(&letters[0].reason));
    assert_eq!(said[3], "more than 3: see --limit");
}

#[tokio::test]
async fn what_is_refused_is_handled_again_once_its_reason_is_gone() {
    let world = World::new();
    world.meddle(PICKY);
    let worker = world.start(&[Persistence]).await;
    world.channel("general").await;
    for text in ["one", "poison two", "three", "poison four", "five"] {
        world.say("general", text).await;
    }
    world.stored("general").await;
    assert_eq!(world.stored_texts("general").await, ["one", "three", "five"]);
    let refused = letters(&world).await;
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|one| one.reason.contains("no poison")), "{refused:?}");

    let first = refused[0].id.to_string();
    let (failed, said) = order(&world, &replay(&first)).await.unwrap();
    assert!(failed == 1 && said[0].starts_with(&first), "the reason is still there: {said:?}");
    let still = letters(&world).await;
    assert_eq!(still.iter().map(|one| one.attempts).collect::<Vec<_>>(), [4, 3]);
    world.meddle("DROP TRIGGER picky");
    assert_eq!(order(&world, &replay(&first)).await.unwrap(), (0, vec![format!("{first}  handled")]));
    assert_eq!(world.stored_texts("general").await, ["one", "poison two", "three", "five"]);
    assert_eq!(order(&world, &replay("all")).await.unwrap().0, 0);
    assert_eq!(world.stored_texts("general").await, ["one", "poison two", "three", "poison four", "five"]);
    assert!(letters(&world).await.is_empty());
    assert!(matches!(order(&world, &replay(&first)).await, Err(OrderError::Unknown(_))), "it is handled");
    worker.stop().await;
}

#[tokio::test]
async fn what_nobody_handles_stays_and_what_is_behind_it_is_handled() {
    let world = World::new();
    world.meddle(PICKY);
    let _worker = world.start(&[Persistence]).await;
    world.say("general", "poison").await;
    world.stored("general").await;
    let behind = letters(&world).await.remove(0).id;
    let id: LetterId = "index/general/e/1".parse().unwrap();
    let (reason, envelope) = ("x".to_owned(), Bytes::from_static(b"x"));
    let put = DeadLetter { id: id.clone(), reason, attempts: 3, at: crate::world::now(), envelope };
    world.store.put_aside(put.clone()).await.unwrap();
    world.meddle("DROP TRIGGER picky");
    let (failed, said) = order(&world, &replay("all")).await.unwrap();
    assert_eq!(failed, 1);
    assert_eq!(said, [format!("{id}  nobody handles what is of this role"), format!("{behind}  handled")]);
    assert_eq!(letters(&world).await, [put]);
    assert_eq!(order(&world, &replay(&id.to_string())).await.unwrap().0, 1);
}

/// Runs an order on the store's file, as a program does.
async fn run(file: PathBuf, order: &Order) -> Result<usize, OrderError> {
    let config = Config { log: Filter::default(), store: store::Config { file } };
    operate(&config, order, &mut drop).await
}

#[tokio::test]
async fn a_list_takes_the_store_as_it_is() {
    let world = World::new();
    // As the release left it that wrote the first dead letters.
    world.meddle("PRAGMA user_version=3");
    assert_eq!(run(world.store_file(), &Order::List { limit: 3 }).await.unwrap(), 0);
    let file = Connection::open(world.store_file()).unwrap();
    let layout: u32 = file.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(layout, 3);
}

#[tokio::test]
async fn an_order_makes_no_store() {
    let folder = tempfile::tempdir().unwrap();
    for order in [Order::List { limit: 3 }, replay("all")] {
        let file = folder.path().join("store.db");
        assert!(matches!(run(file, &order).await, Err(OrderError::Missing(_))));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Says things while the store cannot be written; all of it is stored afterwards, and nothing was given up.
async fn outage(world: &World, mend: impl FnOnce()) {
    for n in 0..20 {
        world.say("general", &n.to_string()).await;
    }
    mend();
    world.stored("general").await;
    assert_eq!(world.stored_texts("general").await, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(letters(world).await.is_empty(), "{:?}", letters(world).await);
}

#[tokio::test]
async fn a_store_that_is_locked_for_a_while_costs_nothing() {
    let world = World::new();
    let lock = Connection::open(world.store_file()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let _worker = world.start(&[Persistence]).await;
    world.channel("general").await;
    tokio::time::sleep(LONG).await;
    outage(&world, || lock.execute_batch("ROLLBACK").unwrap()).await;
}

#[tokio::test]
async fn a_store_that_is_broken_for_a_while_costs_nothing() {
    let world = World::new();
    world.meddle("ALTER TABLE messages RENAME TO elsewhere");
    let _worker = world.start(&[Persistence]).await;
    world.channel("general").await;
    world.say("other", "is refused often enough to be given up").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    outage(&world, || world.meddle("ALTER TABLE elsewhere RENAME TO messages")).await;
    tokio::time::timeout(DEADLINE, world.stored("other")).await.unwrap();
}
