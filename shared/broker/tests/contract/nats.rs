//! The world of the broker on NATS: a real nats-server that syncs each append.

use crate::node::Node;
use crate::world::{Wishes, World};
use broker::{Broker, NatsOptions};
use runtime::shutdown::Shutdown;
use std::path::Path;
use tempfile::TempDir;

/// One server.
pub(crate) struct Nats {
    root: TempDir,
    node: Node,
    shutdown: Shutdown,
}

impl Nats {
    pub(crate) fn new() -> Self {
        Self::with(|_| String::new())
    }

    /// A server with more in its configuration, which may name files that are made in its folder.
    pub(crate) fn with(more: impl FnOnce(&Path) -> String) -> Self {
        let root = tempfile::tempdir().unwrap();
        let node = Node::start(root.path().to_owned(), &more(root.path()));
        Self { root, node, shutdown: Shutdown::new() }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn url(&self) -> String {
        self.node.url()
    }

    pub(crate) fn start(&self) {
        self.node.start_again();
    }

    pub(crate) fn kill(&self) {
        self.node.kill();
    }
}

impl World for Nats {
    async fn open_with(&self, wishes: Wishes) -> Broker {
        let Wishes { dedup_window, ack_wait, live_queue } = wishes;
        let dedup_window = Some(dedup_window);
        let options = NatsOptions { dedup_window, ack_wait, live_queue, ..NatsOptions::new(self.url()) };
        Broker::Nats(broker::Nats::connect(options, &self.shutdown).await.unwrap())
    }

    /// The server is killed and goes on with its files.
    async fn crash(&self, broker: Broker) -> Broker {
        self.kill();
        drop(broker);
        self.start();
        self.open().await
    }
}
