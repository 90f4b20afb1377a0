//! What a verified token says about its bearer.
//!
//! Signature and expiry are checked by whoever holds the keys (`gateway::auth`); this module judges the rest.

use crate::ids::{InvalidId, UserId};
use serde::Deserialize;

/// The claims we read; everything else in a token is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Claims {
    /// Integer or string in the token, kept as a string.
    pub user_id: UserIdClaim,
    /// Unix seconds after which the token is worthless.
    pub exp: u64,
    /// `access` or absent; refresh tokens do not open sockets.
    #[serde(default)]
    pub token_type: Option<String>,
    /// The display name.
    #[serde(default)]
    name: Option<String>,
    /// What `name` is called by some issuers.
    #[serde(default)]
    username: Option<String>,
    /// The address shown to others only where the operator wants it.
    #[serde(default)]
    pub email: Option<String>,
    /// One of the application's roles, for example `DRIVER`.
    #[serde(default)]
    pub role: Option<String>,
    /// The company that the user belongs to.
    #[serde(default)]
    pub company: Option<CompanyClaim>,
}

/// `user_id` as written by the issuer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum UserIdClaim {
    /// As the old application's database has it.
    Integer(i64),
    /// As newer issuers write it.
    Text(String),
}

/// `company` as written by the issuer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum CompanyClaim {
    /// As the old application's database has it.
    Integer(i64),
    /// As newer issuers write it.
    Text(String),
}

/// A person as a token describes him; what the directory stores.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct Profile {
    /// The user.
    pub id: UserId,
    /// The display name; the id when the token names none.
    pub name: String,
    /// Empty when the token names none.
    pub email: String,
    /// The application's role, empty when the token names none.
    pub role: String,
    /// The company, empty when the token names none.
    pub company: String,
}

/// Why a correctly signed token opens no socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// A refresh token or another kind.
    #[error("token_type is not access")]
    NotAnAccessToken,
    /// Not 1 to 128 bytes without control characters.
    #[error("user_id is not usable")]
    UserId(#[from] InvalidId),
}

/// Characters kept of each descriptive claim. Chosen: they are shown, not compared.
const CLAIM_CHARS_MAX: usize = 200;

impl Claims {
    /// Returns the bearer.
    ///
    /// # Errors
    /// [`ClaimsError`] when the token is of another type or its user id breaks the rule.
    pub fn profile(&self) -> Result<Profile, ClaimsError> {
        if self.token_type.as_deref().is_some_and(|kind| kind != "access") {
            return Err(ClaimsError::NotAnAccessToken);
        }
        let id = match &self.user_id {
            UserIdClaim::Integer(number) => UserId::parse(&number.to_string())?,
            UserIdClaim::Text(text) => UserId::parse(text)?,
        };
        let named = [&self.name, &self.username].into_iter().flatten().find(|name| !name.trim().is_empty());
        Ok(Profile {
            name: shown(named.map_or(id.as_str(), String::as_str)),
            email: shown(self.email.as_deref().unwrap_or_default()),
            role: shown(self.role.as_deref().unwrap_or_default()),
            company: match &self.company {
                Some(CompanyClaim::Integer(number)) => number.to_string(),
                Some(CompanyClaim::Text(text)) => shown(text),
                None => String::new(),
            },
            id,
        })
    }
}

fn shown(claim: &str) -> String {
    claim.trim().chars().filter(|c| !c.is_control()).take(CLAIM_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(json: &str) -> Result<Profile, String> {
        let claims: Claims = serde_json::from_str(json).map_err(|error| error.to_string())?;
        claims.profile().map_err(|error| error.to_string())
    }

    #[test]
    fn user_ids_are_integers_or_texts_and_nothing_else() {
        assert_eq!(profile(r#"{"user_id":42,"exp":1}"#).unwrap().id.as_str(), "42");
        assert_eq!(profile(r#"{"user_id":"42","exp":1,"name":null}"#).unwrap().name, "42");
        for bad in ["true", "4.2", "{}", "null", "\"\"", "\"a\\u0000b\""] {
            assert!(profile(&format!(r#"{{"user_id":{bad},"exp":1}}"#)).is_err(), "{bad}");
        }
        assert!(profile(r#"{"user_id":1}"#).is_err(), "exp is required");
    }

    #[test]
    fn only_access_tokens_open_sockets() {
        assert!(profile(r#"{"user_id":1,"exp":1,"token_type":"access"}"#).is_ok());
        assert!(profile(r#"{"user_id":1,"exp":1,"token_type":"refresh"}"#).is_err());
    }

    #[test]
    fn the_name_falls_back_to_username_and_then_to_the_id() {
        let with = |claims: &str| profile(&format!(r#"{{"user_id":"u","exp":1,{claims}}}"#)).unwrap().name;
        assert_eq!(with(r#""name":"Dana","username":"dd""#), "Dana");
        assert_eq!(with(r#""name":" ","username":"dd""#), "dd");
        assert_eq!(with(r#""name":null"#), "u");
    }
}
