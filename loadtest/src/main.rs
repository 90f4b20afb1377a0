//! Load against a gateway: open loop, every delivery verified, the server's cost counted beside it.
//!
//! Exit codes: 0 done, 1 it could not be run, 2 wrong usage, 99 a threshold was missed or a message was lost,
//! repeated or out of order.

mod acks;
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
    /// Gateways are stopped by somebody else: whoever they drop comes back to another one and resumes
    Outage(scenario::outage::Options),
    /// Everybody sends, resumes from the beginning, reads history, and stays
    Visit(scenario::visit::Options),
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
        Scenario::Outage(options) => scenario::outage::run(&options),
        Scenario::Visit(options) => scenario::visit::run(&options),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_can_be_divided_by_is_wrong_usage() {
        for wrong in [
            "fanout --sources 0",
            "fanout --handshakes 0",
            "fanout --connections 0",
            "fanout --senders 0",
            "fanout --rate 0",
            "fanout --rate=-1",
            "fanout --rate inf",
            "fanout --seconds 0",
            "fanout --url ws://192.0.2.1:80",
            "rooms --rooms 0",
            "rooms --members 0",
            "rooms --rate 0",
            "sends --senders 0",
            "sends --seconds 0",
            "idle --rooms 0",
            "idle --from 0",
            "idle --to 0",
            "idle --steps 1",
            "idle --hold 0",
            "storm --writers 0",
            "storm --rooms 0",
            "storm --connections 0",
            "storm --rate 0",
            "outage --drops 0",
            "outage --drops 1 --connections 0",
            "outage --drops 1 --rooms 0",
            "outage --drops 1 --writers 0",
            "outage --drops 1 --rate 0",
            "visit --connections 0",
            "visit --rooms 0",
            "hostile --connections 0",
            "hostile --rate 0",
            "hostile --seconds 0",
            "faulty --drop-every 0",
        ] {
            let words = || std::iter::once("loadtest").chain(wrong.split(' '));
            let parsed = Cli::try_parse_from(words()).map(|_| ());
            let kind = parsed.map_err(|error| error.kind());
            assert_eq!(kind, Err(clap::error::ErrorKind::ValueValidation), "{wrong}");
        }
    }
}
