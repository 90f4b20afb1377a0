//! Members, channels, users, and messages by name.

use crate::facts::{added, at, channel, described, id, plain, removed, said, user};
use crate::world::World;
use protocol::claims::Profile;
use protocol::envelope::Role;
use protocol::ids::ClientMsgId;
use store::{Sent, Store};

fn profile(who: &str, name: &str) -> Profile {
    Profile {
        id: user(who),
        name: name.to_owned(),
        email: format!("{who}@safeshipper.example"),
        role: "DRIVER".to_owned(),
        company: String::new(),
    }
}

/// Channel, name and role of each membership of a user.
async fn channels_of(store: &Store, who: &str) -> Vec<(String, String, Role)> {
    let session = store.session(&user(who)).await.unwrap().expect("a known user");
    let each = session.channels.into_iter();
    each.map(|one| (one.channel_id.to_string(), one.name, one.role)).collect()
}

pub(crate) async fn members_hear_of_their_channels(world: &impl World) {
    let store = world.open().await;
    store.upsert_user(&profile("driver-1", "Dana")).await.unwrap();
    let events = vec![
        described("general", 1, "General"),
        added("general", 2, "driver-1", Role::Member),
        added("general", 3, "driver-2", Role::Owner),
        described("bay-4", 4, "Bay 4"),
        added("bay-4", 5, "driver-1", Role::Admin),
        described("secret", 6, "Secret"),
        added("secret", 7, "driver-2", Role::Owner),
    ];
    store.apply(events).await.unwrap();
    let expected = [("bay-4", "Bay 4", Role::Admin), ("general", "General", Role::Member)]
        .map(|(id, name, role)| (id.to_owned(), name.to_owned(), role));
    assert_eq!(channels_of(&store, "driver-1").await, expected);
    let session = store.session(&user("driver-1")).await.unwrap().unwrap();
    assert_eq!((session.sender.name.as_str(), session.channels[1].members), ("Dana", 2));
}

pub(crate) async fn who_is_removed_and_comes_back_is_a_member_once(world: &impl World) {
    let store = world.open().await;
    let (general, driver) = (channel("general"), user("driver-1"));
    store
        .apply(vec![described("general", 4, "General"), added("general", 1, "driver-1", Role::Owner)])
        .await
        .unwrap();
    store.apply(vec![removed("general", 2, "driver-1")]).await.unwrap();
    assert_eq!(store.membership(&general, &driver).await.unwrap(), None);
    store.apply(vec![added("general", 3, "driver-1", Role::Member)]).await.unwrap();
    assert_eq!(store.membership(&general, &driver).await.unwrap(), Some(Role::Member));
    store.upsert_user(&profile("driver-1", "Dana")).await.unwrap();
    assert_eq!(channels_of(&store, "driver-1").await.len(), 1);
}

pub(crate) async fn an_older_event_that_comes_late_changes_nothing(world: &impl World) {
    let store = world.open().await;
    let (general, driver) = (channel("general"), user("driver-1"));
    store.apply(vec![removed("general", 5, "driver-1")]).await.unwrap();
    store.apply(vec![added("general", 2, "driver-1", Role::Owner)]).await.unwrap();
    assert_eq!(store.membership(&general, &driver).await.unwrap(), None);
}

pub(crate) async fn a_channel_may_be_renamed(world: &impl World) {
    let store = world.open().await;
    store.upsert_user(&profile("driver-1", "Dana")).await.unwrap();
    store
        .apply(vec![described("general", 1, "Old"), added("general", 2, "driver-1", Role::Member)])
        .await
        .unwrap();
    store.apply(vec![described("general", 4, "New")]).await.unwrap();
    store.apply(vec![described("general", 3, "Between")]).await.unwrap();
    assert_eq!(channels_of(&store, "driver-1").await[0].1, "New");
}

pub(crate) async fn a_known_user_is_described_anew(world: &impl World) {
    let store = world.open().await;
    for name in ["Dana", "Dana Reyes"] {
        store.upsert_user(&profile("driver-1", name)).await.unwrap();
        let session = store.session(&user("driver-1")).await.unwrap().unwrap();
        assert_eq!(session.sender.name, name);
    }
}

pub(crate) async fn an_unknown_user_has_no_session(world: &impl World) {
    let store = world.open().await;
    assert_eq!(store.session(&user("nobody")).await.unwrap(), None);
    assert_eq!(store.membership(&channel("general"), &user("nobody")).await.unwrap(), None);
}

pub(crate) async fn a_message_is_found_by_its_id(world: &impl World) {
    let store = world.open().await;
    let reply = said("general", 2, |message| message.thread_id = Some(id("m1")));
    store.apply(vec![plain("general", 1), reply]).await.unwrap();
    let thread = async |name| {
        let found = store.message(&id(name)).await.unwrap()?;
        assert_eq!((found.message.channel_id, found.message.id), (channel("general"), id(name)));
        Some((found.position.seq, found.message.thread_id))
    };
    assert_eq!(thread("m1").await, Some((1, None)));
    assert_eq!(thread("m2").await, Some((2, Some(id("m1")))));
    assert_eq!(thread("m3").await, None);
}

pub(crate) async fn a_clients_own_id_is_found_again(world: &impl World) {
    let store = world.open().await;
    store.apply(vec![plain("general", 1), plain("general", 2)]).await.unwrap();
    let ask = async |to: &str, who: &str, name: &str| {
        let name = ClientMsgId::parse(name).unwrap();
        store.sent(&channel(to), &user(who), &name).await.unwrap()
    };
    let expected = Sent { position: at(2), message_id: id("m2"), content_hash: 11 };
    assert_eq!(ask("general", "driver-1", "c2").await, Some(expected));
    assert_eq!(ask("general", "driver-2", "c2").await, None, "another sender's own id is another");
    assert_eq!(ask("other", "driver-1", "c2").await, None);
    assert_eq!(ask("general", "driver-1", "c3").await, None);
}

/// The version of a user's memberships, which both verbs must say alike.
async fn version_of(store: &Store, who: &str) -> u64 {
    let told = store.versions(&[user("nobody"), user(who)]).await.unwrap();
    assert_eq!(told[0], (user("nobody"), 0));
    assert_eq!(told[1].0, user(who));
    if let Some(session) = store.session(&user(who)).await.unwrap() {
        assert_eq!(session.version, told[1].1);
    }
    told[1].1
}

pub(crate) async fn a_version_of_memberships_counts_what_made_them(world: &impl World) {
    let store = world.open().await;
    let mut last = version_of(&store, "driver-1").await;
    assert_eq!(last, 0);
    let changes = [
        described("general", 1, "General"),
        added("general", 2, "driver-1", Role::Member),
        added("general", 3, "driver-1", Role::Moderator),
        removed("general", 4, "driver-1"),
        // Its description comes later than it should.
        added("bay-4", 5, "driver-1", Role::Member),
        described("bay-4", 6, "Bay 4"),
        described("bay-4", 7, "Bay Four"),
    ];
    let mut versions = Vec::new();
    for change in changes {
        store.apply(vec![change.clone()]).await.unwrap();
        // What comes again makes no difference, nor does what is about somebody else.
        store
            .apply(vec![change, plain("general", 90), added("far", 91, "driver-2", Role::Owner)])
            .await
            .unwrap();
        let version = version_of(&store, "driver-1").await;
        versions.push(version - last);
        last = version;
    }
    // A description alone is nobody's; a membership counts with its channel's description, or not yet.
    assert_eq!(versions, [0, 2, 1, 1, 0, 2, 1]);
}

pub(crate) async fn the_same_events_make_the_same_version_in_any_order(world: &impl World) {
    let store = world.open().await;
    let mut events = vec![
        described("general", 1, "General"),
        added("general", 2, "driver-1", Role::Member),
        removed("general", 3, "driver-1"),
        described("general", 4, "Everybody"),
        added("general", 5, "driver-1", Role::Owner),
    ];
    events.reverse();
    store.apply(events.clone()).await.unwrap();
    assert_eq!(
        channels_of(&store, "driver-1").await,
        [("general".to_owned(), "Everybody".to_owned(), Role::Owner)]
    );
    assert_eq!(version_of(&store, "driver-1").await, 5);
    events.reverse();
    store.apply(events).await.unwrap();
    assert_eq!(version_of(&store, "driver-1").await, 5);
}

pub(crate) async fn whoever_was_a_member_is_listed(world: &impl World) {
    let store = world.open().await;
    let general = channel("general");
    let events = vec![
        added("general", 1, "c", Role::Member),
        added("general", 2, "a", Role::Member),
        removed("general", 3, "a"),
        added("general", 4, "b", Role::Member),
        added("other", 5, "d", Role::Member),
    ];
    store.apply(events).await.unwrap();
    assert_eq!(store.ever_members(&general, 9).await.unwrap(), ["a", "b", "c"].map(user));
    assert_eq!(store.ever_members(&general, 2).await.unwrap(), ["a", "b"].map(user));
    assert_eq!(store.ever_members(&channel("nobody"), 9).await.unwrap(), []);
}
