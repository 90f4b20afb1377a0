//! Any sequence of appends, reads, restarts and acknowledgements gives what a list and a set would give.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use broker::{Append, Appended, Broker, Consumer, Delivery, Embedded, Group, Options, Purge, ReadLimit};
use bytes::Bytes;
use proptest::prelude::*;
use protocol::ids::{ChannelId, Position, Seq};
use protocol::subjects::{Shard, Slot};
use protocol::time::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

const CHANNELS: usize = 3;

const GROUP: Group = match Group::new("model") {
    Some(group) => group,
    None => panic!("a group's name is lower case"),
};

/// What an append expects of its channel's head.
#[derive(Debug, Clone, Copy)]
enum Expect {
    Anything,
    TheHead,
    SomethingElse,
}

#[derive(Debug, Clone)]
enum Op {
    Append {
        channel: usize,
        key: u128,
        expect: Expect,
    },
    Read {
        channel: usize,
        skip: usize,
        entries: usize,
    },
    Fetch {
        max: usize,
    },
    /// Acknowledges each delivery whose bit is set.
    Ack {
        which: u16,
    },
    /// The member goes, another comes.
    NewMember,
    Restart,
    /// Forgets what is acknowledged of the first entries.
    Purge {
        entries: usize,
    },
}

/// What a run tries: keys that come again, or a log that is purged, which has to forget keys soon.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trial {
    Keys,
    Purges,
}

impl Trial {
    fn options(self) -> Options {
        match self {
            Self::Keys => Options::default(),
            Self::Purges => Options { dedup_window: Duration::from_millis(1), ..Options::default() },
        }
    }
}

fn op(trial: Trial) -> impl Strategy<Value = Op> {
    let expect = prop_oneof![
        4 => Just(Expect::Anything),
        2 => Just(Expect::TheHead),
        1 => Just(Expect::SomethingElse),
    ];
    prop_oneof![
        8 => (0..CHANNELS, 0..24_u128, expect)
            .prop_map(|(channel, key, expect)| Op::Append { channel, key, expect }),
        3 => (0..CHANNELS, 0..6_usize, 1..5_usize)
            .prop_map(|(channel, skip, entries)| Op::Read { channel, skip, entries }),
        3 => (1..6_usize).prop_map(|max| Op::Fetch { max }),
        3 => any::<u16>().prop_map(|which| Op::Ack { which }),
        1 => Just(Op::NewMember),
        1 => Just(Op::Restart),
        if trial == Trial::Purges { 3 } else { 0 } => (0..20_usize).prop_map(|entries| Op::Purge { entries }),
    ]
}

/// An entry as the model has it; its number is its place in the whole log.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    channel: usize,
    seq: Seq,
    key: u128,
}

/// The broker under test beside what it should be.
struct Run<'a> {
    folder: &'a Path,
    trial: Trial,
    broker: Broker,
    consumer: Consumer,
    channels: Vec<ChannelId>,
    log: Vec<Entry>,
    /// Numbers of entries that the member has.
    out: BTreeSet<usize>,
    held: Vec<Delivery>,
    acked: BTreeSet<usize>,
    /// All of them are acknowledged.
    purged: BTreeSet<usize>,
}

fn open(folder: &Path, trial: Trial) -> Broker {
    Broker::Embedded(Embedded::open(folder, trial.options()).unwrap())
}

async fn join(broker: &Broker) -> Consumer {
    broker.consume(GROUP).await.unwrap()
}

impl<'a> Run<'a> {
    async fn new(folder: &'a Path, trial: Trial) -> Self {
        let broker = open(folder, trial);
        let consumer = join(&broker).await;
        let channels = (0..CHANNELS).map(|n| ChannelId::parse(&format!("c{n}")).unwrap()).collect();
        let [out, acked, purged] = Default::default();
        let (log, held) = (Vec::new(), Vec::new());
        Self { folder, trial, broker, consumer, channels, log, out, held, acked, purged }
    }

    async fn step(mut self, op: Op) -> Self {
        match op {
            Op::Append { channel, key, expect } => self.append(channel, key, expect).await,
            Op::Read { channel, skip, entries } => self.read(channel, skip, entries).await,
            Op::Fetch { max } => self.fetch(max).await,
            Op::Ack { which } => self.ack(which).await,
            Op::NewMember => self.new_member().await,
            Op::Restart => return self.restart().await,
            Op::Purge { entries } => self.purge(entries).await,
        }
        self
    }

    /// What is left of a channel.
    fn of(&self, channel: usize) -> Vec<Entry> {
        let left = self.log.iter().enumerate().filter(|(n, _)| !self.purged.contains(n));
        left.map(|(_, entry)| entry).filter(|entry| entry.channel == channel).cloned().collect()
    }

    fn shard(&self, channel: usize) -> Shard {
        Slot::of(&self.channels[channel]).shard
    }

    /// Up to where the shard of a channel was purged.
    fn floor(&self, channel: usize) -> Seq {
        let purged = self.purged.iter().map(|n| &self.log[*n]);
        let neighbours = purged.filter(|entry| self.shard(entry.channel) == self.shard(channel));
        neighbours.map(|entry| entry.seq).max().unwrap_or(0)
    }

    fn head(&self, channel: usize) -> Seq {
        self.of(channel).last().map_or(0, |entry| entry.seq).max(self.floor(channel))
    }

    async fn append(&mut self, channel: usize, key: u128, expect: Expect) {
        let head = self.head(channel);
        // Keys hold their channel, as those of messages do; one that is forgotten soon comes once only.
        let fresh = if self.trial == Trial::Purges { 100 + self.log.len() as u128 } else { key };
        let dedup_key = fresh * 8 + channel as u128;
        let expect = match expect {
            Expect::Anything => None,
            Expect::TheHead => Some(head),
            Expect::SomethingElse => Some(head + 1),
        };
        let append = Append {
            channel: self.channels[channel].clone(),
            dedup_key,
            envelope: Bytes::from(dedup_key.to_string()),
            expect,
        };
        let neighbours = self.log.iter().filter(|entry| self.shard(entry.channel) == self.shard(channel));
        let next = neighbours.map(|entry| entry.seq).max().unwrap_or(0) + 1;
        let known = self.log.iter().find(|entry| entry.key == dedup_key).cloned();
        match (self.broker.append(append).await.unwrap(), known) {
            (Appended::Duplicate { position, entry }, Some(first)) => {
                assert_eq!((position.seq, entry.seq), (first.seq, first.seq));
                assert_eq!(entry.envelope, Bytes::from(dedup_key.to_string()));
            }
            (Appended::Moved { head: told }, None) => {
                assert_eq!(told, head);
                assert_ne!(expect.unwrap(), head);
            }
            (Appended::New { position }, None) => {
                assert!(expect.is_none_or(|expected| expected == head));
                assert_eq!(position.seq, next);
                self.log.push(Entry { channel, seq: next, key: dedup_key });
            }
            (other, known) => panic!("{other:?}, known: {known:?}"),
        }
    }

    async fn read(&mut self, channel: usize, skip: usize, entries: usize) {
        let of = self.of(channel);
        let after = of.iter().take(skip).next_back().map_or(0, |entry| entry.seq);
        let limit = ReadLimit { entries, bytes: usize::MAX };
        let page = self.broker.read(&self.channels[channel], after, limit).await.unwrap();
        let expected: Vec<Seq> =
            of.iter().map(|entry| entry.seq).filter(|seq| *seq > after).take(entries).collect();
        assert_eq!(page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), expected);
        let end = !of.iter().any(|entry| entry.seq > expected.last().copied().unwrap_or(after));
        assert_eq!((page.head, page.end, page.floor), (self.head(channel), end, self.floor(channel)));
    }

    fn number(&self, delivery: &Delivery) -> usize {
        let is = |entry: &Entry| {
            self.channels[entry.channel] == delivery.entry.channel && entry.seq == delivery.entry.seq
        };
        self.log.iter().position(is).unwrap()
    }

    async fn fetch(&mut self, max: usize) {
        let taken = self.consumer.fetch(max, Duration::ZERO).await.unwrap();
        let numbers: Vec<_> = taken.iter().map(|delivery| self.number(delivery)).collect();
        assert!(numbers.len() <= max && numbers.is_sorted(), "{numbers:?}");
        let free = (0..self.log.len()).find(|n| !self.acked.contains(n) && !self.out.contains(n));
        assert_eq!(numbers.first().copied(), free, "the first that nobody has and nobody acknowledged");
        for (n, delivery) in numbers.into_iter().zip(taken) {
            assert!(!self.acked.contains(&n) && self.out.insert(n), "{n} is delivered though it is not free");
            self.held.push(delivery);
        }
    }

    async fn ack(&mut self, which: u16) {
        let (now, later): (Vec<_>, Vec<_>) =
            self.held.drain(..).enumerate().partition(|(n, _)| which & (1 << (n % 16)) != 0);
        self.held = later.into_iter().map(|(_, delivery)| delivery).collect();
        let now: Vec<_> = now.into_iter().map(|(_, delivery)| delivery).collect();
        for delivery in &now {
            let n = self.number(delivery);
            self.out.remove(&n);
            self.acked.insert(n);
        }
        self.consumer.ack(&now.iter().map(|delivery| delivery.id).collect::<Vec<_>>()).await;
    }

    async fn new_member(&mut self) {
        self.consumer = join(&self.broker).await;
        self.out.clear();
        self.held.clear();
    }

    async fn purge(&mut self, entries: usize) {
        // Until all keys are forgotten.
        tokio::time::sleep(Duration::from_millis(3)).await;
        let position = |entry: &Entry| Position { epoch: self.broker.epoch(Shard(0)), seq: entry.seq };
        let mut upto: HashMap<Shard, Position> = HashMap::new();
        for entry in self.log.iter().take(entries) {
            upto.insert(self.shard(entry.channel), position(entry));
        }
        let before = Timestamp::from_unix_ms(u64::MAX);
        let purge = Purge { group: GROUP, upto: upto.into_iter().collect(), before };
        let purged = self.broker.purge(purge).await.unwrap();
        let whole = (0..entries.min(self.log.len())).take_while(|n| self.acked.contains(n));
        let new: Vec<_> = whole.filter(|n| !self.purged.contains(n)).collect();
        assert_eq!(purged, new.len() as u64);
        self.purged.extend(new);
    }

    async fn restart(self) -> Self {
        let Self { folder, trial, broker, consumer, channels, log, mut acked, purged, .. } = self;
        drop(consumer);
        broker.drain().await;
        drop(broker);
        // What is acknowledged behind the first that is not may come again.
        if let Some(first) = (0..log.len()).find(|n| !acked.contains(n)) {
            acked.split_off(&first);
        }
        let broker = open(folder, trial);
        let consumer = join(&broker).await;
        let (out, held) = (BTreeSet::new(), Vec::new());
        Self { folder, trial, broker, consumer, channels, log, out, held, acked, purged }
    }
}

/// Plays a run and compares the heads at its end.
fn play(trial: Trial, ops: Vec<Op>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Run::new(folder.path(), trial).await;
        for op in ops {
            run = run.step(op).await;
        }
        for channel in 0..CHANNELS {
            let head = run.broker.head(&run.channels[channel]).await.unwrap();
            assert_eq!(head.seq, run.head(channel));
        }
        run.broker.drain().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_list_and_its_keys_are_a_set(ops in prop::collection::vec(op(Trial::Keys), 1..60)) {
        play(Trial::Keys, ops);
    }

    #[test]
    fn a_purged_log_is_the_end_of_a_list(ops in prop::collection::vec(op(Trial::Purges), 1..80)) {
        play(Trial::Purges, ops);
    }
}
