//! Events: idempotent, in any order, for good.

use crate::facts::{added, at, channel, described, epoch, later, plain, removed, user};
use crate::history::newest;
use crate::world::World;
use protocol::envelope::Role;
use protocol::ids::Position;
use protocol::subjects::Shard;
use store::StoreError;

pub(crate) async fn the_newest_event_is_the_head(world: &impl World) {
    let store = world.open().await;
    let general = channel("general");
    assert_eq!(store.head(&general).await.unwrap(), None);
    store.apply(vec![plain("general", 3), plain("general", 8)]).await.unwrap();
    store.apply(vec![plain("general", 5), plain("other", 9)]).await.unwrap();
    assert_eq!(store.head(&general).await.unwrap(), Some(at(8)));
}

pub(crate) async fn events_may_come_twice_and_in_any_order(world: &impl World) {
    let story = || {
        vec![
            described("general", 1, "General"),
            added("general", 2, "driver-1", Role::Member),
            added("general", 3, "driver-2", Role::Member),
            plain("general", 4),
            removed("general", 5, "driver-2"),
            plain("general", 6),
            added("general", 7, "driver-1", Role::Moderator),
        ]
    };
    let store = world.open().await;
    // A few fixed shuffles, each with repeats.
    for step in [1, 2, 3, 4, 5, 6] {
        let order = (0..7).map(|n| (n * step + 3) % 7);
        for n in order {
            store.apply(vec![story().swap_remove(n)]).await.unwrap();
        }
        store.apply(story()).await.unwrap();
        assert_eq!(newest(&store, "general", 10).await, (vec![4, 6], false));
        let general = channel("general");
        assert_eq!(store.membership(&general, &user("driver-1")).await.unwrap(), Some(Role::Moderator));
        assert_eq!(store.membership(&general, &user("driver-2")).await.unwrap(), None);
    }
}

pub(crate) async fn a_batch_is_written_whole_or_not_at_all(world: &impl World) {
    let store = world.open().await;
    let mut unreadable = plain("general", 2);
    unreadable.envelope.body = serde_json::value::to_raw_value(&5).unwrap();
    let refused = store.apply(vec![plain("general", 1), unreadable, plain("general", 3)]).await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
    assert_eq!(store.head(&channel("general")).await.unwrap(), None);
    store.apply(vec![plain("general", 1)]).await.unwrap();
    assert_eq!(newest(&store, "general", 10).await, (vec![1], false));
}

pub(crate) async fn everything_survives_a_restart(world: &impl World) {
    let store = world.open().await;
    store.apply(vec![added("general", 1, "driver-1", Role::Owner), plain("general", 2)]).await.unwrap();
    let store = world.restart(store).await;
    let general = channel("general");
    assert_eq!(store.head(&general).await.unwrap(), Some(at(2)));
    assert_eq!(newest(&store, "general", 10).await, (vec![2], false));
    assert_eq!(store.membership(&general, &user("driver-1")).await.unwrap(), Some(Role::Owner));
    store.apply(vec![plain("general", 2), plain("general", 3)]).await.unwrap();
    assert_eq!(newest(&store, "general", 10).await, (vec![2, 3], false));
}

pub(crate) async fn a_large_batch_is_written(world: &impl World) {
    let store = world.open().await;
    store.apply((1..=2_000).map(|seq| plain("general", seq)).collect()).await.unwrap();
    assert_eq!(store.head(&channel("general")).await.unwrap(), Some(at(2_000)));
    assert_eq!(newest(&store, "general", 2).await, (vec![1_999, 2_000], true));
}

pub(crate) async fn how_far_the_log_is_here_for_good_is_remembered(world: &impl World) {
    let store = world.open().await;
    let (one, other) = (Shard(3), Shard(4));
    assert_eq!(store.reached(one, &epoch()).await.unwrap(), 0);
    store.apply(vec![plain("general", 7)]).await.unwrap();
    store.make_durable(&[(one, at(7)), (other, at(2))]).await.unwrap();
    // What comes again reaches less far, and takes nothing back.
    store.make_durable(&[(one, at(5))]).await.unwrap();
    store.make_durable(&[(one, Position { epoch: later(), seq: 1 })]).await.unwrap();
    let store = world.restart(store).await;
    assert_eq!(store.reached(one, &epoch()).await.unwrap(), 7);
    assert_eq!(store.reached(other, &epoch()).await.unwrap(), 2);
    assert_eq!(store.reached(one, &later()).await.unwrap(), 1, "each life of the log for itself");
    assert_eq!(store.reached(other, &later()).await.unwrap(), 0);
}

pub(crate) async fn up_to_where_it_is_filled_is_remembered_until_it_is(world: &impl World) {
    let store = world.open().await;
    assert_eq!(store.filling().await.unwrap(), []);
    let (one, other) = (Shard(3), Shard(4));
    let reborn = Position { epoch: later(), seq: 1 };
    store.begin_filling(&[(one, at(7)), (other, at(2))]).await.unwrap();
    store.begin_filling(&[(one, at(5)), (one, reborn.clone())]).await.unwrap();
    let store = world.restart(store).await;
    let all = [(one, at(7)), (other, at(2)), (one, reborn)];
    assert_eq!(store.filling().await.unwrap(), all, "the furthest of each life");
    store.end_filling(&[(one, at(6)), (other, at(2))]).await.unwrap();
    assert_eq!(
        store.filling().await.unwrap(),
        [all[0].clone(), all[2].clone()],
        "more is to come of the one"
    );
    store.end_filling(&all).await.unwrap();
    assert_eq!(world.restart(store).await.filling().await.unwrap(), []);
}

pub(crate) async fn a_closed_store_says_so(world: &impl World) {
    let store = world.open().await;
    store.close().await;
    assert!(matches!(store.head(&channel("general")).await, Err(StoreError::Closed)));
    assert!(matches!(store.apply(vec![plain("general", 1)]).await, Err(StoreError::Closed)));
    assert!(matches!(store.make_durable(&[(Shard(0), at(1))]).await, Err(StoreError::Closed)));
}
