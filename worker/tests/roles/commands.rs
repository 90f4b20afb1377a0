//! Replies and resends.

use crate::world::{World, channel, plain, resend};
use broker::ReadLimit;
use protocol::codes::ErrorCode;
use protocol::envelope::{Envelope, Fact};
use protocol::frames::send::SendMessage;
use protocol::ids::MessageId;
use protocol::message::Message;
use protocol::requests::CommandAnswer;
use std::future::{Future, poll_fn};
use std::task::Poll;
use worker::Role::{Commands, Persistence};
use worker::dead_letters::{Order, Which, carry_out};

/// Each message of a channel's log.
async fn logged(world: &World, to: &str) -> Vec<Message> {
    let all = ReadLimit { entries: usize::MAX, bytes: usize::MAX };
    let page = world.broker.read(&channel(to), 0, all).await.unwrap();
    let facts = page.entries.iter().map(|entry| Envelope::decode(&entry.envelope).unwrap().fact().unwrap());
    facts.filter_map(|fact| if let Fact::Message(message) = fact { Some(*message) } else { None }).collect()
}

fn reply(to: &str, parent: &MessageId) -> SendMessage {
    SendMessage { reply_to: Some(parent.clone()), ..plain(to, "a reply") }
}

/// Whether the store has what the log has, or nothing of it.
#[derive(Clone, Copy, PartialEq)]
enum Persisted {
    Yes,
    No,
}

async fn world(persisted: Persisted) -> (World, crate::world::Worker) {
    let world = World::forgetful();
    world.channel("general").await;
    let roles: &[_] = if persisted == Persisted::Yes { &[Persistence, Commands] } else { &[Commands] };
    let worker = world.start(roles).await;
    (world, worker)
}

async fn settled(world: &World, persisted: Persisted) {
    if persisted == Persisted::Yes {
        world.stored("general").await;
    }
}

#[tokio::test]
async fn a_reply_joins_its_parents_thread() {
    for persisted in [Persisted::Yes, Persisted::No] {
        let (world, _worker) = world(persisted).await;
        let (parent, _) = world.say("general", "the parent").await;
        settled(&world, persisted).await;
        let first = world.command("driver-1", reply("general", &parent)).await.unwrap();
        settled(&world, persisted).await;
        let second = world.command("driver-1", reply("general", &first.message_id)).await.unwrap();
        let messages = logged(&world, "general").await;
        let of = |id: &MessageId| messages.iter().find(|message| message.id == *id).unwrap();
        assert_eq!(of(&first.message_id).thread_id, Some(parent.clone()), "the parent starts the thread");
        assert_eq!(of(&second.message_id).thread_id, Some(parent), "a reply to a reply stays in it");
        assert_eq!(of(&second.message_id).reply_to, Some(first.message_id));
    }
}

#[tokio::test]
async fn a_parent_elsewhere_is_as_unknown_as_none() {
    for persisted in [Persisted::Yes, Persisted::No] {
        let (world, _worker) = world(persisted).await;
        world.channel("secret").await;
        let (elsewhere, _) = world.say("secret", "secret").await;
        if persisted == Persisted::Yes {
            world.stored("secret").await;
        }
        let nobody = MessageId::parse("nobody").unwrap();
        for parent in [elsewhere, nobody] {
            let refused = world.command("driver-1", reply("general", &parent)).await;
            assert_eq!(refused, Err(ErrorCode::UnknownMessage));
        }
        assert!(logged(&world, "general").await.is_empty());
    }
}

#[tokio::test]
async fn only_members_command() {
    for persisted in [Persisted::Yes, Persisted::No] {
        let (world, _worker) = world(persisted).await;
        settled(&world, persisted).await;
        let stranger = world.command("stranger", resend("general", "hi", "c-1")).await;
        assert_eq!(stranger, Err(ErrorCode::PermissionDenied));
        world.command("driver-1", resend("general", "hi", "c-1")).await.unwrap();
        world.remove_member("general").await;
        let removed = world.command("driver-1", resend("general", "hi again", "c-2")).await;
        assert_eq!(removed, Err(ErrorCode::PermissionDenied), "the tail's word is newer than the store's");
        assert_eq!(logged(&world, "general").await.len(), 1);
    }
}

#[tokio::test]
async fn a_resend_is_what_it_was_the_first_time() {
    for persisted in [Persisted::Yes, Persisted::No] {
        let (world, _worker) = world(persisted).await;
        let first = world.command("driver-1", resend("general", "once", "c-1")).await.unwrap();
        assert!(!first.duplicate, "what never arrived is appended");
        settled(&world, persisted).await;
        world.say("general", "between").await;
        for _ in 0..3 {
            settled(&world, persisted).await;
            let again = world.command("driver-1", resend("general", "once", "c-1")).await.unwrap();
            assert_eq!(again, CommandAnswer { duplicate: true, ..first.clone() });
        }
        assert_eq!(logged(&world, "general").await.len(), 2);
    }
}

#[tokio::test]
async fn a_resend_of_what_was_put_aside_is_what_it_was_the_first_time() {
    let (world, _worker) = world(Persisted::Yes).await;
    world.meddle(
        "CREATE TRIGGER picky BEFORE INSERT ON messages WHEN NEW.body LIKE '%refused%'
         BEGIN SELECT RAISE(ABORT, 'not today'); END",
    );
    let first = world.command("driver-1", resend("general", "refused", "c-1")).await.unwrap();
    world.say("general", "behind it").await;
    world.stored("general").await;
    assert_eq!(world.stored_texts("general").await, ["behind it"]);
    let again = world.command("driver-1", resend("general", "refused", "c-1")).await.unwrap();
    assert_eq!(again, CommandAnswer { duplicate: true, ..first.clone() });
    let other = world.command("driver-1", resend("general", "another", "c-1")).await;
    assert_eq!(other, Err(ErrorCode::Conflict));
    assert_eq!(logged(&world, "general").await.len(), 2, "nobody sees it twice");

    world.meddle("DROP TRIGGER picky");
    let all = Order::Replay { which: Which::All };
    assert_eq!(carry_out(&all, &world.store, &mut drop).await.unwrap(), 0);
    let again = world.command("driver-1", resend("general", "refused", "c-1")).await.unwrap();
    assert_eq!(again, CommandAnswer { duplicate: true, ..first });
    assert_eq!(world.stored_texts("general").await, ["refused", "behind it"]);
}

#[tokio::test]
async fn one_id_for_two_messages_is_a_conflict() {
    for persisted in [Persisted::Yes, Persisted::No] {
        let (world, _worker) = world(persisted).await;
        world.command("driver-1", resend("general", "one", "c-1")).await.unwrap();
        settled(&world, persisted).await;
        let other = world.command("driver-1", resend("general", "another", "c-1")).await;
        assert_eq!(other, Err(ErrorCode::Conflict));
    }
}

#[tokio::test]
async fn resends_at_once_are_one_message() {
    let world = World::new();
    world.channel("general").await;
    let _one = world.start(&[Commands]).await;
    let _other = world.start(&[Commands]).await;
    for n in 0..20 {
        let name = format!("c-{n}");
        let (a, b, c) = tokio::join!(
            world.command("driver-1", resend("general", "x", &name)),
            world.command("driver-1", resend("general", "x", &name)),
            world.command("driver-1", resend("general", "x", &name)),
        );
        let answers = [a.unwrap(), b.unwrap(), c.unwrap()];
        assert!(answers.iter().all(|answer| answer.message_id == answers[0].message_id));
        assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1);
    }
    assert_eq!(logged(&world, "general").await.len(), 20);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_begun() {
    let (world, worker) = world(Persisted::No).await;
    {
        let mut asked = Box::pin(world.command("driver-1", resend("general", "given up", "c-1")));
        let waits = poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_pending())).await;
        assert!(waits, "asked, and given up before the worker saw it");
    }
    world.command("driver-1", resend("general", "waited for", "c-2")).await.unwrap();
    // Whatever was begun has ended then.
    worker.stop().await;
    let logged = logged(&world, "general").await;
    assert_eq!(logged.iter().map(|message| &*message.content).collect::<Vec<_>>(), ["waited for"]);
}
