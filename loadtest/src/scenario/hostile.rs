//! `hostile`: attackers of five kinds come at once while honest people go on chatting.

mod attack;

use super::connect;
use super::crowd::{Crowd, Plan, Stream};
use crate::engine::Engine;
use crate::options::{Common, positive, rate};
use crate::process::{self, Cost, Meter, own_cpu_s};
use crate::report::{Report, Verdict, say};
use crate::stats::Latency;
use anyhow::bail;
use attack::{Attack, Kind};
use clap::Args;
use rustix::time::ClockId;

const SCENARIO: &str = "hostile";

/// Seconds of chatting before anything is measured, and after the last attacker has gone.
const SETTLE_S: u64 = 3;

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Honest members of the one room
    #[arg(long, default_value_t = 500, value_parser = positive())]
    connections: usize,
    /// Attackers of each kind; they are members, too
    #[arg(long, default_value_t = 200)]
    attackers: usize,
    /// Messages a second
    #[arg(long, default_value_t = 50.0, value_parser = rate)]
    rate: f64,
    /// Seconds that are measured before the attack, and from its beginning
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Seconds from the beginning of the attack until the server must have ended every attacker
    #[arg(long, default_value_t = 90)]
    patience: u64,
    /// Miss (exit 99) when the 99th percentile during the attack is above so many times the one before
    #[arg(long)]
    max_p99_ratio: Option<f64>,
    /// Miss (exit 99) when the server keeps so many bytes more than before the attack
    #[arg(long)]
    max_memory_growth: Option<f64>,
}

/// What the server had at one moment.
#[derive(Debug, Clone, Copy, serde::Serialize)]
struct Look {
    memory_bytes: u64,
    descriptors: u64,
}

/// Who chats, and what the server had over time.
struct Run {
    engine: Engine,
    crowd: Crowd,
    stream: Stream,
    before: Look,
    most: Look,
    after: Look,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Verdict> {
    let common = &options.common;
    if common.server_pids.is_empty() {
        bail!("hostile needs --server-pid: it counts the server's sockets and memory");
    }
    let Options { connections, rate, .. } = *options;
    let plan = Plan { scenario: SCENARIO, users: connections, rooms: 1, senders: 10.min(connections), rate };
    let mut engine = Engine::new(common, connections, 1)?;
    let mut crowd = Crowd::new(&plan, common);
    connect(&mut engine, &mut crowd, common, SCENARIO, (0, connections))?;
    let stream = Stream::new(&plan, common, &engine);
    crowd.measured_from_ns = 0;
    let nothing = Look { memory_bytes: 0, descriptors: 0 };
    let mut run = Run { engine, crowd, stream, before: nothing, most: nothing, after: nothing };
    run.chat(options, SETTLE_S)?;
    run.crowd.latency = Latency::new();
    run.chat(options, options.seconds)?;
    let quiet = std::mem::replace(&mut run.crowd.latency, Latency::new());
    run.before = look(&common.server_pids)?;
    let (attack, meter) = (Attack::start(options)?, Meter::begin(&common.server_pids)?);
    let others = || own_cpu_s(ClockId::ProcessCPUTime) - own_cpu_s(ClockId::ThreadCPUTime);
    let others_before_s = others();
    run.chat(options, options.seconds)?;
    let (cost, attackers_cpu_s) = (meter.end()?, others() - others_before_s);
    let attacked = std::mem::replace(&mut run.crowd.latency, Latency::new());
    let took_s = run.until_they_ended(options)?;
    run.chat(options, SETTLE_S)?;
    run.after = look(&common.server_pids)?;
    let Run { engine, crowd, stream, .. } = &mut run;
    stream.drain(engine, crowd)?;
    crowd.faults.missing = stream.missing(crowd);
    let seen = Observed { quiet, attacked, cost, attackers_cpu_s, took_s, ended: attack.stop()? };
    report(&run, &seen, options)
}

/// What was seen of an attack.
struct Observed {
    quiet: Latency,
    attacked: Latency,
    /// From the beginning of the attack on, as long as latencies are measured.
    cost: Cost,
    attackers_cpu_s: f64,
    /// None when patience ran out.
    took_s: Option<u64>,
    ended: [(Kind, usize); Kind::ALL.len()],
}

impl Run {
    /// Goes on chatting for so many seconds, looking at the server after each.
    fn chat(&mut self, options: &Options, seconds: u64) -> anyhow::Result<()> {
        for _ in 0..seconds {
            self.stream.send_for(&mut self.engine, &mut self.crowd, 1)?;
            let now = look(&options.common.server_pids)?;
            self.most.memory_bytes = self.most.memory_bytes.max(now.memory_bytes);
            self.most.descriptors = self.most.descriptors.max(now.descriptors);
        }
        Ok(())
    }

    /// Chats until the server has no socket more than before; returns after how many seconds of attack that was,
    /// or nothing when patience ran out.
    fn until_they_ended(&mut self, options: &Options) -> anyhow::Result<Option<u64>> {
        let mut seconds = options.seconds;
        loop {
            let left = look(&options.common.server_pids)?.descriptors.saturating_sub(self.before.descriptors);
            if left == 0 {
                return Ok(Some(seconds));
            }
            say(&format!("{left} attackers left after {seconds} s"));
            if seconds >= options.patience {
                return Ok(None);
            }
            self.chat(options, 1)?;
            seconds += 1;
        }
    }
}

fn look(pids: &[u32]) -> anyhow::Result<Look> {
    let memory_bytes = process::usage(pids)?.memory_bytes;
    Ok(Look { memory_bytes, descriptors: process::descriptors(pids)? })
}

fn report(run: &Run, seen: &Observed, options: &Options) -> anyhow::Result<Verdict> {
    let mut report = Report::new(SCENARIO);
    let left = run.after.descriptors.saturating_sub(run.before.descriptors);
    let growth = run.after.memory_bytes.saturating_sub(run.before.memory_bytes) as f64;
    let ratio = seen.attacked.percentile_ms(99.0) / seen.quiet.percentile_ms(99.0);
    report.set("connections", options.connections);
    report.set("attackers_of_each_kind", options.attackers);
    for (kind, ended) in seen.ended {
        report.set(&format!("ended_{}", kind.name()), ended);
    }
    report.set("attackers_left", left);
    report.set("seconds_until_all_ended", seen.took_s);
    report.set("latency_ms_before", seen.quiet.summary());
    report.set("latency_ms_during", seen.attacked.summary());
    report.figure("p99_ratio", ratio);
    report.set("server_before", serde_json::to_value(run.before)?);
    report.set("server_most", serde_json::to_value(run.most)?);
    report.set("server_after", serde_json::to_value(run.after)?);
    report.figure("attackers_cpu", seen.attackers_cpu_s / seen.cost.wall_s);
    seen.cost.report(&mut report);
    let all = options.attackers * Kind::ALL.len();
    report.demand(seen.took_s.is_some() && left == 0, format!("{left} of {all} attackers did not end"));
    report.at_most("p99_ratio", ratio, options.max_p99_ratio);
    report.at_most("memory_growth", growth, options.max_memory_growth);
    run.crowd.judge(&mut report, &options.common)?;
    report.finish(options.common.json.as_deref())
}
