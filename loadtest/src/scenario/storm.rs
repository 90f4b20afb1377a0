//! `storm`: everybody loses the connection at once, comes back and resumes, while others go on writing.

mod people;

use super::{PROGRESS, connect, judge, nanos};
use crate::engine::Engine;
use crate::options::{Arrival, Common, positive, rate};
use crate::process::{Cost, Meter};
use crate::report::{Report, Verdict, say};
use anyhow::bail;
use clap::Args;
use people::{People, Stage};
use std::time::Duration;

const SCENARIO: &str = "storm";

/// Everybody comes back to another gateway than the one that was lost.
const ELSEWHERE: Arrival = Arrival::Resuming { hops: 1 };

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Connections that drop
    #[arg(long, default_value_t = 10_000, value_parser = positive())]
    connections: usize,
    /// Rooms; one more user in each of the first ones writes and stays
    #[arg(long, default_value_t = 1_000, value_parser = positive())]
    rooms: usize,
    /// Users that write and stay, one in each of the first rooms
    #[arg(long, default_value_t = 50, value_parser = positive())]
    writers: usize,
    /// Messages a second
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    rate: f64,
    /// Seconds of writing before and after the drop
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Seconds that may pass until all are back and resumed before the run is given up
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// Miss (exit 99) above so many seconds
    #[arg(long)]
    max_seconds: Option<f64>,
}

/// Messages at a steady rate, from the writers in turn.
struct Writing {
    sent: Vec<u32>,
    count: u64,
    began_ns: u64,
}

impl Writing {
    /// Sends what is due by now.
    fn pump(&mut self, engine: &mut Engine, people: &mut People<'_>) {
        let options = people.options;
        loop {
            let due_ns = self.began_ns + (self.count as f64 * 1e9 / options.rate) as u64;
            if due_ns > engine.now_ns() {
                return;
            }
            let writer = usize::try_from(self.count).unwrap_or(0) % options.writers;
            let content = people.acks.content(writer, self.sent[writer], due_ns);
            let room = people.followers.room(writer);
            let message = people.acks.send(content, &room, options.common.payload);
            engine.send(options.connections + writer, &message);
            self.sent[writer] += 1;
            self.count += 1;
        }
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Verdict> {
    if options.writers > options.rooms || !options.connections.is_multiple_of(options.rooms) {
        bail!("storm needs as many rooms as writers, and as many connections in each room");
    }
    let (common, users) = (&options.common, options.connections + options.writers);
    let mut engine = Engine::new(common, users, options.rooms)?;
    let mut people = People::new(options);
    connect(&mut engine, &mut people, common, SCENARIO, (0, users))?;
    let mut writing = Writing { sent: vec![0; options.writers], count: 0, began_ns: engine.now_ns() };
    write_for(&mut engine, &mut people, &mut writing)?;
    let meter = Meter::begin(&common.server_pids)?;
    drop_all(&mut engine, &mut people, &mut writing)?;
    let cost = meter.end()?;
    write_for(&mut engine, &mut people, &mut writing)?;
    settle(&mut engine, &mut people, &writing)?;
    report(&people, &cost)
}

fn report(people: &People<'_>, cost: &Cost) -> anyhow::Result<Verdict> {
    let (options, took_s) = (people.options, cost.wall_s);
    let mut report = Report::new(SCENARIO);
    report.set("gateways", options.common.urls.len());
    report.set("connections", options.connections);
    report.set("back", people.back);
    report.figure("seconds_until_all_resumed", took_s);
    report.set("handshakes_refused", people.refused);
    report.set("lost_resuming", people.lost_resuming);
    report.set("resets", people.followers.resets);
    report.set("delivered", people.followers.delivered);
    report.set("ack_latency_ms", people.ack_latency.summary());
    cost.report(&mut report);
    report.at_most("seconds_until_all_resumed", took_s, options.max_seconds);
    report.demand(people.back == options.connections, "not everybody came back");
    let slowest_ms = people.ack_latency.percentile_ms(100.0);
    report.at_most("ack_latency_ms.max", slowest_ms, Some(options.common.max_latency_ms));
    let lost = people.lost_resuming;
    report.demand(lost == 0, format!("{lost} sockets were taken and lost again before they had resumed"));
    report.demand(people.followers.resets == 0, "positions were forgotten");
    judge(&mut report, &people.presence, people.followers.faults, &people.acks)?;
    report.finish(options.common.json.as_deref())
}

fn write_for(engine: &mut Engine, people: &mut People<'_>, writing: &mut Writing) -> anyhow::Result<()> {
    let until_ns = engine.now_ns() + nanos(Duration::from_secs(people.options.seconds));
    while engine.now_ns() < until_ns {
        writing.pump(engine, people);
        let soon = engine.now_ns() + 5_000_000;
        engine.turn(people, soon)?;
    }
    Ok(())
}

/// Drops all but the writers and brings them back as fast as the server takes them, until all are or patience ends.
fn drop_all(engine: &mut Engine, people: &mut People<'_>, writing: &mut Writing) -> anyhow::Result<()> {
    let options = people.options;
    let signer = options.common.signer()?;
    let began_ns = engine.now_ns();
    for socket in 0..options.connections {
        engine.drop_socket(socket);
        people.stages[socket] = Stage::Returning;
        people.again.push_back((began_ns, socket));
    }
    let (until_ns, mut told_ns) = (began_ns + nanos(Duration::from_secs(options.patience)), began_ns);
    while people.back < options.connections && engine.now_ns() < until_ns {
        let now_ns = engine.now_ns();
        while let Some(socket) = people.who_comes(now_ns) {
            engine.connect(socket, &signer.token(&options.common.user(SCENARIO, socket))?, ELSEWHERE)?;
        }
        writing.pump(engine, people);
        engine.turn(people, now_ns + 2_000_000)?;
        if now_ns - told_ns > nanos(PROGRESS) {
            told_ns = now_ns;
            say(&format!("back: {} of {}, refused {}", people.back, options.connections, people.refused));
        }
    }
    Ok(())
}

/// Waits until everything arrived, and counts what did not.
fn settle(engine: &mut Engine, people: &mut People<'_>, writing: &Writing) -> anyhow::Result<()> {
    let options = people.options;
    let until_ns = engine.now_ns() + nanos(Duration::from_secs(options.common.drain));
    while (people.followers.missing(&writing.sent) > 0 || people.acks.lost() > 0)
        && engine.now_ns() < until_ns
    {
        let soon = engine.now_ns() + 100_000_000;
        engine.turn(people, soon)?;
    }
    people.followers.faults.missing = people.followers.missing(&writing.sent);
    Ok(())
}
