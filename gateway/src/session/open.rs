//! From the credential to `connection_established`.

use super::channels::{Channel, Channels};
use super::{Action, Moment, Phase, Session};
use crate::auth::Verified;
use protocol::codes::CloseCode;
use protocol::frames::Form;
use protocol::frames::server::{ChannelEntry, ChannelList, ConnectionEstablished};
use protocol::ids::{ChannelId, Position};
use protocol::limits;
use protocol::requests::{Answer, SessionAnswer};
use protocol::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;

impl Session {
    pub(super) fn on_verified(
        &mut self,
        outcome: Result<Verified, CloseCode>,
        resume: bool,
        actions: &mut Vec<Action>,
    ) {
        if !matches!(self.phase, Phase::AwaitingToken { .. }) {
            return;
        }
        match outcome {
            Ok(verified) => {
                // A classic page cannot refresh its token, so its socket outlives it.
                if self.form == Form::V1 {
                    let end_s = verified.expires_at_unix_s.saturating_add(limits::TOKEN_LEEWAY_S);
                    self.expires_at_ms = end_s.saturating_mul(1_000);
                }
                self.phase = Phase::Opening { resume };
                actions.push(Action::AskDirectory(verified.profile));
            }
            Err(code) => actions.push(Action::Close(code)),
        }
    }

    pub(super) fn on_directory(&mut self, answer: Answer<SessionAnswer>, actions: &mut Vec<Action>) {
        let Phase::Opening { resume } = &self.phase else { return };
        let resume = *resume && self.form == Form::V1;
        let Ok(mut answer) = answer else {
            actions.push(Action::Close(CloseCode::Overloaded));
            return;
        };
        if answer.channels.len() > limits::CHANNELS_PER_SOCKET_MAX {
            tracing::warn!(
                channels = answer.channels.len(),
                "a user has more channels than one socket may hear"
            );
            answer.channels.truncate(limits::CHANNELS_PER_SOCKET_MAX);
        }
        let ids = answer.channels.iter().map(|membership| membership.channel_id.clone()).collect();
        self.version = answer.version;
        self.channels = Channels::new(answer.channels);
        self.user = Some(Arc::new(answer.sender));
        self.phase = Phase::Subscribing { resume };
        actions.push(Action::Subscribe(ids));
    }

    /// Says where everything stands and starts to push from just there: both in one turn of the reactor, so
    /// that nothing falls between.
    pub(super) fn on_subscribed(
        &mut self,
        heads: &[(ChannelId, Position)],
        moment: Moment,
        actions: &mut Vec<Action>,
    ) {
        let (Phase::Subscribing { resume }, Some(user)) = (&self.phase, &self.user) else { return };
        let (user_id, resume) = (user.id.clone(), *resume);
        let heads: HashMap<&ChannelId, &Position> = heads.iter().map(|(id, head)| (id, head)).collect();
        let mut entries: Vec<ChannelEntry> =
            self.channels.iter().filter_map(|channel| entry(channel, &heads)).collect();
        let rest = entries.split_off(entries.len().min(limits::CHANNELS_IN_FIRST_FRAME));
        actions.push(Action::Send(
            ConnectionEstablished {
                user_id,
                channels_subscribed: self.channels.len(),
                session_id: self.id.clone(),
                server_time: Timestamp::from_unix_ms(moment.unix_ms),
                heartbeat_ms: limits::HEARTBEAT_MS,
                max_frame_bytes: limits::FRAME_BYTES_MAX,
                channels: entries,
                more_channels: !rest.is_empty(),
                open_incidents: Vec::new(),
            }
            .into(),
        ));
        let mut lists = rest.chunks(limits::CHANNELS_IN_FIRST_FRAME).peekable();
        while let Some(list) = lists.next() {
            let more = lists.peek().is_some();
            actions.push(Action::Send(ChannelList { channels: list.to_vec(), more }.into()));
        }
        if resume {
            let held = heads.into_iter().map(|(id, head)| (id.clone(), head.clone())).collect();
            self.pages.await_resume(held, moment.up_ms);
        } else {
            let ids = self.channels.iter().map(|channel| channel.membership.channel_id.clone());
            actions.push(Action::GoLive(ids.collect()));
        }
        self.phase = Phase::Open;
    }
}

fn entry(channel: &Channel, heads: &HashMap<&ChannelId, &Position>) -> Option<ChannelEntry> {
    let membership = &channel.membership;
    let head = heads.get(&membership.channel_id)?;
    Some(ChannelEntry {
        channel_id: membership.channel_id.clone(),
        name: membership.name.clone(),
        channel_type: membership.channel_type,
        role: membership.role,
        epoch: head.epoch.clone(),
        seq: head.seq,
        read: membership.read.clone(),
        unread: membership.unread,
    })
}
