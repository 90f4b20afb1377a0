//! A standalone process of the test's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Signs the tokens of these tests.
pub(crate) const SECRET: &str = "a-test-key-that-is-long-enough-for-hs256";

/// How long a start or a stop may take before the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The binary under test, in an environment of its own.
pub(crate) fn command(data: &Path) -> Command {
    prepared(Command::new(env!("CARGO_BIN_EXE_standalone")), data)
}

/// Gives `command` the environment of a server in `data`.
pub(crate) fn prepared(mut command: Command, data: &Path) -> Command {
    command
        .env_clear()
        .env("DEBUG", "true")
        .env("SECRET_KEY", SECRET)
        .env("LISTEN", "127.0.0.1:0")
        .env("ADMIN_LISTEN", "127.0.0.1:0")
        .env("DATA_DIR", data)
        .current_dir(data)
        .stdin(Stdio::null());
    command
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    data: PathBuf,
    pub(crate) listen: SocketAddr,
}

impl Server {
    /// Starts a server in `data` on a port that the system chooses.
    pub(crate) fn start(data: &Path) -> Self {
        Self::spawn(command(data), data)
    }

    /// Starts a server in `data` where another one listened before.
    pub(crate) fn start_again(data: &Path, listen: SocketAddr) -> Self {
        let mut command = command(data);
        command.env("LISTEN", listen.to_string());
        Self::spawn(command, data)
    }

    /// Starts `command` and waits until it says where it listens.
    pub(crate) fn spawn(mut command: Command, data: &Path) -> Self {
        let addresses = data.join("addresses.json");
        if addresses.exists() {
            std::fs::remove_file(&addresses).unwrap();
        }
        let log = std::fs::File::options().create(true).append(true).open(data.join("server.log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.spawn().unwrap();
        let began = Instant::now();
        let listen = loop {
            if let Ok(text) = std::fs::read_to_string(&addresses) {
                let addresses: serde_json::Value = serde_json::from_str(&text).unwrap();
                break addresses["listen"].as_str().unwrap().parse().unwrap();
            }
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < DEADLINE, "no start ({ended:?}): {}", log_of(data));
            std::thread::sleep(Duration::from_millis(10));
        };
        Self { child, data: data.to_owned(), listen }
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the process to stop, as an operator does.
    pub(crate) fn terminate(&self) {
        signal("-TERM", self.child.id());
    }

    /// Asks the processes that this one has started to stop: the server below a tracer.
    pub(crate) fn terminate_children(&self) {
        self.signal_children("-TERM");
    }

    /// `kill -9` of the server below a tracer, which then ends too.
    pub(crate) fn kill_children(self) {
        self.signal_children("-KILL");
        self.wait();
    }

    fn signal_children(&self, name: &str) {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        for child in std::fs::read_to_string(children).unwrap().split_whitespace() {
            signal(name, child.parse().unwrap());
        }
    }

    /// Waits for the end of a process that was asked to stop.
    pub(crate) fn wait(mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < DEADLINE, "no end: {}", log_of(&self.data));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// Where the server in `data` tells of itself.
pub(crate) fn admin(data: &Path) -> SocketAddr {
    let addresses = std::fs::read_to_string(data.join("addresses.json")).unwrap();
    let addresses: serde_json::Value = serde_json::from_str(&addresses).unwrap();
    addresses["admin"].as_str().unwrap().parse().unwrap()
}

pub(crate) fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill {name} {pid}");
}

fn log_of(data: &Path) -> String {
    std::fs::read_to_string(data.join("server.log")).unwrap_or_default()
}
