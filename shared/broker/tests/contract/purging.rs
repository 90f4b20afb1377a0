//! Forgetting the old end of the log.

use crate::world::{
    DEADLINE, PERSISTENCE, SEARCH, Wishes, World, append, channel, entry, in_time, named, neighbours, seqs,
    texts, whole,
};
use broker::{Append, Appended, Broker, Consumer, LiveEvent, Purge, ReadLimit};
use protocol::ids::{ChannelId, Epoch, Position, Seq};
use protocol::subjects::{SHARDS, Shard, Slot, dedup_key};
use protocol::time::Timestamp;
use std::time::{Duration, Instant};

/// Keys are forgotten soon, or nothing is old enough to be purged.
const WINDOW: Duration = Duration::from_millis(200);

async fn open(world: &impl World) -> Broker {
    world.open_with(Wishes { dedup_window: WINDOW, ..Wishes::default() }).await
}

/// Acknowledges everything that is there, and `expected` entries at least.
async fn acknowledge(consumer: &mut Consumer, expected: usize) {
    let mut acknowledged = 0;
    while acknowledged < expected {
        let taken = in_time("a fetch", consumer.fetch(100, DEADLINE / 5)).await.unwrap();
        consumer.ack(&taken.iter().map(|delivery| delivery.id).collect::<Vec<_>>()).await;
        acknowledged += taken.len();
    }
}

/// Everything that this group has acknowledged and that lies up to here.
fn upto(last: &Position, of: &ChannelId) -> Purge {
    let before = Timestamp::from_unix_ms(u64::MAX);
    Purge { group: PERSISTENCE, upto: vec![(Slot::of(of).shard, last.clone())], before }
}

async fn floor(broker: &Broker, of: &ChannelId) -> Seq {
    whole(broker, of).await.floor
}

/// Purges as soon as the entries are old enough, until the floor is there.
async fn purged(broker: &Broker, last: &Position, of: &ChannelId) {
    let purged = async {
        while floor(broker, of).await < last.seq {
            broker.purge(upto(last, of)).await.unwrap();
            tokio::time::sleep(WINDOW / 10).await;
        }
    };
    in_time("a purge", purged).await;
}

/// A channel with three entries of which two are purged, and a neighbour whose one entry is.
async fn half_purged(world: &impl World) -> (Broker, ChannelId, ChannelId, [Position; 4]) {
    let broker = open(world).await;
    let (home, near, _) = neighbours();
    let one = append(&broker, &home, "one").await;
    let other = append(&broker, &near, "other").await;
    let two = append(&broker, &home, "two").await;
    let three = append(&broker, &home, "three").await;
    acknowledge(&mut broker.consume(PERSISTENCE).await.unwrap(), 4).await;
    purged(&broker, &two, &home).await;
    (broker, home, near, [one, other, two, three])
}

pub(crate) async fn what_is_purged_is_gone_and_reads_say_so(world: &impl World) {
    let (broker, home, near, [one, _, two, three]) = half_purged(world).await;
    let page = whole(&broker, &home).await;
    assert_eq!((texts(&page), page.head, page.end), (vec!["three".to_owned()], three.seq, true));
    assert!(two.seq <= page.floor && page.floor < three.seq, "{page:?}");
    let limit = ReadLimit { entries: 10, bytes: 1_000 };
    let after = broker.read(&home, one.seq, limit).await.unwrap();
    assert!(after.floor > one.seq, "whoever reads on behind the first one learns that he missed some");
    let far = neighbours().2;
    append(&broker, &far, "elsewhere").await;
    assert_eq!(floor(&broker, &far).await, 0, "each shard for itself");
    // All of it is gone, so that the head is where the shard was purged to.
    let page = whole(&broker, &near).await;
    assert!(page.entries.is_empty() && page.end, "{page:?}");
    assert_eq!((page.head, page.floor), (floor(&broker, &home).await, page.head));
    assert_eq!(broker.head(&near).await.unwrap(), Position { seq: page.head, ..one });
}

pub(crate) async fn a_purge_survives_a_restart_and_an_abrupt_end(world: &impl World) {
    let (mut broker, home, near, [.., three]) = half_purged(world).await;
    let before = (whole(&broker, &home).await, broker.head(&near).await.unwrap());
    for crashes in [false, true] {
        broker = if crashes { world.crash(broker).await } else { world.restart(broker).await };
        assert_eq!((whole(&broker, &home).await, broker.head(&near).await.unwrap()), before);
        assert_eq!(broker.head(&home).await.unwrap(), three);
    }
}

pub(crate) async fn nothing_else_is_purged(world: &impl World) {
    let broker = open(world).await;
    let general = channel("general");
    let shard = Slot::of(&general).shard;
    let one = append(&broker, &general, "one").await;
    let two = append(&broker, &general, "two").await;
    let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
    let taken = in_time("a fetch", consumer.fetch(1, DEADLINE)).await.unwrap();
    tokio::time::sleep(2 * WINDOW).await;
    let all = |change: &dyn Fn(&mut Purge)| {
        let mut purge = upto(&two, &general);
        change(&mut purge);
        purge
    };
    let kept = async |what: &str, purge: Purge| {
        assert_eq!(broker.purge(purge).await, Ok(0), "{what}");
        assert_eq!(texts(&whole(&broker, &general).await), ["one", "two"], "{what}");
    };
    kept("nothing is acknowledged", all(&|_| {})).await;
    consumer.ack(&[taken[0].id]).await;
    kept("another group has acknowledged nothing", all(&|purge| purge.group = SEARCH)).await;
    kept("it lies behind", all(&|purge| purge.upto[0].1.seq = 0)).await;
    let elsewhere = Shard((shard.0 + 1) % SHARDS);
    kept("it is another shard", all(&|purge| purge.upto[0].0 = elsewhere)).await;
    let reborn = Epoch::new(1, 1);
    kept("it is another life", all(&|purge| purge.upto[0].1.epoch = reborn.clone())).await;
    kept("it is too young", all(&|purge| purge.before = Timestamp::from_unix_ms(1_700_000_000_000))).await;

    purged(&broker, &one, &general).await;
    assert_eq!(broker.purge(all(&|_| {})).await, Ok(0), "the second one is not acknowledged");
    assert_eq!(texts(&whole(&broker, &general).await), ["two"]);
}

pub(crate) async fn an_entry_stays_while_its_key_is_remembered(world: &impl World) {
    let window = Duration::from_secs(2);
    let broker = world.open_with(Wishes { dedup_window: window, ..Wishes::default() }).await;
    let general = channel("general");
    let began = Instant::now();
    let one = append(&broker, &general, "one").await;
    acknowledge(&mut broker.consume(PERSISTENCE).await.unwrap(), 1).await;
    let again = || entry(&general, dedup_key([general.as_str(), "", "one"]), "one");
    while began.elapsed() < window / 2 {
        assert_eq!(broker.purge(upto(&one, &general)).await, Ok(0));
        let again = broker.append(again()).await.unwrap();
        assert!(matches!(again, Appended::Duplicate { position, .. } if position == one));
    }
    purged(&broker, &one, &general).await;
    assert!(began.elapsed() >= window, "it was purged while its key was remembered");
}

pub(crate) async fn positions_go_on_rising_when_everything_was_purged(world: &impl World) {
    let mut broker = open(world).await;
    let (home, near, _) = neighbours();
    let mut last = append(&broker, &home, "first").await;
    for round in 0..3 {
        acknowledge(&mut broker.consume(PERSISTENCE).await.unwrap(), 1).await;
        purged(&broker, &last, &home).await;
        assert_eq!(broker.head(&home).await.unwrap(), last);
        match round {
            0 => {}
            1 => {
                broker.drain().await;
                drop(broker);
                broker = open(world).await;
            }
            _ => broker = world.crash(broker).await,
        }
        let head = broker.head(&home).await.unwrap();
        assert!(head.epoch == last.epoch && head.seq >= last.seq, "{head:?} is not before {last:?}");
        let to = if round == 1 { &near } else { &home };
        let next = append(&broker, to, &format!("{round}")).await;
        assert!(next.epoch == last.epoch && next.seq > head.seq, "{next:?} after {head:?}");
        assert_eq!(seqs(&whole(&broker, to).await), [next.seq]);
        last = next;
    }
}

pub(crate) async fn a_live_copy_after_a_purge_has_no_event_before_it(world: &impl World) {
    let (broker, home, near, [.., three]) = half_purged(world).await;
    let (control, mut subscriber) = broker.subscriber().await.unwrap();
    control.add(&[Slot::of(&home)]).await;
    for (to, before) in [(&near, 0), (&home, three.seq)] {
        append(&broker, to, "after").await;
        match in_time("a live copy", subscriber.next()).await {
            Some(LiveEvent::Durable { channel, prev, .. }) => assert_eq!((&channel, prev), (to, before)),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn an_expectation_of_what_was_purged_still_holds(world: &impl World) {
    let (broker, home, near, [one, other, two, three]) = half_purged(world).await;
    // Keys are remembered as long as usual from here on.
    let broker = world.restart(broker).await;
    let floor = floor(&broker, &near).await;
    let expecting =
        |to: &ChannelId, key, expect| Append { expect: Some(expect), ..entry(to, key, "expected") };
    let moved = broker.append(expecting(&near, 90, floor + 1_000)).await.unwrap();
    assert_eq!(moved, Appended::Moved { head: floor }, "nothing of it lies above the floor");
    for behind in [0, one.seq, two.seq] {
        let moved = broker.append(expecting(&home, 91, behind)).await.unwrap();
        assert_eq!(moved, Appended::Moved { head: three.seq }, "its newest entry is still there");
    }
    let mut head = 0;
    for (key, expected) in [(1, other.seq), (1, other.seq), (2, 0), (3, floor)] {
        match broker.append(expecting(&near, key, expected)).await.unwrap() {
            Appended::New { position } if head == 0 => head = position.seq,
            Appended::Duplicate { position, .. } if key == 1 => assert_eq!(position.seq, head),
            Appended::Moved { head: told } if key > 1 => assert_eq!(told, head),
            unexpected => panic!("{unexpected:?} to {key}"),
        }
    }
    assert_eq!(seqs(&whole(&broker, &near).await), [head]);
}

pub(crate) async fn groups_go_on_with_what_is_left(world: &impl World) {
    let broker = open(world).await;
    let general = channel("general");
    let mut search = broker.consume(SEARCH).await.unwrap();
    let mut last = append(&broker, &general, "0").await;
    let taken = in_time("a fetch", search.fetch(1, DEADLINE)).await.unwrap();
    search.ack(&[taken[0].id]).await;
    for n in 1..300 {
        last = append(&broker, &general, &n.to_string()).await;
    }
    let mut persistence = broker.consume(PERSISTENCE).await.unwrap();
    acknowledge(&mut persistence, 300).await;
    // Search has some that nobody will find again.
    assert!(!in_time("a fetch", search.fetch(10, DEADLINE)).await.unwrap().is_empty());
    purged(&broker, &last, &general).await;
    drop(search);
    append(&broker, &general, "left").await;
    for group in [PERSISTENCE, SEARCH, named("new")] {
        let mut consumer = broker.consume(group).await.unwrap();
        let mut found = Vec::new();
        while found.is_empty() {
            found = in_time("what is left", consumer.fetch(10, DEADLINE / 5)).await.unwrap();
        }
        assert_eq!(found.len(), 1, "{group}");
        assert_eq!(&found[0].entry.envelope[..], b"left", "{group}");
        consumer.ack(&[found[0].id]).await;
    }
    drop(persistence);
    let broker = world.restart(broker).await;
    append(&broker, &general, "later").await;
    for group in [PERSISTENCE, SEARCH, named("new")] {
        let mut consumer = broker.consume(group).await.unwrap();
        let found = in_time("what came later", consumer.fetch(10, DEADLINE / 5)).await.unwrap();
        assert_eq!(
            found.iter().map(|one| &one.entry.envelope[..]).collect::<Vec<_>>(),
            [b"later"],
            "{group}"
        );
    }
}

pub(crate) async fn readers_beside_a_purge_see_no_gap(world: &impl World) {
    let broker = open(world).await;
    let general = channel("general");
    let mut places = Vec::new();
    for n in 0..400 {
        places.push(append(&broker, &general, &n.to_string()).await);
    }
    acknowledge(&mut broker.consume(PERSISTENCE).await.unwrap(), 400).await;
    tokio::time::sleep(2 * WINDOW).await;
    let all: Vec<Seq> = places.iter().map(|place| place.seq).collect();
    assert_eq!(seqs(&whole(&broker, &general).await), all);
    let purging = {
        let (broker, general, places) = (broker.clone(), general.clone(), places.clone());
        tokio::spawn(async move {
            for place in places.iter().step_by(7).chain(places.last()) {
                broker.purge(upto(place, &general)).await.unwrap();
            }
        })
    };
    let mut highest = 0;
    while highest < all[399] {
        let page = whole(&broker, &general).await;
        assert!(page.floor >= highest && page.head >= page.floor, "{page:?}");
        let above: Vec<Seq> = all.iter().copied().filter(|seq| *seq > page.floor).collect();
        assert_eq!(seqs(&page).into_iter().filter(|seq| *seq > page.floor).collect::<Vec<_>>(), above);
        highest = page.floor;
        assert_eq!(broker.head(&general).await.unwrap().seq, all[399], "a head never goes back");
    }
    in_time("the purge", purging).await.unwrap();
}
