//! The wall clock, read in one place so that everything else can be given a time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns milliseconds since 1970; a clock before 1970 reads as 0.
#[expect(clippy::disallowed_methods, reason = "the one use")]
pub fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
