//! Whoever shares a page gets the one that would be made for him alone, and a storm costs one look and one encoding.

use super::super::tests::{Logged1, at, envelope, epoch, json, read, seqs, start, tail, three};
use super::*;
use crate::hub::ConnectionId;
use broker::ReadError;
use proptest::prelude::*;
use protocol::envelope::Logged;
use protocol::frames::Dialect;
use std::collections::HashSet;

fn ask(reader: usize, dialect: Dialect, position: Position) -> PageAsked {
    let connection = ConnectionId(u64::try_from(reader).unwrap());
    PageAsked { reactor: reader % 2, connection, dialect, start: start(position), alone: false }
}

fn v1(reader: usize, seq: Seq) -> PageAsked {
    ask(reader, Dialect::V1Json, at(seq))
}

fn frame(page: Page) -> bytes::Bytes {
    match page {
        Page::Last(Some(frame)) | Page::More(frame) => frame,
        Page::Last(None) | Page::Failed => panic!("a page with a frame"),
    }
}

#[test]
fn a_storm_costs_one_look_and_one_encoding_for_each_dialect() {
    let log = three();
    let (mut shared, tail) = (Shared::default(), tail(&log, 3));
    let dialect = |n: usize| if n.is_multiple_of(3) { Dialect::V1MessagePack } else { Dialect::V1Json };
    let mut looks = Vec::new();
    for n in 0..10_000 {
        match shared.page(ask(n, dialect(n), at(1)), &tail, 3, 0) {
            Turn::Look(draft, Place::Log) => looks.push(draft),
            Turn::Waits => {}
            Turn::Look(_, Place::Worker) | Turn::Page(_) => panic!("the log is asked first"),
        }
    }
    assert_eq!(looks.len(), 1);
    let waiting = shared.came(looks.remove(0).with_log(Ok(read(&log, 1))), 0).there;
    let readers: HashSet<_> = waiting.iter().map(|asked| asked.connection).collect();
    assert_eq!((waiting.len(), readers.len()), (10_000, 10_000), "everybody asks again");
    // Those who come a little later find it, too.
    let late = (10_000..11_000).map(|n| ask(n, dialect(n), at(1)));
    let mut encodings = HashSet::new();
    for asked in waiting.into_iter().chain(late) {
        let dialect = asked.dialect;
        let Turn::Page(page) = shared.page(asked, &tail, 3, 0) else { panic!("it is known") };
        let frame = frame(page);
        if dialect == Dialect::V1Json {
            assert_eq!(seqs(&json(&frame), "seq"), [2, 3]);
        }
        encodings.insert(frame.as_ptr());
    }
    assert_eq!(encodings.len(), 2, "one frame of each dialect, however many sockets have it");
}

#[test]
fn a_last_page_is_not_shared_with_who_was_told_less_or_more() {
    let log = three();
    let (mut shared, tail) = (Shared::default(), tail(&log, 0));
    let mut page = |reader, sent| match shared.page(v1(reader, 1), &tail, sent, 0) {
        Turn::Page(page) => json(&frame(page)),
        Turn::Waits | Turn::Look(..) => panic!("the ring has it"),
    };
    for (reader, sent, events) in [(0, 3, vec![2, 3]), (1, 2, vec![2]), (2, 3, vec![2, 3])] {
        let page = page(reader, sent);
        assert_eq!((seqs(&page, "seq"), page["seq"].as_u64()), (events, Some(sent)));
    }
}

#[test]
fn when_nobody_answers_everybody_hears_it_and_the_next_one_looks_again() {
    let (mut shared, tail) = (Shared::default(), tail(&three(), 3));
    let Turn::Look(draft, _) = shared.page(v1(0, 1), &tail, 3, 0) else { panic!("a look") };
    assert!(matches!(shared.page(v1(1, 1), &tail, 3, 0), Turn::Waits));
    assert!(matches!(shared.page(v1(3, 2), &tail, 3, 0), Turn::Waits));
    let failed = draft.with_log(Err(ReadError::Busy));
    assert!(failed.has_failed());
    let Waited { there, mut elsewhere } = shared.came(failed, 0);
    assert_eq!((there.len(), elsewhere.len()), (2, 1));
    let elsewhere = shared.page(elsewhere.remove(0), &tail, 3, 0);
    assert!(matches!(elsewhere, Turn::Look(..)), "who stands elsewhere may be answered all the same");
    assert!(matches!(shared.page(v1(2, 1), &tail, 3, 0), Turn::Look(..)));
}

#[test]
fn what_was_found_before_the_log_began_anew_is_not_told_as_the_newest() {
    let log = three();
    let mut shared = Shared::default();
    let Turn::Look(draft, _) = shared.page(v1(0, 1), &tail(&log, 3), 3, 0) else { panic!("a look") };
    shared.came(draft.with_log(Ok(read(&log, 1))), 0);
    let mut reborn = Tail::starting(epoch("f"));
    reborn.start(2);
    assert!(matches!(shared.page(v1(0, 1), &reborn, 2, 0), Turn::Page(Page::Failed)));
    assert!(matches!(shared.page(v1(0, 1), &reborn, 2, 0), Turn::Look(_, Place::Worker)));
}

#[test]
fn what_is_kept_is_bounded_in_bytes_and_in_time() {
    let log: Vec<_> = (1..=400).map(|seq| Logged1 { seq, bytes: Some(30_000) }).collect();
    let (mut shared, tail) = (Shared::default(), tail(&log, 400));
    for seq in 1..=380 {
        let asked = v1(0, seq);
        let Turn::Look(draft, _) = shared.page(asked.clone(), &tail, 400, seq) else { panic!("a look") };
        assert!(shared.scouts.len() == 1, "nobody else looks");
        shared.came(draft.with_log(Ok(read(&log, seq))), seq);
        assert!(matches!(shared.page(asked, &tail, 400, seq), Turn::Page(Page::More(_))));
        shared.drop_old(seq);
    }
    let held = |shared: &Shared| {
        let bytes = |entry: &Entry| match entry {
            Entry::Known { draft, made } => draft.bytes() + made.iter().map(Made::bytes).sum::<usize>(),
            Entry::Looking(_) => 0,
        };
        shared.entries.values().map(bytes).sum::<usize>()
    };
    assert!((BYTES_MAX / 2..=BYTES_MAX).contains(&held(&shared)), "{} bytes", held(&shared));
    let newest = shared.page(v1(1, 380), &tail, 400, 381);
    assert!(matches!(newest, Turn::Page(Page::More(_))), "the oldest went, not the newest");
    shared.drop_old(381 + KEPT_MS);
    assert!(shared.entries.is_empty() && shared.scouts.is_empty());
}

/// Asks from each place in turn, ends one look after the other; returns how many there were, and who heard that
/// nothing happened.
fn resumed(shared: &mut Shared, tail: &mut Tail, log: &[Logged1], places: &[Seq]) -> (usize, Vec<Seq>) {
    let (mut asks, mut looks): (Vec<_>, Vec<Draft>) =
        (places.iter().map(|seq| v1(0, *seq)).collect(), Vec::new());
    let (mut count, mut nothing) = (0, Vec::new());
    while !asks.is_empty() || !looks.is_empty() {
        for asked in std::mem::take(&mut asks) {
            let seq = asked.start.position.seq;
            match shared.page(asked, tail, tail.cursor(), 0) {
                Turn::Look(draft, _) => looks.push(draft),
                Turn::Page(Page::Last(None)) => nothing.push(seq),
                Turn::Page(_) | Turn::Waits => {}
            }
        }
        if looks.is_empty() {
            continue;
        }
        let draft = looks.remove(0);
        let page = read(log, draft.reached());
        let draft = draft.with_log(Ok(page));
        draft.teach(tail);
        let Waited { there, elsewhere } = shared.came(draft, 0);
        asks.extend(there.into_iter().chain(elsewhere));
        count += 1;
    }
    (count, nothing)
}

/// A channel with one event at 10, and entries that are nobody's up to 100: as if its shard had been purged to there.
fn aged() -> Vec<Logged1> {
    vec![Logged1 { seq: 10, bytes: Some(1) }, Logged1 { seq: 100, bytes: None }]
}

#[test]
fn whoever_stands_in_a_quiet_stretch_needs_no_look_of_his_own() {
    let log = aged();
    let (mut shared, mut tail) = (Shared::default(), tail(&log, 60));
    let places: Vec<Seq> = (10..100).map(|n| 10 + (n * 37) % 90).collect();
    let (looks, mut nothing) = resumed(&mut shared, &mut tail, &log, &places);
    assert_eq!(looks, 2, "the first one, and who is furthest behind");
    nothing.sort_unstable();
    assert_eq!(nothing, (10..100).collect::<Vec<_>>());
    // Who comes later and stands there, too, and who is told what happens then.
    assert_eq!(resumed(&mut shared, &mut tail, &log, &[100, 10, 33]), (0, vec![100, 10, 33]));
    let seq = 101;
    tail.on_live(Logged { seq, prev: 0, envelope: envelope(1) });
    assert_eq!(tail.cursor(), 60, "its `prev` says nothing");
    tail.on_read(vec![(seq, envelope(1))], seq, true);
    let Turn::Page(page) = shared.page(v1(1, 20), &tail, seq, 0) else { panic!("the ring has it") };
    let page = json(&frame(page));
    assert_eq!((seqs(&page, "seq"), seqs(&page, "prev")), (vec![101], vec![20]));
    tail.drop_ring();
    assert!(
        matches!(shared.page(v1(2, 30), &tail, seq, 0), Turn::Look(draft, Place::Log) if draft.reached() == 100)
    );
}

#[test]
fn who_is_behind_an_event_hears_of_it_and_does_not_hold_up_the_others() {
    let log: Vec<_> = [5, 10, 100].map(|seq| Logged1 { seq, bytes: (seq < 100).then_some(1) }).into();
    let (mut shared, mut tail) = (Shared::default(), tail(&log, 60));
    let (looks, nothing) = resumed(&mut shared, &mut tail, &log, &[2, 40, 7, 6, 30]);
    assert_eq!((looks, nothing), (3, vec![30, 40]), "for 2, 6 and 7");
}

#[test]
fn what_was_quiet_in_one_life_says_nothing_of_the_next() {
    let log = aged();
    let (mut shared, mut known) = (Shared::default(), tail(&log, 60));
    resumed(&mut shared, &mut known, &log, &[20]);
    assert_eq!((known.quiet_after(50), known.quiet_after(101)), (Some(100), None));
    let mut reborn = Tail::starting(epoch("f"));
    reborn.start(60);
    let late = draft_of(&log, 20);
    late.teach(&mut reborn);
    assert_eq!(reborn.quiet_after(50), None, "a look that comes late");
    assert!(matches!(shared.page(v1(1, 50), &reborn, 60, 0), Turn::Look(_, Place::Worker)));
}

/// What is found after a place.
fn draft_of(log: &[Logged1], seq: Seq) -> Draft {
    Draft::new(start(at(seq))).with_log(Ok(read(log, seq)))
}

/// What happens in a gateway with two reactors while sockets resume one channel.
#[derive(Debug, Clone)]
enum Step {
    Append(Option<usize>),
    /// A reactor is told everything.
    Tell(usize),
    /// A reader asks from where he stands.
    Ask(usize),
    /// A look ends, not always the oldest.
    Looked(usize),
    /// A reader forgets so many of the events that he has.
    Forgets(usize, Seq),
    RingGoes,
    Later(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![3 => 1_usize..50, 1 => 30_000_usize..60_000];
    prop_oneof![
        4 => prop::option::weighted(0.9, bytes).prop_map(Step::Append),
        3 => (0_usize..2).prop_map(Step::Tell),
        10 => (0_usize..6).prop_map(Step::Ask),
        4 => (0_usize..4).prop_map(Step::Looked),
        2 => ((0_usize..6), (1_u64..20)).prop_map(|(reader, seq)| Step::Forgets(reader, seq)),
        1 => Just(Step::RingGoes),
        1 => (0_u64..2 * KEPT_MS).prop_map(Step::Later),
    ]
}

struct World {
    log: Vec<Logged1>,
    tail: Tail,
    sent: [Seq; 2],
    /// Where each reader stands, and whether he waits for a page.
    readers: Vec<(Seq, bool)>,
    looks: Vec<Draft>,
    shared: Shared,
    now_ms: u64,
}

impl World {
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Append(bytes) => {
                let seq = u64::try_from(self.log.len()).unwrap() + 1;
                self.log.push(Logged1 { seq, bytes });
                if let Some(bytes) = bytes {
                    let (prev, envelope) = (self.tail.cursor(), envelope(bytes));
                    self.tail.on_live(Logged { seq, prev, envelope });
                }
            }
            Step::Tell(reactor) => self.sent[reactor] = self.tail.cursor(),
            Step::Ask(reader) if !self.readers[reader].1 => {
                self.readers[reader].1 = true;
                return self.ask(v1(reader, self.readers[reader].0));
            }
            Step::Forgets(reader, seqs) if !self.readers[reader].1 => {
                self.readers[reader].0 = self.readers[reader].0.saturating_sub(seqs);
            }
            Step::Ask(_) | Step::Forgets(..) => {}
            Step::Looked(n) if !self.looks.is_empty() => {
                let draft = self.looks.remove(n % self.looks.len());
                let page = read(&self.log, draft.reached());
                let draft = draft.with_log(Ok(page));
                draft.teach(&mut self.tail);
                let Waited { there, elsewhere } = self.shared.came(draft, self.now_ms);
                for asked in there.into_iter().chain(elsewhere) {
                    self.ask(asked)?;
                }
            }
            Step::Looked(_) => {}
            Step::RingGoes => self.tail.drop_ring(),
            Step::Later(ms) => {
                self.now_ms += ms;
                self.shared.drop_old(self.now_ms);
            }
        }
        Ok(())
    }

    fn ask(&mut self, asked: PageAsked) -> Result<(), TestCaseError> {
        let (reader, sent) = (usize::try_from(asked.connection.0).unwrap(), self.sent[asked.reactor]);
        match self.shared.page(asked, &self.tail, sent, self.now_ms) {
            Turn::Waits => {}
            Turn::Look(draft, Place::Log) => self.looks.push(draft),
            Turn::Look(_, Place::Worker) => return Err(TestCaseError::fail("all is in the log")),
            Turn::Page(page) => self.take(reader, sent, page)?,
        }
        prop_assert!(self.looks.len() <= self.readers.len());
        Ok(())
    }

    /// The page is exactly what lies between where its reader stands and where it ends.
    fn take(&mut self, reader: usize, sent: Seq, page: Page) -> Result<(), TestCaseError> {
        let from = self.readers[reader].0;
        let (end, events, prevs) = match page {
            Page::Failed => return Err(TestCaseError::fail("the log was there")),
            Page::Last(None) => (sent.max(from), Vec::new(), Vec::new()),
            Page::Last(Some(frame)) | Page::More(frame) => {
                let frame = json(&frame);
                let end = frame["seq"].as_u64().unwrap();
                let ends_well = if frame["more"] == true { from < end && end <= sent } else { end == sent };
                prop_assert!(ends_well, "from {from} to {end} of {sent}: {frame}");
                (end, seqs(&frame, "seq"), seqs(&frame, "prev"))
            }
        };
        let between = self.log.iter().filter(|one| one.bytes.is_some() && one.seq > from && one.seq <= end);
        prop_assert_eq!(&events, &between.map(|one| one.seq).collect::<Vec<_>>());
        let chain = std::iter::once(from).chain(events.iter().copied()).take(events.len());
        prop_assert_eq!(prevs, chain.collect::<Vec<_>>());
        self.readers[reader] = (end, false);
        Ok(())
    }
}

proptest! {
    #[test]
    fn whoever_shares_a_page_gets_exactly_what_he_misses(steps in prop::collection::vec(step(), 1..300)) {
        let mut world = World {
            log: Vec::new(),
            tail: tail(&[], 0),
            sent: [0; 2],
            readers: vec![(0, false); 6],
            looks: Vec::new(),
            shared: Shared::default(),
            now_ms: 0,
        };
        for step in &steps {
            world.step(step)?;
        }
        // Whoever still waits is answered when the looks end.
        while !world.looks.is_empty() {
            world.step(&Step::Looked(0))?;
        }
        prop_assert!(world.readers.iter().all(|(_, waits)| !waits));
    }
}
