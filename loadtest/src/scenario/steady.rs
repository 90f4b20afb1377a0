//! `fanout` and `rooms`: messages at a steady rate, whatever the server does.

use super::connect;
use super::crowd::{Crowd, Plan, Stream};
use crate::engine::Engine;
use crate::options::{Common, positive, rate};
use crate::process::{Cost, Meter};
use crate::report::{Report, Verdict};
use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct Steady {
    #[command(flatten)]
    common: Common,
    /// Seconds of sending that are measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
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
    #[arg(long, default_value_t = 1_000, value_parser = positive())]
    connections: usize,
    /// Messages a second
    #[arg(long, default_value_t = 50.0, value_parser = rate)]
    rate: f64,
    /// Members that send, in turn
    #[arg(long, default_value_t = 10, value_parser = positive())]
    senders: usize,
}

#[derive(Args, Debug)]
pub(crate) struct Rooms {
    #[command(flatten)]
    steady: Steady,
    /// Rooms
    #[arg(long, default_value_t = 200, value_parser = positive())]
    rooms: usize,
    /// Members of each room; all of them send, in turn
    #[arg(long, default_value_t = 10, value_parser = positive())]
    members: usize,
    /// Messages a second, over all rooms
    #[arg(long, default_value_t = 2_000.0, value_parser = rate)]
    rate: f64,
}

pub(crate) fn fanout(options: &Fanout) -> anyhow::Result<Verdict> {
    let senders = options.senders.min(options.connections);
    let plan = Plan { scenario: "fanout", users: options.connections, rooms: 1, senders, rate: options.rate };
    run(&options.steady, &plan)
}

pub(crate) fn rooms(options: &Rooms) -> anyhow::Result<Verdict> {
    let users = options.rooms * options.members;
    let plan = Plan { scenario: "rooms", users, rooms: options.rooms, senders: users, rate: options.rate };
    run(&options.steady, &plan)
}

/// What was counted while the measured messages were sent.
struct Window {
    cost: Cost,
    bytes: u64,
    deliveries: u64,
}

fn run(options: &Steady, plan: &Plan) -> anyhow::Result<Verdict> {
    let common = &options.common;
    let mut engine = Engine::new(common, plan.users, plan.rooms)?;
    let mut crowd = Crowd::new(plan, common);
    connect(&mut engine, &mut crowd, common, plan.scenario, (0, plan.users))?;
    let mut stream = Stream::new(plan, common, &engine);
    let window = send(&mut engine, &mut crowd, &mut stream, options)?;
    stream.drain(&mut engine, &mut crowd)?;
    crowd.faults.missing = stream.missing(&crowd);
    report(&crowd, &window, options, plan)
}

/// Sends everything at its time. What is still under way at the end is about what was at the beginning, so neither
/// is counted.
fn send(
    engine: &mut Engine,
    crowd: &mut Crowd,
    stream: &mut Stream,
    options: &Steady,
) -> anyhow::Result<Window> {
    stream.send_for(engine, crowd, options.warmup)?;
    crowd.measured_from_ns = stream.due_ns();
    let meter = Meter::begin(&options.common.server_pids)?;
    let (bytes, deliveries) = (engine.bytes, crowd.delivered);
    stream.send_for(engine, crowd, options.seconds)?;
    let cost = meter.end()?;
    Ok(Window { cost, bytes: engine.bytes - bytes, deliveries: crowd.delivered - deliveries })
}

fn report(crowd: &Crowd, window: &Window, options: &Steady, plan: &Plan) -> anyhow::Result<Verdict> {
    let mut report = Report::new(plan.scenario);
    let Window { cost, bytes, deliveries } = window;
    let (bytes, deliveries) = (*bytes as f64, *deliveries as f64);
    report.set("connections", plan.users);
    report.set("rooms", plan.rooms);
    report.figure("rate", plan.rate);
    report.figure("deliveries_per_second", deliveries / cost.wall_s);
    report.figure("bytes_per_delivery", bytes / deliveries);
    report.set("latency_ms", crowd.latency.summary());
    report.set("ack_latency_ms", crowd.ack_latency.summary());
    cost.report(&mut report);
    if let Some(server) = cost.server {
        let per_cpu_second = deliveries / server.cpu_s;
        report.figure("deliveries_per_cpu_second", per_cpu_second);
        let wanted = options.min_deliveries_per_cpu_second;
        report.at_least("deliveries_per_cpu_second", per_cpu_second, wanted);
    }
    report.at_most("latency_ms.p99", crowd.latency.percentile_ms(99.0), options.max_p99_ms);
    crowd.judge(&mut report, &options.common)?;
    report.finish(options.common.json.as_deref())
}
