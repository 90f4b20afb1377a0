//! The one loop that answers requests of a subject, several at a time.

use broker::{Request, Server};
use bytes::Bytes;
use protocol::codes::ErrorCode;
use protocol::requests::{self, Answer};
use runtime::shutdown::{Shutdown, Stage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Requests of one subject that are worked on at once; the others wait in the broker's bounded queue.
const AT_ONCE: u32 = 64;

/// How long one request may take; then its asker hears `unavailable` or gives up itself.
const DEADLINE: Duration = Duration::from_secs(10);

/// Something that answers requests.
pub(crate) trait Answers: Send + Sync + 'static {
    /// What is asked.
    type Question: DeserializeOwned + Send;
    /// What is answered.
    type Reply: Serialize + Send;
    /// The role's name, as a metric's label.
    const ROLE: &'static str;

    /// Answers one request.
    fn answer(&self, question: Self::Question) -> impl Future<Output = Answer<Self::Reply>> + Send;
}

/// Runs until the workers' stage of the shutdown; what was asked before is answered.
pub(crate) async fn run<A: Answers>(mut server: Server, answers: A, shutdown: Shutdown) {
    let (answers, places) = (Arc::new(answers), Arc::new(Semaphore::new(AT_ONCE as usize)));
    let mut leaves = false;
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let request = tokio::select! {
            request = server.next() => request,
            () = shutdown.reached(Stage::Finishing), if !leaves => {
                // Other workers get what comes from here on; what was asked before is still answered.
                leaves = true;
                server.leave();
                continue;
            }
        };
        let Some(request) = request else { break };
        if request.reply.is_abandoned() {
            // It waited too long here; whoever waits behind it still can be helped.
            metrics::counter!(crate::metrics::ABANDONED, "role" => A::ROLE).increment(1);
            continue;
        }
        let answers = answers.clone();
        shutdown.spawn(A::ROLE, async move {
            respond(&*answers, request).await;
            drop(place);
        });
    }
    // All places free again: everything that was begun is answered.
    let _all_answered = places.acquire_many(AT_ONCE).await;
}

async fn respond<A: Answers>(answers: &A, request: Request) {
    let answer = match requests::decode::<A::Question>(&request.payload) {
        Ok(question) => match tokio::time::timeout(DEADLINE, answers.answer(question)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(ErrorCode::UnknownOutcome),
        },
        Err(error) => {
            tracing::error!(%error, role = A::ROLE, "a request cannot be read");
            Err(ErrorCode::Internal)
        }
    };
    metrics::counter!(crate::metrics::ANSWERED, "role" => A::ROLE).increment(1);
    match requests::encode(&answer) {
        Ok(bytes) => request.reply.send(Bytes::from(bytes)),
        Err(error) => tracing::error!(%error, role = A::ROLE, "an answer cannot be written"),
    }
}

/// Says what a client is told when the store did not answer: nothing was done, try again.
pub(crate) fn unavailable(error: &store::StoreError) -> ErrorCode {
    tracing::warn!(%error, "the store did not answer");
    if error.is_transient() { ErrorCode::Unavailable } else { ErrorCode::Internal }
}
