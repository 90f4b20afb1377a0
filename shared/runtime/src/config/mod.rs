//! Configuration: a TOML file, `.env` and the environment become one tree; components read it by typed getters.
//!
//! The environment wins over `.env`, which wins over the file named by `CONFIG`. Architecture Invariant: only
//! this module reads the environment. All faults are collected and reported at once; a secret's value never is.

mod reader;
mod settings;
mod source;

pub use reader::{Faults, FromValue, Reader, Secret};
pub use settings::{KeyOrigin, Mode, Settings};
pub use source::Source;
