//! A v1 client on tungstenite, as thin as a stranger's first program.

use crate::server::SECRET;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

/// How long a frame may take before the test fails.
const FRAME_DEADLINE: Duration = Duration::from_secs(15);

/// One socket.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
}

/// Whether a client holds positions when it connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    Fresh,
    Resuming,
}

/// A token as the issuer of the old application would sign it.
pub(crate) fn token(user: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let claims = json!({ "user_id": user, "exp": now + 900, "token_type": "access" });
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

impl Client {
    /// Connects; the caller still has to receive `connection_established`.
    pub(crate) async fn connect(to: SocketAddr, user: &str, arrival: Arrival) -> Result<Self, Error> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Self::over(stream, user, arrival).await
    }

    /// Connects as the old pages do.
    pub(crate) async fn classic_over(stream: TcpStream, user: &str) -> Result<Self, Error> {
        let to = stream.peer_addr()?;
        let request = format!("ws://{to}/ws/chat/?token={}", token(user)).into_client_request()?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Self { socket })
    }

    /// Connects over a stream of the caller's.
    pub(crate) async fn over(stream: TcpStream, user: &str, arrival: Arrival) -> Result<Self, Error> {
        let to = stream.peer_addr()?;
        let query = if arrival == Arrival::Resuming { "?resume=1" } else { "" };
        let mut request = format!("ws://{to}/ws/chat/{query}").into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", "safeshipper.v1.json".parse().unwrap());
        headers.insert("authorization", format!("Bearer {}", token(user)).parse().unwrap());
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Self { socket })
    }

    /// Connects to a server that is there and returns the first frame too.
    pub(crate) async fn open(to: SocketAddr, user: &str) -> (Self, Value) {
        let mut client = Self::connect(to, user, Arrival::Fresh).await.unwrap();
        let first = client.expect("connection_established").await;
        (client, first)
    }

    /// Connects to a server that may have lost what it needs a moment ago, as a client does: it comes back.
    pub(crate) async fn arrive(to: SocketAddr, user: &str) -> (Self, Value) {
        let arrived = async {
            loop {
                if let Ok(mut client) = Self::connect(to, user, Arrival::Fresh).await
                    && let Ok(first) = client.receive().await
                {
                    assert_eq!(first["type"], "connection_established", "{first}");
                    return (client, first);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(2 * FRAME_DEADLINE, arrived).await.expect("nobody lets a client in")
    }

    pub(crate) async fn send(&mut self, frame: Value) -> Result<(), Error> {
        self.socket.send(Message::text(frame.to_string())).await
    }

    /// The next frame; an error when the socket is gone, in whatever way.
    pub(crate) async fn receive(&mut self) -> Result<Value, Error> {
        loop {
            match self.socket.next().await.unwrap_or(Err(Error::ConnectionClosed))? {
                Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
                Message::Close(_) => return Err(Error::ConnectionClosed),
                _ => {}
            }
        }
    }

    /// The next frame, in time.
    pub(crate) async fn next(&mut self) -> Value {
        let frame = tokio::time::timeout(FRAME_DEADLINE, self.receive()).await;
        frame.expect("no frame in time").expect("the socket is open")
    }

    /// The next frame of this type; others are passed over.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        tokio::time::timeout(FRAME_DEADLINE, async {
            loop {
                let frame = self.receive().await.unwrap_or_else(|error| panic!("no {kind}: {error}"));
                if frame["type"] == kind {
                    return frame;
                }
            }
        })
        .await
        .unwrap_or_else(|_| panic!("no {kind} in time"))
    }

    /// The code of the close frame that ends the socket; frames before it are passed over.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        let ended = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                }
            }
        };
        tokio::time::timeout(FRAME_DEADLINE, ended).await.expect("no close in time")
    }

    /// The answer of this type to a frame with a `ref`, which is sent again while that is said to be unavailable.
    pub(crate) async fn answered(&mut self, question: Value, kind: &str) -> Value {
        let asked = async {
            loop {
                self.send(question.clone()).await.unwrap();
                let frame = loop {
                    let frame = self.receive().await.unwrap_or_else(|error| panic!("no {kind}: {error}"));
                    if frame["ref"] == question["ref"] {
                        break frame;
                    }
                };
                if frame["type"] == kind {
                    return frame;
                }
                assert_eq!(frame["code"], "unavailable", "{frame}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(FRAME_DEADLINE, asked).await.unwrap_or_else(|_| panic!("no {kind} in time"))
    }

    /// All messages of a channel, oldest first, page by page.
    pub(crate) async fn whole_history(&mut self, channel: &str) -> Vec<Value> {
        let mut messages: Vec<Value> = Vec::new();
        loop {
            let mut frame = json!({"type": "fetch_history", "ref": "h", "channel_id": channel, "limit": 200});
            if let Some(oldest) = messages.first() {
                frame["before"] = json!({"epoch": oldest["epoch"], "seq": oldest["seq"]});
            }
            let page = self.answered(frame, "history").await;
            let mut older = page["messages"].as_array().unwrap().clone();
            older.append(&mut messages);
            messages = older;
            if page["more"] == false {
                return messages;
            }
        }
    }
}
