//! A nats-server of a test's own.

use crate::world::DEADLINE;
use broker::{Broker, Nats, NatsOptions};
use runtime::config::Secret;
use runtime::shutdown::Shutdown;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A user who may do everything, and one for whom the group's consumers of one shard are not to be deleted. A password
/// is its user's name.
pub(crate) const ALL: &str = "all";
pub(crate) const MOST: &str = "most";

/// The shard that is not [`MOST`]'s.
pub(crate) const FORBIDDEN: u16 = 8;

pub(crate) struct Node {
    server: Child,
    port: u16,
    _folder: TempDir,
}

/// A port that no connection of a client is given by the system, so that it is still free when a server starts again.
fn free_port() -> u16 {
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
    /// Starts a server that syncs each append.
    pub(crate) fn start() -> Self {
        // Where `deploy/tools/setup.sh nats` puts it.
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/nats-server");
        assert!(program.exists(), "{} is missing: deploy/tools/setup.sh nats installs it", program.display());
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let data = folder.path().join("data");
        let config = format!(
            r#"listen: 127.0.0.1:{port}
jetstream {{ store_dir: "{}", sync_interval: always }}
no_fast_producer_stall: true
authorization {{ users: [
    {{ user: {ALL}, password: {ALL} }}
    {{ user: {MOST}, password: {MOST}
       permissions: {{ publish: {{ deny: "$JS.API.CONSUMER.DELETE.CHAT_{FORBIDDEN}.>" }} }} }}
] }}
"#,
            data.display()
        );
        std::fs::write(folder.path().join("nats.conf"), config).unwrap();
        let log = std::fs::File::create(folder.path().join("nats.log")).unwrap();
        let mut command = Command::new(program);
        command.arg("-c").arg(folder.path().join("nats.conf"));
        let server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < DEADLINE, "nats-server does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { server, port, _folder: folder }
    }

    pub(crate) async fn connect(&self, user: &str) -> Broker {
        let login = Some((user.to_owned(), Secret::new(user)));
        let options = NatsOptions { login, ..NatsOptions::new(format!("nats://127.0.0.1:{}", self.port)) };
        Broker::Nats(Nats::connect(options, &Shutdown::new()).await.unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}
