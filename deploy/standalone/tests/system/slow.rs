//! A client that does not read holds nobody up, is told that it lags, and catches up without gap or repetition.

use crate::client::{Arrival, Client};
use crate::system::{Mode, System};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::{TcpSocket, TcpStream};

/// More of the largest messages than a socket's buffers and its outbox hold together.
const MESSAGES: usize = 60;

/// A connection whose kernel holds little for a client that does not read.
async fn narrow(to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.connect(to).await.unwrap()
}

/// Sends messages of 8,000 characters of four bytes, each after the acknowledgement of the one before; returns
/// their positions.
async fn write(to: SocketAddr, count: usize) -> Vec<u64> {
    let (mut writer, _) = Client::open(to, "dispatcher-1").await;
    let mut acked = Vec::new();
    for _ in 0..count {
        let content = "🚚".repeat(8_000);
        let frame = json!({"type": "send_message", "channel_id": "general", "content": content});
        writer.send(frame).await.unwrap();
        acked.push(writer.expect("ack").await["seq"].as_u64().unwrap());
    }
    acked
}

/// Somebody who follows one channel by the book.
struct Follower {
    client: Client,
    epoch: Value,
    last: u64,
    seen: Vec<u64>,
    laggings: usize,
}

impl Follower {
    async fn open(to: SocketAddr) -> Self {
        let mut client = Client::over(narrow(to).await, "driver-1", Arrival::Fresh).await.unwrap();
        let first = client.expect("connection_established").await;
        let mut channels = first["channels"].as_array().unwrap().iter();
        let general = channels.find(|one| one["channel_id"] == "general").unwrap();
        let (epoch, last) = (general["epoch"].clone(), general["seq"].as_u64().unwrap());
        Self { client, epoch, last, seen: Vec::new(), laggings: 0 }
    }

    /// Takes one frame and does what a client does about it.
    async fn step(&mut self) {
        let frame = self.client.receive().await.unwrap();
        match frame["type"].as_str().unwrap() {
            "chat_message" => self.take(&frame),
            "resumed" => {
                assert_eq!(frame["reset"], false);
                frame["events"].as_array().unwrap().iter().for_each(|event| self.take(event));
                if frame["more"] == true {
                    self.resume().await;
                }
            }
            "lagging" => {
                self.laggings += 1;
                assert_eq!(frame["channels"].as_array().unwrap().len(), 1);
                assert_eq!(frame["channels"][0]["channel_id"], "general");
                assert!(frame["channels"][0]["seq"].as_u64().unwrap() > self.last);
                self.resume().await;
            }
            _ => {}
        }
    }

    fn take(&mut self, event: &Value) {
        assert_eq!(event["prev"].as_u64(), Some(self.last), "the chain is unbroken");
        self.last = event["seq"].as_u64().unwrap();
        self.seen.push(self.last);
    }

    async fn resume(&mut self) {
        let position = json!({"channel_id": "general", "epoch": self.epoch, "seq": self.last});
        self.client.send(json!({"type": "resume", "channels": [position]})).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_v1_client_lags_resumes_and_misses_nothing() {
    lags_and_resumes(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_v1_client_of_another_gateway_lags_resumes_and_misses_nothing() {
    lags_and_resumes(Mode::Nats).await;
}

async fn lags_and_resumes(mode: Mode) {
    let data = tempfile::tempdir().unwrap();
    let system = tokio::task::block_in_place(|| System::start(mode, data.path()));
    let (here, there) = system.two_gateways();
    let mut slow = Follower::open(there).await;
    let mut acked = write(here, MESSAGES).await;
    while slow.last < acked[MESSAGES - 1] {
        slow.step().await;
    }
    acked.extend(write(here, 1).await);
    let live = slow.client.expect("chat_message").await;
    slow.take(&live);
    assert_eq!(slow.seen, acked, "the channel is live again and nothing is missing");
    assert!(slow.laggings > 0, "the client was slow");
    tokio::task::block_in_place(|| system.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_classic_client_is_closed_to_come_back() {
    closes_a_slow_classic_client(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_classic_client_of_another_gateway_is_closed_to_come_back() {
    closes_a_slow_classic_client(Mode::Nats).await;
}

async fn closes_a_slow_classic_client(mode: Mode) {
    let data = tempfile::tempdir().unwrap();
    let system = tokio::task::block_in_place(|| System::start(mode, data.path()));
    let (here, there) = system.two_gateways();
    let mut slow = Client::classic_over(narrow(there).await, "driver-1").await.unwrap();
    slow.expect("connection_established").await;
    write(here, MESSAGES).await;
    assert_eq!(slow.close_code().await, Some(4009));
    tokio::task::block_in_place(|| system.stop());
}
