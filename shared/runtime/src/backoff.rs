//! Exponential backoff with full jitter: a random delay below a bound that doubles.
//!
//! Pure: the caller brings the randomness and does the waiting.

use std::time::Duration;

/// A sequence of delays for one thing that is tried again and again.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    tries: u32,
}

impl Backoff {
    /// Starts a sequence: the first delay is below `base`, each later bound twice the one before, up to `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, tries: 0 }
    }

    /// Returns the next delay, chosen by `random` within the current bound.
    pub fn next(&mut self, random: u64) -> Duration {
        let bound = self.base.saturating_mul(1_u32 << self.tries.min(20)).min(self.cap);
        self.tries = self.tries.saturating_add(1);
        below(bound, random)
    }

    /// Starts over, after the thing has worked.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

/// Returns the delay that `random` chooses below a bound.
pub fn below(bound: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX).max(1);
    Duration::from_nanos(random % nanos)
}

/// Returns randomness for a delay; should the system have none, the delay is the same for all.
pub fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_double_up_to_the_cap_and_start_over() {
        let (base, cap) = (Duration::from_millis(500), Duration::from_secs(30));
        let mut backoff = Backoff::new(base, cap);
        let nearly = |bound: Duration| bound - Duration::from_nanos(1);
        // The largest random number that stays below each bound shows the bound.
        for factor in [1, 2, 4, 8, 16, 32] {
            let bound = base * factor;
            let random = u64::try_from(bound.as_nanos()).unwrap() - 1;
            assert_eq!(backoff.next(random), nearly(bound));
        }
        assert_eq!(backoff.next(u64::try_from(cap.as_nanos()).unwrap() - 1), nearly(cap));
        for _ in 0..100 {
            assert!(backoff.next(random()) < cap);
        }
        backoff.reset();
        assert!(backoff.next(u64::MAX) < base);
    }
}
