//! Where a broker of one kind lives, and small words for what all behaviours say.

use broker::{Append, Appended, Broker, Group, LogPage, Options, ReadLimit};
use bytes::Bytes;
use protocol::ids::{ChannelId, Position, Seq};
use protocol::subjects::Slot;
use std::future::Future;
use std::time::Duration;

/// Groups that a contract needs.
pub(crate) const PERSISTENCE: Group = named("persistence");
pub(crate) const SEARCH: Group = named("search");

pub(crate) const fn named(name: &'static str) -> Group {
    match Group::new(name) {
        Some(group) => group,
        None => panic!("a group's name is lower case"),
    }
}

/// How long anything may take before the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// What a behaviour wants of a broker, beside its defaults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wishes {
    pub(crate) dedup_window: Duration,
    pub(crate) ack_wait: Duration,
    pub(crate) live_queue: usize,
}

impl Default for Wishes {
    fn default() -> Self {
        let Options { dedup_window, ack_wait, live_queue } = Options::default();
        Self { dedup_window, ack_wait, live_queue }
    }
}

/// One adapter's data and how to open it, again and again; the one before was drained.
pub(crate) trait World: Sync {
    fn open_with(&self, wishes: Wishes) -> impl Future<Output = Broker> + Send;

    fn open(&self) -> impl Future<Output = Broker> + Send {
        self.open_with(Wishes::default())
    }

    /// A clean stop and a start.
    fn restart(&self, broker: Broker) -> impl Future<Output = Broker> + Send {
        async move {
            broker.drain().await;
            drop(broker);
            self.open().await
        }
    }

    /// An abrupt end, after which nothing more is written, and a start.
    fn crash(&self, broker: Broker) -> impl Future<Output = Broker> + Send;
}

pub(crate) fn channel(name: &str) -> ChannelId {
    ChannelId::parse(name).unwrap()
}

/// Two channels of one shard and slot, and one of another shard.
pub(crate) fn neighbours() -> (ChannelId, ChannelId, ChannelId) {
    let home = channel("general");
    let names = || (0..).map(|n| channel(&format!("c{n}")));
    let near = names().find(|other| Slot::of(other) == Slot::of(&home)).unwrap();
    let far = names().find(|other| Slot::of(other).shard != Slot::of(&home).shard).unwrap();
    (home, near, far)
}

pub(crate) fn entry(channel: &ChannelId, key: u128, envelope: &str) -> Append {
    let envelope = Bytes::copy_from_slice(envelope.as_bytes());
    Append { channel: channel.clone(), dedup_key: key, envelope, expect: None }
}

/// Appends something new; its key is taken from its text.
pub(crate) async fn append(broker: &Broker, channel: &ChannelId, text: &str) -> Position {
    let key = protocol::subjects::dedup_key([channel.as_str(), "", text]);
    match broker.append(entry(channel, key, text)).await.unwrap() {
        Appended::New { position } => position,
        other => panic!("{text} is new: {other:?}"),
    }
}

/// Everything that a channel's log holds.
pub(crate) async fn whole(broker: &Broker, channel: &ChannelId) -> LogPage {
    broker.read(channel, 0, ReadLimit { entries: usize::MAX, bytes: usize::MAX }).await.unwrap()
}

pub(crate) fn texts(page: &LogPage) -> Vec<String> {
    page.entries.iter().map(|entry| text(&entry.envelope)).collect()
}

pub(crate) fn seqs(page: &LogPage) -> Vec<Seq> {
    page.entries.iter().map(|entry| entry.seq).collect()
}

pub(crate) fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Fails when it takes too long.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}
