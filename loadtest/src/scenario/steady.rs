//! `fanout` and `rooms`: messages at a steady rate, whatever the server does.

use super::{Counted, DRAIN, PROGRESS, Presence, connect, is, nanos, seconds};
use crate::content::{self, Content};
use crate::engine::{Engine, Happened, Load, Outgoing};
use crate::options::Common;
use crate::process::{self, Usage};
use crate::report::{Report, Verdict, say};
use crate::stats::Latency;
use crate::verify::{Faults, Seen};
use clap::Args;
use serde_json::json;
use std::collections::VecDeque;
use std::time::Duration;

/// Part of the client's one core above which the client, not the server, was measured.
const CLIENT_BOUND: f64 = 0.9;

#[derive(Args, Debug)]
pub(crate) struct Steady {
    #[command(flatten)]
    common: Common,
    /// Seconds of sending that are measured
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds of sending before that
    #[arg(long, default_value_t = 2)]
    warmup: u64,
    /// Miss (exit 99) below so many deliveries per second of the server's CPU
    #[arg(long)]
    min_deliveries_per_cpu_second: Option<f64>,
    /// Miss (exit 99) above this 99th percentile, in milliseconds from when the message was due
    #[arg(long)]
    max_p99_ms: Option<f64>,
}

#[derive(Args, Debug)]
pub(crate) struct Fanout {
    #[command(flatten)]
    steady: Steady,
    /// Members of the room
    #[arg(long, default_value_t = 1_000)]
    connections: usize,
    /// Messages a second
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Members that send, in turn
    #[arg(long, default_value_t = 10)]
    senders: usize,
}

#[derive(Args, Debug)]
pub(crate) struct Rooms {
    #[command(flatten)]
    steady: Steady,
    /// Rooms
    #[arg(long, default_value_t = 200)]
    rooms: usize,
    /// Members of each room; all of them send, in turn
    #[arg(long, default_value_t = 10)]
    members: usize,
    /// Messages a second, over all rooms
    #[arg(long, default_value_t = 2_000.0)]
    rate: f64,
}

/// What both come to: user i is in room i modulo `rooms`, message k is sent by user k modulo `senders`.
struct Plan {
    scenario: &'static str,
    users: usize,
    rooms: usize,
    senders: usize,
    rate: f64,
}

pub(crate) fn fanout(options: &Fanout) -> anyhow::Result<Verdict> {
    let senders = options.senders.clamp(1, options.connections);
    let plan = Plan { scenario: "fanout", users: options.connections, rooms: 1, senders, rate: options.rate };
    run(&options.steady, &plan)
}

pub(crate) fn rooms(options: &Rooms) -> anyhow::Result<Verdict> {
    let users = options.rooms * options.members;
    let plan = Plan { scenario: "rooms", users, rooms: options.rooms, senders: users, rate: options.rate };
    run(&options.steady, &plan)
}

/// Everybody, and what they saw.
struct Crowd {
    presence: Presence,
    seen: Vec<Seen>,
    /// Per sender: when its messages that are not acknowledged yet were due.
    unacknowledged: Vec<VecDeque<u64>>,
    /// Messages due before this are warm-up.
    measured_from_ns: u64,
    delivered: u64,
    measured: u64,
    acked: u64,
    latency: Latency,
    ack_latency: Latency,
    faults: Faults,
}

impl Load for Crowd {
    fn on(&mut self, socket: usize, happened: &Happened<'_>, now_ns: u64, _: &mut Outgoing) {
        let json = match happened {
            Happened::Frame(json) => *json,
            Happened::Gone(code) => return self.presence.gone.push((socket, *code)),
        };
        if is(json, "chat_message") {
            let Some(content) = Content::find(json) else { return };
            let place = content::place(json).unwrap_or_default();
            self.seen[socket].take(content, place, &mut self.faults);
            self.delivered += 1;
            if content.due_ns >= self.measured_from_ns {
                self.measured += 1;
                self.latency.record(now_ns.saturating_sub(content.due_ns));
            }
        } else if is(json, "ack") {
            self.acked += 1;
            let due = self.unacknowledged.get_mut(socket).and_then(VecDeque::pop_front);
            if let Some(due_ns) = due.filter(|due_ns| *due_ns >= self.measured_from_ns) {
                self.ack_latency.record(now_ns.saturating_sub(due_ns));
            }
        } else if is(json, "connection_established") {
            self.presence.established += 1;
        } else if is(json, "error") {
            self.presence.error(json);
        }
    }
}

impl Counted for Crowd {
    fn presence(&self) -> &Presence {
        &self.presence
    }
}

/// What was counted from the first measured message on.
struct Window {
    began_ns: u64,
    ended_ns: u64,
    server: (Usage, Usage),
    client_cpu_s: f64,
    bytes: u64,
    deliveries: u64,
}

fn run(options: &Steady, plan: &Plan) -> anyhow::Result<Verdict> {
    let common = &options.common;
    let mut engine = Engine::new(common.target()?, common.sources, plan.users)?;
    let mut crowd = Crowd {
        presence: Presence::default(),
        seen: (0..plan.users).map(|_| Seen::default()).collect(),
        unacknowledged: vec![VecDeque::new(); plan.senders],
        measured_from_ns: u64::MAX,
        delivered: 0,
        measured: 0,
        acked: 0,
        latency: Latency::new(),
        ack_latency: Latency::new(),
        faults: Faults::default(),
    };
    connect(&mut engine, &mut crowd, common, plan.scenario, (0, plan.users))?;
    let (sent, window) = send(&mut engine, &mut crowd, options, plan)?;
    for (user, seen) in crowd.seen.iter().enumerate() {
        let heard = (0..plan.senders).filter(|sender| sender % plan.rooms == user % plan.rooms);
        crowd.faults.missing +=
            heard.map(|sender| seen.missing(u32::try_from(sender).unwrap_or(0), sent[sender])).sum::<u64>();
    }
    report(&crowd, &window, options, plan)
}

/// Sends everything at its time and waits for what is under way; returns each sender's count.
fn send(
    engine: &mut Engine,
    crowd: &mut Crowd,
    options: &Steady,
    plan: &Plan,
) -> anyhow::Result<(Vec<u32>, Window)> {
    let common = &options.common;
    let interval_ns = 1e9 / plan.rate;
    let count = |seconds: u64| (plan.rate * seconds as f64).round() as u64;
    let (warmup, total) = (count(options.warmup), count(options.warmup + options.seconds));
    let mut sent = vec![0_u32; plan.senders];
    let start_ns = engine.now_ns() + 10_000_000;
    let (mut window, mut told_ns) = (None, start_ns);
    for k in 0..total {
        let due_ns = start_ns + (k as f64 * interval_ns) as u64;
        if k == warmup {
            crowd.measured_from_ns = due_ns;
            window = Some((
                process::usage(&common.server_pids)?,
                process::own_cpu_s(),
                engine.bytes,
                due_ns,
                crowd.delivered,
            ));
        }
        engine.turn(crowd, 0)?;
        while engine.now_ns() < due_ns {
            engine.turn(crowd, due_ns)?;
        }
        let sender = usize::try_from(k).unwrap_or(0) % plan.senders;
        let content = Content { sender: u32::try_from(sender).unwrap_or(0), number: sent[sender], due_ns };
        crowd.unacknowledged[sender].push_back(due_ns);
        let room = common.room(plan.scenario, sender % plan.rooms);
        let message =
            json!({"type": "send_message", "channel_id": room, "content": content.write(common.payload)});
        engine.send(sender, &message.to_string());
        sent[sender] += 1;
        if engine.now_ns() - told_ns > nanos(PROGRESS) {
            told_ns = engine.now_ns();
            say(&format!(
                "sent {} of {total}, acknowledged {}, delivered {}",
                k + 1,
                crowd.acked,
                crowd.delivered
            ));
        }
    }
    drain(engine, crowd, &sent, plan)?;
    let (usage, client_cpu_s, bytes, began_ns, before) = window.unwrap_or_default();
    let window = Window {
        began_ns,
        ended_ns: engine.now_ns(),
        server: (usage, process::usage(&common.server_pids)?),
        client_cpu_s: process::own_cpu_s() - client_cpu_s,
        bytes: engine.bytes - bytes,
        deliveries: crowd.delivered - before,
    };
    Ok((sent, window))
}

fn drain(engine: &mut Engine, crowd: &mut Crowd, sent: &[u32], plan: &Plan) -> anyhow::Result<()> {
    let members = |room: usize| (plan.users + plan.rooms - 1 - room) / plan.rooms;
    let expected: u64 = sent
        .iter()
        .enumerate()
        .map(|(sender, count)| u64::from(*count) * members(sender % plan.rooms) as u64)
        .sum();
    let until_ns = engine.now_ns() + nanos(DRAIN);
    while crowd.delivered < expected && engine.now_ns() < until_ns {
        let soon = engine.now_ns() + 20_000_000;
        engine.turn(crowd, soon)?;
    }
    // A second copy of something would come about now.
    let until_ns = engine.now_ns() + nanos(Duration::from_millis(200));
    while engine.now_ns() < until_ns {
        engine.turn(crowd, until_ns)?;
    }
    Ok(())
}

fn report(crowd: &Crowd, window: &Window, options: &Steady, plan: &Plan) -> anyhow::Result<Verdict> {
    let mut report = Report::new(plan.scenario);
    let wall_s = seconds(window.ended_ns - window.began_ns);
    let (before, after) = window.server;
    let server_cpu_s = after.cpu_s - before.cpu_s;
    let deliveries = window.deliveries as f64;
    report.set("connections", plan.users);
    report.set("rooms", plan.rooms);
    report.figure("rate", plan.rate);
    report.set("acknowledged", crowd.acked);
    report.set("delivered", crowd.delivered);
    report.set("faults", serde_json::to_value(crowd.faults)?);
    report.set("errors", crowd.presence.errors);
    report.set("first_error", crowd.presence.first_error.clone());
    report.set("sockets_lost", crowd.presence.gone.len());
    report.figure("deliveries_per_second", deliveries / options.seconds as f64);
    report.figure("bytes_per_delivery", window.bytes as f64 / deliveries);
    report.set("latency_ms", crowd.latency.summary());
    report.set("ack_latency_ms", crowd.ack_latency.summary());
    report.figure("client_cpu", window.client_cpu_s / wall_s);
    let client_bound = window.client_cpu_s / wall_s > CLIENT_BOUND;
    report.set("client_was_the_bottleneck", client_bound);
    if !options.common.server_pids.is_empty() {
        let per_cpu_second = deliveries / server_cpu_s;
        report.figure("server_cpu_s", server_cpu_s);
        report.figure("server_cpu", server_cpu_s / wall_s);
        report.set("server_memory_bytes", after.memory_bytes);
        report.figure("deliveries_per_cpu_second", per_cpu_second);
        let wanted = options.min_deliveries_per_cpu_second;
        report.at_least("deliveries_per_cpu_second", per_cpu_second, wanted);
    }
    if client_bound {
        say("the client was the bottleneck: this run says nothing of the server");
    }
    report.at_most("latency_ms.p99", crowd.latency.percentile_ms(99.0), options.max_p99_ms);
    report.demand(
        crowd.faults.none(),
        format!("messages were lost, repeated or reordered: {:?}", crowd.faults),
    );
    report.demand(crowd.presence.errors == 0, "the server answered with errors");
    report.demand(crowd.presence.gone.is_empty(), "sockets were lost");
    report.finish(options.common.json.as_deref())
}
