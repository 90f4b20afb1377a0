//! Where a store of one kind lives.

use runtime::shutdown::Shutdown;
use std::future::Future;
use std::path::PathBuf;
use store::Store;
use tempfile::TempDir;

/// One adapter's data and how to open it again.
pub(crate) trait World: Sync {
    fn open(&self) -> impl Future<Output = Store> + Send;

    /// A clean stop and a start.
    fn restart(&self, store: Store) -> impl Future<Output = Store> + Send {
        async move {
            store.close().await;
            drop(store);
            self.open().await
        }
    }
}

/// The layouts of earlier releases, each on top of the one before.
pub(crate) const LAYOUTS: [&str; 6] = [
    include_str!("../../schema/0001_events_and_projections.sql"),
    include_str!("../../schema/0002_reached.sql"),
    include_str!("../../schema/0003_dead_letters.sql"),
    include_str!("../../schema/0004_changes.sql"),
    include_str!("../../schema/0005_sent_by_id.sql"),
    include_str!("../../schema/0006_filling.sql"),
];

pub(crate) struct Sqlite(TempDir);

impl Sqlite {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("store.db")
    }

    pub(crate) fn open_read_only(&self) -> Store {
        Store::Sqlite(store::Sqlite::open_read_only(&self.file(), &Shutdown::new()).unwrap())
    }

    /// Makes the file as the first layouts left it, so many of them.
    pub(crate) fn make(&self, layouts: usize) {
        let file = rusqlite::Connection::open(self.file()).unwrap();
        for layout in &LAYOUTS[..layouts] {
            file.execute_batch(layout).unwrap();
        }
        file.execute_batch(&format!("PRAGMA user_version={layouts}")).unwrap();
    }
}

impl World for Sqlite {
    async fn open(&self) -> Store {
        Store::Sqlite(store::Sqlite::open(&self.file(), &Shutdown::new()).unwrap())
    }
}
