//! Tokens as the application issues them.

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
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
