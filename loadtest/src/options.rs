//! What all scenarios are told, and the gateways that their users go to.

use crate::token::Signer;
use anyhow::Context;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The path of the WebSocket when the address does not name one.
const PATH: &str = "/ws/chat/";

#[derive(Args, Debug, Clone)]
pub(crate) struct Common {
    /// A gateway, ws://127.0.0.1:PORT/PATH (without a path /ws/chat/); several share the members of each room between
    /// them. Only addresses of this machine (127.0.0.0/8) are taken
    #[arg(long = "url", default_value = "ws://127.0.0.1:8000/ws/chat/")]
    pub(crate) urls: Vec<Target>,
    /// A file with the key that tokens are signed with, such as data/development.key
    #[arg(long)]
    pub(crate) key_file: Option<PathBuf>,
    /// A process of the server; the CPU and the memory of all that are named are summed
    #[arg(long = "server-pid")]
    pub(crate) server_pids: Vec<u32>,
    /// Source addresses, 127.0.0.1 and on: one address has too few ports for many connections
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) sources: u8,
    /// Handshakes under way at once
    #[arg(long, default_value_t = 200, value_parser = positive())]
    pub(crate) handshakes: usize,
    /// Milliseconds between two looks at the sockets. More makes the client cheaper and its latencies useless: for
    /// runs that are about the server's CPU and would make the client the bottleneck
    #[arg(long, default_value_t = 0)]
    pub(crate) look_every_ms: u64,
    /// Users are PREFIX-u0 and on, rooms PREFIX-r0 and on, as `standalone seed` makes them; user i is in room
    /// i modulo the number of rooms. The default is the scenario's name
    #[arg(long)]
    pub(crate) prefix: Option<String>,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 128)]
    pub(crate) payload: usize,
    /// Seconds that deliveries and acknowledgements may be under way when nothing is sent any more
    #[arg(long, default_value_t = 10)]
    pub(crate) drain: u64,
    /// Miss (exit 99) when a single delivery or acknowledgement takes more milliseconds, the warm-up's included
    #[arg(long, default_value_t = 1_000.0)]
    pub(crate) max_latency_ms: f64,
    /// Where to write the result as JSON
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// A gateway's WebSocket, on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    path: String,
}

/// How a user comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Without a position, at the user's own gateway.
    Fresh,
    /// To resume, so many gateways after the user's own.
    Resuming { hops: usize },
}

/// The gateways of a run, and who goes to which.
#[derive(Debug, Clone)]
pub(crate) struct Gateways {
    targets: Vec<Target>,
    /// User i is in room i modulo this.
    rooms: usize,
}

impl Common {
    /// Returns the gateways for users in so many rooms.
    pub(crate) fn gateways(&self, rooms: usize) -> Gateways {
        Gateways { targets: self.urls.clone(), rooms }
    }

    /// Returns who signs tokens.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub(crate) fn signer(&self) -> anyhow::Result<Signer> {
        let file = self.key_file.as_ref().context("--key-file is needed to sign tokens")?;
        let key = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Signer::new(&key))
    }

    /// Returns a user's id.
    pub(crate) fn user(&self, scenario: &str, index: usize) -> String {
        format!("{}-u{index}", self.prefix.as_deref().unwrap_or(scenario))
    }

    /// Returns a room's id.
    pub(crate) fn room(&self, scenario: &str, index: usize) -> String {
        format!("{}-r{index}", self.prefix.as_deref().unwrap_or(scenario))
    }
}

impl Gateways {
    /// Returns which gateway a user goes to: the members of each room in turn, and so the first ones of all rooms.
    pub(crate) fn index(&self, user: usize) -> usize {
        (user / self.rooms + user % self.rooms) % self.targets.len()
    }

    /// Returns where a user connects.
    pub(crate) fn target(&self, user: usize, arrival: Arrival) -> &Target {
        let hops = match arrival {
            Arrival::Fresh => 0,
            Arrival::Resuming { hops } => hops,
        };
        &self.targets[(self.index(user) + hops) % self.targets.len()]
    }

    /// Returns how many there are.
    pub(crate) fn count(&self) -> usize {
        self.targets.len()
    }
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("ws://").ok_or("it must begin with ws://")?;
        let (address, path) = rest.find('/').map_or((rest, PATH), |at| rest.split_at(at));
        let address = address.parse().map_err(|_| "it must name an address and a port")?;
        if !crate::engine::is_loopback(address) {
            return Err("load goes to 127.0.0.0/8 only".to_owned());
        }
        Ok(Self { address, path: path.to_owned() })
    }
}

impl Target {
    /// Returns the request of a handshake.
    pub(crate) fn handshake(&self, token: &str, resume: bool) -> String {
        let Self { address, path } = self;
        let query = if resume { "?resume=1" } else { "" };
        format!(
            "GET {path}{query} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: safeshipper.v1.json\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
    }
}

/// Takes whole numbers from 1 on.
pub(crate) fn positive() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// Takes a rate: more than nothing, less than always.
///
/// # Errors
/// When it is none.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().map_err(|error| error.to_string())?;
    if rate > 0.0 && rate.is_finite() { Ok(rate) } else { Err("it must be above 0".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_are_taken() {
        let target: Target = "ws://127.0.0.2:81/chat".parse().unwrap();
        assert_eq!((target.address.port(), target.path.as_str()), (81, "/chat"));
        assert_eq!("ws://127.0.0.2:81".parse::<Target>().unwrap().path, PATH);
        for wrong in ["127.0.0.1:80", "wss://127.0.0.1:80/", "ws://127.0.0.1/", "ws://192.0.2.1:80/"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_members_of_each_room_are_spread_over_the_gateways() {
        let targets = ["ws://127.0.0.1:1", "ws://127.0.0.1:2"].map(|url| url.parse().unwrap()).to_vec();
        for (users, rooms) in [(6, 1), (8, 2), (9, 3)] {
            let gateways = Gateways { targets: targets.clone(), rooms };
            for room in 0..rooms {
                let members: Vec<_> = (room..users).step_by(rooms).map(|user| gateways.index(user)).collect();
                assert!(members.windows(2).all(|pair| pair[0] != pair[1]), "{rooms} rooms: {members:?}");
            }
            let back = [1, 2].map(|hops| gateways.target(1, Arrival::Resuming { hops }));
            assert_ne!(gateways.target(1, Arrival::Fresh), back[0], "who resumes comes elsewhere");
            assert_eq!(gateways.target(1, Arrival::Fresh), back[1], "and the time after that home again");
        }
    }
}
