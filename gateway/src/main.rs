//! The gateway process: sockets in, subjects out. It needs NATS; everything in one process is `standalone`.
//!
//! Exit codes: 0 stopped as asked, 1 something broke, 64 the configuration is wrong.

use anyhow::Context;
use broker::{Broker, Nats, NatsOptions};
use clap::{Parser, Subcommand};
use gateway::Gateway;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use runtime::admin::Refused;
use runtime::config::{Faults, Mode, Reader, Settings, Source};
use runtime::process::{Process, refuse};
use runtime::stop;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Milliseconds over which a shed is spread at most. Chosen: whoever wants it slower asks for a few percent at a time.
const SHED_MS_MAX: u32 = 600_000;

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
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Has the running gateway at ADMIN_LISTEN send some of its clients elsewhere: the load balancer spreads them anew
    Shed {
        /// How many of its clients, in percent
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
        percent: u32,
        /// Over how many milliseconds
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(..=i64::from(SHED_MS_MAX)))]
        over_ms: u32,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => configure().map(run),
        Some(Command::Shed { percent, over_ms }) => configure_command().map(|admin| {
            let path = format!("/shed?percent={percent}&over_ms={over_ms}");
            Ok(tell(ask(admin, &path)))
        }),
    };
    match done {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            tracing::error!(error = format!("{error:#}"), "cannot go on");
            ExitCode::FAILURE
        }
        Err(faults) => refuse(&faults),
    }
}

/// Returns where the gateway that runs here is asked; a command needs no more.
fn configure_command() -> Result<SocketAddr, Faults> {
    let mut reader = Reader::new(Source::load()?);
    reader.leave_all_but(&["admin_listen"]);
    let admin = reader.get("admin_listen", SocketAddr::from(([127, 0, 0, 1], 9090)));
    reader.finish()?;
    Ok(admin)
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
    // A start may take long, and whoever asks for the end meanwhile need not wait for it.
    let connected = tokio::select! {
        connected = Nats::connect(nats, shutdown) => Some(connected.context("cannot use NATS (NATS_URL)")?),
        () = shutdown.triggered() => None,
    };
    let Some(nats) = connected else {
        stop::wait_and_stop(shutdown, stop, Vec::new()).await;
        return Ok(process.exit_code());
    };
    nats.tell(&process.readiness);
    let broker = Broker::Nats(nats);
    let users = if settings.debug { protocol::development::profiles() } else { Vec::new() };
    let gateway = gateway::start(gateway, broker.clone(), users, shutdown).await?;
    let listen = gateway.listen;
    process.operations.offer("/shed", move |query| shed(&gateway, query));
    process.started(&settings, Some(listen)).context("cannot write addresses.json in DATA_DIR")?;
    stop::wait_and_stop(shutdown, stop, vec![("broker", Box::pin(broker.drain()))]).await;
    Ok(process.exit_code())
}

/// Sends clients away as a query `percent=P&over_ms=M` says.
fn shed(gateway: &Gateway, query: &str) -> Result<String, Refused> {
    let (percent, over_ms) = shed_wish(query).map_err(Refused::Senseless)?;
    let window = Duration::from_millis(over_ms.into());
    gateway.shed(percent, window).map_err(|error| Refused::Busy(error.to_string()))?;
    Ok(format!("{percent} % of the clients are sent elsewhere within {over_ms} ms"))
}

/// Reads how many percent, and over how many milliseconds.
fn shed_wish(query: &str) -> Result<(u32, u32), String> {
    let number = |name: &str| {
        let pair = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        pair.map(|text| text.parse::<u32>().map_err(|_| format!("{name}: expected a whole number")))
            .transpose()
    };
    let percent = number("percent")?.filter(|percent| (1..=100).contains(percent));
    let percent = percent.ok_or_else(|| "percent: expected 1 to 100".to_owned())?;
    let over_ms = number("over_ms")?.unwrap_or(10_000);
    if over_ms > SHED_MS_MAX {
        return Err(format!("over_ms: expected {SHED_MS_MAX} at most"));
    }
    Ok((percent, over_ms))
}

/// Says what became of a command.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a person at a terminal asked for it")]
fn tell(said: anyhow::Result<String>) -> ExitCode {
    match said {
        Ok(said) => {
            print!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Asks the gateway that runs to do something; returns what it said.
#[tokio::main(flavor = "current_thread")]
async fn ask(admin: SocketAddr, path: &str) -> anyhow::Result<String> {
    let asked = async {
        let socket = tokio::net::TcpStream::connect(admin).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        let request = hyper::Request::post(path)
            .header("host", admin.to_string())
            .header("connection", "close")
            .body(Empty::<bytes::Bytes>::new())?;
        let answered = async {
            let answer = sender.send_request(request).await?;
            let well = answer.status().is_success();
            anyhow::Ok((well, answer.into_body().collect().await?.to_bytes()))
        };
        // The connection moves the bytes of both, and ends with the answer.
        let (answer, _connection) = tokio::join!(answered, connection);
        answer
    };
    let asked = tokio::time::timeout(Duration::from_secs(10), asked).await.context("no answer in time")?;
    let (well, said) = asked.with_context(|| format!("cannot ask the gateway at {admin} (ADMIN_LISTEN)"))?;
    let said = String::from_utf8_lossy(&said).into_owned();
    anyhow::ensure!(well, "{}", said.trim_end());
    Ok(said)
}
