//! A write that a crash tore apart: the log holds all of it or nothing, wherever it was cut.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use broker::{Append, Appended, Broker, Embedded, Options, ReadLimit};
use bytes::Bytes;
use protocol::ids::ChannelId;
use std::fs;
use std::path::Path;

/// Commits before the one that is torn.
const BEFORE: usize = 3;

/// Cuts after which an append is tried too, every so many.
const APPEND_EVERY: usize = 64;

fn open(folder: &Path) -> Broker {
    Broker::Embedded(Embedded::open(folder, Options::default()).unwrap())
}

async fn append(broker: &Broker, text: String) {
    let key = protocol::subjects::dedup_key([&text, "", ""]);
    let channel = ChannelId::parse("general").unwrap();
    let append = Append { channel, dedup_key: key, envelope: Bytes::from(text), expect: None };
    assert!(matches!(broker.append(append).await.unwrap(), Appended::New { .. }));
}

async fn texts(broker: &Broker) -> Vec<String> {
    let all = ReadLimit { entries: usize::MAX, bytes: usize::MAX };
    let page = broker.read(&ChannelId::parse("general").unwrap(), 0, all).await.unwrap();
    assert_eq!(page.head, page.entries.last().unwrap().seq, "the head is the last whole entry");
    page.entries.iter().map(|entry| String::from_utf8(entry.envelope.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn a_write_cut_anywhere_is_there_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    for n in 0..BEFORE {
        append(&broker, format!("whole {n}")).await;
    }
    let (database, wal) = (folder.path().join("log.db"), folder.path().join("log.db-wal"));
    let (database, short) = (fs::read(database).unwrap(), fs::read(&wal).unwrap().len());
    // Longer than a page, so that the torn write is several frames of the WAL.
    append(&broker, format!("torn {}", "x".repeat(6_000))).await;
    let long = fs::read(&wal).unwrap();
    assert!(long.len() > short + 8_192, "the last commit is several frames: {short} to {}", long.len());
    let (mut without, mut with) = (0, 0);
    for cut in short..=long.len() {
        let torn = tempfile::tempdir().unwrap();
        fs::write(torn.path().join("log.db"), &database).unwrap();
        fs::write(torn.path().join("log.db-wal"), &long[..cut]).unwrap();
        let recovered = open(torn.path());
        let found = texts(&recovered).await;
        assert!(found[..BEFORE].iter().enumerate().all(|(n, text)| *text == format!("whole {n}")));
        match found.len() - BEFORE {
            0 => without += 1,
            1 => {
                assert!(found[BEFORE].starts_with("torn ") && found[BEFORE].len() == 6_005);
                with += 1;
            }
            more => panic!("{more} entries out of nothing at {cut}"),
        }
        if cut % APPEND_EVERY == 0 || cut == long.len() {
            append(&recovered, "after".to_owned()).await;
            assert_eq!(texts(&recovered).await.last().unwrap(), "after");
        }
        recovered.drain().await;
    }
    assert!(without > 0 && with == 1, "only the whole commit counts: {without} without, {with} with");
}
