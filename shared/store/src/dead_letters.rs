//! Entries of the log that a role gave up, kept until an operator has them handled again.

use bytes::Bytes;
use protocol::ids::{ChannelId, Epoch, Position, Seq};
use protocol::time::Timestamp;
use std::fmt;
use std::str::FromStr;

/// Names a dead letter: whose it is and where its entry stands. As text it is `role/channel/epoch/seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterId {
    /// The role that gave it up.
    pub role: String,
    /// The entry's channel.
    pub channel: ChannelId,
    /// The entry's place.
    pub position: Position,
}

/// An entry that a role gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Whose it is and where it stands.
    pub id: LetterId,
    /// Why the last attempt failed; nothing of the body.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up last.
    pub at: Timestamp,
    /// As it was logged.
    pub envelope: Bytes,
}

/// A text that names no dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a dead letter: role/channel/epoch/seq")]
pub struct InvalidLetterId;

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, channel, position: Position { epoch, seq } } = self;
        write!(f, "{role}/{channel}/{epoch}/{seq}")
    }
}

impl FromStr for LetterId {
    type Err = InvalidLetterId;

    fn from_str(text: &str) -> Result<Self, InvalidLetterId> {
        let parts: Vec<&str> = text.split('/').collect();
        let [role, channel, epoch, seq] = parts[..] else { return Err(InvalidLetterId) };
        if role.is_empty() {
            return Err(InvalidLetterId);
        }
        let channel = ChannelId::parse(channel).map_err(|_| InvalidLetterId)?;
        let epoch = Epoch::parse(epoch).map_err(|_| InvalidLetterId)?;
        let seq: Seq = seq.parse().map_err(|_| InvalidLetterId)?;
        Ok(Self { role: role.to_owned(), channel, position: Position { epoch, seq } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_shown() {
        let text = "persistence/general/0123456789ab-00000007/17";
        let id: LetterId = text.parse().unwrap();
        assert_eq!((&*id.role, id.channel.as_str(), id.position.seq), ("persistence", "general", 17));
        assert_eq!(id.to_string(), text);
        for bad in
            ["", "all", "/general/e/1", "persistence/general/e", "persistence/general/e/x", "a/b/c/1/2"]
        {
            assert_eq!(bad.parse::<LetterId>(), Err(InvalidLetterId), "{bad}");
        }
    }
}
