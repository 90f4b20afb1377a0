//! Tokens as the application issues them.

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// How long a token lives: longer than any run.
const LIFETIME_S: u64 = 24 * 60 * 60;

/// Signs with HS256.
pub(crate) struct Signer(EncodingKey);

impl Signer {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(EncodingKey::from_secret(key))
    }

    /// Returns a token for a user.
    ///
    /// # Errors
    /// The library's, never in practice: HMAC signs with any key.
    #[expect(clippy::disallowed_methods, reason = "a token's end is a time of the wall clock")]
    pub(crate) fn token(&self, user: &str) -> anyhow::Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = json!({"user_id": user, "name": user, "exp": now + LIFETIME_S, "token_type": "access"});
        Ok(encode(&Header::default(), &claims, &self.0)?)
    }
}

/// Reads from a handshake the number at the end of the user's name in its token, whoever signed it.
///
/// # Errors
/// When there is no such token.
pub(crate) fn user_of(head: &[u8]) -> anyhow::Result<usize> {
    let head = std::str::from_utf8(head)?;
    let token = head.split_once("Authorization: Bearer ").context("no token in the handshake")?.1;
    let payload = token.split('.').nth(1).context("no claims in the token")?;
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload)?)?;
    let user = claims["user_id"].as_str().and_then(|name| name.rsplit_once("-u"));
    Ok(user.context("a user of another run")?.1.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_the_token_in_a_handshake() {
        let token = Signer::new(b"key").token("rooms-u17").unwrap();
        let head = format!("GET / HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n");
        assert_eq!(user_of(head.as_bytes()).unwrap(), 17);
        assert!(user_of(b"GET / HTTP/1.1\r\n\r\n").is_err());
    }
}
