//! Whether each receiver got each message once, in its sender's order.

use crate::content::Content;
use std::collections::HashMap;

/// What one receiver has seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// Per sender: the number that comes next.
    next: HashMap<u32, u32>,
    /// Numbers that were passed over and may still come, out of order.
    passed_over: Vec<(u32, u32)>,
    /// The position of the last event.
    last_seq: u64,
}

/// What went wrong, over all receivers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Faults {
    /// Messages that came a second time.
    pub(crate) duplicates: u64,
    /// Messages that came after a later one of their sender, or events against the order of positions.
    pub(crate) reordered: u64,
    /// Messages that never came.
    pub(crate) missing: u64,
}

impl Faults {
    pub(crate) fn none(&self) -> bool {
        *self == Self::default()
    }
}

impl Seen {
    /// Takes a delivery of this run, or of something else that only has its place: its seq and prev.
    pub(crate) fn take(&mut self, content: Option<Content>, place: (u64, u64), faults: &mut Faults) {
        let (seq, prev) = place;
        if seq <= self.last_seq || prev > self.last_seq && self.last_seq > 0 {
            faults.reordered += 1;
        }
        self.last_seq = seq.max(self.last_seq);
        let Some(content) = content else { return };
        let next = self.next.entry(content.sender).or_default();
        if content.number >= *next {
            let skipped = *next..content.number;
            self.passed_over.extend(skipped.map(|number| (content.sender, number)));
            *next = content.number + 1;
            return;
        }
        let late = self.passed_over.iter().position(|gap| *gap == (content.sender, content.number));
        match late {
            Some(at) => {
                self.passed_over.swap_remove(at);
                faults.reordered += 1;
            }
            None => faults.duplicates += 1,
        }
    }

    /// The position that a resume goes on from.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The receiver stands here without having seen an event.
    pub(crate) fn stands_at(&mut self, seq: u64) {
        self.last_seq = seq;
    }

    /// Counts what never came of `sent` messages of a sender.
    pub(crate) fn missing(&self, sender: u32, sent: u32) -> u64 {
        let gaps = self.passed_over.iter().filter(|(of, _)| *of == sender).count() as u64;
        u64::from(sent.saturating_sub(self.next.get(&sender).copied().unwrap_or_default())) + gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(numbers: &[(u32, u64, u64)], sent: u32) -> Faults {
        let (mut seen, mut faults) = (Seen::default(), Faults::default());
        for (number, seq, prev) in numbers {
            let content = Content { run: 0, sender: 1, number: *number, due_ns: 0 };
            seen.take(Some(content), (*seq, *prev), &mut faults);
        }
        faults.missing = seen.missing(1, sent);
        faults
    }

    #[test]
    fn each_fault_is_seen() {
        assert!(played(&[(0, 5, 4), (1, 7, 5), (2, 8, 7)], 3).none());
        assert_eq!(played(&[(0, 5, 4), (2, 8, 5)], 3), Faults { missing: 1, ..Faults::default() });
        assert_eq!(played(&[(0, 5, 4)], 3), Faults { missing: 2, ..Faults::default() });
        let twice = Faults { duplicates: 1, reordered: 1, missing: 0 };
        assert_eq!(played(&[(0, 5, 4), (0, 5, 4)], 1), twice, "a second copy is behind in order, too");
        let late = Faults { duplicates: 0, reordered: 2, missing: 0 };
        assert_eq!(played(&[(0, 5, 4), (2, 8, 5), (1, 7, 5)], 3), late);
        let gap = Faults { reordered: 1, ..Faults::default() };
        assert_eq!(played(&[(0, 5, 4), (1, 8, 7)], 2), gap, "the chain of prev is broken");
        assert_eq!(played(&[], 2), Faults { missing: 2, ..Faults::default() });
    }

    #[test]
    fn what_another_run_sent_has_its_place_and_nothing_else() {
        let (mut seen, mut faults) = (Seen::default(), Faults::default());
        seen.take(None, (5, 4), &mut faults);
        seen.take(Some(Content { run: 0, sender: 1, number: 0, due_ns: 0 }), (6, 5), &mut faults);
        assert!(faults.none() && seen.missing(1, 1) == 0, "{faults:?}");
        seen.take(None, (8, 7), &mut faults);
        assert_eq!(faults, Faults { reordered: 1, ..Faults::default() }, "7 never came");
    }
}
