//! The worker process: whatever needs state, on NATS. Everything in one process is `standalone`.
//!
//! Exit codes: 0 stopped as asked, 1 something broke, 64 the configuration is wrong.

use anyhow::Context;
use broker::{Broker, Nats, NatsOptions};
use clap::{Parser, Subcommand};
use runtime::config::{Faults, Mode, Reader, Settings, Source};
use runtime::process::{Process, refuse};
use runtime::shutdown::Shutdown;
use runtime::stop;
use runtime::telemetry::{self, Format};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use store::{Sqlite, Store};
use worker::{dead_letters, seed};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Everything that was configured.
struct Config {
    settings: Settings,
    nats: NatsOptions,
    store: store::Config,
    worker: worker::Config,
    stop: stop::Config,
}

/// The worker: persistence, directory, history, commands and digests, on NATS. It is configured by the environment,
/// `.env` and the file that CONFIG names.
#[derive(Parser)]
#[command(name = "worker", version)]
struct Cli {
    /// Roles of this worker, separated by commas; default: worker.roles of the configuration, else every role
    #[arg(long)]
    roles: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes users and rooms for load tests; other workers may run meanwhile
    Seed(seed::Plan),
    /// Entries of the log that could not be stored; workers may run meanwhile
    #[command(subcommand)]
    DeadLetters(dead_letters::Order),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => configure(cli.roles).map(run),
        Some(Command::Seed(plan)) => configure(cli.roles).map(|config| make(config, &plan)),
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

fn configure(roles: Option<String>) -> Result<Config, Faults> {
    let mut source = Source::load()?;
    if let Some(roles) = roles {
        source.set("worker.roles", "--roles", roles);
    }
    let mut reader = Reader::new(source);
    reader.leave(&["gateway", "listen", "cors_allowed_origins"]);
    let settings = Settings::read(&mut reader);
    let store = store::Config::read(&mut reader, &settings.data_dir);
    let worker = worker::Config::read(&mut reader);
    let stop = stop::Config::read(&mut reader, &settings, Duration::ZERO);
    let nats = match &settings.mode {
        Some(Mode::Nats(url)) => Some(NatsOptions::read(&mut reader, url, "worker")),
        Some(Mode::Embedded) => {
            reader.fault(
                "a worker by itself needs NATS_URL; everything in one process is the program standalone",
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
    Ok(Config { settings, nats, store, worker, stop })
}

#[tokio::main]
async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let Config { settings, nats, store, worker, stop } = config;
    let process = Process::start(&settings).await?;
    let shutdown = &process.shutdown;
    // A start may take long, and whoever asks for the end meanwhile need not wait for it.
    let opened = tokio::select! {
        opened = open(nats, &store, shutdown) => Some(opened?),
        () = shutdown.triggered() => None,
    };
    let Some((broker, store)) = opened else {
        stop::wait_and_stop(shutdown, stop, Vec::new()).await;
        return Ok(process.exit_code());
    };
    if let Broker::Nats(nats) = &broker {
        nats.tell(&process.readiness);
    }
    let start = async {
        worker::start(&worker, &broker, &store, shutdown).await?;
        if settings.debug && worker.roles.contains(&worker::Role::Persistence) {
            seed::development(&broker, &store).await?;
        }
        process.started(&settings, None).context("cannot write addresses.json in DATA_DIR")
    };
    tokio::select! {
        started = start => started?,
        () = shutdown.triggered() => {}
    }
    stop::wait_and_stop(shutdown, stop, closings(&broker, &store)).await;
    Ok(process.exit_code())
}

/// Makes data for load tests and stops. Whoever persists meanwhile may be another worker.
#[tokio::main]
#[expect(clippy::print_stdout, reason = "a person at a terminal asked for it")]
async fn make(config: Config, plan: &seed::Plan) -> anyhow::Result<ExitCode> {
    let Config { settings, nats, store, .. } = config;
    telemetry::init(&settings.log, Format::Plain)?;
    let shutdown = Shutdown::new();
    let (broker, store) = open(nats, &store, &shutdown).await?;
    let persistence = worker::Config { roles: vec![worker::Role::Persistence], ..worker::Config::default() };
    worker::start(&persistence, &broker, &store, &shutdown).await?;
    let events = seed::load(&broker, &store, plan).await?;
    println!("{events} events made");
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

async fn open(
    nats: NatsOptions,
    store: &store::Config,
    shutdown: &Shutdown,
) -> anyhow::Result<(Broker, Store)> {
    let broker = Nats::connect(nats, shutdown).await.context("cannot use NATS (NATS_URL)")?;
    Ok((Broker::Nats(broker), open_store(store, shutdown)?))
}

fn open_store(store: &store::Config, shutdown: &Shutdown) -> anyhow::Result<Store> {
    let opened = Sqlite::open(&store.file, shutdown)
        .with_context(|| format!("cannot open the store {}", store.file.display()))?;
    Ok(Store::Sqlite(opened))
}

fn closings<'a>(broker: &'a Broker, store: &'a Store) -> Vec<stop::Closing<'a>> {
    vec![("broker", Box::pin(broker.drain())), ("store", Box::pin(store.close()))]
}
