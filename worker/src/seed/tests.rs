//! A first start may be killed anywhere; the next one goes on from there.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use super::*;
use broker::{Embedded, Options};
use protocol::envelope::Fact as Read;
use protocol::message::Message;
use runtime::shutdown::{Shutdown, Stage};
use std::collections::BTreeSet;
use store::Sqlite;

/// When the start that was killed began.
const EARLIER_MS: u64 = 1_767_322_800_000;

async fn messages(broker: &Broker) -> Vec<Message> {
    let all = ReadLimit { entries: usize::MAX, bytes: usize::MAX };
    let page = broker.read(&ChannelId::parse("general").unwrap(), 0, all).await.unwrap();
    let facts = page.entries.iter().map(|entry| Envelope::decode(&entry.envelope).unwrap().fact().unwrap());
    facts.filter_map(|fact| if let Read::Message(message) = fact { Some(*message) } else { None }).collect()
}

#[tokio::test]
async fn replies_name_parents_that_are_there_wherever_the_first_start_was_killed() {
    let mut events = channel_events("general", "General", ChannelType::General, EARLIER_MS).unwrap();
    events.extend(conversation("general", EARLIER_MS).unwrap());
    for killed_after in 0..=events.len() {
        let (data, shutdown) = (tempfile::tempdir().unwrap(), Shutdown::new());
        let log = Embedded::open(&data.path().join("log"), Options::default()).unwrap();
        let store = Store::Sqlite(Sqlite::open(&data.path().join("store.db"), &shutdown).unwrap());
        let broker = Broker::Embedded(log);
        for event in &events[..killed_after] {
            append(&broker, event).await.unwrap();
        }
        let config = crate::Config { roles: vec![crate::Role::Persistence], ..crate::Config::default() };
        crate::start(&config, &broker, &store, &shutdown).await.unwrap();
        development(&broker, &store).await.unwrap();
        let messages = messages(&broker).await;
        assert_eq!(messages.len(), CONVERSATION.len(), "nothing is seeded twice");
        let ids: BTreeSet<_> = messages.iter().map(|message| message.id.clone()).collect();
        assert_eq!(ids.len(), messages.len());
        let parents: Vec<_> = messages.iter().filter_map(|message| message.reply_to.clone()).collect();
        assert_eq!(parents.len(), 3);
        assert!(parents.iter().all(|parent| ids.contains(parent)), "killed after {killed_after}");
        shutdown.enter(Stage::Finishing);
    }
}
