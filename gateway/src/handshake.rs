//! Whether an HTTP request becomes a WebSocket, and what it asks for.
//!
//! A pure decision over a request's head: it does not upgrade, verifies no token and counts nothing; the
//! listener does. Limits on connections and the state of the process are the caller's to judge, too; the
//! refusals for them are here so that all refusals look alike.
//!
//! Invariant: what leaves here owns its few bytes. A kept header or URI would pin the whole request's buffer
//! for as long as the socket lives.

pub(crate) mod address;
mod offer;
pub(crate) mod origin;

#[cfg(test)]
mod tests;

use crate::api::{self, Answer};
use crate::auth::AuthError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Version};
use protocol::codes::ErrorCode;
use protocol::frames::Dialect;
use protocol::frames::client::Token;
use sha1::{Digest, Sha1};

/// What the operator decided about handshakes.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// Loopback origins may connect.
    pub(crate) debug: bool,
    /// Origins beside the own host, as `scheme://host[:port]`.
    pub(crate) allowed_origins: Vec<String>,
}

/// A request that may become a WebSocket. A classic one always carries a credential, still to be verified.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// What the socket will speak.
    pub(crate) dialect: Dialect,
    /// The first credential that was present.
    pub(crate) credential: Option<Token>,
    /// The client has positions: its channels start held until it resumes them. Never true for classic.
    pub(crate) resume: bool,
    /// The proof that the handshake was understood.
    pub(crate) accept_key: HeaderValue,
    /// The one subprotocol to answer.
    pub(crate) subprotocol: Option<&'static str>,
}

/// An answer instead of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// What programs read.
    pub(crate) code: &'static str,
    /// What people read.
    pub(crate) text: &'static str,
    /// After how many seconds it may be worth another try.
    pub(crate) retry_after_s: Option<u32>,
}

/// Decides whether a request becomes a WebSocket.
///
/// # Errors
/// [`Refusal`] with the answer to send; the order is: shape, version, origin, subprotocol, credential.
pub(crate) fn judge(parts: &Parts, policy: &Policy) -> Result<Accepted, Refusal> {
    require_upgrade(parts)?;
    let key = websocket_key(&parts.headers)?;
    if !origin::may_connect(&parts.headers, policy) {
        return Err(Refusal::from_code(
            StatusCode::FORBIDDEN,
            ErrorCode::PermissionDenied,
            "Origin not allowed",
        ));
    }
    let offer = offer::read(parts)?;
    if offer.dialect == Dialect::Classic && offer.credential.is_none() {
        return Err(Refusal::missing_credential());
    }
    Ok(Accepted {
        dialect: offer.dialect,
        credential: offer.credential,
        resume: offer.resume && offer.dialect != Dialect::Classic,
        accept_key: accept_key(key),
        subprotocol: offer.dialect.subprotocol(),
    })
}

/// Returns the answer that upgrades the connection.
pub(crate) fn accepted_response(accepted: &Accepted) -> Answer {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accepted.accept_key.clone());
    if let Some(subprotocol) = accepted.subprotocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    }
    response
}

/// Decides whether a request becomes a WebSocket that is nobody's: for conformance tests of what lies below the
/// protocol.
///
/// # Errors
/// [`Refusal`] when it is no handshake.
pub(crate) fn judge_bare(parts: &Parts) -> Result<Accepted, Refusal> {
    require_upgrade(parts)?;
    let accept_key = accept_key(websocket_key(&parts.headers)?);
    let dialect = Dialect::Classic;
    Ok(Accepted { dialect, credential: None, resume: false, accept_key, subprotocol: None })
}

impl Refusal {
    /// Refuses a classic socket without a credential: the old page resets its retry counter when a socket
    /// opens, so a close after the upgrade would make it loop for ever.
    pub(crate) fn missing_credential() -> Self {
        let code = ErrorCode::NotAuthenticated;
        Self::from_code(StatusCode::FORBIDDEN, code, "Authentication credentials were not provided")
    }

    /// Refuses a classic socket whose credential is worth nothing, for the same reason.
    pub(crate) fn bad_credential(error: &AuthError) -> Self {
        Self::from_code(StatusCode::FORBIDDEN, error.code(), error.code().text())
    }

    /// Refuses an address that has too many handshakes or connections.
    pub(crate) fn rate_limited(retry_after_s: u32) -> Self {
        let text = "Too many connections from this address";
        Self::from_code(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, text).after(retry_after_s)
    }

    /// Refuses while the process drains or is full; the caller gives each client another time.
    pub(crate) fn unavailable(retry_after_s: u32) -> Self {
        let code = ErrorCode::Unavailable;
        Self::from_code(StatusCode::SERVICE_UNAVAILABLE, code, code.text()).after(retry_after_s)
    }

    /// Returns the refusal as an HTTP answer.
    pub(crate) fn into_response(self) -> Answer {
        let mut response = api::error(self.status, self.code, self.text);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            // RFC 9110 section 15.5.22: this status names the protocol to upgrade to.
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        response
    }

    fn bad_request(text: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "invalid_request", text, retry_after_s: None }
    }

    fn from_code(status: StatusCode, code: ErrorCode, text: &'static str) -> Self {
        Self { status, code: code.as_str(), text, retry_after_s: None }
    }

    fn after(self, retry_after_s: u32) -> Self {
        Self { retry_after_s: Some(retry_after_s), ..self }
    }
}

/// Checks what makes a request a WebSocket handshake of our version. RFC 6455 section 4.2.1.
fn require_upgrade(parts: &Parts) -> Result<(), Refusal> {
    let headers = &parts.headers;
    if parts.method != Method::GET || parts.version != Version::HTTP_11 {
        return Err(Refusal::bad_request("A WebSocket starts with GET over HTTP/1.1"));
    }
    if !names_token(headers, &UPGRADE, "websocket") || !names_token(headers, &CONNECTION, "upgrade") {
        return Err(Refusal::bad_request("This path speaks WebSocket only"));
    }
    if only(headers, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version.as_bytes() != b"13") {
        let text = "Only WebSocket version 13 is spoken";
        return Err(Refusal::from_code(StatusCode::UPGRADE_REQUIRED, ErrorCode::Unsupported, text));
    }
    Ok(())
}

/// Returns the client's key, which is base64 of 16 bytes.
fn websocket_key(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    only(headers, &SEC_WEBSOCKET_KEY)
        .map(HeaderValue::as_bytes)
        .filter(|key| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16))
        .ok_or(Refusal::bad_request("Sec-WebSocket-Key is not base64 of 16 bytes"))
}

/// Returns the answer to the client's key. RFC 6455 section 4.2.2.
#[expect(clippy::expect_used, reason = "proven by the message")]
fn accept_key(key: &[u8]) -> HeaderValue {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    HeaderValue::try_from(STANDARD.encode(digest)).expect("base64 is visible ASCII")
}

/// Whether a comma-separated list, over all of its headers, names `token` in any case.
fn names_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|entry| entry.trim().eq_ignore_ascii_case(token))
}

/// Returns a header that may stand only once; twice is as good as never, because proxies disagree on which.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}
