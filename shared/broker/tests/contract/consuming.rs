//! Groups that share the log.

use crate::world::{DEADLINE, PERSISTENCE, SEARCH, Wishes, World, append, channel, in_time, text};
use broker::{Broker, Consumer, Delivery};
use protocol::subjects::Slot;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Long enough for entries that are there, short enough to find that there are none.
const WAIT: Duration = Duration::from_millis(100);

/// Fills three channels of one shard: the order of the log is that of a shard.
async fn filled(broker: &Broker, entries: usize) {
    let home = Slot::of(&channel("general")).shard;
    let channels = (0..).map(|n| channel(&format!("c{n}"))).filter(|other| Slot::of(other).shard == home);
    let channels: Vec<_> = channels.take(3).collect();
    for n in 0..entries {
        append(broker, &channels[n % 3], &n.to_string()).await;
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
    let found = fetch(&mut search, 10).await;
    assert_eq!(said(&found), ["0", "1", "2"]);
    ack(&mut search, &found[..1]).await;
    drop((persistence, search));
    let broker = world.restart(broker).await;
    let mut persistence = broker.consume(PERSISTENCE).await.unwrap();
    assert!(fetch(&mut persistence, 10).await.is_empty());
    let mut search = broker.consume(SEARCH).await.unwrap();
    assert_eq!(said(&fetch(&mut search, 10).await), ["1", "2"]);
}

pub(crate) async fn members_share_while_entries_come(world: &impl World) {
    let broker = world.open().await;
    let all = || (0..200).map(|n| n.to_string()).collect::<BTreeSet<_>>();
    let (told, mut heard) = tokio::sync::mpsc::channel(1_000);
    for member in 0..4 {
        let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
        let told = told.clone();
        tokio::spawn(async move {
            // Until the broker ends.
            while let Ok(taken) = consumer.fetch(7, DEADLINE).await {
                ack(&mut consumer, &taken).await;
                for delivery in &taken {
                    told.send((member, delivery.attempts, text(&delivery.entry.envelope))).await.unwrap();
                }
            }
        });
    }
    drop(told);
    filled(&broker, 200).await;
    let mut said = BTreeSet::new();
    while said.len() < 200 {
        let (member, attempts, text) = in_time("a delivery", heard.recv()).await.unwrap();
        assert_eq!(attempts, 1);
        assert!(said.insert(text.clone()), "{text} came twice, now to {member}");
    }
    assert_eq!(said, all());
    broker.drain().await;
    assert_eq!(in_time("the end of the members", heard.recv()).await, None, "nothing comes twice");
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

pub(crate) async fn a_waiting_member_gets_what_another_leaves_behind(world: &impl World) {
    let broker = world.open().await;
    filled(&broker, 2).await;
    let mut leaving = broker.consume(PERSISTENCE).await.unwrap();
    assert_eq!(fetch(&mut leaving, 10).await.len(), 2);
    let mut staying = broker.consume(PERSISTENCE).await.unwrap();
    // The first one waits already when the second begins.
    let (taken, ()) =
        tokio::join!(in_time("what was left behind", staying.fetch(10, 2 * DEADLINE)), async move {
            drop(leaving)
        });
    assert_eq!(said(&taken.unwrap()), ["0", "1"]);
}

pub(crate) async fn a_waiting_member_gets_what_another_keeps_too_long(world: &impl World) {
    let impatient = Wishes { ack_wait: Duration::from_millis(300), ..Wishes::default() };
    let broker = world.open_with(impatient).await;
    filled(&broker, 2).await;
    let mut slow = broker.consume(PERSISTENCE).await.unwrap();
    assert_eq!(fetch(&mut slow, 10).await.len(), 2);
    let mut other = broker.consume(PERSISTENCE).await.unwrap();
    let mut taken = in_time("what was kept too long", other.fetch(10, 2 * DEADLINE)).await.unwrap();
    if taken.len() < 2 {
        // The other one is a moment later.
        taken.extend(in_time("the rest", other.fetch(10, 2 * DEADLINE)).await.unwrap());
    }
    assert_eq!(said(&taken), ["0", "1"]);
    assert!(taken.iter().all(|delivery| delivery.attempts == 2));
}

pub(crate) async fn what_a_member_has_is_not_given_to_it_again(world: &impl World) {
    let impatient = Wishes { ack_wait: Duration::from_secs(1), ..Wishes::default() };
    let broker = world.open_with(impatient).await;
    filled(&broker, 6).await;
    let began = std::time::Instant::now();
    let mut early = broker.consume(PERSISTENCE).await.unwrap();
    let mut late = broker.consume(PERSISTENCE).await.unwrap();
    // 0, 2 and 4 are due long before 1 and 3.
    let mut taken = Vec::new();
    for n in 0..5 {
        let from = if n % 2 == 0 { &mut early } else { &mut late };
        taken.extend(said(&fetch(from, 1).await));
    }
    assert_eq!(taken, ["0", "1", "2", "3", "4"]);
    drop(early);
    let mut again = Vec::new();
    while again.len() < 4 {
        again.extend(fetch(&mut late, 10).await);
    }
    // On a machine that stood still its own entries were due as well.
    if began.elapsed() < Duration::from_secs(1) {
        assert_eq!(said(&again), ["0", "2", "4", "5"], "1 and 3 are still with it");
    }
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

pub(crate) async fn what_was_not_acknowledged_survives_an_abrupt_end(world: &impl World) {
    let broker = world.open().await;
    filled(&broker, 6).await;
    let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
    let taken = fetch(&mut consumer, 4).await;
    ack(&mut consumer, &taken[..2]).await;
    let broker = world.crash(broker).await;
    let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
    let again = said(&fetch(&mut consumer, 10).await);
    // Late acknowledgements may be forgotten, entries may not.
    assert!(again.ends_with(&["2", "3", "4", "5"].map(str::to_owned)), "{again:?}");
}

pub(crate) async fn a_fetch_waits_for_the_first_entry(world: &impl World) {
    let broker = world.open().await;
    let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
    assert!(fetch(&mut consumer, 10).await.is_empty(), "nothing comes of nothing");
    let waiting = tokio::spawn(async move { consumer.fetch(10, DEADLINE).await.unwrap() });
    append(&broker, &channel("general"), "at last").await;
    assert_eq!(said(&in_time("a fetch", waiting).await.unwrap()), ["at last"]);
}

pub(crate) async fn what_a_member_keeps_is_not_given_to_another(world: &impl World) {
    let impatient = Wishes { ack_wait: Duration::from_millis(600), ..Wishes::default() };
    let broker = world.open_with(impatient).await;
    filled(&broker, 2).await;
    let mut slow = broker.consume(PERSISTENCE).await.unwrap();
    assert_eq!(fetch(&mut slow, 10).await.len(), 2);
    let mut other = broker.consume(PERSISTENCE).await.unwrap();
    for _ in 0..15 {
        let kept = Instant::now();
        slow.keep().await;
        let taken = fetch(&mut other, 10).await;
        // On a machine that stood still they were due.
        assert!(taken.is_empty() || kept.elapsed() > impatient.ack_wait, "{:?}", said(&taken));
    }
    let taken = in_time("what is not kept any more", other.fetch(10, 2 * DEADLINE)).await.unwrap();
    assert_eq!(said(&taken), ["0", "1"]);
}

pub(crate) async fn a_group_that_begins_again_gets_everything(world: &impl World) {
    let broker = world.open().await;
    assert_eq!(broker.acknowledged(PERSISTENCE).await, Ok(Vec::new()));
    assert_eq!(broker.purged().await, Ok(Vec::new()));
    let general = channel("general");
    append(&broker, &general, "first").await;
    let last = append(&broker, &general, "last").await;
    let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
    let taken = fetch(&mut consumer, 10).await;
    ack(&mut consumer, &taken).await;
    drop(consumer);
    // On NATS each start puts probes into the log, which are acknowledged as well.
    let broker = world.restart(broker).await;
    let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
    assert!(fetch(&mut consumer, 10).await.is_empty());
    drop(consumer);
    let broker = world.restart(broker).await;
    let acknowledged = async {
        loop {
            let found = broker.acknowledged(PERSISTENCE).await.unwrap();
            if !found.is_empty() {
                return found;
            }
            tokio::time::sleep(WAIT).await;
        }
    };
    let acknowledged = in_time("the acknowledgements", acknowledged).await;
    assert_eq!(acknowledged, [(Slot::of(&general).shard, last)], "the last entry, whatever lies behind it");
    broker.begin_again(PERSISTENCE).await.unwrap();
    let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
    assert_eq!(said(&fetch(&mut consumer, 10).await), ["first", "last"]);
}
