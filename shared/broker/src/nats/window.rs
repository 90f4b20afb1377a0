//! How many appends one process has in flight in each shard.
//!
//! Beyond what its disk syncs in a moment, a stream that syncs each append goes silent for seconds instead of
//! refusing (reliability page). So the number in flight follows the time that an acknowledgement takes.

use crate::append::AppendError;
use protocol::subjects::{SHARDS, Shard};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Appends in flight in a shard, at least and at most. Reliability page.
const SIZE: (usize, usize) = (64, 256);

/// An acknowledgement should not take longer. Reliability page: in flight / fsync rate < 0.2 s.
const SLOW: Duration = Duration::from_millis(200);

/// Acknowledgements between two changes of the size.
const STEP: u32 = 64;

pub(super) struct Windows(Vec<Window>);

pub(super) struct Window {
    places: Semaphore,
    state: Mutex<State>,
}

struct State {
    size: usize,
    /// Places to take away as soon as somebody leaves.
    surplus: usize,
    count: u32,
    sum: Duration,
}

impl Windows {
    pub(super) fn new() -> Self {
        Self((0..SHARDS).map(|_| Window::new()).collect())
    }

    pub(super) fn of(&self, shard: Shard) -> &Window {
        &self.0[usize::from(shard.0 % SHARDS)]
    }

    /// Waits until nothing is in flight any more and lets nothing in.
    pub(super) async fn close(&self, deadline: Duration) {
        let empty = async {
            for window in &self.0 {
                window.close().await;
            }
        };
        if timeout(deadline, empty).await.is_err() {
            tracing::warn!("some appends are not answered yet");
        }
    }
}

impl Window {
    fn new() -> Self {
        let state = State { size: SIZE.1, surplus: 0, count: 0, sum: Duration::ZERO };
        Self { places: Semaphore::new(SIZE.1), state: Mutex::new(state) }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// `Unavailable` when there is none in time, `Closed` when there will be none.
    pub(super) async fn enter(&self, wait: Duration) -> Result<SemaphorePermit<'_>, AppendError> {
        let place = timeout(wait, self.places.acquire()).await.map_err(|_| AppendError::Unavailable)?;
        place.map_err(|_| AppendError::Closed)
    }

    /// Gives a place back, after the time that the append took.
    pub(super) fn leave(&self, place: SemaphorePermit<'_>, took: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.count += 1;
        state.sum += took;
        if state.count >= STEP {
            let added = state.step();
            self.places.add_permits(added);
        }
        if state.surplus > 0 {
            state.surplus -= 1;
            place.forget();
        }
    }

    async fn close(&self) {
        loop {
            let size = {
                let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.size + state.surplus
            };
            let all = u32::try_from(size).unwrap_or(u32::MAX);
            // The size may change while this waits; then it is tried with the new one.
            match timeout(Duration::from_millis(100), self.places.acquire_many(all)).await {
                Ok(places) => {
                    drop(places);
                    return self.places.close();
                }
                Err(_elapsed) => {}
            }
        }
    }
}

impl State {
    /// Changes the size by what the last acknowledgements took; returns places to add.
    fn step(&mut self) -> usize {
        let mean = self.sum / self.count.max(1);
        (self.count, self.sum) = (0, Duration::ZERO);
        if mean > SLOW {
            let smaller = (self.size - self.size / 4).max(SIZE.0);
            self.surplus += self.size - smaller;
            self.size = smaller;
            0
        } else if mean < SLOW / 2 {
            let larger = (self.size + self.size / 8).min(SIZE.1);
            let added = larger - self.size;
            self.size = larger;
            let kept = added.min(self.surplus);
            self.surplus -= kept;
            added - kept
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_acknowledgements_narrow_the_window_and_fast_ones_widen_it() {
        let mut state = State { size: SIZE.1, surplus: 0, count: 0, sum: Duration::ZERO };
        let mut say = |took: Duration| {
            (state.count, state.sum) = (STEP, took * STEP);
            let added = state.step();
            (state.size, state.surplus, added)
        };
        assert_eq!(say(SLOW * 2), (192, 64, 0));
        assert_eq!(say(SLOW * 2), (144, 112, 0));
        for _ in 0..10 {
            say(SLOW * 2);
        }
        assert_eq!(say(SLOW * 2).0, SIZE.0);
        assert_eq!(say(SLOW).0, SIZE.0, "in between nothing changes");
        for _ in 0..20 {
            say(SLOW / 4);
        }
        assert_eq!(say(SLOW / 4), (SIZE.1, 0, 0), "what was not taken away yet is simply kept");
    }
}
