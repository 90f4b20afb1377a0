//! A client that does not read holds nobody up, is told that it lags, and catches up without gap or repetition.

use crate::client::{Arrival, Client};
use crate::server::Server;
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

#[tokio::test]
async fn a_slow_v1_client_lags_resumes_and_misses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let mut slow = Follower::open(server.listen).await;
    let mut acked = write(server.listen, MESSAGES).await;
    while slow.last < acked[MESSAGES - 1] {
        slow.step().await;
    }
    acked.extend(write(server.listen, 1).await);
    let live = slow.client.expect("chat_message").await;
    slow.take(&live);
    assert_eq!(slow.seen, acked, "the channel is live again and nothing is missing");
    assert!(slow.laggings > 0, "the client was slow");
}

#[tokio::test]
async fn a_slow_classic_client_is_closed_to_come_back() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let stream = narrow(server.listen).await;
    let mut slow = Client::classic_over(stream, "driver-1").await.unwrap();
    slow.expect("connection_established").await;
    write(server.listen, MESSAGES).await;
    assert_eq!(slow.close_code().await, Some(4009));
}
