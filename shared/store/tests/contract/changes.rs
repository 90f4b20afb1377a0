//! What becomes of messages.

use crate::facts::{at, becomes, channel, id, later, plain, said, user};
use crate::world::World;
use protocol::changes::{Changed, MessageDeletion, MessageUpdate, Reaction, ReactionAction, ReactionChange};
use protocol::envelope::Kind;
use protocol::ids::{ClientMsgId, Seq};
use protocol::message::Message;
use protocol::requests::{HistoryRange, HistoryRequest};
use protocol::time::Timestamp;
use std::collections::BTreeMap;
use store::{Event, Sent, Store};

fn moment() -> Timestamp {
    Timestamp::from_unix_ms(1_767_322_900_000)
}

fn updated(seq: Seq, changed: Changed, change: impl FnOnce(&mut Message)) -> Event {
    let mut message: Message = serde_json::from_str(plain("general", 1).envelope.body.get()).unwrap();
    change(&mut message);
    let update = MessageUpdate { of: at(1), changed, message };
    becomes(Kind::MessageUpdated, seq, "driver-1", &update)
}

fn edited(seq: Seq, content: &str) -> Event {
    updated(seq, Changed::Content, |message| {
        content.clone_into(&mut message.content);
        message.edited_at = Some(moment());
    })
}

fn pinned(seq: Seq, pinned: bool) -> Event {
    // Decided by somebody who did not know of the edit.
    updated(seq, Changed::Pinned, |message| message.is_pinned = pinned)
}

fn deleted(seq: Seq) -> Event {
    let deletion = MessageDeletion { of: at(1), message_id: id("m1") };
    becomes(Kind::MessageDeleted, seq, "driver-1", &deletion)
}

fn reacted(seq: Seq, who: &str, reaction: &str, action: ReactionAction) -> Event {
    let (reaction, counts) = (reaction.to_owned(), BTreeMap::new());
    let change = ReactionChange { of: at(1), message_id: id("m1"), reaction, action, counts };
    becomes(Kind::ReactionUpdated, seq, who, &change)
}

/// The first message as both ways of reading say it is.
async fn first(store: &Store) -> Message {
    let found = store.message(&id("m1")).await.unwrap().unwrap();
    assert_eq!(found.position, at(1));
    let request = HistoryRequest {
        channel_id: channel("general"),
        range: HistoryRange::Newest,
        thread_id: None,
        limit: 9,
    };
    let page = store.history(&request).await.unwrap();
    let shown: Message = serde_json::from_str(page.messages[0].message.get()).unwrap();
    assert_eq!(shown, found.message);
    shown
}

pub(crate) async fn a_message_is_shown_as_it_was_last_edited(world: &impl World) {
    let store = world.open().await;
    store
        .apply(vec![plain("general", 1), edited(3, "once"), edited(5, "twice"), pinned(6, true)])
        .await
        .unwrap();
    let message = first(&store).await;
    assert_eq!((message.content.as_str(), message.edited_at), ("twice", Some(moment())));
    assert!(message.is_pinned, "a pin changes nothing else");
    store.apply(vec![pinned(7, false)]).await.unwrap();
    assert!(!first(&store).await.is_pinned);
}

pub(crate) async fn changes_come_in_any_order(world: &impl World) {
    let store = world.open().await;
    let like = |seq, action| reacted(seq, "driver-2", "👍", action);
    let events = [
        plain("general", 1),
        edited(3, "once"),
        edited(5, "twice"),
        pinned(6, true),
        pinned(8, false),
        like(9, ReactionAction::Added),
        like(10, ReactionAction::Removed),
        like(11, ReactionAction::Added),
        reacted(12, "driver-3", "🚚", ReactionAction::Added),
    ];
    for event in events.into_iter().rev() {
        store.apply(vec![event.clone(), event]).await.unwrap();
    }
    let message = first(&store).await;
    assert_eq!((message.content.as_str(), message.is_pinned), ("twice", false));
    let one =
        |reaction: &str, who| Reaction { reaction: reaction.to_owned(), count: 1, users: vec![user(who)] };
    assert_eq!(message.reactions, [one("👍", "driver-2"), one("🚚", "driver-3")]);
}

pub(crate) async fn a_deleted_message_leaves_its_place_for_ever(world: &impl World) {
    let store = world.open().await;
    store
        .apply(vec![deleted(4), reacted(2, "driver-2", "👍", ReactionAction::Added), pinned(3, true)])
        .await
        .unwrap();
    store.apply(vec![plain("general", 1), edited(9, "I am still here")]).await.unwrap();
    let message = first(&store).await;
    let kept: Message = serde_json::from_str(plain("general", 1).envelope.body.get()).unwrap();
    assert_eq!((&message.id, &message.sender, message.created_at), (&kept.id, &kept.sender, kept.created_at));
    assert_eq!((message.content.as_str(), message.is_pinned), ("", false));
    assert_eq!((message.reactions, message.edited_at), (vec![], None));
    assert_eq!(message.deleted_at, Some(deleted(4).envelope.at));
}

pub(crate) async fn reactions_are_counted_by_who_reacted(world: &impl World) {
    let store = world.open().await;
    store.apply(vec![plain("general", 1)]).await.unwrap();
    let many = (0..25).map(|n| reacted(n + 2, &format!("driver-{n}"), "👍", ReactionAction::Added));
    store.apply(many.collect()).await.unwrap();
    store.apply(vec![reacted(40, "driver-3", "🚚", ReactionAction::Added)]).await.unwrap();
    let reactions = first(&store).await.reactions;
    let counts: Vec<_> =
        reactions.iter().map(|one| (one.reaction.as_str(), one.count, one.users.len())).collect();
    assert_eq!(counts, [("👍", 25, 20), ("🚚", 1, 1)]);
    assert_eq!(store.reactions_of(&id("m1"), &user("driver-3")).await.unwrap(), ["👍", "🚚"]);
    store.apply(vec![reacted(41, "driver-3", "👍", ReactionAction::Removed)]).await.unwrap();
    assert_eq!(store.reactions_of(&id("m1"), &user("driver-3")).await.unwrap(), ["🚚"]);
    assert_eq!(first(&store).await.reactions[0].count, 24);
}

pub(crate) async fn a_later_lifes_change_is_the_newer_one(world: &impl World) {
    let store = world.open().await;
    let mut reborn = edited(2, "in another life");
    reborn.position.epoch = later();
    store.apply(vec![plain("general", 1), reborn, edited(9, "before")]).await.unwrap();
    assert_eq!(first(&store).await.content, "in another life");
}

pub(crate) async fn a_clients_own_id_of_a_change_is_found_again(world: &impl World) {
    let store = world.open().await;
    let named = ClientMsgId::parse("my-edit").unwrap();
    let mut event = edited(3, "once");
    (event.envelope.client_msg_id, event.envelope.content_hash) = (Some(named.clone()), 5);
    store.apply(vec![said("general", 1, |_| ()), event]).await.unwrap();
    let sent = Sent { position: at(3), message_id: id("m1"), content_hash: 5 };
    let (general, driver) = (channel("general"), user("driver-1"));
    assert_eq!(store.sent(&general, &driver, &named).await.unwrap(), Some(sent));
    assert_eq!(store.sent(&channel("other"), &driver, &named).await.unwrap(), None);
    assert_eq!(store.sent(&general, &user("driver-2"), &named).await.unwrap(), None);
}
