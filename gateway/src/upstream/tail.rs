//! The newest events of one channel and the cursor behind them: pure.
//!
//! Live copies may be lost, repeated or reordered on their way; what leaves here is the log, without gap,
//! repetition or reordering. The rule is that of the reliability page ("Apply rule per channel cursor").

#[cfg(test)]
mod tests;

use super::event::Event;
use super::quiet::Quiet;
use protocol::envelope::{Envelope, Kind, Logged};
use protocol::ids::{Epoch, Position, Seq};
use std::collections::VecDeque;
use std::sync::Arc;

/// Events that one ring keeps. Chosen: a second of a busy room.
const RING_EVENTS_MAX: usize = 256;

/// Bytes that one ring keeps, by [`Event::size`]. Chosen: bodies of two pages.
const RING_BYTES_MAX: usize = 1_280 * 1024;

/// Live copies that wait while the log is read; when more come, the log is read once more instead.
const HELD_MAX: usize = 256;

/// Bytes of their bodies. Chosen: together with a page of the log they fit into a ring, from which they are told.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// The newest events of one channel.
pub(crate) struct Tail {
    epoch: Epoch,
    /// The last event that went out.
    cursor: Seq,
    /// The ring holds everything in `(floor, cursor]`.
    floor: Seq,
    ring: VecDeque<Arc<Event>>,
    ring_bytes: usize,
    /// Deletions of messages that went out: what was read before one may show what it took away.
    deletions: u64,
    /// Where somebody looked and found nothing.
    quiet: Option<Quiet>,
    /// What was missed may have been purged, until the log was read.
    cut_off: bool,
    state: State,
}

/// Following => Reading at a gap or a loss, Reading => Following when the log was read to its head.
enum State {
    Following,
    Reading(Reading),
}

/// Why a tail may lack something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Something was dropped lately: the log has it.
    Lost,
    /// Nothing came for so long that the log may have it no more.
    CutOff,
}

#[derive(Default)]
struct Reading {
    held: Held,
    /// Something came that is not held.
    missed: bool,
    /// Up to where the log was read: beyond the cursor when what stands there cannot be decoded.
    reached: Seq,
    /// The highest of the copies that were held when the log was read to its head before, and did not fit.
    outlasted: Seq,
}

/// Live copies that came while the log is read.
#[derive(Default)]
struct Held {
    copies: Vec<Logged>,
    bytes: usize,
}

impl Held {
    /// Keeps a copy; returns false, and drops it, when there is no room.
    fn keep(&mut self, logged: Logged) -> bool {
        let bytes = self.bytes + logged.envelope.body.get().len();
        let fits = self.copies.len() < HELD_MAX && bytes <= HELD_BYTES_MAX;
        if fits {
            self.bytes = bytes;
            self.copies.push(logged);
        }
        fits
    }
}

/// What follows for the owner of a tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on.
    Nothing,
    /// Read the log after the cursor and hand it in by `on_read`.
    Read,
}

impl Tail {
    /// Makes a tail that waits for [`Tail::start`]; live copies that come before are kept.
    pub(crate) fn starting(epoch: Epoch) -> Self {
        let state = State::Reading(Reading::default());
        let (cursor, floor, ring, ring_bytes) = (0, 0, VecDeque::new(), 0);
        Self { epoch, cursor, floor, ring, ring_bytes, deletions: 0, quiet: None, cut_off: false, state }
    }

    /// Counts deletions from a number on that no tail of the channel before it came to: what was read for those is not
    /// taken for this one's.
    pub(crate) fn counting_from(self, deletions: u64) -> Self {
        Self { deletions, ..self }
    }

    /// Sets the cursor to the channel's head, which was read after the subscription took effect.
    pub(crate) fn start(&mut self, head: Seq) -> Next {
        (self.cursor, self.floor) = (head, head);
        self.resolve()
    }

    pub(crate) fn position(&self) -> Position {
        Position { epoch: self.epoch.clone(), seq: self.cursor }
    }

    pub(crate) fn cursor(&self) -> Seq {
        self.cursor
    }

    pub(crate) fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Takes a live copy; its `prev` is the broker's word for the event before it.
    pub(crate) fn on_live(&mut self, logged: Logged) -> Next {
        match &mut self.state {
            State::Reading(reading) => {
                reading.missed |= !reading.held.keep(logged);
                Next::Nothing
            }
            State::Following => match offer(self.cursor, logged.seq, logged.prev) {
                Offer::Drop => Next::Nothing,
                Offer::Deliver => {
                    self.deliver(logged.seq, logged.envelope);
                    Next::Nothing
                }
                Offer::Gap => {
                    let mut reading = self.reading();
                    reading.missed = !reading.held.keep(logged);
                    self.state = State::Reading(reading);
                    Next::Read
                }
            },
        }
    }

    /// Something may have been lost: the log decides.
    pub(crate) fn on_lost(&mut self) -> Next {
        match &mut self.state {
            State::Reading(reading) => {
                reading.missed = true;
                Next::Nothing
            }
            State::Following => {
                self.state = State::Reading(self.reading());
                Next::Read
            }
        }
    }

    /// As [`Tail::on_lost`], for a reason.
    pub(crate) fn on_doubt(&mut self, doubt: Doubt) -> Next {
        self.cut_off |= doubt == Doubt::CutOff;
        self.on_lost()
    }

    /// The log has nothing up to `floor` any more, as its page says that follows. Who was cut off cannot know whether
    /// there was something: nobody is told of an unbroken chain, and whoever resumes hears of it from the store.
    pub(crate) fn on_purged(&mut self, floor: Seq) {
        if self.cut_off && floor > self.cursor {
            self.cursor = floor;
            self.drop_ring();
        }
    }

    fn reading(&self) -> Reading {
        Reading { reached: self.cursor, ..Reading::default() }
    }

    /// Returns after which position the log is to be read next.
    pub(crate) fn read_after(&self) -> Seq {
        match &self.state {
            State::Following => self.cursor,
            State::Reading(reading) => self.cursor.max(reading.reached),
        }
    }

    /// Takes what the log has after [`Tail::read_after`] up to `last`, ascending; `end` when that reaches its head.
    pub(crate) fn on_read(&mut self, entries: Vec<(Seq, Envelope)>, last: Seq, end: bool) -> Next {
        if let State::Reading(reading) = &mut self.state {
            reading.reached = last.max(reading.reached);
        }
        for (seq, envelope) in entries {
            if seq > self.cursor {
                self.deliver(seq, envelope);
            }
        }
        if end { self.resolve() } else { Next::Read }
    }

    /// Applies what was held; whatever does not fit needs another look into the log. What does not fit then either is
    /// not in this log: it came from one that was there before.
    fn resolve(&mut self) -> Next {
        let state = std::mem::replace(&mut self.state, State::Following);
        let State::Reading(Reading { held: Held { mut copies, .. }, missed, outlasted, .. }) = state else {
            return Next::Nothing;
        };
        copies.retain(|logged| logged.seq > outlasted);
        copies.sort_by_key(|logged| logged.seq);
        let mut next = if missed { self.on_lost() } else { Next::Nothing };
        for logged in copies {
            if self.on_live(logged) == Next::Read {
                next = Next::Read;
            }
        }
        self.cut_off &= next == Next::Read;
        if let State::Reading(reading) = &mut self.state {
            reading.outlasted = reading.held.copies.last().map_or(0, |logged| logged.seq);
        }
        next
    }

    fn deliver(&mut self, seq: Seq, envelope: Envelope) {
        self.deletions += u64::from(envelope.kind == Kind::MessageDeleted);
        let logged = Logged { seq, prev: self.cursor, envelope };
        let event = Arc::new(Event::new(self.epoch.clone(), logged));
        self.cursor = seq;
        self.ring_bytes += event.size();
        self.ring.push_back(event);
        while self.ring.len() > RING_EVENTS_MAX || self.ring_bytes > RING_BYTES_MAX {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.ring_bytes -= oldest.size();
            self.floor = oldest.seq();
        }
    }

    /// Returns how many messages were deleted since the channel was followed.
    pub(crate) fn deletions(&self) -> u64 {
        self.deletions
    }

    /// Returns the bytes that the ring holds, nearly and at most.
    pub(crate) fn ring_bytes(&self) -> usize {
        self.ring_bytes
    }

    /// Lets the ring go: whoever wants what it held reads the log.
    pub(crate) fn drop_ring(&mut self) {
        self.ring = VecDeque::new();
        self.ring_bytes = 0;
        self.floor = self.cursor;
    }

    /// Takes note of a stretch of this life of the log in which nothing happened.
    pub(crate) fn learn(&mut self, quiet: Quiet) {
        self.quiet = Some(self.quiet.map_or(quiet, |known| known.and(quiet)));
    }

    /// Returns up to where nothing follows `seq`, if somebody found that.
    pub(crate) fn quiet_after(&self, seq: Seq) -> Option<Seq> {
        self.quiet.filter(|quiet| quiet.covers(seq)).map(|quiet| quiet.up_to)
    }

    /// Returns all events after `seq`, ascending; `None` when the ring does not reach back that far.
    pub(crate) fn after(&self, seq: Seq) -> Option<impl Iterator<Item = &Arc<Event>>> {
        (seq >= self.floor).then(|| {
            let start = self.ring.partition_point(|event| event.seq() <= seq);
            self.ring.range(start..)
        })
    }
}

enum Offer {
    Drop,
    Deliver,
    Gap,
}

/// `prev` of 0 with a known cursor means that the event before was purged, or that something was missed.
fn offer(cursor: Seq, seq: Seq, prev: Seq) -> Offer {
    if seq <= cursor {
        Offer::Drop
    } else if prev <= cursor && (prev > 0 || cursor == 0) {
        Offer::Deliver
    } else {
        Offer::Gap
    }
}
