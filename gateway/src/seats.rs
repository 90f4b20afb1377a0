//! How many sockets one user has in this gateway, and which of them goes when there are too many.
//!
//! Reactors share it, like the counters of admission: a user's sockets are anywhere. A socket that has to go is only
//! marked; its own reactor closes it.

use protocol::ids::UserId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The seats of all users; cheap to clone.
#[derive(Clone)]
pub(crate) struct Seats(Arc<Shared>);

struct Shared {
    per_user_max: usize,
    /// In the order in which they were taken.
    users: Mutex<HashMap<UserId, Vec<Arc<Mark>>>>,
}

/// What is known of one socket outside its reactor.
struct Mark {
    user: UserId,
    /// Uptime in ms when its client last said something.
    used_ms: AtomicU64,
    lost: AtomicBool,
}

/// One socket's seat among its user's; given back when this is dropped.
pub(crate) struct Seat {
    seats: Seats,
    mark: Arc<Mark>,
}

impl Seats {
    pub(crate) fn new(per_user_max: usize) -> Self {
        Self(Arc::new(Shared { per_user_max, users: Mutex::default() }))
    }

    /// Takes a seat. When there is none left, the user's socket that was idle for longest loses its own.
    pub(crate) fn take(&self, user: &UserId, now_ms: u64) -> Seat {
        let mark = Mark { user: user.clone(), used_ms: AtomicU64::new(now_ms), lost: AtomicBool::new(false) };
        let mark = Arc::new(mark);
        let mut users = self.users();
        let taken = users.entry(user.clone()).or_default();
        if taken.len() >= self.0.per_user_max
            && let Some(idle) = (0..taken.len()).min_by_key(|at| taken[*at].used_ms.load(Ordering::Relaxed))
        {
            taken.remove(idle).lost.store(true, Ordering::Relaxed);
        }
        taken.push(mark.clone());
        Seat { seats: self.clone(), mark }
    }

    fn users(&self) -> MutexGuard<'_, HashMap<UserId, Vec<Arc<Mark>>>> {
        // A list of seats cannot be left half changed by a panic elsewhere.
        self.0.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Takes note that the client said something.
    pub(crate) fn use_at(&self, now_ms: u64) {
        self.mark.used_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether another socket of the user took it.
    pub(crate) fn is_lost(&self) -> bool {
        self.mark.lost.load(Ordering::Relaxed)
    }

    /// Gives the seat back before it is dropped: the socket is gone, although a call that is out still holds it.
    pub(crate) fn give_back(&self) {
        let mut users = self.seats.users();
        let Some(taken) = users.get_mut(&self.mark.user) else { return };
        taken.retain(|mark| !Arc::ptr_eq(mark, &self.mark));
        if taken.is_empty() {
            users.remove(&self.mark.user);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    fn lost(seats: &[Seat]) -> Vec<bool> {
        seats.iter().map(Seat::is_lost).collect()
    }

    #[test]
    fn the_longest_idle_of_a_users_sockets_goes() {
        let seats = Seats::new(2);
        let mut taken = vec![seats.take(&user("a"), 0), seats.take(&user("a"), 1)];
        let other = seats.take(&user("b"), 0);
        taken[0].use_at(5);
        assert_eq!(lost(&taken), [false, false]);
        taken.push(seats.take(&user("a"), 6));
        assert_eq!(lost(&taken), [false, true, false]);
        taken.push(seats.take(&user("a"), 6));
        assert_eq!(lost(&taken), [true, true, false, false]);
        assert!(!other.is_lost());
    }

    #[test]
    fn a_seat_that_was_given_back_is_free() {
        let seats = Seats::new(2);
        let first = seats.take(&user("a"), 0);
        drop(seats.take(&user("a"), 1));
        let gone = seats.take(&user("a"), 1);
        gone.give_back();
        let second = seats.take(&user("a"), 2);
        drop(gone);
        assert!(!first.is_lost());
        let third = seats.take(&user("a"), 3);
        assert!(first.is_lost());
        drop(first);
        assert_eq!(lost(&[second, third]), [false, false], "who lost its seat gives none back");
        assert!(seats.users().is_empty());
    }
}
