//! The channels that some reactor of this gateway hears: their tails, and how far each reactor was told.

use super::asking::Asking;
use super::budget::Budget;
use super::envelopes::{decode, decoded};
use super::event::Passing;
use super::followed::{Followed, Reader};
use super::pages::Draft;
use super::pages::shared::{Shared, Turn, Waited};
use super::reactors::Reactors;
use super::slots::Slots;
use super::tail::{Doubt, Next, Tail};
use super::{Jobs, Page, PageAsked, ReactorId, Tell};
use crate::hub::Ticket;
use broker::{Broker, LogPage, ReadError, SubscriptionControl};
use bytes::Bytes;
use protocol::envelope::Logged;
use protocol::ephemeral::Ephemeral;
use protocol::ids::{ChannelId, Epoch, Position, Seq};
use protocol::subjects::{Shard, Slot};
use runtime::backoff;
use runtime::clock::uptime_ms;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that all rings hold, nearly and at most. Chosen: a reactor of a busy gateway is behind by much less, and a
/// site's channels fit.
const RINGS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Milliseconds after its last event for which a channel keeps its ring. Chosen: twice the cap of a client's
/// reconnect delay.
const RING_QUIET_MS: u64 = 60_000;

/// A broker's answer that upstream waited for.
pub(super) enum Job {
    Read {
        channel: ChannelId,
        generation: u64,
        page: Result<Option<LogPage>, ReadError>,
    },
    /// Somebody looked for what a page needs.
    Looked(Draft),
    /// The slots are subscribed as they were asked for up to here; heads of channels, by generation, are to be read.
    Slots {
        unread: Vec<(ChannelId, u64)>,
    },
    /// A channel's head; none when it cannot be read now.
    Head {
        channel: ChannelId,
        generation: u64,
        head: Option<Position>,
    },
}

pub(super) struct Following {
    broker: Broker,
    asking: Asking,
    slots: Slots,
    channels: HashMap<ChannelId, Followed>,
    generations: u64,
    /// Tails that were made.
    tails: u64,
    rings: Budget<ChannelId>,
    pages: Shared,
}

/// What a reactor wants to hear.
pub(super) struct Subscription {
    pub(super) reactor: ReactorId,
    pub(super) channel: ChannelId,
    pub(super) ticket: Ticket,
}

impl Following {
    pub(super) fn new(broker: Broker, control: SubscriptionControl) -> Self {
        Self {
            asking: Asking::new(broker.clone()),
            slots: Slots::new(control),
            broker,
            channels: HashMap::new(),
            generations: 0,
            tails: 0,
            rings: Budget::new(RINGS_BYTES_MAX, RING_QUIET_MS),
            pages: Shared::default(),
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
        let tail = self.starting(&channel);
        self.channels.insert(channel.clone(), Followed::new(self.generations, tail, reader));
        self.slots.follow(channel, self.generations);
        self.slots.work(jobs);
    }

    fn starting(&mut self, channel: &ChannelId) -> Tail {
        self.tails += 1;
        Tail::starting(self.broker.epoch(Slot::of(channel).shard)).counting_from(self.tails << 32)
    }

    pub(super) fn unsubscribe(&mut self, reactor: ReactorId, channel: &ChannelId, jobs: &Jobs) {
        let Some(followed) = self.channels.get_mut(channel) else { return };
        followed.readers.retain(|reader| reader.reactor != reactor);
        if followed.readers.is_empty() {
            self.forget(channel);
            self.slots.work(jobs);
        }
    }

    fn forget(&mut self, channel: &ChannelId) {
        if self.channels.remove(channel).is_some() {
            self.rings.forget(channel);
            self.slots.leave(channel);
        }
    }

    /// The subscription stands: heads that are read now are behind it.
    pub(super) fn on_slots(&mut self, unread: Vec<(ChannelId, u64)>, jobs: &Jobs) {
        self.slots.worked();
        for (channel, generation) in unread {
            jobs.push(Box::pin(self.asking.head(channel, generation)));
        }
        self.slots.work(jobs);
    }

    /// A head was read behind the subscription: from here on nothing is missed.
    pub(super) fn on_head(
        &mut self,
        (channel, generation): (&ChannelId, u64),
        head: Option<Position>,
        reactors: &mut Reactors,
        jobs: &Jobs,
    ) {
        let Some(followed) = self.channels.get_mut(channel).filter(|f| f.generation == generation) else {
            return;
        };
        let readers: Vec<_> = followed.readers.iter().map(|reader| (reader.reactor, reader.ticket)).collect();
        match head {
            Some(head) if head.epoch == *followed.tail.epoch() => {
                followed.started = true;
                let next = followed.tail.start(head.seq);
                readers.into_iter().for_each(|(id, ticket)| reactors.subscribed(id, channel.clone(), ticket));
                self.follow_up(channel, next, jobs);
            }
            Some(_) => self.restart(channel, reactors, jobs),
            None => {
                readers.into_iter().for_each(|(id, ticket)| reactors.failed(id, channel.clone(), ticket));
                self.forget(channel);
                self.slots.work(jobs);
            }
        }
    }

    /// Begins anew where the log began anew: the positions of the channel's sockets are in doubt.
    fn restart(&mut self, channel: &ChannelId, reactors: &mut Reactors, jobs: &Jobs) {
        let tail = self.starting(channel);
        let Some(followed) = self.channels.get_mut(channel) else { return };
        tracing::warn!(%channel, was = %followed.tail.epoch(), now = %tail.epoch(), "a channel's log began anew");
        metrics::counter!(crate::metrics::LIVES).increment(1);
        self.generations += 1;
        followed.generation = self.generations;
        (followed.tail, followed.started) = (tail, false);
        for reader in &mut followed.readers {
            if reader.sent.take().is_some() {
                reactors.another_life(reader.reactor, channel.clone(), reader.ticket);
            }
        }
        self.rings.forget(channel);
        self.slots.read_head(channel.clone(), self.generations);
        self.slots.work(jobs);
    }

    /// Compares the life of a channel's tail with the log's; `epoch` is what somebody says of it.
    pub(super) fn notice_life(
        &mut self,
        channel: &ChannelId,
        epoch: &Epoch,
        reactors: &mut Reactors,
        jobs: &Jobs,
    ) {
        let Some(followed) = self.channels.get(channel).filter(|f| f.tail.epoch() != epoch) else { return };
        // Another process may know of a new life before this one does, or of an old one after it.
        if *followed.tail.epoch() != self.broker.epoch(Slot::of(channel).shard) {
            self.restart(channel, reactors, jobs);
        }
    }

    /// Takes a live copy as the broker sent it.
    pub(super) fn on_live(&mut self, channel: &ChannelId, place: (Seq, Seq), envelope: &Bytes, jobs: &Jobs) {
        let (seq, prev) = place;
        let Some(followed) = self.channels.get_mut(channel) else { return };
        let Some(envelope) = decode(channel, seq, envelope) else { return };
        let next = followed.tail.on_live(Logged { seq, prev, envelope });
        self.follow_up(channel, next, jobs);
    }

    /// Something newest was dropped on the way, nobody knows of which channel of a shard, or of any: the log knows.
    pub(super) fn on_doubt(
        &mut self,
        (doubt, lost): (Doubt, Option<Shard>),
        reactors: &mut Reactors,
        jobs: &Jobs,
    ) {
        metrics::counter!(crate::metrics::LIVE_LOST).increment(1);
        let of_shard = |channel: &&ChannelId| lost.is_none_or(|lost| Slot::of(channel).shard == lost);
        let channels: Vec<ChannelId> = self.channels.keys().filter(of_shard).cloned().collect();
        for channel in channels {
            let epoch = self.broker.epoch(Slot::of(&channel).shard);
            self.notice_life(&channel, &epoch, reactors, jobs);
            let Some(followed) = self.channels.get_mut(&channel) else { continue };
            let next = followed.tail.on_doubt(doubt);
            self.follow_up(&channel, next, jobs);
        }
    }

    /// Compares what came with what is logged; what is missing is read.
    pub(super) fn on_heads(
        &mut self,
        epoch: &Epoch,
        heads: &[(ChannelId, Seq)],
        reactors: &mut Reactors,
        jobs: &Jobs,
    ) {
        for (channel, seq) in heads {
            self.notice_life(channel, epoch, reactors, jobs);
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
                followed.tail.on_purged(page.floor);
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

    /// Lets those rings and pages go that are too much, or were kept for long enough.
    pub(super) fn drop_old(&mut self, now_ms: u64) {
        while let Some(channel) = self.rings.surplus(now_ms) {
            if let Some(followed) = self.channels.get_mut(&channel) {
                followed.tail.drop_ring();
            }
        }
        self.pages.drop_old(now_ms);
    }

    fn read(&self, channel: &ChannelId, delay: Duration, jobs: &Jobs) {
        let Some(followed) = self.channels.get(channel) else { return };
        let (after, generation) = (followed.tail.read_after(), followed.generation);
        jobs.push(Box::pin(self.asking.repair(channel.clone(), generation, after, delay)));
    }

    /// Somebody looked for what a page needs: whoever waits for it asks again, or hears that there was no answer.
    pub(super) fn on_looked(&mut self, draft: Draft, reactors: &mut Reactors) {
        let has_failed = draft.has_failed();
        if let Some(followed) = self.channels.get_mut(draft.channel()) {
            draft.teach(&mut followed.tail);
        }
        let Waited { there, elsewhere } = self.pages.came(draft, uptime_ms());
        for asked in there {
            if has_failed { reactors.no_page(asked) } else { reactors.page(asked) }
        }
        elsewhere.into_iter().for_each(|asked| reactors.page(asked));
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

    /// Answers a subscription, unless it was given up meanwhile, or the channel begins anew.
    pub(super) fn tell_subscribed(
        &mut self,
        reactor: ReactorId,
        channel: ChannelId,
        ticket: Ticket,
    ) -> Option<Tell> {
        self.channels.get(&channel).filter(|followed| followed.started)?;
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

    /// Returns the page that a socket waits for, or looks for it: then the socket's question comes again.
    pub(super) fn tell_page(&mut self, asked: PageAsked, jobs: &Jobs) -> Option<Page> {
        let channel = asked.start.channel.clone();
        let told = self.channels.get(&channel).and_then(|followed| {
            let reader = followed.readers.iter().find(|reader| reader.reactor == asked.reactor)?;
            Some((&followed.tail, reader.sent?))
        });
        // The reactor does not hear the channel any more, or not yet again.
        let Some((tail, sent)) = told else { return Some(Page::Failed) };
        match self.pages.page(asked, tail, sent, uptime_ms()) {
            Turn::Page(page) => {
                metrics::counter!(crate::metrics::PAGES_TOLD).increment(1);
                Some(page)
            }
            Turn::Waits => None,
            Turn::Look(draft, place) => {
                jobs.push(Box::pin(self.asking.look(draft, place, tail.position())));
                None
            }
        }
    }
}
