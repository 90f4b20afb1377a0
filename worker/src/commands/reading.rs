//! Up to where people have read: no events, but positions that only rise.

use super::Commands;
use crate::receipts::Receipt;
use crate::serving::{Answers, unavailable};
use crate::tail::Tail;
use protocol::codes::ErrorCode;
use protocol::frames::reading::{MarkRead, ReadUpTo};
use protocol::limits::RECEIPTS_MEMBERS_MAX;
use protocol::permissions::{Action, allows};
use protocol::requests::{Answer, ReadAnswer, ReadRequest};
use tokio::sync::mpsc;

/// Answers who marks a channel as read, and has others told.
pub(crate) struct Reads {
    commands: Commands,
    receipts: mpsc::Sender<Receipt>,
}

impl Reads {
    pub(crate) fn new(commands: Commands, receipts: mpsc::Sender<Receipt>) -> Self {
        Self { commands, receipts }
    }
}

impl Answers for Reads {
    type Question = ReadRequest;
    type Reply = ReadAnswer;
    const ROLE: &'static str = "reads";

    async fn answer(&self, request: ReadRequest) -> Answer<ReadAnswer> {
        let ReadRequest { user_id, mark: MarkRead { channel_id, up_to } } = request;
        let Commands { broker, store, .. } = &self.commands;
        let tail = Tail::read(broker, store, &channel_id).await?;
        if !allows(self.commands.role(&channel_id, &user_id, &tail).await?, Action::Read) {
            return Err(ErrorCode::UnknownChannel);
        }
        let position = match up_to {
            ReadUpTo::Everything => tail.head.clone(),
            ReadUpTo::Message(id) => self.commands.message(&id, &channel_id, &tail).await?.position,
            // Nobody has read what was not written yet.
            ReadUpTo::Position(position) => position.min(tail.head.clone()),
        };
        let marked = store.mark_read(&channel_id, &user_id, &position).await;
        let read = marked.map_err(|error| unavailable(&error))?;
        let members = store.count_members(&channel_id, RECEIPTS_MEMBERS_MAX + 1).await;
        if members.map_err(|error| unavailable(&error))? <= RECEIPTS_MEMBERS_MAX {
            // Receipts are the first to be shed: a full queue drops them.
            let _shed = self.receipts.try_send(Receipt { channel_id, user_id, read: read.clone() });
        }
        Ok(ReadAnswer { read })
    }
}
