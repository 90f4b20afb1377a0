//! What many things hold together, and which of them goes when that is too much: pure.
//!
//! Rings and pages are a convenience: whoever misses one reads the log. So what was used least lately goes first, and
//! whole, and nothing outlives the moment for which it was kept.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// When something was used last: uptime in ms, and a number that no other use has.
type Stamp = (u64, u64);

/// The bytes of what is kept under keys.
pub(super) struct Budget<K> {
    /// Bytes that all of it holds, nearly and at most.
    bytes_max: usize,
    /// Milliseconds after its last use for which something is kept.
    kept_ms: u64,
    /// What was used least lately first.
    order: BTreeMap<Stamp, K>,
    held: HashMap<K, (Stamp, usize)>,
    bytes: usize,
    stamps: u64,
}

impl<K: Clone + Eq + Hash> Budget<K> {
    pub(super) fn new(bytes_max: usize, kept_ms: u64) -> Self {
        let (order, held) = (BTreeMap::new(), HashMap::new());
        Self { bytes_max, kept_ms, order, held, bytes: 0, stamps: 0 }
    }

    /// Takes note that something was used just now and holds so many bytes.
    pub(super) fn hold(&mut self, key: &K, bytes: usize, now_ms: u64) {
        let key = self.forget(key).unwrap_or_else(|| key.clone());
        if bytes == 0 {
            return;
        }
        self.stamps += 1;
        let stamp = (now_ms, self.stamps);
        self.bytes += bytes;
        self.held.insert(key.clone(), (stamp, bytes));
        self.order.insert(stamp, key);
    }

    /// Takes note that nothing is kept there any more; returns the key as it was kept.
    pub(super) fn forget(&mut self, key: &K) -> Option<K> {
        let (stamp, bytes) = self.held.remove(key)?;
        self.bytes -= bytes;
        self.order.remove(&stamp)
    }

    /// Takes away the key whose bytes are to go next; `None` when all may stay.
    pub(super) fn surplus(&mut self, now_ms: u64) -> Option<K> {
        let (&(used_ms, _), key) = self.order.first_key_value()?;
        if self.bytes <= self.bytes_max && now_ms < used_ms + self.kept_ms {
            return None;
        }
        let key = key.clone();
        self.forget(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BYTES_MAX: usize = 1_000;
    const KEPT_MS: u64 = 60;

    fn budget() -> Budget<String> {
        Budget::new(BYTES_MAX, KEPT_MS)
    }

    fn key(name: &str) -> String {
        name.to_owned()
    }

    #[test]
    fn who_was_quiet_for_longest_goes_first_and_only_as_many_as_must() {
        let mut budget = budget();
        for id in ["a", "b", "c", "d"] {
            budget.hold(&key(id), BYTES_MAX / 4, 0);
        }
        assert_eq!(budget.surplus(0), None, "just full");
        budget.hold(&key("a"), BYTES_MAX / 4 + 1, 0);
        assert_eq!(budget.surplus(0), Some(key("b")), "a was used since");
        assert_eq!(budget.surplus(0), None);
        budget.forget(&key("c"));
        budget.hold(&key("e"), BYTES_MAX / 2, 0);
        assert_eq!(budget.surplus(0), Some(key("d")), "c is not kept any more");
    }

    #[test]
    fn what_is_not_used_goes_when_its_time_has_come() {
        let mut budget = budget();
        budget.hold(&key("a"), 1, 0);
        budget.hold(&key("b"), 1, 0);
        budget.hold(&key("a"), 2, 9);
        assert_eq!(budget.surplus(KEPT_MS - 1), None);
        assert_eq!(budget.surplus(KEPT_MS), Some(key("b")));
        assert_eq!(budget.surplus(KEPT_MS + 8), None);
        assert_eq!(budget.surplus(KEPT_MS + 9), Some(key("a")));
        assert_eq!(budget.surplus(u64::MAX), None);
    }

    proptest! {
        #[test]
        fn the_sum_is_kept_whatever_comes_and_goes(
            steps in prop::collection::vec(("[a-e]", 0..BYTES_MAX, any::<bool>()), 1..60),
        ) {
            let (mut budget, mut model) = (budget(), HashMap::new());
            for (now_ms, (id, bytes, holds)) in (0..).zip(steps) {
                if holds {
                    budget.hold(&key(&id), bytes, now_ms);
                    model.insert(key(&id), bytes);
                } else {
                    budget.forget(&key(&id));
                    model.remove(&key(&id));
                }
                while let Some(gone) = budget.surplus(now_ms) {
                    prop_assert!(model.remove(&gone).is_some());
                }
                let sum: usize = model.values().sum();
                prop_assert!(sum <= BYTES_MAX);
                prop_assert_eq!(budget.bytes, sum);
                prop_assert_eq!(budget.order.len(), budget.held.len());
            }
        }
    }
}
