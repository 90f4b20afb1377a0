//! Live copies and ephemeral events.

use crate::world::{Wishes, World, append, channel, in_time, neighbours, seqs, text, whole};
use broker::{Broker, LiveEvent, Subscriber, SubscriptionControl};
use bytes::Bytes;
use protocol::ids::ChannelId;
use protocol::subjects::Slot;
use std::collections::BTreeSet;

async fn listen(broker: &Broker, channel: &ChannelId) -> (SubscriptionControl, Subscriber) {
    let (control, subscriber) = broker.subscriber().await.unwrap();
    control.add(Slot::of(channel)).await;
    (control, subscriber)
}

async fn next(subscriber: &mut Subscriber) -> LiveEvent {
    in_time("a live event", subscriber.next()).await.expect("the broker runs")
}

pub(crate) async fn every_append_is_heard_in_order(world: &impl World) {
    let broker = world.open().await;
    let (home, near, _) = neighbours();
    let (_control, mut subscriber) = listen(&broker, &home).await;
    let mut expected = Vec::new();
    for n in 0..20 {
        let to = if n % 3 == 0 { &near } else { &home };
        let position = append(&broker, to, &n.to_string()).await;
        expected.push((to.clone(), position, n.to_string()));
    }
    let mut last = std::collections::HashMap::from([(home, 0), (near, 0)]);
    for (to, place, said) in expected {
        match next(&mut subscriber).await {
            LiveEvent::Durable { channel, position, prev, envelope } => {
                assert_eq!((&channel, &position, text(&envelope)), (&to, &place, said));
                assert_eq!(last.insert(channel, position.seq), Some(prev), "prev is the one before");
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn subscribing_then_reading_the_head_leaves_no_gap(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let writer = {
        let (broker, general) = (broker.clone(), general.clone());
        tokio::spawn(async move {
            for n in 0..300 {
                append(&broker, &general, &n.to_string()).await;
            }
        })
    };
    for _ in 0..10 {
        let (_control, mut subscriber) = listen(&broker, &general).await;
        let head = broker.head(&general).await.unwrap().seq;
        let mut heard = BTreeSet::new();
        while heard.len() < 10 && !writer.is_finished() {
            if let Some(LiveEvent::Durable { position, .. }) = subscriber.try_next() {
                assert!(heard.insert(position.seq), "heard once");
            } else {
                tokio::task::yield_now().await;
            }
        }
        let page = whole(&broker, &general).await;
        let end = heard.last().copied().unwrap_or(head);
        let missed: Vec<_> = seqs(&page)
            .into_iter()
            .filter(|seq| *seq > head && *seq <= end && !heard.contains(seq))
            .collect();
        assert!(missed.is_empty(), "after the head {head} these were not heard: {missed:?}");
    }
    writer.await.unwrap();
}

pub(crate) async fn other_slots_are_not_heard(world: &impl World) {
    let broker = world.open().await;
    let (home, _, far) = neighbours();
    let (_control, mut subscriber) = listen(&broker, &home).await;
    append(&broker, &far, "elsewhere").await;
    append(&broker, &home, "here").await;
    assert!(matches!(next(&mut subscriber).await, LiveEvent::Durable { channel, .. } if channel == home));
}

pub(crate) async fn a_removed_slot_falls_silent(world: &impl World) {
    let broker = world.open().await;
    let (home, _, far) = neighbours();
    let (control, mut subscriber) = listen(&broker, &home).await;
    control.add(Slot::of(&far)).await;
    append(&broker, &home, "heard").await;
    assert!(matches!(next(&mut subscriber).await, LiveEvent::Durable { channel, .. } if channel == home));
    control.remove(Slot::of(&home)).await;
    append(&broker, &home, "unheard").await;
    append(&broker, &far, "heard").await;
    assert!(matches!(next(&mut subscriber).await, LiveEvent::Durable { channel, .. } if channel == far));
}

pub(crate) async fn an_ephemeral_event_is_heard_and_not_logged(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let (_control, mut subscriber) = listen(&broker, &general).await;
    broker.publish(&general, Bytes::from_static(b"typing")).await.unwrap();
    match next(&mut subscriber).await {
        LiveEvent::Ephemeral { channel, payload } => {
            assert_eq!((channel, text(&payload)), (general.clone(), "typing".to_owned()));
        }
        other => panic!("{other:?}"),
    }
    assert!(whole(&broker, &general).await.entries.is_empty());
}

pub(crate) async fn a_full_queue_says_that_something_was_lost(world: &impl World) {
    let broker = world.open_with(Wishes { live_queue: 8, ..Wishes::default() }).await;
    let general = channel("general");
    let (_control, mut subscriber) = listen(&broker, &general).await;
    for n in 0..100 {
        append(&broker, &general, &n.to_string()).await;
    }
    let (mut heard, mut lost) = (0, false);
    while !lost {
        match next(&mut subscriber).await {
            LiveEvent::Lost => lost = true,
            LiveEvent::Durable { .. } => heard += 1,
            LiveEvent::Ephemeral { .. } => panic!("nobody published"),
        }
    }
    assert!(heard < 100);
    while subscriber.try_next().is_some() {}
    append(&broker, &general, "after").await;
    loop {
        if let LiveEvent::Durable { envelope, .. } = next(&mut subscriber).await
            && text(&envelope) == "after"
        {
            break;
        }
    }
}

pub(crate) async fn a_drain_ends_subscribers(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let (_control, mut subscriber) = listen(&broker, &general).await;
    append(&broker, &general, "last").await;
    broker.drain().await;
    assert!(broker.subscriber().await.is_err());
    let ended = async { while subscriber.next().await.is_some() {} };
    in_time("the end of a subscription", ended).await;
}
