//! The gateway process: sockets in, subjects out. It needs NATS; everything in one process is `standalone`.
//!
//! Exit codes: 0 stopped as asked, 1 something broke, 64 the configuration is wrong.

use anyhow::Context;
use broker::{Broker, Nats, NatsOptions};
use clap::Parser;
use gateway::Gateway;
use runtime::config::{Faults, Mode, Reader, Settings, Source};
use runtime::process::{Process, refuse};
use runtime::stop;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Everything that was configured.
struct Config {
    settings: Settings,
    nats: NatsOptions,
    gateway: gateway::Config,
    stop: stop::Config,
}

/// The gateway: WebSockets and HTTP of clients, on NATS. It is configured by the environment, `.env` and the file
/// that CONFIG names.
#[derive(Parser)]
#[command(name = "gateway", version)]
struct Cli {}

fn main() -> ExitCode {
    let Cli {} = Cli::parse();
    let config = match configure() {
        Ok(config) => config,
        Err(faults) => return refuse(&faults),
    };
    match run(config) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn configure() -> Result<Config, Faults> {
    let mut reader = Reader::new(Source::load()?);
    reader.leave(&["worker", "store", "scylla"]);
    let settings = Settings::read(&mut reader);
    let gateway = gateway::Config::read(&mut reader, &settings);
    let stop = stop::Config::read(&mut reader, &settings, gateway.drain_window);
    let nats = match &settings.mode {
        Some(Mode::Nats(url)) => Some(NatsOptions::read(&mut reader, url, "gateway")),
        Some(Mode::Embedded) => {
            reader.fault(
                "a gateway by itself needs NATS_URL; everything in one process is the program standalone",
            );
            None
        }
        Some(other) => {
            reader.fault(format!("mode {} is not in this release yet", other.name()));
            None
        }
        None => None,
    };
    reader.finish()?;
    let nats = nats.ok_or_else(|| Faults::one("no broker is configured"))?;
    Ok(Config { settings, nats, gateway, stop })
}

#[tokio::main]
async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let Config { settings, nats, gateway, stop } = config;
    let process = Process::start(&settings).await?;
    let shutdown = &process.shutdown;
    let broker = Broker::Nats(Nats::connect(nats, shutdown).await.context("cannot use NATS (NATS_URL)")?);
    let users = if settings.debug { protocol::development::profiles() } else { Vec::new() };
    let Gateway { listen } = gateway::start(gateway, broker.clone(), users, shutdown).await?;
    process.started(&settings, Some(listen)).context("cannot write addresses.json in DATA_DIR")?;
    stop::wait_and_stop(shutdown, stop, vec![("broker", Box::pin(broker.drain()))]).await;
    Ok(process.exit_code())
}
