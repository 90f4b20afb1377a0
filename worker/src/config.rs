//! What an operator decides about a worker.

use runtime::config::{FromValue, Reader};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Writes the log's events to the store.
    Persistence,
    /// Answers who a user is and where he may listen.
    Directory,
    /// Answers pages of messages.
    History,
    /// Decides what needs state.
    Commands,
    /// Tells gateways which heads changed, for live copies that were lost.
    Digest,
}

/// Every role, in the order in which they start.
const ALL: [Role; 5] = [Role::Persistence, Role::Directory, Role::History, Role::Commands, Role::Digest];

impl FromValue for Role {
    fn from_value(text: &str) -> Result<Self, String> {
        let named = ALL.into_iter().find(|role| role.name() == text);
        named.ok_or_else(|| "one of persistence, directory, history, commands, digest".to_owned())
    }
}

impl Role {
    /// Returns the role's word, as configured and as a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Persistence => "persistence",
            Self::Directory => "directory",
            Self::History => "history",
            Self::Commands => "commands",
            Self::Digest => "digest",
        }
    }
}

/// A worker's settings, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// What this worker does, each role once; default everything.
    pub roles: Vec<Role>,
    /// How long the log keeps what the store has; whole hours, at least 1, default 72 (reliability page). Whoever was
    /// away for longer is answered from the store.
    pub log_retention: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { roles: ALL.to_vec(), log_retention: HOUR * 72 }
    }
}

impl Config {
    /// Reads the worker's settings; faults stay with the reader.
    pub fn read(reader: &mut Reader) -> Self {
        let default = Self::default();
        let named = reader.get("worker.roles", default.roles);
        let roles = ALL.into_iter().filter(|role| named.contains(role)).collect();
        let hours: Option<u32> = reader.get_opt("worker.log_retention_hours");
        if hours == Some(0) {
            reader.fault("worker.log_retention_hours = 0: expected at least 1");
        }
        Self { roles, log_retention: hours.map_or(default.log_retention, |hours| HOUR * hours) }
    }
}
