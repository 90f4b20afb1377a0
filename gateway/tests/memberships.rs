//! Open sockets follow what the directory says: a real gateway on a real log, and a directory that answers what and
//! when the test wants.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test says what it expects by failing, and owns its tasks"
)]

use broker::{Append, Broker, Embedded, Options, Request, Server};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use protocol::codes::ErrorCode;
use protocol::control::Control;
use protocol::envelope::{ChannelType, Role};
use protocol::ids::{ChannelId, UserId};
use protocol::message::Sender;
use protocol::requests::{self, Answer, Membership, SessionAnswer, SessionRequest};
use protocol::requests::{VersionsAnswer, VersionsRequest};
use protocol::subjects::{RequestSubject, Slot};
use runtime::config::Secret;
use runtime::shutdown::{Shutdown, Stage};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const SECRET: &str = "a-test-key-that-is-long-enough-for-hs256";

/// How long anything may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(15);

/// How long nothing may happen before the test believes that nothing will.
const QUIET: Duration = Duration::from_millis(300);

type Socket = WebSocketStream<TcpStream>;

struct World {
    broker: Broker,
    directory: Server,
    listen: SocketAddr,
    shutdown: Shutdown,
    _data: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.enter(Stage::Closing);
    }
}

impl World {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let (data, shutdown) = (tempfile::tempdir().unwrap(), Shutdown::new());
        let log = Embedded::open_watched(data.path(), options, &shutdown).unwrap();
        let broker = Broker::Embedded(log);
        let directory = broker.serve(RequestSubject::DirectorySession).await.unwrap();
        let config = gateway::Config {
            debug: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            jwt_signing_key: Secret::new(SECRET),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            // One reactor has all sockets, so that what is asked can be counted.
            reactors: 1,
            connections_max: 1_000,
            connections_per_address_max: 1_000,
            connections_per_user_max: 1_000,
            drain_window: Duration::ZERO,
            echo: false,
        };
        let gateway = gateway::start(config, broker.clone(), Vec::new(), &shutdown).await.unwrap();
        Self { broker, directory, listen: gateway.listen, shutdown, _data: data }
    }

    async fn announce(&self, who: &[&str], version: u64) {
        let versions = who.iter().map(|who| (UserId::parse(who).unwrap(), version)).collect();
        self.broker.announce(Control::Memberships(versions)).await.unwrap();
    }

    async fn asked(&mut self) -> (SessionRequest, Request) {
        let request =
            tokio::time::timeout(DEADLINE, self.directory.next()).await.expect("nobody asks").unwrap();
        (requests::decode(&request.payload).unwrap(), request)
    }

    /// The next question, which must be one for what changed.
    async fn asked_again(&mut self, who: &str) -> Request {
        let (question, request) = self.asked().await;
        assert!(matches!(&question, SessionRequest::Again(user) if user.as_str() == who), "{question:?}");
        request
    }

    async fn nobody_asks(&mut self) {
        let asked = tokio::time::timeout(QUIET, self.directory.next()).await;
        assert!(asked.is_err(), "{asked:?}");
    }

    /// Connects, and leaves the directory's answer to the caller.
    async fn connect(&mut self, who: &str) -> (Socket, Request) {
        let stream = TcpStream::connect(self.listen).await.unwrap();
        let mut request = format!("ws://{}/ws/chat/", self.listen).into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", "safeshipper.v1.json".parse().unwrap());
        headers.insert("authorization", format!("Bearer {}", token(who)).parse().unwrap());
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let (question, request) = self.asked().await;
        assert!(
            matches!(&question, SessionRequest::Open(profile) if profile.id.as_str() == who),
            "{question:?}"
        );
        (socket, request)
    }

    /// Connects a member of `general` as of version 1.
    async fn open(&mut self, who: &str) -> Socket {
        let (mut socket, request) = self.connect(who).await;
        answer(request, who, 1, &["general"]);
        assert_eq!(next(&mut socket).await["type"], "connection_established");
        socket
    }
}

fn token(who: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({ "user_id": who, "exp": now + 900 });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

fn answer(request: Request, who: &str, version: u64, channels: &[&str]) {
    let membership = |id: &&str| Membership {
        channel_id: ChannelId::parse(id).unwrap(),
        name: (*id).to_owned(),
        channel_type: ChannelType::General,
        role: Role::Member,
        members: 2,
        muted_until: None,
        read: None,
        unread: 0,
    };
    let sender = Sender { id: UserId::parse(who).unwrap(), name: who.to_owned(), email: String::new() };
    let channels = channels.iter().map(membership).collect();
    send(request, Ok(SessionAnswer { sender, version, channels }));
}

fn send(request: Request, answer: Answer<SessionAnswer>) {
    request.reply.send(Bytes::from(requests::encode(&answer).unwrap()));
}

async fn next(socket: &mut Socket) -> Value {
    let frame = async {
        loop {
            match socket.next().await.expect("the socket is open").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, frame).await.expect("no frame in time")
}

/// Type, channel and reason of the next frame.
async fn told(socket: &mut Socket) -> [Value; 3] {
    let mut frame = next(socket).await;
    ["type", "channel_id", "reason"].map(|field| frame[field].take())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_question_is_out_for_all_sockets_of_a_user() {
    let mut world = World::new().await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(world.open("driver-1").await);
    }
    let mut other = world.open("driver-2").await;
    world.announce(&["driver-1", "driver-2", "nobody"], 1).await;
    world.nobody_asks().await;
    for _ in 0..3 {
        world.announce(&["driver-1"], 2).await;
    }
    let question = world.asked_again("driver-1").await;
    world.announce(&["driver-1"], 3).await;
    world.nobody_asks().await;
    answer(question, "driver-1", 2, &["bay-4", "general"]);
    let question = world.asked_again("driver-1").await;
    for socket in &mut sockets {
        assert_eq!(told(socket).await, ["channel_joined", "bay-4", "added"]);
    }
    answer(question, "driver-1", 3, &["bay-4"]);
    for socket in &mut sockets {
        assert_eq!(told(socket).await, ["channel_left", "general", "removed"]);
    }
    world.announce(&["driver-1"], 3).await;
    world.nobody_asks().await;
    world.announce(&["driver-2"], 2).await;
    answer(world.asked_again("driver-2").await, "driver-2", 2, &[]);
    assert_eq!(told(&mut other).await, ["channel_left", "general", "removed"], "and nothing before it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_while_a_socket_opens_is_not_missed() {
    let mut world = World::new().await;
    let (mut socket, question) = world.connect("driver-1").await;
    // Whoever connects next is told of after the announcement was taken.
    world.announce(&["driver-1"], 2).await;
    world.open("driver-2").await;
    answer(question, "driver-1", 1, &["general"]);
    answer(world.asked_again("driver-1").await, "driver-1", 2, &[]);
    assert_eq!(next(&mut socket).await["type"], "connection_established");
    assert_eq!(told(&mut socket).await, ["channel_left", "general", "removed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_cannot_answer_is_asked_again() {
    let mut world = World::new().await;
    let mut socket = world.open("driver-1").await;
    world.announce(&["driver-1"], 2).await;
    for code in [ErrorCode::Unavailable, ErrorCode::Internal] {
        send(world.asked_again("driver-1").await, Err(code));
    }
    drop(world.asked_again("driver-1").await);
    answer(world.asked_again("driver-1").await, "driver-1", 2, &[]);
    assert_eq!(told(&mut socket).await, ["channel_left", "general", "removed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_changes_at_once_are_asked_for_a_few_at_a_time() {
    let mut world = World::new().await;
    let names: Vec<String> = (0..40).map(|n| format!("user-{n}")).collect();
    let mut sockets = Vec::new();
    for name in &names {
        sockets.push(world.open(name).await);
    }
    world.announce(&names.iter().map(String::as_str).collect::<Vec<_>>(), 2).await;
    let mut open = Vec::new();
    while let Ok(request) = tokio::time::timeout(Duration::from_secs(1), world.directory.next()).await {
        open.push(request.unwrap());
    }
    assert_eq!(open.len(), 8, "the others wait for an answer");
    let mut asked = 0;
    while asked < names.len() {
        let request = match open.pop() {
            Some(request) => request,
            None => world.asked().await.1,
        };
        let SessionRequest::Again(user) = requests::decode(&request.payload).unwrap() else {
            panic!("nobody connects")
        };
        answer(request, user.as_str(), 2, &[]);
        asked += 1;
    }
    for socket in &mut sockets {
        assert_eq!(told(socket).await, ["channel_left", "general", "removed"]);
    }
    world.nobody_asks().await;
}

/// Another channel whose live copies a gateway gets that listens to `general`.
fn neighbour() -> ChannelId {
    let slot = Slot::of(&ChannelId::parse("general").unwrap());
    let mut names = (0..).map(|n| ChannelId::parse(&format!("room-{n}")).unwrap());
    names.find(|name| Slot::of(name) == slot).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_missed_an_announcement_is_found_when_something_was_lost() {
    let mut world = World::with(Options { live_queue: 1, ..Options::default() }).await;
    let mut versions = world.broker.serve(RequestSubject::DirectoryVersions).await.unwrap();
    let mut socket = world.open("driver-1").await;
    let mut other = world.open("driver-2").await;
    // Far more at once than may wait for the gateway.
    let appends = (0..500).map(|key| {
        let envelope = Bytes::from_static(b"nobody listens to it");
        world.broker.append(Append { channel: neighbour(), dedup_key: key, envelope, expect: None })
    });
    assert!(join_all(appends).await.iter().all(Result::is_ok));

    for refused in [true, false] {
        let asked = tokio::time::timeout(DEADLINE, versions.next()).await.expect("nobody checks").unwrap();
        let mut question: VersionsRequest = requests::decode(&asked.payload).unwrap();
        question.users.sort();
        assert_eq!(question.users, ["driver-1", "driver-2"].map(|who| UserId::parse(who).unwrap()));
        let answer = match refused {
            true => Err(ErrorCode::Unavailable),
            false => Ok(VersionsAnswer { versions: question.users.into_iter().zip([2, 1]).collect() }),
        };
        asked.reply.send(Bytes::from(requests::encode(&answer).unwrap()));
    }
    answer(world.asked_again("driver-1").await, "driver-1", 2, &[]);
    assert_eq!(told(&mut socket).await, ["channel_left", "general", "removed"]);
    world.nobody_asks().await;
    assert!(tokio::time::timeout(QUIET, other.next()).await.is_err(), "nothing changed for the other");
}
