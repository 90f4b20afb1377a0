//! Requests over bounded queues of this process.

use crate::request::{ReplyHandle, Request, RequestError};
use bytes::Bytes;
use protocol::subjects::RequestSubject;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot, watch};
use tokio::time::Instant;

/// Requests that wait for the servers of one subject; beyond it a request fails as full.
const QUEUE: usize = 4_096;

#[derive(Default)]
pub(super) struct Subjects(Mutex<HashMap<RequestSubject, Arc<Subject>>>);

struct Subject {
    requests: mpsc::Sender<Request>,
    /// The servers of the subject take turns.
    queue: AsyncMutex<mpsc::Receiver<Request>>,
    servers: AtomicUsize,
}

/// One server of a subject.
pub struct EmbeddedServer {
    subject: Arc<Subject>,
    stopped: watch::Receiver<bool>,
    left: bool,
}

impl Subjects {
    fn get(&self, subject: RequestSubject) -> Arc<Subject> {
        let mut subjects: MutexGuard<'_, _> = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let (requests, queue) = mpsc::channel(QUEUE);
            Arc::new(Subject { requests, queue: AsyncMutex::new(queue), servers: AtomicUsize::new(0) })
        };
        subjects.entry(subject).or_insert_with(make).clone()
    }

    pub(super) async fn request(
        &self,
        subject: RequestSubject,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        let subject = self.get(subject);
        if subject.servers.load(Ordering::SeqCst) == 0 {
            return Err(RequestError::NoResponders);
        }
        let (reply, answer) = oneshot::channel();
        let until = Instant::now() + deadline;
        let request = Request { payload, reply: ReplyHandle::from_embedded(reply, until) };
        subject.requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => RequestError::Full,
            TrySendError::Closed(_) => RequestError::Closed,
        })?;
        match tokio::time::timeout_at(until, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_dropped)) => Err(RequestError::GivenUp),
            Err(_elapsed) => Err(RequestError::Deadline),
        }
    }

    pub(super) fn serve(&self, subject: RequestSubject, stopped: watch::Receiver<bool>) -> EmbeddedServer {
        let subject = self.get(subject);
        subject.servers.fetch_add(1, Ordering::SeqCst);
        EmbeddedServer { subject, stopped, left: false }
    }
}

impl EmbeddedServer {
    pub(crate) fn leave(&mut self) {
        if !std::mem::replace(&mut self.left, true) {
            self.subject.servers.fetch_sub(1, Ordering::SeqCst);
        }
    }

    pub(crate) async fn next(&mut self) -> Option<Request> {
        if self.left {
            // What waits goes to the servers that are left; the last one takes it itself.
            let others = self.subject.servers.load(Ordering::SeqCst) > 0;
            return if others { None } else { self.subject.queue.lock().await.try_recv().ok() };
        }
        let receive = async {
            let mut queue = self.subject.queue.lock().await;
            queue.recv().await
        };
        // Locking and receiving are cancel safe, and so is waiting for a watched value.
        tokio::select! {
            request = receive => return request,
            _ = self.stopped.wait_for(|stopped| *stopped) => {}
        }
        // Nothing new comes in; what waits is still answered, for its asker waits too.
        let mut queue = self.subject.queue.lock().await;
        queue.close();
        queue.recv().await
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        self.leave();
    }
}
