//! What cannot be had at once, since the system around a process changes, is asked for again.

use crate::backoff::{Backoff, random};
use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

/// How long a start waits for what passes by itself. Reliability page: an election takes 8 s, a server's start as long.
pub const START: Duration = Duration::from_secs(30);

/// Bounds of the pause between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// Takes a step again until it works, fails with what does not pass by itself, or this much time is over.
///
/// # Errors
/// The step's last one.
pub async fn patiently<T, E: Display, S: Future<Output = Result<T, E>>>(
    patience: Duration,
    passes: impl Fn(&E) -> bool,
    mut step: impl FnMut() -> S,
) -> Result<T, E> {
    let (began, mut backoff) = (Instant::now(), Backoff::new(PAUSE.0, PAUSE.1));
    loop {
        match step().await {
            Err(error) if passes(&error) && began.elapsed() < patience => {
                tracing::warn!(%error, "a step did not work; it is tried again");
                tokio::time::sleep(backoff.next(random())).await;
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails this often before it works.
    async fn tried(failures: u32, patience: Duration, passes: bool) -> (u32, Result<(), &'static str>) {
        let mut tries = 0;
        let step = || {
            tries += 1;
            std::future::ready(if tries > failures { Ok(()) } else { Err("not yet") })
        };
        let outcome = patiently(patience, |_| passes, step).await;
        (tries, outcome)
    }

    #[tokio::test]
    async fn what_passes_is_tried_until_it_works() {
        assert_eq!(tried(2, START, true).await, (3, Ok(())));
    }

    #[tokio::test]
    async fn what_does_not_pass_is_tried_once_and_patience_ends() {
        assert_eq!(tried(1, START, false).await, (1, Err("not yet")));
        assert_eq!(tried(1, Duration::ZERO, true).await, (1, Err("not yet")));
    }
}
