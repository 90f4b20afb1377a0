//! The whole system: the real process, real sockets, a WebSocket client that is not ours.
//!
//! A server is started with port 0 and stopped by its own id; a wait is for a condition and has a deadline.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test says what it expects by failing, and owns its tasks"
)]

mod client;
mod configuration;
mod crowded;
mod dead_letters;
mod disk;
mod fleet;
mod fsync_order;
mod hostile;
mod kill;
mod kill_client;
mod membership;
mod power_cut;
mod replay;
mod retention;
mod server;
mod slow;
mod stopping;
mod store_lost;
mod system;
