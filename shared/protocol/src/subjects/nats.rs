//! The names of streams and subjects on NATS (reliability page, "The durable path on NATS").

use super::{Shard, Slot};
use crate::ids::ChannelId;

/// The stream that logs a shard.
pub fn stream(shard: Shard) -> String {
    format!("CHAT_{}", shard.0)
}

/// Everything that a shard logs.
pub fn log_pattern(shard: Shard) -> String {
    format!("chat.log.{}.>", shard.0)
}

/// Where the live copies of a shard's log go.
pub fn live_pattern(shard: Shard) -> String {
    format!("chat.live.{}.>", shard.0)
}

/// Where a channel's entries are logged.
pub fn log(channel: &ChannelId) -> String {
    let Slot { shard, slot } = Slot::of(channel);
    format!("chat.log.{}.{slot}.{channel}", shard.0)
}

/// The live copies of a slot's channels.
pub fn live_slot(slot: Slot) -> String {
    format!("chat.live.{}.{}.>", slot.shard.0, slot.slot)
}

/// What passes in a channel and is not kept.
pub fn passing(channel: &ChannelId) -> String {
    let Slot { shard, slot } = Slot::of(channel);
    format!("chat.passing.{}.{slot}.{channel}", shard.0)
}

/// What passes in a slot's channels.
pub fn passing_slot(slot: Slot) -> String {
    format!("chat.passing.{}.{}.>", slot.shard.0, slot.slot)
}

/// Every channel's entries in a shard, and no probe: those have a token more.
pub fn log_entries(shard: Shard) -> String {
    format!("chat.log.{}.*.*", shard.0)
}

/// An entry by which a process learns that a shard's live copies reach it; nobody's channel.
pub fn probe_log(shard: Shard, process: &str) -> String {
    format!("chat.log.{}.probe.of.{process}", shard.0)
}

/// The live copies of a process's probes in all shards.
pub fn probe_live(process: &str) -> String {
    format!("chat.live.*.probe.of.{process}")
}

/// The heads of channels that changed lately, in all shards.
pub const DIGESTS: &str = "chat.digest";

/// What every gateway shall know at once.
pub const CONTROL: &str = "chat.control";

/// Returns the channel of a subject that has one; `None` for probes and anything foreign.
pub fn channel_of(subject: &str) -> Option<ChannelId> {
    let mut tokens = subject.splitn(5, '.');
    let (chat, _kind, _shard) = (tokens.next()?, tokens.next()?, tokens.next()?);
    tokens.next()?.parse::<u16>().ok()?;
    let channel = ChannelId::parse(tokens.next()?).ok()?;
    (chat == "chat").then_some(channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channels_subjects_lie_within_their_slots_and_name_it() {
        let channel = ChannelId::parse("shipment-4711").unwrap();
        let slot = Slot::of(&channel);
        let within = |subject: String, pattern: String| subject.starts_with(pattern.trim_end_matches('>'));
        assert!(within(log(&channel), log_pattern(slot.shard)));
        assert!(within(log(&channel).replace("log", "live"), live_slot(slot)));
        assert!(within(passing(&channel), passing_slot(slot)));
        for subject in [log(&channel), passing(&channel)] {
            assert_eq!(channel_of(&subject), Some(channel.clone()));
        }
        for foreign in
            [&*probe_log(slot.shard, "gateway-1"), "chat.log.3.47", "chat.log.3.47.a.b", "x.log.3.4.a"]
        {
            assert_eq!(channel_of(foreign), None, "{foreign}");
        }
    }
}
