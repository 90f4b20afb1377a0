//! What an operator does with entries that a role put aside: looks at them, and has them handled again once their
//! reason is gone.

use crate::handler::{Handler, HandlerError, Item};
use crate::persistence::Persistence;
use broker::Entry;
use clap::Subcommand;
use protocol::time::Timestamp;
use runtime::clock::now_unix_ms;
use std::slice;
use std::str::FromStr;
use store::{DeadLetter, InvalidLetterId, LetterId, Store, StoreError};

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
    /// No role of this release has this name.
    #[error("nobody handles what is of role {0}")]
    Nobody(String),
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

/// Handles an entry again; returns whether it failed once more, for a reason of its own.
async fn replay(store: &Store, letter: DeadLetter, say: &mut impl FnMut(String)) -> Result<bool, OrderError> {
    let DeadLetter { id, envelope, .. } = letter.clone();
    let entry = Entry { channel: id.channel.clone(), seq: id.position.seq, envelope };
    let item = Item { epoch: id.position.epoch.clone(), entry };
    let handled = match &*id.role {
        Persistence::ROLE => Persistence::new(store.clone(), None).handle(slice::from_ref(&item)).await,
        _ => return Err(OrderError::Nobody(id.role)),
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
