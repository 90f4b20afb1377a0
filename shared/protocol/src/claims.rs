//! What a verified token says about its bearer.
//!
//! Signature and expiry are checked by whoever holds the keys (`gateway::auth`); this module judges the rest.

use crate::ids::{InvalidId, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

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
    #[serde(default, deserialize_with = "if_usable")]
    name: Option<String>,
    /// What `name` is called by some issuers.
    #[serde(default, deserialize_with = "if_usable")]
    username: Option<String>,
    /// The address shown to others only where the operator wants it.
    #[serde(default, deserialize_with = "if_usable")]
    email: Option<String>,
    /// One of the application's roles, for example `DRIVER`.
    #[serde(default, deserialize_with = "if_usable")]
    role: Option<String>,
    /// What `role` is called by some issuers; the first one counts.
    #[serde(default, deserialize_with = "if_usable")]
    roles: Option<Vec<String>>,
    /// The company that the user belongs to.
    #[serde(default, deserialize_with = "if_usable")]
    company: Option<CompanyClaim>,
}

/// Reads a claim that only describes: one of another shape is as good as none, for a person in an emergency
/// must not stay outside because of it.
fn if_usable<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let written = Box::<RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(written.get()).ok())
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
        let role = self.role.as_ref().or_else(|| self.roles.as_ref()?.first());
        Ok(Profile {
            name: shown(named.map_or(id.as_str(), String::as_str)),
            email: shown(self.email.as_deref().unwrap_or_default()),
            role: shown(role.map(String::as_str).unwrap_or_default()),
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
    fn a_claim_of_another_shape_is_as_good_as_none() {
        let odd = r#"{"user_id":"u","exp":1,"name":5,"email":[],"role":null,"roles":["DRIVER","ADMIN"],"company":{}}"#;
        let Profile { name, email, role, company, .. } = profile(odd).unwrap();
        assert_eq!([name, email, role, company], ["u", "", "DRIVER", ""]);
        assert_eq!(profile(r#"{"user_id":"u","exp":1,"roles":"ADMIN"}"#).unwrap().role, "");
    }

    #[test]
    fn the_name_falls_back_to_username_and_then_to_the_id() {
        let with = |claims: &str| profile(&format!(r#"{{"user_id":"u","exp":1,{claims}}}"#)).unwrap().name;
        assert_eq!(with(r#""name":"Dana","username":"dd""#), "Dana");
        assert_eq!(with(r#""name":" ","username":"dd""#), "dd");
        assert_eq!(with(r#""name":null"#), "u");
    }
}
