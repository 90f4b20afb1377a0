//! Who is added to a channel, or removed from one, while his sockets are open.

use crate::client::Client;
use crate::fleet::Fleet;
use crate::server::SECRET;
use broker::{Append, Appended, Broker, Embedded, Nats, NatsOptions, Options};
use bytes::Bytes;
use protocol::envelope::{ChannelFacts, ChannelType, Envelope, Kind, MemberFacts, Role};
use protocol::ids::{ChannelId, MessageId, UserId};
use protocol::message::Sender;
use protocol::time::Timestamp;
use runtime::config::Secret;
use runtime::shutdown::Shutdown;
use runtime::stop;
use serde::Serialize;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use store::{Sqlite, Store};
use tokio::net::TcpStream;

/// How often a member comes and goes.
const ROUNDS: usize = 3;

/// Within which a change takes effect. Architecture page.
const EFFECT: Duration = Duration::from_secs(2);

/// Everything in this process, or a fleet; and its log, for facts that no client can command yet.
enum System {
    Embedded { broker: Broker, store: Store, listen: SocketAddr, shutdown: Shutdown },
    Nats { broker: Broker, fleet: Fleet, shutdown: Shutdown },
}

impl System {
    /// What the standalone program starts, in its order. The program itself owns its log, and nobody else can write it.
    async fn embedded(data: &Path) -> Self {
        let shutdown = Shutdown::new();
        let log = Embedded::open_watched(&data.join("log"), Options::default(), &shutdown).unwrap();
        let broker = Broker::Embedded(log);
        let store = Store::Sqlite(Sqlite::open(&data.join("store.db"), &shutdown).unwrap());
        worker::start(&worker::Config::default(), &broker, &store, &shutdown).await.unwrap();
        worker::seed::development(&broker, &store).await.unwrap();
        let config = gateway::Config {
            debug: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            jwt_signing_key: Secret::new(SECRET),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            reactors: 2,
            connections_max: 100,
            connections_per_address_max: 100,
            connections_per_user_max: 100,
            drain_window: Duration::ZERO,
            echo: false,
        };
        let gateway = gateway::start(config, broker.clone(), Vec::new(), &shutdown).await.unwrap();
        Self::Embedded { broker, store, listen: gateway.listen, shutdown }
    }

    async fn nats(data: &Path) -> Self {
        let (fleet, shutdown) = (Fleet::start(data), Shutdown::new());
        let broker = Nats::connect(NatsOptions::new(fleet.nats()), &shutdown).await.unwrap();
        Self::Nats { broker: Broker::Nats(broker), fleet, shutdown }
    }

    fn broker(&self) -> &Broker {
        match self {
            Self::Embedded { broker, .. } | Self::Nats { broker, .. } => broker,
        }
    }

    fn gateways(&self) -> Vec<SocketAddr> {
        match self {
            Self::Embedded { listen, .. } => vec![*listen],
            Self::Nats { fleet, .. } => fleet.gateways(),
        }
    }

    async fn stop(self) {
        match self {
            Self::Embedded { broker, store, shutdown, .. } => {
                shutdown.trigger();
                let closings: Vec<stop::Closing<'_>> =
                    vec![("log", Box::pin(broker.drain())), ("store", Box::pin(store.close()))];
                stop::wait_and_stop(&shutdown, stop::Config::at_once(), closings).await;
                assert!(!shutdown.has_failed());
            }
            Self::Nats { broker, fleet, shutdown } => {
                broker.drain().await;
                shutdown.enter(runtime::shutdown::Stage::Closing);
                tokio::task::block_in_place(|| fleet.stop());
            }
        }
    }

    async fn happens(&self, kind: Kind, channel: &str, body: &impl Serialize) {
        let mut random = [0; 10];
        getrandom::fill(&mut random).unwrap();
        let at = runtime::clock::now_unix_ms();
        let envelope = Envelope {
            kind,
            channel_id: ChannelId::parse(channel).unwrap(),
            by: UserId::parse("dispatcher-1").unwrap(),
            at: Timestamp::from_unix_ms(at),
            message_id: MessageId::v7(at, &random),
            client_msg_id: None,
            content_hash: 0,
            body: serde_json::value::to_raw_value(body).unwrap(),
        };
        let append = Append {
            channel: envelope.channel_id.clone(),
            dedup_key: envelope.dedup_key(),
            envelope: Bytes::from(envelope.encode().unwrap()),
            expect: None,
        };
        let appended = self.broker().append(append).await.unwrap();
        assert!(matches!(appended, Appended::New { .. }), "{appended:?}");
    }

    async fn describe(&self, channel: &str) {
        let facts = ChannelFacts { name: "Bay 4".to_owned(), channel_type: ChannelType::Shipment };
        self.happens(Kind::ChannelUpdated, channel, &facts).await;
    }

    async fn member(&self, kind: Kind, channel: &str, who: &str) {
        let user = Sender { id: UserId::parse(who).unwrap(), name: who.to_owned(), email: String::new() };
        self.happens(kind, channel, &MemberFacts { user, role: Role::Member }).await;
    }
}

fn message(channel: &str, content: &str) -> Value {
    json!({"type": "send_message", "channel_id": channel, "content": content, "ref": content})
}

/// Receives until a message with this content comes; returns the frames before it.
async fn until_message(client: &mut Client, content: &str) -> Vec<Value> {
    let mut before = Vec::new();
    loop {
        let frame = client.next().await;
        if frame["message"]["content"] == content {
            return before;
        }
        before.push(frame);
    }
}

/// Whether a frame is about this channel.
fn is_of(frame: &Value, channel: &str) -> bool {
    frame["channel_id"] == channel || frame["message"]["channel_id"] == channel
}

/// The sockets of one driver, on every gateway and of both kinds.
struct Driver {
    v1: Vec<Client>,
    classic: Vec<Client>,
}

impl Driver {
    async fn open(gateways: &[SocketAddr]) -> Self {
        let (mut v1, mut classic) = (Vec::new(), Vec::new());
        for gateway in gateways {
            v1.push(Client::open(*gateway, "driver-1").await.0);
            let stream = TcpStream::connect(gateway).await.unwrap();
            let mut client = Client::classic_over(stream, "driver-1").await.unwrap();
            client.expect("connection_established").await;
            classic.push(client);
        }
        Self { v1, classic }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Client> {
        self.v1.iter_mut().chain(&mut self.classic)
    }

    async fn is_added(&mut self, channel: &str) {
        for client in &mut self.v1 {
            let frame = client.expect("channel_joined").await;
            assert_eq!((&frame["channel_id"], &frame["reason"]), (&channel.into(), &"added".into()));
            assert_eq!((&frame["role"], &frame["ref"]), (&"MEMBER".into(), &Value::Null));
        }
        for client in &mut self.classic {
            let expected = json!({"type": "channel_joined", "channel_id": channel});
            assert_eq!(client.expect("channel_joined").await, expected);
        }
    }

    async fn is_removed(&mut self, channel: &str) {
        for client in &mut self.v1 {
            let expected = json!({"type": "channel_left", "channel_id": channel, "reason": "removed"});
            assert_eq!(client.expect("channel_left").await, expected);
        }
        for client in &mut self.classic {
            let expected = json!({"type": "channel_left", "channel_id": channel});
            assert_eq!(client.expect("channel_left").await, expected);
        }
    }
}

async fn members_come_and_go(system: System) {
    let gateways = system.gateways();
    let mut driver = Driver::open(&gateways).await;
    let (mut dispatcher, _) = Client::open(gateways[0], "dispatcher-1").await;
    system.describe("bay-4").await;
    system.member(Kind::MemberAdded, "bay-4", "dispatcher-1").await;
    assert_eq!(dispatcher.expect("channel_joined").await["channel"]["name"], "Bay 4");
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let began = Instant::now();
        system.member(Kind::MemberAdded, "bay-4", "driver-1").await;
        driver.is_added("bay-4").await;
        added.push(began.elapsed());
        let (said, secret, all) =
            (format!("said {round}"), format!("secret {round}"), format!("all {round}"));
        dispatcher.send(message("bay-4", &said)).await.unwrap();
        for client in driver.all() {
            until_message(client, &said).await;
        }
        driver.v1[0].send(message("bay-4", &format!("heard {round}"))).await.unwrap();
        driver.v1[0].expect("ack").await;

        let began = Instant::now();
        system.member(Kind::MemberRemoved, "bay-4", "driver-1").await;
        driver.is_removed("bay-4").await;
        removed.push(began.elapsed());
        dispatcher.send(message("bay-4", &secret)).await.unwrap();
        dispatcher.expect("ack").await;
        for client in &mut driver.v1 {
            client.send(message("bay-4", "refused")).await.unwrap();
            assert_eq!(client.expect("error").await["code"], "permission_denied");
            client.send(json!({"type": "fetch_history", "channel_id": "bay-4"})).await.unwrap();
            assert_eq!(client.expect("error").await["code"], "unknown_channel");
        }
        dispatcher.send(message("general", &all)).await.unwrap();
        for client in driver.all() {
            let before = until_message(client, &all).await;
            assert!(!before.iter().any(|frame| is_of(frame, "bay-4")), "after channel_left: {before:?}");
        }
    }
    // The machine may be busy with something else, but not most of the time.
    for mut times in [added, removed] {
        times.sort();
        assert!(times[ROUNDS / 2] < EFFECT, "{times:?}");
    }
    drop((driver, dispatcher));
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_added_hears_and_who_is_removed_hears_nothing_more() {
    let data = tempfile::tempdir().unwrap();
    members_come_and_go(System::embedded(data.path()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_added_hears_on_any_gateway_and_who_is_removed_on_none() {
    let data = tempfile::tempdir().unwrap();
    members_come_and_go(System::nats(data.path()).await).await;
}
