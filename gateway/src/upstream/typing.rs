//! How much typing of one channel is sent on, and which receipts: pure.
//!
//! Several workers may tell of one reader; of what they tell only what is news goes on.
//!
//! What a room costs grows with the square of its members, so typing is the first to be shed. Invariant: who was shown
//! as typing is also shown to have stopped.

use protocol::ephemeral::{Doing, Ephemeral};
use protocol::ids::{Position, UserId};
use protocol::limits::{RECEIPTS_MEMBERS_MAX, TYPING_EXPIRES_MS, TYPING_PER_CHANNEL_PER_SECOND};
use std::collections::BTreeMap;

/// Typing frames of one channel.
#[derive(Default)]
pub(super) struct Typing {
    /// Uptime in whole seconds, and how many frames were sent on in it.
    second: (u64, u32),
    /// Who is shown as typing, with the uptime in ms of his last start.
    shown: BTreeMap<UserId, u64>,
    /// How far each reader was said to have read.
    read: BTreeMap<UserId, Position>,
}

/// Readers of whom that is remembered. Chosen: several times as many as a room has whose members are told.
const READERS_MAX: usize = 4 * RECEIPTS_MEMBERS_MAX as usize;

impl Typing {
    /// Whether this is sent on to the members.
    pub(super) fn passes(&mut self, ephemeral: &Ephemeral, now_ms: u64) -> bool {
        let user = &ephemeral.user_id;
        let passes = match &ephemeral.doing {
            Doing::Typing => {
                self.has_room(now_ms) && {
                    self.shown.insert(user.clone(), now_ms);
                    true
                }
            }
            Doing::StoppedTyping => self.shown.remove(user).is_some(),
            Doing::Joined | Doing::Left => return true,
            Doing::Read(position) => return self.is_news(user, position),
        };
        self.second.1 += u32::from(passes);
        passes
    }

    fn is_news(&mut self, user: &UserId, read: &Position) -> bool {
        let known = self.read.get(user);
        let is_news = known.is_none_or(|known| known < read);
        if is_news {
            if self.read.len() >= READERS_MAX {
                self.read.clear();
            }
            self.read.insert(user.clone(), read.clone());
        }
        is_news
    }

    fn has_room(&mut self, now_ms: u64) -> bool {
        let second = now_ms / 1_000;
        if self.second.0 != second {
            self.second = (second, 0);
            // Whoever is shown longer was at a gateway that died.
            self.shown.retain(|_, since_ms| now_ms < *since_ms + 2 * TYPING_EXPIRES_MS);
        }
        self.second.1 < TYPING_PER_CHANNEL_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ids::ChannelId;

    fn said(user: usize, doing: Doing) -> Ephemeral {
        let user_id = UserId::parse(&format!("u{user}")).unwrap();
        Ephemeral { channel_id: ChannelId::parse("c").unwrap(), user_id, doing }
    }

    #[test]
    fn a_room_hears_five_starts_a_second_and_the_stops_of_those_alone() {
        let mut typing = Typing::default();
        for second in 0..3 {
            let now = second * 1_000;
            let starts: Vec<_> =
                (0..50).filter(|user| typing.passes(&said(*user, Doing::Typing), now)).collect();
            assert_eq!(starts, [0, 1, 2, 3, 4]);
            let stops: Vec<_> =
                (0..50).filter(|user| typing.passes(&said(*user, Doing::StoppedTyping), now)).collect();
            assert_eq!(stops, starts);
        }
    }

    #[test]
    fn stops_use_up_the_room_of_starts_but_are_never_shed() {
        let mut typing = Typing::default();
        assert_eq!((0..9).filter(|user| typing.passes(&said(*user, Doing::Typing), 0)).count(), 5);
        assert_eq!((0..9).filter(|user| typing.passes(&said(*user, Doing::Typing), 1_000)).count(), 5);
        assert!((0..5).all(|user| typing.passes(&said(user, Doing::StoppedTyping), 2_500)));
        assert!(!typing.passes(&said(0, Doing::StoppedTyping), 2_500), "once");
        assert!(typing.passes(&said(7, Doing::Joined), 2_500), "other things pass");
    }

    #[test]
    fn a_receipt_goes_on_when_it_is_news() {
        let mut typing = Typing::default();
        let epoch = |ms| protocol::ids::Epoch::new(ms, 1);
        let mut passes =
            |user, ms, seq| typing.passes(&said(user, Doing::Read(Position { epoch: epoch(ms), seq })), 0);
        assert!(passes(0, 1, 7) && passes(1, 1, 7), "each reader by himself");
        assert!(!passes(0, 1, 7) && !passes(0, 1, 6));
        assert!(passes(0, 1, 8) && passes(0, 2, 1) && !passes(0, 1, 9), "a later life is further");
        for user in 2..1_000 {
            assert!(passes(user, 1, 1));
        }
        assert!(typing.read.len() <= READERS_MAX);
    }

    #[test]
    fn who_never_stopped_is_forgotten() {
        let mut typing = Typing::default();
        assert!(typing.passes(&said(0, Doing::Typing), 0));
        assert!(typing.passes(&said(1, Doing::Typing), 2 * TYPING_EXPIRES_MS));
        assert_eq!(typing.shown.len(), 1);
        assert!(!typing.passes(&said(0, Doing::StoppedTyping), 2 * TYPING_EXPIRES_MS));
    }
}
