//! Who may do what in a channel: the one table, for sockets and REST alike.

use crate::envelope::Role;

/// Something that a member does in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Hear and read it.
    Read,
    /// Write, reply, react, type.
    Write,
    /// Edit a message of one's own.
    EditOwn,
    /// Delete a message of one's own.
    DeleteOwn,
    /// Delete anybody's message.
    DeleteAny,
    /// Pin and unpin.
    Pin,
}

impl Action {
    /// Every action, in the order of the roles that they need.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Write, Self::EditOwn, Self::DeleteOwn, Self::DeleteAny, Self::Pin];

    /// Returns the lowest role that may do it.
    pub fn lowest_role(self) -> Role {
        match self {
            Self::Read | Self::Write | Self::EditOwn | Self::DeleteOwn => Role::Member,
            Self::DeleteAny | Self::Pin => Role::Moderator,
        }
    }
}

/// Whether a member of this role may do it; who is no member may do nothing.
pub fn allows(role: Option<Role>, action: Action) -> bool {
    role.is_some_and(|role| role >= action.lowest_role())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_role_may_whatever_a_lower_one_may() {
        let roles = [None, Some(Role::Member), Some(Role::Moderator), Some(Role::Admin), Some(Role::Owner)];
        for action in Action::ALL {
            let allowed: Vec<bool> = roles.iter().map(|role| allows(*role, action)).collect();
            assert!(allowed.is_sorted(), "{action:?}: {allowed:?}");
            assert!(!allowed[0] && allowed[4], "{action:?}");
        }
    }
}
