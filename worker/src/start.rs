//! How a worker starts its roles, each as tracked tasks that end with the shutdown.

use crate::config::{Config, Role};
use crate::handler::Handler;
use crate::persistence::PERSISTENCE;
use crate::refill::{self, RefillError};
use crate::retention::Retention;
use crate::{
    announcing, commands, consumer, deleted, directory, events, history, persistence, receipts, serving,
};
use broker::{Broker, ConsumeError, ReadError, ReadLimit, ServeError};
use protocol::ids::ChannelId;
use protocol::subjects::{RequestSubject, SHARDS, Shard, Slot};
use runtime::patience;
use runtime::shutdown::{Shutdown, Stage};
use std::future::Future;
use std::time::Duration;
use store::{LetterId, Store};
use tokio::sync::mpsc;

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log cannot be consumed.
    #[error("log cannot be consumed")]
    Consume(#[from] ConsumeError),
    /// Nobody knows whether the store has what it should have.
    #[error("store cannot be compared with the log")]
    Refill(#[from] RefillError),
    /// A subject cannot be served.
    #[error("requests cannot be served")]
    Serve(#[from] ServeError),
}

impl StartError {
    /// Whether it passes by itself.
    fn passes(&self) -> bool {
        match self {
            Self::Consume(error) | Self::Refill(RefillError::Consume(error)) => {
                matches!(error, ConsumeError::Failed(_))
            }
            Self::Refill(RefillError::Log(error)) => !matches!(error, ReadError::Closed),
            Self::Refill(RefillError::Store(_)) | Self::Serve(_) => false,
        }
    }
}

/// Starts a worker; when this returns, its roles serve. One that persists first sees to it that the store has
/// everything that the log says it has.
///
/// # Errors
/// [`StartError`] when the broker refuses, for [`patience::START`] if that may pass.
pub async fn start(
    config: &Config,
    broker: &Broker,
    store: &Store,
    shutdown: &Shutdown,
) -> Result<(), StartError> {
    if config.roles.contains(&Role::Persistence) {
        let refill = patiently(|| async { Ok(refill::begin(broker, store).await?) }).await?;
        start_persistence(config, broker, store, shutdown).await?;
        if let Some(refill) = refill {
            while !patiently(|| async { Ok(refill.is_done(broker, store).await?) }).await? {
                tokio::time::sleep(refill::LOOK).await;
            }
            refill.end(store).await.map_err(RefillError::Store)?;
        }
    }
    for role in &config.roles {
        match role {
            // It came first.
            Role::Persistence => {}
            Role::Directory => {
                let server = broker.serve(RequestSubject::DirectorySession).await?;
                let handler = directory::Directory::new(store.clone());
                spawn(shutdown, "worker-directory", serving::run(server, handler, shutdown.clone()));
                let server = broker.serve(RequestSubject::DirectoryVersions).await?;
                let handler = directory::Versions::new(store.clone());
                spawn(shutdown, "worker-versions", serving::run(server, handler, shutdown.clone()));
            }
            Role::History => start_history(broker, store, shutdown).await?,
            Role::Digest => {
                let (broker, stopping) = (broker.clone(), shutdown.clone());
                shutdown.spawn("worker-digest", async move {
                    tokio::select! {
                        () = broker.digest() => {}
                        () = stopping.reached(Stage::Finishing) => {}
                    }
                });
            }
            Role::Commands => {
                let commands = commands::Commands::new(broker.clone(), store.clone());
                start_reads(broker, commands.clone(), shutdown).await?;
                for shard in (0..SHARDS).map(Shard) {
                    let server = broker.serve(RequestSubject::Commands(shard)).await?;
                    let serving = serving::run(server, commands.clone(), shutdown.clone());
                    spawn(shutdown, "worker-commands", serving);
                }
            }
        }
    }
    Ok(())
}

/// Takes a step again for as long as what hinders it may pass.
async fn patiently<T, S: Future<Output = Result<T, StartError>>>(
    step: impl FnMut() -> S,
) -> Result<T, StartError> {
    patience::patiently(patience::START, StartError::passes, step).await
}

async fn start_persistence(
    config: &Config,
    broker: &Broker,
    store: &Store,
    shutdown: &Shutdown,
) -> Result<(), StartError> {
    let consumer = patiently(|| async { Ok(broker.consume(PERSISTENCE).await?) }).await?;
    let (touched, touches) = mpsc::channel(announcing::QUEUE);
    spawn(shutdown, "worker-announcing", announcing::run(broker.clone(), store.clone(), touches));
    let handler = persistence::Persistence::new(store.clone(), Some(touched));
    let work = consumer::Work { handler, store: store.clone(), shutdown: shutdown.clone() };
    spawn(shutdown, "worker-persistence", consumer::run(consumer, work));
    let retention = Retention { broker: broker.clone(), store: store.clone(), kept: config.log_retention };
    spawn(shutdown, "worker-retention", retention.run(shutdown.clone()));
    Ok(())
}

/// Messages for who scrolls back, events for who was away.
async fn start_history(broker: &Broker, store: &Store, shutdown: &Shutdown) -> Result<(), StartError> {
    let server = broker.serve(RequestSubject::History).await?;
    let handler = history::History::new(broker.clone(), store.clone());
    spawn(shutdown, "worker-history", serving::run(server, handler, shutdown.clone()));
    let server = broker.serve(RequestSubject::Events).await?;
    let handler = events::Events::new(broker.clone(), store.clone());
    spawn(shutdown, "worker-events", serving::run(server, handler, shutdown.clone()));
    let server = broker.serve(RequestSubject::Deleted).await?;
    let handler = deleted::Deleted::new(broker.clone(), store.clone());
    spawn(shutdown, "worker-deleted", serving::run(server, handler, shutdown.clone()));
    Ok(())
}

/// Up to where people have read, and those who are told.
async fn start_reads(
    broker: &Broker,
    commands: commands::Commands,
    shutdown: &Shutdown,
) -> Result<(), StartError> {
    let (receipt, receipts) = mpsc::channel(receipts::QUEUE);
    spawn(shutdown, "worker-receipts", receipts::run(broker.clone(), receipts, shutdown.clone()));
    let server = broker.serve(RequestSubject::Reads).await?;
    let handler = commands::Reads::new(commands, receipt);
    spawn(shutdown, "worker-reads", serving::run(server, handler, shutdown.clone()));
    Ok(())
}

/// Spawns a role's loop. One that ends before the workers' stage leaves its work to nobody: the process stops.
fn spawn(shutdown: &Shutdown, name: &'static str, role: impl Future<Output = ()> + Send + 'static) {
    let watched = shutdown.clone();
    shutdown.spawn(name, async move {
        role.await;
        if watched.stage() < Stage::Finishing {
            tracing::error!(task = name, "a role ended too early; the process stops");
            watched.fail();
        }
    });
}

/// Waits until the store has everything that a channel's log had when this was called, or put it aside.
///
/// # Errors
/// What could not be asked, or that the deadline passed.
pub async fn caught_up(
    broker: &Broker,
    store: &Store,
    channel: &ChannelId,
    deadline: Duration,
) -> Result<(), CaughtUpError> {
    let head = broker.head(channel).await?;
    let newest = ReadLimit { entries: 1, bytes: usize::MAX };
    if broker.read(channel, head.seq.saturating_sub(1), newest).await?.entries.is_empty() {
        // Nothing was logged, or all of it is purged: the store had it before.
        return Ok(());
    }
    let role = persistence::Persistence::ROLE.to_owned();
    let letter = LetterId { role, channel: channel.clone(), position: head.clone() };
    let stored = async {
        loop {
            let has_come = match broker.settled(PERSISTENCE, Slot::of(channel).shard).await? {
                Some(settled) => broker.epoch(Slot::of(channel).shard) != head.epoch || settled >= head.seq,
                None => {
                    store.head(channel).await?.is_some_and(|at| at.epoch == head.epoch && at.seq >= head.seq)
                }
            };
            if has_come || store.dead_letter(&letter).await?.is_some() {
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
    Log(#[from] ReadError),
    /// The store cannot be asked.
    #[error("store cannot be asked")]
    Store(#[from] store::StoreError),
    /// It took too long.
    #[error("store did not catch up with the log in time")]
    Deadline,
}
