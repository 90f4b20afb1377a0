//! Keys that tell a second append from the first, and expectations of the head.

use crate::world::{
    DEADLINE, Wishes, World, append, channel, entry, in_time, neighbours, text, texts, whole,
};
use broker::{Append, Appended, Broker, LiveEvent};
use protocol::ids::Seq;
use protocol::subjects::{Slot, dedup_key};
use std::time::Duration;

/// What became of an append: `n` new, `d` duplicate, `m` moved; and the seq that it names.
async fn outcome(broker: &Broker, append: Append) -> (char, Seq) {
    match broker.append(append).await.unwrap() {
        Appended::New { position } => ('n', position.seq),
        Appended::Duplicate { position, entry } => {
            assert_eq!(position.seq, entry.seq);
            ('d', position.seq)
        }
        Appended::Moved { head } => ('m', head),
    }
}

pub(crate) async fn a_second_append_of_a_key_is_the_first_one(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let (_, first) = outcome(&broker, entry(&general, 7, "first")).await;
    append(&broker, &general, "between").await;
    let head = broker.head(&general).await.unwrap();
    match broker.append(entry(&general, 7, "second")).await.unwrap() {
        Appended::Duplicate { position, entry } => {
            assert_eq!((position.seq, entry.seq), (first, first));
            assert_eq!((text(&entry.envelope), entry.channel), ("first".to_owned(), general.clone()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(broker.head(&general).await.unwrap(), head, "nothing was appended");
}

pub(crate) async fn two_appends_of_a_key_at_once_are_one(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    for key in 0..50 {
        let one = outcome(&broker, entry(&general, key, "a"));
        let other = outcome(&broker, entry(&general, key, "b"));
        let (one, other) = tokio::join!(one, other);
        assert_eq!(one.1, other.1);
        assert!((one.0 == 'n') != (other.0 == 'n'), "{one:?} {other:?}");
    }
    assert_eq!(whole(&broker, &general).await.entries.len(), 50);
}

pub(crate) async fn a_key_is_remembered_across_a_restart(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let first = outcome(&broker, entry(&general, 7, "first")).await.1;
    let broker = world.restart(broker).await;
    assert_eq!(outcome(&broker, entry(&general, 7, "first")).await, ('d', first));
}

pub(crate) async fn a_key_is_remembered_across_an_abrupt_end(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let first = outcome(&broker, entry(&general, 7, "first")).await.1;
    let broker = world.crash(broker).await;
    assert_eq!(outcome(&broker, entry(&general, 7, "first")).await, ('d', first));
    assert_eq!(outcome(&broker, entry(&general, 8, "second")).await.0, 'n');
}

pub(crate) async fn the_same_name_in_another_channel_is_another_command(world: &impl World) {
    let broker = world.open().await;
    let (home, near, far) = neighbours();
    for channel in [&home, &near, &far] {
        let command = entry(channel, dedup_key([channel.as_str(), "dana", "1"]), channel.as_str());
        assert_eq!(outcome(&broker, command.clone()).await.0, 'n', "{channel}");
        assert_eq!(outcome(&broker, command).await.0, 'd', "{channel}");
        assert_eq!(texts(&whole(&broker, channel).await), [channel.as_str()]);
    }
}

pub(crate) async fn what_was_not_appended_is_not_heard(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let (control, mut subscriber) = broker.subscriber().await.unwrap();
    control.add(&[Slot::of(&general)]).await;
    outcome(&broker, entry(&general, 1, "first")).await;
    outcome(&broker, entry(&general, 1, "again")).await;
    outcome(&broker, Append { expect: Some(0), ..entry(&general, 2, "moved") }).await;
    outcome(&broker, entry(&general, 3, "second")).await;
    for expected in ["first", "second"] {
        match in_time("a live copy", subscriber.next()).await {
            Some(LiveEvent::Durable { envelope, .. }) => assert_eq!(text(&envelope), expected),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn a_key_is_forgotten_after_its_window(world: &impl World) {
    let short = Wishes { dedup_window: Duration::from_millis(200), ..Wishes::default() };
    let broker = world.open_with(short).await;
    let general = channel("general");
    let (_, first) = outcome(&broker, entry(&general, 7, "first")).await;
    assert_eq!(outcome(&broker, entry(&general, 7, "first")).await, ('d', first));
    let forgotten = async {
        while outcome(&broker, entry(&general, 7, "again")).await.0 == 'd' {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, forgotten).await.expect("the window ends");
}

pub(crate) async fn an_expectation_holds_or_nothing_is_appended(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let expecting = |key, seq| Append { expect: Some(seq), ..entry(&general, key, "x") };
    assert_eq!(outcome(&broker, expecting(1, 5)).await, ('m', 0));
    let (word, first) = outcome(&broker, expecting(2, 0)).await;
    assert_eq!(word, 'n');
    assert_eq!(outcome(&broker, expecting(3, 0)).await, ('m', first));
    let (word, second) = outcome(&broker, expecting(4, first)).await;
    assert_eq!((word, whole(&broker, &general).await.head), ('n', second));
    assert_eq!(whole(&broker, &general).await.entries.len(), 2);
}

pub(crate) async fn of_two_that_expect_the_same_one_wins(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let mut head = 0;
    for round in 0..30 {
        let expecting = |key| Append { expect: Some(head), ..entry(&general, key, "x") };
        let one = in_time("an append", outcome(&broker, expecting(2 * round)));
        let other = in_time("an append", outcome(&broker, expecting(2 * round + 1)));
        let (one, other) = tokio::join!(one, other);
        let mut words = [one.0, other.0];
        words.sort_unstable();
        assert_eq!(words, ['m', 'n'], "{one:?} {other:?}");
        assert_eq!(one.1, other.1, "the loser is told the winner's place");
        head = one.1;
    }
}

pub(crate) async fn a_duplicate_wins_over_an_expectation(world: &impl World) {
    let broker = world.open().await;
    let general = channel("general");
    let append = Append { expect: Some(0), ..entry(&general, 7, "x") };
    let (_, first) = outcome(&broker, append.clone()).await;
    assert_eq!(outcome(&broker, append).await, ('d', first), "a retry of what was done is no move");
}
