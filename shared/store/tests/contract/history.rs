//! Pages of messages.

use crate::facts::{at, channel, described, epoch, id, later, plain, said};
use crate::world::World;
use protocol::ids::{MessageId, Position, Seq};
use protocol::requests::{HistoryRange, HistoryRequest};
use store::Store;

async fn page(
    store: &Store,
    to: &str,
    range: HistoryRange,
    limit: u32,
    thread_id: Option<MessageId>,
) -> (Vec<Seq>, bool) {
    let request = HistoryRequest { channel_id: channel(to), range, thread_id, limit };
    let answer = store.history(&request).await.unwrap();
    (answer.messages.iter().map(|message| message.position.seq).collect(), answer.more)
}

/// The seqs of the newest messages, and whether there are more.
pub(crate) async fn newest(store: &Store, to: &str, limit: u32) -> (Vec<Seq>, bool) {
    page(store, to, HistoryRange::Newest, limit, None).await
}

async fn ten(world: &impl World) -> Store {
    let store = world.open().await;
    // Other events lie between messages: seq has gaps.
    let events = (1..=10).flat_map(|n| [plain("general", 2 * n), described("general", 2 * n + 1, "General")]);
    store.apply(events.collect()).await.unwrap();
    store
}

pub(crate) async fn pages_go_back_from_the_newest(world: &impl World) {
    let store = ten(world).await;
    assert_eq!(newest(&store, "general", 3).await, (vec![16, 18, 20], true));
    let before = |seq| HistoryRange::Before(at(seq));
    assert_eq!(page(&store, "general", before(16), 4, None).await, (vec![8, 10, 12, 14], true));
    assert_eq!(page(&store, "general", before(8), 3, None).await, (vec![2, 4, 6], false));
    assert_eq!(page(&store, "general", before(2), 3, None).await, (vec![], false));
    assert!(!newest(&store, "general", 10).await.1, "exactly everything is not more");
}

pub(crate) async fn pages_go_forth_from_a_position(world: &impl World) {
    let store = ten(world).await;
    let after = |seq| HistoryRange::After(at(seq));
    assert_eq!(page(&store, "general", after(0), 3, None).await, (vec![2, 4, 6], true));
    assert_eq!(page(&store, "general", after(7), 2, None).await, (vec![8, 10], true));
    assert_eq!(page(&store, "general", after(16), 5, None).await, (vec![18, 20], false));
    assert_eq!(page(&store, "general", after(20), 5, None).await, (vec![], false));
}

pub(crate) async fn a_message_has_its_neighbours(world: &impl World) {
    let store = ten(world).await;
    let around = |name: &str| HistoryRange::Around(id(name));
    assert_eq!(page(&store, "general", around("m10"), 5, None).await, (vec![6, 8, 10, 12, 14], true));
    assert_eq!(page(&store, "general", around("m2"), 3, None).await.0, [2, 4, 6]);
    assert_eq!(page(&store, "general", around("m20"), 3, None).await.0, [18, 20]);
    assert_eq!(page(&store, "general", around("m10"), 1, None).await.0, [10]);
    assert_eq!(page(&store, "general", around("nobody"), 5, None).await, (vec![], false));
    assert_eq!(page(&store, "other", around("m10"), 5, None).await, (vec![], false), "not of this channel");
}

pub(crate) async fn a_thread_is_its_first_message_and_the_replies(world: &impl World) {
    let store = world.open().await;
    let reply = |seq| {
        said("general", seq, |message| {
            message.reply_to = Some(id("m1"));
            message.thread_id = Some(id("m1"));
        })
    };
    store
        .apply(vec![plain("general", 1), plain("general", 2), reply(3), plain("general", 4), reply(5)])
        .await
        .unwrap();
    let thread = Some(id("m1"));
    assert_eq!(
        page(&store, "general", HistoryRange::Newest, 9, thread.clone()).await,
        (vec![1, 3, 5], false)
    );
    assert_eq!(page(&store, "general", HistoryRange::Before(at(5)), 1, thread).await, (vec![3], true));
}

pub(crate) async fn channels_do_not_mix(world: &impl World) {
    let store = world.open().await;
    store.apply(vec![plain("general", 1), plain("other", 2), plain("general", 3)]).await.unwrap();
    assert_eq!(newest(&store, "general", 9).await, (vec![1, 3], false));
    assert_eq!(newest(&store, "other", 9).await, (vec![2], false));
    assert_eq!(newest(&store, "nobody", 9).await, (vec![], false));
}

pub(crate) async fn a_later_life_comes_after_an_earlier_one(world: &impl World) {
    let store = world.open().await;
    let mut reborn = said("general", 1, |message| message.id = id("reborn"));
    reborn.position.epoch = later();
    store.apply(vec![reborn, plain("general", 7), plain("general", 8)]).await.unwrap();
    assert_eq!(newest(&store, "general", 9).await, (vec![7, 8, 1], false));
    let head = store.head(&channel("general")).await.unwrap();
    assert_eq!(head, Some(Position { epoch: later(), seq: 1 }));
    let old = HistoryRange::After(Position { epoch: epoch(), seq: 7 });
    assert_eq!(page(&store, "general", old, 9, None).await, (vec![8, 1], false));
}
