//! What the rings of all followed channels hold together, and whose goes when that is too much: pure.
//!
//! A ring is a convenience: whoever misses it reads the log. So the channel that was quiet for longest loses its
//! whole ring first, and nobody's ring outlives the moment in which sockets come back.

use protocol::ids::ChannelId;
use std::collections::{BTreeMap, HashMap};

/// Bytes that all rings hold, nearly and at most. Chosen: a reactor of a busy gateway is behind by much less, and a
/// site's channels fit.
const RINGS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Milliseconds after its last event for which a channel keeps its ring. Chosen: twice the cap of a client's
/// reconnect delay.
const QUIET_MS: u64 = 60_000;

/// When a ring got its last event: uptime in ms, and a number that no other event has.
type Stamp = (u64, u64);

/// The rings that hold something.
#[derive(Default)]
pub(super) struct Rings {
    /// The one that was quiet for longest first.
    order: BTreeMap<Stamp, ChannelId>,
    held: HashMap<ChannelId, (Stamp, usize)>,
    bytes: usize,
    stamps: u64,
}

impl Rings {
    /// Takes note that a channel had an event just now and its ring holds so many bytes.
    pub(super) fn hold(&mut self, channel: &ChannelId, bytes: usize, now_ms: u64) {
        let channel = self.forget(channel).unwrap_or_else(|| channel.clone());
        if bytes == 0 {
            return;
        }
        self.stamps += 1;
        let stamp = (now_ms, self.stamps);
        self.bytes += bytes;
        self.held.insert(channel.clone(), (stamp, bytes));
        self.order.insert(stamp, channel);
    }

    /// Takes note that a channel has no ring any more; returns its id as it was kept.
    pub(super) fn forget(&mut self, channel: &ChannelId) -> Option<ChannelId> {
        let (stamp, bytes) = self.held.remove(channel)?;
        self.bytes -= bytes;
        self.order.remove(&stamp)
    }

    /// Takes away the channel whose ring is to go next; `None` when all may stay.
    pub(super) fn surplus(&mut self, now_ms: u64) -> Option<ChannelId> {
        let (&(quiet_since_ms, _), channel) = self.order.first_key_value()?;
        if self.bytes <= RINGS_BYTES_MAX && now_ms < quiet_since_ms + QUIET_MS {
            return None;
        }
        let channel = channel.clone();
        self.forget(&channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn channel(id: &str) -> ChannelId {
        ChannelId::parse(id).unwrap()
    }

    #[test]
    fn who_was_quiet_for_longest_goes_first_and_only_as_many_as_must() {
        let mut rings = Rings::default();
        for id in ["a", "b", "c", "d"] {
            rings.hold(&channel(id), RINGS_BYTES_MAX / 4, 0);
        }
        assert_eq!(rings.surplus(0), None, "just full");
        rings.hold(&channel("a"), RINGS_BYTES_MAX / 4 + 1, 0);
        assert_eq!(rings.surplus(0), Some(channel("b")), "a was heard since");
        assert_eq!(rings.surplus(0), None);
        rings.forget(&channel("c"));
        rings.hold(&channel("e"), RINGS_BYTES_MAX / 2, 0);
        assert_eq!(rings.surplus(0), Some(channel("d")), "c is not followed any more");
    }

    #[test]
    fn a_ring_goes_a_minute_after_its_last_event() {
        let mut rings = Rings::default();
        rings.hold(&channel("a"), 1, 0);
        rings.hold(&channel("b"), 1, 0);
        rings.hold(&channel("a"), 2, 9);
        assert_eq!(rings.surplus(QUIET_MS - 1), None);
        assert_eq!(rings.surplus(QUIET_MS), Some(channel("b")));
        assert_eq!(rings.surplus(QUIET_MS + 8), None);
        assert_eq!(rings.surplus(QUIET_MS + 9), Some(channel("a")));
        assert_eq!(rings.surplus(u64::MAX), None);
    }

    proptest! {
        #[test]
        fn the_sum_is_kept_whatever_comes_and_goes(
            steps in prop::collection::vec(("[a-e]", 0..RINGS_BYTES_MAX, any::<bool>()), 1..60),
        ) {
            let (mut rings, mut model) = (Rings::default(), HashMap::new());
            for (now_ms, (id, bytes, holds)) in (0..).zip(steps) {
                if holds {
                    rings.hold(&channel(&id), bytes, now_ms);
                    model.insert(channel(&id), bytes);
                } else {
                    rings.forget(&channel(&id));
                    model.remove(&channel(&id));
                }
                while let Some(gone) = rings.surplus(now_ms) {
                    prop_assert!(model.remove(&gone).is_some());
                }
                let sum: usize = model.values().sum();
                prop_assert!(sum <= RINGS_BYTES_MAX);
                prop_assert_eq!(rings.bytes, sum);
                prop_assert_eq!(rings.order.len(), rings.held.len());
            }
        }
    }
}
