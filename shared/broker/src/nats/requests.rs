//! Requests: a queue group serves each subject; every refusal is told, so that nobody waits for nothing.

use super::link::{AskError, Link, Outgoing, stops};
use crate::request::{ReplyHandle, Request, RequestError, ServeError};
use async_nats::{HeaderMap, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use protocol::subjects::RequestSubject;
use runtime::shutdown::Shutdown;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Requests that wait in one server of a subject; beyond it an asker hears that it is full.
const QUEUE: usize = 4_096;

/// The servers of a subject share its requests under this name.
const GROUP: &str = "workers";

/// Says in an answer why there is none.
const REFUSED: &str = "Chat-Refused";
const FULL: &str = "full";
const GIVEN_UP: &str = "given-up";
const NOT_BEGUN: &str = "not-begun";

/// Before a question that a leaving server did not begin goes to the next one.
const NEXT: Duration = Duration::from_millis(20);

/// How long the server may take to answer what only confirms that it has everything.
const ROUND_TRIP: Duration = Duration::from_secs(2);

/// Says in a question how long its asker waits.
const WAIT_MS: &str = "Chat-Wait-Ms";

/// Answers that wait for the connection; beyond it an answer is dropped, and its asker waits out its deadline.
const REPLIES: usize = 8_192;

/// Where answers go; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Replier(mpsc::Sender<Reply>);

#[derive(Debug)]
enum Reply {
    Answer {
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    },
    /// Everything before this is with the server.
    Flush(oneshot::Sender<()>),
}

impl Replier {
    /// Makes the queue and the task that empties it, which ends with the last clone.
    pub(super) fn start(link: Link) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (replies, mut queue) = mpsc::channel(REPLIES);
        let send = async move {
            while let Some(reply) = queue.recv().await {
                match reply {
                    Reply::Answer { subject, headers, payload } => {
                        // Only a closed connection refuses, and then nobody waits.
                        let _closed = link.client.publish_with_headers(subject, headers, payload).await;
                    }
                    Reply::Flush(done) => {
                        let _late = link.round_trip(ROUND_TRIP).await;
                        let _nobody_waits = done.send(());
                    }
                }
            }
        };
        (Self(replies), send)
    }

    pub(super) fn send(&self, subject: String, headers: HeaderMap, payload: Bytes) {
        if self.0.try_send(Reply::Answer { subject, headers, payload }).is_err() {
            metrics::counter!(crate::metrics::REPLIES_DROPPED).increment(1);
        }
    }

    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.0.send(Reply::Flush(done)).await.is_ok() {
            let _task_ended = flushed.await;
        }
    }
}

/// Where the answer to one request goes; dropping it unanswered tells the asker.
#[derive(Debug)]
pub(crate) struct NatsReply {
    replier: Replier,
    /// Taken by the answer.
    subject: Option<String>,
    /// Until when the asker waits, by this process's clock: counted from the arrival.
    until: Option<Instant>,
}

impl NatsReply {
    pub(crate) fn send(mut self, answer: Bytes) {
        if let Some(subject) = self.subject.take() {
            self.replier.send(subject, HeaderMap::new(), answer);
        }
    }
}

impl Drop for NatsReply {
    fn drop(&mut self) {
        if let Some(subject) = self.subject.take() {
            self.replier.send(subject, refusal(GIVEN_UP), Bytes::new());
        }
    }
}

fn refusal(word: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(REFUSED, word);
    headers
}

/// Asks whoever serves the subject.
pub(super) async fn request(
    link: &Link,
    subject: RequestSubject,
    payload: Bytes,
    deadline: Duration,
) -> Result<Bytes, RequestError> {
    let until = Instant::now() + deadline;
    loop {
        // What is handed to a connection that is down would be served when nobody waits for it any more.
        let mut up = link.signals.up.subscribe();
        if timeout_at(until, up.wait_for(|up| *up)).await.is_err() {
            return Err(RequestError::NoResponders);
        }
        let left = until.saturating_duration_since(Instant::now());
        let mut headers = HeaderMap::new();
        headers.insert(WAIT_MS, left.as_millis().to_string());
        let question = Outgoing { subject: subject.to_string(), headers, payload: payload.clone() };
        match answered(link, question, left).await {
            // It went to a server that leaves and has not begun it: there may be others.
            Err(RequestError::NotBegun) if Instant::now() + NEXT < until => sleep(NEXT).await,
            answer => return answer,
        }
    }
}

async fn answered(link: &Link, question: Outgoing, deadline: Duration) -> Result<Bytes, RequestError> {
    let answer = link.ask(question, deadline).await.map_err(|error| match error {
        AskError::Late => RequestError::Deadline,
        AskError::Closed => RequestError::Closed,
    })?;
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(RequestError::NoResponders);
    }
    match answer
        .headers
        .as_ref()
        .and_then(|headers| headers.get(REFUSED))
        .map(async_nats::HeaderValue::as_str)
    {
        None => Ok(answer.payload),
        Some(FULL) => Err(RequestError::Full),
        Some(NOT_BEGUN) => Err(RequestError::NotBegun),
        Some(_) => Err(RequestError::GivenUp),
    }
}

/// One server of a subject.
pub struct NatsServer {
    requests: mpsc::Receiver<Request>,
    /// Ends the subscription when it is dropped.
    serving: Option<oneshot::Sender<()>>,
}

impl NatsServer {
    /// Joins the subject's queue group.
    pub(super) async fn start(
        link: &Link,
        replier: &Replier,
        subject: RequestSubject,
        stopped: watch::Receiver<bool>,
        shutdown: &Shutdown,
    ) -> Result<Self, ServeError> {
        let group = GROUP.to_owned();
        let asked =
            link.client.queue_subscribe(subject.to_string(), group).await.map_err(|_| ServeError::Closed)?;
        // From here on an asker finds somebody.
        let _late = link.round_trip(ROUND_TRIP).await;
        let (queue, requests) = mpsc::channel(QUEUE);
        let (serving, dropped) = oneshot::channel();
        let taking = Taking { link: link.clone(), asked, queue, replier: replier.clone(), stopped };
        shutdown.spawn("nats-server", taking.run(dropped));
        Ok(Self { requests, serving: Some(serving) })
    }

    pub(crate) async fn next(&mut self) -> Option<Request> {
        self.requests.recv().await
    }

    pub(crate) fn leave(&mut self) {
        self.serving = None;
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // What waits here nobody has begun: another server may have it.
        self.requests.close();
        while let Ok(request) = self.requests.try_recv() {
            request.reply.not_begun();
        }
    }
}

/// Takes requests from the subscription into the bounded queue.
struct Taking {
    link: Link,
    asked: Subscriber,
    queue: mpsc::Sender<Request>,
    replier: Replier,
    stopped: watch::Receiver<bool>,
}

impl Taking {
    async fn run(mut self, mut dropped: oneshot::Receiver<()>) {
        loop {
            // Cancel safe: a stream of messages, a watched value, a signal.
            tokio::select! {
                message = self.asked.next() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                () = stops(&mut self.stopped) => break,
                _ = &mut dropped => break,
            }
        }
        // What was asked before is still taken: it is here when the server has answered what is sent now. (The client
        // library's own drain forgets the subscription with the next bytes, whatever the server had sent already.)
        let link = self.link.clone();
        let asked_before = link.round_trip(ROUND_TRIP);
        tokio::pin!(asked_before);
        loop {
            tokio::select! {
                biased;
                message = self.asked.next() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                _late = &mut asked_before => break,
            }
        }
        let _closed = self.asked.drain().await;
        let rest = async {
            while let Some(message) = self.asked.next().await {
                self.take(message);
            }
        };
        let _late = timeout(ROUND_TRIP, rest).await;
    }

    fn take(&self, message: Message) {
        let Some(subject) = message.reply else { return };
        let (replier, subject) = (self.replier.clone(), Some(subject.to_string()));
        // The server is gone already, and the subscription ends in a moment.
        let refused = if self.queue.is_closed() { Some(NOT_BEGUN) } else { None };
        let refused = refused.or_else(|| (self.queue.capacity() == 0).then_some(FULL));
        if let Some(word) = refused {
            return NatsReply { replier, subject, until: None }.refuse(word);
        }
        let wait = message.headers.as_ref().and_then(|headers| headers.get(WAIT_MS));
        let wait = wait.and_then(|wait| wait.as_str().parse().ok()).map(Duration::from_millis);
        let reply = NatsReply { replier, subject, until: wait.map(|wait| Instant::now() + wait) };
        let request = Request { payload: message.payload, reply: ReplyHandle::from_nats(reply) };
        // Only this task fills the queue, so there is room; a server may have been dropped this moment.
        if let Err(TrySendError::Closed(request) | TrySendError::Full(request)) = self.queue.try_send(request)
        {
            request.reply.not_begun();
        }
    }
}

impl NatsReply {
    pub(crate) fn not_begun(self) {
        self.refuse(NOT_BEGUN);
    }

    fn refuse(mut self, word: &'static str) {
        if let Some(subject) = self.subject.take() {
            self.replier.send(subject, refusal(word), Bytes::new());
        }
    }

    /// Until when the asker waits, if it said so.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }
}
