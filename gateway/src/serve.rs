//! How a gateway starts and stops: listeners, one reactor thread per core, upstream.

use crate::admission::{Admission, Limits};
use crate::auth::Keys;
use crate::config::Config;
use crate::listener;
use crate::reactor::{Common, Reactor};
use crate::upstream::{ASKS, BATCHES, Upstream};
use broker::{Broker, SubscribeError};
use protocol::claims::Profile;
use runtime::shutdown::{Shutdown, Stage};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// A gateway that runs until its shutdown is triggered.
pub struct Gateway {
    /// Where clients connect, with the port that was chosen.
    pub listen: SocketAddr,
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
        loopback_exempt: config.debug,
    };
    let common = Arc::new(Common {
        keys: Arc::new(Keys::hs256(config.jwt_signing_key.expose().as_bytes())),
        admission: Admission::new(limits),
        broker,
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
    Ok(Gateway { listen })
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
        let (shutdown, window) = (common.shutdown.clone(), common.config.drain_window);
        let reactor = Reactor::new(id, common, asks);
        let served = tokio::task::spawn_local(Rc::clone(&reactor).run(tells));
        let accepting = tokio::task::spawn_local(listener::accept(reactor.clone(), listener));
        shutdown.reached(Stage::Draining).await;
        accepting.abort();
        reactor.drain(window).await;
        served.abort();
        Ok(())
    })
}
