//! People and tokens for a developer's own machine.
//!
//! It exists in DEBUG only: whoever holds a [`Dev`] has said so. It is not an issuer of tokens for anybody else.
//!
//! Invariant: unless the request comes from this machine, by its own name and from its own pages, the answer
//! is the one to a path that does not exist.

use super::{Answer, error, json, not_found};
use crate::api::query;
use crate::auth::Keys;
use crate::handshake::origin;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;
use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use protocol::claims::Profile;
use protocol::codes::ErrorCode;
use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The path below which everything here hangs: beside the old application's REST API.
pub(crate) const PATH: &str = "/api/v1/communications/dev/";

/// Bytes of a request's body at most. Chosen: a user id has 128.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// How long a body may take to arrive. Chosen: it comes from the same machine.
const BODY_TIME: Duration = Duration::from_secs(5);

/// Seconds that a token lives: what the old application's tokens have.
const TOKEN_LIFETIME_S: u64 = 15 * 60;

/// The users of a developer's system and the key to sign their tokens.
#[derive(Debug, Clone)]
pub(crate) struct Dev {
    /// Who may be chosen.
    pub(crate) users: Vec<Profile>,
    /// The same keys that sockets are verified with.
    pub(crate) keys: Arc<Keys>,
}

/// Where and when a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// The TCP peer, not what a header says.
    pub(crate) peer: IpAddr,
    /// Unix milliseconds.
    pub(crate) now_ms: u64,
}

/// Answers a request for a path below [`PATH`]: `users` and `token`, with or without a last slash.
///
/// # Cancel safety
/// Dropping the future drops the request; nothing is kept.
pub(crate) async fn answer<B>(head: &Parts, body: B, dev: &Dev, caller: Caller) -> Answer
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if !is_local(&head.headers, caller.peer) {
        return not_found();
    }
    let name = head.uri.path().strip_prefix(PATH).map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let wanted = match (name, &head.method) {
        (Some("users"), &Method::GET) => return users(dev),
        (Some("token"), &Method::GET) => query::parameter(head.uri.query().unwrap_or_default(), "user_id")
            .ok_or_else(|| refused(StatusCode::BAD_REQUEST, ErrorCode::MissingField, "user_id is required")),
        (Some("token"), &Method::POST) => wanted_user(body).await,
        _ => return not_found(),
    };
    wanted.map_or_else(|refusal| refusal, |user_id| token(&user_id, dev, caller.now_ms))
}

/// Whether the request comes from this machine, by a name that nobody else can own, and not from a page of
/// somebody else: a proxy on this machine, a rebound DNS name and a foreign page all look like loopback peers.
fn is_local(headers: &HeaderMap, peer: IpAddr) -> bool {
    let forwarded =
        |name: &str| name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip");
    peer.to_canonical().is_loopback()
        && !headers.keys().any(|name| forwarded(name.as_str()))
        && origin::host(headers).is_some_and(|host| host.is_loopback())
        && origin::is_own_or(headers, |origin| origin.is_loopback())
}

fn users(dev: &Dev) -> Answer {
    #[derive(Serialize)]
    struct User<'a> {
        user_id: &'a str,
        name: &'a str,
        role: &'a str,
    }
    #[derive(Serialize)]
    struct Users<'a> {
        users: Vec<User<'a>>,
    }
    let users = dev.users.iter();
    let users = users.map(|user| User { user_id: user.id.as_str(), name: &user.name, role: &user.role });
    json(StatusCode::OK, &Users { users: users.collect() })
}

fn token(user_id: &str, dev: &Dev, now_ms: u64) -> Answer {
    #[derive(Serialize)]
    struct Issued<'a> {
        token: &'a str,
        user_id: &'a str,
        expires_at: Timestamp,
    }
    let Some(profile) = dev.users.iter().find(|user| user.id.as_str() == user_id) else {
        return error(StatusCode::NOT_FOUND, "unknown_user", "Unknown user");
    };
    let now_s = now_ms / 1_000;
    let token = dev.keys.issue(profile, TOKEN_LIFETIME_S, now_s);
    let expires_at = Timestamp::from_unix_ms((now_s + TOKEN_LIFETIME_S) * 1_000);
    json(StatusCode::OK, &Issued { token: &token, user_id, expires_at })
}

/// Reads whom a POST names.
async fn wanted_user<B>(body: B) -> Result<String, Answer>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    #[derive(Deserialize)]
    struct Wanted {
        user_id: UserId,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum UserId {
        Integer(i64),
        Text(String),
    }
    let body = read_body(body).await?;
    match serde_json::from_slice(&body) {
        Ok(Wanted { user_id: UserId::Text(text) }) => Ok(text),
        Ok(Wanted { user_id: UserId::Integer(number) }) => Ok(number.to_string()),
        Err(fault) if fault.is_data() => {
            Err(refused(StatusCode::BAD_REQUEST, ErrorCode::MissingField, "user_id is required"))
        }
        Err(_) => {
            Err(refused(StatusCode::BAD_REQUEST, ErrorCode::InvalidJson, ErrorCode::InvalidJson.text()))
        }
    }
}

async fn read_body<B>(body: B) -> Result<Bytes, Answer>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match tokio::time::timeout(BODY_TIME, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(fault)) if fault.is::<http_body_util::LengthLimitError>() => {
            Err(refused(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, ErrorCode::TooLarge.text()))
        }
        Ok(Err(_)) => Err(error(StatusCode::BAD_REQUEST, "invalid_request", "The body is not complete")),
        Err(_) => Err(error(StatusCode::REQUEST_TIMEOUT, "invalid_request", "The body came too slowly")),
    }
}

fn refused(status: StatusCode, code: ErrorCode, text: &str) -> Answer {
    error(status, code.as_str(), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use hyper::Request;
    use protocol::ids::UserId;

    const NOW_MS: u64 = 1_767_322_800_500;

    fn dev() -> Dev {
        let user = |id: &str, name: &str| Profile {
            id: UserId::parse(id).unwrap(),
            name: name.into(),
            email: String::new(),
            role: "DRIVER".into(),
            company: String::new(),
        };
        Dev {
            users: vec![user("driver-1", "Dana"), user("42", "Old")],
            keys: Arc::new(Keys::hs256(b"secret")),
        }
    }

    /// Sends a request from this machine, changed by `headers`, and returns status and body.
    async fn send(
        method: Method,
        path: &str,
        body: &str,
        headers: &[(&'static str, &str)],
    ) -> (u16, serde_json::Value) {
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{PATH}{path}").parse().unwrap();
        for (name, value) in [("host", "localhost:8000")].iter().chain(headers) {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (head, body) = request.into_parts();
        let caller = Caller { peer: [127, 0, 0, 1].into(), now_ms: NOW_MS };
        let answer = super::answer(&head, body, &dev(), caller).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn users_are_listed() {
        let (status, body) = send(Method::GET, "users", "", &[]).await;
        assert_eq!(status, 200);
        assert_eq!(
            body["users"][0],
            serde_json::json!({"user_id": "driver-1", "name": "Dana", "role": "DRIVER"})
        );
    }

    #[tokio::test]
    async fn a_token_is_made_by_post_and_by_a_plain_get() {
        let by_post = send(Method::POST, "token/", r#"{"user_id":"driver-1"}"#, &[]).await;
        let by_get = send(Method::GET, "token?user_id=driver%2D1", "", &[]).await;
        assert_eq!(by_post, by_get);
        let (status, body) = by_post;
        assert_eq!((status, body["user_id"].as_str()), (200, Some("driver-1")));
        assert_eq!(body["expires_at"], "2026-01-02T03:15:00.000Z");
        let verified = dev().keys.verify(body["token"].as_str().unwrap(), NOW_MS / 1_000).unwrap();
        assert_eq!((verified.profile.name.as_str(), verified.profile.role.as_str()), ("Dana", "DRIVER"));
        assert_eq!(send(Method::POST, "token", r#"{"user_id":42}"#, &[]).await.1["user_id"], "42");
    }

    #[tokio::test]
    async fn each_fault_has_its_answer() {
        let long = format!(r#"{{"user_id":"{}"}}"#, "x".repeat(BODY_BYTES_MAX));
        let cases = [
            (Method::POST, "token", r#"{"user_id":"nobody"}"#, 404, "unknown_user"),
            (Method::POST, "token", r#"{"user_id":true}"#, 400, "missing_field"),
            (Method::POST, "token", "{}", 400, "missing_field"),
            (Method::POST, "token", "", 400, "invalid_json"),
            (Method::POST, "token", &long, 413, "too_large"),
            (Method::GET, "token", "", 400, "missing_field"),
            (Method::DELETE, "token", "", 404, "not_found"),
            (Method::POST, "users", "", 404, "not_found"),
            (Method::GET, "secrets", "", 404, "not_found"),
        ];
        for (method, path, body, status, code) in cases {
            let (seen, answer) = send(method, path, body, &[]).await;
            assert_eq!((seen, answer["code"].as_str()), (status, Some(code)), "{path} {body:.40}");
            assert!(answer["error"].is_string());
        }
    }

    #[tokio::test]
    async fn only_this_machine_and_its_own_pages_see_anything() {
        let cases: [(&'static str, &str, u16); 15] = [
            ("host", "127.0.0.1:8000", 200),
            ("host", "[::1]:8000", 200),
            ("host", "LOCALHOST", 200),
            ("origin", "http://localhost:8000", 200),
            ("origin", "http://127.0.0.1:5173", 200),
            ("host", "rebound.example.com:8000", 404),
            ("host", "192.168.1.5:8000", 404),
            ("host", "localhost.example.com", 404),
            ("origin", "https://example.com", 404),
            ("origin", "null", 404),
            ("x-forwarded-for", "127.0.0.1", 404),
            ("x-forwarded-proto", "https", 404),
            ("forwarded", "for=127.0.0.1", 404),
            ("x-real-ip", "127.0.0.1", 404),
            ("accept", "*/*", 200),
        ];
        for (name, value, status) in cases {
            assert_eq!(send(Method::GET, "users", "", &[(name, value)]).await.0, status, "{name}: {value}");
        }
        let headers = HeaderMap::from_iter([(hyper::header::HOST, "localhost".parse().unwrap())]);
        let local = |peer: &str| is_local(&headers, peer.parse().unwrap());
        assert!(local("::1") && local("::ffff:127.0.0.1"));
        assert!(!local("192.168.1.5"));
        assert!(
            !is_local(&HeaderMap::new(), [127, 0, 0, 1].into()),
            "without a host nothing says whom it means"
        );
    }
}
