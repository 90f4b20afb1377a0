//! Whoever reads sees what was acknowledged, however far the store is.

use crate::world::{World, channel};
use protocol::ids::{MessageId, Position};
use protocol::message::Message;
use protocol::requests::{Answer, HistoryAnswer, HistoryRange, HistoryRequest};
use protocol::subjects::RequestSubject;
use worker::Role::{History, Persistence};

/// Five messages in the store and the log, five in the log alone.
async fn half_stored() -> (World, Vec<(MessageId, Position)>) {
    let world = World::new();
    world.channel("general").await;
    let mut said = Vec::new();
    let persistence = world.start(&[Persistence]).await;
    for n in 0..5 {
        said.push(world.say("general", &n.to_string()).await);
    }
    world.stored("general").await;
    persistence.stop().await;
    for n in 5..10 {
        said.push(world.say("general", &n.to_string()).await);
    }
    (world, said)
}

async fn page(world: &World, range: HistoryRange, limit: u32) -> (String, bool) {
    let request = HistoryRequest { channel_id: channel("general"), range, thread_id: None, limit };
    let answer: Answer<HistoryAnswer> = world.ask(RequestSubject::History, &request).await;
    let answer = answer.unwrap();
    let text = |json: &str| serde_json::from_str::<Message>(json).unwrap().content;
    let texts: Vec<_> = answer.messages.iter().map(|one| text(one.message.get())).collect();
    (texts.join(" "), answer.more)
}

#[tokio::test]
async fn pages_join_store_and_log_without_a_seam() {
    let (world, said) = half_stored().await;
    let _worker = world.start(&[History]).await;
    let (newest, place) = (HistoryRange::Newest, |n: usize| said[n].1.clone());
    assert_eq!(page(&world, newest.clone(), 20).await, ("0 1 2 3 4 5 6 7 8 9".to_owned(), false));
    assert_eq!(page(&world, newest.clone(), 7).await, ("3 4 5 6 7 8 9".to_owned(), true));
    assert_eq!(page(&world, newest, 3).await, ("7 8 9".to_owned(), true));
    assert_eq!(page(&world, HistoryRange::Before(place(7)), 4).await, ("3 4 5 6".to_owned(), true));
    assert_eq!(page(&world, HistoryRange::Before(place(2)), 4).await, ("0 1".to_owned(), false));
    assert_eq!(page(&world, HistoryRange::After(place(2)), 4).await, ("3 4 5 6".to_owned(), true));
    assert_eq!(page(&world, HistoryRange::After(place(7)), 4).await, ("8 9".to_owned(), false));
    assert_eq!(page(&world, HistoryRange::After(place(0)), 3).await, ("1 2 3".to_owned(), true));
}

#[tokio::test]
async fn a_message_has_its_neighbours_on_both_sides_of_the_seam() {
    let (world, said) = half_stored().await;
    let _worker = world.start(&[History]).await;
    let around = |n: usize| HistoryRange::Around(said[n].0.clone());
    assert_eq!(page(&world, around(4), 5).await.0, "2 3 4 5 6");
    assert_eq!(page(&world, around(5), 5).await.0, "3 4 5 6 7");
    assert_eq!(page(&world, around(9), 5).await.0, "7 8 9");
    assert_eq!(page(&world, around(0), 3).await.0, "0 1 2");
}

#[tokio::test]
async fn a_page_fits_into_one_frame() {
    let world = World::new();
    world.channel("general").await;
    let _worker = world.start(&[History]).await;
    let long = "x".repeat(8_000);
    for _ in 0..30 {
        world.say("general", &long).await;
    }
    let (texts, more) = page(&world, HistoryRange::Newest, 200).await;
    assert!(more && texts.len() <= 128 * 1024, "{} bytes", texts.len());
}

#[tokio::test]
async fn the_wanted_message_stays_however_large_its_neighbours_are() {
    for roles in [&[History][..], &[History, Persistence]] {
        let world = World::new();
        world.channel("general").await;
        let worker = world.start(roles).await;
        let mut said = Vec::new();
        for n in 0..30 {
            said.push(world.say("general", &format!("{n:02}{}", "x".repeat(7_998))).await.0);
        }
        if roles.contains(&Persistence) {
            world.stored("general").await;
        }
        for (wanted, expected) in [(0, 0..15), (3, 0..15), (12, 5..20), (15, 8..23), (29, 15..30)] {
            let (texts, more) = page(&world, HistoryRange::Around(said[wanted].clone()), 200).await;
            let seen: Vec<usize> = texts.split(' ').map(|text| text[..2].parse().unwrap()).collect();
            assert!(more && texts.len() <= 128 * 1024, "{} bytes", texts.len());
            assert!(seen.contains(&wanted), "{wanted} is not in {seen:?}");
            assert_eq!(seen, expected.collect::<Vec<_>>(), "around {wanted}");
        }
        worker.stop().await;
    }
}
