//! Logs to standard error and metrics for the admin port.

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line, for collectors.
    Json,
    /// Short lines, for people.
    Plain,
}

/// Why telemetry does not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `LOG` is not a filter.
    #[error("log filter cannot be read")]
    Filter(#[from] ParseError),
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
/// [`TelemetryError`] when the filter cannot be read or telemetry runs already.
pub fn init(filter: &str, format: Format) -> Result<PrometheusHandle, TelemetryError> {
    let filter = EnvFilter::try_new(filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match format {
        Format::Json => builder.json().flatten_event(true).try_init(),
        Format::Plain => builder.compact().with_target(false).try_init(),
    };
    installed.map_err(|_already| TelemetryError::Logs)?;
    Ok(PrometheusBuilder::new().install_recorder()?)
}
