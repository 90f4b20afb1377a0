//! Whoever was away for long goes on where he stood, through every life of the log that the store remembers.

use crate::world::{World, channel, fresh_id, now, plain, sender};
use broker::Append;
use bytes::Bytes;
use protocol::codes::ErrorCode;
use protocol::envelope::Envelope;
use protocol::ids::{Epoch, Position, Seq};
use protocol::message::Message;
use protocol::requests::{Answer, EventsAnswer, EventsPage, EventsRequest};
use protocol::subjects::{RequestSubject, Slot};
use store::Event;
use worker::Role::{History, Persistence};

/// Lives of the log before the one that runs.
fn earlier(n: u64) -> Epoch {
    Epoch::new(n, 7)
}

async fn ask(world: &World, after: &Position, head: &Position) -> Answer<EventsAnswer> {
    let (channel_id, after, head) = (channel("general"), after.clone(), head.clone());
    world.ask(RequestSubject::Events, &EventsRequest { channel_id, after, head }).await
}

/// What a gateway is told that follows the channel to its head.
async fn page(world: &World, after: &Position) -> EventsPage {
    let head = world.broker.head(&channel("general")).await.unwrap();
    match ask(world, after, &head).await.unwrap() {
        EventsAnswer::Page(page) => page,
        EventsAnswer::Unknown => panic!("{after:?} is known"),
    }
}

fn text(envelope: &str) -> String {
    let envelope = Envelope::decode(envelope.as_bytes()).unwrap();
    serde_json::from_str::<Message>(envelope.body.get()).unwrap().content
}

/// The contents of everything after a position, one word a page, as somebody sees it who asks page after page.
pub(crate) async fn everything(world: &World, mut place: Position) -> Vec<String> {
    let mut pages = Vec::new();
    for _ in 0..20 {
        let page = page(world, &place).await;
        assert!((&page.epoch, page.reached) > (&place.epoch, place.seq) || !page.more, "each page goes on");
        let seqs: Vec<Seq> = page.events.iter().map(|event| event.seq).collect();
        assert!(seqs.is_sorted() && seqs.last().is_none_or(|last| *last <= page.reached));
        pages.push(page.events.iter().map(|event| text(event.envelope.get())).collect::<String>());
        place = Position { epoch: page.epoch, seq: page.reached };
        if !page.more {
            assert_eq!(place, world.broker.head(&channel("general")).await.unwrap());
            return pages;
        }
    }
    panic!("no end");
}

/// What was stored of an earlier life of the log.
async fn remember(world: &World, epoch: &Epoch, events: &[(Seq, &str)]) {
    let event = |(seq, content): &(Seq, &str)| {
        let message = plain("general", content).into_message(fresh_id(), sender("driver-1"), now(), None);
        let position = Position { epoch: epoch.clone(), seq: *seq };
        Event { position, envelope: Envelope::message(&message, 5).unwrap() }
    };
    world.store.apply(events.iter().map(event).collect()).await.unwrap();
}

fn at(epoch: &Epoch, seq: Seq) -> Position {
    Position { epoch: epoch.clone(), seq }
}

#[tokio::test]
async fn every_life_is_gone_through_up_to_what_only_the_log_has() {
    let world = World::new();
    remember(&world, &earlier(1), &[(4, "a"), (6, "b")]).await;
    remember(&world, &earlier(2), &[(1, "c"), (3, "d")]).await;
    let _worker = world.start(&[History]).await;
    assert_eq!(everything(&world, at(&earlier(2), 3)).await, [""], "nothing was said since");
    let mut places = Vec::new();
    for content in ["e", "f", "g"] {
        places.push(world.say("general", content).await.1);
    }
    assert_eq!(everything(&world, at(&earlier(1), 0)).await, ["ab", "cd", "efg"]);
    assert_eq!(everything(&world, at(&earlier(1), 4)).await, ["b", "cd", "efg"]);
    assert_eq!(everything(&world, at(&earlier(1), 6)).await, ["cd", "efg"]);
    assert_eq!(everything(&world, at(&earlier(2), 3)).await, ["efg"]);
    assert_eq!(everything(&world, places[0].clone()).await, ["fg"]);
    assert_eq!(everything(&world, places[2].clone()).await, [""]);
}

#[tokio::test]
async fn what_is_stored_meanwhile_comes_once() {
    let world = World::new();
    remember(&world, &earlier(1), &[(4, "a")]).await;
    world.channel("general").await;
    let _worker = world.start(&[History, Persistence]).await;
    let mut said = String::new();
    for n in 0..20 {
        world.say("general", &char::from(b'a' + n).to_string()).await;
        said.push(char::from(b'a' + n));
        let page = page(&world, &at(&earlier(1), 4)).await;
        let messages = page.events.iter().skip(2).map(|event| text(event.envelope.get()));
        assert_eq!(messages.collect::<String>(), said, "after the channel and its member");
    }
}

#[tokio::test]
async fn a_long_absence_comes_in_pages() {
    let world = World::new();
    let long: Vec<String> = (0..30_u8).map(|n| char::from(b'A' + n).to_string().repeat(8_000)).collect();
    let stored: Vec<_> = (1..).zip(&long[..20]).map(|(seq, text)| (seq, text.as_str())).collect();
    remember(&world, &earlier(1), &stored).await;
    for text in &long[20..] {
        world.say("general", text).await;
    }
    let _worker = world.start(&[History]).await;
    let pages = everything(&world, at(&earlier(1), 0)).await;
    assert!(pages.iter().all(|page| page.len() <= 128 * 1024));
    assert_eq!(pages.len(), 3, "two of the store and one of the log");
    assert_eq!(pages.concat(), long.concat());
}

#[tokio::test]
async fn a_position_that_nobody_can_vouch_for_is_unknown() {
    let world = World::new();
    remember(&world, &earlier(2), &[(5, "a")]).await;
    let head = world.say("general", "b").await.1;
    let _worker = world.start(&[History]).await;
    let unknown = [
        at(&earlier(1), 1),
        at(&earlier(2), 6),
        at(&Epoch::parse("zzz").unwrap(), 1),
        Position { seq: head.seq + 1, ..head.clone() },
    ];
    for position in unknown {
        let answer = ask(&world, &position, &head).await;
        assert!(matches!(answer, Ok(EventsAnswer::Unknown)), "{position:?}: {answer:?}");
    }
}

#[tokio::test]
async fn who_knows_another_log_gets_no_answer() {
    let world = World::new();
    let head = world.say("general", "a").await.1;
    let later = Epoch::parse("zzz").unwrap();
    remember(&world, &later, &[(1, "b")]).await;
    let _worker = world.start(&[History]).await;
    let cases = [
        (head.clone(), at(&later, 1)),
        (head.clone(), Position { seq: head.seq + 1, ..head.clone() }),
        // The store was written by workers that know a later life.
        (at(&later, 0), head.clone()),
    ];
    for (after, asker) in cases {
        let answer = ask(&world, &after, &asker).await;
        assert!(matches!(answer, Err(ErrorCode::Unavailable)), "{after:?} {asker:?}: {answer:?}");
    }
    assert!(ask(&world, &head, &head).await.is_ok());
}

#[tokio::test]
async fn what_is_no_envelope_is_passed_over() {
    let world = World::new();
    remember(&world, &earlier(1), &[(5, "a")]).await;
    world.say("general", "b").await;
    let append = Append {
        channel: channel("general"),
        dedup_key: 1,
        envelope: Bytes::from_static(b"\xff no JSON"),
        expect: None,
    };
    world.broker.append(append).await.unwrap();
    let _worker = world.start(&[History]).await;
    assert_eq!(everything(&world, at(&earlier(1), 5)).await, ["b"]);
}

#[tokio::test]
async fn a_channel_that_was_quiet_through_a_life_goes_on() {
    let world = World::new();
    world.say("general", "a").await;
    let _worker = world.start(&[History]).await;
    let head = world.broker.head(&channel("general")).await.unwrap();
    let quiet = at(&earlier(1), 0);
    assert!(matches!(ask(&world, &quiet, &head).await, Ok(EventsAnswer::Unknown)), "no such life");
    let shard = Slot::of(&channel("general")).shard;
    world.store.make_durable(&[(shard, at(&earlier(1), 9))]).await.unwrap();
    assert_eq!(everything(&world, quiet).await, ["a"]);
}
