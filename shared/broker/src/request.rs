//! Requests and answers between processes, by subject; servers of one subject share its requests.

use crate::embedded::EmbeddedServer;
use crate::nats::{NatsReply, NatsServer};
use bytes::Bytes;
use protocol::codes::ErrorCode;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Nobody serves the subject: certainly not served.
    #[error("nobody serves the subject")]
    NoResponders,
    /// The server left without having begun it: certainly not served.
    #[error("the server left without having begun the request")]
    NotBegun,
    /// Too many requests wait there: certainly not served.
    #[error("too many requests wait")]
    Full,
    /// No answer in time: it may have been served.
    #[error("no answer in time")]
    Deadline,
    /// The server gave the request up: it may have been served.
    #[error("server gave the request up")]
    GivenUp,
    /// The broker stops: certainly not served.
    #[error("broker stops")]
    Closed,
}

impl RequestError {
    /// Returns what a client is told when the request was a command.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::NoResponders | Self::NotBegun | Self::Full | Self::Closed => ErrorCode::Unavailable,
            Self::Deadline | Self::GivenUp => ErrorCode::UnknownOutcome,
        }
    }
}

/// Why a subject cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// The broker stops.
    #[error("broker stops")]
    Closed,
}

/// A question that waits for its answer.
#[derive(Debug)]
pub struct Request {
    /// What was asked.
    pub payload: Bytes,
    /// Where the answer goes.
    pub reply: ReplyHandle,
}

/// Answers one request; dropping it tells the asker that nobody will.
#[derive(Debug)]
pub struct ReplyHandle(Reply);

#[derive(Debug)]
enum Reply {
    Embedded { reply: oneshot::Sender<Bytes>, until: Instant },
    Nats(NatsReply),
}

impl ReplyHandle {
    pub(crate) fn from_embedded(reply: oneshot::Sender<Bytes>, until: Instant) -> Self {
        Self(Reply::Embedded { reply, until })
    }

    pub(crate) fn from_nats(reply: NatsReply) -> Self {
        Self(Reply::Nats(reply))
    }

    /// Answers. An asker that has gone away is no fault of the server's.
    pub fn send(self, answer: Bytes) {
        match self.0 {
            Reply::Embedded { reply, .. } => {
                if reply.send(answer).is_err() {
                    tracing::debug!("an answer came after its asker had gone");
                }
            }
            Reply::Nats(reply) => reply.send(answer),
        }
    }

    /// Says that nobody began: the asker may ask another server.
    pub(crate) fn not_begun(self) {
        match self.0 {
            // Its server is in this process and stops with it.
            Reply::Embedded { reply, .. } => drop(reply),
            Reply::Nats(reply) => reply.not_begun(),
        }
    }

    /// Returns how long the asker still waits; `None` when it did not say.
    pub fn time_left(&self) -> Option<Duration> {
        let until = match &self.0 {
            Reply::Embedded { until, .. } => Some(*until),
            Reply::Nats(reply) => reply.until(),
        };
        until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        match &self.0 {
            Reply::Embedded { reply, .. } => reply.is_closed(),
            Reply::Nats(reply) => reply.is_abandoned(),
        }
    }
}

/// One server of a subject.
pub enum Server {
    /// Of the embedded broker.
    Embedded(EmbeddedServer),
    /// Of the broker on NATS.
    Nats(NatsServer),
}

impl Server {
    /// Takes no more from here on: what was asked before still comes from `next`, then `None`.
    pub fn leave(&mut self) {
        match self {
            Self::Embedded(server) => server.leave(),
            Self::Nats(server) => server.leave(),
        }
    }

    /// Returns the next request; `None` when it left, or the broker has stopped, and nothing is left. Cancel safe.
    pub async fn next(&mut self) -> Option<Request> {
        match self {
            Self::Embedded(server) => server.next().await,
            Self::Nats(server) => server.next().await,
        }
    }
}
