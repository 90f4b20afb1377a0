//! The directory is asked again about users whose memberships changed, and their sessions take the answer.

use super::Reactor;
use super::users::Known;
use crate::connection::Connection;
use crate::hub::ConnectionId;
use crate::session::Input;
use protocol::control::Control;
use protocol::ids::UserId;
use protocol::requests::{MembershipsVersion, SessionAnswer, SessionRequest};
use protocol::subjects::RequestSubject;
use runtime::backoff::{Backoff, below, random};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Questions of one reactor that are out at once, the others wait. Chosen: a directory works on 64, and whoever
/// connects asks it, too.
pub(super) const AT_ONCE: usize = 8;

/// Below how much questions wait that every gateway has at the same moment: many changes were told to all, or all lost
/// something. Chosen: a fourth of what a change may take.
pub(super) const SPREAD: Duration = Duration::from_millis(500);

/// Below how much the first try after a failure waits, and how far that bound doubles. Chosen: a directory that is
/// down is not asked by everybody, and a removed member does not go on for long once it is up.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

impl Reactor {
    pub(super) fn controlled(self: &Rc<Self>, control: &Control) {
        match control {
            Control::Memberships(versions) => self.versions_told(versions),
        }
    }

    /// Takes note of versions that exist, and asks for those that sockets here do not know.
    pub(super) fn versions_told(self: &Rc<Self>, versions: &[(UserId, MembershipsVersion)]) {
        let behind = |(user, version): &(UserId, MembershipsVersion)| {
            self.users.borrow_mut().told(user, *version, |id| self.known(id)).then(|| user.clone())
        };
        let behind: Vec<UserId> = versions.iter().filter_map(behind).collect();
        let many = behind.len() > AT_ONCE;
        for user in behind {
            let spread = if many { below(SPREAD, random()) } else { Duration::ZERO };
            self.renew(user, spread);
        }
    }

    fn known(&self, id: ConnectionId) -> Known {
        self.connections.borrow().get(&id).and_then(|connection| connection.session.borrow().version())
    }

    /// A session has opened; while it did, it may have become old.
    pub(super) fn renew_opened(self: &Rc<Self>, connection: &Connection) {
        let Some(user) = connection.user.get() else { return };
        if self.users.borrow_mut().opened(user, |id| self.known(id)) {
            self.renew(user.clone(), Duration::ZERO);
        }
    }

    /// Asks the directory, after a delay, until the sockets of a user know what they were told exists.
    fn renew(self: &Rc<Self>, user: UserId, delay: Duration) {
        let reactor = self.clone();
        self.common.shutdown.spawn_local("renewal", async move {
            tokio::time::sleep(delay).await;
            let mut backoff = Backoff::new(RETRY.0, RETRY.1);
            while let Some(wanted) = reactor.wanted(&user) {
                let Some(answer) = reactor.ask_again(&user).await else {
                    tokio::time::sleep(backoff.next(random())).await;
                    continue;
                };
                if !reactor.renewed(&user, wanted, answer) {
                    return;
                }
            }
        });
    }

    fn wanted(&self, user: &UserId) -> Option<MembershipsVersion> {
        self.users.borrow().wanted(user)
    }

    async fn ask_again(&self, user: &UserId) -> Option<SessionAnswer> {
        // A closed semaphore is impossible: it lives as long as the reactor.
        let _place = self.renewals.acquire().await;
        metrics::counter!(crate::metrics::RENEWALS).increment(1);
        let answer =
            self.request(RequestSubject::DirectorySession, SessionRequest::Again(user.clone())).await;
        answer.inspect_err(|code| tracing::debug!(code = code.as_str(), "memberships stay as they are")).ok()
    }

    /// Lets each session of a user take the answer; returns whether it is to be asked once more.
    fn renewed(self: &Rc<Self>, user: &UserId, wanted: MembershipsVersion, answer: SessionAnswer) -> bool {
        let (version, answer) = (answer.version, Arc::new(answer));
        let sockets = self.users.borrow().sockets(user).to_vec();
        for id in sockets {
            let connection = self.connections.borrow().get(&id).cloned();
            if let Some(connection) = connection {
                self.drive(&connection, Input::Memberships(answer.clone()));
            }
        }
        self.users.borrow_mut().answered(user, (wanted, version), |id| self.known(id))
    }
}
