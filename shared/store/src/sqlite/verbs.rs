//! The store's verbs: each is one call of the writer, or of a reader.

use super::{Sqlite, ask, changes, dead_letters, events, filling, history, reads, write};
use crate::{DeadLetter, Event, EventsPage, LetterId, PageLimit, Sent, StoreError, StoredMessage};
use protocol::claims::Profile;
use protocol::envelope::Role;
use protocol::ids::{ChannelId, ClientMsgId, Epoch, MessageId, Position, Seq, UserId};
use protocol::requests::{HistoryAnswer, HistoryRequest, MembershipsVersion, SessionAnswer};
use protocol::subjects::Shard;
use protocol::time::Timestamp;

impl Sqlite {
    pub(crate) async fn apply(&self, events: Vec<Event>) -> Result<(), StoreError> {
        self.write(move |connection| write::apply(connection, &events)).await
    }

    pub(crate) async fn make_durable(&self, reached: Vec<(Shard, Position)>) -> Result<(), StoreError> {
        self.write(move |connection| write::make_durable(connection, &reached)).await
    }

    pub(crate) async fn reached(&self, shard: Shard, epoch: Epoch) -> Result<Seq, StoreError> {
        self.ask(move |connection| ask::reached(connection, shard, &epoch)).await
    }

    pub(crate) async fn begin_filling(&self, upto: Vec<(Shard, Position)>) -> Result<(), StoreError> {
        self.write(move |connection| filling::begin(connection, &upto)).await
    }

    pub(crate) async fn filling(&self) -> Result<Vec<(Shard, Position)>, StoreError> {
        self.ask(|connection| filling::marks(connection)).await
    }

    pub(crate) async fn end_filling(&self, upto: Vec<(Shard, Position)>) -> Result<(), StoreError> {
        self.write(move |connection| filling::end(connection, &upto)).await
    }

    pub(crate) async fn upsert_user(&self, profile: Profile) -> Result<(), StoreError> {
        // Most people come back as they were: the writer is not asked, who has events to write.
        let asked = profile.clone();
        if self.ask(move |connection| ask::knows(connection, &asked)).await? {
            return Ok(());
        }
        self.write(move |connection| write::user(connection, &profile)).await
    }

    pub(crate) async fn head(&self, channel: ChannelId) -> Result<Option<Position>, StoreError> {
        self.ask(move |connection| ask::head(connection, &channel)).await
    }

    pub(crate) async fn events(
        &self,
        channel: ChannelId,
        after: Position,
        limit: PageLimit,
    ) -> Result<Option<EventsPage>, StoreError> {
        self.ask(move |connection| events::page(connection, &channel, &after, limit)).await
    }

    pub(crate) async fn session(&self, user: UserId) -> Result<Option<SessionAnswer>, StoreError> {
        self.ask(move |connection| ask::session(connection, &user)).await
    }

    pub(crate) async fn versions(
        &self,
        users: Vec<UserId>,
    ) -> Result<Vec<(UserId, MembershipsVersion)>, StoreError> {
        self.ask(move |connection| ask::versions(connection, users)).await
    }

    pub(crate) async fn ever_members(
        &self,
        channel: ChannelId,
        limit: u32,
    ) -> Result<Vec<UserId>, StoreError> {
        self.ask(move |connection| ask::ever_members(connection, &channel, limit)).await
    }

    pub(crate) async fn membership(
        &self,
        channel: ChannelId,
        user: UserId,
    ) -> Result<Option<Role>, StoreError> {
        self.ask(move |connection| ask::membership(connection, &channel, &user)).await
    }

    pub(crate) async fn history(&self, request: HistoryRequest) -> Result<HistoryAnswer, StoreError> {
        self.ask(move |connection| history::page(connection, &request)).await
    }

    pub(crate) async fn message(&self, id: MessageId) -> Result<Option<StoredMessage>, StoreError> {
        self.ask(move |connection| changes::message(connection, &id)).await
    }

    pub(crate) async fn sent(
        &self,
        channel: ChannelId,
        sender: UserId,
        id: ClientMsgId,
    ) -> Result<Option<Sent>, StoreError> {
        self.ask(move |connection| {
            // The letters first: what is handled again is stored before its letter goes.
            match dead_letters::sent(connection, &channel, &sender, &id)? {
                Some(sent) => Ok(Some(sent)),
                None => ask::sent(connection, &channel, &sender, &id),
            }
        })
        .await
    }

    pub(crate) async fn mark_read(
        &self,
        channel: ChannelId,
        user: UserId,
        read: Position,
    ) -> Result<Position, StoreError> {
        self.write(move |connection| reads::mark(connection, &channel, &user, &read)).await
    }

    pub(crate) async fn count_members(&self, channel: ChannelId, limit: u32) -> Result<u32, StoreError> {
        self.ask(move |connection| ask::count_members(connection, &channel, limit)).await
    }

    pub(crate) async fn deleted(
        &self,
        messages: Vec<MessageId>,
    ) -> Result<Vec<(MessageId, Timestamp)>, StoreError> {
        self.ask(move |connection| changes::deleted(connection, messages)).await
    }

    pub(crate) async fn reactions_of(
        &self,
        message: MessageId,
        user: UserId,
    ) -> Result<Vec<String>, StoreError> {
        self.ask(move |connection| changes::reactions_of(connection, &message, &user)).await
    }

    pub(crate) async fn put_aside(&self, letter: DeadLetter) -> Result<(), StoreError> {
        self.write(move |connection| dead_letters::put_aside(connection, &letter)).await
    }

    pub(crate) async fn dead_letter(&self, id: LetterId) -> Result<Option<DeadLetter>, StoreError> {
        self.ask(move |connection| dead_letters::one(connection, &id)).await
    }

    pub(crate) async fn dead_letters(
        &self,
        after: Option<LetterId>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.ask(move |connection| dead_letters::page(connection, after.as_ref(), limit)).await
    }

    pub(crate) async fn remove_dead_letter(&self, id: LetterId) -> Result<(), StoreError> {
        self.write(move |connection| dead_letters::remove(connection, &id)).await
    }
}
