//! Requests and answers.

use crate::world::{World, in_time, text};
use broker::{Broker, RequestError, Server};
use bytes::Bytes;
use protocol::codes::ErrorCode;
use protocol::subjects::RequestSubject;
use std::collections::BTreeSet;
use std::time::Duration;

const SUBJECT: RequestSubject = RequestSubject::History;
const LONG: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(100);

async fn ask(broker: &Broker, question: &str, deadline: Duration) -> Result<String, RequestError> {
    let payload = Bytes::copy_from_slice(question.as_bytes());
    let answer = in_time("a request", broker.request(SUBJECT, payload, deadline)).await;
    answer.map(|bytes| text(&bytes))
}

/// Answers everything with `name` and the question.
fn serve(mut server: Server, name: &'static str) -> tokio::task::JoinHandle<usize> {
    tokio::spawn(async move {
        let mut served = 0;
        while let Some(request) = server.next().await {
            request.reply.send(Bytes::from(format!("{name}: {}", text(&request.payload))));
            served += 1;
        }
        served
    })
}

pub(crate) async fn a_request_is_answered(world: &impl World) {
    let broker = world.open().await;
    serve(broker.serve(SUBJECT).await.unwrap(), "a");
    assert_eq!(ask(&broker, "how far?", LONG).await.unwrap(), "a: how far?");
}

pub(crate) async fn a_server_knows_how_long_it_is_waited_for(world: &impl World) {
    let broker = world.open().await;
    let mut server = broker.serve(SUBJECT).await.unwrap();
    let served = async {
        let request = in_time("a request", server.next()).await.unwrap();
        let before = request.reply.time_left().unwrap();
        tokio::time::sleep(SHORT).await;
        let after = request.reply.time_left().unwrap();
        request.reply.send(Bytes::from_static(b"done"));
        (before, after)
    };
    let (answer, (before, after)) = tokio::join!(ask(&broker, "how long?", LONG), served);
    assert_eq!(answer.unwrap(), "done");
    assert!(before > LONG / 2 && before <= LONG && before - after >= SHORT, "{before:?}, {after:?}");
}

pub(crate) async fn servers_of_a_subject_share_its_requests(world: &impl World) {
    let broker = world.open().await;
    let one = serve(broker.serve(SUBJECT).await.unwrap(), "a");
    let other = serve(broker.serve(SUBJECT).await.unwrap(), "b");
    let asked = (0..200).map(|n| {
        let broker = broker.clone();
        tokio::spawn(async move { ask(&broker, &n.to_string(), LONG).await.unwrap() })
    });
    for answer in asked.collect::<Vec<_>>() {
        answer.await.unwrap();
    }
    // A server may have slept through all of that, but not for ever.
    let (mut asked, mut names) = (200, BTreeSet::new());
    let both = async {
        while names.len() < 2 {
            let answer = ask(&broker, "who?", LONG).await.unwrap();
            names.insert(answer);
            asked += 1;
        }
    };
    in_time("work for both", both).await;
    broker.drain().await;
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a: who?", "b: who?"]);
    let served = one.await.unwrap() + other.await.unwrap();
    assert_eq!(served, asked, "each is served once");
}

pub(crate) async fn nobody_serves(world: &impl World) {
    let broker = world.open().await;
    assert_eq!(ask(&broker, "anybody?", LONG).await, Err(RequestError::NoResponders));
    assert_eq!(RequestError::NoResponders.code(), ErrorCode::Unavailable);
    drop(broker.serve(SUBJECT).await.unwrap());
    assert_eq!(ask(&broker, "anybody?", LONG).await, Err(RequestError::NoResponders));
}

pub(crate) async fn a_late_answer_is_a_missed_deadline(world: &impl World) {
    let broker = world.open().await;
    let mut server = broker.serve(SUBJECT).await.unwrap();
    assert_eq!(ask(&broker, "soon?", SHORT).await, Err(RequestError::Deadline));
    // The answer that comes too late disturbs nobody.
    let request = in_time("the question", server.next()).await.unwrap();
    request.reply.send(Bytes::from_static(b"late"));
    serve(server, "a");
    assert_eq!(ask(&broker, "now?", LONG).await.unwrap(), "a: now?");
}

pub(crate) async fn a_dropped_reply_is_told(world: &impl World) {
    let broker = world.open().await;
    let mut server = broker.serve(SUBJECT).await.unwrap();
    let dropping = tokio::spawn(async move {
        drop(server.next().await);
        server
    });
    assert_eq!(ask(&broker, "hello?", LONG).await, Err(RequestError::GivenUp));
    dropping.await.unwrap();
}

pub(crate) async fn waiting_requests_are_bounded(world: &impl World) {
    let broker = world.open().await;
    let _idle = broker.serve(SUBJECT).await.unwrap();
    let asked = (0..20_000).map(|_| {
        let broker = broker.clone();
        tokio::spawn(async move { ask(&broker, "?", Duration::from_secs(1)).await })
    });
    let (mut full, mut late) = (0, 0);
    for answer in asked.collect::<Vec<_>>() {
        match answer.await.unwrap() {
            Err(RequestError::Full) => full += 1,
            Err(RequestError::Deadline) => late += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(full > 0 && late > 0, "{full} refused at once, {late} waited");
    assert_eq!(RequestError::Full.code(), ErrorCode::Unavailable);
    assert_eq!(RequestError::Deadline.code(), ErrorCode::UnknownOutcome);
}

pub(crate) async fn a_server_that_leaves_answers_what_it_has_and_gets_no_more(world: &impl World) {
    let broker = world.open().await;
    let mut leaving = broker.serve(SUBJECT).await.unwrap();
    let asked: Vec<_> = (0..50)
        .map(|n| {
            let broker = broker.clone();
            tokio::spawn(async move { ask(&broker, &n.to_string(), LONG).await })
        })
        .collect();
    let first = in_time("the first question", leaving.next()).await.unwrap();
    first.reply.send(Bytes::from_static(b"a: first"));
    tokio::time::sleep(SHORT).await;
    leaving.leave();
    let mut served = 1;
    while let Some(request) = in_time("the end", leaving.next()).await {
        request.reply.send(Bytes::from_static(b"a: before"));
        served += 1;
    }
    assert_eq!(served, 50);
    for answer in asked {
        assert!(answer.await.unwrap().unwrap().starts_with("a: "));
    }
    // It is still there, and asked nothing.
    assert_eq!(ask(&broker, "anybody?", LONG).await, Err(RequestError::NoResponders));
    serve(broker.serve(SUBJECT).await.unwrap(), "b");
    assert_eq!(ask(&broker, "who?", LONG).await.unwrap(), "b: who?");
    drop(leaving);
}

pub(crate) async fn what_a_server_did_not_begin_goes_to_another(world: &impl World) {
    let broker = world.open().await;
    let (idle, other) = (broker.serve(SUBJECT).await.unwrap(), broker.serve(SUBJECT).await.unwrap());
    let asked: Vec<_> = (0..200)
        .map(|n| {
            let broker = broker.clone();
            tokio::spawn(async move { ask(&broker, &n.to_string(), LONG).await })
        })
        .collect();
    let serving = serve(other, "b");
    tokio::time::sleep(SHORT).await;
    drop(idle);
    for (n, answer) in asked.into_iter().enumerate() {
        assert_eq!(answer.await.unwrap(), Ok(format!("b: {n}")));
    }
    broker.drain().await;
    assert_eq!(serving.await.unwrap(), 200, "each is served once");
}

pub(crate) async fn what_was_asked_before_a_drain_is_answered(world: &impl World) {
    let broker = world.open().await;
    let mut server = broker.serve(SUBJECT).await.unwrap();
    let asked: Vec<_> = (0..50)
        .map(|n| {
            let broker = broker.clone();
            tokio::spawn(async move { ask(&broker, &n.to_string(), LONG).await })
        })
        .collect();
    // The first one was taken when the others wait behind it or still come.
    let first = in_time("the first question", server.next()).await.unwrap();
    broker.drain().await;
    first.reply.send(Bytes::from_static(b"a: first"));
    let serving = serve(server, "a");
    let mut answered = 0;
    for answer in asked {
        match answer.await.unwrap() {
            Ok(answer) => {
                assert!(answer.starts_with("a: "));
                answered += 1;
            }
            Err(error) => assert_eq!(error, RequestError::Closed, "refused at once, not forgotten"),
        }
    }
    assert_eq!(in_time("the end of a server", serving).await.unwrap() + 1, answered);
}

pub(crate) async fn a_drain_ends_servers(world: &impl World) {
    let broker = world.open().await;
    let mut server = broker.serve(SUBJECT).await.unwrap();
    broker.drain().await;
    assert!(in_time("the end of a server", server.next()).await.is_none());
    assert_eq!(ask(&broker, "still there?", LONG).await, Err(RequestError::Closed));
    assert!(broker.serve(SUBJECT).await.is_err());
}
