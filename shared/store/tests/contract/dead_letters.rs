//! Entries that a role gave up.

use crate::facts::{at, channel, id as message, later, plain, user};
use crate::world::{Sqlite, World};
use bytes::Bytes;
use protocol::ids::{ClientMsgId, MessageId, Position, Seq};
use protocol::time::Timestamp;
use store::{DeadLetter, LetterId, Store, StoreError};

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

/// A message as the log had it, put aside.
fn refused(to: &str, seq: Seq) -> DeadLetter {
    let envelope = Bytes::from(plain(to, seq).envelope.encode().unwrap());
    DeadLetter { envelope, ..letter("persistence", to, seq) }
}

/// The place and the message that a client's own id was used for.
async fn sent(store: &Store, to: &str, who: &str, name: &str) -> Option<(Position, MessageId)> {
    let name = ClientMsgId::parse(name).unwrap();
    let sent = store.sent(&channel(to), &user(who), &name).await.unwrap()?;
    assert_eq!(sent.content_hash, 11);
    Some((sent.position, sent.message_id))
}

pub(crate) async fn a_clients_own_id_is_found_in_what_was_put_aside(world: &impl World) {
    let store = world.open().await;
    let put = refused("general", 7);
    store.put_aside(letter("persistence", "general", 6)).await.unwrap();
    store.put_aside(put.clone()).await.unwrap();
    let expected = Some((at(7), message("m7")));
    assert_eq!(sent(&store, "general", "driver-1", "c7").await, expected);
    for (to, who, name) in
        [("other", "driver-1", "c7"), ("general", "driver-2", "c7"), ("general", "driver-1", "c6")]
    {
        assert_eq!(sent(&store, to, who, name).await, None);
    }
    store.apply(vec![plain("general", 7)]).await.unwrap();
    store.remove_dead_letter(&put.id).await.unwrap();
    assert_eq!(sent(&store, "general", "driver-1", "c7").await, expected, "it is handled");
}

#[tokio::test]
async fn a_clients_own_id_is_found_in_what_an_earlier_release_put_aside() {
    let world = Sqlite::new();
    world.make(6);
    let file = rusqlite::Connection::open(world.file()).unwrap();
    for one in [letter("persistence", "general", 6), refused("general", 7)] {
        let LetterId { role, channel, position } = one.id;
        let values = rusqlite::params![role, channel.as_str(), position.epoch.as_str(), position.seq];
        let put = "INSERT INTO dead_letters VALUES (?1, ?2, ?3, ?4, 'database failed', 3, 0, x'')";
        file.execute(put, values).unwrap();
        let bytes = "UPDATE dead_letters SET envelope = ?1 WHERE seq = ?2";
        file.execute(bytes, rusqlite::params![&one.envelope[..], position.seq]).unwrap();
    }
    drop(file);
    let store = world.open().await;
    assert_eq!(sent(&store, "general", "driver-1", "c7").await, Some((at(7), message("m7"))));
    assert_eq!(store.dead_letters(None, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn who_only_reads_takes_an_earlier_layout_as_it_is_and_changes_nothing() {
    let world = Sqlite::new();
    world.make(3);
    let store = world.open_read_only();
    assert_eq!(store.dead_letters(None, 10).await.unwrap(), []);
    let put = letter("persistence", "general", 6);
    assert!(matches!(store.put_aside(put).await, Err(StoreError::Database(_))));
    store.close().await;
    let file = rusqlite::Connection::open(world.file()).unwrap();
    let layout: u32 = file.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(layout, 3);
}
