//! Everything in one process: the embedded broker, a store, every worker role and a gateway.
//!
//! Exit codes: 0 stopped as asked, 1 something broke, 64 the configuration is wrong.

mod banner;
mod seed;
mod stop;

use anyhow::{Context, bail};
use broker::{Broker, Embedded, Options};
use clap::{Parser, Subcommand};
use gateway::Gateway;
use runtime::admin::{self, Readiness};
use runtime::config::{Faults, KeyOrigin, Mode, Reader, Settings, Source};
use runtime::shutdown::Shutdown;
use runtime::telemetry::{self, Format};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use store::{Sqlite, Store};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Everything that was configured.
struct Config {
    settings: Settings,
    gateway: gateway::Config,
    worker: worker::Config,
    stop: stop::Config,
}

/// Everything in one process: the embedded broker, a store, every worker role and a gateway. It is configured by
/// the environment, `.env` and the file that CONFIG names.
#[derive(Parser)]
#[command(name = "standalone", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes users and rooms for load tests in DATA_DIR, while no server runs there
    Seed(seed::load::Plan),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = match configure() {
        Ok(config) => config,
        Err(faults) => return refuse(&faults),
    };
    let done = match cli.command {
        None => run(config),
        Some(Command::Seed(plan)) => seed(config, &plan),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "cannot go on");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "logs are not set up before the configuration is known")]
fn refuse(faults: &Faults) -> ExitCode {
    eprintln!("{faults}");
    ExitCode::from(Faults::EXIT_CODE)
}

fn configure() -> Result<Config, Faults> {
    let mut reader = Reader::new(Source::load()?);
    let settings = Settings::read(&mut reader);
    let gateway = gateway::Config::read(&mut reader, &settings);
    let worker = worker::Config::read(&mut reader);
    let stop = stop::Config::read(&mut reader, &settings, gateway.drain_window);
    match &settings.mode {
        None | Some(Mode::Embedded) => {}
        Some(other) => reader.fault(format!("mode {} is not in this release yet", other.name())),
    }
    reader.finish()?;
    Ok(Config { settings, gateway, worker, stop })
}

#[tokio::main]
async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let Config { settings, gateway, worker, stop } = config;
    let format = if settings.debug { Format::Plain } else { Format::Json };
    let metrics = telemetry::init(&settings.log, format)?;
    if settings.debug {
        tracing::warn!("DEBUG: development users, keys and endpoints; never for production");
    }
    if settings.key_origin == KeyOrigin::Development {
        let kept_in = settings.data_dir.display();
        tracing::warn!(%kept_in, "SECRET_KEY is not set: tokens are signed with a development key");
    }
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let readiness = Readiness::default();
    readiness.require("start");
    let admin = admin::start(settings.admin_listen, readiness.clone(), metrics, &shutdown)
        .await
        .with_context(|| format!("cannot listen on {} (ADMIN_LISTEN)", settings.admin_listen))?;
    let (broker, store) = open(&settings.data_dir)?;
    worker::start(&worker, &broker, &store, &shutdown).await?;
    let users = if settings.debug { seed::development(&broker, &store).await? } else { Vec::new() };
    let Gateway { listen } = gateway::start(gateway, broker.clone(), users, &shutdown).await?;
    publish_addresses(&settings.data_dir, listen, admin)?;
    readiness.met("start");
    if settings.debug {
        banner::print(listen, admin, &settings.data_dir);
    }
    stop::wait_and_stop(&shutdown, &broker, &store, stop).await;
    Ok(if shutdown.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Makes data for load tests and stops.
#[tokio::main]
#[expect(clippy::print_stdout, reason = "a person at a terminal asked for it")]
async fn seed(config: Config, plan: &seed::load::Plan) -> anyhow::Result<ExitCode> {
    let Config { settings, worker, .. } = config;
    telemetry::init(&settings.log, Format::Plain)?;
    let shutdown = Shutdown::new();
    let (broker, store) = open(&settings.data_dir)?;
    worker::start(&worker, &broker, &store, &shutdown).await?;
    let events = seed::load::run(&broker, &store, plan).await?;
    println!("{events} events made in {}", settings.data_dir.display());
    shutdown.trigger();
    stop::wait_and_stop(&shutdown, &broker, &store, stop::Config::at_once()).await;
    Ok(if shutdown.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn open(data_dir: &Path) -> anyhow::Result<(Broker, Store)> {
    let embedded = Embedded::open(&data_dir.join("log"), Options::default())
        .with_context(|| format!("cannot open the log in {} (DATA_DIR)", data_dir.display()))?;
    let store = Sqlite::open(&data_dir.join("store.db"))
        .with_context(|| format!("cannot open the store in {} (DATA_DIR)", data_dir.display()))?;
    Ok((Broker::Embedded(embedded), Store::Sqlite(store)))
}

/// Says where the chosen ports are, whole or not at all: whoever waits for the file finds it complete.
fn publish_addresses(data_dir: &Path, listen: SocketAddr, admin: SocketAddr) -> anyhow::Result<()> {
    let path = data_dir.join("addresses.json");
    let fresh = data_dir.join("addresses.json.new");
    let addresses = serde_json::json!({ "listen": listen, "admin": admin });
    std::fs::write(&fresh, addresses.to_string())
        .with_context(|| format!("cannot write {}", fresh.display()))?;
    if let Err(error) = std::fs::rename(&fresh, &path) {
        bail!("cannot write {}: {error}", path.display());
    }
    Ok(())
}
