//! The log: positions, ranges, restarts.

use crate::world::{World, append, channel, entry, in_time, neighbours, seqs, texts, whole};
use broker::{AppendError, Appended, ReadLimit};
use protocol::subjects::{Slot, dedup_key};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) async fn positions_rise_and_name_one_life(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let first = append(&broker, &general, "one").await;
    let second = append(&broker, &general, "two").await;
    assert!(0 < first.seq && first.seq < second.seq);
    assert_eq!(first.epoch, second.epoch);
    assert_eq!(broker.head(&general).await.unwrap(), second);
    assert_eq!(broker.epoch(Slot::of(&general).shard), second.epoch);
}

pub(crate) async fn channels_of_a_shard_share_a_counter(world: &impl World) {
    let broker = world.open().await;
    let (home, near, far) = neighbours();
    let first = append(&broker, &home, "one").await.seq;
    let between = append(&broker, &near, "two").await.seq;
    let elsewhere = append(&broker, &far, "three").await.seq;
    let third = append(&broker, &home, "four").await.seq;
    // A broker's own entries may lie between, so numbers rise by one or more.
    assert!(first < between && between < third, "one counter for a shard: {first} {between} {third}");
    assert!(elsewhere > 0 && whole(&broker, &far).await.head == elsewhere);
}

pub(crate) async fn entries_and_life_survive_a_restart(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let before = append(&broker, &general, "one").await;
    let broker = world.restart(broker).await;
    assert_eq!(texts(&whole(&broker, &general).await), ["one"]);
    assert_eq!(broker.head(&general).await.unwrap(), before);
    let after = append(&broker, &general, "two").await;
    assert!(after.epoch == before.epoch && after.seq > before.seq, "{before:?} {after:?}");
}

pub(crate) async fn what_was_answered_survives_an_abrupt_end(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let epoch = broker.epoch(Slot::of(&general).shard);
    let (told, mut heard) = tokio::sync::mpsc::channel(1_000);
    let writers = (0..4).map(|writer| {
        let (broker, general, told) = (broker.clone(), general.clone(), told.clone());
        tokio::spawn(async move {
            for n in 0..50 {
                let text = format!("{writer}/{n}");
                let key = dedup_key([general.as_str(), "", &text]);
                // After the abrupt end nobody cares how it went.
                let Ok(Appended::New { position }) = broker.append(entry(&general, key, &text)).await else {
                    return;
                };
                told.send((position.seq, text)).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut answered = BTreeMap::new();
    while answered.len() < 60 {
        answered.extend(in_time("an answer", heard.recv()).await);
    }
    let broker = world.crash(broker).await;
    for writer in writers {
        writer.await.unwrap();
    }
    let page = whole(&broker, &general).await;
    let found: BTreeMap<_, _> = seqs(&page).into_iter().zip(texts(&page)).collect();
    assert!(answered.iter().all(|(seq, text)| found.get(seq) == Some(text)), "{answered:?} {found:?}");
    let after = append(&broker, &general, "after").await;
    assert!(after.epoch == epoch && after.seq > page.head, "the same life goes on: {after:?}");
}

pub(crate) async fn ranges_are_ascending_and_bounded(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    for text in ["one", "two", "three", "four", "five"] {
        append(&broker, &general, text).await;
    }
    let all = whole(&broker, &general).await;
    assert_eq!(texts(&all), ["one", "two", "three", "four", "five"]);
    let places = seqs(&all);
    assert!(places.is_sorted() && all.end && all.head == places[4] && all.floor < places[0]);
    let read = async |after, entries, bytes| {
        let page = broker.read(&general, after, ReadLimit { entries, bytes }).await.unwrap();
        assert_eq!(page.head, places[4]);
        (texts(&page).join(" "), page.end)
    };
    assert_eq!(read(places[0], 2, 1_000).await, ("two three".to_owned(), false));
    assert_eq!(read(places[2], 2, 1_000).await, ("four five".to_owned(), true));
    assert_eq!(read(places[4], 2, 1_000).await, (String::new(), true));
    assert_eq!(read(0, 5, 7).await, ("one two".to_owned(), false), "bytes bound a page too");
    assert_eq!(read(0, 5, 1).await, ("one".to_owned(), false), "the first entry always fits");
}

pub(crate) async fn an_unknown_channel_is_empty(world: &impl World) {
    let broker = world.open().await;
    append(&broker, &channel("general"), "one").await;
    let nobody = channel("nobody");
    assert_eq!(broker.head(&nobody).await.unwrap().epoch, broker.epoch(Slot::of(&nobody).shard));
    assert_eq!(broker.head(&nobody).await.unwrap().seq, 0);
    let page = whole(&broker, &nobody).await;
    assert!(page.entries.is_empty() && page.end && page.head == 0);
}

pub(crate) async fn a_page_reaches_no_further_than_its_head(world: &impl World) {
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
    let mut after = 0;
    while after < 300 {
        let page = broker.read(&general, after, ReadLimit { entries: 5, bytes: 1_000 }).await.unwrap();
        assert!(seqs(&page).first().is_none_or(|first| *first > after) && seqs(&page).is_sorted());
        let last = seqs(&page).last().copied().unwrap_or(after);
        assert!(last <= page.head, "{last} is newer than the head {}", page.head);
        assert_eq!(page.end, last == page.head);
        assert!(broker.head(&general).await.unwrap().seq >= after, "a head never goes back");
        after = last;
    }
    writer.await.unwrap();
}

pub(crate) async fn many_writers_lose_and_double_nothing(world: &impl World) {
    let broker = world.open().await;
    let channels: Vec<_> = (0..10).map(|n| channel(&format!("busy-{n}"))).collect();
    let writers = (0..50).map(|writer| {
        let (broker, channel) = (broker.clone(), channels[writer % channels.len()].clone());
        tokio::spawn(async move {
            let mut last = 0;
            for n in 0..20 {
                let seq = append(&broker, &channel, &format!("{writer}/{n}")).await.seq;
                assert!(seq > last, "a writer's own order is the log's");
                last = seq;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    for channel in &channels {
        let page = whole(&broker, channel).await;
        assert!(seqs(&page).is_sorted() && page.end);
        let texts = texts(&page);
        assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), 100, "each entry once");
        assert_eq!(texts.len(), 100);
    }
}

pub(crate) async fn an_envelope_above_the_limit_is_refused(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let huge = "x".repeat(1024 * 1024);
    assert_eq!(broker.append(entry(&general, 1, &huge)).await, Err(AppendError::TooLarge));
    assert_eq!(broker.head(&general).await.unwrap().seq, 0);
    append(&broker, &general, "goes on").await;
}

pub(crate) async fn a_drained_broker_takes_nothing(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let accepted: Vec<_> = (0..100)
        .map(|n| {
            let (broker, append) = (broker.clone(), entry(&general, n, &n.to_string()));
            tokio::spawn(async move { broker.append(append).await })
        })
        .collect();
    broker.drain().await;
    assert_eq!(broker.append(entry(&general, 1_000, "late")).await, Err(AppendError::Closed));
    let mut logged = 0;
    for one in accepted {
        match one.await.unwrap() {
            Ok(_) => logged += 1,
            Err(error) => assert_eq!(error, AppendError::Closed),
        }
    }
    let broker = world.restart(broker).await;
    assert_eq!(whole(&broker, &general).await.entries.len(), logged, "what was answered, and nothing else");
}
