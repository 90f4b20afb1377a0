//! Worker: whatever needs state. One binary, roles chosen by configuration; only workers open a store.
//!
//! `consumer` is the one loop over the log, `persistence` the `handler` that it feeds, `refill` sees
//! that the store has what the log says it has, `announcing` tells gateways what
//! concerns them of that, `dead_letters` is what an operator does with entries that could not be handled; `directory`,
//! `history`, `events` and `commands` answer requests through `serving`. Architecture Invariant: handlers are
//! idempotent, and what they wrote is acknowledged after it is durable.

mod announcing;
mod commands;
mod config;
mod consumer;
pub mod dead_letters;
mod deleted;
mod directory;
mod events;
mod handler;
mod history;
mod metrics;
mod persistence;
mod receipts;
mod refill;
mod retention;
pub mod seed;
mod serving;
mod start;
mod tail;

pub use config::{Config, Role};
pub use persistence::PERSISTENCE;
pub use refill::RefillError;
pub use start::{CaughtUpError, StartError, caught_up, start};
