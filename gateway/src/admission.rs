//! How many connections there are, in all and for each client address: with `seats` the only state that reactors share.
//!
//! A connection takes its place when it is accepted, before it has said anything: one that says nothing costs as
//! much as one that chats.

use crate::seats::{Seat, Seats};
use protocol::ids::UserId;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections without a place that are told so at one time; further ones are dropped unheard. Chosen: a storm's
/// first wave learns when to come back.
const REFUSALS_MAX: usize = 1_024;

/// The counters of a gateway; cheap to clone.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Shared>);

struct Shared {
    limits: Limits,
    seats: Seats,
    counts: Mutex<Counts>,
}

/// How many are let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections_max: usize,
    pub(crate) per_address_max: usize,
    pub(crate) per_user_max: usize,
    /// Development: a load test comes from one loopback address.
    pub(crate) loopback_exempt: bool,
}

impl Limits {
    fn exempts(&self, address: IpAddr) -> bool {
        self.loopback_exempt && address.is_loopback()
    }
}

#[derive(Default)]
struct Counts {
    all: usize,
    refusals: usize,
    addresses: HashMap<IpAddr, usize>,
}

/// A connection's place; it is given back when this is dropped.
pub(crate) struct Admitted {
    admission: Admission,
    /// The address that it counts for; `None` behind a proxy until a request says whose it is.
    address: Option<IpAddr>,
}

/// A connection without a place that is told why; dropped when it was.
pub(crate) struct Refusing(Admission);

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The gateway is full: 503.
    Full,
    /// The address has too many: 429.
    Address,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        let seats = Seats::new(limits.per_user_max);
        Self(Arc::new(Shared { limits, seats, counts: Mutex::default() }))
    }

    /// Takes a place for a connection, which counts for `address` if that is known to be the client's.
    ///
    /// # Errors
    /// [`Refused`] when there is none.
    pub(crate) fn admit(&self, address: Option<IpAddr>) -> Result<Admitted, Refused> {
        let mut counts = self.counts();
        if counts.all >= self.0.limits.connections_max {
            return Err(Refused::Full);
        }
        if let Some(address) = address {
            counts.count(address, &self.0.limits)?;
        }
        counts.all += 1;
        Ok(Admitted { admission: self.clone(), address })
    }

    /// Takes leave to say why there is no place; `None` when that costs too much already.
    pub(crate) fn refuse(&self) -> Option<Refusing> {
        let mut counts = self.counts();
        (counts.refusals < REFUSALS_MAX).then(|| {
            counts.refusals += 1;
            Refusing(self.clone())
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counting cannot be left half done by a panic elsewhere.
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn count(&mut self, address: IpAddr, limits: &Limits) -> Result<(), Refused> {
        let here = self.addresses.get(&address).copied().unwrap_or_default();
        if here >= limits.per_address_max && !limits.exempts(address) {
            return Err(Refused::Address);
        }
        self.addresses.insert(address, here + 1);
        Ok(())
    }
}

impl Admitted {
    /// Counts the connection for its client, whom a proxy named, unless it counts for an address already.
    ///
    /// # Errors
    /// [`Refused::Address`] when that address has too many.
    pub(crate) fn count_for(&mut self, address: IpAddr) -> Result<(), Refused> {
        if self.address.is_none() {
            self.admission.counts().count(address, &self.admission.0.limits)?;
            self.address = Some(address);
        }
        Ok(())
    }

    /// Takes the connection's seat among those of its user; `None` when it is exempt.
    pub(crate) fn seat(&self, user: &UserId, now_ms: u64) -> Option<Seat> {
        let shared = &self.admission.0;
        let exempt = self.address.is_some_and(|address| shared.limits.exempts(address));
        (!exempt).then(|| shared.seats.take(user, now_ms))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        counts.all -= 1;
        let Some(address) = self.address else { return };
        if let Some(here) = counts.addresses.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                counts.addresses.remove(&address);
            }
        }
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        self.0.counts().refusals -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn places_are_counted_per_address_and_in_all() {
        let limits =
            Limits { connections_max: 3, per_address_max: 1, per_user_max: 1, loopback_exempt: true };
        let admission = Admission::new(limits);
        let first = admission.admit(Some(AWAY)).unwrap();
        assert_eq!(admission.admit(Some(AWAY)).err(), Some(Refused::Address));
        let _loopback = [admission.admit(Some(HOME)).unwrap(), admission.admit(Some(HOME)).unwrap()];
        assert_eq!(admission.admit(Some(HOME)).err(), Some(Refused::Full));
        drop(first);
        assert!(admission.admit(Some(AWAY)).is_ok());
        assert_eq!(admission.counts().all, 2, "a place not kept is given back");
    }

    #[test]
    fn behind_a_proxy_a_connection_counts_for_whom_the_proxy_names() {
        let limits =
            Limits { connections_max: 9, per_address_max: 1, per_user_max: 1, loopback_exempt: false };
        let admission = Admission::new(limits);
        let mut places = [(); 3].map(|()| admission.admit(None).unwrap());
        assert_eq!(places[0].count_for(AWAY), Ok(()));
        assert_eq!(places[0].count_for(HOME), Ok(()), "it counts once");
        assert_eq!(places[1].count_for(AWAY), Err(Refused::Address));
        assert_eq!(places[2].count_for(HOME), Ok(()));
        drop(places);
        assert!(admission.counts().addresses.is_empty());
    }

    #[test]
    fn a_developers_sockets_need_no_seat() {
        let user = UserId::parse("a").unwrap();
        for (loopback_exempt, seated) in [(true, false), (false, true)] {
            let admission = Admission::new(Limits {
                connections_max: 9,
                per_address_max: 9,
                per_user_max: 1,
                loopback_exempt,
            });
            let home = admission.admit(Some(HOME)).unwrap();
            assert_eq!(home.seat(&user, 0).is_some(), seated);
            assert!(admission.admit(Some(AWAY)).unwrap().seat(&user, 0).is_some());
        }
    }

    #[test]
    fn only_so_many_are_told_why() {
        let limits =
            Limits { connections_max: 0, per_address_max: 0, per_user_max: 0, loopback_exempt: false };
        let admission = Admission::new(limits);
        let told: Vec<_> = (0..REFUSALS_MAX).map(|_| admission.refuse().unwrap()).collect();
        assert!(admission.refuse().is_none());
        drop(told);
        assert!(admission.refuse().is_some());
    }
}
