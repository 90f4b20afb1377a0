//! What an operator decides about the store.

use runtime::config::{Reader, Settings};
use std::path::PathBuf;

/// A store's settings, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// SQLite's file; default `store.db` in the data folder. Several workers of one host may share it.
    pub file: PathBuf,
}

impl Config {
    /// Reads the store's settings; faults stay with the reader.
    pub fn read(reader: &mut Reader, settings: &Settings) -> Self {
        Self { file: reader.get("store.file", settings.data_dir.join("store.db")) }
    }
}
