//! What one socket still has to be sent: bounded bytes, written with as few system calls as possible.
//!
//! Events may fill a part of the bound, answers the rest. The policy when events find no room is the caller's
//! (the socket is closed with 4009 and a v1 client resumes); answers always fit, because reading pauses first.

use bytes::Bytes;
use protocol::limits::{OUTBOX_BYTES_MAX, OUTBOX_EVENT_BYTES_MAX};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};

/// Buffers in one vectored write. Linux takes 1,024; chosen: 64 frames of 650 bytes fill a socket's buffer.
const SLICES_MAX: usize = 64;

/// Frames that an empty queue may keep room for; above it the memory is given back.
const KEPT_CAPACITY: usize = 8;

/// The queue of one socket.
#[derive(Default)]
pub(crate) struct Outbox {
    frames: VecDeque<Bytes>,
    /// Bytes of the first frame that are written already.
    written: usize,
    /// Bytes that are not written yet.
    bytes: usize,
}

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

/// There was no room for an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Outbox {
    /// Queues a pushed event.
    ///
    /// # Errors
    /// [`Full`] when the events' part of the bound is used up; nothing was queued.
    pub(crate) fn push_event(&mut self, frame: Bytes) -> Result<(), Full> {
        if self.bytes + frame.len() > OUTBOX_EVENT_BYTES_MAX {
            return Err(Full);
        }
        self.push_answer(frame);
        Ok(())
    }

    /// Queues an answer or a control frame.
    pub(crate) fn push_answer(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Whether the socket may go on reading: what it asks for still finds room.
    pub(crate) fn takes_answers(&self) -> bool {
        self.bytes <= OUTBOX_EVENT_BYTES_MAX
    }

    /// Whether a page may start.
    pub(crate) fn has_room_for_page(&self) -> bool {
        self.bytes <= OUTBOX_BYTES_MAX / 2
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Forgets what is not begun: a frame half written must be finished, or the close frame would be garbage.
    pub(crate) fn drop_unbegun(&mut self) {
        let keep = usize::from(self.written > 0);
        self.frames.truncate(keep);
        self.bytes = self.frames.iter().map(Bytes::len).sum::<usize>() - self.written;
    }

    /// Writes until all is gone or `write` would block; `write` is a vectored write that never waits.
    pub(crate) fn flush(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> Flushed {
        while !self.frames.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut used = 0;
            for (slice, frame) in slices.iter_mut().zip(&self.frames) {
                *slice = IoSlice::new(if used == 0 { &frame[self.written..] } else { frame });
                used += 1;
            }
            match write(&slices[..used]) {
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

    fn advance(&mut self, written: usize) {
        self.bytes -= written;
        self.written += written;
        while let Some(first) = self.frames.front() {
            if self.written < first.len() {
                return;
            }
            self.written -= first.len();
            self.frames.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A socket that takes so many bytes at each turn.
    fn socket<'a>(
        turns: &'a mut dyn Iterator<Item = usize>,
        taken: &'a mut Vec<u8>,
    ) -> impl FnMut(&[IoSlice<'_>]) -> io::Result<usize> + 'a {
        move |slices| {
            let room = turns.next().unwrap_or(0);
            if room == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(room).collect();
            taken.extend_from_slice(&bytes);
            Ok(bytes.len())
        }
    }

    proptest! {
        #[test]
        fn every_byte_is_written_once_in_order(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..200),
            turns in prop::collection::vec(0_usize..100, 0..400),
        ) {
            let (mut outbox, mut taken) = (Outbox::default(), Vec::new());
            let mut turns = turns.into_iter();
            for frame in &frames {
                outbox.push_event(Bytes::from(frame.clone())).unwrap();
                outbox.flush(socket(&mut turns.by_ref().take(1), &mut taken));
            }
            let all = frames.concat();
            prop_assert!(all.starts_with(&taken));
            prop_assert_eq!(outbox.bytes, all.len() - taken.len());
            let ended = outbox.flush(socket(&mut std::iter::repeat(7), &mut taken));
            prop_assert_eq!(ended, Flushed::Empty);
            prop_assert_eq!(taken, all);
            prop_assert_eq!(outbox.bytes, 0);
        }
    }

    #[test]
    fn events_leave_room_for_answers() {
        let mut outbox = Outbox::default();
        let frame = Bytes::from(vec![0; 64 * 1024]);
        for _ in 0..3 {
            outbox.push_event(frame.clone()).unwrap();
        }
        assert_eq!(outbox.push_event(Bytes::from_static(b"x")), Err(Full));
        assert!(outbox.takes_answers());
        outbox.push_answer(Bytes::from_static(b"x"));
        assert!(!outbox.takes_answers());
        assert!(!outbox.has_room_for_page());
    }

    #[test]
    fn a_frame_half_written_survives_the_drop() {
        let (mut outbox, mut taken) = (Outbox::default(), Vec::new());
        outbox.push_answer(Bytes::from_static(b"half"));
        outbox.push_answer(Bytes::from_static(b"never"));
        outbox.flush(socket(&mut [2].into_iter(), &mut taken));
        outbox.drop_unbegun();
        outbox.push_answer(Bytes::from_static(b"!"));
        outbox.flush(socket(&mut std::iter::repeat(9), &mut taken));
        assert_eq!(taken, b"half!");
    }
}
