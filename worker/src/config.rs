//! What an operator decides about a worker.

use runtime::config::{FromValue, Reader};

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
}

impl Config {
    /// Reads the worker's settings; faults stay with the reader.
    pub fn read(reader: &mut Reader) -> Self {
        let named = reader.get("worker.roles", ALL.to_vec());
        Self { roles: ALL.into_iter().filter(|role| named.contains(role)).collect() }
    }
}
