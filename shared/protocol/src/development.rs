//! The people of a development system: DEBUG makes them, hands out their tokens and fills their channels.

use crate::claims::Profile;
use crate::envelope::Role;
use crate::ids::UserId;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Person {
    /// The user id.
    pub id: &'static str,
    /// The name that others see.
    pub name: &'static str,
    /// The role in the application.
    pub application_role: &'static str,
    /// The role in the development channels.
    pub channel_role: Role,
}

/// Everybody (product page, "Names that others rely on").
pub const PEOPLE: [Person; 4] = [
    Person {
        id: "dispatcher-1",
        name: "Ines Okafor",
        application_role: "DISPATCHER",
        channel_role: Role::Owner,
    },
    Person { id: "driver-1", name: "Dana Reyes", application_role: "DRIVER", channel_role: Role::Member },
    Person { id: "driver-2", name: "Marek Novak", application_role: "DRIVER", channel_role: Role::Member },
    Person {
        id: "safety-1",
        name: "Tom Lindqvist",
        application_role: "COMPLIANCE_OFFICER",
        channel_role: Role::Moderator,
    },
];

/// Returns everybody as a token describes them.
pub fn profiles() -> Vec<Profile> {
    let profile = |person: &Person| {
        Some(Profile {
            id: UserId::parse(person.id).ok()?,
            name: person.name.to_owned(),
            email: format!("{}@safeshipper.example", person.id),
            role: person.application_role.to_owned(),
            company: "SafeShipper".to_owned(),
        })
    };
    PEOPLE.iter().filter_map(profile).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_valid_id() {
        assert_eq!(profiles().len(), PEOPLE.len());
    }
}
