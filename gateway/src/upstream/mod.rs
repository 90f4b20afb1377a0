//! The broker's side of a gateway: which channels are followed, up to where, and who is told what in which order.
//!
//! One task owns all of it. Per channel it keeps a `tail` (cursor and newest events); per reactor it keeps a
//! list of what is still to be told. The rings are the queue: a reactor that is behind costs nothing but its
//! list, and gets the events from the ring when its queue has room again. Architecture Invariant: whatever a
//! reactor gets of one channel - answer to a subscription, events, pages - comes through one queue in one order.

mod asking;
mod budget;
mod envelopes;
pub(crate) mod event;
mod followed;
mod following;
pub(crate) mod pages;
mod quiet;
mod reactors;
mod slots;
pub(crate) mod tail;
mod typing;

#[cfg(test)]
mod tests;

use crate::hub::{ConnectionId, Ticket};
use broker::{Broker, LiveEvent, Subscriber};
use bytes::Bytes;
use event::{Event, Passing};
use following::{Following, Job, Subscription};
use futures_util::stream::{FuturesUnordered, StreamExt};
use pages::Start;
use protocol::control::Control;
use protocol::frames::Dialect;
use protocol::ids::{ChannelId, Position, Seq};
use protocol::limits::PAGE_BYTES_MAX;
use protocol::subjects::Shard;
use reactors::Reactors;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tail::Doubt;
use tokio::sync::mpsc;

/// Names a reactor of this gateway, `0..`.
pub(crate) type ReactorId = usize;

/// What a reactor asks for.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Tell me of this channel; answered by `Tell::Subscribed` or `Tell::Failed` under the ticket.
    Subscribe { reactor: ReactorId, channel: ChannelId, ticket: Ticket },
    /// Tell me no more of it.
    Unsubscribe { reactor: ReactorId, channel: ChannelId },
    /// Make a page of what happened after a position; answered by `Tell::Page`.
    Page(PageAsked),
}

/// A page that a socket waits for.
#[derive(Debug, Clone)]
pub(crate) struct PageAsked {
    pub(crate) reactor: ReactorId,
    pub(crate) connection: ConnectionId,
    pub(crate) dialect: Dialect,
    pub(crate) start: Start,
    /// Whether it waits for nobody who looks from another place of the channel.
    pub(crate) alone: bool,
}

/// What a reactor is told, in this order.
pub(crate) enum Tell {
    /// The channel is followed from this cursor on.
    Subscribed { channel: ChannelId, ticket: Ticket, cursor: Position },
    /// The channel cannot be followed now.
    Failed { channel: ChannelId, ticket: Ticket },
    /// The next event of a channel.
    Event(Arc<Event>),
    /// The channel's log began anew: what was said of its positions holds no more. `Subscribed` follows under the same
    /// ticket.
    AnotherLife { channel: ChannelId, ticket: Ticket },
    /// This reactor was so far behind that the ring has moved on: its sockets must resume this channel.
    Behind { channel: ChannelId, cursor: Seq },
    /// Something that is not kept.
    Passing(Arc<Passing>),
    /// Something that concerns people, in no order with events.
    Control(Arc<Control>),
    /// Live copies were dropped, so announcements may have been, too.
    Lost,
    /// The answer to `Ask::Page`.
    Page { connection: ConnectionId, channel: ChannelId, page: Page },
}

/// A page of `resumed`.
#[derive(Clone)]
pub(crate) enum Page {
    /// Everything up to where the reactor is now: the channel is Live from here on. No frame: nothing was new.
    Last(Option<Bytes>),
    /// A full page; the client asks for the next one.
    More(Bytes),
    /// Neither log nor worker answered.
    Failed,
}

/// Batches that wait for one reactor. When full, the list of what is to be told grows in the rings instead.
pub(crate) const BATCHES: usize = 16;

/// Questions that wait for upstream; when full, the reactor's own list waits.
pub(crate) const ASKS: usize = 1_024;

type Jobs = FuturesUnordered<Pin<Box<dyn Future<Output = Job> + Send>>>;

/// Live events taken in one turn before the reactors are told. Chosen: as many as a ring keeps.
const TURN_EVENTS_MAX: usize = 256;

/// Bytes of their envelopes after which the turn ends. Chosen: half of what a ring keeps, so that none moves on before
/// its reactors are told.
const TURN_BYTES_MAX: usize = PAGE_BYTES_MAX;

/// Between two looks for rings and pages that were kept for long enough.
const OLD_LOOK: Duration = Duration::from_secs(10);

/// The one task of upstream.
pub(crate) struct Upstream {
    asks: mpsc::Receiver<Ask>,
    subscriber: Subscriber,
    following: Following,
    reactors: Reactors,
    jobs: Jobs,
}

impl Upstream {
    /// Subscribes at the broker; `tells` has one queue per reactor.
    ///
    /// # Errors
    /// The broker's, when it takes no subscriber.
    pub(crate) async fn open(
        broker: Broker,
        asks: mpsc::Receiver<Ask>,
        tells: Vec<mpsc::Sender<Vec<Tell>>>,
    ) -> Result<Self, broker::SubscribeError> {
        let (control, subscriber) = broker.subscriber().await?;
        let following = Following::new(broker, control);
        Ok(Self { asks, subscriber, following, reactors: Reactors::new(tells), jobs: Jobs::new() })
    }

    /// Runs until every reactor is gone or the broker ends the subscription.
    pub(crate) async fn run(mut self) {
        let mut looks = tokio::time::interval(OLD_LOOK);
        loop {
            self.reactors.tell(&mut self.following, &mut self.jobs);
            // Who has room was told: what goes now is missed only by who was behind for long.
            self.following.drop_old(runtime::clock::uptime_ms());
            tokio::select! {
                // Each arm is cancel safe: two receivers, a set of owned futures, permits kept in the set, a timer.
                event = self.subscriber.next() => match event {
                    Some(event) => self.take(event),
                    None => return,
                },
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.answer(ask),
                    None => return,
                },
                Some(job) = self.jobs.next() => self.finish(job),
                () = self.reactors.room() => {}
                _ = looks.tick() => {}
            }
        }
    }

    /// Takes a live event and whatever else is there already, so that a burst is told as one batch.
    fn take(&mut self, first: LiveEvent) {
        let mut bytes = self.take_one(first);
        for _ in 1..TURN_EVENTS_MAX {
            if bytes >= TURN_BYTES_MAX {
                return;
            }
            let Some(event) = self.subscriber.try_next() else { return };
            bytes += self.take_one(event);
        }
    }

    /// Takes a live event; returns the bytes of its envelope.
    fn take_one(&mut self, event: LiveEvent) -> usize {
        match event {
            LiveEvent::Durable { channel, prev, position, envelope } => {
                self.following.notice_life(&channel, &position.epoch, &mut self.reactors, &self.jobs);
                self.following.on_live(&channel, (position.seq, prev), &envelope, &self.jobs);
                self.following.list_news(&channel, &mut self.reactors);
                envelope.len()
            }
            LiveEvent::Ephemeral { channel, payload } => {
                self.following.on_passing(&channel, &payload, &mut self.reactors);
                0
            }
            LiveEvent::Heads { epoch, heads } => {
                self.following.on_heads(&epoch, &heads, &mut self.reactors, &self.jobs);
                0
            }
            LiveEvent::Control(control) => {
                self.reactors.control(&Arc::new(control));
                0
            }
            LiveEvent::Lost(shard) => self.doubt(Doubt::Lost, shard),
            LiveEvent::CutOff(shard) => self.doubt(Doubt::CutOff, shard),
        }
    }

    fn doubt(&mut self, doubt: Doubt, shard: Option<Shard>) -> usize {
        self.reactors.lost();
        self.following.on_doubt((doubt, shard), &mut self.reactors, &self.jobs);
        0
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Subscribe { reactor, channel, ticket } => {
                let asked = Subscription { reactor, channel, ticket };
                self.following.subscribe(asked, &mut self.reactors, &self.jobs);
            }
            Ask::Unsubscribe { reactor, channel } => {
                self.following.unsubscribe(reactor, &channel, &self.jobs);
            }
            Ask::Page(asked) => self.reactors.page(asked),
        }
    }

    fn finish(&mut self, job: Job) {
        match job {
            Job::Slots { unread } => self.following.on_slots(unread, &self.jobs),
            Job::Head { channel, generation, head } => {
                self.following.on_head((&channel, generation), head, &mut self.reactors, &self.jobs);
            }
            Job::Read { channel, generation, page } => {
                self.following.on_read(&channel, generation, page, &self.jobs);
                self.following.list_news(&channel, &mut self.reactors);
            }
            Job::Looked(draft) => self.following.on_looked(draft, &mut self.reactors),
        }
    }
}
