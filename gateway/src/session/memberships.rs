//! How a session follows its user's memberships: what the client joins, what others add and take.
//!
//! Architecture Invariant: of a channel that was taken, nothing follows its `channel_left` but the answer to a frame
//! that was on its way to the log, and somebody's typing that waited for a socket that took nothing.

use super::channels::Channel;
use super::commands::MAY_NOT_JOIN;
use super::{Action, Phase, Session, error_frame};
use protocol::codes::{CloseCode, ErrorCode};
use protocol::ephemeral::{Doing, Ephemeral};
use protocol::frames::server::{ChannelDescription, ChannelJoined, ChannelLeft, JoinReason, LeaveReason};
use protocol::ids::{ChannelId, Position, Ref};
use protocol::limits;
use protocol::requests::SessionAnswer;
use std::sync::Arc;

/// A channel that waits for its cursor.
pub(super) struct Joining {
    pub(super) channel: ChannelId,
    pub(super) by: JoinedBy,
}

/// Who wants it.
pub(super) enum JoinedBy {
    /// A `join_channel` of the client, with the frame's ref.
    Client(Option<Ref>),
    /// Whoever made the user a member.
    Others,
    /// The same, but the hub could not subscribe: it is tried again at the next tick.
    OthersLater,
}

impl Session {
    /// Takes what the directory says now, unless it is older than what is known: tells the client what was added
    /// and what was taken, and refuses from here on what is not allowed any more.
    pub(super) fn on_memberships(&mut self, answer: &SessionAnswer, actions: &mut Vec<Action>) {
        if self.version().is_none_or(|known| known >= answer.version) {
            return;
        }
        self.version = answer.version;
        if self.user.as_deref().is_some_and(|user| *user != answer.sender) {
            self.user = Some(Arc::new(answer.sender.clone()));
        }
        let (added, removed) = self.channels.renew(&answer.channels);
        for channel in removed {
            self.remove(channel, actions);
        }
        for channel in added {
            self.start_joining(channel, JoinedBy::Others, actions);
        }
    }

    fn remove(&mut self, channel: Channel, actions: &mut Vec<Action>) {
        let Channel { membership, subscribed } = channel;
        let id = membership.channel_id;
        self.pages.forget(&id);
        self.pages.refuse_history(&id, actions);
        self.durable.refuse_waiting(&id, actions);
        if let Some(user) = &self.user {
            self.typing.end(&user.id, &id, actions);
        }
        let joining = self.stop_joining(&id);
        if subscribed || joining.is_some() {
            actions.push(Action::Leave(id.clone()));
        }
        match joining {
            Some(JoinedBy::Client(reference)) => {
                let refused = error_frame(ErrorCode::PermissionDenied, MAY_NOT_JOIN.to_owned(), reference);
                actions.push(refused);
            }
            // He was not told of it yet.
            Some(JoinedBy::Others | JoinedBy::OthersLater) => return,
            None => {}
        }
        let reason = Some(LeaveReason::Removed);
        actions.push(Action::Send(ChannelLeft { r#ref: None, channel_id: id, reason }.into()));
    }

    pub(super) fn start_joining(&mut self, channel: ChannelId, by: JoinedBy, actions: &mut Vec<Action>) {
        // A client may ask for what others add just now: then the answer is his.
        self.stop_joining(&channel);
        self.joining.push(Joining { channel: channel.clone(), by });
        actions.push(Action::Join(channel));
    }

    /// Forgets that a channel waits for its cursor; returns who wanted it.
    pub(super) fn stop_joining(&mut self, channel: &ChannelId) -> Option<JoinedBy> {
        let at = self.joining.iter().position(|joining| joining.channel == *channel)?;
        let joining = self.joining.swap_remove(at);
        if self.joining.is_empty() {
            // Nearly all sockets wait for nothing nearly always.
            self.joining = Vec::new();
        }
        Some(joining.by)
    }

    /// The hub has the cursor: from here on this socket hears the channel.
    pub(super) fn on_joined(&mut self, channel: &ChannelId, head: Position, actions: &mut Vec<Action>) {
        let Some(by) = self.stop_joining(channel) else { return };
        let Some(user) = &self.user else { return };
        let Some(known) = self.channels.get_mut(channel) else { return };
        let membership = &known.membership;
        let (reference, reason) = match by {
            JoinedBy::Client(reference) => (reference, None),
            JoinedBy::Others | JoinedBy::OthersLater => (None, Some(JoinReason::Added)),
        };
        actions.push(Action::Send(
            ChannelJoined {
                r#ref: reference,
                channel_id: channel.clone(),
                epoch: head.epoch,
                seq: head.seq,
                role: membership.role,
                channel: ChannelDescription {
                    id: channel.clone(),
                    name: membership.name.clone(),
                    channel_type: membership.channel_type,
                },
                reason,
            }
            .into(),
        ));
        if !known.subscribed {
            known.subscribed = true;
            actions.push(Action::GoLive(vec![channel.clone()]));
        }
        // A new member is announced by the event that made him one.
        if reason.is_none() && membership.members <= limits::ANNOUNCED_MEMBERS_MAX {
            let (channel_id, user_id) = (channel.clone(), user.id.clone());
            actions.push(Action::Publish(Ephemeral { channel_id, user_id, doing: Doing::Joined }));
        }
    }

    pub(super) fn on_subscribe_failed(&mut self, channel: &ChannelId, actions: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Subscribing { .. }) {
            return actions.push(Action::Close(CloseCode::Overloaded));
        }
        match self.stop_joining(channel) {
            Some(JoinedBy::Client(reference)) => {
                let text = "Failed to join channel".to_owned();
                actions.push(error_frame(ErrorCode::Unavailable, text, reference));
            }
            Some(JoinedBy::Others | JoinedBy::OthersLater) => {
                self.joining.push(Joining { channel: channel.clone(), by: JoinedBy::OthersLater });
            }
            None => {}
        }
    }

    /// Tries again what the hub could not subscribe to.
    pub(super) fn join_again(&mut self, actions: &mut Vec<Action>) {
        for joining in &mut self.joining {
            if let JoinedBy::OthersLater = joining.by {
                joining.by = JoinedBy::Others;
                actions.push(Action::Join(joining.channel.clone()));
            }
        }
    }
}
