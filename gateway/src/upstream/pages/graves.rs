//! What was deleted, in a page of what happened: its place is shown, and nothing else of it.

use protocol::envelope::{Envelope, Fact, Kind};
use protocol::ids::{MessageId, Seq};
use protocol::time::Timestamp;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::HashMap;

/// Messages whose content nobody is shown any more.
pub(super) struct Graves<'a>(HashMap<MessageId, &'a Timestamp>);

impl<'a> Graves<'a> {
    pub(super) fn of(buried: &'a HashMap<MessageId, Timestamp>, envelopes: &[(Seq, &'a Envelope)]) -> Self {
        let deletions = envelopes.iter().filter(|(_, envelope)| envelope.kind == Kind::MessageDeleted);
        let later = deletions.map(|(_, envelope)| (envelope.about(), &envelope.at));
        Self(buried.iter().map(|(id, at)| (id.clone(), at)).chain(later).collect())
    }

    /// Returns an envelope as it may be shown.
    pub(super) fn shown(&self, envelope: &Envelope) -> Envelope {
        let mut shown = envelope.clone();
        if !self.0.is_empty()
            && let Some(at) = self.0.get(&envelope.about())
            && let Some(body) = buried(envelope, **at)
        {
            shown.body = body;
        }
        shown
    }
}

/// Returns the body of a message's envelope without what was deleted; `None` for what shows no content.
fn buried(envelope: &Envelope, at: Timestamp) -> Option<Box<RawValue>> {
    let body = match envelope.fact().ok()? {
        Fact::Message(mut message) => {
            message.bury(at);
            to_raw_value(&message)
        }
        Fact::MessageUpdated(mut update) => {
            update.message.bury(at);
            to_raw_value(&update)
        }
        _ => return None,
    };
    body.ok()
}
