//! Latencies, with the percentiles that count.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Latencies of one kind, in nanoseconds.
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    pub(crate) fn new() -> Self {
        let minute_ns = 60_000_000_000;
        #[expect(clippy::expect_used, reason = "the bounds are fixed and valid")]
        Self(Histogram::new_with_bounds(1, minute_ns, 3).expect("valid bounds"))
    }

    pub(crate) fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns.max(1));
    }

    pub(crate) fn percentile_ms(&self, percentile: f64) -> f64 {
        self.0.value_at_percentile(percentile) as f64 / 1e6
    }

    /// Returns the percentiles in milliseconds.
    pub(crate) fn summary(&self) -> Value {
        let ms = |percentile| (self.percentile_ms(percentile) * 1e3).round() / 1e3;
        let max = (self.0.max() as f64 / 1e3).round() / 1e3;
        json!({"p50": ms(50.0), "p90": ms(90.0), "p99": ms(99.0), "p99_9": ms(99.9), "max": max, "count": self.0.len()})
    }
}
