//! Which address a request came from, when proxies stand between.
//!
//! Invariant: a header is believed only as far as trusted peers wrote it: everything left of the first
//! untrusted entry may be invented.

use hyper::header::HeaderName;
use hyper::http::request::Parts;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Returns the client's address: the peer's, or, when the peer is a trusted proxy, the right-most untrusted
/// entry of `X-Forwarded-For`, else `X-Real-IP`. When all entries are trusted, the left-most is the client.
pub(crate) fn client_address(parts: &Parts, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| is_trusted(address, trusted);
    let peer = peer.to_canonical();
    if !is_trusted(peer) {
        return peer;
    }
    if !parts.headers.contains_key(X_FORWARDED_FOR) {
        let real = parts.headers.get(X_REAL_IP).and_then(|value| parse(value.to_str().ok()?));
        return real.unwrap_or(peer);
    }
    let mut client = peer;
    for value in parts.headers.get_all(X_FORWARDED_FOR).iter().rev() {
        for entry in value.to_str().unwrap_or_default().rsplit(',') {
            // What is not an address hides everything before it: the last proxy that said one is the client.
            let Some(address) = parse(entry) else { return client };
            client = address;
            if !is_trusted(client) {
                return client;
            }
        }
    }
    client
}

/// Whether a peer is one of the proxies whose word counts.
pub(crate) fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    trusted.iter().any(|net| net.contains(&peer))
}

/// Reads an address as proxies write it: bare, with a port, or in brackets.
fn parse(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let with_port = || entry.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let in_brackets = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address: IpAddr = entry.parse().ok().or_else(with_port).or_else(in_brackets)?;
    Some(address.to_canonical())
}
