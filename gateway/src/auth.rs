//! Tokens: signature and expiry here, the claims' meaning in `protocol::claims`.
//!
//! It knows no clock (the caller says what time it is), no socket and no revocation.
//!
//! Invariant: neither a token nor a key can reach a log from here: the keys' `Debug` hides them, and no error
//! quotes a token.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use protocol::claims::{Claims, ClaimsError, Profile};
use protocol::codes::{CloseCode, ErrorCode};
use protocol::limits;
use serde::Serialize;
use std::fmt;

/// Bytes of a token at most. Chosen: ten times what issuers make, and half of a handshake's header.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// What a good token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    /// The bearer.
    pub(crate) profile: Profile,
    /// When the token ends, in Unix seconds, without the leeway.
    pub(crate) expires_at_unix_s: u64,
}

/// Why a token opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    #[error("token is longer than 8 KiB")]
    TooLong,
    #[error("token is not a signed HS256 token")]
    Malformed,
    #[error("token is not signed with our key")]
    Signature,
    #[error("token demands an extension")]
    CriticalHeader,
    #[error("token has expired")]
    Expired,
    #[error(transparent)]
    Claims(#[from] ClaimsError),
}

impl AuthError {
    /// Returns the code that tells the client.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Expired => ErrorCode::TokenExpired,
            _ => ErrorCode::InvalidToken,
        }
    }

    /// Returns the code to close a socket with: an expired token is refreshed and tried again, others are not.
    pub(crate) fn close_code(&self) -> CloseCode {
        match self {
            Self::Expired => CloseCode::TokenExpired,
            _ => CloseCode::InvalidCredential,
        }
    }
}

/// The key that tokens are signed and verified with.
pub(crate) struct Keys {
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(hidden)")
    }
}

/// A token that this process makes; the names are those that `Claims` reads.
#[derive(Serialize)]
struct Issued<'a> {
    user_id: &'a str,
    token_type: &'static str,
    iat: u64,
    exp: u64,
    name: &'a str,
    email: &'a str,
    role: &'a str,
    company: &'a str,
}

impl Keys {
    /// Takes the shared secret of HS256, as the issuer has it; that it is not empty is the configuration's rule.
    pub(crate) fn hs256(secret: &[u8]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The library would read the clock of the machine; `verify` is told the time and compares by itself.
        validation.validate_exp = false;
        // One key serves all of the application's audiences.
        validation.validate_aud = false;
        Self {
            signing: EncodingKey::from_secret(secret),
            verifying: DecodingKey::from_secret(secret),
            validation,
        }
    }

    /// Verifies a token at the time `now_unix_s`.
    ///
    /// # Errors
    /// [`AuthError`] with what is wrong; the signature is judged before anything that it protects.
    pub(crate) fn verify(&self, token: &str, now_unix_s: u64) -> Result<Verified, AuthError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::TooLong);
        }
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.verifying, &self.validation)
            .map_err(|error| AuthError::from_library(&error))?;
        if decoded.header.crit.is_some() {
            return Err(AuthError::CriticalHeader);
        }
        let expires_at_unix_s = decoded.claims.exp;
        if now_unix_s > expires_at_unix_s.saturating_add(limits::TOKEN_LEEWAY_S) {
            return Err(AuthError::Expired);
        }
        Ok(Verified { profile: decoded.claims.profile()?, expires_at_unix_s })
    }

    /// Makes a token for `profile` that ends `lifetime_s` seconds after `now_unix_s`: for DEBUG alone, because
    /// in production somebody else issues tokens.
    ///
    /// # Panics
    /// Never: HMAC signs with a key of any length, and texts and numbers always become JSON.
    #[expect(clippy::expect_used, reason = "proven by the message")]
    pub(crate) fn issue(&self, profile: &Profile, lifetime_s: u64, now_unix_s: u64) -> String {
        let claims = Issued {
            user_id: profile.id.as_str(),
            token_type: "access",
            iat: now_unix_s,
            exp: now_unix_s.saturating_add(lifetime_s),
            name: &profile.name,
            email: &profile.email,
            role: &profile.role,
            company: &profile.company,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
            .expect("HMAC signs with any key, and texts and numbers become JSON")
    }
}

impl AuthError {
    /// Judges the library's error without quoting it: it may hold parts of the token.
    fn from_library(error: &jsonwebtoken::errors::Error) -> Self {
        match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature => Self::Signature,
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use protocol::ids::UserId;

    const NOW_S: u64 = 1_767_322_800;

    fn keys() -> Keys {
        Keys::hs256(b"a secret of the tests")
    }

    /// Signs any header and claims, as a foreign issuer would.
    fn signed(header: &str, claims: &str) -> String {
        let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &keys().signing, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    fn verify(header: &str, claims: &str) -> Result<Verified, AuthError> {
        keys().verify(&signed(header, claims), NOW_S)
    }

    const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

    fn dana() -> Profile {
        Profile {
            id: UserId::parse("driver-1").unwrap(),
            name: "Dana".into(),
            email: "dana@example.com".into(),
            role: "DRIVER".into(),
            company: "7".into(),
        }
    }

    #[test]
    fn an_issued_token_proves_the_same_person_until_it_ends() {
        let token = keys().issue(&dana(), 900, NOW_S);
        let at = |now_unix_s| keys().verify(&token, now_unix_s);
        let verified = Verified { profile: dana(), expires_at_unix_s: NOW_S + 900 };
        assert_eq!(at(NOW_S), Ok(verified.clone()));
        assert_eq!(at(NOW_S + 900 + limits::TOKEN_LEEWAY_S), Ok(verified));
        assert_eq!(at(NOW_S + 901 + limits::TOKEN_LEEWAY_S), Err(AuthError::Expired));
    }

    #[test]
    fn a_token_made_without_this_library_passes() {
        let token = concat!(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
            "eyJ0b2tlbl90eXBlIjoiYWNjZXNzIiwiZXhwIjoxNzY3MzIyODAwLCJpYXQiOjE3NjczMjE5MDAsImp0aSI6IjZkMWM5ZjVjIiwidXNl",
            "cl9pZCI6NDJ9.",
            "gBKnHzRfr9LuoUKYW0iFtCXcmKvdmbnRrmpNEVOK5Sg",
        );
        assert_eq!(keys().verify(token, NOW_S).unwrap().profile.id.as_str(), "42");
    }

    #[test]
    fn claims_as_simplejwt_writes_them_pass() {
        let claims = format!(
            r#"{{"token_type":"access","exp":{},"iat":1,"jti":"ab","user_id":42,"aud":["x"],"iss":"y"}}"#,
            NOW_S + 1
        );
        assert_eq!(verify(HS256, &claims).unwrap().profile.id.as_str(), "42");
        assert_eq!(verify(r#"{"typ":"JWT","alg":"HS256","kid":"1"}"#, &claims).unwrap().profile.name, "42");
    }

    #[test]
    fn each_fault_has_its_error() {
        let good = format!(r#"{{"user_id":1,"exp":{NOW_S}}}"#);
        let refresh = format!(r#"{{"user_id":1,"exp":{NOW_S},"token_type":"refresh"}}"#);
        let cases = [
            (r#"{"alg":"none"}"#, good.as_str(), AuthError::Malformed),
            (r#"{"alg":"HS512"}"#, &good, AuthError::Malformed),
            (r#"{"alg":"RS256"}"#, &good, AuthError::Malformed),
            (r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, &good, AuthError::CriticalHeader),
            (HS256, r#"{"user_id":1}"#, AuthError::Malformed),
            (HS256, r#"{"user_id":true,"exp":9999999999}"#, AuthError::Malformed),
            (HS256, r#"{"user_id":1,"exp":"9999999999"}"#, AuthError::Malformed),
            (HS256, r#"{"user_id":1,"exp":1}"#, AuthError::Expired),
            (HS256, &refresh, AuthError::Claims(ClaimsError::NotAnAccessToken)),
        ];
        for (header, claims, error) in cases {
            assert_eq!(verify(header, claims), Err(error), "{header} {claims}");
        }
    }

    #[test]
    fn a_changed_foreign_or_endless_token_is_refused() {
        let token = signed(HS256, &format!(r#"{{"user_id":1,"exp":{NOW_S}}}"#));
        let foreign = Keys::hs256(b"another secret").issue(&dana(), 900, NOW_S);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = message.split_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode(format!(r#"{{"user_id":2,"exp":{NOW_S}}}"#));
        let cases = [
            (foreign, AuthError::Signature),
            (format!("{header}.{other}.{signature}"), AuthError::Signature),
            (format!("{message}."), AuthError::Signature),
            (message.to_owned(), AuthError::Malformed),
            (format!("{token}.{signature}"), AuthError::Malformed),
            (String::new(), AuthError::Malformed),
            ("ä.ö.ü".into(), AuthError::Malformed),
            ("x".repeat(TOKEN_BYTES_MAX + 1), AuthError::TooLong),
        ];
        for (token, error) in cases {
            assert_eq!(keys().verify(&token, NOW_S), Err(error), "{}", &token[..token.len().min(80)]);
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        assert_eq!(format!("{:?}", keys()), "Keys(hidden)");
    }

    #[test]
    fn only_an_expired_token_is_worth_a_refresh() {
        let policy = |error: AuthError| (error.code().as_str(), error.close_code().as_u16());
        assert_eq!(policy(AuthError::Expired), ("token_expired", 4001));
        assert_eq!(policy(AuthError::Signature), ("invalid_token", 4500));
    }
}
