//! What a handshake asks for: the form, the credential, and whether it resumes.
//!
//! Invariant: the credential is the first that is present, in the order of the protocol page, even when a
//! later one would be better; and none of it is ever echoed.

use super::Refusal;
use crate::api::query;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use hyper::http::request::Parts;
use protocol::codes::ErrorCode;
use protocol::frames::Form;
use protocol::frames::client::Token;

/// Text frames of the first version.
pub(super) const V1_JSON: &str = "safeshipper.v1.json";

/// Binary frames of the first version; reserved, not spoken yet.
const V1_MSGPACK: &str = "safeshipper.v1.msgpack";

/// What browsers, which cannot set headers, prefix their token with.
const BEARER_ENTRY: &str = "bearer.";

/// What the client asks for.
pub(super) struct Offer {
    pub(super) form: Form,
    pub(super) credential: Option<Token>,
    pub(super) resume: bool,
}

/// Reads the subprotocols, the query and the headers.
pub(super) fn read(parts: &Parts) -> Result<Offer, Refusal> {
    let entries = subprotocols(&parts.headers)?;
    let query = parts.uri.query().unwrap_or_default();
    let credential = query::parameter(query, "token")
        .or_else(|| authorization(&parts.headers))
        .or_else(|| entries.iter().find_map(|entry| present(entry.strip_prefix(BEARER_ENTRY)?)))
        .map(Token);
    let resume = query::parameter(query, "resume").is_some_and(|value| value == "1");
    Ok(Offer { form: form(&entries)?, credential, resume })
}

/// Returns the form that the named subprotocols mean.
fn form(entries: &[&str]) -> Result<Form, Refusal> {
    if entries.contains(&V1_JSON) {
        Ok(Form::V1)
    } else if entries.contains(&V1_MSGPACK) {
        let text = "This release speaks safeshipper.v1.json only";
        Err(Refusal::from_code(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, text))
    } else if entries.iter().any(|entry| entry.starts_with(BEARER_ENTRY)) {
        Err(Refusal::bad_request("Name safeshipper.v1.json beside the bearer subprotocol"))
    } else {
        Ok(Form::Classic)
    }
}

/// Returns the entries of all subprotocol headers in their order.
fn subprotocols(headers: &HeaderMap) -> Result<Vec<&str>, Refusal> {
    let mut entries = Vec::new();
    for value in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        let list = value
            .to_str()
            .map_err(|_| Refusal::bad_request("Sec-WebSocket-Protocol is not a list of names"))?;
        entries.extend(list.split(',').map(str::trim).filter(|entry| !entry.is_empty()));
    }
    Ok(entries)
}

fn authorization(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| present(token.trim())).flatten()
}

/// Returns a credential, unless it is empty: that is the same as none.
fn present(token: &str) -> Option<String> {
    (!token.is_empty()).then(|| token.to_owned())
}
