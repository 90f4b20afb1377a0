//! Entries that a role gave up.

use crate::facts::{at, channel, later, plain};
use crate::world::World;
use bytes::Bytes;
use protocol::ids::{Position, Seq};
use protocol::time::Timestamp;
use store::{DeadLetter, LetterId, Store};

fn id(role: &str, to: &str, seq: Seq) -> LetterId {
    LetterId { role: role.to_owned(), channel: channel(to), position: at(seq) }
}

fn letter(role: &str, to: &str, seq: Seq) -> DeadLetter {
    DeadLetter {
        id: id(role, to, seq),
        reason: "not an envelope".to_owned(),
        attempts: 3,
        at: Timestamp::from_unix_ms(1_767_322_800_000),
        envelope: Bytes::from(vec![0, 0xff, b'{']),
    }
}

/// The ids behind one, as text without the epoch.
async fn listed(store: &Store, after: Option<&LetterId>, limit: u32) -> Vec<String> {
    let letters = store.dead_letters(after, limit).await.unwrap().into_iter();
    letters.map(|one| format!("{} {} {}", one.id.role, one.id.channel, one.id.position.seq)).collect()
}

pub(crate) async fn what_was_put_aside_is_shown_until_it_is_removed(world: &impl World) {
    let store = world.open().await;
    let put = letter("persistence", "general", 7);
    assert_eq!(store.dead_letter(&put.id).await.unwrap(), None);
    store.put_aside(put.clone()).await.unwrap();
    let store = world.restart(store).await;
    assert_eq!(store.dead_letter(&put.id).await.unwrap(), Some(put.clone()));
    assert_eq!(store.dead_letters(None, 10).await.unwrap(), std::slice::from_ref(&put));
    for other in [id("search", "general", 7), id("persistence", "other", 7), id("persistence", "general", 8)]
    {
        store.remove_dead_letter(&other).await.unwrap();
        assert_eq!(store.dead_letter(&other).await.unwrap(), None);
    }
    assert_eq!(store.dead_letters(None, 10).await.unwrap().len(), 1, "it is none of those");
    store.remove_dead_letter(&put.id).await.unwrap();
    assert_eq!(store.dead_letter(&put.id).await.unwrap(), None);
    store.remove_dead_letter(&put.id).await.unwrap();
}

pub(crate) async fn an_entry_is_put_aside_once_by_each_role(world: &impl World) {
    let store = world.open().await;
    let first = letter("persistence", "general", 7);
    let again = DeadLetter {
        reason: "database failed".to_owned(),
        attempts: 4,
        at: Timestamp::from_unix_ms(1_767_322_900_000),
        ..first.clone()
    };
    for put in [first, again.clone(), letter("search", "general", 7)] {
        store.put_aside(put).await.unwrap();
    }
    assert_eq!(listed(&store, None, 10).await, ["persistence general 7", "search general 7"]);
    assert_eq!(store.dead_letter(&again.id).await.unwrap(), Some(again), "the last word counts");
}

pub(crate) async fn dead_letters_are_listed_in_pages(world: &impl World) {
    let store = world.open().await;
    for (role, to, seq) in
        [("search", "bay-4", 1), ("persistence", "general", 12), ("persistence", "bay-4", 30)]
    {
        store.put_aside(letter(role, to, seq)).await.unwrap();
    }
    store.put_aside(letter("persistence", "general", 5)).await.unwrap();
    let mut reborn = letter("persistence", "general", 2);
    reborn.id.position = Position { epoch: later(), seq: 2 };
    store.put_aside(reborn.clone()).await.unwrap();
    let all =
        ["persistence bay-4 30", "persistence general 5", "persistence general 12", "persistence general 2"];
    assert_eq!(listed(&store, None, 4).await, all, "a later life comes after an earlier one");
    assert_eq!(listed(&store, None, 2).await, all[..2]);
    assert_eq!(listed(&store, Some(&id("persistence", "general", 5)), 2).await, all[2..]);
    assert_eq!(listed(&store, Some(&reborn.id), 2).await, ["search bay-4 1"]);
    assert!(listed(&store, Some(&id("search", "bay-4", 1)), 2).await.is_empty());
}

pub(crate) async fn a_dead_letter_is_no_event(world: &impl World) {
    let store = world.open().await;
    store.apply(vec![plain("general", 3)]).await.unwrap();
    store.put_aside(letter("persistence", "general", 7)).await.unwrap();
    assert_eq!(store.head(&channel("general")).await.unwrap(), Some(at(3)));
}
