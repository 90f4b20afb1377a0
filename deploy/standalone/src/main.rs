//! Everything in one process: the embedded broker, a store, every worker role and a gateway.
//!
//! Exit codes: 0 stopped as asked, 1 something broke, 64 the configuration is wrong.

mod banner;

use anyhow::Context;
use broker::{Broker, Embedded, Options};
use clap::{Parser, Subcommand};
use gateway::Gateway;
use runtime::config::{Faults, Mode, Reader, Settings, Source};
use runtime::process::{Process, refuse};
use runtime::shutdown::Shutdown;
use runtime::stop;
use runtime::telemetry::{self, Format};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use store::{Sqlite, Store};
use worker::{dead_letters, seed};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Everything that was configured.
struct Config {
    settings: Settings,
    gateway: gateway::Config,
    store: store::Config,
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
    Seed(seed::Plan),
    /// Entries of the log that could not be stored; a server may run meanwhile
    #[command(subcommand)]
    DeadLetters(dead_letters::Order),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => configure().map(run),
        Some(Command::Seed(plan)) => configure().map(|config| make(config, &plan)),
        Some(Command::DeadLetters(order)) => {
            dead_letters::Config::load().map(|config| operate(&config, &order))
        }
    };
    match done {
        Err(faults) => refuse(&faults),
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            tracing::error!(error = format!("{error:#}"), "cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn configure() -> Result<Config, Faults> {
    let mut reader = Reader::new(Source::load()?);
    let settings = Settings::read(&mut reader);
    let gateway = gateway::Config::read(&mut reader, &settings);
    let store = store::Config::read(&mut reader, &settings.data_dir);
    let worker = worker::Config::read(&mut reader);
    let stop = stop::Config::read(&mut reader, &settings, gateway.drain_window);
    match &settings.mode {
        None | Some(Mode::Embedded) => {}
        Some(Mode::Nats(_)) => reader.fault(
            "standalone has its own broker; with NATS_URL run the programs gateway and worker, or set BROKER=embedded",
        ),
        Some(other) => reader.fault(format!("mode {} is not in this release yet", other.name())),
    }
    reader.finish()?;
    Ok(Config { settings, gateway, store, worker, stop })
}

#[tokio::main]
async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let Config { settings, gateway, store, worker, stop } = config;
    let process = Process::start(&settings).await?;
    let shutdown = &process.shutdown;
    let (broker, store) = open(&settings.data_dir, &store, shutdown)?;
    let start = async {
        worker::start(&worker, &broker, &store, shutdown).await?;
        let mut users = Vec::new();
        if settings.debug {
            seed::development(&broker, &store).await?;
            users = protocol::development::profiles();
        }
        let Gateway { listen, .. } = gateway::start(gateway, broker.clone(), users, shutdown).await?;
        process.started(&settings, Some(listen)).context("cannot write addresses.json in DATA_DIR")?;
        if settings.debug {
            banner::print(listen, process.admin, &settings.data_dir);
        }
        anyhow::Ok(())
    };
    // A start may take long, and whoever asks for the end meanwhile need not wait for it.
    tokio::select! {
        started = start => started?,
        () = shutdown.triggered() => {}
    }
    stop::wait_and_stop(shutdown, stop, closings(&broker, &store)).await;
    Ok(process.exit_code())
}

fn closings<'a>(broker: &'a Broker, store: &'a Store) -> Vec<stop::Closing<'a>> {
    vec![("log", Box::pin(broker.drain())), ("store", Box::pin(store.close()))]
}

/// Makes data for load tests and stops.
#[tokio::main]
#[expect(clippy::print_stdout, reason = "a person at a terminal asked for it")]
async fn make(config: Config, plan: &seed::Plan) -> anyhow::Result<ExitCode> {
    let Config { settings, store, worker, .. } = config;
    telemetry::init(&settings.log, Format::Plain)?;
    let shutdown = Shutdown::new();
    let (broker, store) = open(&settings.data_dir, &store, &shutdown)?;
    worker::start(&worker, &broker, &store, &shutdown).await?;
    let events = seed::load(&broker, &store, plan).await?;
    println!("{events} events made in {}", settings.data_dir.display());
    shutdown.trigger();
    stop::wait_and_stop(&shutdown, stop::Config::at_once(), closings(&broker, &store)).await;
    Ok(if shutdown.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Shows dead letters or has them handled again: the store is all that this needs.
#[tokio::main]
async fn operate(config: &dead_letters::Config, order: &dead_letters::Order) -> anyhow::Result<ExitCode> {
    telemetry::init(&config.log, Format::Plain)?;
    let failed = dead_letters::operate(config, order, &mut say).await?;
    Ok(if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn say(line: String) {
    // Whoever read this may have seen enough.
    let _closed = writeln!(io::stdout(), "{line}");
}

fn open(data_dir: &Path, store: &store::Config, shutdown: &Shutdown) -> anyhow::Result<(Broker, Store)> {
    let embedded = Embedded::open_watched(&data_dir.join("log"), Options::default(), shutdown)
        .with_context(|| format!("cannot open the log in {} (DATA_DIR)", data_dir.display()))?;
    Ok((Broker::Embedded(embedded), open_store(store, shutdown)?))
}

fn open_store(store: &store::Config, shutdown: &Shutdown) -> anyhow::Result<Store> {
    let opened = Sqlite::open(&store.file, shutdown)
        .with_context(|| format!("cannot open the store {}", store.file.display()))?;
    Ok(Store::Sqlite(opened))
}
