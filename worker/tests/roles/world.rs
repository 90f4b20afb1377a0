//! A log, a store and workers with some roles, in a folder of the test's own.

use crate::node::Node;
use broker::{Append, Appended, Broker, Embedded, Options};
use bytes::Bytes;
use protocol::envelope::{ChannelFacts, ChannelType, Envelope, Kind, MemberFacts, Role};
use protocol::frames::changing::ChangeMessage;
use protocol::frames::send::SendMessage;
use protocol::ids::{ChannelId, ClientMsgId, MessageId, Position, UserId};
use protocol::message::{Message, MessageType, Metadata, Priority, Sender};
use protocol::requests::{
    self, Answer, Command, CommandAnswer, CommandRequest, HistoryRange, HistoryRequest,
};
use protocol::subjects::{RequestSubject, Shard, Slot};
use protocol::time::Timestamp;
use runtime::shutdown::{Shutdown, Stage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{Sqlite, Store};
use tempfile::TempDir;
use worker::Config;

pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) store: Store,
    data: Arc<TempDir>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    /// A log that forgets dedup keys at once: only log and store can tell a resend.
    pub(crate) fn forgetful() -> Self {
        Self::with(Options { dedup_window: Duration::from_millis(1), ..Options::default() })
    }

    fn with(options: Options) -> Self {
        let data = Arc::new(tempfile::tempdir().unwrap());
        let log = Embedded::open(&data.path().join("log"), options).unwrap();
        Self { broker: Broker::Embedded(log), store: open_store(&data), data }
    }

    /// A connection to a log on NATS, with a store that nobody else has.
    pub(crate) async fn on_nats(node: &Node, user: &str) -> Self {
        let data = Arc::new(tempfile::tempdir().unwrap());
        Self { broker: node.connect(user).await, store: open_store(&data), data }
    }

    /// What another process has: a connection of its own, and the same store.
    pub(crate) async fn beside(&self, node: &Node, user: &str) -> Self {
        let data = self.data.clone();
        Self { broker: node.connect(user).await, store: open_store(&data), data }
    }

    /// Starts a worker with these roles.
    pub(crate) async fn start(&self, roles: &[worker::Role]) -> Worker {
        self.start_with(Config { roles: roles.to_vec(), ..Config::default() }).await
    }

    pub(crate) async fn start_with(&self, config: Config) -> Worker {
        let shutdown = Shutdown::new();
        worker::start(&config, &self.broker, &self.store, &shutdown).await.unwrap();
        Worker(shutdown)
    }

    pub(crate) fn store_file(&self) -> PathBuf {
        self.data.path().join("store.db")
    }

    /// Does to the store's file what nobody should.
    pub(crate) fn meddle(&self, sql: &str) {
        let file = rusqlite::Connection::open(self.store_file()).unwrap();
        file.execute_batch(sql).unwrap();
    }

    /// Appends an event as somebody would have caused it.
    pub(crate) async fn log(&self, envelope: &Envelope) -> Position {
        let append = Append {
            channel: envelope.channel_id.clone(),
            dedup_key: envelope.dedup_key(),
            envelope: Bytes::from(envelope.encode().unwrap()),
            expect: None,
        };
        match self.broker.append(append).await.unwrap() {
            Appended::New { position } => position,
            other => panic!("{other:?}"),
        }
    }

    /// Appends a plain message of driver-1 and returns its id.
    pub(crate) async fn say(&self, to: &str, content: &str) -> (MessageId, Position) {
        let message = plain(to, content).into_message(fresh_id(), sender("driver-1"), now(), None);
        let envelope = Envelope::message(&message, 5).unwrap();
        (message.id, self.log(&envelope).await)
    }

    /// Makes a channel with driver-1 in it.
    pub(crate) async fn channel(&self, id: &str) {
        self.describe(id).await;
        self.add_member(id).await;
    }

    pub(crate) async fn describe(&self, id: &str) {
        let facts = ChannelFacts { name: id.to_uppercase(), channel_type: ChannelType::General };
        self.log(&event(Kind::ChannelUpdated, id, &facts)).await;
    }

    pub(crate) async fn add_member(&self, id: &str) {
        let facts = MemberFacts { user: sender("driver-1"), role: Role::Member };
        self.log(&event(Kind::MemberAdded, id, &facts)).await;
    }

    /// Makes somebody a member of a role.
    pub(crate) async fn enlist(&self, id: &str, who: &str, role: Role) {
        let facts = MemberFacts { user: sender(who), role };
        self.log(&event(Kind::MemberAdded, id, &facts)).await;
    }

    pub(crate) async fn remove_member(&self, id: &str) {
        let facts = MemberFacts { user: sender("driver-1"), role: Role::Member };
        self.log(&event(Kind::MemberRemoved, id, &facts)).await;
    }

    /// Waits until the store has what the log of a channel has.
    pub(crate) async fn stored(&self, to: &str) {
        worker::caught_up(&self.broker, &self.store, &channel(to), DEADLINE).await.unwrap();
    }

    /// The stored messages of a channel.
    pub(crate) async fn stored_texts(&self, of: &str) -> Vec<String> {
        let (channel_id, range) = (channel(of), HistoryRange::Newest);
        let request = HistoryRequest { channel_id, range, thread_id: None, limit: 200 };
        let page = self.store.history(&request).await.unwrap();
        let text = |json: &str| serde_json::from_str::<Message>(json).unwrap().content;
        page.messages.iter().map(|one| text(one.message.get())).collect()
    }

    pub(crate) async fn ask<A: DeserializeOwned>(
        &self,
        subject: RequestSubject,
        question: &impl Serialize,
    ) -> Answer<A> {
        let payload = Bytes::from(requests::encode(question).unwrap());
        let answer = self.broker.request(subject, payload, DEADLINE).await.unwrap();
        requests::decode::<Answer<A>>(&answer).unwrap()
    }

    /// Sends a command of `who` as a gateway would.
    pub(crate) async fn command(&self, who: &str, send: SendMessage) -> Answer<CommandAnswer> {
        let subject = RequestSubject::Commands(Slot::of(&send.channel_id).shard);
        self.decide(subject, who, Command::Send(Box::new(send))).await
    }

    /// Sends a change of a message by `who` as a gateway would.
    pub(crate) async fn change(&self, who: &str, change: ChangeMessage) -> Answer<CommandAnswer> {
        let shard = change.channel_id.as_ref().map_or(Shard(0), |channel| Slot::of(channel).shard);
        self.decide(RequestSubject::Commands(shard), who, Command::Change(Box::new(change))).await
    }

    async fn decide(&self, subject: RequestSubject, who: &str, command: Command) -> Answer<CommandAnswer> {
        let request = CommandRequest { sender: sender(who), message_id: fresh_id(), at: now(), command };
        self.ask(subject, &request).await
    }
}

fn open_store(data: &TempDir) -> Store {
    Store::Sqlite(Sqlite::open(&data.path().join("store.db"), &Shutdown::new()).unwrap())
}

/// A started worker.
pub(crate) struct Worker(pub(crate) Shutdown);

impl Worker {
    /// Waits until something broke.
    pub(crate) async fn failed(&self) {
        tokio::time::timeout(DEADLINE, self.0.triggered()).await.expect("nothing broke");
        assert!(self.0.has_failed());
    }

    /// Stops the worker and waits until its roles have ended.
    pub(crate) async fn stop(self) {
        self.0.enter(Stage::Finishing);
        self.0.ended(&["worker-"], DEADLINE).await.unwrap();
    }
}

pub(crate) fn channel(id: &str) -> ChannelId {
    ChannelId::parse(id).unwrap()
}

pub(crate) fn sender(id: &str) -> Sender {
    Sender { id: UserId::parse(id).unwrap(), name: id.to_owned(), email: String::new() }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_767_322_800_000)
}

pub(crate) fn fresh_id() -> MessageId {
    let mut random = [0; 10];
    getrandom::fill(&mut random).unwrap();
    MessageId::v7(now().unix_ms(), &random)
}

pub(crate) fn plain(to: &str, content: &str) -> SendMessage {
    SendMessage {
        channel_id: channel(to),
        content: content.to_owned(),
        message_type: MessageType::Text,
        priority: Priority::Normal,
        metadata: Metadata::default(),
        reply_to: None,
        client_msg_id: None,
        retry: false,
        latitude: None,
        longitude: None,
        location_name: None,
        captured_at: None,
        mentioned_users: Vec::new(),
    }
}

/// A message that was sent before, as a client resends it.
pub(crate) fn resend(to: &str, content: &str, name: &str) -> SendMessage {
    SendMessage { client_msg_id: Some(ClientMsgId::parse(name).unwrap()), retry: true, ..plain(to, content) }
}

pub(crate) fn event(kind: Kind, to: &str, body: &impl Serialize) -> Envelope {
    Envelope {
        kind,
        channel_id: channel(to),
        by: UserId::parse("dispatcher-1").unwrap(),
        at: now(),
        message_id: fresh_id(),
        client_msg_id: None,
        content_hash: 0,
        body: serde_json::value::to_raw_value(body).unwrap(),
    }
}
