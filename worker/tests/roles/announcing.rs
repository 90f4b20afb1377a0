//! Gateways hear whose memberships changed, when the directory says the same.

use crate::session::session;
use crate::world::{DEADLINE, World};
use broker::{LiveEvent, Subscriber};
use protocol::control::Control;
use protocol::ids::UserId;
use protocol::requests::{Answer, MembershipsVersion, VersionsAnswer, VersionsRequest};
use protocol::subjects::RequestSubject;
use worker::Role::{Directory, Persistence};

/// Waits until a user is announced with another version than this one.
async fn announced(hears: &mut Subscriber, who: &str, not: MembershipsVersion) -> MembershipsVersion {
    let heard = async {
        loop {
            let Some(LiveEvent::Control(Control::Memberships(versions))) = hears.next().await else {
                panic!("nothing else is announced, and nothing is subscribed")
            };
            let version = versions.iter().find(|(user, _)| user.as_str() == who).map(|(_, version)| *version);
            if let Some(version) = version.filter(|version| *version != not) {
                return version;
            }
        }
    };
    tokio::time::timeout(DEADLINE, heard).await.expect("it is announced in time")
}

#[tokio::test]
async fn who_becomes_a_member_and_is_none_any_more_is_announced_with_the_directorys_version() {
    let world = World::new();
    let (_nothing, mut hears) = world.broker.subscriber().await.unwrap();
    let _worker = world.start(&[Persistence, Directory]).await;
    world.channel("general").await;
    let added = announced(&mut hears, "driver-1", 0).await;
    let known = session(&world, "driver-1").await;
    assert_eq!((known.version, known.channels.len()), (added, 1));
    world.remove_member("general").await;
    let removed = announced(&mut hears, "driver-1", added).await;
    let known = session(&world, "driver-1").await;
    assert_eq!((known.version, known.channels.len()), (removed, 0));
    assert!(removed > added);
}

#[tokio::test]
async fn a_change_is_told_again_for_who_did_not_hear_it() {
    let world = World::new();
    let _worker = world.start(&[Persistence, Directory]).await;
    world.channel("general").await;
    world.stored("general").await;
    let version = session(&world, "driver-1").await.version;
    for _late in 0..2 {
        // Nothing changes any more, and whoever subscribes now hears of it.
        let (_nothing, mut hears) = world.broker.subscriber().await.unwrap();
        assert_eq!(announced(&mut hears, "driver-1", 0).await, version);
    }
}

#[tokio::test]
async fn a_member_hears_of_a_channel_whose_description_comes_late() {
    let world = World::new();
    let (_nothing, mut hears) = world.broker.subscriber().await.unwrap();
    let _worker = world.start(&[Persistence, Directory]).await;
    world.add_member("general").await;
    world.stored("general").await;
    assert!(session(&world, "driver-1").await.channels.is_empty(), "nobody can say what it is");
    world.describe("general").await;
    let version = announced(&mut hears, "driver-1", 0).await;
    let known = session(&world, "driver-1").await;
    assert_eq!((known.version, known.channels.len()), (version, 1));
}

#[tokio::test]
async fn the_directory_tells_the_newest_version_of_each_user() {
    let world = World::new();
    let _worker = world.start(&[Persistence, Directory]).await;
    world.channel("general").await;
    world.stored("general").await;
    let known = session(&world, "driver-1").await;
    let users = ["nobody", "driver-1"].map(|who| UserId::parse(who).unwrap());
    let question = VersionsRequest { users: users.to_vec() };
    let answer: Answer<VersionsAnswer> = world.ask(RequestSubject::DirectoryVersions, &question).await;
    assert_eq!(answer.unwrap().versions, users.into_iter().zip([0, known.version]).collect::<Vec<_>>());
}
