//! What each client frame comes to: permission, limits, then an action.

use super::durable::{Append, Asked, What, Work};
use super::memberships::JoinedBy;
use super::{Action, Moment, Phase, Session};
use protocol::codec::Decoded;
use protocol::codes::ErrorCode;
use protocol::ephemeral::{Doing, Ephemeral};
use protocol::frames::Form;
use protocol::frames::changing::{Change, ChangeMessage};
use protocol::frames::client::{ClientFrame, ResumePoint};
use protocol::frames::error::FrameError;
use protocol::frames::send::SendMessage;
use protocol::frames::server::{ChannelLeft, Pong};
use protocol::ids::{ChannelId, MessageId, Ref};
use protocol::limits;
use protocol::message::Sender;
use protocol::requests::{Command, CommandRequest, HistoryRequest};
use protocol::time::Timestamp;
use std::sync::Arc;

pub(super) const MAY_NOT_JOIN: &str = "You don't have permission to join this channel";

/// Whose frame it is, how the answer is called, and when.
struct By {
    user: Arc<Sender>,
    reference: Option<Ref>,
    moment: Moment,
}

impl Session {
    pub(super) fn on_frame(&mut self, decoded: Decoded, moment: Moment, actions: &mut Vec<Action>) {
        let Decoded { reference, frame } = decoded;
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return self.refuse(error, reference, actions),
        };
        match (&self.phase, frame) {
            (Phase::AwaitingToken { .. }, ClientFrame::Authenticate { token, resume }) => {
                actions.push(Action::Verify { token, resume });
            }
            (_, ClientFrame::Ping) => {
                let server_time = Timestamp::from_unix_ms(moment.unix_ms);
                actions.push(Action::Send(Pong { r#ref: reference, server_time }.into()));
            }
            (Phase::AwaitingToken { .. }, _) => {
                self.refuse_with(ErrorCode::NotAuthenticated, reference, actions);
            }
            (Phase::Open, ClientFrame::Authenticate { .. }) => {
                self.refuse_with(ErrorCode::Conflict, reference, actions);
            }
            (Phase::Open, frame) => {
                if let Some(user) = self.user.clone() {
                    self.on_open_frame(frame, &By { user, reference, moment }, actions);
                }
            }
            (Phase::Draining(_), _) => self.refuse_with(ErrorCode::Unavailable, reference, actions),
            (Phase::Opening { .. } | Phase::Subscribing { .. } | Phase::Closed, _) => {}
        }
    }

    fn on_open_frame(&mut self, frame: ClientFrame, by: &By, actions: &mut Vec<Action>) {
        let By { user, reference, moment } = by;
        match frame {
            ClientFrame::SendMessage(send) => self.send(*send, by, actions),
            ClientFrame::ChangeMessage(change) => self.change(*change, by, actions),
            ClientFrame::MarkRead(mark) => {
                self.mark_read(*mark, (&user.id, reference.clone()), actions);
            }
            ClientFrame::JoinChannel(channel) => self.join(channel, reference.clone(), actions),
            ClientFrame::LeaveChannel(channel) => self.leave(channel, by, actions),
            ClientFrame::TypingStart(channel) if self.channels.contains(&channel) => {
                self.typing.start(&user.id, channel, moment.up_ms, actions);
            }
            ClientFrame::TypingStop(channel) if self.channels.contains(&channel) => {
                self.typing.stop(&user.id, channel, actions);
            }
            ClientFrame::TypingStart(_) | ClientFrame::TypingStop(_) => {
                if self.form == Form::V1 {
                    self.refuse_with(ErrorCode::UnknownChannel, reference.clone(), actions);
                }
            }
            ClientFrame::FetchHistory(request) => self.history(*request, reference.clone(), actions),
            ClientFrame::Resume { channels, last } => {
                self.resume(channels, last, reference.clone(), actions);
            }
            ClientFrame::Authenticate { .. } | ClientFrame::Ping => {}
        }
    }

    fn send(&mut self, send: SendMessage, by: &By, actions: &mut Vec<Action>) {
        let By { user, reference, moment } = by;
        let reference = reference.clone();
        let at = Timestamp::from_unix_ms(moment.unix_ms);
        let muted = |until: Option<Timestamp>| until.is_some_and(|until| until > at);
        let may = self.channels.get(&send.channel_id).is_some_and(|c| !muted(c.membership.muted_until));
        if !may {
            let error = FrameError {
                code: ErrorCode::PermissionDenied,
                text: super::durable::MAY_NOT_SEND.into(),
                silent_on_classic: false,
            };
            return self.refuse(error, reference, actions);
        }
        let asked = Asked { what: What::Send, reference, client_msg_id: send.client_msg_id.clone() };
        let channel = send.channel_id.clone();
        let message_id = MessageId::v7(moment.unix_ms, &moment.random);
        let work = if send.is_plain() {
            let content_hash = send.content_hash();
            let message = send.into_message(message_id, Sender::clone(user), at, None);
            Work::Append(Box::new(Append { message, content_hash }))
        } else {
            let command = Command::Send(Box::new(send));
            let sender = Sender::clone(user);
            Work::Command(Box::new(CommandRequest { sender, message_id, at, command }))
        };
        if let Err(full) = self.durable.push(Some(channel), asked, work, actions) {
            self.refuse_with(ErrorCode::RateLimited, full.reference, actions);
        }
    }

    /// What becomes of a message is decided by a worker; what is certain here is refused here.
    fn change(&mut self, change: ChangeMessage, by: &By, actions: &mut Vec<Action>) {
        let By { user, reference, moment } = by;
        let at = Timestamp::from_unix_ms(moment.unix_ms);
        if let Some(channel) = &change.channel_id {
            let may = self.channels.get(channel).is_some_and(|known| {
                let muted = known.membership.muted_until.is_some_and(|until| until > at);
                !muted || change.change == Change::Delete
            });
            if !may {
                return self.refuse_with(ErrorCode::PermissionDenied, reference.clone(), actions);
            }
        }
        let what = if matches!(change.change, Change::React(_)) { What::React } else { What::Change };
        let asked = Asked { what, reference: reference.clone(), client_msg_id: change.client_msg_id.clone() };
        let channel = change.channel_id.clone();
        let message_id = MessageId::v7(moment.unix_ms, &moment.random);
        let command = Command::Change(Box::new(change));
        let sender = Sender::clone(user);
        let work = Work::Command(Box::new(CommandRequest { sender, message_id, at, command }));
        if let Err(full) = self.durable.push(channel, asked, work, actions) {
            self.refuse_with(ErrorCode::RateLimited, full.reference, actions);
        }
    }

    fn join(&mut self, channel: ChannelId, reference: Option<Ref>, actions: &mut Vec<Action>) {
        if !self.channels.contains(&channel) {
            let (code, text) = (ErrorCode::PermissionDenied, MAY_NOT_JOIN.into());
            return self.refuse(FrameError { code, text, silent_on_classic: false }, reference, actions);
        }
        self.start_joining(channel, JoinedBy::Client(reference), actions);
    }

    fn leave(&mut self, channel: ChannelId, by: &By, actions: &mut Vec<Action>) {
        let By { user, reference, .. } = by;
        let reference = reference.clone();
        // The old consumer answered for any channel; only v1 clients are told of one they cannot have joined.
        let Some(known) = self.channels.get_mut(&channel) else {
            if self.form == Form::V1 {
                return self.refuse_with(ErrorCode::UnknownChannel, reference, actions);
            }
            actions.push(Action::Send(left(channel, None)));
            return;
        };
        if !known.subscribed {
            // Others may be adding it just now.
            if self.stop_joining(&channel).is_some() {
                actions.push(Action::Leave(channel.clone()));
            }
        } else {
            known.subscribed = false;
            self.pages.forget(&channel);
            actions.push(Action::Leave(channel.clone()));
            if known.membership.members <= limits::ANNOUNCED_MEMBERS_MAX {
                let (channel_id, user_id) = (channel.clone(), user.id.clone());
                actions.push(Action::Publish(Ephemeral { channel_id, user_id, doing: Doing::Left }));
            }
        }
        actions.push(Action::Send(left(channel, reference)));
    }

    fn history(&mut self, request: HistoryRequest, reference: Option<Ref>, actions: &mut Vec<Action>) {
        if !self.channels.contains(&request.channel_id) {
            return self.refuse_with(ErrorCode::UnknownChannel, reference, actions);
        }
        if let Err(code) = self.pages.history(reference.clone(), request) {
            self.refuse_with(code, reference, actions);
        }
    }

    fn resume(
        &mut self,
        points: Vec<ResumePoint>,
        last: bool,
        reference: Option<Ref>,
        actions: &mut Vec<Action>,
    ) {
        if !self.pages.takes_resume() {
            return self.refuse_with(ErrorCode::RateLimited, reference, actions);
        }
        for ResumePoint { channel_id, position } in points {
            if self.channels.get(&channel_id).is_some_and(|channel| channel.subscribed) {
                self.pages.resume(channel_id, position, actions);
            } else {
                // Not a member any more, or never: the client shall forget its position.
                actions.push(Action::Send(left(channel_id, None)));
            }
        }
        if last {
            self.pages.resume_unnamed();
        }
        self.pages.resume_done(reference);
    }

    fn refuse_with(&mut self, code: ErrorCode, reference: Option<Ref>, actions: &mut Vec<Action>) {
        self.refuse(
            FrameError { code, text: code.text().into(), silent_on_classic: false },
            reference,
            actions,
        );
    }
}

fn left(channel_id: ChannelId, reference: Option<Ref>) -> protocol::frames::server::ServerFrame {
    ChannelLeft { r#ref: reference, channel_id, reason: None }.into()
}
