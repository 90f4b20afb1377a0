//! `fanout` and `rooms`: messages at a steady rate, whatever the server does.

use super::crowd::{Crowd, Plan, Stream};
use super::{connect, seconds};
use crate::engine::Engine;
use crate::options::Common;
use crate::process::{self, Usage};
use crate::report::{Report, Verdict, say};
use clap::Args;

/// Part of the client's one core above which the client, not the server, was measured. Performance page.
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
    let mut engine = Engine::new(common, plan.users)?;
    let mut crowd = Crowd::new(plan);
    connect(&mut engine, &mut crowd, common, plan.scenario, (0, plan.users))?;
    let (stream, window) = send(&mut engine, &mut crowd, options, plan)?;
    crowd.faults.missing = stream.missing(&crowd);
    report(&crowd, &window, options, plan)
}

/// Sends everything at its time and waits for what is under way.
fn send(
    engine: &mut Engine,
    crowd: &mut Crowd,
    options: &Steady,
    plan: &Plan,
) -> anyhow::Result<(Stream, Window)> {
    let pids = &options.common.server_pids;
    let count = |seconds: u64| (plan.rate * seconds as f64).round() as u64;
    let mut stream = Stream::new(plan, &options.common, engine);
    stream.send(engine, crowd, count(options.warmup))?;
    crowd.measured_from_ns = stream.due_ns();
    let (before, own_before) = (process::usage(pids)?, process::own_cpu_s());
    let (began_ns, bytes, deliveries) = (stream.due_ns(), engine.bytes, crowd.delivered);
    stream.send(engine, crowd, count(options.seconds))?;
    stream.drain(engine, crowd)?;
    let window = Window {
        began_ns,
        ended_ns: engine.now_ns(),
        server: (before, process::usage(pids)?),
        client_cpu_s: process::own_cpu_s() - own_before,
        bytes: engine.bytes - bytes,
        deliveries: crowd.delivered - deliveries,
    };
    Ok((stream, window))
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
    crowd.judge(&mut report);
    report.finish(options.common.json.as_deref())
}
