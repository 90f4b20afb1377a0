//! Sockets that resume: what they cost together, and who is asked for what no log has.

use super::{append, channel};
use crate::hub::ConnectionId;
use crate::upstream::pages::Start;
use crate::upstream::{Ask, BATCHES, Page, PageAsked, Tell, Upstream};
use broker::{Broker, Embedded, Options};
use bytes::Bytes;
use protocol::codes::ErrorCode;
use protocol::frames::Dialect;
use protocol::ids::{Epoch, Position, Seq};
use protocol::requests::{self, Answer, DeletedAnswer, EventsAnswer, EventsPage, EventsRequest, PlacedEvent};
use protocol::subjects::RequestSubject;
use runtime::shutdown::Shutdown;
use serde_json::value::RawValue;
use std::collections::{HashSet, VecDeque};
use std::time::Duration;
use tokio::sync::mpsc;

/// An upstream with one reactor that hears the channel from its head on.
pub(super) struct World {
    pub(super) broker: Broker,
    pub(super) asks: mpsc::Sender<Ask>,
    told: mpsc::Receiver<Vec<Tell>>,
    waiting: VecDeque<Tell>,
    shutdown: Shutdown,
    _data: tempfile::TempDir,
}

impl World {
    async fn new(logged: usize) -> Self {
        let data = tempfile::tempdir().unwrap();
        let broker = Broker::Embedded(Embedded::open(data.path(), Options::default()).unwrap());
        for number in 0..logged {
            broker.append(append(number, 10)).await.unwrap();
        }
        Self::on(broker, data).await
    }

    pub(super) async fn on(broker: Broker, data: tempfile::TempDir) -> Self {
        let (asks, asked) = mpsc::channel(1_024);
        let (tells, told) = mpsc::channel(BATCHES);
        let upstream = Upstream::open(broker.clone(), asked, vec![tells]).await.unwrap();
        let shutdown = Shutdown::new();
        shutdown.spawn("upstream", upstream.run());
        let mut world = Self { broker, asks, told, waiting: VecDeque::new(), shutdown, _data: data };
        world.asks.send(Ask::Subscribe { reactor: 0, channel: channel(), ticket: 1 }).await.unwrap();
        assert!(matches!(world.next().await, Tell::Subscribed { .. }));
        world
    }

    pub(super) async fn next(&mut self) -> Tell {
        while self.waiting.is_empty() {
            let batch = tokio::time::timeout(Duration::from_secs(10), self.told.recv()).await;
            self.waiting.extend(batch.expect("something is told").expect("upstream runs"));
        }
        self.waiting.pop_front().unwrap()
    }

    async fn page(&mut self) -> Page {
        match self.next().await {
            Tell::Page { page, .. } => page,
            _ => panic!("a page"),
        }
    }

    pub(super) fn asked(&self, connection: u64, position: &Position) -> Ask {
        let start = Start { channel: channel(), position: position.clone() };
        let connection = ConnectionId(connection);
        Ask::Page(PageAsked { reactor: 0, connection, dialect: Dialect::V1Json, start, alone: false })
    }

    /// Answers whoever asks a worker.
    pub(super) async fn serve(
        &self,
        answer: impl Fn(EventsRequest) -> Answer<EventsAnswer> + Send + 'static,
    ) {
        let mut deleted = self.broker.serve(RequestSubject::Deleted).await.unwrap();
        self.shutdown.spawn("worker", async move {
            while let Some(request) = deleted.next().await {
                let nothing: Answer<DeletedAnswer> = Ok(DeletedAnswer { deleted: Vec::new() });
                request.reply.send(Bytes::from(requests::encode(&nothing).unwrap()));
            }
        });
        let mut server = self.broker.serve(RequestSubject::Events).await.unwrap();
        self.shutdown.spawn("worker", async move {
            while let Some(request) = server.next().await {
                let answer = answer(requests::decode(&request.payload).unwrap());
                request.reply.send(Bytes::from(requests::encode(&answer).unwrap()));
            }
        });
    }
}

fn ends(page: &Page) -> (&'static str, Vec<Seq>) {
    let (name, frame) = match page {
        Page::Failed => return ("failed", Vec::new()),
        Page::Last(None) => return ("nothing", Vec::new()),
        Page::Last(Some(frame)) => ("last", frame),
        Page::More(frame) => ("more", frame),
    };
    let json = frame.iter().position(|byte| *byte == b'{').unwrap();
    let frame: serde_json::Value = serde_json::from_slice(&frame[json..]).unwrap();
    let name = if frame["reset"] == true { "reset" } else { name };
    (name, frame["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect())
}

#[tokio::test]
async fn ten_thousand_sockets_that_resume_together_share_one_page() {
    const SOCKETS: u64 = 10_000;
    let mut world = World::new(5).await;
    let head = world.broker.head(&channel()).await.unwrap();
    let position = Position { seq: head.seq - 3, ..head };
    let asks: Vec<_> = (0..SOCKETS).map(|connection| world.asked(connection, &position)).collect();
    let sender = world.asks.clone();
    let send = async {
        for ask in asks {
            sender.send(ask).await.unwrap();
        }
    };
    let take = async {
        let (mut frames, mut sockets) = (HashSet::new(), HashSet::new());
        for _ in 0..SOCKETS {
            match world.next().await {
                Tell::Page { connection, page: Page::Last(Some(frame)), .. } => {
                    sockets.insert(connection);
                    frames.insert(frame.as_ptr());
                }
                _ => panic!("a last page"),
            }
        }
        (frames.len(), sockets.len())
    };
    let ((), shared) = tokio::join!(send, take);
    assert_eq!(shared, (1, 10_000));
}

#[tokio::test]
async fn who_stands_in_an_earlier_life_of_the_log_is_answered_by_a_worker() {
    let mut world = World::new(2).await;
    let head = world.broker.head(&channel()).await.unwrap();
    let earlier = Epoch::new(1, 1);
    let place = |seq| Position { epoch: Epoch::new(1, 1), seq };
    world.asks.send(world.asked(1, &place(7))).await.unwrap();
    assert_eq!(ends(&world.page().await).0, "failed", "nobody serves");
    let envelope = append(7, 10).envelope;
    let logged = RawValue::from_string(String::from_utf8(envelope.to_vec()).unwrap()).unwrap();
    let known = head.clone();
    let page = move |EventsRequest { after, head, .. }: EventsRequest| {
        assert_eq!(head, known);
        let (epoch, seqs, more) = match after.seq {
            7 => (earlier.clone(), vec![8, 9], true),
            9 => (known.epoch.clone(), vec![1, 2], false),
            10 => return Err(ErrorCode::Unavailable),
            _ => return Ok(EventsAnswer::Unknown),
        };
        let reached = seqs[1];
        let events = seqs.into_iter().map(|seq| PlacedEvent { seq, envelope: logged.clone() }).collect();
        Ok(EventsAnswer::Page(EventsPage { epoch, events, reached, more }))
    };
    world.serve(page).await;
    let expected = [
        (7, ("more", vec![8, 9])),
        (9, ("last", vec![1, 2])),
        (10, ("failed", vec![])),
        (11, ("reset", vec![])),
    ];
    for (seq, expected) in expected {
        world.asks.send(world.asked(1, &place(seq))).await.unwrap();
        assert_eq!(ends(&world.page().await), expected, "from {seq}");
    }
    // Whoever has everything is Live: the next event is pushed.
    world.broker.append(append(8, 10)).await.unwrap();
    assert!(matches!(world.next().await, Tell::Event(event) if event.seq() == head.seq + 1));
}
