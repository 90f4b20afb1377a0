//! Where a store of one kind lives.

use runtime::shutdown::Shutdown;
use std::future::Future;
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

pub(crate) struct Sqlite(TempDir);

impl Sqlite {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl World for Sqlite {
    async fn open(&self) -> Store {
        Store::Sqlite(store::Sqlite::open(&self.0.path().join("store.db"), &Shutdown::new()).unwrap())
    }
}
