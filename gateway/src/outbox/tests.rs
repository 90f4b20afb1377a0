//! Whatever is pushed and however the socket takes it: frames leave whole, in the order of their lane, within the bound.

use super::*;
use proptest::prelude::*;

/// Bytes that the socket here takes with one write.
const WRITE: usize = 50_000;

/// A socket that has room for some bytes, and what it took.
#[derive(Default)]
struct Socket {
    room: usize,
    taken: Vec<u8>,
}

impl Socket {
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let room = self.room.min(WRITE);
        if room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(room).collect();
        self.taken.extend_from_slice(&bytes);
        self.room -= bytes.len();
        Ok(bytes.len())
    }

    /// Lets `outbox` write so many bytes more.
    fn take(&mut self, outbox: &mut Outbox, bytes: usize) -> Flushed {
        self.room += bytes;
        outbox.flush(|slices| self.write(slices))
    }
}

/// A frame that says its lane, its number and its own length.
fn frame(lane: u8, number: u16, extra: usize) -> Bytes {
    let mut bytes = vec![lane];
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(extra).unwrap().to_be_bytes());
    bytes.resize(bytes.len() + extra, lane);
    bytes.into()
}

/// Reads frames back; a torn one panics.
fn read(mut bytes: &[u8]) -> Vec<(u8, u16)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let number = u16::from_be_bytes([bytes[1], bytes[2]]);
        let extra = u32::from_be_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]) as usize;
        assert!(bytes[7..7 + extra].iter().all(|byte| *byte == bytes[0]), "a frame is torn");
        frames.push((bytes[0], number));
        bytes = &bytes[7 + extra..];
    }
    frames
}

#[derive(Debug, Clone)]
enum Step {
    Event(usize),
    Answer(usize),
    Pong,
    Ping,
    Passing(u64),
    AskPage,
    PageComes(usize),
    Write(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_usize..40_000).prop_map(Step::Event),
        2 => (0_usize..400).prop_map(Step::Answer),
        1 => Just(Step::Pong),
        1 => Just(Step::Ping),
        2 => (0_u64..3).prop_map(Step::Passing),
        1 => Just(Step::AskPage),
        1 => (0..PAGE_BYTES_MAX).prop_map(Step::PageComes),
        4 => (1_usize..100_000).prop_map(Step::Write),
    ]
}

const ORDERED: u8 = 1;
const PONG: u8 = 2;
const PING: u8 = 3;
const PASSING: u8 = 4;

proptest! {
    #[test]
    fn frames_leave_whole_in_the_order_of_their_lane_and_within_the_bound(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let (mut outbox, mut socket, mut number) = (Outbox::default(), Socket::default(), 0_u16);
        let (mut ordered, mut pongs, mut newest) = (Vec::new(), Vec::new(), std::collections::HashMap::new());
        for step in steps {
            number += 1;
            match step {
                Step::Event(extra) => {
                    match outbox.push_event(frame(ORDERED, number, extra), |slices| socket.write(slices)) {
                        Ok(()) => ordered.push((ORDERED, number)),
                        Err(Full) => prop_assert_eq!(socket.room, 0, "a socket that takes something has not overflowed"),
                    }
                }
                Step::Answer(extra) if outbox.takes_answers() => {
                    outbox.push_answer(frame(ORDERED, number, extra));
                    ordered.push((ORDERED, number));
                }
                Step::Pong => {
                    outbox.push_urgent(Urgent::Pong, frame(PONG, number, 0));
                    pongs.push((PONG, number));
                }
                Step::Ping => outbox.push_urgent(Urgent::Ping, frame(PING, number, 0)),
                Step::Passing(key) => {
                    outbox.push_passing(key, frame(PASSING, number, 9));
                    newest.insert(key, number);
                }
                Step::AskPage if outbox.has_room_for_page() => outbox.await_page(),
                Step::PageComes(extra) if outbox.page_room > 0 => {
                    outbox.page_came();
                    outbox.push_answer(frame(ORDERED, number, extra));
                    ordered.push((ORDERED, number));
                }
                Step::Answer(_) | Step::AskPage | Step::PageComes(_) => {}
                Step::Write(bytes) => {
                    socket.take(&mut outbox, bytes);
                }
            }
            prop_assert!(outbox.bytes <= OUTBOX_BYTES_MAX, "{} bytes", outbox.bytes);
        }
        prop_assert_eq!(socket.take(&mut outbox, 10 * OUTBOX_BYTES_MAX), Flushed::Empty);
        prop_assert!(outbox.is_empty());
        prop_assert_eq!(outbox.bytes, 0);
        let read = read(&socket.taken);
        let lane = |lane: u8| read.iter().copied().filter(|(of, _)| *of == lane).collect::<Vec<_>>();
        prop_assert_eq!(lane(ORDERED), ordered);
        prop_assert_eq!(lane(PONG), pongs);
        prop_assert!(lane(PING).is_sorted() && lane(PASSING).len() >= newest.len());
        for number in newest.values() {
            prop_assert!(read.contains(&(PASSING, *number)), "the newest of its kind is always told");
        }
    }
}

fn all(outbox: &mut Outbox) -> Vec<u8> {
    let mut socket = Socket::default();
    socket.take(outbox, OUTBOX_BYTES_MAX);
    socket.taken
}

/// Pushes an event to a socket that takes nothing.
fn push_blocked(outbox: &mut Outbox, frame: Bytes) -> Result<(), Full> {
    outbox.push_event(frame, |_| Err(ErrorKind::WouldBlock.into()))
}

#[test]
fn events_leave_room_for_answers_and_a_page() {
    let mut outbox = Outbox::default();
    let frame = Bytes::from(vec![0; 64 * 1024]);
    outbox.await_page();
    push_blocked(&mut outbox, frame.clone()).unwrap();
    assert_eq!(push_blocked(&mut outbox, frame.clone()), Err(Full), "the page's room is set aside");
    outbox.page_came();
    push_blocked(&mut outbox, frame.clone()).unwrap();
    assert!(!outbox.has_room_for_page());
    push_blocked(&mut outbox, frame).unwrap();
    assert_eq!(push_blocked(&mut outbox, Bytes::from_static(b"x")), Err(Full));
    assert!(outbox.takes_answers());
    outbox.push_answer(Bytes::from(vec![0; 60 * 1024]));
    assert!(!outbox.takes_answers());
}

#[test]
fn a_burst_above_the_bound_is_written_while_it_comes_and_overflows_only_a_blocked_socket() {
    let (mut outbox, mut socket) = (Outbox::default(), Socket { room: 800_000, taken: Vec::new() });
    let frame = Bytes::from(vec![0; 32_000]);
    let pushed =
        (0..40).take_while(|_| outbox.push_event(frame.clone(), |slices| socket.write(slices)).is_ok());
    assert_eq!(pushed.count(), 31, "25 are written, six wait");
    assert_eq!((socket.room, outbox.bytes), (0, 6 * 32_000));
}

#[test]
fn what_is_urgent_overtakes_all_but_the_frame_that_is_begun() {
    let (mut outbox, mut socket) = (Outbox::default(), Socket::default());
    outbox.push_answer(Bytes::from_static(b"begun "));
    outbox.push_answer(Bytes::from_static(b"event "));
    socket.take(&mut outbox, 2);
    outbox.push_urgent(Urgent::Ping, Bytes::from_static(b"old "));
    outbox.push_urgent(Urgent::Reconnect, Bytes::from_static(b"reconnect "));
    outbox.push_urgent(Urgent::Ping, Bytes::from_static(b"ping "));
    socket.taken.extend(all(&mut outbox));
    assert_eq!(socket.taken, b"begun reconnect ping event ");
}

#[test]
fn of_what_passes_the_newest_is_told_last_of_all() {
    let mut outbox = Outbox::default();
    outbox.push_passing(1, Bytes::from_static(b"types "));
    outbox.push_passing(2, Bytes::from_static(b"joined "));
    outbox.push_passing(1, Bytes::from_static(b"stopped "));
    outbox.push_answer(Bytes::from_static(b"event "));
    assert_eq!(all(&mut outbox), b"event joined stopped ");
    for key in 0..=PASSING_MAX as u64 {
        outbox.push_passing(key, Bytes::from(vec![u8::try_from(key).unwrap()]));
    }
    assert_eq!(all(&mut outbox).first(), Some(&1), "the oldest is dropped");
}

#[test]
fn nothing_overtakes_or_follows_the_last_frame() {
    for (drop_rest, expected) in [(true, &b"half!"[..]), (false, b"halfkept!")] {
        let (mut outbox, mut socket) = (Outbox::default(), Socket::default());
        outbox.push_answer(Bytes::from_static(b"half"));
        outbox.push_answer(Bytes::from_static(b"kept"));
        socket.take(&mut outbox, 2);
        outbox.push_urgent(Urgent::Pong, Bytes::from_static(b"pong"));
        outbox.push_passing(1, Bytes::from_static(b"typing"));
        outbox.push_last(Bytes::from_static(b"!"), drop_rest);
        socket.taken.extend(all(&mut outbox));
        assert_eq!(socket.taken, expected);
    }
}

#[test]
fn pings_without_end_are_not_answered_without_end() {
    let mut outbox = Outbox::default();
    for _ in 0..1_000 {
        outbox.push_urgent(Urgent::Pong, Bytes::from(vec![0; 127]));
    }
    assert!(outbox.aside.as_ref().unwrap().urgent_bytes <= URGENT_BYTES_MAX);
}
