//! What every process shares: mode, addresses, folders, keys.

use super::{Reader, Secret};
use crate::telemetry::Filter;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What moves the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// In this process, durable on its disk.
    Embedded,
    /// NATS with JetStream, at this address.
    Nats(String),
    /// Redis, at this address.
    Redis(String),
}

impl Mode {
    /// Returns the word for the mode in `BROKER`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Nats(_) => "nats",
            Self::Redis(_) => "redis",
        }
    }
}

/// Where the secret key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrigin {
    /// The operator gave it.
    Given,
    /// It was made for DEBUG and is kept in the data folder.
    Development,
}

/// Settings that every process shares, resolved.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Development: loopback, known users, `dev/` endpoints.
    pub debug: bool,
    /// What moves the bytes; `None` when the rule was broken, which is a fault already.
    pub mode: Option<Mode>,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The internal port.
    pub admin_listen: SocketAddr,
    /// Where a process keeps what must outlive it.
    pub data_dir: PathBuf,
    /// The filter of the logs.
    pub log: Filter,
    /// The key of everything that is signed; empty when missing, which is a fault already.
    pub secret_key: Secret,
    /// Who made that key.
    pub key_origin: KeyOrigin,
    /// The key of tokens: `JWT_SIGNING_KEY`, else the secret key.
    pub jwt_signing_key: Secret,
    /// Origins beside the own host.
    pub allowed_origins: Vec<String>,
}

impl Settings {
    /// Reads the shared settings; in DEBUG a missing secret key is made and kept.
    pub fn read(reader: &mut Reader) -> Self {
        let debug = reader.get("debug", false);
        let mode = read_mode(reader, debug);
        let data_dir = Self::read_data_dir(reader);
        let (public, internal) = if debug { ([127, 0, 0, 1], [127, 0, 0, 1]) } else { ([0; 4], [0; 4]) };
        let (secret_key, key_origin) = read_secret_key(reader, debug, &data_dir);
        let signing: Option<Secret> = reader.get_opt("auth.jwt_signing_key");
        Self {
            debug,
            mode,
            listen: reader.get("listen", SocketAddr::from((public, 8000))),
            admin_listen: reader.get("admin_listen", SocketAddr::from((internal, 9090))),
            data_dir,
            log: reader.get("log", Filter::default()),
            jwt_signing_key: signing.unwrap_or_else(|| secret_key.clone()),
            secret_key,
            key_origin,
            allowed_origins: reader.get("cors_allowed_origins", Vec::new()),
        }
    }

    /// Reads where a process keeps what must outlive it; default `data` in the working folder.
    pub fn read_data_dir(reader: &mut Reader) -> PathBuf {
        reader.get("data_dir", "./data".into())
    }
}

/// The rule of the product page: `BROKER` wins; else NATS before Redis; else embedded, in DEBUG alone.
fn read_mode(reader: &mut Reader, debug: bool) -> Option<Mode> {
    let broker: Option<String> = reader.get_opt("broker");
    let nats: Option<String> = reader.get_opt("nats.url");
    let redis: Option<String> = reader.get_opt("redis.url");
    let mode = match (broker.as_deref(), nats, redis) {
        (Some("embedded"), _, _) => Ok(Mode::Embedded),
        (Some("nats"), Some(url), _) | (None, Some(url), _) => Ok(Mode::Nats(url)),
        (Some("redis"), _, Some(url)) | (None, None, Some(url)) => Ok(Mode::Redis(url)),
        (Some("nats"), None, _) => Err("BROKER=nats needs NATS_URL".to_owned()),
        (Some("redis"), _, None) => Err("BROKER=redis needs REDIS_URL".to_owned()),
        (Some(other), _, _) => Err(format!("BROKER={other}: expected embedded, nats or redis")),
        (None, None, None) if debug => Ok(Mode::Embedded),
        (None, None, None) => Err("nothing says what moves the messages: set BROKER=embedded, NATS_URL or \
                                   REDIS_URL (or DEBUG=true for development)"
            .to_owned()),
    };
    mode.map_err(|fault| reader.fault(fault)).ok()
}

fn read_secret_key(reader: &mut Reader, debug: bool, data_dir: &Path) -> (Secret, KeyOrigin) {
    if let Some(key) = reader.get_opt::<Secret>("auth.secret_key") {
        return (key, KeyOrigin::Given);
    }
    if !debug {
        reader.fault("SECRET_KEY is required (only DEBUG=true makes a key by itself)");
        return (Secret::new(""), KeyOrigin::Given);
    }
    let made = development_key(data_dir).unwrap_or_else(|error| {
        reader.fault(format!("no development key can be kept in {}: {error}", data_dir.display()));
        Secret::new("")
    });
    (made, KeyOrigin::Development)
}

/// Returns the key of this data folder, which is made when there is none: tokens outlive a restart.
fn development_key(data_dir: &Path) -> io::Result<Secret> {
    let path = data_dir.join("development.key");
    fs::create_dir_all(data_dir)?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    match made {
        Ok(mut file) => {
            let mut random = [0_u8; 32];
            getrandom::fill(&mut random).map_err(io::Error::other)?;
            let key: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
            file.write_all(key.as_bytes())?;
            file.sync_all()?;
            Ok(Secret::new(key))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let key = fs::read_to_string(&path)?;
            if key.len() == 64 {
                return Ok(Secret::new(key));
            }
            // A start that was killed while it made the key left half of one.
            fs::remove_file(&path)?;
            development_key(data_dir)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Settings, Result<(), super::super::Faults>) {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut reader = Reader::new(Source::from_parts(None, &[], &pairs).unwrap());
        let settings = Settings::read(&mut reader);
        (settings, reader.finish())
    }

    #[test]
    fn the_rule_of_modes() {
        let key = ("SECRET_KEY", "k");
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>);
        let cases: &[Case<'_>] = &[
            (&[key, ("BROKER", "embedded")], Some("embedded")),
            (&[key, ("BROKER", "embedded"), ("NATS_URL", "n"), ("REDIS_URL", "r")], Some("embedded")),
            (&[key, ("DEBUG", "True")], Some("embedded")),
            (&[key, ("DEBUG", "true"), ("REDIS_URL", "r")], Some("redis")),
            (&[key, ("NATS_URL", "n"), ("REDIS_URL", "r")], Some("nats")),
            (&[key, ("BROKER", "redis"), ("NATS_URL", "n"), ("REDIS_URL", "r")], Some("redis")),
            (&[key, ("BROKER", "nats")], None),
            (&[key, ("BROKER", "redis"), ("NATS_URL", "n")], None),
            (&[key, ("BROKER", "kafka")], None),
            (&[key, ("DEBUG", "0")], None),
            (&[key], None),
        ];
        for (pairs, expected) in cases {
            let (settings, finished) = read(pairs);
            assert_eq!(settings.mode.as_ref().map(Mode::name), *expected, "{pairs:?}");
            assert_eq!(finished.is_ok(), expected.is_some(), "{pairs:?}: {finished:?}");
        }
    }

    #[test]
    fn a_blank_key_is_no_key() {
        for key in ["auth.secret_key", "auth.jwt_signing_key"] {
            for blank in ["", "  "] {
                let file = format!("debug = true\n{key} = '{blank}'");
                let data = tempfile::tempdir().unwrap();
                let data_dir = [("DATA_DIR".to_owned(), data.path().to_str().unwrap().to_owned())];
                let mut reader = Reader::new(Source::from_parts(Some(&file), &[], &data_dir).unwrap());
                Settings::read(&mut reader);
                let faults = reader.finish().unwrap_err().to_string();
                assert!(faults.contains(key) && faults.contains("not blank"), "{faults}");
            }
        }
    }

    #[test]
    fn a_secret_key_is_required_and_made_in_debug_alone() {
        let (_, finished) = read(&[("BROKER", "embedded")]);
        assert!(finished.unwrap_err().to_string().contains("SECRET_KEY is required"));
        let data = tempfile::tempdir().unwrap();
        let pairs = [("DEBUG", "true"), ("DATA_DIR", data.path().to_str().unwrap())];
        let (first, second) = (read(&pairs), read(&pairs));
        assert_eq!(first.1, Ok(()));
        assert_eq!(
            first.0.secret_key, second.0.secret_key,
            "the second start goes on with the first one's key"
        );
        assert_eq!(first.0.secret_key.expose().len(), 64);
        assert_eq!(first.0.listen.to_string(), "127.0.0.1:8000");
        assert!(!format!("{:?}", first.0).contains(first.0.secret_key.expose()));
    }
}
