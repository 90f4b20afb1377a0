//! How often one socket was told that it is wrong, and when that is too often.

use protocol::codes::{CloseCode, ErrorCode};
use protocol::limits;

/// Answers that count, each forgiven after a while.
pub(super) struct Faults {
    errors: u32,
    limited: u32,
    /// Uptime in ms up to which was forgiven.
    forgiven_ms: u64,
}

impl Faults {
    pub(super) fn new(now: u64) -> Self {
        Self { errors: 0, limited: 0, forgiven_ms: now }
    }

    /// Counts an answer; returns how to close a socket that got too many such.
    pub(super) fn count(&mut self, code: ErrorCode) -> Option<CloseCode> {
        let close = code.closes_when_repeated()?;
        let (count, max) = match close {
            CloseCode::LimitsExceeded => (&mut self.limited, limits::RATE_LIMITED_PER_SOCKET_MAX),
            _ => (&mut self.errors, limits::ERRORS_PER_SOCKET_MAX),
        };
        *count += 1;
        (*count > max).then_some(close)
    }

    /// Forgives what is long enough ago.
    pub(super) fn forgive(&mut self, now: u64) {
        let forgiven = now.saturating_sub(self.forgiven_ms) / limits::ERROR_FORGIVEN_MS;
        self.forgiven_ms += forgiven * limits::ERROR_FORGIVEN_MS;
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        self.errors = self.errors.saturating_sub(forgiven);
        self.limited = self.limited.saturating_sub(forgiven);
    }
}
