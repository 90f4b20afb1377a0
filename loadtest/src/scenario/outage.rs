//! `outage`: somebody else stops gateways; whoever they drop comes back to another one and resumes, and writers send
//! again what was not acknowledged.

mod people;
mod writers;

use super::{PROGRESS, connect, judge, nanos};
use crate::engine::Engine;
use crate::options::{Common, positive, rate};
use crate::process::{Cost, Meter};
use crate::report::{Report, Verdict, say};
use crate::token::Signer;
use anyhow::bail;
use clap::Args;
use people::People;
use std::time::Duration;

const SCENARIO: &str = "outage";

/// Nanoseconds between two looks at who comes and what is due, when nothing comes in.
const LOOK_NS: u64 = 2_000_000;

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Connections that the servers will drop: the run ends when there were so many, all are back, and nobody was
    /// dropped for --seconds
    #[arg(long, value_parser = positive())]
    drops: usize,
    /// Connections that listen
    #[arg(long, default_value_t = 1_000, value_parser = positive())]
    connections: usize,
    /// Rooms; one more user in each of the first ones writes
    #[arg(long, default_value_t = 100, value_parser = positive())]
    rooms: usize,
    /// Users that write, one in each of the first rooms
    #[arg(long, default_value_t = 50, value_parser = positive())]
    writers: usize,
    /// Messages a second
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    rate: f64,
    /// Seconds without a drop at the end
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Seconds from `ready` until the run is given up
    #[arg(long, default_value_t = 120)]
    patience: u64,
    /// Miss (exit 99) when the 99th percentile from a drop until all that was missed is there is above so many seconds
    #[arg(long)]
    max_resume_p99_s: Option<f64>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Verdict> {
    if options.writers > options.rooms || !options.connections.is_multiple_of(options.rooms) {
        bail!("outage needs as many rooms as writers, and as many connections in each room");
    }
    if !options.common.server_pids.is_empty() {
        bail!("outage takes no --server-pid: processes of the server end");
    }
    let (common, users) = (&options.common, options.connections + options.writers);
    let mut engine = Engine::new(common, users, options.rooms)?;
    let mut people = People::new(options);
    connect(&mut engine, &mut people, common, SCENARIO, (0, users))?;
    say(&format!("ready: {users} connections"));
    let mut run = Run { options, engine, people, signer: common.signer()? };
    let meter = Meter::begin(&[])?;
    run.endure()?;
    let cost = meter.end()?;
    run.settle()?;
    report(&run.people, options, &cost)
}

struct Run<'a> {
    options: &'a Options,
    engine: Engine,
    people: People<'a>,
    signer: Signer,
}

impl Run<'_> {
    /// Goes on until it is over, somebody must not come back, or patience ends.
    fn endure(&mut self) -> anyhow::Result<()> {
        let began_ns = self.engine.now_ns();
        let until_ns = began_ns + nanos(Duration::from_secs(self.options.patience));
        let mut told_ns = began_ns;
        self.people.writers.begin(began_ns);
        loop {
            let (now_ns, people) = (self.engine.now_ns(), &mut self.people);
            if people.is_over(now_ns) || now_ns >= until_ns || !people.presence.gone.is_empty() {
                return Ok(());
            }
            if now_ns - told_ns > nanos(PROGRESS) {
                told_ns = now_ns;
                let (dropped, away, refused) = (people.dropped, people.away, people.refused);
                say(&format!("dropped {dropped}, away {away}, handshakes refused {refused}"));
            }
            people.writers.fall_due(now_ns);
            self.turn(now_ns)?;
        }
    }

    /// Lets those come whose time it is, sends what may be sent, and handles what is there.
    fn turn(&mut self, now_ns: u64) -> anyhow::Result<()> {
        while let Some((socket, arrival)) = self.people.who_comes(now_ns) {
            let token = self.signer.token(&self.options.common.user(SCENARIO, socket))?;
            self.engine.connect(socket, &token, arrival)?;
        }
        for (socket, message) in self.people.what_is_sent(now_ns) {
            self.engine.send(socket, &message);
        }
        Ok(self.engine.turn(&mut self.people, now_ns + LOOK_NS)?)
    }

    /// Waits until everything arrived, and counts what did not.
    fn settle(&mut self) -> anyhow::Result<()> {
        let until_ns = self.engine.now_ns() + nanos(Duration::from_secs(self.options.common.drain));
        while self.people.waits() && self.engine.now_ns() < until_ns {
            self.turn(self.engine.now_ns())?;
        }
        self.people.count_missing();
        Ok(())
    }
}

fn report(people: &People<'_>, options: &Options, cost: &Cost) -> anyhow::Result<Verdict> {
    let (writers, followers) = (&people.writers, &people.followers);
    let mut report = Report::new(SCENARIO);
    report.set("gateways", options.common.urls.len());
    report.set("connections", options.connections + options.writers);
    report.set("dropped", people.dropped);
    report.set("dropped_by_code", serde_json::to_value(&people.ends)?);
    report.set("away", people.away);
    report.set("handshakes_refused", people.refused);
    report.set("lost_resuming", people.lost_resuming);
    report.set("resume_ms", people.resume.summary());
    report.set("resets", followers.resets);
    report.set("delivered", followers.delivered);
    report.set("resent", writers.resent);
    report.set("ack_latency_ms", writers.latency.summary());
    report.set("late_ack_latency_ms", writers.late.summary());
    cost.report(&mut report);
    let dropped = format!("{} of {} connections were dropped", people.dropped, options.drops);
    report.demand(people.dropped >= options.drops, dropped);
    report.demand(people.away == 0, format!("{} did not come back", people.away));
    report.demand(followers.resets == 0, "positions were forgotten");
    let unfinished = writers.unfinished();
    report.demand(unfinished == 0, format!("{unfinished} messages that were due are not acknowledged"));
    let p99_s = people.resume.percentile_ms(99.0) / 1e3;
    report.at_most("resume_p99_s", p99_s, options.max_resume_p99_s);
    let slowest_ms = writers.latency.percentile_ms(100.0);
    report.at_most("ack_latency_ms.max", slowest_ms, Some(options.common.max_latency_ms));
    judge(&mut report, &people.presence, followers.faults, &writers.acks)?;
    report.finish(options.common.json.as_deref())
}
