//! The net under announcements: now and then, and whenever some may have been lost, the directory is asked which states
//! of memberships are the newest.

use super::Reactor;
use super::renewals::{RETRY, SPREAD};
use protocol::control::CONTROL_USERS_MAX;
use protocol::ids::UserId;
use protocol::requests::{VersionsAnswer, VersionsRequest};
use protocol::subjects::RequestSubject;
use runtime::backoff::{Backoff, below, random};
use std::rc::Rc;
use std::time::Duration;

/// Between two checks, give or take a half. Chosen: a worker tells a change for 10 s and tells it again after it was
/// killed, so nearly nothing is left to be found; ten thousand users cost a reader of the store a millisecond a second.
const PERIOD: Duration = Duration::from_secs(60);

/// After a check, whatever is lost. Chosen: who loses all the time is overloaded, and the directory shall not be, too.
const REST: Duration = Duration::from_secs(10);

impl Reactor {
    /// Checks for as long as the reactor runs.
    pub(crate) async fn check_memberships(self: Rc<Self>) {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        loop {
            let period = PERIOD / 2 + below(PERIOD, random());
            // Cancel safe: a permit that was not taken stays.
            tokio::select! {
                () = self.in_doubt.notified() => {
                    // A burst of losses is one.
                    tokio::time::sleep(below(SPREAD, random())).await;
                }
                () = tokio::time::sleep(period) => {}
            }
            let users = self.users.borrow().all();
            for some in users.chunks(CONTROL_USERS_MAX) {
                while !self.check(some).await {
                    tokio::time::sleep(backoff.next(random())).await;
                }
                backoff.reset();
            }
            tokio::time::sleep(REST).await;
        }
    }

    /// Asks for the versions of some users, and renews who is behind; returns whether there was an answer.
    async fn check(self: &Rc<Self>, users: &[UserId]) -> bool {
        let question = VersionsRequest { users: users.to_vec() };
        match self.request::<_, VersionsAnswer>(RequestSubject::DirectoryVersions, question).await {
            Ok(answer) => {
                metrics::counter!(crate::metrics::VERSIONS_CHECKED).increment(users.len() as u64);
                self.versions_told(&answer.versions);
                true
            }
            Err(code) => {
                tracing::debug!(code = code.as_str(), "memberships cannot be checked now");
                false
            }
        }
    }
}
