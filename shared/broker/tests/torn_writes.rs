//! A write that a crash tore apart: the log holds all of it or nothing, wherever it was cut.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use broker::{Append, Appended, Broker, Embedded, Options, ReadLimit};
use bytes::Bytes;
use protocol::ids::ChannelId;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What the WAL begins with.
const WAL_HEADER: usize = 32;

/// A frame of the WAL: a header and a page.
const FRAME: usize = 24 + 4_096;

/// Where no frame begins or ends, an append is tried after every so many cuts.
const APPEND_EVERY: usize = 64;

/// Between frames, where the whole WAL is long, every so many bytes are cut.
const STRIDE: usize = 256;

fn open(folder: &Path) -> Broker {
    Broker::Embedded(Embedded::open(folder, Options::default()).unwrap())
}

async fn append(broker: &Broker, text: &str) {
    let key = protocol::subjects::dedup_key([text, "", ""]);
    let channel = ChannelId::parse("general").unwrap();
    let envelope = Bytes::copy_from_slice(text.as_bytes());
    let append = Append { channel, dedup_key: key, envelope, expect: None };
    assert!(matches!(broker.append(append).await.unwrap(), Appended::New { .. }));
}

async fn texts(broker: &Broker) -> Vec<Bytes> {
    let all = ReadLimit { entries: usize::MAX, bytes: usize::MAX };
    let page = broker.read(&ChannelId::parse("general").unwrap(), 0, all).await.unwrap();
    assert_eq!(page.head, page.entries.last().unwrap().seq, "the head is the last whole entry");
    page.entries.into_iter().map(|entry| entry.envelope).collect()
}

/// The WAL of a folder whose broker is idle.
fn wal(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("log.db-wal")).unwrap()
}

/// A commit, and the files around it.
struct Commit {
    /// As it was before and after: the commit is in the WAL only.
    database: Vec<u8>,
    before: Vec<u8>,
    after: Vec<u8>,
    /// The part of the WAL that the commit wrote: its first byte and its end.
    written: (usize, usize),
    /// What the log held before.
    whole: Vec<Bytes>,
    /// What the commit added.
    torn: Bytes,
}

impl Commit {
    async fn make(folder: &Path, broker: &Broker, text: &str) -> Self {
        let database = folder.join("log.db");
        let (before, whole) = (wal(folder), texts(broker).await);
        let held = fs::read(&database).unwrap();
        append(broker, text).await;
        assert!(fs::read(database).unwrap() == held, "a commit leaves the database alone");
        let torn = Bytes::copy_from_slice(text.as_bytes());
        let after = wal(folder);
        let written = changed(&before, &after);
        Self { database: held, before, after, written, whole, torn }
    }

    /// Opens what a crash leaves when only the first `cut` bytes reached the disk and `rest` lies behind them.
    async fn cut(&self, cut: usize, rest: &[u8]) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let found = [&self.after[..cut], rest].concat();
        fs::write(folder.path().join("log.db"), &self.database).unwrap();
        fs::write(folder.path().join("log.db-wal"), &found).unwrap();
        let broker = open(folder.path());
        let mut held = texts(&broker).await;
        if cut.is_multiple_of(APPEND_EVERY) || near_a_frame(cut) {
            append(&broker, "after").await;
            let after = texts(&broker).await;
            assert_eq!(after[..after.len() - 1], held, "an append adds itself alone, cut at {cut}");
        }
        broker.drain().await;
        let there = held.len() > self.whole.len();
        if there {
            assert_eq!(held.pop().unwrap(), self.torn, "cut at {cut}");
        }
        assert!(held == self.whole, "what was whole before stays as it was, cut at {cut}");
        let (_, all) = self.written;
        assert_eq!(there, found.len() >= all && found[..all] == self.after[..all], "cut at {cut}");
        there
    }
}

/// Returns the first byte that differs, and the end of what differs.
fn changed(before: &[u8], after: &[u8]) -> (usize, usize) {
    let same = |(a, b): &(&u8, &u8)| a == b;
    let first = before.iter().zip(after).take_while(same).count();
    if after.len() > before.len() {
        return (first, after.len());
    }
    (first, after.len() - before.iter().rev().zip(after.iter().rev()).take_while(same).count())
}

/// Whether a frame begins or ends here or a byte away.
fn near_a_frame(at: usize) -> bool {
    (at + 1).checked_sub(WAL_HEADER).is_some_and(|at| at % FRAME <= 2)
}

#[tokio::test]
async fn a_write_cut_anywhere_is_there_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    for n in 0..3 {
        append(&broker, &format!("whole {n}")).await;
    }
    // Longer than a page, so that the torn write is several frames of the WAL.
    let commit = Commit::make(folder.path(), &broker, &format!("torn {}", "x".repeat(9_000))).await;
    assert!(commit.written.1 - commit.written.0 > 3 * FRAME, "the commit is several frames");
    let mut there = 0;
    for cut in commit.before.len()..=commit.after.len() {
        there += usize::from(commit.cut(cut, &[]).await);
    }
    assert_eq!(there, 1, "only the whole commit counts");
}

#[tokio::test]
async fn what_the_disk_left_behind_a_cut_is_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    append(&broker, "whole").await;
    let commit = Commit::make(folder.path(), &broker, &format!("torn {}", "x".repeat(6_000))).await;
    for cut in cuts(&commit) {
        // The file has grown, but its blocks were not written, or hold what was in them before.
        let missing = commit.after.len() - cut;
        commit.cut(cut, &vec![0; missing]).await;
        commit.cut(cut, &vec![0xa5; missing]).await;
        // Blocks reach the disk in any order: all but the first sector behind the cut is there.
        let hole = missing.min(512);
        commit.cut(cut, &[vec![0; hole].as_slice(), &commit.after[cut + hole..]].concat()).await;
    }
}

#[tokio::test]
async fn an_older_life_of_the_wal_is_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    // Until the WAL was moved into the database and begins again over what it held.
    let first = loop {
        let n = entries(&broker).await;
        append(&broker, &format!("{n} {}", "x".repeat(100_000))).await;
        let before = wal(folder.path());
        let commit = Commit::make(folder.path(), &broker, &format!("{n} torn")).await;
        if before[..WAL_HEADER] != commit.after[..WAL_HEADER] {
            break commit;
        }
    };
    let second = Commit::make(folder.path(), &broker, "torn as well").await;
    for commit in [first, second] {
        assert_eq!(commit.before.len(), commit.after.len(), "it is written over what was there");
        let mut there = 0;
        for cut in cuts(&commit) {
            there += usize::from(commit.cut(cut, &commit.before[cut..]).await);
        }
        assert!(there > 0, "the whole commit counts");
    }
}

/// How many entries there are: nothing else is in the shard.
async fn entries(broker: &Broker) -> u64 {
    broker.head(&ChannelId::parse("general").unwrap()).await.unwrap().seq
}

/// The bounds of what a commit wrote and of each frame in it, a byte to both sides, and a stride between them.
fn cuts(commit: &Commit) -> BTreeSet<usize> {
    let (first, end) = commit.written;
    (first..=end).filter(|at| near_a_frame(*at) || at % STRIDE == 0 || [first, end].contains(at)).collect()
}
