//! `idle`: what a connection costs that only is there.

use super::{Counted, Presence, connect, is, nanos};
use crate::engine::{Engine, Happened, Load, Outgoing};
use crate::options::{Common, positive};
use crate::process::{self, Meter};
use crate::report::{Report, Verdict, say};
use anyhow::bail;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use std::time::Duration;

const SCENARIO: &str = "idle";

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    common: Common,
    /// Rooms that the users were seeded in: the members of each are spread over the gateways
    #[arg(long, default_value_t = 1_500, value_parser = positive())]
    rooms: usize,
    /// Connections at the first look
    #[arg(long, default_value_t = 2_000, value_parser = positive())]
    from: usize,
    /// Connections at the last look
    #[arg(long, default_value_t = 15_000, value_parser = positive())]
    to: usize,
    /// Looks
    #[arg(long, default_value_t = 4, value_parser = RangedU64ValueParser::<usize>::new().range(2..))]
    steps: usize,
    /// Seconds before each look, for memory to come to rest
    #[arg(long, default_value_t = 3)]
    settle: u64,
    /// Seconds in which the CPU of all connections is measured at the end
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    hold: u64,
    /// Miss (exit 99) above so many bytes of memory for each connection
    #[arg(long)]
    max_bytes: Option<f64>,
    /// Miss (exit 99) above so many microseconds of CPU a second for each connection
    #[arg(long)]
    max_cpu_us: Option<f64>,
}

#[derive(Default)]
struct Waiting(Presence);

impl Load for Waiting {
    fn on(&mut self, socket: usize, happened: &Happened<'_>, _: u64, _: &mut Outgoing) {
        match happened {
            Happened::Frame(json) if is(json, "connection_established") => self.0.established += 1,
            Happened::Frame(json) if is(json, "error") => self.0.error(json),
            Happened::Frame(_) => {}
            Happened::Gone(code) => self.0.gone.push((socket, *code)),
        }
    }
}

impl Counted for Waiting {
    fn presence(&self) -> &Presence {
        &self.0
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Verdict> {
    let common = &options.common;
    if common.server_pids.is_empty() || options.to <= options.from {
        bail!("idle needs --server-pid, and --to above --from");
    }
    let mut engine = Engine::new(common, options.to, options.rooms)?;
    let mut waiting = Waiting::default();
    let mut looks = Vec::new();
    let mut there = 0;
    for step in 0..options.steps {
        let wanted = options.from + (options.to - options.from) * step / (options.steps - 1);
        connect(&mut engine, &mut waiting, common, SCENARIO, (there, wanted))?;
        there = wanted;
        rest(&mut engine, &mut waiting, options.settle)?;
        let memory = process::usage(&common.server_pids)?.memory_bytes;
        say(&format!("{there} connections: {} KiB", memory / 1024));
        looks.push((there as f64, memory as f64));
    }
    let meter = Meter::begin(&common.server_pids)?;
    rest(&mut engine, &mut waiting, options.hold)?;
    let cost = meter.end()?;
    let cpu_s = cost.server.unwrap_or_default().cpu_s;
    let (cpu_us, slope) = (cpu_s * 1e6 / (there as f64 * cost.wall_s), slope(&looks));
    let mut report = Report::new(SCENARIO);
    report.set("gateways", common.urls.len());
    report.set("connections", there);
    report.set("looks", serde_json::to_value(&looks)?);
    report.figure("bytes_per_connection", slope);
    report.figure("cpu_us_per_connection_second", cpu_us);
    report.set("sockets_lost", waiting.0.gone.len());
    cost.report(&mut report);
    report.at_most("bytes_per_connection", slope, options.max_bytes);
    report.at_most("cpu_us_per_connection_second", cpu_us, options.max_cpu_us);
    report.demand(waiting.0.gone.is_empty(), "sockets were lost");
    report.demand(waiting.0.errors == 0, "the server answered with errors");
    report.finish(common.json.as_deref())
}

fn rest(engine: &mut Engine, waiting: &mut Waiting, seconds: u64) -> anyhow::Result<()> {
    let until_ns = engine.now_ns() + nanos(Duration::from_secs(seconds));
    while engine.now_ns() < until_ns {
        engine.turn(waiting, until_ns)?;
    }
    Ok(())
}

/// The steepness of the line that fits best, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    above / below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope() {
        assert!((slope(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]) - 2.0).abs() < 1e-9);
    }
}
