//! Load against a gateway: open loop, every delivery verified, the server's cost counted beside it.
//!
//! Exit codes: 0 done, 1 it could not be run, 2 wrong usage, 99 a threshold was missed or a message was lost,
//! repeated or out of order.

mod content;
mod engine;
mod faulty;
mod floor;
mod options;
mod process;
mod report;
mod scenario;
mod stats;
mod token;
mod verify;
mod wire;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "loadtest", about = "Load against a gateway, verified message by message")]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// One room, many receivers, a steady rate
    Fanout(scenario::steady::Fanout),
    /// Many small rooms, a steady rate over all of them
    Rooms(scenario::steady::Rooms),
    /// Each sender alone in its room, the next message after each acknowledgement
    Sends(scenario::sends::Options),
    /// Connections that only are there: memory and CPU of each
    Idle(scenario::idle::Options),
    /// All connections drop at once, come back and resume
    Storm(scenario::storm::Options),
    /// Attackers of five kinds come at once, honest people go on
    Hostile(scenario::hostile::Options),
    /// A server that writes as many bytes, once per delivery, and does nothing else
    Floor(floor::Options),
    /// A proxy that drops, repeats, swaps or delays deliveries: runs through it must say so
    Faulty(faulty::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().scenario {
        Scenario::Fanout(options) => scenario::steady::fanout(&options),
        Scenario::Rooms(options) => scenario::steady::rooms(&options),
        Scenario::Sends(options) => scenario::sends::run(&options),
        Scenario::Idle(options) => scenario::idle::run(&options),
        Scenario::Storm(options) => scenario::storm::run(&options),
        Scenario::Hostile(options) => scenario::hostile::run(&options),
        Scenario::Faulty(options) => faulty::run(&options).map(|()| report::Verdict::Passed),
        Scenario::Floor(options) => floor::run(&options).map(|()| report::Verdict::Passed),
    };
    match done {
        Ok(report::Verdict::Passed) => ExitCode::SUCCESS,
        Ok(report::Verdict::Missed) => ExitCode::from(99),
        Err(error) => {
            report::say(&format!("loadtest: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
