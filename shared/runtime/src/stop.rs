//! The order in which a process stops: readiness, sockets, workers, broker and store.

use crate::config::{Reader, Settings};
use crate::shutdown::{Shutdown, Stage};
use std::future::Future;
use std::time::Duration;
use tokio::time::timeout;

/// How long each stage may take beyond its own window before the next begins all the same.
const STAGE_MAX: Duration = Duration::from_secs(10);

/// How a process stops.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// How long load balancers get to look elsewhere; default 5 s, none in DEBUG.
    not_ready: Duration,
    /// Over how long a gateway sends its clients away.
    drain_window: Duration,
}

impl Config {
    /// Nobody is connected: nothing to wait for.
    pub fn at_once() -> Self {
        Self { not_ready: Duration::ZERO, drain_window: Duration::ZERO }
    }

    /// Reads how a process with this drain window stops; faults stay with the reader.
    pub fn read(reader: &mut Reader, settings: &Settings, drain_window: Duration) -> Self {
        let default = Duration::from_secs(if settings.debug { 0 } else { 5 });
        Self { not_ready: reader.get_duration("stop.not_ready_ms", default), drain_window }
    }
}

/// Waits until the process is asked to stop, then stops it stage by stage. `close` closes what everything else
/// stands on, the broker before the store.
pub async fn wait_and_stop(shutdown: &Shutdown, config: Config, close: impl Future<Output = ()>) {
    shutdown.triggered().await;
    shutdown.enter(Stage::NotReady);
    tokio::time::sleep(config.not_ready).await;
    shutdown.enter(Stage::Draining);
    ended(shutdown, &["reactor-"], config.drain_window + STAGE_MAX).await;
    shutdown.enter(Stage::Finishing);
    ended(shutdown, &["worker-"], STAGE_MAX).await;
    if timeout(2 * STAGE_MAX, close).await.is_err() {
        tracing::warn!("broker and store were not closed in time; they recover at the next start");
    }
    shutdown.enter(Stage::Closing);
    ended(shutdown, &[], STAGE_MAX).await;
    tracing::info!("stopped");
}

async fn ended(shutdown: &Shutdown, prefixes: &[&str], deadline: Duration) {
    if let Err(names) = shutdown.ended(prefixes, deadline).await {
        tracing::warn!(?names, "these did not end in time");
    }
}
