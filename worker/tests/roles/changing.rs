//! Edits, pins, deletion and reactions.

use crate::world::{Worker, World, channel};
use protocol::changes::Reaction;
use protocol::codes::ErrorCode;
use protocol::envelope::Role;
use protocol::frames::changing::{Change, ChangeMessage};
use protocol::ids::{ClientMsgId, MessageId, UserId};
use protocol::message::Message;
use protocol::requests::{
    CommandAnswer, DeletedAnswer, DeletedRequest, HistoryAnswer, HistoryRange, HistoryRequest,
};
use protocol::subjects::RequestSubject;
use worker::Role::{Commands, History, Persistence};

/// Whether the store follows the log, or only the log knows what became of a message.
const BOTH: [bool; 2] = [true, false];

/// A channel with an author, two others and a moderator; driver-9 is a stranger.
async fn world(stores: bool) -> (World, Worker) {
    let world = World::forgetful();
    world.channel("general").await;
    world.enlist("general", "driver-2", Role::Member).await;
    world.enlist("general", "driver-3", Role::Member).await;
    world.enlist("general", "mod-1", Role::Moderator).await;
    let roles: &[_] = if stores { &[Persistence, Commands, History] } else { &[Commands, History] };
    let worker = world.start(roles).await;
    (world, worker)
}

fn change(message: &MessageId, change: Change) -> ChangeMessage {
    let channel_id = Some(channel("general"));
    ChangeMessage { message_id: message.clone(), channel_id, change, client_msg_id: None, retry: false }
}

fn edit(message: &MessageId, content: &str) -> ChangeMessage {
    change(message, Change::Edit { content: content.to_owned(), mentioned_users: None })
}

fn react(message: &MessageId, reaction: &str) -> ChangeMessage {
    change(message, Change::React(reaction.to_owned()))
}

/// The messages of a channel as its members see them.
async fn shown(world: &World) -> Vec<Message> {
    let request = HistoryRequest {
        channel_id: channel("general"),
        range: HistoryRange::Newest,
        thread_id: None,
        limit: 50,
    };
    let page: HistoryAnswer = world.ask(RequestSubject::History, &request).await.unwrap();
    page.messages.iter().map(|placed| serde_json::from_str(placed.message.get()).unwrap()).collect()
}

async fn the_one(world: &World) -> Message {
    let mut shown = shown(world).await;
    assert_eq!(shown.len(), 1);
    shown.remove(0)
}

fn one(reaction: &str, users: &[&str]) -> Reaction {
    let users: Vec<_> = users.iter().map(|id| UserId::parse(id).unwrap()).collect();
    Reaction { reaction: reaction.to_owned(), count: u32::try_from(users.len()).unwrap(), users }
}

#[tokio::test]
async fn an_author_edits_and_nobody_else() {
    for stores in BOTH {
        let (world, _worker) = world(stores).await;
        let (message, place) = world.say("general", "a typo").await;
        for who in ["driver-2", "mod-1", "driver-9"] {
            assert_eq!(
                world.change(who, edit(&message, "mine")).await,
                Err(ErrorCode::PermissionDenied),
                "{who}"
            );
        }
        let done = world.change("driver-1", edit(&message, "no typo")).await.unwrap();
        assert!(done.position.seq > place.seq);
        assert_eq!(
            (&done.message_id, &done.channel_id, done.duplicate),
            (&message, &channel("general"), false)
        );
        let now = the_one(&world).await;
        assert_eq!((now.content.as_str(), now.edited_at), ("no typo", Some(crate::world::now())));
    }
}

#[tokio::test]
async fn a_deleted_message_is_gone_for_everybody() {
    for stores in BOTH {
        let (world, _worker) = world(stores).await;
        let (mine, _) = world.say("general", "mine").await;
        let (bad, _) = world.say("general", "bad").await;
        let gone = |id: &MessageId| change(id, Change::Delete);
        assert_eq!(world.change("driver-2", gone(&mine)).await, Err(ErrorCode::PermissionDenied));
        world.change("driver-1", gone(&mine)).await.unwrap();
        world.change("mod-1", gone(&bad)).await.unwrap();
        for id in [&mine, &bad] {
            for late in [gone(id), edit(id, "again"), react(id, "👍"), change(id, Change::Pin(true))] {
                assert_eq!(world.change("mod-1", late).await, Err(ErrorCode::UnknownMessage));
            }
        }
        let shown = shown(&world).await;
        assert_eq!(shown.iter().map(|one| one.content.as_str()).collect::<Vec<_>>(), ["", ""]);
        assert!(shown.iter().all(|one| one.deleted_at.is_some() && one.sender.id.as_str() == "driver-1"));
        let nobody = MessageId::parse("nobody").unwrap();
        let request = DeletedRequest { channel_id: channel("general"), messages: vec![mine.clone(), nobody] };
        let DeletedAnswer { deleted } = world.ask(RequestSubject::Deleted, &request).await.unwrap();
        assert!(
            deleted.iter().all(|(id, at)| *id == mine && *at == crate::world::now()) && !deleted.is_empty()
        );
    }
}

#[tokio::test]
async fn a_moderator_pins() {
    for stores in BOTH {
        let (world, _worker) = world(stores).await;
        let (message, _) = world.say("general", "the dock's number").await;
        let pin = |pinned| change(&message, Change::Pin(pinned));
        assert_eq!(world.change("driver-1", pin(true)).await, Err(ErrorCode::PermissionDenied));
        world.change("mod-1", pin(true)).await.unwrap();
        world.change("driver-1", edit(&message, "the dock's new number")).await.unwrap();
        let now = the_one(&world).await;
        assert_eq!((now.content.as_str(), now.is_pinned), ("the dock's new number", true));
        world.change("mod-1", pin(false)).await.unwrap();
        assert!(!the_one(&world).await.is_pinned);
    }
}

#[tokio::test]
async fn a_reaction_comes_and_goes() {
    for stores in BOTH {
        let (world, _worker) = world(stores).await;
        let (message, _) = world.say("general", "on my way").await;
        for (who, reaction) in [("driver-2", "👍"), ("driver-3", "👍"), ("driver-2", "🚚")] {
            world.change(who, react(&message, reaction)).await.unwrap();
        }
        let shown = the_one(&world).await.reactions;
        assert_eq!(shown, [one("👍", &["driver-2", "driver-3"]), one("🚚", &["driver-2"])]);
        world.change("driver-2", react(&message, "👍")).await.unwrap();
        assert_eq!(the_one(&world).await.reactions, [one("👍", &["driver-3"]), one("🚚", &["driver-2"])]);
        world.change("driver-3", react(&message, "👍")).await.unwrap();
        assert_eq!(the_one(&world).await.reactions, [one("🚚", &["driver-2"])]);
    }
}

#[tokio::test]
async fn reactions_at_once_are_all_counted() {
    let (world, _worker) = world(true).await;
    let (message, _) = world.say("general", "hello").await;
    let reactions: Vec<String> = (0..20).map(|n| format!("r{n}")).collect();
    let all = reactions.iter().flat_map(|reaction| {
        ["driver-1", "driver-2", "driver-3"].map(|who| world.change(who, react(&message, reaction)))
    });
    for done in futures_util::future::join_all(all).await {
        done.unwrap();
    }
    assert_eq!(world.change("driver-1", react(&message, "one too many")).await, Err(ErrorCode::TooLarge));
    let shown = the_one(&world).await.reactions;
    assert_eq!(shown.len(), 20);
    assert!(shown.iter().all(|one| one.count == 3 && one.users.len() == 3), "{shown:?}");
}

#[tokio::test]
async fn a_message_is_found_without_its_channel() {
    let (world, _worker) = world(true).await;
    let (message, _) = world.say("general", "just now").await;
    let unnamed = |id: &MessageId| ChangeMessage { channel_id: None, ..react(id, "👍") };
    let done = world.change("driver-2", unnamed(&message)).await.unwrap();
    assert_eq!((done.channel_id, done.message_id), (channel("general"), message.clone()));
    // A stranger learns nothing: neither that it is there nor that it is not.
    let nobody = MessageId::parse("nobody").unwrap();
    for id in [&message, &nobody] {
        assert_eq!(world.change("driver-9", unnamed(id)).await, Err(ErrorCode::UnknownMessage));
    }
}

#[tokio::test]
async fn a_message_elsewhere_is_as_unknown_as_none() {
    for stores in BOTH {
        let (world, _worker) = world(stores).await;
        world.channel("secret").await;
        let (elsewhere, _) = world.say("secret", "secret").await;
        if stores {
            world.stored("secret").await;
        }
        assert_eq!(world.change("driver-2", react(&elsewhere, "👍")).await, Err(ErrorCode::UnknownMessage));
    }
}

#[tokio::test]
async fn a_repeated_toggle_does_not_flip_back() {
    for stores in BOTH {
        let (world, _worker) = world(stores).await;
        let (message, _) = world.say("general", "hello").await;
        let named = |change: ChangeMessage| ChangeMessage {
            client_msg_id: Some(ClientMsgId::parse("toggle-1").unwrap()),
            retry: true,
            ..change
        };
        let first = world.change("driver-2", named(react(&message, "👍"))).await.unwrap();
        if stores {
            world.stored("general").await;
        }
        let again = world.change("driver-2", named(react(&message, "👍"))).await.unwrap();
        assert_eq!(again, CommandAnswer { duplicate: true, ..first });
        assert_eq!(the_one(&world).await.reactions, [one("👍", &["driver-2"])]);
        // The same name for something else is a mistake.
        for other in [react(&message, "🚚"), edit(&message, "hello")] {
            assert_eq!(world.change("driver-2", named(other)).await, Err(ErrorCode::Conflict));
        }
    }
}
