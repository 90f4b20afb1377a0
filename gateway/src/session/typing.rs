//! Typing of one socket: limited, and expiring by itself.

use super::Action;
use protocol::ephemeral::{Doing, Ephemeral};
use protocol::ids::{ChannelId, UserId};
use protocol::limits;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Typing {
    /// Uptime in ms of the last start that was told, for channels in which the user types.
    started: BTreeMap<ChannelId, u64>,
}

impl Typing {
    /// Tells the others, unless they were told a moment ago.
    pub(super) fn start(&mut self, user: &UserId, channel: ChannelId, now: u64, actions: &mut Vec<Action>) {
        let lately = self.started.get(&channel).is_some_and(|at| now < at + limits::TYPING_START_INTERVAL_MS);
        if !lately {
            actions.push(tell(user, channel.clone(), Doing::Typing));
            self.started.insert(channel, now);
        }
    }

    pub(super) fn stop(&mut self, user: &UserId, channel: ChannelId, actions: &mut Vec<Action>) {
        if self.started.remove(&channel).is_some() {
            actions.push(tell(user, channel, Doing::StoppedTyping));
        }
    }

    pub(super) fn expire(&mut self, user: &UserId, now: u64, actions: &mut Vec<Action>) {
        self.started.retain(|channel, at| {
            let expired = now >= *at + limits::TYPING_EXPIRES_MS;
            if expired {
                actions.push(tell(user, channel.clone(), Doing::StoppedTyping));
            }
            !expired
        });
    }

    pub(super) fn stop_all(&mut self, user: &UserId, actions: &mut Vec<Action>) {
        let channels = std::mem::take(&mut self.started).into_keys();
        actions.extend(channels.map(|channel| tell(user, channel, Doing::StoppedTyping)));
    }
}

fn tell(user: &UserId, channel_id: ChannelId, doing: Doing) -> Action {
    Action::Publish(Ephemeral { channel_id, user_id: user.clone(), doing })
}
