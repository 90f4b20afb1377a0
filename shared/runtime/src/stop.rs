//! The order in which a process stops: readiness, sockets, workers, broker and store.

use crate::config::{Reader, Settings};
use crate::shutdown::{Shutdown, Stage};
use std::future::Future;
use std::pin::Pin;
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
    /// `STAGE_MAX`.
    stage_max: Duration,
}

impl Config {
    /// Nobody is connected: nothing to wait for.
    pub fn at_once() -> Self {
        Self { not_ready: Duration::ZERO, drain_window: Duration::ZERO, stage_max: STAGE_MAX }
    }

    /// Reads how a process with this drain window stops; faults stay with the reader.
    pub fn read(reader: &mut Reader, settings: &Settings, drain_window: Duration) -> Self {
        let default = Duration::from_secs(if settings.debug { 0 } else { 5 });
        let not_ready = reader.get_duration("stop.not_ready_ms", default);
        Self { not_ready, drain_window, stage_max: STAGE_MAX }
    }
}

/// Something that everything else stands on, with its name for the logs, and how it is closed.
pub type Closing<'a> = (&'static str, Pin<Box<dyn Future<Output = ()> + Send + 'a>>);

/// Waits until the process is asked to stop, then stops it stage by stage; `closings` come last, in their order.
pub async fn wait_and_stop(shutdown: &Shutdown, config: Config, closings: Vec<Closing<'_>>) {
    shutdown.triggered().await;
    shutdown.enter(Stage::NotReady);
    tokio::time::sleep(config.not_ready).await;
    shutdown.enter(Stage::Draining);
    ended(shutdown, &["reactor-"], config.drain_window + config.stage_max).await;
    shutdown.enter(Stage::Finishing);
    ended(shutdown, &["worker-"], config.stage_max).await;
    for (what, close) in closings {
        // It has a disk or a network below it, which may never answer again.
        if timeout(config.stage_max, close).await.is_err() {
            tracing::warn!(
                what,
                "this was not closed in time; what it did not finish comes again at the next start"
            );
        }
    }
    shutdown.enter(Stage::Closing);
    ended(shutdown, &[], config.stage_max).await;
    tracing::info!("stopped");
}

async fn ended(shutdown: &Shutdown, prefixes: &[&str], deadline: Duration) {
    if let Err(names) = shutdown.ended(prefixes, deadline).await {
        tracing::warn!(?names, "these did not end in time");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    #[tokio::test]
    async fn what_does_not_close_holds_no_stop_up() {
        let (shutdown, closed) = (Shutdown::new(), AtomicBool::new(false));
        let config = Config { stage_max: Duration::from_millis(100), ..Config::at_once() };
        let began = Instant::now();
        shutdown.trigger();
        let hangs: Closing<'_> = ("log", Box::pin(std::future::pending()));
        let closes: Closing<'_> = ("store", Box::pin(async { closed.store(true, Ordering::SeqCst) }));
        wait_and_stop(&shutdown, config, vec![hangs, closes]).await;
        assert!(closed.load(Ordering::SeqCst), "what comes behind it is closed all the same");
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        assert_eq!(shutdown.stage(), Stage::Closing);
    }
}
