//! Two gateways and two workers on a real nats-server, by the tool that people use too.

use crate::server::{DEADLINE, SECRET, signal};
use serde_json::Value;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A program of the fleet. They lie beside the one that cargo built for this test.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_standalone")).with_file_name(name);
    assert!(path.exists(), "{name} is not built: cargo build --workspace --bins");
    path
}

/// A running fleet; stopped when dropped.
pub(crate) struct Fleet {
    child: Child,
    data: PathBuf,
}

impl Fleet {
    /// Starts it on one nats-server in `data` and waits until all of it is ready.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(1, data, &[])
    }

    /// Starts it on so many nats-servers, with more settings for each of its processes.
    pub(crate) fn start_with(servers: usize, data: &Path, settings: &[(&str, &str)]) -> Self {
        let programs = ["gateway", "worker"].map(program);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        // What an earlier one has left says nothing of this one.
        let _there_was_none = std::fs::remove_file(data.join("fleet.json"));
        let log = std::fs::File::create(data.join("fleet.log")).unwrap();
        let child = Command::new("python3")
            .arg(root.join("deploy/tools/fleet.py"))
            .args(["--nats", &servers.to_string(), "--gateways", "2", "--workers", "2", "--data"])
            .arg(data)
            .arg("--bin")
            .arg(programs[0].parent().unwrap())
            .envs(settings.iter().copied())
            .env("DEBUG", "true")
            .env("SECRET_KEY", SECRET)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut fleet = Self { child, data: data.to_owned() };
        let began = Instant::now();
        while fleet.state().is_none() {
            let ended = fleet.child.try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < 2 * DEADLINE,
                "no start ({ended:?}): {}",
                fleet.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        fleet
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.data.join("fleet.log")).unwrap_or_default()
    }

    /// What `fleet.json` says; it is written whole or not at all.
    fn state(&self) -> Option<Value> {
        let text = std::fs::read_to_string(self.data.join("fleet.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    pub(crate) fn gateways(&self) -> Vec<SocketAddr> {
        let state = self.state().unwrap();
        state["gateways"].as_array().unwrap().iter().map(|at| at.as_str().unwrap().parse().unwrap()).collect()
    }

    pub(crate) fn nats(&self) -> String {
        self.state().unwrap()["nats"].as_str().unwrap().to_owned()
    }

    /// Where a process tells of itself.
    pub(crate) fn admin(&self, name: &str) -> SocketAddr {
        self.state().unwrap()["admin"][name].as_str().unwrap().parse().unwrap()
    }

    fn pid(&self, name: &str) -> u32 {
        u32::try_from(self.state().unwrap()["pids"][name].as_u64().unwrap()).unwrap()
    }

    /// `kill -9` of one process; returns when another one is in its place and, if it is a gateway, listens.
    pub(crate) fn kill(&self, name: &str) {
        let pid = self.pid(name);
        signal("-KILL", pid);
        let began = Instant::now();
        while self.pid(name) == pid {
            assert!(began.elapsed() < DEADLINE, "{name} does not come back: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(number) = name.strip_prefix("gateway-") {
            let at = self.gateways()[number.parse::<usize>().unwrap() - 1];
            while TcpStream::connect(at).is_err() {
                assert!(began.elapsed() < DEADLINE, "{name} does not listen: {}", self.log());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks everything to stop, as an operator does; each process must end as asked.
    pub(crate) fn stop(self) {
        signal("-TERM", self.id());
        self.ended();
    }

    /// Waits for the end of what was asked to stop.
    pub(crate) fn ended(mut self) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{}", self.log());
                return;
            }
            assert!(began.elapsed() < 2 * DEADLINE, "no end: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            signal("-TERM", self.child.id());
            self.child.wait().unwrap();
        }
    }
}
