//! Gateway: sockets in, subjects out. It keeps nothing that another gateway would need.
//!
//! `listener` accepts and speaks HTTP, `handshake` and `auth` judge who may open a WebSocket, `connection` moves
//! its bytes, `session` decides, `reactor` acts (one per core, its part of the `hub` included), `outbox` bounds
//! what waits for a socket, `upstream` is the broker's side. Architecture Invariant: a gateway opens no store
//! and knows no worker; it asks through the broker.

mod config;

mod admission;
mod api;
mod auth;
mod connection;
mod echo;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod handshake;
mod hub;
#[cfg(test)]
mod interleavings;
mod listener;
mod metrics;
mod outbox;
mod page;
mod reactor;
mod seats;
mod serve;
mod session;
mod upstream;
mod websocket;
#[cfg(feature = "workload")]
pub mod workload;

pub use config::Config;
pub use reactor::ShedRuns;
pub use serve::{Gateway, StartError, start};
