//! Messages that are not plain.

use super::{By, Commands, same};
use crate::tail::Tail;
use protocol::codes::ErrorCode;
use protocol::envelope::Envelope;
use protocol::frames::send::SendMessage;
use protocol::permissions::{Action, allows};
use protocol::requests::{Answer, CommandAnswer};

impl Commands {
    pub(super) async fn send(&self, by: By, send: SendMessage) -> Answer<CommandAnswer> {
        let channel = send.channel_id.clone();
        let tail = Tail::read(&self.broker, &self.store, &channel).await?;
        if !allows(self.role(&channel, &by.sender.id, &tail).await?, Action::Write) {
            return Err(ErrorCode::PermissionDenied);
        }
        let content_hash = send.content_hash();
        let id = send.client_msg_id.as_ref();
        if send.retry
            && let Some(sent) = self.sent((&channel, &by.sender.id), id, &tail).await?
        {
            return same(channel, sent, content_hash);
        }
        let thread = match &send.reply_to {
            Some(parent) => {
                // A reply joins its parent's thread; else the parent starts one.
                let thread = self.message(parent, &channel, &tail).await?.message.thread_id;
                Some(thread.unwrap_or_else(|| parent.clone()))
            }
            None => None,
        };
        let message = send.into_message(by.event_id, by.sender, by.at, thread);
        let envelope = Envelope::message(&message, content_hash).map_err(|_| ErrorCode::Internal)?;
        self.append(envelope, None).await?.ok_or(ErrorCode::Internal)
    }
}
