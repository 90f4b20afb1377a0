//! `visit`: everybody sends a message, resumes from the beginning of the room, reads the message in its history, and
//! stays, so that somebody else can count what the system has for people who did all of that.

use super::follow::{Established, Page};
use super::{Counted, Presence, connect, is, nanos};
use crate::acks::Acks;
use crate::engine::{Engine, Happened, Load, Outgoing};
use crate::options::{Common, positive};
use crate::process::{Cost, Meter};
use crate::report::{Report, Verdict, say};
use crate::stats::Latency;
use anyhow::bail;
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

const SCENARIO: &str = "visit";

/// Visits under way at once. Chosen: below what a shard on NATS takes in flight.
const AT_ONCE: usize = 100;

/// Messages of history that are asked for around one's own.
const HISTORY: usize = 10;

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Connections
    #[arg(long, default_value_t = 1_000, value_parser = positive())]
    connections: usize,
    /// Rooms that the users were seeded in
    #[arg(long, default_value_t = 100, value_parser = positive())]
    rooms: usize,
    /// Seconds for which everybody stays when all visits are over and sound
    #[arg(long, default_value_t = 0)]
    hold: u64,
}

#[derive(Deserialize)]
struct Ack {
    message_id: String,
}

/// How far somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Visit {
    /// Waiting => Sending when it is this one's turn.
    Waiting,
    /// Sending => Resuming when the message is acknowledged.
    Sending,
    /// Resuming => Reading when the last page came. The message was found so far or not, and another page begins here.
    Resuming {
        message_id: String,
        found: bool,
        more: Option<u64>,
    },
    /// Reading => Over when history came.
    Reading {
        message_id: String,
    },
    Over,
}

struct Visitors<'a> {
    options: &'a Options,
    presence: Presence,
    acks: Acks,
    visits: Vec<Visit>,
    /// Of each one's room, as the server said at the beginning.
    epochs: Vec<String>,
    /// Who visits next.
    next: usize,
    over: usize,
    /// Resumes and histories without the message that was acknowledged before.
    not_resumed: u64,
    not_in_history: u64,
    /// Positions that the server did not know.
    resets: u64,
    latency: Latency,
}

impl<'a> Visitors<'a> {
    fn new(options: &'a Options) -> Self {
        Self {
            options,
            presence: Presence::default(),
            acks: Acks::new(options.connections),
            visits: vec![Visit::Waiting; options.connections],
            epochs: vec![String::new(); options.connections],
            next: 0,
            over: 0,
            not_resumed: 0,
            not_in_history: 0,
            resets: 0,
            latency: Latency::new(),
        }
    }

    fn room(&self, socket: usize) -> String {
        self.options.common.room(SCENARIO, socket % self.options.rooms)
    }

    /// Begins the next visit, if somebody has not made one yet: who it is, and the message.
    fn begin(&mut self, now_ns: u64) -> Option<(usize, String)> {
        let socket = self.next;
        *self.visits.get_mut(socket)? = Visit::Sending;
        self.next += 1;
        let content = self.acks.content(socket, 0, now_ns);
        let room = self.room(socket);
        Some((socket, self.acks.send(content, &room, self.options.common.payload)))
    }

    fn established(&mut self, socket: usize, json: &[u8]) {
        let room = self.room(socket);
        self.presence.welcome(json, &room);
        let Ok(Established { channels }) = serde_json::from_slice(json) else { return };
        if let Some(entry) = channels.into_iter().find(|entry| entry.channel_id == room) {
            self.epochs[socket] = entry.epoch;
        }
    }

    fn acknowledged(&mut self, socket: usize, json: &[u8], now_ns: u64, out: &mut Outgoing) {
        let Some(sent_ns) = self.acks.take(socket, json) else { return };
        self.latency.record(now_ns.saturating_sub(sent_ns));
        if let Ok(Ack { message_id }) = serde_json::from_slice(json) {
            self.visits[socket] = Visit::Resuming { message_id, found: false, more: None };
            out.send(socket, self.resume(socket, 0));
        }
    }

    fn resume(&self, socket: usize, seq: u64) -> String {
        let position = json!({"channel_id": self.room(socket), "epoch": self.epochs[socket], "seq": seq});
        json!({"type": "resume", "channels": [position], "last": true, "ref": "r"}).to_string()
    }

    fn resumed(&mut self, socket: usize, json: &[u8]) {
        let Visit::Resuming { message_id, found, more } = &mut self.visits[socket] else { return };
        if let Ok(page) = serde_json::from_slice::<Page<'_>>(json) {
            *found |= names(json, message_id);
            *more = page.more.then_some(page.seq);
            self.resets += u64::from(page.reset);
        }
    }

    fn resume_done(&mut self, socket: usize, out: &mut Outgoing) {
        let Visit::Resuming { message_id, found, more } = &mut self.visits[socket] else { return };
        if let Some(seq) = more.take() {
            return out.send(socket, self.resume(socket, seq));
        }
        let (message_id, found) = (std::mem::take(message_id), *found);
        self.not_resumed += u64::from(!found);
        let room = self.room(socket);
        let asks =
            json!({"type": "fetch_history", "channel_id": room, "around": message_id, "limit": HISTORY});
        self.visits[socket] = Visit::Reading { message_id };
        out.send(socket, asks.to_string());
    }

    fn history(&mut self, socket: usize, json: &[u8], now_ns: u64, out: &mut Outgoing) {
        let Visit::Reading { message_id } = &self.visits[socket] else { return };
        self.not_in_history += u64::from(!names(json, message_id));
        self.visits[socket] = Visit::Over;
        self.over += 1;
        if let Some((next, message)) = self.begin(now_ns) {
            out.send(next, message);
        }
    }
}

/// Whether a frame has this message in it.
fn names(json: &[u8], message_id: &str) -> bool {
    memchr::memmem::find(json, format!(r#""id":"{message_id}""#).as_bytes()).is_some()
}

impl Load for Visitors<'_> {
    fn on(&mut self, socket: usize, happened: &Happened<'_>, now_ns: u64, out: &mut Outgoing) {
        match happened {
            Happened::Gone(code) => self.presence.gone.push((socket, *code)),
            Happened::Frame(json) if is(json, "ack") => self.acknowledged(socket, json, now_ns, out),
            Happened::Frame(json) if is(json, "resumed") => self.resumed(socket, json),
            Happened::Frame(json) if is(json, "resume_done") => self.resume_done(socket, out),
            Happened::Frame(json) if is(json, "history") => self.history(socket, json, now_ns, out),
            Happened::Frame(json) if is(json, "connection_established") => self.established(socket, json),
            Happened::Frame(json) if is(json, "error") => self.presence.error(json),
            Happened::Frame(_) => {}
        }
    }
}

impl Counted for Visitors<'_> {
    fn presence(&self) -> &Presence {
        &self.presence
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Verdict> {
    let common = &options.common;
    let mut engine = Engine::new(common, options.connections, options.rooms)?;
    let mut visitors = Visitors::new(options);
    connect(&mut engine, &mut visitors, common, SCENARIO, (0, options.connections))?;
    let meter = Meter::begin(&common.server_pids)?;
    visit(&mut engine, &mut visitors)?;
    let verdict = report(&visitors, &meter.end()?)?;
    if verdict == Verdict::Passed {
        say(&format!("visited: {} connections", visitors.over));
        stay(&mut engine, &mut visitors)?;
    }
    Ok(verdict)
}

/// Goes on until all visits are over, or none ends any more.
fn visit(engine: &mut Engine, visitors: &mut Visitors<'_>) -> anyhow::Result<()> {
    let options = visitors.options;
    for _ in 0..AT_ONCE {
        if let Some((socket, message)) = visitors.begin(engine.now_ns()) {
            engine.send(socket, &message);
        }
    }
    let patience_ns = nanos(Duration::from_secs(options.common.drain));
    let (mut over, mut moved_ns) = (0, engine.now_ns());
    while over < options.connections && engine.now_ns() < moved_ns + patience_ns {
        let soon = engine.now_ns() + 20_000_000;
        engine.turn(visitors, soon)?;
        if visitors.over > over {
            (over, moved_ns) = (visitors.over, engine.now_ns());
        }
    }
    Ok(())
}

fn stay(engine: &mut Engine, visitors: &mut Visitors<'_>) -> anyhow::Result<()> {
    let until_ns = engine.now_ns() + nanos(Duration::from_secs(visitors.options.hold));
    while engine.now_ns() < until_ns {
        engine.turn(visitors, until_ns)?;
        if let Some((socket, code)) = visitors.presence.gone.first() {
            bail!("socket {socket} was lost ({code:?}) while everybody stayed");
        }
    }
    Ok(())
}

fn report(visitors: &Visitors<'_>, cost: &Cost) -> anyhow::Result<Verdict> {
    let (common, presence) = (&visitors.options.common, &visitors.presence);
    let (of, over) = (visitors.options.connections, visitors.over);
    let mut report = Report::new(SCENARIO);
    report.set("gateways", common.urls.len());
    report.set("connections", of);
    report.set("visits", over);
    report.set("not_resumed", visitors.not_resumed);
    report.set("not_in_history", visitors.not_in_history);
    report.set("ack_latency_ms", visitors.latency.summary());
    report.set("errors", presence.errors);
    report.set("first_error", presence.first_error.clone());
    report.set("sockets_lost", presence.gone.len());
    cost.report(&mut report);
    visitors.acks.judge(&mut report);
    report.demand(over == of, format!("{over} of {of} visits came to their end"));
    let (resumed, history, resets) = (visitors.not_resumed, visitors.not_in_history, visitors.resets);
    report.demand(resumed == 0, format!("{resumed} resumes were without what was acknowledged before"));
    report.demand(history == 0, format!("{history} histories were without what was acknowledged before"));
    report.demand(resets == 0, "positions were forgotten");
    report.demand(presence.errors == 0, "the server answered with errors");
    report.demand(presence.gone.is_empty(), "sockets were lost");
    let slowest_ms = visitors.latency.percentile_ms(100.0);
    report.at_most("ack_latency_ms.max", slowest_ms, Some(common.max_latency_ms));
    report.finish(common.json.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    const ESTABLISHED: &str =
        r#"{"type":"connection_established","channels":[{"channel_id":"visit-r0","epoch":"e","seq":7}]}"#;
    const OTHER: &str = r#"{"id":"other"}"#;
    const OWN: &str = r#"{"id":"own"}"#;

    /// One visit, with these pages of a resume and this history; returns the frames that were sent.
    fn visit(visitors: &mut Visitors<'_>, pages: &[(&str, bool)], history: &str) -> Vec<String> {
        let mut out = Outgoing::default();
        let mut hear = |visitors: &mut Visitors<'_>, frame: String| {
            visitors.on(0, &Happened::Frame(frame.as_bytes()), 1, &mut out);
        };
        hear(visitors, ESTABLISHED.to_owned());
        let (_, sent) = visitors.begin(0).unwrap();
        let name = crate::acks::name(sent.as_bytes()).unwrap();
        hear(visitors, format!(r#"{{"type":"ack","client_msg_id":"{name}","message_id":"own","seq":9}}"#));
        for (event, more) in pages {
            let place = format!(r#""seq":8,"more":{more},"reset":false"#);
            hear(
                visitors,
                format!(r#"{{"type":"resumed","channel_id":"visit-r0","events":[{event}],{place}}}"#),
            );
            hear(visitors, r#"{"type":"resume_done","ref":"r"}"#.to_owned());
        }
        hear(visitors, format!(r#"{{"type":"history","messages":[{history}],"more":false}}"#));
        out.take().into_iter().map(|(_, frame)| frame).collect()
    }

    #[test]
    fn what_was_acknowledged_is_looked_for_in_every_page_and_in_history() {
        let arguments = Arguments::parse_from(["test", "--connections", "1", "--rooms", "1"]);
        let cases: [(&[_], _, _); 4] = [
            (&[(OTHER, true), (OWN, false)], OWN, (0, 0)),
            (&[(OWN, true), (OTHER, false)], OWN, (0, 0)),
            (&[(OTHER, false)], OWN, (1, 0)),
            (&[(OWN, false)], OTHER, (0, 1)),
        ];
        for (pages, history, missed) in cases {
            let mut visitors = Visitors::new(&arguments.options);
            let frames = visit(&mut visitors, pages, history);
            assert_eq!((visitors.not_resumed, visitors.not_in_history), missed, "{pages:?} {history}");
            assert_eq!((visitors.over, visitors.acks.lost()), (1, 0));
            assert_eq!(frames.len(), pages.len() + 1, "{frames:?}");
            assert!(frames[0].contains(r#""epoch":"e","seq":0"#), "{frames:?}");
            assert!(pages.len() == 1 || frames[1].contains(r#""epoch":"e","seq":8"#), "{frames:?}");
            assert!(frames[pages.len()].contains(r#""around":"own""#), "{frames:?}");
        }
    }
}
