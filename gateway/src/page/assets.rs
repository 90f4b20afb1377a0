//! The files of the page, each with what is said about it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hyper::header::HeaderValue;
use rust_embed::RustEmbed;
use sha1::{Digest, Sha1};
use std::borrow::Cow;
use std::collections::HashMap;

/// What the web build left; nothing when it did not run before this crate was compiled.
#[derive(RustEmbed)]
#[folder = "../web/app/dist"]
#[allow_missing = true]
struct Dist;

/// Shown in place of the page.
const NOT_BUILT: &str = include_str!("not_built.html");

/// The folder whose file names hold a hash of their content, so that they never change.
const HASHED_FOLDER: &str = "assets/";

const INDEX: &str = "index.html";

/// One file and its headers.
#[derive(Debug)]
pub(super) struct Asset {
    pub(super) body: Bytes,
    pub(super) content_type: &'static str,
    pub(super) caching: &'static str,
    /// None for what no cache may keep.
    pub(super) etag: Option<HeaderValue>,
}

/// All files by their path below the base path.
#[derive(Debug)]
pub(super) struct Assets {
    files: HashMap<String, Asset>,
    index: Asset,
}

/// Returns the files that were built into this binary.
pub(super) fn embedded() -> impl Iterator<Item = (String, Bytes)> {
    Dist::iter().filter_map(|path| {
        let body = match Dist::get(&path)?.data {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => bytes.into(),
        };
        Some((path.into_owned(), body))
    })
}

impl Assets {
    /// Takes the files and tells the page where it lives; without an index there is no page.
    pub(super) fn new(files: impl IntoIterator<Item = (String, Bytes)>, base_path: &str) -> Self {
        let mut files: HashMap<String, Asset> =
            files.into_iter().map(|(path, body)| (path.clone(), Asset::new(&path, body))).collect();
        let index = match files.remove(INDEX) {
            Some(index) => Asset::new(INDEX, with_base(&index.body, base_path)),
            None => Asset::not_built(),
        };
        Self { files, index }
    }

    /// Returns the file at `path`, and the page itself for a path that is a place within it.
    pub(super) fn find(&self, path: &str) -> Option<&Asset> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_file = path.starts_with(HASHED_FOLDER) || name.contains('.');
        match self.files.get(path) {
            None if !is_file || path == INDEX => Some(&self.index),
            found => found,
        }
    }
}

impl Asset {
    fn new(path: &str, body: Bytes) -> Self {
        let hashed = path.starts_with(HASHED_FOLDER);
        Self {
            content_type: content_type(path),
            caching: if hashed { "public, max-age=31536000, immutable" } else { "no-cache" },
            etag: HeaderValue::try_from(format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha1::digest(&body)))).ok(),
            body,
        }
    }

    fn not_built() -> Self {
        Self {
            body: Bytes::from_static(NOT_BUILT.as_bytes()),
            content_type: content_type(INDEX),
            caching: "no-store",
            etag: None,
        }
    }
}

/// Inserts the base path, so that a page built with relative addresses works below any path, with and without
/// a last slash.
fn with_base(index: &[u8], base_path: &str) -> Bytes {
    let html = String::from_utf8_lossy(index);
    html.replacen("<head>", &format!(r#"<head><base href="{}/">"#, escaped(base_path)), 1).into()
}

fn escaped(attribute: &str) -> String {
    attribute.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

/// Returns the type by the name's ending: those that web builds make.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("avif") => "image/avif",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("wasm") => "application/wasm",
        Some("mp3") => "audio/mpeg",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
