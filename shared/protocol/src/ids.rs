//! Ids as newtypes, valid from the moment they exist.
//!
//! A value of one of these types was checked at the door (`parse`), so no later code checks it again.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}")]
pub struct InvalidId {
    /// The id's name in the glossary, for example `channel_id`.
    pub what: &'static str,
}

/// Whether `text` is `[A-Za-z0-9_-]{1,64}`; a UUID is within it.
fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and keeps the proof in the type.
            ///
            /// # Errors
            /// [`InvalidId`] when the text breaks the rule of the protocol page for this id.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(InvalidId { what: $what }) }
            }

            /// Returns the id as it travels.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// Names a channel: `[A-Za-z0-9_-]{1,64}`.
    ChannelId, "channel_id", is_token
);
id!(
    /// Names a message: a UUID or `[A-Za-z0-9_-]{1,64}`; ours are UUIDv7.
    MessageId, "message_id", is_token
);
id!(
    /// The client's own name for a command, by which a retry is recognised: as [`MessageId`].
    ClientMsgId, "client_msg_id", is_token
);
id!(
    /// Names one WebSocket session of one gateway: `[A-Za-z0-9_-]{1,64}`.
    SessionId, "session_id", is_token
);
id!(
    /// Names one life of the log: `[A-Za-z0-9_-]{1,64}`, sortable by creation time.
    Epoch, "epoch", is_token
);
id!(
    /// Names a person or service: 1 to 128 bytes without control characters; the old database has integers.
    UserId, "user_id", |text| (1..=128).contains(&text.len()) && !text.chars().any(char::is_control)
);
id!(
    /// The client's name for one frame, carried back by the answer: 1 to 64 printable ASCII characters.
    Ref, "ref", |text| (1..=64).contains(&text.len()) && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
);

impl MessageId {
    /// Makes a UUIDv7 from the time and ten random bytes.
    pub fn v7(unix_ms: u64, random: &[u8; 10]) -> Self {
        Self(uuid_v7(unix_ms, random))
    }
}

impl SessionId {
    /// Makes a UUIDv7 from the time and ten random bytes.
    pub fn v7(unix_ms: u64, random: &[u8; 10]) -> Self {
        Self(uuid_v7(unix_ms, random))
    }
}

impl Epoch {
    /// Makes the epoch of a log created at `unix_ms`: its creation time in hexadecimal, then random digits,
    /// so that text order is age order.
    pub fn new(unix_ms: u64, random: u32) -> Self {
        Self(format!("{unix_ms:012x}-{random:08x}").into())
    }
}

fn uuid_v7(unix_ms: u64, random: &[u8; 10]) -> Arc<str> {
    let uuid = uuid::Builder::from_unix_timestamp_millis(unix_ms, random).into_uuid();
    let mut buffer = uuid::Uuid::encode_buffer();
    Arc::from(&*uuid.hyphenated().encode_lower(&mut buffer))
}

/// The broker's number of an event within one shard: rises, starts at 1, is not contiguous per channel.
pub type Seq = u64;

/// A place in a channel's history. What happened in a later life of the log is behind all that happened in an earlier
/// one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The life of the log that `seq` belongs to.
    pub epoch: Epoch,
    /// The broker's number; 0 lies before the first event.
    #[serde(deserialize_with = "safe_seq")]
    pub seq: Seq,
}

/// Largest integer that every client's number type holds: RFC 8259 section 6.
const SEQ_MAX: Seq = (1 << 53) - 1;

fn safe_seq<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Seq, D::Error> {
    let seq = Seq::deserialize(deserializer)?;
    if seq > SEQ_MAX { Err(serde::de::Error::custom("seq is above 2^53 - 1")) } else { Ok(seq) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_at_the_door() {
        let long = "x".repeat(65);
        for bad in ["", "a b", "ä", "a/b", "a.b", long.as_str()] {
            assert!(ChannelId::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["general", "6f1c1c1e-0a57-4a57-9b57-0a570a570a57", "A_b-9"] {
            assert_eq!(ChannelId::parse(good).unwrap().as_str(), good);
        }
        assert!(UserId::parse("ünal@example.com").is_ok());
        assert!(UserId::parse("a\nb").is_err());
        assert!(UserId::parse(&"x".repeat(129)).is_err());
        assert!(Ref::parse("a b~").is_ok());
        assert!(Ref::parse("ä").is_err());
    }

    #[test]
    fn minted_ids_sort_by_time_and_are_valid() {
        let early = MessageId::v7(1_000, &[0xff; 10]);
        let late = MessageId::v7(1_001, &[0; 10]);
        assert!(early < late);
        assert!(MessageId::parse(late.as_str()).is_ok());
        assert!(Epoch::new(1, u32::MAX) < Epoch::new(2, 0));
        assert!(Epoch::parse(Epoch::new(u64::MAX, 1).as_str()).is_ok());
    }
}
