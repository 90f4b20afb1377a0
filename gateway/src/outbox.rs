//! What one socket still has to be sent: bounded bytes in three lanes, written with as few system calls as possible.
//!
//! - `urgent`: control frames and what a client must hear although it is behind. It overtakes everything but the
//!   frame that is half written.
//! - `frames`: durable events and answers, in order. Events may fill a part of the bound, answers the rest. The
//!   policy when an event finds no room is the caller's (`lagging`, or 4009); answers always fit, because reading
//!   pauses first and a page's room is set aside before it is asked for.
//! - `passing`: what is not kept. The newest of its kind wins, so that a socket that is behind is told how things
//!   are when it listens again, not how they went.

#[cfg(test)]
mod tests;

use bytes::{Buf, Bytes};
use protocol::limits::{OUTBOX_BYTES_MAX, OUTBOX_EVENT_BYTES_MAX, PAGE_BYTES_MAX};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};

/// Buffers in one vectored write. Linux takes 1,024; chosen: 64 frames of 650 bytes fill a socket's buffer.
const SLICES_MAX: usize = 64;

/// Buffers that suffice for a socket that keeps up: a frame that is begun, and some behind it.
const FEW_SLICES: usize = 4;

/// Frames that an empty queue may keep room for; above it the memory is given back.
const KEPT_CAPACITY: usize = 8;

/// Bytes set aside for a page: its events, the commas between them and its own fields.
const PAGE_ROOM_BYTES: usize = PAGE_BYTES_MAX + 4 * 1024;

/// Bytes kept free for the answers to frames that are taken already: 32 durable ones and a few more.
const ANSWER_ROOM_BYTES: usize = 16 * 1024;

/// Bytes of the urgent lane. Architecture page.
const URGENT_BYTES_MAX: usize = 64 * 1024;

/// Frames of the passing lane; beyond it the oldest is dropped. Chosen: a screen shows fewer people.
const PASSING_MAX: usize = 32;

/// The queues of one socket.
#[derive(Default)]
pub(crate) struct Outbox {
    /// What is left of a frame that is partly written: it goes first, or the stream would be garbage.
    begun: Bytes,
    frames: VecDeque<Bytes>,
    /// Bytes of `begun` and `frames`.
    bytes: usize,
    /// Bytes set aside for a page that was asked for.
    page_room: usize,
    aside: Option<Box<Aside>>,
}

/// The lanes that most sockets never need at the same time as they idle.
#[derive(Default)]
struct Aside {
    urgent: VecDeque<(Urgent, Bytes)>,
    urgent_bytes: usize,
    passing: VecDeque<(PassingKey, Bytes)>,
}

/// What an urgent frame is; of all but pongs only the newest waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgent {
    Ping,
    Pong,
    Reconnect,
}

/// Names what a passing frame is about, so that a newer one takes its place.
pub(crate) type PassingKey = u64;

/// How a flush ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Everything is written.
    Empty,
    /// The socket takes no more just now.
    Blocked,
    /// The socket is broken.
    Broken,
}

/// There was no room for an event, and the socket takes no more just now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Outbox {
    /// Queues a pushed event. When it finds no room, what waits is written first, as by [`Self::flush`]: one turn may
    /// bring more than the bound, and only a socket that takes no more has overflowed.
    ///
    /// # Errors
    /// [`Full`] when the events' part of the bound is used up all the same; nothing was queued.
    pub(crate) fn push_event(
        &mut self,
        frame: Bytes,
        write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Result<(), Full> {
        if !self.has_room_for_event(&frame) {
            self.make_room(&frame, write)?;
        }
        self.push_answer(frame);
        Ok(())
    }

    fn has_room_for_event(&self, frame: &Bytes) -> bool {
        let bytes = self.bytes + frame.len();
        bytes <= OUTBOX_EVENT_BYTES_MAX && bytes + self.page_room <= OUTBOX_BYTES_MAX
    }

    /// Apart from [`Self::push_event`], which is the hot path.
    #[cold]
    fn make_room(
        &mut self,
        frame: &Bytes,
        write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Result<(), Full> {
        // A broken socket is noticed by the flush at the turn's end.
        self.flush(write);
        if self.has_room_for_event(frame) { Ok(()) } else { Err(Full) }
    }

    /// Queues an answer.
    pub(crate) fn push_answer(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Queues a frame that overtakes all others. A pong that finds no room is dropped: RFC 6455 section 5.5.3 lets
    /// us answer the newest ping alone.
    pub(crate) fn push_urgent(&mut self, kind: Urgent, frame: Bytes) {
        let aside = self.aside.get_or_insert_default();
        if kind != Urgent::Pong
            && let Some(at) = aside.urgent.iter().position(|(waiting, _)| *waiting == kind)
        {
            aside.urgent_bytes -= aside.urgent.remove(at).map_or(0, |(_, older)| older.len());
        }
        if kind == Urgent::Pong && aside.urgent_bytes + frame.len() > URGENT_BYTES_MAX {
            return;
        }
        aside.urgent_bytes += frame.len();
        aside.urgent.push_back((kind, frame));
    }

    /// Queues what is not kept; it takes the place of an older frame about the same.
    pub(crate) fn push_passing(&mut self, key: PassingKey, frame: Bytes) {
        let passing = &mut self.aside.get_or_insert_default().passing;
        passing.retain(|(older, _)| *older != key);
        if passing.len() >= PASSING_MAX {
            passing.pop_front();
        }
        passing.push_back((key, frame));
    }

    /// Queues the last frame of all: nothing overtakes it and nothing follows. With `drop_rest`, what is not begun
    /// is dropped.
    pub(crate) fn push_last(&mut self, frame: Bytes, drop_rest: bool) {
        self.aside = None;
        if drop_rest {
            self.frames.clear();
            self.bytes = self.begun.len();
        }
        self.push_answer(frame);
    }

    /// Whether the socket may go on reading: what it asks for still finds room.
    pub(crate) fn takes_answers(&self) -> bool {
        self.bytes + self.page_room + ANSWER_ROOM_BYTES <= OUTBOX_BYTES_MAX
    }

    /// Whether a page may start. Below half of the bound, and only one at a time.
    pub(crate) fn has_room_for_page(&self) -> bool {
        self.page_room == 0 && self.bytes + PAGE_ROOM_BYTES <= OUTBOX_BYTES_MAX
    }

    /// Sets room aside for a page that is asked for.
    pub(crate) fn await_page(&mut self) {
        self.page_room = PAGE_ROOM_BYTES;
    }

    /// Gives the room back: the page came, or will not.
    pub(crate) fn page_came(&mut self) {
        self.page_room = 0;
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.frames.is_empty() && self.aside.is_none()
    }

    /// Writes until all is gone or `write` would block; `write` is a vectored write that never waits.
    pub(crate) fn flush(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> Flushed {
        while !self.is_empty() {
            // Clearing 64 slices costs more than all else here, and most sockets have one frame.
            let done = if self.frames.len() < FEW_SLICES && self.aside.is_none() {
                write(self.fill(&mut [IoSlice::new(&[]); FEW_SLICES]))
            } else {
                write(self.fill(&mut [IoSlice::new(&[]); SLICES_MAX]))
            };
            match done {
                Ok(0) => return Flushed::Broken,
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Flushed::Blocked,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Flushed::Broken,
            }
        }
        if self.frames.capacity() > KEPT_CAPACITY {
            self.frames = VecDeque::new();
        }
        Flushed::Empty
    }

    /// Points `slices` at what is to be written next, in order; returns those that are used.
    fn fill<'a, 'b>(&'a self, slices: &'b mut [IoSlice<'a>]) -> &'b [IoSlice<'a>] {
        let begun = Some(&self.begun).filter(|begun| !begun.is_empty());
        let urgent = self.aside.iter().flat_map(|aside| aside.urgent.iter().map(|(_, frame)| frame));
        let passing = self.aside.iter().flat_map(|aside| aside.passing.iter().map(|(_, frame)| frame));
        let order = begun.into_iter().chain(urgent).chain(&self.frames).chain(passing);
        let mut used = 0;
        for (slice, frame) in slices.iter_mut().zip(order) {
            *slice = IoSlice::new(frame);
            used += 1;
        }
        &slices[..used]
    }

    /// Takes `written` bytes away from the front, in the order of [`Self::fill`].
    fn advance(&mut self, mut written: usize) {
        loop {
            let now = written.min(self.begun.len());
            self.begun.advance(now);
            self.bytes -= now;
            written -= now;
            if written == 0 {
                break;
            }
            let Some(next) = self.next() else { break };
            self.begun = next;
        }
        if self.begun.is_empty() {
            // An empty `Bytes` may still hold the memory of its frame.
            self.begun = Bytes::new();
        }
        self.aside.take_if(|aside| aside.urgent.is_empty() && aside.passing.is_empty());
    }

    /// Takes the frame that is begun next; its bytes count with `begun` from then on.
    fn next(&mut self) -> Option<Bytes> {
        if let Some((_, frame)) = self.aside.as_mut().and_then(|aside| aside.urgent.pop_front()) {
            self.bytes += frame.len();
            self.aside.iter_mut().for_each(|aside| aside.urgent_bytes -= frame.len());
            return Some(frame);
        }
        if let Some(frame) = self.frames.pop_front() {
            return Some(frame);
        }
        let (_, frame) = self.aside.as_mut()?.passing.pop_front()?;
        self.bytes += frame.len();
        Some(frame)
    }
}
