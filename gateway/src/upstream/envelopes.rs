//! What the log holds, read.

use broker::Entry;
use protocol::envelope::Envelope;
use protocol::ids::{ChannelId, Seq};

/// Reads one envelope; what no release can read is said in the log and skipped.
pub(super) fn decode(channel: &ChannelId, seq: Seq, bytes: &[u8]) -> Option<Envelope> {
    Envelope::decode(bytes)
        .inspect_err(
            |error| tracing::error!(%error, %channel, seq, "an envelope cannot be read; it is skipped"),
        )
        .ok()
}

/// Reads what the log gave; what cannot be read is skipped, as by every other reader of it.
pub(super) fn decoded(entries: Vec<Entry>) -> Vec<(Seq, Envelope)> {
    let read = |entry: Entry| Some((entry.seq, decode(&entry.channel, entry.seq, &entry.envelope)?));
    entries.into_iter().filter_map(read).collect()
}
