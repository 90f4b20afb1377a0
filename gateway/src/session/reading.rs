//! How far the user has read.

use super::{Action, Session};
use protocol::codes::ErrorCode;
use protocol::frames::Form;
use protocol::frames::error::FrameError;
use protocol::frames::reading::{MarkRead, ReadUpTo};
use protocol::frames::server::MessagesMarkedRead;
use protocol::ids::{ChannelId, MessageId, Ref, UserId};
use protocol::limits::READS_OUTSTANDING_MAX;
use protocol::requests::{Answer, ReadAnswer, ReadRequest};

/// A `mark_read` that is out: what its answer says beside the position.
#[derive(Debug)]
pub(crate) struct Reading {
    reference: Option<Ref>,
    channel: ChannelId,
    message: Option<MessageId>,
}

impl Session {
    pub(super) fn mark_read(
        &mut self,
        mark: MarkRead,
        (user, reference): (&UserId, Option<Ref>),
        actions: &mut Vec<Action>,
    ) {
        if !self.channels.contains(&mark.channel_id) {
            return self.refuse_read(ErrorCode::UnknownChannel, reference, actions);
        }
        if self.reads >= READS_OUTSTANDING_MAX {
            return self.refuse_read(ErrorCode::RateLimited, reference, actions);
        }
        self.reads += 1;
        let message = match &mark.up_to {
            ReadUpTo::Message(message) => Some(message.clone()),
            ReadUpTo::Everything | ReadUpTo::Position(_) => None,
        };
        let asked = Reading { reference, channel: mark.channel_id.clone(), message };
        let request = Box::new(ReadRequest { user_id: user.clone(), mark });
        actions.push(Action::MarkRead { asked, request });
    }

    pub(super) fn on_marked_read(
        &mut self,
        asked: Reading,
        result: Answer<ReadAnswer>,
        actions: &mut Vec<Action>,
    ) {
        self.reads -= 1;
        let Reading { reference, channel: channel_id, message: message_id } = asked;
        let Some(user_id) = self.user_id().cloned() else { return };
        let result =
            if self.channels.contains(&channel_id) { result } else { Err(ErrorCode::UnknownChannel) };
        let code = match result {
            Ok(ReadAnswer { read: read_up_to }) => {
                let r#ref = reference;
                let frame = MessagesMarkedRead { r#ref, channel_id, message_id, read_up_to, user_id };
                return actions.push(Action::Send(frame.into()));
            }
            Err(code) => code,
        };
        self.refuse_read(code, reference, actions);
    }

    /// The old consumer had one text for whatever went wrong.
    fn refuse_read(&mut self, code: ErrorCode, reference: Option<Ref>, actions: &mut Vec<Action>) {
        let text = if self.form == Form::Classic { "Failed to mark messages as read" } else { code.text() };
        self.refuse(FrameError { code, text: text.into(), silent_on_classic: false }, reference, actions);
    }
}
