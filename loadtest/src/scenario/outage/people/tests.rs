use super::*;
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

const ESTABLISHED: &[u8] =
    br#"{"type":"connection_established","channels":[{"channel_id":"outage-r0","epoch":"e","seq":4}]}"#;
const DONE: &[u8] = br#"{"type":"resume_done","ref":"r"}"#;
const SECOND_NS: u64 = 1_000_000_000;

/// One listener, socket 0, and one writer, socket 1; one message a second.
fn options() -> Options {
    let words =
        ["test", "--drops", "1", "--connections", "1", "--rooms", "1", "--writers", "1", "--rate", "1"];
    Arguments::parse_from(words).options
}

/// Both are there from second 0 on.
fn there(options: &Options) -> People<'_> {
    let mut people = People::new(options);
    for socket in 0..2 {
        assert!(frame(&mut people, socket, ESTABLISHED, 0).is_empty());
    }
    assert_eq!(people.presence.established, 2);
    people
}

/// What a socket answers to a frame.
fn frame(people: &mut People<'_>, socket: usize, json: &[u8], now_ns: u64) -> Vec<(usize, String)> {
    let mut out = Outgoing::default();
    people.on(socket, &Happened::Frame(json), now_ns, &mut out);
    out.take()
}

fn gone(people: &mut People<'_>, socket: usize, code: Option<u16>, now_ns: u64) {
    people.on(socket, &Happened::Gone(code), now_ns, &mut Outgoing::default());
}

/// Lets a socket come back that was dropped: taken at `now_ns`, and all that was missed there.
fn back(people: &mut People<'_>, socket: usize, now_ns: u64) {
    let resume = frame(people, socket, ESTABLISHED, now_ns);
    assert!(resume[0].1.contains(r#""type":"resume""#), "{resume:?}");
    frame(people, socket, DONE, now_ns);
}

#[test]
fn who_is_dropped_comes_to_one_gateway_after_the_other_with_growing_jitter() {
    let options = options();
    let mut people = there(&options);
    gone(&mut people, 0, None, 10 * SECOND_NS);
    for (hops, bound_ms) in [(1, 500), (2, 1_000), (3, 2_000)] {
        let bound_ns = 10 * SECOND_NS + bound_ms * 1_000_000;
        let comes = Some((0, Arrival::Resuming { hops }));
        assert_eq!(people.who_comes(bound_ns), comes, "within the bound");
        assert_eq!(people.who_comes(bound_ns), None, "once");
        gone(&mut people, 0, Some(503), 10 * SECOND_NS);
    }
    assert_eq!((people.dropped, people.away, people.refused), (1, 1, 3));
    assert!(people.who_comes(u64::MAX).is_some());
    frame(&mut people, 0, ESTABLISHED, 11 * SECOND_NS);
    gone(&mut people, 0, None, 11 * SECOND_NS);
    assert_eq!((people.dropped, people.away, people.lost_resuming), (1, 1, 1), "it was not back yet");
    assert!(people.who_comes(u64::MAX).is_some());
    back(&mut people, 0, 13 * SECOND_NS);
    assert_eq!((people.away, people.resume.summary()["count"].as_u64()), (0, Some(1)));
    assert!(
        (people.resume.percentile_ms(99.0) - 3_000.0).abs() < 3.0,
        "from the drop, not from the last attempt"
    );
    assert!(!people.is_over(13 * SECOND_NS - 1) && people.is_over(13 * SECOND_NS), "3 s after the last drop");
}

#[test]
fn who_is_asked_to_come_back_later_does() {
    let options = options();
    let mut people = there(&options);
    frame(&mut people, 0, br#"{"type":"reconnect","after_ms":700,"reason":"restart"}"#, SECOND_NS);
    gone(&mut people, 0, Some(1012), SECOND_NS + 1);
    assert_eq!(people.who_comes(SECOND_NS + 699_999_999), None);
    assert_eq!(people.who_comes(SECOND_NS + 700_000_000), Some((0, Arrival::Resuming { hops: 1 })));
    assert_eq!(people.ends, BTreeMap::from([("1012".to_owned(), 1)]));
    back(&mut people, 0, 2 * SECOND_NS);
    gone(&mut people, 0, Some(1012), 3 * SECOND_NS);
    assert!(people.who_comes(3 * SECOND_NS + 500_000_000).is_some(), "nobody asked a second time");
}

#[test]
fn who_must_not_come_back_is_lost() {
    let options = options();
    let mut people = there(&options);
    gone(&mut people, 0, Some(4500), SECOND_NS);
    assert_eq!(people.presence.gone, [(0, Some(4500))]);
    assert_eq!(people.who_comes(u64::MAX), None);
    for code in [1000, 1002, 1003, 1007, 1008, 1009, 4501, 4502, 4505, 400, 403, 426] {
        assert!(!may_come_back(Some(code)), "{code}");
    }
    for code in [1001, 1005, 1006, 1011, 1012, 1013, 4001, 4009, 4011, 4012, 429, 503] {
        assert!(may_come_back(Some(code)), "{code}");
    }
}

#[test]
fn a_writer_sends_again_what_was_not_acknowledged_before_anything_else() {
    let options = options();
    let mut people = there(&options);
    people.writers.begin(0);
    people.writers.fall_due(0);
    let [(1, first)] = &people.what_is_sent(0)[..] else { panic!("the first message is due") };
    gone(&mut people, 1, None, SECOND_NS);
    people.writers.fall_due(2 * SECOND_NS);
    assert!(people.what_is_sent(2 * SECOND_NS).is_empty(), "nobody is there");
    assert!(people.who_comes(2 * SECOND_NS).is_some());
    back(&mut people, 1, 2 * SECOND_NS);
    let [(1, again)] = &people.what_is_sent(2 * SECOND_NS)[..] else { panic!("it is sent again") };
    assert_eq!(crate::acks::name(again.as_bytes()), crate::acks::name(first.as_bytes()));
    assert!(again.contains(r#""retry":true"#) && !first.contains("retry"), "{again}");
    assert!(people.what_is_sent(2 * SECOND_NS).is_empty(), "the next one waits");
    frame(&mut people, 1, br#"{"type":"error","code":"unavailable","retry_after_ms":1000}"#, 2 * SECOND_NS);
    assert!(people.what_is_sent(3 * SECOND_NS - 1).is_empty());
    let [(1, third)] = &people.what_is_sent(3 * SECOND_NS)[..] else { panic!("it is sent once more") };
    assert_eq!((third, people.writers.resent, people.writers.acks.sent), (again, 2, 1));
    let name = crate::acks::name(first.as_bytes()).unwrap();
    frame(&mut people, 1, format!(r#"{{"type":"ack","client_msg_id":"{name}"}}"#).as_bytes(), 3 * SECOND_NS);
    let [(1, second)] = &people.what_is_sent(3 * SECOND_NS)[..] else { panic!("the next one is due") };
    assert!(crate::acks::name(second.as_bytes()).unwrap().ends_with("-0-1"));
    assert_eq!((people.writers.unfinished(), people.waits()), (2, true));
    let latencies = [&people.writers.latency, &people.writers.late].map(Latency::summary);
    assert_eq!(latencies.map(|summary| summary["count"].as_u64()), [Some(0), Some(1)]);
    assert_eq!(people.presence.errors, 0);
    frame(&mut people, 1, br#"{"type":"error","code":"permission_denied"}"#, 3 * SECOND_NS);
    assert_eq!(people.presence.errors, 1, "that is nothing that passes");
}
