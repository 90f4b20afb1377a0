//! The channels that some reactor of this gateway hears: their tails, and how far each reactor was told.

use super::asking::{READ, in_time, newer};
use super::envelopes::{decode, decoded};
use super::event::Passing;
use super::pages::{Draft, Outcome};
use super::reactors::Reactors;
use super::rings::Rings;
use super::tail::{Next, Tail};
use super::typing::Typing;
use super::{Jobs, ReactorId, Tell};
use crate::hub::Ticket;
use broker::{Broker, LogPage, ReadError, SubscriptionControl};
use bytes::Bytes;
use protocol::envelope::Logged;
use protocol::ephemeral::Ephemeral;
use protocol::ids::{ChannelId, Epoch, Position, Seq};
use protocol::subjects::Slot;
use runtime::backoff::{self, Backoff};
use runtime::clock::uptime_ms;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Reads of the log under way at once, the others wait. Chosen: more would only queue at the disk.
const READS_MAX: usize = 16;

/// Below how much the first try to read a log again waits that could not be read, and how far that bound doubles.
/// Chosen: the channels of a busy gateway do not flood a log that is in trouble, and a person still waits for it.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// A broker's answer that upstream waited for.
pub(super) enum Job {
    Read {
        channel: ChannelId,
        generation: u64,
        page: Result<Option<LogPage>, ReadError>,
    },
    PageRead {
        draft: Draft,
        page: Result<LogPage, ReadError>,
    },
    /// The slots are subscribed as they were asked for up to here.
    Slots {
        heads: Vec<(ChannelId, u64, Option<Position>)>,
    },
}

pub(super) struct Following {
    broker: Broker,
    control: SubscriptionControl,
    channels: HashMap<ChannelId, Followed>,
    /// Followed channels of each slot that is subscribed.
    slots: HashMap<Slot, usize>,
    /// What is to be done at the broker's subscription, in order; one job at a time does all of it.
    wanted: Vec<Wanted>,
    slots_busy: bool,
    generations: u64,
    reads: Arc<Semaphore>,
    rings: Rings,
}

enum Wanted {
    Add(Slot),
    Remove(Slot),
    Head { channel: ChannelId, generation: u64 },
}

/// What a reactor wants to hear.
pub(super) struct Subscription {
    pub(super) reactor: ReactorId,
    pub(super) channel: ChannelId,
    pub(super) ticket: Ticket,
}

struct Followed {
    /// Tells this following of a channel from an earlier one, for answers that come late.
    generation: u64,
    tail: Tail,
    started: bool,
    readers: Vec<Reader>,
    /// Between tries to read a log that cannot be read.
    retry: Backoff,
    typing: Typing,
}

impl Followed {
    fn new(generation: u64, tail: Tail, reader: Reader) -> Self {
        let retry = Backoff::new(RETRY.0, RETRY.1);
        Self { generation, tail, started: false, readers: vec![reader], retry, typing: Typing::default() }
    }
}

struct Reader {
    reactor: ReactorId,
    ticket: Ticket,
    /// Up to where the reactor was told; `None` until its subscription is answered.
    sent: Option<Seq>,
    /// News of this channel are on the reactor's list.
    listed: bool,
}

impl Following {
    pub(super) fn new(broker: Broker, control: SubscriptionControl) -> Self {
        Self {
            broker,
            control,
            channels: HashMap::new(),
            slots: HashMap::new(),
            wanted: Vec::new(),
            slots_busy: false,
            generations: 0,
            reads: Arc::new(Semaphore::new(READS_MAX)),
            rings: Rings::default(),
        }
    }

    pub(super) fn subscribe(&mut self, asked: Subscription, reactors: &mut Reactors, jobs: &Jobs) {
        let Subscription { reactor, channel, ticket } = asked;
        let reader = Reader { reactor, ticket, sent: None, listed: false };
        if let Some(followed) = self.channels.get_mut(&channel) {
            followed.readers.retain(|reader| reader.reactor != reactor);
            followed.readers.push(reader);
            if followed.started {
                reactors.subscribed(reactor, channel, ticket);
            }
            return;
        }
        self.generations += 1;
        let slot = Slot::of(&channel);
        let tail = Tail::starting(self.broker.epoch(slot.shard));
        self.channels.insert(channel.clone(), Followed::new(self.generations, tail, reader));
        let users = self.slots.entry(slot).or_default();
        *users += 1;
        if *users == 1 {
            self.wanted.push(Wanted::Add(slot));
        }
        self.wanted.push(Wanted::Head { channel, generation: self.generations });
        self.work_slots(jobs);
    }

    pub(super) fn unsubscribe(&mut self, reactor: ReactorId, channel: &ChannelId, jobs: &Jobs) {
        let Some(followed) = self.channels.get_mut(channel) else { return };
        followed.readers.retain(|reader| reader.reactor != reactor);
        if followed.readers.is_empty() {
            self.forget(channel);
            self.work_slots(jobs);
        }
    }

    fn forget(&mut self, channel: &ChannelId) {
        if self.channels.remove(channel).is_none() {
            return;
        }
        self.rings.forget(channel);
        let slot = Slot::of(channel);
        if let Some(users) = self.slots.get_mut(&slot) {
            *users -= 1;
            if *users == 0 {
                self.slots.remove(&slot);
                self.wanted.push(Wanted::Remove(slot));
            }
        }
    }

    /// Does what is wanted at the broker's subscription, in the order in which it was wanted: an add that
    /// overtook a remove would end a subscription that somebody relies on.
    fn work_slots(&mut self, jobs: &Jobs) {
        if self.slots_busy || self.wanted.is_empty() {
            return;
        }
        self.slots_busy = true;
        let (broker, control, wanted) =
            (self.broker.clone(), self.control.clone(), std::mem::take(&mut self.wanted));
        jobs.push(Box::pin(async move {
            let mut heads = Vec::new();
            for wanted in wanted {
                match wanted {
                    Wanted::Add(slot) => control.add(slot).await,
                    Wanted::Remove(slot) => control.remove(slot).await,
                    Wanted::Head { channel, generation } => {
                        let head = in_time(broker.head(&channel)).await;
                        let head = head.inspect_err(|error| tracing::warn!(%error, %channel, "no head"));
                        heads.push((channel, generation, head.ok()));
                    }
                }
            }
            Job::Slots { heads }
        }));
    }

    /// The subscription stands and the heads were read behind it: from here on nothing is missed.
    pub(super) fn on_slots(
        &mut self,
        heads: Vec<(ChannelId, u64, Option<Position>)>,
        reactors: &mut Reactors,
        jobs: &Jobs,
    ) {
        self.slots_busy = false;
        for (channel, generation, head) in heads {
            let Some(followed) = self.channels.get_mut(&channel).filter(|f| f.generation == generation)
            else {
                continue;
            };
            let readers: Vec<_> =
                followed.readers.iter().map(|reader| (reader.reactor, reader.ticket)).collect();
            if let Some(head) = head {
                followed.started = true;
                let next = followed.tail.start(head.seq);
                readers.into_iter().for_each(|(id, ticket)| reactors.subscribed(id, channel.clone(), ticket));
                self.follow_up(&channel, next, jobs);
            } else {
                readers.into_iter().for_each(|(id, ticket)| reactors.failed(id, channel.clone(), ticket));
                self.forget(&channel);
            }
        }
        self.work_slots(jobs);
    }

    /// Takes a live copy as the broker sent it.
    pub(super) fn on_live(&mut self, channel: &ChannelId, place: (Seq, Seq), envelope: &Bytes, jobs: &Jobs) {
        let (seq, prev) = place;
        let Some(followed) = self.channels.get_mut(channel) else { return };
        let Some(envelope) = decode(channel, seq, envelope) else { return };
        let next = followed.tail.on_live(Logged { seq, prev, envelope });
        self.follow_up(channel, next, jobs);
    }

    /// Something newest was dropped on the way, nobody knows of which channel: the log knows.
    pub(super) fn on_lost(&mut self, jobs: &Jobs) {
        metrics::counter!(crate::metrics::LIVE_LOST).increment(1);
        let channels: Vec<ChannelId> = self.channels.keys().cloned().collect();
        for channel in channels {
            let Some(followed) = self.channels.get_mut(&channel) else { continue };
            let next = followed.tail.on_lost();
            self.follow_up(&channel, next, jobs);
        }
    }

    /// Compares what came with what is logged; what is missing is read.
    pub(super) fn on_heads(&mut self, epoch: &Epoch, heads: &[(ChannelId, Seq)], jobs: &Jobs) {
        for (channel, seq) in heads {
            let Some(followed) = self.channels.get_mut(channel) else { continue };
            if followed.tail.epoch() == epoch && followed.tail.cursor() < *seq {
                let next = followed.tail.on_lost();
                self.follow_up(channel, next, jobs);
            }
        }
    }

    pub(super) fn on_read(
        &mut self,
        channel: &ChannelId,
        generation: u64,
        page: Result<Option<LogPage>, ReadError>,
        jobs: &Jobs,
    ) {
        let Some(followed) = self.channels.get_mut(channel).filter(|f| f.generation == generation) else {
            return;
        };
        let next = match page {
            Ok(None) => followed.tail.on_read(Vec::new(), 0, true),
            Ok(Some(page)) => {
                let last = page.entries.last().map_or(followed.tail.cursor(), |entry| entry.seq);
                followed.tail.on_read(decoded(page.entries), last, page.end)
            }
            Err(error) => {
                tracing::warn!(%error, %channel, "the log cannot be read to repair a gap");
                metrics::counter!(crate::metrics::LOG_READS_FAILED).increment(1);
                let delay = followed.retry.next(backoff::random());
                return self.read(channel, delay, jobs);
            }
        };
        followed.retry.reset();
        self.follow_up(channel, next, jobs);
    }

    fn follow_up(&mut self, channel: &ChannelId, next: Next, jobs: &Jobs) {
        if let Some(followed) = self.channels.get(channel) {
            self.rings.hold(channel, followed.tail.ring_bytes(), uptime_ms());
        }
        if next == Next::Read {
            self.read(channel, Duration::ZERO, jobs);
        }
    }

    /// Lets those rings go that are too much, or were quiet too long.
    pub(super) fn drop_rings(&mut self, now_ms: u64) {
        while let Some(channel) = self.rings.surplus(now_ms) {
            if let Some(followed) = self.channels.get_mut(&channel) {
                followed.tail.drop_ring();
            }
        }
    }

    fn read(&self, channel: &ChannelId, delay: Duration, jobs: &Jobs) {
        let Some(followed) = self.channels.get(channel) else { return };
        metrics::counter!(crate::metrics::LOG_READS).increment(1);
        let (after, generation) = (followed.tail.read_after(), followed.generation);
        let (broker, reads, channel) = (self.broker.clone(), self.reads.clone(), channel.clone());
        jobs.push(Box::pin(async move {
            tokio::time::sleep(delay).await;
            // A closed semaphore is impossible: it lives as long as the jobs' owner.
            let _permit = reads.acquire().await;
            let page = newer(&broker, &channel, after).await;
            Job::Read { channel, generation, page }
        }));
    }

    /// Reads the log for a page whose beginning the ring has forgotten.
    pub(super) fn read_for(&self, draft: Draft, jobs: &Jobs) {
        let (broker, reads) = (self.broker.clone(), self.reads.clone());
        jobs.push(Box::pin(async move {
            let _permit = reads.acquire().await;
            let page = in_time(broker.read(draft.channel(), draft.reached(), READ)).await;
            Job::PageRead { draft, page }
        }));
    }

    /// Puts news of a channel on the list of each reactor that does not have them there yet.
    pub(super) fn list_news(&mut self, channel: &ChannelId, reactors: &mut Reactors) {
        let Some(followed) = self.channels.get_mut(channel) else { return };
        let cursor = followed.tail.cursor();
        for reader in &mut followed.readers {
            if !reader.listed && reader.sent.is_some_and(|sent| sent < cursor) {
                reader.listed = true;
                reactors.news(reader.reactor, channel.clone());
            }
        }
    }

    pub(super) fn on_passing(&mut self, channel: &ChannelId, payload: &[u8], reactors: &mut Reactors) {
        let Some(followed) = self.channels.get_mut(channel) else { return };
        let Ok(ephemeral) = protocol::requests::decode::<Ephemeral>(payload) else { return };
        if !followed.typing.passes(&ephemeral, uptime_ms()) {
            metrics::counter!(crate::metrics::PASSING_DROPPED).increment(1);
            return;
        }
        let passing = Arc::new(Passing::new(ephemeral));
        for reader in &followed.readers {
            reactors.passing(reader.reactor, passing.clone());
        }
    }

    fn reader(&mut self, reactor: ReactorId, channel: &ChannelId) -> Option<(&Tail, &mut Reader)> {
        let followed = self.channels.get_mut(channel)?;
        let reader = followed.readers.iter_mut().find(|reader| reader.reactor == reactor)?;
        Some((&followed.tail, reader))
    }

    /// Answers a subscription, unless it was given up meanwhile.
    pub(super) fn tell_subscribed(
        &mut self,
        reactor: ReactorId,
        channel: ChannelId,
        ticket: Ticket,
    ) -> Option<Tell> {
        let (tail, reader) = self.reader(reactor, &channel).filter(|(_, reader)| reader.ticket == ticket)?;
        reader.sent = Some(tail.cursor());
        let cursor = tail.position();
        Some(Tell::Subscribed { channel, ticket, cursor })
    }

    /// Tells a reactor every event it was not told yet.
    pub(super) fn tell_news(&mut self, reactor: ReactorId, channel: &ChannelId, batch: &mut Vec<Tell>) {
        let Some((tail, reader)) = self.reader(reactor, channel) else { return };
        reader.listed = false;
        let Some(sent) = reader.sent else { return };
        match tail.after(sent) {
            Some(events) => batch.extend(events.cloned().map(Tell::Event)),
            None => batch.push(Tell::Behind { channel: channel.clone(), cursor: tail.cursor() }),
        }
        reader.sent = Some(tail.cursor());
    }

    /// Makes the page that a socket of a reactor waits for; `None` when the reactor does not hear the channel.
    pub(super) fn tell_page(&mut self, reactor: ReactorId, draft: Draft) -> Option<Outcome> {
        let (tail, reader) = self.reader(reactor, draft.channel())?;
        Some(draft.finish(tail, reader.sent?))
    }
}
