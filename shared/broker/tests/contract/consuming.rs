//! Groups that share the log.

use crate::world::{Wishes, World, append, channel, in_time, text};
use broker::{Broker, Consumer, Delivery, Group};
use std::time::Duration;

const PERSISTENCE: Group = named("persistence");
const SEARCH: Group = named("search");

const fn named(name: &'static str) -> Group {
    match Group::new(name) {
        Some(group) => group,
        None => panic!("a group's name is lower case"),
    }
}

/// Long enough for entries that are there, short enough to find that there are none.
const WAIT: Duration = Duration::from_millis(100);

async fn filled(broker: &Broker, entries: usize) {
    for n in 0..entries {
        append(broker, &channel(&format!("c{}", n % 3)), &n.to_string()).await;
    }
}

async fn fetch(consumer: &mut Consumer, max: usize) -> Vec<Delivery> {
    in_time("a fetch", consumer.fetch(max, WAIT)).await.unwrap()
}

fn said(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| text(&delivery.entry.envelope)).collect()
}

async fn ack(consumer: &mut Consumer, deliveries: &[Delivery]) {
    let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.id).collect();
    consumer.ack(&ids).await;
}

pub(crate) async fn members_of_a_group_share_its_entries(world: &impl World) {
    let broker = world.open().await;
    filled(&broker, 10).await;
    let mut one = broker.consume(PERSISTENCE).await.unwrap();
    let mut other = broker.consume(PERSISTENCE).await.unwrap();
    let (first, second) = (fetch(&mut one, 6).await, fetch(&mut other, 6).await);
    let mut all = said(&first);
    assert_eq!(all, ["0", "1", "2", "3", "4", "5"], "in the order of the log");
    all.extend(said(&second));
    assert_eq!(all, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(first.iter().chain(&second).all(|delivery| delivery.attempts == 1));
    assert!(fetch(&mut one, 6).await.is_empty());
}

pub(crate) async fn groups_do_not_know_each_other(world: &impl World) {
    let broker = world.open().await;
    filled(&broker, 3).await;
    let mut persistence = broker.consume(PERSISTENCE).await.unwrap();
    let taken = fetch(&mut persistence, 10).await;
    ack(&mut persistence, &taken).await;
    let mut search = broker.consume(SEARCH).await.unwrap();
    assert_eq!(said(&fetch(&mut search, 10).await), ["0", "1", "2"]);
}

pub(crate) async fn what_is_not_acknowledged_comes_again(world: &impl World) {
    let impatient = Wishes { ack_wait: Duration::from_millis(150), ..Wishes::default() };
    let broker = world.open_with(impatient).await;
    filled(&broker, 3).await;
    let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
    let taken = fetch(&mut consumer, 10).await;
    ack(&mut consumer, &taken[..1]).await;
    let again = async {
        loop {
            let again = fetch(&mut consumer, 10).await;
            if !again.is_empty() {
                break again;
            }
        }
    };
    let again = in_time("a redelivery", again).await;
    assert_eq!(said(&again), ["1", "2"], "what was acknowledged does not");
    assert!(again.iter().all(|delivery| delivery.attempts == 2));
}

pub(crate) async fn what_a_member_leaves_behind_goes_to_the_next(world: &impl World) {
    let broker = world.open().await;
    filled(&broker, 4).await;
    let mut leaving = broker.consume(PERSISTENCE).await.unwrap();
    let taken = fetch(&mut leaving, 3).await;
    ack(&mut leaving, &taken[..1]).await;
    drop(leaving);
    let mut next = broker.consume(PERSISTENCE).await.unwrap();
    let mut rest = fetch(&mut next, 10).await;
    rest.extend(fetch(&mut next, 10).await);
    assert_eq!(said(&rest), ["1", "2", "3"]);
}

pub(crate) async fn a_redelivery_leaves_alone_what_another_has(world: &impl World) {
    let broker = world.open().await;
    filled(&broker, 3).await;
    let mut leaving = broker.consume(PERSISTENCE).await.unwrap();
    let mut staying = broker.consume(PERSISTENCE).await.unwrap();
    assert_eq!(said(&fetch(&mut leaving, 1).await), ["0"]);
    assert_eq!(said(&fetch(&mut staying, 1).await), ["1"]);
    assert_eq!(said(&fetch(&mut leaving, 1).await), ["2"]);
    drop(leaving);
    let mut rest = fetch(&mut staying, 10).await;
    rest.extend(fetch(&mut staying, 10).await);
    rest.extend(fetch(&mut staying, 10).await);
    assert_eq!(said(&rest), ["0", "2"]);
}

pub(crate) async fn acknowledgements_survive_a_restart(world: &impl World) {
    let broker = world.open().await;
    filled(&broker, 5).await;
    let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
    let taken = fetch(&mut consumer, 5).await;
    ack(&mut consumer, &taken[..3]).await;
    drop(consumer);
    let broker = world.restart(broker).await;
    let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
    assert_eq!(said(&fetch(&mut consumer, 10).await), ["3", "4"]);
}

pub(crate) async fn a_fetch_waits_for_the_first_entry(world: &impl World) {
    let broker = world.open().await;
    let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
    assert!(fetch(&mut consumer, 10).await.is_empty(), "nothing comes of nothing");
    let waiting = tokio::spawn(async move { consumer.fetch(10, crate::world::DEADLINE).await.unwrap() });
    append(&broker, &channel("general"), "at last").await;
    assert_eq!(said(&in_time("a fetch", waiting).await.unwrap()), ["at last"]);
}
