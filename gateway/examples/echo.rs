//! A gateway that echoes, for conformance suites: `echo 127.0.0.1:9001`. SIGTERM stops it.

use anyhow::Context;
use broker::{Broker, Embedded, Options};
use gateway::Config;
use runtime::config::Secret;
use runtime::shutdown::{Shutdown, Stage};
use std::net::SocketAddr;
use std::time::Duration;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "whoever starts it waits for the address")]
async fn main() -> anyhow::Result<()> {
    let listen: SocketAddr = std::env::args().nth(1).context("usage: echo ADDRESS:PORT")?.parse()?;
    let data = tempfile::tempdir()?;
    let broker = Broker::Embedded(Embedded::open(data.path(), Options::default())?);
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let config = Config {
        debug: true,
        listen,
        jwt_signing_key: Secret::new("nobody signs in"),
        allowed_origins: Vec::new(),
        trusted_proxies: Vec::new(),
        reactors: 2,
        connections_max: 1_000,
        connections_per_address_max: 1_000,
        connections_per_user_max: 1_000,
        drain_window: Duration::ZERO,
        echo: true,
    };
    let gateway = gateway::start(config, broker, Vec::new(), &shutdown).await?;
    println!("{}", gateway.listen);
    shutdown.triggered().await;
    shutdown.enter(Stage::Draining);
    Ok(())
}
