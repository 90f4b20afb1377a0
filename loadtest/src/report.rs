//! What a run says at its end, and whether it met what was asked.

use anyhow::Context;
use serde_json::{Map, Value};
use std::io::Write;
use std::path::Path;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// A threshold was missed, or a message.
    Missed,
}

/// A run's result.
pub(crate) struct Report {
    fields: Map<String, Value>,
    missed: Vec<String>,
}

impl Report {
    pub(crate) fn new(scenario: &str) -> Self {
        let mut report = Self { fields: Map::new(), missed: Vec::new() };
        report.set("scenario", scenario);
        report
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// Sets a figure, rounded to what can be read.
    pub(crate) fn figure(&mut self, name: &str, value: f64) {
        self.set(name, (value * 1e3).round() / 1e3);
    }

    /// Demands that something holds.
    pub(crate) fn demand(&mut self, holds: bool, otherwise: impl Into<String>) {
        if !holds {
            self.missed.push(otherwise.into());
        }
    }

    /// Demands that a figure is at least `wanted`, if anything is wanted.
    pub(crate) fn at_least(&mut self, name: &str, value: f64, wanted: Option<f64>) {
        if let Some(wanted) = wanted {
            self.demand(value >= wanted, format!("{name} is {value:.3}, at least {wanted} was asked"));
        }
    }

    /// Demands that a figure is at most `wanted`, if anything is wanted.
    pub(crate) fn at_most(&mut self, name: &str, value: f64, wanted: Option<f64>) {
        if let Some(wanted) = wanted {
            self.demand(value <= wanted, format!("{name} is {value:.3}, at most {wanted} was asked"));
        }
    }

    /// Prints the result, writes it as JSON if that was asked, and judges.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn finish(mut self, json: Option<&Path>) -> anyhow::Result<Verdict> {
        let missed = std::mem::take(&mut self.missed);
        self.set("missed", missed.clone());
        let text = serde_json::to_string_pretty(&self.fields)?;
        print(&text);
        if let Some(path) = json {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        missed.iter().for_each(|line| say(&format!("MISSED: {line}")));
        Ok(if missed.is_empty() { Verdict::Passed } else { Verdict::Missed })
    }
}

/// Tells a person how it goes; whoever closed the other end does not listen.
pub(crate) fn say(line: &str) {
    let _nobody_listens = writeln!(std::io::stderr(), "{line}");
}

fn print(text: &str) {
    let _nobody_listens = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_threshold_is_said() {
        let mut met = Report::new("test");
        met.at_least("rate", 2.0, Some(1.0));
        met.at_most("p99_ms", 2.0, None);
        assert_eq!(met.finish(None).unwrap(), Verdict::Passed);
        for wrong in [
            |report: &mut Report| report.at_least("rate", 0.5, Some(1.0)),
            |report: &mut Report| report.at_most("p99_ms", 2.0, Some(1.0)),
            |report: &mut Report| report.demand(false, "nothing works"),
        ] {
            let mut missed = Report::new("test");
            wrong(&mut missed);
            assert_eq!(missed.finish(None).unwrap(), Verdict::Missed);
        }
    }
}
