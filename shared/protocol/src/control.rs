//! What every gateway shall know at once and is about people rather than one channel.
//!
//! At most once, in no order with anything else: whatever matters is told again for a while. A process skips what
//! it does not know, so that kinds can be added.

use crate::ids::UserId;
use crate::requests::MembershipsVersion;
use serde::{Deserialize, Serialize};

/// Users in one message; more are told in several. Chosen: below 300 KiB with the longest ids, a third of what NATS
/// takes.
pub const CONTROL_USERS_MAX: usize = 1_000;

/// Something small, told to every gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Memberships of these users changed, and the directory knows of it: at least this version of each. At most
    /// [`CONTROL_USERS_MAX`].
    Memberships(Vec<(UserId, MembershipsVersion)>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::{decode, encode};

    #[test]
    fn a_kind_of_a_later_release_is_not_read_as_another() {
        let known = Control::Memberships(vec![(UserId::parse("42").unwrap(), 7)]);
        let bytes = encode(&known).unwrap();
        assert_eq!(bytes, br#"{"memberships":[["42",7]]}"#, "releases of a fleet agree on it");
        assert_eq!(decode::<Control>(&bytes).unwrap(), known);
        assert!(decode::<Control>(br#"{"something_new":["42"]}"#).is_err());
    }
}
