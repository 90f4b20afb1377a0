//! A nats-server of a test's own, which may die and come back.

use crate::world::DEADLINE;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A server with its folder and port, which stay the same when it starts again.
pub(crate) struct Node {
    folder: PathBuf,
    port: u16,
    server: Mutex<Option<Child>>,
}

/// Where `deploy/tools/setup.sh nats` puts it.
fn binary() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin/nats-server");
    assert!(path.exists(), "{} is missing: deploy/tools/setup.sh nats installs it", path.display());
    path
}

/// A port that no connection of a client is given by the system, so that it is still free when a server starts again.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    loop {
        let mut random = [0; 2];
        getrandom::fill(&mut random).unwrap();
        let port = FIRST + u16::from_le_bytes(random) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Node {
    /// Starts a server in `folder`, which syncs each append; `more` is in its configuration as well.
    pub(crate) fn start(folder: PathBuf, more: &str) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        let port = free_port();
        let config = format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{}\", sync_interval: always }}\n\
             no_fast_producer_stall: true\n{more}",
            folder.join("data").display()
        );
        std::fs::write(folder.join("nats.conf"), config).unwrap();
        let node = Self { folder, port, server: Mutex::new(None) };
        node.start_again();
        node
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn start_again(&self) {
        let log =
            std::fs::File::options().create(true).append(true).open(self.folder.join("nats.log")).unwrap();
        let child = Command::new(binary())
            .arg("-c")
            .arg(self.folder.join("nats.conf"))
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

    /// Sends a signal to the server, by its name as `kill` takes it.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.server.lock().unwrap().as_ref().unwrap().id();
        assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
