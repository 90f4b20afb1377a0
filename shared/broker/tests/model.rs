//! Any sequence of appends, reads, restarts and acknowledgements gives what a list and a set would give.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use broker::{Append, Appended, Broker, Consumer, Delivery, Embedded, Group, Options, ReadLimit};
use bytes::Bytes;
use proptest::prelude::*;
use protocol::ids::{ChannelId, Seq};
use protocol::subjects::Slot;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

const CHANNELS: usize = 3;

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
}

fn op() -> impl Strategy<Value = Op> {
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
    broker: Broker,
    consumer: Consumer,
    channels: Vec<ChannelId>,
    log: Vec<Entry>,
    /// Numbers of entries that the member has.
    out: BTreeSet<usize>,
    held: Vec<Delivery>,
    acked: BTreeSet<usize>,
}

fn open(folder: &Path) -> Broker {
    Broker::Embedded(Embedded::open(folder, Options::default()).unwrap())
}

async fn join(broker: &Broker) -> Consumer {
    broker.consume(Group::new("model").unwrap()).await.unwrap()
}

impl<'a> Run<'a> {
    async fn new(folder: &'a Path) -> Self {
        let broker = open(folder);
        let consumer = join(&broker).await;
        let channels = (0..CHANNELS).map(|n| ChannelId::parse(&format!("c{n}")).unwrap()).collect();
        let (log, held) = (Vec::new(), Vec::new());
        Self { folder, broker, consumer, channels, log, out: BTreeSet::new(), held, acked: BTreeSet::new() }
    }

    async fn step(mut self, op: Op) -> Self {
        match op {
            Op::Append { channel, key, expect } => self.append(channel, key, expect).await,
            Op::Read { channel, skip, entries } => self.read(channel, skip, entries).await,
            Op::Fetch { max } => self.fetch(max).await,
            Op::Ack { which } => self.ack(which).await,
            Op::NewMember => self.new_member().await,
            Op::Restart => return self.restart().await,
        }
        self
    }

    fn of(&self, channel: usize) -> Vec<Entry> {
        self.log.iter().filter(|entry| entry.channel == channel).cloned().collect()
    }

    async fn append(&mut self, channel: usize, key: u128, expect: Expect) {
        let head = self.of(channel).last().map_or(0, |entry| entry.seq);
        // Keys hold their channel, as those of messages do.
        let dedup_key = key * 8 + channel as u128;
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
        let shard = |n: usize| Slot::of(&self.channels[n]).shard;
        let neighbours = self.log.iter().filter(|entry| shard(entry.channel) == shard(channel));
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
        let head = of.last().map_or(0, |entry| entry.seq);
        assert_eq!((page.head, page.end), (head, expected.last().copied().unwrap_or(after) >= head));
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

    async fn restart(self) -> Self {
        let Self { folder, broker, consumer, channels, log, mut acked, .. } = self;
        drop(consumer);
        broker.drain().await;
        drop(broker);
        // What is acknowledged behind the first that is not may come again.
        if let Some(first) = (0..log.len()).find(|n| !acked.contains(n)) {
            acked.split_off(&first);
        }
        let broker = open(folder);
        let consumer = join(&broker).await;
        Self { folder, broker, consumer, channels, log, out: BTreeSet::new(), held: Vec::new(), acked }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_list_and_its_keys_are_a_set(ops in prop::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let mut run = Run::new(folder.path()).await;
            for op in ops {
                run = run.step(op).await;
            }
            let heads: HashMap<_, _> = (0..CHANNELS).map(|n| (n, run.of(n).last().map_or(0, |e| e.seq))).collect();
            for (channel, head) in heads {
                assert_eq!(run.broker.head(&run.channels[channel]).await.unwrap().seq, head);
            }
            run.broker.drain().await;
        });
    }
}
