//! Who a user is and where he may listen.

use crate::world::World;
use bytes::Bytes;
use protocol::claims::Profile;
use protocol::codes::ErrorCode;
use protocol::ids::UserId;
use protocol::requests::{self, Answer, SessionAnswer, SessionRequest};
use protocol::subjects::RequestSubject;
use worker::Role::{Directory, Persistence};

pub(crate) async fn session(world: &World, who: &str) -> SessionAnswer {
    let profile = Profile {
        id: UserId::parse(who).unwrap(),
        name: format!("{who}'s name"),
        email: String::new(),
        role: String::new(),
        company: String::new(),
    };
    let answer: Answer<SessionAnswer> =
        world.ask(RequestSubject::DirectorySession, &SessionRequest::Open(profile)).await;
    answer.unwrap()
}

#[tokio::test]
async fn a_member_hears_of_his_channels() {
    let world = World::new();
    let _worker = world.start(&[Persistence, Directory]).await;
    world.channel("general").await;
    world.stored("general").await;
    let session = session(&world, "driver-1").await;
    assert_eq!(session.sender.name, "driver-1's name");
    assert_eq!(session.channels.len(), 1);
    assert_eq!((session.channels[0].channel_id.as_str(), &*session.channels[0].name), ("general", "GENERAL"));
}

#[tokio::test]
async fn an_unknown_user_is_known_from_then_on_and_has_no_channels() {
    let world = World::new();
    let _worker = world.start(&[Directory]).await;
    let first = session(&world, "42").await;
    assert_eq!((first.sender.name.as_str(), first.channels.len()), ("42's name", 0));
    assert!(world.store.session(&UserId::parse("42").unwrap()).await.unwrap().is_some());
}

#[tokio::test]
async fn bytes_that_are_no_request_are_answered_and_harm_nobody() {
    let world = World::new();
    let _worker = world.start(&[Directory]).await;
    for garbage in [&b""[..], b"{", b"{\"profile\":5}", b"\xff\xfe"] {
        let payload = Bytes::copy_from_slice(garbage);
        let answer = world.broker.request(RequestSubject::DirectorySession, payload, crate::world::DEADLINE);
        let answer = requests::decode::<Answer<SessionAnswer>>(&answer.await.unwrap()).unwrap();
        assert_eq!(answer, Err(ErrorCode::Internal));
    }
    session(&world, "42").await;
}
