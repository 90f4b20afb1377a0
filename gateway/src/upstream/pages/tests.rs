//! A client that asks page after page sees the log, whatever the ring still holds, whatever was purged, however often
//! the log began anew, and whatever comes meanwhile.

mod graves;

use super::super::tail::Tail;
use super::*;
use broker::Entry;
use bytes::Bytes;
use proptest::prelude::*;
use protocol::envelope::Kind;
use protocol::frames::Dialect;
use protocol::ids::{ChannelId, MessageId, UserId};
use protocol::requests::PlacedEvent;
use protocol::time::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;

/// Entries that log and worker give at once here.
const READ_ENTRIES: usize = 5;

pub(super) fn epoch(text: &str) -> Epoch {
    Epoch::parse(text).unwrap()
}

pub(super) fn channel() -> ChannelId {
    ChannelId::parse("c").unwrap()
}

pub(super) fn envelope(bytes: usize) -> Envelope {
    Envelope {
        kind: Kind::Message,
        channel_id: channel(),
        by: UserId::parse("u").unwrap(),
        at: Timestamp::from_unix_ms(1),
        message_id: MessageId::parse("m").unwrap(),
        client_msg_id: None,
        content_hash: 0,
        body: serde_json::value::to_raw_value(&"x".repeat(bytes)).unwrap(),
    }
}

/// One entry of the log; without bytes it cannot be decoded.
#[derive(Debug, Clone)]
pub(super) struct Logged1 {
    pub(super) seq: Seq,
    pub(super) bytes: Option<usize>,
}

pub(super) fn start(position: Position) -> Start {
    Start { channel: channel(), position }
}

fn draft(asked: Position) -> Draft {
    Draft::new(start(asked))
}

pub(super) fn read(log: &[Logged1], after: Seq) -> LogPage {
    let rest: Vec<_> = log.iter().filter(|entry| entry.seq > after).collect();
    let encoded = |bytes: Option<usize>| {
        bytes.map_or(Bytes::from_static(b"?"), |bytes| envelope(bytes).encode().unwrap().into())
    };
    let entry =
        |entry: &&Logged1| Entry { channel: channel(), seq: entry.seq, envelope: encoded(entry.bytes) };
    let head = log.last().map_or(0, |entry| entry.seq);
    let entries = rest.iter().take(READ_ENTRIES).map(entry).collect();
    LogPage { entries, head, end: rest.len() <= READ_ENTRIES, floor: 0 }
}

/// The tail of a gateway that follows since `start` and has seen everything that is logged.
pub(super) fn tail(log: &[Logged1], start: Seq) -> Tail {
    tail_of(epoch("e"), log, start)
}

fn tail_of(epoch: Epoch, log: &[Logged1], start: Seq) -> Tail {
    let mut tail = Tail::starting(epoch);
    tail.start(start);
    tail.on_lost();
    let newer = log.iter().filter(|entry| entry.seq > start);
    let entries = newer.filter_map(|entry| Some((entry.seq, envelope(entry.bytes?)))).collect();
    tail.on_read(entries, log.last().map_or(start, |entry| entry.seq), true);
    tail
}

/// Every life of a channel's log, of which the last one runs, purged up to `floor`.
struct Lives {
    lives: Vec<Vec<Logged1>>,
    floor: Seq,
}

impl Lives {
    fn epoch(n: usize) -> Epoch {
        epoch(&format!("life-{n}"))
    }

    fn now(&self) -> (usize, &[Logged1]) {
        let (n, log) = self.lives.iter().enumerate().next_back().unwrap();
        (n, log)
    }

    fn read(&self, after: Seq) -> LogPage {
        let kept: Vec<_> = self.now().1.iter().filter(|entry| entry.seq > self.floor).cloned().collect();
        let head = self.now().1.last().map_or(0, |entry| entry.seq);
        LogPage { floor: self.floor, head, ..read(&kept, after) }
    }

    /// What a worker says: a page of one life.
    fn answer(&self, after: &Position) -> EventsAnswer {
        let of = (0..self.lives.len()).find(|n| Self::epoch(*n) == after.epoch).unwrap();
        for n in of..self.lives.len() {
            let from = if n == of { after.seq } else { 0 };
            let rest: Vec<_> = self.lives[n].iter().filter(|entry| entry.seq > from).collect();
            let more = rest.len() > READ_ENTRIES || n + 1 < self.lives.len();
            let page = &rest[..rest.len().min(READ_ENTRIES)];
            let Some(last) = page.last() else { continue };
            let json =
                |bytes| RawValue::from_string(String::from_utf8(envelope(bytes).encode().unwrap()).unwrap());
            let placed =
                |one: &&Logged1| Some(PlacedEvent { seq: one.seq, envelope: json(one.bytes?).unwrap() });
            let events = page.iter().filter_map(placed).collect();
            return EventsAnswer::Page(EventsPage { epoch: Self::epoch(n), events, reached: last.seq, more });
        }
        let (n, log) = self.now();
        let reached = log.last().map_or(0, |entry| entry.seq);
        EventsAnswer::Page(EventsPage { epoch: Self::epoch(n), events: Vec::new(), reached, more: false })
    }

    /// Makes one page.
    fn page(&self, asked: Position, tail: &Tail, sent: Seq) -> Page {
        let mut draft = draft(asked);
        for _ in 0..10 {
            draft = match draft.finish(tail, sent, Dialect::V1Json) {
                Outcome::Done(made) => return made.page,
                Outcome::Look(Place::Log) => {
                    let page = self.read(draft.reached());
                    draft.with_log(Ok(page))
                }
                Outcome::Look(Place::Worker) => {
                    let answer = self.answer(&draft.question(tail.position()).after);
                    draft.with_answer(Ok(answer))
                }
            };
        }
        panic!("looking for a page comes to an end");
    }
}

pub(super) fn json(frame: &[u8]) -> Value {
    let header =
        [(126, 4), (127, 10)].iter().find(|(mark, _)| frame[1] == *mark).map_or(2, |(_, size)| *size);
    serde_json::from_slice(&frame[header..]).unwrap()
}

pub(super) fn seqs(page: &Value, field: &str) -> Vec<Seq> {
    page["events"].as_array().unwrap().iter().map(|event| event[field].as_u64().unwrap()).collect()
}

pub(super) fn at(seq: Seq) -> Position {
    Position { epoch: epoch("e"), seq }
}

/// Asks page after page; returns what was seen, and where the channel went live.
fn follow(
    lives: &Lives,
    mut client: Position,
    tail: &Tail,
    mut told: impl FnMut() -> Seq,
) -> Result<(Vec<(Epoch, Seq)>, Position), TestCaseError> {
    let mut seen = Vec::new();
    for _ in 0..300 {
        let sent = told();
        let (frame, more) = match lives.page(client.clone(), tail, sent) {
            Page::Failed => return Err(TestCaseError::fail("everybody answered")),
            Page::Last(None) => return Ok((seen, client)),
            Page::Last(Some(frame)) => (json(&frame), false),
            Page::More(frame) => (json(&frame), true),
        };
        prop_assert_eq!((&frame["reset"], &frame["more"]), (&Value::Bool(false), &Value::Bool(more)));
        let end =
            Position { epoch: epoch(frame["epoch"].as_str().unwrap()), seq: frame["seq"].as_u64().unwrap() };
        let (events, prevs) = (seqs(&frame, "seq"), seqs(&frame, "prev"));
        let first = if end.epoch == client.epoch { client.seq } else { 0 };
        let chain: Vec<_> = std::iter::once(first).chain(events.iter().copied()).take(events.len()).collect();
        prop_assert_eq!(prevs, chain);
        prop_assert!(
            frame["events"].as_array().unwrap().iter().all(|event| event["epoch"] == frame["epoch"])
        );
        prop_assert!((&end.epoch, end.seq) > (&client.epoch, client.seq), "each page brings the client on");
        seen.extend(events.into_iter().map(|seq| (end.epoch.clone(), seq)));
        client = end;
        if !more {
            prop_assert_eq!(&client, &Position { epoch: tail.epoch().clone(), seq: sent });
            return Ok((seen, client));
        }
    }
    Err(TestCaseError::fail("a client is live at last"))
}

type Steps = Vec<(u64, Option<usize>)>;

fn steps(most: usize) -> impl Strategy<Value = Steps> {
    let bytes = prop_oneof![3 => 1_usize..50, 1 => 30_000_usize..60_000];
    prop::collection::vec((1_u64..4, prop::option::weighted(0.8, bytes)), 0..most)
}

fn logged(steps: Steps) -> Vec<Logged1> {
    let mut seq = 0;
    let entry = |(step, bytes)| {
        seq += step;
        Logged1 { seq, bytes }
    };
    steps.into_iter().map(entry).collect()
}

proptest! {
    #[test]
    fn page_after_page_is_the_log_through_all_its_lives(
        earlier in prop::collection::vec(steps(12), 0..3),
        now in steps(40),
        from in (0_usize..3, 0_u64..100),
        (start, floor) in (0_u64..100, 0_u64..100),
        told in prop::collection::vec(0_u64..10, 1..4),
    ) {
        let mut lives: Vec<_> = earlier.into_iter().map(logged).collect();
        lives.push(logged(now));
        let head = lives.last().unwrap().last().map_or(0, |entry| entry.seq);
        let lives = Lives { lives, floor: floor.min(head) };
        let tail = tail_of(Lives::epoch(lives.now().0), lives.now().1, start.min(head));
        let life = from.0.min(lives.now().0);
        let from = from.1.min(lives.lives[life].last().map_or(0, |entry| entry.seq));
        // The reactor was told less than upstream knows, and is told more while the client asks.
        let behind: u64 = told.iter().sum();
        let (mut sent, mut asked) = (tail.cursor().saturating_sub(behind), 0);
        let told = || {
            let now = sent;
            sent = tail.cursor().min(sent + told.get(asked).copied().unwrap_or(behind));
            asked += 1;
            now
        };
        let place = Position { epoch: Lives::epoch(life), seq: from };
        let (seen, live) = follow(&lives, place, &tail, told)?;
        let mut expected = Vec::new();
        for (n, log) in lives.lives.iter().enumerate() {
            let wanted = |one: &&Logged1| one.bytes.is_some()
                && (n > life || n == life && one.seq > from)
                && (n < lives.now().0 || one.seq <= live.seq);
            expected.extend(log.iter().filter(wanted).map(|one| (Lives::epoch(n), one.seq)));
        }
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(&live.epoch, tail.epoch());
    }
}

pub(super) fn three() -> Vec<Logged1> {
    (1..=3).map(|seq| Logged1 { seq, bytes: Some(1) }).collect()
}

fn made(draft: &Draft, tail: &Tail, sent: Seq) -> Page {
    match draft.finish(tail, sent, Dialect::V1Json) {
        Outcome::Done(made) => made.page,
        Outcome::Look(place) => panic!("{place:?} shall be asked"),
    }
}

#[test]
fn who_stands_where_nobody_knows_starts_over() {
    let log = three();
    let elsewhere = Position { epoch: epoch("other"), seq: 2 };
    let unknown = [
        draft(elsewhere).with_answer(Ok(EventsAnswer::Unknown)),
        draft(at(1))
            .with_log(Ok(LogPage { floor: 2, ..read(&log, 1) }))
            .with_answer(Ok(EventsAnswer::Unknown)),
        draft(at(9)).with_log(Ok(read(&log, 9))),
    ];
    for draft in unknown {
        let Page::Last(Some(frame)) = made(&draft, &tail(&log, 0), 3) else { panic!("a last page") };
        let frame = json(&frame);
        assert_eq!(
            (&frame["reset"], &frame["seq"], &frame["events"]),
            (&true.into(), &3.into(), &Value::Array(vec![]))
        );
    }
}

#[test]
fn a_worker_is_asked_where_the_log_does_not_reach() {
    let (log, elsewhere) = (three(), Position { epoch: epoch("d"), seq: 2 });
    let purged = draft(at(1)).with_log(Ok(LogPage { floor: 2, ..read(&log, 1) }));
    for (draft, after) in [(purged, at(1)), (draft(elsewhere.clone()), elsewhere)] {
        let tail = tail(&log, 3);
        assert!(matches!(draft.finish(&tail, 3, Dialect::V1Json), Outcome::Look(Place::Worker)));
        let head = tail.position();
        assert_eq!(draft.question(head.clone()), EventsRequest { channel_id: channel(), after, head });
    }
}

#[test]
fn an_acknowledgement_may_be_ahead_of_what_came_here() {
    let log = three();
    let behind = tail(&log[..2], 0);
    let draft = draft(at(3));
    assert!(matches!(draft.finish(&behind, 2, Dialect::V1Json), Outcome::Look(Place::Log)));
    assert!(matches!(made(&draft.with_log(Ok(read(&log, 3))), &behind, 2), Page::Last(None)));
}

#[test]
fn who_comes_from_an_earlier_life_is_told_where_he_is_though_nothing_happened() {
    let answer = EventsPage { epoch: epoch("e"), events: Vec::new(), reached: 3, more: false };
    let draft = draft(Position { epoch: epoch("d"), seq: 7 }).with_answer(Ok(EventsAnswer::Page(answer)));
    let Page::Last(Some(frame)) = made(&draft, &tail(&three(), 3), 3) else { panic!("a last page") };
    let frame = json(&frame);
    assert_eq!((&frame["epoch"], &frame["seq"], &frame["reset"]), (&"e".into(), &3.into(), &false.into()));
}

#[test]
fn what_cannot_be_asked_is_said() {
    let stuck = EventsPage { epoch: epoch("e"), events: Vec::new(), reached: 1, more: true };
    let ended = LogPage { entries: Vec::new(), end: false, ..read(&three(), 1) };
    let failed = [
        draft(at(1)).with_log(Err(ReadError::Busy)),
        draft(at(1)).with_log(Ok(ended)),
        draft(at(1)).with_answer(Err(ErrorCode::Unavailable)),
        draft(at(1)).with_answer(Ok(EventsAnswer::Page(stuck))),
    ];
    for draft in failed {
        assert!(draft.has_failed());
        assert!(matches!(made(&draft, &tail(&three(), 3), 3), Page::Failed));
    }
}
