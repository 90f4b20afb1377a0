//! What every process of ours does before its own part begins, and says when it has begun.

use crate::admin::{self, Operations, Readiness};
use crate::config::{Faults, KeyOrigin, Settings};
use crate::shutdown::Shutdown;
use crate::telemetry::{self, Format, TelemetryError};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

/// What `require` and `met` name while a process starts.
const START: &str = "start";

/// Logs, signals and the admin port of a process that starts.
pub struct Process {
    /// Stops it.
    pub shutdown: Shutdown,
    /// Whether it wants traffic; not before [`Process::started`].
    pub readiness: Readiness,
    /// What an operator may have it do.
    pub operations: Operations,
    /// Where the admin port is.
    pub admin: SocketAddr,
}

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The logs cannot be set up.
    #[error("logs cannot be set up")]
    Logs(#[from] TelemetryError),
    /// The system gives no signals.
    #[error("signals cannot be heard")]
    Signals(#[source] io::Error),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address} (ADMIN_LISTEN)")]
    Admin {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl Process {
    /// Starts logs, signals and the admin port.
    ///
    /// # Errors
    /// [`StartError`] when the system refuses one of them.
    pub async fn start(settings: &Settings) -> Result<Self, StartError> {
        let format = if settings.debug { Format::Plain } else { Format::Json };
        let metrics = telemetry::init(&settings.log, format)?;
        if settings.debug {
            tracing::warn!("DEBUG: development users, keys and endpoints; never for production");
        }
        if settings.key_origin == KeyOrigin::Development {
            let kept_in = settings.data_dir.display();
            tracing::warn!(%kept_in, "SECRET_KEY is not set: tokens are signed with a development key");
        }
        let shutdown = Shutdown::new();
        shutdown.on_signals().map_err(StartError::Signals)?;
        let readiness = Readiness::default();
        readiness.require(START);
        let address = settings.admin_listen;
        let operations = Operations::default();
        let doors = (readiness.clone(), operations.clone());
        let admin = admin::start(address, doors, metrics, &shutdown).await;
        let admin = admin.map_err(|source| StartError::Admin { address, source })?;
        Ok(Self { shutdown, readiness, operations, admin })
    }

    /// Says in `DATA_DIR/addresses.json` where the chosen ports are, whole or not at all, and that traffic is
    /// wanted.
    ///
    /// # Errors
    /// The system's, when the file cannot be written.
    pub fn started(&self, settings: &Settings, listen: Option<SocketAddr>) -> io::Result<()> {
        let path = settings.data_dir.join("addresses.json");
        let fresh = settings.data_dir.join("addresses.json.new");
        let mut text = format!("{{\"admin\":\"{}\"", self.admin);
        if let Some(listen) = listen {
            text.push_str(&format!(",\"listen\":\"{listen}\""));
        }
        text.push('}');
        fs::create_dir_all(&settings.data_dir)?;
        fs::write(&fresh, text)?;
        fs::rename(&fresh, &path)?;
        self.readiness.met(START);
        Ok(())
    }

    /// Returns how the process ends: a failure when something broke.
    pub fn exit_code(&self) -> ExitCode {
        if self.shutdown.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Says what is wrong with the configuration, before there are logs; returns the exit code.
#[expect(clippy::print_stderr, reason = "logs are not set up before the configuration is known")]
pub fn refuse(faults: &Faults) -> ExitCode {
    eprintln!("{faults}");
    ExitCode::from(Faults::EXIT_CODE)
}
