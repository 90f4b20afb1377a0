//! What an operator says of NATS.

use crate::consume::ACK_WAIT;
use runtime::config::{Reader, Secret};
use std::path::PathBuf;
use std::time::Duration;

/// How to reach NATS, and what its streams promise.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// One or more servers, `nats://host:port` or `tls://host:port`, separated by commas.
    pub url: String,
    /// The name that the server's own lists show for this process; its other connection has `-passing` behind it.
    pub name: String,
    /// A `.creds` file with JWT and seed.
    pub credentials: Option<PathBuf>,
    /// User and password, beside what the URL says.
    pub login: Option<(String, Secret)>,
    /// A token.
    pub token: Option<Secret>,
    /// Certificates of authorities to trust, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// This process's certificate and key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Copies of each stream: 1 on a single server, 3 in a cluster. `None`: as the streams have it, new ones get 1.
    pub replicas: Option<usize>,
    /// Bytes of one shard's stream, beyond which appends are refused. `None`: as the streams have it, new ones get -1,
    /// no limit but the disk.
    pub max_bytes: Option<i64>,
    /// How long a dedup key is remembered. `None`: as the streams have it, new ones get 2 minutes (reliability page).
    pub dedup_window: Option<Duration>,
    /// How long a consumer may keep an entry before another gets it; without saying that it keeps it; default 6 s.
    pub ack_wait: Duration,
    /// Live events that may wait in one slot's subscription; default 8,192.
    pub live_queue: usize,
}

impl NatsOptions {
    /// Takes the servers; everything else is the default.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            name: "safeshipper".to_owned(),
            credentials: None,
            login: None,
            token: None,
            ca_file: None,
            client_certificate: None,
            replicas: None,
            max_bytes: None,
            dedup_window: None,
            ack_wait: ACK_WAIT,
            live_queue: 8_192,
        }
    }
    /// Reads what stands beside the address, as `nats.*`; faults stay with the reader.
    pub fn read(reader: &mut Reader, url: &str, name: &str) -> Self {
        let default = Self::new(url);
        let user: Option<String> = reader.get_opt("nats.user");
        let password: Option<Secret> = reader.get_opt("nats.password");
        let certificate: Option<PathBuf> = reader.get_opt("nats.certificate_file");
        let key: Option<PathBuf> = reader.get_opt("nats.key_file");
        let replicas: Option<usize> = reader.get_opt("nats.replicas");
        if let Some(replicas) = replicas.filter(|replicas| ![1, 3, 5].contains(replicas)) {
            reader.fault(format!("nats.replicas = {replicas}: expected 1, 3 or 5"));
        }
        Self {
            name: name.to_owned(),
            credentials: reader.get_opt("nats.credentials_file"),
            login: both(reader, user, password, "nats.user and nats.password"),
            token: reader.get_opt("nats.token"),
            ca_file: reader.get_opt("nats.ca_file"),
            client_certificate: both(reader, certificate, key, "nats.certificate_file and nats.key_file"),
            replicas,
            max_bytes: reader
                .get_opt::<u64>("nats.max_bytes")
                .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            dedup_window: reader.get_opt::<u64>("nats.dedup_window_ms").map(Duration::from_millis),
            ..default
        }
    }
}

/// Takes two values that are nothing without each other.
fn both<A, B>(reader: &mut Reader, one: Option<A>, other: Option<B>, names: &str) -> Option<(A, B)> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one, other)),
        (None, None) => None,
        _ => {
            reader.fault(format!("{names}: one is given without the other"));
            None
        }
    }
}
