//! The embedded broker's world: a folder.

use crate::world::{Wishes, World};
use broker::{Broker, Options};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// A folder, a new one after each crash.
pub(crate) struct Embedded {
    root: TempDir,
    crashes: AtomicUsize,
}

impl Embedded {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), crashes: AtomicUsize::new(0) }
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join(self.crashes.load(Ordering::SeqCst).to_string())
    }
}

impl World for Embedded {
    async fn open_with(&self, wishes: Wishes) -> Broker {
        let Wishes { dedup_window, ack_wait, live_queue } = wishes;
        let options = Options { dedup_window, ack_wait, live_queue };
        Broker::Embedded(broker::Embedded::open(&self.folder(), options).unwrap())
    }

    /// Goes on with what the files held at one moment, as a dead process leaves them. The database comes first:
    /// nothing moves into it from the WAL before that has a thousand pages, which no behaviour writes.
    async fn crash(&self, broker: Broker) -> Broker {
        let before = self.folder();
        self.crashes.fetch_add(1, Ordering::SeqCst);
        std::fs::create_dir(self.folder()).unwrap();
        for file in ["log.db", "log.db-wal"] {
            std::fs::copy(before.join(file), self.folder().join(file)).unwrap();
        }
        drop(broker);
        self.open().await
    }
}
