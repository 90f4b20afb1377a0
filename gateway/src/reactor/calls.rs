//! Calls to the broker on behalf of a session; each has a deadline and comes back as an input.

use super::Reactor;
use crate::connection::Connection;
use crate::session::{Append, Done, Input, Reading};
use broker::{Appended, RequestError};
use bytes::Bytes;
use protocol::claims::Profile;
use protocol::codes::ErrorCode;
use protocol::envelope::Envelope;
use protocol::ephemeral::Ephemeral;
use protocol::ids::ChannelId;
use protocol::requests::{
    self, Answer, CommandAnswer, CommandRequest, HistoryRequest, ReadRequest, SessionRequest,
};
use protocol::subjects::{RequestSubject, Shard, Slot};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

/// How long a worker may take to say what is there. Chosen: longer, and a person has given up.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);

/// How long the log may take before the outcome counts as unknown, also when a worker decides what is appended.
/// Reliability page: an election takes 8 s.
const APPEND_DEADLINE: Duration = Duration::from_secs(30);

impl Reactor {
    fn call(self: &Rc<Self>, connection: &Rc<Connection>, call: impl Future<Output = Input> + 'static) {
        let (reactor, connection) = (self.clone(), connection.clone());
        self.common.shutdown.spawn_local("call", async move {
            let input = call.await;
            match &input {
                Input::History(_) => connection.outbox.borrow_mut().page_came(),
                Input::Done(Done { result: Ok(_), .. }) => {
                    reactor.decide(&connection, input);
                    return reactor.flush_late(&connection);
                }
                _ => {}
            }
            reactor.drive(&connection, input);
        });
    }

    pub(super) fn ask_directory(self: &Rc<Self>, connection: &Rc<Connection>, profile: Profile) {
        let asked = self.request(RequestSubject::DirectorySession, SessionRequest::Open(profile));
        self.call(connection, async move { Input::Directory(asked.await.map_err(only_read)) });
    }

    pub(super) fn ask_history(self: &Rc<Self>, connection: &Rc<Connection>, request: HistoryRequest) {
        let asked = self.request(RequestSubject::History, request);
        self.call(connection, async move { Input::History(asked.await.map_err(only_read)) });
    }

    pub(super) fn mark_read(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        asked: Reading,
        request: ReadRequest,
    ) {
        let answer = self.request(RequestSubject::Reads, request);
        // It may be said again, whatever became of it: what was read stays read.
        let input = async move { Input::MarkedRead { asked, result: answer.await.map_err(only_read) } };
        self.call(connection, input);
    }

    pub(super) fn command(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        channel: Option<ChannelId>,
        request: CommandRequest,
    ) {
        // Whoever serves a shard may decide for any; dividing only spreads the work.
        let spread = || ChannelId::parse(request.message_id.as_str()).ok();
        let shard = channel.clone().or_else(spread).map_or(Shard(0), |channel| Slot::of(&channel).shard);
        let asked = self.request_within(APPEND_DEADLINE, RequestSubject::Commands(shard), request);
        self.call(connection, async move {
            let result = asked.await;
            count(&result);
            Input::Done(Done { channel, result })
        });
    }

    /// Asks whichever worker serves the subject what is there.
    pub(super) fn request<Q: Serialize, A: DeserializeOwned>(
        &self,
        subject: RequestSubject,
        question: Q,
    ) -> impl Future<Output = Answer<A>> + use<Q, A> {
        self.request_within(REQUEST_DEADLINE, subject, question)
    }

    fn request_within<Q: Serialize, A: DeserializeOwned>(
        &self,
        deadline: Duration,
        subject: RequestSubject,
        question: Q,
    ) -> impl Future<Output = Answer<A>> + use<Q, A> {
        let broker = self.common.broker.clone();
        async move {
            let payload = requests::encode(&question).map_err(|_| ErrorCode::Internal)?;
            outcome(subject, broker.request(subject, Bytes::from(payload), deadline).await)
        }
    }

    pub(super) fn append(self: &Rc<Self>, connection: &Rc<Connection>, append: Append) {
        let broker = self.common.broker.clone();
        let channel = append.message.channel_id.clone();
        self.call(connection, async move {
            let result = match tokio::time::timeout(APPEND_DEADLINE, append_to(broker, append)).await {
                Ok(result) => result,
                Err(_elapsed) => Err(ErrorCode::UnknownOutcome),
            };
            count(&result);
            Input::Done(Done { channel: Some(channel), result })
        });
    }

    pub(super) fn publish(self: &Rc<Self>, ephemeral: Ephemeral) {
        let broker = self.common.broker.clone();
        let Ok(payload) = requests::encode(&ephemeral) else { return };
        self.common.shutdown.spawn_local("publish", async move {
            if let Err(error) = broker.publish(&ephemeral.channel_id, Bytes::from(payload)).await {
                tracing::debug!(%error, "typing and the like was not published");
            }
        });
    }
}

/// Says what became of a request: a worker's word is final, `internal` too; whatever cannot be read may have been
/// done.
fn outcome<A: DeserializeOwned>(subject: RequestSubject, answer: Result<Bytes, RequestError>) -> Answer<A> {
    let answer = answer.map_err(|error| {
        tracing::warn!(%error, %subject, "a request was not answered");
        error.code()
    })?;
    requests::decode(&answer).unwrap_or_else(|error| {
        tracing::error!(%error, %subject, "an answer cannot be read");
        Err(ErrorCode::UnknownOutcome)
    })
}

/// A question that changes nothing may be asked again, whatever became of it.
fn only_read(code: ErrorCode) -> ErrorCode {
    if code == ErrorCode::UnknownOutcome { ErrorCode::Unavailable } else { code }
}

fn count(result: &Answer<CommandAnswer>) {
    let outcome = result.as_ref().map_or_else(|code| code.as_str(), |_| "logged");
    metrics::counter!(crate::metrics::DURABLE, "outcome" => outcome).increment(1);
}

async fn append_to(broker: broker::Broker, append: Append) -> Answer<CommandAnswer> {
    let Append { message, content_hash } = append;
    let channel_id = message.channel_id.clone();
    let envelope = Envelope::message(&message, content_hash).map_err(|_| ErrorCode::Internal)?;
    let bytes = envelope.encode().map_err(|_| ErrorCode::Internal)?;
    let appended = broker
        .append(broker::Append {
            channel: channel_id.clone(),
            dedup_key: envelope.dedup_key(),
            envelope: Bytes::from(bytes),
            expect: None,
        })
        .await
        .map_err(|error| error.code())?;
    match appended {
        Appended::New { position } => {
            Ok(CommandAnswer { channel_id, position, message_id: message.id, duplicate: false })
        }
        Appended::Duplicate { position, entry } => {
            let stored = Envelope::decode(&entry.envelope).map_err(|_| ErrorCode::Internal)?;
            if stored.content_hash != content_hash {
                return Err(ErrorCode::Conflict);
            }
            Ok(CommandAnswer { channel_id, position, message_id: stored.message_id, duplicate: true })
        }
        // Only an append with `expect` is answered so.
        Appended::Moved { .. } => Err(ErrorCode::Internal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::world::reactor;
    use protocol::ids::{Epoch, MessageId, Position};
    use tokio::task::LocalSet;

    fn became(answer: Result<&[u8], RequestError>) -> Answer<CommandAnswer> {
        let subject = RequestSubject::Commands(Slot::of(&ChannelId::parse("general").unwrap()).shard);
        outcome(subject, answer.map(Bytes::copy_from_slice))
    }

    fn command(channel: &ChannelId) -> CommandRequest {
        let send = serde_json::json!({ "type": "send_message", "channel_id": channel, "content": "x", "retry": true });
        let frame = protocol::codec::decode(&send.to_string(), protocol::frames::Form::V1).frame;
        let Ok(protocol::frames::client::ClientFrame::SendMessage(send)) = frame else { panic!("{frame:?}") };
        let id = protocol::ids::UserId::parse("u").unwrap();
        CommandRequest {
            sender: protocol::message::Sender { id, name: "U".to_owned(), email: String::new() },
            message_id: MessageId::parse("m").unwrap(),
            at: protocol::time::Timestamp::from_unix_ms(1),
            command: requests::Command::Send(send),
        }
    }

    #[tokio::test]
    async fn a_command_outlasts_an_election_and_a_question_does_not() {
        let data = tempfile::tempdir().unwrap();
        let test = async {
            let (reactor, _clients) = reactor(&data, 1).await;
            let (broker, channel) = (&reactor.common.broker, ChannelId::parse("general").unwrap());
            let subject = RequestSubject::Commands(Slot::of(&channel).shard);
            let mut commands = broker.serve(subject).await.unwrap();
            let mut history = broker.serve(RequestSubject::History).await.unwrap();
            reactor.command(&reactor.all()[0], Some(channel.clone()), command(&channel));
            let waits = commands.next().await.unwrap().reply.time_left().unwrap();
            assert!(waits > Duration::from_secs(25), "{waits:?}");
            let request = HistoryRequest {
                channel_id: channel,
                range: requests::HistoryRange::Newest,
                thread_id: None,
                limit: 1,
            };
            reactor.ask_history(&reactor.all()[0], request);
            let waits = history.next().await.unwrap().reply.time_left().unwrap();
            assert!(waits <= REQUEST_DEADLINE, "{waits:?}");
        };
        LocalSet::new().run_until(test).await;
    }

    #[test]
    fn what_a_worker_says_is_final_and_only_what_got_lost_is_unknown() {
        let done = CommandAnswer {
            channel_id: ChannelId::parse("general").unwrap(),
            position: Position { epoch: Epoch::parse("e").unwrap(), seq: 7 },
            message_id: MessageId::parse("m").unwrap(),
            duplicate: false,
        };
        let said = |answer: Answer<CommandAnswer>| became(Ok(&requests::encode(&answer).unwrap()));
        assert_eq!(said(Ok(done.clone())), Ok(done));
        // It once became `unknown_outcome`, and clients sent the same again for ever.
        for code in
            [ErrorCode::Internal, ErrorCode::Conflict, ErrorCode::Unavailable, ErrorCode::UnknownOutcome]
        {
            assert_eq!(said(Err(code)), Err(code));
        }
        for unreadable in [&b""[..], b"{}", br#"{"Ok":{}}"#, br#"{"Err":"a code of the future"}"#] {
            assert_eq!(became(Ok(unreadable)), Err(ErrorCode::UnknownOutcome));
        }
        for lost in [RequestError::Deadline, RequestError::GivenUp] {
            assert_eq!(became(Err(lost)), Err(ErrorCode::UnknownOutcome));
        }
        for unasked in [RequestError::NoResponders, RequestError::Full, RequestError::Closed] {
            assert_eq!(became(Err(unasked)), Err(ErrorCode::Unavailable));
        }
    }
}
