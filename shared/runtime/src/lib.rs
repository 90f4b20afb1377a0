//! How a process of SafeShipper is configured, watched and stopped.
//!
//! It knows nothing of chat: no crate of ours is below it. Architecture Invariants: only `config` reads the
//! environment, only `clock` reads the wall clock, and every task is spawned through `shutdown`.
#![warn(missing_docs)]

pub mod admin;
pub mod backoff;
pub mod clock;
pub mod config;
pub mod patience;
pub mod priority;
pub mod process;
pub mod shutdown;
pub mod stop;
pub mod telemetry;
