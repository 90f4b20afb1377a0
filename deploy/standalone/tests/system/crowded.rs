//! A gateway without a place says so, and a port that is taken is not shared.

use crate::client::Client;
use crate::server::{DEADLINE, Server, command};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn who_says_nothing_takes_a_place_and_who_finds_none_is_told_when_to_come_back() {
    let data = tempfile::tempdir().unwrap();
    let mut command = command(data.path());
    command.env("SAFESHIPPER__GATEWAY__CONNECTIONS_MAX", "2");
    let server = Server::spawn(command, data.path());
    let (chatting, _) = Client::open(server.listen, "driver-1").await;
    let mut silent = Vec::new();
    // Which reactor accepts first is the kernel's affair: the question may have taken the place,
    // and the silent one been refused. Then one more is silent, until one of them has the place.
    let refused = until("HTTP/1.1 503", async || {
        silent.push(TcpStream::connect(server.listen).await.unwrap());
        answer(server.listen).await
    });
    let refused = refused.await;
    for header in ["retry-after: ", "connection: close"] {
        assert!(refused.contains(header), "{refused}");
    }
    drop(silent);
    until("HTTP/1.1 404", async || answer(server.listen).await).await;
    drop(chatting);
}

/// Asks until the answer begins so, and returns it.
async fn until(wanted: &str, mut ask: impl AsyncFnMut() -> String) -> String {
    let asking = async {
        loop {
            let answer = ask().await;
            if answer.starts_with(wanted) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.unwrap_or_else(|_| panic!("never {wanted}"))
}

/// Asks for a page that is not there and waits until the server closes.
async fn answer(to: SocketAddr) -> String {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let request = format!("GET /nothing HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = socket.read_to_string(&mut answer);
    tokio::time::timeout(DEADLINE, read).await.expect("the server closes").unwrap();
    answer.to_lowercase().replace("http/1.1", "HTTP/1.1")
}

#[tokio::test]
async fn a_port_that_is_taken_is_not_shared() {
    let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(data.path());
    let second = command(other.path()).env("LISTEN", server.listen.to_string()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stdout) + String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("cannot listen"), "{said}");
}
