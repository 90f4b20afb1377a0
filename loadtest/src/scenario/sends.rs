//! `sends`: how many messages a second are acknowledged as durable, one outstanding per sender.

use super::{Counted, Presence, connect, is, judge, nanos};
use crate::acks::Acks;
use crate::content::{self, Content};
use crate::engine::{Engine, Happened, Load, Outgoing};
use crate::options::{Common, positive};
use crate::process::{Cost, Meter};
use crate::report::{Report, Verdict};
use crate::stats::Latency;
use crate::verify::{Faults, Seen};
use clap::Args;
use std::time::Duration;

const SCENARIO: &str = "sends";

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Senders, each the one member of its room
    #[arg(long, default_value_t = 200, value_parser = positive())]
    senders: usize,
    /// Seconds of sending
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Miss (exit 99) below so many acknowledgements a second
    #[arg(long)]
    min_acks_per_second: Option<f64>,
}

struct Senders<'a> {
    options: &'a Options,
    presence: Presence,
    acks: Acks,
    /// Messages of each sender.
    sent: Vec<u32>,
    seen: Vec<Seen>,
    delivered: u64,
    until_ns: u64,
    latency: Latency,
    faults: Faults,
}

impl Senders<'_> {
    fn next(&mut self, sender: usize, now_ns: u64) -> Option<String> {
        if now_ns >= self.until_ns {
            return None;
        }
        let number = self.sent[sender];
        self.sent[sender] += 1;
        let content = self.acks.content(sender, number, now_ns);
        let common = &self.options.common;
        Some(self.acks.send(content, &common.room(SCENARIO, sender), common.payload))
    }

    fn on_ack(&mut self, sender: usize, json: &[u8], now_ns: u64, out: &mut Outgoing) {
        let Some(sent_ns) = self.acks.take(sender, json) else { return };
        self.latency.record(now_ns.saturating_sub(sent_ns));
        if let Some(message) = self.next(sender, now_ns) {
            out.send(sender, message);
        }
    }
}

impl Load for Senders<'_> {
    fn on(&mut self, socket: usize, happened: &Happened<'_>, now_ns: u64, out: &mut Outgoing) {
        let json = match happened {
            Happened::Frame(json) => *json,
            Happened::Gone(code) => return self.presence.gone.push((socket, *code)),
        };
        if is(json, "ack") {
            self.on_ack(socket, json, now_ns, out);
        } else if is(json, "chat_message") {
            let content = Content::find(json).filter(|content| content.run == self.acks.run);
            self.delivered += u64::from(content.is_some());
            let place = content::place(json).unwrap_or_default();
            self.seen[socket].take(content, place, &mut self.faults);
        } else if is(json, "connection_established") {
            let room = self.options.common.room(SCENARIO, socket);
            self.presence.welcome(json, &room);
        } else if is(json, "error") {
            self.presence.error(json);
        }
    }
}

impl Counted for Senders<'_> {
    fn presence(&self) -> &Presence {
        &self.presence
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Verdict> {
    let common = &options.common;
    let mut engine = Engine::new(common, options.senders, options.senders)?;
    let mut senders = Senders {
        options,
        presence: Presence::default(),
        acks: Acks::new(options.senders),
        sent: vec![0; options.senders],
        seen: (0..options.senders).map(|_| Seen::default()).collect(),
        delivered: 0,
        until_ns: 0,
        latency: Latency::new(),
        faults: Faults::default(),
    };
    connect(&mut engine, &mut senders, common, SCENARIO, (0, options.senders))?;
    let (acks, cost) = send(&mut engine, &mut senders)?;
    drain(&mut engine, &mut senders)?;
    report(&senders, acks, &cost)
}

/// Lets everybody send until the time is up; returns how many acknowledgements came in it, and what that cost.
fn send(engine: &mut Engine, senders: &mut Senders<'_>) -> anyhow::Result<(u64, Cost)> {
    let options = senders.options;
    let (meter, began_ns) = (Meter::begin(&options.common.server_pids)?, engine.now_ns());
    let until_ns = began_ns + nanos(Duration::from_secs(options.seconds));
    senders.until_ns = until_ns;
    for sender in 0..options.senders {
        if let Some(message) = senders.next(sender, began_ns) {
            engine.send(sender, &message);
        }
    }
    while engine.now_ns() < until_ns {
        engine.turn(senders, until_ns)?;
    }
    Ok((senders.acks.acked, meter.end()?))
}

/// Waits for what is under way, and counts what never came.
fn drain(engine: &mut Engine, senders: &mut Senders<'_>) -> anyhow::Result<()> {
    let give_up_ns = engine.now_ns() + nanos(Duration::from_secs(senders.options.common.drain));
    let waits = |senders: &Senders<'_>| senders.delivered < senders.acks.sent || senders.acks.lost() > 0;
    while waits(senders) && engine.now_ns() < give_up_ns {
        let soon = engine.now_ns() + 20_000_000;
        engine.turn(senders, soon)?;
    }
    for (sender, seen) in senders.seen.iter().enumerate() {
        let of = u32::try_from(sender).unwrap_or(0);
        senders.faults.missing += seen.missing(of, senders.sent[sender]);
    }
    Ok(())
}

fn report(senders: &Senders<'_>, acks: u64, cost: &Cost) -> anyhow::Result<Verdict> {
    let options = senders.options;
    let mut report = Report::new(SCENARIO);
    let rate = acks as f64 / cost.wall_s;
    report.set("senders", options.senders);
    report.figure("acks_per_second", rate);
    report.set("ack_latency_ms", senders.latency.summary());
    cost.report(&mut report);
    if let Some(server) = cost.server {
        report.figure("server_cpu_us_per_send", server.cpu_s * 1e6 / acks as f64);
    }
    report.at_least("acks_per_second", rate, options.min_acks_per_second);
    let slowest_ms = senders.latency.percentile_ms(100.0);
    report.at_most("ack_latency_ms.max", slowest_ms, Some(options.common.max_latency_ms));
    judge(&mut report, &senders.presence, senders.faults, &senders.acks)?;
    report.finish(options.common.json.as_deref())
}
