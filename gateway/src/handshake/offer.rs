//! What a handshake asks for: the dialect, the credential, and whether it resumes.
//!
//! Invariant: the credential is the first that is present, in the order of the protocol page, even when a
//! later one would be better; and none of it is ever echoed.

use super::Refusal;
use crate::api::query;
use hyper::header::{AUTHORIZATION, HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use hyper::http::request::Parts;
use protocol::frames::Dialect;
use protocol::frames::client::Token;

/// What browsers, which cannot set headers, prefix their token with.
const BEARER_ENTRY: &str = "bearer.";

/// What the client asks for.
pub(super) struct Offer {
    pub(super) dialect: Dialect,
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
    Ok(Offer { dialect: dialect(&entries)?, credential, resume })
}

/// Returns what the named subprotocols mean; of several that we speak, JSON, which needs no transcoding.
fn dialect(entries: &[&str]) -> Result<Dialect, Refusal> {
    let named = |dialect: &Dialect| dialect.subprotocol().is_some_and(|name| entries.contains(&name));
    if let Some(dialect) = [Dialect::V1Json, Dialect::V1MessagePack].into_iter().find(named) {
        Ok(dialect)
    } else if entries.iter().any(|entry| entry.starts_with(BEARER_ENTRY)) {
        Err(Refusal::bad_request("Name safeshipper.v1.json beside the bearer subprotocol"))
    } else {
        Ok(Dialect::Classic)
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
