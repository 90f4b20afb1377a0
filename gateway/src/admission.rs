//! How many connections there are, in all and for each client address: the only state that reactors share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The counters of a gateway; cheap to clone.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Shared>);

struct Shared {
    limits: Limits,
    counts: Mutex<Counts>,
}

/// How many are let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections_max: usize,
    pub(crate) per_address_max: usize,
    /// Development: a load test comes from one loopback address.
    pub(crate) loopback_exempt: bool,
}

#[derive(Default)]
struct Counts {
    all: usize,
    addresses: HashMap<IpAddr, usize>,
}

/// A connection's place; it is given back when this is dropped.
pub(crate) struct Admitted {
    admission: Admission,
    address: IpAddr,
}

/// Why there is no place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The gateway is full: 503.
    Full,
    /// The address has too many: 429.
    Address,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Arc::new(Shared { limits, counts: Mutex::default() }))
    }

    /// Takes a place for a connection from `address`.
    ///
    /// # Errors
    /// [`Refused`] when there is none.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<Admitted, Refused> {
        let limits = &self.0.limits;
        let mut counts = self.counts();
        if counts.all >= limits.connections_max {
            return Err(Refused::Full);
        }
        let exempt = limits.loopback_exempt && address.is_loopback();
        let here = counts.addresses.get(&address).copied().unwrap_or_default();
        if here >= limits.per_address_max && !exempt {
            return Err(Refused::Address);
        }
        counts.addresses.insert(address, here + 1);
        counts.all += 1;
        metrics::gauge!(crate::metrics::CONNECTIONS).increment(1.0);
        Ok(Admitted { admission: self.clone(), address })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counting cannot be left half done by a panic elsewhere.
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        counts.all -= 1;
        if let Some(here) = counts.addresses.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                counts.addresses.remove(&self.address);
            }
        }
        metrics::gauge!(crate::metrics::CONNECTIONS).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_per_address_and_in_all() {
        let limits = Limits { connections_max: 3, per_address_max: 1, loopback_exempt: true };
        let admission = Admission::new(limits);
        let (home, away) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]));
        let first = admission.admit(away).unwrap();
        assert_eq!(admission.admit(away).err(), Some(Refused::Address));
        let _loopback = [admission.admit(home).unwrap(), admission.admit(home).unwrap()];
        assert_eq!(admission.admit(home).err(), Some(Refused::Full));
        drop(first);
        assert!(admission.admit(away).is_ok());
        assert_eq!(admission.counts().all, 2, "a place not kept is given back");
    }
}
