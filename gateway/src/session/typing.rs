//! Typing of one socket: limited, and expiring by itself.

use super::Action;
use protocol::ephemeral::{Doing, Ephemeral};
use protocol::ids::{ChannelId, UserId};
use protocol::limits;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Typing {
    /// Channels in which the user types, or did a moment ago.
    started: BTreeMap<ChannelId, Start>,
}

/// The last start of a channel that was told.
struct Start {
    /// Uptime in ms.
    at: u64,
    /// The others were not told yet that he stopped.
    types: bool,
}

impl Typing {
    /// Tells the others, unless they were told a moment ago; a stop in between does not change that.
    pub(super) fn start(&mut self, user: &UserId, channel: ChannelId, now: u64, actions: &mut Vec<Action>) {
        if self.started.get(&channel).is_some_and(|start| start.is_recent(now)) {
            return;
        }
        actions.push(tell(user, channel.clone(), Doing::Typing));
        self.started.insert(channel, Start { at: now, types: true });
    }

    pub(super) fn stop(&mut self, user: &UserId, channel: ChannelId, actions: &mut Vec<Action>) {
        let typed = self.started.get_mut(&channel).is_some_and(|start| std::mem::take(&mut start.types));
        if typed {
            actions.push(tell(user, channel, Doing::StoppedTyping));
        }
    }

    /// The user types there no more, and cannot any more.
    pub(super) fn end(&mut self, user: &UserId, channel: &ChannelId, actions: &mut Vec<Action>) {
        self.stop(user, channel.clone(), actions);
        self.started.remove(channel);
    }

    pub(super) fn expire(&mut self, user: &UserId, now: u64, actions: &mut Vec<Action>) {
        self.started.retain(|channel, start| {
            let expired = now >= start.at + limits::TYPING_EXPIRES_MS;
            if expired && start.types {
                actions.push(tell(user, channel.clone(), Doing::StoppedTyping));
            }
            !expired
        });
    }

    pub(super) fn stop_all(&mut self, user: &UserId, actions: &mut Vec<Action>) {
        let started = std::mem::take(&mut self.started).into_iter();
        let typed = started.filter(|(_, start)| start.types);
        actions.extend(typed.map(|(channel, _)| tell(user, channel, Doing::StoppedTyping)));
    }
}

impl Start {
    fn is_recent(&self, now: u64) -> bool {
        now < self.at + limits::TYPING_START_INTERVAL_MS
    }
}

fn tell(user: &UserId, channel_id: ChannelId, doing: Doing) -> Action {
    Action::Publish(Ephemeral { channel_id, user_id: user.clone(), doing })
}
