//! The connection to NATS: what it is doing, and one inbox for every answer that this process waits for.
//!
//! The client library's own requests keep a little memory for each one that was not answered in time; here an
//! answer that nobody waits for any more leaves nothing behind.

use async_nats::connection::State;
use async_nats::{Client, Event, HeaderMap, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// What a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carries {
    /// The log, requests and everything else.
    Everything,
    /// What passes.
    Passing,
}

/// What the client library said of its connection.
pub(super) struct Signals {
    pub(super) carries: Carries,
    /// Whether there is a connection now.
    pub(super) up: watch::Sender<bool>,
    /// How often a connection was made.
    pub(super) connects: watch::Sender<u64>,
    /// How often a full subscription dropped something.
    pub(super) slow: watch::Sender<u64>,
}

impl Signals {
    pub(super) fn new(carries: Carries) -> Self {
        let (up, connects, slow) = (watch::Sender::new(false), watch::Sender::new(0), watch::Sender::new(0));
        Self { carries, up, connects, slow }
    }

    /// Takes one event of the client library.
    pub(super) fn on(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.up.send_replace(true);
                self.connects.send_modify(|count| *count += 1);
                metrics::counter!(crate::metrics::CONNECTS).increment(1);
                tracing::info!(carries = ?self.carries, "connected to NATS");
            }
            Event::Disconnected | Event::Closed => {
                if self.up.send_replace(false) {
                    tracing::warn!(carries = ?self.carries, "a connection to NATS is lost");
                }
            }
            Event::SlowConsumer(_) => {
                let dropped = match self.carries {
                    Carries::Everything => crate::metrics::LIVE_DROPPED,
                    Carries::Passing => crate::metrics::EPHEMERAL_DROPPED,
                };
                metrics::counter!(dropped).increment(1);
                self.slow.send_modify(|count| *count += 1);
            }
            other => tracing::warn!(event = %other, "NATS says"),
        }
    }
}

/// The connection and its inbox; cheap to clone.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) signals: Arc<Signals>,
    inbox: Arc<Inbox>,
}

/// Answers that somebody waits for, by the last token of their subject.
struct Inbox {
    prefix: String,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiter>>,
}

enum Waiter {
    One(oneshot::Sender<Message>),
    Many(mpsc::Sender<Message>),
}

/// A place in the inbox for one kind of answer; given up when it is dropped.
struct Place {
    inbox: Arc<Inbox>,
    token: u64,
}

/// Waits for one answer.
pub(super) struct One {
    place: Place,
    answer: oneshot::Receiver<Message>,
}

/// Waits for several answers to one question.
pub(super) struct Many {
    place: Place,
    answers: mpsc::Receiver<Message>,
}

/// Something to be sent.
pub(super) struct Outgoing {
    pub(super) subject: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
}

impl Outgoing {
    /// Makes one without headers.
    pub(super) fn new(subject: String, payload: Bytes) -> Self {
        Self { subject, headers: HeaderMap::new(), payload }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AskError {
    #[error("no answer in time")]
    Late,
    #[error("the connection is closed")]
    Closed,
}

/// Waits until the broker stops. Cancel safe.
pub(super) async fn stops(stopped: &mut watch::Receiver<bool>) {
    // A broker that is gone has stopped.
    let _gone = stopped.wait_for(|stopped| *stopped).await;
}

impl Link {
    /// Subscribes the inbox; the second part is the task that empties it, which ends with the connection.
    pub(super) async fn open(
        client: Client,
        signals: Arc<Signals>,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), async_nats::SubscribeError> {
        let prefix = client.new_inbox();
        let mut answers = client.subscribe(format!("{prefix}.*")).await?;
        let inbox = Arc::new(Inbox { prefix, next: AtomicU64::new(0), waiting: Mutex::default() });
        // The task holds no client: it ends when the last one of those is dropped.
        let held = Arc::downgrade(&inbox);
        let empty = async move {
            while let Some(message) = answers.next().await {
                let Some(inbox) = held.upgrade() else { return };
                inbox.hand_out(message);
            }
        };
        Ok((Self { client, signals, inbox }, empty))
    }

    /// Whether there is a connection now, by its own word.
    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Takes the connection's own word for whether it is up: an event that said so may have been dropped.
    pub(super) fn heed_state(&self) {
        let connected = self.is_connected();
        self.signals.up.send_if_modified(|up| std::mem::replace(up, connected) != connected);
    }

    pub(super) fn expect_one(&self) -> One {
        let (told, answer) = oneshot::channel();
        One { place: self.inbox.place(Waiter::One(told)), answer }
    }

    /// Makes room for `count` answers; what comes beyond them is dropped.
    pub(super) fn expect_many(&self, count: usize) -> Many {
        let (told, answers) = mpsc::channel(count.max(1));
        Many { place: self.inbox.place(Waiter::Many(told)), answers }
    }

    /// Hands a message to the connection; waits while that is full.
    pub(super) async fn send(&self, message: Outgoing, reply: String) -> Result<(), AskError> {
        let Outgoing { subject, headers, payload } = message;
        let sent = if headers.is_empty() {
            self.client.publish_with_reply(subject, reply, payload).await
        } else {
            self.client.publish_with_reply_and_headers(subject, reply, headers, payload).await
        };
        sent.map_err(|_| AskError::Closed)
    }

    /// Asks and waits for one answer.
    pub(super) async fn ask(&self, message: Outgoing, deadline: Duration) -> Result<Message, AskError> {
        let mut one = self.expect_one();
        let answered = async {
            self.send(message, one.subject()).await?;
            one.answer().await.ok_or(AskError::Closed)
        };
        timeout(deadline, answered).await.unwrap_or(Err(AskError::Late))
    }

    /// Returns when the server has taken everything that was sent before: a message to ourselves came back.
    pub(super) async fn round_trip(&self, deadline: Duration) -> Result<(), AskError> {
        let mut one = self.expect_one();
        let there_and_back = async {
            let subject = one.subject();
            self.client.publish(subject, Bytes::new()).await.map_err(|_| AskError::Closed)?;
            one.answer().await.ok_or(AskError::Closed)
        };
        timeout(deadline, there_and_back).await.unwrap_or(Err(AskError::Late)).map(drop)
    }
}

impl Inbox {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Waiter>> {
        // A map of waiters cannot be left half changed by a panic elsewhere.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(self: &Arc<Self>, waiter: Waiter) -> Place {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        self.waiting().insert(token, waiter);
        Place { inbox: self.clone(), token }
    }

    fn hand_out(&self, message: Message) {
        let token = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
        let Some(token) = token else { return };
        let mut waiting = self.waiting();
        // An answer that comes too late, or twice, is nobody's.
        match waiting.remove(&token) {
            Some(Waiter::One(told)) => drop(told.send(message)),
            Some(Waiter::Many(told)) if told.try_send(message).is_ok() => {
                waiting.insert(token, Waiter::Many(told));
            }
            Some(Waiter::Many(_)) => {}
            None => {}
        }
    }
}

impl Place {
    fn subject(&self) -> String {
        format!("{}.{}", self.inbox.prefix, self.token)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inbox.waiting().remove(&self.token);
    }
}

impl One {
    /// Returns where the answer shall go.
    pub(super) fn subject(&self) -> String {
        self.place.subject()
    }

    /// Waits for the answer; `None` when the connection is closed. Cancel safe.
    pub(super) async fn answer(&mut self) -> Option<Message> {
        (&mut self.answer).await.ok()
    }
}

impl Many {
    /// Returns where the answers shall go.
    pub(super) fn subject(&self) -> String {
        self.place.subject()
    }

    /// Waits for the next answer; `None` when no more can come. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Message> {
        self.answers.recv().await
    }
}
