//! The REST side: answers that all of its parts share.
//!
//! It routes nothing (the listener does) and decides nothing about chat.
//!
//! Invariant: every error is `{"error":"text","code":"…"}`; old clients show the text, new ones read the code.

pub(crate) mod dev;
pub(crate) mod query;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// An answer that is complete in memory.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Returns `body` as JSON; caches keep none of it, because nearly all of it is somebody's own.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let Ok(bytes) = serde_json::to_vec(body) else {
        tracing::error!(%status, "an answer did not become JSON");
        return bytes_as_json(
            StatusCode::INTERNAL_SERVER_ERROR,
            Bytes::from_static(br#"{"error":"Internal server error","code":"internal"}"#),
        );
    };
    bytes_as_json(status, bytes.into())
}

fn bytes_as_json(status: StatusCode, bytes: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(bytes));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// Returns an error: `code` for programs, `text` for people.
pub(crate) fn error(status: StatusCode, code: &str, text: &str) -> Answer {
    #[derive(Serialize)]
    struct Body<'a> {
        error: &'a str,
        code: &'a str,
    }
    json(status, &Body { error: text, code })
}

/// Returns the answer to a path that is not ours, and to one that the caller is not to know of.
pub(crate) fn not_found() -> Answer {
    error(StatusCode::NOT_FOUND, "not_found", "Not found")
}
