//! Broken and slow clients get their answer, and an honest pair goes on chatting beside them.

use crate::client::{Client, token};
use crate::system::{Mode, System};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How long an attacker may live.
const ATTACKER_DEADLINE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_clients_end_and_an_honest_pair_goes_on() {
    goes_on_beside_hostile_clients(Mode::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_clients_of_one_gateway_end_and_a_pair_on_two_goes_on() {
    goes_on_beside_hostile_clients(Mode::Nats).await;
}

async fn goes_on_beside_hostile_clients(mode: Mode) {
    let data = tempfile::tempdir().unwrap();
    let system = tokio::task::block_in_place(|| System::start(mode, data.path()));
    let (to, other) = system.two_gateways();
    let (stop, stopped) = watch::channel(false);
    let honest = tokio::spawn(chat(to, other, stopped));
    let mut attackers = Vec::new();
    for (name, frame, code) in broken_frames() {
        attackers.push(tokio::spawn(async move {
            assert_eq!(close_code_after(to, &frame).await, Some(code), "{name}");
        }));
    }
    attackers.push(tokio::spawn(slow_headers(to)));
    attackers.push(tokio::spawn(endless_header(to)));
    attackers.push(tokio::spawn(silent(to)));
    for attacker in attackers {
        attacker.await.unwrap();
    }
    stop.send_replace(true);
    let exchanged = honest.await.unwrap();
    assert!(exchanged > 100, "the honest pair hardly chatted: {exchanged}");
    tokio::task::block_in_place(|| system.stop());
}

/// Each breaks RFC 6455 or a limit in its own way, with the close code that it must get.
fn broken_frames() -> Vec<(&'static str, Vec<u8>, u16)> {
    let masked = |first: u8, payload: &[u8]| {
        let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        frame
    };
    let huge_length = [&[0x81, 0xff][..], &(64_u64 << 20).to_be_bytes(), &[1, 2, 3, 4]].concat();
    assert_eq!(huge_length.len(), 14);
    let negative = [&[0x81, 0xff][..], &u64::MAX.to_be_bytes(), &[1, 2, 3, 4]].concat();
    vec![
        ("unmasked", vec![0x81, 2, b'{', b'}'], 1002),
        ("reserved bit", masked(0xc1, b"{}"), 1002),
        ("reserved opcode", masked(0x83, b"{}"), 1002),
        ("reserved control opcode", masked(0x8b, b""), 1002),
        ("fragmented ping", masked(0x09, b""), 1002),
        ("long ping", [&[0x89, 0xfe, 0, 126, 0, 0, 0, 0][..], &[0; 126]].concat(), 1002),
        ("continuation of nothing", masked(0x80, b"{}"), 1002),
        ("a message inside a message", [masked(0x01, b"{"), masked(0x81, b"}")].concat(), 1002),
        ("text that is not UTF-8", masked(0x81, &[0xff, 0xfe]), 1007),
        ("binary", masked(0x82, b"{}"), 1003),
        ("64 MiB in 14 bytes", huge_length, 1009),
        ("more than can be", negative, 1002),
        ("one-byte close", masked(0x88, &[3]), 1002),
        (
            "endless fragments",
            [vec![masked(0x01, b"x")], vec![masked(0x00, b"x"); 80]].concat().concat(),
            4501,
        ),
        ("ping flood", vec![masked(0x89, b"?"); 101].concat(), 4501),
        ("pong flood", vec![masked(0x8a, b""); 101].concat(), 4501),
    ]
}

/// Sends `frame` on an open socket and returns the code of the server's close frame.
async fn close_code_after(to: SocketAddr, frame: &[u8]) -> Option<u16> {
    let mut socket = upgraded(to).await;
    socket.write_all(frame).await.unwrap();
    let mut bytes = Vec::new();
    let whole = tokio::time::timeout(ATTACKER_DEADLINE, socket.read_to_end(&mut bytes)).await;
    whole.expect("the server ends the socket").unwrap();
    // The close frame is the last thing: 0x88, length, two bytes of code, perhaps a reason.
    let at = bytes.windows(2).rposition(|pair| pair[0] == 0x88 && pair[1] >= 2 && pair[1] < 126)?;
    Some(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]))
}

async fn upgraded(to: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let request = format!(
        "GET /ws/chat/ HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: safeshipper.v1.json\r\nAuthorization: Bearer {}\r\n\r\n",
        token("driver-2")
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    socket
}

/// One byte of a header now and then: the server does not wait for ever.
async fn slow_headers(to: SocketAddr) {
    let mut socket = TcpStream::connect(to).await.unwrap();
    socket.write_all(b"GET /ws/chat/ HTTP/1.1\r\nX-Slow: ").await.unwrap();
    let (mut reader, mut writer) = socket.split();
    let mut answer = Vec::new();
    let drip = async {
        while writer.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        std::future::pending::<()>().await;
    };
    let ended = async {
        tokio::select! {
            // A reset is an end too: the drip may hit the closed socket first.
            _ended_or_reset = reader.read_to_end(&mut answer) => {}
            () = drip => {}
        }
    };
    tokio::time::timeout(ATTACKER_DEADLINE, ended).await.expect("slow headers are cut off");
    assert!(answer.is_empty() || !answer.starts_with(b"HTTP/1.1 101"));
}

/// A header above the limit is refused with an HTTP answer or an end.
async fn endless_header(to: SocketAddr) {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let long = format!("GET /ws/chat/ HTTP/1.1\r\nX-Long: {}\r\n\r\n", "a".repeat(64 * 1024));
    // The server may end the socket before it has taken everything.
    let _cut_off = socket.write_all(long.as_bytes()).await;
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(ATTACKER_DEADLINE, socket.read_to_end(&mut answer)).await;
    let _ended_or_reset = ended.expect("a long header is cut off");
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
}

/// A socket that never says a word is cut off.
async fn silent(to: SocketAddr) {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(ATTACKER_DEADLINE, socket.read_to_end(&mut answer)).await;
    let _ended_or_reset = ended.expect("silence is cut off");
}

/// Two people chat until they are told to stop; each message must arrive.
async fn chat(to: SocketAddr, there: SocketAddr, stopped: watch::Receiver<bool>) -> usize {
    let (mut one, _) = Client::open(to, "driver-1").await;
    let (mut other, _) = Client::open(there, "dispatcher-1").await;
    let mut exchanged = 0;
    while !*stopped.borrow() {
        let content = format!("honest {exchanged}");
        let frame = json!({"type": "send_message", "channel_id": "general", "content": content});
        one.send(frame).await.unwrap();
        one.expect("ack").await;
        assert_eq!(other.expect("chat_message").await["message"]["content"], content);
        exchanged += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    exchanged
}
