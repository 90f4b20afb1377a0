//! `sends`: how many messages a second are acknowledged as durable, one outstanding per sender.

use super::{Counted, DRAIN, Presence, connect, is, nanos, seconds};
use crate::content::{self, Content};
use crate::engine::{Engine, Happened, Load, Outgoing};
use crate::options::Common;
use crate::process;
use crate::report::{Report, Verdict};
use crate::stats::Latency;
use crate::verify::{Faults, Seen};
use clap::Args;
use serde_json::json;
use std::time::Duration;

const SCENARIO: &str = "sends";

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Senders, each the one member of its room
    #[arg(long, default_value_t = 200)]
    senders: usize,
    /// Seconds of sending
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Miss (exit 99) below so many acknowledgements a second
    #[arg(long)]
    min_acks_per_second: Option<f64>,
}

struct Senders<'a> {
    options: &'a Options,
    presence: Presence,
    /// Per sender: when its outstanding message was sent, and how many were.
    outstanding: Vec<(u64, u32)>,
    seen: Vec<Seen>,
    acked: u64,
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
        let (since_ns, sent) = &mut self.outstanding[sender];
        let content = Content { sender: u32::try_from(sender).unwrap_or(0), number: *sent, due_ns: now_ns };
        (*since_ns, *sent) = (now_ns, *sent + 1);
        let common = &self.options.common;
        let content = content.write(common.payload);
        Some(
            json!({"type": "send_message", "channel_id": common.room(SCENARIO, sender), "content": content})
                .to_string(),
        )
    }
}

impl Load for Senders<'_> {
    fn on(&mut self, socket: usize, happened: &Happened<'_>, now_ns: u64, out: &mut Outgoing) {
        let json = match happened {
            Happened::Frame(json) => *json,
            Happened::Gone(code) => return self.presence.gone.push((socket, *code)),
        };
        if is(json, "ack") {
            self.acked += 1;
            self.latency.record(now_ns.saturating_sub(self.outstanding[socket].0));
            if let Some(message) = self.next(socket, now_ns) {
                out.send(socket, message);
            }
        } else if is(json, "chat_message") {
            if let Some(content) = Content::find(json) {
                self.delivered += 1;
                let place = content::place(json).unwrap_or_default();
                self.seen[socket].take(content, place, &mut self.faults);
            }
        } else if is(json, "connection_established") {
            self.presence.established += 1;
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
    let mut engine = Engine::new(common, options.senders)?;
    let mut senders = Senders {
        options,
        presence: Presence::default(),
        outstanding: vec![(0, 0); options.senders],
        seen: (0..options.senders).map(|_| Seen::default()).collect(),
        acked: 0,
        delivered: 0,
        until_ns: 0,
        latency: Latency::new(),
        faults: Faults::default(),
    };
    connect(&mut engine, &mut senders, common, SCENARIO, (0, options.senders))?;
    let (before, client_before, began_ns) =
        (process::usage(&common.server_pids)?, process::own_cpu_s(), engine.now_ns());
    senders.until_ns = began_ns + nanos(Duration::from_secs(options.seconds));
    for sender in 0..options.senders {
        if let Some(message) = senders.next(sender, began_ns) {
            engine.send(sender, &message);
        }
    }
    let until_ns = senders.until_ns;
    while engine.now_ns() < until_ns {
        engine.turn(&mut senders, until_ns)?;
    }
    let acks_in_time = senders.acked as f64;
    let cpu_s = process::usage(&common.server_pids)?.cpu_s - before.cpu_s;
    let client_cpu = (process::own_cpu_s() - client_before) / seconds(engine.now_ns() - began_ns);
    let sent =
        |senders: &Senders<'_>| senders.outstanding.iter().map(|(_, sent)| u64::from(*sent)).sum::<u64>();
    let give_up_ns = engine.now_ns() + nanos(DRAIN);
    while senders.delivered < sent(&senders) && engine.now_ns() < give_up_ns {
        let soon = engine.now_ns() + 20_000_000;
        engine.turn(&mut senders, soon)?;
    }
    for (sender, seen) in senders.seen.iter().enumerate() {
        senders.faults.missing +=
            seen.missing(u32::try_from(sender).unwrap_or(0), senders.outstanding[sender].1);
    }
    report(&senders, Measured { acks: acks_in_time, cpu_s, client_cpu })
}

/// What was counted while everybody sent.
struct Measured {
    acks: f64,
    cpu_s: f64,
    client_cpu: f64,
}

fn report(senders: &Senders<'_>, measured: Measured) -> anyhow::Result<Verdict> {
    let (options, common) = (senders.options, &senders.options.common);
    let Measured { acks: acks_in_time, cpu_s, client_cpu } = measured;
    let mut report = Report::new(SCENARIO);
    let rate = acks_in_time / options.seconds as f64;
    report.set("senders", options.senders);
    report.set("acknowledged", senders.acked);
    report.figure("acks_per_second", rate);
    report.set("ack_latency_ms", senders.latency.summary());
    report.set("faults", serde_json::to_value(senders.faults)?);
    report.set("errors", senders.presence.errors);
    report.set("first_error", senders.presence.first_error.clone());
    report.figure("client_cpu", client_cpu);
    report.set("client_was_the_bottleneck", client_cpu > 0.9);
    if !common.server_pids.is_empty() {
        report.figure("server_cpu_us_per_send", cpu_s * 1e6 / acks_in_time);
    }
    report.at_least("acks_per_second", rate, options.min_acks_per_second);
    report.demand(
        senders.faults.none(),
        format!("messages were lost, repeated or reordered: {:?}", senders.faults),
    );
    report.demand(senders.presence.errors == 0, "the server answered with errors");
    report.demand(senders.presence.gone.is_empty(), "sockets were lost");
    report.finish(common.json.as_deref())
}
