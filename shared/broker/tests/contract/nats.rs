//! The world of the broker on NATS: a real nats-server that syncs each append.

use crate::world::{DEADLINE, Wishes, World};
use broker::{Broker, NatsOptions};
use runtime::shutdown::Shutdown;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A server with its folder and port, which stay the same when it starts again.
pub(crate) struct Nats {
    root: TempDir,
    port: u16,
    server: Mutex<Option<Child>>,
    shutdown: Shutdown,
}

/// Where `deploy/tools/setup.sh nats` puts it.
fn binary() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin/nats-server");
    assert!(path.exists(), "{} is missing: deploy/tools/setup.sh nats installs it", path.display());
    path
}

impl Nats {
    pub(crate) fn new() -> Self {
        Self::with(|_| String::new())
    }

    /// A server with more in its configuration, which may name files that are made in its folder.
    pub(crate) fn with(more: impl FnOnce(&Path) -> String) -> Self {
        let root = tempfile::tempdir().unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let config = format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{}\", sync_interval: always }}\n\
             no_fast_producer_stall: true\n",
            root.path().join("data").display()
        );
        let config = config + &more(root.path());
        std::fs::write(root.path().join("nats.conf"), config).unwrap();
        let nats = Self { root, port, server: Mutex::new(None), shutdown: Shutdown::new() };
        nats.start();
        nats
    }

    pub(crate) fn folder(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn start(&self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.root.path().join("nats.log"))
            .unwrap();
        let child = Command::new(binary())
            .arg("-c")
            .arg(self.root.path().join("nats.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        *self.server.lock().unwrap() = Some(child);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(began.elapsed() < DEADLINE, "nats-server does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.server.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

impl World for Nats {
    async fn open_with(&self, wishes: Wishes) -> Broker {
        let Wishes { dedup_window, ack_wait, live_queue } = wishes;
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
