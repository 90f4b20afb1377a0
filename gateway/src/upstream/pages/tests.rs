//! A client that asks page after page sees the log, whatever the ring still holds and whatever comes meanwhile.

use super::super::tail::Tail;
use super::*;
use crate::hub::ConnectionId;
use broker::Entry;
use bytes::Bytes;
use proptest::prelude::*;
use protocol::envelope::Kind;
use protocol::frames::Dialect;
use protocol::ids::{ChannelId, MessageId, UserId};
use protocol::time::Timestamp;
use serde_json::Value;

/// Entries that the broker gives at once here.
const READ_ENTRIES: usize = 5;

fn epoch(text: &str) -> Epoch {
    Epoch::parse(text).unwrap()
}

fn channel() -> ChannelId {
    ChannelId::parse("c").unwrap()
}

fn envelope(bytes: usize) -> Envelope {
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
struct Logged1 {
    seq: Seq,
    bytes: Option<usize>,
}

fn draft(asked: Position) -> Draft {
    Draft::new(PageAsked {
        reactor: 0,
        connection: ConnectionId(1),
        dialect: Dialect::V1Json,
        channel: channel(),
        position: asked,
    })
}

fn read(log: &[Logged1], after: Seq) -> LogPage {
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
fn tail(log: &[Logged1], start: Seq) -> Tail {
    let mut tail = Tail::starting(epoch("e"));
    tail.start(start);
    tail.on_lost();
    let newer = log.iter().filter(|entry| entry.seq > start);
    let entries = newer.filter_map(|entry| Some((entry.seq, envelope(entry.bytes?)))).collect();
    tail.on_read(entries, log.last().map_or(start, |entry| entry.seq), true);
    tail
}

/// Makes one page; returns it and how often the log was read for it.
fn page(asked: Position, log: &[Logged1], tail: &Tail, sent: Seq) -> (Page, usize) {
    let (mut draft, mut reads) = (draft(asked), 0);
    loop {
        match draft.finish(tail, sent) {
            Outcome::Done(page) => return (page, reads),
            Outcome::Read(again) => {
                reads += 1;
                assert!(reads < 100, "reading for a page comes to an end");
                let found = read(log, again.reached());
                draft = again.with(Ok(found));
            }
        }
    }
}

fn json(frame: &[u8]) -> Value {
    let header =
        [(126, 4), (127, 10)].iter().find(|(mark, _)| frame[1] == *mark).map_or(2, |(_, size)| *size);
    serde_json::from_slice(&frame[header..]).unwrap()
}

fn seqs(page: &Value, field: &str) -> Vec<Seq> {
    page["events"].as_array().unwrap().iter().map(|event| event[field].as_u64().unwrap()).collect()
}

fn at(seq: Seq) -> Position {
    Position { epoch: epoch("e"), seq }
}

proptest! {
    #[test]
    fn page_after_page_is_the_log(
        steps in prop::collection::vec((1_u64..4, prop::option::weighted(0.8, prop_oneof![3 => 1_usize..50, 1 => 30_000_usize..60_000])), 1..40),
        from in 0_u64..100,
        start in 0_u64..100,
        told in prop::collection::vec(0_u64..10, 1..4),
    ) {
        let mut seq = 0;
        let log: Vec<_> = steps.iter().map(|(step, bytes)| { seq += step; Logged1 { seq, bytes: *bytes } }).collect();
        let tail = tail(&log, start.min(seq));
        let from = from.min(seq);
        // The reactor was told less than upstream knows, and is told more while the client asks.
        let behind: u64 = told.iter().sum();
        let mut sent = tail.cursor().saturating_sub(behind);
        let (mut client, mut seen) = (from, Vec::new());
        for asked in 0.. {
            prop_assert!(asked < 200, "a client is live at last");
            let (page, _) = page(at(client), &log, &tail, sent);
            let (frame, more) = match page {
                Page::Failed => return Err(TestCaseError::fail("the log was there")),
                Page::Last(None) => break,
                Page::Last(Some(frame)) => (json(&frame), false),
                Page::More(frame) => (json(&frame), true),
            };
            prop_assert_eq!(&frame["reset"], &Value::Bool(false));
            let (events, prevs) = (seqs(&frame, "seq"), seqs(&frame, "prev"));
            let chain: Vec<_> = std::iter::once(client).chain(events.iter().copied()).take(events.len()).collect();
            prop_assert_eq!(prevs, chain);
            seen.extend(events);
            let reached = frame["seq"].as_u64().unwrap();
            prop_assert!(reached > client, "each page brings the client on");
            client = reached;
            if !more {
                break;
            }
            sent = tail.cursor().min(sent + told.get(asked).copied().unwrap_or(behind));
        }
        let expected: Vec<_> =
            log.iter().filter(|e| e.bytes.is_some() && e.seq > from && e.seq <= sent.max(client)).map(|e| e.seq).collect();
        prop_assert_eq!(seen, expected);
    }
}

fn three() -> Vec<Logged1> {
    (1..=3).map(|seq| Logged1 { seq, bytes: Some(1) }).collect()
}

#[test]
fn a_position_of_another_log_starts_over() {
    let log = three();
    let elsewhere = Position { epoch: epoch("other"), seq: 2 };
    for asked in [elsewhere, at(9)] {
        let (Page::Last(Some(frame)), _) = page(asked, &log, &tail(&log, 0), 3) else {
            panic!("a last page")
        };
        let frame = json(&frame);
        assert_eq!(
            (&frame["reset"], &frame["seq"], &frame["events"]),
            (&true.into(), &3.into(), &Value::Array(vec![]))
        );
    }
}

#[test]
fn an_acknowledgement_may_be_ahead_of_what_came_here() {
    let log = three();
    let behind = tail(&log[..2], 0);
    assert!(matches!(page(at(3), &log, &behind, 2), (Page::Last(None), 1)));
}

#[test]
fn what_was_purged_cannot_be_resumed() {
    let log = three();
    let purged = LogPage { floor: 2, ..read(&log, 1) };
    let Outcome::Done(Page::Last(Some(frame))) = draft(at(1)).with(Ok(purged)).finish(&tail(&log, 3), 3)
    else {
        panic!("a last page")
    };
    assert_eq!(json(&frame)["reset"], true);
}

#[test]
fn a_log_that_cannot_be_read_is_said() {
    let failed = draft(at(1)).with(Err(ReadError::Busy)).finish(&tail(&three(), 3), 3);
    assert!(matches!(failed, Outcome::Done(Page::Failed)));
}
