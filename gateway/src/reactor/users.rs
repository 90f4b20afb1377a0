//! The sockets of each user of one reactor, and of whom a newer state of his memberships is known to exist.
//!
//! It holds no sessions and asks nobody: versions come as arguments. Architecture Invariant: of one user at most one
//! question is out, and it is out or due as long as an open socket of his is behind.

use crate::hub::ConnectionId;
use protocol::ids::UserId;
use protocol::requests::MembershipsVersion;
use std::collections::HashMap;

/// What a socket knows; `None` while its session is not open, when nothing can be said of it.
pub(super) type Known = Option<MembershipsVersion>;

/// The users of one reactor's sockets.
#[derive(Default)]
pub(super) struct Users(HashMap<UserId, User>);

struct User {
    sockets: Vec<ConnectionId>,
    /// Boxed, because nearly nobody has one nearly always.
    doubt: Option<Box<Doubt>>,
}

/// There is a newer state than some socket may know.
struct Doubt {
    newest: MembershipsVersion,
    /// A question for it is out, or will be at once.
    asked: bool,
}

impl Users {
    /// Adds a socket, before the directory is asked about its user for the first time.
    pub(super) fn add(&mut self, user: &UserId, socket: ConnectionId) {
        match self.0.get_mut(user) {
            Some(user) => user.sockets.push(socket),
            None => {
                let one = User { sockets: vec![socket], doubt: None };
                self.0.insert(user.clone(), one);
            }
        }
    }

    pub(super) fn remove(&mut self, id: &UserId, socket: ConnectionId) {
        let Some(user) = self.0.get_mut(id) else { return };
        user.sockets.retain(|other| *other != socket);
        if user.sockets.is_empty() {
            self.0.remove(id);
        }
    }

    /// Returns everybody with a socket.
    pub(super) fn all(&self) -> Vec<UserId> {
        self.0.keys().cloned().collect()
    }

    pub(super) fn sockets(&self, user: &UserId) -> &[ConnectionId] {
        self.0.get(user).map_or(&[], |user| &user.sockets)
    }

    /// Takes note that this version exists. Returns whether the directory is to be asked now.
    pub(super) fn told(
        &mut self,
        user: &UserId,
        version: MembershipsVersion,
        known: impl Fn(ConnectionId) -> Known,
    ) -> bool {
        let Some(user) = self.0.get_mut(user) else { return false };
        let newest = user.doubt.as_ref().map_or(version, |doubt| doubt.newest.max(version));
        match &mut user.doubt {
            Some(doubt) => doubt.newest = newest,
            None if user.sockets.iter().all(|socket| known(*socket) >= Some(version)) => return false,
            None => user.doubt = Some(Box::new(Doubt { newest, asked: false })),
        }
        user.settle(known)
    }

    /// Looks again at what the sockets of a user know, after one of them has opened. Returns whether the directory is
    /// to be asked now.
    pub(super) fn opened(&mut self, user: &UserId, known: impl Fn(ConnectionId) -> Known) -> bool {
        self.0.get_mut(user).is_some_and(|user| user.settle(known))
    }

    /// Returns for which version the directory is asked; `None` when nobody is behind any more.
    pub(super) fn wanted(&self, user: &UserId) -> Option<MembershipsVersion> {
        Some(self.0.get(user)?.doubt.as_ref()?.newest)
    }

    /// The directory has answered a question that was asked for `wanted`, and each open socket knows the answer, which
    /// is of this version. Returns whether it is to be asked once more.
    pub(super) fn answered(
        &mut self,
        user: &UserId,
        (wanted, version): (MembershipsVersion, MembershipsVersion),
        known: impl Fn(ConnectionId) -> Known,
    ) -> bool {
        let Some(user) = self.0.get_mut(user) else { return false };
        let Some(doubt) = &mut user.doubt else { return false };
        doubt.asked = false;
        if doubt.newest <= wanted {
            // It said what there is. Less than was told means another store: there is no more to wait for.
            doubt.newest = doubt.newest.min(version);
        }
        user.settle(known)
    }
}

impl User {
    /// Ends the doubt if every socket knows enough; returns whether one that is open does not, and nobody has asked.
    fn settle(&mut self, known: impl Fn(ConnectionId) -> Known) -> bool {
        let Some(doubt) = &mut self.doubt else { return false };
        let (mut behind, mut unknown) = (false, false);
        for socket in &self.sockets {
            match known(*socket) {
                Some(version) => behind |= version < doubt.newest,
                None => unknown = true,
            }
        }
        if behind {
            return !std::mem::replace(&mut doubt.asked, true);
        }
        if !unknown {
            self.doubt = None;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// One user with two sockets, and what they know.
    struct World {
        users: Users,
        known: RefCell<HashMap<ConnectionId, Known>>,
        user: UserId,
    }

    const ONE: ConnectionId = ConnectionId(1);
    const OTHER: ConnectionId = ConnectionId(2);

    impl World {
        fn new(one: Known, other: Known) -> Self {
            let (mut users, user) = (Users::default(), UserId::parse("42").unwrap());
            users.add(&user, ONE);
            users.add(&user, OTHER);
            Self { users, known: RefCell::new(HashMap::from([(ONE, one), (OTHER, other)])), user }
        }

        fn told(&mut self, version: MembershipsVersion) -> bool {
            self.users.told(&self.user, version, |id| self.known.borrow()[&id])
        }

        fn knows(&mut self, socket: ConnectionId, version: MembershipsVersion) {
            self.known.borrow_mut().insert(socket, Some(version));
        }

        fn opened(&mut self, socket: ConnectionId, version: MembershipsVersion) -> bool {
            self.knows(socket, version);
            self.users.opened(&self.user, |id| self.known.borrow()[&id])
        }

        /// Each open socket takes the answer unless it knows better.
        fn answered(&mut self, wanted: MembershipsVersion, version: MembershipsVersion) -> bool {
            for known in self.known.borrow_mut().values_mut().flatten() {
                *known = version.max(*known);
            }
            self.users.answered(&self.user, (wanted, version), |id| self.known.borrow()[&id])
        }

        fn wanted(&self) -> Option<MembershipsVersion> {
            self.users.wanted(&self.user)
        }
    }

    #[test]
    fn what_everybody_knows_is_no_news() {
        let mut world = World::new(Some(5), Some(7));
        assert!(!world.told(4) && !world.told(5));
        assert_eq!(world.wanted(), None);
        assert!(!world.users.told(&UserId::parse("nobody").unwrap(), 9, |_| None));
    }

    #[test]
    fn one_question_is_out_however_often_it_is_told() {
        let mut world = World::new(Some(5), Some(7));
        assert!(world.told(6));
        assert!(!world.told(6) && !world.told(8) && !world.told(7));
        assert!(world.answered(6, 6), "told meanwhile: it is asked once more");
        assert_eq!(world.wanted(), Some(8));
        assert!(!world.answered(8, 9));
        assert_eq!(world.wanted(), None);
        assert!(world.told(10), "and the next time again");
    }

    #[test]
    fn a_socket_that_opens_may_know_less_than_was_told_meanwhile() {
        for (opens_with, asks) in [(5, true), (6, false)] {
            let mut world = World::new(Some(6), None);
            assert!(!world.told(6), "there is nobody to tell yet");
            assert_eq!(world.opened(OTHER, opens_with), asks);
            assert_eq!(world.wanted().is_some(), asks);
        }
    }

    #[test]
    fn a_store_that_knows_less_than_was_told_is_not_asked_for_ever() {
        let mut world = World::new(Some(5), Some(5));
        assert!(world.told(9));
        assert!(!world.answered(9, 3));
        assert_eq!(world.wanted(), None);
    }

    #[test]
    fn nobody_is_asked_about_who_is_gone() {
        let mut world = World::new(Some(5), Some(5));
        assert!(world.told(6));
        world.users.remove(&world.user, ONE);
        assert_eq!(world.users.sockets(&world.user), [OTHER]);
        assert_eq!(world.wanted(), Some(6));
        world.users.remove(&world.user, OTHER);
        assert_eq!(world.wanted(), None);
        assert!(!world.answered(6, 6));
        assert!(world.users.0.is_empty());
    }
}
