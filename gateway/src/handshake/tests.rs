use super::address::client_address;
use super::*;
use hyper::Request;
use ipnet::IpNet;
use std::net::IpAddr;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// An empty value removes the header, others replace it or, with `+` before the name, add to it.
type Changes<'a> = &'a [(&'a str, &'a str)];

/// A good classic request, then `changes`.
fn request(uri: &str, changes: Changes<'_>) -> Parts {
    let mut parts = Request::get(uri).body(()).unwrap().into_parts().0;
    let good = [
        ("host", "chat.example.com"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];
    for (name, value) in good.iter().chain(changes) {
        let added = name.strip_prefix('+');
        let header: HeaderName = added.unwrap_or(name).parse().unwrap();
        match added {
            Some(_) => drop(parts.headers.append(header, value.parse().unwrap())),
            None if value.is_empty() => drop(parts.headers.remove(header)),
            None => drop(parts.headers.insert(header, value.parse().unwrap())),
        }
    }
    parts
}

fn policy(debug: bool) -> Policy {
    let allowed_origins = vec!["https://app.example.com".into(), "capacitor://localhost".into()];
    Policy { debug, allowed_origins }
}

fn judged(uri: &str, changes: Changes<'_>) -> Result<Accepted, u16> {
    judge(&request(uri, changes), &policy(false)).map_err(|refusal| refusal.status.as_u16())
}

const URI: &str = "/ws/chat/?token=T";

#[test]
fn the_sample_handshake_of_the_rfc_is_answered_as_there() {
    let accepted = judged(URI, &[]).unwrap();
    assert_eq!(accepted.dialect, Dialect::Classic);
    let response = accepted_response(&accepted);
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(response.headers()["connection"], "Upgrade");
    assert!(!response.headers().contains_key("sec-websocket-protocol"));
}

#[test]
fn what_is_not_a_handshake_is_refused() {
    let cases: [(Changes<'_>, u16); 12] = [
        (&[("upgrade", "")], 400),
        (&[("upgrade", "h2c")], 400),
        (&[("connection", "keep-alive")], 400),
        (&[("connection", "")], 400),
        (&[("sec-websocket-version", "")], 426),
        (&[("sec-websocket-version", "8")], 426),
        (&[("+sec-websocket-version", "13")], 426),
        (&[("sec-websocket-key", "")], 400),
        (&[("sec-websocket-key", "c2hvcnQ=")], 400),
        (&[("sec-websocket-key", "not base64 of 16 byte...")], 400),
        (&[("+sec-websocket-key", KEY)], 400),
        (&[("sec-websocket-protocol", "\u{e4}")], 400),
    ];
    for (changes, status) in cases {
        assert_eq!(judged(URI, changes).unwrap_err(), status, "{changes:?}");
    }
    for (method, version) in [(Method::POST, Version::HTTP_11), (Method::GET, Version::HTTP_10)] {
        let mut parts = request(URI, &[]);
        (parts.method, parts.version) = (method, version);
        assert_eq!(judge(&parts, &policy(false)).unwrap_err().status, 400);
    }
    assert!(judged(URI, &[("connection", "keep-alive"), ("+connection", "x , upgrade")]).is_ok());
}

#[test]
fn the_subprotocols_decide_the_dialect() {
    let v1 = Ok((Dialect::V1Json, Some("safeshipper.v1.json")));
    let cases = [
        ("", "", Ok((Dialect::Classic, None))),
        ("graphql-ws, chat", "", Ok((Dialect::Classic, None))),
        ("safeshipper.v1.json", "", v1),
        ("bearer.T,safeshipper.v1.json", "", v1),
        ("bearer.T", " safeshipper.v1.json ,", v1),
        ("safeshipper.v1.msgpack, safeshipper.v1.json", "", v1),
        ("safeshipper.v1.msgpack", "bearer.T", Ok((Dialect::V1MessagePack, Some("safeshipper.v1.msgpack")))),
        ("bearer.T", "", Err(400)),
        ("chat", "bearer.T", Err(400)),
        ("SafeShipper.v1.JSON", "", Ok((Dialect::Classic, None))),
    ];
    for (first, second, expected) in cases {
        let changes = [("sec-websocket-protocol", first), ("+sec-websocket-protocol", second)];
        let result = judged(URI, &changes).map(|accepted| (accepted.dialect, accepted.subprotocol));
        assert_eq!(result, expected, "{first} {second}");
    }
    let accepted = judged(URI, &[("sec-websocket-protocol", "bearer.T, safeshipper.v1.json")]).unwrap();
    assert_eq!(accepted_response(&accepted).headers()["sec-websocket-protocol"], "safeshipper.v1.json");
}

#[test]
fn the_first_credential_that_is_present_counts() {
    let v1 = "safeshipper.v1.json";
    let cases = [
        ("/ws/chat/?token=Qu%2ery", "Bearer A", "bearer.P, safeshipper.v1.json", Some("Qu.ry")),
        ("/ws/chat/?token=", "bearer  A", "bearer.P, safeshipper.v1.json", Some("A")),
        ("/ws/chat/", "Basic A", "bearer., bearer.P, safeshipper.v1.json", Some("P")),
        ("/ws/chat/", "Bearer", v1, None),
        ("/ws/chat/", "", v1, None),
    ];
    for (uri, authorization, subprotocols, expected) in cases {
        let changes = [("authorization", authorization), ("sec-websocket-protocol", subprotocols)];
        let accepted = judged(uri, &changes).unwrap();
        assert_eq!(
            accepted.credential.as_ref().map(|token| token.0.as_str()),
            expected,
            "{uri} {authorization}"
        );
        assert!(!format!("{accepted:?}").contains("Qu.ry"), "no token is shown");
    }
    assert_eq!(judged("/ws/chat", &[]).unwrap_err(), 403, "classic needs one before the upgrade");
}

#[test]
fn only_v1_resumes() {
    let v1: Changes<'_> = &[("sec-websocket-protocol", "safeshipper.v1.json")];
    let cases = [
        ("?token=T&resume=1", v1, true),
        ("?resume=0", v1, false),
        ("", v1, false),
        ("?token=T&resume=1", &[], false),
    ];
    for (query, changes, expected) in cases {
        assert_eq!(judged(&format!("/ws/chat/{query}"), changes).unwrap().resume, expected, "{query}");
    }
}

#[test]
fn foreign_pages_are_kept_out() {
    let own = "chat.example.com";
    let cases = [
        (own, "https://chat.example.com", true, true),
        (own, "http://CHAT.example.com:80", true, true),
        ("chat.example.com:443", "https://chat.example.com", true, true),
        ("chat.example.com:8000", "http://chat.example.com:8000", true, true),
        ("[2001:db8::1]:8000", "http://[2001:db8::1]:8000", true, true),
        (own, "https://app.example.com:443", true, true),
        (own, "capacitor://localhost", true, true),
        (own, "http://localhost:5173", false, true),
        (own, "http://127.0.0.2:1", false, true),
        (own, "http://[::1]:5173", false, true),
        (own, "http://app.example.com", false, false),
        (own, "https://chat.example.com:8443", false, false),
        (own, "https://chat.example.com.evil.com", false, false),
        (own, "https://evil.com", false, false),
        (own, "https://localhost.evil.com", false, false),
        (own, "https://chat.example.com/", false, false),
        (own, "https://evil.com@chat.example.com", false, false),
        (own, "ftp://chat.example.com", false, false),
        (own, "null", false, false),
        (own, "file://", false, false),
    ];
    for (host, origin, in_production, in_debug) in cases {
        for (debug, expected) in [(false, in_production), (true, in_debug)] {
            let parts = request(URI, &[("host", host), ("origin", origin)]);
            let status = judge(&parts, &policy(debug)).map_err(|refusal| refusal.status.as_u16());
            assert_eq!(
                status.map(|_| ()),
                if expected { Ok(()) } else { Err(403) },
                "{host} {origin} {debug}"
            );
        }
    }
    let twice = [("origin", "https://chat.example.com"), ("+origin", "https://evil.com")];
    assert_eq!(judged(URI, &twice).unwrap_err(), 403);
    assert!(judged(URI, &[]).is_ok(), "no browser, no question");
}

#[tokio::test]
async fn refusals_are_json_with_their_headers() {
    use http_body_util::BodyExt as _;
    let version = judge(&request(URI, &[("sec-websocket-version", "")]), &policy(false)).unwrap_err();
    let cases = [
        (version, 426, "sec-websocket-version", "13", "unsupported"),
        (Refusal::rate_limited(7), 429, "retry-after", "7", "rate_limited"),
        (Refusal::unavailable(3), 503, "retry-after", "3", "unavailable"),
        (Refusal::missing_credential(), 403, "content-type", "application/json", "not_authenticated"),
        (Refusal::bad_credential(&AuthError::Expired), 403, "cache-control", "no-store", "token_expired"),
        (Refusal::bad_credential(&AuthError::Signature), 403, "cache-control", "no-store", "invalid_token"),
    ];
    for (refusal, status, header, value, code) in cases {
        let response = refusal.into_response();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()[header], value);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], code);
        assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()));
    }
}

#[test]
fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
    let trusted: Vec<IpNet> =
        ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"].map(|net| net.parse().unwrap()).into();
    let cases: [(&str, Changes<'_>, &str); 12] = [
        ("203.0.113.9", &[("x-forwarded-for", "1.2.3.4")], "203.0.113.9"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &[("x-forwarded-for", "1.2.3.4")], "1.2.3.4"),
        ("::ffff:10.0.0.1", &[("x-forwarded-for", "::ffff:1.2.3.4")], "1.2.3.4"),
        ("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 1.2.3.4 ,10.0.0.2")], "1.2.3.4"),
        ("10.0.0.1", &[("x-forwarded-for", "6.6.6.6"), ("+x-forwarded-for", "1.2.3.4,10.9.9.9")], "1.2.3.4"),
        ("10.0.0.1", &[("x-forwarded-for", "1.2.3.4:5678")], "1.2.3.4"),
        ("10.0.0.1", &[("x-forwarded-for", "[2001:db8::1]:5678")], "2001:db8::1"),
        ("fd00::1", &[("x-forwarded-for", "[2001:db8::1]")], "2001:db8::1"),
        ("10.0.0.1", &[("x-forwarded-for", "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
        (
            "10.0.0.1",
            &[("x-forwarded-for", "6.6.6.6, unknown, 10.0.0.2"), ("x-real-ip", "7.7.7.7")],
            "10.0.0.2",
        ),
        ("127.0.0.1", &[("x-real-ip", "1.2.3.4")], "1.2.3.4"),
    ];
    for (peer, changes, expected) in cases {
        let address = client_address(&request(URI, changes), peer.parse().unwrap(), &trusted);
        assert_eq!(address, expected.parse::<IpAddr>().unwrap(), "{peer} {changes:?}");
    }
}
