//! Events after a position: what a client that was away goes on from.

use crate::facts::{added, at, channel, described, epoch, later, plain, said};
use crate::world::World;
use protocol::envelope::{Envelope, Role};
use protocol::ids::{Epoch, Position, Seq};
use protocol::subjects::{Shard, Slot};
use store::{Event, PageLimit, Store};

const WIDE: PageLimit = PageLimit { entries: 1_000, bytes: usize::MAX };

/// The places after a position, and whether more follow; `None` for an unknown position.
async fn after(
    store: &Store,
    to: &str,
    at: &Position,
    limit: PageLimit,
) -> Option<(Vec<(Epoch, Seq)>, bool)> {
    let page = store.events(&channel(to), at, limit).await.unwrap()?;
    for event in &page.events {
        let envelope = Envelope::decode(&event.envelope).unwrap();
        assert_eq!(envelope.channel_id, channel(to));
    }
    let places = page.events.into_iter().map(|event| (event.position.epoch, event.position.seq));
    Some((places.collect(), page.more))
}

async fn seqs(store: &Store, from: Seq, limit: PageLimit) -> (Vec<Seq>, bool) {
    let (places, more) = after(store, "general", &at(from), limit).await.unwrap();
    (places.into_iter().map(|(_, seq)| seq).collect(), more)
}

/// The same event in the log's later life.
fn reborn(seq: Seq) -> Event {
    let mut event = said("general", seq, |message| message.id = crate::facts::id(&format!("reborn-{seq}")));
    event.position.epoch = later();
    event
}

pub(crate) async fn events_follow_a_position_page_by_page(world: &impl World) {
    let store = world.open().await;
    let story = vec![
        described("general", 2, "General"),
        added("general", 4, "driver-1", Role::Member),
        plain("other", 5),
        plain("general", 6),
        plain("general", 9),
        plain("general", 10),
    ];
    store.apply(story).await.unwrap();
    assert_eq!(seqs(&store, 0, WIDE).await, (vec![2, 4, 6, 9, 10], false), "events of every kind");
    let two = PageLimit { entries: 2, ..WIDE };
    assert_eq!(seqs(&store, 0, two).await, (vec![2, 4], true));
    assert_eq!(seqs(&store, 4, two).await, (vec![6, 9], true));
    assert_eq!(seqs(&store, 9, two).await, (vec![10], false));
    assert_eq!(seqs(&store, 10, two).await, (vec![], false));
    assert_eq!(seqs(&store, 6, two).await, (vec![9, 10], false), "exactly everything is not more");
    assert_eq!(seqs(&store, 7, WIDE).await, (vec![9, 10], false), "a place between two events");
}

pub(crate) async fn a_page_is_bounded_in_bytes_and_brings_one_event_at_least(world: &impl World) {
    let store = world.open().await;
    let long = |seq| said("general", seq, |message| message.content = "x".repeat(4_000));
    store.apply((1..=6).map(long).collect()).await.unwrap();
    let bytes = |bytes| PageLimit { bytes, ..WIDE };
    assert_eq!(seqs(&store, 0, bytes(10_000)).await, (vec![1, 2], true));
    assert_eq!(seqs(&store, 2, bytes(1)).await, (vec![3], true));
    assert_eq!(seqs(&store, 5, bytes(1)).await, (vec![6], false));
    assert_eq!(seqs(&store, 0, PageLimit { entries: 0, bytes: 0 }).await, (vec![1], true));
}

pub(crate) async fn one_life_of_the_log_follows_another(world: &impl World) {
    let store = world.open().await;
    store.apply(vec![reborn(1), reborn(3), plain("general", 7), plain("general", 8)]).await.unwrap();
    let all = [(epoch(), 7), (epoch(), 8), (later(), 1), (later(), 3)];
    // Whatever the pages' size, each goes on where the one before ended.
    for entries in 1..=5 {
        let (mut place, mut seen) = (at(0), Vec::new());
        loop {
            let limit = PageLimit { entries, ..WIDE };
            let (places, more) = after(&store, "general", &place, limit).await.unwrap();
            seen.extend(places);
            let (epoch, seq) = seen.last().cloned().unwrap();
            place = Position { epoch, seq };
            if !more {
                break;
            }
        }
        assert_eq!(seen, all, "pages of {entries}");
    }
    assert_eq!(after(&store, "general", &at(8), WIDE).await.unwrap().0, all[2..]);
}

pub(crate) async fn a_position_that_the_store_cannot_vouch_for_is_unknown(world: &impl World) {
    let store = world.open().await;
    store.apply(vec![plain("general", 7), reborn(3), plain("other", 9)]).await.unwrap();
    let position = |epoch, seq| Position { epoch, seq };
    let never = Epoch::new(1_500, 0);
    for unknown in [at(8), position(later(), 4), position(never.clone(), 0), position(never, 2)] {
        assert_eq!(after(&store, "general", &unknown, WIDE).await, None, "{unknown:?}");
    }
    assert_eq!(after(&store, "nobody", &at(0), WIDE).await, None);
    assert_eq!(after(&store, "general", &at(7), WIDE).await, Some((vec![(later(), 3)], false)));
}

pub(crate) async fn a_channel_that_was_quiet_in_a_life_goes_on_in_the_next(world: &impl World) {
    let store = world.open().await;
    store.apply(vec![reborn(3)]).await.unwrap();
    let shard = Slot::of(&channel("general")).shard;
    store.make_durable(&[(Shard((shard.0 + 1) % 16), at(50))]).await.unwrap();
    assert_eq!(after(&store, "general", &at(0), WIDE).await, None, "another shard's life");
    store.make_durable(&[(shard, at(50))]).await.unwrap();
    assert_eq!(after(&store, "general", &at(0), WIDE).await, Some((vec![(later(), 3)], false)));
    // Where its log was purged to, it had no event, and yet that was its head.
    for known in [at(20), at(50)] {
        assert_eq!(after(&store, "general", &known, WIDE).await, Some((vec![(later(), 3)], false)));
    }
    assert_eq!(after(&store, "general", &at(51), WIDE).await, None, "nobody knows what happened before it");
}
