//! A burst that waited while upstream did something else reaches a reactor whole.

mod purged;
mod resuming;

use super::*;
use broker::{Append, Embedded, Options};
use futures_util::future::join_all;
use protocol::envelope::{Envelope, Kind};
use protocol::ids::{MessageId, UserId};
use protocol::time::Timestamp;

fn channel() -> ChannelId {
    ChannelId::parse("general").unwrap()
}

/// An append of so many bytes.
fn append(number: usize, bytes: usize) -> Append {
    append_to(channel(), number, bytes)
}

fn append_to(channel: ChannelId, number: usize, bytes: usize) -> Append {
    let envelope = Envelope {
        kind: Kind::Message,
        channel_id: channel.clone(),
        by: UserId::parse("u").unwrap(),
        at: Timestamp::from_unix_ms(1),
        message_id: MessageId::parse(&format!("m{number}")).unwrap(),
        client_msg_id: None,
        content_hash: 0,
        body: serde_json::value::to_raw_value(&"x".repeat(bytes)).unwrap(),
    };
    let dedup_key = envelope.dedup_key();
    let envelope = Bytes::from(envelope.encode().unwrap());
    Append { channel, dedup_key, envelope, expect: None }
}

/// Appends `count` events of so many bytes while upstream stands still; returns how many of them a reactor is told.
async fn told(count: usize, bytes: usize) -> usize {
    let data = tempfile::tempdir().unwrap();
    let broker = Broker::Embedded(Embedded::open(data.path(), Options::default()).unwrap());
    let (asks, asked) = mpsc::channel(ASKS);
    let (tells, mut told) = mpsc::channel(BATCHES);
    let upstream = Upstream::open(broker.clone(), asked, vec![tells]).await.unwrap();
    asks.send(Ask::Subscribe { reactor: 0, channel: channel(), ticket: 1 }).await.unwrap();
    let mut run = std::pin::pin!(upstream.run());
    let mut batch = async || {
        tokio::select! {
            () = &mut run => panic!("upstream ended"),
            batch = told.recv() => batch.unwrap(),
        }
    };
    assert!(matches!(batch().await[..], [Tell::Subscribed { .. }]));
    let appends = (0..count).map(|number| broker.append(append(number, bytes)));
    assert!(join_all(appends).await.iter().all(Result::is_ok));
    let mut events = 0;
    let all = async {
        while events < count {
            for tell in batch().await {
                assert!(matches!(tell, Tell::Event(_)), "an event, and no word of a ring that has moved on");
                events += 1;
            }
        }
    };
    // How many were told is what the test is about.
    let _late = tokio::time::timeout(Duration::from_secs(5), all).await;
    events
}

#[tokio::test]
async fn the_event_behind_a_full_turn_is_not_lost() {
    // It once was, and nobody noticed before the channel's next event.
    assert_eq!(told(TURN_EVENTS_MAX + 1, 10).await, TURN_EVENTS_MAX + 1);
}

#[tokio::test]
async fn large_events_are_told_before_their_ring_moves_on() {
    assert_eq!(told(60, 32_000).await, 60);
}
