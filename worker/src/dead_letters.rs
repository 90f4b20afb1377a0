//! What an operator does with entries that a role put aside: looks at them, and has them handled again once their
//! reason is gone.

use crate::handler::{Handler, HandlerError, Item};
use crate::persistence::Persistence;
use broker::Entry;
use clap::Subcommand;
use protocol::time::Timestamp;
use runtime::clock::now_unix_ms;
use runtime::config::{Faults, Reader, Settings, Source};
use runtime::shutdown::Shutdown;
use runtime::telemetry::Filter;
use std::path::PathBuf;
use std::slice;
use std::str::FromStr;
use store::{DeadLetter, InvalidLetterId, LetterId, OpenError, Sqlite, Store, StoreError};

/// Letters that are read at once.
const PAGE: u32 = 100;

/// What is to be done.
#[derive(Debug, Clone, Subcommand)]
pub enum Order {
    /// Lists entries of the log that could not be handled: id, when, tries, bytes, reason
    List {
        /// Shows so many
        #[arg(long, default_value_t = PAGE)]
        limit: u32,
    },
    /// Handles one again, or all; what works is removed
    Replay {
        /// An id that `list` shows, or `all`
        which: Which,
    },
}

/// Which letters.
#[derive(Debug, Clone)]
pub enum Which {
    /// Every one.
    All,
    /// One.
    One(LetterId),
}

impl FromStr for Which {
    type Err = InvalidLetterId;

    fn from_str(text: &str) -> Result<Self, InvalidLetterId> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::One) }
    }
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The store failed.
    #[error("store cannot be used")]
    Store(#[from] StoreError),
    /// Nothing is there under this id.
    #[error("no dead letter {0}")]
    Unknown(LetterId),
    /// No store is where it is configured.
    #[error("no store is at {0} (DATA_DIR, or store.file)")]
    Missing(PathBuf),
    /// The store cannot be opened.
    #[error("cannot open the store {0}")]
    Open(PathBuf, #[source] OpenError),
}

/// What an order needs of the configuration; servers may be told whatever they want beside it.
#[derive(Debug)]
pub struct Config {
    /// The filter of the logs.
    pub log: Filter,
    /// Where the store is.
    pub store: store::Config,
}

impl Config {
    /// Reads the file named by `CONFIG`, `.env` and the environment.
    ///
    /// # Errors
    /// [`Faults`] of what is needed.
    pub fn load() -> Result<Self, Faults> {
        let mut reader = Reader::new(Source::load()?);
        reader.leave_all_but(&["data_dir", "log", "store"]);
        let log = reader.get("log", Filter::default());
        let data_dir = Settings::read_data_dir(&mut reader);
        let store = store::Config::read(&mut reader, &data_dir);
        reader.finish()?;
        Ok(Self { log, store })
    }
}

/// Opens the store, which is only read when that is enough, carries out an order and closes; returns how many letters
/// failed again.
///
/// # Errors
/// [`OrderError`] when it was not carried out, or not to its end.
pub async fn operate(
    config: &Config,
    order: &Order,
    say: &mut impl FnMut(String),
) -> Result<usize, OrderError> {
    let (file, shutdown) = (&config.store.file, Shutdown::new());
    if !file.exists() {
        return Err(OrderError::Missing(file.clone()));
    }
    let opened = match order {
        Order::List { .. } => Sqlite::open_read_only(file, &shutdown),
        Order::Replay { .. } => Sqlite::open(file, &shutdown),
    };
    let store = Store::Sqlite(opened.map_err(|error| OrderError::Open(file.clone(), error))?);
    let carried_out = carry_out(order, &store, say).await;
    store.close().await;
    carried_out
}

/// Carries out an order and says so line by line; returns how many letters failed again.
///
/// # Errors
/// [`OrderError`] when it was not carried out, or not to its end.
pub async fn carry_out(
    order: &Order,
    store: &Store,
    say: &mut impl FnMut(String),
) -> Result<usize, OrderError> {
    match order {
        Order::List { limit } => list(store, *limit, say).await,
        Order::Replay { which: Which::All } => replay_all(store, say).await,
        Order::Replay { which: Which::One(id) } => {
            let letter = store.dead_letter(id).await?.ok_or_else(|| OrderError::Unknown(id.clone()))?;
            replay(store, letter, say).await.map(usize::from)
        }
    }
}

async fn list(store: &Store, limit: u32, say: &mut impl FnMut(String)) -> Result<usize, OrderError> {
    let (mut last, mut left) = (None, limit);
    while left > 0 {
        let letters = store.dead_letters(last.as_ref(), left.min(PAGE)).await?;
        let Some(newest) = letters.last() else { break };
        last = Some(newest.id.clone());
        left -= u32::try_from(letters.len()).unwrap_or(left);
        letters.iter().for_each(|letter| say(shown(letter)));
    }
    if left == 0 && !store.dead_letters(last.as_ref(), 1).await?.is_empty() {
        say(format!("more than {limit}: see --limit"));
    }
    Ok(0)
}

fn shown(letter: &DeadLetter) -> String {
    let DeadLetter { id, reason, attempts, at, envelope } = letter;
    format!("{id}  {at}  {attempts} tries  {} bytes  {reason}", envelope.len())
}

async fn replay_all(store: &Store, say: &mut impl FnMut(String)) -> Result<usize, OrderError> {
    let (mut last, mut failed) = (None, 0);
    loop {
        let letters = store.dead_letters(last.as_ref(), PAGE).await?;
        let Some(newest) = letters.last() else { return Ok(failed) };
        last = Some(newest.id.clone());
        for letter in letters {
            failed += usize::from(replay(store, letter, say).await?);
        }
    }
}

/// Handles an entry again; returns whether it failed once more, for a reason of its own. What is of no role of this
/// release stays as it is.
async fn replay(store: &Store, letter: DeadLetter, say: &mut impl FnMut(String)) -> Result<bool, OrderError> {
    let DeadLetter { id, envelope, .. } = letter.clone();
    let entry = Entry { channel: id.channel.clone(), seq: id.position.seq, envelope };
    let item = Item { epoch: id.position.epoch.clone(), entry };
    let handled = match &*id.role {
        Persistence::ROLE => Persistence::new(store.clone(), None).handle(slice::from_ref(&item)).await,
        _ => {
            say(format!("{id}  nobody handles what is of this role"));
            return Ok(true);
        }
    };
    match handled {
        Ok(()) => {
            // The store forgets the newest first: without the letter it has what the letter led to.
            store.remove_dead_letter(&id).await?;
            say(format!("{id}  handled"));
            Ok(false)
        }
        Err(HandlerError::Store(error)) if !error.is_refusal() => Err(error.into()),
        Err(error) => {
            say(format!("{id}  {}", error.reason()));
            let (attempts, at) = (letter.attempts + 1, Timestamp::from_unix_ms(now_unix_ms()));
            store.put_aside(DeadLetter { reason: error.reason(), attempts, at, ..letter }).await?;
            Ok(true)
        }
    }
}
