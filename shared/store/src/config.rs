//! What an operator decides about the store.

use runtime::config::Reader;
use std::path::{Path, PathBuf};

/// A store's settings, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// SQLite's file; default `store.db` in the data folder. Several workers of one host may share it.
    pub file: PathBuf,
}

impl Config {
    /// Reads the store's settings; faults stay with the reader.
    pub fn read(reader: &mut Reader, data_dir: &Path) -> Self {
        Self { file: reader.get("store.file", data_dir.join("store.db")) }
    }
}
