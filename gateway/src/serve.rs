//! How a gateway starts and stops: listeners, one reactor thread per core, upstream.

use crate::admission::{Admission, Limits};
use crate::auth::Keys;
use crate::config::Config;
use crate::listener;
use crate::reactor::{Common, Reactor, Shed, ShedRuns, Sheds};
use crate::upstream::{ASKS, BATCHES, Upstream};
use broker::{Broker, SubscribeError};
use protocol::claims::Profile;
use runtime::shutdown::{Shutdown, Stage};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet, LocalSet};

/// A gateway that runs until its shutdown is triggered.
pub struct Gateway {
    /// Where clients connect, with the port that was chosen.
    pub listen: SocketAddr,
    sheds: Arc<Sheds>,
}

impl Gateway {
    /// Sends `percent` of the clients of each reactor elsewhere, spread over `window`; they come back by the load
    /// balancer.
    ///
    /// # Errors
    /// [`ShedRuns`] while the clients of an earlier call are being sent.
    pub fn shed(&self, percent: u32, window: Duration) -> Result<(), ShedRuns> {
        self.sheds.ask(Shed { percent: percent.min(100), window })
    }
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The broker takes no subscriber.
    #[error("cannot subscribe at the broker")]
    Subscribe(#[from] SubscribeError),
    /// The system gives no thread.
    #[error("cannot start a reactor")]
    Thread(#[source] io::Error),
}

/// Starts a gateway; `dev_users` are those that DEBUG hands out tokens for.
///
/// # Errors
/// [`StartError`] when the address, the broker or the system refuses.
pub async fn start(
    config: Config,
    broker: Broker,
    dev_users: Vec<Profile>,
    shutdown: &Shutdown,
) -> Result<Gateway, StartError> {
    crate::metrics::describe();
    let address = config.listen;
    let bound = listener::bind(address, config.reactors);
    let (listen, listeners) = bound.map_err(|source| StartError::Listen { address, source })?;
    let (asks, asked) = mpsc::channel(ASKS);
    let (tells, told): (Vec<_>, Vec<_>) = listeners.iter().map(|_| mpsc::channel(BATCHES)).unzip();
    let upstream = Upstream::open(broker.clone(), asked, tells).await?;
    shutdown.spawn("upstream", upstream.run());
    let limits = Limits {
        connections_max: config.connections_max,
        per_address_max: config.connections_per_address_max,
        per_user_max: config.connections_per_user_max,
        loopback_exempt: config.debug,
    };
    let sheds = Arc::new(Sheds::new(listeners.len()));
    let common = Arc::new(Common {
        keys: Arc::new(Keys::hs256(config.jwt_signing_key.expose().as_bytes())),
        admission: Admission::new(limits),
        broker,
        sheds: sheds.clone(),
        dev_users,
        shutdown: shutdown.clone(),
        config,
    });
    for (id, (listener, tells)) in listeners.into_iter().zip(told).enumerate() {
        let (common, asks) = (common.clone(), asks.clone());
        let thread = move || run_reactor(Part { id, common, listener, asks, tells });
        shutdown.spawn_thread(&format!("reactor-{id}"), thread).map_err(StartError::Thread)?;
    }
    tracing::info!(%listen, "gateway listens");
    Ok(Gateway { listen, sheds })
}

/// What one reactor's thread gets.
struct Part {
    id: usize,
    common: Arc<Common>,
    listener: TcpListener,
    asks: mpsc::Sender<crate::upstream::Ask>,
    tells: mpsc::Receiver<Vec<crate::upstream::Tell>>,
}

/// The body of a reactor's thread: serves until the drain is over.
fn run_reactor(part: Part) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let Part { id, common, listener, asks, tells } = part;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (shutdown, window) = (common.shutdown.clone(), common.config.drain_window);
        let reactor = Reactor::new(id, common, asks);
        let mut loops = JoinSet::new();
        loops.spawn_local(reactor.clone().hear(tells));
        loops.spawn_local(reactor.clone().flush_left());
        loops.spawn_local(reactor.clone().pump_asks());
        loops.spawn_local(reactor.clone().sweep());
        loops.spawn_local(reactor.clone().check_memberships());
        loops.spawn_local(reactor.clone().shed());
        let accepting = loops.spawn_local(listener::accept(reactor.clone(), listener));
        tokio::select! {
            () = shutdown.reached(Stage::Draining) => {}
            // None of them ends while the reactor serves: without one of them it would only seem to.
            ended = loops.join_next() => return Err(io::Error::other(broken(ended))),
        }
        accepting.abort();
        reactor.drain(window).await;
        Ok(())
    })
}

fn broken(ended: Option<Result<(), JoinError>>) -> String {
    match ended {
        Some(Err(error)) => format!("a part of the reactor broke: {error}"),
        Some(Ok(())) | None => "a part of the reactor ended: upstream is gone".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::{Embedded, Options};
    use runtime::config::Secret;

    #[tokio::test]
    async fn a_gateway_that_hears_nothing_any_more_stops_the_process() {
        let data = tempfile::tempdir().unwrap();
        let broker = Broker::Embedded(Embedded::open(data.path(), Options::default()).unwrap());
        let shutdown = Shutdown::new();
        let config = Config {
            debug: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            jwt_signing_key: Secret::new("key"),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            reactors: 1,
            connections_max: 1,
            connections_per_address_max: 1,
            connections_per_user_max: 1,
            drain_window: Duration::ZERO,
            echo: false,
        };
        start(config, broker.clone(), Vec::new(), &shutdown).await.unwrap();
        assert!(!shutdown.has_failed());
        broker.drain().await;
        tokio::time::timeout(Duration::from_secs(10), shutdown.triggered()).await.unwrap();
        assert!(shutdown.has_failed());
        assert_eq!(shutdown.ended(&["reactor-"], Duration::from_secs(10)).await, Ok(()));
    }
}
