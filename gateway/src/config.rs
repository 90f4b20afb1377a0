//! What an operator decides about a gateway.

use crate::handshake::origin::Origin;
use ipnet::IpNet;
use protocol::limits;
use runtime::config::{FromValue, Reader, Secret, Settings};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A gateway's settings, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// Development: loopback origins, no limit for loopback addresses, `dev/` endpoints.
    pub debug: bool,
    /// Where clients connect; port 0 takes a free one.
    pub listen: SocketAddr,
    /// HS256 key of the tokens.
    pub jwt_signing_key: Secret,
    /// Origins beside the own host, as `scheme://host[:port]`.
    pub allowed_origins: Vec<String>,
    /// Proxies whose word on the client's address counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Threads that serve sockets; default one per core.
    pub reactors: usize,
    /// Sockets at most, default 100,000.
    pub connections_max: usize,
    /// Sockets of one client address at most, default 1,000 (protocol page).
    pub connections_per_address_max: usize,
    /// Sockets of one user at most, default 10 (protocol page); beyond it the one that is idle for longest is closed.
    pub connections_per_user_max: usize,
    /// Over how long clients are told to come back when the gateway stops; default 10 s, 1 s in DEBUG.
    pub drain_window: Duration,
    /// Conformance tests: any path becomes a WebSocket whose messages come back as they are. No operator can set it.
    pub echo: bool,
}

/// A proxy's address or network as written.
struct Proxy(IpNet);

impl FromValue for Proxy {
    fn from_value(text: &str) -> Result<Self, String> {
        let net = text.parse().or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)));
        net.map(Self).map_err(|_| "an address or network such as 10.0.0.0/8".to_owned())
    }
}

impl Config {
    /// Reads the gateway's settings; faults stay with the reader.
    pub fn read(reader: &mut Reader, settings: &Settings) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let reactors = reader.get("gateway.reactors", cores);
        if !(1..=256).contains(&reactors) {
            reader.fault(format!("gateway.reactors = {reactors}: expected 1 to 256"));
        }
        for origin in settings.allowed_origins.iter().filter(|origin| Origin::parse(origin).is_none()) {
            reader.fault(format!(
                "cors_allowed_origins: {origin:?} is no origin such as https://app.example.com"
            ));
        }
        let proxies: Vec<Proxy> = reader.get("gateway.trusted_proxies", Vec::new());
        let per_address = limits::CONNECTIONS_PER_ADDRESS_MAX as usize;
        let per_user =
            reader.get("gateway.connections_per_user_max", limits::CONNECTIONS_PER_USER_MAX as usize);
        if per_user == 0 {
            reader.fault("gateway.connections_per_user_max = 0: nobody could connect".to_owned());
        }
        let window = Duration::from_secs(if settings.debug { 1 } else { 10 });
        Self {
            debug: settings.debug,
            listen: settings.listen,
            jwt_signing_key: settings.jwt_signing_key.clone(),
            allowed_origins: settings.allowed_origins.clone(),
            trusted_proxies: proxies.into_iter().map(|Proxy(net)| net).collect(),
            reactors: reactors.clamp(1, 256),
            connections_max: reader.get("gateway.connections_max", 100_000),
            connections_per_address_max: reader.get("gateway.connections_per_address_max", per_address),
            connections_per_user_max: per_user.max(1),
            drain_window: reader.get_duration("gateway.drain_window_ms", window),
            echo: false,
        }
    }
}
