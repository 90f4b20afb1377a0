//! Live copies and ephemeral events.

use crate::world::{Wishes, World, append, channel, in_time, neighbours, seqs, text, whole};
use broker::{Broker, LiveEvent, Subscriber, SubscriptionControl};
use bytes::Bytes;
use protocol::control::Control;
use protocol::ids::{ChannelId, Seq, UserId};
use protocol::subjects::Slot;
use std::collections::HashMap;
use tokio::task::JoinHandle;

async fn listen(broker: &Broker, channel: &ChannelId) -> (SubscriptionControl, Subscriber) {
    let (control, subscriber) = broker.subscriber().await.unwrap();
    control.add(&[Slot::of(channel)]).await;
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
    let mut last = HashMap::from([(home, 0), (near, 0)]);
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

/// Starts `writers` tasks that append `each` entries; task n writes to channel n modulo their number.
fn write(broker: &Broker, channels: &[ChannelId], writers: usize, each: usize) -> Vec<JoinHandle<()>> {
    let write = |writer: usize| {
        let (broker, to) = (broker.clone(), channels[writer % channels.len()].clone());
        tokio::spawn(async move {
            for n in 0..each {
                append(&broker, &to, &format!("{writer}/{n}")).await;
            }
        })
    };
    (0..writers).map(write).collect()
}

pub(crate) async fn copies_of_many_writers_are_unbroken_chains(world: &impl World) {
    let broker = world.open().await;
    let channels: Vec<_> = (0..10).map(|n| channel(&format!("busy-{n}"))).collect();
    let (control, mut subscriber) = broker.subscriber().await.unwrap();
    for channel in &channels {
        control.add(&[Slot::of(channel)]).await;
    }
    let writers = write(&broker, &channels, 50, 20);
    let mut chains: HashMap<ChannelId, Vec<Seq>> = HashMap::new();
    for _ in 0..1_000 {
        match next(&mut subscriber).await {
            LiveEvent::Durable { channel, position, prev, .. } => {
                let chain = chains.entry(channel).or_default();
                assert_eq!(chain.last().copied().unwrap_or(0), prev, "before {position:?}");
                chain.push(position.seq);
            }
            other => panic!("{other:?}"),
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for channel in &channels {
        assert_eq!(chains.get(channel), Some(&seqs(&whole(&broker, channel).await)), "{channel}");
    }
    assert!(subscriber.try_next().is_none(), "each is heard once");
}

/// Subscribes, then asks for the head: what the log holds up to it, and what is heard of later ones.
async fn follow(broker: Broker, channel: ChannelId, total: usize) -> Vec<Seq> {
    let (_control, mut subscriber) = listen(&broker, &channel).await;
    let head = broker.head(&channel).await.unwrap().seq;
    let mut known = seqs(&whole(&broker, &channel).await);
    known.retain(|seq| *seq <= head);
    while known.len() < total {
        match next(&mut subscriber).await {
            // Up to the head it is known already.
            LiveEvent::Durable { position, .. } if position.seq > head => known.push(position.seq),
            LiveEvent::Durable { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    known
}

pub(crate) async fn subscribing_then_reading_the_head_leaves_no_gap(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let writers = write(&broker, std::slice::from_ref(&general), 4, 150);
    let mut followers = Vec::new();
    for reached in (0..20).map(|step| step * 25) {
        let appended = async {
            while broker.head(&general).await.unwrap().seq < reached {
                tokio::task::yield_now().await;
            }
        };
        in_time("an append", appended).await;
        followers.push(tokio::spawn(follow(broker.clone(), general.clone(), 600)));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let logged = seqs(&whole(&broker, &general).await);
    for follower in followers {
        assert_eq!(follower.await.unwrap(), logged, "neither a gap nor a duplicate");
    }
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
    control.add(&[Slot::of(&far)]).await;
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

/// A user with a version, as a worker announces him.
fn announced(user: &str, version: u64) -> Control {
    Control::Memberships(vec![(UserId::parse(user).unwrap(), version)])
}

pub(crate) async fn an_announcement_is_heard_by_everybody(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    // One has a slot, the other has none.
    let (_control, mut listening) = listen(&broker, &general).await;
    let (_nothing, mut other) = broker.subscriber().await.unwrap();
    for version in 1..=3 {
        broker.announce(announced("driver-1", version)).await.unwrap();
    }
    for subscriber in [&mut listening, &mut other] {
        for version in 1..=3 {
            assert_eq!(next(subscriber).await, LiveEvent::Control(announced("driver-1", version)));
        }
    }
    assert!(whole(&broker, &general).await.entries.is_empty());
}

pub(crate) async fn an_announcement_passes_a_busy_log(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let (_control, mut subscriber) = listen(&broker, &general).await;
    for n in 0..100 {
        append(&broker, &general, &n.to_string()).await;
    }
    broker.announce(announced("driver-1", 1)).await.unwrap();
    // It has arrived, and so has everything that it passes.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let mut before = 0;
    loop {
        match next(&mut subscriber).await {
            LiveEvent::Durable { .. } => before += 1,
            LiveEvent::Control(_) => break,
            LiveEvent::Heads { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(before < 50, "it waited for {before} entries");
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
            LiveEvent::Lost(_) | LiveEvent::CutOff(_) => lost = true,
            LiveEvent::Durable { .. } => heard += 1,
            LiveEvent::Heads { .. } => {}
            LiveEvent::Ephemeral { .. } | LiveEvent::Control(_) => panic!("nobody published"),
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
    // Often, because an event and the end may come to a waiting subscriber at the same time.
    for round in 0..30 {
        let broker = world.open().await;
        let general = channel("general");
        let (_control, mut subscriber) = listen(&broker, &general).await;
        let listening = tokio::spawn(async move {
            let mut heard = Vec::new();
            while let Some(event) = subscriber.next().await {
                heard.push(event);
            }
            heard
        });
        tokio::task::yield_now().await;
        append(&broker, &general, &format!("last of {round}")).await;
        broker.drain().await;
        assert!(broker.subscriber().await.is_err());
        assert!(broker.publish(&general, Bytes::from_static(b"late")).await.is_err());
        assert!(broker.announce(announced("driver-1", 1)).await.is_err());
        let heard = in_time("the end of a subscription", listening).await.unwrap();
        assert!(
            matches!(&heard[..], [LiveEvent::Durable { .. }]),
            "what was appended is heard before the end, in round {round}: {heard:?}"
        );
    }
}
