//! Whatever happens to live copies on their way, what leaves is the log.

use super::*;
use proptest::prelude::*;
use protocol::envelope::{Kind, MemberFacts, Role};
use protocol::ids::{ChannelId, MessageId, UserId};
use protocol::message::Sender;
use protocol::time::Timestamp;
use std::collections::HashSet;

fn envelope(seq: Seq) -> Envelope {
    let id = UserId::parse("u").unwrap();
    let user = Sender { id: id.clone(), name: String::new(), email: String::new() };
    Envelope {
        kind: Kind::MemberAdded,
        channel_id: ChannelId::parse("c").unwrap(),
        by: id,
        at: Timestamp::from_unix_ms(seq),
        message_id: MessageId::parse("m").unwrap(),
        client_msg_id: None,
        content_hash: 0,
        body: serde_json::value::to_raw_value(&MemberFacts { user, role: Role::Member }).unwrap(),
    }
}

fn large(seq: Seq, bytes: usize) -> Envelope {
    Envelope { body: serde_json::value::to_raw_value(&"x".repeat(bytes)).unwrap(), ..envelope(seq) }
}

/// What happens to a live copy, or beside it.
#[derive(Debug, Clone)]
enum Fate {
    Arrives,
    Lost,
    Late(usize),
    Twice,
    LossNoticed,
    ReadAnswers(usize),
    RingGoes,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Arrives),
        1 => Just(Fate::Lost),
        1 => (1_usize..5).prop_map(Fate::Late),
        1 => Just(Fate::Twice),
        1 => Just(Fate::LossNoticed),
        2 => (1_usize..6).prop_map(Fate::ReadAnswers),
        1 => Just(Fate::RingGoes),
    ]
}

/// The log so far: (seq, prev), with gaps in seq as other channels of the shard make them.
fn log(steps: &[u64]) -> Vec<(Seq, Seq)> {
    let mut seq = 0;
    let entry = |step: &u64| {
        let prev = seq;
        seq += step;
        (seq, prev)
    };
    steps.iter().map(entry).collect()
}

struct World {
    tail: Tail,
    reads: usize,
    /// Entries of the log that cannot be decoded.
    spoilt: HashSet<Seq>,
    delivered: Vec<(Seq, Seq)>,
}

impl World {
    fn take(&mut self, next: Next) {
        self.reads += usize::from(next == Next::Read);
        let last = self.delivered.last().map_or(0, |(seq, _)| *seq);
        let new: Vec<_> =
            self.tail.after(last).expect("rings are long here").map(|e| (e.seq(), e.logged.prev)).collect();
        self.delivered.extend(new);
    }

    fn live(&mut self, (seq, prev): (Seq, Seq)) {
        // Upstream decodes before the tail sees anything.
        if self.spoilt.contains(&seq) {
            return;
        }
        let next = self.tail.on_live(Logged { seq, prev, envelope: envelope(seq) });
        self.take(next);
    }

    /// Answers one outstanding read with at most `limit` entries of what is logged by now.
    fn answer(&mut self, logged: &[(Seq, Seq)], limit: usize) {
        if self.reads > 0 {
            self.reads -= 1;
            let from = self.tail.read_after();
            let after: Vec<_> = logged.iter().map(|(seq, _)| *seq).filter(|seq| *seq > from).collect();
            let end = after.len() <= limit;
            let page = after.into_iter().take(limit);
            let last = page.clone().next_back().unwrap_or(from);
            let page = page.filter(|seq| !self.spoilt.contains(seq)).map(|seq| (seq, envelope(seq)));
            let next = self.tail.on_read(page.collect(), last, end);
            self.take(next);
        }
    }
}

proptest! {
    #[test]
    fn what_leaves_is_the_log_whatever_happens_on_the_way(
        steps in prop::collection::vec(1_u64..4, 1..60),
        fates in prop::collection::vec(fate(), 0..120),
        spoilt in prop::collection::hash_set(1_u64..150, 0..40),
    ) {
        let log = log(&steps);
        let mut tail = Tail::starting(Epoch::parse("e").unwrap());
        let next = tail.start(0);
        let mut world = World { tail, reads: 0, spoilt, delivered: Vec::new() };
        world.take(next);
        let (mut published, mut late) = (0, Vec::new());
        for fate in &fates {
            match *fate {
                Fate::LossNoticed => { let next = world.tail.on_lost(); world.take(next); }
                Fate::ReadAnswers(limit) => world.answer(&log[..published], limit),
                Fate::RingGoes => world.tail.drop_ring(),
                _ if published == log.len() => {}
                Fate::Lost => published += 1,
                Fate::Arrives => { published += 1; world.live(log[published - 1]); }
                Fate::Twice => { published += 1; world.live(log[published - 1]); world.live(log[published - 1]); }
                Fate::Late(by) => { published += 1; late.push((published + by, log[published - 1])); }
            }
            let due: Vec<_> = late.iter().filter(|(at, _)| *at <= published).map(|(_, entry)| *entry).collect();
            late.retain(|(at, _)| *at > published);
            due.into_iter().for_each(|entry| world.live(entry));
        }
        // In the end a loss is noticed (by digest or overflow mark) and the reads come back.
        let next = world.tail.on_lost();
        world.take(next);
        for _ in 0..=log.len() {
            world.answer(&log[..published], 3);
        }
        prop_assert_eq!(world.reads, 0, "reading the log comes to an end");
        prop_assert_eq!(world.tail.ring_bytes(), world.tail.ring.iter().map(|event| event.size()).sum::<usize>());
        let readable = log[..published].iter().map(|(seq, _)| *seq).filter(|seq| !world.spoilt.contains(seq));
        let delivered: Vec<_> = world.delivered.iter().map(|(seq, _)| *seq).collect();
        prop_assert_eq!(&delivered, &readable.collect::<Vec<_>>());
        let prevs: Vec<_> = world.delivered.iter().map(|(_, prev)| *prev).collect();
        prop_assert_eq!(&prevs[prevs.len().min(1)..], &delivered[..delivered.len().saturating_sub(1)]);
    }
}

#[test]
fn the_ring_says_when_it_does_not_reach_back() {
    let mut tail = Tail::starting(Epoch::parse("e").unwrap());
    tail.start(5);
    assert!(tail.after(4).is_none());
    for seq in 6..=(6 + RING_EVENTS_MAX as u64) {
        tail.on_live(Logged { seq, prev: seq - 1, envelope: envelope(seq) });
    }
    assert!(tail.after(5).is_none());
    assert_eq!(tail.after(6).unwrap().count(), RING_EVENTS_MAX);
    assert_eq!(tail.after(tail.cursor()).unwrap().count(), 0);
}

#[test]
fn a_first_event_without_predecessor_is_checked_against_the_log_when_the_cursor_is_known() {
    let mut tail = Tail::starting(Epoch::parse("e").unwrap());
    tail.start(5);
    assert_eq!(tail.on_live(Logged { seq: 9, prev: 0, envelope: envelope(9) }), Next::Read);
    assert_eq!(tail.on_read(vec![(7, envelope(7)), (9, envelope(9))], 9, true), Next::Nothing);
    assert_eq!(tail.cursor(), 9);
}

#[test]
fn a_ring_keeps_so_many_bytes_and_a_dropped_one_none() {
    let mut tail = Tail::starting(Epoch::parse("e").unwrap());
    tail.start(5);
    for seq in 6..=100 {
        tail.on_live(Logged { seq, prev: seq - 1, envelope: large(seq, 30_000) });
    }
    let kept = tail.after(tail.floor).unwrap().count();
    assert!((8..=12).contains(&kept), "{kept} of 30,000 bytes, four times each");
    assert!(tail.ring_bytes() <= RING_BYTES_MAX);
    tail.drop_ring();
    assert_eq!(tail.ring_bytes(), 0);
    assert!(tail.after(99).is_none());
    assert_eq!(tail.after(100).unwrap().count(), 0, "nothing is missed by who has everything");
    tail.on_live(Logged { seq: 101, prev: 100, envelope: envelope(101) });
    assert_eq!(tail.after(100).unwrap().count(), 1);
}

#[test]
fn copies_that_wait_for_the_log_are_bounded_and_read_again() {
    let mut tail = Tail::starting(Epoch::parse("e").unwrap());
    tail.start(5);
    assert_eq!(tail.on_lost(), Next::Read);
    for seq in 6..=25 {
        assert_eq!(tail.on_live(Logged { seq, prev: seq - 1, envelope: large(seq, 30_000) }), Next::Nothing);
    }
    let State::Reading(Reading { held, missed: true, .. }) = &tail.state else {
        panic!("reading, and something is missed")
    };
    assert_eq!(held.copies.len(), 2);
    assert_eq!(tail.on_read(Vec::new(), 5, true), Next::Read, "what was not kept is in the log");
    assert_eq!(tail.on_read((6..=25).map(|seq| (seq, envelope(seq))).collect(), 25, true), Next::Nothing);
    assert_eq!(tail.cursor(), 25);
}

#[test]
fn a_copy_that_the_log_does_not_have_is_looked_for_twice_and_not_for_ever() {
    let mut tail = Tail::starting(Epoch::parse("e").unwrap());
    tail.start(3);
    let copy = |seq| Logged { seq, prev: seq - 1, envelope: envelope(seq) };
    assert_eq!(tail.on_live(copy(501)), Next::Read, "of a log that was there before");
    assert_eq!(tail.on_read(Vec::new(), 3, true), Next::Read, "it may have come after the log was read");
    assert_eq!(tail.on_live(copy(503)), Next::Nothing, "this one came meanwhile");
    assert_eq!(tail.on_read(vec![(4, envelope(4))], 4, true), Next::Read);
    assert_eq!(tail.on_read(Vec::new(), 4, true), Next::Nothing);
    assert_eq!(tail.on_live(copy(5)), Next::Nothing);
    assert_eq!(tail.cursor(), 5, "it follows on");
}

#[test]
fn what_was_purged_while_nothing_came_is_no_part_of_the_chain() {
    let mut tail = Tail::starting(Epoch::parse("e").unwrap());
    tail.start(5);
    tail.on_live(Logged { seq: 6, prev: 5, envelope: envelope(6) });
    assert_eq!(tail.on_doubt(Doubt::CutOff), Next::Read);
    tail.on_purged(40);
    assert_eq!(tail.on_read(vec![(41, envelope(41))], 41, true), Next::Nothing);
    assert!(tail.after(6).is_none(), "who was told up to 6 has to resume");
    assert_eq!(tail.after(40).unwrap().count(), 1);
    // A quiet channel of a busy shard: what was purged there since was of others.
    assert_eq!(tail.on_doubt(Doubt::Lost), Next::Read);
    tail.on_purged(90);
    assert_eq!(tail.on_read(vec![(91, envelope(91))], 91, true), Next::Nothing);
    assert_eq!(tail.after(41).unwrap().count(), 1, "the chain is whole");
}
