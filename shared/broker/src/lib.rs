//! One way to move bytes: a durable log per channel, live copies of it, ephemeral events, requests.
//!
//! The set of adapters is closed, hence an enum. What each may lose stands in its own documentation; the
//! behaviour common to all is `tests/contract`. Architecture Invariants: only the broker assigns `seq`; an
//! append is answered after it is durable and after its live copy went out; every queue has a bound.
#![warn(missing_docs)]

mod append;
mod consume;
mod embedded;
mod live;
mod log;
mod metrics;
mod nats;
mod purge;
mod request;

pub use append::{Append, AppendError, Appended};
pub use consume::{ConsumeError, Consumer, Delivery, DeliveryId, Group};
pub use embedded::{
    Embedded, EmbeddedConsumer, EmbeddedControl, EmbeddedServer, EmbeddedSubscriber, OpenError, Options,
};
pub use live::{LiveEvent, PublishError, SubscribeError, Subscriber, SubscriptionControl};
pub use log::{Entry, LogPage, ReadError, ReadLimit};
pub use nats::{
    Nats, NatsConsumer, NatsControl, NatsOptions, NatsServer, NatsSubscriber, OpenError as NatsOpenError,
};
pub use purge::{Purge, PurgeError};
pub use request::{ReplyHandle, Request, RequestError, ServeError, Server};

use bytes::Bytes;
use protocol::control::Control;
use protocol::ids::{ChannelId, Epoch, Position, Seq};
use protocol::subjects::{RequestSubject, Shard};
use std::time::Duration;

/// A connection to whatever moves the bytes; cheap to clone.
#[derive(Clone)]
pub enum Broker {
    /// In this process, durable on its disk.
    Embedded(Embedded),
    /// NATS with JetStream.
    Nats(Nats),
}

impl Broker {
    /// Appends to a channel's log; completes after the entry is durable and its live copy went out.
    ///
    /// # Errors
    /// [`AppendError`], which says whether the entry may have been appended all the same.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the outcome unknown; the same `dedup_key` may be appended again.
    pub async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        match self {
            Self::Embedded(embedded) => embedded.append(append).await,
            Self::Nats(nats) => nats.append(append).await,
        }
    }

    /// Returns a channel's head: the position of its newest entry, or up to where its shard was purged when that is
    /// further; seq 0 for neither. It never goes back.
    ///
    /// # Errors
    /// [`ReadError`] when the log cannot be asked.
    pub async fn head(&self, channel: &ChannelId) -> Result<Position, ReadError> {
        match self {
            Self::Embedded(embedded) => Ok(embedded.head(channel)),
            Self::Nats(nats) => nats.head(channel).await,
        }
    }

    /// Returns the name of the running log's life in a shard.
    pub fn epoch(&self, shard: Shard) -> Epoch {
        match self {
            Self::Embedded(embedded) => embedded.epoch(),
            Self::Nats(nats) => nats.epoch(shard),
        }
    }

    /// Reads a channel's entries after `after`, ascending.
    ///
    /// # Errors
    /// [`ReadError`] when the log cannot be read now.
    pub async fn read(
        &self,
        channel: &ChannelId,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<LogPage, ReadError> {
        match self {
            Self::Embedded(embedded) => embedded.read(channel, after, limit).await,
            Self::Nats(nats) => nats.read(channel, after, limit).await,
        }
    }

    /// Makes this process a subscriber, with no slot yet. One per gateway.
    ///
    /// # Errors
    /// [`SubscribeError`] when the broker takes none.
    pub async fn subscriber(&self) -> Result<(SubscriptionControl, Subscriber), SubscribeError> {
        match self {
            Self::Embedded(embedded) => embedded.subscriber(),
            Self::Nats(nats) => nats.subscriber().await,
        }
    }

    /// Sends an ephemeral event to whoever subscribes to the channel's slot: at most once, in no order with
    /// durable events.
    ///
    /// # Errors
    /// [`PublishError`] when it certainly went nowhere.
    pub async fn publish(&self, channel: &ChannelId, payload: Bytes) -> Result<(), PublishError> {
        match self {
            Self::Embedded(embedded) => embedded.publish(channel, payload),
            Self::Nats(nats) => nats.publish(channel, payload).await,
        }
    }

    /// Tells every subscriber, whatever slots it has: at most once, in no order with anything else.
    ///
    /// # Errors
    /// [`PublishError`] when it certainly went nowhere.
    pub async fn announce(&self, control: Control) -> Result<(), PublishError> {
        match self {
            Self::Embedded(embedded) => embedded.announce(&control),
            Self::Nats(nats) => nats.announce(&control).await,
        }
    }

    /// Joins a group that shares the log's entries; a new group starts at the first entry.
    ///
    /// # Errors
    /// [`ConsumeError`] when the broker stops.
    pub async fn consume(&self, group: Group) -> Result<Consumer, ConsumeError> {
        match self {
            Self::Embedded(embedded) => embedded.consume(group),
            Self::Nats(nats) => nats.consume(group).await,
        }
    }

    /// Returns up to where a group has certainly acknowledged every entry of a shard, as of a moment ago; `None` when
    /// its entries are handled one after the other, so that nothing is missing before one that was handled.
    ///
    /// # Errors
    /// [`ReadError`] when the broker cannot be asked.
    pub async fn settled(&self, group: Group, shard: Shard) -> Result<Option<Seq>, ReadError> {
        match self {
            // One process owns the log, and in it one member persists.
            Self::Embedded(_) => Ok(None),
            Self::Nats(nats) => nats.settled(group, shard).await.map(Some),
        }
    }

    /// Returns the last of the entries up to which a group has acknowledged everything: of each shard on NATS, of the
    /// whole log in one process. None where it has acknowledged nothing, or that entry was purged.
    ///
    /// # Errors
    /// [`ReadError`] when the broker cannot be asked.
    pub async fn acknowledged(&self, group: Group) -> Result<Vec<(Shard, Position)>, ReadError> {
        match self {
            Self::Embedded(embedded) => Ok(embedded.acknowledged(group).await?.into_iter().collect()),
            Self::Nats(nats) => nats.acknowledged(group).await,
        }
    }

    /// Returns up to where each shard was purged, of those that were.
    ///
    /// # Errors
    /// [`ReadError`] when the broker cannot be asked.
    pub async fn purged(&self) -> Result<Vec<(Shard, Position)>, ReadError> {
        match self {
            Self::Embedded(embedded) => Ok(embedded.purged()),
            Self::Nats(nats) => nats.purged().await,
        }
    }

    /// Lets a group that lost its work begin at the first entry again; in one process before anybody has joined it.
    /// After a crash on the way it begins once more, or goes on from where it was.
    ///
    /// # Errors
    /// [`ConsumeError`] when the broker cannot do it now.
    pub async fn begin_again(&self, group: Group) -> Result<(), ConsumeError> {
        match self {
            Self::Embedded(embedded) => {
                embedded.begin_again(group);
                Ok(())
            }
            Self::Nats(nats) => nats.begin_again(group).await,
        }
    }

    /// Forgets old entries, a few at a time beside appends; returns how many. Heads and positions go on rising,
    /// pages say their floor, groups go on with what is left.
    ///
    /// # Errors
    /// [`PurgeError`]; what was forgotten by then stays forgotten.
    ///
    /// # Cancel safety
    /// Dropping the future ends the purge where it is.
    pub async fn purge(&self, purge: Purge) -> Result<u64, PurgeError> {
        let purged = match self {
            Self::Embedded(embedded) => embedded.purge(purge).await,
            Self::Nats(nats) => nats.purge(purge).await,
        }?;
        ::metrics::counter!(metrics::PURGED).increment(purged);
        Ok(purged)
    }

    /// Asks whoever serves the subject.
    ///
    /// # Errors
    /// [`RequestError`], which says whether it may have been served all the same.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the outcome unknown.
    pub async fn request(
        &self,
        subject: RequestSubject,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        match self {
            Self::Embedded(embedded) => embedded.request(subject, payload, deadline).await,
            Self::Nats(nats) => nats.request(subject, payload, deadline).await,
        }
    }

    /// Serves a subject; several servers of one subject share its requests.
    ///
    /// # Errors
    /// [`ServeError`] when the broker stops.
    pub async fn serve(&self, subject: RequestSubject) -> Result<Server, ServeError> {
        match self {
            Self::Embedded(embedded) => embedded.serve(subject),
            Self::Nats(nats) => nats.serve(subject).await,
        }
    }

    /// Tells subscribers which heads changed lately, until the broker stops. The embedded broker's subscribers need
    /// no telling: what it drops it marks as lost.
    pub async fn digest(&self) {
        match self {
            Self::Embedded(_) => {}
            Self::Nats(nats) => nats.digest().await,
        }
    }

    /// Takes nothing new, finishes what was taken, ends consumers, subscribers and servers.
    pub async fn drain(&self) {
        match self {
            Self::Embedded(embedded) => embedded.drain().await,
            Self::Nats(nats) => nats.drain().await,
        }
    }
}
