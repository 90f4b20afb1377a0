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

/// How long one request may take whose asker did not say how long he waits.
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
    // As long as somebody waits for it: a command outlasts an election.
    let deadline = request.reply.time_left().unwrap_or(DEADLINE);
    let answer = match requests::decode::<A::Question>(&request.payload) {
        Ok(question) => match tokio::time::timeout(deadline, answers.answer(question)).await {
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

#[cfg(test)]
mod tests {
    use super::*;
    use broker::{Broker, Embedded, Options, RequestError};
    use protocol::subjects::RequestSubject;
    use tokio::time::sleep;

    /// Answers after as many seconds as it is asked for.
    struct Slow;

    impl Answers for Slow {
        type Question = u64;
        type Reply = u64;
        const ROLE: &'static str = "slow";

        async fn answer(&self, question: u64) -> Answer<u64> {
            sleep(Duration::from_secs(question)).await;
            Ok(question)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_may_take_as_long_as_its_asker_waits() {
        let (data, shutdown) = (tempfile::tempdir().unwrap(), Shutdown::new());
        let broker = Broker::Embedded(Embedded::open(data.path(), Options::default()).unwrap());
        let server = broker.serve(RequestSubject::History).await.unwrap();
        shutdown.spawn("worker-slow", run(server, Slow, shutdown.clone()));
        let ask = async |question: u64, deadline: u64| {
            let question = Bytes::from(requests::encode(&question).unwrap());
            let deadline = Duration::from_secs(deadline);
            let answer = broker.request(RequestSubject::History, question, deadline).await?;
            Ok(requests::decode::<Answer<u64>>(&answer).unwrap())
        };
        assert_eq!(ask(25, 30).await, Ok(Ok(25)), "an election");
        assert!(matches!(ask(25, 5).await, Err(RequestError::Deadline) | Ok(Err(ErrorCode::UnknownOutcome))));
        // Nobody works on for who has gone.
        shutdown.enter(Stage::Finishing);
        let ended = tokio::time::Instant::now();
        assert_eq!(shutdown.ended(&["worker-", "slow"], Duration::from_secs(60)).await, Ok(()));
        assert!(ended.elapsed() < Duration::from_secs(1), "{:?}", ended.elapsed());
    }
}
