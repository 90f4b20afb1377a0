//! Up to where people have read.

use crate::facts::{added, at, channel, described, later, plain, user};
use crate::world::World;
use protocol::envelope::Role;
use protocol::ids::{Position, Seq};
use store::Store;

async fn read_and_unread(store: &Store, who: &str) -> (Option<Seq>, u32) {
    let session = store.session(&user(who)).await.unwrap().unwrap();
    let general = session.channels.iter().find(|one| one.channel_id == channel("general")).unwrap();
    (general.read.as_ref().map(|read| read.seq), general.unread)
}

async fn ten(world: &impl World) -> Store {
    let store = world.open().await;
    let mut events = vec![described("general", 1, "General"), added("general", 2, "driver-1", Role::Member)];
    events.push(added("general", 3, "driver-2", Role::Member));
    events.extend((4..14).map(|seq| plain("general", seq)));
    events.push(plain("other", 20));
    store.apply(events).await.unwrap();
    store
}

pub(crate) async fn what_was_read_is_not_unread(world: &impl World) {
    let store = ten(world).await;
    assert_eq!(read_and_unread(&store, "driver-1").await, (None, 10), "who never said has read nothing");
    let mark = async |seq| store.mark_read(&channel("general"), &user("driver-1"), &at(seq)).await.unwrap();
    assert_eq!(mark(8).await, at(8));
    assert_eq!(read_and_unread(&store, "driver-1").await, (Some(8), 5));
    assert_eq!(read_and_unread(&store, "driver-2").await, (None, 10), "another has not read it");
    assert_eq!(mark(5).await, at(8), "nobody reads back");
    assert_eq!(mark(13).await, at(13));
    assert_eq!(read_and_unread(&store, "driver-1").await, (Some(13), 0));
    let store = world.restart(store).await;
    assert_eq!(read_and_unread(&store, "driver-1").await, (Some(13), 0));
}

pub(crate) async fn a_later_life_is_read_after_an_earlier_one(world: &impl World) {
    let store = ten(world).await;
    let reborn = Position { epoch: later(), seq: 1 };
    let (general, driver) = (channel("general"), user("driver-1"));
    assert_eq!(store.mark_read(&general, &driver, &reborn).await.unwrap(), reborn);
    assert_eq!(store.mark_read(&general, &driver, &at(13)).await.unwrap(), reborn);
    assert_eq!(read_and_unread(&store, "driver-1").await, (Some(1), 0));
}

pub(crate) async fn members_are_counted_up_to_a_limit(world: &impl World) {
    let store = ten(world).await;
    let count = async |limit| store.count_members(&channel("general"), limit).await.unwrap();
    assert_eq!((count(1).await, count(2).await, count(9).await), (1, 2, 2));
}
