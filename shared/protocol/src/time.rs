//! Instants as they travel: RFC 3339, UTC, milliseconds.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since 1970 in UTC, between the years 1970 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// The last millisecond of the year 9999: RFC 3339 has four digits for a year.
const LAST_MS: u64 = 253_402_300_799_999;

impl Timestamp {
    /// Takes milliseconds since 1970; later than the year 9999 becomes its last millisecond.
    pub fn from_unix_ms(unix_ms: u64) -> Self {
        Self(unix_ms.min(LAST_MS))
    }

    /// Returns milliseconds since 1970.
    pub fn unix_ms(self) -> u64 {
        self.0
    }

    /// Reads any RFC 3339 instant from 1970 on; parts of a millisecond are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let instant = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let unix_ms = u64::try_from(instant.unix_timestamp_nanos() / 1_000_000).ok()?;
        (unix_ms <= LAST_MS).then_some(Self(unix_ms))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0 / 1_000).unwrap_or(0);
        let instant = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (date, time) = (instant.date(), instant.time());
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            self.0 % 1_000
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 instant"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_travel_in_utc_with_milliseconds() {
        let cases = [
            ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z"),
            ("2026-01-02T04:04:05.678999+01:00", "2026-01-02T03:04:05.678Z"),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        ];
        for (written, read) in cases {
            assert_eq!(Timestamp::parse(written).unwrap().to_string(), read);
        }
        assert!(Timestamp::parse("2026-01-02").is_none());
        assert!(Timestamp::parse("1969-12-31T23:59:59Z").is_none());
        assert_eq!(Timestamp::from_unix_ms(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }
}
