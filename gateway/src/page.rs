//! The web page: files of `web/app/dist`, kept inside the binary.
//!
//! It serves files and nothing else: no data, no cookie. Everything is put together at the start; a request
//! only looks up and clones a reference.
//!
//! Invariant: no path leads to the file system; an unknown one below the base path is the page itself, whose
//! own router knows what it means, or, when it looks like a file, an honest 404.

mod assets;

use crate::api::{self, Answer};
use assets::{Asset, Assets};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

/// What the page may load and whom it may talk to: its own host, and WebSockets, which `'self'` does not cover
/// in every browser. Inline scripts and styles are not among it; the build makes none.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; \
                      object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'";

/// Sent with every answer of the page.
const SECURITY: [(HeaderName, &str); 3] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "strict-origin-when-cross-origin"),
];

/// The page under its base path.
#[derive(Debug)]
pub(crate) struct Page {
    /// Without a last slash; empty for the root.
    base_path: String,
    assets: Assets,
}

impl Page {
    /// Takes the files that were built into this binary, to be served below `base_path` (`/chat`).
    pub(crate) fn embedded(base_path: &str) -> Self {
        Self::new(base_path, assets::embedded())
    }

    fn new(base_path: &str, files: impl IntoIterator<Item = (String, Bytes)>) -> Self {
        let trimmed = base_path.trim_matches('/');
        let base_path = if trimmed.is_empty() { String::new() } else { format!("/{trimmed}") };
        let assets = Assets::new(files, &base_path);
        Self { base_path, assets }
    }

    /// Answers a request below the base path; none when the path is not the page's.
    pub(crate) fn answer(&self, head: &Parts) -> Option<Answer> {
        let path = head.uri.path().strip_prefix(&self.base_path)?;
        if !path.is_empty() && !path.starts_with('/') {
            return None;
        }
        let mut answer = match self.assets.find(path.trim_start_matches('/')) {
            _ if head.method != Method::GET && head.method != Method::HEAD => method_not_allowed(),
            Some(asset) => file(asset, head),
            None => api::not_found(),
        };
        for (name, value) in SECURITY {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Some(answer)
    }
}

fn file(asset: &Asset, head: &Parts) -> Answer {
    let fresh = asset.etag.as_ref().is_some_and(|etag| client_has(&head.headers, etag));
    let with_body = !fresh && head.method != Method::HEAD;
    let body = if with_body { asset.body.clone() } else { Bytes::new() };
    let mut answer = Response::new(Full::new(body));
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(asset.caching));
    if let Some(etag) = &asset.etag {
        headers.insert(ETAG, etag.clone());
    }
    if fresh {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
        headers.insert(CONTENT_LENGTH, asset.body.len().into());
    }
    answer
}

/// Whether the client names the version that we have. RFC 9110 section 13.1.2: weak comparison.
fn client_has(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|named| named == b"*" || named.strip_prefix(b"W/").unwrap_or(named) == etag.as_bytes())
}

fn method_not_allowed() -> Answer {
    let text = "The page is read with GET";
    let mut answer = api::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use hyper::Request;

    const INDEX: &str = "<!doctype html><html><head><title>Chat</title></head><body></body></html>";

    fn page(base_path: &str) -> Page {
        let files = [
            ("index.html", INDEX),
            ("assets/app-1a2b.js", "run()"),
            ("assets/app-1a2b.css", "a{}"),
            ("icon.svg", "<svg/>"),
        ];
        Page::new(base_path, files.map(|(path, body)| (path.to_owned(), Bytes::from_static(body.as_bytes()))))
    }

    /// Status, headers and body of an answer, if the page gives one.
    async fn ask(page: &Page, request: hyper::http::request::Builder) -> Option<(u16, HeaderMap, String)> {
        let answer = page.answer(&request.body(()).unwrap().into_parts().0)?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Some((head.status.as_u16(), head.headers, String::from_utf8(body.to_vec()).unwrap()))
    }

    async fn get(path: &str) -> Option<(u16, HeaderMap, String)> {
        ask(&page("/chat"), Request::get(path)).await
    }

    #[tokio::test]
    async fn each_path_has_its_file() {
        let (html, js, css) =
            ("text/html; charset=utf-8", "text/javascript; charset=utf-8", "text/css; charset=utf-8");
        let cases = [
            ("/chat", 200, html, "no-cache"),
            ("/chat/?as=driver-1", 200, html, "no-cache"),
            ("/chat/index.html", 200, html, "no-cache"),
            ("/chat/channel/general", 200, html, "no-cache"),
            ("/chat/assets/app-1a2b.js", 200, js, "public, max-age=31536000, immutable"),
            ("/chat/assets/app-1a2b.css", 200, css, "public, max-age=31536000, immutable"),
            ("/chat/icon.svg", 200, "image/svg+xml", "no-cache"),
            ("/chat/assets/app-old.js", 404, "application/json", "no-store"),
            ("/chat/assets/", 404, "application/json", "no-store"),
            ("/chat/robots.txt", 404, "application/json", "no-store"),
            ("/chat/../../etc/passwd.txt", 404, "application/json", "no-store"),
        ];
        for (path, status, content_type, caching) in cases {
            let (seen, headers, _) = get(path).await.unwrap();
            assert_eq!(seen, status, "{path}");
            assert_eq!(headers["content-type"], content_type, "{path}");
            assert_eq!(headers["cache-control"], caching, "{path}");
            assert!(headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'self'"));
            assert_eq!(headers["x-content-type-options"], "nosniff");
        }
        for elsewhere in ["/", "/chatter", "/api/v1/", "/Chat"] {
            assert!(get(elsewhere).await.is_none(), "{elsewhere}");
        }
    }

    #[tokio::test]
    async fn the_page_knows_its_base_path_whatever_it_is() {
        for (base_path, path, base) in
            [("/chat", "/chat", "/chat/"), ("tools/chat/", "/tools/chat/", "/tools/chat/"), ("/", "/x", "/")]
        {
            let (status, _, body) = ask(&page(base_path), Request::get(path)).await.unwrap();
            assert_eq!(status, 200);
            assert!(body.contains(&format!(r#"<head><base href="{base}">"#)), "{body}");
        }
    }

    #[tokio::test]
    async fn what_a_client_has_is_not_sent_again() {
        let (_, headers, body) = get("/chat/icon.svg").await.unwrap();
        let etag = headers["etag"].to_str().unwrap();
        assert_eq!((headers["content-length"].as_bytes(), body.as_str()), (b"6".as_slice(), "<svg/>"));
        for known in [etag.to_owned(), format!("\"other\", W/{etag}"), "*".into()] {
            let request = Request::get("/chat/icon.svg").header("if-none-match", known);
            let (status, headers, body) = ask(&page("/chat"), request).await.unwrap();
            assert_eq!((status, body.as_str(), headers["etag"].to_str().unwrap()), (304, "", etag));
        }
        let request = Request::get("/chat/icon.svg").header("if-none-match", "\"other\"");
        assert_eq!(ask(&page("/chat"), request).await.unwrap().0, 200);
        assert_ne!(get("/chat").await.unwrap().1["etag"].to_str().unwrap(), etag);
    }

    #[tokio::test]
    async fn head_is_get_without_the_body_and_nothing_writes() {
        let (status, headers, body) = ask(&page("/chat"), Request::head("/chat/icon.svg")).await.unwrap();
        assert_eq!((status, body.as_str(), headers["content-length"].as_bytes()), (200, "", b"6".as_slice()));
        let (status, headers, _) = ask(&page("/chat"), Request::post("/chat/")).await.unwrap();
        assert_eq!((status, headers["allow"].as_bytes()), (405, b"GET, HEAD".as_slice()));
    }

    #[tokio::test]
    async fn a_binary_without_the_web_client_says_so() {
        let page = Page::new("/chat", []);
        let (status, headers, body) = ask(&page, Request::get("/chat/")).await.unwrap();
        assert_eq!((status, headers["cache-control"].as_bytes()), (200, b"no-store".as_slice()));
        assert!(body.contains("not built into this binary") && body.contains("make run"));
        assert_eq!(ask(&page, Request::get("/chat/assets/app.js")).await.unwrap().0, 404);
    }

    #[tokio::test]
    async fn the_embedded_page_is_a_page_built_or_not() {
        let (status, headers, body) = ask(&Page::embedded("/chat"), Request::get("/chat")).await.unwrap();
        assert_eq!(
            (status, headers["content-type"].as_bytes()),
            (200, b"text/html; charset=utf-8".as_slice())
        );
        assert!(body.to_ascii_lowercase().starts_with("<!doctype html>"), "{body:.80}");
    }
}
