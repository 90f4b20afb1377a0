//! The roles on a real log and a real store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test says what it expects by failing, and owns its tasks"
)]

mod announcing;
mod changing;
mod commands;
mod dead_letters;
mod ending;
mod events;
mod history;
mod node;
mod persistence;
mod refill;
mod retention;
mod session;
mod world;
