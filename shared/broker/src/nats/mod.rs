//! The broker on NATS: a JetStream stream for each shard of the log, core subjects for everything else.
//!
//! What it may lose: nothing that was acknowledged, as far as the servers keep their word. A single server keeps
//! it with `sync_interval: always`; with its default it syncs every two minutes, and a power cut takes what was
//! acknowledged since. A cluster with three copies keeps it while two of them live. Live copies and what passes
//! are at most once: a subscriber is told `Lost`, and digests of the heads tell the rest. Requests die with
//! either process. Positions of one channel rise; consumers get each shard in its order.
//! The reliability page has the measurements behind each number here.

mod append;
mod connect;
mod consuming;
mod digest;
mod groups;
mod link;
mod live;
mod making;
mod options;
mod probe;
mod purge;
mod requests;
mod streams;
mod window;

pub use consuming::NatsConsumer;
pub use live::{NatsControl, NatsSubscriber};
pub use options::NatsOptions;
pub(crate) use requests::NatsReply;
pub use requests::NatsServer;

use crate::append::{Append, AppendError, Appended};
use crate::consume::{ConsumeError, Consumer, Group};
use crate::live::{PublishError, SubscribeError, Subscriber, SubscriptionControl};
use crate::log::{LogPage, ReadError, ReadLimit};
use crate::purge::{Purge, PurgeError};
use crate::request::{RequestError, ServeError, Server};
use append::Publisher;
use bytes::Bytes;
use link::{Carries, Link, Signals};
use live::{Lost, NatsSubscriber as LiveSubscriber};
use probe::{Probed, Probing};
use protocol::control::Control;
use protocol::ids::{ChannelId, Epoch, Position, Seq};
use protocol::subjects::{RequestSubject, Shard, nats};
use requests::Replier;
use runtime::admin::Readiness;
use runtime::patience;
use runtime::shutdown::{Shutdown, Stage};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use streams::Streams;
use tokio::sync::watch;
use tokio::time::timeout;
use window::Windows;

/// How long a drain waits for appends in flight. Reliability page: an attempt takes up to 2 s.
const DRAIN: Duration = Duration::from_secs(5);

/// How long what passes may wait for the connection before it is shed.
const SHED_AFTER: Duration = Duration::from_millis(100);

/// What a process without a connection lacks, as its readiness names it.
const CONNECTED: &str = "a connection to NATS";

/// Why NATS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An address that is none, or a file that cannot be read.
    #[error("NATS is configured wrong: {0}")]
    Options(String),
    /// No server answers.
    #[error("no NATS server answers at {url}")]
    Connect {
        /// What was tried, without a password.
        url: String,
        /// What the client library says.
        source: async_nats::ConnectError,
    },
    /// The server loses interest of subscribers, or lacks what the log needs.
    #[error("nats-server {found} is too old: this needs 2.12.10, or 2.14.2 and later")]
    TooOld {
        /// What it says of itself.
        found: String,
    },
    /// The server was started without JetStream.
    #[error("the NATS server has no JetStream: start it with a `jetstream` block or `-js`")]
    NoJetStream,
    /// A stream can be neither made nor looked at.
    #[error("stream {name} cannot be used: {source}")]
    Stream {
        /// Its name.
        name: String,
        /// What the server says.
        source: async_nats::Error,
    },
    /// A stream of that name is not the log.
    #[error("stream {name} is not a log of this product: its {what} is another")]
    Foreign {
        /// Its name.
        name: String,
        /// What differs.
        what: &'static str,
    },
    /// The connection ended while it was set up.
    #[error("the connection to NATS ended at once")]
    Ended,
}

impl OpenError {
    /// Whether it passes by itself: a stream without a leader cannot be used until one is chosen, one that the server
    /// cannot have will not be.
    fn passes(&self) -> bool {
        matches!(self, Self::Stream { source, .. } if !making::is_final(source))
    }
}

/// The broker on NATS; cheap to clone.
#[derive(Clone)]
pub struct Nats(Arc<Inner>);

struct Inner {
    link: Link,
    /// The connection for what passes.
    passing: Link,
    streams: Arc<Streams>,
    publisher: Publisher,
    replier: Replier,
    options: NatsOptions,
    /// Counts the times after which subscribers compare what they heard of a shard with the log.
    probed: watch::Sender<Probed>,
    /// Turns true once: everything ends.
    stopped: watch::Sender<bool>,
    shutdown: Shutdown,
}

/// Runs a task of the connection until nobody asks any more.
async fn until_closing(shutdown: Shutdown, task: impl Future<Output = ()>) {
    tokio::select! {
        () = task => {}
        () = shutdown.reached(Stage::Closing) => {}
    }
}

impl Nats {
    /// Connects, checks the server, makes the streams that are missing; waits for streams that have no leader yet.
    ///
    /// # Errors
    /// [`OpenError`] when no server answers, the one that does cannot carry the log, or a stream cannot be used for
    /// [`patience::START`].
    pub async fn connect(options: NatsOptions, shutdown: &Shutdown) -> Result<Self, OpenError> {
        // The client library's futures are large, and callers keep theirs small.
        Box::pin(Self::open(options, shutdown)).await
    }

    async fn open(options: NatsOptions, shutdown: &Shutdown) -> Result<Self, OpenError> {
        let link = Self::link(&options, Carries::Everything, shutdown).await?;
        let passing = Self::link(&options, Carries::Passing, shutdown).await?;
        let streams = || Streams::open(link.clone(), &options);
        let streams = Arc::new(patience::patiently(patience::START, OpenError::passes, streams).await?);
        let (replier, replying) = Replier::start(link.clone());
        shutdown.spawn("nats-replies", until_closing(shutdown.clone(), replying));
        let (probed, stopped) = (watch::Sender::new(Probed::default()), watch::Sender::new(false));
        // Two processes of one name must not take each other's probes for theirs.
        let process = link.client.new_inbox().replace('.', "-");
        let probing = Probing::new(link.clone(), streams.clone(), process, probed.clone());
        let probing = probing.await.map_err(|_| OpenError::Ended)?;
        shutdown.spawn("nats-probes", probing.run(stopped.subscribe()));
        let publisher = Publisher { link: link.clone(), windows: Windows::new() };
        let shutdown = shutdown.clone();
        Ok(Self(Arc::new(Inner {
            link,
            passing,
            streams,
            publisher,
            replier,
            options,
            probed,
            stopped,
            shutdown,
        })))
    }

    async fn link(options: &NatsOptions, carries: Carries, shutdown: &Shutdown) -> Result<Link, OpenError> {
        let signals = Arc::new(Signals::new(carries));
        let client = connect::connect(options, signals.clone()).await?;
        let (link, inbox) = Link::open(client, signals).await.map_err(|_| OpenError::Ended)?;
        shutdown.spawn("nats-inbox", until_closing(shutdown.clone(), inbox));
        Ok(link)
    }

    /// Withdraws the process's readiness for as long as there is no connection: whoever could be served elsewhere
    /// should go there.
    pub fn tell(&self, readiness: &Readiness) {
        let (readiness, shutdown) = (readiness.clone(), self.0.shutdown.clone());
        let mut up = self.0.link.signals.up.subscribe();
        self.0.shutdown.spawn("nats-readiness", async move {
            loop {
                if *up.borrow_and_update() {
                    readiness.met(CONNECTED);
                } else {
                    readiness.require(CONNECTED);
                }
                tokio::select! {
                    changed = up.changed() => if changed.is_err() { return },
                    () = shutdown.reached(Stage::Closing) => return,
                }
            }
        });
    }

    fn has_stopped(&self) -> bool {
        *self.0.stopped.borrow()
    }

    pub(crate) async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        if self.has_stopped() {
            return Err(AppendError::Closed);
        }
        self.0.publisher.append(&self.0.streams, append).await
    }

    pub(crate) async fn head(&self, channel: &ChannelId) -> Result<Position, ReadError> {
        self.0.streams.head(channel).await
    }

    pub(crate) fn epoch(&self, shard: Shard) -> Epoch {
        self.0.streams.epoch(shard)
    }

    pub(crate) async fn read(
        &self,
        channel: &ChannelId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<LogPage, ReadError> {
        self.0.streams.read(channel, after, limit).await
    }

    pub(crate) async fn purge(&self, purge: Purge) -> Result<u64, PurgeError> {
        if self.has_stopped() {
            return Err(PurgeError::Closed);
        }
        self.0.streams.purge(&purge).await
    }

    pub(crate) async fn subscriber(&self) -> Result<(SubscriptionControl, Subscriber), SubscribeError> {
        if self.has_stopped() {
            return Err(SubscribeError::Closed);
        }
        let lost = Lost::new(self.0.link.signals.slow.subscribe(), self.0.probed.subscribe());
        let links = (self.0.link.clone(), self.0.passing.clone());
        let subscribed = LiveSubscriber::new(links, self.0.streams.clone(), lost, self.0.stopped.subscribe());
        let (control, subscriber) = subscribed.await.map_err(|_| SubscribeError::Closed)?;
        Ok((SubscriptionControl::Nats(Box::new(control)), Subscriber::Nats(Box::new(subscriber))))
    }

    pub(crate) async fn publish(&self, channel: &ChannelId, payload: Bytes) -> Result<(), PublishError> {
        if self.has_stopped() {
            return Err(PublishError::Closed);
        }
        // What passes is the first to be shed: it does not wait for a connection that is down.
        if !self.0.passing.is_connected() {
            return Ok(());
        }
        // Nor for one that takes nothing.
        let sent = timeout(SHED_AFTER, self.0.passing.client.publish(nats::passing(channel), payload)).await;
        sent.unwrap_or(Ok(())).map_err(|_| PublishError::Closed)
    }

    pub(crate) async fn announce(&self, control: &Control) -> Result<(), PublishError> {
        if self.has_stopped() {
            return Err(PublishError::Closed);
        }
        if !*self.0.link.signals.up.borrow() {
            return Err(PublishError::Unreachable);
        }
        let Ok(payload) = serde_json::to_vec(control).map(Bytes::from) else { return Ok(()) };
        self.0.link.client.publish(nats::CONTROL, payload).await.map_err(|_| PublishError::Closed)
    }

    pub(crate) async fn consume(&self, group: Group) -> Result<Consumer, ConsumeError> {
        if self.has_stopped() {
            return Err(ConsumeError::Closed);
        }
        consuming::ensure(&self.0.streams, group, self.0.options.ack_wait).await?;
        let (link, replier, streams) = (self.0.link.clone(), self.0.replier.clone(), self.0.streams.clone());
        let member = NatsConsumer::new(
            link,
            replier,
            streams,
            (group, self.0.options.ack_wait),
            self.0.stopped.subscribe(),
        );
        Ok(Consumer::Nats(Box::new(member.await?)))
    }

    pub(crate) async fn settled(&self, group: Group, shard: Shard) -> Result<Seq, ReadError> {
        self.0.streams.settled(group, shard).await
    }

    pub(crate) async fn acknowledged(&self, group: Group) -> Result<Vec<(Shard, Position)>, ReadError> {
        self.0.streams.acknowledged(group).await
    }

    pub(crate) async fn purged(&self) -> Result<Vec<(Shard, Position)>, ReadError> {
        self.0.streams.purged().await
    }

    pub(crate) async fn begin_again(&self, group: Group) -> Result<(), ConsumeError> {
        consuming::begin_again(&self.0.streams, group, self.0.options.ack_wait).await
    }

    pub(crate) async fn request(
        &self,
        subject: RequestSubject,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        if self.has_stopped() {
            return Err(RequestError::Closed);
        }
        let answer = requests::request(&self.0.link, subject, payload, deadline).await;
        answer.map_err(|error| match error {
            RequestError::NoResponders if self.has_stopped() => RequestError::Closed,
            other => other,
        })
    }

    pub(crate) async fn serve(&self, subject: RequestSubject) -> Result<Server, ServeError> {
        if self.has_stopped() {
            return Err(ServeError::Closed);
        }
        let (link, replier) = (&self.0.link, &self.0.replier);
        let stopped = self.0.stopped.subscribe();
        Ok(Server::Nats(NatsServer::start(link, replier, subject, stopped, &self.0.shutdown).await?))
    }

    pub(crate) async fn digest(&self) {
        let (link, streams) = (self.0.link.clone(), self.0.streams.clone());
        digest::run(link, streams, self.0.stopped.subscribe()).await;
    }

    pub(crate) async fn drain(&self) {
        self.0.publisher.windows.close(DRAIN).await;
        self.0.stopped.send_replace(true);
        self.0.replier.flush().await;
    }
}
