//! What is under test, by the mode in which it runs.

use crate::fleet::Fleet;
use crate::server::{DEADLINE, Server, admin, signal};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// How the product runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything in one process.
    Embedded,
    /// Two gateways and two workers on one nats-server.
    Nats,
    /// The same on three nats-servers with three copies of each stream.
    Cluster,
}

/// A running product.
pub(crate) enum System {
    /// One process; none while it is killed.
    Embedded(Option<Server>),
    /// Many.
    Fleet(Fleet),
}

impl System {
    /// Starts it in `data`, or goes on with what is there.
    pub(crate) fn start(mode: Mode, data: &Path) -> Self {
        match mode {
            Mode::Embedded => Self::Embedded(Some(Server::start(data))),
            Mode::Nats => Self::Fleet(Fleet::start(data)),
            Mode::Cluster => Self::Fleet(Fleet::start_with(3, data, &[])),
        }
    }

    pub(crate) fn gateways(&self) -> Vec<SocketAddr> {
        match self {
            Self::Embedded(server) => vec![server.as_ref().unwrap().listen],
            Self::Fleet(fleet) => fleet.gateways(),
        }
    }

    /// Two gateways; they are one where there is only one.
    pub(crate) fn two_gateways(&self) -> (SocketAddr, SocketAddr) {
        let gateways = self.gateways();
        (gateways[0], gateways[gateways.len() - 1])
    }

    /// How often its workers have counted something since they started in `data`; `name` is the metric with its labels.
    pub(crate) fn count(&self, data: &Path, name: &str) -> u64 {
        let workers = match self {
            Self::Embedded(_) => vec![admin(data)],
            Self::Fleet(fleet) => ["worker-1", "worker-2"].map(|name| fleet.admin(name)).to_vec(),
        };
        workers.into_iter().map(|at| count(at, name)).sum()
    }

    /// `kill -9` of a process; returns when another is in its place. In one process that one is the victim.
    pub(crate) fn kill(&mut self, victim: &str, data: &Path) {
        match self {
            Self::Embedded(server) => {
                let dying = server.take().unwrap();
                let listen = dying.listen;
                dying.kill();
                *server = Some(Server::start_again(data, listen));
            }
            Self::Fleet(fleet) => fleet.kill(victim),
        }
    }

    /// Asks it to stop, as an operator does.
    pub(crate) fn terminate(&self) {
        match self {
            Self::Embedded(server) => server.as_ref().unwrap().terminate(),
            Self::Fleet(fleet) => signal("-TERM", fleet.id()),
        }
    }

    /// Waits for the end of what was asked to stop; each process must end as asked.
    pub(crate) fn ended(self) {
        match self {
            Self::Embedded(server) => assert!(server.unwrap().wait().success()),
            Self::Fleet(fleet) => fleet.ended(),
        }
    }

    pub(crate) fn stop(self) {
        self.terminate();
        self.ended();
    }

    /// What its processes that persist have said since they first started in `data`.
    pub(crate) fn said(mode: Mode, data: &Path) -> String {
        let logs = match mode {
            Mode::Embedded => vec![data.join("server.log")],
            Mode::Nats | Mode::Cluster => {
                ["worker-1", "worker-2"].map(|name| data.join(name).join(format!("{name}.log"))).to_vec()
            }
        };
        logs.iter().map(|log| std::fs::read_to_string(log).unwrap()).collect()
    }
}

/// Reads what a process has counted; 0 before it has counted anything.
fn count(admin: SocketAddr, name: &str) -> u64 {
    let began = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(admin) {
            Ok(stream) => break stream,
            // It was killed, and is on its way back.
            Err(error) => assert!(began.elapsed() < DEADLINE, "{admin}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).unwrap();
    let told = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    told.map_or(0, |count| count.parse().unwrap())
}
