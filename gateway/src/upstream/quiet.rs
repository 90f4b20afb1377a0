//! A stretch of a channel's log in which nothing happened: pure.
//!
//! The head of a channel whose events were all purged rises with its shard's floor, so whoever hears of it at another
//! moment stands at another place, and all of these mean the same. A stretch says so of every place in it. It is of
//! one life of the log, lies below a head of the channel, and so stays true.

use protocol::ids::Seq;

/// Nothing was logged in the channel after `after` up to `up_to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quiet {
    pub(crate) after: Seq,
    pub(crate) up_to: Seq,
}

impl Quiet {
    /// Whether nothing follows a place before the stretch ends.
    pub(crate) fn covers(self, seq: Seq) -> bool {
        self.after <= seq && seq <= self.up_to
    }

    /// Returns both as one where they touch, else the one that reaches further: a later look begins where it ends.
    pub(crate) fn and(self, other: Self) -> Self {
        if self.covers(other.after) || other.covers(self.after) {
            Self { after: self.after.min(other.after), up_to: self.up_to.max(other.up_to) }
        } else if self.up_to > other.up_to {
            self
        } else {
            other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The longest stretch behind a place in a log with these events and this head.
    fn quiet(events: &[Seq], after: Seq, head: Seq) -> Quiet {
        let next = events.iter().copied().find(|seq| *seq > after);
        Quiet { after, up_to: next.map_or(head, |seq| seq - 1) }
    }

    proptest! {
        #[test]
        fn what_two_looks_found_is_still_true_of_both_together(
            events in prop::collection::btree_set(1_u64..40, 0..6),
            (one, other) in (0_u64..40, 0_u64..40),
        ) {
            let events: Vec<_> = events.into_iter().collect();
            let (one, other) = (quiet(&events, one, 40), quiet(&events, other, 40));
            let both = one.and(other);
            prop_assert_eq!(both, other.and(one));
            prop_assert!(events.iter().all(|seq| *seq <= both.after || *seq > both.up_to), "{both:?}");
            prop_assert!(both.up_to == one.up_to.max(other.up_to), "{both:?}");
            if one.up_to == other.up_to {
                prop_assert!(both.covers(one.after) && both.covers(other.after), "{both:?}");
            }
        }
    }
}
