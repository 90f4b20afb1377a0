//! What is done with each entry of the log, and why that may fail.

use broker::Entry;
use protocol::envelope::EnvelopeError;
use protocol::ids::{Epoch, Position};
use protocol::subjects::{Shard, Slot};
use std::error::Error;
use std::future::Future;

/// An entry on its way through a handler.
pub(crate) struct Item {
    /// The life of the log.
    pub(crate) epoch: Epoch,
    pub(crate) entry: Entry,
}

impl Item {
    pub(crate) fn position(&self) -> Position {
        Position { epoch: self.epoch.clone(), seq: self.entry.seq }
    }

    pub(crate) fn shard(&self) -> Shard {
        Slot::of(&self.entry.channel).shard
    }
}

/// Something that is done with each entry of the log. Idempotent: an entry may come again.
pub(crate) trait Handler: Send + Sync + 'static {
    /// The handler's name, as a metric's label and in dead letters.
    const ROLE: &'static str;

    /// Handles a batch, all or nothing.
    fn handle(&self, batch: &[Item]) -> impl Future<Output = Result<(), HandlerError>> + Send;

    /// Makes durable whatever was handled; it reaches so far in these shards' logs.
    fn make_durable(
        &self,
        reached: &[(Shard, Position)],
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandlerError {
    /// No release up to this one wrote the entry.
    #[error("entry cannot be read")]
    Unreadable(#[from] EnvelopeError),
    /// What the entry says belongs to another channel than the one that logged it.
    #[error("envelope names another channel")]
    Misplaced,
    /// The store did not do it.
    #[error("store did not do it")]
    Store(#[from] store::StoreError),
}

impl HandlerError {
    /// Whether an entry is at fault, so that it fails again however often it is tried.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Unreadable(_) | Self::Misplaced => true,
            Self::Store(error) => error.is_refusal(),
        }
    }

    /// Says why, without any word of a message: a parser would quote what it did not expect.
    pub(crate) fn reason(&self) -> String {
        let (mut reason, mut source) = (self.to_string(), self.source());
        while let Some(error) = source {
            reason.push_str(": ");
            match error.downcast_ref::<serde_json::Error>() {
                Some(json) => {
                    reason.push_str(&format!("{:?} error at byte {}", json.classify(), json.column()));
                }
                None => reason.push_str(&error.to_string()),
            }
            source = error.source();
        }
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::envelope::Envelope;

    #[test]
    fn a_reason_says_where_and_quotes_nothing() {
        let body = br#"{"kind":"secret words"}"#;
        let error = HandlerError::from(Envelope::decode(body).unwrap_err());
        assert_eq!(error.reason(), "entry cannot be read: not an envelope: Data error at byte 22");
        assert!(error.is_refusal());
    }
}
