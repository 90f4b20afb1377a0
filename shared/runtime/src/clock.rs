//! The clocks, read in one place so that everything else can be given a time.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

static FIRST_READ: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns milliseconds since 1970; a clock before 1970 reads as 0.
#[expect(clippy::disallowed_methods, reason = "the one use")]
pub fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns milliseconds since the first reading of this process: for how long something takes. It never jumps,
/// as the wall clock does when it is set.
pub fn uptime_ms() -> u64 {
    u64::try_from(FIRST_READ.elapsed().as_millis()).unwrap_or(u64::MAX)
}
