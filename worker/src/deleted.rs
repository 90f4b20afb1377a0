//! Which messages were deleted: for who shows what happened page by page, and has not come to the deletion yet.

use crate::serving::{Answers, unavailable};
use crate::tail::Tail;
use broker::Broker;
use protocol::envelope::Fact;
use protocol::requests::{Answer, DeletedAnswer, DeletedRequest};
use store::Store;

pub(crate) struct Deleted {
    broker: Broker,
    store: Store,
}

impl Deleted {
    pub(crate) fn new(broker: Broker, store: Store) -> Self {
        Self { broker, store }
    }
}

impl Answers for Deleted {
    type Question = DeletedRequest;
    type Reply = DeletedAnswer;
    const ROLE: &'static str = "deleted";

    async fn answer(&self, request: DeletedRequest) -> Answer<DeletedAnswer> {
        // The tail first: what is persisted meanwhile is in both.
        let tail = Tail::read(&self.broker, &self.store, &request.channel_id).await?;
        let stored = self.store.deleted(&request.messages).await.map_err(|error| unavailable(&error))?;
        let lately = tail.facts().filter_map(|(_, envelope, fact)| match fact {
            Fact::MessageDeleted(deletion) if request.messages.contains(&deletion.message_id) => {
                Some((deletion.message_id.clone(), envelope.at))
            }
            _ => None,
        });
        Ok(DeletedAnswer { deleted: stored.into_iter().chain(lately).collect() })
    }
}
