//! Which pages may talk to us: browsers say where a page came from, and a foreign one must not use its
//! visitor's access.
//!
//! It says nothing about clients that are not browsers: those send no origin, or any they like.

use super::{Policy, only};
use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use std::net::{IpAddr, Ipv6Addr};

/// A page's origin: `scheme://host[:port]`, compared without regard to case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    scheme: &'a str,
    authority: Authority<'a>,
}

/// `host[:port]`, as in the header `Host`; IPv6 addresses stand in brackets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Authority<'a> {
    host: &'a str,
    port: Option<u16>,
}

/// Whether a WebSocket may be opened from where the request says it comes from.
pub(super) fn may_connect(headers: &HeaderMap, policy: &Policy) -> bool {
    is_own_or(headers, |origin| {
        (policy.debug && origin.is_loopback())
            || policy
                .allowed_origins
                .iter()
                .filter_map(|allowed| Origin::parse(allowed))
                .any(|it| it == *origin)
    })
}

/// Whether the request names no origin, its own host's, or one that `accepts` takes. `null` and nonsense are
/// never taken.
pub(crate) fn is_own_or(headers: &HeaderMap, accepts: impl FnOnce(&Origin<'_>) -> bool) -> bool {
    if !headers.contains_key(ORIGIN) {
        return true;
    }
    let origin = only(headers, &ORIGIN).and_then(text).and_then(Origin::parse);
    origin.is_some_and(|origin| host(headers).is_some_and(|own| origin.is_at(own)) || accepts(&origin))
}

/// Returns what the client calls us.
pub(crate) fn host(headers: &HeaderMap) -> Option<Authority<'_>> {
    only(headers, &HOST).and_then(text).and_then(Authority::parse)
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

impl<'a> Origin<'a> {
    /// Reads an origin; `null`, a path and credentials are not part of one.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if scheme.is_empty() || !scheme.bytes().all(in_scheme) {
            return None;
        }
        Some(Self { scheme, authority: Authority::parse(authority)? })
    }

    /// Whether the page came from the machine that the browser runs on.
    pub(crate) fn is_loopback(&self) -> bool {
        self.default_port().is_some() && self.authority.is_loopback()
    }

    /// Whether a page of this origin was served by `own`, which names no scheme: without a port it has the
    /// one that the page's scheme stands for.
    fn is_at(&self, own: Authority<'_>) -> bool {
        let Some(default_port) = self.default_port() else { return false };
        self.authority.host.eq_ignore_ascii_case(own.host)
            && self.authority.port.unwrap_or(default_port) == own.port.unwrap_or(default_port)
    }

    fn default_port(&self) -> Option<u16> {
        match self.scheme {
            scheme if scheme.eq_ignore_ascii_case("http") => Some(80),
            scheme if scheme.eq_ignore_ascii_case("https") => Some(443),
            _ => None,
        }
    }
}

impl PartialEq for Origin<'_> {
    fn eq(&self, other: &Self) -> bool {
        let port = |origin: &Self| origin.authority.port.or(origin.default_port());
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.authority.host.eq_ignore_ascii_case(other.authority.host)
            && port(self) == port(other)
    }
}

impl<'a> Authority<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (text, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let valid = match bare {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            }
        };
        valid.then_some(Self { host, port })
    }

    /// Whether the name or address can only mean this machine; a name that merely resolves to it does not
    /// count, because whoever owns the name decides that.
    pub(crate) fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host.eq_ignore_ascii_case("localhost")
            || bare.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
    }
}
