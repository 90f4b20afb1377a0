//! The newest events of one channel and the cursor behind them: pure.
//!
//! Live copies may be lost, repeated or reordered on their way; what leaves here is the log, without gap,
//! repetition or reordering. The rule is that of the reliability page ("Apply rule per channel cursor").

use super::event::Event;
use protocol::envelope::{Envelope, Logged};
use protocol::ids::{Epoch, Position, Seq};
use std::collections::VecDeque;
use std::sync::Arc;

/// Events that one ring keeps. Chosen: a second of a busy room.
const RING_EVENTS_MAX: usize = 256;

/// Bytes that one ring keeps. Chosen: two pages.
const RING_BYTES_MAX: usize = 256 * 1024;

/// Live copies that wait while the log is read; when more come, the log is read once more instead.
const HELD_MAX: usize = 256;

/// The newest events of one channel.
pub(crate) struct Tail {
    epoch: Epoch,
    /// The last event that went out.
    cursor: Seq,
    /// The ring holds everything in `(floor, cursor]`.
    floor: Seq,
    ring: VecDeque<Arc<Event>>,
    ring_bytes: usize,
    state: State,
}

/// Following => Reading at a gap or a loss, Reading => Following when the log was read to its head.
enum State {
    Following,
    /// `reached` is up to where the log was read: beyond the cursor when what stands there cannot be decoded.
    Reading {
        held: Vec<Logged>,
        missed: bool,
        reached: Seq,
    },
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
        let state = State::Reading { held: Vec::new(), missed: false, reached: 0 };
        Self { epoch, cursor: 0, floor: 0, ring: VecDeque::new(), ring_bytes: 0, state }
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
            State::Reading { held, missed, .. } => {
                if held.len() < HELD_MAX {
                    held.push(logged);
                } else {
                    *missed = true;
                }
                Next::Nothing
            }
            State::Following => match offer(self.cursor, logged.seq, logged.prev) {
                Offer::Drop => Next::Nothing,
                Offer::Deliver => {
                    self.deliver(logged.seq, logged.envelope);
                    Next::Nothing
                }
                Offer::Gap => {
                    let reached = self.cursor;
                    self.state = State::Reading { held: vec![logged], missed: false, reached };
                    Next::Read
                }
            },
        }
    }

    /// Something may have been lost: the log decides.
    pub(crate) fn on_lost(&mut self) -> Next {
        match &mut self.state {
            State::Reading { missed, .. } => {
                *missed = true;
                Next::Nothing
            }
            State::Following => {
                self.state = State::Reading { held: Vec::new(), missed: false, reached: self.cursor };
                Next::Read
            }
        }
    }

    /// Returns after which position the log is to be read next.
    pub(crate) fn read_after(&self) -> Seq {
        match &self.state {
            State::Following => self.cursor,
            State::Reading { reached, .. } => self.cursor.max(*reached),
        }
    }

    /// Takes what the log has after [`Tail::read_after`] up to `last`, ascending; `end` when that reaches its head.
    pub(crate) fn on_read(&mut self, entries: Vec<(Seq, Envelope)>, last: Seq, end: bool) -> Next {
        if let State::Reading { reached, .. } = &mut self.state {
            *reached = last.max(*reached);
        }
        for (seq, envelope) in entries {
            if seq > self.cursor {
                self.deliver(seq, envelope);
            }
        }
        if end { self.resolve() } else { Next::Read }
    }

    /// Applies what was held; whatever does not fit needs another look into the log.
    fn resolve(&mut self) -> Next {
        let state = std::mem::replace(&mut self.state, State::Following);
        let State::Reading { mut held, missed, .. } = state else { return Next::Nothing };
        held.sort_by_key(|logged| logged.seq);
        let mut next = if missed { self.on_lost() } else { Next::Nothing };
        for logged in held {
            if self.on_live(logged) == Next::Read {
                next = Next::Read;
            }
        }
        next
    }

    fn deliver(&mut self, seq: Seq, envelope: Envelope) {
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

#[cfg(test)]
mod tests {
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

    /// What happens to a live copy, or beside it.
    #[derive(Debug, Clone)]
    enum Fate {
        Arrives,
        Lost,
        Late(usize),
        Twice,
        LossNoticed,
        ReadAnswers(usize),
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            4 => Just(Fate::Arrives),
            1 => Just(Fate::Lost),
            1 => (1_usize..5).prop_map(Fate::Late),
            1 => Just(Fate::Twice),
            1 => Just(Fate::LossNoticed),
            2 => (1_usize..6).prop_map(Fate::ReadAnswers),
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
            let new: Vec<_> = self
                .tail
                .after(last)
                .expect("rings are long here")
                .map(|e| (e.seq(), e.logged.prev))
                .collect();
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
}
