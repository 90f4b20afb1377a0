//! How a worker starts its roles, each as tracked tasks that end with the shutdown.

use crate::config::{Config, Role};
use crate::{commands, consumer, directory, history, persistence, serving};
use broker::{Broker, ConsumeError, Group, ServeError};
use protocol::subjects::{RequestSubject, SHARDS, Shard};
use runtime::shutdown::Shutdown;
use std::time::Duration;
use store::Store;

/// The group that writes the store.
const PERSISTENCE: Option<Group> = Group::new("persistence");

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log cannot be consumed.
    #[error("log cannot be consumed")]
    Consume(#[from] ConsumeError),
    /// A subject cannot be served.
    #[error("requests cannot be served")]
    Serve(#[from] ServeError),
}

/// Starts a worker; when this returns, its roles serve.
///
/// # Errors
/// [`StartError`] when the broker refuses.
pub async fn start(
    config: &Config,
    broker: &Broker,
    store: &Store,
    shutdown: &Shutdown,
) -> Result<(), StartError> {
    for role in &config.roles {
        match role {
            Role::Persistence => start_persistence(broker, store, shutdown).await?,
            Role::Directory => {
                let server = broker.serve(RequestSubject::DirectorySession).await?;
                let handler = directory::Directory::new(store.clone());
                shutdown.spawn("worker-directory", serving::run(server, handler, shutdown.clone()));
            }
            Role::History => {
                let server = broker.serve(RequestSubject::History).await?;
                let handler = history::History::new(broker.clone(), store.clone());
                shutdown.spawn("worker-history", serving::run(server, handler, shutdown.clone()));
            }
            Role::Commands => {
                for shard in (0..SHARDS).map(Shard) {
                    let server = broker.serve(RequestSubject::Commands(shard)).await?;
                    let handler = commands::Commands::new(broker.clone(), store.clone());
                    shutdown.spawn("worker-commands", serving::run(server, handler, shutdown.clone()));
                }
            }
        }
    }
    Ok(())
}

async fn start_persistence(broker: &Broker, store: &Store, shutdown: &Shutdown) -> Result<(), StartError> {
    let Some(group) = PERSISTENCE else { return Ok(()) };
    let consumer = broker.consume(group).await?;
    let handler = persistence::Persistence::new(store.clone());
    shutdown.spawn("worker-persistence", consumer::run(consumer, handler, shutdown.clone()));
    Ok(())
}

/// Waits until the store has everything that a channel's log had when this was called.
///
/// # Errors
/// What could not be asked, or that the deadline passed.
pub async fn caught_up(
    broker: &Broker,
    store: &Store,
    channel: &protocol::ids::ChannelId,
    deadline: Duration,
) -> Result<(), CaughtUpError> {
    let head = broker.head(channel).await?;
    let stored = async {
        loop {
            if store.head(channel).await?.is_some_and(|at| at.epoch == head.epoch && at.seq >= head.seq) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(deadline, stored).await.map_err(|_| CaughtUpError::Deadline)?
}

/// Between two looks at the store.
const LOOK: Duration = Duration::from_millis(5);

/// Why it is not known that the store has caught up.
#[derive(Debug, thiserror::Error)]
pub enum CaughtUpError {
    /// The log cannot be asked.
    #[error("log cannot be asked")]
    Log(#[from] broker::ReadError),
    /// The store cannot be asked.
    #[error("store cannot be asked")]
    Store(#[from] store::StoreError),
    /// It took too long.
    #[error("store did not catch up with the log in time")]
    Deadline,
}
