//! Logs to standard error and metrics for the admin port.

use crate::config::FromValue;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line, for collectors.
    Json,
    /// Short lines, for people.
    Plain,
}

/// Which log lines are written: a level, or levels by module, as in `info,gateway=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(String);

impl Default for Filter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromValue for Filter {
    fn from_value(text: &str) -> Result<Self, String> {
        let valid = EnvFilter::try_new(text).is_ok();
        valid.then(|| Self(text.to_owned())).ok_or_else(|| "a filter such as info,gateway=debug".to_owned())
    }
}

/// Why telemetry does not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A subscriber is installed already.
    #[error("logs are set up already")]
    Logs,
    /// A recorder is installed already.
    #[error("metrics are set up already")]
    Metrics(#[from] BuildError),
}

/// Starts logs and metrics of the process; the handle renders the metrics.
///
/// # Errors
/// [`TelemetryError`] when telemetry runs already.
pub fn init(filter: &Filter, format: Format) -> Result<PrometheusHandle, TelemetryError> {
    let filter = EnvFilter::new(&filter.0);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match format {
        Format::Json => builder.json().flatten_event(true).try_init(),
        Format::Plain => builder.compact().with_target(false).try_init(),
    };
    installed.map_err(|_already| TelemetryError::Logs)?;
    Ok(PrometheusBuilder::new().install_recorder()?)
}
